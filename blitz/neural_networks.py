"""Chapter 3, Neural Networks: LeNet, its loss, its gradients and the rules that update it."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from blitz import devices


class Net(nn.Module):
    """LeNet for 1x32x32 images of ten classes: two convolutions, two poolings, three linear layers.

    The sizes below are those of ``kernel_size=3``; with 5 the maps shrink to 28, 14, 10 and 5
    pixels a side, and ``fc1`` takes 16*5*5 numbers.

    Args:
        kernel_size: 3, or 5 as in LeNet and in today's English tutorial.
        device: Where to make the parameters.

    Raises:
        ValueError: ``kernel_size`` is neither 3 nor 5.
        UnusableDevice: ``device`` cannot be used here.

    Tutorial: "Define the network".
    """

    def __init__(self, kernel_size: int = 3, device: str | torch.device = "cpu") -> None:
        if kernel_size not in (3, 5):
            raise ValueError(
                f"kernel_size {kernel_size!r}: the tutorial's networks have kernels of 3x3 or of "
                "5x5 pixels. Use 3 or 5."
            )
        super().__init__()
        device = devices.resolve(device)
        self.conv1 = nn.Conv2d(1, 6, kernel_size, device=device)
        self.conv2 = nn.Conv2d(6, 16, kernel_size, device=device)
        features = 16 * _side(32, kernel_size) ** 2  # 16*6*6, of 32x32 pixels
        self.fc1 = nn.Linear(features, 120, device=device)
        self.fc2 = nn.Linear(120, 84, device=device)
        self.fc3 = nn.Linear(84, 10, device=device)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Ten numbers for each image: (N, 1, 32, 32) in, (N, 10) out.

        Sides of 30 to 33 pixels fit as well (32 to 35 with ``kernel_size=5``): pooling drops the
        odd row and column.

        Raises:
            TypeError, ValueError: as :meth:`stages`.
        """
        return self.stages(images)["fc3"]

    def stages(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """What comes out of every stage on the way from ``images`` to the ten numbers.

        Raises:
            TypeError: ``images`` is no tensor.
            ValueError: ``images`` has a shape, dtype or device that the layers cannot take; the
                message names the fault and the remedy.
        """
        _check_images(images, self)
        conv1 = F.relu(self.conv1(images))  # (N, 6, 30, 30)
        pool1 = F.max_pool2d(conv1, (2, 2))  # (N, 6, 15, 15)
        conv2 = F.relu(self.conv2(pool1))  # (N, 16, 13, 13)
        pool2 = F.max_pool2d(conv2, 2)  # (N, 16, 6, 6): a square window needs one number only
        flat = torch.flatten(pool2, 1)  # (N, 576)
        fc1 = F.relu(self.fc1(flat))  # (N, 120)
        fc2 = F.relu(self.fc2(fc1))  # (N, 84)
        return {
            "conv1": conv1,
            "pool1": pool1,
            "conv2": conv2,
            "pool2": pool2,
            "flat": flat,
            "fc1": fc1,
            "fc2": fc2,
            "fc3": self.fc3(fc2),  # (N, 10)
        }


def _side(pixels: int, kernel_size: int) -> int:
    """The side of the last map: twice a convolution, which trims, and a pooling, which halves."""
    once = (pixels - kernel_size + 1) // 2
    return (once - kernel_size + 1) // 2


def _check_images(images: torch.Tensor, net: Net) -> None:
    """Refuse what the layers would refuse, in words that help.

    Raises:
        TypeError, ValueError: see :meth:`Net.stages`.
    """
    if not isinstance(images, torch.Tensor):
        raise TypeError(
            f"images is a {type(images).__name__}, the network takes a tensor. Convert it with "
            "torch.from_numpy(images) or torch.tensor(images)."
        )
    fault = _fault_of_shape(images, net) or _fault_of_kind(images, net.conv1.weight)
    if fault is not None:
        raise ValueError(f"images of shape {tuple(images.shape)}: {fault}")


def _fault_of_shape(images: torch.Tensor, net: Net) -> str | None:
    if images.ndim == 3:
        return (
            "one image without a batch dimension, the network takes (N, 1, 32, 32). Make it a "
            "batch of one with images.unsqueeze(0)."
        )
    if images.ndim != 4:
        return f"{images.ndim} dimensions, the network takes four. Reshape to (N, 1, 32, 32)."
    _, channels, height, width = images.shape
    if channels != net.conv1.in_channels:
        return (
            f"{channels} channels, the network takes 1. Make the images grey, for instance with "
            "images.mean(dim=1, keepdim=True)."
        )
    kernel_size = net.conv1.kernel_size[0]
    last_map = _side(height, kernel_size), _side(width, kernel_size)
    if 16 * last_map[0] * last_map[1] != net.fc1.in_features:
        return (
            f"{height}x{width} pixels, the network takes 32x32. Resize or pad the images: 28x28 "
            "becomes 32x32 by torch.nn.functional.pad(images, (2, 2, 2, 2))."
        )
    return None


def _fault_of_kind(images: torch.Tensor, weight: torch.Tensor) -> str | None:
    if images.device != weight.device:
        return (
            f"they are on {images.device}, the network is on {weight.device}. Move them with "
            f"images.to({str(weight.device)!r})."
        )
    if images.dtype != weight.dtype and not _autocasts(images.device):
        return (
            f"their dtype is {images.dtype}, the network's {weight.dtype}. Convert them with "
            f"images.to({weight.dtype}), and whole numbers of 0 to 255 to the range 0 to 1."
        )
    return None


def _autocasts(device: torch.device) -> bool:
    """Whether dtypes are being matched for us on ``device``."""
    known = torch.amp.is_autocast_available(device.type)
    return known and torch.is_autocast_enabled(device.type)


def stage_shapes(net: Net, images: torch.Tensor) -> dict[str, tuple[int, ...]]:
    """The shape after every stage of ``net`` for ``images`` of shape (N, 1, 32, 32).

    Raises:
        TypeError, ValueError: as :meth:`Net.stages`.

    Tutorial: "Define the network", the 6*6 "from image dimension".
    """
    return {name: tuple(stage.shape) for name, stage in net.stages(images).items()}


def random_images(
    count: int = 1, size: int = 32, device: str | torch.device = "cpu"
) -> torch.Tensor:
    """Normally distributed grey images of shape (count, 1, size, size).

    Raises:
        UnusableDevice: ``device`` cannot be used here.

    Tutorial: "Define the network", a random 32x32 input.
    """
    return torch.randn(count, 1, size, size, device=devices.resolve(device))


def num_flat_features(x: torch.Tensor) -> int:
    """The product of all sizes of ``x`` but the first, the batch's.

    Tutorial: "Define the network", the helper of the older revisions.
    """
    features = 1
    for size in x.shape[1:]:
        features *= size
    return features


def flatten_by_view(x: torch.Tensor) -> torch.Tensor:
    """``x`` of shape (N, ...) as a view of shape (N, features), by the older revisions' means.

    An unbatched map is taken for a batch of its channels: the first dimension is the batch.

    Raises:
        RuntimeError: the elements of ``x`` do not lie in memory in the order of its dimensions.

    Tutorial: "Define the network"; newer revisions write ``torch.flatten(x, 1)``.
    """
    return x.view(-1, num_flat_features(x))


def propagate_random_gradient(
    net: nn.Module, images: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Clear ``net``'s gradients, then send a random gradient back from its output.

    Returns:
        The output for ``images`` and the random gradient, both (N, 10) for :class:`Net`.

    Tutorial: "Define the network".
    """
    clear_gradients(net)
    output = net(images)
    gradient = torch.randn_like(output)
    output.backward(gradient)
    return output, gradient


class Cube(torch.autograd.Function):
    """x³ with its gradient written by hand; call it through :func:`cube`.

    Tutorial: "Define the network", recap: ``autograd.Function``.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        """The cube of every element of ``x``, of any shape."""
        ctx.save_for_backward(x)
        return x * x * x

    @staticmethod
    def backward(ctx: Any, grad_output: torch.Tensor) -> torch.Tensor:
        """The incoming gradient times 3x²."""
        x: torch.Tensor
        (x,) = ctx.saved_tensors
        return grad_output * 3 * x * x


def cube(x: torch.Tensor) -> torch.Tensor:
    """x³ of every element, recorded as one operation of our own.

    Tutorial: "Define the network", recap: ``autograd.Function``.
    """
    cubed: torch.Tensor = Cube.apply(x)
    return cubed


def target_for(output: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """``values`` as a view in the shape of ``output``, as a loss wants its target.

    Raises:
        ValueError: there are not as many values as numbers in ``output``.

    Tutorial: "Loss Function".
    """
    if values.numel() != output.numel():
        raise ValueError(
            f"values of shape {tuple(values.shape)} cannot take the output's shape "
            f"{tuple(output.shape)}: {values.numel()} numbers for {output.numel()}. Give one value "
            "for each number of the output."
        )
    return values.view(output.shape)


def mean_squared_error(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The mean of the squared differences as a scalar tensor: ``nn.MSELoss`` by hand.

    Raises:
        ValueError: the shapes differ, so that broadcasting would compare the wrong numbers.

    Tutorial: "Loss Function".
    """
    if output.shape != target.shape:
        raise ValueError(
            f"target of shape {tuple(target.shape)} does not pair with the output of shape "
            f"{tuple(output.shape)}. Give it that shape, for instance with target_for(output, "
            "target)."
        )
    return ((output - target) ** 2).mean()


def gradients(net: nn.Module) -> dict[str, torch.Tensor | None]:
    """A copy of every parameter's gradient buffer by name; None where there is none.

    Tutorial: "Backprop".
    """
    return {
        name: None if parameter.grad is None else parameter.grad.clone()
        for name, parameter in net.named_parameters()
    }


def gradients_before_and_after(
    net: nn.Module, loss: torch.Tensor
) -> tuple[dict[str, torch.Tensor | None], dict[str, torch.Tensor | None]]:
    """Copies of ``net``'s gradient buffers before and after ``loss.backward()``.

    Args:
        net: Its gradients are neither cleared before nor after.
        loss: A scalar computed by ``net``, whose graph this uses up.

    Tutorial: "Backprop".
    """
    before = gradients(net)
    loss.backward()
    return before, gradients(net)


def clear_gradients(net: nn.Module, to_none: bool = True) -> None:
    """Drop ``net``'s gradient buffers, or fill them with zeros where ``to_none`` is false.

    Tutorial: "Backprop", "Update the weights".
    """
    net.zero_grad(set_to_none=to_none)


def update_by_hand(parameters: Iterable[torch.Tensor], learning_rate: float = 0.01) -> None:
    """weight = weight - learning_rate * gradient, in place and out of autograd's sight.

    Parameters that do not require grad stay as they are.

    Raises:
        ValueError: a parameter has no gradient, or the learning rate is negative; nothing is
            updated then.

    Tutorial: "Update the weights".
    """
    learned = _learned(parameters, learning_rate)
    with torch.no_grad():
        for parameter, gradient in learned:
            parameter.sub_(gradient * learning_rate)


def update_data_by_hand(parameters: Iterable[torch.Tensor], learning_rate: float = 0.01) -> None:
    """The update of :func:`update_by_hand` in the tutorial's form, through ``.data``.

    Autograd does not notice the change, so that a backward pass over an older graph goes wrong in
    silence; the other form is refused there.

    Raises:
        ValueError: as :func:`update_by_hand`.

    Tutorial: "Update the weights".
    """
    for parameter, gradient in _learned(parameters, learning_rate):
        parameter.data.sub_(gradient.data * learning_rate)


def _learned(
    parameters: Iterable[torch.Tensor], learning_rate: float
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The parameters that require grad, each with its gradient."""
    if not learning_rate >= 0:
        raise ValueError(
            f"learning_rate {learning_rate!r} would climb the loss. Use 0 or more, such as 0.01."
        )
    learned = []
    for position, parameter in enumerate(p for p in parameters if p.requires_grad):
        if parameter.grad is None:
            raise ValueError(
                f"parameter {position} of shape {tuple(parameter.shape)} has no gradient. Call "
                "backward() on a loss that depends on it before the update."
            )
        learned.append((parameter, parameter.grad))
    return learned


#: The update rules by name, with the settings they get here unless told otherwise. The learning
#: rate of SGD is the tutorial's; the others are torch's own, and so is every setting not named.
RULES: dict[str, tuple[type[torch.optim.Optimizer], dict[str, Any]]] = {
    "SGD": (torch.optim.SGD, {"lr": 0.01}),
    "Nesterov": (torch.optim.SGD, {"lr": 0.01, "momentum": 0.9, "nesterov": True}),
    "Adam": (torch.optim.Adam, {"lr": 0.001, "betas": (0.9, 0.999), "eps": 1e-8}),
    "RMSprop": (torch.optim.RMSprop, {"lr": 0.01, "alpha": 0.99, "eps": 1e-8}),
}


def optimizer(
    rule: str, parameters: Iterable[torch.Tensor], **settings: Any
) -> torch.optim.Optimizer:
    """An optimizer that updates ``parameters`` by the rule of this name.

    ========  ======================================================
    rule      settings unless told otherwise
    ========  ======================================================
    SGD       lr=0.01, no momentum
    Nesterov  SGD with lr=0.01, momentum=0.9, nesterov=True
    Adam      lr=0.001, betas=(0.9, 0.999), eps=1e-8
    RMSprop   lr=0.01, alpha=0.99, eps=1e-8
    ========  ======================================================

    Args:
        rule: A name of the table.
        parameters: What to update.
        settings: Replace or extend the settings of the table; named as torch names them.

    Raises:
        ValueError: there is no such rule, or torch refuses the settings or the parameters.
        TypeError: torch's optimizer knows no setting of this name.

    Tutorial: "Update the weights".
    """
    if rule not in RULES:
        raise ValueError(f"rule {rule!r} is not known. Use one of {', '.join(RULES)}.")
    make, usual = RULES[rule]
    return make(parameters, **{**usual, **settings})


def training_step(
    net: nn.Module,
    criterion: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    optimizer: torch.optim.Optimizer,
    images: torch.Tensor,
    target: torch.Tensor,
) -> torch.Tensor:
    """One turn of the training loop: clear the gradients, loss, gradients, update.

    Args:
        net: The network, whose parameters ``optimizer`` updates.
        criterion: Loss function of (output, target).
        optimizer: Made over ``net``'s parameters.
        images: A batch; (N, 1, 32, 32) for :class:`Net`.
        target: What the output is compared with; (N, 10) for :class:`Net` and the squared error.

    Returns:
        The loss before the update, a scalar without a graph.

    Tutorial: "Update the weights".
    """
    optimizer.zero_grad()
    loss = criterion(net(images), target)
    loss.backward()
    optimizer.step()
    return loss.detach()
