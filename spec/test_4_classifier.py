"""Chapter 4: ten classes of small images, and a network that learns to tell them apart."""

import io
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torch import nn, optim
from torch.utils.data import DataLoader, Dataset, TensorDataset
from torchvision import transforms
from torchvision.transforms import Compose

from blitz import classifier

pytestmark = pytest.mark.usefixtures("one_thread")

CLASSES = ("plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


class TestAboutData:
    def test_image_file_becomes_a_tensor_by_way_of_an_array(self, tmp_path: Path) -> None:
        """An image file read with Pillow becomes an array, then a tensor: row, column, channel."""
        pixels = [[[1, 2, 3], [4, 5, 6]], [[7, 8, 9], [10, 11, 12]], [[0, 0, 0], [255, 0, 9]]]
        Image.fromarray(np.array(pixels, dtype=np.uint8)).save(tmp_path / "image.png")

        t = torch.from_numpy(np.array(Image.open(tmp_path / "image.png")))

        assert (t.shape, t.dtype) == ((3, 2, 3), torch.uint8)
        assert t.tolist() == pixels

    def test_sound_file_becomes_a_tensor_by_way_of_an_array(self) -> None:
        """A sound file read with Python's wave module becomes an array, then a tensor."""
        file = io.BytesIO()
        with wave.open(file, "wb") as sound:
            sound.setparams((1, 2, 8000, 3, "NONE", "not compressed"))
            sound.writeframes(np.array([0, -32768, 32767], dtype="<i2").tobytes())
        file.seek(0)

        with wave.open(file) as sound:
            t = torch.from_numpy(np.frombuffer(sound.readframes(3), dtype="<i2").copy())

        assert (t.dtype, t.tolist()) == (torch.int16, [0, -32768, 32767])

    def test_text_becomes_a_tensor_only_as_numbers(self) -> None:
        """Text becomes a tensor once its words are numbered; an array of words is a TypeError."""
        words, numbers = ["ship", "cat", "ship"], {"cat": 0, "ship": 1}

        t = torch.tensor([*map(numbers.get, words)])

        assert t.tolist() == [1, 0, 1]
        with pytest.raises(TypeError, match=r"can't convert np.ndarray of type numpy.str_"):
            torch.from_numpy(np.array(words))

    @pytest.mark.parametrize("name", ["ImageNet", "CIFAR10", "MNIST"])
    def test_torchvision_has_the_common_datasets(self, name: str) -> None:
        """ImageNet, CIFAR10 and MNIST are in torchvision.datasets, each a torch Dataset."""
        assert issubclass(getattr(torchvision.datasets, name), Dataset)

    @pytest.mark.mistaken(
        text="The data loaders and image transforms are torchvision.datasets and "
        "torch.utils.data.DataLoader."
    )
    def test_transforms_are_torchvisions_and_the_data_loader_is_torchs(self) -> None:
        """Transforms are in torchvision.transforms; DataLoader is torch's, and no transform."""
        assert transforms.ToTensor.__module__.startswith("torchvision.transforms")
        assert transforms.Normalize.__module__.startswith("torchvision.transforms")
        assert DataLoader.__module__.startswith("torch.utils.data")
        assert not callable(DataLoader(range(1)))

    def test_cifar10_has_ten_classes_in_a_fixed_order(self, cifar10_folder: Path) -> None:
        """CIFAR10 numbers ten classes from airplane, 0, to truck, 9; the code shortens two names.

        The order is the alphabet's. The names are those of the official file: torchvision takes
        no other, for it knows the file's digest.
        """
        images = torchvision.datasets.CIFAR10(root=cifar10_folder)

        assert images.classes[:2] == ["airplane", "automobile"]
        assert images.classes[2:] == [*CLASSES[2:]]
        assert images.class_to_idx["truck"] == 9
        assert images.classes == sorted(images.classes)

    def test_images_are_32_by_32_rgb(self, cifar10_folder: Path) -> None:
        """A CIFAR10 image is 32 x 32 RGB pixels; as a tensor 3 x 32 x 32."""
        image, _ = torchvision.datasets.CIFAR10(root=cifar10_folder)[0]

        assert (image.size, image.mode) == ((32, 32), "RGB")
        assert transforms.ToTensor()(image).shape == (3, 32, 32)


class TestTrainingAnImageClassifier:
    def test_five_steps_in_order_make_a_classifier(
        self, device: torch.device, train_set: TensorDataset
    ) -> None:
        """Data, net and loss, training and test: a net then gets its own twelve images right."""
        images, labels = train_set[:12]
        loader = DataLoader(TensorDataset(images.to(device), labels.to(device)), batch_size=4)
        net = classifier.Net().to(device)
        criterion = nn.CrossEntropyLoss()
        optimizer = optim.SGD(net.parameters(), lr=0.01, momentum=0.9)

        classifier.train(net, loader, criterion, optimizer, epochs=40)

        assert classifier.count_correct(net, loader) == (12, 12)


@pytest.fixture
def plt() -> Iterator[Any]:
    """Matplotlib's pyplot, which opens no window."""
    pytest.importorskip("matplotlib").use("agg")
    pyplot = pytest.importorskip("matplotlib.pyplot")
    yield pyplot
    pyplot.close("all")


@pytest.fixture
def transform() -> Compose:
    """The text's transform of an image."""
    return transforms.Compose(
        [transforms.ToTensor(), transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))]
    )


class TestLoadAndNormalize:
    @pytest.mark.mistaken(text="torchvision gives PIL images in [0, 1].")
    def test_pil_images_have_values_from_0_to_255(self, cifar10_folder: Path) -> None:
        """The PIL images that torchvision's datasets give hold whole numbers from 0 to 255."""
        image, _ = torchvision.datasets.CIFAR10(root=cifar10_folder)[0]

        pixels = np.array(image)

        assert (pixels.dtype, pixels.min(), pixels.max()) == (np.uint8, 0, 255)

    def test_to_tensor_divides_by_255(self) -> None:
        """ToTensor divides the values by 255 and puts the channels before rows and columns."""
        image = Image.fromarray(np.array([[[0, 51, 255], [102, 0, 0]]], dtype=np.uint8))

        t = transforms.ToTensor()(image)

        assert (t.shape, t.dtype) == ((3, 1, 2), torch.float32)
        torch.testing.assert_close(t, torch.tensor([[[0.0, 0.4]], [[0.2, 0.0]], [[1.0, 0.0]]]))

    def test_transform_maps_to_minus_one_to_one(self) -> None:
        """The text's transform maps pixel values from 0 to 255 to -1 to 1, the ends exactly."""
        image = Image.fromarray(np.array([[[0, 51, 255], [102, 0, 255]]], dtype=np.uint8))
        transform = transforms.Compose(
            [transforms.ToTensor(), transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))]
        )

        t = transform(image)

        torch.testing.assert_close(t, torch.tensor([[[-1, -0.2]], [[-0.6, -1]], [[1, 1]]]))
        assert (t.min().item(), t.max().item()) == (-1, 1)

    @pytest.mark.mistaken(text="On a BrokenPipeError under Windows, set num_worker to 0.")
    def test_argument_of_the_loader_is_called_num_workers(self) -> None:
        """DataLoader's number of worker processes is num_workers; num_worker is a TypeError.

        The BrokenPipeError under Windows itself can only be seen there.
        """
        assert DataLoader(range(8), num_workers=0).num_workers == 0
        with pytest.raises(TypeError, match="unexpected keyword argument 'num_worker'"):
            DataLoader(range(8), num_worker=0)

    def test_cifar10_gives_images_with_labels(
        self, cifar10_folder: Path, transform: Compose
    ) -> None:
        """CIFAR10 gives transformed images with their class numbers, to train or to test with.

        The sizes of 50,000 and 10,000 can only be seen where the official files are.
        """
        trainset = torchvision.datasets.CIFAR10(
            root=cifar10_folder, train=True, download=True, transform=transform
        )
        testset = torchvision.datasets.CIFAR10(
            root=cifar10_folder, train=False, download=True, transform=transform
        )

        assert (len(trainset), len(testset)) == (10, 2)
        assert trainset[0][0].shape == (3, 32, 32)
        assert (testset[0][1], testset[1][1], type(testset[1][1])) == (4, 5, int)

    def test_batch_is_four_images_and_four_labels(self, train_set: TensorDataset) -> None:
        """A batch to train with is 4 x 3 x 32 x 32 float32 and 4 int64 labels, on the cpu."""
        trainloader = DataLoader(train_set, batch_size=4, shuffle=True)

        images, labels = next(iter(trainloader))

        assert (images.shape, images.dtype) == ((4, 3, 32, 32), torch.float32)
        assert (labels.shape, labels.dtype) == ((4,), torch.int64)
        assert images.device == labels.device == torch.device("cpu")

    def test_shuffled_loader_gives_each_item_once(self) -> None:
        """A shuffled loader gives each item once in a pass, in another order than the dataset's."""
        trainloader = DataLoader(range(50), batch_size=4, shuffle=True)

        order = torch.cat([*trainloader]).tolist()

        assert len(trainloader) == 13  # twelve batches of four items and one of two
        assert order != [*range(50)]
        assert sorted(order) == [*range(50)]

    def test_shuffled_loader_changes_the_order_between_passes(self) -> None:
        """A shuffled loader gives the items in a new order in each pass."""
        trainloader = DataLoader(range(50), batch_size=4, shuffle=True)

        first, second = torch.cat([*trainloader]), torch.cat([*trainloader])

        assert first.tolist() != second.tolist()

    def test_test_loader_keeps_the_order(self) -> None:
        """A loader that does not shuffle gives the items in the dataset's order in every pass."""
        testloader = DataLoader(range(50), batch_size=4, shuffle=False)

        first, second = torch.cat([*testloader]), torch.cat([*testloader])

        assert first.tolist() == second.tolist() == [*range(50)]

    @pytest.mark.parametrize(("images", "batches"), [(50_000, 12_500), (10_000, 2_500), (10, 3)])
    def test_batches_of_four_cover_every_image(self, images: int, batches: int) -> None:
        """50,000 images are 12,500 batches of 4, and 10,000 are 2,500; of 10, the last holds 2."""
        loader = DataLoader(range(images), batch_size=4)

        assert len(loader) == batches
        assert [*DataLoader(range(10), batch_size=4)][-1].tolist() == [8, 9]

    def test_unnormalize_restores_the_pixels(
        self, device: torch.device, transform: Compose
    ) -> None:
        """Halving a normalized image and adding 0.5 restores its values in [0, 1]."""
        pixels = np.array([[[0, 51, 255], [102, 153, 204]]], dtype=np.uint8)
        img = transform(Image.fromarray(pixels)).to(device)

        img = img / 2 + 0.5

        restored = torch.tensor([[[0.0, 0.4]], [[0.2, 0.6]], [[1.0, 0.8]]], device=device)
        torch.testing.assert_close(img, restored)

    def test_transposed_array_has_its_channels_last(self) -> None:
        """To be drawn, an image becomes an array of rows, columns and then channels."""
        npimg = torch.arange(24.0).view(3, 2, 4).numpy()

        drawable = np.transpose(npimg, (1, 2, 0))

        assert drawable.shape == (2, 4, 3)
        assert drawable[1, 2].tolist() == [6, 14, 22]

    def test_image_is_drawn_with_its_own_pixels(self, plt: Any, transform: Compose) -> None:
        """Drawn by imshow, a normalized image has the colours that it had before."""
        red_and_blue = np.array([[[255, 0, 0], [0, 0, 255]]], dtype=np.uint8)
        img = transform(Image.fromarray(red_and_blue))

        img = img / 2 + 0.5
        drawn = plt.imshow(np.transpose(img.numpy(), (1, 2, 0)))

        rgba, *_ = drawn.make_image(None, unsampled=True)
        assert rgba.tolist() == [[[255, 0, 0, 255], [0, 0, 255, 255]]]

    @pytest.mark.changed(since="1.13", text="dataiter.next() gives the next batch.")
    def test_next_batch_is_fetched_with_the_builtin_next(self) -> None:
        """A batch is fetched with next(dataiter); dataiter has no next()."""
        dataiter = iter(DataLoader(range(8), batch_size=4))

        assert next(dataiter).tolist() == [0, 1, 2, 3]
        with pytest.raises(AttributeError, match="has no attribute 'next'"):
            dataiter.next()
        assert next(dataiter).tolist() == [4, 5, 6, 7]

    def test_grid_lines_up_a_batch(self) -> None:
        """A grid from make_grid puts four 32 x 32 images in a row, 2 black pixels around each."""
        images = torch.arange(4 * 3 * 32 * 32.0).view(4, 3, 32, 32) - 6144.5

        grid = torchvision.utils.make_grid(images)

        assert grid.shape == (3, 36, 138)
        assert torch.equal(grid[:, 2:34, 2:34], images[0])
        assert torch.equal(grid[:, 2:34, 36:68], images[1])
        assert torch.equal(grid[:, 2:34, 104:136], images[3])
        assert torch.count_nonzero(grid) == images.numel()

    def test_labels_are_printed_by_name(
        self, device: torch.device, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The labels 3, 8, 8, 0 print as names, each set right in five columns."""
        labels = torch.tensor([3, 8, 8, 0], device=device)

        print(classifier.names(labels))

        assert capsys.readouterr().out == "  cat  ship  ship plane\n"
        assert "%5s" % CLASSES[labels[0]] == "  cat"  # noqa: UP031


class TestDefineAConvolutionalNetwork:
    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_net_takes_three_channels(self, device: torch.device) -> None:
        """The classifier takes images of three channels, and has 62,006 numbers to learn.

        It is the earlier network changed in more than its channels: the text's has kernels of 3 x 3
        and pools by a function, this one has kernels of 5 x 5 and pools by a layer.
        """
        net = classifier.Net().to(device)

        assert net.conv1.weight.shape == (6, 3, 5, 5)
        assert net.fc1.weight.shape == (120, 16 * 5 * 5)
        assert sum(map(torch.numel, net.parameters())) == 62_006
        assert net(torch.zeros(4, 3, 32, 32, device=device)).shape == (4, 10)

    def test_one_pooling_layer_is_used_twice(self) -> None:
        """One MaxPool2d layer over 2 x 2 windows, without parameters, serves both convolutions."""
        net, seen = classifier.Net(), []
        net.pool.register_forward_hook(lambda pool, args, output: seen.append(args[0].shape))

        net(torch.zeros(1, 3, 32, 32))

        assert seen == [(1, 6, 28, 28), (1, 16, 10, 10)]
        assert list(net.pool.parameters()) == []

    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_32_becomes_28_14_10_5(self, device: torch.device) -> None:
        """Each 5 x 5 convolution takes 4 off a side, each pooling halves it: 32, 28, 14, 10, 5."""
        net = classifier.Net().to(device)

        convolved = net.conv1(torch.zeros(4, 3, 32, 32, device=device))
        pooled = net.pool(convolved)
        convolved_again = net.conv2(pooled)

        assert (convolved.shape, pooled.shape) == ((4, 6, 28, 28), (4, 6, 14, 14))
        assert convolved_again.shape == (4, 16, 10, 10)
        assert net.pool(convolved_again).view(-1, 16 * 5 * 5).shape == (4, 400)

    @pytest.mark.on("cpu", "accelerator", "meta")
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
        """The net takes other sizes than 32 x 32: view(-1, 400) makes rows that are no images."""
        net = classifier.Net().to(device)

        assert net(torch.zeros(shape, device=device)).shape == (rows, 10)


class TestLossAndOptimizer:
    def test_cross_entropy_is_the_mean_of_minus_log_softmax(self, device: torch.device) -> None:
        """Cross-entropy is minus the log of the softmax at the label, averaged over the batch."""
        outputs = torch.tensor([[1.0, 2.0, 0.5], [0.0, -1.0, 3.0]], device=device)
        labels = torch.tensor([2, 0], device=device)
        criterion = nn.CrossEntropyLoss()

        loss = criterion(outputs, labels)

        # log(e + e² + √e) - 0.5 and log(1 + 1/e + e³) - 0
        assert (loss.shape, loss.device) == ((), device)
        assert loss.item() == pytest.approx((1.964369 + 3.065884) / 2, rel=1e-6)

    def test_equal_scores_cost_the_logarithm_of_ten(self, device: torch.device) -> None:
        """Equal scores for ten classes cost ln 10, 2.303: about where an untrained net starts."""
        images, labels = torch.rand(8, 3, 32, 32).to(device), torch.arange(8, device=device)
        criterion = nn.CrossEntropyLoss()

        assert criterion(torch.zeros(8, 10, device=device), labels).item() == pytest.approx(
            2.302585
        )
        assert criterion(classifier.Net().to(device)(images), labels).item() == pytest.approx(
            2.303, abs=0.05
        )

    def test_momentum_carries_past_gradients(self, device: torch.device) -> None:
        """SGD with momentum moves by lr times v, and v is 0.9 of the former v plus the gradient."""
        w = torch.zeros(2, device=device, requires_grad=True)
        optimizer = optim.SGD([w], lr=0.001, momentum=0.9)

        w.grad = torch.tensor([1.0, 2.0], device=device)
        optimizer.step()
        w.grad = torch.tensor([3.0, -1.0], device=device)
        optimizer.step()

        # v: 1, 2; then 3.9, 0.8
        torch.testing.assert_close(w.tolist(), [-0.0049, -0.0028], rtol=1e-6, atol=0)


@pytest.fixture
def five_batches() -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Batches of one number x and label 0; an untrained ``line`` loses log(1 + exp(x)) by each."""
    numbers = torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0]).view(5, 1, 1)
    return [*zip(numbers, torch.zeros(5, 1, dtype=torch.int64), strict=True)]


@pytest.fixture
def line() -> nn.Linear:
    """A net of two scores, 0 and x."""
    net = nn.Linear(1, 2, bias=False)
    net.weight.data = torch.tensor([[0.0], [1.0]])
    return net


class TestTrain:
    def test_batch_is_a_list_of_inputs_and_labels(self) -> None:
        """Looping over a loader gives lists of two, inputs and labels; enumerate counts from 0."""
        images, numbers = torch.arange(8.0), torch.arange(8)
        trainloader = DataLoader(TensorDataset(images, numbers), batch_size=4)

        (_, _), (i, data) = enumerate(trainloader, 0)
        inputs, labels = data

        assert (i, type(data)) == (1, list)
        assert inputs.tolist() == [4.0, 5.0, 6.0, 7.0]
        assert labels.tolist() == [4, 5, 6, 7]

    @pytest.mark.changed(since="2.0", text="zero_grad() sets the gradients of the parameters to 0.")
    def test_zero_grad_clears_the_gradients(self, device: torch.device) -> None:
        """After optimizer.zero_grad() the gradient of every parameter is None."""
        net = nn.Linear(2, 1).to(device)
        optimizer = optim.SGD(net.parameters(), lr=0.001, momentum=0.9)
        net(torch.ones(1, 2, device=device)).backward()
        assert net.weight.grad.tolist() == [[1, 1]]

        optimizer.zero_grad()

        assert (net.weight.grad, net.bias.grad) == (None, None)

    def test_report_is_the_mean_of_its_own_batches(
        self, line: nn.Linear, five_batches: Any
    ) -> None:
        """Each report is the mean loss of the batches since the last one, as a Python float."""
        criterion, optimizer = nn.CrossEntropyLoss(), optim.SGD(line.parameters(), lr=0.0)

        reports = classifier.train(line, five_batches, criterion, optimizer, epochs=1, every=2)

        # log(1 + exp(x)) of -2 and -1, 0 and 1
        assert reports[0][2] == pytest.approx((0.126928 + 0.313262) / 2, rel=1e-5)
        assert reports[1][2] == pytest.approx((0.693147 + 1.313262) / 2, rel=1e-5)
        assert type(reports[0][2]) is float

    def test_left_over_batches_of_an_epoch_are_not_reported(
        self, line: nn.Linear, five_batches: Any, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Batches left over at the end of an epoch are not reported, as the fifth of five by twos.

        Of the tutorial's 12,500 batches, reported by 2,000, these are the last 500."""
        criterion, optimizer = nn.CrossEntropyLoss(), optim.SGD(line.parameters(), lr=0.0)

        reports = classifier.train(line, five_batches, criterion, optimizer, epochs=2, every=2)
        print("[%d, %5d] loss: %.3f" % reports[3])  # noqa: UP031

        assert capsys.readouterr().out == "[2,     4] loss: 1.003\n"
        assert [report[:2] for report in reports] == [(1, 2), (1, 4), (2, 2), (2, 4)]

    def test_training_passes_over_the_images_twice(self) -> None:
        """The loop of two epochs sees each image exactly twice, in another order each time."""
        numbers, net, seen = torch.arange(30.0).view(30, 1), nn.Linear(1, 10), []
        net.register_forward_hook(lambda net, args, output: seen.extend(args[0].flatten().tolist()))
        trainloader = DataLoader(TensorDataset(numbers, torch.zeros(30).long()), 4, shuffle=True)
        optimizer = optim.SGD(net.parameters(), lr=0.001, momentum=0.9)

        classifier.train(net, trainloader, nn.CrossEntropyLoss(), optimizer)

        assert sorted(seen[:30]) == sorted(seen[30:]) == [*range(30)]
        assert seen[:30] != seen[30:]

    def test_training_lowers_the_loss(self, trained: Any) -> None:
        """In training the loss falls from about ln 10, what guessing costs, to less than 2.1."""
        first, *_, last = trained.reports

        assert first[:2] == (1, last[1] // 2)
        assert last[2] < 2.1 < first[2] < 2.35

    def test_saved_file_holds_the_weights_by_name(self, trained: Any, tmp_path: Path) -> None:
        """The file of a saved net holds its parameters by name, and nothing else."""
        torch.save(trained.net.state_dict(), tmp_path / "cifar_net.pth")

        state = torch.load(tmp_path / "cifar_net.pth")

        assert [*state] == [*dict(trained.net.named_parameters())]
        assert all(map(torch.equal, state.values(), trained.net.parameters()))


# Scores of eight images for ten classes; the class with the highest is 4, 0, 9, 4, 1, 4, 7, 2.
SCORES = torch.eye(10)[[4, 0, 9, 4, 1, 4, 7, 2]] * torch.tensor([0.5, 1, 2, 3, 4, 5, 6, 7])[:, None]
LABELS = torch.tensor([4, 0, 8, 4, 8, 1, 7, 3])  # the first, second, fourth and seventh are right


@pytest.fixture
def scored() -> TensorDataset:
    """Eight images that are their own scores, with their labels: nn.Identity() names four right."""
    return TensorDataset(SCORES, LABELS)


class TestTest:
    def test_hits_are_counted(self, device: torch.device) -> None:
        """Comparing predictions with labels and summing counts the images classified right."""
        predicted = torch.tensor([3, 8, 0, 6], device=device)
        labels = torch.tensor([3, 8, 8, 6], device=device)

        hits = (predicted == labels).sum()

        assert (hits.item(), hits.device) == (3, device)

    def test_loaded_net_gives_the_same_scores(
        self, trained: Any, device: torch.device, tmp_path: Path
    ) -> None:
        """A new net that loads the saved weights gives the same scores, to the last bit."""
        torch.save(trained.net.state_dict(), tmp_path / "cifar_net.pth")
        images = torch.rand(4, 3, 32, 32).to(device)

        net = classifier.Net().to(device)
        answer = net.load_state_dict(torch.load(tmp_path / "cifar_net.pth"))

        assert repr(answer) == "<All keys matched successfully>"
        assert net(images).tolist() == trained.net(images).tolist()

    def test_reloading_changes_no_answer(
        self, trained: Any, testloader: Any, device: torch.device, tmp_path: Path
    ) -> None:
        """The trained net and the one reloaded from its file give all images the same classes."""
        images, _ = testloader.dataset[:]
        torch.save(trained.net.state_dict(), tmp_path / "cifar_net.pth")
        net = classifier.Net().to(device)
        net.load_state_dict(torch.load(tmp_path / "cifar_net.pth"))

        _, predicted = torch.max(net(images), 1)

        assert predicted.tolist() == torch.max(trained.net(images), 1).indices.tolist()

    @pytest.mark.mistaken(
        text="The outputs are the probabilities of the ten labels.",
        upstream="The outputs are energies for the ten classes.",
    )
    def test_outputs_are_scores_not_probabilities(self, trained: Any, testloader: Any) -> None:
        """The net's outputs are scores of any sign and size, and do not sum to 1 for an image."""
        images, _ = next(iter(testloader))

        outputs = trained.net(images)

        assert outputs.shape == (4, 10)
        assert outputs.min() < 0
        assert outputs.max() > 1
        assert (outputs.sum(1) - 1).abs().max() > 0.1

    def test_softmax_turns_scores_into_probabilities(self, device: torch.device) -> None:
        """The softmax of scores is positive, sums to 1 for each image and keeps their order."""
        outputs = torch.tensor([[1.0, 2.0, 0.5], [0.0, -1.0, 3.0]], device=device)

        probabilities = torch.softmax(outputs, dim=1)

        # e, e² and √e over their sum, then 1, 1/e and e³ over theirs
        torch.testing.assert_close(
            probabilities.cpu(),
            torch.tensor([[0.231224, 0.628532, 0.140244], [0.046613, 0.017148, 0.936239]]),
            rtol=0,
            atol=1e-6,
        )
        assert probabilities.argmax(1).tolist() == outputs.argmax(1).tolist() == [1, 2]

    def test_max_along_the_classes_gives_score_and_prediction(self, device: torch.device) -> None:
        """For each image torch.max(outputs, 1) gives the highest score, and its class."""
        outputs = torch.tensor([[-1.0, 3.0, 2.0], [-3.0, -2.0, -0.5]], device=device)

        values, predicted = torch.max(outputs, 1)

        assert values.tolist() == [3.0, -0.5]
        assert predicted.tolist() == [1, 2]
        assert (predicted.dtype, predicted.device) == (torch.int64, device)

    def test_predictions_are_printed_by_name(
        self, device: torch.device, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Predicted classes print as labels do, each name set right in five columns."""
        _, predicted = torch.max(SCORES[:4].to(device), 1)

        print("Predicted: ", classifier.names(predicted))

        assert capsys.readouterr().out == "Predicted:   deer plane truck  deer\n"

    def test_no_grad_keeps_nothing_for_backward(self, device: torch.device) -> None:
        """Under no_grad the net gives the same scores, and no graph to go back through."""
        net, images = classifier.Net().to(device), torch.rand(2, 3, 32, 32).to(device)

        with torch.no_grad():
            inside = net(images)

        assert (inside.requires_grad, inside.grad_fn) == (False, None)
        assert net(images).grad_fn is not None
        assert inside.tolist() == net(images).tolist()

    def test_data_of_the_outputs_is_not_needed_under_no_grad(self, device: torch.device) -> None:
        """Under no_grad, outputs.data gives the same prediction as outputs."""
        net = classifier.Net().to(device)

        with torch.no_grad():
            outputs = net(torch.rand(4, 3, 32, 32).to(device))
            _, predicted = torch.max(outputs.data, 1)
            values = outputs.data.tolist()

        assert values == outputs.tolist()
        assert predicted.tolist() == torch.max(outputs, 1).indices.tolist()

    @pytest.mark.parametrize("size", [1, 3, 4, 8])
    def test_counts_do_not_depend_on_the_batch_size(self, scored: Any, size: int) -> None:
        """Counting each batch's labels gives the same total and hits at any batch size."""
        assert classifier.count_correct(nn.Identity(), DataLoader(scored, size)) == (4, 8)

    def test_accuracy_is_printed_without_its_fraction(self) -> None:
        """The accuracy prints as whole per cent, the fraction cut off, not rounded."""
        correct, total = 5599, 10_000

        line = "Accuracy of the network on the 10000 test images: %d %%" % (100 * correct / total)  # noqa: UP031

        assert line == "Accuracy of the network on the 10000 test images: 55 %"

    def test_trained_net_beats_chance(self, trained: Any, testloader: Any) -> None:
        """Of 100 images an untrained net gets at most 15 right, a trained one at least 25."""
        before, total = classifier.count_correct(trained.untrained, testloader)
        after, _ = classifier.count_correct(trained.net, testloader)

        # 35 to 44 of 400, and 152 to 316, over ten seeds: docs/learning_seeds.py
        assert before <= 0.15 * total
        assert after >= 0.25 * total

    def test_counts_of_the_classes_sum_to_those_of_the_whole(
        self, trained: Any, testloader: Any
    ) -> None:
        """The counts of the ten classes sum to those of all test images."""
        class_correct, class_total = classifier.count_by_class(trained.net, testloader)

        correct, total = classifier.count_correct(trained.net, testloader)
        assert len(class_correct) == len(class_total) == 10
        assert (sum(class_correct), sum(class_total)) == (correct, total)
        assert 0 < correct < total

    def test_accuracy_of_each_class_is_printed(self, scored: Any) -> None:
        """The accuracy of a class prints with its name in five columns, in whole per cent."""
        class_correct, class_total = classifier.count_by_class(nn.Identity(), DataLoader(scored, 4))

        of_deer = 100 * class_correct[4] / class_total[4]
        of_ships = 100 * class_correct[8] / class_total[8]

        assert "Accuracy of %5s : %2d %%" % ("deer", of_deer) == "Accuracy of  deer : 100 %"  # noqa: UP031
        assert "Accuracy of %5s : %2d %%" % ("ship", of_ships) == "Accuracy of  ship :  0 %"  # noqa: UP031

    def test_loop_over_four_images_counts_batches_of_four(self, scored: Any) -> None:
        """The loop over four images counts every image where all batches have four."""
        correct, total = classifier.count_by_class(nn.Identity(), DataLoader(scored, batch_size=4))

        assert correct == [1, 0, 0, 0, 2, 0, 0, 1, 0, 0]
        assert total == [1, 1, 0, 1, 2, 0, 0, 1, 2, 0]

    def test_class_without_images_has_no_rate(self, scored: Any) -> None:
        """A class without test images has no accuracy: its rate is a ZeroDivisionError."""
        correct, total = classifier.count_by_class(nn.Identity(), DataLoader(scored, batch_size=4))

        assert 100 * correct[4] / total[4] == 100
        with pytest.raises(ZeroDivisionError):
            100 * correct[2] / total[2]

    @pytest.mark.parametrize("size", [1, 3, 4, 8])
    def test_counting_by_name_agrees_with_counting_by_number(self, scored: Any, size: int) -> None:
        """Counting in a dict by name gives the counts by class number, at any batch size."""
        correct, total = classifier.count_by_name(nn.Identity(), DataLoader(scored, size))

        assert (correct["deer"], total["deer"]) == (2, 2)
        assert (correct["ship"], total["ship"]) == (0, 2)
        assert (sum(correct.values()), sum(total.values())) == (4, 8)
