"""The GPU section: a net and its batches move to an accelerator and train there just the same."""

import copy
import functools
import io
import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close
from torch.utils.data import DataLoader, Dataset

from blitz import autograd, classifier, devices, neural_networks
from blitz.learning import evaluation
from blitz.learning.step import TrainingStep

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def no_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine as it is without its accelerator, if it has one."""
    found = devices.accelerator()
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    if found is not None:
        monkeypatch.setattr(torch.get_device_module(found), "is_available", lambda: False)


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


def lenet_of_5x5_kernels() -> Task:
    """The same as today's English tutorial has it."""
    return replace(lenet(), net=neural_networks.Net(kernel_size=5))


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
    net = autograd.resnet18().eval()
    autograd.freeze(net)
    autograd.replace_head(net, 10)
    return replace(the_classifier(), net=net, learning_rate=0.01)


def relative_to_the_largest(
    values: dict[str, torch.Tensor], reference: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """``values`` in float64 on the cpu, each tensor in units of the largest of its reference."""
    return {
        name: value.detach().cpu().double() / reference[name].abs().max()
        for name, value in values.items()
    }


class Nested(nn.Module):
    """A net with everything that a move has to find: nesting, buffers, a parameter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Sequential(nn.BatchNorm2d(2)))
        self.layers[0].requires_grad_(False)  # frozen layers move as well
        self.scale = nn.Parameter(torch.tensor([1.5, 2.5]))
        self.register_buffer("kept", torch.tensor([3, 4]))
        self.register_buffer("passing", torch.tensor([True, False]), persistent=False)


class TestTrainingOnGpu:
    @pytest.mark.on("accelerator")
    def test_device_to_train_on_is_the_first_accelerator(self, device: torch.device) -> None:
        """Where there is an accelerator, the first one is the device to train on."""
        picked = devices.pick()

        assert picked == torch.device(device.type, 0)
        assert str(picked) == f"{device.type}:0"
        assert torch.ones(2, device=picked).device == picked

    def test_device_to_train_on_is_the_cpu_without_an_accelerator(
        self, no_accelerator: None
    ) -> None:
        """Where there is no accelerator, the cpu is the device to train on."""
        picked = devices.pick()

        assert picked == torch.device("cpu")
        assert str(picked) == "cpu"

    def test_cuda_is_available_where_it_computes(self) -> None:
        """torch.cuda.is_available() is true exactly where a CUDA device gets a sum right."""
        assert torch.cuda.is_available() == (devices.why_unusable(torch.device("cuda")) is None)

    def test_device_can_be_named_without_its_hardware(self) -> None:
        """A device is a name and a number: it can be written down where there is no such device."""
        named = torch.device("cuda:63")

        assert (named.type, named.index) == ("cuda", 63)
        assert str(named) == "cuda:63"

    def test_device_without_an_index_is_not_the_one_with_index_zero(self) -> None:
        """The device "cuda" without an index is another device object than "cuda:0"."""
        assert torch.device("cuda") != torch.device("cuda:0")
        assert torch.device("cuda").index is None
        assert torch.device("cuda", 0) == torch.device("cuda:0")

    def test_device_of_unknown_name_is_refused(self) -> None:
        """A device whose name torch does not know is refused; "cpu" is known everywhere."""
        assert torch.device("cpu").type == "cpu"

        with pytest.raises(RuntimeError, match="Expected one of cpu, cuda"):
            torch.device("gpu")

    @pytest.mark.on("accelerator", "meta")
    def test_net_moves_with_all_its_parameters_and_buffers(self, device: torch.device) -> None:
        """Moving a net moves every parameter and buffer in it, and freezes or unfreezes none."""
        net = Nested().to(device)

        moved = {name: t.device for name, t in [*net.named_parameters(), *net.named_buffers()]}

        assert moved == dict.fromkeys(
            [
                "scale",
                "layers.0.weight",
                "layers.0.bias",
                "layers.1.0.weight",
                "layers.1.0.bias",
                "kept",
                "passing",
                "layers.1.0.running_mean",
                "layers.1.0.running_var",
                "layers.1.0.num_batches_tracked",
            ],
            device,
        )
        flags = {name: p.requires_grad for name, p in net.named_parameters()}
        assert [name for name in flags if not flags[name]] == ["layers.0.weight", "layers.0.bias"]
        assert net.training

    @pytest.mark.on("accelerator", "meta")
    def test_tensors_and_modules_outside_registration_stay(self, device: torch.device) -> None:
        """A plain tensor attribute and modules in a Python list do not move with the net."""
        net = Nested()
        net.plain = torch.ones(2)
        net.in_a_list = [nn.Linear(1, 1)]
        net.in_a_module_list = nn.ModuleList([nn.Linear(1, 1)])

        net.to(device)

        assert net.plain.device == torch.device("cpu")
        assert net.in_a_list[0].weight.device == torch.device("cpu")
        assert net.in_a_module_list[0].weight.device == device

    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_net_keeps_its_dtypes_when_it_moves(self, device: torch.device) -> None:
        """A move to a device changes no dtype: integer and boolean buffers stay what they are."""
        net = Nested().to(device)

        assert net.layers[1][0].num_batches_tracked.dtype == torch.int64
        assert net.kept.dtype == torch.int64
        assert net.passing.dtype == torch.bool
        assert {parameter.dtype for parameter in net.parameters()} == {torch.float32}

    def test_net_comes_back_with_the_same_values(self, device: torch.device) -> None:
        """A net that went to a device and came back has exactly the values that it left with."""
        net = Nested()
        before = copy.deepcopy(net.state_dict())

        back = net.to(device).to("cpu")

        assert before.keys() == back.state_dict().keys()
        assert all(torch.equal(before[name], value) for name, value in back.state_dict().items())
        assert back.passing.tolist() == [True, False]

    @pytest.mark.on("accelerator", "meta")
    def test_net_moves_in_place_where_a_tensor_is_copied(self, device: torch.device) -> None:
        """A net is moved in place and returned itself; a tensor stays, and its copy is returned."""
        net, tensor = nn.Linear(2, 1), torch.ones(2)
        net.weight.grad = torch.ones(1, 2)

        moved_net, moved_tensor = net.to(device), tensor.to(device)
        others = [nn.Linear(2, 1).to(device=device), nn.Linear(2, 1).to(str(device))]

        assert moved_net is net
        assert (net.weight.device, net.weight.grad.device) == (device, device)
        assert [other.weight.device for other in others] == [device, device]
        assert moved_tensor is not tensor
        assert (tensor.device, moved_tensor.device) == (torch.device("cpu"), device)

    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_net_that_is_there_already_keeps_its_parameters(self, device: torch.device) -> None:
        """A net that is sent to where it is keeps its Parameters, the optimizer's own."""
        net = nn.Linear(2, 1, device=device)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.5)

        net.to(device)

        weight, bias = optimizer.param_groups[0]["params"]
        assert net.weight is weight
        assert net.bias is bias

    @pytest.mark.on("accelerator")
    def test_optimizer_made_before_the_move_trains_the_moved_net(
        self, device: torch.device
    ) -> None:
        """On a GPU a net keeps its Parameter objects, so an earlier optimizer still updates it.

        PyTorch promises this to the devices it knows by name. A backend under PrivateUse1 has it
        with torch.__future__.set_swap_module_params_on_conversion(True).
        """
        net = nn.Linear(2, 1, bias=False)
        parameter = net.weight
        nn.init.constant_(parameter, 5)
        optimizer = torch.optim.SGD([parameter], lr=0.5)

        net.to(device)
        net(torch.tensor([[2.0, 4.0]], device=device)).sum().backward()
        optimizer.step()

        assert net.weight is parameter
        assert net.weight.tolist() == [[4.0, 3.0]]

    @pytest.mark.on("meta")
    def test_optimizer_made_before_a_move_to_meta_is_left_behind(
        self, device: torch.device
    ) -> None:
        """On meta a net gets new Parameters, and an earlier optimizer holds the old ones."""
        net = nn.Linear(2, 1, bias=False)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.5)

        net.to(device)

        assert optimizer.param_groups[0]["params"][0] is not net.weight
        assert optimizer.param_groups[0]["params"][0].device == torch.device("cpu")

    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_inputs_and_targets_of_a_batch_are_moved(self, device: torch.device) -> None:
        """Inputs and targets of a batch arrive on the device with their shapes and dtypes."""
        inputs, labels = torch.ones(4, 3).to(device), torch.tensor([1, 0, 2, 1]).to(device)

        assert (inputs.device, labels.device) == (device, device)
        assert (inputs.shape, inputs.dtype) == ((4, 3), torch.float32)
        assert (labels.shape, labels.dtype) == ((4,), torch.int64)

    def test_moved_batch_holds_the_same_values(self, device: torch.device) -> None:
        """A batch that was moved holds the values that it had."""
        inputs, labels = torch.tensor([[1.5, -2.25]]).to(device), torch.tensor([7]).to(device)

        assert inputs.tolist() == [[1.5, -2.25]]
        assert labels.tolist() == [7]

    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_every_batch_of_a_loader_has_to_be_moved(self, device: torch.device) -> None:
        """A loader gives every batch on the cpu, so that the move belongs into every step."""
        loader: DataLoader[Any] = DataLoader([(torch.ones(2), 1), (torch.ones(2), 0)], batch_size=1)

        given = list(loader)
        moved = [[t.to(device) for t in batch] for batch in given]

        assert [t.device.type for batch in given for t in batch] == ["cpu"] * 4
        assert [t.device for batch in moved for t in batch] == [device] * 4

    @pytest.mark.on("accelerator", "meta")
    def test_net_on_a_device_refuses_inputs_on_the_cpu(self, device: torch.device) -> None:
        """A net on a device refuses inputs that stayed on the cpu; moved inputs pass."""
        net = nn.Linear(3, 2).to(device)
        inputs = torch.ones(4, 3)
        assert net(inputs.to(device)).device == device

        with pytest.raises(RuntimeError, match="device"):
            net(inputs)

    @pytest.mark.on("accelerator", "meta")
    def test_net_on_the_cpu_refuses_inputs_on_a_device(self, device: torch.device) -> None:
        """A net that stayed on the cpu refuses inputs on a device; inputs on the cpu pass."""
        net = nn.Linear(3, 2)
        assert net(torch.ones(4, 3)).device == torch.device("cpu")

        with pytest.raises(RuntimeError, match="device"):
            net(torch.ones(4, 3, device=device))

    @pytest.mark.on("accelerator")
    def test_convolution_on_a_device_refuses_images_on_the_cpu(self, device: torch.device) -> None:
        """A convolutional net on a device refuses images on the cpu, in words of its own."""
        net = classifier.Net().to(device)
        images = torch.ones(1, 3, 32, 32)
        assert net(images.to(device)).device == device

        with pytest.raises(RuntimeError, match=r"device|should be the same"):
            net(images)

    @pytest.mark.on("accelerator", "meta")
    @pytest.mark.parametrize(
        ("loss", "target"),
        [
            pytest.param(nn.CrossEntropyLoss(), torch.tensor([2, 0]), id="cross_entropy"),
            pytest.param(nn.MSELoss(), torch.zeros(2, 3), id="mean_squared_error"),
        ],
    )
    def test_loss_refuses_targets_on_the_cpu(
        self, device: torch.device, loss: Any, target: Any
    ) -> None:
        """A loss of outputs on a device refuses targets on the cpu; moved targets pass."""
        outputs = torch.ones(2, 3, device=device)
        assert loss(outputs, target.to(device)).device == device

        with pytest.raises(RuntimeError, match="device"):
            loss(outputs, target)

    @pytest.mark.on("accelerator", "meta")
    def test_move_without_assignment_moves_nothing(self, device: torch.device) -> None:
        """A tensor stays where it is unless the result of the move is assigned."""
        inputs = torch.ones(2)

        inputs.to(device)
        assert inputs.device == torch.device("cpu")

        inputs = inputs.to(device)
        assert inputs.device == device

    @pytest.mark.on("accelerator", "meta")
    def test_tensor_of_one_number_on_the_cpu_may_mix(self, device: torch.device) -> None:
        """A tensor without dimensions may stay on the cpu; one with a dimension may not."""
        inputs = torch.tensor([1.0, 2.0], device=device)

        assert (inputs * torch.tensor(3.0)).device == device
        with pytest.raises(RuntimeError, match="device"):
            inputs * torch.tensor([3.0, 3.0])

    @pytest.mark.on("accelerator")
    def test_number_on_the_cpu_counts_with_its_value(self, device: torch.device) -> None:
        """A tensor of one number on the cpu multiplies one on a device by that number."""
        product = torch.tensor([1.0, 2.0], device=device) * torch.tensor(3.0)

        assert product.tolist() == [3.0, 6.0]

    def test_net_and_batch_on_one_device_work_together(self, device: torch.device) -> None:
        """A net and a batch on the same device, the cpu as well, give a loss on that device."""
        net = classifier.Net().to(device)
        images = torch.zeros(2, 3, 32, 32).to(device)
        labels = torch.tensor([3, 8]).to(device)

        loss = F.cross_entropy(net(images), labels)

        assert loss.device == device
        assert 2 < loss.item() < 3  # ln 10 = 2.3 for a net that has learned nothing

    @pytest.mark.on("cpu", "accelerator", "meta")
    @pytest.mark.parametrize("width", [1, 6, 8, 64])
    def test_net_can_be_widened(self, device: torch.device, width: int) -> None:
        """A net of any width gives ten scores an image and has 59,150 + 476 numbers a channel."""
        net = classifier.Net(width).to(device)

        scores = net(torch.zeros(2, 3, 32, 32, device=device))

        assert (net.conv1.out_channels, net.conv2.in_channels) == (width, width)
        assert scores.shape == (2, 10)
        assert scores.device == device
        assert sum(p.numel() for p in net.parameters()) == 59_150 + 476 * width

    @pytest.mark.parametrize("width", [1, 64])
    def test_widened_net_trains(self, device: torch.device, width: int) -> None:
        """A net of any width learns the batch that it is trained on."""
        net = classifier.Net(width).to(device)
        step = TrainingStep(net, lr=0.02)
        images, labels = torch.randn(4, 3, 32, 32), torch.tensor([3, 8, 8, 0])

        losses = [step(images, labels).item() for _ in range(10)]

        assert losses[-1] < losses[0] / 1.1

    def test_second_convolution_of_another_width_fails_in_use(self, device: torch.device) -> None:
        """Two convolutions of unequal widths can be made, but not run; of equal widths they run."""
        images = torch.zeros(1, 3, 32, 32, device=device)
        equal = nn.Sequential(nn.Conv2d(3, 8, 5), nn.Conv2d(8, 16, 5)).to(device)
        assert equal(images).shape == (1, 16, 24, 24)

        unequal = nn.Sequential(nn.Conv2d(3, 8, 5), nn.Conv2d(6, 16, 5)).to(device)
        with pytest.raises(RuntimeError, match="to have 6 channels, but got 8"):
            unequal(images)

    @staticmethod
    def ten_patterns(patterns: torch.Tensor, count: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Batches of 10 noisy images, each showing the pattern of its label."""
        labels = torch.randint(10, (count, 10))
        images = patterns[labels] + torch.randn(count, 10, 3, 32, 32) / 2
        return list(zip(images, labels, strict=True))

    def test_training_beats_chance_on_every_device(self, device: torch.device) -> None:
        """The same training, run on any device, names new images right far above chance."""
        patterns = torch.randn(10, 3, 32, 32)
        net = classifier.Net().to(device)
        new = self.ten_patterns(patterns, 10)

        before = evaluation.evaluate(net, new)
        classifier.train(net, self.ten_patterns(patterns, 40), epochs=2, lr=0.01)
        after = evaluation.evaluate(net, new)

        assert (before.total, after.total) == (100, 100)
        assert before.correct <= 25  # chance is 10, and its spread 3
        assert after.correct >= 60
        assert {parameter.device for parameter in net.parameters()} == {device}

    @staticmethod
    def slices(a: Any, b: Any) -> Any:
        """A tensor after slices of it were written to, by a number and by another tensor."""
        a[:, 1] = 0
        a[2:5, ::3] = b[:3, : a[0, ::3].shape[0]]
        return a

    @staticmethod
    def in_place(a: Any, b: Any) -> Any:
        """A tensor after a number and another tensor were added into it."""
        a += 5
        a[1:] += b[:-1]
        return a

    @staticmethod
    def cross_entropy(scores: np.ndarray, labels: np.ndarray) -> float:
        """The mean of -log softmax at the label, in NumPy."""
        shifted = scores - scores.max(axis=1, keepdims=True)
        logarithms = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        return -float(logarithms[np.arange(len(labels)), labels].mean())

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
                lambda a, b: TestTrainingOnGpu.cross_entropy(a, b.argmax(axis=1)),
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

    @staticmethod
    def gradients_of(
        operation: Callable[..., Any], inputs: Iterable[torch.Tensor]
    ) -> tuple[torch.Tensor, ...]:
        """The gradients of a weighted sum of the operation's results in its inputs."""
        leaves = [tensor.requires_grad_() for tensor in inputs]
        out = operation(*leaves)
        weights = torch.linspace(1, 2, out.numel()).to(out).reshape(out.shape)
        return torch.autograd.grad((out * weights).sum(), leaves)

    @pytest.mark.parametrize(
        ("operation", "shapes"),
        [
            pytest.param(F.conv2d, [(2, 3, 7, 6), (4, 3, 3, 2), (4,)], id="convolution"),
            pytest.param(F.linear, [(3, 5), (4, 5), (4,)], id="linear"),
            pytest.param(lambda x: F.max_pool2d(x, 2), [(2, 3, 6, 4)], id="max_pool"),
            pytest.param(F.relu, [(5, 7)], id="relu"),
            pytest.param(lambda x: F.log_softmax(x, dim=1), [(3, 4)], id="log_softmax"),
            pytest.param(
                lambda x: F.cross_entropy(x, torch.tensor([2, 0, 3]).to(x.device)),
                [(3, 4)],
                id="cross_entropy",
            ),
            pytest.param(F.mse_loss, [(3, 4), (3, 4)], id="mse_loss"),
        ],
    )
    def test_gradients_of_an_operation_are_those_of_float64(
        self, device: torch.device, operation: Any, shapes: list[tuple[int, ...]]
    ) -> None:
        """Each operation of the nets has in float32, on every device, the gradients of float64."""
        inputs = [torch.randn(shape) for shape in shapes]

        gradients = self.gradients_of(operation, [t.to(device, copy=True) for t in inputs])
        expected = self.gradients_of(operation, [t.double() for t in inputs])

        assert {gradient.device for gradient in gradients} == {device}
        assert_close([g.cpu() for g in gradients], [g.float() for g in expected])

    @pytest.mark.parametrize("task", [lenet, lenet_of_5x5_kernels, the_classifier])
    def test_scores_on_a_device_are_those_of_float64(self, device: torch.device, task: Any) -> None:
        """Every net gives in float32, on every device, the scores that it gives in float64."""
        task = task()
        there, exact = task.on(device), task.in_float64()

        scores = there.net(there.inputs)
        expected = exact.net(exact.inputs)

        assert scores.device == device
        assert_close(scores.cpu(), expected.float())

    @pytest.mark.parametrize("task", [lenet, lenet_of_5x5_kernels, the_classifier])
    def test_gradients_of_every_net_are_slopes_of_its_loss(self, task: Any) -> None:
        """The gradient of every parameter of every net is the slope of the loss along it."""
        task = task().in_float64()

        slopes, gradients = task.slopes(), task.gradients()

        assert len(gradients) == 10
        assert_close(
            {name: slope.item() for name, slope in slopes.items()},
            {name: gradient.norm().item() for name, gradient in gradients.items()},
            rtol=1e-5,  # of 16 digits the difference of two losses over 1e-8 leaves 6
            atol=0,
        )

    @pytest.mark.parametrize("task", [lenet, lenet_of_5x5_kernels, the_classifier])
    def test_gradients_on_a_device_are_those_of_float64(
        self, device: torch.device, task: Any
    ) -> None:
        """All gradients of every net in float32, on every device, are those of float64."""
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

    @pytest.mark.parametrize(
        "task", [lenet, lenet_of_5x5_kernels, the_classifier, new_head_of_resnet18]
    )
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


class Counted(nn.Module):
    """The tutorial's model of 5 inputs and 2 outputs, with a note of every batch that it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(5, 2)
        self.seen: list[tuple[int, ...]] = []

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        self.seen.append(tuple(batch.shape))
        scores: torch.Tensor = self.fc(batch)
        return scores


class Sequence(nn.Module):
    """An LSTM that gives its outputs only, for batches with time first."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(3, 2)

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        self.lstm.flatten_parameters()  # or cuDNN warns of a copy's scattered weights
        outputs: torch.Tensor
        outputs, _ = self.lstm(batch)
        return outputs


class Numbers(Dataset[torch.Tensor]):
    """A hundred rows of five numbers, as a data set of the least that one can write."""

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.full((5,), float(index))


class SizedNumbers(Numbers):
    """The same data set, which also tells how many rows it has."""

    def __len__(self) -> int:
        return 100


@pytest.fixture
def in_parallel(request: pytest.FixtureRequest, device: torch.device) -> Callable[..., Any]:
    """DataParallel over the one device in use; over none, where that is the cpu."""
    if device.type == "cpu":
        request.getfixturevalue("no_accelerator")
        return nn.DataParallel
    return functools.partial(nn.DataParallel, device_ids=[device.index])


class TestDataParallelism:
    @pytest.mark.on("accelerator", "meta")
    def test_tensor_on_another_device_is_a_copy(self, device: torch.device) -> None:
        """A tensor sent to another device is a new tensor there; the old one stays on the cpu."""
        t = torch.ones(2, 3)

        u = t.to(device)

        assert u is not t
        assert (u.device, t.device) == (device, torch.device("cpu"))
        assert (u.shape, u.dtype) == (t.shape, t.dtype)
        assert t.to(device=device).device == t.to(str(device)).device == device
        assert t.requires_grad_().to(device).requires_grad

    @pytest.mark.on("accelerator")
    def test_copy_on_another_device_shares_no_memory(self, device: torch.device) -> None:
        """A write to the copy on another device is not seen in the original, nor the reverse."""
        t = torch.tensor([1.0, 2.0])

        u = t.to(device)
        u[0] = 9
        t[1] = 7

        assert t.tolist() == [1.0, 7.0]
        assert u.tolist() == [9.0, 2.0]

    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_tensor_that_is_there_already_is_returned_itself(self, device: torch.device) -> None:
        """A tensor sent to where it is, in the dtype that it has, is returned itself."""
        t = torch.ones(2, device=device)

        assert t.to(device) is t
        assert t.to(device, torch.float32) is t.to(torch.float32) is t
        assert t.to(device, torch.float16) is not t

    def test_copy_can_be_forced(self, device: torch.device) -> None:
        """With copy=True a tensor is copied even to where it is."""
        t = torch.tensor([1.0, 2.0], device=device)

        u = t.to(device, copy=True)
        u[0] = 9

        assert u is not t
        assert u.device == device
        assert t.tolist() == [1.0, 2.0]

    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_device_and_dtype_can_change_in_one_call(self, device: torch.device) -> None:
        """One call moves a tensor and changes its dtype."""
        u = torch.ones(2).to(device, torch.float16)

        assert (u.device, u.dtype) == (device, torch.float16)

    @pytest.mark.on("accelerator")
    def test_device_without_an_index_is_the_current_one(self, device: torch.device) -> None:
        """Tensors made on a type of device without an index land on its current device."""
        current = torch.get_device_module(device).current_device()

        t = torch.ones(2, device=device.type)

        assert current == 0
        assert t.device == torch.device(device.type, 0)

    @pytest.mark.on("accelerator")
    def test_second_gpu_is_used_only_when_named(
        self, device: torch.device, second: torch.device
    ) -> None:
        """With several GPUs, a net and its batch use the first one unless another is named."""
        net = nn.Linear(2, 1).to(device.type)
        elsewhere = nn.Linear(2, 1).to(second)

        assert net(torch.ones(1, 2, device=device.type)).device == torch.device(device.type, 0)
        assert elsewhere(torch.ones(1, 2, device=second)).device == second

    @pytest.mark.parametrize(
        ("batch", "gpus", "parts"),
        [
            (30, 2, [15, 15]),
            (10, 2, [5, 5]),
            (30, 3, [10, 10, 10]),
            (10, 3, [4, 4, 2]),
            (30, 8, [4, 4, 4, 4, 4, 4, 4, 2]),
            (10, 8, [2, 2, 2, 2, 2]),
        ],
    )
    def test_batch_is_cut_into_equal_parts_and_a_rest(
        self, device: torch.device, batch: int, gpus: int, parts: list[int]
    ) -> None:
        """A batch cut along its first dimension gives equal parts in order; the last is smaller."""
        rows = torch.arange(batch * 5, device=device).reshape(batch, 5)

        chunks = rows.chunk(gpus)

        ends = list(itertools.accumulate(parts, initial=0))
        assert [tuple(chunk.shape) for chunk in chunks] == [(part, 5) for part in parts]
        assert [chunk[0, 0].item() for chunk in chunks] == [5 * end for end in ends[:-1]]

    @pytest.mark.on("accelerator")
    def test_batch_is_scattered_over_the_gpus(
        self, device: torch.device, second: torch.device
    ) -> None:
        """DataParallel sends the first half of a batch to the first GPU, the rest to the second."""
        rows = torch.arange(30.0, device=device).reshape(15, 2)

        first, rest = torch.nn.parallel.scatter(rows, [device.index, second.index])

        assert (first.device, rest.device) == (device, second)
        assert first.tolist() == rows[:8].tolist()
        assert rest.tolist() == rows[8:].tolist()

    def test_one_device_sees_the_whole_batch(
        self, device: torch.device, in_parallel: Callable[..., Any]
    ) -> None:
        """On the cpu or on one GPU, a DataParallel model sees all 30 samples and returns 30."""
        net = Counted().to(device)

        output = in_parallel(net)(torch.randn(30, 5, device=device))
        in_parallel(net)(batch=torch.randn(30, 5, device=device))  # by keyword as well

        assert net.seen == [(30, 5)] * 2
        assert output.shape == (30, 2)
        assert output.device == device

    def test_one_device_computes_what_the_bare_net_does(
        self, device: torch.device, in_parallel: Callable[..., Any]
    ) -> None:
        """On the cpu or on one GPU, DataParallel changes neither the outputs nor the gradients."""
        net = Counted().to(device)
        batch = torch.randn(30, 5, device=device)
        (expected,) = torch.autograd.grad(net(batch).square().sum(), net.fc.weight)
        of_two = nn.Bilinear(5, 5, 2).to(device)

        output = in_parallel(net)(batch)
        output.square().sum().backward()

        assert_close(output, net(batch))
        assert_close(net.fc.weight.grad, expected)
        assert_close(in_parallel(of_two)(batch, -batch), of_two(batch, -batch))

    def test_without_a_gpu_no_device_is_taken(self, no_accelerator: None) -> None:
        """Without a GPU, DataParallel takes no device and passes everything through."""
        net = nn.DataParallel(Counted())

        assert net.device_ids == []
        assert {parameter.device for parameter in net.parameters()} == {torch.device("cpu")}

    def test_attributes_of_the_model_need_module(
        self, device: torch.device, in_parallel: Callable[..., Any]
    ) -> None:
        """The model in a DataParallel is its attribute module; its own layers are found there."""
        bare = Counted().to(device)
        net = in_parallel(bare)

        assert net.module is bare
        assert net.module.fc.in_features == 5
        assert not net.eval().module.training
        with pytest.raises(AttributeError, match="'DataParallel' object has no attribute 'fc'"):
            net.fc  # noqa: B018

    def test_saved_names_begin_with_module(
        self, device: torch.device, in_parallel: Callable[..., Any]
    ) -> None:
        """Weights of a DataParallel model have names that its bare model does not accept."""
        bare = Counted().to(device)
        state = in_parallel(bare).state_dict()
        assert list(state) == ["module.fc.weight", "module.fc.bias"]

        with pytest.raises(RuntimeError, match=r'Unexpected key\(s\) in state_dict: "module'):
            bare.load_state_dict(state)
        bare.load_state_dict({name.removeprefix("module."): w for name, w in state.items()})

    @pytest.mark.on("accelerator")
    def test_results_of_two_gpus_are_merged_in_order(
        self, device: torch.device, second: torch.device
    ) -> None:
        """Results of two GPUs come back as one batch on the first, in the order of the inputs."""
        net = Counted().to(device)
        batch = torch.randn(30, 5, device=device)
        expected = net(batch)
        (gradient,) = torch.autograd.grad(expected.square().sum(), net.fc.weight)

        output = nn.DataParallel(net, device_ids=[device.index, second.index])(batch)
        output.square().sum().backward()

        assert output.shape == (30, 2)
        assert output.device == device
        assert_close(output, expected)
        assert_close(net.fc.weight.grad, gradient)

    @pytest.mark.mistaken(text="A data set only has to implement __getitem__.")
    @pytest.mark.parametrize(
        "use",
        [
            pytest.param(lambda data: DataLoader(data, shuffle=True), id="shuffle"),
            pytest.param(lambda data: len(DataLoader(data)), id="len"),
        ],
    )
    def test_data_set_needs_a_length_to_be_shuffled(self, use: Callable[..., Any]) -> None:
        """A data set needs __len__ beside __getitem__ to be shuffled or counted by a loader."""
        use(SizedNumbers())

        with pytest.raises(TypeError, match=r"has no len\(\)"):
            use(Numbers())

    def test_data_set_of_100_gives_batches_of_30_30_30_and_10(self) -> None:
        """A data set of 100 rows in batches of 30 gives three full batches and one of 10."""
        loader = DataLoader(SizedNumbers(), batch_size=30, shuffle=True)

        batches = list(loader)

        assert [tuple(batch.shape) for batch in batches] == [(30, 5), (30, 5), (30, 5), (10, 5)]
        assert sorted(torch.cat(batches)[:, 0].tolist()) == list(range(100))

    @pytest.mark.parametrize(
        ("model", "shape"),
        [
            pytest.param(classifier.Net, (4, 3, 32, 32), id="convolutional"),
            pytest.param(Sequence, (7, 4, 3), id="recurrent"),
            pytest.param(lambda: nn.LSTM(3, 2), (7, 4, 3), id="recurrent with its state"),
            pytest.param(lambda: nn.BatchNorm1d(3), (7, 3), id="in training mode"),
        ],
    )
    def test_any_model_passes_through(
        self,
        device: torch.device,
        in_parallel: Callable[..., Any],
        model: Any,
        shape: tuple[int, ...],
    ) -> None:
        """On the cpu or one GPU, convolutional and recurrent models work in DataParallel alike."""
        net = model().to(device)
        batch = torch.randn(shape, device=device)

        output = in_parallel(net)(batch)

        assert (output[0] if isinstance(output, tuple) else output).device == device
        assert_close(output, net(batch))

    def test_recurrent_model_takes_the_batch_first_when_asked_to(
        self, device: torch.device
    ) -> None:
        """An LSTM takes time first, or the batch with batch_first=True, and answers alike."""
        time_first = nn.LSTM(3, 2).to(device)
        batch_first = nn.LSTM(3, 2, batch_first=True).to(device)
        batch_first.load_state_dict(time_first.state_dict())
        batch = torch.randn(7, 4, 3, device=device)

        expected, _ = time_first(batch)
        outputs, _ = batch_first(batch.transpose(0, 1))

        assert outputs.shape == (4, 7, 2)
        assert_close(outputs.transpose(0, 1), expected)

    @pytest.mark.on("accelerator")
    def test_batch_with_time_first_is_cut_along_its_second_dimension(
        self, device: torch.device, second: torch.device
    ) -> None:
        """A recurrent model over two GPUs needs dim=1 where time is first; dim 0 cuts the time."""
        net = Sequence().to(device)
        over_both = functools.partial(nn.DataParallel, net, [device.index, second.index])
        batch = torch.randn(8, 4, 3, device=device)

        assert_close(over_both(dim=1)(batch), net(batch))
        assert not torch.allclose(over_both(dim=0)(batch), net(batch), rtol=0.01, atol=0.01)

    @pytest.mark.changed(since="1.5", text="DataParallel is the way to use several GPUs.")
    def test_data_parallel_works_and_recommends_its_successor(self, no_accelerator: None) -> None:
        """DataParallel works without a warning, but recommends DistributedDataParallel instead."""
        advice = " ".join(nn.DataParallel.__doc__.split())

        assert nn.DataParallel(Counted())(torch.ones(3, 5)).shape == (3, 2)
        assert "It is recommended to use :class:`~torch.nn.parallel.DistributedDataParal" in advice
        assert "even if there is only a single node" in advice

    @pytest.mark.on("accelerator")
    def test_file_remembers_the_device_it_was_saved_from(self, device: torch.device) -> None:
        """Weights saved on a GPU load back onto it; with map_location="cpu" onto the cpu."""
        saved = io.BytesIO()
        torch.save(torch.tensor([1.5, 2.5], device=device), saved)

        there = torch.load(io.BytesIO(saved.getvalue()), weights_only=True)
        here = torch.load(io.BytesIO(saved.getvalue()), weights_only=True, map_location="cpu")

        assert (there.device, here.device) == (device, torch.device("cpu"))
        assert there.tolist() == here.tolist() == [1.5, 2.5]

    def test_file_from_a_gpu_needs_map_location_on_a_machine_without(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Weights saved on a GPU are refused where there is none, unless map_location says cpu."""
        saved = io.BytesIO()
        monkeypatch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        torch.save({"weight": torch.tensor([1.5])}, saved)

        mapped = torch.load(io.BytesIO(saved.getvalue()), map_location="cpu", weights_only=True)
        assert mapped["weight"].tolist() == [1.5]
        with pytest.raises(RuntimeError, match="Attempting to deserialize object on a CUDA device"):
            torch.load(io.BytesIO(saved.getvalue()), weights_only=True)
