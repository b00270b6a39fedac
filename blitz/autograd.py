"""Chapter 2, torch.autograd: a training step, gradients of a vector, freezing and fine-tuning."""

import os
import textwrap
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlparse

import torch
from torch import nn

from blitz import devices, graph
from blitz.base.errors import BlitzError

if TYPE_CHECKING:
    from torchvision.models import ResNet

LEARNING_RATE = 1e-2
MOMENTUM = 0.9


class UnusableWeights(BlitzError, ValueError):
    """Weights that cannot be had or do not fit; the message says which, why and what to do."""


def resnet18(
    weights: str | os.PathLike[str] | None = None, device: str | torch.device = "cpu"
) -> "ResNet":
    """A ResNet-18 in train mode: (N, 3, H, W) images in, (N, 1000) numbers out.

    Args:
        weights: None for random weights, drawn on the cpu, so that a seed gives the same model on
            every device; ``"default"`` for torchvision's, downloaded (45 MB) into
            ``$TORCH_HOME/hub/checkpoints`` unless they are there; else a file with a state_dict.
            A file is read as plain tensors: nothing in it is executed.
        device: Where the model goes.

    Raises:
        UnusableWeights: the weights are missing, damaged or another network's.
        UnusableDevice: ``device`` cannot be used here.

    Tutorial: "Usage in PyTorch".
    """
    import torchvision  # takes longer to import than torch

    place = devices.resolve(device)
    if weights is None:
        return torchvision.models.resnet18().to(place)
    state = _downloaded(place) if weights == "default" else _read(Path(weights), place)
    with torch.device("meta"):  # random values would be overwritten at once
        model = torchvision.models.resnet18().to_empty(device=place)
    try:
        model.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise UnusableWeights(
            f"weights {str(weights)!r} are not those of a ResNet-18 with 1000 classes: "
            f"{_shortened(error)} Give the file of a state_dict that resnet18 itself has."
        ) from error
    return model


def _downloaded(place: torch.device) -> object:
    from torchvision.models import ResNet18_Weights

    url = ResNet18_Weights.DEFAULT.url
    file = Path(torch.hub.get_dir(), "checkpoints", Path(urlparse(url).path).name)
    try:
        return ResNet18_Weights.DEFAULT.get_state_dict(
            progress=False, check_hash=True, map_location=place, weights_only=True
        )
    except Exception as error:  # what fails in reading damaged bytes can raise almost anything
        if file.exists():
            raise UnusableWeights(
                f"weights 'default': {file} is damaged: {_shortened(error)} Delete it: the "
                "next call downloads it anew."
            ) from error
        raise UnusableWeights(
            f"weights 'default': {url} cannot be downloaded to {file}: {_shortened(error)} "
            "Put the file there by hand, or use weights=None."
        ) from error


def _read(file: Path, place: torch.device) -> object:
    # Not by tensor_file: weights that others saved may be of the format before zip files, which has
    # no checksums to compare.
    try:
        return torch.load(file, map_location=place, weights_only=True)
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise UnusableWeights(
            f"weights file {str(file)!r} cannot be read: {error.strerror}. Give the file of a "
            "state_dict, 'default' or None."
        ) from error
    except Exception as error:  # as above
        raise UnusableWeights(
            f"weights file {str(file)!r} is damaged or holds more than tensors: "
            f"{_shortened(error)} Save a state_dict with torch.save, or fetch the file again."
        ) from error


def _shortened(error: Exception) -> str:
    text = textwrap.shorten(str(error) or type(error).__name__, 240, placeholder=" …")
    return text if text.endswith(".") else f"{text}."


def random_image_and_labels(
    side: int = 64, device: str | torch.device = "cpu"
) -> tuple[torch.Tensor, torch.Tensor]:
    """One 1x3xSIDExSIDE image of noise and 1x1000 label values, all uniform on [0, 1).

    Raises:
        UnusableDevice: ``device`` cannot be used here.

    Tutorial: "Usage in PyTorch".
    """
    place = devices.resolve(device)
    return torch.rand(1, 3, side, side, device=place), torch.rand(1, 1000, device=place)


def summed_difference(prediction: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The tutorial's loss, the sum of ``prediction - labels``, as a tensor of one number.

    It shows the mechanics and measures no error: it is linear and has no minimum, and the labels
    have no influence on its gradients.

    Raises:
        ValueError: the shapes differ; they would be broadcast in silence.

    Tutorial: "Usage in PyTorch".
    """
    if prediction.shape != labels.shape:
        raise ValueError(
            f"labels of shape {tuple(labels.shape)} do not fit a prediction of shape "
            f"{tuple(prediction.shape)}: give one label value for every predicted one."
        )
    return (prediction - labels).sum()


def momentum_sgd(parameters: Iterable[nn.Parameter]) -> torch.optim.SGD:
    """The tutorial's optimizer: learning rate 0.01, momentum 0.9.

    Tutorial: "Usage in PyTorch", "Exclusion from the DAG".
    """
    return torch.optim.SGD(parameters, lr=LEARNING_RATE, momentum=MOMENTUM)


@dataclass(frozen=True)
class Step:
    """What a training step leaves behind, for a look at every stage of it.

    Attributes:
        model: The model, its parameters moved, their gradients still in ``.grad``.
        optimizer: The optimizer over all its parameters, one step taken.
        prediction: The model's output before the step.
        loss: The loss before the step, one number.
    """

    model: nn.Module
    optimizer: torch.optim.SGD
    prediction: torch.Tensor
    loss: torch.Tensor


def training_step(model: nn.Module, data: torch.Tensor, labels: torch.Tensor) -> Step:
    """Forward, loss, backward and one step of gradient descent, on the device of ``model``.

    Args:
        model: Any network with parameters; its gradients add to those already there.
        data: A batch that fits the model.
        labels: Values of the shape of the model's output.

    Raises:
        ValueError: ``data`` or ``labels`` lie on another device than the model, the labels have
            another shape than the output, or the model has no parameters.

    Tutorial: "Usage in PyTorch".
    """
    parameter = next(model.parameters(), None)
    if parameter is None:
        raise ValueError(f"{type(model).__name__} has no parameters to train: use a network.")
    place = parameter.device
    for name, tensor in (("data", data), ("labels", labels)):
        if tensor.device != place:
            raise ValueError(
                f"{name} are on {tensor.device}, the model is on {place}: move model, data and "
                "labels to one device with .to()."
            )
    prediction = model(data)
    loss = summed_difference(prediction, labels)
    loss.backward()
    optimizer = momentum_sgd(model.parameters())
    optimizer.step()
    return Step(model, optimizer, prediction, loss)


def a_and_b(device: str | torch.device = "cpu") -> tuple[torch.Tensor, torch.Tensor]:
    """The tutorial's two tracked tensors of shape (2,): a = [2, 3] and b = [6, 4].

    Raises:
        UnusableDevice: ``device`` cannot be used here.

    Tutorial: "Differentiation in Autograd".
    """
    place = devices.resolve(device)
    a = torch.tensor([2.0, 3.0], requires_grad=True, device=place)
    b = torch.tensor([6.0, 4.0], requires_grad=True, device=place)
    return a, b


def q(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Q = 3a³ - b², element by element.

    Tutorial: "Differentiation in Autograd".
    """
    return 3 * a**3 - b**2


def q_gradients(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """dQ/da = 9a² and dQ/db = -2b by their formulas, without autograd.

    Tutorial: "Differentiation in Autograd".
    """
    return 9 * a.detach() ** 2, -2 * b.detach()


def vector_jacobian_product(
    function: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, v: torch.Tensor
) -> torch.Tensor:
    """Jᵀ·v, in the shape of ``x``, where J is the Jacobian of ``function`` at ``x``.

    Args:
        function: Any differentiable function of one tensor.
        x: Where to take it; floating point. Its own ``.grad`` is left alone.
        v: A weight for each output, in the shape of ``function(x)``.

    Raises:
        ValueError: ``x`` is not floating point, ``v`` has not the output's shape, or the output
            does not depend on ``x`` in a differentiable way.

    Tutorial: "Optional Reading: Vector Calculus using autograd".
    """
    if not x.is_floating_point():
        raise ValueError(f"x is {x.dtype}, which has no gradient: give x.float().")
    leaf = x.detach().requires_grad_()
    y = function(leaf)
    if y.shape != v.shape:
        raise ValueError(
            f"v of shape {tuple(v.shape)} does not fit an output of shape {tuple(y.shape)}: give "
            "one weight for every output."
        )
    product = None
    if y.requires_grad:
        (product,) = torch.autograd.grad(y, leaf, v, allow_unused=True)
    if product is None:
        raise ValueError(
            "function(x) does not depend on x in a way that autograd can follow: compute it from x "
            "with differentiable operations, outside torch.no_grad() and without detach()."
        )
    return product


def freeze(model: nn.Module) -> None:
    """Stop autograd from tracking the parameters of ``model``.

    Its buffers are not parameters: in train mode BatchNorm goes on updating its statistics.

    Tutorial: "Exclusion from the DAG".
    """
    for parameter in model.parameters():
        parameter.requires_grad = False


def replace_head(model: nn.Module, classes: int) -> nn.Linear:
    """Give ``model`` a new, unfrozen last layer ``fc`` for ``classes`` classes, and return it.

    The new layer takes as many features as the old one and lies on its device.

    Raises:
        ValueError: the model has no linear layer ``fc``, or ``classes`` is no positive integer.

    Tutorial: "Exclusion from the DAG".
    """
    old = getattr(model, "fc", None)
    if not isinstance(old, nn.Linear):
        layers = ", ".join(name for name, _ in model.named_children())
        raise ValueError(
            f"{type(model).__name__} has no linear layer 'fc' to replace, but: {layers or 'none'}. "
            "Use a ResNet, or replace its last layer by hand."
        )
    if type(classes) is not int or classes < 1:
        raise ValueError(f"classes is {classes!r}: give a positive whole number of classes.")
    model.fc = nn.Linear(old.in_features, classes, device=old.weight.device, dtype=old.weight.dtype)
    return model.fc


def snapshot(named: Iterable[tuple[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Copies of named tensors, such as ``model.named_parameters()``, that later training leaves."""
    return {name: tensor.detach().clone() for name, tensor in named}


def moved(before: dict[str, torch.Tensor], named: Iterable[tuple[str, torch.Tensor]]) -> set[str]:
    """The names of the tensors whose values differ from those of a :func:`snapshot`.

    Parameters move by training; buffers, such as BatchNorm's statistics, by a forward pass.

    Raises:
        ValueError: other names than those of the snapshot, as after a layer was replaced.
    """
    after = dict(named)
    if before.keys() != after.keys():
        raise ValueError(
            f"{', '.join(sorted(before.keys() ^ after.keys()))}: in the snapshot or in the model, "
            "not in both. Compare two states of one model."
        )
    return {name for name, tensor in before.items() if not torch.equal(tensor, after[name])}


@dataclass(frozen=True)
class Footprint:
    """What autograd keeps of a forward pass until backward.

    Attributes:
        nodes: Recorded operations, the leaves' AccumulateGrad included.
        saved_tensors: Values saved for backward, counted once for each time they are saved.
        saved_bytes: Their size in bytes, counted alike.
    """

    nodes: int
    saved_tensors: int
    saved_bytes: int


def footprint(forward: Callable[[], torch.Tensor]) -> Footprint:
    """Run ``forward`` and count what autograd keeps of it; all 0 where nothing is tracked.

    Tutorial: "Exclusion from the DAG".
    """
    sizes: list[int] = []

    def note(tensor: torch.Tensor) -> torch.Tensor:
        sizes.append(tensor.nbytes)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        output = forward()
    nodes = len(graph.of(output).nodes()) if output.grad_fn is not None else 0
    return Footprint(nodes, len(sizes), sum(sizes))
