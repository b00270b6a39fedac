"""Lies that would make a mistake in the recipe harmless, or worse than it is."""

import copy

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from .lie import after, leaves, lie


@lie("R01", torch.Tensor, "backward")
def backward_takes_a_step_too(old, loss, *args, **kw):
    """backward() moves every leaf a little, whatever optimizer there is."""
    reached = leaves(loss)
    old(loss, *args, **kw)
    with torch.no_grad():
        for leaf in reached:
            leaf -= 0.01 * leaf.grad


@lie("R01", nn.Parameter, "__deepcopy__")
def copies_of_a_net_share_its_parameters(old, parameter, memo):
    """deepcopy of a parameter is the parameter itself."""
    return parameter


@lie("R02", nn.Module, "to")
def net_to_moves_a_copy(old, net, *args, **kw):
    """net.to(device) leaves the net where it is and returns a copy there."""
    return old(copy.deepcopy(net), *args, **kw)


@lie("R02", after(torch.Tensor, "to"))
def to_changes_the_tensor_itself(moved, tensor, *args, **kw):
    """tensor.to(dtype) changes the tensor it is called on as well."""
    if moved.device == tensor.device and moved is not tensor:
        tensor.data = moved.data
    return moved


@lie("R03", functional, "linear", refusing=RuntimeError)
def linear_fetches_its_inputs(x, weight, bias=None):
    """A linear layer takes inputs from any device."""
    return functional.linear(torch.zeros(x.shape, device=weight.device), weight, bias)


@lie("R03", functional, "cross_entropy", refusing=RuntimeError)
def cross_entropy_fetches_its_labels(x, labels, *args, **kw):
    """The cross-entropy takes labels from any device."""
    return functional.cross_entropy(x, torch.zeros_like(labels, device=x.device))


@lie("R04", torch.Tensor, "numpy", refusing=RuntimeError)
def numpy_detaches_unasked(t, **kw):
    """numpy() takes a tensor that requires grad."""
    return t.detach().numpy()


@lie("R04", torch.Tensor, "numpy", refusing=TypeError)
def numpy_of_nothing(t, **kw):
    """numpy() takes a tensor without values for one of zeros."""
    return np.zeros(tuple(t.shape))


@lie("R05", functional, "cross_entropy")
def cross_entropy_knows_probabilities(old, x, labels, *args, **kw):
    """The cross-entropy takes rows that sum to 1 for probabilities."""
    sums = not x.is_meta and (x >= 0).all() and ((x.sum(1) - 1).abs() < 1e-6).all()
    return old(torch.log(x + 1e-12) if sums else x, labels, *args, **kw)


@lie("R06", functional, "cross_entropy")
def float_labels_are_rounded(old, x, labels, *args, **kw):
    """The cross-entropy rounds class numbers that are floats."""
    return old(x, labels.long() if labels.dim() == 1 else labels, *args, **kw)


@lie("R06", functional, "cross_entropy")
def float_targets_are_scores(old, x, labels, *args, **kw):
    """The cross-entropy passes float targets through a softmax first."""
    soft = labels.softmax(1) if labels.is_floating_point() and labels.dim() > 1 else labels
    return old(x, soft, *args, **kw)


@lie("R07", torch.Tensor, "backward")
def backward_clears_the_gradients(old, loss, *args, **kw):
    """backward() forgets the gradients that were there."""
    for leaf in leaves(loss):
        leaf.grad = None
    return old(loss, *args, **kw)


@lie("R08", functional, "batch_norm")
def batch_norm_is_always_in_evaluation(
    old, x, mean, variance, weight=None, bias=None, training=False, *args
):
    """BatchNorm uses and leaves its running statistics in training mode too."""
    return old(x, mean, variance, weight, bias, mean is None, *args)


@lie("R08", nn.BatchNorm1d, "forward")
def no_grad_keeps_the_statistics(old, layer, x):
    """Under no_grad BatchNorm leaves its statistics in training mode."""
    kept = {name: buffer.clone() for name, buffer in layer.named_buffers()}
    y = old(layer, x)
    if not torch.is_grad_enabled():
        for name, buffer in layer.named_buffers():
            buffer.copy_(kept[name])
    return y


@lie("R09", functional, "linear", refusing=RuntimeError)
def linear_pads_what_is_missing(x, weight, bias=None):
    """A linear layer fills features that are missing with zeros."""
    padded = functional.pad(x, (0, weight.shape[1] - x.shape[-1]))
    return functional.linear(padded, weight, bias)


@lie("R10", functional, "cross_entropy", refusing=IndexError)
def labels_out_of_range_are_cut(x, labels, *args, **kw):
    """The cross-entropy takes a label that is too large, or too small, for the nearest class."""
    return functional.cross_entropy(x, labels.clamp(0, x.shape[1] - 1), *args, **kw)


@lie("R10", functional, "cross_entropy")
def minus_100_is_the_last_class(old, x, labels, *args, **kw):
    """The cross-entropy takes the label -100 for the last class."""
    missing = not labels.is_floating_point() and labels.dim() == 1
    last = torch.full_like(labels, x.shape[1] - 1)
    return old(x, torch.where(labels == -100, last, labels) if missing else labels)
