"""Mistakes that people make with the tutorial's recipe: what happens then, and what to do.

Each claim shows the mistake beside the same thing done right. Some mistakes are errors. Others pass
without a word, and only the numbers are wrong.
"""

from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from blitz import classifier

OTHER_DEVICE = "on the same device|on the expected device|but expected .*on"
"""How torch says that tensors lie on two devices: on CUDA, on meta and on MPS."""


@pytest.fixture
def net(device: torch.device) -> nn.Linear:
    """A net of one weight, 2: its output is twice its input, and the gradient is the input."""
    net = nn.Linear(1, 1, bias=False, device=device)
    nn.init.constant_(net.weight, 2.0)
    return net


@pytest.fixture
def three(device: torch.device) -> torch.Tensor:
    """A batch of one image, the number 3."""
    return torch.tensor([[3.0]], device=device)


class TestOptimizer:
    @pytest.mark.parametrize(
        "made", [deepcopy, lambda net: nn.Linear(1, 1).to(net.weight.device)], ids=["copy", "new"]
    )
    def test_optimizer_built_for_another_net_leaves_this_one_as_it_is(
        self, made: Any, net: nn.Linear, three: torch.Tensor
    ) -> None:
        """An optimizer moves the net it was built for, and silently no copy and no later net."""
        optimizer_of_the_old = torch.optim.SGD(net.parameters(), lr=0.1)
        new = made(net)
        start = new.weight.item()
        optimizer_of_the_new = torch.optim.SGD(new.parameters(), lr=0.1)

        new(three).sum().backward()
        optimizer_of_the_old.step()
        assert (new.weight.item(), net.weight.item()) == (start, 2.0)

        optimizer_of_the_new.step()
        assert new.weight.item() == pytest.approx(start - 0.3)


class TestDevices:
    @pytest.mark.on("accelerator", "meta")
    def test_to_without_an_assignment_leaves_a_tensor_where_it_was(
        self, device: torch.device
    ) -> None:
        """A tensor stays where it is unless the result of to() is assigned."""
        inputs = torch.ones(2, 3)

        inputs.to(device)
        assert inputs.device == torch.device("cpu")

        inputs = inputs.to(device)
        assert inputs.device == device

    def test_to_without_an_assignment_leaves_a_dtype_as_it_was(self, device: torch.device) -> None:
        """A tensor keeps its dtype unless the result of to() is assigned."""
        inputs = torch.ones(2, 3, device=device)

        inputs.to(torch.float16)
        assert inputs.dtype is torch.float32

        inputs = inputs.to(torch.float16)
        assert inputs.dtype is torch.float16

    @pytest.mark.on("accelerator", "meta")
    def test_to_without_an_assignment_moves_a_net(self, device: torch.device) -> None:
        """A net is moved by to() itself, parameters and buffers, with or without an assignment."""
        net = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))

        net.to(device)

        assert {tensor.device for tensor in net.state_dict().values()} == {device}

    @pytest.mark.on("accelerator", "meta")
    def test_linear_layer_refuses_inputs_from_another_device(self, device: torch.device) -> None:
        """A linear layer and its inputs on two devices are a RuntimeError, either way round."""
        here, there = nn.Linear(3, 2), nn.Linear(3, 2, device=device)
        inputs = torch.ones(4, 3)

        assert there(inputs.to(device)).device == device
        with pytest.raises(RuntimeError, match=OTHER_DEVICE):
            there(inputs)
        with pytest.raises(RuntimeError, match=OTHER_DEVICE):
            here(inputs.to(device))

    @pytest.mark.on("accelerator", "meta")
    def test_loss_refuses_labels_from_another_device(self, device: torch.device) -> None:
        """Scores and labels on two devices are a RuntimeError of the cross-entropy."""
        scores, labels = torch.ones(2, 3, device=device), torch.tensor([0, 2])

        assert F.cross_entropy(scores, labels.to(device)).device == device
        with pytest.raises(RuntimeError, match=OTHER_DEVICE):
            F.cross_entropy(scores, labels)

    @pytest.mark.parametrize("convert", [torch.Tensor.numpy, np.asarray], ids=["numpy", "asarray"])
    def test_tracked_tensor_does_not_become_an_array(self, convert: Any) -> None:
        """A tensor that requires grad becomes no array: the RuntimeError says to detach it."""
        tracked = torch.tensor([2.0, 3.0], requires_grad=True)

        assert convert(tracked.detach()).tolist() == [2.0, 3.0]
        with pytest.raises(
            RuntimeError, match=r"requires grad\. Use tensor\.detach\(\)\.numpy\(\)"
        ):
            convert(tracked)

    @pytest.mark.on("accelerator", "meta")
    @pytest.mark.parametrize("convert", [torch.Tensor.numpy, np.asarray], ids=["numpy", "asarray"])
    def test_tensor_on_an_accelerator_does_not_become_an_array(
        self, convert: Any, device: torch.device
    ) -> None:
        """A tensor away from the cpu becomes no array: the TypeError says to copy it there."""
        assert convert(torch.ones(2)).tolist() == [1.0, 1.0]
        with pytest.raises(TypeError, match=rf"{device.type}.* to numpy\. Use Tensor\.cpu\(\)"):
            convert(torch.ones(2, device=device))

    def test_detached_copy_on_the_cpu_becomes_an_array(self, device: torch.device) -> None:
        """A tracked tensor on any device becomes an array by detach(), cpu() and numpy()."""
        tracked = torch.tensor([2.0, 3.0], requires_grad=True, device=device)

        assert tracked.detach().cpu().numpy().tolist() == [2.0, 3.0]
        assert tracked.numpy(force=True).tolist() == [2.0, 3.0]


class TestLoss:
    def test_softmax_before_cross_entropy_keeps_the_loss_of_right_answers_up(
        self, device: torch.device
    ) -> None:
        """A softmax before cross-entropy silently keeps the loss of ten classes above 1.46."""
        labels = torch.tensor([3, 0, 7], device=device)
        sure_and_right = 100 * F.one_hot(labels, 10).float()

        right = F.cross_entropy(sure_and_right, labels)
        twice = F.cross_entropy(sure_and_right.softmax(1), labels)

        assert right.item() == pytest.approx(0, abs=1e-6)
        assert twice.item() == pytest.approx(1.461150)  # log(1 + 9 / e)

    def test_softmax_before_cross_entropy_takes_the_gradient_of_sure_mistakes_away(
        self, device: torch.device
    ) -> None:
        """After a softmax before cross-entropy a confident mistake has a gradient of almost 0."""
        scores = torch.tensor([[30.0, 0.0, 0.0]], requires_grad=True, device=device)
        label = torch.tensor([1], device=device)

        (right,) = torch.autograd.grad(F.cross_entropy(scores, label), scores)
        (twice,) = torch.autograd.grad(F.cross_entropy(scores.softmax(1), label), scores)

        torch.testing.assert_close(right.cpu(), torch.tensor([[1.0, -1.0, 0.0]]))
        assert twice.abs().max().item() < 1e-9

    def test_class_numbers_that_are_floats_are_refused(self) -> None:
        """Class numbers that are floats are a RuntimeError of cross-entropy: it asks for Long."""
        scores = torch.zeros(2, 4)

        assert F.cross_entropy(scores, torch.tensor([0, 3])).item() == pytest.approx(1.386294)
        with pytest.raises(RuntimeError, match="Long"):
            F.cross_entropy(scores, torch.tensor([0.0, 3.0]))

    def test_float_targets_are_probabilities_of_the_classes(self, device: torch.device) -> None:
        """Float targets of the scores' shape are probabilities: ones and zeros act as labels."""
        scores = torch.tensor([[1.0, 2.0, 0.5], [0.0, -1.0, 3.0]], device=device)
        sure = torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]], device=device)
        unsure = torch.tensor([[0.5, 0.5, 0.0], [0.5, 0.0, 0.5]], device=device)

        # log(e + e² + √e) = 2.464369 and log(1 + 1/e + e³) = 3.065884, less the target's score
        loss = F.cross_entropy(scores, sure).item()
        assert loss == pytest.approx((0.464369 + 3.065884) / 2, rel=1e-5)
        loss = F.cross_entropy(scores, unsure).item()
        assert loss == pytest.approx((0.964369 + 1.565884) / 2, rel=1e-5)


class TestLoop:
    def test_gradients_add_up_where_nobody_clears_them(
        self, net: nn.Linear, three: torch.Tensor
    ) -> None:
        """A second backward adds to the gradients of the first unless they are cleared between."""
        net(three).sum().backward()
        net(three).sum().backward()
        assert net.weight.grad.item() == 6.0

        net.zero_grad()
        net(three).sum().backward()
        assert net.weight.grad.item() == 3.0

    def test_steps_grow_where_nobody_clears_the_gradients(
        self, net: nn.Linear, three: torch.Tensor
    ) -> None:
        """Without zero_grad the second step of SGD silently takes the first gradient along."""
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)

        net(three).sum().backward()
        optimizer.step()
        assert net.weight.item() == pytest.approx(1.7)

        net(three).sum().backward()
        optimizer.step()
        assert net.weight.item() == pytest.approx(1.1)  # with zero_grad it is 1.4

    def test_prediction_in_training_mode_depends_on_the_rest_of_the_batch(
        self, device: torch.device
    ) -> None:
        """In training mode BatchNorm depends on the rest of the batch; in evaluation mode not."""
        norm = nn.BatchNorm1d(1).to(device)
        beside_3 = torch.tensor([[1.0], [3.0]], device=device)
        beside_minus_3 = torch.tensor([[1.0], [-3.0]], device=device)

        norm.eval()
        assert norm(beside_3)[0].item() == norm(beside_minus_3)[0].item()

        norm.train()  # BatchNorm adds 0.00001 to the variance
        assert norm(beside_3)[0].item() == pytest.approx(-1.0, abs=1e-5)
        assert norm(beside_minus_3)[0].item() == pytest.approx(1.0, abs=1e-5)

    def test_prediction_in_training_mode_moves_the_statistics(self, device: torch.device) -> None:
        """In training mode a forward pass moves BatchNorm's statistics, under no_grad as well."""
        norm, batch = nn.BatchNorm1d(1).to(device), torch.tensor([[1.0], [3.0]], device=device)

        with torch.no_grad():
            norm.eval()(batch)
            assert norm.running_mean.item() == 0.0
            norm.train()(batch)

        assert norm.running_mean.item() == pytest.approx(0.2)
        assert norm.running_var.item() == pytest.approx(0.9 * 1 + 0.1 * 2)  # of 1 and 3, by n - 1

    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_batch_of_one_is_refused_in_training_mode(self, device: torch.device) -> None:
        """A single row is a ValueError of BatchNorm1d in training mode, not in evaluation mode."""
        norm, image = nn.BatchNorm1d(3).to(device), torch.ones(1, 3, device=device)

        assert norm.eval()(image).shape == (1, 3)
        with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
            norm.train()(image)


class TestImagesAndLabels:
    def test_linear_layer_refuses_the_features_of_smaller_images(
        self, device: torch.device
    ) -> None:
        """Images of 28x28 are a RuntimeError of the first linear layer, naming two shapes."""
        maps = [nn.Conv2d(1, 6, 3), nn.MaxPool2d(2), nn.Conv2d(6, 16, 3), nn.MaxPool2d(2)]
        net = nn.Sequential(*maps, nn.Flatten(), nn.Linear(16 * 6 * 6, 120)).to(device)

        assert net(torch.ones(4, 1, 32, 32, device=device)).shape == (4, 120)
        with pytest.raises(RuntimeError, match=r"cannot be multiplied \(4x400 and 576x120\)"):
            net(torch.ones(4, 1, 28, 28, device=device))

    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_images_of_28x28_fit_once_they_are_padded(self, device: torch.device) -> None:
        """Four images of 28x28 are a RuntimeError in the net; padded by 2 on each side they fit."""
        net, images = classifier.Net().to(device), torch.ones(4, 3, 28, 28, device=device)

        with pytest.raises(RuntimeError, match="is invalid for input of size 1024"):
            net(images)

        assert net(F.pad(images, (2, 2, 2, 2))).shape == (4, 10)

    @pytest.mark.parametrize("label", [3, -1])
    def test_label_out_of_range_is_refused_on_the_cpu(self, label: int) -> None:
        """On the cpu a label that is no class, but for -100, is an IndexError which names it.

        On CUDA it ends the process's use of the device.
        """
        scores = torch.zeros(2, 3)

        assert F.cross_entropy(scores, torch.tensor([0, 2])).item() == pytest.approx(1.098612)
        with pytest.raises(IndexError, match=f"Target {label} is out of bounds"):
            nn.CrossEntropyLoss()(scores, torch.tensor([0, label]))

    def test_label_minus_100_is_passed_over_without_a_word(self, device: torch.device) -> None:
        """The cross-entropy silently leaves an image with the label -100 out."""
        scores = torch.tensor([[1.0, 2.0, 0.5], [0.0, -1.0, 3.0]], device=device)

        loss = nn.CrossEntropyLoss()(scores, torch.tensor([1, -100], device=device))

        assert loss.item() == pytest.approx(0.464369, rel=1e-5)  # of the first image alone
