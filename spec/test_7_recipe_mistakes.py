"""Mistakes that people make with the tutorial's recipe: what happens then, and what to do.

Each claim shows the mistake beside the same thing done right. Some mistakes are refused, in words
that name the remedy. Others pass without a word, and only the numbers are wrong.
"""

from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from blitz import classifier
from blitz.learning import evaluation
from blitz.learning.step import TrainingStep

OTHER_DEVICE = "on the same device|on the expected device|but expected .*on"
"""How torch says that tensors lie on two devices: on CUDA, on meta and on MPS."""


def line(device: torch.device | str = "cpu") -> nn.Linear:
    """A net of one weight, 2: its output is twice its input, and the gradient is the input."""
    net = nn.Linear(1, 1, bias=False, device=device)
    nn.init.constant_(net.weight, 2.0)
    return net


def weights_along_the_way(device: torch.device, clear: bool) -> list[float]:
    """The weight after each of three steps of SGD down the slope 3, at a learning rate of 0.1."""
    net = line(device)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    weights = []
    for _ in range(3):
        if clear:
            optimizer.zero_grad()
        net(torch.tensor([[3.0]], device=device)).sum().backward()
        optimizer.step()
        weights.append(net.weight.item())
    return weights


def small_classifier(device: torch.device, classes: int = 10) -> nn.Module:
    """A classifier that takes images of three numbers."""
    return nn.Sequential(nn.Linear(3, classes)).to(device)


class TestOptimizer:
    @pytest.mark.parametrize(
        "made", [deepcopy, lambda net: line(net.weight.device)], ids=["copy", "new"]
    )
    def test_optimizer_built_for_another_net_leaves_this_one_as_it_is(
        self, made: Any, device: torch.device
    ) -> None:
        """An optimizer moves the net that it was built for, and no copy or later net, unsaid."""
        old = line(device)
        late = torch.optim.SGD(old.parameters(), lr=0.1)
        net = made(old)
        right = torch.optim.SGD(net.parameters(), lr=0.1)

        net(torch.tensor([[3.0]], device=device)).sum().backward()
        late.step()
        left = net.weight.item()
        right.step()

        assert left == 2.0
        assert old.weight.item() == 2.0
        assert net.weight.item() == pytest.approx(1.7)

    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_training_step_builds_the_optimizer_for_its_own_net(self, device: torch.device) -> None:
        """The training step's optimizer holds the parameters of the net that it trains."""
        net = small_classifier(device)

        step = TrainingStep(net)

        held = [parameter for group in step.optimizer.param_groups for parameter in group["params"]]
        assert [id(parameter) for parameter in held] == [
            id(parameter) for parameter in net.parameters()
        ]
        assert held[0].device == device


class TestDevices:
    @pytest.mark.on("accelerator", "meta")
    def test_to_without_an_assignment_leaves_a_tensor_where_it_was(
        self, device: torch.device
    ) -> None:
        """A tensor stays where it is unless the result of to() is assigned."""
        inputs = torch.ones(2, 3)

        inputs.to(device)
        left = inputs.device
        inputs = inputs.to(device)

        assert left == torch.device("cpu")
        assert inputs.device == device

    def test_to_without_an_assignment_leaves_a_dtype_as_it_was(self, device: torch.device) -> None:
        """A tensor keeps its dtype unless the result of to() is assigned."""
        inputs = torch.ones(2, 3, device=device)

        inputs.to(torch.float16)
        left = inputs.dtype
        inputs = inputs.to(torch.float16)

        assert left is torch.float32
        assert inputs.dtype is torch.float16

    @pytest.mark.on("accelerator", "meta")
    def test_to_without_an_assignment_moves_a_net(self, device: torch.device) -> None:
        """A net is moved by to() itself, parameters and buffers, with or without an assignment."""
        net = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))

        net.to(device)

        assert {tensor.device for tensor in net.state_dict().values()} == {device}

    @pytest.mark.on("accelerator", "meta")
    @pytest.mark.parametrize("moved", ["net", "inputs"])
    def test_linear_layer_refuses_inputs_from_another_device(
        self, moved: str, device: torch.device
    ) -> None:
        """A linear layer refuses inputs from another device than its own."""
        net, inputs = nn.Linear(3, 2), torch.ones(4, 3)
        both = {"net": net, "inputs": inputs} | {
            moved: {"net": net, "inputs": inputs}[moved].to(device)
        }

        with pytest.raises(RuntimeError, match=OTHER_DEVICE):
            both["net"](both["inputs"])

        assert net.to(device)(inputs.to(device)).device == device

    @pytest.mark.on("accelerator", "meta")
    def test_loss_refuses_labels_from_another_device(self, device: torch.device) -> None:
        """The cross-entropy refuses labels from another device than the scores'."""
        scores, labels = torch.ones(2, 3, device=device), torch.tensor([0, 2])

        with pytest.raises(RuntimeError, match=OTHER_DEVICE):
            F.cross_entropy(scores, labels)

        assert F.cross_entropy(scores, labels.to(device)).device == device

    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_training_step_fetches_images_and_labels_to_the_net(self, device: torch.device) -> None:
        """The training step takes images and labels from the cpu to wherever the net is."""
        step = TrainingStep(small_classifier(device))

        loss = step(torch.ones(4, 3), torch.tensor([0, 1, 2, 3]))

        assert loss.device == device

    @pytest.mark.parametrize("convert", [torch.Tensor.numpy, np.asarray], ids=["numpy", "asarray"])
    def test_tracked_tensor_does_not_become_an_array(self, convert: Any) -> None:
        """A tensor that requires grad becomes no array, and the refusal says to detach it."""
        tracked = torch.tensor([2.0, 3.0], requires_grad=True)

        with pytest.raises(
            RuntimeError, match=r"requires grad\. Use tensor\.detach\(\)\.numpy\(\)"
        ):
            convert(tracked)

        assert convert(tracked.detach()).tolist() == [2.0, 3.0]

    @pytest.mark.on("accelerator", "meta")
    @pytest.mark.parametrize("convert", [torch.Tensor.numpy, np.asarray], ids=["numpy", "asarray"])
    def test_tensor_on_an_accelerator_does_not_become_an_array(
        self, convert: Any, device: torch.device
    ) -> None:
        """A tensor away from the cpu becomes no array, and the refusal says to copy it there."""
        away = torch.ones(2, device=device)

        with pytest.raises(TypeError, match=rf"{device.type}.* to numpy\. Use Tensor\.cpu\(\)"):
            convert(away)

        assert convert(torch.ones(2)).tolist() == [1.0, 1.0]

    def test_detached_copy_on_the_cpu_becomes_an_array(self, device: torch.device) -> None:
        """A tracked tensor on any device becomes an array by detach(), cpu() and numpy()."""
        tracked = torch.tensor([2.0, 3.0], requires_grad=True, device=device)

        assert tracked.detach().cpu().numpy().tolist() == [2.0, 3.0]
        assert tracked.numpy(force=True).tolist() == [2.0, 3.0]


class TestLoss:
    def test_softmax_before_cross_entropy_keeps_the_loss_of_right_answers_up(
        self, device: torch.device
    ) -> None:
        """With a softmax before cross-entropy the loss of ten classes stays above 1.46, unsaid."""
        labels = torch.tensor([3, 0, 7], device=device)
        sure_and_right = 100 * F.one_hot(labels, 10).float()

        right = F.cross_entropy(sure_and_right, labels)
        twice = F.cross_entropy(sure_and_right.softmax(1), labels)

        assert right.item() == pytest.approx(0, abs=1e-6)
        assert twice.item() == pytest.approx(1.461150)  # log(1 + 9 / e)

    def test_softmax_before_cross_entropy_takes_the_gradient_of_sure_mistakes_away(
        self, device: torch.device
    ) -> None:
        """With a softmax before cross-entropy a net learns nothing from an answer surely wrong."""
        scores = torch.tensor([[30.0, 0.0, 0.0]], requires_grad=True, device=device)
        label = torch.tensor([1], device=device)

        (right,) = torch.autograd.grad(F.cross_entropy(scores, label), scores)
        (twice,) = torch.autograd.grad(F.cross_entropy(scores.softmax(1), label), scores)

        torch.testing.assert_close(right.cpu(), torch.tensor([[1.0, -1.0, 0.0]]))
        assert twice.abs().max().item() < 1e-9

    def test_class_numbers_that_are_floats_are_refused(self) -> None:
        """The cross-entropy refuses class numbers that are floats, and asks for Long."""
        scores = torch.zeros(2, 4)

        with pytest.raises(RuntimeError, match="Long"):
            F.cross_entropy(scores, torch.tensor([0.0, 3.0]))

        assert F.cross_entropy(scores, torch.tensor([0, 3])).item() == pytest.approx(1.386294)

    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_training_step_refuses_float_labels_on_every_device(self, device: torch.device) -> None:
        """The training step refuses float labels in the same words wherever the net is."""
        step = TrainingStep(small_classifier(device))
        labels = torch.tensor([0.0, 1.0, 2.0, 3.0])

        with pytest.raises(
            ValueError, match=r"float32, for 4 images: give a class number for each, int64"
        ):
            step(torch.ones(4, 3), labels)

        assert step(torch.ones(4, 3), labels.long()).shape == ()

    def test_float_targets_are_probabilities_of_the_classes(self, device: torch.device) -> None:
        """Float targets of the scores' shape are probabilities: ones and zeros act as labels."""
        scores = torch.tensor([[1.0, 2.0, 0.5], [0.0, -1.0, 3.0]], device=device)
        sure = torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]], device=device)

        loss = F.cross_entropy(scores, sure)

        # mean of log(e + e² + √e) - 2 and log(1 + 1/e + e³) - 0
        assert loss.item() == pytest.approx((0.464369 + 3.065884) / 2, abs=1e-5)
        assert loss.item() == pytest.approx(F.cross_entropy(scores, sure.argmax(1)).item())


class TestLoop:
    def test_gradients_add_up_where_nobody_clears_them(self, device: torch.device) -> None:
        """A second backward adds to the gradients of the first unless they are cleared between."""
        net, inputs = line(device), torch.tensor([[3.0]], device=device)

        net(inputs).sum().backward()
        net(inputs).sum().backward()
        added = net.weight.grad.item()
        net.zero_grad()
        net(inputs).sum().backward()

        assert added == 6.0
        assert net.weight.grad.item() == 3.0

    def test_steps_grow_where_nobody_clears_the_gradients(self, device: torch.device) -> None:
        """Without zero_grad every step of SGD takes all the earlier gradients along, unsaid."""
        assert weights_along_the_way(device, clear=True) == pytest.approx([1.7, 1.4, 1.1])
        assert weights_along_the_way(device, clear=False) == pytest.approx([1.7, 1.1, 0.2])

    def test_training_step_clears_the_gradients(self, device: torch.device) -> None:
        """The training step leaves the gradients of its own batch alone in the net."""
        net = small_classifier(device)
        step = TrainingStep(net, lr=0.0, momentum=0.0)

        step(torch.ones(4, 3), torch.tensor([0, 1, 2, 3]))
        first = net[0].weight.grad.clone()
        step(torch.ones(4, 3), torch.tensor([0, 1, 2, 3]))

        assert first.abs().max() > 0
        torch.testing.assert_close(net[0].weight.grad, first)

    def test_prediction_in_training_mode_depends_on_the_rest_of_the_batch(
        self, device: torch.device
    ) -> None:
        """In training mode BatchNorm answers by the rest of the batch; in evaluation mode not."""
        norm = nn.BatchNorm1d(1).to(device)
        beside = [torch.tensor([[1.0], [other]], device=device) for other in (3.0, -3.0)]

        norm.eval()
        tested = [norm(batch)[0].item() for batch in beside]
        norm.train()
        trained = [norm(batch)[0].item() for batch in beside]

        # BatchNorm adds 0.00001 to the variance.
        assert tested == pytest.approx([1.0, 1.0], abs=1e-5)
        assert trained == pytest.approx([-1.0, 1.0], abs=1e-5)

    def test_prediction_in_training_mode_moves_the_statistics(self, device: torch.device) -> None:
        """In training mode a forward pass moves BatchNorm's statistics, under no_grad as well."""
        norm, batch = nn.BatchNorm1d(1).to(device), torch.tensor([[1.0], [3.0]], device=device)

        with torch.no_grad():
            norm.eval()(batch)
            tested = norm.running_mean.item()
            norm.train()(batch)

        assert tested == 0.0
        assert norm.running_mean.item() == pytest.approx(0.2)
        assert norm.running_var.item() == pytest.approx(0.9 * 1 + 0.1 * 2)  # of 1 and 3, by n - 1

    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_batch_of_one_is_refused_in_training_mode(self, device: torch.device) -> None:
        """In training mode BatchNorm refuses a single image; in evaluation mode it takes it."""
        norm, image = nn.BatchNorm1d(3).to(device), torch.ones(1, 3, device=device)

        with pytest.raises(
            ValueError, match="Expected more than 1 value per channel when training"
        ):
            norm(image)

        assert norm.eval()(image).shape == (1, 3)

    def test_predict_is_in_evaluation_mode_and_gives_the_mode_back(
        self, device: torch.device
    ) -> None:
        """The classifier's predict uses evaluation mode by itself and leaves the net as it was."""
        net = nn.Sequential(nn.BatchNorm1d(3)).to(device)

        labels = evaluation.predict(net, torch.tensor([[1.0, 5.0, 2.0]], device=device))

        assert labels.tolist() == [1]
        assert net[0].training
        assert net[0].running_mean.tolist() == [0.0, 0.0, 0.0]


class TestImagesAndLabels:
    def test_linear_layer_refuses_the_features_of_smaller_images(
        self, device: torch.device
    ) -> None:
        """Images of 28x28 end in a refusal at the first linear layer, which names two products."""
        maps = [nn.Conv2d(1, 6, 3), nn.MaxPool2d(2), nn.Conv2d(6, 16, 3), nn.MaxPool2d(2)]
        net = nn.Sequential(*maps, nn.Flatten(), nn.Linear(16 * 6 * 6, 120)).to(device)

        with pytest.raises(RuntimeError, match=r"cannot be multiplied \(4x400 and 576x120\)"):
            net(torch.ones(4, 1, 28, 28, device=device))

        assert net(torch.ones(4, 1, 32, 32, device=device)).shape == (4, 120)

    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_classifier_refuses_28x28_images_and_names_its_size(self, device: torch.device) -> None:
        """The classifier refuses images of 28x28, and names the size that it takes."""
        net = classifier.Net().to(device)

        with pytest.raises(ValueError, match=r"this net takes N x 3 x 32 x 32\. Resize"):
            net(torch.ones(4, 3, 28, 28, device=device))

        assert net(torch.ones(4, 3, 32, 32, device=device)).shape == (4, 10)

    @pytest.mark.parametrize("label", [3, -1])
    def test_label_out_of_range_is_refused_on_the_cpu(self, label: int) -> None:
        """On the cpu cross-entropy refuses a label that is no class, and names it."""
        scores = torch.zeros(2, 3)

        with pytest.raises(IndexError, match=f"Target {label} is out of bounds"):
            nn.CrossEntropyLoss()(scores, torch.tensor([0, label]))

        assert F.cross_entropy(scores, torch.tensor([0, 2])).item() == pytest.approx(1.098612)

    def test_label_minus_100_is_passed_over_without_a_word(self, device: torch.device) -> None:
        """The cross-entropy leaves a label of -100 out, unsaid; the training step refuses it."""
        scores = torch.tensor([[1.0, 2.0, 0.5], [0.0, -1.0, 3.0]], device=device)
        step = TrainingStep(small_classifier(device))

        loss = nn.CrossEntropyLoss()(scores, torch.tensor([1, -100], device=device))

        assert loss.item() == pytest.approx(0.464369, abs=1e-5)  # of the first image alone
        with pytest.raises(ValueError, match="label -100 fits none"):
            step(torch.ones(2, 3), torch.tensor([1, -100]))

    @pytest.mark.on("cpu", "accelerator", "meta")
    @pytest.mark.parametrize("label", [10, -1])
    def test_training_step_refuses_labels_before_they_reach_the_device(
        self, label: int, device: torch.device
    ) -> None:
        """The training step refuses a label that is no class while it is still on the cpu."""
        step = TrainingStep(small_classifier(device))

        with pytest.raises(
            ValueError,
            match=f"label {label} fits none of the net's 10 outputs. Give labels from 0 to 9",
        ):
            step(torch.ones(4, 3), torch.tensor([0, 1, 2, label]))

        assert step(torch.ones(4, 3), torch.tensor([0, 1, 2, 9])).device == device

    def test_refused_labels_leave_net_and_device_as_they_were(self, device: torch.device) -> None:
        """After labels that are no classes the net is unchanged, and the device goes on working."""
        net = small_classifier(device)
        before = net[0].weight.tolist()
        step = TrainingStep(net)

        with pytest.raises(ValueError, match="fits none of the net's 10 outputs"):
            step(torch.ones(2, 3), torch.tensor([0, 10]))
        left = net[0].weight.tolist()
        step(torch.ones(2, 3), torch.tensor([0, 9]))

        assert left == before
        assert net[0].weight.tolist() != before
