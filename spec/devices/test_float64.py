"""The nets of the tutorial in float32 on a device, against NumPy and against float64 on the cpu."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from blitz import classifier, neural_networks

pytestmark = pytest.mark.usefixtures("one_thread")


@dataclass(frozen=True)
class Task:
    """A net of the tutorial, a batch, and how it is trained: what two devices can both do."""

    net: nn.Module
    inputs: torch.Tensor
    target: torch.Tensor
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    learning_rate: float
    momentum: float

    def on(self, device: torch.device) -> "Task":
        """A copy of all of it on ``device``."""
        inputs, target = self.inputs.to(device), self.target.to(device)
        net = copy.deepcopy(self.net).to(device)
        return replace(self, net=net, inputs=inputs, target=target)

    def in_float64(self) -> "Task":
        """A copy of all of it in double precision; labels stay integers."""
        target = self.target.double() if self.target.is_floating_point() else self.target
        net = copy.deepcopy(self.net).double()
        return replace(self, net=net, inputs=self.inputs.double(), target=target)

    def learned(self) -> dict[str, nn.Parameter]:
        """The parameters that training moves, by name."""
        return {name: p for name, p in self.net.named_parameters() if p.requires_grad}

    def value(self) -> torch.Tensor:
        """The loss on the batch."""
        return self.loss(self.net(self.inputs), self.target)

    def gradients(self) -> dict[str, torch.Tensor]:
        """The gradient of the loss in every parameter that training moves, by name."""
        learned = self.learned()
        found = torch.autograd.grad(self.value(), list(learned.values()))
        return dict(zip(learned, found, strict=True))

    def slopes(self) -> dict[str, torch.Tensor]:
        """The central difference of the loss, each parameter moved along its gradient."""
        return {name: self._slope(self.learned()[name], g) for name, g in self.gradients().items()}

    @torch.no_grad()
    def _slope(
        self, parameter: torch.Tensor, direction: torch.Tensor, width: float = 1e-8
    ) -> torch.Tensor:
        values = []
        for shift in (width, -2 * width):
            parameter += shift * direction / direction.norm()
            values.append(self.value())
        parameter += width * direction / direction.norm()
        return (values[0] - values[1]) / (2 * width)

    def moved_by_optimizer(self, steps: int) -> dict[str, torch.Tensor]:
        """How far ``steps`` steps of torch's SGD move each parameter."""
        learned = self.learned()
        before = {name: p.detach().clone() for name, p in learned.items()}
        sgd = torch.optim.SGD(learned.values(), lr=self.learning_rate, momentum=self.momentum)
        for _ in range(steps):
            sgd.zero_grad()
            self.value().backward()
            sgd.step()
        return {name: p.detach() - before[name] for name, p in learned.items()}

    def moved_by_hand(self, steps: int) -> dict[str, torch.Tensor]:
        """The same by the formula: v = momentum · v + gradient, w = w - learning rate · v."""
        velocity = {name: torch.zeros_like(p) for name, p in self.learned().items()}
        moved = {name: torch.zeros_like(p) for name, p in self.learned().items()}
        for _ in range(steps):
            for name, gradient in self.gradients().items():
                velocity[name] = self.momentum * velocity[name] + gradient
                moved[name] -= self.learning_rate * velocity[name]
                self.learned()[name].data -= self.learning_rate * velocity[name]
        return moved


def lenet() -> Task:
    """The network of chapter 3, and its loss and learning rate."""
    return Task(
        neural_networks.Net(), torch.randn(4, 1, 32, 32), torch.randn(4, 10), F.mse_loss, 0.01, 0
    )


def the_classifier() -> Task:
    """The network of chapter 4, and its loss, learning rate and momentum."""
    return Task(
        classifier.Net(),
        torch.randn(4, 3, 32, 32),
        torch.tensor([3, 8, 8, 0]),
        F.cross_entropy,
        0.001,
        0.9,
    )


def new_head_of_resnet18() -> Task:
    """The fine-tuning of chapter 2: a frozen ResNet-18 whose new last layer is trained."""
    from torchvision.models import resnet18

    net = resnet18().eval().requires_grad_(False)
    net.fc = nn.Linear(512, 10)
    return replace(the_classifier(), net=net, learning_rate=0.01)


def relative_to_the_largest(
    values: dict[str, torch.Tensor], reference: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """``values`` in float64 on the cpu, each tensor in units of the largest of its reference."""
    return {
        name: value.detach().cpu().double() / reference[name].abs().max()
        for name, value in values.items()
    }


def slices(a: Any, b: Any) -> Any:
    """A tensor after slices of it were written to, by a number and by another tensor."""
    a[:, 1] = 0
    a[2:5, ::3] = b[:3, : a[0, ::3].shape[0]]
    return a


def in_place(a: Any, b: Any) -> Any:
    """A tensor after a number and another tensor were added into it."""
    a += 5
    a[1:] += b[:-1]
    return a


def cross_entropy(scores: np.ndarray, labels: np.ndarray) -> float:
    """The mean of -log softmax at the label, in NumPy."""
    shifted = scores - scores.max(axis=1, keepdims=True)
    logarithms = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return -float(logarithms[np.arange(len(labels)), labels].mean())


class TestFloat64:
    @pytest.mark.parametrize(
        ("step", "in_numpy"),
        [
            pytest.param(slices, slices, id="slice_assignment"),
            pytest.param(
                lambda a, b: torch.cat([a, b, a], dim=1),
                lambda a, b: np.concatenate([a, b, a], axis=1),
                id="cat",
            ),
            pytest.param(lambda a, b: a @ b.T, lambda a, b: a @ b.T, id="matmul"),
            pytest.param(lambda a, b: a * b, lambda a, b: a * b, id="product"),
            pytest.param(in_place, in_place, id="in_place_add"),
            pytest.param(F.mse_loss, lambda a, b: ((a - b) ** 2).mean(), id="mean_squared_error"),
            pytest.param(
                lambda a, b: F.cross_entropy(a, b.argmax(dim=1)),
                lambda a, b: cross_entropy(a, b.argmax(axis=1)),
                id="cross_entropy",
            ),
        ],
    )
    def test_step_gives_what_numpy_gives_in_float64(
        self, device: torch.device, step: Any, in_numpy: Any
    ) -> None:
        """Each step of the tutorial gives in float32, on every device, what float64 gives."""
        a, b = torch.randn(48, 80), torch.randn(48, 80)

        expected = in_numpy(a.double().numpy(), b.double().numpy())
        result = step(a.to(device), b.to(device))

        assert result.device == device
        assert_close(result.cpu(), torch.tensor(expected, dtype=torch.float32))

    @pytest.mark.parametrize("task", [lenet, the_classifier])
    def test_scores_on_a_device_are_those_of_float64(self, device: torch.device, task: Any) -> None:
        """Each net of the table gives in float32, on every device, the scores of float64."""
        task = task()
        there, exact = task.on(device), task.in_float64()

        scores = there.net(there.inputs)
        expected = exact.net(exact.inputs)

        assert scores.device == device
        assert_close(scores.cpu(), expected.float())

    @pytest.mark.parametrize("task", [lenet, the_classifier])
    def test_gradients_of_every_net_are_slopes_of_its_loss(self, task: Any) -> None:
        """In each net of the table a parameter's gradient is the slope of the loss along it."""
        task = task().in_float64()

        slopes, gradients = task.slopes(), task.gradients()

        assert len(gradients) == 10
        assert_close(
            {name: slope.item() for name, slope in slopes.items()},
            {name: gradient.norm().item() for name, gradient in gradients.items()},
            rtol=1e-5,  # of 16 digits the difference of two losses over 1e-8 leaves 6
            atol=0,
        )

    @pytest.mark.parametrize("task", [lenet, the_classifier])
    def test_gradients_on_a_device_are_those_of_float64(
        self, device: torch.device, task: Any
    ) -> None:
        """All gradients of each net of the table in float32, on every device, are float64's."""
        task = task()

        gradients = task.on(device).gradients()
        expected = task.in_float64().gradients()

        assert {gradient.device for gradient in gradients.values()} == {device}
        # Gradients are as small as the default atol, so they are measured by the largest of their
        # tensor: sums of a thousand terms in float32 are good to 1e-6 of it, in TF32 to 1e-3.
        assert_close(
            relative_to_the_largest(gradients, expected),
            relative_to_the_largest(expected, expected),
            rtol=0,
            atol=1e-5,
        )

    @pytest.mark.parametrize("task", [lenet, the_classifier, new_head_of_resnet18])
    def test_training_on_a_device_moves_the_weights_as_float64_does(
        self, device: torch.device, task: Any
    ) -> None:
        """Steps of SGD in float32, on every device, move all weights as the formula in float64."""
        task = task()

        moved = task.on(device).moved_by_optimizer(steps=4)
        expected = task.in_float64().moved_by_hand(steps=4)

        assert {tensor.device for tensor in moved.values()} == {device}
        # A step moves a weight of 0.1 by 1e-4, and float32 rounds that weight by 4e-9.
        assert_close(
            relative_to_the_largest(moved, expected),
            relative_to_the_largest(expected, expected),
            rtol=0,
            atol=3e-4,
        )
