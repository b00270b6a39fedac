"""What older revisions of the tutorial promise, and the present one leaves out."""

from typing import Any

import pytest
import torch
from torch import nn

from blitz import graph


class TestOlderTensors:
    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_empty_tensor_has_a_shape_and_no_certain_values(self, device: torch.device) -> None:
        """What torch.empty makes has shape, dtype and device; its values are not promised."""
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

        assert (new.shape, new.dtype, new.device) == ((5, 3), torch.float16, device)
        assert (other.shape, other.dtype, other.device) == ((5, 3), torch.int64, device)

    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_randn_like_keeps_the_size_and_takes_another_dtype(self, device: torch.device) -> None:
        """Normal random numbers like a tensor of integers have its size and the dtype asked for."""
        x = torch.ones(5, 3, dtype=torch.int64, device=device)

        like = torch.randn_like(x, dtype=torch.float)

        assert like.shape == (5, 3)
        assert like.dtype is torch.float32
        assert like.device == device

    def test_size_of_a_tensor_is_a_tuple(self) -> None:
        """The size of a tensor is a tuple: it unpacks, and adds to another."""
        size = torch.empty(5, 3).size()
        batch = (64,)

        rows, columns = size

        assert isinstance(size, tuple)
        assert (rows, columns) == (5, 3)
        assert batch + size == (64, 5, 3)

    def test_four_spellings_of_addition_give_one_sum(self, device: torch.device) -> None:
        """The operator +, add, add with out= and add_ give the same sum."""
        x = torch.tensor([1.0, 2.5], device=device)
        y = torch.tensor([0.25, -4.0], device=device)
        result = torch.empty(2, device=device)

        assert (x + y).tolist() == [1.25, -1.5]
        assert torch.add(x, y).tolist() == [1.25, -1.5]
        assert torch.add(x, y, out=result) is result
        assert result.tolist() == [1.25, -1.5]
        assert y.add_(x) is y
        assert y.tolist() == [1.25, -1.5]

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

    @pytest.mark.parametrize(
        ("data", "number"),
        [
            pytest.param([[2.5]], 2.5, id="float"),
            pytest.param([7], 7, id="int"),
            pytest.param(True, True, id="bool"),
        ],
    )
    def test_item_is_a_python_number(self, data: Any, number: Any, device: torch.device) -> None:
        """Calling item() on a tensor of one element, of any shape, gives a Python number."""
        item = torch.tensor(data, device=device).item()

        assert item == number
        assert type(item) is type(number)

    @pytest.mark.mistaken(
        text="Every tensor on the CPU but a CharTensor converts to NumPy and back."
    )
    def test_int8_goes_to_numpy_and_back(self) -> None:
        """Of the tensors on the CPU, int8 ones convert to NumPy and back; bfloat16 ones do not."""
        x = torch.tensor([-128, 0, 127]).char()

        array = x.numpy()

        assert (x.dtype, str(array.dtype)) == (torch.int8, "int8")
        assert array.tolist() == [-128, 0, 127]
        assert torch.from_numpy(array).dtype is torch.int8
        with pytest.raises(TypeError, match="BFloat16"):
            x.bfloat16().numpy()

    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_to_changes_device_and_dtype_at_once(self, device: torch.device) -> None:
        """One call of to takes a tensor to another device and another dtype."""
        x = torch.ones(2, 3)

        moved = x.to(device, torch.float16)

        assert (moved.device, moved.dtype) == (device, torch.float16)
        assert moved.shape == (2, 3)
        assert x.dtype is torch.float32


class TestOlderAutograd:
    def test_requires_grad_is_set_in_place(self, device: torch.device) -> None:
        """Calling requires_grad_ without argument makes the tensor itself require grad."""
        x = torch.ones(2, device=device)
        assert not x.requires_grad

        returned = x.requires_grad_()

        assert returned is x
        assert x.requires_grad
        assert (x * 3).requires_grad

    def test_mean_of_three_times_x_plus_two_squared_has_gradient_four_and_a_half(
        self, device: torch.device
    ) -> None:
        """At ones, the mean of 3 (x + 2)² over four elements is 27 and its gradient 4.5."""
        x = torch.ones(2, 2, device=device, requires_grad=True)
        y = x + 2
        z = y * y * 3

        out = z.mean()
        out.backward()

        assert out.item() == 27
        assert x.grad.tolist() == [[4.5, 4.5], [4.5, 4.5]]

    def test_detached_tensor_has_the_values_and_no_history(self, device: torch.device) -> None:
        """A detached tensor has the values, requires no grad and has no history."""
        x = torch.tensor([2.0, 5.0], device=device, requires_grad=True)
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
        since="0.4.1",
        until="2.12",
        text="Ten numbers from arange are a target for the mean squared error as is.",
    )
    def test_target_from_arange_is_converted_to_float(self, device: torch.device) -> None:
        """Numbers from arange are integers, which are a target once converted to float."""
        output = torch.zeros(1, 10, device=device, requires_grad=True)
        target = torch.arange(1, 11, device=device)

        loss = nn.MSELoss()(output, target.view(1, -1).float())
        loss.backward()

        assert target.dtype is torch.int64
        assert loss.item() == 38.5
        expected = [[-0.2, -0.4, -0.6, -0.8, -1.0, -1.2, -1.4, -1.6, -1.8, -2.0]]
        torch.testing.assert_close(output.grad.cpu(), torch.tensor(expected))
