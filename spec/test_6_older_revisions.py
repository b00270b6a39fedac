"""What older revisions of the tutorial promise, and the present one leaves out."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import pytest
import torch

from blitz import graph


@pytest.fixture
def refused_before_2_13() -> AbstractContextManager[Any]:
    """Nothing on torch 2.13 and later; before, the refusal of integers by backward."""
    if tuple(int(part) for part in torch.__version__.split(".")[:2]) >= (2, 13):
        return nullcontext()
    return pytest.raises(RuntimeError, match="Found dtype Long but expected Float")


class TestOlderTensors:
    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_empty_tensor_has_a_shape_and_no_certain_values(self, device: torch.device) -> None:
        """An empty tensor has shape, dtype and device; its values are whatever the memory held."""
        x = torch.empty(5, 3, device=device)

        assert x.shape == (5, 3)
        assert x.dtype is torch.float32
        assert x.device == device

    def test_zeros_of_dtype_long_are_integers(self, device: torch.device) -> None:
        """Zeros of dtype long are 64-bit integers, all of them zero."""
        x = torch.zeros(2, 3, dtype=torch.long, device=device)

        assert x.dtype is torch.int64
        assert x.tolist() == [[0, 0, 0], [0, 0, 0]]

    @pytest.mark.on("cpu", "accelerator", "meta")
    @pytest.mark.parametrize("method", ["new_ones", "new_zeros", "new_empty"])
    def test_new_methods_take_sizes_and_keep_dtype_and_device(
        self, method: str, device: torch.device
    ) -> None:
        """The new_ methods take sizes and keep the device, and the dtype unless one is given."""
        x = torch.zeros(2, dtype=torch.float16, device=device)

        new = getattr(x, method)(5, 3)
        other = getattr(x, method)(5, 3, dtype=torch.int64)

        assert [new.shape, other.shape] == [(5, 3), (5, 3)]
        assert [new.dtype, other.dtype] == [torch.float16, torch.int64]
        assert [new.device, other.device] == [device, device]

    def test_new_ones_are_ones(self, device: torch.device) -> None:
        """What new_ones makes are ones, new_zeros zeros; the tensor they start from stays."""
        x = torch.tensor([7, 8], device=device)

        assert x.new_ones(2, 3).tolist() == [[1, 1, 1], [1, 1, 1]]
        assert x.new_zeros(2, 3).tolist() == [[0, 0, 0], [0, 0, 0]]
        assert x.tolist() == [7, 8]

    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_new_methods_take_another_device(self, device: torch.device) -> None:
        """A new_ method makes its tensor on another device if that is asked for."""
        x = torch.zeros(2)

        assert x.new_ones(5, 3, device=device).device == device

    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_randn_like_keeps_the_size_and_takes_another_dtype(self, device: torch.device) -> None:
        """Normal random numbers like a tensor of integers have its size and the dtype asked for."""
        x = torch.ones(5, 3, dtype=torch.int64, device=device)

        like = torch.randn_like(x, dtype=torch.float)

        assert like.shape == (5, 3)
        assert like.dtype is torch.float32
        assert like.device == device

    def test_randn_like_draws_from_the_normal_distribution(self, device: torch.device) -> None:
        """Normal random numbers have a mean near 0 and a variance near 1."""
        sample = np.array(torch.randn_like(torch.ones((100, 100), device=device)).tolist())

        # Of 10,000 normal numbers the mean strays by 0.010 and the variance by 0.014 (one standard
        # deviation); six of them are allowed.
        assert sample.mean() == pytest.approx(0, abs=0.06)
        assert sample.var() == pytest.approx(1, abs=0.085)

    def test_size_of_a_tensor_is_a_tuple(self) -> None:
        """The size of a tensor is a tuple and does all that a tuple does."""
        size = torch.empty(5, 3).size()

        rows, columns = size
        batch = (64,)

        assert isinstance(size, tuple)
        assert (rows, columns) == (5, 3)
        assert batch + size == (64, 5, 3)
        assert size + batch == (5, 3, 64)
        assert size[1:] == (3,)
        assert len(size) == 2
        assert hash(size) == hash((5, 3))
        assert {(5, 3): "found"}[size] == "found"

    def test_four_spellings_of_addition_give_one_sum(self, device: torch.device) -> None:
        """The operator +, add, add with out= and add_ give the same sum."""
        a = np.linspace(0.1, 3.7, 6, dtype=np.float32).reshape(2, 3)
        b = np.linspace(9.3, -0.2, 6, dtype=np.float32).reshape(2, 3)
        x, y = torch.tensor(a, device=device), torch.tensor(b, device=device)
        out = torch.zeros((2, 3), device=device)

        returned = torch.add(x, y, out=out)

        assert returned is out
        assert out.tolist() == (a + b).tolist()
        assert (x + y).tolist() == (a + b).tolist()
        assert torch.add(x, y).tolist() == (a + b).tolist()
        assert y.add_(x).tolist() == (a + b).tolist()
        assert y.tolist() == (a + b).tolist()

    def test_out_of_another_size_is_resized_with_a_warning(self, device: torch.device) -> None:
        """A result written to a tensor of another size resizes that tensor, with a warning."""
        x = torch.tensor([1.0, 2.0], device=device)
        torch.add(x, 1, out=torch.empty(0, device=device))
        out = torch.zeros((3,), device=device)

        with pytest.warns(UserWarning, match="resized"):
            torch.add(x, 1, out=out)

        assert out.tolist() == [2.0, 3.0]

    @pytest.mark.parametrize(
        ("sizes", "viewed"),
        [
            ((6,), [1, 2, 3, 4, 5, 6]),
            ((3, 2), [[1, 2], [3, 4], [5, 6]]),
            ((-1, 2), [[1, 2], [3, 4], [5, 6]]),
            ((2, -1, 1), [[[1], [2], [3]], [[4], [5], [6]]]),
        ],
        ids=str,
    )
    def test_view_has_other_sizes_and_infers_minus_one(
        self, sizes: tuple[int, ...], viewed: Any, device: torch.device
    ) -> None:
        """A view has the elements in order under other sizes, and works out a size given as -1."""
        x = torch.tensor([[1, 2, 3], [4, 5, 6]], device=device)

        assert x.view(*sizes).tolist() == viewed
        assert x.view(sizes).tolist() == viewed

    def test_view_shares_memory(self, device: torch.device) -> None:
        """A view copies nothing: each sees what is written to the other."""
        x = torch.tensor([[1, 2, 3], [4, 5, 6]], device=device)
        flat = x.view(-1)

        flat[4] = 9
        x[0, 0] = 7

        assert x.tolist() == [[7, 2, 3], [4, 9, 6]]
        assert flat.tolist() == [7, 2, 3, 4, 9, 6]

    @pytest.mark.parametrize(
        ("sizes", "words"),
        [
            pytest.param((-1, 5), "invalid for input of size 6", id="no multiple"),
            pytest.param((2, 2), "invalid for input of size 6", id="too few"),
            pytest.param((-1, -1), "only one dimension can be inferred", id="two to work out"),
        ],
    )
    def test_view_refuses_sizes_that_do_not_fit(
        self, sizes: tuple[int, ...], words: str, device: torch.device
    ) -> None:
        """Sizes that do not hold every element, or leave two to work out, are refused."""
        x = torch.ones((2, 3), device=device)
        assert x.view(-1, 3).shape == (2, 3)

        with pytest.raises(RuntimeError, match=words):
            x.view(*sizes)

    def test_view_refuses_memory_out_of_order(self, device: torch.device) -> None:
        """A transposed matrix cannot be viewed flat, for its memory is out of order."""
        x = torch.tensor([[1, 2, 3], [4, 5, 6]], device=device).t()
        assert x.reshape(6).tolist() == [1, 4, 2, 5, 3, 6]

        with pytest.raises(RuntimeError, match="view size is not compatible"):
            x.view(6)

    @pytest.mark.parametrize(
        ("data", "number"),
        [
            pytest.param([[2.5]], 2.5, id="float"),
            pytest.param([7], 7, id="int"),
            pytest.param(True, True, id="bool"),
        ],
    )
    def test_item_is_a_python_number(self, data: Any, number: Any, device: torch.device) -> None:
        """The one element of a tensor, whatever its shape, can be had as a Python number."""
        item = torch.tensor(data, device=device).item()

        assert item == number
        assert type(item) is type(number)

    def test_item_of_two_elements_is_refused(self, device: torch.device) -> None:
        """A tensor of two elements is no number; a tensor of one element is."""
        x = torch.tensor([1.5, 2.5], device=device)
        assert x[1].item() == 2.5

        with pytest.raises(RuntimeError, match="cannot be converted to Scalar"):
            x.item()

    @pytest.mark.mistaken(
        text="Every tensor on the CPU but a CharTensor converts to NumPy and back."
    )
    def test_int8_goes_to_numpy_and_back(self) -> None:
        """Of the tensors on the CPU, int8 ones convert to NumPy and back; bfloat16 ones do not."""
        x = torch.tensor([-128, 0, 127]).char()

        array = x.numpy()

        assert x.dtype is torch.int8
        assert array.dtype == np.int8
        assert array.tolist() == [-128, 0, 127]
        assert torch.from_numpy(array).dtype is torch.int8
        with pytest.raises(TypeError, match="BFloat16"):
            x.bfloat16().numpy()

    def test_sparse_tensor_does_not_go_to_numpy(self) -> None:
        """A sparse tensor on the CPU does not convert to NumPy; made dense, it does."""
        sparse = torch.tensor([[0.0, 2.0], [0.0, 0.0]]).to_sparse()
        assert sparse.to_dense().numpy().tolist() == [[0.0, 2.0], [0.0, 0.0]]

        with pytest.raises(TypeError, match="Sparse layout"):
            sparse.numpy()

    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_to_changes_device_and_dtype_at_once(self, device: torch.device) -> None:
        """One call of to takes a tensor to another device and another dtype."""
        x = torch.ones((2, 3))

        moved = x.to(device, torch.float16)

        assert moved.device == device
        assert moved.dtype is torch.float16
        assert moved.shape == (2, 3)
        assert x.dtype is torch.float32

    def test_to_converts_the_values(self, device: torch.device) -> None:
        """A tensor that to takes to another dtype keeps its values as far as that dtype can."""
        x = torch.tensor([1.0, 2.5, -3.75])

        moved = x.to(device, torch.int64)

        assert moved.tolist() == [1, 2, -3]


class TestOlderAutograd:
    def test_requires_grad_is_set_in_place(self, device: torch.device) -> None:
        """Calling requires_grad_ without argument makes the tensor itself require grad."""
        x = torch.ones((2,), device=device)
        assert not x.requires_grad

        returned = x.requires_grad_()

        assert returned is x
        assert x.requires_grad
        assert (x * 3).requires_grad

    def test_requires_grad_is_cleared_in_place(self, device: torch.device) -> None:
        """Calling requires_grad_ with False makes the tensor itself not require grad."""
        x = torch.ones(2, device=device, requires_grad=True)

        returned = x.requires_grad_(False)

        assert returned is x
        assert not x.requires_grad
        assert not (x * 3).requires_grad

    def test_mean_of_three_times_x_plus_two_squared_has_gradient_four_and_a_half(
        self, device: torch.device
    ) -> None:
        """At ones, the mean of 3 (x + 2)² over four elements is 27 and its gradient 4.5."""
        x = torch.ones(2, 2, device=device, requires_grad=True)

        out = (3 * (x + 2) * (x + 2)).mean()
        out.backward()

        assert out.item() == 27
        assert x.grad.tolist() == [[4.5, 4.5], [4.5, 4.5]]

    def test_backward_of_a_scalar_starts_from_one(self, device: torch.device) -> None:
        """Calling backward on a scalar without an argument is calling it with one."""
        x = torch.ones(2, 2, device=device, requires_grad=True)

        (3 * (x + 2) * (x + 2)).mean().backward(torch.tensor(1.0, device=device))

        assert x.grad.tolist() == [[4.5, 4.5], [4.5, 4.5]]

    def test_detached_branch_adds_nothing_to_the_gradient(self, device: torch.device) -> None:
        """A detached tensor is not tracked: only the other branch contributes to the gradient."""
        x = torch.tensor([2.0, 5.0], device=device).requires_grad_()

        (x * x.detach()).sum().backward()

        assert x.grad.tolist() == [2.0, 5.0]  # of x * x it were [4, 10]

    def test_detached_tensor_has_the_values_and_no_history(self, device: torch.device) -> None:
        """A detached tensor has the values, requires no grad and has no history."""
        x = torch.tensor([2.0, 5.0], device=device).requires_grad_()
        y = x * 3

        detached = y.detach()

        assert detached.tolist() == [6.0, 15.0]
        assert not detached.requires_grad
        assert detached.grad_fn is None
        assert y.grad_fn is not None

    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_tensor_made_by_the_user_has_no_grad_fn(self, device: torch.device) -> None:
        """A tensor made by the user has no grad_fn, and the result of an operation has one."""
        x = torch.ones(2, 2, device=device, requires_grad=True)

        y = x + 2

        assert x.grad_fn is None
        assert graph.of(y).names() == ["AddBackward0", "AccumulateGrad"]


class TestOlderLossFunction:
    @pytest.mark.changed(
        since="0.4.1", text="Ten numbers from arange are a target for the mean squared error as is."
    )
    def test_target_from_arange_is_converted_to_float(self, device: torch.device) -> None:
        """Numbers from arange are integers, which are a target once converted to float."""
        output = torch.zeros(1, 10, device=device, requires_grad=True)
        target = torch.arange(1, 11, device=device).view(1, -1)

        loss = torch.nn.MSELoss()(output, target.float())
        loss.backward()

        assert target.dtype is torch.int64
        assert loss.item() == 38.5
        expected = [[-0.2, -0.4, -0.6, -0.8, -1.0, -1.2, -1.4, -1.6, -1.8, -2.0]]
        torch.testing.assert_close(output.grad.cpu(), torch.tensor(expected))

    def test_integer_target_gives_the_same_loss(self, device: torch.device) -> None:
        """The mean squared error of an integer target is that of the same numbers as floats."""
        output = torch.zeros((1, 10), device=device)
        target = torch.arange(1, 11, device=device).view(1, -1)

        loss = torch.nn.MSELoss()(output, target)

        assert loss.dtype is torch.float32
        assert loss.item() == 38.5

    def test_integer_target_gives_the_same_gradient(
        self, refused_before_2_13: AbstractContextManager[Any], device: torch.device
    ) -> None:
        """An integer target gives the gradient of floats; before torch 2.13 it is refused."""
        output = torch.zeros(1, 10, device=device, requires_grad=True)
        target = torch.arange(1, 11, device=device).view(1, -1)

        with refused_before_2_13:
            torch.nn.MSELoss()(output, target).backward()

            expected = [[-0.2, -0.4, -0.6, -0.8, -1.0, -1.2, -1.4, -1.6, -1.8, -2.0]]
            torch.testing.assert_close(output.grad.cpu(), torch.tensor(expected))
