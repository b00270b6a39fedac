"""Chapter 2: autograd records what is computed, and differentiates it."""

from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from graphlib import TopologicalSorter
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import Node
from torch.nn.modules.module import register_module_forward_hook
from torch.nn.utils import vector_to_parameters

from blitz import autograd, graph


@pytest.fixture
def a(device: torch.device) -> Tensor:
    return torch.tensor([2.0, 3.0], requires_grad=True, device=device)


@pytest.fixture
def b(device: torch.device) -> Tensor:
    return torch.tensor([6.0, 4.0], requires_grad=True, device=device)


class TestAutograd:
    def test_training_step_lowers_the_loss(self, device: torch.device) -> None:
        """A training step with autograd's gradients moves the weights so that the loss falls."""
        net = nn.Linear(3, 2).to(device)
        data, labels = torch.ones(1, 3, device=device), torch.zeros(1, 2, device=device)

        before = autograd.training_step(net, data, labels)

        # Two outputs, each with three weights and a bias that all have a gradient of 1.
        after = (net(data) - labels).sum()
        torch.testing.assert_close((before - after).item(), 2 * 4 * 0.01, rtol=1e-4, atol=0)


class TestBackground:
    def test_network_is_nested_functions_of_weights_and_biases(self, device: torch.device) -> None:
        """A network computes nested functions, defined by weights and biases kept in tensors."""
        net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1)).to(device)
        vector_to_parameters(torch.arange(1.0, 10.0, device=device), net.parameters())

        output = net(torch.tensor([[1.0, -2.0]], device=device))

        hidden = [max(0, 1 * 1 - 2 * 2 + 5), max(0, 3 * 1 - 4 * 2 + 6)]
        assert output.item() == 7 * hidden[0] + 8 * hidden[1] + 9
        assert isinstance(net[0].weight, torch.Tensor)
        assert net[0].bias.tolist() == [5.0, 6.0]

    @pytest.mark.mistaken(
        text="The functions of a network are defined by weights and errors.",
        upstream="They are defined by parameters: weights and biases.",
    )
    def test_layer_adds_a_bias_and_knows_no_error(self, device: torch.device) -> None:
        """A layer has weights and biases, which it adds; an error is no part of it."""
        layer = nn.Linear(3, 2).to(device)

        output = layer(torch.zeros(1, 3, device=device))

        assert list(layer.state_dict()) == ["weight", "bias"]
        assert output.tolist() == [layer.bias.tolist()]

    @pytest.mark.mistaken(text="In the backward pass the network adjusts its parameters.")
    def test_optimizer_and_not_backward_changes_the_parameters(self, device: torch.device) -> None:
        """Backward only fills .grad; it is the optimizer's step after it that moves parameters."""
        net = nn.Linear(3, 2).to(device)
        start = net.weight.tolist()

        net(torch.ones(1, 3, device=device)).sum().backward()
        after_backward = net.weight.tolist()
        torch.optim.SGD(net.parameters(), lr=1e-2).step()

        assert net.weight.grad.tolist() == [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]
        assert after_backward == start
        assert net.weight.tolist() != start

    def test_parameter_moves_against_its_gradient(self, device: torch.device) -> None:
        """A step moves each parameter by minus the learning rate times its gradient."""
        weight = torch.tensor([1.0, -2.0], requires_grad=True, device=device)

        error = 3 * weight[0] + weight[1]
        (error**2).backward()
        torch.optim.SGD([weight], lr=0.001).step()

        assert weight.grad.tolist() == [6.0, 2.0]
        torch.testing.assert_close(weight.tolist(), [1 - 0.006, -2 - 0.002])

    @pytest.mark.mistaken(text="Parameters are adjusted in proportion to the error of the output.")
    def test_step_follows_the_gradient_and_not_the_error(self, device: torch.device) -> None:
        """A step follows the gradient: errors of 1 and 10, taken absolutely, move equally far."""
        error = torch.tensor([1.0, 10.0], requires_grad=True, device=device)

        error.abs().sum().backward()
        torch.optim.SGD([error], lr=0.5).step()

        assert error.tolist() == [0.5, 9.5]


class TestUsage:
    @pytest.mark.usefixtures("numbered_weights")  # so that nothing is downloaded
    def test_pretrained_flag_loads_the_default_weights(self) -> None:
        """The flag pretrained=True loads the default weights, and warns since torchvision 0.13."""
        import torchvision

        with pytest.warns(UserWarning, match=r"deprecated since 0\.13"):
            model = torchvision.models.resnet18(pretrained=True)

        assert model.fc.bias.tolist() == [121.0] * 1000

    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_image_gets_as_many_numbers_as_labels(
        self, device: torch.device, model: nn.Module
    ) -> None:
        """ResNet-18 turns a random image of 3x64x64 into 1000 numbers, as many as random labels."""
        data = torch.rand(1, 3, 64, 64, device=device)
        labels = torch.rand(1, 1000, device=device)

        prediction = model(data)

        assert prediction.shape == labels.shape == (1, 1000)

    def test_forward_pass_visits_every_layer(self, device: torch.device, model: nn.Module) -> None:
        """The forward pass calls all 68 modules of ResNet-18, from conv1 first to fc last."""
        called = []
        with register_module_forward_hook(lambda module, *_: called.append(module)):
            model.eval()(torch.rand(1, 3, 8, 8, device=device))

        assert len(set(called)) == 68
        assert set(called) == set(model.modules())
        assert called[0] is model.conv1
        assert called[-2:] == [model.fc, model]

    @pytest.mark.mistaken(
        text="The error is computed from the prediction and the weights that belong to it.",
        upstream="It is computed from the prediction and the label that belongs to it.",
    )
    def test_loss_takes_labels_where_weights_do_not_even_fit(self, device: torch.device) -> None:
        """The loss compares the prediction with labels; a layer's weights have another shape."""
        net = nn.Linear(3, 2).to(device)
        prediction, labels = net(torch.ones(4, 3, device=device)), torch.ones(4, 2, device=device)

        assert (prediction - labels).shape == (4, 2)

        with pytest.raises(RuntimeError, match="must match the size"):
            prediction - net.weight

    def test_loss_is_one_number_the_summed_difference(self, device: torch.device) -> None:
        """The loss of the example is one number: the sum of prediction minus label."""
        prediction = torch.tensor([[1.0, 2.0, 4.0]], device=device)
        labels = torch.tensor([[0.5, 3.0, 0.0]], device=device)

        loss = (prediction - labels).sum()

        assert (loss.shape, loss.item()) == ((), 0.5 - 1.0 + 4.0)

    @pytest.mark.mistaken(text="The summed difference of prediction and labels is the error.")
    def test_labels_have_no_influence_on_the_gradients(self, device: torch.device) -> None:
        """The summed difference is no measure of error: labels far and near give one gradient."""
        net = nn.Linear(3, 2).to(device)
        prediction = net(torch.rand(5, 3, device=device))
        near = prediction.detach()

        (prediction - near).sum().backward(retain_graph=True)
        to_near = net.weight.grad.tolist()
        net.zero_grad()
        (prediction - (near + 1000)).sum().backward()

        assert net.weight.grad.tolist() == to_near
        assert net.bias.grad.tolist() == [5.0, 5.0]

    def test_backward_fills_every_gradient(self, device: torch.device, model: nn.Module) -> None:
        """Backward gives each of the 62 parameters of ResNet-18 a gradient of its own shape."""
        prediction = model(torch.rand(1, 3, 64, 64, device=device))
        loss = (prediction - torch.rand(1, 1000, device=device)).sum()

        loss.backward()

        assert len(with_gradient(model)) == 62
        assert [p.grad.shape for p in model.parameters()] == [p.shape for p in model.parameters()]
        assert model.fc.bias.grad.tolist() == [1.0] * 1000

    def test_second_backward_adds_to_the_gradient(self, a: Tensor) -> None:
        """A second backward pass adds its gradient to the one already in .grad."""
        (3 * a**3).sum().backward()
        (3 * a**3).sum().backward()

        assert a.grad.tolist() == [36.0 + 36.0, 81.0 + 81.0]

    def test_optimizer_holds_every_parameter(self, model: nn.Module, device: torch.device) -> None:
        """SGD with rate 0.01 and momentum 0.9 holds all 62 parameters of ResNet-18, in order."""
        optim = torch.optim.SGD(model.parameters(), lr=1e-2, momentum=0.9)

        (group,) = optim.param_groups
        assert list(map(id, group["params"])) == list(map(id, model.parameters()))
        assert len(group["params"]) == 62
        assert (group["lr"], group["momentum"]) == (0.01, 0.9)

    def test_step_moves_every_parameter(self, device: torch.device, model: nn.Module) -> None:
        """The first step moves every number in the parameters by minus 0.01 times its gradient."""
        (model(torch.rand(1, 3, 64, 64, device=device)) - 0.5).sum().backward()
        expected = [-0.01 * p.grad for p in model.parameters()]
        optim = torch.optim.SGD(model.parameters(), lr=1e-2, momentum=0.9)
        before = [p.detach().clone() for p in model.parameters()]

        optim.step()

        moves = [p - old for p, old in zip(model.parameters(), before, strict=True)]
        # Less absolute tolerance than the default, above which are not all moves: weights are up
        # to 1 here, and rounded to 1.2e-7.
        torch.testing.assert_close(moves, expected, rtol=1.3e-6, atol=1.2e-7)


class TestDifferentiation:
    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_operations_on_a_tracked_tensor_are_recorded(self, device: torch.device) -> None:
        """What is computed from a tensor with requires_grad=True is recorded, and tracked too."""
        a = torch.tensor([2.0, 3.0], requires_grad=True, device=device)

        result = (a * 2).exp().sum()

        assert result.requires_grad
        assert graph.of(result).nested() == "Sum(Exp(Mul(Leaf, None)))"

    def test_q_is_minus_12_and_65(self, a: Tensor, b: Tensor) -> None:
        """For a = [2, 3] and b = [6, 4], Q = 3a³ - b² is [-12, 65]."""
        Q = 3 * a**3 - b**2

        assert Q.tolist() == [-12.0, 65.0]

    def test_gradients_of_q_are_9a2_and_minus_2b(
        self, device: torch.device, a: Tensor, b: Tensor
    ) -> None:
        """The gradients of Q are 9a² = [36, 81] and -2b = [-12, -8]."""
        Q = 3 * a**3 - b**2
        external_grad = torch.tensor([1.0, 1.0], device=device)
        Q.backward(gradient=external_grad)

        assert a.grad.tolist() == [36.0, 81.0]
        assert b.grad.tolist() == [-12.0, -8.0]

    def test_backward_stores_the_gradients_in_the_leaves(
        self, device: torch.device, a: Tensor, b: Tensor
    ) -> None:
        """Backward stores the gradients in a.grad and b.grad, which are untracked themselves."""
        Q = 3 * a**3 - b**2
        assert (a.grad, b.grad) == (None, None)

        Q.backward(gradient=torch.ones_like(Q))

        assert a.grad.shape == b.grad.shape == (2,)
        assert a.grad.device == b.grad.device == device
        assert (a.grad.requires_grad, b.grad.requires_grad) == (False, False)

    def test_backward_of_a_vector_needs_a_gradient(self, a: Tensor, b: Tensor) -> None:
        """Because Q is a vector, its backward needs a gradient; without one nothing is stored."""
        Q = 3 * a**3 - b**2

        with pytest.raises(RuntimeError, match="only for scalar outputs"):
            Q.backward()
        assert (a.grad, b.grad) == (None, None)

        Q.backward(gradient=torch.ones_like(Q))
        assert a.grad.tolist() == [36.0, 81.0]

    @pytest.mark.parametrize("shape", [(3,), (), (1, 2)], ids=str)
    def test_gradient_of_another_shape_is_refused(
        self, device: torch.device, a: Tensor, shape: tuple[int, ...]
    ) -> None:
        """The gradient argument must have the shape of Q: it is not broadcast."""
        Q = 3 * a**3

        with pytest.raises(RuntimeError, match="Mismatch in shape"):
            Q.backward(gradient=torch.ones(shape, device=device))

        Q.backward(gradient=torch.ones_like(Q))

    def test_derivative_of_q_by_itself_is_one(self, a: Tensor) -> None:
        """Ones as gradient stand for the derivative of each element of Q by itself."""
        Q = 3 * a**3

        (derivative,) = torch.autograd.grad(Q, Q, grad_outputs=torch.ones_like(Q))

        assert derivative.tolist() == [1.0, 1.0]

    def test_sum_then_backward_gives_the_same_gradients(self, a: Tensor, b: Tensor) -> None:
        """Q.sum().backward() gives the gradients that a gradient argument of ones gives."""
        Q = 3 * a**3 - b**2

        Q.sum().backward()

        assert a.grad.tolist() == [36.0, 81.0]
        assert b.grad.tolist() == [-12.0, -8.0]

    def test_both_checks_print_true_true(
        self, a: Tensor, b: Tensor, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Comparing 9a² and -2b with the gradients prints tensor([True, True]) both times."""
        (3 * a**3 - b**2).sum().backward()

        print((9 * a**2 == a.grad).cpu())
        print((-2 * b == b.grad).cpu())

        assert capsys.readouterr().out == "tensor([True, True])\ntensor([True, True])\n"


def four_of_two(x: Tensor) -> Tensor:
    return torch.stack([x[0] * x[1], x[0] ** 2, 3 * x[1], x[0] + 2 * x[1] ** 2])


class TestVectorCalculus:
    def test_jacobian_has_a_row_per_output(self, device: torch.device) -> None:
        """Row i, column j of the Jacobian is the derivative of output i by input j."""
        x = torch.tensor([2.0, 3.0], device=device)

        jacobian = torch.autograd.functional.jacobian(four_of_two, x)

        assert jacobian.tolist() == [[3.0, 2.0], [4.0, 0.0], [0.0, 3.0], [1.0, 12.0]]

    def test_backward_multiplies_by_the_jacobian(self, device: torch.device) -> None:
        """Backward with a vector v stores the transposed Jacobian times v, of the input's size."""
        x = torch.tensor([2.0, 3.0], requires_grad=True, device=device)
        v = torch.tensor([1.0, -2.0, 3.0, -4.0], device=device)

        four_of_two(x).backward(gradient=v)

        assert x.grad.tolist() == [
            1 * 3 - 2 * 4 + 3 * 0 - 4 * 1,
            1 * 2 - 2 * 0 + 3 * 3 - 4 * 12,
        ]

    @pytest.mark.mistaken(
        text="Autograd is an engine for Jacobian-vector products.",
        upstream="It is an engine for vector-Jacobian products.",
    )
    def test_backward_takes_no_vector_of_the_size_of_the_input(self, device: torch.device) -> None:
        """Backward takes a vector of the output's size; Jacobian times vector is jvp's work."""
        x = torch.tensor([2.0, 3.0], requires_grad=True, device=device)
        v = torch.tensor([1.0, -1.0], device=device)

        with pytest.raises(RuntimeError, match="Mismatch in shape"):
            four_of_two(x).backward(gradient=v)

        _, product = torch.autograd.functional.jvp(four_of_two, x, v)
        assert product.tolist() == [3 - 2, 4 - 0, 0 - 3, 1 - 12]

    def test_gradient_of_a_scalar_follows_by_the_chain_rule(self, device: torch.device) -> None:
        """If v is the gradient of a scalar l by y, the product is the gradient of l by x."""
        x = torch.tensor([2.0, 3.0], requires_grad=True, device=device)
        y = four_of_two(x)  # [6, 4, 9, 20]
        half_square = (y**2).sum() / 2  # its gradient by y is y

        (whole,) = torch.autograd.grad(half_square, x, retain_graph=True)
        y.backward(gradient=torch.tensor([6.0, 4.0, 9.0, 20.0], device=device))

        assert whole.tolist() == [18 + 16 + 20, 12 + 27 + 240]
        assert x.grad.tolist() == [18 + 16 + 20, 12 + 27 + 240]

    def test_outside_gradient_enters_a_model_with_many_outputs(self, device: torch.device) -> None:
        """A gradient from elsewhere can be fed into a model whose output is no scalar."""
        net = nn.Linear(3, 2).to(device)
        external_grad = torch.tensor([[500.0, -1.0]], device=device)

        net(torch.tensor([[1.0, 2.0, 4.0]], device=device)).backward(gradient=external_grad)

        assert net.weight.grad.tolist() == [[500.0, 1000.0, 2000.0], [-1.0, -2.0, -4.0]]


class Cube(torch.autograd.Function):
    """A custom operation."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x**3


class TestComputationalGraph:
    def test_graph_has_no_cycle(self, a: Tensor, b: Tensor) -> None:
        """The recorded operations form a directed graph without a cycle: they can be put in order.

        The sorter raises CycleError where they cannot.
        """
        Q = 3 * a**3 - b**2

        order = list(TopologicalSorter(operations_behind(Q)).static_order())

        assert len(order) == 6
        assert order[-1] is Q.grad_fn

    @pytest.mark.mistaken(text="The graph consists of objects of class torch.autograd.Function.")
    def test_nodes_are_no_function_objects(self, a: Tensor) -> None:
        """Recorded operations, a custom Function's too, are Nodes and no objects of Function."""
        built_in, custom = (a**3).grad_fn, Cube.apply(a).grad_fn

        assert isinstance(built_in, torch.autograd.graph.Node)
        assert isinstance(custom, torch.autograd.graph.Node)
        assert not isinstance(built_in, torch.autograd.Function)
        assert not isinstance(custom, torch.autograd.Function)

    def test_leaves_are_the_inputs_and_the_root_is_the_output(self, a: Tensor, b: Tensor) -> None:
        """The leaves of the graph are the tracked inputs; its root is the output's function."""
        Q = 3 * a**3 - b**2

        assert list(map(id, graph.of(Q).leaves())) == [id(a), id(b)]
        assert graph.of(Q).name == Q.grad_fn.name() == "SubBackward0"

    def test_forward_computes_and_records(self, a: Tensor, b: Tensor) -> None:
        """The forward pass records functions, and computes the same as without, bit for bit."""
        Q = 3 * a**3 - b**2
        with torch.no_grad():
            unrecorded = 3 * a**3 - b**2

        assert Q.tolist() == unrecorded.tolist() == [-12.0, 65.0]
        assert Q.grad_fn.name() == "SubBackward0"

    @pytest.mark.mistaken(
        text="The forward pass keeps the gradients of the operations in the graph.",
        upstream="It keeps the gradient functions of the operations in the graph.",
    )
    def test_forward_keeps_functions_and_no_gradients(self, a: Tensor, b: Tensor) -> None:
        """The forward pass keeps functions and what they need later; no gradient exists yet."""
        nodes, saved = graph.footprint(lambda: 3 * a**3 - b**2)

        assert nodes == 6
        assert saved == [2 * 4, 2 * 4]  # bytes of a and b, for the derivatives of their powers
        assert (a.grad, b.grad) == (None, None)

    def test_backward_propagates_by_the_chain_rule(self, device: torch.device) -> None:
        """Backward multiplies the derivatives along every path to a leaf and adds up the paths."""
        x = torch.tensor(2.0, requires_grad=True, device=device)
        y = x**2

        (y**3 + 5 * y).backward()

        assert x.grad.item() == (3 * 4**2 + 5) * (2 * 2)

    def test_intermediate_result_keeps_no_gradient(self, a: Tensor, b: Tensor) -> None:
        """Only leaves keep gradients: a result has none, and says so, without retain_grad()."""
        plain, retained = 3 * a**3, b**2
        retained.retain_grad()
        Q = plain - retained

        Q.sum().backward()

        assert retained.grad.tolist() == [-1.0, -1.0]
        with pytest.warns(UserWarning, match="not a leaf Tensor"):
            assert (plain.grad, Q.grad) == (None, None)

    def test_graph_of_q_is_that_of_the_figure(self, a: Tensor, b: Tensor) -> None:
        """The graph of Q subtracts b squared from 3 times a cubed, on six nodes down to a and b."""
        Q = 3 * a**3 - b**2

        assert graph.of(Q).nested() == "Sub(Mul(Pow(Leaf), None), Pow(Leaf))"
        assert len(graph.of(Q).nodes()) == 6

    @pytest.mark.mistaken(text="After each call of backward() a new graph is begun.")
    def test_every_forward_pass_builds_a_new_graph(self, a: Tensor) -> None:
        """Each forward pass builds a graph of its own, with no backward pass in between."""
        first, second = 3 * a**3, 3 * a**3

        first.sum().backward()
        second.sum().backward()

        assert a.grad.tolist() == [36.0 + 36.0, 81.0 + 81.0]

    def test_second_backward_through_a_graph_is_refused(self, a: Tensor) -> None:
        """After backward the graph is spent: a second backward is refused and adds nothing."""
        loss = (3 * a**3).sum()
        loss.backward()

        with pytest.raises(RuntimeError, match="backward through the graph a second time"):
            loss.backward()

        assert a.grad.tolist() == [36.0, 81.0]

    @pytest.mark.parametrize(
        ("value", "gradient"),
        [(3.0, 8.0), (9.0, 2.0), (-2.0, -4.0)],
        ids=["doubled three times", "doubled once", "squared"],
    )
    def test_control_flow_is_differentiated_along_the_way_taken(
        self, device: torch.device, value: float, gradient: float
    ) -> None:
        """Loops and branches on the data are differentiated along the way that was taken."""
        x = torch.tensor(value, requires_grad=True, device=device)

        squared_or_doubled_to_sixteen(x).backward()

        assert x.grad.item() == gradient

    def test_shape_and_operation_may_change_from_pass_to_pass(self, device: torch.device) -> None:
        """The shape of the data and the operation may be others in every pass."""
        weight = torch.zeros(3, requires_grad=True, device=device)

        (torch.ones(1, 3, device=device) @ weight).sum().backward()
        (torch.ones(5, 3, device=device) @ weight).sum().backward()
        (4 * weight.exp()).sum().backward()

        assert weight.grad.tolist() == [1.0 + 5.0 + 4.0] * 3


class TestExclusion:
    def test_untracked_tensor_is_outside_the_graph(self, device: torch.device) -> None:
        """A tensor with requires_grad=False is no leaf of the graph and gets no gradient."""
        x = torch.tensor([1.0, 2.0], requires_grad=False, device=device)
        w = torch.tensor([3.0, 4.0], requires_grad=True, device=device)

        result = (x * w).sum()
        result.backward()

        (leaf,) = graph.of(result).leaves()
        assert leaf is w
        assert x.grad is None
        assert w.grad.tolist() == [1.0, 2.0]

    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_one_tracked_input_makes_the_result_tracked(self, device: torch.device) -> None:
        """One input with requires_grad=True is enough for a result to require gradients."""
        x = torch.ones(2, 2, requires_grad=False, device=device)
        w = torch.ones(2, 2, requires_grad=True, device=device)

        assert (x + w).requires_grad
        assert (x @ w).requires_grad
        assert not (x + x).requires_grad

    def test_flags_print_false_then_true(
        self, device: torch.device, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The sum of two untracked tensors prints False, the one with a tracked tensor True."""
        x, y = torch.rand(5, 5, device=device), torch.rand(5, 5, device=device)
        z = torch.rand((5, 5), requires_grad=True, device=device)

        a = x + y
        print(f"Does `a` require gradients? : {a.requires_grad}")
        b = x + z
        print(f"Does `b` require gradients?: {b.requires_grad}")

        assert capsys.readouterr().out == (
            "Does `a` require gradients? : False\nDoes `b` require gradients?: True\n"
        )

    def test_frozen_net_computes_no_gradients(self, device: torch.device, model: nn.Module) -> None:
        """A network with all parameters frozen gives an output that is not tracked."""
        autograd.freeze(model)

        output = model.eval()(torch.rand(1, 3, 8, 8, device=device))

        assert not output.requires_grad

    @pytest.mark.on("cpu")
    def test_frozen_body_leaves_4_nodes_of_132(
        self, device: torch.device, model: nn.Module
    ) -> None:
        """Freezing all but the head leaves autograd 4 nodes of 132 and 1 saved tensor of 181."""
        image = torch.rand(1, 3, 33, 33, device=device)

        all_nodes, all_saved = graph.footprint(lambda: model(image))
        autograd.freeze(model)
        model.fc = nn.Linear(512, 10)
        nodes, saved = graph.footprint(lambda: model(image))

        assert (all_nodes, len(all_saved)) == (132, 181)
        assert (nodes, saved) == (4, [512 * 4])  # bytes

    def test_loop_freezes_all_62_parameters(self, device: torch.device, model: nn.Module) -> None:
        """Setting requires_grad to False on every parameter freezes all 62 of them."""
        assert len(trained(model)) == 62

        autograd.freeze(model)

        assert trained(model) == []

    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_new_head_is_not_frozen(self, device: torch.device, model: nn.Module) -> None:
        """A fresh linear layer from 512 features to 10 classes, in place of fc, is not frozen."""
        autograd.freeze(model)

        model.fc = nn.Linear(512, 10, device=device)

        assert trained(model) == ["fc.weight", "fc.bias"]
        assert model(torch.rand(2, 3, 8, 8, device=device)).shape == (2, 10)

    def test_only_the_new_head_is_trained(self, device: torch.device, model: nn.Module) -> None:
        """With all else frozen a step gives gradients to fc alone and moves no other parameter."""
        autograd.freeze(model)
        model.fc = nn.Linear(512, 10, device=device)
        before = autograd.snapshot(model.named_parameters())

        data, labels = torch.rand(2, 3, 8, 8, device=device), torch.rand(2, 10, device=device)
        autograd.training_step(model, data, labels)

        assert with_gradient(model) == ["fc.weight", "fc.bias"]
        assert autograd.moved(before, model.named_parameters()) == {"fc.weight", "fc.bias"}

    @pytest.mark.mistaken(text="All parameters were registered with the optimizer.")
    def test_optimizer_of_the_head_holds_2_of_62(
        self, device: torch.device, model: nn.Module
    ) -> None:
        """An optimizer made from fc's parameters holds 2 of the 62, one made from all holds 62."""
        optimizer = torch.optim.SGD(model.fc.parameters(), lr=1e-2, momentum=0.9)
        of_all = torch.optim.SGD(model.parameters(), lr=1e-2, momentum=0.9)

        assert len(optimizer.param_groups[0]["params"]) == 2
        assert len(of_all.param_groups[0]["params"]) == 62

    def test_frozen_batch_norm_statistics_move(
        self, device: torch.device, model: nn.Module
    ) -> None:
        """In train mode a forward pass changes all 60 buffers of BatchNorm in a frozen network."""
        autograd.freeze(model)
        before = autograd.snapshot(model.named_buffers())

        model(torch.rand(1, 3, 33, 33, device=device))

        assert len(before) == 60
        assert autograd.moved(before, model.named_buffers()) == before.keys()

    def test_parameter_frozen_too_late_still_moves(self, device: torch.device) -> None:
        """A parameter frozen after a backward pass is still moved by the gradient left in .grad."""
        weight = torch.tensor([1.0, 2.0], requires_grad=True, device=device)
        (weight * 4).sum().backward()

        weight.requires_grad = False
        torch.optim.SGD([weight], lr=0.5).step()

        assert weight.tolist() == [1 - 0.5 * 4, 2 - 0.5 * 4]

    def test_no_grad_around_a_prefix_is_like_freezing_it(self, device: torch.device) -> None:
        """A prefix under no_grad() gives the head the gradients that a frozen prefix gives it."""
        prefix, head = nn.Linear(3, 4).to(device), nn.Linear(4, 2).to(device)
        x = torch.rand(5, 3, device=device)
        with torch.no_grad():
            hidden = prefix(x)
        excluded = torch.autograd.grad(head(hidden).square().sum(), list(head.parameters()))

        autograd.freeze(prefix)
        frozen = torch.autograd.grad(head(prefix(x)).square().sum(), list(head.parameters()))

        assert list(map(torch.equal, excluded, frozen)) == [True, True]
        assert frozen[0].any()


class TestFurtherReadings:
    def test_overwriting_a_saved_value_is_detected(self, device: torch.device) -> None:
        """If add_ changed a value after it was saved for backward, backward raises RuntimeError."""
        x = torch.tensor([3.0], requires_grad=True, device=device)
        saved = x * 1
        square = saved * saved
        (gradient,) = torch.autograd.grad(square, x, retain_graph=True)
        assert gradient.item() == 6.0

        saved.add_(1)

        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            square.backward()

    def test_gradients_returned_to_four_threads_are_their_own(self, device: torch.device) -> None:
        """Threads that call torch.autograd.grad get each its own gradient; .grad stays None."""
        x = torch.tensor([1.0, 2.0], requires_grad=True, device=device)

        def gradient_of_power(n: int) -> list[float]:
            return torch.autograd.grad((x**n).sum(), x)[0].tolist()

        with ThreadPoolExecutor(4) as pool:
            gradients = list(pool.map(gradient_of_power, [1, 2, 3, 4]))

        assert gradients == [[1.0, 1.0], [2.0, 4.0], [3.0, 12.0], [4.0, 32.0]]
        assert x.grad is None

    def test_reverse_pass_by_hand_gives_36_and_minus_12(self) -> None:
        """Differentiating Q backward by hand, step by step, gives autograd's 36 and -12."""
        a, b = torch.tensor(2.0, requires_grad=True), torch.tensor(6.0, requires_grad=True)
        Q = 3 * a**3 - b**2
        Q.backward()

        d_triple, d_square = 1.0, -1.0  # of the difference
        d_cube = d_triple * 3

        assert a.grad.item() == d_cube * 3 * 2.0**2 == 36.0
        assert b.grad.item() == d_square * 2 * 6.0 == -12.0


class TestOnAnAccelerator:
    @pytest.mark.on("accelerator")
    @pytest.mark.mistaken(text="The chapter works on the CPU only, even if the tensors are moved.")
    def test_accelerator_steps_as_the_cpu_does(
        self, device: torch.device, model: nn.Module
    ) -> None:
        """Model, data and labels moved to an accelerator give the loss and gradients of the CPU."""
        data, labels = torch.rand(1, 3, 64, 64), torch.rand(1, 1000)
        away, at_home = model, deepcopy(model).cpu()

        there = autograd.training_step(away, data.to(device), labels.to(device))
        here = autograd.training_step(at_home, data, labels)

        # Sums run in another order. Through 20 layers on one image that costs more than the
        # defaults allow: between float32 and float64 on one CPU predictions differ by 6e-6, and
        # gradients, where rounding carries a value across the kink of a ReLU, by up to 2 %.
        torch.testing.assert_close(there.cpu(), here, rtol=1e-3, atol=0.1)
        assert away.conv1.weight.grad.device == device
        assert largest_difference(away, at_home) < 0.05


def operations_behind(tensor: Tensor) -> dict[Node, list[Node]]:
    """Every recorded operation with those that made its inputs."""
    found: dict[Any, list[Any]] = {}
    todo: list[Any] = [tensor.grad_fn]
    while todo:
        node = todo.pop()
        found[node] = [below for below, _ in node.next_functions if below is not None]
        todo += [below for below in found[node] if below not in found]
    return found


def squared_or_doubled_to_sixteen(x: Tensor) -> Tensor:
    if x < 0:
        return x**2
    while x < 16:
        x = x * 2
    return x


def trained(model: nn.Module) -> list[str]:
    return [name for name, parameter in model.named_parameters() if parameter.requires_grad]


def with_gradient(model: nn.Module) -> list[str]:
    return [name for name, parameter in model.named_parameters() if parameter.grad is not None]


def largest_difference(model: nn.Module, reference: nn.Module) -> float:
    """Of the gradients of a parameter, relative to their norm."""
    pairs = zip(reference.parameters(), model.parameters(), strict=True)
    return max((p.grad - q.grad.cpu()).norm().item() / p.grad.norm().item() for p, q in pairs)
