"""Chapter 2 in detail: what torch refuses, other dtypes and numbers, and traps beside the text."""

import math
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from blitz import autograd, graph


@pytest.fixture
def a(device: torch.device) -> Tensor:
    return torch.tensor([2.0, 3.0], requires_grad=True, device=device)


@pytest.fixture
def b(device: torch.device) -> Tensor:
    return torch.tensor([6.0, 4.0], requires_grad=True, device=device)


class TestAutograd:
    def test_training_step_without_autograd_is_refused(self, device: torch.device) -> None:
        """Without autograd's record of the forward pass there is no backward pass and no step."""
        net = nn.Linear(3, 2).to(device)
        data, labels = torch.ones(1, 3, device=device), torch.zeros(1, 2, device=device)

        autograd.training_step(net, data, labels)

        with torch.no_grad(), pytest.raises(RuntimeError, match="does not require grad"):
            autograd.training_step(net, data, labels)


class TestBackground:
    def test_forward_pass_fills_no_gradient(self, device: torch.device) -> None:
        """A forward pass changes no parameter and fills no .grad."""
        net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).to(device)
        before = autograd.snapshot(net.named_parameters())

        net(torch.ones(1, 3, device=device))

        assert autograd.moved(before, net.named_parameters()) == set()
        assert (net[0].weight.grad, net[2].bias.grad) == (None, None)

    def test_parameter_of_one_number_moves_against_its_gradient(self, device: torch.device) -> None:
        """A parameter without dimensions moves by minus the rate times its gradient, as any."""
        weight = torch.tensor(3.0, requires_grad=True, device=device)

        (weight**2).backward()
        torch.optim.SGD([weight], lr=0.001).step()

        torch.testing.assert_close(weight.item(), 3 - 0.001 * 6)

    def test_step_is_in_proportion_to_an_error_that_is_squared(self, device: torch.device) -> None:
        """Where the loss is the error squared, ten times the error moves ten times as far."""
        error = torch.tensor([1.0, 10.0], requires_grad=True, device=device)

        (error**2).sum().backward()
        torch.optim.SGD([error], lr=0.25).step()

        assert error.tolist() == [1 - 0.5, 10 - 5.0]

    def test_small_step_lowers_the_loss_by_lr_times_squared_gradient(
        self, device: torch.device
    ) -> None:
        """A small step lowers the loss by nearly the learning rate times the squared gradient."""
        weight = torch.tensor([1.0, -2.0], requires_grad=True, device=device)

        before = (3 * weight[0] + weight[1]) ** 2
        before.backward()
        torch.optim.SGD([weight], lr=0.001).step()
        after = (3 * weight[0] + weight[1]) ** 2

        predicted = 0.001 * (6**2 + 2**2)
        assert 0.9 * predicted < (before - after).item() < predicted

    def test_step_along_the_gradient_raises_the_loss(self, device: torch.device) -> None:
        """A step along the gradient instead of against it raises the loss."""
        weight = torch.tensor(1.0, requires_grad=True, device=device)

        (weight**2).backward()
        torch.optim.SGD([weight], lr=0.25, maximize=True).step()

        assert weight.item() == 1.5


class TestUsage:
    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_resnet18_has_11_689_512_numbers_in_62_tensors(
        self, device: torch.device, model: nn.Module
    ) -> None:
        """ResNet-18 has 62 parameter tensors of 11 689 512 numbers and arrives in train mode."""
        parameters = list(model.parameters())

        assert len(parameters) == 62
        assert sum(p.numel() for p in parameters) == 11_689_512
        assert (model.fc.in_features, model.fc.out_features) == (512, 1000)
        assert model.training
        assert {t.device for t in model.state_dict().values()} == {device}

    def test_weights_argument_loads_the_default_weights_without_a_warning(
        self, numbered_weights: dict[str, Tensor]
    ) -> None:
        """With weights=ResNet18_Weights.DEFAULT the file of the weights fills the whole model."""
        from torchvision.models import ResNet18_Weights, resnet18

        state = resnet18(weights=ResNet18_Weights.DEFAULT).state_dict()

        assert state.keys() == numbered_weights.keys()
        assert [n for n, t in state.items() if not torch.equal(t, numbered_weights[n])] == []

    def test_image_of_one_channel_is_refused(self, device: torch.device, model: nn.Module) -> None:
        """ResNet-18 refuses an image of one channel, where it takes one of three."""
        stem = model.conv1
        assert stem(torch.rand(1, 3, 64, 64, device=device)).shape == (1, 64, 32, 32)

        with pytest.raises(RuntimeError, match="to have 3 channels, but got 1 channels"):
            model(torch.rand(1, 1, 64, 64, device=device))

    def test_image_without_a_batch_is_refused(self, device: torch.device, model: nn.Module) -> None:
        """ResNet-18 refuses an image that is no batch, where it takes a batch of one image."""
        image = torch.rand(3, 8, 8, device=device)
        assert model.eval()(image.unsqueeze(0)).shape == (1, 1000)

        with pytest.raises(ValueError, match="expected 4D input"):
            model(image)

    def test_single_image_of_32_pixels_is_refused_in_train_mode(
        self, device: torch.device, model: nn.Module
    ) -> None:
        """In train mode an image of 32x32 alone leaves ResNet-18's BatchNorm one value, too few."""
        image = torch.rand(1, 3, 32, 32, device=device)
        assert model.eval()(image).shape == (1, 1000)

        with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
            model.train()(image)

    def test_gradient_of_the_loss_is_one_for_every_prediction(self, device: torch.device) -> None:
        """The gradient of the summed difference is 1 for every number predicted."""
        prediction = torch.rand(2, 3, requires_grad=True, device=device)

        (prediction - torch.rand(2, 3, device=device)).sum().backward()

        assert prediction.grad.tolist() == [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]

    def test_loss_falls_without_end(self, device: torch.device) -> None:
        """The summed difference has no minimum: each step lowers it by as much as the last."""
        prediction = torch.zeros(1, 1000, requires_grad=True, device=device)
        optim = torch.optim.SGD([prediction], lr=1.0)
        prediction.sum().backward()

        optim.step()
        first = prediction.sum().item()
        optim.step()
        second = prediction.sum().item()

        assert (first, second) == (-1000.0, -2000.0)

    def test_gradients_of_resnet18_are_finite_and_none_is_zero(
        self, device: torch.device, model: nn.Module
    ) -> None:
        """Backward gives every parameter of ResNet-18 a finite gradient that is not all zeros."""
        model(torch.rand(1, 3, 64, 64, device=device)).sum().backward()

        norms = [p.grad.norm().item() for p in model.parameters()]
        assert min(norms) > 0
        assert max(norms) < math.inf

    def test_gradients_add_up_in_place(self, a: Tensor) -> None:
        """The tensor in .grad stays the same one when a second backward pass adds to it."""
        (3 * a**3).sum().backward()
        buffer = a.grad

        (3 * a**3).sum().backward()

        assert a.grad is buffer

    def test_backward_adds_to_a_gradient_set_by_hand(self, a: Tensor, device: torch.device) -> None:
        """Backward adds to whatever .grad holds."""
        a.grad = torch.tensor([1.0, -1.0], device=device)

        (a * 3).sum().backward()

        assert a.grad.tolist() == [4.0, 2.0]

    def test_gradients_of_one_number_add_up(self, device: torch.device) -> None:
        """Gradients of a tensor without dimensions add up as those of any other."""
        x = torch.tensor(2.0, requires_grad=True, device=device)

        (x**2).backward()
        (x**3).backward()
        (x * 5).backward()

        assert x.grad.item() == 4.0 + 12.0 + 5.0

    def test_cleared_gradient_starts_anew(self, a: Tensor) -> None:
        """After .grad was set to None the next backward pass starts from nothing."""
        (3 * a**3).sum().backward()

        a.grad = None
        (3 * a**3).sum().backward()

        assert a.grad.tolist() == [36.0, 81.0]

    def test_functional_gradient_is_not_accumulated(self, a: Tensor) -> None:
        """The function torch.autograd.grad returns gradients and leaves .grad alone."""
        (3 * a**3).sum().backward()

        (returned,) = torch.autograd.grad((a * 5).sum(), a)

        assert returned.tolist() == [5.0, 5.0]
        assert a.grad.tolist() == [36.0, 81.0]

    def test_second_step_adds_nine_tenths_of_the_first(self, device: torch.device) -> None:
        """With an unchanged gradient the second step is 1.9 times the first: momentum is 0.9."""
        weight = torch.tensor([1.0, 2.0], requires_grad=True, device=device)
        weight.grad = torch.tensor([4.0, -8.0], device=device)
        optim = torch.optim.SGD([weight], lr=1e-2, momentum=0.9)

        optim.step()
        after_first = weight.tolist()
        optim.step()
        after_second = weight.tolist()
        optim.step()

        torch.testing.assert_close(after_first, [1 - 0.04, 2 + 0.08])
        torch.testing.assert_close(after_second, [1 - 0.04 * 2.9, 2 + 0.08 * 2.9])
        # The third moves by 1 + 0.9 + 0.81 of the first.
        torch.testing.assert_close(weight.tolist(), [1 - 0.04 * 5.61, 2 + 0.08 * 5.61])

    def test_step_without_gradients_moves_nothing(self, device: torch.device) -> None:
        """A step passes over a parameter whose .grad is None, even where it has momentum."""
        weight = torch.tensor([1.0, 2.0], requires_grad=True, device=device)
        weight.grad = torch.tensor([4.0, -8.0], device=device)
        optim = torch.optim.SGD([weight], lr=0.5, momentum=0.9)
        optim.step()

        weight.grad = None
        optim.step()

        assert weight.tolist() == [1 - 2.0, 2 + 4.0]


class TestDifferentiation:
    def test_tracked_leaf_has_no_function_and_no_gradient_yet(
        self, a: Tensor, device: torch.device
    ) -> None:
        """A tensor made with requires_grad=True is a leaf, with no function and no gradient."""
        assert (a.requires_grad, a.is_leaf) == (True, True)
        assert (a.grad_fn, a.grad) == (None, None)
        assert a.device == device

    def test_result_of_tracked_tensors_is_no_leaf(self, a: Tensor) -> None:
        """What is computed from a tracked tensor is no leaf, where the tensor itself is one."""
        assert a.is_leaf
        assert not (a * 2).is_leaf

    def test_nothing_is_recorded_unless_asked_for(self, device: torch.device) -> None:
        """A tensor is not tracked unless requires_grad=True is given."""
        t = torch.tensor([2.0, 3.0], device=device)

        assert not t.requires_grad
        assert (t * 2).grad_fn is None

    @pytest.mark.parametrize("values", [[2, 3], [True, False]], ids=["integers", "booleans"])
    def test_tensor_that_is_not_floating_point_cannot_be_tracked(
        self, device: torch.device, values: list[bool] | list[int]
    ) -> None:
        """Integers and booleans cannot be tracked; floating point numbers can."""
        torch.tensor([2.0, 3.0], requires_grad=True, device=device)

        with pytest.raises(RuntimeError, match="floating point"):
            torch.tensor(values, requires_grad=True, device=device)
        with pytest.raises(RuntimeError, match="floating point"):
            torch.tensor(values, device=device).requires_grad_()
        with pytest.raises(RuntimeError, match="floating point"):
            torch.tensor(values, device=device).requires_grad = True

    def test_gradients_of_q_follow_the_formulas_for_random_numbers(
        self, device: torch.device
    ) -> None:
        """The gradients of Q are close to 9a² and -2b for random a and b, and for zeros."""
        a, b = torch.rand(2, 100, device=device) - 0.5
        a[0] = b[0] = 0
        a.requires_grad_(), b.requires_grad_()

        (3 * a**3 - b**2).sum().backward()

        for_a, for_b = 9 * np.array(a.tolist()) ** 2, -2 * np.array(b.tolist())
        torch.testing.assert_close(a.grad.tolist(), for_a.tolist(), rtol=1.3e-6, atol=1e-5)
        torch.testing.assert_close(b.grad.tolist(), for_b.tolist(), rtol=1.3e-6, atol=1e-5)

    @pytest.mark.on("cpu")
    def test_gradients_of_q_agree_with_finite_differences(self, device: torch.device) -> None:
        """The gradients of Q agree with finite differences in double precision."""
        a, b = torch.rand(2, 3, dtype=torch.float64, device=device, requires_grad=True)

        assert torch.autograd.gradcheck(lambda a, b: 3 * a**3 - b**2, (a, b))

    @pytest.mark.parametrize("shape", [(), (1,), (1, 1)], ids=str)
    def test_backward_of_one_element_needs_no_gradient(
        self, device: torch.device, shape: tuple[int, ...]
    ) -> None:
        """An output of one element, whatever its dimensions, needs no gradient argument."""
        x = torch.full(shape, 5.0, requires_grad=True, device=device)

        (x**2).backward()

        assert x.grad.shape == shape
        assert x.grad.item() == 10.0

    @pytest.mark.parametrize("shape", [(2, 1), (1, 2, 1)], ids=str)
    def test_backward_of_more_dimensions_needs_a_gradient(
        self, device: torch.device, a: Tensor, shape: tuple[int, ...]
    ) -> None:
        """A matrix or a block of two numbers needs a gradient, and one of exactly its shape."""
        result = (3 * a**3).view(shape)

        with pytest.raises(RuntimeError, match="only for scalar outputs"):
            result.backward()
        with pytest.raises(RuntimeError, match="Mismatch in shape"):
            result.backward(gradient=torch.ones(1, 2, device=device))

        result.backward(gradient=torch.ones(shape, device=device))
        assert a.grad.tolist() == [36.0, 81.0]

    @pytest.mark.parametrize("dtype", [torch.int64, torch.float16], ids=str)
    def test_gradient_of_another_dtype_is_cast(
        self, device: torch.device, a: Tensor, dtype: torch.dtype
    ) -> None:
        """A gradient argument of another dtype is cast in silence to that of Q."""
        (3 * a**3).backward(gradient=torch.ones(2, dtype=dtype, device=device))

        assert a.grad.dtype == torch.float32
        assert a.grad.tolist() == [36.0, 81.0]

    @pytest.mark.on("cpu")  # not every accelerator has float64
    def test_gradient_of_double_precision_is_cast(self, device: torch.device, a: Tensor) -> None:
        """A gradient argument in double precision is cast in silence to the dtype of Q."""
        (3 * a**3).backward(gradient=torch.ones(2, dtype=torch.float64, device=device))

        assert a.grad.dtype == torch.float32
        assert a.grad.tolist() == [36.0, 81.0]

    @pytest.mark.on("accelerator", "meta")
    def test_gradient_on_another_device_is_refused(self, device: torch.device, a: Tensor) -> None:
        """The gradient argument must lie on the device of Q."""
        (3 * a**3).backward(gradient=torch.ones(2, device=device))

        with pytest.raises(RuntimeError, match=f"expected device {device} but got cpu"):
            (3 * a**3).backward(gradient=torch.ones(2))

    def test_jacobian_of_q_by_itself_is_the_identity_matrix(self, device: torch.device) -> None:
        """Strictly, the derivative of a vector with respect to itself is the identity matrix."""
        Q = torch.tensor([-12.0, 65.0], device=device)

        jacobian = torch.autograd.functional.jacobian(lambda vector: vector * 1, Q)

        assert jacobian.tolist() == [[1.0, 0.0], [0.0, 1.0]]

    def test_other_weights_scale_the_gradients(
        self, device: torch.device, a: Tensor, b: Tensor
    ) -> None:
        """Weights other than ones scale the gradients: 10 and -1 give [360, -81] and [-120, 8]."""
        (3 * a**3 - b**2).backward(gradient=torch.tensor([10.0, -1.0], device=device))

        assert a.grad.tolist() == [360.0, -81.0]
        assert b.grad.tolist() == [-120.0, 8.0]

    def test_mean_then_backward_gives_half(self, a: Tensor, b: Tensor) -> None:
        """The mean of the two elements of Q, unlike their sum, gives half the gradients."""
        (3 * a**3 - b**2).mean().backward()

        assert a.grad.tolist() == [18.0, 40.5]
        assert b.grad.tolist() == [-6.0, -4.0]

    def test_sum_after_backward_of_the_same_q_is_refused(
        self, device: torch.device, a: Tensor
    ) -> None:
        """The two ways do not work in turn on one Q: the first, without retain_graph, spends it."""
        Q = 3 * a**3
        Q.backward(gradient=torch.ones(2, device=device))

        with pytest.raises(RuntimeError, match="backward through the graph a second time"):
            Q.sum().backward()

    def test_equality_fails_for_random_numbers_where_closeness_holds(
        self, device: torch.device
    ) -> None:
        """On random numbers many gradients are close to the formula but not equal to it."""
        a = torch.rand(1000, requires_grad=True, device=device)

        (3 * a**3).sum().backward()

        formula = 9 * a.detach() ** 2
        torch.testing.assert_close(a.grad, formula)
        assert (a.grad == formula).float().mean().item() < 0.95


def four_of_two(x: Tensor) -> Tensor:
    return torch.stack([x[0] * x[1], x[0] ** 2, 3 * x[1], x[0] + 2 * x[1] ** 2])


JACOBIAN_AT_2_3 = [[3.0, 2.0], [4.0, 0.0], [0.0, 3.0], [1.0, 12.0]]  # of four_of_two, by hand


class TestVectorCalculus:
    def test_square_jacobian_has_a_row_per_output_too(self, device: torch.device) -> None:
        """A Jacobian of as many outputs as inputs has a row for each output as well."""
        x = torch.tensor([2.0, 3.0], device=device)

        jacobian = torch.autograd.functional.jacobian(lambda x: four_of_two(x)[:2], x)

        assert jacobian.tolist() == JACOBIAN_AT_2_3[:2]

    def test_jacobian_agrees_with_central_differences(self, device: torch.device) -> None:
        """The Jacobian agrees with differences of the function's values left and right of x."""
        x = torch.tensor([2.0, 3.0], device=device)
        steps = torch.tensor([[0.5, 0.0], [0.0, 0.5]], device=device)

        columns = [four_of_two(x + step) - four_of_two(x - step) for step in steps]

        # Central differences are exact for polynomials of degree two.
        assert torch.stack(columns, dim=1).tolist() == JACOBIAN_AT_2_3
        assert torch.autograd.functional.jacobian(four_of_two, x).tolist() == JACOBIAN_AT_2_3

    @pytest.mark.on("cpu")  # a backend may lack what computing all columns at once takes
    def test_forward_mode_gives_the_same_jacobian(
        self, device: torch.device, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Differentiating forward, column by column, gives the same Jacobian."""
        monkeypatch.setenv("PYTORCH_JIT", "0")  # its imports take long, and warn
        x = torch.tensor([2.0, 3.0], device=device)

        jacobian = torch.func.jacfwd(four_of_two)(x)

        assert jacobian.tolist() == JACOBIAN_AT_2_3

    def test_product_is_that_of_numpy_for_any_vector(self, device: torch.device) -> None:
        """For twenty random vectors backward gives what NumPy gives for Jacobian and vector."""
        x = torch.tensor([2.0, 3.0], requires_grad=True, device=device)
        vectors = torch.randint(-9, 10, (20, 4), device=device).float()

        products = [torch.autograd.grad(four_of_two(x), x, v)[0].tolist() for v in vectors]

        assert products == (np.array(vectors.tolist()) @ np.array(JACOBIAN_AT_2_3)).tolist()

    @pytest.mark.parametrize("row", range(4))
    def test_one_hot_vector_reads_off_a_row_of_the_jacobian(
        self, device: torch.device, row: int
    ) -> None:
        """A vector with a single one reads off one row of the Jacobian."""
        x = torch.tensor([2.0, 3.0], requires_grad=True, device=device)

        four_of_two(x).backward(gradient=torch.eye(4, device=device)[row])

        assert x.grad.tolist() == JACOBIAN_AT_2_3[row]

    def test_gradient_of_zeros_stores_zeros(self, device: torch.device) -> None:
        """A v of zeros gives a gradient of zeros, not none."""
        x = torch.tensor([2.0, 3.0], requires_grad=True, device=device)

        four_of_two(x).backward(gradient=torch.zeros(4, device=device))

        assert x.grad.tolist() == [0.0, 0.0]


class TestComputationalGraph:
    def test_value_used_twice_is_one_shared_node(self, a: Tensor, b: Tensor) -> None:
        """A value that is used twice is one shared node: the graph is no tree."""
        shared = a * b

        found = graph.of(shared * shared + shared.sin())

        square, sine = found.inputs
        assert square.inputs[0] is square.inputs[1] is sine.inputs[0]
        assert len(found.nodes()) == 6

    def test_constants_and_untracked_inputs_are_no_nodes(self, a: Tensor, b: Tensor) -> None:
        """A constant or an untracked input leaves no node in the graph."""
        found = graph.of(3 * a + b.detach())

        assert found.nested() == "Add(Mul(Leaf, None), None)"
        assert found.leaves()[0] is a

    def test_network_computes_the_same_with_and_without_tracking(
        self, device: torch.device
    ) -> None:
        """A net of linear layers and ReLU gives the same, bit for bit, with and without tracking.

        Not every net does: nn.TransformerEncoder in eval mode has a fast path without tracking.
        """
        net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).to(device)
        x = torch.rand(5, 3, device=device)

        tracked = net(x)
        with torch.no_grad():
            untracked = net(x)

        assert tracked.tolist() == untracked.tolist()
        assert (tracked.requires_grad, untracked.requires_grad) == (True, False)

    def test_backward_runs_each_function_once_from_the_root(self, a: Tensor, b: Tensor) -> None:
        """Backward runs each function once, the root first and consumers before producers."""
        Q = 3 * a**3 - b**2
        triple, square = (function for function, _ in Q.grad_fn.next_functions)
        cube, ran = triple.next_functions[0][0], []

        Q.grad_fn.register_prehook(lambda _: ran.append("difference"))
        triple.register_prehook(lambda _: ran.append("triple"))
        cube.register_prehook(lambda _: ran.append("cube"))
        square.register_prehook(lambda _: ran.append("square"))
        Q.sum().backward()

        assert sorted(ran) == ["cube", "difference", "square", "triple"]
        assert ran[0] == "difference"
        assert ran.index("triple") < ran.index("cube")

    def test_untracked_input_gets_no_gradient(self, device: torch.device, a: Tensor) -> None:
        """Backward leaves a tensor that does not require gradients without one."""
        constant = torch.tensor([6.0, 4.0], device=device)

        (a * constant).sum().backward()

        assert a.grad.tolist() == [6.0, 4.0]
        assert constant.grad is None

    @pytest.mark.parametrize(
        "spend",
        [
            lambda loss, a: loss.backward(retain_graph=False),
            lambda loss, a: torch.autograd.grad(loss, a),
        ],
        ids=["retain_graph=False", "autograd.grad"],
    )
    def test_graph_is_spent_however_it_was_run(
        self, a: Tensor, spend: Callable[[Tensor, Tensor], Any]
    ) -> None:
        """Run with retain_graph=False or for returned gradients, the graph is spent as well."""
        loss = (3 * a**3).sum()

        spend(loss, a)

        with pytest.raises(RuntimeError, match="backward through the graph a second time"):
            loss.backward()
        with pytest.raises(RuntimeError, match="backward through the graph a second time"):
            torch.autograd.grad(loss, a)

    def test_retained_graph_runs_again_and_accumulates(self, a: Tensor) -> None:
        """With retain_graph=True a graph runs again, and its gradients add up."""
        loss = (3 * a**3).sum()

        loss.backward(retain_graph=True)
        loss.backward(retain_graph=True)
        loss.backward()

        assert a.grad.tolist() == [3 * 36.0, 3 * 81.0]

    def test_saved_values_are_gone_after_backward(self, a: Tensor) -> None:
        """Backward frees the values saved for it; before that they can be looked at."""
        cube = a**3
        assert cube.grad_fn._saved_self.tolist() == [2.0, 3.0]

        cube.sum().backward()

        with pytest.raises(RuntimeError, match="after they have already been freed"):
            _ = cube.grad_fn._saved_self

    @pytest.mark.parametrize(
        "saves_nothing", [lambda a, b: a.sum(), lambda a, b: (a + b)[0]], ids=["sum", "add"]
    )
    def test_graph_that_saved_nothing_runs_twice(
        self, a: Tensor, b: Tensor, saves_nothing: Callable[[Tensor, Tensor], Tensor]
    ) -> None:
        """A graph that saved no values runs twice in silence, which doubles the gradients."""
        result = saves_nothing(a, b)

        result.backward()
        result.backward()

        assert a.grad[0].item() == 2.0

    @pytest.mark.parametrize(("times", "gradient"), [(1, 1.0), (3, 12.0), (7, 448.0)])
    def test_loop_of_any_length_gives_the_gradient_of_its_product(
        self, device: torch.device, times: int, gradient: float
    ) -> None:
        """A loop may run any number of times: the product of n factors x has gradient n·xⁿ⁻¹."""
        x = torch.tensor(2.0, requires_grad=True, device=device)

        product(x, times).backward()

        assert x.grad.item() == gradient

    def test_mean_of_any_number_of_rows_is_differentiated(self, device: torch.device) -> None:
        """The gradient of a mean is that of the batch at hand, whatever the size of the last."""
        weight = torch.zeros(3, requires_grad=True, device=device)

        (torch.ones(1, 3, device=device) @ weight).mean().backward()
        (torch.ones(4, 3, device=device) @ weight).mean().backward()

        assert weight.grad.tolist() == [2.0, 2.0, 2.0]


def product(x: Tensor, times: int) -> Tensor:
    y = x
    for _ in range(times - 1):
        y = y * x
    return y


class TestExclusion:
    def test_flag_of_a_leaf_can_be_switched(self, a: Tensor) -> None:
        """A leaf's requires_grad flag can be switched off and on again, for what comes after."""
        a.requires_grad = False
        off = a * 2
        a.requires_grad = True
        on = a * 2

        assert (off.requires_grad, on.requires_grad) == (False, True)

    def test_leaf_switched_off_before_backward_gets_no_gradient(self, a: Tensor, b: Tensor) -> None:
        """A leaf whose flag is switched off after the forward pass gets no gradient either."""
        result = (a * b).sum()

        a.requires_grad = False
        result.backward()

        assert a.grad is None
        assert b.grad.tolist() == [2.0, 3.0]

    def test_flag_of_a_result_cannot_be_switched_off(self, a: Tensor) -> None:
        """The flag of a tracked result cannot be switched off, as that of a leaf can."""
        result = a * 2

        with pytest.raises(RuntimeError, match="only change requires_grad flags of leaf"):
            result.requires_grad = False

        a.requires_grad = False
        assert not a.requires_grad

    def test_detach_takes_a_result_out_of_the_graph(self, a: Tensor) -> None:
        """A tracked result is excluded from the graph with detach()."""
        (a * (a * 2).detach()).sum().backward()

        assert a.grad.tolist() == [4.0, 6.0]

    def test_backward_of_an_untracked_sum_is_refused(self, device: torch.device, a: Tensor) -> None:
        """There is no backward pass from a result that nothing tracked went into."""
        a.sum().backward()

        with pytest.raises(RuntimeError, match="does not require grad"):
            torch.ones(2, device=device).sum().backward()

    @pytest.mark.parametrize(
        "operation",
        [
            lambda t: t > 1,
            lambda t: t.argmax(),
            lambda t: t.int(),
            lambda t: t.detach(),
            lambda t: t.data,
            torch.no_grad()(lambda t: t * 2),
        ],
        ids=["comparison", "argmax", "cast to integer", "detach", "data", "no_grad"],
    )
    def test_result_that_has_no_derivative_is_not_tracked(
        self, a: Tensor, operation: Callable[[Tensor], Tensor]
    ) -> None:
        """Comparisons, indices, integers and detached results of tracked tensors are untracked."""
        assert (a * 2).requires_grad
        assert not operation(a).requires_grad

    def test_frozen_network_has_no_backward_pass_and_no_gradient(
        self, device: torch.device, model: nn.Module
    ) -> None:
        """Where all parameters are frozen, a refused backward pass leaves every .grad None."""
        autograd.freeze(model.eval())

        with pytest.raises(RuntimeError, match="does not require grad"):
            model(torch.rand(1, 3, 8, 8, device=device)).sum().backward()

        assert [p.grad for p in model.parameters()] == [None] * 62

    def test_flag_set_on_a_module_freezes_nothing(self, device: torch.device) -> None:
        """Setting requires_grad on a module, not on its parameters, silently freezes nothing."""
        net = nn.Linear(3, 2).to(device)

        net.requires_grad = False
        net(torch.ones(1, 3, device=device)).sum().backward()

        assert (net.weight.requires_grad, net.bias.requires_grad) == (True, True)
        assert net.bias.grad.tolist() == [1.0, 1.0]

    @pytest.mark.on("accelerator")
    def test_frozen_body_leaves_a_fraction_of_the_graph(
        self, device: torch.device, model: nn.Module
    ) -> None:
        """Freezing all but the head leaves a fraction of the nodes, saved tensors and bytes."""
        image = torch.rand(1, 3, 33, 33, device=device)

        all_nodes, all_saved = graph.footprint(lambda: model(image))
        autograd.freeze(model)
        model.fc = nn.Linear(512, 10, device=device)
        nodes, saved = graph.footprint(lambda: model(image))

        # Other kernels than the CPU's may be recorded as other nodes and save other values.
        assert nodes < 10 < 100 < all_nodes
        assert len(saved) < 3 < 100 < len(all_saved)
        assert sum(saved) < sum(all_saved) / 1000

    def test_one_call_on_the_module_freezes_alike(self, device: torch.device) -> None:
        """Calling requires_grad_(False) on the module freezes its parameters like the loop."""
        net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).to(device)

        returned = net.requires_grad_(False)

        assert returned is net
        assert [p.requires_grad for p in net.parameters()] == [False] * 4

    @pytest.mark.parametrize("mode", ["eval", "train"])
    def test_mode_neither_freezes_nor_unfreezes(self, device: torch.device, mode: str) -> None:
        """A module's train() and eval() leave requires_grad of each parameter as it was."""
        net = nn.Linear(3, 4, device=device)
        net.bias.requires_grad_(False)

        getattr(net, mode)()

        assert (net.weight.requires_grad, net.bias.requires_grad) == (True, False)

    def test_layer_put_in_place_of_another_stays_the_last(
        self, device: torch.device, model: nn.Module
    ) -> None:
        """A new layer under the name of an old one takes its place in the order of layers too."""
        model.fc = nn.Linear(512, 10, device=device)

        assert list(model.named_children())[-1] == ("fc", model.fc)

    def test_head_for_512_features_does_not_fit_bottleneck_networks(
        self, device: torch.device
    ) -> None:
        """A head for 512 features is refused by the 2048 features of ResNet-50 and its like."""
        from torchvision.models.resnet import Bottleneck, ResNet

        model = ResNet(Bottleneck, [1, 1, 1, 1], width_per_group=2).to(device).eval()
        image = torch.rand(1, 3, 8, 8, device=device)
        model.fc = nn.Linear(2048, 10, device=device)
        assert model(image).shape == (1, 10)

        model.fc = nn.Linear(512, 10, device=device)
        with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
            model(image)

    def test_optimizers_over_the_head_and_over_all_train_alike(self, device: torch.device) -> None:
        """Frozen parameters in the optimizer change no bit of the trained head."""
        prefix, head = nn.Linear(3, 4).to(device), nn.Linear(4, 2).to(device)
        x, start = torch.rand(5, 3, device=device), autograd.snapshot(head.state_dict().items())
        autograd.freeze(prefix)

        train_twice([*head.parameters()], lambda: head(prefix(x)).square().sum())
        end = autograd.snapshot(head.state_dict().items())
        head.load_state_dict(start)
        of_all = [*prefix.parameters(), *head.parameters()]
        optimizer = train_twice(of_all, lambda: head(prefix(x)).square().sum())

        assert autograd.moved(start, end.items()) == {"weight", "bias"}
        assert autograd.moved(end, head.state_dict().items()) == set()
        assert len(optimizer.state) == 2

    def test_batch_norm_statistics_rest_in_eval_mode(
        self, device: torch.device, model: nn.Module
    ) -> None:
        """In eval mode a forward pass changes none of the 60 buffers."""
        autograd.freeze(model.eval())
        before = autograd.snapshot(model.named_buffers())

        model(torch.rand(1, 3, 8, 8, device=device))

        assert len(before) == 60
        assert autograd.moved(before, model.named_buffers()) == set()

    def test_parameter_frozen_with_zeroed_gradient_moves_by_momentum(
        self, device: torch.device
    ) -> None:
        """A frozen parameter whose gradient was zeroed, not dropped, is still moved by momentum."""
        weight = torch.tensor([1.0, 2.0], requires_grad=True, device=device)
        optimizer = torch.optim.SGD([weight], lr=0.5, momentum=0.5)
        (weight * 4).sum().backward()
        optimizer.step()  # to [-1, 0], at a momentum of 4

        optimizer.zero_grad(set_to_none=False)
        weight.requires_grad = False
        optimizer.step()

        assert weight.tolist() == [-2.0, -1.0]

    def test_parameter_frozen_with_its_gradient_dropped_rests(self, device: torch.device) -> None:
        """A frozen parameter whose gradient was dropped moves neither by momentum nor by decay."""
        weight = torch.tensor([1.0, 2.0], requires_grad=True, device=device)
        optimizer = torch.optim.SGD([weight], lr=0.5, momentum=0.5, weight_decay=0.25)
        (weight * 4).sum().backward()
        optimizer.step()
        moved = weight.tolist()

        optimizer.zero_grad()
        weight.requires_grad = False
        optimizer.step()

        assert moved == [1 - 0.5 * 4.25, 2 - 0.5 * 4.5]
        assert weight.tolist() == moved

    def test_weight_decay_alone_moves_no_frozen_parameter(self, device: torch.device) -> None:
        """Weight decay does not move a frozen parameter that never had a gradient."""
        weight = torch.tensor([1.0, 2.0], requires_grad=False, device=device)

        torch.optim.SGD([weight], lr=0.5, weight_decay=0.25).step()

        assert weight.tolist() == [1.0, 2.0]

    def test_no_grad_leaves_the_flags_of_parameters_alone(self, device: torch.device) -> None:
        """Under no_grad() parameters stay tracked, and new leaves can be; results are not."""
        net = nn.Linear(3, 4).to(device)

        with torch.no_grad():
            result = net(torch.rand(5, 3, device=device))
            new = torch.ones(2, requires_grad=True, device=device)
            changed = torch.ones(2, device=device).add_(new)

        assert (net.weight.requires_grad, new.requires_grad) == (True, True)
        assert (result.requires_grad, changed.requires_grad) == (False, False)

    def test_no_grad_around_the_whole_network_leaves_nothing_to_train(
        self, device: torch.device
    ) -> None:
        """Under no_grad() around the whole network there is no backward pass; outside there is."""
        net, x = nn.Linear(3, 2).to(device), torch.rand(5, 3, device=device)
        net(x).sum().backward()

        with torch.no_grad():
            output = net(x)

        with pytest.raises(RuntimeError, match="does not require grad"):
            output.sum().backward()

    def test_frozen_middle_passes_gradients_where_no_grad_cuts_them(
        self, device: torch.device
    ) -> None:
        """A frozen middle layer hands gradients on to those before it; no_grad() cuts them off."""
        first, middle, last = (nn.Linear(3, 3).to(device) for _ in range(3))
        x = torch.rand(5, 3, device=device)
        with torch.no_grad():
            cut = middle(first(x))
        last(cut).sum().backward()
        after_no_grad = first.weight.grad

        autograd.freeze(middle)
        last(middle(first(x))).sum().backward()

        assert after_no_grad is None
        assert first.weight.grad.any().item()
        assert middle.weight.grad is None

    def test_no_grad_ends_with_its_block(self, device: torch.device, a: Tensor) -> None:
        """Tracking is back when the block of no_grad() ends, even by an exception."""
        with pytest.raises(KeyError), torch.no_grad():
            raise KeyError

        assert (a * 2).requires_grad

    def test_no_grad_inside_no_grad_ends_with_the_outer_one(self, a: Tensor) -> None:
        """Tracking stays off when an inner block of no_grad() ends, until the outer one does."""
        with torch.no_grad():
            with torch.no_grad():
                inside = a * 2
            between = a * 2

        assert (inside.requires_grad, between.requires_grad) == (False, False)
        assert (a * 2).requires_grad

    def test_no_grad_is_a_decorator_too(self, a: Tensor) -> None:
        """A function decorated with no_grad() tracks nothing; tracking is back when it returns."""

        @torch.no_grad()
        def doubled() -> Tensor:
            return a * 2

        assert not doubled().requires_grad
        assert not doubled().requires_grad
        assert (a * 2).requires_grad


def train_twice(parameters: list[Tensor], loss: Callable[[], Tensor]) -> torch.optim.SGD:
    """Take two steps, with the optimizer of the tutorial."""
    optimizer = torch.optim.SGD(parameters, lr=1e-2, momentum=0.9)
    for _ in range(2):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    return optimizer


class TestFurtherReadings:
    def test_step_before_backward_is_detected(self, device: torch.device) -> None:
        """A step of the optimizer between forward and backward is a change in place as any."""
        weight = torch.tensor([3.0], requires_grad=True, device=device)
        weight.grad = torch.tensor([1.0], device=device)
        square = weight * weight

        torch.optim.SGD([weight], lr=0.5).step()

        assert weight.item() == 2.5
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            square.backward()

    def test_overwriting_a_value_that_backward_does_not_need_is_allowed(
        self, device: torch.device
    ) -> None:
        """A change in place is recorded, and allowed where backward needs no old value."""
        x = torch.tensor([3.0], requires_grad=True, device=device)

        y = x + 1
        y.mul_(6)
        y.backward()

        assert y.item() == 24.0
        assert x.grad.item() == 6.0

    def test_change_of_a_tracked_leaf_in_place_is_refused(self, a: Tensor) -> None:
        """A tracked leaf cannot be changed in place, but for under no_grad()."""
        with pytest.raises(RuntimeError, match="a leaf Variable that requires grad"):
            a.add_(1)

        with torch.no_grad():
            a.add_(1)
        assert a.tolist() == [3.0, 4.0]

    def test_change_through_data_is_not_detected_and_falsifies_the_gradient(
        self, device: torch.device
    ) -> None:
        """A change through .data escapes the check: the gradient is 30 instead of 3, in silence."""
        x = torch.tensor([2.0], requires_grad=True, device=device)
        factor = torch.tensor([3.0], requires_grad=True, device=device)
        result = x * factor
        (right,) = torch.autograd.grad(result, x, retain_graph=True)

        factor.data.mul_(10)
        result.backward()

        assert right.item() == 3.0
        assert x.grad.item() == 30.0

    def test_backward_from_four_threads_into_one_leaf_adds_up(self, device: torch.device) -> None:
        """Four threads that add to one leaf lose nothing, as torch is built; no promise covers it.

        torch's note on autograd calls that unsafe. The node AccumulateGrad locks a mutex to add.
        """
        weight = torch.zeros(1000, requires_grad=True, device=device)

        on_four_threads(
            lambda number: [(weight * (number + 1)).sum().backward() for _ in range(20)]
        )

        assert weight.grad.tolist() == [20.0 * (1 + 2 + 3 + 4)] * 1000

    @pytest.mark.on("cpu")
    def test_backward_on_the_cpu_runs_in_the_calling_thread(self, device: torch.device) -> None:
        """On the CPU backward runs in the thread that called it."""

        def caller_and_runner(_: int) -> tuple[int, int]:
            result = torch.ones(2, requires_grad=True, device=device) * 2
            ran = []
            result.grad_fn.register_prehook(lambda _: ran.append(threading.get_ident()))
            result.sum().backward()
            return threading.get_ident(), ran[0]

        pairs = on_four_threads(caller_and_runner)

        assert [caller == runner for caller, runner in pairs] == [True] * 4
        assert len({caller for caller, _ in pairs}) == 4

    def test_no_grad_holds_for_its_own_thread_only(self, a: Tensor) -> None:
        """Tracking is switched off by no_grad() for its own thread, and on in others."""
        with torch.no_grad():
            here = (a * 2).requires_grad
            elsewhere = on_four_threads(lambda _: (a * 2).requires_grad)

        assert not here
        assert elsewhere == [True] * 4


def on_four_threads(work: Callable[[int], Any]) -> list[Any]:
    """Run ``work(0)`` to ``work(3)``, all at the same time, each on a thread of its own."""
    together = threading.Barrier(4)

    def start(number: int) -> Any:
        together.wait(timeout=60)
        return work(number)

    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(start, range(4)))


class TestOnAnAccelerator:
    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_whole_step_stays_on_the_device_of_model_and_data(self, device: torch.device) -> None:
        """Loss, gradients and momentum stay on the device of model, data and labels."""
        net = nn.Linear(3, 2).to(device)

        loss = (net(torch.ones(1, 3, device=device)) - torch.ones(1, 2, device=device)).sum()
        loss.backward()
        optim = torch.optim.SGD(net.parameters(), lr=1e-2, momentum=0.9)
        optim.step()

        momentum = optim.state[net.weight]["momentum_buffer"]
        made = [loss, net.weight.grad, net.bias.grad, momentum, net.weight, net.bias]
        assert [t.device for t in made] == [device] * 6

    @pytest.mark.on("accelerator", "meta")
    def test_data_moved_away_from_the_model_is_refused(self, device: torch.device) -> None:
        """A model left on the CPU refuses data that were moved; a model moved along takes them."""
        net = nn.Linear(3, 2)
        data = torch.ones(1, 3, device=device)

        with pytest.raises(RuntimeError, match="device"):
            net(data)

        assert net.to(device)(data).device == device
