"""Chapter 3: a network is a module with parameters, and training updates them by gradients."""

import io
from functools import partial
from operator import attrgetter
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn, optim
from torch.nn.modules.module import register_module_forward_hook
from torch.testing import assert_close

from blitz import graph
from blitz.neural_networks import Cube, Net, Net5x5, train, update_weights

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def net(device: torch.device) -> Net:
    """The text's network; drawn on the cpu, so that it is the same on every device."""
    return Net().to(device)


@pytest.fixture
def images(device: torch.device) -> torch.Tensor:
    """Two random images of 32x32 pixels."""
    return torch.randn(2, 1, 32, 32).to(device)


@pytest.fixture
def target(device: torch.device) -> torch.Tensor:
    """Ten random numbers to compare with the output for each of the two images."""
    return torch.randn(2, 10).to(device)


class TestNeuralNetworks:
    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_module_holds_layers_and_its_forward_computes_the_output(
        self, net: Net, images: torch.Tensor, device: torch.device
    ) -> None:
        """A module holds its layers by name, and its forward makes an output of the input."""
        output = net(images)

        assert list(dict(net.named_children())) == ["conv1", "conv2", "fc1", "fc2", "fc3"]
        assert output.shape == (2, 10)
        assert output.device == device

    def test_input_passes_the_layers_one_after_another(
        self, net: Net, images: torch.Tensor
    ) -> None:
        """In a feed-forward network the input passes every layer once, in order."""
        passed = []

        with register_module_forward_hook(lambda module, *_: passed.append(module)):
            net(images)

        assert passed == [net.conv1, net.conv2, net.fc1, net.fc2, net.fc3, net]

    def test_training_recipe_lowers_the_loss(self, net: Net, device: torch.device) -> None:
        """Passing over a data set with loss, gradients and updates lowers the loss on it."""
        one, other = torch.randn(2, 1, 1, 32, 32).to(device)
        wanted = torch.ones(1, 10, device=device)
        update = partial(update_weights, net, learning_rate=0.05)

        losses = train(net, [(one, wanted), (other, -wanted)], nn.MSELoss(), update, epochs=40)

        # With 100 seeds the worst ended at 0.06 of the first loss; one image for both, at 0.91.
        assert losses[-1] < 0.5 * losses[0]


#: Where the text's listing slips, in a module of our own.
SKETCH = """
import torch.nn as nn
import torch.nn.functional as {alias}

class Sketch({package}.Module):
    def forward(self, x):
        y = F.relu(x)
{indent}return y
"""


def sketch(alias: str = "F", package: str = "nn", indent: str = "        ") -> nn.Module:
    """Make a module by running SKETCH."""
    names: dict[str, Any] = {}
    exec(SKETCH.format(alias=alias, package=package, indent=indent), names)
    made: nn.Module = names["Sketch"]()
    return made


class Freely(nn.Module):
    """Sorts in its forward, loops over numbers, and goes two ways."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        total = torch.zeros_like(x[0])
        for place, number in enumerate(x.sort().values):
            total = total + place * number
        return total * 10 if total > 0 else total


class TestDefineTheNetwork:
    @pytest.mark.mistaken(
        text="The listing has NN.Module, the functions as f and a return out of line, and runs.",
        upstream="The listing has nn.Module, the functions as F and a return in line, and runs.",
    )
    @pytest.mark.parametrize(
        ("slip", "error", "words"),
        [
            pytest.param({"indent": " " * 9}, IndentationError, "unexpected indent", id="indent"),
            pytest.param({"package": "NN"}, NameError, "name 'NN' is not defined", id="NN"),
            pytest.param({"alias": "f"}, NameError, "name 'F' is not defined", id="f"),
        ],
    )
    def test_each_slip_of_the_listing_is_an_error(self, slip: Any, error: Any, words: str) -> None:
        """An indent too many, NN for nn, and f imported where F is used are an error each."""
        x = torch.tensor([-1.0, 2.0])
        assert sketch()(x).tolist() == [0.0, 2.0]

        with pytest.raises(error, match=words):
            sketch(**slip)(x)

    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_convolutions_map_one_channel_to_six_to_sixteen(self, net: Net) -> None:
        """The convolutions map 1 channel to 6 and 6 to 16, with kernels of 3x3 and no padding."""
        assert net.conv1.weight.shape == (6, 1, 3, 3)
        assert net.conv2.weight.shape == (16, 6, 3, 3)
        assert (net.conv1.stride, net.conv1.padding) == ((1, 1), (0, 0))
        assert (net.conv2.stride, net.conv2.padding) == ((1, 1), (0, 0))

    def test_convolution_is_window_times_kernel_plus_bias(self, device: torch.device) -> None:
        """A convolution slides its kernel, unflipped, over all channels and adds the bias."""
        conv = nn.Conv2d(2, 1, 2).to(device)
        conv.weight.data = torch.tensor([[[[1.0, 2], [3, 4]], [[0, 0], [0, 10]]]], device=device)
        conv.bias.data = torch.tensor([0.5], device=device)

        maps = conv(torch.arange(12.0, device=device).view(1, 2, 2, 3))

        # 1*0 + 2*1 + 3*3 + 4*4 + 10*10 + 0.5, and the same one column on
        assert maps.tolist() == [[[[127.5, 147.5]]]]

    def test_linear_layer_computes_wx_plus_b(self, device: torch.device) -> None:
        """A linear layer makes Wx + b of a vector x."""
        layer = nn.Linear(3, 2).to(device)
        layer.weight.data = torch.tensor([[1.0, 2, 3], [4, 5, 6]], device=device)
        layer.bias.data = torch.tensor([10.0, 20], device=device)

        assert layer(torch.tensor([1.0, 0, -1], device=device)).tolist() == [8.0, 18.0]

    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_32x32_image_shrinks_to_sixteen_maps_of_6x6(
        self, net: Net, images: torch.Tensor
    ) -> None:
        """With 3x3 kernels a 32x32 image shrinks to 30, 15, 13 and then 6 pixels a side."""
        conv1 = F.relu(net.conv1(images))
        pool1 = F.max_pool2d(conv1, (2, 2))
        conv2 = F.relu(net.conv2(pool1))
        pool2 = F.max_pool2d(conv2, 2)

        assert (conv1.shape, pool1.shape) == ((2, 6, 30, 30), (2, 6, 15, 15))
        assert (conv2.shape, pool2.shape) == ((2, 16, 13, 13), (2, 16, 6, 6))
        assert net.fc1.in_features == 16 * 6 * 6

    def test_one_number_is_a_square_window(self, device: torch.device) -> None:
        """Max pooling takes the largest of each window; one number stands for a square window."""
        x = torch.tensor(
            [[[9.0, 1, -5, -2], [3, 4, -1, -8], [0, 7, 2, 2], [6, 5, 1, 3]]], device=device
        )

        assert F.max_pool2d(x, 2).tolist() == [[[9.0, -1.0], [7.0, 3.0]]]
        assert F.max_pool2d(x, (2, 2)).tolist() == [[[9.0, -1.0], [7.0, 3.0]]]

    def test_flat_features_are_all_sizes_but_the_batch(self, device: torch.device) -> None:
        """The flat features are all sizes but the batch's, multiplied; view lays them out."""
        maps = torch.arange(12, device=device).view(2, 3, 1, 2)

        features = Net().num_flat_features(maps)

        assert features == 6
        assert maps.view(-1, features).tolist() == [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]]

    def test_printed_network_is_the_one_shown(self, capsys: pytest.CaptureFixture[str]) -> None:
        """A printed network shows its layers by name, each with its sizes, and nothing else."""
        print(Net())

        assert capsys.readouterr().out == (
            "Net(\n"
            "  (conv1): Conv2d(1, 6, kernel_size=(3, 3), stride=(1, 1))\n"
            "  (conv2): Conv2d(6, 16, kernel_size=(3, 3), stride=(1, 1))\n"
            "  (fc1): Linear(in_features=576, out_features=120, bias=True)\n"
            "  (fc2): Linear(in_features=120, out_features=84, bias=True)\n"
            "  (fc3): Linear(in_features=84, out_features=10, bias=True)\n"
            ")\n"
        )

    def test_only_forward_is_written(self, net: Net, images: torch.Tensor) -> None:
        """A network has no backward method, and autograd makes a gradient for each parameter."""
        net(images).sum().backward()

        assert not hasattr(net, "backward")
        assert net.conv1.weight.grad.count_nonzero() > 0
        assert net.fc3.bias.grad.tolist() == [2.0] * 10

    def test_any_differentiable_operation_may_stand_in_forward(self, device: torch.device) -> None:
        """Sorting, a loop and a branch on data may stand in forward, and have a gradient."""
        x = torch.tensor([3.0, 1.0, 2.0], device=device, requires_grad=True)

        Freely()(x).backward()

        # 10 times the place among the sorted numbers
        assert x.grad.tolist() == [20.0, 0.0, 10.0]

    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_parameters_are_what_the_network_learns(self, net: Net) -> None:
        """A network's parameters are its layers' weights and biases, in the order of assignment."""
        convolutions = [net.conv1.weight, net.conv1.bias, net.conv2.weight, net.conv2.bias]
        linear = [net.fc1.weight, net.fc1.bias, net.fc2.weight, net.fc2.bias]
        last = [net.fc3.weight, net.fc3.bias]

        assert list(map(id, net.parameters())) == list(map(id, convolutions + linear + last))
        assert [isinstance(p, nn.Parameter) for p in net.parameters()] == [True] * 10

    def test_printed_parameters_are_ten_and_the_first_a_kernel(self, net: Net) -> None:
        """The network has ten parameters; the first is conv1's weight, of shape (6, 1, 3, 3)."""
        params = list(net.parameters())

        assert str(len(params)) == "10"
        assert str(params[0].size()) == "torch.Size([6, 1, 3, 3])"
        assert params[0] is net.conv1.weight

    def test_mnist_images_fit_once_padded(self, net: Net, device: torch.device) -> None:
        """MNIST's 28x28 images leave 400 numbers for 576; padded to 32x32 they fit the network."""
        mnist = torch.randn(1, 1, 28, 28, device=device)

        with pytest.raises(RuntimeError, match=r"cannot be multiplied \(1x400 and 576x120\)"):
            net(mnist)
        assert net(F.pad(mnist, (2, 2, 2, 2))).shape == (1, 10)

    @pytest.mark.changed(since="1.10", text="The printed output ends in grad_fn=<AddmmBackward>.")
    def test_output_is_one_row_of_ten_numbers_with_its_node(
        self, net: Net, linear_node: str, device: torch.device
    ) -> None:
        """The output for one image is a row of ten numbers, printed with a node that ends in 0."""
        input = torch.randn(1, 1, 32, 32, device=device)

        out = net(input)

        assert out.shape == (1, 10)
        # AddmmBackward0; LinearBackward0 where a backend, such as MPS, has a linear of its own
        assert str(out).endswith(f" grad_fn=<{linear_node}>)")

    def test_random_gradient_is_propagated_back_from_the_output(
        self, net: Net, device: torch.device
    ) -> None:
        """A random gradient given to one image's output arrives at the last bias as it is."""
        out = net(torch.randn(1, 1, 32, 32, device=device))
        gradient = torch.randn(1, 10, device=device)

        net.zero_grad()
        out.backward(gradient)

        assert_close(net.fc3.bias.grad, gradient[0])

    @pytest.mark.mistaken(text="All of torch.nn takes mini-batches only, and no single sample.")
    def test_layers_take_a_single_sample(self, device: torch.device) -> None:
        """Pooling, linear layers and, since torch 1.11, convolutions take a single sample."""
        image = torch.randn(1, 32, 32, device=device)

        assert nn.MaxPool2d(2)(image).shape == (1, 16, 16)
        assert nn.Linear(32, 4).to(device)(image[0, 0]).shape == (4,)
        assert nn.Conv2d(1, 6, 3).to(device)(image).shape == (6, 30, 30)

    def test_network_of_the_tutorial_refuses_a_single_sample(
        self, net: Net, images: torch.Tensor
    ) -> None:
        """Given a single image, the text's net takes its 16 maps for a batch: a RuntimeError."""
        assert net(images[:1]).shape == (1, 10)

        # view makes 16 rows of 36 of the 16 maps
        with pytest.raises(RuntimeError, match=r"cannot be multiplied \(16x36 and 576x120\)"):
            net(images[0])

    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_conv2d_takes_samples_channels_height_width(self, device: torch.device) -> None:
        """Conv2d takes and gives samples x channels x height x width."""
        conv = nn.Conv2d(3, 4, (2, 3)).to(device)

        assert conv(torch.empty(2, 3, 5, 7, device=device)).shape == (2, 4, 4, 5)

    def test_unsqueeze_makes_a_batch_of_one(self, net: Net, images: torch.Tensor) -> None:
        """A single image becomes a batch of one by unsqueeze(0), which shares its memory."""
        image = images[1]

        batch = image.unsqueeze(0)
        batch[0, 0, 3, 4] = 7

        assert (image.shape, batch.shape) == ((1, 32, 32), (1, 1, 32, 32))
        assert image[0, 3, 4] == 7
        assert_close(net(batch), net(images)[1:])

    @pytest.mark.mistaken(text="Pooling the 5x5 net's first maps gives 16 channels of 14x14.")
    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_every_stage_of_the_5x5_network_has_its_shape(
        self, images: torch.Tensor, device: torch.device
    ) -> None:
        """With 5x5 kernels the maps are 6 of 28x28, 6 of 14x14, 16 of 10x10 and 16 of 5x5."""
        net = Net5x5().to(device)

        c1 = F.relu(net.conv1(images))
        s2 = F.max_pool2d(c1, (2, 2))
        c3 = F.relu(net.conv2(s2))
        s4 = F.max_pool2d(c3, 2)

        assert (c1.shape, s2.shape) == ((2, 6, 28, 28), (2, 6, 14, 14))
        assert (c3.shape, s4.shape) == ((2, 16, 10, 10), (2, 16, 5, 5))
        assert torch.flatten(s4, 1).shape == (2, 400)
        assert net(images).shape == (2, 10)


class Holder(nn.Module):
    """A module to assign things to."""


class TestRecap:
    @pytest.mark.mistaken(
        text="A tensor supports automatic programming, such as backward().",
        upstream="A tensor supports automatic differentiation, such as backward().",
    )
    def test_backward_of_a_tensor_differentiates(self, device: torch.device) -> None:
        """A tensor's backward() differentiates: of x³ at 5 it makes 75."""
        x = torch.tensor(5.0, device=device, requires_grad=True)

        (x * x * x).backward()

        assert x.grad == 75  # 3 x²

    def test_tensor_holds_its_gradient(self, device: torch.device) -> None:
        """A tensor of three dimensions holds a gradient of its shape, dtype and device."""
        x = torch.full((2, 1, 3), 5.0, device=device, requires_grad=True)

        (x * x).sum().backward()

        assert x.grad.tolist() == [[[10.0] * 3], [[10.0] * 3]]
        assert (x.grad.dtype, x.grad.device) == (x.dtype, device)

    @pytest.mark.on("accelerator", "meta")
    def test_module_moves_to_a_device_with_its_parameters(self, device: torch.device) -> None:
        """Moving a module moves all its parameters, in place, and leaves them parameters."""
        net = Net()

        moved = net.to(device)

        assert moved is net
        assert set(map(attrgetter("device"), net.parameters())) == {device}
        assert [isinstance(p, nn.Parameter) for p in net.parameters()] == [True] * 10

    def test_module_is_saved_and_loaded_bit_for_bit(self, net: Net, device: torch.device) -> None:
        """A module's saved state, loaded into another, makes it the same to the last bit."""
        other = Net().to(device)
        file = io.BytesIO()

        torch.save(net.state_dict(), file)
        file.seek(0)
        assert not torch.equal(other.fc3.weight, net.fc3.weight)
        other.load_state_dict(torch.load(file, weights_only=True))

        assert all(map(torch.equal, other.parameters(), net.parameters()))

    def test_assigned_parameter_is_registered(self, device: torch.device) -> None:
        """A Parameter assigned to a module is one of its parameters until it is deleted."""
        module = Holder()

        module.weight = nn.Parameter(torch.zeros(2, device=device))
        module.layer = nn.Linear(1, 1, device=device)
        registered = list(dict(module.named_parameters()))
        del module.weight

        assert registered == ["weight", "layer.weight", "layer.bias"]
        assert list(dict(module.named_parameters())) == ["layer.weight", "layer.bias"]

    def test_tensor_and_lists_are_not_registered(self, device: torch.device) -> None:
        """A plain tensor, and parameters or layers in a Python list, are no module's parameters."""
        module = Holder()

        module.tensor = torch.zeros(2, device=device, requires_grad=True)
        module.list_of_parameters = [nn.Parameter(torch.zeros(2, device=device))]
        module.list_of_layers = [nn.Linear(1, 1, device=device)]
        assert list(module.parameters()) == []
        module.layers = nn.ModuleList(module.list_of_layers)

        assert list(dict(module.named_parameters())) == ["layers.0.weight", "layers.0.bias"]

    def test_function_defines_forward_and_backward_of_an_operation(
        self, device: torch.device
    ) -> None:
        """An autograd.Function computes its own forward, and its own backward as the gradient."""
        x = torch.tensor([1.0, -2.0, 0.5], device=device, requires_grad=True)

        y = Cube.apply(x)
        y.backward(torch.tensor([1.0, 10.0, 100.0], device=device))

        assert y.tolist() == [1.0, -8.0, 0.125]
        assert x.grad.tolist() == [3.0, 120.0, 75.0]
        assert type(y.grad_fn).__name__ == "CubeBackward"

    def test_tracked_operation_makes_a_node_that_leads_back(self, device: torch.device) -> None:
        """A tracked operation makes a node for its result, which leads back to its inputs."""
        x = torch.ones(2, device=device, requires_grad=True)
        y = torch.ones(2, device=device, requires_grad=True)

        recorded = graph.of(x * y)

        assert recorded.name == "MulBackward0"
        assert list(map(id, recorded.leaves())) == [id(x), id(y)]


class TestLossFunction:
    def test_loss_takes_output_and_target_and_gives_one_number(
        self, net: Net, images: torch.Tensor, target: torch.Tensor
    ) -> None:
        """A loss takes an output and a target, and grows from zero as the two part."""
        output = net(images)
        criterion = nn.MSELoss()

        assert criterion(output, target).shape == ()
        assert criterion(output, output).item() == 0
        assert_close(criterion(output + 2, output).item(), 4.0)
        assert_close(criterion(output - 3, output).item(), 9.0)

    @pytest.mark.parametrize(
        "name",
        ["MSELoss", "L1Loss", "HuberLoss", "CrossEntropyLoss", "NLLLoss", "BCELoss", "CTCLoss"],
    )
    def test_nn_offers_many_losses(self, name: str) -> None:
        """The package torch.nn has at least seven losses, each of them a module."""
        criterion = getattr(nn, name)()

        assert isinstance(criterion, nn.Module)
        assert list(criterion.parameters()) == []

    def test_building_blocks_of_nn_make_a_network(self, device: torch.device) -> None:
        """Besides losses, torch.nn has the building blocks that make up a network."""
        blocks = [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)]
        blocks += [nn.Flatten(), nn.Dropout(), nn.Linear(4, 3), nn.Softmax(dim=1)]

        output = nn.Sequential(*blocks).to(device)(torch.randn(5, 1, 4, 4, device=device))

        assert output.shape == (5, 3)
        assert_close(output.sum(dim=1), torch.ones(5, device=device))

    def test_mse_loss_is_the_mean_of_the_squared_differences(self, device: torch.device) -> None:
        """MSELoss is the mean of the squared differences, over the batch and the outputs."""
        output = torch.tensor([[1.0, 2.0], [0.0, 5.0]], device=device)
        target = torch.tensor([[3.0, 2.0], [0.0, 8.0]], device=device)

        assert nn.MSELoss()(output, target).item() == 3.25  # (4 + 0 + 0 + 9) / 4
        assert nn.MSELoss()(output[:1], target[:1]).item() == 2.0

    def test_target_is_viewed_in_the_shape_of_the_output(
        self, net: Net, device: torch.device
    ) -> None:
        """Ten values viewed as a (1, 10) target pair with the output, and are not copied."""
        output = net(torch.randn(1, 1, 32, 32, device=device))
        values = torch.randn(10, device=device)

        target = values.view(1, -1)
        values[3] = 7

        assert target.shape == output.shape == (1, 10)
        assert target[0, 3] == 7

    def test_target_of_another_shape_is_warned_of_and_broadcast(self, device: torch.device) -> None:
        """A target of another shape is broadcast with a warning, and the loss is of wrong pairs."""
        values = torch.arange(10.0, device=device)
        column = values.view(10, 1)

        with pytest.warns(UserWarning, match="Using a target size .* that is different"):
            loss = nn.MSELoss()(column, values)

        assert loss.item() == 16.5  # every value with every other; 0 is right
        assert nn.MSELoss()(column, values.view(10, 1)).item() == 0.0

    @pytest.mark.changed(since="1.10", text="The printed loss ends in grad_fn=<MseLossBackward>.")
    def test_printed_loss_is_one_number_with_its_node(
        self, net: Net, images: torch.Tensor, target: torch.Tensor
    ) -> None:
        """A printed loss is one number, made by a node named MseLossBackward0."""
        loss = nn.MSELoss()(net(images), target)

        assert str(loss).startswith(f"tensor({loss.item():.4f}, ")
        assert str(loss).endswith(" grad_fn=<MseLossBackward0>)")

    def test_graph_leads_from_the_loss_to_the_input(
        self, net: Net, images: torch.Tensor, target: torch.Tensor, linear_node: str, pool_node: str
    ) -> None:
        """Followed back from the loss, the graph names every stage down to the input."""
        loss = nn.MSELoss()(net(images), target)

        nodes = graph.of(loss).names()

        linear = [linear_node, "ReluBackward0", linear_node, "ReluBackward0", linear_node]
        maps = [pool_node, "ReluBackward0", "ConvolutionBackward0"] * 2
        passed = [n for n in nodes if n not in ("AccumulateGrad", "TBackward0")]
        assert passed == ["MseLossBackward0", *linear, "ViewBackward0", *maps]

    @pytest.mark.mistaken(
        text="Calling backward() on the loss divides the graph into the loss and the tensors.",
        upstream="Calling backward() on the loss differentiates the whole graph.",
    )
    def test_backward_of_the_loss_differentiates_the_whole_graph(
        self, device: torch.device
    ) -> None:
        """Calling backward() on the loss differentiates it through the whole graph."""
        x = torch.tensor([2.0, 3.0], device=device, requires_grad=True)
        w = torch.tensor([5.0, 1.0], device=device, requires_grad=True)

        loss = nn.MSELoss()(F.relu(x * w), torch.tensor([4.0, 5.0], device=device))
        loss.backward()

        # relu(x w) - target is [6, -2], and the loss the mean of two squares
        assert w.grad.tolist() == [12.0, -6.0]
        assert x.grad.tolist() == [30.0, -2.0]

    @pytest.mark.mistaken(text="Each tensor of the graph that requires grad gets its .grad.")
    def test_only_leaves_get_a_gradient(self, net: Net, images: torch.Tensor) -> None:
        """Leaves that require grad get a .grad; a tensor in between gets none, and warns."""
        images.requires_grad_()
        between: list[torch.Tensor] = []
        net.fc3.register_forward_pre_hook(lambda _, inputs: between.extend(inputs))
        output = net(images)

        output.square().mean().backward()

        assert all(map(torch.count_nonzero, map(attrgetter("grad"), net.parameters())))
        assert images.grad.count_nonzero() > 0
        assert (output.requires_grad, between[0].requires_grad) == (True, True)
        with pytest.warns(UserWarning, match="that is not a leaf Tensor"):
            assert (output.grad, between[0].grad) == (None, None)

    @pytest.mark.usefixtures("linear_of_parts")
    @pytest.mark.mistaken(text="The third node printed is the ReLU before the last layer.")
    def test_first_steps_back_are_loss_linear_and_a_bias(
        self, net: Net, images: torch.Tensor, target: torch.Tensor
    ) -> None:
        """Along first inputs, the loss leads to fc3 and to its bias; the ReLU is a second input."""
        loss = nn.MSELoss()(net(images), target)

        linear = loss.grad_fn.next_functions[0][0]
        third = linear.next_functions[0][0]

        assert str(loss.grad_fn).startswith("<MseLossBackward0 object at 0x")
        assert str(linear).startswith("<AddmmBackward0 object at 0x")
        assert str(third).startswith("<AccumulateGrad object at 0x")
        assert third.variable is net.fc3.bias
        assert str(linear.next_functions[1][0]).startswith("<ReluBackward0 object at 0x")


class TestBackprop:
    def test_gradients_add_up_until_they_are_cleared(
        self, net: Net, images: torch.Tensor, target: torch.Tensor
    ) -> None:
        """A second backward adds its gradients to those of the first, unless they are cleared."""
        criterion = nn.MSELoss()

        criterion(net(images), target).backward()
        once = net.conv1.weight.grad.clone()
        criterion(net(images), target).backward()
        twice = net.conv1.weight.grad.clone()
        net.zero_grad()
        criterion(net(images), target).backward()

        assert_close(twice, 2 * once)
        assert_close(net.conv1.weight.grad, once)

    @pytest.mark.changed(since="2.0", text="net.zero_grad() fills the gradient buffers with zeros.")
    def test_zero_grad_drops_the_gradients(self, net: Net, images: torch.Tensor) -> None:
        """A net's zero_grad() sets the gradients of all its parameters to None."""
        net(images).sum().backward()
        assert net.conv1.weight.grad is not None

        net.zero_grad()

        assert list(map(attrgetter("grad"), net.parameters())) == [None] * 10

    @pytest.mark.changed(since="2.0", text="conv1.bias.grad prints six zeros before backward.")
    def test_bias_gradient_before_backward_is_none(self, net: Net, images: torch.Tensor) -> None:
        """Once cleared, the gradient of conv1's bias prints as None until backward."""
        net(images).sum().backward()
        loss = net(images).square().mean()

        net.zero_grad()

        assert str(net.conv1.bias.grad) == "None"
        loss.backward()
        assert str(net.conv1.bias.grad).startswith("tensor([")

    def test_bias_gradient_after_backward_is_six_numbers(
        self, net: Net, images: torch.Tensor, target: torch.Tensor
    ) -> None:
        """After backward the gradient of conv1's bias is six numbers, of which none is zero."""
        nn.MSELoss()(net(images), target).backward()

        assert net.conv1.bias.grad.shape == (6,)
        assert net.conv1.bias.grad.count_nonzero() == 6


def weight_with_gradient(device: torch.device) -> nn.Parameter:
    """Make a parameter [1, -2, 3] with the gradient [0.5, 4, -1]."""
    weight = nn.Parameter(torch.tensor([1.0, -2.0, 3.0], device=device))
    weight.grad = torch.tensor([0.5, 4.0, -1.0], device=device)
    return weight


class TestUpdateTheWeights:
    def test_update_takes_learning_rate_times_gradient_off_the_weight(
        self, device: torch.device
    ) -> None:
        """The simplest update takes the learning rate times the gradient off every weight."""
        f = weight_with_gradient(device)
        learning_rate = 0.25

        f.data.sub_(f.grad.data * learning_rate)

        assert f.tolist() == [0.875, -3.0, 3.25]

    def test_loop_over_the_parameters_updates_the_network(
        self, net: Net, images: torch.Tensor
    ) -> None:
        """The loop that takes 0.01 times f.grad.data off each f.data updates a network."""
        net(images).sum().backward()
        weight, bias = net.conv1.weight.clone(), net.fc3.bias.clone()

        update_weights(net, learning_rate=0.01)

        assert_close(net.conv1.weight, weight - 0.01 * net.conv1.weight.grad)
        assert_close(net.fc3.bias, bias - 0.02)  # a gradient of 1 for each of two images

    @pytest.mark.parametrize(
        ("rule", "updated"),
        [
            pytest.param(partial(optim.SGD, lr=0.1), [0.95, -2.4, 3.1], id="SGD"),
            pytest.param(
                partial(optim.SGD, lr=0.1, momentum=0.5, nesterov=True),
                [0.925, -2.6, 3.15],  # 1.5 times as far
                id="Nesterov",
            ),
            pytest.param(partial(optim.Adam, lr=0.1), [0.9, -2.1, 3.1], id="Adam"),
            pytest.param(
                partial(optim.RMSprop, lr=0.1),
                [0.0, -3.0, 4.0],  # lr / sqrt(1 - 0.99), by the sign of the gradient
                id="RMSprop",
            ),
        ],
    )
    def test_first_step_of_each_rule(
        self, rule: Any, updated: list[float], device: torch.device
    ) -> None:
        """The package torch.optim has SGD, Nesterov's SGD, Adam and RMSprop with their steps."""
        weight = weight_with_gradient(device)

        rule([weight]).step()

        assert_close(weight.detach(), torch.tensor(updated, device=device))

    def test_turn_of_the_loop_moves_every_weight_by_its_fresh_gradient(
        self, net: Net, images: torch.Tensor, target: torch.Tensor
    ) -> None:
        """A turn of the loop moves the last bias by the learning rate times its new gradient."""
        criterion = nn.MSELoss()
        optimizer = optim.SGD(net.parameters(), lr=0.01)
        net(images).sum().backward()  # left over from before
        before = net.fc3.bias.detach().clone()

        optimizer.zero_grad()
        output = net(images)
        loss = criterion(output, target)
        loss.backward()
        optimizer.step()

        fresh = (output - target).sum(dim=0) / 10  # of the mean of 20 squares
        assert_close(net.fc3.bias, before - 0.01 * fresh)

    def test_training_loop_lowers_the_loss(
        self, net: Net, images: torch.Tensor, target: torch.Tensor
    ) -> None:
        """A hundred turns of the loop with optim.SGD lower the loss on its batch."""
        optimizer = optim.SGD(net.parameters(), lr=0.01)

        losses = train(net, [(images, target)], nn.MSELoss(), optimizer.step, epochs=100)

        # Of 60 seeds the worst ends at 0.68 of the first loss; with shuffled targets, the best at
        # 0.87.
        assert losses[-1] < 0.8 * losses[0]

    def test_gradients_not_cleared_by_hand_make_steps_grow(self, device: torch.device) -> None:
        """Along a constant gradient a second step is twice as long where nothing was cleared."""
        weight = nn.Parameter(torch.zeros(1, device=device))
        optimizer = optim.SGD([weight], lr=1.0)

        (-weight).sum().backward()
        optimizer.step()
        assert weight.item() == 1.0
        (-weight).sum().backward()
        optimizer.step()
        assert weight.item() == 3.0
        optimizer.zero_grad()
        (-weight).sum().backward()
        optimizer.step()
        assert weight.item() == 4.0

    @pytest.mark.changed(since="2.0", text="optimizer.zero_grad() sets the buffers to zero.")
    def test_optimizer_zero_grad_drops_the_gradients(self, device: torch.device) -> None:
        """An optimizer's zero_grad() sets the gradients of all its parameters to None."""
        one, other = weight_with_gradient(device), weight_with_gradient(device)

        optim.SGD([{"params": [one]}, {"params": [other]}]).zero_grad()

        assert (one.grad, other.grad) == (None, None)
