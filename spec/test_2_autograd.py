"""Chapter 2: autograd records what is computed, and differentiates it."""

import math
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook

from blitz import autograd, devices, graph

if TYPE_CHECKING:
    from torchvision.models import ResNet


@pytest.fixture(scope="module")
def pristine(device: torch.device) -> "ResNet":
    """ResNet-18 with random weights, built once: a test that changes it takes ``resnet``."""
    with devices.forked_generators([device]):
        torch.manual_seed(0)
        return autograd.resnet18(device=device)


@pytest.fixture
def resnet(pristine: "ResNet") -> Iterator["ResNet"]:
    """The same ResNet-18 for a test to freeze, to give a head and to run: undone afterwards."""
    head, buffers = pristine.fc, autograd.snapshot(pristine.named_buffers())
    yield pristine
    pristine.fc = head
    pristine.train().requires_grad_(True).zero_grad()
    for name, buffer in pristine.named_buffers():
        buffer.copy_(buffers[name])


@pytest.fixture(scope="module")
def step(pristine: "ResNet", device: torch.device) -> SimpleNamespace:
    """One training step on a copy of ResNet-18, and its parameters before that."""
    with devices.forked_generators([device]):
        torch.manual_seed(0)
        data, labels = autograd.random_image_and_labels(device=device)
    before = dict(pristine.named_parameters())
    taken = autograd.training_step(deepcopy(pristine), data, labels)
    return SimpleNamespace(before=before, data=data, labels=labels, taken=taken)


@pytest.fixture(scope="module")
def fine_tuned(pristine: "ResNet", device: torch.device) -> SimpleNamespace:
    """A training step on a copy of ResNet-18, frozen but for a new head of ten classes."""
    model = deepcopy(pristine).eval()
    with devices.forked_generators([device]):
        torch.manual_seed(0)
        autograd.freeze(model)
        autograd.replace_head(model, 10)
        data, labels = torch.rand(2, 3, 8, 8, device=device), torch.rand(2, 10, device=device)
    head = {f"fc.{name}": t for name, t in autograd.snapshot(model.fc.named_parameters()).items()}
    before = dict(pristine.named_parameters()) | head
    return SimpleNamespace(before=before, taken=autograd.training_step(model, data, labels))


def small_network(device: torch.device | str) -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).to(device)


def squared_error(weight: torch.Tensor) -> torch.Tensor:
    """Of the prediction 3·w0 + w1, where 0 is right."""
    return (3 * weight[0] + weight[1]) ** 2


def four_of_two(x: torch.Tensor) -> torch.Tensor:
    """A function from two numbers to four, so that its Jacobian is not square."""
    return torch.stack([x[0] * x[1], x[0] ** 2, 3 * x[1], x[0] + 2 * x[1] ** 2])


JACOBIAN_AT_2_3 = [[3.0, 2.0], [4.0, 0.0], [0.0, 3.0], [1.0, 12.0]]  # of four_of_two, by hand


def weights_like_those_of_resnet18() -> dict[str, torch.Tensor]:
    """A state_dict that fits ResNet-18: the first tensor full of 0, the second of 1, and so on."""
    from torchvision.models import resnet18

    with torch.device("meta"):
        shapes = resnet18().state_dict()
    return {
        name: torch.tensor(number, dtype=like.dtype).expand(like.shape)
        for number, (name, like) in enumerate(shapes.items())
    }


def functions_behind(tensor: torch.Tensor) -> list[Any]:
    """Autograd's own nodes behind a tensor, each once."""
    found, todo = [], [tensor.grad_fn]
    while todo:
        node = todo.pop()
        if node is not None and node not in found:
            found.append(node)
            todo += [below for below, _ in node.next_functions]
    return found


def all_below(node: Any) -> list[Any]:
    found = list(node.inputs)
    for below in found:
        found += [] if below is None else below.inputs
    return found


def product(x: torch.Tensor, times: int) -> torch.Tensor:
    y = x
    for _ in range(times - 1):
        y = y * x
    return y


def doubled_until_long(x: torch.Tensor) -> torch.Tensor:
    while x.norm() < 1000:
        x = x * 2
    return x


def assigned(x: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    x[0] = values[0]
    return x


def squared_if_positive(x: torch.Tensor) -> torch.Tensor:
    return x**2 if x.sum() > 0 else -x


def fine_tune(
    model: nn.Module,
    parameters: Iterable[nn.Parameter],
    data: torch.Tensor,
) -> torch.optim.Optimizer:
    """Two steps of the tutorial's optimizer over some of the model's parameters."""
    optimizer = autograd.momentum_sgd(parameters)
    for _ in range(2):
        optimizer.zero_grad()
        model(data).square().sum().backward()
        optimizer.step()
    return optimizer


def on_four_threads(work: Callable[[int], Any]) -> list[Any]:
    """Run ``work(0)`` to ``work(3)``, all at the same time, each on a thread of its own."""
    together = threading.Barrier(4)

    def start(number: int) -> Any:
        together.wait(timeout=60)
        return work(number)

    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(start, range(4)))


class TestAutograd:
    def test_training_step_lowers_the_loss(self, device: torch.device) -> None:
        """A training step with autograd's gradients moves the weights so that the loss falls."""
        net = nn.Linear(3, 2).to(device)
        data, labels = torch.ones(1, 3, device=device), torch.zeros(1, 2, device=device)

        step = autograd.training_step(net, data, labels)

        # Two outputs, each with three gradients of 1 for its weights and one for its bias: the
        # step of 0.01 lowers each weight by 0.01, hence each output by 0.04.
        fall = step.loss - autograd.summed_difference(net(data), labels)
        torch.testing.assert_close(fall.item(), 0.08, rtol=1e-4, atol=0)  # a difference of floats

    def test_training_step_without_autograd_is_refused(self, device: torch.device) -> None:
        """Without autograd's record of the forward pass there is no backward pass and no step."""
        net = nn.Linear(3, 2).to(device)
        data, labels = torch.ones(1, 3, device=device), torch.zeros(1, 2, device=device)

        autograd.training_step(net, data, labels)

        with torch.no_grad(), pytest.raises(RuntimeError, match="does not require grad"):
            autograd.training_step(net, data, labels)


class TestBackground:
    def test_network_is_nested_functions_of_its_weights_and_biases(
        self, device: torch.device
    ) -> None:
        """A network computes nested functions, defined by weights and biases kept in tensors."""
        net = small_network(device)
        x = np.array([[1.0, -2.0, 3.0], [0.5, 4.0, -1.0]], dtype=np.float32)

        output = net(torch.tensor(x, device=device))

        w1, b1, w2, b2 = (np.array(p.tolist()) for p in net.parameters())
        nested = np.maximum(x @ w1.T + b1, 0) @ w2.T + b2
        torch.testing.assert_close(output.tolist(), nested.tolist(), rtol=1.3e-6, atol=1e-5)
        names = [name for name, _ in net.named_parameters()]
        assert names == ["0.weight", "0.bias", "2.weight", "2.bias"]
        assert all(isinstance(p, torch.Tensor) for p in net.parameters())

    def test_forward_and_backward_change_no_parameter(self, device: torch.device) -> None:
        """Neither forward nor backward changes a parameter; backward only collects gradients."""
        net = small_network(device)
        before = autograd.snapshot(net.named_parameters())

        loss = net(torch.ones(1, 3, device=device)).sum()
        after_forward = [p.grad for p in net.parameters()]
        loss.backward()

        assert after_forward == [None, None, None, None]
        assert [p.grad is None for p in net.parameters()] == [False, False, False, False]
        assert autograd.moved(before, net.named_parameters()) == set()

    def test_optimizer_step_changes_the_parameters(self, device: torch.device) -> None:
        """The parameters are adjusted by the optimizer's step, after the backward pass."""
        net = nn.Linear(3, 2).to(device)
        before = autograd.snapshot(net.named_parameters())
        net(torch.ones(1, 3, device=device)).sum().backward()

        autograd.momentum_sgd(net.parameters()).step()

        assert autograd.moved(before, net.named_parameters()) == {"weight", "bias"}

    def test_parameter_moves_against_its_gradient(self, device: torch.device) -> None:
        """A step moves each parameter by minus the learning rate times its gradient."""
        weight = torch.tensor([1.0, -2.0], device=device, requires_grad=True)

        squared_error(weight).backward()
        torch.optim.SGD([weight], lr=0.001).step()

        assert weight.grad.tolist() == [6.0, 2.0]
        torch.testing.assert_close(weight.tolist(), [1 - 0.006, -2 - 0.002])

        alone = torch.tensor(3.0, device=device, requires_grad=True)
        (alone**2).backward()
        torch.optim.SGD([alone], lr=0.001).step()
        torch.testing.assert_close(alone.item(), 3 - 0.006)

    def test_parameter_moves_in_proportion_to_the_error(self, device: torch.device) -> None:
        """Twice the error makes a parameter move twice as far."""
        weight = torch.tensor([2.0, -4.0], device=device, requires_grad=True)

        squared_error(weight).backward()
        torch.optim.SGD([weight], lr=0.001).step()

        torch.testing.assert_close(weight.tolist(), [2 - 2 * 0.006, -4 - 2 * 0.002])

    def test_small_step_lowers_the_loss_by_lr_times_squared_gradient(
        self, device: torch.device
    ) -> None:
        """A small step lowers the loss by nearly the learning rate times the squared gradient."""
        weight = torch.tensor([1.0, -2.0], device=device, requires_grad=True)

        before = squared_error(weight)
        before.backward()
        torch.optim.SGD([weight], lr=0.001).step()

        predicted = 0.001 * (6**2 + 2**2)
        assert 0.9 * predicted < (before - squared_error(weight)).item() < predicted

    def test_step_along_the_gradient_raises_the_loss(self, device: torch.device) -> None:
        """A step along the gradient instead of against it raises the loss."""
        weight = torch.tensor([1.0, -2.0], device=device, requires_grad=True)

        squared_error(weight).backward()
        torch.optim.SGD([weight], lr=0.001, maximize=True).step()

        torch.testing.assert_close(squared_error(weight).item(), 1.02**2)


class TestUsage:
    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_resnet18_has_11_689_512_numbers_in_62_tensors(
        self, device: torch.device, pristine: "ResNet"
    ) -> None:
        """ResNet-18 has 62 parameter tensors of 11 689 512 numbers and arrives in train mode."""
        parameters = list(pristine.parameters())

        assert len(parameters) == 62
        assert sum(p.numel() for p in parameters) == 11_689_512
        assert (pristine.fc.in_features, pristine.fc.out_features) == (512, 1000)
        assert pristine.training
        assert {t.device for t in pristine.state_dict().values()} == {device}

    @pytest.mark.changed(
        since="torchvision 0.13", text="A pretrained ResNet-18 is loaded with pretrained=True."
    )
    def test_pretrained_flag_is_deprecated_and_means_the_default_weights(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The flag pretrained=True still loads the default weights, with two warnings."""
        from torchvision.models import ResNet18_Weights, resnet18

        asked = []
        file = weights_like_those_of_resnet18()
        monkeypatch.setattr(
            ResNet18_Weights, "get_state_dict", lambda weights, **_: asked.append(weights) or file
        )

        with pytest.warns(UserWarning, match=r"deprecated since 0\.13") as warned:
            model = resnet18(pretrained=True)

        assert ["deprecated since 0.13" in str(w.message) for w in warned] == [True, True]
        assert asked == [ResNet18_Weights.IMAGENET1K_V1]
        assert model.fc.bias.tolist() == [121.0] * 1000

    def test_weights_argument_names_the_default_weights_without_a_warning(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The argument weights=ResNet18_Weights.DEFAULT asks for the same weights, in silence."""
        from torchvision.models import ResNet18_Weights, resnet18

        asked = []
        with torch.device("meta"):
            file = resnet18().state_dict()
        monkeypatch.setattr(
            ResNet18_Weights, "get_state_dict", lambda weights, **_: asked.append(weights) or file
        )

        with torch.device("meta"):
            resnet18(weights=ResNet18_Weights.DEFAULT)

        assert asked == [ResNet18_Weights.IMAGENET1K_V1]

    def test_file_of_the_default_weights_fills_the_model(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """The file of the default weights, where it is at hand, fills every tensor of the model."""
        expected = weights_like_those_of_resnet18()
        file = tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
        file.parent.mkdir(parents=True)
        torch.save(expected, file)
        monkeypatch.setenv("TORCH_HOME", str(tmp_path))
        monkeypatch.delattr(torch.hub, "download_url_to_file")  # no network, whatever happens

        state = autograd.resnet18("default").state_dict()

        ends = {name: t.flatten()[[0, -1]].tolist() for name, t in state.items() if t.dim()}
        assert ends == {name: [n, n] for n, (name, t) in enumerate(expected.items()) if t.dim()}

    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_random_data_is_one_image_of_64_pixels_a_side_and_1000_label_values(
        self, device: torch.device
    ) -> None:
        """One 3-channel image of 64x64 and 1000 label values are made on the device asked for."""
        data, labels = autograd.random_image_and_labels(device=device)

        assert data.shape == (1, 3, 64, 64)
        assert labels.shape == (1, 1000)
        assert (data.device, labels.device) == (device, device)

    def test_random_data_is_uniform_between_0_and_1(self, device: torch.device) -> None:
        """The random image and labels are uniform on [0, 1), and new ones each time."""
        first, labels = autograd.random_image_and_labels(device=device)
        second, _ = autograd.random_image_and_labels(device=device)

        assert 0 <= first.min().item() < 0.01
        assert 0.99 < first.max().item() < 1
        assert 0.27 < first.std().item() < 0.31  # 1/√12 = 0.289
        assert 0.25 < labels.std().item() < 0.33
        assert not torch.equal(first, second)

    def test_prediction_has_the_shape_of_the_labels(self, step: SimpleNamespace) -> None:
        """ResNet-18 turns the image into 1000 numbers, as many as there are label values."""
        assert step.data.shape == (1, 3, 64, 64)
        assert step.taken.prediction.shape == step.labels.shape == (1, 1000)

    def test_image_of_one_channel_is_refused(
        self, device: torch.device, pristine: "ResNet"
    ) -> None:
        """ResNet-18 refuses an image of one channel, where it takes one of three."""
        stem = pristine.conv1
        assert stem(torch.rand(1, 3, 64, 64, device=device)).shape == (1, 64, 32, 32)

        with pytest.raises(RuntimeError, match="to have 3 channels, but got 1 channels"):
            pristine(torch.rand(1, 1, 64, 64, device=device))

    def test_image_without_a_batch_is_refused(self, device: torch.device, resnet: "ResNet") -> None:
        """ResNet-18 refuses an image that is no batch, where it takes a batch of one image."""
        image = torch.rand(3, 8, 8, device=device)
        assert resnet.eval()(image.unsqueeze(0)).shape == (1, 1000)

        with pytest.raises(ValueError, match="expected 4D input"):
            resnet(image)

    def test_single_image_of_32_pixels_is_refused_in_train_mode(
        self, device: torch.device, resnet: "ResNet"
    ) -> None:
        """In train mode a single image of 32x32 leaves BatchNorm one value, which is too few."""
        image = torch.rand(1, 3, 32, 32, device=device)
        assert resnet.eval()(image).shape == (1, 1000)

        with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
            resnet.train()(image)

    def test_forward_pass_visits_every_layer(self, device: torch.device, resnet: "ResNet") -> None:
        """The forward pass calls all 52 layers of ResNet-18, from conv1 first to fc last."""
        visited = []
        with register_module_forward_hook(lambda module, *_: visited.append(module)):
            resnet.eval()(torch.rand(1, 3, 8, 8, device=device))

        layers = [module for module in resnet.modules() if not list(module.children())]
        called = [module for module in visited if module in layers]
        assert len(layers) == len(set(called)) == 52
        assert len(called) == 60  # eight blocks use their ReLU twice
        assert called[0] is resnet.conv1
        assert called[-1] is resnet.fc

    def test_loss_is_one_number_the_summed_difference(self, device: torch.device) -> None:
        """The loss of the example is one number: the sum of prediction minus label."""
        prediction = torch.tensor([[1.0, 2.0, 4.0]], device=device)
        labels = torch.tensor([[0.5, 3.0, 0.0]], device=device)

        loss = autograd.summed_difference(prediction, labels)

        assert loss.shape == ()
        assert loss.item() == 0.5 - 1.0 + 4.0

    @pytest.mark.mistaken(
        text="The summed difference between prediction and label is the model's error."
    )
    def test_labels_have_no_influence_on_the_gradients(self, device: torch.device) -> None:
        """The summed difference is no measure of error: the labels do not change any gradient."""
        net = small_network(device)
        prediction = net(torch.rand(5, 3, device=device))
        near, far = torch.zeros(5, 2, device=device), torch.full((5, 2), 1e3, device=device)

        grads = [
            torch.autograd.grad(
                autograd.summed_difference(prediction, labels), net.parameters(), retain_graph=True
            )
            for labels in (near, far)
        ]

        assert [g.tolist() for g in grads[0]] == [g.tolist() for g in grads[1]]

    def test_gradient_of_the_loss_is_one_for_every_prediction(self, step: SimpleNamespace) -> None:
        """The gradient of the summed difference is 1 for each of the 1000 predicted numbers."""
        prediction = step.taken.prediction.detach().requires_grad_()

        autograd.summed_difference(prediction, step.labels).backward()

        assert prediction.grad.tolist() == [[1.0] * 1000]

    def test_loss_falls_without_end(self, device: torch.device) -> None:
        """The summed difference has no minimum: each step lowers it by as much as the last."""
        prediction = torch.zeros(1, 1000, device=device, requires_grad=True)
        labels = torch.zeros(1, 1000, device=device)
        optimizer = torch.optim.SGD([prediction], lr=1.0)

        autograd.summed_difference(prediction, labels).backward()
        losses = [
            (optimizer.step(), autograd.summed_difference(prediction, labels).item())[1]
            for _ in range(3)
        ]

        assert losses == [-1000.0, -2000.0, -3000.0]

    def test_backward_fills_the_gradient_of_every_parameter(
        self, step: SimpleNamespace, pristine: "ResNet"
    ) -> None:
        """Backward gives each of the 62 parameters a finite gradient of its own shape."""
        assert [p.grad for p in pristine.parameters()] == [None] * 62

        moved = list(step.taken.model.parameters())

        assert [p.grad.shape for p in moved] == [p.shape for p in pristine.parameters()]
        assert all(0 < p.grad.norm().item() < math.inf for p in moved)
        assert step.taken.model.fc.bias.grad.tolist() == [1.0] * 1000

    def test_second_backward_adds_to_the_gradient(self, device: torch.device) -> None:
        """A second backward pass adds its gradients to those already in .grad, in place."""
        a, b = autograd.a_and_b(device)
        autograd.q(a, b).sum().backward()
        buffer = a.grad

        autograd.q(a, b).sum().backward()

        assert a.grad is buffer
        assert a.grad.tolist() == [72.0, 162.0]
        assert b.grad.tolist() == [-24.0, -16.0]

        autograd.q(a, b).sum().backward()
        assert a.grad.tolist() == [108.0, 243.0]

    def test_backward_adds_to_a_gradient_set_by_hand(self, device: torch.device) -> None:
        """Backward adds to whatever .grad holds, a number without dimensions too."""
        a, _ = autograd.a_and_b(device)
        a.grad = torch.tensor([1.0, -1.0], device=device)
        x = torch.tensor(2.0, device=device, requires_grad=True)

        (a * 3).sum().backward()
        (x**2).backward()
        (x**3).backward()

        assert a.grad.tolist() == [4.0, 2.0]
        assert x.grad.item() == 4.0 + 12.0

    def test_cleared_gradient_starts_anew(self, device: torch.device) -> None:
        """After .grad was set to None the next backward pass starts from nothing."""
        a, b = autograd.a_and_b(device)
        autograd.q(a, b).sum().backward()

        a.grad = None
        autograd.q(a, b).sum().backward()

        assert a.grad.tolist() == [36.0, 81.0]
        assert b.grad.tolist() == [-24.0, -16.0]

    def test_functional_gradient_is_not_accumulated(self, device: torch.device) -> None:
        """The function torch.autograd.grad returns gradients and leaves .grad alone."""
        a, b = autograd.a_and_b(device)
        autograd.q(a, b).sum().backward()

        returned = torch.autograd.grad(autograd.q(a, b).sum(), [a, b])

        assert [g.tolist() for g in returned] == [[36.0, 81.0], [-12.0, -8.0]]
        assert a.grad.tolist() == [36.0, 81.0]

    def test_optimizer_holds_every_parameter(self, step: SimpleNamespace) -> None:
        """The optimizer holds all 62 parameters, in order, in one group."""
        (group,) = step.taken.optimizer.param_groups

        expected = list(step.taken.model.parameters())
        assert [id(p) for p in group["params"]] == [id(p) for p in expected]
        assert len(expected) == 62

    def test_optimizer_has_learning_rate_001_and_momentum_09(self, step: SimpleNamespace) -> None:
        """The optimizer is plain SGD with learning rate 0.01 and momentum 0.9."""
        (group,) = step.taken.optimizer.param_groups

        assert isinstance(step.taken.optimizer, torch.optim.SGD)
        assert (group["lr"], group["momentum"]) == (0.01, 0.9)
        assert (group["weight_decay"], group["dampening"], group["nesterov"]) == (0, 0, False)

    def test_first_step_moves_every_parameter_by_its_gradient(self, step: SimpleNamespace) -> None:
        """The first step moves all 62 parameters, each by minus 0.01 times its gradient."""
        assert autograd.moved(step.before, step.taken.model.named_parameters()) == set(step.before)
        assert len(step.before) == 62

        first = step.taken.model.conv1.weight
        before = np.array(step.before["conv1.weight"].tolist(), dtype=np.float32)
        expected = before - np.float32(0.01) * np.array(first.grad.tolist(), dtype=np.float32)
        torch.testing.assert_close(first.detach().cpu().numpy(), expected)
        move = step.taken.model.fc.bias - step.before["fc.bias"]
        torch.testing.assert_close(move.tolist(), [-0.01] * 1000, rtol=0, atol=1e-7)  # of floats

    def test_second_step_adds_nine_tenths_of_the_first(self, device: torch.device) -> None:
        """With an unchanged gradient the second step is 1.9 times the first: momentum is 0.9."""
        weight = torch.tensor([1.0, 2.0], device=device, requires_grad=True)
        weight.grad = torch.tensor([4.0, -8.0], device=device)
        optimizer = autograd.momentum_sgd([weight])

        optimizer.step()
        after_first = weight.tolist()
        optimizer.step()
        after_second = weight.tolist()
        optimizer.step()

        torch.testing.assert_close(after_first, [1 - 0.04, 2 + 0.08])
        torch.testing.assert_close(after_second, [1 - 0.04 * 2.9, 2 + 0.08 * 2.9])
        # The third moves by 1 + 0.9 + 0.81 of the first.
        torch.testing.assert_close(weight.tolist(), [1 - 0.04 * 5.61, 2 + 0.08 * 5.61])

    def test_step_without_gradients_moves_nothing(self, device: torch.device) -> None:
        """A step passes over a parameter whose .grad is None, even where it has momentum."""
        weight = torch.tensor([1.0, 2.0], device=device, requires_grad=True)
        weight.grad = torch.tensor([4.0, -8.0], device=device)
        optimizer = autograd.momentum_sgd([weight])
        optimizer.step()
        moved = weight.tolist()

        weight.grad = None
        optimizer.step()

        assert moved != [1.0, 2.0]
        assert weight.tolist() == moved

    @pytest.mark.on("accelerator")
    @pytest.mark.mistaken(text="The chapter works on the CPU only, even if the tensors are moved.")
    def test_whole_step_on_an_accelerator_gives_what_the_cpu_gives(
        self, device: torch.device, pristine: "ResNet"
    ) -> None:
        """Model, data and labels moved to an accelerator make the step they make on the CPU."""
        data, labels = autograd.random_image_and_labels()
        at_home, away = deepcopy(pristine).cpu(), deepcopy(pristine)

        here = autograd.training_step(at_home, data, labels)
        there = autograd.training_step(away, data.to(device), labels.to(device))

        # Sums run in another order. Through 20 layers on one image that costs more than the
        # defaults allow: between float32 and float64 on one CPU predictions differ by 6e-6, and
        # gradients, where rounding carries a value across the kink of a ReLU, by up to 2 %.
        torch.testing.assert_close(there.prediction.cpu(), here.prediction, rtol=1e-3, atol=1e-4)
        assert {p.grad.device for p in away.parameters()} == {device}
        pairs = zip(at_home.parameters(), away.parameters(), strict=True)
        off = [(p.grad - q.grad.cpu()).norm().item() / p.grad.norm().item() for p, q in pairs]
        assert max(off) < 0.05

    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_whole_step_stays_on_the_device_of_model_and_data(self, device: torch.device) -> None:
        """Prediction, loss, gradients and momentum stay on the device of model, data and labels."""
        net = small_network(device)
        data, labels = torch.ones(1, 3, device=device), torch.ones(1, 2, device=device)

        step = autograd.training_step(net, data, labels)

        momenta = [state["momentum_buffer"] for state in step.optimizer.state.values()]
        grads = [p.grad for p in net.parameters()]
        made = [step.prediction, step.loss, *grads, *momenta, *net.parameters()]
        assert [t.device for t in made] == [device] * 14

    @pytest.mark.on("accelerator", "meta")
    def test_data_moved_away_from_the_model_is_refused(self, device: torch.device) -> None:
        """A model left on the CPU refuses data that were moved; a model moved along takes them."""
        net = small_network("cpu")
        data = torch.ones(1, 3, device=device)

        with pytest.raises(RuntimeError, match="device"):
            net(data)

        assert net.to(device)(data).device == device


class TestDifferentiation:
    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_a_and_b_are_tracked_leaves_on_the_device_asked_for(self, device: torch.device) -> None:
        """The tensors a and b are tracked leaves, made on the device asked for."""
        a, b = autograd.a_and_b(device)

        assert [t.shape for t in (a, b)] == [(2,), (2,)]
        assert [t.device for t in (a, b)] == [device, device]
        assert [(t.requires_grad, t.is_leaf) for t in (a, b)] == [(True, True), (True, True)]

    def test_tracked_leaf_has_no_function_and_no_gradient_yet(self, device: torch.device) -> None:
        """A tensor made with requires_grad=True is a leaf, with no function and no gradient."""
        a, _ = autograd.a_and_b(device)

        assert a.is_leaf
        assert a.grad_fn is None
        assert a.grad is None

    def test_every_operation_on_a_tracked_tensor_is_recorded(self, device: torch.device) -> None:
        """With requires_grad=True every operation is recorded, and its result is tracked too."""
        a, _ = autograd.a_and_b(device)

        result = (a * 2).exp().sum()

        assert result.requires_grad
        assert not result.is_leaf
        assert graph.of(result).root.nested() == "Sum(Exp(Mul(Leaf, None)))"

    @pytest.mark.parametrize(
        ("operation", "gradient"),
        [
            pytest.param(lambda x: x.half().float() * 2, [2, 2], id="conversion"),
            pytest.param(lambda x: x.reshape(2, 1).squeeze(1).unsqueeze(0) * 3, [3, 3], id="shape"),
            pytest.param(lambda x: x.expand(3, 2).permute(1, 0), [3, 3], id="expansion"),
            pytest.param(lambda x: x[1], [0, 1], id="index"),
            pytest.param(lambda x: torch.cat([x, x * 2]), [3, 3], id="cat"),
            pytest.param(lambda x: torch.stack([x, x * x]), [-5, 9], id="stack"),
            pytest.param(lambda x: x.max() - x.min(), [-1, 1], id="extremes"),
            pytest.param(lambda x: x.clamp(min=0), [0, 1], id="clamp"),
            pytest.param(lambda x: x.abs(), [-1, 1], id="abs"),
            pytest.param(lambda x: torch.maximum(x, -2 * x), [-2, 1], id="maximum"),
            pytest.param(lambda x: torch.where(x > 0, x, -2 * x), [-2, 1], id="where"),
            pytest.param(lambda x: x.prod(), [4, -3], id="prod"),
            pytest.param(lambda x: x.cumsum(0), [2, 1], id="cumsum"),
            pytest.param(lambda x: x.norm(), [-0.6, 0.8], id="norm"),
            pytest.param(lambda x: x.var(), [-7, 7], id="var"),
            pytest.param(lambda x: (x * 2).mul_(5), [10, 10], id="in place"),
            pytest.param(lambda x: 1 - x, [-1, -1], id="number minus"),
            pytest.param(lambda x: x[0] / x[1], [1 / 4, 3 / 16], id="quotient"),
            pytest.param(lambda x: x.new_ones(3, 2) + x, [3, 3], id="broadcast"),
            pytest.param(lambda x: x * torch.arange(2, 4).to(x.device), [2, 3], id="integers"),
            pytest.param(
                lambda x: x.view(1, 2) @ x.flip(0).view(2, 1), [8, -6], id="matrix product"
            ),
        ],
    )
    def test_operation_of_any_kind_is_recorded_and_differentiated(
        self, operation: Callable[..., Any], gradient: list[float], device: torch.device
    ) -> None:
        """Whatever the operation, it is recorded, and its gradient is that of the formula."""
        x = torch.tensor([-3.0, 4.0], device=device, requires_grad=True)

        operation(x).sum().backward()

        torch.testing.assert_close(x.grad.tolist(), [float(g) for g in gradient])

    def test_nothing_is_recorded_unless_asked_for(self, device: torch.device) -> None:
        """A tensor is not tracked unless requires_grad=True is given."""
        t = torch.tensor([2.0, 3.0], device=device)

        assert not t.requires_grad
        assert (t * 2).grad_fn is None

    @pytest.mark.parametrize("values", [[2, 3], [True, False]], ids=["integers", "booleans"])
    def test_tensor_that_is_not_floating_point_cannot_be_tracked(
        self, device: torch.device, values: list[bool] | list[int]
    ) -> None:
        """Integers and booleans cannot be tracked; floating point numbers can."""
        torch.tensor([2.0, 3.0], device=device, requires_grad=True)

        with pytest.raises(RuntimeError, match="floating point"):
            torch.tensor(values, device=device, requires_grad=True)
        with pytest.raises(RuntimeError, match="floating point"):
            torch.tensor(values, device=device).requires_grad_()
        with pytest.raises(RuntimeError, match="floating point"):
            torch.tensor(values, device=device).requires_grad = True

    def test_q_is_minus_12_and_65(self, device: torch.device) -> None:
        """For a = [2, 3] and b = [6, 4], Q = 3a³ - b² is [-12, 65]."""
        a, b = autograd.a_and_b(device)

        assert a.tolist() == [2.0, 3.0]
        assert b.tolist() == [6.0, 4.0]
        assert autograd.q(a, b).tolist() == [-12.0, 65.0]

    def test_gradients_of_q_are_9a2_and_minus_2b(self, device: torch.device) -> None:
        """The gradients of Q are 9a² = [36, 81] and -2b = [-12, -8]."""
        a, b = autograd.a_and_b(device)

        autograd.q(a, b).backward(gradient=torch.ones(2, device=device))

        assert a.grad.tolist() == [36.0, 81.0]
        assert b.grad.tolist() == [-12.0, -8.0]
        assert [g.tolist() for g in autograd.q_gradients(a, b)] == [[36.0, 81.0], [-12.0, -8.0]]

    def test_gradients_of_q_follow_the_formulas_for_random_numbers(
        self, device: torch.device
    ) -> None:
        """The gradients of Q are 9a² and -2b for random a and b, to the last float or two."""
        a, b = (torch.rand(100, device=device) - 0.5 for _ in "ab")
        a[0] = b[0] = 0
        a.requires_grad_(), b.requires_grad_()

        autograd.q(a, b).backward(gradient=torch.ones(100, device=device))

        for_a, for_b = 9 * np.array(a.tolist()) ** 2, -2 * np.array(b.tolist())
        # Tighter than the default: three roundings of 6e-8 each.
        torch.testing.assert_close(a.grad.tolist(), for_a.tolist(), rtol=1e-6, atol=0)
        torch.testing.assert_close(b.grad.tolist(), for_b.tolist(), rtol=1e-6, atol=0)

    @pytest.mark.on("cpu")
    def test_gradients_of_q_agree_with_finite_differences(self, device: torch.device) -> None:
        """The gradients of Q agree with finite differences in double precision."""
        a = torch.rand(3, dtype=torch.float64, device=device, requires_grad=True)
        b = torch.rand(3, dtype=torch.float64, device=device, requires_grad=True)

        assert torch.autograd.gradcheck(autograd.q, (a, b))

        autograd.q(a, b).sum().backward()
        # As precise as double precision is, not as single.
        expected = [9 * value**2 for value in a.tolist()]
        torch.testing.assert_close(a.grad.tolist(), expected, rtol=1e-14, atol=0)

    def test_backward_stores_the_gradients_in_the_leaves(self, device: torch.device) -> None:
        """Backward stores the gradients in a.grad and b.grad, as plain untracked tensors."""
        a, b = autograd.a_and_b(device)
        q = autograd.q(a, b)
        assert (a.grad, b.grad) == (None, None)

        q.backward(gradient=torch.ones(2, device=device))

        assert [(g.requires_grad, g.is_leaf) for g in (a.grad, b.grad)] == [(False, True)] * 2
        assert [(g.shape, g.device) for g in (a.grad, b.grad)] == [((2,), device)] * 2

    def test_backward_of_a_vector_needs_a_gradient(self, device: torch.device) -> None:
        """Because Q is a vector, its backward needs a gradient; without one nothing is stored."""
        a, b = autograd.a_and_b(device)

        with pytest.raises(RuntimeError, match="only for scalar outputs"):
            autograd.q(a, b).backward()
        with pytest.raises(RuntimeError, match="only for scalar outputs"):
            autograd.q(a, b).view(2, 1).backward()
        with pytest.raises(RuntimeError, match="only for scalar outputs"):
            autograd.q(a, b).view(1, 2, 1).backward()
        assert (a.grad, b.grad) == (None, None)

        autograd.q(a, b).backward(torch.ones(2, device=device))
        assert a.grad.tolist() == [36.0, 81.0]

    @pytest.mark.parametrize("shape", [(), (1,), (1, 1)], ids=str)
    def test_backward_of_one_element_needs_no_gradient(
        self, device: torch.device, shape: tuple[int, ...]
    ) -> None:
        """An output of one element, whatever its dimensions, needs no gradient argument."""
        x = torch.full(shape, 5.0, device=device, requires_grad=True)

        (x**2).backward()

        assert x.grad.shape == shape
        assert x.grad.item() == 10.0

    @pytest.mark.parametrize("shape", [(3,), (), (1, 2)], ids=str)
    def test_gradient_of_another_shape_is_refused(
        self, device: torch.device, shape: tuple[int, ...]
    ) -> None:
        """The gradient argument must have the shape of Q: it is not broadcast."""
        a, b = autograd.a_and_b(device)
        autograd.q(a, b).backward(gradient=torch.ones(2, device=device))

        with pytest.raises(RuntimeError, match="Mismatch in shape"):
            autograd.q(a, b).backward(gradient=torch.ones(shape, device=device))
        with pytest.raises(RuntimeError, match="Mismatch in shape"):
            autograd.q(a, b).view(2, 1).backward(gradient=torch.ones(1, 2, device=device))

    @pytest.mark.parametrize("dtype", [torch.int64, torch.float16], ids=str)
    def test_gradient_of_another_dtype_is_cast(
        self, device: torch.device, dtype: torch.dtype
    ) -> None:
        """A gradient argument of another dtype is cast in silence to that of Q."""
        a, b = autograd.a_and_b(device)

        autograd.q(a, b).backward(gradient=torch.ones(2, device=device, dtype=dtype))

        assert a.grad.dtype == torch.float32
        assert a.grad.tolist() == [36.0, 81.0]

    @pytest.mark.on("cpu")  # not every accelerator has float64
    def test_gradient_of_double_precision_is_cast(self, device: torch.device) -> None:
        """A gradient argument in double precision is cast in silence to the dtype of Q."""
        a, b = autograd.a_and_b(device)

        autograd.q(a, b).backward(gradient=torch.ones(2, device=device, dtype=torch.float64))

        assert a.grad.dtype == torch.float32
        assert a.grad.tolist() == [36.0, 81.0]

    @pytest.mark.on("accelerator", "meta")
    def test_gradient_on_another_device_is_refused(self, device: torch.device) -> None:
        """The gradient argument must lie on the device of Q."""
        a, b = autograd.a_and_b(device)
        autograd.q(a, b).backward(gradient=torch.ones(2, device=device))

        with pytest.raises(RuntimeError, match=f"expected device {device} but got cpu"):
            autograd.q(a, b).backward(gradient=torch.ones(2))

    def test_derivative_of_q_by_itself_is_one(self, device: torch.device) -> None:
        """Ones as gradient stand for the derivative of Q with respect to itself."""
        q = autograd.q(*autograd.a_and_b(device))

        (derivative,) = torch.autograd.grad(q, q, torch.ones(2, device=device))

        assert derivative.tolist() == [1.0, 1.0]

    def test_jacobian_of_q_by_itself_is_the_identity_matrix(self, device: torch.device) -> None:
        """Strictly, the derivative of a vector with respect to itself is the identity matrix."""
        q = autograd.q(*autograd.a_and_b(device)).detach()

        jacobian = torch.autograd.functional.jacobian(lambda vector: vector * 1, q)

        assert jacobian.tolist() == [[1.0, 0.0], [0.0, 1.0]]

    def test_other_weights_scale_the_gradients(self, device: torch.device) -> None:
        """Weights other than ones scale the gradients: 10 and -1 give [360, -81] and [-120, 8]."""
        a, b = autograd.a_and_b(device)

        autograd.q(a, b).backward(gradient=torch.tensor([10.0, -1.0], device=device))

        assert a.grad.tolist() == [360.0, -81.0]
        assert b.grad.tolist() == [-120.0, 8.0]

    def test_sum_then_backward_gives_the_same_gradients(self, device: torch.device) -> None:
        """Summing Q and calling backward gives, bit for bit, the gradients that ones give."""
        a, b = (torch.rand(50, device=device, requires_grad=True) for _ in "ab")
        autograd.q(a, b).backward(gradient=torch.ones(50, device=device))
        for_a, for_b = a.grad.tolist(), b.grad.tolist()
        a.grad = b.grad = None

        autograd.q(a, b).sum().backward()

        assert a.grad.tolist() == for_a
        assert b.grad.tolist() == for_b

    def test_mean_then_backward_gives_half(self, device: torch.device) -> None:
        """The mean of the two elements of Q, unlike their sum, gives half the gradients."""
        a, b = autograd.a_and_b(device)

        autograd.q(a, b).mean().backward()

        assert a.grad.tolist() == [18.0, 40.5]
        assert b.grad.tolist() == [-6.0, -4.0]

    def test_sum_after_backward_of_the_same_q_is_refused(self, device: torch.device) -> None:
        """The two ways do not work in turn on the same Q: the first one spends its graph."""
        a, b = autograd.a_and_b(device)
        q = autograd.q(a, b)
        q.backward(gradient=torch.ones(2, device=device))

        with pytest.raises(RuntimeError, match="backward through the graph a second time"):
            q.sum().backward()

    def test_both_checks_print_true_true(self, device: torch.device) -> None:
        """Comparing 9a² and -2b with the gradients prints tensor([True, True]) both times."""
        a, b = autograd.a_and_b(device)
        autograd.q(a, b).backward(gradient=torch.ones(2, device=device))

        assert str((9 * a**2 == a.grad).cpu()) == "tensor([True, True])"
        assert str((-2 * b == b.grad).cpu()) == "tensor([True, True])"

    def test_equality_fails_for_random_numbers_where_closeness_holds(
        self, device: torch.device
    ) -> None:
        """On random numbers many gradients are close to the formula but not equal to it."""
        a = torch.rand(1000, device=device, requires_grad=True)
        autograd.q(a, torch.zeros(1000, device=device)).sum().backward()

        formula = 9 * a.detach() ** 2

        torch.testing.assert_close(a.grad, formula)
        assert (a.grad == formula).float().mean().item() < 0.95


class TestVectorCalculus:
    def test_jacobian_has_a_row_per_output_and_a_column_per_input(
        self, device: torch.device
    ) -> None:
        """Row i, column j of the Jacobian is the derivative of output i by input j."""
        x = torch.tensor([2.0, 3.0], device=device)

        jacobian = torch.autograd.functional.jacobian(four_of_two, x)

        square = torch.autograd.functional.jacobian(lambda x: four_of_two(x)[:2], x)

        assert jacobian.shape == (4, 2)
        assert jacobian.tolist() == JACOBIAN_AT_2_3
        assert square.tolist() == JACOBIAN_AT_2_3[:2]

    def test_jacobian_agrees_with_central_differences(self, device: torch.device) -> None:
        """The Jacobian agrees with differences of the function's values left and right of x."""
        x = torch.tensor([2.0, 3.0], device=device)
        steps = torch.tensor([[0.5, 0.0], [0.0, 0.5]], device=device)

        columns = [four_of_two(x + step) - four_of_two(x - step) for step in steps]

        # Central differences are exact for polynomials of degree two.
        assert torch.stack(columns, dim=1).tolist() == JACOBIAN_AT_2_3
        assert torch.autograd.functional.jacobian(four_of_two, x).tolist() == JACOBIAN_AT_2_3

    @pytest.mark.on("cpu")  # a backend may lack what computing all columns at once takes
    def test_forward_mode_gives_the_same_jacobian(
        self, device: torch.device, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Differentiating forward, column by column, gives the same Jacobian."""
        monkeypatch.setenv("PYTORCH_JIT", "0")  # its imports take long, and warn
        x = torch.tensor([2.0, 3.0], device=device)

        jacobian = torch.func.jacfwd(four_of_two)(x)

        assert jacobian.tolist() == JACOBIAN_AT_2_3

    def test_backward_gives_the_transposed_jacobian_times_any_vector(
        self, device: torch.device
    ) -> None:
        """For any v, backward computes the transposed Jacobian times v, of the input's size."""
        x = torch.tensor([2.0, 3.0], device=device)
        vectors = torch.randint(-9, 10, (20, 4), device=device).float()

        products = [autograd.vector_jacobian_product(four_of_two, x, v) for v in vectors]

        expected = np.array(vectors.tolist()) @ np.array(JACOBIAN_AT_2_3)
        assert [p.tolist() for p in products] == expected.tolist()
        assert {p.shape for p in products} == {(2,)}
        assert {p.device for p in products} == {device}

    def test_backward_of_a_non_scalar_stores_that_product(self, device: torch.device) -> None:
        """Calling backward with v stores the transposed Jacobian times v in x.grad."""
        x = torch.tensor([2.0, 3.0], device=device, requires_grad=True)

        four_of_two(x).backward(gradient=torch.tensor([1.0, -2.0, 3.0, -4.0], device=device))

        assert x.grad.tolist() == [3 - 8 - 4, 2 + 9 - 48]

    @pytest.mark.parametrize("row", range(4))
    def test_one_hot_vector_reads_off_a_row_of_the_jacobian(
        self, device: torch.device, row: Any
    ) -> None:
        """A vector with a single one reads off one row of the Jacobian."""
        x = torch.tensor([2.0, 3.0], device=device)
        one_hot = torch.tensor([float(i == row) for i in range(4)], device=device)

        product = autograd.vector_jacobian_product(four_of_two, x, one_hot)

        assert product.tolist() == JACOBIAN_AT_2_3[row]

    def test_forward_product_has_the_size_of_the_output(self, device: torch.device) -> None:
        """The product from the other side, Jacobian times vector, has the size of the output."""
        x, u = torch.tensor([[2.0, 3.0], [1.0, -1.0]], device=device)

        _, product = torch.autograd.functional.jvp(four_of_two, x, u)

        assert product.tolist() == [3 - 2, 4, -3, 1 - 12]

    def test_gradient_of_a_scalar_follows_by_the_chain_rule(self, device: torch.device) -> None:
        """If v is the gradient of a scalar l by y, the product is the gradient of l by x."""
        x = torch.tensor([2.0, 3.0], device=device, requires_grad=True)
        y = four_of_two(x)  # [6, 4, 9, 20]
        loss = (y**2).sum() / 2  # so that dl/dy = y

        (whole,) = torch.autograd.grad(loss, x, retain_graph=True)
        y.backward(gradient=torch.tensor([6.0, 4.0, 9.0, 20.0], device=device))

        assert whole.tolist() == [18 + 16 + 20, 12 + 27 + 240]
        assert x.grad.tolist() == [18 + 16 + 20, 12 + 27 + 240]

    def test_outside_gradient_enters_a_model_with_many_outputs(self, device: torch.device) -> None:
        """A gradient computed elsewhere can be fed into a model whose output is no scalar."""
        net = nn.Linear(3, 2).to(device)
        x = torch.tensor([[1.0, 2.0, 4.0]], device=device)
        outside = np.array([[500.0, -1.0]], dtype=np.float32)

        net(x).backward(gradient=torch.tensor(outside, device=device))

        assert net.weight.grad.tolist() == [[500.0, 1000.0, 2000.0], [-1.0, -2.0, -4.0]]
        assert net.bias.grad.tolist() == [500.0, -1.0]

    def test_gradient_of_zeros_stores_zeros(self, device: torch.device) -> None:
        """A v of zeros gives a gradient of zeros, not none."""
        x = torch.tensor([2.0, 3.0], device=device, requires_grad=True)

        four_of_two(x).backward(gradient=torch.zeros(4, device=device))

        assert x.grad.tolist() == [0.0, 0.0]

    def test_product_is_linear_in_the_vector(self, device: torch.device) -> None:
        """The product of 2u - 3v is twice that of u minus three times that of v."""
        x = torch.tensor([2.0, 3.0], device=device)
        u = torch.tensor([1.0, 2.0, 3.0, 4.0], device=device)
        v = torch.tensor([5.0, 0.0, -1.0, 2.0], device=device)

        mixed = autograd.vector_jacobian_product(four_of_two, x, 2 * u - 3 * v)

        of_u, of_v = [3 + 8 + 4, 2 + 9 + 48], [15 + 2, 10 - 3 + 24]
        assert mixed.tolist() == [2 * of_u[0] - 3 * of_v[0], 2 * of_u[1] - 3 * of_v[1]]


class TestComputationalGraph:
    def test_graph_has_no_cycle(self, device: torch.device) -> None:
        """The recorded operations form a directed graph without cycles."""
        a, b = autograd.a_and_b(device)

        nodes = graph.of(autograd.q(a, b) * a).nodes()

        assert len(nodes) == 7
        assert [node for node in nodes if node in all_below(node)] == []

    def test_nodes_are_autograd_nodes_and_no_function_objects(self, device: torch.device) -> None:
        """Recorded operations are autograd's nodes; of class Function are only custom ones."""
        nodes = functions_behind(autograd.q(*autograd.a_and_b(device)))

        assert [isinstance(node, torch.autograd.graph.Node) for node in nodes] == [True] * 6
        assert [isinstance(node, torch.autograd.Function) for node in nodes] == [False] * 6

    def test_value_used_twice_is_one_shared_node(self, device: torch.device) -> None:
        """A value that is used twice is one shared node: the graph is no tree."""
        a, b = autograd.a_and_b(device)
        shared = a * b

        found = graph.of(shared * shared + shared.sin())

        square, sine = found.root.inputs
        assert square.inputs[0] is square.inputs[1] is sine.inputs[0]
        assert len(found.nodes()) == 6

    def test_leaves_are_the_inputs_and_the_root_is_the_output(self, device: torch.device) -> None:
        """The leaves of the graph are the tracked inputs; its root is the output's function."""
        a, b = autograd.a_and_b(device)
        q = autograd.q(a, b)

        found = graph.of(q)

        assert [id(leaf) for leaf in found.leaves()] == [id(a), id(b)]
        assert found.root.name == q.grad_fn.name() == "SubBackward0"
        assert found.root not in [producer for _, producer in found.edges()]

    def test_constants_and_untracked_inputs_are_no_nodes(self, device: torch.device) -> None:
        """A constant or an untracked input leaves no node in the graph."""
        a, b = autograd.a_and_b(device)

        found = graph.of(3 * a + b.detach())

        assert found.root.nested() == "Add(Mul(Leaf, None), None)"
        assert [id(leaf) for leaf in found.leaves()] == [id(a)]

    def test_forward_gives_the_same_values_with_and_without_tracking(
        self, device: torch.device
    ) -> None:
        """The forward pass computes the same values, bit for bit, with and without tracking."""
        net = small_network(device)
        x = torch.rand(5, 3, device=device)

        tracked = net(x)
        with torch.no_grad():
            untracked = net(x)

        assert tracked.tolist() == untracked.tolist()
        assert (tracked.requires_grad, untracked.requires_grad) == (True, False)

    def test_forward_keeps_functions_and_saved_values_but_no_gradients(
        self, device: torch.device
    ) -> None:
        """The forward pass records functions and saves values for them; no gradient exists yet."""
        a, b = autograd.a_and_b(device)

        kept = autograd.footprint(lambda: autograd.q(a, b))

        assert kept.nodes == 6
        assert kept.saved_tensors == 2  # a and b, for the derivatives of their powers
        assert kept.saved_bytes == 2 * 2 * 4
        assert (a.grad, b.grad) == (None, None)

    def test_backward_runs_each_function_once_from_the_root(self, device: torch.device) -> None:
        """Backward runs each function once, the root first and consumers before producers."""
        a, b = autograd.a_and_b(device)
        q = autograd.q(a, b) + a
        nodes = functions_behind(q)
        edges = [(i, nodes.index(n)) for i, f in enumerate(nodes) for n, _ in f.next_functions if n]
        ran = []
        [f.register_prehook(lambda _, i=i: ran.append(i)) for i, f in enumerate(nodes)]

        q.sum().backward()

        assert ran[0] == 0
        assert sorted(ran) == [0, 1, 2, 3, 4, 5, 6]
        assert [e for e in edges if ran.index(e[0]) > ran.index(e[1])] == []

    def test_backward_propagates_by_the_chain_rule(self, device: torch.device) -> None:
        """Backward multiplies the derivatives along every path to a leaf and adds up the paths."""
        x = torch.tensor(2.0, device=device, requires_grad=True)
        y = x**2

        (y**3 + 5 * y).backward()

        assert x.grad.item() == (3 * 4**2 + 5) * (2 * 2)

    def test_intermediate_result_keeps_no_gradient_unless_asked_to(
        self, device: torch.device
    ) -> None:
        """Only leaves keep gradients: a result has none, and says so, without retain_grad()."""
        a, b = autograd.a_and_b(device)
        plain, retained = a**3, b**2
        retained.retain_grad()

        (plain - retained).sum().backward()

        assert retained.grad.tolist() == [-1.0, -1.0]
        with pytest.warns(UserWarning, match="not a leaf Tensor"):
            assert plain.grad is None

    def test_untracked_input_gets_no_gradient(self, device: torch.device) -> None:
        """Backward leaves a tensor that does not require gradients without one."""
        a, _ = autograd.a_and_b(device)
        constant = torch.tensor([6.0, 4.0], device=device)

        (a * constant).sum().backward()

        assert a.grad.tolist() == [6.0, 4.0]
        assert constant.grad is None

    def test_graph_of_q_is_that_of_the_figure(self, device: torch.device) -> None:
        """The graph of Q subtracts b squared from 3 times a cubed, on six nodes down to a and b."""
        a, b = autograd.a_and_b(device)

        found = graph.of(autograd.q(a, b))

        assert found.root.nested() == "Sub(Mul(Pow(Leaf), None), Pow(Leaf))"
        assert len(found.nodes()) == 6
        assert [(above.operation, below.operation) for above, below in found.edges()] == [
            ("Sub", "Mul"),
            ("Sub", "Pow"),
            ("Mul", "Pow"),
            ("Pow", "AccumulateGrad"),
            ("Pow", "AccumulateGrad"),
        ]

    def test_every_forward_pass_builds_a_new_graph(self, device: torch.device) -> None:
        """Every forward pass builds a graph of its own; no backward pass is needed in between."""
        a, b = autograd.a_and_b(device)

        first, second = autograd.q(a, b), autograd.q(a, b)

        shared = set(functions_behind(first)) & set(functions_behind(second))
        assert {node.name() for node in shared} == {"torch::autograd::AccumulateGrad"}
        assert len(shared) == 2

    def test_two_graphs_stand_side_by_side(self, device: torch.device) -> None:
        """Two graphs over the same leaves run one after the other; their gradients add up."""
        a, b = autograd.a_and_b(device)
        first, second = autograd.q(a, b).sum(), (a * b).sum()

        second.backward()
        first.backward()

        assert a.grad.tolist() == [36.0 + 6.0, 81.0 + 4.0]
        assert b.grad.tolist() == [-12.0 + 2.0, -8.0 + 3.0]

    def test_second_backward_through_a_graph_is_refused(self, device: torch.device) -> None:
        """After backward the graph is spent: a second backward is refused and adds nothing."""
        a, b = autograd.a_and_b(device)
        loss = autograd.q(a, b).sum()
        loss.backward()

        with pytest.raises(RuntimeError, match="backward through the graph a second time"):
            loss.backward()
        with pytest.raises(RuntimeError, match="backward through the graph a second time"):
            torch.autograd.grad(loss, a)

        assert a.grad.tolist() == [36.0, 81.0]

    @pytest.mark.parametrize(
        "spend",
        [
            lambda loss, a: loss.backward(retain_graph=False),
            lambda loss, a: torch.autograd.grad(loss, a),
        ],
        ids=["retain_graph=False", "autograd.grad"],
    )
    def test_graph_is_spent_however_it_was_run(
        self, device: torch.device, spend: Callable[..., Any]
    ) -> None:
        """Run with retain_graph=False or for returned gradients, the graph is spent as well."""
        a, b = autograd.a_and_b(device)
        loss = autograd.q(a, b).sum()

        spend(loss, a)

        with pytest.raises(RuntimeError, match="backward through the graph a second time"):
            loss.backward()

    def test_retained_graph_runs_again_and_accumulates(self, device: torch.device) -> None:
        """With retain_graph=True a graph runs again, and its gradients add up."""
        a, b = autograd.a_and_b(device)
        loss = autograd.q(a, b).sum()

        loss.backward(retain_graph=True)
        loss.backward(retain_graph=True)
        loss.backward()

        assert a.grad.tolist() == [108.0, 243.0]

    def test_saved_values_are_gone_after_backward(self, device: torch.device) -> None:
        """Backward frees the values saved for it; before that they can be looked at."""
        a, _ = autograd.a_and_b(device)
        cube = a**3
        assert cube.grad_fn._saved_self.tolist() == [2.0, 3.0]

        cube.sum().backward()

        with pytest.raises(RuntimeError, match="after they have already been freed"):
            _ = cube.grad_fn._saved_self

    @pytest.mark.parametrize(
        "saves_nothing", [lambda a, b: a.sum(), lambda a, b: (a + b)[0]], ids=["sum", "add"]
    )
    def test_graph_that_saved_nothing_runs_twice(
        self, device: torch.device, saves_nothing: Callable[..., Any]
    ) -> None:
        """A graph that saved no values runs twice in silence, which doubles the gradients."""
        a, b = autograd.a_and_b(device)
        result = saves_nothing(a, b)

        result.backward()
        once = a.grad.tolist()
        result.backward()

        assert once[0] == 1.0
        assert a.grad.tolist() == [2 * g for g in once]

    @pytest.mark.parametrize(("times", "gradient"), [(1, 1.0), (3, 12.0), (7, 448.0)])
    def test_loop_of_any_length_gives_the_gradient_of_its_product(
        self, device: torch.device, times: int, gradient: float
    ) -> None:
        """A loop may run any number of times: the product of n factors x has gradient n·xⁿ⁻¹."""
        x = torch.tensor(2.0, device=device, requires_grad=True)

        product(x, times).backward()

        assert x.grad.item() == gradient

    @pytest.mark.parametrize(
        ("values", "gradient"),
        [([2.0, 3.0], [4.0, 6.0]), ([-2.0, 1.0], [-1.0, -1.0])],
        ids=["positive", "negative"],
    )
    def test_branch_on_the_data_gives_the_gradient_of_the_branch_taken(
        self, device: torch.device, values: list[float], gradient: list[float]
    ) -> None:
        """A branch on the data is differentiated along the branch that was taken."""
        x = torch.tensor(values, device=device, requires_grad=True)

        squared_if_positive(x).sum().backward()

        assert x.grad.tolist() == gradient

    def test_loop_that_ends_on_the_data_gives_the_gradient_of_the_rounds_run(
        self, device: torch.device
    ) -> None:
        """A loop that ends when the data say so is differentiated through the rounds it ran."""
        x = torch.tensor([3.0, 4.0], device=device, requires_grad=True)

        y = doubled_until_long(x)  # of length 5, so 8 times
        y.sum().backward()

        assert y.tolist() == [3.0 * 256, 4.0 * 256]
        assert x.grad.tolist() == [256.0, 256.0]

    def test_batch_size_may_change_from_pass_to_pass(self, device: torch.device) -> None:
        """The size of the batch may be another one in every pass."""
        weight = torch.zeros(3, device=device, requires_grad=True)
        batches = [torch.full((size, 3), 2.0, device=device) for size in (1, 5, 2)]

        grads = [torch.autograd.grad((batch @ weight).sum(), weight)[0] for batch in batches]

        assert [g.tolist() for g in grads] == [[2.0] * 3, [10.0] * 3, [4.0] * 3]

    def test_operation_may_change_from_pass_to_pass(self, device: torch.device) -> None:
        """The operation may be another one in every pass."""
        x = torch.tensor(2.0, device=device, requires_grad=True)
        operations = [lambda x: x**2, lambda x: x**3, lambda x: 5 * x, lambda x: 8 / x]

        grads = [torch.autograd.grad(operation(x), x)[0].item() for operation in operations]

        assert grads == [4.0, 12.0, 5.0, -2.0]


class TestExclusion:
    def test_untracked_tensor_is_outside_the_graph(self, device: torch.device) -> None:
        """A tensor with requires_grad=False is no leaf of the graph and gets no gradient."""
        x = torch.tensor([1.0, 2.0], device=device, requires_grad=False)
        w = torch.tensor([3.0, 4.0], device=device, requires_grad=True)

        result = (x * w).sum()
        result.backward()

        assert [id(leaf) for leaf in graph.of(result).leaves()] == [id(w)]
        assert x.grad is None
        assert w.grad.tolist() == [1.0, 2.0]

    def test_flag_of_a_leaf_can_be_switched(self, device: torch.device) -> None:
        """A leaf's requires_grad flag can be switched off and on again, for what comes after."""
        x = torch.tensor([1.0, 2.0], device=device, requires_grad=True)

        x.requires_grad = False
        off = x * 2
        x.requires_grad = True
        on = x * 2

        assert (off.requires_grad, on.requires_grad) == (False, True)

    def test_leaf_switched_off_before_backward_gets_no_gradient(self, device: torch.device) -> None:
        """A leaf whose flag is switched off after the forward pass gets no gradient either."""
        x, w = (torch.tensor([1.0, 2.0], device=device, requires_grad=True) for _ in "xw")
        result = (x * w).sum()

        x.requires_grad = False
        result.backward()

        assert x.grad is None
        assert w.grad.tolist() == [1.0, 2.0]

    def test_flag_of_a_result_cannot_be_switched_off(self, device: torch.device) -> None:
        """The flag of a tracked result cannot be switched off, as that of a leaf can."""
        x = torch.tensor([1.0, 2.0], device=device, requires_grad=True)
        result = x * 2

        with pytest.raises(RuntimeError, match="only change requires_grad flags of leaf"):
            result.requires_grad = False

        x.requires_grad = False
        assert not x.requires_grad

    def test_detach_takes_a_result_out_of_the_graph(self, device: torch.device) -> None:
        """A tracked result is excluded from the graph with detach()."""
        x = torch.tensor([1.0, 2.0], device=device, requires_grad=True)

        (x * (x * 2).detach()).sum().backward()

        assert x.grad.tolist() == [2.0, 4.0]

    def test_backward_of_an_untracked_sum_is_refused(self, device: torch.device) -> None:
        """There is no backward pass from a result that nothing tracked went into."""
        x = torch.tensor([1.0, 2.0], device=device)
        x.clone().requires_grad_().sum().backward()

        with pytest.raises(RuntimeError, match="does not require grad"):
            x.sum().backward()

    @pytest.mark.parametrize(
        "combine",
        [
            lambda x, w: x + w,
            lambda x, w: x - w,
            lambda x, w: x * w,
            lambda x, w: x / w,
            lambda x, w: x**w,
            lambda x, w: x @ w,
            lambda x, w: torch.cat([x, w]),
            lambda x, w: torch.stack([x, w]),
            lambda x, w: x + x.exp() + w,
            lambda x, w: torch.cat([x, x, w]),
            lambda x, w: torch.where(x > 0, x, w),
            lambda x, w: nn.functional.linear(x, x, w[0]),
            lambda x, w: x.clone().add_(w),
            lambda x, w: x.clone().copy_(w),
            lambda x, w: x.clone().index_put_((torch.tensor(0, device=x.device),), w[0]),
            lambda x, w: assigned(x.clone(), w),
        ],
        ids=[
            *(
                "add",
                "sub",
                "mul",
                "div",
                "pow",
                "matmul",
                "cat",
                "stack",
                "three operands",
                "cat of three",
                "where",
            ),
            *("linear", "in place", "copy", "index_put", "assignment"),
        ],
    )
    def test_one_tracked_input_makes_the_result_tracked(
        self, device: torch.device, combine: Callable[..., Any]
    ) -> None:
        """One input with requires_grad=True is enough for a result to require gradients."""
        x = torch.ones(2, 2, device=device)
        w = torch.ones(2, 2, device=device, requires_grad=True)

        assert combine(x, w).requires_grad
        assert combine(w, x).requires_grad
        assert not combine(x, x).requires_grad

    @pytest.mark.parametrize(
        "operation",
        [
            lambda t: t > 1,
            lambda t: t.argmax(),
            lambda t: t.int(),
            lambda t: t.detach(),
            lambda t: t.data,
            torch.no_grad()(lambda t: t * 2),
        ],
        ids=["comparison", "argmax", "cast to integer", "detach", "data", "no_grad"],
    )
    def test_result_that_has_no_derivative_is_not_tracked(
        self, device: torch.device, operation: Any
    ) -> None:
        """Comparisons, indices, integers and detached results of tracked tensors are untracked."""
        t = torch.tensor([1.0, 2.0], device=device, requires_grad=True)

        assert (t * 2).requires_grad
        assert not operation(t).requires_grad

    def test_flags_print_false_then_true(self, device: torch.device) -> None:
        """The sum of two untracked tensors prints False, the one with a tracked tensor True."""
        x, y = torch.rand(5, 5, device=device), torch.rand(5, 5, device=device)
        z = torch.rand((5, 5), device=device, requires_grad=True)

        a, b = x + y, x + z

        assert f"Does `a` require gradients? : {a.requires_grad}" == (
            "Does `a` require gradients? : False"
        )
        assert f"Does `b` require gradients?: {b.requires_grad}" == (
            "Does `b` require gradients?: True"
        )

    def test_frozen_network_computes_no_gradients(
        self, device: torch.device, resnet: "ResNet"
    ) -> None:
        """A network with all parameters frozen has an untracked output and no backward pass."""
        autograd.freeze(resnet)

        output = resnet.eval()(torch.rand(1, 3, 8, 8, device=device))

        assert not output.requires_grad
        with pytest.raises(RuntimeError, match="does not require grad"):
            output.sum().backward()
        assert [p.grad for p in resnet.parameters()] == [None] * 62

    def test_flag_set_on_a_module_freezes_nothing(self, device: torch.device) -> None:
        """Setting requires_grad on a module, not on its parameters, silently freezes nothing."""
        net = small_network(device)

        net.requires_grad = False
        net(torch.ones(1, 3, device=device)).sum().backward()

        assert [p.requires_grad for p in net.parameters()] == [True] * 4
        assert [p.grad is None for p in net.parameters()] == [False] * 4

    @pytest.mark.on("cpu")
    def test_frozen_body_leaves_4_nodes_of_132_and_1_saved_tensor_of_181(
        self, device: torch.device, resnet: "ResNet"
    ) -> None:
        """Freezing all but the head leaves autograd 4 nodes of 132 and 1 saved tensor of 181."""
        image = torch.rand(1, 3, 33, 33, device=device)

        full = autograd.footprint(lambda: resnet(image))
        autograd.freeze(resnet)
        autograd.replace_head(resnet, 10)
        frozen = autograd.footprint(lambda: resnet(image))

        assert (full.nodes, frozen.nodes) == (132, 4)
        assert (full.saved_tensors, frozen.saved_tensors) == (181, 1)
        assert frozen.saved_bytes == 512 * 4 < full.saved_bytes / 10_000

    @pytest.mark.on("accelerator")
    def test_frozen_body_leaves_a_fraction_of_the_graph(
        self, device: torch.device, resnet: "ResNet"
    ) -> None:
        """Freezing all but the head leaves a fraction of the nodes, saved tensors and bytes."""
        image = torch.rand(1, 3, 33, 33, device=device)

        full = autograd.footprint(lambda: resnet(image))
        autograd.freeze(resnet)
        autograd.replace_head(resnet, 10)
        frozen = autograd.footprint(lambda: resnet(image))

        # Other kernels than the CPU's may be recorded as other nodes and save other values.
        assert frozen.nodes < 10 < 100 < full.nodes
        assert frozen.saved_tensors < 3 < 100 < full.saved_tensors
        assert frozen.saved_bytes < full.saved_bytes / 1000

    def test_loop_over_the_parameters_freezes_all_62(
        self, device: torch.device, resnet: "ResNet"
    ) -> None:
        """Setting requires_grad to False on every parameter freezes all 62 of them."""
        before = [p.requires_grad for p in resnet.parameters()]

        autograd.freeze(resnet)
        resnet.eval().train()  # the mode is another thing

        assert before == [True] * 62
        assert [p.requires_grad for p in resnet.parameters()] == [False] * 62

    def test_one_call_on_the_module_freezes_alike(self, device: torch.device) -> None:
        """Calling requires_grad_(False) on the module freezes its parameters like the loop."""
        looped, called = small_network(device), small_network(device)

        autograd.freeze(looped)
        returned = called.requires_grad_(False)

        assert returned is called
        flags = [[p.requires_grad for p in net.parameters()] for net in (looped, called)]
        assert flags == [[False] * 4, [False] * 4]

    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_new_head_is_a_linear_layer_that_is_not_frozen(
        self, device: torch.device, resnet: "ResNet"
    ) -> None:
        """A fresh linear layer from 512 features to 10 classes, in place of fc, is not frozen."""
        autograd.freeze(resnet)

        head = autograd.replace_head(resnet, 10)

        assert list(resnet.named_children())[-1] == ("fc", head)
        assert isinstance(head, nn.Linear)
        assert [p.shape for p in head.parameters()] == [(10, 512), (10,)]
        assert [p.requires_grad for p in head.parameters()] == [True, True]
        assert [p.device for p in head.parameters()] == [device, device]

    def test_network_with_new_head_predicts_ten_numbers_an_image(
        self, fine_tuned: SimpleNamespace
    ) -> None:
        """With the new head the network gives ten numbers for each image of the batch."""
        assert fine_tuned.taken.prediction.shape == (2, 10)

    def test_head_for_512_features_does_not_fit_bottleneck_networks(
        self, device: torch.device
    ) -> None:
        """A head for 512 features is refused by the 2048 features of ResNet-50 and its like."""
        from torchvision.models.resnet import Bottleneck, ResNet

        model = ResNet(Bottleneck, [1, 1, 1, 1], width_per_group=2).to(device).eval()
        image = torch.rand(1, 3, 8, 8, device=device)
        autograd.replace_head(model, 10)
        assert model.fc.in_features == 2048
        assert model(image).shape == (1, 10)

        model.fc = nn.Linear(512, 10).to(device)
        with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
            model(image)

    def test_only_the_new_head_computes_gradients(self, fine_tuned: SimpleNamespace) -> None:
        """With all else frozen only the weight and the bias of fc get gradients."""
        named = list(fine_tuned.taken.model.named_parameters())

        assert [name for name, p in named if p.requires_grad] == ["fc.weight", "fc.bias"]
        assert [name for name, p in named if p.grad is not None] == ["fc.weight", "fc.bias"]

    def test_only_the_new_head_is_updated(self, fine_tuned: SimpleNamespace) -> None:
        """With all else frozen a training step moves the weight and the bias of fc alone."""
        moved = autograd.moved(fine_tuned.before, fine_tuned.taken.model.named_parameters())

        assert moved == {"fc.weight", "fc.bias"}

    @pytest.mark.mistaken(text="All parameters were registered with the optimizer.")
    def test_optimizer_over_the_head_holds_2_of_62_parameters(
        self, device: torch.device, resnet: "ResNet"
    ) -> None:
        """An optimizer made from fc's parameters holds 2 of the 62, one made from all holds 62."""
        autograd.freeze(resnet)
        autograd.replace_head(resnet, 10)

        of_the_head = autograd.momentum_sgd(resnet.fc.parameters())
        of_all = autograd.momentum_sgd(resnet.parameters())

        assert [len(group["params"]) for group in of_the_head.param_groups] == [2]
        assert [len(group["params"]) for group in of_all.param_groups] == [62]

    def test_optimizers_over_the_head_and_over_all_train_alike(
        self, device: torch.device, resnet: "ResNet"
    ) -> None:
        """Frozen parameters in the optimizer change no bit of the trained head."""
        autograd.freeze(resnet.eval())
        head, image = autograd.replace_head(resnet, 10), torch.rand(1, 3, 8, 8, device=device)
        start = autograd.snapshot(head.named_parameters())

        of_the_head = fine_tune(resnet, head.parameters(), image)
        end = autograd.snapshot(head.named_parameters())
        head.load_state_dict(start)
        of_all = fine_tune(resnet, resnet.parameters(), image)

        assert autograd.moved(start, end.items()) == {"weight", "bias"}
        assert autograd.moved(end, head.named_parameters()) == set()
        assert (len(of_the_head.state), len(of_all.state)) == (2, 2)

    def test_batch_norm_statistics_move_in_a_frozen_network(
        self, device: torch.device, resnet: "ResNet"
    ) -> None:
        """In train mode a forward pass changes all 60 buffers of BatchNorm in a frozen network."""
        autograd.freeze(resnet)
        buffers = autograd.snapshot(resnet.named_buffers())
        parameters = autograd.snapshot(resnet.named_parameters())

        resnet(torch.rand(1, 3, 33, 33, device=device))

        assert len(buffers) == 60
        assert autograd.moved(buffers, resnet.named_buffers()) == set(buffers)
        assert autograd.moved(parameters, resnet.named_parameters()) == set()

    def test_batch_norm_statistics_rest_in_eval_mode(
        self, device: torch.device, resnet: "ResNet"
    ) -> None:
        """In eval mode a forward pass changes none of the 60 buffers."""
        autograd.freeze(resnet.eval())
        buffers = autograd.snapshot(resnet.named_buffers())

        resnet(torch.rand(1, 3, 8, 8, device=device))

        assert len(buffers) == 60
        assert autograd.moved(buffers, resnet.named_buffers()) == set()

    def test_parameter_frozen_with_its_gradient_left_still_moves(
        self, device: torch.device
    ) -> None:
        """A parameter frozen after a backward pass is still moved by the gradient left in .grad."""
        weight = torch.tensor([1.0, 2.0], device=device, requires_grad=True)
        optimizer = torch.optim.SGD([weight], lr=0.5)
        (weight * 4).sum().backward()

        weight.requires_grad = False
        optimizer.step()

        assert weight.tolist() == [-1.0, 0.0]

    def test_parameter_frozen_with_zeroed_gradient_moves_by_momentum(
        self, device: torch.device
    ) -> None:
        """A frozen parameter whose gradient was zeroed, not dropped, is still moved by momentum."""
        weight = torch.tensor([1.0, 2.0], device=device, requires_grad=True)
        optimizer = torch.optim.SGD([weight], lr=0.5, momentum=0.5)
        (weight * 4).sum().backward()
        optimizer.step()  # to [-1, 0], at a momentum of 4

        optimizer.zero_grad(set_to_none=False)
        weight.requires_grad = False
        optimizer.step()

        assert weight.tolist() == [-2.0, -1.0]

    def test_parameter_frozen_with_its_gradient_dropped_rests(self, device: torch.device) -> None:
        """A frozen parameter whose gradient was dropped moves neither by momentum nor by decay."""
        weight = torch.tensor([1.0, 2.0], device=device, requires_grad=True)
        optimizer = torch.optim.SGD([weight], lr=0.5, momentum=0.5, weight_decay=0.25)
        (weight * 4).sum().backward()
        optimizer.step()
        moved = weight.tolist()

        optimizer.zero_grad()
        weight.requires_grad = False
        optimizer.step()

        assert moved == [1 - 0.5 * 4.25, 2 - 0.5 * 4.5]
        assert weight.tolist() == moved

    def test_weight_decay_alone_moves_no_frozen_parameter(self, device: torch.device) -> None:
        """Weight decay does not move a frozen parameter that never had a gradient."""
        weight = torch.tensor([1.0, 2.0], device=device, requires_grad=False)

        torch.optim.SGD([weight], lr=0.5, weight_decay=0.25).step()

        assert weight.tolist() == [1.0, 2.0]

    def test_no_grad_around_a_prefix_trains_the_head_like_freezing_it(
        self, device: torch.device
    ) -> None:
        """A prefix under no_grad() gives the head the gradients that a frozen prefix gives it."""
        prefix, head = nn.Linear(3, 4).to(device), nn.Linear(4, 2).to(device)
        x = torch.rand(5, 3, device=device)
        with torch.no_grad():
            hidden = prefix(x)
        excluded = torch.autograd.grad(head(hidden).square().sum(), head.parameters())

        autograd.freeze(prefix)
        frozen = torch.autograd.grad(head(prefix(x)).square().sum(), head.parameters())

        assert [g.tolist() for g in excluded] == [g.tolist() for g in frozen]
        assert [g.any().item() for g in frozen] == [True, True]

    def test_no_grad_leaves_the_flags_of_parameters_alone(self, device: torch.device) -> None:
        """Under no_grad() parameters stay tracked, and new ones are; only results are not."""
        net = nn.Linear(3, 4).to(device)

        with torch.no_grad():
            result = net(torch.rand(5, 3, device=device))
            new = torch.ones(2, device=device, requires_grad=True)
            changed = torch.ones(2, device=device).add_(new)

        assert not changed.requires_grad
        assert [p.requires_grad for p in net.parameters()] == [True, True]
        assert new.requires_grad
        assert not result.requires_grad

    def test_no_grad_around_the_whole_network_leaves_nothing_to_train(
        self, device: torch.device
    ) -> None:
        """Under no_grad() around the whole network there is no backward pass; outside there is."""
        net, x = small_network(device), torch.rand(5, 3, device=device)
        net(x).sum().backward()

        with torch.no_grad():
            output = net(x)

        with pytest.raises(RuntimeError, match="does not require grad"):
            output.sum().backward()

    def test_frozen_middle_passes_gradients_where_no_grad_cuts_them(
        self, device: torch.device
    ) -> None:
        """A frozen middle layer hands gradients on to those before it; no_grad() cuts them off."""
        first, middle, last = (nn.Linear(3, 3).to(device) for _ in range(3))
        x = torch.rand(5, 3, device=device)
        with torch.no_grad():
            cut = middle(first(x))
        last(cut).sum().backward()
        after_no_grad = first.weight.grad

        autograd.freeze(middle)
        last(middle(first(x))).sum().backward()

        assert after_no_grad is None
        assert first.weight.grad.any().item()
        assert middle.weight.grad is None

    def test_no_grad_ends_with_its_block(self, device: torch.device) -> None:
        """Tracking is back when the block of no_grad() ends, even by an exception."""
        x = torch.ones(2, device=device, requires_grad=True)

        with torch.no_grad():
            with pytest.raises(KeyError), torch.no_grad():
                raise KeyError
            assert not (x * 2).requires_grad
        with pytest.raises(KeyError), torch.no_grad():
            raise KeyError

        assert (x * 2).requires_grad

    def test_no_grad_inside_no_grad_ends_with_the_outer_one(self, device: torch.device) -> None:
        """Tracking stays off when an inner block of no_grad() ends, until the outer one does."""
        x = torch.ones(2, device=device, requires_grad=True)

        with torch.no_grad():
            with torch.no_grad():
                inside = x * 2
            between = x * 2

        assert [inside.requires_grad, between.requires_grad] == [False, False]
        assert (x * 2).requires_grad

    def test_no_grad_is_a_decorator_too(self, device: torch.device) -> None:
        """A function decorated with no_grad() tracks nothing; tracking is back when it returns."""
        x = torch.ones(2, device=device, requires_grad=True)

        @torch.no_grad()
        def doubled() -> torch.Tensor:
            return x * 2

        assert not doubled().requires_grad
        assert not doubled().requires_grad
        assert (x * 2).requires_grad


class TestFurtherReadings:
    @pytest.mark.parametrize(
        "edit",
        [
            lambda t: t.add_(1),
            torch.no_grad()(lambda t: t.add_(1)),
            lambda t: t.detach().add_(1),
            torch.no_grad()(lambda t: t.mul_(2)),
            torch.no_grad()(lambda t: t.zero_()),
            torch.no_grad()(lambda t: t.fill_(7)),
            torch.no_grad()(lambda t: t.copy_(t + 1)),
            torch.no_grad()(lambda t: t.__isub__(1)),
            lambda t: t.__iadd__(1),
            lambda t: t.detach()[:1].add_(1),
            lambda t: t.detach().__setitem__(0, 7),
            lambda t: torch.add(t.detach(), 1, out=t.detach()),
        ],
        ids=[
            *("in place", "under no_grad", "through detach", "mul_", "zero_"),
            *("fill_", "copy_", "-=", "+="),
            *("through a view", "assignment", "out="),
        ],
    )
    def test_overwriting_a_value_that_backward_needs_is_detected(
        self, device: torch.device, edit: Any
    ) -> None:
        """A value changed in place after it was saved for backward is detected there."""
        x = torch.tensor([3.0], device=device, requires_grad=True)
        saved = x * 1
        square = saved * saved
        (gradient,) = torch.autograd.grad(square, x, retain_graph=True)
        assert gradient.item() == 6.0

        edit(saved)

        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            square.backward()

    def test_step_before_backward_is_detected(self, device: torch.device) -> None:
        """A step of the optimizer between forward and backward is a change in place as any."""
        weight = torch.tensor([3.0], device=device, requires_grad=True)
        weight.grad = torch.tensor([1.0], device=device)
        square = weight * weight

        torch.optim.SGD([weight], lr=0.5).step()

        assert weight.item() == 2.5
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            square.backward()

    def test_overwriting_a_value_that_backward_does_not_need_is_allowed(
        self, device: torch.device
    ) -> None:
        """A change in place is recorded, and allowed where backward needs no old value."""
        x = torch.tensor([3.0], device=device, requires_grad=True)

        y = x + 1
        y.mul_(6)
        y.backward()

        assert y.item() == 24.0
        assert x.grad.item() == 6.0

    def test_change_of_a_tracked_leaf_in_place_is_refused(self, device: torch.device) -> None:
        """A tracked leaf cannot be changed in place, but for under no_grad()."""
        x = torch.tensor([3.0], device=device, requires_grad=True)

        with pytest.raises(RuntimeError, match="a leaf Variable that requires grad"):
            x.add_(1)

        with torch.no_grad():
            x.add_(1)
        assert x.item() == 4.0

    def test_change_through_data_is_not_detected_and_falsifies_the_gradient(
        self, device: torch.device
    ) -> None:
        """A change through .data escapes the check: the gradient is 30 instead of 3, in silence."""
        x = torch.tensor([2.0], device=device, requires_grad=True)
        factor = torch.tensor([3.0], device=device, requires_grad=True)
        result = x * factor
        (right,) = torch.autograd.grad(result, x, retain_graph=True)

        factor.data.mul_(10)
        result.backward()

        assert right.item() == 3.0
        assert x.grad.item() == 30.0

    def test_backward_from_four_threads_loses_no_gradient(self, device: torch.device) -> None:
        """Backward passes of four threads into one leaf add up as if they ran one after another."""
        weight = torch.zeros(1000, device=device, requires_grad=True)

        on_four_threads(
            lambda number: [(weight * (number + 1)).sum().backward() for _ in range(20)]
        )

        assert weight.grad.tolist() == [20.0 * (1 + 2 + 3 + 4)] * 1000

    @pytest.mark.on("cpu")
    def test_backward_on_the_cpu_runs_in_the_calling_thread(self, device: torch.device) -> None:
        """On the CPU backward runs in the thread that called it."""

        def caller_and_runner(_: int) -> tuple[list[int], list[int]]:
            result = torch.ones(2, device=device, requires_grad=True) * 2
            ran = []
            result.grad_fn.register_prehook(lambda _: ran.append(threading.get_ident()))
            result.sum().backward()
            return [threading.get_ident()], ran

        pairs = on_four_threads(caller_and_runner)

        assert [caller == runner for caller, runner in pairs] == [True] * 4
        assert len({caller[0] for caller, _ in pairs}) == 4

    def test_no_grad_holds_for_its_own_thread_only(self, device: torch.device) -> None:
        """Tracking is switched off by no_grad() for its own thread, and on in others."""
        x = torch.ones(2, device=device, requires_grad=True)

        with torch.no_grad():
            here = (x * 2).requires_grad
            elsewhere = on_four_threads(lambda _: (x * 2).requires_grad)

        assert not here
        assert elsewhere == [True] * 4

    def test_reverse_pass_by_hand_gives_36_and_minus_12(self) -> None:
        """Differentiating Q backward by hand, step by step, gives autograd's 36 and -12."""
        a, b = 2.0, 6.0
        cube = a**3
        triple = 3 * cube
        square = b**2
        q = triple - square

        d_triple, d_square = 1.0, -1.0  # of the difference
        d_cube = d_triple * 3
        by_hand = q, d_cube * 3 * a**2, d_square * 2 * b

        leaves = [torch.tensor(value, requires_grad=True) for value in (a, b)]
        recorded = autograd.q(*leaves)
        recorded.backward()
        assert by_hand == (-12.0, 36.0, -12.0)
        assert (recorded.item(), *(leaf.grad.item() for leaf in leaves)) == by_hand
