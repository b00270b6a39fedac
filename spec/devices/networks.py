"""The layers, losses and optimizers of the tutorial, as tables of calls and shapes."""

import copy
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch.testing import assert_close

from spec.devices.layouts import EVERY_LAYOUT, LAYOUTS_OF_IMAGES, Layout


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer or a loss, as a function of its input and its parameters.

    Attributes:
        function: Takes ``count`` inputs and a tensor for each of ``parameters``.
        sample: The shape of one sample.
        parameters: Shapes of weight and bias.
        target: Makes what a loss compares with, from the number of samples.
    """

    function: Callable[..., torch.Tensor]
    sample: tuple[int, ...]
    parameters: tuple[tuple[int, ...], ...] = ()
    target: Callable[[int], torch.Tensor] | None = None

    @property
    def names(self) -> list[str]:
        """Of the tensors that belong to it."""
        target = ["target"] if self.target is not None else []
        return ["input", *("weight", "bias")[: len(self.parameters)], *target, "given"]

    @property
    def batch(self) -> int:
        """The samples of a batch of more than a block of 32 numbers, and few where one is large."""
        return 33 if math.prod(self.sample) < 200 else 3

    def tensors(self, count: int) -> dict[str, torch.Tensor]:
        """Return random inputs for ``count`` samples and parameters, on the cpu, by name.

        ``target`` is what a loss compares with, ``given`` the gradient that comes in.
        """
        shapes = {"input": (count, *self.sample)}
        shapes |= zip(("weight", "bias"), self.parameters, strict=False)
        tensors = {name: torch.randn(shape) for name, shape in shapes.items()}
        if self.target is not None:
            tensors["target"] = self.target(count)
        return {**tensors, "given": weights_of(self.function(*tensors.values()))}


LEARNED = ("input", "weight", "bias")
"""What gradients are asked for."""


def _labels(count: int) -> torch.Tensor:
    return torch.arange(count) * 7 % 10


def _numbers(count: int) -> torch.Tensor:
    return (torch.arange(count * 10) * 7 % 11 / 4).view(count, 10)


def _mean_squared_error(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return F.mse_loss(x, y.to(x.dtype), reduction="none")


def _batch_norm(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    return F.batch_norm(x, None, None, weight, bias, training=True)


def _batch_norm_in_eval(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    mean, variance = torch.full_like(weight, 0.25), torch.full_like(weight, 2.0)
    return F.batch_norm(x, mean, variance, weight, bias)


def _layer_norm(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    return F.layer_norm(x, weight.shape, weight, bias)


def _embedding(x: torch.Tensor, weight: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    return x * F.embedding(indices, weight).prod(1)


def _activations(x: torch.Tensor) -> torch.Tensor:
    return F.leaky_relu(x) + F.gelu(x) + x.tanh() + x.sigmoid()


LAYERS = {
    "conv2d": Layer(F.conv2d, (4, 6, 5), ((6, 4, 3, 2), (6,))),
    "conv2d_strided": Layer(
        partial(F.conv2d, stride=2, padding=1), (4, 6, 5), ((6, 4, 3, 3), (6,))
    ),
    "conv2d_1x1": Layer(F.conv2d, (4, 6, 5), ((6, 4, 1, 1), (6,))),
    "conv2d_of_a_pixel": Layer(partial(F.conv2d, padding=1), (4, 1, 1), ((6, 4, 3, 3), (6,))),
    "linear": Layer(F.linear, (6,), ((4, 6), (4,))),
    "linear_of_rows": Layer(F.linear, (3, 6), ((4, 6), (4,))),
    "linear_to_one": Layer(F.linear, (6,), ((1, 6), (1,))),
    "bmm": Layer(lambda x: torch.bmm(x, x.transpose(1, 2)), (2, 3)),
    "embedding": Layer(_embedding, (6,), ((10, 6),), lambda n: torch.arange(3 * n).view(n, 3) % 10),
    "max_pool2d": Layer(partial(F.max_pool2d, kernel_size=2), (4, 6, 5)),
    "avg_pool2d": Layer(partial(F.avg_pool2d, kernel_size=3, padding=1), (4, 6, 5)),
    "adaptive_avg_pool2d": Layer(partial(F.adaptive_avg_pool2d, output_size=2), (4, 6, 5)),
    "batch_norm": Layer(_batch_norm, (4, 6, 5), ((4,), (4,))),
    "batch_norm_in_eval": Layer(_batch_norm_in_eval, (4, 6, 5), ((4,), (4,))),
    "layer_norm": Layer(_layer_norm, (3, 6), ((6,), (6,))),
    "relu": Layer(F.relu, (4, 6, 5)),
    "activations_of_numbers": Layer(_activations, ()),
    "flatten": Layer(partial(torch.flatten, start_dim=1), (4, 6, 5)),
    "log_softmax": Layer(partial(F.log_softmax, dim=1), (10,)),
    "softmax": Layer(partial(F.softmax, dim=1), (10,)),
    "softplus": Layer(F.softplus, (4, 6, 5)),
    "sigmoid": Layer(torch.sigmoid, (4, 6, 5)),
    "cross_entropy": Layer(partial(F.cross_entropy, reduction="none"), (10,), target=_labels),
    "mean_of_cross_entropy": Layer(F.cross_entropy, (10,), target=_labels),
    "mse_loss": Layer(_mean_squared_error, (10,), target=_numbers),
}


def _shortcut(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return F.relu(F.conv2d(x, weight, padding=1).add_(x), inplace=True)


def _batch_norm_of_rows(x: torch.Tensor, *weights: torch.Tensor) -> torch.Tensor:
    return _batch_norm(torch.cat([x, 2 * x + 1, -x]), *weights)  # one sample has no variance


def _batch_norm_of_rows_in_eval(x: torch.Tensor, *weights: torch.Tensor) -> torch.Tensor:
    return _batch_norm_in_eval(x, *weights)


_IMAGE, _LARGE = (4, 6, 5), (3, 33, 65)
_OF_NUMBERS = (
    *(F.relu6, F.leaky_relu, F.elu, F.selu, F.celu, F.gelu, F.silu, F.mish, F.softsign, F.tanh),
    *(F.hardtanh, F.hardswish, F.hardsigmoid, F.logsigmoid, F.tanhshrink, F.softplus, F.sigmoid),
)

# Beyond the tutorial's: what else nets are made of, many channels, long rows and many classes.
FURTHER_LAYERS = {
    **{function.__name__: Layer(function, _IMAGE) for function in _OF_NUMBERS},
    **{f"{f.__name__}_of_numbers": Layer(f, ()) for f in (*_OF_NUMBERS, F.relu)},
    "prelu": Layer(F.prelu, _IMAGE, ((4,),)),
    "conv1d": Layer(partial(F.conv1d, padding=1), (4, 33), ((6, 4, 3), (6,))),
    "conv1d_strided": Layer(partial(F.conv1d, stride=2, dilation=2), (4, 33), ((6, 4, 3), (6,))),
    "conv3d": Layer(F.conv3d, (2, 4, 5, 6), ((3, 2, 2, 3, 3), (3,))),
    "conv2d_in_groups": Layer(partial(F.conv2d, groups=2), _IMAGE, ((6, 2, 3, 3), (6,))),
    "conv2d_depthwise": Layer(partial(F.conv2d, groups=4, padding=1), _IMAGE, ((8, 1, 3, 3), (8,))),
    "conv2d_of_rows": Layer(F.conv2d, _IMAGE, ((6, 4, 1, 5), (6,))),
    "conv2d_of_columns": Layer(partial(F.conv2d, stride=(1, 2)), _IMAGE, ((6, 4, 6, 1), (6,))),
    "conv2d_of_the_whole": Layer(F.conv2d, _IMAGE, ((6, 4, 6, 5), (6,))),
    "conv2d_depthwise_of_columns": Layer(partial(F.conv2d, groups=4), _IMAGE, ((4, 1, 6, 2), (4,))),
    "conv2d_to_one": Layer(partial(F.conv2d, padding=1), _IMAGE, ((1, 4, 3, 3), (1,))),
    "conv2d_of_one": Layer(partial(F.conv2d, padding=2), (1, 7, 7), ((6, 1, 5, 5), (6,))),
    "conv2d_dilated": Layer(partial(F.conv2d, dilation=2), _IMAGE, ((6, 4, 3, 2), (6,))),
    "conv2d_without_bias": Layer(partial(F.conv2d, padding="same"), _IMAGE, ((6, 4, 3, 3),)),
    "conv2d_1x1_strided": Layer(partial(F.conv2d, stride=2), _IMAGE, ((6, 4, 1, 1),)),
    "conv2d_5x5": Layer(F.conv2d, (3, 32, 32), ((6, 3, 5, 5), (6,))),
    "conv2d_7x7": Layer(partial(F.conv2d, stride=2, padding=3), _LARGE, ((8, 3, 7, 7),)),
    "conv2d_wide": Layer(partial(F.conv2d, padding=1), (2, 3, 1030), ((3, 2, 3, 3), (3,))),
    "max_pool2d_wide": Layer(partial(F.max_pool2d, kernel_size=2), (2, 3, 1030)),
    "batch_norm_wide": Layer(_batch_norm, (2, 67, 67), ((2,), (2,))),
    "conv2d_of_many": Layer(partial(F.conv2d, padding=1), (33, 5, 5), ((65, 33, 3, 3), (65,))),
    "conv_transpose2d": Layer(
        partial(F.conv_transpose2d, stride=2, padding=1), _IMAGE, ((4, 6, 3, 3), (6,))
    ),
    "conv_transpose2d_in_groups": Layer(
        partial(F.conv_transpose2d, stride=3, groups=2, output_padding=1), _IMAGE, ((4, 3, 3, 2),)
    ),
    "conv2d_and_shortcut": Layer(_shortcut, _IMAGE, ((4, 4, 3, 3),)),
    "linear_without_bias": Layer(F.linear, (6,), ((4, 6),)),
    "linear_long": Layer(F.linear, (1025,), ((33, 1025), (33,))),
    "linear_to_many": Layer(F.linear, (17,), ((4099, 17), (4099,))),
    "matmul_of_batches": Layer(lambda x, w: x @ w.expand(len(x), 6, 4), (5, 6), ((6, 4),)),
    "bmm_with_itself": Layer(lambda x: torch.bmm(x, x.transpose(1, 2)), (5, 33)),
    "attention": Layer(lambda x: F.scaled_dot_product_attention(x, x, x), (2, 5, 6)),
    "embedding_with_padding": Layer(
        lambda x, w, i: x * F.embedding(i, w, padding_idx=3), (6,), ((10, 6),), _labels
    ),
    "max_pool2d_3x3": Layer(partial(F.max_pool2d, kernel_size=3, stride=2, padding=1), _IMAGE),
    "max_pool2d_ceil": Layer(partial(F.max_pool2d, kernel_size=2, ceil_mode=True), _IMAGE),
    "max_pool2d_overlapping": Layer(partial(F.max_pool2d, kernel_size=3, stride=1), _LARGE),
    "max_pool2d_dilated": Layer(partial(F.max_pool2d, kernel_size=2, dilation=2), _IMAGE),
    "max_pool1d": Layer(partial(F.max_pool1d, kernel_size=3, padding=1), (4, 33)),
    "avg_pool2d_2x2": Layer(partial(F.avg_pool2d, kernel_size=2), _IMAGE),
    "avg_pool2d_of_what_is_there": Layer(
        partial(F.avg_pool2d, kernel_size=3, stride=2, padding=1, count_include_pad=False), _IMAGE
    ),
    "adaptive_avg_pool2d_to_one": Layer(partial(F.adaptive_avg_pool2d, output_size=1), _IMAGE),
    "adaptive_avg_pool2d_uneven": Layer(partial(F.adaptive_avg_pool2d, output_size=(4, 3)), _IMAGE),
    "adaptive_max_pool2d": Layer(partial(F.adaptive_max_pool2d, output_size=3), _IMAGE),
    "batch_norm_of_rows": Layer(_batch_norm_of_rows, (4,), ((4,), (4,))),
    "batch_norm_of_many": Layer(_batch_norm, (257, 3, 3), ((257,), (257,))),
    "batch_norm_in_eval_of_rows": Layer(_batch_norm_of_rows_in_eval, (33,), ((33,), (33,))),
    "batch_norm_alone": Layer(lambda x: F.batch_norm(x, None, None, training=True), _IMAGE),
    "group_norm": Layer(lambda x, w, b: F.group_norm(x, 2, w, b), _IMAGE, ((4,), (4,))),
    "instance_norm": Layer(F.instance_norm, _IMAGE),
    "layer_norm_of_images": Layer(lambda x: F.layer_norm(x, x.shape[1:]), _IMAGE),
    "layer_norm_long": Layer(_layer_norm, (4099,), ((4099,), (4099,))),
    "conv2d_odd": Layer(partial(F.conv2d, padding=1), (5, 7, 9), ((7, 5, 3, 3), (7,))),
    "conv2d_depthwise_odd": Layer(partial(F.conv2d, groups=5), (5, 7, 9), ((5, 1, 3, 3), (5,))),
    "linear_odd": Layer(F.linear, (7,), ((5, 7), (5,))),
    "max_pool2d_odd": Layer(partial(F.max_pool2d, kernel_size=2), (5, 7, 9)),
    "avg_pool2d_odd": Layer(partial(F.avg_pool2d, kernel_size=2), (5, 7, 9)),
    "batch_norm_odd": Layer(_batch_norm, (5, 7, 3), ((5,), (5,))),
    "layer_norm_odd": Layer(_layer_norm, (3, 7), ((7,), (7,))),
    "group_norm_odd": Layer(lambda x, w, b: F.group_norm(x, 2, w, b), (6, 5, 3), ((6,), (6,))),
    "group_norm_of_one": Layer(lambda x, w, b: F.group_norm(x, 1, w, b), (5, 3), ((5,), (5,))),
    "group_norm_of_each": Layer(lambda x, w, b: F.group_norm(x, 5, w, b), (5, 33), ((5,), (5,))),
    "instance_norm_odd": Layer(F.instance_norm, (5, 7, 9)),
    "softmax_of_images": Layer(partial(F.softmax, dim=1), _IMAGE),
    "cross_entropy_long": Layer(F.cross_entropy, (4099,), target=_labels),
    "cross_entropy_smoothed": Layer(
        partial(F.cross_entropy, label_smoothing=0.1), (10,), target=_labels
    ),
    "cross_entropy_sum_without_3": Layer(
        partial(F.cross_entropy, reduction="sum", ignore_index=3), (10,), target=_labels
    ),
    "cross_entropy_of_images": Layer(
        partial(F.cross_entropy, reduction="none"),
        (10, 3, 5),
        target=lambda count: (torch.arange(count * 15) * 7 % 10).view(count, 3, 5),
    ),
    "cross_entropy_of_probabilities": Layer(
        lambda x, y: F.cross_entropy(x, y.to(x).softmax(1)), (10,), target=_numbers
    ),
    "nll_loss": Layer(F.nll_loss, (10,), target=_labels),
    "mean_of_mse_loss": Layer(lambda x, y: F.mse_loss(x, y.to(x)), (10,), target=_numbers),
    "l1_loss": Layer(lambda x, y: F.l1_loss(x, y.to(x)), (10,), target=_numbers),
    "smooth_l1_loss": Layer(lambda x, y: F.smooth_l1_loss(x, y.to(x)), (10,), target=_numbers),
    "huber_loss": Layer(lambda x, y: F.huber_loss(x, y.to(x)), (10,), target=_numbers),
    "binary_cross_entropy": Layer(
        lambda x, y: F.binary_cross_entropy(x.sigmoid(), y.to(x) / 4), (10,), target=_numbers
    ),
    "binary_cross_entropy_with_logits": Layer(
        lambda x, y: F.binary_cross_entropy_with_logits(x, y.to(x) / 4), (10,), target=_numbers
    ),
    "kl_div": Layer(lambda x, y: F.kl_div(x, y.to(x), reduction="sum"), (10,), target=_numbers),
    "pad_with_zeros": Layer(partial(F.pad, pad=(1, 2, 0, 1)), _IMAGE),
    "pad_reflecting": Layer(partial(F.pad, pad=(1, 2, 2, 1), mode="reflect"), _IMAGE),
    "pad_replicating": Layer(partial(F.pad, pad=(1, 2, 2, 1), mode="replicate"), _IMAGE),
    "pad_circular": Layer(partial(F.pad, pad=(1, 2, 2, 1), mode="circular"), _IMAGE),
    "interpolate": Layer(partial(F.interpolate, scale_factor=2), _IMAGE),
    "interpolate_bilinear": Layer(partial(F.interpolate, size=(7, 9), mode="bilinear"), _IMAGE),
    "interpolate_bicubic": Layer(partial(F.interpolate, size=(7, 9), mode="bicubic"), _IMAGE),
    "pixel_shuffle": Layer(partial(F.pixel_shuffle, upscale_factor=2), _IMAGE),
    "glu": Layer(partial(F.glu, dim=1), _IMAGE),
    "unfold": Layer(partial(F.unfold, kernel_size=3, padding=1), _IMAGE),
    "view": Layer(lambda x: x.reshape(len(x), -1) * 2, _IMAGE),
    "cat_with_itself": Layer(lambda x: torch.cat([x, x.flip(1), x], 1), _IMAGE),
}

# torch 2.15 on the cpu reads their strided weight as contiguous when it computes gradients.
BATCH_NORMS_OF_ROWS = [
    layer.function
    for name, layer in FURTHER_LAYERS.items()
    if "batch_norm" in name and "rows" in name
]

Optimizer = Callable[..., torch.optim.Optimizer]

OPTIMIZERS: dict[str, Optimizer] = {
    "sgd": partial(torch.optim.SGD, lr=0.1),
    "sgd_with_momentum": partial(torch.optim.SGD, lr=0.1, momentum=0.9, weight_decay=0.1),
    "nesterov_sgd": partial(torch.optim.SGD, lr=0.1, momentum=0.9, nesterov=True),
    "adam": partial(torch.optim.Adam, lr=0.1),
    "rmsprop": partial(torch.optim.RMSprop, lr=0.1),
    "rprop": partial(torch.optim.Rprop, lr=0.1),
}

FURTHER_OPTIMIZERS: dict[str, Optimizer] = {
    **OPTIMIZERS,
    "sgd_with_dampening": partial(torch.optim.SGD, lr=0.1, momentum=0.9, dampening=0.5),
    "sgd_uphill": partial(torch.optim.SGD, lr=0.1, maximize=True),
    "adam_with_decay": partial(torch.optim.Adam, lr=0.1, weight_decay=0.1, amsgrad=True),
    "adamw": partial(torch.optim.AdamW, lr=0.1),
    "nadam": partial(torch.optim.NAdam, lr=0.1),
    "radam": partial(torch.optim.RAdam, lr=0.1),
    "adamax": partial(torch.optim.Adamax, lr=0.1),
    "adagrad": partial(torch.optim.Adagrad, lr=0.1),
    "adadelta": partial(torch.optim.Adadelta, lr=0.1),
    "asgd": partial(torch.optim.ASGD, lr=0.1),
    "rmsprop_centered": partial(torch.optim.RMSprop, lr=0.1, centered=True, momentum=0.9),
}


def weights_of(output: torch.Tensor) -> torch.Tensor:
    """Return a gradient to come in: small numbers, a hundred times as large for the last sample."""
    weights = (torch.arange(output.numel()) * 3 % 7 / 4 + 0.5).view(output.shape)
    if len(output.shape) > 0:
        weights[-1:] *= 100
    return weights


def outcome(layer: Layer, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return a layer's output, and the gradients of all its tensors that require one.

    Args:
        layer: A row of ``LAYERS``.
        tensors: As ``layer.tensors`` names them, on one device; without ``given``, the gradient
            is that of the sum of all outputs, which torch makes by expanding a one.
    """
    output = layer.function(*inputs_of(tensors))
    leaves = {name: t for name, t in tensors.items() if t.requires_grad}
    if "given" in tensors:
        found = torch.autograd.grad(output, list(leaves.values()), tensors["given"])
    else:
        found = torch.autograd.grad(output.sum(), list(leaves.values()))
    return {"output": output.detach(), **_named(leaves, found)}


def inputs_of(tensors: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    """Return what a layer's function takes, of the tensors that belong to it."""
    return [t for name, t in tensors.items() if name != "given"]


def _named(leaves: Iterable[str], found: Iterable[torch.Tensor]) -> dict[str, torch.Tensor]:
    return {f"gradient of {name}": g for name, g in zip(leaves, found, strict=True)}


def relative(found: dict[str, Any], expected: dict[str, torch.Tensor]) -> tuple[Any, Any]:
    """Return both in units of the largest number of each expected tensor, on the cpu.

    ``found`` may hold several outcomes, by layout: then both are given for each of them.
    """
    if not all(isinstance(value, torch.Tensor) for value in found.values()):
        pairs = {name: relative(outcome, expected) for name, outcome in found.items()}
        return {n: pair[0] for n, pair in pairs.items()}, {n: pair[1] for n, pair in pairs.items()}
    units = {name: t.abs().max().clamp(min=1e-3) for name, t in expected.items()}
    return (
        {name: t.cpu() / units[name] for name, t in found.items()},
        {name: t / units[name] for name, t in expected.items()},
    )


def exact(layer: Layer, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the outcome in float64 on the cpu, as float32."""
    floats = {n: t.double() for n, t in tensors.items() if t.is_floating_point()}
    exact = {**tensors, **{n: t.requires_grad_(n in LEARNED) for n, t in floats.items()}}
    return {name: value.float() for name, value in outcome(layer, exact).items()}


SMALL = 1e-4
"""Of the largest number of a tensor. Winograd's convolutions are the least exact, with 1e-5."""


def assert_exact(
    found: dict[str, Any], layer: Layer, tensors: dict[str, torch.Tensor], tolerance: float = SMALL
) -> None:
    """Compare an outcome, or several by name, with that of float64 on the cpu.

    Raises:
        AssertionError: They differ by more than ``tolerance`` of the largest number of a tensor.
    """
    assert_close(*relative(found, exact(layer, tensors)), rtol=0, atol=tolerance)


def outcomes(
    layer: Layer,
    tensors: dict[str, torch.Tensor],
    of: str,
    device: torch.device,
    layouts: dict[str, Layout] = LAYOUTS_OF_IMAGES,
) -> dict[str, dict[str, torch.Tensor]]:
    """Return the outcome on ``device``, by the layout that the tensor named ``of`` has there."""
    found = {}
    for name, layout in layouts.items():
        moved = {key: t.to(device) for key, t in tensors.items()}
        moved[of] = layout(moved[of])[1].detach()
        leaves = {key: t.requires_grad_(key in LEARNED) for key, t in moved.items()}
        found[name] = on_cpu(outcome(layer, leaves))
    return found


def batches(layer: Layer, device: torch.device) -> tuple[dict[int, Any], dict[int, Any]]:
    """Return what ``layer`` makes on ``device`` of batches from one sample on, and should."""
    found, exactly = {}, {}
    small = math.prod(layer.sample) <= 10 and not layer.parameters
    many = 65_537 if small else 31 * layer.batch + 2
    for count in (33, 1, 257, 2, many, 33, 3):
        tensors = layer.tensors(count)
        pair = relative(outcome(layer, on(device, tensors)), exact(layer, tensors))
        found[count], exactly[count] = pair
    return found, exactly


def passes(
    layer: Layer,
    tensors: dict[str, torch.Tensor],
    earlier: dict[str, torch.Tensor],
    device: torch.device,
) -> dict[str, dict[str, torch.Tensor]]:
    """Return outcomes on ``device`` by moment, all of them after passes with ``earlier`` numbers.

    ``tensors`` are written over the earlier ones, in place: as the next batch, and as an optimizer
    or a state dict changes weights. ``alone`` is a pass for each learned tensor, the others frozen.
    """
    moved = on(device, earlier)
    inputs = inputs_of(moved)
    leaves = {name: t for name, t in moved.items() if name in LEARNED}
    outcome(layer, moved)
    with torch.no_grad():
        layer.function(*inputs)
        for name, t in tensors.items():
            moved[name].copy_(t)
        tried = layer.function(*inputs)
        layer.function(*inputs_of(on(device, earlier)))  # leaves the last result as it is
    alone: list[torch.Tensor] = []
    for leaf in leaves.values():
        others = [t if t is leaf else t.detach() for t in inputs]
        alone += torch.autograd.grad(layer.function(*others), leaf, moved["given"])
    output = layer.function(*inputs)
    first, second = (
        torch.autograd.grad(output, list(leaves.values()), moved["given"], retain_graph=True)
        for _ in range(2)
    )
    for scale in (1, 2, 3):
        layer.function(*inputs).backward(moved["given"] * scale)
    accumulated = [t.grad / 6 for t in leaves.values() if t.grad is not None]
    found = {"first": (output, first), "second": (tried, second), "third": (output, accumulated)}
    found["alone"] = (output, alone)
    return {
        moment: on_cpu({"output": output.detach(), **_named(leaves, gradients)})
        for moment, (output, gradients) in found.items()
    }


def on(device: torch.device, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Copy tensors to ``device``, where those that are learned require a gradient."""
    return {n: t.to(device, copy=True).requires_grad_(n in LEARNED) for n, t in tensors.items()}


def on_cpu(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Copy all tensors to the cpu."""
    return {name: t.cpu() for name, t in tensors.items()}


def trained_in_every_layout(
    optimizer: Optimizer,
    parameter: torch.Tensor,
    gradients: list[torch.Tensor],
    device: torch.device,
    *,
    foreach: bool,
) -> dict[str, torch.Tensor]:
    """Return ``parameter`` after the steps on ``device``, by what has which layout there."""
    found = {}
    for name, layout in LAYOUTS_OF_IMAGES.items():
        for of in ("parameter", "gradient"):
            # copies: Nesterov's foreach adds into the gradients
            start, *given = [t.to(device, copy=True) for t in (parameter, *gradients)]
            start = layout(start)[1] if of == "parameter" else start
            given = [layout(t)[1] for t in given] if of == "gradient" else given
            found[f"{name} {of}"] = trained(optimizer, start, given, foreach=foreach).cpu()
    return found


def trained_together(
    optimizer: Optimizer, device: torch.device, dtype: torch.dtype, small: int, **options: Any
) -> list[torch.Tensor]:
    """Return parameters of many shapes and layouts after six steps, on the cpu in float32.

    In each step others have no gradient; gradients are accumulated and clipped, the rate falls, and
    the optimizer is replaced by one that loads its state.
    """
    numbers = torch.Generator().manual_seed(0)
    shapes = [(), (1,), (3, 5), (0,), (33,), (4099,), (6, 3, 5, 5), (65_537,), *[(7,)] * small]
    layouts = list(EVERY_LAYOUT.values())

    def drawn(shape: tuple[int, ...], place: int) -> torch.Tensor:
        t = torch.randn(shape, generator=numbers).to(device, dtype)
        return layouts[place % len(layouts)](t)[1]

    learned = [drawn(shape, place).requires_grad_() for place, shape in enumerate(shapes)]
    groups = [{"params": learned[1::8], "lr": 0.02}]
    groups += [{"params": [p for place, p in enumerate(learned) if place % 8 != 1]}]
    steps = optimizer(groups, **options)
    for step in range(6):
        steps.zero_grad(set_to_none=step == 3)
        used = [p for place, p in enumerate(learned) if place > 20 or (place + step) % 4 > 0]
        gradients = [drawn(p.shape, place + step) for place, p in enumerate(used)]
        for _ in range(2):
            torch.autograd.backward([p * 1 for p in used], gradients)
        if step == 1:
            torch.nn.utils.clip_grad_norm_(learned, 50)
            torch.nn.utils.clip_grad_norm_(learned, 1000)
        if step == 2:
            torch.nn.utils.clip_grad_value_(learned, 0.5)
            steps.param_groups[0]["lr"] /= 2
        if step == 3:
            state = steps.state_dict()
            steps = optimizer(groups, **options)
            steps.load_state_dict(state)
        steps.step()
    return [parameter.detach().cpu().float() for parameter in learned]


def trained(
    optimizer: Optimizer, parameter: torch.Tensor, gradients: list[torch.Tensor], **options: Any
) -> torch.Tensor:
    """Return ``parameter`` after a step of ``optimizer`` with each of ``gradients``."""
    learned = parameter.detach().requires_grad_()  # torchax makes no Parameter of a slice
    steps = optimizer([learned], **options)
    for gradient in gradients:
        learned.grad = gradient
        steps.step()
    return learned.detach()


def normalized(
    module: torch.nn.Module, shape: tuple[int, ...], device: torch.device, dtype: torch.dtype
) -> list[torch.Tensor]:
    """Return what a batch norm makes in turns of train and eval, and its buffers, on the cpu."""
    numbers = torch.Generator().manual_seed(0)
    moved, found = copy.deepcopy(module).to(device, dtype), []
    turns = ((8, True), (8, False), (8, True), (3, True), (1, False), (8, True))
    last = list(EVERY_LAYOUT.values())[-len(turns) :]  # those of images among them
    for (count, train), layout in zip(turns, reversed(last), strict=True):
        moved.train(train)
        batch = layout(torch.randn(count, *shape, generator=numbers).to(device, dtype))[1]
        found += [moved(batch).detach(), *[t.clone() for t in moved.buffers()]]
    return [t.cpu().float() for t in found]
