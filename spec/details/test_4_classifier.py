"""Details of chapter 4: what is refused, and what variants of the chapter's calls do."""

import inspect
import os
import pickle
import shutil
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torch import nn, optim
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, TensorDataset
from torchvision.transforms import Normalize, ToTensor
from torchvision.utils import make_grid

from blitz import classifier
from blitz.data import CLASSES

pytestmark = pytest.mark.usefixtures("one_thread")

CIFAR10 = torchvision.datasets.CIFAR10


class Makers(Dataset[tuple[int, int]]):
    """Ten items, each its number and that of the process that made it."""

    def __len__(self) -> int:
        return 10

    def __getitem__(self, i: int) -> tuple[int, int]:
        return i, os.getpid()


class TestAboutData:
    def test_imagenet_is_not_downloaded(self) -> None:
        """CIFAR10 and MNIST can be downloaded by torchvision, ImageNet cannot."""
        from torchvision.datasets import MNIST, ImageNet

        assert "download" in inspect.signature(CIFAR10).parameters
        assert "download" in inspect.signature(MNIST).parameters
        assert "download" not in inspect.signature(ImageNet).parameters

    def test_file_holds_all_reds_then_greens_then_blues(self, cifar10_folder: Path) -> None:
        """CIFAR10's files hold an image as 1,024 reds, 1,024 greens and 1,024 blues, row by row."""
        file = cifar10_folder / "cifar-10-batches-py" / "data_batch_2"
        row = pickle.loads(file.read_bytes())["data"][1].tolist()

        image, _ = CIFAR10(cifar10_folder)[3]

        # row 9, column 5 is number 9 * 32 + 5 = 293 of each colour
        assert image.getpixel((5, 9)) == (row[293], row[1024 + 293], row[2048 + 293])
        assert image.getpixel((31, 0)) == (row[31], row[1024 + 31], row[2048 + 31])


class TestLoadAndNormalize:
    def test_to_tensor_leaves_float_arrays_as_they_are(self) -> None:
        """ToTensor divides uint8 arrays by 255, and leaves an array of floats unscaled."""
        assert ToTensor()(np.full((1, 1, 1), 255, dtype=np.uint8)).item() == 1
        assert ToTensor()(np.full((1, 1, 1), 255, dtype=np.float32)).item() == 255

    @pytest.mark.parametrize("shape", [(2, 3, 3), (3, 2, 3)])
    def test_to_tensor_keeps_rows_and_columns(self, shape: tuple[int, int, int]) -> None:
        """ToTensor puts a pixel's three values at its row and column, also of an oblong image."""
        pixels = np.arange(18, dtype=np.uint8).reshape(shape)

        t = ToTensor()(pixels)

        assert [(t[:, i, j] * 255).round().tolist() for i, j in np.ndindex(shape[:2])] == [
            pixels[i, j].tolist() for i, j in np.ndindex(shape[:2])
        ]

    def test_transform_does_not_centre_an_image(self) -> None:
        """Normalize maps a range; it gives an image neither mean 0 nor spread 1."""
        grey = torch.full((3, 2, 2), 0.75)

        normalized = Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))(grey)

        assert normalized.unique().tolist() == [0.5]
        assert grey.unique().tolist() == [0.75]

    def test_normalize_treats_each_channel_by_its_own_numbers(self) -> None:
        """Normalize takes its own mean from each channel and divides by its own deviation."""
        normalized = Normalize((0.5, 0.25, 1.0), (0.5, 0.125, 2.0))(torch.ones(3, 1, 1))

        assert normalized.flatten().tolist() == [1, 6, 0]

    @pytest.mark.parametrize(
        ("image", "error", "words"),
        [
            pytest.param(torch.zeros(1, 4, 4), RuntimeError, "broadcast shape", id="one channel"),
            pytest.param(Image.new("RGB", (4, 4)), TypeError, "should be Tensor Image", id="PIL"),
            pytest.param(torch.zeros(3, 4, 4).byte(), TypeError, "float tensor", id="bytes"),
        ],
    )
    def test_normalize_takes_float_tensors_of_three_channels(
        self, image: Any, error: Any, words: str
    ) -> None:
        """Normalize by three means takes float tensors of three channels, nothing else."""
        normalize = Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))

        assert normalize(torch.ones(3, 4, 4)).unique().tolist() == [1]
        with pytest.raises(error, match=words):
            normalize(image)

    def test_normalize_by_a_zero_deviation_is_a_value_error(self) -> None:
        """Normalize does not divide by a standard deviation of 0: it is a ValueError."""
        assert Normalize((0.0,), (0.5,))(torch.ones(1, 2, 2)).unique().tolist() == [2]
        with pytest.raises(ValueError, match="division by zero"):
            Normalize((0.0,), (0.0,))(torch.ones(1, 2, 2))

    # Python 3.12 and later warn of every fork beside torch's own threads; the workers use none.
    @pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
    def test_workers_do_not_change_the_batches(self) -> None:
        """Two worker processes give the same items in the same order as none, in every pass."""
        here = DataLoader(range(10), batch_size=2, shuffle=True, generator=torch.Generator())
        there = DataLoader(
            Makers(), batch_size=2, shuffle=True, num_workers=2, generator=torch.Generator()
        )

        first, makers = map(torch.cat, zip(*there, strict=True))
        second, _ = map(torch.cat, zip(*there, strict=True))

        assert first.tolist() == torch.cat([*here]).tolist()
        assert second.tolist() == torch.cat([*here]).tolist()
        assert len({*makers.tolist()} - {os.getpid()}) == 2

    def test_negative_number_of_workers_is_a_value_error(self) -> None:
        """A loader takes 0 workers or more; -1 is a ValueError."""
        assert DataLoader(range(8), num_workers=0).num_workers == 0
        with pytest.raises(ValueError, match="num_workers option should be non-negative"):
            DataLoader(range(8), num_workers=-1)

    def test_cifar10_leaves_intact_files_alone(self, cifar10_folder: Path) -> None:
        """CIFAR10 with download=True downloads nothing where intact files are in place."""
        assert len(CIFAR10(cifar10_folder, train=False, download=True)) == 2

    @pytest.mark.parametrize("name", ["data_batch_3", "test_batch"])
    def test_cifar10_refuses_an_altered_file(
        self, cifar10_folder: Path, tmp_path: Path, name: str
    ) -> None:
        """CIFAR10 compares its files with known digests: an altered one is a RuntimeError."""
        shutil.copytree(cifar10_folder, tmp_path, dirs_exist_ok=True)
        assert len(CIFAR10(tmp_path)) == 10

        file = tmp_path / "cifar-10-batches-py" / name
        file.write_bytes(file.read_bytes()[:-1] + b"?")

        with pytest.raises(RuntimeError, match="Dataset not found or corrupted"):
            CIFAR10(tmp_path)

    def test_cifar10_refuses_a_folder_without_its_files(
        self, cifar10_folder: Path, tmp_path: Path
    ) -> None:
        """CIFAR10 in a folder without its files is a RuntimeError."""
        assert len(CIFAR10(cifar10_folder)) == 10
        with pytest.raises(RuntimeError, match="Dataset not found or corrupted"):
            CIFAR10(tmp_path)

    def test_shuffled_loader_takes_every_order_alike(self) -> None:
        """In many shuffled passes every item stands in every place, and after every other."""
        loader = DataLoader(range(12), 12, shuffle=True, generator=torch.Generator())
        passes = DataLoader(range(12 * 600), 12)  # 600 batches, for the number of passes

        orders = torch.cat([*map(lambda _: next(iter(loader)), passes)]).view(600, 12)  # noqa: C417

        places = functional.one_hot(orders).sum(0)
        after = orders[:, :-1].flatten() * 12 + orders[:, 1:].flatten()
        neighbours = after.bincount(minlength=144).view(12, 12)
        # 50 times each, with a standard deviation of 7; none after itself
        assert 10 < places.min() <= places.max() < 90
        assert neighbours.diagonal().tolist() == [0] * 12
        assert 10 < (neighbours + 50 * torch.eye(12)).min() <= neighbours.max() < 90

    def test_shuffled_loader_keeps_images_with_their_labels(self) -> None:
        """A shuffled loader keeps each image together with its own label."""
        loader = DataLoader(TensorDataset(torch.arange(50), torch.arange(50) % 10), 4, shuffle=True)

        images, labels = map(torch.cat, zip(*loader, strict=True))

        assert (images % 10).tolist() == labels.tolist()
        assert labels.tolist() != [*range(10)] * 5

    def test_batch_stacks_the_images_as_they_are(self, train_set: TensorDataset) -> None:
        """A batch of a loader that does not shuffle stacks the first images as they are."""
        images, labels = next(iter(DataLoader(train_set, batch_size=4)))

        assert images.equal(train_set.tensors[0][:4])
        assert labels.equal(train_set.tensors[1][:4])

    def test_seed_fixes_the_order(self) -> None:
        """A shuffled loader follows its generator's seed, or torch.manual_seed without one."""
        g = torch.Generator()
        own, common = DataLoader(range(50), 50, True, generator=g), DataLoader(range(50), 50, True)

        g.manual_seed(3)
        first, other = next(iter(own)), next(iter(own))
        g.manual_seed(3)
        assert next(iter(own)).tolist() == first.tolist() != other.tolist()

        torch.manual_seed(5)
        first, other = next(iter(common)), next(iter(common))
        torch.manual_seed(5)
        assert next(iter(common)).tolist() == first.tolist() != other.tolist()

    def test_fifty_thousand_images_are_shuffled_from_end_to_end(self) -> None:
        """Each tenth of a shuffled pass over 50,000 images draws from all of them alike."""
        loader = DataLoader(range(50_000), shuffle=True, generator=torch.Generator())

        order = torch.tensor([*loader.sampler])

        assert order.sort().values.equal(torch.arange(50_000))
        # the mean of 5,000 numbers has a standard deviation of about 200
        assert (order.view(10, 5000).double().mean(1) - 25_000).abs().max() < 1_200

    def test_unnormalize_undoes_only_its_own_normalization(self) -> None:
        """Halving and adding 0.5 does not undo a normalization by another mean and deviation."""
        pixels = torch.tensor([[[0.25]]])

        assert (Normalize((0.5,), (0.5,))(pixels) / 2 + 0.5).item() == 0.25
        assert (Normalize((0.25,), (0.5,))(pixels) / 2 + 0.5).item() == 0.5

    def test_moving_the_channels_copies_nothing(self, device: torch.device) -> None:
        """Moving the channels last makes a view of an array or of a tensor, not a copy."""
        array, tensor = np.zeros((3, 2, 4)), torch.zeros(3, 2, 4, device=device)

        np.transpose(array, (1, 2, 0))[1, 2, 0] = 7
        tensor.permute(1, 2, 0)[1, 2, 0] = 7

        assert array[0, 1, 2] == 7
        assert tensor[0, 1, 2].item() == 7

    @pytest.mark.on("accelerator", "meta")
    def test_image_on_an_accelerator_is_no_array(self, device: torch.device) -> None:
        """An image that does not lie on the cpu becomes no NumPy array until it is moved there."""
        image = torch.zeros(3, 2, 2, device=device)

        assert torch.zeros(3, 2, 2).numpy().shape == (3, 2, 2)
        with pytest.raises(TypeError, match=r"can't convert .* device type tensor to numpy"):
            image.numpy()

    def test_iterator_of_a_loader_has_its_own_place_and_ends(self) -> None:
        """Each iterator of a loader has its own place, and ends in a StopIteration."""
        loader = DataLoader(range(8), batch_size=4)
        dataiter = iter(loader)

        assert next(dataiter).tolist() == [0, 1, 2, 3]
        assert next(iter(loader)).tolist() == [0, 1, 2, 3]
        assert next(dataiter).tolist() == [4, 5, 6, 7]
        with pytest.raises(StopIteration):
            next(dataiter)

    def test_grid_has_eight_images_to_a_row(self) -> None:
        """A grid from make_grid starts a new row after eight images, and keeps one not full."""
        images = 1 + torch.arange(16 * 3 * 32 * 32.0).view(16, 3, 32, 32)

        full, unfilled = make_grid(images), make_grid(images[:10])

        assert full.shape == unfilled.shape == (3, 70, 274)
        assert torch.equal(full[:, 36:68, 36:68], images[9])
        assert torch.equal(unfilled[:, 36:68, 36:68], images[9])
        assert torch.count_nonzero(unfilled) == images[:10].numel()

    def test_grid_turns_grey_into_rgb(self) -> None:
        """A grid from make_grid repeats the one channel of grey images three times."""
        grid = make_grid(torch.full((2, 1, 4, 5), 0.75))

        assert grid.shape == (3, 8, 16)
        assert grid[:, 3, 3].tolist() == [0.75, 0.75, 0.75]

    def test_tuple_is_indexed_by_an_integer_tensor_only(self, device: torch.device) -> None:
        """An integer tensor indexes ten names; a float is a TypeError, 10 an IndexError."""
        assert CLASSES[torch.tensor(3, device=device)] == "cat"
        with pytest.raises(TypeError, match="only integer tensors of a single element"):
            CLASSES[torch.tensor(3.0, device=device)]
        with pytest.raises(IndexError, match="tuple index out of range"):
            CLASSES[torch.tensor(10, device=device)]


def _by_hand(net: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Return the scores that the tutorial's net gives ``images``, computed with NumPy alone."""
    w = {name: p.detach().cpu().double().numpy() for name, p in net.named_parameters()}
    x = images.cpu().double().numpy()
    for conv in ("conv1", "conv2"):
        windows = np.lib.stride_tricks.sliding_window_view(x, (5, 5), axis=(2, 3))
        x = np.einsum("ncyxij,ocij->noyx", windows, w[f"{conv}.weight"], optimize=True)
        x = np.maximum(x + w[f"{conv}.bias"][:, None, None], 0)
        n, c, height, width = x.shape
        x = x.reshape(n, c, height // 2, 2, width // 2, 2).max(axis=(3, 5))
    x = x.reshape(n, -1)
    x = np.maximum(x @ w["fc1.weight"].T + w["fc1.bias"], 0)
    x = np.maximum(x @ w["fc2.weight"].T + w["fc2.bias"], 0)
    return torch.tensor(x @ w["fc3.weight"].T + w["fc3.bias"]).float()


def _maps(net: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Return the net's output of both convolutions and poolings, before it is flattened."""
    x = net.pool(functional.relu(net.conv1(images)))
    return net.pool(functional.relu(net.conv2(x)))


class TestDefineAConvolutionalNetwork:
    def test_net_computes_what_the_layers_say(self, device: torch.device) -> None:
        """The net is two convolutions, rectified and pooled, and three layers, two rectified."""
        net = classifier.Net().to(device)
        images = torch.rand(2, 3, 32, 32).to(device) * 2 - 1

        scores = net(images)

        assert scores.device == device
        torch.testing.assert_close(scores.detach().cpu(), _by_hand(net, images))

    def test_grey_images_are_a_runtime_error(self, device: torch.device) -> None:
        """Images of one channel are a RuntimeError in a net for three."""
        net = classifier.Net().to(device)

        assert net(torch.zeros(1, 3, 32, 32, device=device)).shape == (1, 10)
        with pytest.raises(RuntimeError, match="to have 3 channels, but got 1 channels"):
            net(torch.zeros(1, 1, 32, 32, device=device))

    def test_flatten_refuses_images_of_another_size(self, device: torch.device) -> None:
        """Flattened by torch.flatten(x, 1), an image of 52 x 52 is a RuntimeError, not four rows.

        torch.flatten keeps the first dimension, so that the next layer finds 1,600 features.
        """
        net = classifier.Net().to(device)
        right, wrong = torch.zeros(2, 3, 32, 32), torch.zeros(1, 3, 52, 52)

        assert net.fc1(torch.flatten(_maps(net, right.to(device)), 1)).shape == (2, 120)
        with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
            net.fc1(torch.flatten(_maps(net, wrong.to(device)), 1))

    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_view_refuses_what_400_does_not_divide(self, device: torch.device) -> None:
        """One image of 64 x 64 is a RuntimeError in view(-1, 400): 400 does not divide 2,704."""
        net = classifier.Net().to(device)

        assert _maps(net, torch.zeros(1, 3, 64, 64, device=device)).numel() == 2704
        with pytest.raises(RuntimeError, match="is invalid for input of size 2704"):
            net(torch.zeros(1, 3, 64, 64, device=device))


class TestLossAndOptimizer:
    def test_gradient_of_cross_entropy_is_softmax_minus_one_hot(self, device: torch.device) -> None:
        """The gradient of the cross-entropy is (softmax - one-hot) / N."""
        outputs = torch.tensor([[1.0, 2.0, 0.5], [0.0, -1.0, 3.0]], device=device)
        outputs.requires_grad_()

        nn.CrossEntropyLoss()(outputs, torch.tensor([2, 0], device=device)).backward()

        # The softmax is 0.231224, 0.628532, 0.140244 and 0.046613, 0.017148, 0.936239.
        by_hand = [[0.115612, 0.314266, -0.429878], [-0.476694, 0.008574, 0.468120]]
        torch.testing.assert_close(outputs.grad.cpu(), torch.tensor(by_hand), rtol=0, atol=1e-6)

    def test_cross_entropy_refuses_another_number_of_labels(self, device: torch.device) -> None:
        """A batch of two images and three labels is a ValueError of the cross-entropy."""
        outputs, labels = torch.zeros(2, 10, device=device), torch.zeros(3, device=device).long()
        criterion = nn.CrossEntropyLoss()

        assert criterion(outputs, labels[:2]).item() == pytest.approx(2.302585)
        with pytest.raises(ValueError, match=r"batch_size \(2\) to match target batch_size \(3\)"):
            criterion(outputs, labels)

    def test_every_parameter_has_its_momentum(self, device: torch.device) -> None:
        """SGD with momentum keeps a buffer for each of the ten parameters, on its device."""
        net = classifier.Net().to(device)
        optimizer = optim.SGD(net.parameters(), lr=0.001, momentum=0.9)

        net(torch.ones(1, 3, 32, 32, device=device)).sum().backward()
        optimizer.step()

        buffers = [optimizer.state[p]["momentum_buffer"] for p in net.parameters()]
        assert [buffer.shape for buffer in buffers] == [p.shape for p in net.parameters()]
        assert {buffer.device for buffer in buffers} == {device}


class TestTrain:
    def test_item_is_a_python_float_without_a_graph(self, device: torch.device) -> None:
        """A loss's item() is a Python float, while a sum of losses keeps their graph."""
        loss = torch.tensor(0.75, device=device, requires_grad=True).exp()

        assert type(loss.item()) is float
        assert (0.0 + loss).grad_fn is not None
        with pytest.raises(RuntimeError, match="cannot be converted to Scalar"):
            torch.zeros(2, device=device).item()

    def test_training_moves_every_parameter(self, trained: Any, device: torch.device) -> None:
        """Training changes each of the net's ten parameters, in place, on its device."""
        same = map(torch.equal, trained.untrained.parameters(), trained.net.parameters())

        assert [*same] == [False] * 10
        assert {parameter.device for parameter in trained.net.parameters()} == {device}

    def test_training_at_rate_zero_changes_nothing(self, device: torch.device) -> None:
        """Training with a learning rate of 0 leaves every weight as it is, to the last bit."""
        net = classifier.Net().to(device)
        before = deepcopy(net.state_dict())
        batch = torch.rand(4, 3, 32, 32).to(device), torch.tensor([0, 1, 2, 3]).to(device)
        optimizer = optim.SGD(net.parameters(), lr=0.0, momentum=0.9)

        classifier.train(net, [batch, batch], nn.CrossEntropyLoss(), optimizer)

        assert net.fc3.bias.grad.abs().max() > 0
        assert all(map(torch.equal, before.values(), net.parameters()))

    def test_state_dict_shows_later_changes_and_the_file_does_not(
        self, device: torch.device, tmp_path: Path
    ) -> None:
        """A state_dict shares the net's weights; a file is a snapshot until saved anew."""
        net = nn.Linear(2, 2, bias=False, device=device)
        nn.init.ones_(net.weight)
        state = net.state_dict()
        torch.save(state, tmp_path / "net.pth")

        nn.init.zeros_(net.weight)

        assert not state["weight"].requires_grad
        assert state["weight"].tolist() == [[0, 0], [0, 0]]
        assert torch.load(tmp_path / "net.pth")["weight"].tolist() == [[1, 1], [1, 1]]
        torch.save(state, tmp_path / "net.pth")
        assert torch.load(tmp_path / "net.pth")["weight"].tolist() == [[0, 0], [0, 0]]


class TestTest:
    def test_hits_of_a_large_batch_are_counted(self, device: torch.device) -> None:
        """Summing the hits of a batch of 10,000 counts them all."""
        predicted = torch.arange(10_000, device=device) % 10

        hits = (predicted == torch.arange(10_000, device=device) % 5).sum()

        assert hits.item() == 5_000

    def test_load_state_dict_copies_into_the_parameters_there_are(self) -> None:
        """Loading copies into the parameters at hand; mode and requires_grad stay."""
        net, state = nn.Linear(2, 1), {"weight": torch.ones(1, 2), "bias": torch.zeros(1)}
        weight = net.weight.requires_grad_(False)

        net.load_state_dict(state)
        weight.add_(1)

        assert net.weight is weight
        assert (net.training, net.weight.requires_grad, net.bias.requires_grad) == (1, 0, 1)
        assert net.weight.tolist() == [[2, 2]]
        assert state["weight"].tolist() == [[1, 1]]

    @pytest.mark.parametrize(
        ("state", "words"),
        [
            pytest.param({"weight": torch.ones(1, 2)}, 'Missing key.*"bias"', id="missing"),
            pytest.param(
                {"weight": torch.ones(1, 2), "bias": torch.zeros(1), "more": torch.zeros(1)},
                'Unexpected key.*"more"',
                id="unexpected",
            ),
            pytest.param(
                {"weight": torch.ones(1, 3), "bias": torch.zeros(1)}, "size mismatch", id="size"
            ),
            pytest.param(
                {"weight": torch.ones(2), "bias": torch.zeros(1)}, "size mismatch", id="dimensions"
            ),
        ],
    )
    def test_load_state_dict_refuses_weights_that_do_not_fit(
        self, device: torch.device, state: dict[str, torch.Tensor], words: str
    ) -> None:
        """A key that is missing, a key too many and another shape are a RuntimeError in loading."""
        net = nn.Linear(2, 1).to(device)

        net.load_state_dict({"weight": torch.ones(1, 2), "bias": torch.zeros(1)})

        with pytest.raises(RuntimeError, match=words):
            net.load_state_dict(state)

    def test_load_refuses_a_whole_net(self, tmp_path: Path) -> None:
        """By default torch.load takes a file of weights; a pickled net is an UnpicklingError.

        weights_only is True by default since torch 2.6; False runs what code the file holds.
        """
        net = nn.Linear(2, 2)
        torch.save(net.state_dict(), tmp_path / "weights.pth")
        torch.save(net, tmp_path / "net.pth")

        assert torch.load(tmp_path / "weights.pth")["bias"].tolist() == net.bias.tolist()
        assert isinstance(torch.load(tmp_path / "net.pth", weights_only=False), nn.Linear)
        with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
            torch.load(tmp_path / "net.pth")

    def test_softmax_over_the_last_dimension_is_that_over_the_classes(
        self, device: torch.device
    ) -> None:
        """For a batch of scores softmax(-1) is softmax(1): the classes are the last dimension."""
        outputs = torch.tensor([[1.0, 2.0, 0.5], [0.0, -1.0, 3.0]], device=device)

        assert outputs.softmax(-1).tolist() == outputs.softmax(1).tolist()

    def test_max_without_a_dimension_is_one_number(self, device: torch.device) -> None:
        """Without a dimension torch.max(outputs) is one number, the highest score of all."""
        highest = torch.max(torch.tensor([[-1.0, 3.0, 2.0], [0.5, -2.0, 0.25]], device=device))

        assert (highest.shape, highest.item()) == ((), 3.0)

    def test_max_of_equal_scores_gives_their_value(self, device: torch.device) -> None:
        """Among equal scores torch.max gives the value, and the index of one of them."""
        values, indices = torch.max(torch.tensor([[7.0, 1.0, 7.0]], device=device), 1)

        assert values.tolist() == [7.0]
        assert indices.item() in (0, 2)

    def test_largest_of_a_square_is_looked_for_along_the_classes(
        self, device: torch.device
    ) -> None:
        """For as many images as classes, max(1), max(dim=1) and argmax look along the classes."""
        outputs = torch.tensor([[-1.0, 3.0, 2.0], [-3.0, -2.0, -0.5], [4.0, 5.0, 6.0]])

        assert torch.max(outputs.to(device), 1).indices.tolist() == [1, 2, 2]
        assert torch.max(outputs.to(device), dim=1).indices.tolist() == [1, 2, 2]
        assert outputs.to(device).argmax(dim=1).tolist() == [1, 2, 2]

    def test_testing_changes_no_weight_and_no_mode(self, device: torch.device) -> None:
        """Testing keeps no tensor for a backward pass, and changes no weight and no mode."""
        net, kept = nn.Linear(3, 10).to(device), []
        before, images = deepcopy(net.state_dict()), torch.rand(4, 3).to(device)
        loader = [(images, torch.zeros(4, device=device).long())]

        with torch.autograd.graph.saved_tensors_hooks(kept.append, lambda nothing: nothing):
            classifier.count_correct(net, loader)
            assert kept == []
            net(images)

        assert kept != []
        assert all(map(torch.equal, before.values(), net.parameters()))
        assert torch.is_grad_enabled()
        assert net.training

    def test_evaluation_mode_makes_no_difference_to_this_net(self, device: torch.device) -> None:
        """Evaluation mode changes no score of this net; no_grad does not stand in for it."""
        net, dropout = classifier.Net().to(device), nn.Dropout(0.5)
        images, ones = torch.rand(2, 3, 32, 32).to(device), torch.ones(1000, device=device)

        with torch.no_grad():
            dropped = dropout(ones).count_nonzero().item()

        assert net.train()(images).tolist() == net.eval()(images).tolist()
        assert 400 < dropped < 600
        assert dropout.eval()(ones).count_nonzero() == 1000

    def test_constant_prediction_gets_the_share_of_its_class(
        self, device: torch.device, testloader: Any
    ) -> None:
        """A net that always answers cat gets exactly the cats right."""
        net = classifier.Net().to(device)
        nn.init.zeros_(net.fc3.weight)
        net.fc3.bias.data = torch.eye(10, device=device)[3]

        correct, total = classifier.count_correct(net, [testloader.dataset[:]])

        assert (correct, total) == (testloader.dataset.tensors[1].tolist().count(3), 400)
        assert 0 < correct < total

    def test_loop_over_four_images_misses_the_rest_of_a_batch(self, device: torch.device) -> None:
        """A loop over four images silently counts half of a batch of eight."""
        outputs, labels = torch.eye(10, device=device)[:8], torch.arange(8, device=device)

        correct, total = classifier.count_by_class(nn.Identity(), [(outputs, labels)])

        assert correct == total == [1, 1, 1, 1, 0, 0, 0, 0, 0, 0]
        assert classifier.count_correct(nn.Identity(), [(outputs, labels)]) == (8, 8)

    @pytest.mark.parametrize(
        ("size", "words"),
        [
            pytest.param(3, "index 3 is out of bounds", id="a short last batch"),
            pytest.param(1, "0-dim tensor", id="a batch of one"),
        ],
    )
    def test_loop_over_four_images_breaks_on_fewer(
        self, device: torch.device, size: int, words: str
    ) -> None:
        """A loop over four images is an IndexError on fewer; squeeze() leaves one no dimension."""
        outputs, labels = torch.eye(10, device=device)[:size], torch.arange(size, device=device)

        assert classifier.count_correct(nn.Identity(), [(outputs, labels)]) == (size, size)
        with pytest.raises(IndexError, match=words):
            classifier.count_by_class(nn.Identity(), [(outputs, labels)])
