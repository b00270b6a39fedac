"""Chapter 3 in detail: what modules, losses and optimizers refuse, and how exact they are."""

import copy
import io
import math
from collections.abc import Callable, Iterable
from functools import partial
from operator import attrgetter
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn, optim
from torch.autograd.gradcheck import GradcheckError
from torch.testing import assert_close

from blitz import graph
from blitz.neural_networks import Cube, Net, Net5x5, train, update_weights

pytestmark = pytest.mark.usefixtures("one_thread")

LAYERS = ["conv1", "conv2", "fc1", "fc2", "fc3"]
PARAMETERS = [f"{layer}.{kind}" for layer in LAYERS for kind in ("weight", "bias")]


@pytest.fixture
def net(device: torch.device) -> Net:
    """The text's network, drawn on the cpu."""
    return Net().to(device)


@pytest.fixture
def images(device: torch.device) -> torch.Tensor:
    """Two random images."""
    return torch.randn(2, 1, 32, 32).to(device)


@pytest.fixture
def target(device: torch.device) -> torch.Tensor:
    """What the output for the two images is compared with."""
    return torch.randn(2, 10).to(device)


def copies(tensors: Iterable[torch.Tensor]) -> list[torch.Tensor]:
    """Return copies that later changes do not reach."""
    return [tensor.detach().clone() for tensor in tensors]


def gradients(net: nn.Module) -> list[torch.Tensor]:
    """Return a copy of the gradient of every parameter."""
    return [parameter.grad.clone() for parameter in net.parameters()]


def names(module: nn.Module) -> list[str]:
    """Return the names of all parameters."""
    return [name for name, _ in module.named_parameters()]


class TestModules:
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

    def test_layer_assigned_before_the_base_class_is_initialised_is_refused(self) -> None:
        """A layer assigned before super().__init__() is refused; after it, it is registered."""

        class Patient(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layer = nn.Linear(2, 1)

        class Hasty(nn.Module):
            def __init__(self) -> None:
                self.layer = nn.Linear(2, 1)

        assert names(Patient()) == ["layer.weight", "layer.bias"]
        with pytest.raises(AttributeError, match=r"cannot assign module before Module\.__init__"):
            Hasty()

    def test_training_at_rate_zero_learns_nothing(
        self, net: Net, images: torch.Tensor, target: torch.Tensor
    ) -> None:
        """With a learning rate of 0 the training recipe leaves the loss where it was."""
        update = partial(update_weights, net, learning_rate=0.0)

        losses = train(net, [(images, target)], nn.MSELoss(), update, epochs=3)

        assert_close(losses, [losses[0]] * 3)

    def test_gradients_cleared_before_the_update_change_nothing(
        self, net: Net, images: torch.Tensor
    ) -> None:
        """Gradients cleared between backward and step leave nothing to update with."""
        before = copies(net.parameters())
        optimizer = optim.SGD(net.parameters(), lr=0.01)

        net(images).sum().backward()
        optimizer.zero_grad()
        optimizer.step()

        assert all(map(torch.equal, net.parameters(), before))

    @pytest.mark.on("cpu", "accelerator", "meta")
    @pytest.mark.parametrize(("kind", "numbers"), [(Net, 81_194), (Net5x5, 61_706)])
    def test_parameters_count(self, device: torch.device, kind: Any, numbers: int) -> None:
        """The network learns 81,194 numbers with 3x3 kernels and 61,706 with 5x5 kernels."""
        net = kind().to(device)

        assert sum(map(torch.numel, net.parameters())) == numbers
        assert names(net) == PARAMETERS
        assert list(net.buffers()) == []

    def test_new_network_draws_its_numbers_from_the_seed(self) -> None:
        """A new network draws all its numbers: the same after the same seed, else others."""
        nets = [(torch.manual_seed(seed), Net())[1] for seed in (3, 3, 4)]

        one, same, other = (nn.utils.parameters_to_vector(net.parameters()) for net in nets)

        assert torch.equal(one, same)
        assert (one != other).float().mean().item() > 0.99
        assert one.unique().numel() > 0.99 * one.numel()


class TestLayers:
    def test_first_layer_of_the_net_convolves_windows_of_3x3(
        self, net: Net, images: torch.Tensor
    ) -> None:
        """A number of the net's first map is a 3x3 window times a kernel, summed, plus a bias."""
        window = images[1, 0, 4:7, 20:23].cpu().double().numpy()
        kernel = net.conv1.weight[5, 0].detach().cpu().double().numpy()
        expected = (window * kernel).sum() + net.conv1.bias[5].item()

        # nine float32 products against float64
        assert_close(net.conv1(images)[1, 5, 4, 20].item(), expected, rtol=1e-5, atol=1e-5)

    def test_image_with_three_channels_is_refused_by_a_layer_for_one(
        self, net: Net, device: torch.device
    ) -> None:
        """A convolution for one channel raises a RuntimeError for an image of three."""
        image = torch.randn(1, 3, 32, 32, device=device)

        assert net.conv1(image[:, :1]).shape == (1, 6, 30, 30)
        with pytest.raises(RuntimeError, match="to have 1 channels, but got 3 channels"):
            net.conv1(image)

    @pytest.mark.parametrize(
        ("weight", "x", "expected"),
        [
            pytest.param(
                [[1.0, 2, 3], [4, 5, 6]], [[1.0, 0, -1], [0, 2, 0]], [[8, 18], [14, 30]], id="2x3"
            ),
            pytest.param(
                [[1.0, 2], [3, 4]], [[5.0, -1], [0, 2]], [[13, 31], [14, 28]], id="square"
            ),
        ],
    )
    def test_linear_layer_takes_each_row_of_a_batch(
        self, device: torch.device, weight: Any, x: Any, expected: Any
    ) -> None:
        """A linear layer makes Wx + b of every row of a batch, with a square W as well."""
        layer = nn.Linear(len(weight[0]), 2)
        layer.weight.data, layer.bias.data = torch.tensor(weight), torch.tensor([10.0, 20.0])

        assert layer.to(device)(torch.tensor(x, device=device)).tolist() == expected

    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_linear_layer_keeps_its_weight_as_outputs_by_inputs(self, net: Net) -> None:
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

    def test_window_that_is_not_square_needs_a_tuple(self, device: torch.device) -> None:
        """A (2, 1) window pools two rows and leaves the columns alone."""
        x = torch.tensor([[[9.0, 1, -5], [3, 4, -1]]], device=device)

        assert F.max_pool2d(x, (2, 1)).tolist() == [[[9.0, 4.0, -1.0]]]

    def test_pooling_drops_the_odd_row_and_column(self, device: torch.device) -> None:
        """Pooling windows of 2 leave out the last row and column of a map with odd sides."""
        x = torch.arange(15.0, device=device).view(1, 3, 5)

        assert F.max_pool2d(x, 2).tolist() == [[[6.0, 8.0]]]
        assert nn.MaxPool2d(2, 2)(x).tolist() == [[[6.0, 8.0]]]

    def test_view_flattens_as_flatten_does(self, device: torch.device) -> None:
        """Both view(-1, n) and flatten(x, 1) put each sample's numbers in a row, in order."""
        x = torch.arange(12, device=device).view(2, 3, 1, 2)
        rows = [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]]

        assert x.view(-1, 6).tolist() == rows
        assert torch.flatten(x, 1).tolist() == rows
        assert torch.flatten(x, start_dim=1).tolist() == rows

    def test_flattening_copies_nothing(self, device: torch.device) -> None:
        """Flattened maps share their memory with the maps."""
        x = torch.zeros(2, 3, 2, device=device)

        x.view(-1, 6)[1, 4] = 7
        torch.flatten(x, 1)[0, 0] = 5

        assert x[1, 2, 0] == 7
        assert x[0, 0, 0] == 5

    def test_view_refuses_maps_that_do_not_lie_in_order(self, device: torch.device) -> None:
        """Maps that are transposed in memory cannot be flattened by view; flatten copies them."""
        x = torch.arange(8, device=device).view(2, 2, 2).transpose(1, 2)

        assert torch.flatten(x, 1).tolist() == [[0, 2, 1, 3], [4, 6, 5, 7]]
        with pytest.raises(RuntimeError, match="view size is not compatible"):
            x.view(-1, 4)

    def test_functions_of_forward_leave_their_input_alone(self, device: torch.device) -> None:
        """What forward applies to its input, relu, pooling and flattening, leaves it as it is."""
        x = torch.tensor([[[[1.0, -2.0], [-3.0, 4.0]]]], device=device)

        rectified, pooled, flat = F.relu(x), F.max_pool2d(x, 2), torch.flatten(x, 1)

        assert rectified.tolist() == [[[[1.0, 0.0], [0.0, 4.0]]]]
        assert (pooled.tolist(), flat.tolist()) == ([[[[4.0]]]], [[1.0, -2.0, -3.0, 4.0]])
        assert x.tolist() == [[[[1.0, -2.0], [-3.0, 4.0]]]]


class Apply(nn.Module):
    """A module whose forward is a function."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = self.function(x)
        return made


V = [1.0, 10.0, 100.0]


class TestOperationsInForward:
    @pytest.mark.parametrize(
        ("operation", "gradient"),
        [
            pytest.param(lambda x, v: x.sort().values * v, [100.0, 1.0, 10.0], id="sort"),
            pytest.param(lambda x, v: x.cumsum(0) * v, [111.0, 110.0, 100.0], id="cumsum"),
            pytest.param(
                lambda x, v: torch.einsum("i,i,i->", x, x, v), [6.0, 20.0, 400.0], id="einsum"
            ),
            pytest.param(lambda x, v: x[1:] * v[:2], [0.0, 1.0, 10.0], id="slice"),
            pytest.param(lambda x, v: x[0] * x[1] * x[2], [2.0, 6.0, 3.0], id="product"),
            pytest.param(lambda x, v: x * 5 if x.sum() > 0 else x, [5.0] * 3, id="branch taken"),
            pytest.param(
                lambda x, v: x * 5 if x.sum() < 0 else x, [1.0] * 3, id="branch not taken"
            ),
        ],
    )
    def test_each_differentiable_operation_of_forward_has_its_gradient(
        self, device: torch.device, operation: Callable[..., Any], gradient: Any
    ) -> None:
        """Sorting, sums, slices, products and branches on data have their gradient in forward."""
        x = torch.tensor([3.0, 1.0, 2.0], device=device, requires_grad=True)
        v = torch.tensor(V, device=device)

        Apply(lambda x: operation(x, v))(x).sum().backward()

        assert x.grad.tolist() == gradient

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


#: Layers that take a single sample, with the shape of one.
SINGLE = {
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


class TestSizes:
    @pytest.mark.on("cpu", "accelerator", "meta")
    @pytest.mark.parametrize(
        ("kind", "size"),
        [(Net, 30), (Net, 31), (Net, 32), (Net, 33), (Net5x5, 32), (Net5x5, 33), (Net5x5, 35)],
    )
    def test_network_takes_images_of_32x32_and_a_little_around(
        self, device: torch.device, kind: Any, size: int
    ) -> None:
        """The network takes 32x32 images, and 30 to 33 (5x5 kernels: 32 to 35) pixels a side."""
        net = kind().to(device)

        assert net(torch.randn(1, 1, size, size, device=device)).shape == (1, 10)

    @pytest.mark.parametrize(
        ("kind", "size", "words"),
        [
            pytest.param(Net, 29, "1x400 and 576x120", id="29"),
            pytest.param(Net, 34, "1x784 and 576x120", id="34"),
            pytest.param(Net5x5, 28, "1x256 and 400x120", id="28 and 5x5"),
            pytest.param(Net5x5, 36, "1x576 and 400x120", id="36 and 5x5"),
        ],
    )
    def test_images_of_other_sizes_do_not_fit_the_linear_layer(
        self, device: torch.device, kind: Any, size: int, words: str
    ) -> None:
        """Images a little smaller or larger leave a number of features that fc1 does not take."""
        net = kind().to(device)
        assert net(torch.randn(1, 1, 32, 32, device=device)).shape == (1, 10)

        with pytest.raises(RuntimeError, match=rf"cannot be multiplied \({words}\)"):
            net(torch.randn(1, 1, size, size, device=device))

    def test_mnist_images_fit_once_resized(self, net: Net, device: torch.device) -> None:
        """Images of 28x28 fit the network once they are resized to 32x32."""
        mnist = torch.randn(2, 1, 28, 28, device=device)

        resized = F.interpolate(mnist, size=(32, 32))

        assert resized.shape == (2, 1, 32, 32)
        assert net(resized).shape == (2, 10)

    @pytest.mark.parametrize(("layer", "shape"), SINGLE.values(), ids=SINGLE)
    def test_layers_make_of_a_single_sample_what_they_make_of_a_batch(
        self, device: torch.device, layer: Any, shape: Any
    ) -> None:
        """Nine kinds of layer make of a single sample what they make of a batch of one."""
        module = layer().to(device)
        sample = torch.randn(shape, device=device)

        single, batch = module(sample), module(sample.unsqueeze(0))

        assert batch.shape == (1, *single.shape)
        assert_close(single.cpu(), batch[0].cpu())

    def test_cross_entropy_takes_a_single_sample(self, device: torch.device) -> None:
        """CrossEntropyLoss takes one row of scores and one class number, without a batch."""
        scores = torch.tensor([1.0, 0.0, 2.0], device=device)

        loss = nn.CrossEntropyLoss()(scores, torch.tensor(2, device=device))

        expected = math.log(math.e + 1 + math.e**2) - 2
        assert_close(loss, torch.tensor(expected, device=device))

    @pytest.mark.parametrize("shape", [(32, 32), (1, 1, 1, 32, 32)], ids=["2-D", "5-D"])
    def test_convolution_refuses_two_and_five_dimensions(
        self, net: Net, device: torch.device, shape: tuple[int, ...]
    ) -> None:
        """A 2-D convolution takes three or four dimensions; two and five raise a RuntimeError."""
        assert net.conv1(torch.randn(1, 32, 32, device=device)).shape == (6, 30, 30)

        with pytest.raises(
            RuntimeError, match=r"Expected 3D \(unbatched\) or 4D \(batched\) input"
        ):
            net.conv1(torch.randn(shape, device=device))

    def test_batch_norm_refuses_a_single_sample(self, device: torch.device) -> None:
        """BatchNorm2d takes a batch; a single sample raises a ValueError."""
        norm = nn.BatchNorm2d(3).to(device)
        batch = torch.randn(2, 3, 4, 4, device=device)

        assert norm(batch).shape == (2, 3, 4, 4)
        with pytest.raises(ValueError, match=r"expected 4D input \(got 3D input\)"):
            norm(batch[0])

    def test_conv2d_refuses_channels_last(self, device: torch.device) -> None:
        """Conv2d takes the second size for channels: 5 rows are a RuntimeError where 3 go in."""
        conv = nn.Conv2d(3, 4, 2, device=device)
        x = torch.randn(2, 5, 7, 3, device=device)

        assert conv(x.permute(0, 3, 1, 2)).shape == (2, 4, 4, 6)
        with pytest.raises(RuntimeError, match="to have 3 channels, but got 5 channels"):
            conv(x)

    def test_samples_of_a_batch_do_not_touch_each_other(
        self, net: Net, images: torch.Tensor
    ) -> None:
        """Each sample of a batch comes out of the network as it does alone.

        It has no BatchNorm, in which samples meet in training.
        """
        together = net.conv1(images)

        assert_close(together, torch.cat([net.conv1(images[:1]), net.conv1(images[1:])]))
        assert_close(net(images), torch.cat([net(images[:1]), net(images[1:])]))
        assert not torch.equal(together[0], together[1])


class Holder(nn.Module):
    """A module to assign things to."""


class TestParametersAndState:
    def test_gradient_of_another_shape_cannot_be_assigned(self, device: torch.device) -> None:
        """A gradient can be assigned in the shape and dtype of its tensor, and in no other."""
        x = torch.zeros(2, 3, device=device)
        x.grad = torch.ones(2, 3, device=device)

        with pytest.raises(RuntimeError, match="attempting to assign a gradient of size"):
            x.grad = torch.ones(2, device=device)
        with pytest.raises(RuntimeError, match="attempting to assign a gradient with dtype"):
            x.grad = torch.ones(2, 3, dtype=torch.float16, device=device)
        assert x.grad.tolist() == [[1.0] * 3] * 2

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

        assert nn.Linear not in map(type, exported.modules())
        assert_close(exported(other), layer(other))
        assert names(exported) == ["weight", "bias"]

    def test_single_number_and_frozen_parameter_are_registered(self, device: torch.device) -> None:
        """A Parameter of a single number, and one that requires no grad, are registered as well."""
        module = Holder()

        module.scale = nn.Parameter(torch.tensor(1.0, device=device))
        module.frozen = nn.Parameter(torch.zeros(2, device=device), requires_grad=False)

        assert names(module) == ["scale", "frozen"]

    def test_plain_tensor_cannot_take_the_place_of_a_parameter(self, device: torch.device) -> None:
        """A Parameter or None can replace a parameter; a plain tensor raises a TypeError."""
        module = nn.Linear(1, 1, device=device)
        module.weight = nn.Parameter(torch.full((1, 1), 2.0, device=device))
        module.bias = None

        with pytest.raises(TypeError, match="as parameter 'weight'"):
            module.weight = torch.zeros(1, 1, device=device)
        assert module.weight.tolist() == [[2.0]]
        assert module.bias is None

    def test_parameter_of_whole_numbers_is_refused(self, device: torch.device) -> None:
        """A Parameter requires grad by itself, so that whole numbers raise a RuntimeError."""
        assert nn.Parameter(torch.zeros(2, device=device)).requires_grad

        with pytest.raises(RuntimeError, match="floating point and complex dtype can require grad"):
            nn.Parameter(torch.zeros(2, dtype=torch.int64, device=device))

    def test_tied_parameter_counts_once(self, device: torch.device) -> None:
        """A parameter that two layers share is one of the module's parameters once."""
        module = Holder()
        module.first = nn.Linear(2, 2, bias=False, device=device)
        module.second = nn.Linear(2, 2, bias=False, device=device)
        assert names(module) == ["first.weight", "second.weight"]

        module.second.weight = module.first.weight

        assert names(module) == ["first.weight"]


class ScaledProduct(torch.autograd.Function):
    """The product of two tensors and a number."""

    @staticmethod
    def forward(ctx: Any, a: torch.Tensor, b: torch.Tensor, factor: float) -> torch.Tensor:
        ctx.save_for_backward(a, b)
        ctx.factor = factor
        return a * b * factor

    @staticmethod
    def backward(ctx: Any, grad_output: torch.Tensor) -> tuple[Any, Any, None]:
        a, b = ctx.saved_tensors
        return grad_output * b * ctx.factor, grad_output * a * ctx.factor, None


class WrongCube(Cube):
    """A cube whose gradient is always 7."""

    @staticmethod
    def backward(ctx: Any, grad_output: torch.Tensor) -> torch.Tensor:
        return grad_output * 7


class TestFunctions:
    def test_function_hands_each_of_its_inputs_a_gradient(self, device: torch.device) -> None:
        """A Function returns a gradient for each input, None for one that is no tensor."""
        a = torch.tensor([3.0, -1.0], device=device, requires_grad=True)
        b = torch.tensor([0.5, 4.0], device=device, requires_grad=True)

        ScaledProduct.apply(a, b, 2.0).backward(torch.tensor([1.0, 10.0], device=device))

        assert a.grad.tolist() == [1.0, 80.0]
        assert b.grad.tolist() == [6.0, -20.0]

    def test_backward_of_a_function_is_taken_at_its_word(self, device: torch.device) -> None:
        """Autograd hands on what a Function's backward returns, even where it is wrong."""
        x = torch.tensor([1.0, -2.0], device=device, requires_grad=True)

        WrongCube.apply(x).sum().backward()

        assert x.grad.tolist() == [7.0, 7.0]

    @pytest.mark.on("cpu")
    def test_gradcheck_accepts_a_right_backward_and_refuses_a_wrong_one(
        self, device: torch.device
    ) -> None:
        """Compared with differences, a right backward passes gradcheck and a wrong one fails."""
        x = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64, device=device, requires_grad=True)

        assert torch.autograd.gradcheck(Cube.apply, x)
        with pytest.raises(GradcheckError, match="Jacobian mismatch"):
            torch.autograd.gradcheck(lambda x: Cube.apply(x.detach()) + Cube.apply(x), x)

    @pytest.mark.parametrize(
        ("operation", "node"),
        [
            pytest.param(lambda x: x + 1, "AddBackward0", id="add"),
            pytest.param(lambda x: x @ x, "MmBackward0", id="matmul"),
            pytest.param(lambda x: x.sum(), "SumBackward0", id="sum"),
            pytest.param(lambda x: x.exp(), "ExpBackward0", id="exp"),
            pytest.param(lambda x: x.view(4), "ViewBackward0", id="view"),
            pytest.param(lambda x: torch.cat([x, x]), "CatBackward0", id="cat"),
        ],
    )
    def test_each_tracked_operation_makes_a_node_of_its_name(
        self, device: torch.device, operation: Callable[..., Any], node: str
    ) -> None:
        """A sum, a product, a view and other tracked operations each make a node of their name."""
        x = torch.ones(2, 2, device=device, requires_grad=True)

        recorded = graph.of(operation(x))

        assert recorded.name == node
        assert [id(leaf) for leaf in recorded.leaves()] == [id(x)]

    @pytest.mark.on("cpu")  # another device may have an einsum of its own
    def test_one_operation_may_make_several_nodes(self, device: torch.device) -> None:
        """One call of einsum makes several nodes on the cpu."""
        x = torch.ones(2, 2, device=device, requires_grad=True)

        made = graph.of(torch.einsum("ij,jk->ik", x, x)).names()

        assert len(made) - made.count("AccumulateGrad") > 1

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


class TestLosses:
    @pytest.mark.parametrize(
        ("name", "settings", "output", "target", "expected"),
        [pytest.param(*row, id=row[0]) for row in LOSSES],
    )
    def test_each_loss_has_the_value_worked_out_by_hand(
        self,
        device: torch.device,
        name: Any,
        settings: Any,
        output: Any,
        target: Any,
        expected: Any,
    ) -> None:
        """Twelve losses each give one number, the one worked out by hand."""
        output, target = torch.tensor(output, device=device), torch.tensor(target, device=device)

        loss = getattr(nn, name)(**settings)(output, target)

        assert loss.device == device
        assert_close(loss, torch.tensor(expected, device=device))

    def test_loss_of_an_output_alone_is_refused(self, device: torch.device) -> None:
        """A loss raises a TypeError for an output without a target."""
        output = torch.zeros(2, device=device)

        assert nn.MSELoss()(output, output) == 0
        with pytest.raises(TypeError, match="missing 1 required positional argument: 'target'"):
            nn.MSELoss()(output)

    def test_mse_loss_agrees_with_the_formula_on_the_network(
        self, net: Net, images: torch.Tensor, target: torch.Tensor, device: torch.device
    ) -> None:
        """On the network's output MSELoss gives what the formula gives in NumPy."""
        output = net(images)
        o, t = output.detach().cpu().numpy(), target.cpu().numpy()

        expected = torch.tensor(np.mean((o - t) ** 2), device=device)

        assert_close(nn.MSELoss()(output, target), expected)

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

    def test_target_of_another_length_is_refused(self, device: torch.device) -> None:
        """A target of nine values for ten outputs gives a warning and then a RuntimeError."""
        output = torch.zeros(1, 10, device=device)
        assert nn.MSELoss()(output, output + 2) == 4

        with (
            pytest.warns(UserWarning, match="Using a target size .* that is different"),
            pytest.raises(RuntimeError, match=r"size of tensor a \(10\) must match .* b \(9\)"),
        ):
            nn.MSELoss()(output, torch.zeros(1, 9, device=device))


class TestOutput:
    def test_printed_output_shows_its_ten_numbers(self, net: Net, images: torch.Tensor) -> None:
        """A printed output shows each of its ten numbers to four places, with its sign."""
        output = net(images[:1])

        shown = str(output.detach().cpu()).removeprefix("tensor([[").removesuffix("]])")

        numbers = list(map(float, shown.split(",")))
        assert numbers == pytest.approx(output.tolist()[0], abs=6e-5)


class TestGraphOfTheLoss:
    @pytest.mark.usefixtures("linear_of_parts", "pool_of_parts")
    def test_graph_of_the_loss_is_the_network_upside_down(
        self, net: Net, images: torch.Tensor, target: torch.Tensor
    ) -> None:
        """Each node of the loss's graph has the nodes of its operation's inputs, in their order."""
        loss = nn.MSELoss()(net(images), target)

        assert graph.of(loss).nested() == (
            "MseLoss("  # of the output and the target, which is not tracked
            "Addmm(Leaf, Relu("  # fc3: bias, input, weight transposed
            "Addmm(Leaf, Relu("  # fc2
            "Addmm(Leaf, View("  # fc1
            "MaxPool2DWithIndices(Relu(Convolution("  # conv2: input, weight, bias
            "MaxPool2DWithIndices(Relu(Convolution("  # conv1
            "None, Leaf, Leaf))), Leaf, Leaf))))"
            ", T(Leaf))), T(Leaf))), T(Leaf)), None)"
        )

    @pytest.mark.usefixtures("linear_of_parts")
    def test_leaves_of_the_graph_are_the_parameters(self, net: Net, images: torch.Tensor) -> None:
        """The leaves of the graph are the ten parameters, each behind the layer it belongs to."""
        recorded = graph.of(net(images))

        leaves = recorded.leaves()

        assert set(map(id, leaves)) == set(map(id, net.parameters()))
        assert len(leaves) == 10
        assert recorded.inputs[0].leaf is net.fc3.bias
        assert recorded.inputs[2].inputs[0].leaf is net.fc3.weight

    def test_target_gets_no_gradient(
        self, net: Net, images: torch.Tensor, target: torch.Tensor
    ) -> None:
        """A target that does not require grad gets none."""
        nn.MSELoss()(net(images), target).backward()

        assert target.grad is None

    def test_printed_nodes_are_no_part_of_a_listing(self) -> None:
        """A printed node is no Python: a listing with its output raises a SyntaxError."""
        listing, shown = "print(loss.grad_fn)", "<MseLossBackward object at 0x7F00>"
        compile(listing, "listing", "exec")

        with pytest.raises(SyntaxError):
            compile(f"{listing}\n{shown}\n", "listing", "exec")


def slope(net: Net, images: torch.Tensor, target: torch.Tensor, name: str, index: int) -> float:
    """Return the central difference of the squared error along one number of a parameter.

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


class TestGradients:
    def test_gradients_are_the_slopes_of_the_loss(
        self, net: Net, images: torch.Tensor, target: torch.Tensor
    ) -> None:
        """Autograd's gradient of each parameter is the slope of the loss along it."""
        nn.MSELoss()(net(images), target).backward()
        steepest = [(n, p.grad.abs().argmax().item()) for n, p in net.named_parameters()]

        measured = [slope(net, images, target, *place) for place in steepest]

        computed = [net.get_parameter(name).grad.view(-1)[i].item() for name, i in steepest]
        # float32 gradients against differences of two losses in float64
        assert_close(computed, measured, rtol=1e-4, atol=1e-6)

    def test_bias_gradient_after_backward_is_six_slopes(
        self, net: Net, images: torch.Tensor, target: torch.Tensor
    ) -> None:
        """The gradient of conv1's bias is the loss's slope along each of its six numbers."""
        nn.MSELoss()(net(images), target).backward()

        measured = [slope(net, images, target, "conv1.bias", index) for index in range(6)]
        # float32 gradients against differences of two losses in float64
        assert_close(net.conv1.bias.grad.tolist(), measured, rtol=1e-4, atol=1e-6)

    def test_random_gradient_gives_the_gradients_of_a_weighted_sum(
        self, net: Net, images: torch.Tensor, target: torch.Tensor
    ) -> None:
        """Calling backward(v) on an output gives the gradients of sum(output * v)."""
        net(images).backward(target)
        propagated = gradients(net)

        net.zero_grad()
        (net(images) * target).sum().backward()

        assert_close(propagated, gradients(net))

    def test_gradients_are_cleared_before_the_random_gradient(
        self, net: Net, images: torch.Tensor, target: torch.Tensor
    ) -> None:
        """Cleared first, the gradients are those of the last random gradient only."""
        net(images).backward(target)

        net.zero_grad()
        net(images).backward(target)

        assert_close(net.fc3.bias.grad, target[0] + target[1])

    def test_output_that_is_no_scalar_needs_a_gradient_of_its_shape(
        self, net: Net, device: torch.device
    ) -> None:
        """Ten numbers go backward with a gradient of their shape, not with another or none."""
        image = torch.randn(1, 1, 32, 32, device=device)

        with pytest.raises(RuntimeError, match="only for scalar outputs"):
            net(image).backward()
        with pytest.raises(RuntimeError, match="Mismatch in shape"):
            net(image).backward(torch.ones(10, device=device))
        net(image).backward(torch.ones(1, 10, device=device))

    @pytest.mark.parametrize("to_none", [True, False], ids=["to None", "to zeros"])
    def test_cleared_gradients_start_afresh(
        self, net: Net, images: torch.Tensor, to_none: bool
    ) -> None:
        """Every gradient doubles with a second backward, and starts afresh once it is cleared."""
        net(images).sum().backward()
        once = gradients(net)
        net(images).sum().backward()
        twice = gradients(net)

        net.zero_grad(set_to_none=to_none)
        net(images).sum().backward()

        assert_close(twice, [2 * gradient for gradient in once])
        assert_close(gradients(net), once)

    def test_dropped_gradients_keep_their_values(self, net: Net, images: torch.Tensor) -> None:
        """What zero_grad() drops keeps its values, and a layer frozen since is cleared as well."""
        net(images).sum().backward()
        buffers = list(map(attrgetter("grad"), net.parameters()))
        values = copies(buffers)
        net.conv1.requires_grad_(False)

        net.zero_grad()

        assert list(map(attrgetter("grad"), net.parameters())) == [None] * 10
        assert not net.conv1.weight.requires_grad
        assert all(map(torch.equal, buffers, values))

    def test_zero_grad_can_fill_the_gradients_with_zeros(
        self, net: Net, images: torch.Tensor
    ) -> None:
        """With set_to_none=False zero_grad() keeps the buffers and fills them with zeros."""
        net(images).sum().backward()
        buffers = list(map(attrgetter("grad"), net.parameters()))

        net.zero_grad(set_to_none=False)

        assert list(map(id, map(attrgetter("grad"), net.parameters()))) == list(map(id, buffers))
        assert not any(map(torch.count_nonzero, buffers))

    @pytest.mark.parametrize("to_none", [True, False], ids=["to None", "to zeros"])
    def test_fresh_network_has_no_gradients_to_clear(self, net: Net, to_none: bool) -> None:
        """On a fresh network every gradient is None, before and after clearing."""
        assert list(map(attrgetter("grad"), net.parameters())) == [None] * 10

        net.zero_grad(set_to_none=to_none)

        assert list(map(attrgetter("grad"), net.parameters())) == [None] * 10

    def test_bias_gradient_before_backward_can_be_six_zeros(
        self, net: Net, images: torch.Tensor
    ) -> None:
        """Filled with zeros, the gradient of conv1's bias prints as six zeros."""
        net(images).sum().backward()

        net.zero_grad(set_to_none=False)

        assert str(net.conv1.bias.grad.cpu()) == "tensor([0., 0., 0., 0., 0., 0.])"


def weight_with_gradient(device: torch.device) -> nn.Parameter:
    """Make a parameter [1, -2, 3] with the gradient [0.5, 4, -1]."""
    weight = nn.Parameter(torch.tensor([1.0, -2.0, 3.0], device=device))
    weight.grad = torch.tensor([0.5, 4.0, -1.0], device=device)
    return weight


class TestUpdatesByHand:
    def test_update_of_the_network_moves_every_parameter_by_its_gradient(
        self, net: Net, images: torch.Tensor
    ) -> None:
        """Every parameter of the network moves by 0.01 times its gradient, up to rounding."""
        net(images).sum().backward()
        lr = np.float32(0.01)
        expected = [p.detach().cpu().numpy() - lr * p.grad.cpu().numpy() for p in net.parameters()]

        update_weights(net)

        updated = [parameter.detach().cpu().numpy() for parameter in net.parameters()]
        # A compiler that fuses product and difference rounds once where torch rounds twice.
        assert_close(updated, expected, rtol=0, atol=1e-6)

    def test_update_through_data_equals_the_update_under_no_grad(
        self, device: torch.device
    ) -> None:
        """Updating f.data gives, bit for bit, what updating f under no_grad gives."""
        weights, gradient = torch.randn(2, 1000, device=device)
        f, g = nn.Parameter(weights.clone()), nn.Parameter(weights.clone())
        f.grad, g.grad = gradient.clone(), gradient.clone()

        f.data.sub_(f.grad.data * 0.01)
        with torch.no_grad():
            g.sub_(g.grad * 0.01)

        assert torch.equal(f, g)
        assert_close(f.detach(), weights - gradient / 100)

    def test_update_by_hand_agrees_with_sgd(self, device: torch.device) -> None:
        """The update by hand agrees with optim.SGD up to rounding."""
        by_hand, by_sgd = weight_with_gradient(device), weight_with_gradient(device)

        by_hand.data.sub_(by_hand.grad.data * 0.1)
        optim.SGD([by_sgd], lr=0.1).step()

        assert_close(by_hand, by_sgd)

    def test_parameter_changed_in_place_is_refused(self, device: torch.device) -> None:
        """Changing a parameter in place while autograd is recording raises a RuntimeError."""
        parameter = weight_with_gradient(device)

        with pytest.raises(RuntimeError, match=r"leaf Variable that requires grad .* in-place"):
            parameter.sub_(parameter.grad)
        parameter.data.sub_(parameter.grad)
        assert parameter.tolist() == [0.5, -6.0, 4.0]

    def test_update_before_any_backward_is_refused(self, device: torch.device) -> None:
        """Before backward there is no gradient, and the update by hand raises an AttributeError."""
        layer = nn.Linear(1, 1, bias=False, device=device)
        layer.weight.data.fill_(1)

        with pytest.raises(AttributeError, match="'NoneType' object has no attribute 'data'"):
            update_weights(layer)
        layer.weight.sum().backward()
        update_weights(layer, learning_rate=0.5)
        assert layer.weight.item() == 0.5

    def test_rebinding_the_name_updates_nothing(self, net: Net, images: torch.Tensor) -> None:
        """Writing p = p - lr * p.grad makes a new tensor and leaves the network as it was."""
        net(images).sum().backward()
        before = copies(net.parameters())

        p = net.conv1.bias
        p = p - 0.1 * p.grad

        assert not torch.equal(p, net.conv1.bias)
        assert all(map(torch.equal, net.parameters(), before))


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
    rule: Callable[..., optim.Optimizer], dtype: torch.dtype, device: torch.device
) -> list[float]:
    """Return where six steps of torch's rule lead to in the bowl."""
    w = nn.Parameter(torch.tensor(START, dtype=dtype, device=device))
    curvature = torch.tensor(CURVATURE, dtype=dtype, device=device)
    tilt = torch.tensor(TILT, dtype=dtype, device=device)
    optimizer = rule([w])
    for _ in range(6):
        optimizer.zero_grad()
        (curvature * w * w / 2 + tilt * w).sum().backward()
        optimizer.step()
    return w.tolist()


#: Each optimizer, left at torch's defaults wherever it can be, and where its recurrence leads.
RULES = {
    "SGD": (partial(optim.SGD, lr=0.01), textbook_sgd(START, 6, lr=0.01)),
    "SGD with momentum": (
        partial(optim.SGD, lr=0.01, momentum=0.9),
        textbook_momentum(START, 6, 0.01, 0.9),
    ),
    "Nesterov": (
        partial(optim.SGD, lr=0.01, momentum=0.9, nesterov=True),
        textbook_nesterov(START, 6, 0.01, 0.9),
    ),
    "Adam": (optim.Adam, textbook_adam(START, 6, 0.001, 0.9, 0.999, 1e-8)),
    "RMSprop": (optim.RMSprop, textbook_rmsprop(START, 6, 0.01, 0.99, 1e-8)),
}


class TestOptimizers:
    @pytest.mark.parametrize(("rule", "expected"), RULES.values(), ids=RULES)
    def test_optimizer_follows_its_textbook_rule(
        self, device: torch.device, rule: Any, expected: Any
    ) -> None:
        """Six steps of each optimizer lead where the textbook's recurrence leads."""
        assert_close(descend(rule, torch.float32, device), expected.tolist())

    @pytest.mark.on("cpu")
    @pytest.mark.parametrize(("rule", "expected"), RULES.values(), ids=RULES)
    def test_optimizer_follows_its_textbook_rule_to_the_last_digits(
        self, device: torch.device, rule: Any, expected: Any
    ) -> None:
        """In float64 each optimizer agrees with its recurrence to twelve digits."""
        reached = descend(rule, torch.float64, device)

        assert_close(reached, expected.tolist(), rtol=1e-12, atol=1e-12)

    @pytest.mark.parametrize(
        ("rule", "defaults"),
        [
            pytest.param(
                optim.SGD,
                {"lr": 0.001, "momentum": 0, "dampening": 0, "weight_decay": 0, "nesterov": False},
                id="SGD",
            ),
            pytest.param(
                optim.Adam,
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
                optim.RMSprop,
                {"lr": 0.01, "alpha": 0.99, "eps": 1e-8, "momentum": 0, "weight_decay": 0},
                id="RMSprop",
            ),
        ],
    )
    def test_optimizer_has_its_documented_defaults(self, rule: Any, defaults: Any) -> None:
        """Each optimizer needs the parameters only; its settings default to the documented ones."""
        optimizer = rule([nn.Parameter(torch.ones(1))])

        assert {name: optimizer.defaults[name] for name in defaults} == defaults

    def test_nesterov_without_momentum_is_refused(self, device: torch.device) -> None:
        """Nesterov's rule without a momentum raises a ValueError."""
        parameters = [weight_with_gradient(device)]
        optim.SGD(parameters, lr=0.01, momentum=0.5, nesterov=True)

        with pytest.raises(ValueError, match="Nesterov momentum requires a momentum"):
            optim.SGD(parameters, lr=0.01, nesterov=True)

    def test_optimizer_of_nothing_is_refused(self, device: torch.device) -> None:
        """An optimizer of no parameters raises a ValueError."""
        optim.SGD([weight_with_gradient(device)], lr=0.01)

        with pytest.raises(ValueError, match="empty parameter list"):
            optim.SGD([], lr=0.01)

    def test_optimizer_of_a_computed_tensor_is_refused(self, device: torch.device) -> None:
        """An optimizer updates leaves; a tensor computed from them raises a ValueError."""
        parameter = weight_with_gradient(device)
        optim.SGD([parameter], lr=0.01)

        with pytest.raises(ValueError, match="can't optimize a non-leaf Tensor"):
            optim.SGD([parameter * 2], lr=0.01)

    def test_negative_learning_rate_is_refused(self, device: torch.device) -> None:
        """An optimizer takes a learning rate of 0; one below raises a ValueError."""
        parameters = [weight_with_gradient(device)]
        optim.SGD(parameters, lr=0.0)

        with pytest.raises(ValueError, match="Invalid learning rate"):
            optim.SGD(parameters, lr=-0.01)

    def test_turn_of_the_loop_moves_every_parameter(
        self, net: Net, images: torch.Tensor, target: torch.Tensor
    ) -> None:
        """A turn of the loop moves every parameter by the learning rate times its gradient."""
        before = copies(net.parameters())
        optimizer = optim.SGD(net.parameters(), lr=0.1)

        train(net, [(images, target)], nn.MSELoss(), optimizer.step, epochs=1)

        expected = [w - 0.1 * g for w, g in zip(before, gradients(net), strict=True)]
        assert_close(copies(net.parameters()), expected)

    def test_optimizer_at_rate_zero_learns_nothing(
        self, net: Net, images: torch.Tensor, target: torch.Tensor
    ) -> None:
        """With a learning rate of 0 the training loop leaves the network as it was."""
        before = copies(net.parameters())
        optimizer = optim.SGD(net.parameters(), lr=0.0, momentum=0.9)

        train(net, [(images, target)], nn.MSELoss(), optimizer.step, epochs=3)

        assert all(map(torch.equal, net.parameters(), before))

    def test_optimizer_zero_grad_can_fill_with_zeros(self, device: torch.device) -> None:
        """An optimizer's zero_grad(set_to_none=False) keeps the gradients and zeroes them."""
        weight = weight_with_gradient(device)
        buffer = weight.grad

        optim.SGD([weight], lr=0.01).zero_grad(set_to_none=False)

        assert weight.grad is buffer
        assert buffer.tolist() == [0.0, 0.0, 0.0]
