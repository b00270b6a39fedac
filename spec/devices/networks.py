"""The layers, losses and optimizers of the tutorial, as tables of calls and shapes."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F

from spec.devices.layouts import LAYOUTS_OF_IMAGES


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

    def tensors(self, count: int) -> dict[str, torch.Tensor]:
        """Return random inputs for ``count`` samples and parameters, on the cpu, by name.

        ``given`` among them is the gradient that comes in.
        """
        shapes = {"input": (count, *self.sample)}
        shapes |= zip(("weight", "bias"), self.parameters, strict=False)
        tensors = {name: torch.randn(shape) for name, shape in shapes.items()}
        return {**tensors, "given": weights_of(self(*tensors.values()))}

    def __call__(self, *tensors: torch.Tensor) -> torch.Tensor:
        """Return the layer's output, or the loss of each sample."""
        if self.target is not None:
            return self.function(*tensors, self.target(len(tensors[0])).to(tensors[0].device))
        return self.function(*tensors)


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

Optimizer = Callable[..., torch.optim.Optimizer]

OPTIMIZERS: dict[str, Optimizer] = {
    "sgd": partial(torch.optim.SGD, lr=0.1),
    "sgd_with_momentum": partial(torch.optim.SGD, lr=0.1, momentum=0.9, weight_decay=0.1),
    "nesterov_sgd": partial(torch.optim.SGD, lr=0.1, momentum=0.9, nesterov=True),
    "adam": partial(torch.optim.Adam, lr=0.1),
    "rmsprop": partial(torch.optim.RMSprop, lr=0.1),
    "rprop": partial(torch.optim.Rprop, lr=0.1),
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
    inputs = [t for name, t in tensors.items() if name != "given"]
    output = layer(*inputs)
    leaves = {name: t for name, t in tensors.items() if t.requires_grad}
    if "given" in tensors:
        found = torch.autograd.grad(output, list(leaves.values()), tensors["given"])
    else:
        found = torch.autograd.grad(output.sum(), list(leaves.values()))
    gradients = {f"gradient of {name}": g for name, g in zip(leaves, found, strict=True)}
    return {"output": output.detach(), **gradients}


def relative(found: dict[str, Any], expected: dict[str, torch.Tensor]) -> tuple[Any, Any]:
    """Return both in units of the largest number of each expected tensor, on the cpu.

    ``found`` may hold several outcomes, by layout: then both are given for each of them.
    """
    if not all(isinstance(value, torch.Tensor) for value in found.values()):
        pairs = {name: relative(outcome, expected) for name, outcome in found.items()}
        return {n: pair[0] for n, pair in pairs.items()}, {n: pair[1] for n, pair in pairs.items()}
    units = {name: t.abs().max() for name, t in expected.items()}
    return (
        {name: t.cpu() / units[name] for name, t in found.items()},
        {name: t / units[name] for name, t in expected.items()},
    )


def exact(layer: Layer, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the outcome in float64 on the cpu, as float32."""
    exact = {n: t.double().requires_grad_(n != "given") for n, t in tensors.items()}
    return {name: value.float() for name, value in outcome(layer, exact).items()}


def outcomes(
    layer: Layer, tensors: dict[str, torch.Tensor], of: str, device: torch.device
) -> dict[str, dict[str, torch.Tensor]]:
    """Return the outcome on ``device``, by the layout that the tensor named ``of`` has there."""
    found = {}
    for name, layout in LAYOUTS_OF_IMAGES.items():
        moved = {key: t.to(device) for key, t in tensors.items()}
        moved[of] = layout(moved[of])[1].detach()
        leaves = {key: t.requires_grad_(key != "given") for key, t in moved.items()}
        found[name] = on_cpu(outcome(layer, leaves))
    return found


def on(device: torch.device, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Copy tensors to ``device``, where all but the gradient that comes in require one."""
    return {n: t.to(device, copy=True).requires_grad_(n != "given") for n, t in tensors.items()}


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
