"""Chapter 1: a tensor is an array that can live on an accelerator."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from blitz import graph, tensors
from spec.devices import operations

BLOCK = """\
tensor([[1., 0., 1., 1.],
        [1., 0., 1., 1.],
        [1., 0., 1., 1.],
        [1., 0., 1., 1.]])"""
THREES = """\
tensor([[3., 3., 3., 3.],
        [3., 3., 3., 3.],
        [3., 3., 3., 3.],
        [3., 3., 3., 3.]])"""


@pytest.fixture
def tensor(device: torch.device) -> torch.Tensor:
    """Four rows of 1, 0, 1, 1: what the tutorial joins, multiplies and adds to."""
    tensor = torch.ones(4, 4, device=device)
    tensor[:, 1] = 0
    return tensor


class TestTensors:
    def test_inputs_outputs_and_state_of_a_model_are_tensors(self, device: torch.device) -> None:
        """A model's inputs, outputs, parameters and state are all tensors."""
        model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2)).to(device)
        inputs = torch.rand(5, 3, device=device)

        outputs = model(inputs)

        assert all(map(torch.is_tensor, [inputs, outputs, *model.state_dict().values()]))
        assert all(isinstance(p, torch.nn.Parameter) for p in model.parameters())
        assert issubclass(torch.nn.Parameter, torch.Tensor)

    def test_tensors_are_used_as_arrays_are(self, device: torch.device) -> None:
        """Indices, arithmetic, sums and shapes are written for a tensor as for a NumPy array."""
        array = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
        tensor = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], device=device)

        assert array[:, 1].tolist() == tensor[:, 1].tolist() == [2, 5]
        assert array[array > 4].tolist() == tensor[tensor > 4].tolist() == [5, 6]
        assert (array * 2 - 1).tolist() == (tensor * 2 - 1).tolist() == [[1, 3, 5], [7, 9, 11]]
        assert array.sum(axis=1).tolist() == tensor.sum(axis=1).tolist() == [6, 15]
        assert (array @ array.T).tolist() == (tensor @ tensor.T).tolist() == [[14, 32], [32, 77]]
        assert array.reshape(3, 2).shape == tensor.reshape(3, 2).shape == (3, 2)
        assert len(array) == len(tensor) == 2

    def test_reversing_slice_is_for_arrays_only(self, device: torch.device) -> None:
        """A slice with a negative step reverses an array; on a tensor it raises ValueError."""
        tensor = torch.tensor([1, 2, 3], device=device)

        assert np.array([1, 2, 3])[::-1].tolist() == [3, 2, 1]
        with pytest.raises(ValueError, match="step must be greater than zero"):
            tensor[::-1]
        assert tensor.flip(0).tolist() == [3, 2, 1]

    def test_python_floats_have_half_the_bits_of_numpy(self, device: torch.device) -> None:
        """Python's floats become float32 in a tensor and float64 in a NumPy array."""
        assert np.array([0.5]).dtype == np.float64
        assert torch.tensor([0.5], device=device).dtype == torch.float32

    def test_size_is_a_method_of_tensors(self, device: torch.device) -> None:
        """The size of a NumPy array is its number of elements; of a tensor, a method for shapes."""
        array, tensor = np.ones((2, 3)), torch.ones(2, 3, device=device)

        assert array.size == tensor.numel() == 6
        assert tensor.size() == (2, 3)
        assert tensor.size(1) == tensor.size(-1) == 3

    def test_standard_deviation_divides_by_one_less(self, device: torch.device) -> None:
        """The standard deviation of a tensor divides by n - 1, that of a NumPy array by n."""
        numbers = [1.0, 2.0, 3.0, 6.0]  # mean 3; squared deviations 4, 1, 0 and 9

        assert np.array(numbers).std() == pytest.approx((14 / 4) ** 0.5)
        assert torch.tensor(numbers, device=device).std().item() == pytest.approx((14 / 3) ** 0.5)


class TestFromData:
    def test_tensor_takes_shape_and_values_of_nested_lists(self, device: torch.device) -> None:
        """A tensor made from nested lists has their shape and holds their values."""
        data = [[1, 2], [3, 4]]

        x_data = torch.tensor(data, device=device)

        assert x_data.shape == (2, 2)
        assert x_data.tolist() == [[1, 2], [3, 4]]

    @pytest.mark.parametrize(
        ("data", "dtype"),
        [
            pytest.param([[1, 2], [3, 4]], torch.int64, id="integers"),
            pytest.param([1, 2.5], torch.float32, id="an integer and a float"),
            pytest.param([True, False], torch.bool, id="bools"),
        ],
    )
    def test_dtype_is_worked_out_from_the_values(
        self, data: Any, dtype: torch.dtype, device: torch.device
    ) -> None:
        """The dtype of a tensor is worked out from the numbers it is made from."""
        assert torch.tensor(data, device=device).dtype is dtype

    def test_tensor_made_from_data_is_a_copy(self, device: torch.device) -> None:
        """A tensor that torch.tensor makes from an array is a copy, and does not follow it."""
        array = np.array([1.0, 2.0], dtype=np.float32)
        t = torch.tensor(array, device=device)

        array[0] = 7

        assert t.tolist() == [1, 2]


class TestFromNumpy:
    def test_tensor_takes_dtype_and_values_of_the_array(self) -> None:
        """A tensor that from_numpy makes has the dtype and the values of the array."""
        np_array = np.array([[1, 2], [3, 4]], dtype=np.int16)

        x_np = torch.from_numpy(np_array)

        assert x_np.dtype is torch.int16
        assert x_np.tolist() == [[1, 2], [3, 4]]


class TestFromAnotherTensor:
    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_like_tensor_takes_shape_dtype_and_device(self, device: torch.device) -> None:
        """Ones made like another tensor take over its shape, its dtype and its device."""
        x_data = torch.tensor([[1, 2, 3], [4, 5, 6]], device=device)

        x_ones = torch.ones_like(x_data)

        assert x_ones.shape == (2, 3)
        assert x_ones.dtype is torch.int64
        assert x_ones.device == device

    def test_dtype_asked_for_wins_over_the_inherited_one(self, device: torch.device) -> None:
        """A dtype argument wins over the inherited dtype, and the other tensor keeps its own."""
        x_data = torch.tensor([[1, 2, 3], [4, 5, 6]], device=device)

        x_rand = torch.rand_like(x_data, dtype=torch.float)

        assert x_rand.dtype is torch.float32
        assert x_data.tolist() == [[1, 2, 3], [4, 5, 6]]

    def test_ones_like_integers_print_as_shown(self, device: torch.device) -> None:
        """Ones made like a 2x2 tensor of integers print as the tutorial shows, without a point."""
        x_data = torch.tensor([[1, 2], [3, 4]], device=device)

        x_ones = torch.ones_like(x_data)

        assert f"{x_ones.cpu()}" == "tensor([[1, 1],\n        [1, 1]])"

    def test_random_like_integers_print_with_four_decimals(self, device: torch.device) -> None:
        """Random floats made like a 2x2 tensor print as a 2x2 block of four decimals."""
        x_data = torch.tensor([[1, 2], [3, 4]], device=device)

        x_rand = torch.rand_like(x_data, dtype=torch.float)

        n = r"\d\.\d{4}(e-\d\d)?"
        assert re.fullmatch(rf"tensor\(\[\[{n}, {n}\],\n +\[{n}, {n}\]\]\)", f"{x_rand.cpu()}")


class TestRandomOrConstantValues:
    @pytest.mark.on("cpu", "accelerator", "meta")
    @pytest.mark.parametrize("make", [torch.rand, torch.ones, torch.zeros])
    def test_shape_decides_the_dimensions(self, make: Any, device: torch.device) -> None:
        """The tuple of sizes given to rand, ones and zeros is the shape of what they make."""
        tensor = make((2, 3), device=device)

        assert tensor.shape == (2, 3)
        assert tensor.dim() == 2
        assert tensor.dtype is torch.float32

    def test_ones_and_zeros_print_as_shown(self, device: torch.device) -> None:
        """Ones and zeros of shape (2, 3) print as the tutorial shows, each with a point."""
        ones_tensor = torch.ones((2, 3), device=device)
        zeros_tensor = torch.zeros((2, 3), device=device)

        assert f"{ones_tensor.cpu()}" == "tensor([[1., 1., 1.],\n        [1., 1., 1.]])"
        assert f"{zeros_tensor.cpu()}" == "tensor([[0., 0., 0.],\n        [0., 0., 0.]])"

    def test_same_seed_gives_the_same_random_numbers(self, device: torch.device) -> None:
        """The same seed gives the same random numbers again, and another seed gives others."""
        torch.manual_seed(5)
        first = torch.rand(2, 3, device=device).tolist()
        torch.manual_seed(5)
        again = torch.rand(2, 3, device=device).tolist()
        torch.manual_seed(6)
        other = torch.rand(2, 3, device=device).tolist()

        assert first == again != other


class TestAttributes:
    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_attributes_are_a_size_a_dtype_and_a_device(self, device: torch.device) -> None:
        """A tensor's shape is a torch.Size, its dtype a torch.dtype, its device a torch.device."""
        tensor = torch.rand(3, 4, device=device)

        assert tensor.shape == tensor.size() == torch.Size([3, 4])
        assert type(tensor.shape) is torch.Size
        assert tensor.dtype is torch.float32
        assert tensor.device == device

    def test_attributes_print_as_shown(self) -> None:
        """The attributes of a random 3x4 tensor print as the three lines the tutorial shows."""
        tensor = torch.rand(3, 4)

        assert f"Shape of tensor: {tensor.shape}" == "Shape of tensor: torch.Size([3, 4])"
        assert f"Datatype of tensor: {tensor.dtype}" == "Datatype of tensor: torch.float32"
        assert f"Device tensor is stored on: {tensor.device}" == "Device tensor is stored on: cpu"


class TestOperations:
    def test_tensors_have_over_a_hundred_methods(self) -> None:
        """A tensor has over five hundred public methods, let alone a hundred."""
        attributes = [getattr(torch.Tensor, n) for n in dir(torch.Tensor) if not n.startswith("_")]

        methods = list(filter(callable, attributes))

        assert torch.Tensor.add in methods
        assert len(methods) > 500

    @pytest.mark.parametrize(
        ("call", "result"),
        [
            pytest.param(lambda x: x.T, [[1, 4], [2, 5], [3, 7]], id="transposing"),
            pytest.param(lambda x: x[[1, 0], [0, 2]], [4, 3], id="indexing"),
            pytest.param(lambda x: x[:, 1:], [[2, 3], [5, 7]], id="slicing"),
            pytest.param(lambda x: x.cumsum(1), [[1, 3, 6], [4, 9, 16]], id="mathematics"),
            pytest.param(lambda x: x @ x.T, [[14, 35], [35, 90]], id="linear algebra"),
            pytest.param(lambda x: x.multinomial(3).sort().values, [[0, 1, 2]] * 2, id="sampling"),
        ],
    )
    def test_every_family_named_has_operations(
        self, call: Any, result: Any, device: torch.device
    ) -> None:
        """There are operations that transpose, index, slice, calculate, do algebra and sample."""
        x = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 7.0]], device=device)

        assert call(x).tolist() == result

    @pytest.mark.mistaken(text="All of these operations can run on the GPU.")
    def test_few_operators_run_on_the_cpu_only(self, cuda_build: None) -> None:
        """A few operators of torch, fewer than a hundred, run on the CPU and not on CUDA."""
        missing = operations.overloads_for_the_cpu_only()

        assert "aten::histogram.bin_ct" in missing
        assert not missing & {"aten::add.Tensor", "aten::mm", "aten::bernoulli", "aten::matmul"}
        assert len(missing) < 100

    def test_guarded_move_does_nothing_without_a_gpu(self, without_cuda: None) -> None:
        """Without a GPU a guarded move leaves the tensor alone; an unguarded one is an error."""
        tensor = torch.rand(3, 4)

        assert not torch.cuda.is_available()
        assert tensors.to_gpu(tensor) is tensor  # if torch.cuda.is_available(): tensor.to("cuda")

        # A RuntimeError where torch was built for CUDA, an AssertionError where not.
        with pytest.raises((RuntimeError, AssertionError), match=r"driver|compiled|GPU"):
            tensor.to("cuda")

    @pytest.mark.on("accelerator")
    @pytest.mark.usefixtures("torchs_accelerator")
    def test_guarded_move_goes_to_the_accelerator(self, device: torch.device) -> None:
        """With an accelerator, the guarded move gives a tensor of the same values on it."""
        tensor = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])

        moved = tensors.to_accelerator(tensor)

        assert moved.device.type == device.type
        assert moved.tolist() == tensor.tolist() == [[1, 2, 3], [4, 5, 6]]
        assert tensors.to_gpu(tensor).is_cuda == torch.cuda.is_available()

    @pytest.mark.on("accelerator", "meta")
    def test_move_returns_a_tensor_and_leaves_its_own_behind(self, device: torch.device) -> None:
        """Moving returns another tensor: without an assignment the old one stays on the CPU."""
        tensor = torch.ones(2, 3)

        moved = tensor.to(device)

        assert moved.device == device
        assert moved.shape == (2, 3)
        assert tensor.device == torch.device("cpu")

    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_move_to_where_a_tensor_is_returns_the_tensor_itself(
        self, device: torch.device
    ) -> None:
        """Moving a tensor to the device it is on returns the tensor itself, without copy=True."""
        tensor = torch.ones(2, 3, device=device)

        assert tensor.to(device) is tensor
        assert tensor.to(device, copy=True) is not tensor


class TestIndexing:
    def test_assignment_to_a_column_changes_just_that_column(self, device: torch.device) -> None:
        """Assigning to a slice of one column changes that column and nothing else."""
        tensor = torch.tensor([[1, 2, 3], [4, 5, 6]], device=device)

        tensor[:, 1] = 0

        assert tensor.tolist() == [[1, 0, 3], [4, 0, 6]]

    def test_slice_is_a_view(self, device: torch.device) -> None:
        """A slice is a view: what is written to it is written to the tensor, and back."""
        tensor = torch.tensor([[1, 2, 3], [4, 5, 6]], device=device)
        column = tensor[:, 1]

        column[0] = 9
        tensor[1, 1] = 8

        assert tensor.tolist() == [[1, 9, 3], [4, 8, 6]]
        assert column.tolist() == [9, 8]

    def test_index_list_makes_a_copy(self, device: torch.device) -> None:
        """A selection by a list is a copy: what is written to it leaves the tensor alone."""
        tensor = torch.tensor([[1, 2, 3], [4, 5, 6]], device=device)

        columns = tensor[:, [0, 2]]
        columns[0, 0] = 9

        assert columns.tolist() == [[9, 3], [4, 6]]
        assert tensor.tolist() == [[1, 2, 3], [4, 5, 6]]

    def test_block_with_a_zero_column_prints_as_shown(self, device: torch.device) -> None:
        """Ones of shape (4, 4) with the second column set to zero print as the tutorial shows."""
        tensor = torch.ones(4, 4, device=device)

        tensor[:, 1] = 0

        assert f"{tensor.cpu()}" == BLOCK


class TestJoining:
    @pytest.mark.parametrize(
        ("dim", "joined"),
        [
            (0, [[1, 2, 3], [4, 5, 6], [7, 8, 9], [10, 11, 12]]),
            (1, [[1, 2, 3, 7, 8, 9], [4, 5, 6, 10, 11, 12]]),
            (-1, [[1, 2, 3, 7, 8, 9], [4, 5, 6, 10, 11, 12]]),
        ],
    )
    def test_cat_joins_along_the_dimension_given(
        self, dim: int, joined: list[list[int]], device: torch.device
    ) -> None:
        """Concatenating puts tensors one after another along the dimension that is given."""
        first = torch.tensor([[1, 2, 3], [4, 5, 6]], device=device)
        second = torch.tensor([[7, 8, 9], [10, 11, 12]], device=device)

        assert torch.cat([first, second], dim=dim).tolist() == joined

    def test_three_blocks_side_by_side_print_as_shown(self, tensor: torch.Tensor) -> None:
        """Three 4x4 blocks joined along dimension 1 print as the 4x12 block the tutorial shows."""
        t1 = torch.cat([tensor, tensor, tensor], dim=1)

        assert t1.shape == (4, 12)
        assert f"{t1.cpu()}" == (
            "tensor([[1., 0., 1., 1., 1., 0., 1., 1., 1., 0., 1., 1.],\n"
            "        [1., 0., 1., 1., 1., 0., 1., 1., 1., 0., 1., 1.],\n"
            "        [1., 0., 1., 1., 1., 0., 1., 1., 1., 0., 1., 1.],\n"
            "        [1., 0., 1., 1., 1., 0., 1., 1., 1., 0., 1., 1.]])"
        )

    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_stack_adds_a_dimension(self, device: torch.device) -> None:
        """Stacking three tensors adds a dimension of size three; concatenating adds none."""
        tensor = torch.ones(4, 5, device=device)

        assert torch.cat([tensor, tensor, tensor], dim=1).shape == (4, 15)
        assert torch.stack([tensor, tensor, tensor], dim=1).shape == (4, 3, 5)
        assert torch.stack([tensor, tensor, tensor]).shape == (3, 4, 5)

    @pytest.mark.mistaken(
        text="torch.stack is a tensor that joins an operation.",
        upstream="torch.stack is an operation that joins tensors.",
    )
    def test_stack_is_cat_along_a_new_dimension(self, device: torch.device) -> None:
        """The function torch.stack joins tensors as cat does, along a new dimension of size one."""
        first = torch.tensor([[1, 2, 3], [4, 5, 6]], device=device)
        second = torch.tensor([[7, 8, 9], [10, 11, 12]], device=device)

        stacked = torch.stack([first, second], dim=1)

        assert stacked.tolist() == [[[1, 2, 3], [7, 8, 9]], [[4, 5, 6], [10, 11, 12]]]
        assert torch.cat([first[:, None], second[:, None]], dim=1).tolist() == stacked.tolist()


class TestMultiplying:
    def test_elementwise_product_has_two_spellings(self, device: torch.device) -> None:
        """The method mul and the operator * both multiply element by element."""
        a = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], device=device)
        b = torch.tensor([[7.0, 8.0, 9.0], [1000.25, -1.0, 2.0]], device=device)

        assert a.mul(b).tolist() == [[7.0, 16.0, 27.0], [4001.0, -5.0, 12.0]]
        assert (a * b).tolist() == [[7.0, 16.0, 27.0], [4001.0, -5.0, 12.0]]

    def test_elementwise_products_print_as_shown(self, tensor: torch.Tensor) -> None:
        """Both spellings of the block times itself print as the tutorial shows."""
        assert f"{tensor.mul(tensor).cpu()}" == BLOCK
        assert f"{(tensor * tensor).cpu()}" == BLOCK

    def test_matrix_product_has_two_spellings(self, device: torch.device) -> None:
        """The method matmul and the operator @ both multiply rows by columns."""
        a = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], device=device)
        rows = [[1000.25, 0.0, 2.0, -1.0], [3.0, 1.0, 0.0, 2.0], [0.0, 4.0, 1.0, 1.0]]
        b = torch.tensor(rows, device=device)

        assert a.matmul(b).tolist() == [[1006.25, 14.0, 5.0, 6.0], [4016.0, 29.0, 14.0, 12.0]]
        assert (a @ b).tolist() == [[1006.25, 14.0, 5.0, 6.0], [4016.0, 29.0, 14.0, 12.0]]

    def test_t_transposes(self, device: torch.device) -> None:
        """The attribute T of a matrix is its transpose."""
        a = torch.tensor([[1, 2, 3], [4, 5, 6]], device=device)

        assert a.T.tolist() == [[1, 4], [2, 5], [3, 6]]

    def test_matrix_products_print_as_shown(self, tensor: torch.Tensor) -> None:
        """Both spellings of the block times its transpose print threes, as the tutorial shows."""
        assert f"{tensor.matmul(tensor.T).cpu()}" == THREES
        assert f"{(tensor @ tensor.T).cpu()}" == THREES


class TestInPlace:
    @pytest.mark.parametrize(
        ("change", "changed"),
        [
            pytest.param(lambda x: x.add_(5), [[6, 7, 8], [9, 10, 11]], id="add_"),
            pytest.param(lambda x: x.copy_(x * -2), [[-2, -4, -6], [-8, -10, -12]], id="copy_"),
            pytest.param(lambda x: x.t_(), [[1, 4], [2, 5], [3, 6]], id="t_"),
        ],
    )
    def test_underscore_changes_the_operand(
        self, change: Any, changed: Any, device: torch.device
    ) -> None:
        """The methods add_, copy_ and t_ change the tensor they are called on, and return it."""
        x = torch.tensor([[1, 2, 3], [4, 5, 6]], device=device)

        returned = change(x)

        assert returned is x
        assert x.tolist() == changed

    def test_without_underscore_the_operand_stays(self, device: torch.device) -> None:
        """The methods add and t, without the underscore, leave the tensor as it is."""
        x = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], device=device)

        assert x.add(5).tolist() == [[6, 7, 8], [9, 10, 11]]
        assert x.t().tolist() == [[1, 4], [2, 5], [3, 6]]
        assert x.tolist() == [[1, 2, 3], [4, 5, 6]]

    def test_adding_five_in_place_gives_sixes_and_fives(self, tensor: torch.Tensor) -> None:
        """Adding five in place turns the block of ones and zeros into sixes and fives."""
        tensor.add_(5)

        assert tensor.tolist() == [[6, 5, 6, 6]] * 4
        assert f"{tensor.cpu()}" == BLOCK.replace("0.", "5.").replace("1.", "6.")

    def test_in_place_work_allocates_no_memory(self, allocated: Any) -> None:
        """Adding to 4 MiB on the CPU allocates 4 MiB, and next to nothing in place."""
        x = torch.ones(1024, 1024)

        in_place = allocated(lambda: x.add_(1))
        out_of_place = allocated(lambda: x.add(1))

        assert in_place < 4 * 1024
        assert out_of_place >= 4 * 1024 * 1024

    @pytest.mark.mistaken(text="An in-place operation clears the history at once.")
    def test_in_place_work_is_recorded_in_the_history(self, device: torch.device) -> None:
        """In-place work on a computed tensor extends its history, and gradients stay right."""
        x = torch.tensor([1.0, 2.0], device=device, requires_grad=True)
        y = x * 2

        y.add_(1)
        y.pow(2).sum().backward()

        assert graph.of(y).names() == ["AddBackward0", "MulBackward0", "AccumulateGrad"]
        assert x.grad.tolist() == [12.0, 20.0]  # of (2x + 1)²: 4 (2x + 1)

    def test_leaf_that_requires_grad_is_not_changed_in_place(self, device: torch.device) -> None:
        """In-place work on a leaf that requires grad raises RuntimeError, except under no_grad."""
        leaf = torch.ones(2, device=device, requires_grad=True)

        with pytest.raises(RuntimeError, match="a leaf Variable that requires grad"):
            leaf.add_(1)
        with torch.no_grad():
            leaf.add_(1)

        assert leaf.tolist() == [2, 2]

    def test_overwriting_a_value_that_backward_needs_is_found_out(
        self, device: torch.device
    ) -> None:
        """If add_ has overwritten a value that backward needs, backward raises RuntimeError.

        A write that autograd does not see, through ``.data`` or a NumPy array, is not found out.
        """
        x = torch.zeros(2, device=device, requires_grad=True)
        y = x.exp()  # the derivative of exp is its result
        z = x.exp()

        y.clone().add_(1).sum().backward()
        z.add_(1)

        assert x.grad.tolist() == [1, 1]
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            z.sum().backward()


class TestBridgeWithNumpy:
    def test_memory_is_shared_on_the_cpu(self) -> None:
        """A tensor on the CPU and its array share memory, whichever of the two came first."""
        t, a = torch.ones(2), np.ones(2)
        of_tensor, of_array = t.numpy(), torch.from_numpy(a)

        t[0] = 5
        a[1] = 7

        assert of_tensor.tolist() == [5, 1]
        assert of_array.tolist() == [1, 7]

    @pytest.mark.on("accelerator", "meta")
    def test_tensor_away_from_the_cpu_has_no_array(self, device: torch.device) -> None:
        """Away from the CPU, numpy() raises TypeError; on the CPU it returns an array."""
        assert torch.ones(2).numpy().tolist() == [1, 1]

        with pytest.raises(TypeError, match=f"can't convert {device.type}"):
            torch.ones(2, device=device).numpy()


class TestTensorToNumpy:
    def test_five_ones_print_as_shown(self) -> None:
        """Five ones print as the tutorial shows, as a tensor and as its array."""
        t = torch.ones(5)

        n = t.numpy()

        assert f"t: {t}" == "t: tensor([1., 1., 1., 1., 1.])"
        assert f"n: {n}" == "n: [1. 1. 1. 1. 1.]"

    def test_array_shows_later_changes_of_the_tensor(self) -> None:
        """An in-place change of the tensor shows in its array, and both print as shown."""
        t = torch.ones(5)
        n = t.numpy()

        t.add_(1)

        assert f"t: {t}" == "t: tensor([2., 2., 2., 2., 2.])"
        assert f"n: {n}" == "n: [2. 2. 2. 2. 2.]"


class TestNumpyToTensor:
    def test_tensor_over_float64_ones_is_double_precision(self) -> None:
        """A tensor made from NumPy's ones has double precision, as NumPy's floats have."""
        n = np.ones(5)

        t = torch.from_numpy(n)

        assert t.dtype is torch.float64
        assert t.tolist() == [1.0, 1.0, 1.0, 1.0, 1.0]

    def test_changed_array_and_tensor_print_as_shown(self) -> None:
        """Adding to the array in place changes the tensor, and both print as the tutorial shows."""
        n = np.ones(5)
        t = torch.from_numpy(n)

        np.add(n, 1, out=n)

        assert f"t: {t}" == "t: tensor([2., 2., 2., 2., 2.], dtype=torch.float64)"
        assert f"n: {n}" == "n: [2. 2. 2. 2. 2.]"


@pytest.fixture
def cuda_build() -> None:
    """Skip where this build of torch has no operator for CUDA."""
    if not torch.backends.cuda.is_built():
        pytest.skip("this build of torch has no operator for CUDA")


@pytest.fixture
def without_cuda() -> None:
    """Skip where there is a GPU: what is claimed is claimed of machines without one."""
    if torch.cuda.device_count() > 0:
        pytest.skip("claimed of machines without a GPU for CUDA")


@pytest.fixture
def allocated() -> Callable[[Callable[[], object]], int]:
    """Tells how many bytes a piece of work asks the CPU allocator for."""

    def allocated(work: Callable[[], object]) -> int:
        with torch.autograd.profiler.profile(profile_memory=True) as profile:
            work()
        return sum(max(0, event.self_cpu_memory_usage) for event in profile.key_averages())

    return allocated
