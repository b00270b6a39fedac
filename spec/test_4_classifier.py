"""Chapter 4: ten classes of small images, and a network that learns to tell them apart."""

import copy
import inspect
import io
import math
import os
import pickle
import shutil
import wave
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import md5
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from blitz import classifier, data, devices, plots
from blitz.learning import evaluation
from blitz.learning.evaluation import Accuracy
from blitz.learning.running_loss import Report
from blitz.training import weights

NAMES = ["airplane", "automobile", "bird", "cat", "deer"]
NAMES += ["dog", "frog", "horse", "ship", "truck"]


pytestmark = pytest.mark.usefixtures("one_thread")


@dataclass
class Training:
    """A net before and after training, its tests, and what was reported on the way."""

    untrained: classifier.Net
    net: classifier.Net
    before: Accuracy
    after: Accuracy
    reports: list[Report]


@pytest.fixture(scope="session")
def trainings() -> dict[torch.device, Training]:
    """One training for each device, shared by the tests in whatever order they run."""
    return {}


@pytest.fixture
def batches(pytestconfig: pytest.Config) -> int:
    """Batches of 4 to train on: real images take longer than those made on the spot."""
    return 400 if pytestconfig.getoption("--data") is None else 2000


@pytest.fixture
def trained(
    trainings: dict[torch.device, Training],
    device: torch.device,
    train_set: TensorDataset,
    test_set: TensorDataset,
    batches: int,
) -> Training:
    """The tutorial's net after some batches of 4 by the tutorial's recipe, on ``device``."""
    if device not in trainings:
        trainings[device] = _train(device, train_set, test_set, batches)
    return copy.deepcopy(trainings[device])


def _train(
    device: torch.device, images: TensorDataset, test_set: TensorDataset, batches: int
) -> Training:
    """Train a new net on ``batches`` of 4, reporting at half; test it before and after."""
    with devices.forked_generators([device]):
        torch.manual_seed(10)  # of forty nets the first to learn; others take 1,000 batches
        net = classifier.Net().to(device)
        untrained, before = copy.deepcopy(net), _test(net, test_set)
        drawn = [images[four] for four in torch.randint(len(images), (batches, 4))]
        reports = classifier.train(net, drawn, epochs=1, report_every=batches // 2)
    return Training(untrained, net, before, _test(net, test_set), reports)


def _test(net: nn.Module, images: TensorDataset) -> Accuracy:
    return evaluation.evaluate(net, [images[few] for few in torch.arange(len(images)).split(100)])


@pytest.fixture
def some(test_set: TensorDataset) -> TensorDataset:
    """The first 150 test images."""
    return TensorDataset(*test_set[:150])


def _more_than_chance(accuracy: Accuracy) -> bool:
    """Whether guessing one class in ten gets that many right less than once in a million tests."""
    expected, spread = accuracy.total / 10, math.sqrt(accuracy.total * 0.1 * 0.9)
    return accuracy.correct > expected + 5 * spread


def _weights(net: nn.Module) -> list[Any]:
    return [parameter.tolist() for parameter in net.parameters()]


def _rgb(pixels: Any) -> Image.Image:
    return Image.fromarray(np.array(pixels, dtype=np.uint8))


class Numbered(Dataset[tuple[torch.Tensor, int]]):
    """Item i is (i, i % 10); keeps a list of the items that were asked for."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.asked: list[int] = []

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        self.asked.append(i)
        return torch.tensor([float(i)]), i % 10


class Makers(Dataset[int]):
    """Eight items, each the number of the process that made it."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, i: int) -> int:
        return os.getpid()


def _order(loader: Iterable[Any]) -> list[int]:
    """The numbers of the items that one pass over a loader of numbered items gives."""
    return [int(number) for numbers, _ in loader for number in numbers]


Files = tuple[Path, dict[str, str], np.ndarray]
"""A folder, the digests of its files by name, and the pixels in them."""


@pytest.fixture(scope="module")
def cifar10_files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """The files of CIFAR-10 with 2 images in each batch; their digests; the pixels as written."""
    folder = tmp_path_factory.mktemp("cifar10")
    (folder / "cifar-10-batches-py").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (6, 2, 3072), dtype=np.uint8)
    batches = ["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5"]
    content = {
        name: {"data": pixels[k], "labels": [9 - k, k]}
        for k, name in enumerate([*batches, "test_batch"])
    }
    content["batches.meta"] = {"label_names": NAMES}
    digests = {}
    for name, batch in content.items():
        written = pickle.dumps(batch)
        (folder / "cifar-10-batches-py" / name).write_bytes(written)
        digests[name] = md5(written).hexdigest()
    return folder, digests, pixels


@pytest.fixture
def cifar10(cifar10_files: Files, monkeypatch: pytest.MonkeyPatch) -> Any:
    """torchvision's CIFAR10, which takes the files of ``cifar10_files`` for the official ones."""
    from torchvision.datasets import CIFAR10

    _, digests, _ = cifar10_files
    for files in ("train_list", "test_list"):
        own = [[name, digests[name]] for name, _ in getattr(CIFAR10, files)]
        monkeypatch.setattr(CIFAR10, files, own)
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": digests["batches.meta"]})
    monkeypatch.setattr(CIFAR10, "url", "file:///nothing/is/downloaded")
    return CIFAR10


class TestAboutData:
    def test_image_file_becomes_a_tensor_by_way_of_an_array(self) -> None:
        """An image file read with Pillow becomes an array, then a tensor: row, column, channel."""
        file = io.BytesIO()
        _rgb([[[1, 2, 3], [4, 5, 6]], [[7, 8, 9], [10, 11, 12]], [[0, 0, 0], [255, 0, 9]]]).save(
            file, format="PNG"
        )

        t = torch.from_numpy(np.array(Image.open(file)))

        assert t.dtype == torch.uint8
        assert t.shape == (3, 2, 3)
        assert t[2, 1].tolist() == [255, 0, 9]

    def test_sound_file_becomes_a_tensor_by_way_of_an_array(self) -> None:
        """A sound file read with Python's wave module becomes an array, then a tensor."""
        file = io.BytesIO()
        with wave.open(file, "wb") as sound:
            sound.setparams((1, 2, 8000, 3, "NONE", "not compressed"))
            sound.writeframes(np.array([0, -32768, 32767], dtype="<i2").tobytes())
        file.seek(0)

        with wave.open(file) as sound:
            t = torch.from_numpy(np.frombuffer(sound.readframes(3), dtype="<i2").copy())

        assert t.dtype == torch.int16
        assert t.tolist() == [0, -32768, 32767]

    def test_text_becomes_a_tensor_only_as_numbers(self) -> None:
        """Text becomes a tensor once its words are numbered; an array of words is refused."""
        words = np.array(["ship", "cat", "ship"])
        numbers = {"cat": 0, "ship": 1}

        t = torch.tensor([numbers[word] for word in words])

        assert t.tolist() == [1, 0, 1]
        with pytest.raises(TypeError, match=r"can't convert np.ndarray of type numpy.str_"):
            torch.from_numpy(words)

    @pytest.mark.parametrize("name", ["ImageNet", "CIFAR10", "MNIST"])
    def test_torchvision_has_the_common_datasets(self, name: str) -> None:
        """ImageNet, CIFAR10 and MNIST are in torchvision.datasets, each a torch Dataset."""
        from torchvision import datasets

        assert issubclass(getattr(datasets, name), Dataset)

    def test_imagenet_is_not_downloaded(self) -> None:
        """CIFAR10 and MNIST can be downloaded by torchvision, ImageNet cannot."""
        from torchvision.datasets import CIFAR10, MNIST, ImageNet

        assert "download" in inspect.signature(CIFAR10).parameters
        assert "download" in inspect.signature(MNIST).parameters
        assert "download" not in inspect.signature(ImageNet).parameters

    @pytest.mark.mistaken(
        text="The loaders and transforms of torchvision are torchvision.datasets and "
        "torch.utils.data.DataLoader."
    )
    def test_transforms_are_torchvisions_and_the_data_loader_is_torchs(self) -> None:
        """Transforms are in torchvision.transforms; DataLoader is torch's, and no transform."""
        from torchvision import transforms

        assert transforms.ToTensor.__module__.startswith("torchvision.transforms")
        assert transforms.Normalize.__module__.startswith("torchvision.transforms")
        assert DataLoader.__module__.startswith("torch.utils.data")
        assert not callable(DataLoader(Numbered(1)))

    def test_cifar10_has_ten_classes_in_a_fixed_order(
        self, cifar10: Any, cifar10_files: Files
    ) -> None:
        """CIFAR10 numbers ten classes from airplane, 0, to truck, 9, in alphabetical order."""
        folder, _, _ = cifar10_files

        images = cifar10(folder, train=True)

        assert images.classes == NAMES == sorted(NAMES)
        assert images.class_to_idx == {name: number for number, name in enumerate(NAMES)}
        assert [label for _, label in images] == [9, 0, 8, 1, 7, 2, 6, 3, 5, 4]

    def test_code_shortens_two_names(self) -> None:
        """The code's class names are CIFAR10's, with airplane as plane and automobile as car."""
        long = {"plane": "airplane", "car": "automobile"}

        assert [long.get(name, name) for name in data.CLASSES] == NAMES

    def test_images_at_hand_are_of_the_ten_classes(
        self, train_images: data.Images, test_images: data.Images
    ) -> None:
        """The images that the classifier is trained and tested on are of all ten classes."""
        assert tuple(train_images.classes) == tuple(test_images.classes) == data.CLASSES
        assert set(train_images.labels) == set(test_images.labels) == set(range(10))

    def test_images_are_32_by_32_rgb(self, cifar10: Any, cifar10_files: Files) -> None:
        """A CIFAR10 image is 32 x 32 RGB pixels; transformed, a 3 x 32 x 32 float32 tensor."""
        folder, _, _ = cifar10_files

        raw, _ = cifar10(folder)[0]
        transformed, _ = cifar10(folder, transform=data.transform())[0]

        assert (raw.size, raw.mode) == ((32, 32), "RGB")
        assert (transformed.shape, transformed.dtype) == ((3, 32, 32), torch.float32)

    def test_images_at_hand_have_the_size_of_cifar10(
        self, train_images: data.Images, test_images: data.Images
    ) -> None:
        """The images that the classifier is trained and tested on are 32 x 32 RGB pixels too."""
        assert (train_images[0][0].size, train_images[0][0].mode) == ((32, 32), "RGB")
        assert (test_images[0][0].size, test_images[0][0].mode) == ((32, 32), "RGB")

    def test_file_holds_all_reds_then_greens_then_blues(
        self, cifar10: Any, cifar10_files: Files
    ) -> None:
        """CIFAR10's files hold an image as 1,024 reds, 1,024 greens and 1,024 blues, row by row."""
        folder, _, pixels = cifar10_files

        image, _ = cifar10(folder, train=True)[3]

        row = pixels[1, 1].tolist()  # row 9, column 5 is number 9 * 32 + 5 = 293 of each colour
        assert image.getpixel((5, 9)) == (row[293], row[1024 + 293], row[2048 + 293])
        assert image.getpixel((31, 0)) == (row[31], row[1024 + 31], row[2048 + 31])


class TestTrainingAnImageClassifier:
    def test_five_steps_in_order_end_above_chance(
        self, trained: Training, test_set: TensorDataset
    ) -> None:
        """Loading, defining a net and a loss, training and testing, in that order, beat chance."""
        assert trained.after.total == len(test_set)
        assert _more_than_chance(trained.after)


class TestLoadAndNormalize:
    @pytest.mark.mistaken(text="torchvision's datasets give PIL images with values in [0, 1].")
    def test_pil_images_have_values_from_0_to_255(
        self, cifar10: Any, cifar10_files: Files, train_images: data.Images
    ) -> None:
        """The PIL images that torchvision's datasets give hold whole numbers from 0 to 255."""
        folder, _, _ = cifar10_files

        image = np.array(cifar10(folder, train=True)[0][0])

        assert (image.dtype, image.min(), image.max()) == (np.uint8, 0, 255)
        assert np.array(train_images[0][0]).dtype == np.uint8
        assert np.array(train_images[0][0]).max() > 1

    def test_to_tensor_divides_by_255(self) -> None:
        """ToTensor divides the values by 255 and puts the channels before rows and columns."""
        from torchvision.transforms import ToTensor

        t = ToTensor()(_rgb([[[0, 51, 255], [102, 0, 0]]]))

        assert (t.shape, t.dtype) == ((3, 1, 2), torch.float32)
        torch.testing.assert_close(t, torch.tensor([[[0.0, 0.4]], [[0.2, 0.0]], [[1.0, 0.0]]]))
        assert ToTensor()(_rgb([[[0, 51, 255]], [[102, 0, 0]]])).shape == (3, 2, 1)

    def test_to_tensor_leaves_float_arrays_as_they_are(self) -> None:
        """ToTensor divides whole bytes by 255, and leaves an array of floats unscaled."""
        from torchvision.transforms import ToTensor

        assert ToTensor()(np.full((1, 1, 1), 255, dtype=np.uint8)).item() == 1
        assert ToTensor()(np.full((1, 1, 1), 255, dtype=np.float32)).item() == 255

    def test_transform_maps_to_minus_one_to_one(self) -> None:
        """The tutorial's transform maps pixel values from 0 to 255 to -1 to 1, the ends exactly."""
        t = data.transform()(_rgb([[[0, 51, 255], [102, 0, 255]]]))

        assert t[:, 0, 0].tolist()[::2] == [-1, 1]
        assert t[:, 0, 1].tolist()[1:] == [-1, 1]
        torch.testing.assert_close(t, torch.tensor([[[-1, -0.2]], [[-0.6, -1]], [[1, 1]]]))

    def test_transform_does_not_centre_an_image(self) -> None:
        """The transform maps a range; it gives an image neither mean 0 nor spread 1."""
        t = data.transform()(_rgb(np.full((2, 2, 3), 255)))

        assert t.unique().tolist() == [1]

    def test_images_at_hand_are_normalized(
        self, train_set: TensorDataset, test_set: TensorDataset
    ) -> None:
        """The images that the classifier is trained and tested on lie in [-1, 1]."""
        images = torch.cat([train_set.tensors[0], test_set.tensors[0]])

        assert (images.shape[1:], images.dtype) == ((3, 32, 32), torch.float32)
        assert -1 <= images.min().item() < -0.5
        assert 0.5 < images.max().item() <= 1

    @pytest.mark.parametrize(
        ("image", "error", "words"),
        [
            pytest.param(torch.zeros(1, 4, 4), RuntimeError, "broadcast shape", id="one channel"),
            pytest.param(_rgb([[[0, 0, 0]]]), TypeError, "should be Tensor Image", id="PIL image"),
            pytest.param(
                torch.zeros(3, 4, 4, dtype=torch.uint8), TypeError, "float tensor", id="bytes"
            ),
        ],
    )
    def test_normalize_refuses_other_images(self, image: Any, error: Any, words: str) -> None:
        """Normalize for three channels takes float tensors of three channels, nothing else."""
        from torchvision.transforms import Normalize

        normalize = Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))

        assert normalize(torch.ones(3, 4, 4)).unique().tolist() == [1]
        with pytest.raises(error, match=words):
            normalize(image)

    def test_normalize_treats_each_channel_by_its_own_numbers(self) -> None:
        """Normalize takes its own mean from each channel and divides by its own deviation."""
        from torchvision.transforms import Normalize

        normalized = Normalize((0.5, 0.25, 1.0), (0.5, 0.125, 2.0))(torch.ones(3, 4, 4))

        assert [channel.unique().tolist() for channel in normalized] == [[1], [6], [0]]

    def test_normalize_refuses_a_zero_deviation(self) -> None:
        """Normalize refuses to divide by a standard deviation of 0."""
        from torchvision.transforms import Normalize

        assert Normalize((0.0,), (0.5,))(torch.ones(1, 2, 2)).unique().tolist() == [2]
        with pytest.raises(ValueError, match="division by zero"):
            Normalize((0.0,), (0.0,))(torch.ones(1, 2, 2))

    @pytest.mark.mistaken(text="On a BrokenPipeError under Windows, set num_worker to 0.")
    def test_argument_of_the_loader_is_called_num_workers(self) -> None:
        """DataLoader's number of worker processes is num_workers, 0 or more; num_worker is refused.

        The BrokenPipeError under Windows itself can only be seen there.
        """
        assert DataLoader(Numbered(8), num_workers=0).num_workers == 0

        with pytest.raises(TypeError, match="unexpected keyword argument 'num_worker'"):
            DataLoader(Numbered(8), num_worker=0)
        with pytest.raises(ValueError, match="num_workers option should be non-negative"):
            DataLoader(Numbered(8), num_workers=-1)

    # Python 3.12 and later warn of every fork beside torch's own threads; the workers use none.
    @pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
    def test_workers_do_not_change_the_batches(self) -> None:
        """Two worker processes give the same batches in the same order as none."""
        here = data.loader(Numbered(10), shuffle=True, seed=1, workers=0)
        there = data.loader(Numbered(10), shuffle=True, seed=1, workers=2)

        passes_here, passes_there = (
            [[numbers.flatten().tolist() for numbers, _ in loader] for _ in range(2)]
            for loader in (here, there)
        )

        assert passes_there == passes_here
        makers = {pid for batch in DataLoader(Makers(), 2, num_workers=2) for pid in batch.tolist()}
        assert len(makers - {os.getpid()}) == 2

    def test_cifar10_gives_images_with_labels(self, cifar10: Any, cifar10_files: Files) -> None:
        """CIFAR10 gives transformed images with their numbers, to train or to test with.

        The sizes of 50,000 and 10,000 can only be seen where the official files are.
        """
        folder, _, pixels = cifar10_files

        train = cifar10(folder, train=True, transform=data.transform())
        test = cifar10(folder, train=False, transform=data.transform())

        assert (len(train), len(test)) == (10, 2)
        assert type(test[0][1]) is int
        assert [label for _, label in test] == [4, 5]
        assert test[1][0][2, 31, 31].item() == pytest.approx(pixels[5, 1, -1] / 127.5 - 1)

    def test_cifar10_leaves_intact_files_alone(self, cifar10: Any, cifar10_files: Files) -> None:
        """CIFAR10 with download=True downloads nothing where intact files are in place."""
        folder, _, _ = cifar10_files

        assert len(cifar10(folder, train=False, download=True)) == 2

    @pytest.mark.parametrize("name", ["data_batch_3", "test_batch"])
    def test_cifar10_refuses_an_altered_file(
        self, cifar10: Any, cifar10_files: Files, tmp_path: Path, name: str
    ) -> None:
        """CIFAR10 compares its files with known digests and refuses an altered one."""
        shutil.copytree(cifar10_files[0], tmp_path, dirs_exist_ok=True)
        assert len(cifar10(tmp_path)) == 10

        file = tmp_path / "cifar-10-batches-py" / name
        file.write_bytes(file.read_bytes()[:-1] + b"?")

        with pytest.raises(RuntimeError, match="Dataset not found or corrupted"):
            cifar10(tmp_path)

    def test_cifar10_refuses_a_folder_without_its_files(
        self, cifar10: Any, cifar10_files: Files, tmp_path: Path
    ) -> None:
        """CIFAR10 refuses a folder in which its files are missing."""
        assert len(cifar10(cifar10_files[0])) == 10

        with pytest.raises(RuntimeError, match="Dataset not found or corrupted"):
            cifar10(tmp_path)

    def test_batch_is_four_images_and_four_labels(self, train_set: TensorDataset) -> None:
        """A batch to train with is 4 x 3 x 32 x 32 float32 and 4 int64 labels, on the cpu."""
        images, labels = next(iter(data.loader(train_set, shuffle=True)))

        assert (images.shape, images.dtype) == ((4, 3, 32, 32), torch.float32)
        assert (labels.shape, labels.dtype) == ((4,), torch.int64)
        assert images.device == labels.device == torch.device("cpu")

    def test_shuffled_loader_gives_each_item_once(self) -> None:
        """A shuffled loader gives each item once in a pass, in another order than the dataset's."""
        loader = data.loader(Numbered(50), shuffle=True)

        order = _order(loader)

        assert len(loader) == 13  # of 4, and the last of 2
        assert order != sorted(order)
        assert sorted(order) == list(range(50))

    def test_shuffled_loader_takes_every_order_alike(self) -> None:
        """In many shuffled passes every item stands in every place, and after every other."""
        loader = data.loader(Numbered(12), shuffle=True, seed=0)
        places, neighbours = np.zeros((12, 12), int), np.zeros((12, 12), int)

        orders = np.array([_order(loader) for _ in range(600)])
        np.add.at(places, (orders, np.arange(12)), 1)
        np.add.at(neighbours, (orders[:, :-1], orders[:, 1:]), 1)

        # 50 times each, with a standard deviation of 7; none after itself
        np.fill_diagonal(neighbours, 50)
        assert (places.min() > 10, places.max() < 90) == (True, True)
        assert (neighbours.min() > 10, neighbours.max() < 90) == (True, True)

    def test_shuffled_loader_keeps_images_with_their_labels(self) -> None:
        """A shuffled loader keeps each image together with its own label."""
        pairs = list(data.loader(Numbered(50), shuffle=True))

        assert all(
            (numbers.flatten() % 10).tolist() == labels.tolist() for numbers, labels in pairs
        )

    def test_shuffled_loader_changes_the_order_between_passes(self) -> None:
        """A shuffled loader gives the items in a new order in each pass."""
        loader = data.loader(Numbered(50), shuffle=True)

        assert _order(loader) != _order(loader)

    def test_seed_fixes_the_order(self) -> None:
        """Two shuffled loaders give the same order where their seed is the same, else another."""
        first, second, other = (
            _order(data.loader(Numbered(50), shuffle=True, seed=seed)) for seed in (3, 3, 4)
        )

        assert first == second
        assert first != other

        torch.manual_seed(5)
        first = _order(DataLoader(Numbered(50), 4, shuffle=True))
        torch.manual_seed(5)
        assert _order(DataLoader(Numbered(50), 4, shuffle=True)) == first

    def test_fifty_thousand_images_are_12500_batches(self) -> None:
        """50,000 training images are 12,500 batches of 4, the tutorial's size."""
        images = TensorDataset(torch.empty(50_000, 0))

        assert len(data.loader(images, shuffle=True)) == 12_500

    def test_fifty_thousand_images_are_shuffled_from_end_to_end(self) -> None:
        """Each tenth of a shuffled pass over 50,000 images draws from all of them alike."""
        images = TensorDataset(torch.empty(50_000, 0))

        order = np.array(list(data.loader(images, shuffle=True, seed=0).sampler))

        assert (np.sort(order) == np.arange(50_000)).all()
        # the mean of 5,000 numbers has a standard deviation of about 200
        assert abs(order.reshape(10, 5000).mean(axis=1) - 25_000).max() < 1_200

    def test_test_loader_keeps_the_order(self) -> None:
        """A loader that does not shuffle gives the items in the dataset's order in every pass."""
        loader = data.loader(Numbered(50), shuffle=False)

        assert _order(loader) == list(range(50))
        assert _order(loader) == list(range(50))
        assert _order(DataLoader(Numbered(50), 4)) == list(range(50))  # unless it is told to

    def test_ten_thousand_images_are_2500_batches(self) -> None:
        """10,000 test images are 2,500 batches of 4."""
        images = TensorDataset(torch.empty(10_000, 0))

        assert len(data.loader(images, shuffle=False)) == 2_500

    def test_last_batch_is_short_where_the_size_does_not_divide(self) -> None:
        """The last batch holds what is left where the batch size does not divide the dataset."""
        loader = data.loader(Numbered(10), shuffle=False)

        assert len(loader) == 3
        assert [len(labels) for _, labels in loader] == [4, 4, 2]

    def test_unnormalize_restores_the_pixels(self, device: torch.device) -> None:
        """Halving a normalised image and adding 0.5 restores its values in [0, 1]."""
        image = data.transform()(_rgb([[[0, 51, 255], [102, 153, 204]]])).to(device)

        restored = plots.unnormalize(image)

        assert restored.device == device
        assert restored.min().item() == 0
        assert restored.max().item() == 1
        torch.testing.assert_close(
            restored.cpu(), torch.tensor([[[0.0, 0.4]], [[0.2, 0.6]], [[1.0, 0.8]]])
        )

    def test_unnormalize_undoes_only_its_own_normalization(self) -> None:
        """Halving and adding 0.5 does not undo a normalisation by another mean and deviation."""
        from torchvision.transforms import Normalize

        pixels = torch.tensor([[[0.25]]])

        assert plots.unnormalize(Normalize((0.5,), (0.5,))(pixels)).item() == 0.25
        assert plots.unnormalize(Normalize((0.25,), (0.5,))(pixels)).item() == 0.5

    def test_plotted_array_has_its_channels_last(self, device: torch.device) -> None:
        """For plotting, an image becomes an array of rows, columns and then channels."""
        image = torch.arange(24.0, device=device).view(3, 2, 4) / 12 - 1

        array = plots.to_array(image)

        assert array.shape == (2, 4, 3)
        assert array[1, 2].tolist() == pytest.approx([6 / 24, 14 / 24, 22 / 24])

    def test_transposing_an_array_copies_nothing(self) -> None:
        """Moving an array's channels last makes a view of it, not a copy."""
        array = torch.zeros(3, 2, 4).numpy()

        np.transpose(array, (1, 2, 0))[1, 2, 0] = 7

        assert array[0, 1, 2] == 7

    def test_permuting_a_tensor_copies_nothing(self, device: torch.device) -> None:
        """Moving a tensor's channels last by permute makes a view of it, not a copy."""
        image = torch.zeros(3, 2, 4, device=device)

        image.permute(1, 2, 0)[1, 2, 0] = 7

        assert image[0, 1, 2].item() == 7

    @pytest.mark.on("accelerator", "meta")
    def test_image_on_an_accelerator_is_no_array(self, device: torch.device) -> None:
        """An image that does not lie on the cpu becomes no NumPy array until it is moved there."""
        image = torch.zeros(3, 2, 2, device=device)

        with pytest.raises(TypeError, match=r"can't convert .* device type tensor to numpy"):
            image.numpy()

    @pytest.mark.changed(since="1.13", text="dataiter.next() gives the next batch.")
    def test_next_batch_is_fetched_with_the_builtin_next(self) -> None:
        """A batch is fetched with next(dataiter), up to StopIteration; dataiter has no next()."""
        loader = data.loader(Numbered(8), shuffle=False)
        dataiter = iter(loader)

        assert next(dataiter)[1].tolist() == [0, 1, 2, 3]
        assert next(iter(loader))[1].tolist() == [0, 1, 2, 3]  # each iterator has its own place
        with pytest.raises(AttributeError, match="has no attribute 'next'"):
            dataiter.next()
        assert next(dataiter)[1].tolist() == [4, 5, 6, 7]
        with pytest.raises(StopIteration):
            next(dataiter)

    def test_grid_lines_up_a_batch(self) -> None:
        """A grid from make_grid puts four 32 x 32 images in a row, 2 black pixels around each."""
        from torchvision.utils import make_grid

        images = 1 + torch.arange(4 * 3 * 32 * 32.0).view(4, 3, 32, 32)
        images[1] *= -1  # normalised images have negative values too

        grid = make_grid(images)

        assert grid.shape == (3, 36, 138)
        assert torch.equal(grid[:, 2:34, 2:34], images[0])
        assert torch.equal(grid[:, 2:34, 36:68], images[1])
        assert torch.equal(grid[:, 2:34, 104:136], images[3])
        assert torch.count_nonzero(grid) == images.numel()

    def test_grid_has_eight_images_to_a_row(self) -> None:
        """A grid from make_grid starts a new row after eight images."""
        from torchvision.utils import make_grid

        images = 1 + torch.arange(16 * 3 * 32 * 32.0).view(16, 3, 32, 32)

        grid = make_grid(images)

        assert grid.shape == (3, 70, 274)
        assert torch.equal(grid[:, 36:68, 36:68], images[9])
        unfilled = make_grid(images[:10])
        assert unfilled.shape == (3, 70, 274)
        assert torch.equal(unfilled[:, 36:68, 36:68], images[9])
        assert torch.count_nonzero(unfilled) == images[:10].numel()

    def test_grid_turns_grey_into_rgb(self) -> None:
        """A grid from make_grid repeats the one channel of grey images three times."""
        from torchvision.utils import make_grid

        grid = make_grid(torch.full((2, 1, 4, 5), 0.75))

        assert grid.shape == (3, 8, 16)
        assert grid[:, 3, 3].tolist() == [0.75, 0.75, 0.75]

    def test_labels_are_printed_by_name(self, device: torch.device) -> None:
        """The labels 3, 8, 8, 0 print as names, each set right in five columns."""
        labels = torch.tensor([3, 8, 8, 0], device=device)

        assert evaluation.labels_line(labels) == "  cat  ship  ship plane"

    def test_labels_are_printed_for_any_batch_size(self) -> None:
        """A line of labels has as many names as the batch has images, not four."""
        assert evaluation.labels_line(torch.tensor([9])) == "truck"
        assert (
            evaluation.labels_line(torch.tensor([1, 2, 7, 4, 6])) == "  car  bird horse  deer  frog"
        )

    def test_tuple_is_indexed_by_an_integer_tensor_only(self, device: torch.device) -> None:
        """A tensor of one integer indexes a tuple; a float or too large a number does not."""
        assert data.CLASSES[torch.tensor(3, device=device)] == "cat"

        with pytest.raises(TypeError, match="only integer tensors of a single element"):
            data.CLASSES[torch.tensor(3.0, device=device)]
        with pytest.raises(IndexError, match="tuple index out of range"):
            data.CLASSES[torch.tensor(10, device=device)]


def _by_hand(net: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """The scores that the tutorial's net gives ``images``, computed with NumPy alone."""
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
    return x @ w["fc3.weight"].T + w["fc3.bias"]


def _maps(net: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """The net's output of both convolutions and poolings, before it is flattened."""
    x = net.pool(F.relu(net.conv1(images)))
    return net.pool(F.relu(net.conv2(x)))


class TestDefineAConvolutionalNetwork:
    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_net_takes_three_channels(self, device: torch.device) -> None:
        """The classifier is the earlier network with three input channels, in ten parameters.

        Where that network has 3 x 3 kernels, as in the text, its kernels, the input of its first
        linear layer and its way of pooling change as well.
        """
        net = classifier.Net().to(device)

        assert {name: tuple(p.shape) for name, p in net.named_parameters()} == {
            "conv1.weight": (6, 3, 5, 5),
            "conv1.bias": (6,),
            "conv2.weight": (16, 6, 5, 5),
            "conv2.bias": (16,),
            "fc1.weight": (120, 400),
            "fc1.bias": (120,),
            "fc2.weight": (84, 120),
            "fc2.bias": (84,),
            "fc3.weight": (10, 84),
            "fc3.bias": (10,),
        }
        assert sum(p.numel() for p in net.parameters()) == 62_006
        assert {p.device for p in net.parameters()} == {device}

    def test_one_pooling_layer_is_used_twice(self) -> None:
        """One MaxPool2d layer over 2 x 2 windows, without parameters, serves both convolutions."""
        net = classifier.Net()
        inputs = []
        net.pool.register_forward_hook(lambda pool, args, output: inputs.append(args[0].shape))

        net(torch.zeros(1, 3, 32, 32))

        assert inputs == [(1, 6, 28, 28), (1, 16, 10, 10)]
        assert list(net.pool.parameters()) == []
        assert net.pool(torch.tensor([[[1.0, 4.0], [3.0, 2.0]]])).item() == 4

    def test_net_computes_what_the_layers_say(self, device: torch.device) -> None:
        """The net is two rectified, pooled convolutions and three linear layers, two rectified."""
        net = classifier.Net().to(device)
        images = torch.rand(2, 3, 32, 32).to(device) * 2 - 1

        scores = net(images)

        assert scores.device == device
        by_hand = torch.tensor(_by_hand(net, images)).float()
        torch.testing.assert_close(scores.detach().cpu(), by_hand)

    def test_grey_images_are_refused(self, device: torch.device) -> None:
        """A net for three channels refuses images with one."""
        net = classifier.Net().to(device)

        assert net(torch.zeros(1, 3, 32, 32, device=device)).shape == (1, 10)
        with pytest.raises(ValueError, match="this net takes N x 3 x 32 x 32"):
            net(torch.zeros(1, 1, 32, 32, device=device))
        with pytest.raises(RuntimeError, match="to have 3 channels, but got 1 channels"):
            net.conv1(torch.zeros(1, 1, 32, 32, device=device))

    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_32_becomes_28_14_10_5(self, device: torch.device) -> None:
        """Each 5 x 5 convolution takes 4 off a side, each pooling halves it: 32, 28, 14, 10, 5."""
        net = classifier.Net().to(device)
        x = torch.zeros(4, 3, 32, 32, device=device)

        convolved = net.conv1(x)
        pooled = net.pool(convolved)

        assert convolved.shape == (4, 6, 28, 28)
        assert pooled.shape == (4, 6, 14, 14)
        assert net.conv2(pooled).shape == (4, 16, 10, 10)
        assert _maps(net, x).shape == (4, 16, 5, 5)
        assert _maps(net, x).view(-1, 16 * 5 * 5).shape == (4, 400)
        assert net(x).shape == (4, 10)
        assert net(x).device == device

    @pytest.mark.parametrize(
        ("shape", "rows"),
        [
            pytest.param((1, 3, 52, 52), 4, id="1 image of 52 x 52"),
            pytest.param((25, 3, 64, 64), 169, id="25 images of 64 x 64"),
            pytest.param((3, 32, 32), 1, id="an image without a batch"),
        ],
    )
    def test_view_invents_rows_from_images_of_another_size(
        self, device: torch.device, shape: tuple[int, ...], rows: int
    ) -> None:
        """Flattening by view(-1, 400) makes rows that are no images from other sizes than 32 x 32.

        torch.flatten(x, 1) keeps the first dimension, so that the next layer refuses such rows.
        """
        net = classifier.Net().to(device)
        maps = _maps(net, torch.zeros(shape, device=device))

        assert net.fc1(maps.view(-1, 400)).shape == (rows, 120)
        with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
            net.fc1(torch.flatten(maps, 1))
        with pytest.raises(ValueError, match="this net takes N x 3 x 32 x 32"):
            net(torch.zeros(shape, device=device))

    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_view_refuses_what_400_does_not_divide(self, device: torch.device) -> None:
        """Flattening by view(-1, 400) refuses a 64 x 64 image: 400 does not divide 2,704."""
        maps = _maps(classifier.Net().to(device), torch.zeros(1, 3, 64, 64, device=device))

        assert maps.numel() == 2704
        with pytest.raises(RuntimeError, match="is invalid for input of size 2704"):
            maps.view(-1, 400)


def _softmax(scores: Iterable[float]) -> list[float]:
    exponentials = [math.exp(score) for score in scores]
    return [exponential / sum(exponentials) for exponential in exponentials]


def _sgd_by_hand(
    batches: Sequence[Sequence[torch.Tensor]], classes: int, lr: float, momentum: float
) -> np.ndarray:
    """The weights of a linear net without bias, from zeros, after SGD on the cross-entropy."""
    w = v = np.zeros((classes, batches[0][0].shape[1]))
    for images, labels in batches:
        x = images.double().numpy()
        p = np.array([_softmax(scores) for scores in x @ w.T])
        p[np.arange(len(x)), labels.numpy()] -= 1
        v = momentum * v + p.T @ x / len(x)
        w = w - lr * v
    return w


class TestLossAndOptimizer:
    def test_cross_entropy_is_the_mean_of_minus_log_softmax(self, device: torch.device) -> None:
        """Cross-entropy is minus the log of the softmax at the label, averaged over the batch."""
        scores = [[1.0, 2.0, 0.5], [0.0, -1.0, 3.0]]
        labels = torch.tensor([2, 0], device=device)

        loss = torch.nn.CrossEntropyLoss()(torch.tensor(scores, device=device), labels)

        by_hand = -(math.log(_softmax(scores[0])[2]) + math.log(_softmax(scores[1])[0])) / 2
        assert (loss.shape, loss.device) == ((), device)
        assert loss.item() == pytest.approx(by_hand)

    def test_gradient_of_cross_entropy_is_softmax_minus_one_hot(self, device: torch.device) -> None:
        """The gradient of the cross-entropy is (softmax - one-hot) / N."""
        scores = torch.tensor([[1.0, 2.0, 0.5], [0.0, -1.0, 3.0]], device=device)
        scores.requires_grad_()

        torch.nn.CrossEntropyLoss()(scores, torch.tensor([2, 0], device=device)).backward()

        p, q = _softmax([1.0, 2.0, 0.5]), _softmax([0.0, -1.0, 3.0])
        by_hand = [[p[0] / 2, p[1] / 2, (p[2] - 1) / 2], [(q[0] - 1) / 2, q[1] / 2, q[2] / 2]]
        torch.testing.assert_close(scores.grad.cpu(), torch.tensor(by_hand))

    def test_equal_scores_cost_the_logarithm_of_ten(self, device: torch.device) -> None:
        """Equal scores for ten classes cost ln 10, about 2.303: where an untrained net starts."""
        images = torch.rand(8, 3, 32, 32).to(device) * 2 - 1
        labels = torch.arange(8, device=device)
        loss = torch.nn.CrossEntropyLoss()

        assert loss(torch.zeros(8, 10, device=device), labels).item() == pytest.approx(math.log(10))
        assert abs(loss(classifier.Net().to(device)(images), labels).item() - math.log(10)) < 0.05

    def test_cross_entropy_takes_scores_not_probabilities(self, device: torch.device) -> None:
        """Cross-entropy applies the softmax itself: applied before, it changes the loss."""
        scores = torch.tensor([[2.0, 0.0]], device=device)
        label = torch.tensor([0], device=device)
        loss = torch.nn.CrossEntropyLoss()

        once = loss(scores, label).item()
        twice = loss(torch.softmax(scores, dim=1), label).item()

        p = _softmax([2.0, 0.0])
        assert once == pytest.approx(-math.log(p[0]))
        assert twice == pytest.approx(-math.log(_softmax(p)[0]))

    def test_cross_entropy_takes_class_probabilities_as_targets(self, device: torch.device) -> None:
        """Cross-entropy also takes the probabilities of the classes as float targets."""
        scores = torch.tensor([[1.0, 0.0]], device=device)

        loss = torch.nn.CrossEntropyLoss()(scores, torch.tensor([[0.25, 0.75]], device=device))

        p = _softmax([1.0, 0.0])
        assert loss.item() == pytest.approx(-0.25 * math.log(p[0]) - 0.75 * math.log(p[1]))

    def test_cross_entropy_refuses_float_labels(self, device: torch.device) -> None:
        """Cross-entropy takes class numbers as integers and refuses them as floats."""
        scores, labels = torch.zeros(2, 10, device=device), torch.tensor([1, 2], device=device)
        loss = torch.nn.CrossEntropyLoss()

        assert loss(scores, labels).item() == pytest.approx(math.log(10))
        with pytest.raises(RuntimeError, match="Float"):
            loss(scores, labels.float())

    def test_cross_entropy_refuses_another_number_of_labels(self, device: torch.device) -> None:
        """Cross-entropy refuses a batch with more labels than images."""
        scores, labels = torch.zeros(2, 10, device=device), torch.zeros(3, device=device).long()
        loss = torch.nn.CrossEntropyLoss()

        assert loss(scores, labels[:2]).item() == pytest.approx(math.log(10))
        with pytest.raises(ValueError, match=r"batch_size \(2\) to match target batch_size \(3\)"):
            loss(scores, labels)

    @pytest.mark.on("cpu")  # on an accelerator it ends the process's use of the device
    def test_cross_entropy_refuses_a_label_without_a_class(self, device: torch.device) -> None:
        """On the cpu, cross-entropy over ten classes takes label 9 and refuses label 10."""
        scores = torch.zeros(1, 10, device=device)
        loss = torch.nn.CrossEntropyLoss()

        assert loss(scores, torch.tensor([9])).item() == pytest.approx(math.log(10))
        with pytest.raises(IndexError, match="Target 10 is out of bounds"):
            loss(scores, torch.tensor([10]))

    def test_momentum_carries_past_gradients(self, device: torch.device) -> None:
        """SGD with momentum moves by lr times v, and v is 0.9 of the former v plus the gradient."""
        w = torch.zeros(2, device=device, requires_grad=True)
        optimizer = torch.optim.SGD([w], lr=0.001, momentum=0.9)

        _step(optimizer, w, [1.0, 2.0])
        _step(optimizer, w, [3.0, -1.0])
        _step(optimizer, w, [0.5, 4.0])
        _step(optimizer, w, [-2.0, 1.0])

        # v: 1, 2; 3.9, 0.8; 4.01, 4.72; 1.609, 5.248
        by_hand = torch.tensor([-0.010519, -0.012768])
        torch.testing.assert_close(w.detach().cpu(), by_hand, rtol=1.3e-6, atol=0)

    def test_momentum_is_exact_to_twelve_digits(self) -> None:
        """SGD in float64 agrees with its rule worked out by hand to twelve decimals."""
        w = torch.zeros(2, dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.SGD([w], lr=0.001, momentum=0.9)

        _step(optimizer, w, [1.0, 2.0])
        _step(optimizer, w, [3.0, -1.0])
        _step(optimizer, w, [0.5, 4.0])
        _step(optimizer, w, [-2.0, 1.0])

        by_hand = torch.tensor([-0.010519, -0.012768], dtype=torch.float64)
        torch.testing.assert_close(w.detach(), by_hand, rtol=0, atol=1e-12)

    def test_every_parameter_has_its_momentum(self, device: torch.device) -> None:
        """SGD with momentum keeps a buffer for each of the ten parameters, on its device."""
        net = classifier.Net().to(device)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.001, momentum=0.9)

        net(torch.zeros(1, 3, 32, 32, device=device)).sum().backward()
        optimizer.step()

        buffers = [optimizer.state[p]["momentum_buffer"] for p in net.parameters()]
        assert [buffer.shape for buffer in buffers] == [p.shape for p in net.parameters()]
        assert {buffer.device for buffer in buffers} == {device}

    def test_training_uses_a_rate_of_0_001_and_a_momentum_of_0_9(
        self, device: torch.device
    ) -> None:
        """The tutorial trains by SGD on the cross-entropy, learning rate 0.001, momentum 0.9."""
        net = torch.nn.Linear(2, 3, bias=False, device=device)
        torch.nn.init.zeros_(net.weight)
        batches = list(zip(torch.randn(5, 4, 2), torch.randint(3, (5, 4)), strict=True))

        classifier.train(net, batches, epochs=1)

        by_hand = torch.tensor(_sgd_by_hand(batches, 3, lr=0.001, momentum=0.9)).float()
        # Weights of 0.001: the default atol of 1e-5 would hide a part of them.
        torch.testing.assert_close(net.weight.detach().cpu(), by_hand, rtol=1e-4, atol=1e-9)


def _step(optimizer: Any, w: torch.Tensor, gradient: Any) -> None:
    w.grad = torch.tensor(gradient, dtype=w.dtype, device=w.device)
    optimizer.step()


def _known_losses(xs: Iterable[float]) -> tuple[nn.Module, list[tuple[torch.Tensor, torch.Tensor]]]:
    """A net of one weight and batches of one image x, which costs log(1 + exp(x))."""
    net = torch.nn.Linear(1, 2, bias=False)
    net.weight.data = torch.tensor([[0.0], [1.0]])
    return net, [(torch.tensor([[x]]), torch.tensor([0])) for x in xs]


class TestTrain:
    def test_batch_is_a_list_of_inputs_and_labels(self) -> None:
        """Looping over a loader gives lists of two, inputs and labels; enumerate counts from 0."""
        batches = list(enumerate(data.loader(Numbered(8), shuffle=False)))

        assert [i for i, _ in batches] == [0, 1]
        assert [type(batch) for _, batch in batches] == [list, list]
        assert [len(batch) for _, batch in batches] == [2, 2]
        inputs, labels = batches[1][1]
        assert inputs.tolist() == [[4.0], [5.0], [6.0], [7.0]]
        assert labels.tolist() == [4, 5, 6, 7]

    @pytest.mark.changed(since="2.0", text="zero_grad() sets the gradients of the parameters to 0.")
    def test_zero_grad_clears_the_gradients(self, device: torch.device) -> None:
        """After optimizer.zero_grad() the gradient of every parameter is None."""
        net = classifier.Net().to(device)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.001, momentum=0.9)
        net(torch.ones(1, 3, 32, 32, device=device)).sum().backward()
        assert all(p.grad is not None for p in net.parameters())

        optimizer.zero_grad()

        assert [p.grad for p in net.parameters()] == [None] * 10

    def test_zero_grad_can_still_set_zeros(self, device: torch.device) -> None:
        """With set_to_none=False, optimizer.zero_grad() sets the gradients to zeros."""
        net = classifier.Net().to(device)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.001, momentum=0.9)
        net(torch.ones(1, 3, 32, 32, device=device)).sum().backward()

        optimizer.zero_grad(set_to_none=False)

        assert [torch.count_nonzero(p.grad).item() for p in net.parameters()] == [0] * 10
        assert {p.grad.device for p in net.parameters()} == {device}

    def test_report_is_the_mean_of_its_own_batches(self) -> None:
        """Each report is the mean loss of the batches since the last one, as a Python float."""
        xs = [k / 10 for k in range(25)]
        net, batches = _known_losses(xs)

        reports = classifier.train(net, batches, epochs=1, lr=0, report_every=4)

        losses = [math.log(1 + math.exp(x)) for x in xs]
        assert [type(report.loss) for report in reports] == [float] * 7
        assert [report.loss for report in reports] == pytest.approx(
            [sum(losses[k : k + 4]) / 4 for k in range(0, 24, 4)] + losses[24:]
        )

    def test_left_over_batches_of_an_epoch_are_not_reported(self) -> None:
        """Of 25 batches reported by fours, as of 12,500 by 2,000, six reports leave the rest out.

        The rest is told as such here; the tutorial drops it.
        """
        net, batches = _known_losses([0.5] * 25)

        reports = classifier.train(net, batches, epochs=2, report_every=4)

        first = [report for report in reports if report.epoch == 1]
        assert [report.batches for report in first] == [4, 8, 12, 16, 20, 24, 25]
        assert [report.rest for report in first] == [False] * 6 + [True]
        assert [(report.epoch, report.batches) for report in reports[7:]] == [
            (2, report.batches) for report in first
        ]
        assert divmod(12_500, 2000) == (6, 500)

    def test_report_comes_every_2000_batches(self) -> None:
        """The tutorial reports the running loss every 2,000 batches."""
        parameters = inspect.signature(classifier.train).parameters

        assert parameters["report_every"].default == 2000

    def test_report_reads_as_the_tutorial_prints_it(self) -> None:
        """A report prints as epoch and batches in brackets, then the loss to three digits."""
        assert str(Report(1, 2000, 1.0)) == "[1,  2000] loss: 1.000"
        assert str(Report(2, 12000, 1.2566)) == "[2, 12000] loss: 1.257"

    def test_item_is_a_python_float_without_a_graph(self, device: torch.device) -> None:
        """A loss's item() is a Python float, while the loss itself would keep its graph alive."""
        loss = torch.nn.CrossEntropyLoss()(
            torch.zeros(1, 10, device=device, requires_grad=True), torch.tensor([3], device=device)
        )

        assert type(loss.item()) is float
        assert (0.0 + loss).grad_fn is not None
        with pytest.raises(RuntimeError, match="cannot be converted to Scalar"):
            torch.zeros(2, device=device).item()

    def test_training_passes_over_the_images_twice(self) -> None:
        """The tutorial's training sees each image exactly twice, once in each of two epochs."""
        images = Numbered(30)

        classifier.train(torch.nn.Linear(1, 10), data.loader(images, shuffle=True))

        assert sorted(images.asked[:30]) == sorted(images.asked[30:]) == list(range(30))
        assert images.asked[:30] != images.asked[30:]

    def test_training_lowers_the_loss(self, trained: Training) -> None:
        """In training the loss falls from what guessing costs, ln 10, to well below."""
        first, second = (report.loss for report in trained.reports)

        assert first == pytest.approx(math.log(10), abs=0.1)
        assert second < first - 0.02
        assert second < math.log(10) - 0.02

    def test_training_moves_every_parameter(self, trained: Training, device: torch.device) -> None:
        """Training changes each of the net's ten parameters, in place, on its device."""
        pairs = list(zip(_weights(trained.untrained), _weights(trained.net), strict=True))

        assert [before == after for before, after in pairs] == [False] * 10
        assert {p.device for p in trained.net.parameters()} == {device}

    def test_training_at_rate_zero_changes_nothing(
        self, device: torch.device, train_set: TensorDataset
    ) -> None:
        """Training with a learning rate of 0 leaves every weight as it is, to the last bit."""
        net = classifier.Net().to(device)
        before = copy.deepcopy(net)

        classifier.train(net, [train_set[:4], train_set[4:8]], lr=0)

        assert _weights(net) == _weights(before)

    def test_saved_file_holds_the_weights_by_name(self, trained: Training, tmp_path: Path) -> None:
        """The file of a saved net holds its parameters by name, and nothing else."""
        path = tmp_path / "cifar_net.pth"

        weights.save(trained.net, path)

        state = torch.load(path, map_location="cpu", weights_only=True)
        assert list(state) == [name for name, _ in trained.net.named_parameters()]
        assert [t.tolist() for t in state.values()] == _weights(trained.net)
        assert [file.name for file in tmp_path.iterdir()] == ["cifar_net.pth"]

    def test_state_dict_shows_later_changes_and_the_file_does_not(
        self, device: torch.device, tmp_path: Path
    ) -> None:
        """A state_dict shares the net's weights; the file that it is saved to is a snapshot."""
        net = torch.nn.Linear(2, 2, bias=False, device=device)
        torch.nn.init.ones_(net.weight)
        state = net.state_dict()
        torch.save(state, tmp_path / "net.pth")
        assert not state["weight"].requires_grad

        torch.nn.init.zeros_(net.weight)

        assert state["weight"].tolist() == [[0, 0], [0, 0]]
        saved = torch.load(tmp_path / "net.pth", map_location="cpu", weights_only=True)
        assert saved["weight"].tolist() == [[1, 1], [1, 1]]


# Scores of seven images for ten classes; the class with the highest is 4, 0, 9, 4, 1, 4, 7.
SCORES = torch.eye(10)[[4, 0, 9, 4, 1, 4, 7]] * torch.tensor([[0.5, 1, 2, 0.25, 3, 1.5, 4]]).T
LABELS = torch.tensor([4, 0, 8, 4, 8, 1, 7])  # the first, second, fourth and last are right


def _batches(size: int) -> DataLoader[Any]:
    return DataLoader(TensorDataset(SCORES, LABELS), size)


def _scored(device: torch.device) -> nn.Module:
    """A net whose scores are its inputs, on ``device``."""
    net = torch.nn.Linear(10, 10, bias=False, device=device)
    torch.nn.init.eye_(net.weight)
    return net


def _saved_for_backward(compute: Callable[[], object]) -> int:
    """How many tensors autograd keeps during ``compute()``."""
    saved: list[torch.Tensor] = []

    def keep(tensor: torch.Tensor) -> None:
        saved.append(tensor)

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda nothing: nothing):
        compute()
    return len(saved)


def _first_four(scores: torch.Tensor, labels: torch.Tensor) -> Counter[float]:
    """The hits of a batch by class, counted over images 0 to 3 whatever its size."""
    right = (scores.argmax(1) == labels).squeeze()
    return Counter(labels[i].item() for i in range(4) if right[i].item())


def _by_name(net: nn.Module, loader: Iterable[Any]) -> tuple[dict[str, int], dict[str, int]]:
    """Hits and images by class name, as the tutorial's newer edition counts them."""
    correct, total = dict.fromkeys(data.CLASSES, 0), dict.fromkeys(data.CLASSES, 0)
    with torch.no_grad():
        for images, labels in loader:
            predicted = net(images.to(next(net.parameters()).device)).argmax(1).tolist()
            for label, prediction in zip(labels.tolist(), predicted, strict=True):
                correct[data.CLASSES[label]] += label == prediction
                total[data.CLASSES[label]] += 1
    return correct, total


class TestTest:
    def test_hits_are_counted(self, device: torch.device) -> None:
        """Comparing predictions with labels and summing counts the images that were named right."""
        predicted = SCORES.to(device).argmax(1)

        hits = (predicted == LABELS.to(device)).sum()

        assert predicted.tolist() == [4, 0, 9, 4, 1, 4, 7]
        assert (hits.item(), hits.device) == (4, device)

    def test_hits_of_a_large_batch_are_counted(self, device: torch.device) -> None:
        """Summing the hits of a batch of 10,000 counts them all."""
        predicted = torch.arange(10_000, device=device) % 10

        hits = (predicted == torch.arange(10_000, device=device) % 5).sum()

        assert hits.item() == 5_000

    def test_loaded_net_gives_the_same_scores(
        self, trained: Training, test_set: TensorDataset, device: torch.device, tmp_path: Path
    ) -> None:
        """A new net that loads the saved weights gives the same scores, to the last bit."""
        weights.save(trained.net, tmp_path / "net.pth")
        images = test_set[:20][0].to(device)

        loaded = weights.load(tmp_path / "net.pth", device)

        assert loaded is not trained.net
        assert loaded(images).tolist() == trained.net(images).tolist()

    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_net_is_loaded_onto_the_device_asked_for(
        self, device: torch.device, tmp_path: Path
    ) -> None:
        """A net of any width is loaded onto the device that was asked for."""
        weights.save(classifier.Net(width=12), tmp_path / "net.pth")

        loaded = weights.load(tmp_path / "net.pth", device, width=12)

        assert {p.device for p in loaded.parameters()} == {device}
        assert loaded.conv1.weight.shape == (12, 3, 5, 5)

    def test_load_state_dict_says_that_all_keys_matched(self, trained: Training) -> None:
        """Loading weights that fit says so, and copies them into the parameters that are there."""
        net = classifier.Net()
        net.fc3.requires_grad_(False)
        parameters = [*net.parameters()]

        answer = net.load_state_dict(trained.net.state_dict())

        assert repr(answer) == "<All keys matched successfully>"
        assert [*map(id, net.parameters())] == [*map(id, parameters)]
        assert _weights(net) == _weights(trained.net)
        assert (net.training, net.fc3.bias.requires_grad) == (True, False)
        net.fc3.bias.add_(1)
        assert net.fc3.bias.tolist() != trained.net.fc3.bias.tolist()

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            pytest.param(lambda state: state.pop("fc3.bias"), "Missing key", id="missing"),
            pytest.param(
                lambda state: state.update(fc4=torch.zeros(1)), "Unexpected key", id="unexpected"
            ),
            pytest.param(
                lambda state: state.update({"fc3.bias": torch.zeros(9)}), "size mismatch", id="size"
            ),
            pytest.param(
                lambda state: state.update({"fc3.bias": torch.zeros(1, 10)}),
                "size mismatch",
                id="dimensions",
            ),
        ],
    )
    def test_load_state_dict_refuses_weights_that_do_not_fit(
        self, device: torch.device, change: Callable[..., Any], words: str
    ) -> None:
        """Loading weights refuses a key that is missing, a key too many, and another shape."""
        net = classifier.Net().to(device)
        state = net.state_dict()
        net.load_state_dict(state)

        change(state)

        with pytest.raises(RuntimeError, match=words):
            net.load_state_dict(state)

    def test_load_refuses_a_whole_net(self, tmp_path: Path) -> None:
        """By default torch.load takes a file of weights and refuses a whole pickled net.

        weights_only is True by default since torch 2.6; False runs what code the file holds.
        """
        net = torch.nn.Linear(2, 2)
        torch.save(net.state_dict(), tmp_path / "weights.pth")
        torch.save(net, tmp_path / "net.pth")

        assert torch.load(tmp_path / "weights.pth")["bias"].tolist() == net.bias.tolist()
        assert isinstance(torch.load(tmp_path / "net.pth", weights_only=False), torch.nn.Linear)
        with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
            torch.load(tmp_path / "net.pth")

    def test_reloading_changes_no_answer(
        self, trained: Training, some: TensorDataset, device: torch.device, tmp_path: Path
    ) -> None:
        """The trained net and the one reloaded from its file name the same test images right."""
        weights.save(trained.net, tmp_path / "net.pth")

        reloaded = weights.load(tmp_path / "net.pth", device)

        assert _test(reloaded, some) == _test(trained.net, some)
        assert _weights(trained.net) == _weights(reloaded)

    @pytest.mark.mistaken(text="The outputs are the probabilities of the ten labels.")
    def test_outputs_are_scores_not_probabilities(
        self, trained: Training, test_set: TensorDataset, device: torch.device
    ) -> None:
        """The net's outputs are scores of any sign and size, and do not sum to 1 for an image."""
        scores = trained.net(test_set[:100][0].to(device)).detach().cpu().numpy()

        assert scores.shape == (100, 10)
        assert scores.min() < 0
        assert scores.max() > 1
        assert np.abs(scores.sum(axis=1) - 1).max() > 0.1

    def test_softmax_turns_scores_into_probabilities(
        self, trained: Training, test_set: TensorDataset, device: torch.device
    ) -> None:
        """The softmax of the scores is positive, sums to 1 for each image and keeps their order."""
        images = test_set[:100][0]
        scores = trained.net(images.to(device)).detach().cpu().numpy()

        p = evaluation.probabilities(trained.net, images)

        assert (p.shape, p.device) == ((100, 10), device)
        torch.testing.assert_close(trained.net(images.to(device)).softmax(-1), p)
        p = p.cpu().numpy()
        assert p.min() > 0
        assert p.sum(axis=1) == pytest.approx(1)
        torch.testing.assert_close(torch.tensor(p[3]), torch.tensor(_softmax(scores[3].tolist())))
        assert (p.argmax(axis=1) == scores.argmax(axis=1)).all()

    @pytest.mark.parametrize("count", [2, 3], ids=["2 images of 3 classes", "3 of 3"])
    def test_max_along_the_classes_gives_score_and_prediction(
        self, device: torch.device, count: int
    ) -> None:
        """For each image torch.max(outputs, 1) gives the highest score, and its class."""
        scores = [[-1.0, 3.0, 2.0], [-3.0, -2.0, -0.5], [4.0, 5.0, 6.0]]
        outputs = torch.tensor(scores[:count], device=device)

        values, indices = torch.max(outputs, 1)

        assert values.tolist() == [3.0, -0.5, 6.0][:count]
        assert indices.tolist() == [1, 2, 2][:count]
        assert torch.max(outputs, dim=1).indices.tolist() == [1, 2, 2][:count]
        assert outputs.argmax(dim=1).tolist() == [1, 2, 2][:count]
        assert (indices.shape, indices.dtype, indices.device) == ((count,), torch.int64, device)

    def test_max_without_a_dimension_is_one_number(self, device: torch.device) -> None:
        """Without a dimension torch.max(outputs) is one number, the highest score of all."""
        outputs = torch.tensor([[-1.0, 3.0, 2.0], [0.5, -2.0, 0.25]], device=device)

        highest = torch.max(outputs)

        assert (highest.shape, highest.item()) == ((), 3.0)

    def test_max_of_equal_scores_gives_their_value(self, device: torch.device) -> None:
        """Among equal scores torch.max gives the value, and the index of one of them."""
        values, indices = torch.max(torch.tensor([[7.0, 1.0, 7.0]], device=device), 1)

        assert values.tolist() == [7.0]
        assert indices.item() in (0, 2)

    def test_prediction_is_the_class_with_the_highest_score(
        self, trained: Training, test_set: TensorDataset, device: torch.device
    ) -> None:
        """The net's prediction is the class with the highest score, before or after the softmax."""
        images = test_set[:100][0]
        scores = trained.net(images.to(device)).detach().cpu().numpy()

        predicted = evaluation.predict(trained.net, images)

        assert (predicted.dtype, predicted.device) == (torch.int64, device)
        assert predicted.tolist() == scores.argmax(axis=1).tolist()
        assert len(set(predicted.tolist())) > 1

    def test_predictions_are_printed_by_name(self, device: torch.device) -> None:
        """Predicted classes print as labels do, each name set right in five columns."""
        predicted = evaluation.predict(_scored(device), SCORES[:4])

        assert evaluation.labels_line(predicted) == " deer plane truck  deer"

    def test_no_grad_keeps_nothing_for_backward(self, device: torch.device) -> None:
        """Under no_grad the net gives the same scores and keeps no tensor for a backward pass."""
        net = classifier.Net().to(device)
        images = torch.rand(2, 3, 32, 32).to(device)

        with torch.no_grad():
            inside = net(images)
            assert _saved_for_backward(lambda: net(images)) == 0

        assert _saved_for_backward(lambda: net(images)) > 0
        assert inside.grad_fn is None
        assert inside.tolist() == net(images).tolist()

    def test_testing_keeps_nothing_and_changes_nothing(
        self, trained: Training, some: TensorDataset
    ) -> None:
        """Testing a net keeps no tensor for a backward pass and changes no weight and no mode."""
        before = _weights(trained.net)

        kept = _saved_for_backward(lambda: _test(trained.net, some))

        assert kept == 0
        assert _weights(trained.net) == before
        assert torch.is_grad_enabled()
        assert trained.net.training

    def test_evaluation_mode_makes_no_difference_to_this_net(self, device: torch.device) -> None:
        """Evaluation mode changes no score of this net; no_grad does not stand in for it."""
        net, dropout = classifier.Net().to(device), torch.nn.Dropout(0.5)
        images = torch.rand(2, 3, 32, 32).to(device)

        with torch.no_grad():
            dropped = dropout(torch.ones(1000, device=device)).count_nonzero().item()

        assert net.train()(images).tolist() == net.eval()(images).tolist()
        assert 400 < dropped < 600
        assert dropout.eval()(torch.ones(9, device=device)).tolist() == [1] * 9

    def test_data_of_the_outputs_is_not_needed_under_no_grad(self, device: torch.device) -> None:
        """Under no_grad, outputs.data gives the same prediction as outputs."""
        net = classifier.Net().to(device)

        with torch.no_grad():
            outputs = net(torch.rand(4, 3, 32, 32).to(device))
            bare = outputs.data
            predicted = torch.max(bare, 1).indices

        assert not outputs.requires_grad
        assert bare.tolist() == outputs.tolist()
        assert predicted.tolist() == torch.max(outputs, 1).indices.tolist()
        assert predicted.tolist() == outputs.cpu().numpy().argmax(axis=1).tolist()

    @pytest.mark.parametrize("size", [1, 3, 4, 7, 100])
    def test_counts_do_not_depend_on_the_batch_size(self, device: torch.device, size: int) -> None:
        """Counting each batch's labels gives the same total and hits at any batch size."""
        accuracy = evaluation.evaluate(_scored(device), _batches(size))

        assert (accuracy.correct, accuracy.total) == (4, 7)
        assert accuracy.percent == pytest.approx(400 / 7)

    def test_constant_prediction_gets_the_share_of_its_class(
        self, device: torch.device, some: TensorDataset
    ) -> None:
        """A net that always answers cat gets exactly the cats right."""
        net = classifier.Net().to(device)
        torch.nn.init.zeros_(net.fc3.weight)
        net.fc3.bias.data = torch.eye(10, device=device)[3]

        accuracy = _test(net, some)

        cats = some.tensors[1].tolist().count(3)
        assert (accuracy.correct, accuracy.total) == (cats, 150)
        assert accuracy.class_percent == (0, 0, 0, 100, 0, 0, 0, 0, 0, 0)

    def test_accuracy_is_printed_without_its_fraction(self) -> None:
        """The accuracy prints as whole per cent, the fraction cut off, not rounded."""
        accuracy = Accuracy(class_correct=(5599,), class_total=(10_000,))

        assert accuracy.percent == pytest.approx(55.99)
        assert accuracy.line() == "Accuracy of the network on the 10000 test images: 55 %"
        assert "%d" % accuracy.percent == "55"  # noqa: UP031

    def test_accuracy_is_printed_with_the_images_there_were(self, device: torch.device) -> None:
        """The line counts the images that were tested; 10,000 is written into the tutorial's."""
        accuracy = evaluation.evaluate(_scored(device), _batches(4))

        assert accuracy.line() == "Accuracy of the network on the 7 test images: 57 %"

    def test_trained_net_beats_chance(self, trained: Training) -> None:
        """After training the net is right 5 deviations more often than by guessing."""
        assert _more_than_chance(trained.after)

    def test_untrained_net_stays_at_chance(self, trained: Training) -> None:
        """The same net before its training does not pass the bound that it passes afterwards."""
        assert not _more_than_chance(trained.before)

    def test_net_trained_on_shuffled_labels_stays_at_chance(
        self, device: torch.device, train_set: TensorDataset, test_set: TensorDataset, batches: int
    ) -> None:
        """Trained for as long on labels in random order, a net does not pass the bound."""
        images, labels = train_set.tensors
        shuffled = TensorDataset(images, labels[torch.randperm(len(labels))])

        misled = _train(device, shuffled, test_set, batches)

        assert not _more_than_chance(misled.after)

    def test_net_trained_at_rate_zero_stays_at_chance(
        self,
        trained: Training,
        device: torch.device,
        train_set: TensorDataset,
        test_set: TensorDataset,
    ) -> None:
        """Trained with a learning rate of 0, a net does not pass the bound."""
        net = trained.untrained

        classifier.train(net, [train_set[:4], train_set[4:8]], lr=0)

        assert not _more_than_chance(_test(net, test_set))

    @pytest.mark.parametrize("size", [4, 64, 150])
    def test_counts_of_the_classes_sum_to_those_of_the_whole(
        self, trained: Training, some: TensorDataset, device: torch.device, size: int
    ) -> None:
        """The counts of the classes sum to those of all test images, at any batch size."""
        predicted = evaluation.predict(trained.net, some.tensors[0]).tolist()
        labels = some.tensors[1].tolist()

        accuracy = evaluation.evaluate(trained.net, DataLoader(some, size))

        hits = Counter(a for a, b in zip(labels, predicted, strict=True) if a == b)
        assert 0 < sum(hits.values()) < len(labels)
        assert accuracy.class_correct == tuple(hits[label] for label in range(10))
        assert accuracy.class_total == tuple(labels.count(label) for label in range(10))
        assert (accuracy.correct, accuracy.total) == (sum(hits.values()), len(labels))

    def test_accuracy_of_each_class_is_printed(self) -> None:
        """The accuracy of a class prints with its name in five columns, in whole per cent."""
        accuracy = Accuracy(class_correct=(1, 2, 3), class_total=(3, 2, 50))

        assert accuracy.class_lines(("plane", "car", "cat")) == [
            "Accuracy of plane : 33 %",
            "Accuracy of   car : 100 %",
            "Accuracy of   cat :  6 %",
        ]

    @pytest.mark.mistaken(text="A loop over four images counts the hits of every batch.")
    def test_counting_four_images_misses_the_rest_of_a_batch(self, device: torch.device) -> None:
        """A loop over four images counts a batch of four, and half of a batch of eight."""
        right = [0, 1, 3, 6] * 2
        scores, labels = SCORES[right].to(device), LABELS[right].to(device)

        assert _first_four(scores[:4], labels[:4]) == {4: 2, 0: 1, 7: 1}
        assert _first_four(scores, labels) == {4: 2, 0: 1, 7: 1}
        assert evaluation.evaluate(_scored(device), [(scores, labels)]).correct == 8

    @pytest.mark.parametrize(
        ("size", "words"),
        [
            pytest.param(3, "index 3 is out of bounds", id="a short last batch"),
            pytest.param(1, "0-dim tensor", id="a batch of one"),
        ],
    )
    def test_counting_four_images_breaks_on_fewer(
        self, device: torch.device, size: int, words: str
    ) -> None:
        """A loop over four images breaks on a batch of fewer, and squeeze() on a batch of one."""
        scores, labels = SCORES.to(device), LABELS.to(device)

        with pytest.raises(IndexError, match=words):
            _first_four(scores[:size], labels[:size])

    def test_class_without_images_has_no_rate(self, device: torch.device) -> None:
        """A class without test images has no accuracy: dividing by its count is refused."""
        accuracy = evaluation.evaluate(_scored(device), _batches(4))

        assert accuracy.class_total == (1, 1, 0, 0, 2, 0, 0, 1, 2, 0)
        assert accuracy.class_percent == (100, 0, None, None, 100, None, None, 100, 0, None)
        assert accuracy.class_lines()[2] == "Accuracy of  bird : no images"
        with pytest.raises(ZeroDivisionError):
            100 * accuracy.class_correct[2] / accuracy.class_total[2]

    @pytest.mark.parametrize("size", [1, 4, 5])
    def test_counting_by_name_agrees_with_counting_by_number(
        self, trained: Training, some: TensorDataset, device: torch.device, size: int
    ) -> None:
        """Counting in a dict by name gives the counts by class number, at any batch size."""
        few = TensorDataset(*some[:43])

        correct, total = _by_name(trained.net, DataLoader(few, size))

        accuracy = evaluation.evaluate(trained.net, DataLoader(few, 4))
        assert tuple(correct.values()) == accuracy.class_correct
        assert tuple(total.values()) == accuracy.class_total
        assert sum(total.values()) == 43
