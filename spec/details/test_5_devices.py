"""Details of the GPU section: what a move keeps, what is refused, files from another device."""

import copy
import io

import pytest
import torch
from torch import nn
from torch.testing import assert_close
from torch.utils.data import DataLoader

from blitz import classifier
from spec.test_5_devices import CPU, Model, Nested, Numbers, SizedNumbers

pytestmark = pytest.mark.usefixtures("one_thread")


class TestNamesOfDevices:
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
        """A device whose name torch does not know raises RuntimeError; "cpu" is always known."""
        assert torch.device("cpu").type == "cpu"

        with pytest.raises(RuntimeError, match="Expected one of cpu, cuda"):
            torch.device("gpu")


class TestMovingNets:
    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_net_keeps_its_dtypes_when_it_moves(self, device: torch.device) -> None:
        """A move to a device changes no dtype: integer and boolean buffers stay what they are."""
        net = Nested().to(device)

        assert net.layers[1][0].num_batches_tracked.dtype == torch.int64
        assert net.kept.dtype == torch.int64
        assert net.passing.dtype == torch.bool
        assert {parameter.dtype for parameter in net.parameters()} == {torch.float32}

    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_net_keeps_its_mode_and_its_frozen_parameters(self, device: torch.device) -> None:
        """A move to a device freezes and unfreezes no parameter, and keeps the training mode."""
        net = Nested().to(device)

        assert net.training
        assert net.scale.requires_grad
        assert not net.layers[0].weight.requires_grad

    def test_net_comes_back_with_the_same_values(self, device: torch.device) -> None:
        """A net that went to a device and came back has exactly the values that it left with."""
        net = Nested()
        before = copy.deepcopy(net.state_dict())

        back = net.to(device).to("cpu")

        assert_close(dict(back.state_dict()), dict(before), rtol=0, atol=0)
        assert back.passing.tolist() == [True, False]

    @pytest.mark.on("accelerator", "meta")
    def test_net_is_moved_by_name_and_by_keyword(self, device: torch.device) -> None:
        """A device can be given to net.to() by its name and as a keyword."""
        assert nn.Linear(2, 1).to(str(device)).weight.device == device
        assert nn.Linear(2, 1).to(device=device).weight.device == device

    @pytest.mark.on("accelerator", "meta")
    def test_gradients_move_with_the_net(self, device: torch.device) -> None:
        """The .grad of each parameter moves with the net."""
        net = nn.Linear(2, 1)
        net.weight.grad = torch.ones(1, 2)

        net.to(device)

        assert net.weight.grad.device == device

    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_net_that_is_there_already_keeps_its_parameters(self, device: torch.device) -> None:
        """A net that is sent to where it is keeps its Parameters, the optimizer's own."""
        net = nn.Linear(2, 1, device=device)
        weight, bias = net.weight, net.bias

        net.to(device)

        assert net.weight is weight
        assert net.bias is bias

    @pytest.mark.on("meta")
    def test_optimizer_made_before_a_move_to_meta_is_left_behind(
        self, device: torch.device
    ) -> None:
        """On meta a net gets new Parameters, and an earlier optimizer holds the old ones."""
        net = nn.Linear(2, 1, bias=False)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.5)

        net.to(device)

        (held,) = optimizer.param_groups[0]["params"]
        assert held is not net.weight
        assert held.device == CPU


class TestMixedDevices:
    def test_moved_batch_holds_the_same_values(self, device: torch.device) -> None:
        """A batch that was moved holds the values that it had."""
        inputs, labels = torch.tensor([[1.5, -2.25]]).to(device), torch.tensor([7]).to(device)

        assert inputs.tolist() == [[1.5, -2.25]]
        assert labels.tolist() == [7]

    @pytest.mark.on("accelerator", "meta")
    def test_net_on_the_cpu_refuses_inputs_on_a_device(self, device: torch.device) -> None:
        """A net that stayed on the cpu raises RuntimeError for inputs on a device."""
        net = nn.Linear(3, 2)
        assert net(torch.ones(4, 3)).device == CPU

        with pytest.raises(RuntimeError, match="device"):
            net(torch.ones(4, 3, device=device))

    @pytest.mark.on("accelerator")
    def test_convolution_on_a_device_refuses_images_on_the_cpu(self, device: torch.device) -> None:
        """A convolutional net on a device raises RuntimeError for images on the cpu."""
        net, images = classifier.Net().to(device), torch.ones(1, 3, 32, 32)
        assert net(images.to(device)).device == device

        with pytest.raises(RuntimeError, match=r"device|should be the same"):
            net(images)

    @pytest.mark.on("accelerator", "meta")
    def test_mean_squared_error_refuses_a_target_on_the_cpu(self, device: torch.device) -> None:
        """The mean squared error of outputs on a device raises RuntimeError for a cpu target."""
        outputs, target = torch.ones(2, 3, device=device), torch.zeros(2, 3)
        assert nn.MSELoss()(outputs, target.to(device)).device == device

        with pytest.raises(RuntimeError, match="device"):
            nn.MSELoss()(outputs, target)

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
        net, images = classifier.Net().to(device), torch.zeros(2, 3, 32, 32).to(device)

        loss = nn.CrossEntropyLoss()(net(images), torch.tensor([3, 8]).to(device))

        assert loss.device == device
        assert 2 < loss.item() < 3  # ln 10 = 2.3 for a net that has learned nothing


class TestMovingTensors:
    @pytest.mark.on("accelerator")
    def test_copy_on_another_device_shares_no_memory(self, device: torch.device) -> None:
        """A write to the copy on another device is not seen in the original, nor the reverse."""
        t = torch.tensor([1.0, 2.0])

        u = t.to(device)
        u[0] = 9
        t[1] = 7

        assert t.tolist() == [1.0, 7.0]
        assert u.tolist() == [9.0, 2.0]

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

    @pytest.mark.on("accelerator", "meta")
    def test_tensor_is_moved_by_name_and_by_keyword(self, device: torch.device) -> None:
        """A device can be given to tensor.to() by its name and as a keyword."""
        t = torch.ones(2)

        assert t.to(str(device)).device == device
        assert t.to(device=device).device == device

    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_tensor_of_the_dtype_asked_for_is_returned_itself(self, device: torch.device) -> None:
        """A tensor that is sent to the dtype that it has is returned itself."""
        t = torch.ones(2, device=device)

        assert t.to(torch.float32) is t
        assert t.to(device, torch.float32) is t

    @pytest.mark.on("accelerator", "meta")
    def test_move_is_tracked(self, device: torch.device) -> None:
        """The copy of a tracked tensor on another device requires grad too."""
        assert torch.ones(2).requires_grad_().to(device).requires_grad


@pytest.mark.usefixtures("no_other_accelerator")
class TestDataParallelOnOneDevice:
    def test_one_device_computes_what_the_bare_net_does(self, device: torch.device) -> None:
        """On the cpu or on one GPU, DataParallel changes neither the outputs nor the gradients."""
        model, batch = Model().to(device), torch.randn(30, 5, device=device)
        (expected,) = torch.autograd.grad(model(batch).square().sum(), model.fc.weight)

        output = nn.DataParallel(model, [device.index])(batch)
        output.square().sum().backward()

        assert_close(output, model(batch))
        assert_close(model.fc.weight.grad, expected)

    def test_data_parallel_passes_every_argument_on(self, device: torch.device) -> None:
        """DataParallel passes on several inputs, by position and by keyword."""
        model = nn.Bilinear(5, 5, 2).to(device)
        one, other = torch.randn(2, 30, 5, device=device)
        parallel = nn.DataParallel(model, [device.index])

        expected = model(one, other)

        assert_close(parallel(one, other), expected)
        assert_close(parallel(input1=one, input2=other), expected)

    def test_state_of_a_recurrent_model_passes_through(self, device: torch.device) -> None:
        """On the cpu or one GPU, a recurrent model in DataParallel returns its state as well."""
        net, batch = nn.LSTM(3, 2).to(device), torch.randn(7, 4, 3, device=device)

        outputs, state = nn.DataParallel(net, [device.index])(batch)

        expected = net(batch)
        assert_close(outputs, expected[0])
        assert_close(state, expected[1])

    def test_model_in_data_parallel_keeps_its_mode(self, device: torch.device) -> None:
        """DataParallel runs its model in training mode, until eval() reaches it too."""
        model = nn.BatchNorm1d(3).to(device)
        parallel, batch = nn.DataParallel(model, [device.index]), torch.randn(7, 3, device=device)

        assert parallel(batch).mean().abs().item() < 1e-6  # the batch's own mean is taken off
        assert not parallel.eval().module.training

    def test_saved_names_begin_with_module(self, device: torch.device) -> None:
        """Names of a DataParallel model's weights are unknown to its bare model: RuntimeError."""
        model = Model().to(device)
        state = nn.DataParallel(model, [device.index]).state_dict()
        assert list(state) == ["module.fc.weight", "module.fc.bias"]

        with pytest.raises(RuntimeError, match=r'Unexpected key\(s\) in state_dict: "module'):
            model.load_state_dict(state)
        model.load_state_dict({"fc.weight": state["module.fc.weight"], "fc.bias": torch.ones(2)})


class TestSeveralDevices:
    @pytest.mark.on("accelerator")
    def test_second_gpu_is_used_only_when_named(
        self, device: torch.device, second: torch.device
    ) -> None:
        """With several GPUs, a net and its batch use the one that is named."""
        net, elsewhere = nn.Linear(2, 1).to(device), nn.Linear(2, 1).to(second)

        assert net(torch.ones(1, 2, device=device)).device == device
        assert elsewhere(torch.ones(1, 2, device=second)).device == second

    @pytest.mark.on("accelerator")
    def test_gradients_of_two_gpus_add_up_in_the_model(
        self, device: torch.device, second: torch.device
    ) -> None:
        """Backward over two GPUs leaves in the model the gradients of the whole batch."""
        model, batch = Model().to(device), torch.randn(30, 5, device=device)
        (expected,) = torch.autograd.grad(model(batch).square().sum(), model.fc.weight)

        nn.DataParallel(model, [device.index, second.index])(batch).square().sum().backward()

        assert_close(model.fc.weight.grad, expected)

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

    def test_data_set_without_a_length_is_not_counted(self) -> None:
        """A loader over a data set without __len__ cannot count its batches: TypeError."""
        assert len(DataLoader(SizedNumbers(), batch_size=30)) == 4

        with pytest.raises(TypeError, match=r"has no len\(\)"):
            len(DataLoader(Numbers(), batch_size=30))


class TestFilesFromAnotherDevice:
    @pytest.mark.on("accelerator")
    def test_file_remembers_the_device_it_was_saved_from(self, device: torch.device) -> None:
        """Weights saved on a GPU load back onto it; with map_location="cpu" onto the cpu."""
        saved = io.BytesIO()
        torch.save(torch.tensor([1.5, 2.5], device=device), saved)

        there = torch.load(io.BytesIO(saved.getvalue()), weights_only=True)
        here = torch.load(io.BytesIO(saved.getvalue()), weights_only=True, map_location="cpu")

        assert (there.device, here.device) == (device, CPU)
        assert there.tolist() == here.tolist() == [1.5, 2.5]

    def test_file_from_a_gpu_needs_map_location_on_a_machine_without(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Weights saved on a GPU raise RuntimeError where there is none, but for map_location."""
        saved = io.BytesIO()
        monkeypatch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        torch.save({"weight": torch.tensor([1.5])}, saved)

        mapped = torch.load(io.BytesIO(saved.getvalue()), map_location="cpu", weights_only=True)
        assert mapped["weight"].tolist() == [1.5]
        with pytest.raises(RuntimeError, match="Attempting to deserialize object on a CUDA device"):
            torch.load(io.BytesIO(saved.getvalue()), weights_only=True)
