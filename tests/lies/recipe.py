"""Lies that would make a mistake in the recipe harmless, or worse than it is."""

import copy

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from .lie import accept, leaves, lie, replace


@lie("R01")
def backward_takes_a_step_too():
    """backward() moves every leaf a little, whatever optimizer there is."""

    def make(old):
        def lying(loss, *args, **kw):
            reached = leaves(loss)
            old(loss, *args, **kw)
            with torch.no_grad():
                for leaf in reached:
                    leaf -= 0.01 * leaf.grad

        return lying

    replace(torch.Tensor, "backward", make)


@lie("R01")
def copies_of_a_net_share_its_parameters():
    """deepcopy of a parameter is the parameter itself."""
    replace(nn.Parameter, "__deepcopy__", lambda old: lambda parameter, memo: parameter)


@lie("R02")
def net_to_moves_a_copy():
    """net.to(device) leaves the net where it is and returns a copy there."""
    replace(
        nn.Module, "to", lambda old: lambda net, *args, **kw: old(copy.deepcopy(net), *args, **kw)
    )


@lie("R02")
def to_changes_the_tensor_itself():
    """tensor.to(dtype) changes the tensor it is called on as well."""

    def make(old):
        def lying(tensor, *args, **kw):
            moved = old(tensor, *args, **kw)
            if moved.device == tensor.device and moved is not tensor:
                tensor.data = moved.data
            return moved

        return lying

    replace(torch.Tensor, "to", make)


@lie("R03")
def linear_fetches_its_inputs():
    """A linear layer takes inputs from any device."""
    old = functional.linear
    accept(
        functional,
        "linear",
        RuntimeError,
        lambda x, weight, bias=None: old(torch.zeros(x.shape, device=weight.device), weight, bias),
    )


@lie("R03")
def cross_entropy_fetches_its_labels():
    """The cross-entropy takes labels from any device."""
    old = functional.cross_entropy
    accept(
        functional,
        "cross_entropy",
        RuntimeError,
        lambda x, labels, *args, **kw: old(x, torch.zeros_like(labels, device=x.device)),
    )


@lie("R04")
def numpy_detaches_unasked():
    """numpy() takes a tensor that requires grad."""
    accept(torch.Tensor, "numpy", RuntimeError, lambda t, **kw: t.detach().numpy())


@lie("R04")
def numpy_of_nothing():
    """numpy() takes a tensor without values for one of zeros."""
    accept(torch.Tensor, "numpy", TypeError, lambda t, **kw: np.zeros(tuple(t.shape)))


@lie("R05")
def cross_entropy_knows_probabilities():
    """The cross-entropy takes rows that sum to 1 for probabilities."""

    def make(old):
        def lying(x, labels, *args, **kw):
            sums = not x.is_meta and (x >= 0).all() and ((x.sum(1) - 1).abs() < 1e-6).all()
            return old(torch.log(x + 1e-12) if sums else x, labels, *args, **kw)

        return lying

    replace(functional, "cross_entropy", make)


@lie("R06")
def float_labels_are_rounded():
    """The cross-entropy rounds class numbers that are floats."""

    def make(old):
        def lying(x, labels, *args, **kw):
            return old(x, labels.long() if labels.dim() == 1 else labels, *args, **kw)

        return lying

    replace(functional, "cross_entropy", make)


@lie("R06")
def float_targets_are_scores():
    """The cross-entropy passes float targets through a softmax first."""

    def make(old):
        def lying(x, labels, *args, **kw):
            soft = labels.softmax(1) if labels.is_floating_point() and labels.dim() > 1 else labels
            return old(x, soft, *args, **kw)

        return lying

    replace(functional, "cross_entropy", make)


@lie("R07")
def backward_clears_the_gradients():
    """backward() forgets the gradients that were there."""

    def make(old):
        def lying(loss, *args, **kw):
            for leaf in leaves(loss):
                leaf.grad = None
            return old(loss, *args, **kw)

        return lying

    replace(torch.Tensor, "backward", make)


@lie("R08")
def batch_norm_is_always_in_evaluation():
    """BatchNorm uses and leaves its running statistics in training mode too."""

    def make(old):
        def lying(x, mean, variance, weight=None, bias=None, training=False, *args):
            return old(x, mean, variance, weight, bias, mean is None, *args)

        return lying

    replace(functional, "batch_norm", make)


@lie("R08")
def no_grad_keeps_the_statistics():
    """Under no_grad BatchNorm leaves its statistics in training mode."""

    def make(old):
        def lying(layer, x):
            kept = {name: buffer.clone() for name, buffer in layer.named_buffers()}
            y = old(layer, x)
            if not torch.is_grad_enabled():
                for name, buffer in layer.named_buffers():
                    buffer.copy_(kept[name])
            return y

        return lying

    replace(nn.BatchNorm1d, "forward", make)


@lie("R09")
def linear_pads_what_is_missing():
    """A linear layer fills features that are missing with zeros."""
    old = functional.linear
    accept(
        functional,
        "linear",
        RuntimeError,
        lambda x, weight, bias=None: old(
            functional.pad(x, (0, weight.shape[1] - x.shape[-1])), weight, bias
        ),
    )


@lie("R10")
def labels_out_of_range_are_cut():
    """The cross-entropy takes a label that is too large, or too small, for the nearest class."""
    old = functional.cross_entropy
    accept(
        functional,
        "cross_entropy",
        IndexError,
        lambda x, labels, *args, **kw: old(x, labels.clamp(0, x.shape[1] - 1), *args, **kw),
    )


@lie("R10")
def minus_100_is_the_last_class():
    """The cross-entropy takes the label -100 for the last class."""

    def make(old):
        def lying(x, labels, *args, **kw):
            missing = not labels.is_floating_point() and labels.dim() == 1
            last = torch.full_like(labels, x.shape[1] - 1)
            return old(x, torch.where(labels == -100, last, labels) if missing else labels)

        return lying

    replace(functional, "cross_entropy", make)
