"""The GPU section: a net and its batches move to an accelerator and train there just the same."""

from collections.abc import Iterable
from typing import Any

import pytest
import torch
from torch import nn
from torch.testing import assert_close
from torch.utils.data import DataLoader, Dataset

from blitz import classifier

pytestmark = pytest.mark.usefixtures("one_thread")

Batch = tuple[torch.Tensor, torch.Tensor]
CPU = torch.device("cpu")


class TestTrainingOnGpu:
    @pytest.mark.parametrize(("available", "name"), [(True, "cuda:0"), (False, "cpu")])
    def test_device_is_the_first_gpu_or_the_cpu(
        self,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        available: bool,
        name: str,
    ) -> None:
        """The device to train on prints as cuda:0 where CUDA is available, and as cpu elsewhere."""
        monkeypatch.setattr(torch.cuda, "is_available", lambda: available)

        device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
        print(device)

        assert capsys.readouterr().out == f"{name}\n"

    def test_cuda_is_available_only_with_a_gpu(self) -> None:
        """torch.cuda.is_available() is true only where torch counts a CUDA device."""
        assert torch.cuda.device_count() > 0 or not torch.cuda.is_available()

    @pytest.mark.on("accelerator", "meta")
    def test_net_moves_with_all_its_parameters_and_buffers(self, device: torch.device) -> None:
        """Moving a net moves every parameter and every buffer in it, however deep."""
        net = Nested()

        net.to(device)

        names = ["scale", "layers.0.weight", "layers.0.bias", "layers.1.0.weight"]
        assert [name for name, _ in net.named_parameters()] == [*names, "layers.1.0.bias"]
        assert {parameter.device for parameter in net.parameters()} == {device}
        assert len(list(net.buffers())) == 5
        assert {buffer.device for buffer in net.buffers()} == {device}

    @pytest.mark.on("accelerator", "meta")
    def test_tensors_and_modules_outside_registration_stay(self, device: torch.device) -> None:
        """A plain tensor attribute and modules in a Python list do not move with the net."""
        net = Nested()
        net.plain = torch.ones(2)
        net.in_a_list = [nn.Linear(1, 1)]
        net.in_a_module_list = nn.ModuleList([nn.Linear(1, 1)])

        net.to(device)

        assert net.plain.device == CPU
        assert net.in_a_list[0].weight.device == CPU
        assert net.in_a_module_list[0].weight.device == device

    @pytest.mark.on("accelerator", "meta")
    def test_net_moves_in_place_where_a_tensor_is_copied(self, device: torch.device) -> None:
        """net.to() moves the net itself and returns it; tensor.to() leaves the tensor, copied."""
        net, tensor = nn.Linear(2, 1), torch.ones(2)

        moved_net, moved_tensor = net.to(device), tensor.to(device)

        assert moved_net is net
        assert net.weight.device == device
        assert moved_tensor is not tensor
        assert (tensor.device, moved_tensor.device) == (CPU, device)

    @pytest.mark.on("accelerator")
    def test_optimizer_made_before_the_move_trains_the_moved_net(
        self, device: torch.device
    ) -> None:
        """On a GPU a net keeps its Parameter objects, so an earlier optimizer still updates it.

        PyTorch promises this to the devices it knows by name. A backend under PrivateUse1 has it
        with torch.__future__.set_swap_module_params_on_conversion(True).
        """
        net = nn.Linear(2, 1, bias=False)
        nn.init.constant_(net.weight, 5)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.5)

        net.to(device)
        net(torch.tensor([[2.0, 4.0]], device=device)).sum().backward()
        optimizer.step()

        assert net.weight.tolist() == [[4.0, 3.0]]

    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_inputs_and_labels_of_a_batch_are_moved(self, device: torch.device) -> None:
        """Inputs and labels of a batch arrive on the device with their shapes and dtypes."""
        inputs, labels = torch.ones(4, 3), torch.tensor([1, 0, 2, 1])

        inputs, labels = inputs.to(device), labels.to(device)

        assert (inputs.device, labels.device) == (device, device)
        assert (inputs.shape, inputs.dtype) == ((4, 3), torch.float32)
        assert (labels.shape, labels.dtype) == ((4,), torch.int64)

    @pytest.mark.on("accelerator", "meta")
    def test_every_batch_of_a_loader_has_to_be_moved(self, device: torch.device) -> None:
        """A loader gives its next batch on the cpu again, so the move belongs into every step."""
        trainloader: DataLoader[Batch] = DataLoader([(torch.ones(2), 1)] * 2)
        batches = iter(trainloader)

        inputs, labels = next(batches)
        inputs, labels = inputs.to(device), labels.to(device)
        next_inputs, next_labels = next(batches)

        assert (inputs.device, labels.device) == (device, device)
        assert (next_inputs.device, next_labels.device) == (CPU, CPU)

    @pytest.mark.on("accelerator", "meta")
    def test_net_on_a_device_refuses_inputs_on_the_cpu(self, device: torch.device) -> None:
        """A net on a device raises RuntimeError for inputs that stayed on the cpu."""
        net, inputs = nn.Linear(3, 2).to(device), torch.ones(4, 3)
        assert net(inputs.to(device)).device == device

        with pytest.raises(RuntimeError, match="device"):
            net(inputs)

    @pytest.mark.on("accelerator", "meta")
    def test_loss_refuses_labels_on_the_cpu(self, device: torch.device) -> None:
        """The loss of outputs on a device raises RuntimeError for labels on the cpu."""
        criterion = nn.CrossEntropyLoss()
        outputs, labels = torch.ones(2, 3, device=device), torch.tensor([2, 0])
        assert criterion(outputs, labels.to(device)).device == device

        with pytest.raises(RuntimeError, match="device"):
            criterion(outputs, labels)

    @pytest.mark.on("accelerator", "meta")
    def test_move_without_assignment_moves_nothing(self, device: torch.device) -> None:
        """A tensor stays where it is unless the result of the move is assigned."""
        inputs = torch.ones(2)

        inputs.to(device)
        assert inputs.device == CPU

        inputs = inputs.to(device)
        assert inputs.device == device

    @pytest.mark.on("cpu", "accelerator", "meta")
    @pytest.mark.parametrize("width", [1, 6, 64])
    def test_net_can_be_widened(self, device: torch.device, width: int) -> None:
        """Convolutions of any width go together where the first's outputs are the second's inputs.

        The text's net has six channels between them, and 62,006 numbers: 476 for each channel.
        """
        net = classifier.Net(width).to(device)

        scores = net(torch.zeros(2, 3, 32, 32, device=device))

        assert (net.conv1.out_channels, net.conv2.in_channels) == (width, width)
        assert scores.shape == (2, 10)
        assert sum(p.numel() for p in net.parameters()) == 62_006 + 476 * (width - 6)

    def test_second_convolution_of_another_width_fails_in_use(self, device: torch.device) -> None:
        """Convolutions of 8 and of 6 channels can be put in a row, but not run: RuntimeError."""
        images = torch.zeros(1, 3, 32, 32, device=device)
        equal = nn.Sequential(nn.Conv2d(3, 8, 5), nn.Conv2d(8, 16, 5)).to(device)
        unequal = nn.Sequential(nn.Conv2d(3, 8, 5), nn.Conv2d(6, 16, 5)).to(device)

        assert equal(images).shape == (1, 16, 24, 24)
        with pytest.raises(RuntimeError, match="to have 6 channels, but got 8"):
            unequal(images)

    def test_training_beats_chance_on_every_device(self, device: torch.device) -> None:
        """The loop of the text, with its moves to the device, trains a net far above chance."""
        patterns = torch.randn(10, 3, 32, 32)
        net = classifier.Net().to(device)
        images, labels = noisy(patterns, 100)

        train(net, [noisy(patterns, 10) for _ in range(120)], device)
        correct = (net(images.to(device)).argmax(1) == labels.to(device)).sum()

        assert correct.item() >= 60  # chance is 10, and its spread 3
        assert {parameter.device for parameter in net.parameters()} == {device}


class TestDataParallelism:
    @pytest.mark.on("accelerator", "meta")
    def test_tensor_on_another_device_is_a_copy(self, device: torch.device) -> None:
        """A tensor sent to another device is a new tensor there; the old one stays on the cpu."""
        mytensor = torch.ones(2, 3)

        moved = mytensor.to(device)

        assert moved is not mytensor
        assert (moved.device, mytensor.device) == (device, CPU)
        assert (moved.shape, moved.dtype) == ((2, 3), torch.float32)

    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_tensor_that_is_there_already_is_returned_itself(self, device: torch.device) -> None:
        """A tensor sent to where it is, in the dtype that it has, is returned itself."""
        mytensor = torch.ones(2, device=device)

        assert mytensor.to(device) is mytensor
        assert mytensor.to(device, torch.float16) is not mytensor

    @pytest.mark.on("accelerator")
    def test_first_gpu_is_used_unless_another_is_named(self, device: torch.device) -> None:
        """Tensors made on a type of device without an index are on its current one, at first 0."""
        unnamed, named = torch.ones(2, device=device.type), torch.ones(2, device=device)

        assert unnamed.device == torch.device(device.type, 0)
        assert named.device == device

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
        rows = torch.arange(batch, device=device).reshape(batch, 1)

        chunks = rows.chunk(gpus)

        assert list(map(len, chunks)) == parts
        assert torch.cat(chunks).flatten().tolist() == list(range(batch))

    @pytest.mark.on("accelerator")
    def test_batch_is_scattered_over_the_gpus(
        self, device: torch.device, second: torch.device
    ) -> None:
        """DataParallel sends the first half of a batch to the first GPU, the rest to the second."""
        rows = torch.arange(30.0, device=device).reshape(15, 2)

        first, rest = nn.parallel.scatter(rows, [device.index, second.index])

        assert (first.device, rest.device) == (device, second)
        assert first.tolist() == rows[:8].tolist()
        assert rest.tolist() == rows[8:].tolist()

    @pytest.mark.usefixtures("no_other_accelerator")
    def test_one_device_sees_the_whole_batch(self, device: torch.device) -> None:
        """On the cpu or on one GPU, a DataParallel model sees all 30 samples and returns 30."""
        model = Model().to(device)
        parallel = nn.DataParallel(model, [device.index])

        output = parallel(torch.randn(30, 5, device=device))

        assert model.seen == [(30, 5)]
        assert output.shape == (30, 2)
        assert output.device == device

    @pytest.mark.usefixtures("no_accelerator")
    def test_without_a_gpu_no_device_is_taken(self) -> None:
        """Without a GPU, DataParallel takes no device and leaves the model on the cpu."""
        model = nn.DataParallel(Model())

        assert model.device_ids == []
        assert {parameter.device for parameter in model.parameters()} == {CPU}

    @pytest.mark.usefixtures("no_other_accelerator")
    def test_attributes_of_the_model_need_module(self, device: torch.device) -> None:
        """The model in a DataParallel is its attribute module; its own layers are found there."""
        model = Model().to(device)
        parallel = nn.DataParallel(model, [device.index])

        assert parallel.module is model
        assert parallel.module.fc.in_features == 5
        with pytest.raises(AttributeError, match="'DataParallel' object has no attribute 'fc'"):
            parallel.fc  # noqa: B018

    @pytest.mark.on("accelerator")
    def test_results_of_two_gpus_are_merged_in_order(
        self, device: torch.device, second: torch.device
    ) -> None:
        """Results of two GPUs come back as one batch on the first, in the order of the inputs."""
        model = Model().to(device)
        batch = torch.randn(30, 5, device=device)
        expected = model(batch)

        output = nn.DataParallel(model, [device.index, second.index])(batch)

        assert output.device == device
        assert_close(output, expected)

    @pytest.mark.mistaken(text="A data set only has to implement __getitem__.")
    def test_data_set_needs_a_length_to_be_shuffled(self) -> None:
        """A data set needs __len__ beside __getitem__ for a loader that shuffles: TypeError."""
        assert len(list(DataLoader(SizedNumbers(), shuffle=True))) == 100

        with pytest.raises(TypeError, match=r"has no len\(\)"):
            DataLoader(Numbers(), shuffle=True)

    def test_data_set_of_100_gives_batches_of_30_30_30_and_10(self) -> None:
        """A data set of 100 rows in batches of 30 gives three full batches and one of 10."""
        rand_loader = DataLoader(SizedNumbers(), batch_size=30, shuffle=True)

        batches = list(rand_loader)

        assert list(map(len, batches)) == [30, 30, 30, 10]
        assert sorted(torch.cat(batches)[:, 0].tolist()) == list(range(100))

    @pytest.mark.usefixtures("no_other_accelerator")
    @pytest.mark.parametrize(
        ("model", "shape"),
        [
            pytest.param(classifier.Net, (4, 3, 32, 32), id="convolutional"),
            pytest.param(lambda: nn.LSTM(3, 2), (7, 4, 3), id="recurrent"),
        ],
    )
    def test_any_model_passes_through(
        self, device: torch.device, model: Any, shape: tuple[int, ...]
    ) -> None:
        """On the cpu or one GPU, convolutional and recurrent models work in DataParallel alike."""
        net = model().to(device)
        batch = torch.randn(shape, device=device)

        output = nn.DataParallel(net, [device.index])(batch)

        assert_close(output, net(batch))

    @pytest.mark.on("accelerator")
    def test_batch_with_time_first_is_cut_along_its_second_dimension(
        self, device: torch.device, second: torch.device
    ) -> None:
        """A recurrent model over two GPUs needs dim=1 where time is first; dim 0 cuts the time."""
        net, gpus = Sequence().to(device), [device.index, second.index]
        batch = torch.randn(8, 4, 3, device=device)

        along_time = nn.DataParallel(net, gpus, dim=0)(batch)
        along_the_batch = nn.DataParallel(net, gpus, dim=1)(batch)

        assert_close(along_the_batch, net(batch))
        assert not torch.allclose(along_time, net(batch), rtol=0.01, atol=0.01)

    @pytest.mark.changed(since="1.5", text="DataParallel is the way to use several GPUs.")
    @pytest.mark.usefixtures("no_accelerator")
    def test_data_parallel_works_and_recommends_its_successor(self) -> None:
        """DataParallel works without a warning, but recommends DistributedDataParallel instead."""
        advice = " ".join(nn.DataParallel.__doc__.split())

        assert nn.DataParallel(Model())(torch.ones(3, 5)).shape == (3, 2)
        assert "It is recommended to use :class:`~torch.nn.parallel.DistributedDataParal" in advice


class Nested(nn.Module):
    """A net with everything that a move has to find: nesting, buffers, a parameter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Sequential(nn.BatchNorm2d(2)))
        self.layers[0].requires_grad_(False)  # frozen layers move as well
        self.scale = nn.Parameter(torch.tensor([1.5, 2.5]))
        self.register_buffer("kept", torch.tensor([3, 4]))
        self.register_buffer("passing", torch.tensor([True, False]), persistent=False)


def noisy(patterns: torch.Tensor, count: int) -> Batch:
    """Images that each show the pattern of their label, under noise."""
    labels = torch.randint(10, (count,))
    return patterns[labels] + torch.randn(count, 3, 32, 32) / 2, labels


def train(net: nn.Module, trainloader: Iterable[Batch], device: torch.device) -> None:
    """Train as the text does, with every batch moved to the device."""
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    for inputs, labels in trainloader:
        inputs, labels = inputs.to(device), labels.to(device)
        optimizer.zero_grad()
        loss = criterion(net(inputs), labels)
        loss.backward()
        optimizer.step()


class Model(nn.Module):
    """The model of the text: 5 inputs, 2 outputs; instead of printing sizes, it notes them."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(5, 2)
        self.seen: list[tuple[int, ...]] = []

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        self.seen.append(tuple(batch.shape))
        output: torch.Tensor = self.fc(batch)
        return output


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
