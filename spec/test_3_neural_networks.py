"""Chapter 3: a network is a module with parameters, and training updates them by gradients."""

import copy
import io
import math
import re
from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd.gradcheck import GradcheckError
from torch.testing import assert_close

from blitz import graph, neural_networks
from spec.devices import slopes
from spec.devices.operations import Operation

LAYERS = ["conv1", "conv2", "fc1", "fc2", "fc3"]
PARAMETERS = [f"{layer}.{kind}" for layer in LAYERS for kind in ("weight", "bias")]

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def net(device: torch.device) -> neural_networks.Net:
    """The text's network, with kernels of 3x3."""
    return neural_networks.Net(device=device)


@pytest.fixture
def images(device: torch.device) -> torch.Tensor:
    """A batch of two random 32x32 images."""
    return neural_networks.random_images(2, device=device)


@pytest.fixture
def target(device: torch.device) -> torch.Tensor:
    """What the network shall answer to the two images."""
    return torch.randn(2, 10, device=device)


def copies_of(tensors: Iterable[torch.Tensor]) -> list[torch.Tensor]:
    """Copies that later changes do not reach."""
    return [tensor.detach().clone() for tensor in tensors]


def calls_of_layers(net: neural_networks.Net) -> list[str]:
    """A list that gets the name of every layer of ``net`` each time it is called."""
    names = []
    for name, layer in net.named_children():
        layer.register_forward_hook(lambda *_, name=name: names.append(name))
    return names


def train_by_hand(
    net: neural_networks.Net,
    images: torch.Tensor,
    target: torch.Tensor,
    learning_rate: float,
    steps: int,
) -> list[float]:
    """The loss of every turn of the recipe: clear, process, loss, propagate back, update."""
    losses = []
    for _ in range(steps):
        neural_networks.clear_gradients(net)
        loss = neural_networks.mean_squared_error(net(images), target)
        loss.backward()
        neural_networks.update_by_hand(net.parameters(), learning_rate)
        losses.append(loss.item())
    return losses


def slope(
    net: neural_networks.Net,
    images: torch.Tensor,
    target: torch.Tensor,
    name: str,
    index: int,
) -> float:
    """The central difference of the squared error along one number of a parameter.

    Worked out in float64 on the host, whatever the network's own device is.
    """
    host = copy.deepcopy(net).cpu().double()
    inputs, known = images.cpu().double(), target.cpu().double().numpy()
    numbers = host.get_parameter(name).data.view(-1)
    losses = []
    for shift in (1e-6, -2e-6):
        numbers[index] += shift
        losses.append(float(np.mean((host(inputs).detach().numpy() - known) ** 2)))
    return (losses[0] - losses[1]) / 2e-6


class TestNeuralNetworks:
    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_module_holds_layers_and_its_forward_computes_the_output(
        self, net: neural_networks.Net, images: torch.Tensor, device: torch.device
    ) -> None:
        """A module holds its layers by name, and computes on the device they were made on."""
        output = net(images)

        assert [name for name, _ in net.named_children()] == LAYERS
        assert {tensor.device for tensor in (images, output, *net.parameters())} == {device}
        assert output.shape == (2, 10)

    def test_calling_a_module_runs_its_forward_and_its_hooks(self, device: torch.device) -> None:
        """Calling a module gives what its forward gives; hooks run with the call only."""
        layer = nn.Linear(2, 1, device=device)
        x = torch.ones(3, 2, device=device)
        seen = []
        layer.register_forward_hook(lambda module, inputs, output: seen.append(output))

        called, forwarded = layer(x), layer.forward(x)

        assert called.tolist() == forwarded.tolist()
        assert len(seen) == 1
        assert seen[0] is called

    def test_module_without_forward_is_refused_when_called(self, device: torch.device) -> None:
        """A module without a forward method can be made, but not called."""
        x = torch.ones(1, device=device)

        assert nn.Identity()(x) is x
        with pytest.raises(NotImplementedError, match='missing the required "forward" function'):
            nn.Module()(x)

    def test_layer_assigned_before_the_base_class_is_initialised_is_refused(
        self, device: torch.device
    ) -> None:
        """A layer assigned before super().__init__() is refused; after it, it is registered."""

        class Patient(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layer = nn.Linear(2, 1, device=device)

        class Hasty(nn.Module):
            def __init__(self) -> None:
                self.layer = nn.Linear(2, 1, device=device)

        assert [name for name, _ in Patient().named_children()] == ["layer"]
        with pytest.raises(AttributeError, match=r"cannot assign module before Module\.__init__"):
            Hasty()

    def test_input_passes_the_layers_one_after_another(
        self, net: neural_networks.Net, images: torch.Tensor
    ) -> None:
        """In a feed-forward network the input passes every layer once, in order."""
        passed = calls_of_layers(net)

        net(images)

        assert passed == ["conv1", "conv2", "fc1", "fc2", "fc3"]

    def test_training_recipe_lowers_the_loss(
        self, net: neural_networks.Net, images: torch.Tensor, target: torch.Tensor
    ) -> None:
        """Processing, loss, gradients and update, over and over, lower the loss on a batch."""
        losses = train_by_hand(net, images, target, learning_rate=0.05, steps=40)

        assert losses[-1] < 0.7 * losses[0]

    def test_training_with_learning_rate_zero_learns_nothing(
        self, net: neural_networks.Net, images: torch.Tensor, target: torch.Tensor
    ) -> None:
        """With a learning rate of 0 the training recipe leaves the loss where it was."""
        losses = train_by_hand(net, images, target, learning_rate=0.0, steps=3)

        assert_close(losses, [losses[0]] * 3)

    def test_gradients_cleared_before_the_update_change_nothing(
        self, net: neural_networks.Net, images: torch.Tensor, target: torch.Tensor
    ) -> None:
        """Gradients cleared between backward and step leave nothing to update with."""
        before = copies_of(net.parameters())
        optimizer = neural_networks.optimizer("SGD", net.parameters())

        neural_networks.mean_squared_error(net(images), target).backward()
        optimizer.zero_grad()
        optimizer.step()

        assert all(map(torch.equal, net.parameters(), before))


#: The slips of the listing in a network of our own: the import, the base class, the return.
SKETCH = """
import torch.nn as nn
import torch.nn.functional as {alias}

class Sketch({base}.Module):
    def forward(self, x):
        y = F.relu(x)
{indent}return y
"""


def output_of_sketch(alias: str = "F", base: str = "nn", indent: str = "        ") -> list[float]:
    """What the sketch makes of [-1, 2]."""
    namespace: dict[str, Any] = {}
    exec(SKETCH.format(alias=alias, base=base, indent=indent), namespace)
    made: torch.Tensor = namespace["Sketch"]()(torch.tensor([-1.0, 2.0]))
    return made.tolist()


class Apply(nn.Module):
    """A module whose forward is a function."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = self.function(x)
        return made


def product_in_a_loop(x: torch.Tensor) -> Any:
    product: Any = 1
    for number in x:
        product = product * number
    return product


UNBATCHED = {
    "Conv1d": (lambda: nn.Conv1d(2, 3, 2), (2, 5)),
    "Conv2d": (lambda: nn.Conv2d(1, 6, 3), (1, 32, 32)),
    "Conv3d": (lambda: nn.Conv3d(1, 2, 2), (1, 3, 4, 5)),
    "MaxPool2d": (lambda: nn.MaxPool2d(2), (1, 4, 6)),
    "AvgPool2d": (lambda: nn.AvgPool2d(2), (1, 4, 6)),
    "InstanceNorm2d": (lambda: nn.InstanceNorm2d(2), (2, 3, 4)),
    "Linear": (lambda: nn.Linear(3, 2), (3,)),
    "LSTM": (lambda: nn.Sequential(nn.LSTM(3, 2, batch_first=True), Apply(lambda o: o[0])), (4, 3)),
    "TransformerEncoderLayer": (
        lambda: nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True),
        (3, 4),
    ),
}


class TestDefineTheNetwork:
    @pytest.mark.mistaken(text="The listing defines the network and prints it.")
    @pytest.mark.parametrize(
        ("slip", "error", "words"),
        [
            pytest.param({"indent": " " * 9}, IndentationError, "unexpected indent", id="indent"),
            pytest.param({"base": "NN"}, NameError, "name 'NN' is not defined", id="NN"),
            pytest.param({"alias": "f"}, NameError, "name 'F' is not defined", id="f"),
        ],
    )
    def test_each_slip_of_the_listing_is_an_error(self, slip: Any, error: Any, words: str) -> None:
        """An indent too many, NN for nn, and f imported where F is used are an error each."""
        assert output_of_sketch() == [0.0, 2.0]

        with pytest.raises(error, match=words):
            output_of_sketch(**slip)

    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_network_without_the_slips_answers_an_image_with_ten_numbers(
        self, net: neural_networks.Net, device: torch.device
    ) -> None:
        """The network of the listing, freed of its slips, makes ten numbers of one image."""
        image = neural_networks.random_images(device=device)

        assert image.shape == (1, 1, 32, 32)
        assert net(image).shape == (1, 10)

    @pytest.mark.on("cpu", "accelerator", "meta")
    @pytest.mark.parametrize("kernel_size", [3, 5])
    def test_convolutions_map_one_channel_to_six_to_sixteen(
        self, device: torch.device, kernel_size: int
    ) -> None:
        """The convolutions map 1 channel to 6 and 6 to 16, with square kernels and no padding."""
        net = neural_networks.Net(kernel_size, device=device)

        assert net.conv1.weight.shape == (6, 1, kernel_size, kernel_size)
        assert net.conv2.weight.shape == (16, 6, kernel_size, kernel_size)
        assert (net.conv1.stride, net.conv1.padding) == ((1, 1), (0, 0))
        assert (net.conv2.stride, net.conv2.padding) == ((1, 1), (0, 0))
        assert net.conv2.bias.device == device

    def test_convolution_is_window_times_kernel_plus_bias(self, device: torch.device) -> None:
        """A convolution slides its kernel, unflipped, over all channels and adds the bias."""
        conv = nn.Conv2d(2, 1, 2, device=device)
        conv.weight.data = torch.tensor([[[[1.0, 2], [3, 4]], [[0, 0], [0, 10]]]], device=device)
        conv.bias.data = torch.tensor([0.5], device=device)
        x = torch.arange(12.0, device=device).view(1, 2, 2, 3)

        # 1*0 + 2*1 + 3*3 + 4*4 + 10*10 + 0.5, and the same one column on
        assert conv(x).tolist() == [[[[127.5, 147.5]]]]

    def test_first_layer_of_the_net_convolves_windows_of_3x3(
        self, net: neural_networks.Net, images: torch.Tensor
    ) -> None:
        """A number of the net's first map is a 3x3 window times a kernel, summed, plus a bias."""
        window = images[1, 0, 4:7, 20:23].cpu().double().numpy()
        kernel = net.conv1.weight[5, 0].detach().cpu().double().numpy()
        expected = (window * kernel).sum() + net.conv1.bias[5].item()

        assert_close(net.conv1(images)[1, 5, 4, 20].item(), expected, rtol=1e-5, atol=1e-5)

    def test_image_with_three_channels_is_refused_by_a_layer_for_one(
        self, net: neural_networks.Net, device: torch.device
    ) -> None:
        """A convolution for one channel refuses an image of three."""
        image = torch.randn(1, 3, 32, 32, device=device)

        assert net.conv1(image[:, :1]).shape == (1, 6, 30, 30)
        with pytest.raises(RuntimeError, match="to have 1 channels, but got 3 channels"):
            net.conv1(image)

    @pytest.mark.parametrize(
        ("weight", "x", "expected"),
        [
            pytest.param(
                [[1, 2, 3], [4, 5, 6]], [[1, 0, -1], [0, 2, 0]], [[8, 18], [14, 30]], id="2x3"
            ),
            pytest.param([[1, 2], [3, 4]], [[5, -1], [0, 2]], [[13, 31], [14, 28]], id="square"),
        ],
    )
    def test_linear_layer_computes_wx_plus_b(
        self,
        device: torch.device,
        weight: list[list[int]],
        x: list[list[int]],
        expected: list[list[int]],
    ) -> None:
        """A linear layer makes Wx + b of a vector, and of every row of a batch."""
        layer = nn.Linear(len(weight[0]), 2, device=device)
        layer.weight.data = torch.tensor(weight, dtype=torch.float32, device=device)
        layer.bias.data = torch.tensor([10.0, 20.0], device=device)
        x = torch.tensor(x, dtype=torch.float32, device=device)

        assert layer(x[0]).tolist() == expected[0]
        assert layer(x).tolist() == expected

    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_linear_layer_keeps_its_weight_as_outputs_by_inputs(
        self, net: neural_networks.Net
    ) -> None:
        """A linear layer's weight has a row for each output and a column for each input."""
        assert net.fc1.weight.shape == (120, 576)
        assert net.fc2.weight.shape == (84, 120)
        assert net.fc3.weight.shape == (10, 84)
        assert net.fc3.bias.shape == (10,)

    def test_linear_layer_without_bias_has_none(self, device: torch.device) -> None:
        """A linear layer with bias=False has no bias and computes Wx."""
        layer = nn.Linear(2, 1, bias=False, device=device)
        layer.weight.data = torch.tensor([[3.0, -1]], device=device)

        assert layer.bias is None
        assert layer(torch.tensor([2.0, 5], device=device)).tolist() == [1.0]

    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_32x32_image_shrinks_to_sixteen_maps_of_6x6(
        self, net: neural_networks.Net, images: torch.Tensor
    ) -> None:
        """With 3x3 kernels a 32x32 image shrinks to 30, 15, 13 and then 6 pixels a side."""
        shapes = neural_networks.stage_shapes(net, images)

        assert shapes["conv1"] == (2, 6, 30, 30)
        assert shapes["pool1"] == (2, 6, 15, 15)
        assert shapes["conv2"] == (2, 16, 13, 13)
        assert shapes["pool2"] == (2, 16, 6, 6)
        assert shapes["flat"] == (2, 576)
        assert net.fc1.in_features == 576

    def test_pooling_keeps_the_largest_number_of_each_window(self, device: torch.device) -> None:
        """Max pooling over a window keeps its largest number; windows do not overlap."""
        x = torch.tensor(
            [[9.0, 1, -5, -2], [3, 4, -1, -8], [0, 7, 2, 2], [6, 5, 1, 3]], device=device
        )

        pooled = F.max_pool2d(x[None], 2)

        assert pooled.tolist() == [[[9.0, -1.0], [7.0, 3.0]]]

    @pytest.mark.parametrize("window", [2, (2, 2)], ids=["number", "tuple"])
    def test_one_number_is_a_square_window(
        self, device: torch.device, window: int | tuple[int, ...]
    ) -> None:
        """A square pooling window can be given as one number or as a tuple; both do the same."""
        x = torch.tensor([[9.0, 1, -5], [3, 4, -1]], device=device)[None]

        assert F.max_pool2d(x, window).tolist() == [[[9.0]]]
        assert nn.MaxPool2d(window, 2)(x).tolist() == [[[9.0]]]

    def test_window_that_is_not_square_needs_a_tuple(self, device: torch.device) -> None:
        """A (2, 1) window pools two rows and leaves the columns alone."""
        x = torch.tensor([[9.0, 1, -5], [3, 4, -1]], device=device)[None]

        assert F.max_pool2d(x, (2, 1)).tolist() == [[[9.0, 4.0, -1.0]]]

    def test_pooling_drops_the_odd_row_and_column(self, device: torch.device) -> None:
        """Pooling windows of 2 leave out the last row and column of a map with odd sides."""
        x = torch.arange(15.0, device=device).view(1, 3, 5)

        assert F.max_pool2d(x, 2).tolist() == [[[6.0, 8.0]]]

    @pytest.mark.on("cpu", "accelerator", "meta")
    @pytest.mark.parametrize("batch", [1, 3])
    def test_flat_features_are_all_sizes_but_the_batch(
        self, net: neural_networks.Net, device: torch.device, batch: int
    ) -> None:
        """The number of flat features is the product of all sizes but the batch's."""
        images = neural_networks.random_images(batch, device=device)
        maps = net.stages(images)["pool2"]

        assert neural_networks.num_flat_features(maps) == 576
        assert neural_networks.flatten_by_view(maps).shape == (batch, 576)

    def test_view_flattens_as_flatten_does(self, device: torch.device) -> None:
        """Both view(-1, n) and flatten(x, 1) put each sample's numbers in a row, in order."""
        x = torch.arange(12, device=device).view(2, 3, 1, 2)
        rows = [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]]

        assert neural_networks.flatten_by_view(x).tolist() == rows
        assert torch.flatten(x, 1).tolist() == rows
        assert torch.flatten(x, start_dim=1).tolist() == rows

    def test_flattening_copies_nothing(self, device: torch.device) -> None:
        """Flattened maps share their memory with the maps."""
        x = torch.zeros(2, 3, 2, device=device)

        neural_networks.flatten_by_view(x)[1, 4] = 7
        torch.flatten(x, 1)[0, 0] = 5

        assert x[1, 2, 0] == 7
        assert x[0, 0, 0] == 5

    def test_view_refuses_maps_that_do_not_lie_in_order(self, device: torch.device) -> None:
        """Maps that are transposed in memory cannot be flattened by view; flatten copies them."""
        x = torch.arange(8, device=device).view(2, 2, 2).transpose(1, 2)

        assert torch.flatten(x, 1).tolist() == [[0, 2, 1, 3], [4, 6, 5, 7]]
        with pytest.raises(RuntimeError, match="view size is not compatible"):
            neural_networks.flatten_by_view(x)

    def test_view_takes_the_channels_of_a_single_sample_for_a_batch(
        self, net: neural_networks.Net, device: torch.device
    ) -> None:
        """Flattened without a batch, 16 maps of 6x6 become 16 rows of 36, which no layer takes."""
        maps = torch.randn(16, 6, 6, device=device)
        flat = neural_networks.flatten_by_view(maps)

        assert flat.shape == (16, 36)
        assert net.fc1(neural_networks.flatten_by_view(maps.unsqueeze(0))).shape == (1, 120)
        with pytest.raises(
            RuntimeError, match=r"shapes cannot be multiplied \(16x36 and 576x120\)"
        ):
            net.fc1(flat)

    def test_printed_network_is_the_one_shown(self) -> None:
        """A printed network shows its layers by name, each with its sizes, and nothing else."""
        assert str(neural_networks.Net()) == (
            "Net(\n"
            "  (conv1): Conv2d(1, 6, kernel_size=(3, 3), stride=(1, 1))\n"
            "  (conv2): Conv2d(6, 16, kernel_size=(3, 3), stride=(1, 1))\n"
            "  (fc1): Linear(in_features=576, out_features=120, bias=True)\n"
            "  (fc2): Linear(in_features=120, out_features=84, bias=True)\n"
            "  (fc3): Linear(in_features=84, out_features=10, bias=True)\n"
            ")"
        )

    def test_only_forward_is_written(self) -> None:
        """Neither a network nor its base class has a backward method; autograd differentiates."""
        assert not hasattr(neural_networks.Net, "backward")
        assert not hasattr(nn.Module, "backward")

    def test_gradients_are_the_slopes_of_the_loss(
        self, net: neural_networks.Net, images: torch.Tensor, target: torch.Tensor
    ) -> None:
        """Autograd's gradient of each parameter is the slope of the loss along it."""
        neural_networks.mean_squared_error(net(images), target).backward()
        steepest = {name: p.grad.abs().argmax().item() for name, p in net.named_parameters()}

        measured = {
            name: slope(net, images, target, name, index) for name, index in steepest.items()
        }

        computed = {
            name: net.get_parameter(name).grad.view(-1)[index].item()
            for name, index in steepest.items()
        }
        # float32 gradients against differences of two losses in float64
        assert_close(computed, measured, rtol=1e-4, atol=1e-6)

    @pytest.mark.parametrize(
        ("operation", "gradient"),
        [
            pytest.param(lambda x, v: x.sort().values * v, [100.0, 1.0, 10.0], id="sort"),
            pytest.param(lambda x, v: x.cumsum(0) * v, [111.0, 110.0, 100.0], id="cumsum"),
            pytest.param(
                lambda x, v: torch.einsum("i,i,i->", x, x, v), [6.0, 20.0, 400.0], id="einsum"
            ),
            pytest.param(lambda x, v: x[1:] * v[:2], [0.0, 1.0, 10.0], id="slice"),
            pytest.param(lambda x, v: product_in_a_loop(x), [2.0, 6.0, 3.0], id="loop"),
            pytest.param(lambda x, v: x * 5 if x.sum() > 0 else x, [5.0] * 3, id="branch taken"),
            pytest.param(
                lambda x, v: x * 5 if x.sum() < 0 else x, [1.0] * 3, id="branch not taken"
            ),
        ],
    )
    def test_any_differentiable_operation_may_stand_in_forward(
        self, device: torch.device, operation: Callable[..., Any], gradient: Any
    ) -> None:
        """Sorting, sums, slices, loops and branches on data may stand in forward."""
        x = torch.tensor([3.0, 1.0, 2.0], device=device, requires_grad=True)
        v = torch.tensor([1.0, 10.0, 100.0], device=device)

        Apply(lambda x: operation(x, v))(x).sum().backward()

        assert x.grad.tolist() == gradient

    def test_functions_of_forward_leave_their_input_alone(self, device: torch.device) -> None:
        """What forward applies to its input, relu, pooling and flattening, leaves it as it is."""
        x = torch.tensor([[[[1.0, -2.0], [-3.0, 4.0]]]], device=device)

        rectified, pooled, flat = F.relu(x), F.max_pool2d(x, 2), torch.flatten(x, 1)

        assert rectified.tolist() == [[[[1.0, 0.0], [0.0, 4.0]]]]
        assert (pooled.tolist(), flat.tolist()) == ([[[[4.0]]]], [[1.0, -2.0, -3.0, 4.0]])
        assert x.tolist() == [[[[1.0, -2.0], [-3.0, 4.0]]]]

    @pytest.mark.parametrize("operation", slopes.SMOOTH, ids=attrgetter("name"))
    def test_gradient_of_every_operation_is_its_slope(
        self, operation: Operation, device: torch.device
    ) -> None:
        """The gradient of any differentiable operation is the slope of what NumPy computes."""
        slope = slopes.slopes(operation)
        known = [numbers.isfinite() for numbers in slope]
        assert all(places.any() for places in known)

        gradients = slopes.gradients(operation, device)

        # in float32 against differences of float64
        assert_close(
            [gradient[places] for gradient, places in zip(gradients, known, strict=True)],
            [numbers[places] for numbers, places in zip(slope, known, strict=True)],
            rtol=1e-3,
            atol=1e-4,
        )

    @pytest.mark.parametrize(
        "operation",
        [
            pytest.param(lambda x: x.argmax(), id="argmax"),
            pytest.param(lambda x: torch.tensor(x[0].item()), id="item"),
            pytest.param(lambda x: torch.from_numpy(x.detach().cpu().numpy()), id="numpy"),
            pytest.param(lambda x: x > 1, id="comparison"),
        ],
    )
    def test_some_operations_in_forward_cut_the_graph_in_silence(
        self, device: torch.device, operation: Callable[..., Any]
    ) -> None:
        """The way through argmax, item, NumPy or a comparison ends the graph, and nothing warns."""
        x = torch.tensor([3.0, 1.0, 2.0], device=device, requires_grad=True)

        assert Apply(lambda x: x + 1)(x).requires_grad
        assert not Apply(operation)(x).requires_grad

    def test_rounding_in_forward_passes_no_gradient(self, device: torch.device) -> None:
        """Rounding keeps the graph, but every gradient through it is zero."""
        x = torch.tensor([0.6, 1.2], device=device, requires_grad=True)

        rounded = Apply(torch.round)(x)
        rounded.sum().backward()

        assert rounded.tolist() == [1.0, 1.0]
        assert x.grad.tolist() == [0.0, 0.0]

    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_parameters_are_what_the_network_learns(self, net: neural_networks.Net) -> None:
        """A network's parameters are its layers' weights and biases, in the order of assignment."""
        named = dict(net.named_parameters())

        assert list(named) == PARAMETERS
        assert list(map(id, net.parameters())) == list(map(id, named.values()))
        assert all(isinstance(p, nn.Parameter) and p.requires_grad for p in named.values())
        assert list(net.buffers()) == []

    def test_new_network_draws_its_numbers_from_the_seed(self) -> None:
        """A new network draws all its numbers: the same after the same seed, else others."""
        nets = [(torch.manual_seed(seed), neural_networks.Net())[1] for seed in (3, 3, 4)]

        one, same, other = (nn.utils.parameters_to_vector(net.parameters()) for net in nets)

        assert torch.equal(one, same)
        assert (one != other).float().mean().item() > 0.99
        assert one.unique().numel() > 0.99 * one.numel()

    @pytest.mark.on("cpu", "accelerator", "meta")
    @pytest.mark.parametrize(("kernel_size", "numbers"), [(3, 81_194), (5, 61_706)])
    def test_parameters_count(self, device: torch.device, kernel_size: int, numbers: int) -> None:
        """The network learns 81,194 numbers with 3x3 kernels and 61,706 with 5x5 kernels."""
        net = neural_networks.Net(kernel_size, device=device)

        assert sum(parameter.numel() for parameter in net.parameters()) == numbers

    def test_printed_parameters_are_ten_and_the_first_a_kernel(self) -> None:
        """The network has ten parameters; the first is conv1's weight, of shape (6, 1, 3, 3)."""
        net = neural_networks.Net()
        params = list(net.parameters())

        assert str(len(params)) == "10"
        assert str(params[0].size()) == "torch.Size([6, 1, 3, 3])"
        assert params[0] is net.conv1.weight

    @pytest.mark.on("cpu", "accelerator", "meta")
    @pytest.mark.parametrize(
        ("kernel_size", "size"),
        [(3, 30), (3, 31), (3, 32), (3, 33), (5, 32), (5, 33), (5, 34), (5, 35)],
    )
    def test_network_takes_images_of_32x32_and_a_little_around(
        self, device: torch.device, kernel_size: int, size: int
    ) -> None:
        """The network takes 32x32 images, and 30 to 33 (5x5 kernels: 32 to 35) pixels a side."""
        net = neural_networks.Net(kernel_size, device=device)

        output = net(neural_networks.random_images(1, size, device=device))

        assert output.shape == (1, 10)

    @pytest.mark.parametrize(
        ("kernel_size", "size", "features"),
        [(3, 28, 400), (3, 29, 400), (3, 34, 784), (5, 28, 256), (5, 31, 256), (5, 36, 576)],
    )
    def test_images_of_other_sizes_do_not_fit_the_linear_layer(
        self, device: torch.device, kernel_size: int, size: int, features: int
    ) -> None:
        """Images of MNIST's 28x28, or of 34x34, leave a number of features that fc1 refuses."""
        net = neural_networks.Net(kernel_size, device=device)
        layers = nn.Sequential(net.conv1, nn.MaxPool2d(2), net.conv2, nn.MaxPool2d(2), nn.Flatten())
        images = neural_networks.random_images(1, size, device=device)

        flat = layers(images)

        assert flat.shape == (1, features)
        with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
            net.fc1(flat)
        with pytest.raises(ValueError, match=f"{size}x{size} pixels, the network takes 32x32"):
            net(images)

    @pytest.mark.parametrize(
        "to_32x32",
        [
            pytest.param(lambda images: F.interpolate(images, size=(32, 32)), id="resized"),
            pytest.param(lambda images: F.pad(images, (2, 2, 2, 2)), id="padded"),
        ],
    )
    def test_mnist_images_fit_once_resized_or_padded(
        self, net: neural_networks.Net, device: torch.device, to_32x32: Callable[..., Any]
    ) -> None:
        """Images of 28x28 fit the network once they are resized or padded to 32x32."""
        mnist = neural_networks.random_images(2, size=28, device=device)

        assert to_32x32(mnist).shape == (2, 1, 32, 32)
        assert net(to_32x32(mnist)).shape == (2, 10)

    @pytest.mark.changed(since="1.10", text="The printed output ends in grad_fn=<AddmmBackward>.")
    def test_output_is_one_row_of_ten_numbers_with_its_node(
        self, net: neural_networks.Net, device: torch.device
    ) -> None:
        """The output for one image is a row of ten numbers, made by a node named AddmmBackward0."""
        output = net(neural_networks.random_images(device=device))

        number = r"-?\d\.\d{4}(e-\d\d)?"
        shown = rf"tensor\(\[\[\s*{number}(,\s+{number}){{9}}\]\],.* grad_fn=<AddmmBackward0>\)"
        assert output.shape == (1, 10)
        assert output.requires_grad
        assert re.fullmatch(shown, str(output), flags=re.DOTALL)
        printed = [float(match.group()) for match in re.finditer(number, str(output))]
        assert printed == pytest.approx(output.tolist()[0], abs=6e-5)

    def test_random_gradient_is_propagated_back_from_the_output(
        self, net: neural_networks.Net, images: torch.Tensor
    ) -> None:
        """Calling backward(v) on an output gives the gradients of sum(output * v)."""
        output, v = neural_networks.propagate_random_gradient(net, images)
        propagated = neural_networks.gradients(net)

        net.zero_grad()
        (net(images) * v).sum().backward()

        assert v.shape == output.shape == (2, 10)
        assert not torch.equal(v[0], v[1])
        assert_close(propagated, neural_networks.gradients(net))
        assert_close(propagated["fc3.bias"], v[0] + v[1])

    def test_gradients_are_cleared_before_the_random_gradient(
        self, net: neural_networks.Net, images: torch.Tensor
    ) -> None:
        """Cleared first, the gradients are those of the last random gradient only."""
        neural_networks.propagate_random_gradient(net, images)

        _, v = neural_networks.propagate_random_gradient(net, images)

        assert_close(net.fc3.bias.grad, v[0] + v[1])

    def test_output_that_is_no_scalar_needs_a_gradient_of_its_shape(
        self, net: neural_networks.Net, device: torch.device
    ) -> None:
        """Ten numbers go backward with a gradient of their shape, not with another or none."""
        image = neural_networks.random_images(device=device)

        with pytest.raises(RuntimeError, match="only for scalar outputs"):
            net(image).backward()
        with pytest.raises(RuntimeError, match="Mismatch in shape"):
            net(image).backward(torch.ones(10, device=device))
        net(image).backward(torch.ones(1, 10, device=device))

    @pytest.mark.changed(since="1.11", text="All of torch.nn takes mini-batches only.")
    @pytest.mark.parametrize(("layer", "shape"), UNBATCHED.values(), ids=UNBATCHED)
    def test_layers_take_a_single_sample(
        self, device: torch.device, layer: Any, shape: Any
    ) -> None:
        """Most layers take a single sample, and make of it what they make of a batch of one."""
        module = layer().to(device)
        sample = torch.randn(shape, device=device)

        single, batch = module(sample), module(sample.unsqueeze(0))

        assert batch.shape == (1, *single.shape)
        assert_close(single, batch[0])

    def test_cross_entropy_takes_a_single_sample(self, device: torch.device) -> None:
        """CrossEntropyLoss takes one row of scores and one class number, without a batch."""
        scores = torch.tensor([1.0, 0.0, 2.0], device=device)
        label = torch.tensor(2, device=device)

        loss = nn.CrossEntropyLoss()(scores, label)

        expected = math.log(math.e + 1 + math.e**2) - 2
        assert_close(loss, torch.tensor(expected, device=device))

    @pytest.mark.parametrize("shape", [(32, 32), (1, 1, 1, 32, 32)], ids=["2-D", "5-D"])
    def test_convolution_refuses_two_and_five_dimensions(
        self, net: neural_networks.Net, device: torch.device, shape: tuple[int, ...]
    ) -> None:
        """A 2-D convolution takes three or four dimensions, and refuses two and five."""
        assert net.conv1(torch.randn(1, 32, 32, device=device)).shape == (6, 30, 30)

        with pytest.raises(
            RuntimeError, match=r"Expected 3D \(unbatched\) or 4D \(batched\) input"
        ):
            net.conv1(torch.randn(shape, device=device))

    def test_batch_norm_refuses_a_single_sample(self, device: torch.device) -> None:
        """BatchNorm2d takes a batch and refuses a single sample."""
        norm = nn.BatchNorm2d(3).to(device)
        batch = torch.randn(2, 3, 4, 4, device=device)

        assert norm(batch).shape == (2, 3, 4, 4)
        with pytest.raises(ValueError, match=r"expected 4D input \(got 3D input\)"):
            norm(batch[0])

    def test_network_of_the_tutorial_refuses_a_single_sample(
        self, net: neural_networks.Net, images: torch.Tensor
    ) -> None:
        """The tutorial's own network takes a batch and refuses a single image."""
        assert net(images[:1]).shape == (1, 10)

        with pytest.raises(
            ValueError, match=r"one image without a batch dimension.*unsqueeze\(0\)"
        ):
            net(images[0])

    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_conv2d_takes_samples_channels_height_width(self, device: torch.device) -> None:
        """Conv2d takes and gives samples x channels x height x width."""
        conv = nn.Conv2d(3, 4, (2, 3), device=device)

        maps = conv(torch.empty(2, 3, 5, 7, device=device))

        assert maps.shape == (2, 4, 4, 5)
        assert maps.device == device

    def test_conv2d_refuses_channels_last(self, device: torch.device) -> None:
        """Conv2d refuses samples x height x width x channels."""
        conv = nn.Conv2d(3, 4, 2, device=device)
        x = torch.randn(2, 5, 7, 3, device=device)

        assert conv(x.permute(0, 3, 1, 2)).shape == (2, 4, 4, 6)
        with pytest.raises(RuntimeError, match="to have 3 channels, but got 5 channels"):
            conv(x)

    def test_samples_of_a_batch_do_not_touch_each_other(
        self, net: neural_networks.Net, images: torch.Tensor
    ) -> None:
        """Each sample of a batch comes out as it does alone."""
        together = net.conv1(images)

        assert_close(together, torch.cat([net.conv1(images[:1]), net.conv1(images[1:])]))
        assert_close(net(images), torch.cat([net(images[:1]), net(images[1:])]))
        assert not torch.equal(together[0], together[1])

    def test_unsqueeze_makes_a_batch_of_one(
        self, net: neural_networks.Net, device: torch.device
    ) -> None:
        """A single image becomes a batch of one by unsqueeze(0), which shares its memory."""
        image = torch.randn(1, 32, 32, device=device)

        batch = image.unsqueeze(0)
        batch[0, 0, 3, 4] = 7

        assert batch.shape == (1, 1, 32, 32)
        assert image.shape == (1, 32, 32)
        assert image[0, 3, 4] == 7
        assert_close(net(batch), net(torch.stack([image, image]))[:1])

    @pytest.mark.mistaken(text="Pooling the 5x5 net's first maps gives 16 channels of 14x14.")
    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_every_stage_of_the_5x5_network_has_its_shape(
        self, device: torch.device, images: torch.Tensor
    ) -> None:
        """With 5x5 kernels the maps are 6 of 28x28, 6 of 14x14, 16 of 10x10 and 16 of 5x5."""
        net = neural_networks.Net(kernel_size=5, device=device)

        assert neural_networks.stage_shapes(net, images) == {
            "conv1": (2, 6, 28, 28),
            "pool1": (2, 6, 14, 14),
            "conv2": (2, 16, 10, 10),
            "pool2": (2, 16, 5, 5),
            "flat": (2, 400),
            "fc1": (2, 120),
            "fc2": (2, 84),
            "fc3": (2, 10),
        }


class Holder(nn.Module):
    """A module to assign things to."""


def names_in(module: nn.Module) -> list[str]:
    return [name for name, _ in module.named_parameters()]


class TestRecap:
    def test_tensor_holds_its_gradient(self, device: torch.device) -> None:
        """A tensor of any number of dimensions holds a gradient of its shape, dtype and device."""
        x = torch.full((2, 1, 3), 5.0, device=device, requires_grad=True)

        (x * x).sum().backward()

        assert x.grad.tolist() == [[[10.0] * 3], [[10.0] * 3]]
        assert (x.grad.shape, x.grad.dtype, x.grad.device) == (x.shape, x.dtype, device)

    def test_gradient_of_another_shape_cannot_be_assigned(self, device: torch.device) -> None:
        """A gradient can be assigned in the shape and dtype of its tensor, and in no other."""
        x = torch.zeros(2, 3, device=device)
        x.grad = torch.ones(2, 3, device=device)

        with pytest.raises(RuntimeError, match="attempting to assign a gradient of size"):
            x.grad = torch.ones(2, device=device)
        with pytest.raises(RuntimeError, match="attempting to assign a gradient with dtype"):
            x.grad = torch.ones(2, 3, dtype=torch.float16, device=device)
        assert x.grad.tolist() == [[1.0] * 3] * 2

    @pytest.mark.on("accelerator", "meta")
    def test_module_moves_to_a_device_with_its_parameters(self, device: torch.device) -> None:
        """Moving a module moves all its parameters, in place, and leaves them parameters."""
        net = neural_networks.Net(device="cpu")

        moved = net.to(device)

        assert moved is net
        assert [parameter.device for parameter in net.parameters()] == [device] * 10
        assert all(isinstance(parameter, nn.Parameter) for parameter in net.parameters())

    def test_module_is_saved_and_loaded_bit_for_bit(
        self, net: neural_networks.Net, images: torch.Tensor, device: torch.device
    ) -> None:
        """A module's saved state, loaded into another, makes it the same to the last bit."""
        other = neural_networks.Net(device=device)
        file = io.BytesIO()

        torch.save(net.state_dict(), file)
        file.seek(0)
        differed = not torch.equal(other.fc3.weight, net.fc3.weight)
        other.load_state_dict(torch.load(file, weights_only=True))

        assert differed
        assert list(net.state_dict()) == PARAMETERS
        assert all(map(torch.equal, other.parameters(), net.parameters()))
        assert_close(other(images), net(images))

    def test_buffers_are_saved_and_loaded_with_the_parameters(self, device: torch.device) -> None:
        """A module's buffers, such as BatchNorm's statistics, are saved and loaded as well."""
        norm, other = nn.BatchNorm1d(2).to(device), nn.BatchNorm1d(2).to(device)
        norm(torch.tensor([[1.0, 2.0], [3.0, 8.0]], device=device))
        file = io.BytesIO()

        torch.save(norm.state_dict(), file)
        file.seek(0)
        state = torch.load(file, weights_only=True)
        other.load_state_dict(state)

        assert other.running_mean.tolist() == pytest.approx([0.2, 0.5])
        assert other.num_batches_tracked.item() == 1
        assert state["num_batches_tracked"].dtype == torch.int64

    def test_module_is_exported_to_a_program_without_its_class(self) -> None:
        """An exported module is a program that computes the same without the module's class."""
        layer = nn.Linear(2, 1)
        x, other = torch.tensor([[1.0, 2.0]]), torch.tensor([[-3.0, 0.5]])

        exported = torch.export.export(layer, (x,), strict=False).module()

        assert not any(isinstance(part, nn.Linear) for part in exported.modules())
        assert_close(exported(other), layer(other))
        assert names_in(exported) == ["weight", "bias"]

    def test_assigned_parameter_is_registered(self, device: torch.device) -> None:
        """A Parameter assigned to a module is one of its parameters until it is deleted.

        So are a single number and one that requires no grad.
        """
        module = Holder()

        module.weight = nn.Parameter(torch.zeros(2, device=device))
        module.scale = nn.Parameter(torch.tensor(1.0, device=device))
        module.frozen = nn.Parameter(torch.zeros(2, device=device), requires_grad=False)
        module.layer = nn.Linear(1, 1, device=device)
        registered = names_in(module)
        del module.weight

        assert registered == ["weight", "scale", "frozen", "layer.weight", "layer.bias"]
        assert names_in(module) == ["scale", "frozen", "layer.weight", "layer.bias"]

    def test_tensor_and_lists_are_not_registered(self, device: torch.device) -> None:
        """A plain tensor, and parameters or layers in a Python list, are no module's parameters."""
        module = Holder()

        module.tensor = torch.zeros(2, device=device, requires_grad=True)
        module.parameters_in_a_list = [nn.Parameter(torch.zeros(2, device=device))]
        module.layers_in_a_list = [nn.Linear(1, 1, device=device)]
        unregistered = names_in(module)
        module.layers = nn.ModuleList(module.layers_in_a_list)

        assert unregistered == []
        assert names_in(module) == ["layers.0.weight", "layers.0.bias"]

    def test_plain_tensor_cannot_take_the_place_of_a_parameter(self, device: torch.device) -> None:
        """A parameter can be replaced by a Parameter or by None, but not by a plain tensor."""
        module = nn.Linear(1, 1, device=device)
        module.weight = nn.Parameter(torch.full((1, 1), 2.0, device=device))

        with pytest.raises(TypeError, match="as parameter 'weight'"):
            module.weight = torch.zeros(1, 1, device=device)
        assert module.weight.tolist() == [[2.0]]

    def test_parameter_of_whole_numbers_is_refused(self, device: torch.device) -> None:
        """A Parameter requires grad by itself, and so cannot hold whole numbers."""
        assert nn.Parameter(torch.zeros(2, device=device)).requires_grad

        with pytest.raises(RuntimeError, match="floating point and complex dtype can require grad"):
            nn.Parameter(torch.zeros(2, dtype=torch.int64, device=device))

    def test_tied_parameter_counts_once(self, device: torch.device) -> None:
        """A parameter that two layers share is one of the module's parameters once."""
        module = Holder()
        module.first = nn.Linear(2, 2, bias=False, device=device)
        module.second = nn.Linear(2, 2, bias=False, device=device)
        untied = names_in(module)

        module.second.weight = module.first.weight

        assert untied == ["first.weight", "second.weight"]
        assert names_in(module) == ["first.weight"]

    def test_function_defines_forward_and_backward_of_an_operation(
        self, device: torch.device
    ) -> None:
        """An autograd.Function computes its own forward, and its own backward as the gradient."""
        x = torch.tensor([1.0, -2.0, 0.5], device=device, requires_grad=True)

        y = neural_networks.cube(x)
        y.backward(torch.tensor([1.0, 10.0, 100.0], device=device))

        assert y.tolist() == [1.0, -8.0, 0.125]
        assert x.grad.tolist() == [3.0, 120.0, 75.0]
        assert type(y.grad_fn).__name__ == "CubeBackward"

    def test_function_hands_each_of_its_inputs_a_gradient(self, device: torch.device) -> None:
        """A Function returns a gradient for each input, None for one that is no tensor."""

        class ScaledProduct(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, a: torch.Tensor, b: torch.Tensor, factor: float) -> torch.Tensor:
                ctx.save_for_backward(a, b)
                ctx.factor = factor
                return a * b * factor

            @staticmethod
            def backward(ctx: Any, grad_output: torch.Tensor) -> tuple[Any, Any, None]:
                a, b = ctx.saved_tensors
                return grad_output * b * ctx.factor, grad_output * a * ctx.factor, None

        a = torch.tensor([3.0, -1.0], device=device, requires_grad=True)
        b = torch.tensor([0.5, 4.0], device=device, requires_grad=True)

        ScaledProduct.apply(a, b, 2.0).backward(torch.tensor([1.0, 10.0], device=device))

        assert a.grad.tolist() == [1.0, 80.0]
        assert b.grad.tolist() == [6.0, -20.0]

    def test_backward_of_a_function_is_taken_at_its_word(self, device: torch.device) -> None:
        """Autograd hands on what a Function's backward returns, even where it is wrong."""

        class Liar(neural_networks.Cube):
            @staticmethod
            def backward(ctx: Any, grad_output: torch.Tensor) -> torch.Tensor:
                return grad_output * 7

        x = torch.tensor([1.0, -2.0], device=device, requires_grad=True)

        Liar.apply(x).sum().backward()

        assert x.grad.tolist() == [7.0, 7.0]

    @pytest.mark.on("cpu")
    def test_gradcheck_accepts_a_right_backward_and_refuses_a_wrong_one(
        self, device: torch.device
    ) -> None:
        """Compared with differences, a right backward passes gradcheck and a wrong one fails."""
        x = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64, device=device, requires_grad=True)

        def half_differentiated(x: torch.Tensor) -> torch.Tensor:
            return neural_networks.cube(x.detach()) + neural_networks.cube(x)

        assert torch.autograd.gradcheck(neural_networks.cube, x)
        with pytest.raises(GradcheckError, match="Jacobian mismatch"):
            torch.autograd.gradcheck(half_differentiated, x)

    @pytest.mark.parametrize(
        ("operation", "node"),
        [
            pytest.param(lambda x: x + 1, "AddBackward0", id="add"),
            pytest.param(lambda x: x * x, "MulBackward0", id="mul"),
            pytest.param(lambda x: x @ x, "MmBackward0", id="matmul"),
            pytest.param(lambda x: x.sum(), "SumBackward0", id="sum"),
            pytest.param(lambda x: x.exp(), "ExpBackward0", id="exp"),
            pytest.param(lambda x: x.view(4), "ViewBackward0", id="view"),
            pytest.param(lambda x: torch.cat([x, x]), "CatBackward0", id="cat"),
        ],
    )
    def test_tracked_operation_makes_a_node_that_leads_back(
        self, device: torch.device, operation: Callable[..., Any], node: str
    ) -> None:
        """A tracked operation makes a node for its result, which leads back to its inputs."""
        x = torch.ones(2, 2, device=device, requires_grad=True)

        recorded = graph.of(operation(x))

        assert recorded.root.name == node
        assert [id(leaf) for leaf in recorded.leaves()] == [id(x)]

    def test_one_operation_may_make_several_nodes(self, device: torch.device) -> None:
        """One call of einsum makes several nodes."""
        x = torch.ones(2, 2, device=device, requires_grad=True)

        made = graph.of(torch.einsum("ij,jk->ik", x, x)).names()

        assert len([name for name in made if name != "AccumulateGrad"]) > 1

    def test_untracked_operation_makes_no_node(self, device: torch.device) -> None:
        """An operation on tensors that do not require grad, or under no_grad, makes no node."""
        x = torch.ones(2, 2, device=device, requires_grad=True)
        with torch.no_grad():
            unrecorded = x * x

        assert (x * x).grad_fn is not None
        assert (x.detach() * 2).grad_fn is None
        assert unrecorded.grad_fn is None


LN2 = math.log(2)
#: Loss, its settings, output, target, and the value worked out by hand.
LOSSES = [
    ("L1Loss", {}, [1.0, 2.0], [3.0, 5.0], 2.5),
    ("MSELoss", {}, [1.0, 2.0], [3.0, 5.0], 6.5),
    ("SmoothL1Loss", {}, [1.0, 2.0], [1.5, 5.0], (0.125 + 2.5) / 2),
    ("HuberLoss", {"delta": 2.0}, [1.0, 2.0], [1.5, 5.0], (0.125 + 4.0) / 2),
    ("BCELoss", {}, [0.25, 0.5], [0.0, 1.0], (math.log(4 / 3) + LN2) / 2),
    ("BCEWithLogitsLoss", {}, [0.0, 2.0], [1.0, 0.0], (LN2 + math.log(1 + math.e**2)) / 2),
    ("SoftMarginLoss", {}, [0.0, 2.0], [1.0, -1.0], (LN2 + math.log(1 + math.e**2)) / 2),
    ("PoissonNLLLoss", {}, [0.0, 1.0], [2.0, 3.0], (1 + math.e - 3) / 2),
    ("HingeEmbeddingLoss", {}, [0.5, 0.25], [1.0, -1.0], (0.5 + 0.75) / 2),
    (
        *("KLDivLoss", {"reduction": "batchmean"}, [[-LN2, -LN2]], [[0.25, 0.75]]),
        0.25 * math.log(0.25 / 0.5) + 0.75 * math.log(0.75 / 0.5),
    ),
    ("NLLLoss", {}, [[-1.0, -2.0], [-0.5, -4.0]], [1, 0], (2 + 0.5) / 2),
    ("CrossEntropyLoss", {}, [[0.0, 1.0]], [0], math.log(1 + math.e)),
]

LOSS_CLASSES = [
    *("L1Loss", "NLLLoss", "PoissonNLLLoss", "GaussianNLLLoss", "KLDivLoss", "MSELoss"),
    *("BCELoss", "BCEWithLogitsLoss", "HingeEmbeddingLoss", "MultiLabelMarginLoss"),
    *("SmoothL1Loss", "HuberLoss", "SoftMarginLoss", "CrossEntropyLoss", "MultiMarginLoss"),
    *("MultiLabelSoftMarginLoss", "CosineEmbeddingLoss", "MarginRankingLoss", "CTCLoss"),
    *("TripletMarginLoss", "TripletMarginWithDistanceLoss", "AdaptiveLogSoftmaxWithLoss"),
]


class TestLossFunction:
    @pytest.mark.parametrize(
        ("name", "settings", "output", "target", "expected"),
        [pytest.param(*row, id=row[0]) for row in LOSSES],
    )
    def test_loss_takes_output_and_target_and_gives_one_number(
        self,
        device: torch.device,
        name: Any,
        settings: Any,
        output: Any,
        target: Any,
        expected: Any,
    ) -> None:
        """A loss takes an output and a target and gives a single number."""
        output = torch.tensor(output, device=device)
        target = torch.tensor(target, device=device)

        loss = getattr(nn, name)(**settings)(output, target)

        assert loss.shape == ()
        assert loss.device == device
        assert_close(loss, torch.tensor(expected, device=device))

    def test_loss_grows_with_the_distance(self, device: torch.device) -> None:
        """The squared error is zero where output and target agree, and grows as they part."""
        target = torch.tensor([1.0, -2.0], device=device)
        criterion = nn.MSELoss()

        losses = [criterion(target + shift, target).item() for shift in (0, 1, 2, -3)]

        assert losses == [0.0, 1.0, 4.0, 9.0]

    def test_loss_of_an_output_alone_is_refused(self, device: torch.device) -> None:
        """A loss refuses an output without a target."""
        output = torch.zeros(2, device=device)

        assert nn.MSELoss()(output, output) == 0
        with pytest.raises(TypeError, match="missing 1 required positional argument: 'target'"):
            nn.MSELoss()(output)

    def test_nn_offers_many_losses(self) -> None:
        """The package torch.nn offers at least 22 loss functions, each of them a module."""
        losses = [getattr(nn, name) for name in LOSS_CLASSES]

        assert len(set(losses)) == 22
        assert all(issubclass(loss, nn.Module) for loss in losses)

    def test_mse_loss_is_the_mean_of_the_squared_differences(self, device: torch.device) -> None:
        """MSELoss is the mean of the squared differences, over the batch and the outputs."""
        output = torch.tensor([[1.0, 2.0], [0.0, 5.0]], device=device)
        target = torch.tensor([[3.0, 2.0], [0.0, 8.0]], device=device)

        assert nn.MSELoss()(output, target).item() == 3.25  # (4 + 0 + 0 + 9) / 4
        assert neural_networks.mean_squared_error(output, target).item() == 3.25
        assert nn.MSELoss()(output[:1], target[:1]).item() == 2.0

    def test_mse_loss_agrees_with_the_formula_on_the_network(
        self,
        net: neural_networks.Net,
        images: torch.Tensor,
        target: torch.Tensor,
        device: torch.device,
    ) -> None:
        """On the network's output MSELoss gives what the formula gives in NumPy."""
        output = net(images)
        o, t = output.detach().cpu().numpy(), target.cpu().numpy()

        expected = torch.tensor(np.mean((o - t) ** 2), device=device)

        assert_close(nn.MSELoss()(output, target), expected)
        assert_close(neural_networks.mean_squared_error(output, target), expected)

    def test_gradient_of_mse_loss_is_twice_the_mean_difference(self, device: torch.device) -> None:
        """The gradient of MSELoss is 2 (output - target) / N, and its opposite for the target."""
        output = torch.tensor([1.0, 2.0, 0.0, 5.0], device=device, requires_grad=True)
        target = torch.tensor([3.0, 2.0, 0.0, 4.0], device=device, requires_grad=True)

        nn.MSELoss()(output, target).backward()

        assert output.grad.tolist() == [-1.0, 0.0, 0.0, 0.5]
        assert target.grad.tolist() == [1.0, 0.0, 0.0, -0.5]

    def test_mse_loss_can_sum_or_keep_the_squares(self, device: torch.device) -> None:
        """MSELoss sums the squares with reduction="sum" and keeps them apart with "none"."""
        output = torch.tensor([1.0, 2.0], device=device)
        target = torch.tensor([3.0, 5.0], device=device)

        assert nn.MSELoss(reduction="sum")(output, target).item() == 13.0
        assert nn.MSELoss(reduction="none")(output, target).tolist() == [4.0, 9.0]

    def test_target_is_viewed_in_the_shape_of_the_output(
        self, net: neural_networks.Net, device: torch.device
    ) -> None:
        """Ten values viewed as a (1, 10) target pair with the output, and are not copied."""
        output = net(neural_networks.random_images(device=device))
        values = torch.randn(10, device=device)

        target = neural_networks.target_for(output, values)
        values[3] = 7

        assert target.shape == output.shape == (1, 10)
        assert target[0, 3] == 7
        assert torch.equal(target[0], values)

    def test_target_of_another_shape_is_warned_of_and_broadcast(self, device: torch.device) -> None:
        """A target of another shape is broadcast with a warning, and the loss is of wrong pairs."""
        values = torch.arange(10.0, device=device)
        column = values.view(10, 1)

        with pytest.warns(UserWarning, match="Using a target size .* that is different"):
            loss = nn.MSELoss()(column, values)

        assert loss.item() == 16.5  # every value with every other; 0 is right
        assert nn.MSELoss()(column, values.view(10, 1)).item() == 0.0

    def test_target_of_another_length_is_refused(self, device: torch.device) -> None:
        """A target of nine values for ten outputs is warned of and then refused."""
        output = torch.zeros(1, 10, device=device)

        with (
            pytest.warns(UserWarning, match="Using a target size .* that is different"),
            pytest.raises(RuntimeError, match=r"size of tensor a \(10\) must match .* b \(9\)"),
        ):
            nn.MSELoss()(output, torch.zeros(1, 9, device=device))

    @pytest.mark.changed(since="1.10", text="The printed loss ends in grad_fn=<MseLossBackward>.")
    def test_printed_loss_is_one_number_with_its_node(
        self, net: neural_networks.Net, images: torch.Tensor, target: torch.Tensor
    ) -> None:
        """A printed loss is one number, made by a node named MseLossBackward0."""
        loss = nn.MSELoss()(net(images), target)

        assert re.fullmatch(
            r"tensor\(\d\.\d{4},( device='.+',)? grad_fn=<MseLossBackward0>\)", str(loss)
        )

    def test_graph_leads_from_the_loss_to_the_input(
        self, net: neural_networks.Net, images: torch.Tensor, target: torch.Tensor
    ) -> None:
        """Followed back from the loss, the graph names every stage down to the input."""
        loss = nn.MSELoss()(net(images), target)

        assert graph.of(loss).root.nested() == (
            "MseLoss("  # of the output and the target, which is not tracked
            "Addmm(Leaf, Relu("  # fc3: bias, input, weight transposed
            "Addmm(Leaf, Relu("  # fc2
            "Addmm(Leaf, View("  # fc1
            "MaxPool2DWithIndices(Relu(Convolution("  # conv2: input, weight, bias
            "MaxPool2DWithIndices(Relu(Convolution("  # conv1
            "None, Leaf, Leaf))), Leaf, Leaf))))"
            ", T(Leaf))), T(Leaf))), T(Leaf)), None)"
        )

    def test_leaves_of_the_graph_are_the_parameters(
        self, net: neural_networks.Net, images: torch.Tensor, target: torch.Tensor
    ) -> None:
        """The leaves of the graph are the ten parameters, each behind the layer it belongs to."""
        loss = nn.MSELoss()(net(images), target)
        fc3 = graph.of(loss).root.inputs[0]

        leaves = graph.of(loss).leaves()

        assert {id(leaf) for leaf in leaves} == {id(parameter) for parameter in net.parameters()}
        assert len(leaves) == 10
        assert fc3.inputs[0].leaf is net.fc3.bias
        assert fc3.inputs[2].inputs[0].leaf is net.fc3.weight

    def test_backward_fills_the_gradient_of_every_leaf(
        self, net: neural_networks.Net, images: torch.Tensor, target: torch.Tensor
    ) -> None:
        """The loss's backward reaches every parameter, and the input where it requires grad."""
        images.requires_grad_()

        nn.MSELoss()(net(images), target).backward()

        filled = neural_networks.gradients(net)
        assert list(filled) == PARAMETERS
        assert all(gradient.abs().sum() > 0 for gradient in filled.values())
        assert images.grad.shape == images.shape
        assert images.grad.abs().sum() > 0

    def test_tensor_in_between_keeps_no_gradient(
        self, net: neural_networks.Net, images: torch.Tensor, target: torch.Tensor
    ) -> None:
        """A tensor in between has no gradient after backward, and asking for it warns."""
        hidden = net.stages(images)["fc2"]

        nn.MSELoss()(net.fc3(hidden), target).backward()

        assert hidden.requires_grad
        with pytest.warns(UserWarning, match="that is not a leaf Tensor"):
            assert hidden.grad is None

    def test_tensor_in_between_keeps_its_gradient_when_told_to(self, device: torch.device) -> None:
        """After retain_grad() a tensor in between keeps its gradient."""
        x = torch.tensor([1.0, 2.0], device=device, requires_grad=True)
        doubled = 2 * x
        doubled.retain_grad()

        nn.MSELoss()(doubled, torch.tensor([0.0, 5.0], device=device)).backward()

        assert doubled.grad.tolist() == [2.0, -1.0]
        assert x.grad.tolist() == [4.0, -2.0]

    def test_target_gets_no_gradient(
        self, net: neural_networks.Net, images: torch.Tensor, target: torch.Tensor
    ) -> None:
        """A target that does not require grad gets none."""
        nn.MSELoss()(net(images), target).backward()

        assert target.grad is None

    @pytest.mark.mistaken(text="The third node printed is the ReLU before the last layer.")
    def test_first_steps_back_are_loss_linear_and_a_bias(
        self, net: neural_networks.Net, images: torch.Tensor, target: torch.Tensor
    ) -> None:
        """Two steps back along first inputs lead from the loss to fc3, then to its bias."""
        first = nn.MSELoss()(net(images), target).grad_fn
        second = first.next_functions[0][0]
        third = second.next_functions[0][0]

        assert [node.name().split("::")[-1] for node in (first, second, third)] == [
            "MseLossBackward0",
            "AddmmBackward0",
            "AccumulateGrad",
        ]
        assert third.variable is net.fc3.bias

    def test_relu_is_the_second_input_of_the_linear_node(
        self, net: neural_networks.Net, images: torch.Tensor, target: torch.Tensor
    ) -> None:
        """The linear node's inputs are its bias, the ReLU before it and its transposed weight."""
        linear = nn.MSELoss()(net(images), target).grad_fn.next_functions[0][0]

        _, (relu, _), (transposed, _) = linear.next_functions

        assert relu.name() == "ReluBackward0"
        assert transposed.name() == "TBackward0"
        assert transposed.next_functions[0][0].variable is net.fc3.weight


class TestBackprop:
    def test_gradients_add_up_until_they_are_cleared(
        self, net: neural_networks.Net, images: torch.Tensor, target: torch.Tensor
    ) -> None:
        """A second backward adds its gradients to those of the first."""
        criterion = nn.MSELoss()

        _, once = neural_networks.gradients_before_and_after(net, criterion(net(images), target))
        before, twice = neural_networks.gradients_before_and_after(
            net, criterion(net(images), target)
        )

        assert all(torch.equal(before[name], once[name]) for name in PARAMETERS)
        assert_close(twice, {name: 2 * gradient for name, gradient in once.items()})

    @pytest.mark.parametrize("to_none", [True, False], ids=["to None", "to zeros"])
    def test_cleared_gradients_start_afresh(
        self, net: neural_networks.Net, images: torch.Tensor, target: torch.Tensor, to_none: bool
    ) -> None:
        """After the gradients are cleared, backward gives those of its own loss only."""
        criterion = nn.MSELoss()
        _, once = neural_networks.gradients_before_and_after(net, criterion(net(images), target))

        neural_networks.clear_gradients(net, to_none=to_none)
        _, again = neural_networks.gradients_before_and_after(net, criterion(net(images), target))

        assert_close(again, once)

    @pytest.mark.changed(since="2.0", text="net.zero_grad() fills the gradient buffers with zeros.")
    def test_zero_grad_drops_the_gradients(
        self, net: neural_networks.Net, images: torch.Tensor
    ) -> None:
        """A net's zero_grad() sets its gradients to None; the dropped buffers keep their values."""
        neural_networks.propagate_random_gradient(net, images)
        buffers = [parameter.grad for parameter in net.parameters()]
        values = copies_of(buffers)
        net.conv1.requires_grad_(False)  # frozen since: its gradients are cleared as well

        net.zero_grad()

        assert [parameter.grad for parameter in net.parameters()] == [None] * 10
        assert not net.conv1.weight.requires_grad
        assert all(map(torch.equal, buffers, values))
        assert all(buffer.abs().sum() > 0 for buffer in buffers)

    def test_zero_grad_can_fill_the_gradients_with_zeros(
        self, net: neural_networks.Net, images: torch.Tensor
    ) -> None:
        """With set_to_none=False zero_grad() keeps the buffers and fills them with zeros."""
        neural_networks.propagate_random_gradient(net, images)
        buffers = [parameter.grad for parameter in net.parameters()]

        net.zero_grad(set_to_none=False)

        assert all(
            parameter.grad is kept
            for parameter, kept in zip(net.parameters(), buffers, strict=True)
        )
        assert [buffer.count_nonzero().item() for buffer in buffers] == [0] * 10

    @pytest.mark.parametrize("to_none", [True, False], ids=["to None", "to zeros"])
    def test_fresh_network_has_no_gradients_to_clear(
        self, net: neural_networks.Net, to_none: bool
    ) -> None:
        """On a fresh network every gradient is None, before and after clearing."""
        fresh = neural_networks.gradients(net)

        neural_networks.clear_gradients(net, to_none=to_none)

        assert fresh == neural_networks.gradients(net) == dict.fromkeys(PARAMETERS)

    @pytest.mark.changed(since="2.0", text="conv1.bias.grad prints six zeros before backward.")
    def test_bias_gradient_before_backward_is_none(
        self, net: neural_networks.Net, images: torch.Tensor, target: torch.Tensor
    ) -> None:
        """Once cleared, the gradient of conv1's bias is None until backward."""
        neural_networks.propagate_random_gradient(net, images)
        neural_networks.clear_gradients(net)

        before, after = neural_networks.gradients_before_and_after(
            net, nn.MSELoss()(net(images), target)
        )

        assert str(before["conv1.bias"]) == "None"
        assert after["conv1.bias"] is not None

    def test_bias_gradient_before_backward_can_be_six_zeros(
        self, net: neural_networks.Net, images: torch.Tensor
    ) -> None:
        """Filled with zeros, the gradient of conv1's bias prints as six zeros."""
        neural_networks.propagate_random_gradient(net, images)

        neural_networks.clear_gradients(net, to_none=False)

        printed = str(neural_networks.gradients(net)["conv1.bias"].cpu())
        assert printed == "tensor([0., 0., 0., 0., 0., 0.])"

    def test_bias_gradient_after_backward_is_six_slopes(
        self, net: neural_networks.Net, images: torch.Tensor, target: torch.Tensor
    ) -> None:
        """After backward the gradient of conv1's bias is the loss's slope along each of its six."""
        _, after = neural_networks.gradients_before_and_after(
            net, nn.MSELoss()(net(images), target)
        )

        measured = [slope(net, images, target, "conv1.bias", index) for index in range(6)]
        assert after["conv1.bias"].shape == (6,)
        assert after["conv1.bias"].count_nonzero() == 6
        # float32 gradients against differences of two losses in float64
        assert_close(after["conv1.bias"].tolist(), measured, rtol=1e-4, atol=1e-6)


def parameter_with_gradient(
    device: torch.device, dtype: torch.dtype = torch.float32
) -> nn.Parameter:
    """A parameter [1, -2, 3] with the gradient [0.5, 4, -1]."""
    parameter = nn.Parameter(torch.tensor([1.0, -2.0, 3.0], dtype=dtype, device=device))
    parameter.grad = torch.tensor([0.5, 4.0, -1.0], dtype=dtype, device=device)
    return parameter


#: A bowl: the gradient at w is CURVATURE * w + TILT. The last number's is as small as Adam's eps.
START = np.array([1.0, -2.0, 3.0, 0.5])
CURVATURE = np.array([2.0, 0.5, 1.0, 0.0])
TILT = np.array([0.3, -1.0, 0.0, 1e-8])


def gradient_of_bowl(w: np.ndarray) -> np.ndarray:
    return CURVATURE * w + TILT


def textbook_sgd(w: np.ndarray, steps: int, lr: float) -> np.ndarray:
    """w <- w - lr g."""
    for _ in range(steps):
        w = w - lr * gradient_of_bowl(w)
    return w


def textbook_momentum(w: np.ndarray, steps: int, lr: float, momentum: float) -> np.ndarray:
    """v <- momentum v + g, w <- w - lr v."""
    v = np.zeros_like(w)
    for _ in range(steps):
        v = momentum * v + gradient_of_bowl(w)
        w = w - lr * v
    return w


def textbook_nesterov(w: np.ndarray, steps: int, lr: float, momentum: float) -> np.ndarray:
    """v <- momentum v + g, w <- w - lr (g + momentum v)."""
    v = np.zeros_like(w)
    for _ in range(steps):
        g = gradient_of_bowl(w)
        v = momentum * v + g
        w = w - lr * (g + momentum * v)
    return w


def textbook_adam(
    w: np.ndarray, steps: int, lr: float, beta1: float, beta2: float, eps: float
) -> np.ndarray:
    """w <- w - lr m / (sqrt(v) + eps), with bias-corrected means m of g and v of g squared."""
    m = v = np.zeros_like(w)
    for step in range(1, steps + 1):
        g = gradient_of_bowl(w)
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        w = w - lr * (m / (1 - beta1**step)) / (np.sqrt(v / (1 - beta2**step)) + eps)
    return w


def textbook_rmsprop(w: np.ndarray, steps: int, lr: float, alpha: float, eps: float) -> np.ndarray:
    """s <- alpha s + (1 - alpha) g squared, w <- w - lr g / (sqrt(s) + eps)."""
    s = np.zeros_like(w)
    for _ in range(steps):
        g = gradient_of_bowl(w)
        s = alpha * s + (1 - alpha) * g**2
        w = w - lr * g / (np.sqrt(s) + eps)
    return w


def descend(
    rule: str, settings: dict[str, Any], steps: int, dtype: torch.dtype, device: torch.device
) -> list[float]:
    """Where torch's rule gets to in the bowl."""
    w = nn.Parameter(torch.tensor(START, dtype=dtype, device=device))
    curvature = torch.tensor(CURVATURE, dtype=dtype, device=device)
    tilt = torch.tensor(TILT, dtype=dtype, device=device)
    optimizer = neural_networks.optimizer(rule, [w], **settings)
    for _ in range(steps):
        optimizer.zero_grad()
        (curvature * w * w / 2 + tilt * w).sum().backward()
        optimizer.step()
    assert w.device == device
    return w.tolist()


RULES = {
    "SGD": ("SGD", {}, textbook_sgd(START, 6, lr=0.01)),
    "SGD with momentum": ("SGD", {"momentum": 0.9}, textbook_momentum(START, 6, 0.01, 0.9)),
    "Nesterov": ("Nesterov", {}, textbook_nesterov(START, 6, 0.01, 0.9)),
    "Adam": ("Adam", {}, textbook_adam(START, 6, 0.001, 0.9, 0.999, 1e-8)),
    "RMSprop": ("RMSprop", {}, textbook_rmsprop(START, 6, 0.01, 0.99, 1e-8)),
}


class TestUpdateTheWeights:
    def test_update_takes_learning_rate_times_gradient_off_the_weight(
        self, device: torch.device
    ) -> None:
        """The simplest update takes the learning rate times the gradient off every weight."""
        parameter = parameter_with_gradient(device)

        neural_networks.update_by_hand([parameter], learning_rate=0.25)

        assert parameter.tolist() == [0.875, -3.0, 3.25]
        assert parameter.grad.tolist() == [0.5, 4.0, -1.0]

    def test_update_of_the_network_is_exact_in_every_parameter(
        self, net: neural_networks.Net, images: torch.Tensor
    ) -> None:
        """Every parameter of the network moves by exactly 0.01 times its gradient."""
        neural_networks.propagate_random_gradient(net, images)
        expected = [
            p.detach().cpu().numpy() - np.float32(0.01) * p.grad.cpu().numpy()
            for p in net.parameters()
        ]

        neural_networks.update_by_hand(net.parameters())

        updated = [parameter.detach().cpu().numpy() for parameter in net.parameters()]
        assert all(map(np.array_equal, updated, expected))

    def test_update_through_data_equals_the_update_under_no_grad(
        self, device: torch.device
    ) -> None:
        """Updating f.data gives, bit for bit, what updating f under no_grad gives."""
        weights, gradient = torch.randn(2, 1000, device=device)
        one, other = nn.Parameter(weights.clone()), nn.Parameter(weights.clone())
        one.grad, other.grad = gradient.clone(), gradient.clone()

        neural_networks.update_data_by_hand([one], learning_rate=0.01)
        neural_networks.update_by_hand([other], learning_rate=0.01)

        assert torch.equal(one, other)
        assert_close(one.detach(), weights - gradient / 100)

    def test_update_by_hand_agrees_with_sgd(self, device: torch.device) -> None:
        """The update by hand agrees with optim.SGD up to rounding."""
        by_hand, by_sgd = parameter_with_gradient(device), parameter_with_gradient(device)

        neural_networks.update_data_by_hand([by_hand], learning_rate=0.1)
        neural_networks.optimizer("SGD", [by_sgd], lr=0.1).step()

        assert_close(by_hand, by_sgd)
        assert_close(by_hand.tolist(), [0.95, -2.4, 3.1])

    def test_parameter_changed_in_place_is_refused(self, device: torch.device) -> None:
        """A parameter cannot be changed in place while autograd is recording."""
        parameter = parameter_with_gradient(device)

        with pytest.raises(RuntimeError, match=r"leaf Variable that requires grad .* in-place"):
            parameter.sub_(parameter.grad)
        parameter.data.sub_(parameter.grad)
        assert parameter.tolist() == [0.5, -6.0, 4.0]

    def test_update_before_any_backward_is_refused(self, device: torch.device) -> None:
        """Before backward a parameter has no gradient to take .data of."""
        parameter = nn.Parameter(torch.ones(2, device=device))

        with pytest.raises(AttributeError, match="'NoneType' object has no attribute 'data'"):
            parameter.data.sub_(parameter.grad.data)
        parameter.sum().backward()
        neural_networks.update_data_by_hand([parameter], learning_rate=0.5)
        assert parameter.tolist() == [0.5, 0.5]

    def test_rebinding_the_name_updates_nothing(
        self, net: neural_networks.Net, images: torch.Tensor
    ) -> None:
        """Writing p = p - lr * p.grad makes a new tensor and leaves the network as it was."""
        neural_networks.propagate_random_gradient(net, images)
        before = copies_of(net.parameters())

        parameter = net.conv1.bias
        parameter = parameter - 0.1 * parameter.grad

        assert not torch.equal(parameter, net.conv1.bias)
        assert all(map(torch.equal, net.parameters(), before))

    def test_data_hides_the_change_from_autograd(self, device: torch.device) -> None:
        """A change through .data makes a later backward wrong in silence; no_grad makes it fail."""
        hidden, seen = parameter_with_gradient(device), parameter_with_gradient(device)
        squares, seen_squares = hidden * hidden, seen * seen

        neural_networks.update_data_by_hand([hidden], learning_rate=1.0)
        neural_networks.update_by_hand([seen], learning_rate=1.0)
        (gradient,) = torch.autograd.grad(squares.sum(), hidden)

        assert gradient.tolist() == [1.0, -12.0, 8.0]  # of the new values; [2, -4, 6] is right
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            seen_squares.sum().backward()

    @pytest.mark.parametrize(("rule", "settings", "expected"), RULES.values(), ids=RULES)
    def test_optimizer_follows_its_textbook_rule(
        self, device: torch.device, rule: Any, settings: Any, expected: Any
    ) -> None:
        """Six steps of each optimizer lead where the textbook's recurrence leads."""
        assert_close(descend(rule, settings, 6, torch.float32, device), expected.tolist())

    @pytest.mark.on("cpu")
    @pytest.mark.parametrize(("rule", "settings", "expected"), RULES.values(), ids=RULES)
    def test_optimizer_follows_its_textbook_rule_to_the_last_digits(
        self, device: torch.device, rule: Any, settings: Any, expected: Any
    ) -> None:
        """In float64 each optimizer agrees with its recurrence to twelve digits."""
        reached = descend(rule, settings, 6, torch.float64, device)

        assert_close(reached, expected.tolist(), rtol=1e-12, atol=1e-12)

    @pytest.mark.parametrize(
        ("rule", "defaults"),
        [
            pytest.param(
                "SGD",
                {"lr": 0.001, "momentum": 0, "dampening": 0, "weight_decay": 0, "nesterov": False},
                id="SGD",
            ),
            pytest.param(
                "Adam",
                {
                    "lr": 0.001,
                    "betas": (0.9, 0.999),
                    "eps": 1e-8,
                    "weight_decay": 0,
                    "amsgrad": False,
                },
                id="Adam",
            ),
            pytest.param(
                "RMSprop",
                {"lr": 0.01, "alpha": 0.99, "eps": 1e-8, "momentum": 0, "weight_decay": 0},
                id="RMSprop",
            ),
        ],
    )
    def test_optimizer_has_its_documented_defaults(
        self, device: torch.device, rule: str, defaults: dict[str, Any]
    ) -> None:
        """Each optimizer needs the parameters only; its settings default to the documented ones."""
        optimizer = getattr(torch.optim, rule)([nn.Parameter(torch.ones(1, device=device))])

        assert {name: optimizer.defaults[name] for name in defaults} == defaults

    def test_nesterov_without_momentum_is_refused(self, device: torch.device) -> None:
        """Nesterov's rule needs a momentum."""
        parameters = [parameter_with_gradient(device)]
        neural_networks.optimizer("Nesterov", parameters, momentum=0.5)

        with pytest.raises(ValueError, match="Nesterov momentum requires a momentum"):
            neural_networks.optimizer("Nesterov", parameters, momentum=0)

    def test_optimizer_of_nothing_is_refused(self, device: torch.device) -> None:
        """An optimizer needs at least one parameter."""
        neural_networks.optimizer("SGD", [parameter_with_gradient(device)])

        with pytest.raises(ValueError, match="empty parameter list"):
            neural_networks.optimizer("SGD", [])

    def test_optimizer_of_a_computed_tensor_is_refused(self, device: torch.device) -> None:
        """An optimizer updates leaves, not tensors that were computed from them."""
        parameter = parameter_with_gradient(device)
        neural_networks.optimizer("SGD", [parameter])

        with pytest.raises(ValueError, match="can't optimize a non-leaf Tensor"):
            neural_networks.optimizer("SGD", [parameter * 2])

    def test_negative_learning_rate_is_refused(self, device: torch.device) -> None:
        """An optimizer takes a learning rate of 0, and none below."""
        parameters = [parameter_with_gradient(device)]
        neural_networks.optimizer("SGD", parameters, lr=0.0)

        with pytest.raises(ValueError, match="Invalid learning rate"):
            neural_networks.optimizer("SGD", parameters, lr=-0.01)

    @pytest.mark.parametrize(
        ("rule", "steps"), [("SGD", 60), ("Nesterov", 20), ("Adam", 20), ("RMSprop", 20)]
    )
    def test_training_loop_lowers_the_loss(
        self,
        net: neural_networks.Net,
        images: torch.Tensor,
        target: torch.Tensor,
        rule: str,
        steps: int,
    ) -> None:
        """Clearing, forward, loss, backward and step, over and over, lower the loss."""
        optimizer = neural_networks.optimizer(rule, net.parameters())

        losses = [
            neural_networks.training_step(net, nn.MSELoss(), optimizer, images, target).item()
            for _ in range(steps)
        ]

        assert losses[-1] < 0.9 * losses[0]

    def test_turn_of_the_loop_moves_every_weight_by_its_fresh_gradient(
        self, net: neural_networks.Net, images: torch.Tensor, target: torch.Tensor
    ) -> None:
        """A turn of the loop moves every weight by the learning rate times its fresh gradient."""
        criterion = nn.MSELoss()
        _, fresh = neural_networks.gradients_before_and_after(net, criterion(net(images), target))
        before = copies_of(net.parameters())
        optimizer = neural_networks.optimizer("SGD", net.parameters(), lr=0.1)

        loss = neural_networks.training_step(net, criterion, optimizer, images, target)

        expected = [w - 0.1 * g for w, g in zip(before, fresh.values(), strict=True)]
        assert_close(copies_of(net.parameters()), expected)
        assert_close(neural_networks.gradients(net), fresh)
        assert not loss.requires_grad

    def test_training_loop_with_learning_rate_zero_learns_nothing(
        self, net: neural_networks.Net, images: torch.Tensor, target: torch.Tensor
    ) -> None:
        """With a learning rate of 0 the training loop leaves the network as it was."""
        before = copies_of(net.parameters())
        optimizer = neural_networks.optimizer("SGD", net.parameters(), lr=0.0, momentum=0.9)

        losses = [
            neural_networks.training_step(net, nn.MSELoss(), optimizer, images, target).item()
            for _ in range(3)
        ]

        assert_close(losses, [losses[0]] * 3)
        assert all(map(torch.equal, net.parameters(), before))

    @staticmethod
    def path(device: torch.device, clears: bool) -> list[float]:
        """Where three SGD steps of rate 1 along a gradient of -1 take a weight, from 0."""
        weight = nn.Parameter(torch.zeros(1, device=device))
        optimizer = neural_networks.optimizer("SGD", [weight], lr=1.0)
        places = []
        for _ in range(3):
            if clears:
                optimizer.zero_grad()
            (-weight).sum().backward()
            optimizer.step()
            places.append(weight.item())
        return places

    def test_gradients_not_cleared_by_hand_make_steps_grow(self, device: torch.device) -> None:
        """Steps along a constant gradient are 1, 1, 1 with clearing, and 1, 2, 3 without."""
        assert self.path(device, clears=True) == [1.0, 2.0, 3.0]
        assert self.path(device, clears=False) == [1.0, 3.0, 6.0]

    @pytest.mark.changed(since="2.0", text="optimizer.zero_grad() sets the buffers to zero.")
    def test_optimizer_zero_grad_drops_the_gradients(self, device: torch.device) -> None:
        """An optimizer's zero_grad() sets the gradients to None, or to zeros when asked to."""
        dropped, zeroed = parameter_with_gradient(device), parameter_with_gradient(device)
        other = parameter_with_gradient(device)
        groups = [{"params": [dropped]}, {"params": [other]}]
        buffer = zeroed.grad

        neural_networks.optimizer("SGD", groups).zero_grad()
        neural_networks.optimizer("SGD", [zeroed]).zero_grad(set_to_none=False)

        assert dropped.grad is None
        assert other.grad is None
        assert zeroed.grad is buffer
        assert buffer.tolist() == [0.0, 0.0, 0.0]
