"""Details of chapter 1: what is refused, and what dtypes, layouts and other variants do."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

from blitz import tensors


@pytest.fixture
def every_warning() -> Iterator[None]:
    """Torch gives some warnings once a process; here it gives them every time."""
    before = torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    yield
    torch.set_warn_always(before)


@pytest.fixture
def half_by_default() -> Iterator[None]:
    """The default floating point dtype is float16."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float16)
    yield
    torch.set_default_dtype(before)


@pytest.fixture
def cuda(device: torch.device) -> torch.device:
    """A CUDA device: what is claimed of CUDA is not claimed of other accelerators."""
    if device.type != "cuda":
        pytest.skip(f"claimed of CUDA, not of {device.type}")
    return device


@pytest.fixture
def no_accelerator() -> None:
    """Skip where there is an accelerator: what is claimed is claimed of machines without one."""
    if torch.accelerator.is_available():
        pytest.skip("claimed of machines without an accelerator")


@pytest.fixture
def peak_memory(device: torch.device) -> Callable[[Callable[[], object]], int]:
    """Tells how many bytes a piece of work takes at its height on an accelerator that counts."""
    counter = torch.get_device_module(device)
    if not hasattr(counter, "max_memory_allocated"):
        pytest.skip(f"torch.{device.type} has no max_memory_allocated to count memory with")

    def peak(work: Callable[[], object]) -> int:
        counter.reset_peak_memory_stats(device)
        before = counter.memory_allocated(device)
        work()
        return counter.max_memory_allocated(device) - before

    return peak


class TestFromData:
    @pytest.mark.parametrize(
        ("data", "dtype"),
        [
            pytest.param([0.1, 2.5], torch.float32, id="float"),
            pytest.param([True, 2], torch.int64, id="bool and int"),
            pytest.param([True, 2, 0.7], torch.float32, id="bool, int and float"),
            pytest.param([1, 2j], torch.complex64, id="int and complex"),
            pytest.param([], torch.float32, id="nothing"),
            pytest.param(((1, 2), (3, 4)), torch.int64, id="tuples"),
            pytest.param(np.array([1, 2], dtype=np.int16), torch.int16, id="int16 array"),
            pytest.param(np.array([1, 2], dtype=np.float16), torch.float16, id="float16 array"),
            pytest.param(np.array([1, 255], dtype=np.uint8), torch.uint8, id="array of bytes"),
            pytest.param(np.array([True, False]), torch.bool, id="bool array"),
            pytest.param(
                np.array([[1, 2], [3, 4]], dtype=np.int32).T, torch.int32, id="transposed array"
            ),
        ],
    )
    def test_mixed_numbers_and_arrays_decide_the_dtype(
        self, data: Any, dtype: torch.dtype, device: torch.device
    ) -> None:
        """Mixed numbers take the widest of their kinds, and an array gives its own dtype."""
        t = torch.tensor(data, device=device)

        assert t.dtype is dtype
        assert t.tolist() == np.asarray(data, dtype=str(dtype).removeprefix("torch.")).tolist()

    def test_floats_become_the_default_dtype(
        self, half_by_default: None, device: torch.device
    ) -> None:
        """Python floats become torch's default dtype, integers stay int64 whatever it is."""
        assert torch.tensor([1.5, 2.5], device=device).dtype is torch.float16
        assert torch.tensor([1, 2], device=device).dtype is torch.int64

    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_tensor_is_made_on_the_device_asked_for(self, device: torch.device) -> None:
        """A tensor made from data lives on the device that is given."""
        assert torch.tensor([1.0, 2.0], device=device).device == device

    def test_ragged_lists_are_refused(self, device: torch.device) -> None:
        """Lists of unequal length raise ValueError, in the second or in the third level."""
        assert torch.tensor([[1, 2], [3, 4]], device=device).shape == (2, 2)

        with pytest.raises(ValueError, match="expected sequence of length 2 at dim 1"):
            torch.tensor([[1, 2], [3]], device=device)
        with pytest.raises(ValueError, match="expected sequence of length 2 at dim 2"):
            torch.tensor([[[1, 2], [3, 4]], [[5, 6], [7]]], device=device)

    @pytest.mark.parametrize(
        ("data", "error", "words"),
        [
            pytest.param("1", TypeError, "invalid data type 'str'", id="text"),
            pytest.param([None], RuntimeError, "Could not infer dtype of NoneType", id="None"),
            # RuntimeError up to torch 2.6, ValueError by 2.11.
            pytest.param([2**63], (ValueError, RuntimeError), "Overflow", id="past int64"),
        ],
    )
    def test_data_that_is_no_number_of_a_dtype_is_refused(
        self, data: Any, error: Any, words: str, device: torch.device
    ) -> None:
        """Text, None and integers beyond int64 raise errors; the largest int64 does not."""
        assert torch.tensor([2**63 - 1], device=device).tolist() == [9223372036854775807]

        with pytest.raises(error, match=words):
            torch.tensor(data, device=device)


class TestFromNumpy:
    def test_tensor_takes_the_strides_of_the_array(self) -> None:
        """A tensor made from a transposed array has its strides and its values in its order."""
        a = np.array([[1, 2, 3], [4, 5, 6]], dtype=np.int16).T  # 2 bytes a number

        t = torch.from_numpy(a)

        assert t.tolist() == [[1, 4], [2, 5], [3, 6]]
        assert t.stride() == (1, 3)
        assert a.strides == (2, 6)

    @pytest.mark.parametrize("shape", [(2, 1, 3), (2, 0, 3), (3,), ()], ids=str)
    @pytest.mark.parametrize("dtype", [np.float64, np.int32], ids=["float64", "int32"])
    def test_array_of_any_shape_keeps_it_and_its_memory(
        self, dtype: Any, shape: tuple[int, ...]
    ) -> None:
        """Arrays with any number of dimensions keep shape and memory, there and back."""
        a = np.zeros(shape, dtype)

        t = torch.from_numpy(a)
        back = t.numpy()
        t.fill_(1)
        back[...] += 1

        assert t.shape == back.shape == shape
        assert a.tolist() == t.tolist() == np.full(shape, 2).tolist()

    def test_tensor_of_a_slice_lies_on_the_slice(self) -> None:
        """A tensor made from a slice of an array starts where the slice does."""
        a = np.array([1.0, 2.0, 3.0, 4.0])

        t = torch.from_numpy(a[2:])
        t += 10

        assert a.tolist() == [1.0, 2.0, 13.0, 14.0]

    def test_round_trip_comes_back_to_the_same_memory(self) -> None:
        """From array to tensor and back nothing is copied, and nothing changes."""
        a = np.array([[1, 2, 3], [4, 5, 6]])

        back = torch.from_numpy(a).numpy()

        assert back.ctypes.data == a.ctypes.data
        assert back.dtype == a.dtype
        assert back.tolist() == [[1, 2, 3], [4, 5, 6]]

    @pytest.mark.parametrize(
        "name",
        [
            *("float16", "float32", "float64", "complex64", "complex128", "bool"),
            *("int8", "int16", "int32", "int64", "uint8", "uint16"),
        ],
    )
    def test_twelve_dtypes_keep_their_name(self, name: Any) -> None:
        """Twelve dtypes of NumPy keep their name in torch and back, and the array its memory.

        Among them uint16, which torch refused up to 2.2.
        """
        a = np.array([0, 1, 1], dtype=name)

        t = torch.from_numpy(a)
        back = t.numpy()
        a[0] = 1

        assert t.dtype is getattr(torch, name)
        assert back.dtype == name
        assert t.tolist() == back.tolist() == [1, 1, 1]

    @pytest.mark.parametrize(
        ("array", "error", "words"),
        [
            pytest.param([1, 2], TypeError, "expected np.ndarray", id="a list"),
            pytest.param(np.array([None]), TypeError, "numpy.object_", id="objects"),
            pytest.param(np.array(["1"]), TypeError, "numpy.str_", id="text"),
            pytest.param(np.arange(3)[::-1], ValueError, "negative", id="a negative stride"),
            pytest.param(
                np.arange(3).astype(np.dtype(np.int32).newbyteorder("S")),
                ValueError,
                "byte order",
                id="foreign byte order",
            ),
        ],
    )
    def test_what_is_no_plain_array_of_numbers_is_refused(
        self, array: Any, error: Any, words: str
    ) -> None:
        """Lists, objects, text, negative strides and foreign byte order cannot share memory."""
        assert torch.from_numpy(np.arange(3)).tolist() == [0, 1, 2]

        with pytest.raises(error, match=words):
            torch.from_numpy(array)

    def test_read_only_array_only_warns(self, every_warning: None) -> None:
        """A read-only array becomes a tensor over its memory, with a UserWarning and no error."""
        a = np.array([1.0, 2.0])
        torch.from_numpy(a)
        a.setflags(write=False)

        with pytest.warns(UserWarning, match="not writable"):
            t = torch.from_numpy(a)

        assert t.data_ptr() == a.ctypes.data

    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_tensor_of_an_array_goes_to_the_device_asked_for(self, device: torch.device) -> None:
        """A tensor made from an array is on the CPU until it is moved to another device."""
        t = torch.from_numpy(np.zeros((2, 3), dtype=np.float32))

        assert t.device == torch.device("cpu")
        assert t.to(device).device == device
        assert t.to(device).shape == (2, 3)
        assert t.to(device).dtype is torch.float32

    def test_values_of_an_array_arrive_on_the_device(self, device: torch.device) -> None:
        """The values of an array arrive in order on the device, a transposed array's too."""
        a = np.array([[0.5, 0.25, 2.5], [0.75, -4.0, 1.0]], dtype=np.float32).T

        t = torch.from_numpy(a).to(device)

        assert t.tolist() == [[0.5, 0.75], [0.25, -4.0], [2.5, 1.0]]


class TestFromAnotherTensor:
    @pytest.mark.on("cpu", "accelerator", "meta")
    @pytest.mark.parametrize(
        "dtype", [torch.float32, torch.float16, torch.int32, torch.uint8, torch.bool], ids=str
    )
    def test_like_tensor_takes_every_dtype(self, dtype: torch.dtype, device: torch.device) -> None:
        """Ones made like a tensor have its dtype, whether floats, integers or booleans."""
        source = torch.zeros(2, 3, dtype=dtype, device=device)

        assert torch.ones_like(source).dtype is dtype
        assert torch.ones_like(source).shape == (2, 3)

    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_random_like_tensor_takes_shape_dtype_and_device(self, device: torch.device) -> None:
        """A random tensor made like another takes over its shape, its dtype and its device."""
        source = torch.zeros(2, 3, dtype=torch.float16, device=device)

        like = torch.rand_like(source)

        assert like.shape == (2, 3)
        assert like.dtype is torch.float16
        assert like.device == device

    @pytest.mark.on("cpu")  # not every accelerator has float64
    @pytest.mark.parametrize("like", [torch.ones_like, torch.rand_like, torch.zeros_like])
    @pytest.mark.parametrize("shape", [(2, 3), (2, 0), ()], ids=str)
    def test_like_tensor_of_double_precision_has_it_too(
        self, shape: tuple[int, ...], like: Any, device: torch.device
    ) -> None:
        """Double precision is inherited, or given as dtype, with any shape."""
        double = torch.zeros(shape, dtype=torch.float64, device=device)

        inherited, asked_for = like(double), like(double.float(), dtype=torch.float64)

        assert [inherited.dtype, asked_for.dtype] == [torch.float64] * 2
        assert inherited.shape == asked_for.shape == shape

    def test_ones_like_are_ones_in_memory_of_their_own(self, device: torch.device) -> None:
        """Ones made like another tensor are all one, and writing to them leaves the other alone."""
        source = torch.tensor([[5, 6, 7], [8, 9, 10]], device=device)

        like = torch.ones_like(source)
        like[0, 0] = 2

        assert like.tolist() == [[2, 1, 1], [1, 1, 1]]
        assert source.tolist() == [[5, 6, 7], [8, 9, 10]]
        assert torch.ones_like(source.half()).tolist() == [[1, 1, 1], [1, 1, 1]]
        assert torch.ones_like(source > 7).tolist() == [[True] * 3] * 2

    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_like_tensor_takes_the_memory_layout(self, device: torch.device) -> None:
        """A tensor made like a transposed one has the same layout in memory."""
        source = torch.ones(2, 3, device=device).t()

        assert source.stride() == (1, 3)
        assert torch.ones_like(source).stride() == (1, 3)
        assert torch.rand_like(source).stride() == (1, 3)

    @pytest.mark.on("accelerator", "meta")
    @pytest.mark.parametrize("like", [torch.ones_like, torch.rand_like])
    def test_device_asked_for_wins_over_the_inherited_one(
        self, like: Any, device: torch.device
    ) -> None:
        """A device argument wins over the device of the other tensor."""
        source = torch.zeros(2, 3)

        elsewhere = like(source, device=device)

        assert elsewhere.device == device
        assert elsewhere.shape == (2, 3)
        assert like(source).device == torch.device("cpu")

    def test_like_tensor_does_not_require_grad(self, device: torch.device) -> None:
        """A tensor made like one that requires grad does not require grad itself."""
        source = torch.zeros(2, device=device, requires_grad=True)

        assert source.requires_grad
        assert not torch.ones_like(source).requires_grad
        assert not torch.rand_like(source).requires_grad

    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_dtype_asked_for_keeps_shape_and_device(self, device: torch.device) -> None:
        """A dtype argument changes neither the inherited shape nor the inherited device."""
        source = torch.zeros(2, 3, device=device)

        like = torch.ones_like(source, dtype=torch.int64)

        assert like.dtype is torch.int64
        assert like.shape == (2, 3)
        assert like.device == device

    def test_random_like_numbers_lie_between_0_and_1(self, device: torch.device) -> None:
        """Random numbers made like another tensor lie in [0, 1), and are not all the same."""
        source = torch.full((10, 10), 7, device=device)

        single = np.array(torch.rand_like(source, dtype=torch.float).tolist())
        half = np.array(torch.rand_like(source.half()).tolist())

        assert 0 <= single.min() < single.max() < 1
        assert np.unique(single).size > 90  # of 100
        assert np.unique(half).size > 75

    def test_random_integers_like_integers_are_refused(self, device: torch.device) -> None:
        """Without a dtype, rand_like of integers raises RuntimeError: it draws floats.

        By torch 2.11 it is a NotImplementedError, which is a RuntimeError.
        """
        source = torch.tensor([[1, 2], [3, 4]], device=device)
        assert torch.rand_like(source, dtype=torch.float).shape == (2, 2)

        with pytest.raises(RuntimeError, match="not implemented for 'Long'"):
            torch.rand_like(source)


class TestRandomOrConstantValues:
    @pytest.mark.on("cpu", "accelerator", "meta")
    @pytest.mark.parametrize("make", [torch.rand, torch.ones, torch.zeros])
    @pytest.mark.parametrize("shape", [(), (0,), (1,), (3,), (2, 0, 4), (2, 1, 3, 4)], ids=str)
    def test_shape_may_have_any_number_of_dimensions(
        self, make: Any, shape: tuple[int, ...], device: torch.device
    ) -> None:
        """A shape may have no dimension or several, and sizes of zero or one among them."""
        t = make(shape, device=device)

        assert t.shape == shape
        assert t.dim() == len(shape)
        assert t.device == device

    @pytest.mark.parametrize("make", [torch.rand, torch.ones, torch.zeros])
    def test_sizes_come_as_tuple_list_size_or_arguments(
        self, make: Any, device: torch.device
    ) -> None:
        """A tuple, a list, a torch.Size and separate arguments give the same shape."""
        assert make((2, 3), device=device).shape == (2, 3)
        assert make([2, 3], device=device).shape == (2, 3)
        assert make(torch.Size([2, 3]), device=device).shape == (2, 3)
        assert make(2, 3, device=device).shape == (2, 3)

    @pytest.mark.parametrize("make", [torch.rand, torch.ones, torch.zeros])
    def test_negative_and_fractional_sizes_are_refused(
        self, make: Any, device: torch.device
    ) -> None:
        """A negative size raises RuntimeError and a fractional one TypeError; zero is a size."""
        assert make((2, 0), device=device).shape == (2, 0)

        with pytest.raises(RuntimeError, match="negative"):
            make((2, -1), device=device)
        with pytest.raises(TypeError, match="float"):
            make((2, 1.0), device=device)

    def test_random_numbers_are_uniform_between_0_and_1(self, device: torch.device) -> None:
        """Random numbers lie in [0, 1), with a mean near 1/2 and a variance near 1/12."""
        sample = np.array(torch.rand(100, 100, device=device).tolist())

        assert 0 <= sample.min() < sample.max() < 1
        assert np.unique(sample).size > 9_900  # of 10,000; few come twice
        # Of 10,000 uniform numbers the mean strays by 0.003 and the variance by 0.0008 (one
        # standard deviation); six of them are allowed.
        assert sample.mean() == pytest.approx(1 / 2, abs=0.018)
        assert sample.var() == pytest.approx(1 / 12, abs=0.0048)


class TestAttributes:
    @pytest.mark.on("accelerator")
    def test_device_of_an_accelerator_has_an_index(self, device: torch.device) -> None:
        """The device of a tensor on an accelerator names its kind and its index, as in cuda:0."""
        t = torch.rand(3, 4, device=device)

        assert str(t.device) == f"{device.type}:{device.index}"
        assert t.device.index is not None

    @pytest.mark.on("cpu", "accelerator", "meta")
    @pytest.mark.parametrize("name", ["shape", "dtype", "device"])
    def test_shape_dtype_and_device_cannot_be_assigned(
        self, name: str, device: torch.device
    ) -> None:
        """Assigning to shape, dtype or device raises AttributeError; requires_grad can be set."""
        t = torch.rand(3, 4, device=device)
        t.requires_grad = True

        with pytest.raises(AttributeError, match="not writable"):
            setattr(t, name, getattr(t, name))


class TestOperations:
    @pytest.mark.on("accelerator")
    def test_histogram_is_refused_on_cuda(self, cuda: torch.device) -> None:
        """A histogram, which the CPU computes, raises NotImplementedError on CUDA."""
        t = torch.tensor([1.0, 2.0, 2.5, 4.0])
        assert torch.histogram(t, 3).hist.tolist() == [1.0, 2.0, 1.0]

        with pytest.raises(NotImplementedError, match=r"aten::histogram\.bin_ct"):
            torch.histogram(t.to(cuda), 3)

    def test_guarded_move_does_nothing_without_an_accelerator(self, no_accelerator: None) -> None:
        """A move guarded by torch.accelerator.is_available() does nothing if there is none."""
        tensor = torch.rand(3, 4)

        assert tensors.to_accelerator(tensor) is tensor

    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_device_by_keyword_is_no_copy_either(self, device: torch.device) -> None:
        """A move by keyword to the device that a tensor is on returns the tensor itself too."""
        tensor = torch.ones(2, 3, device=device)

        assert tensor.to(device=device) is tensor

    def test_move_with_copy_shares_no_memory(self, device: torch.device) -> None:
        """A move with copy=True returns a tensor of equal values in memory of its own."""
        tensor = torch.tensor([1.0, 2.0], device=device)

        copied = tensor.to(device, copy=True)
        copied[0] = 7

        assert copied.tolist() == [7.0, 2.0]
        assert tensor.tolist() == [1.0, 2.0]


class TestIndexing:
    def test_assignment_to_a_slice_keeps_the_memory(self) -> None:
        """Assigning to a slice writes into the memory that the tensor has."""
        tensor = torch.ones(4, 4)
        address = tensor.data_ptr()

        tensor[:, 1] = 0

        assert tensor.data_ptr() == address
        assert tensor.tolist() == [[1, 0, 1, 1]] * 4

    def test_columns_are_added_to_and_filled_through_their_views(
        self, device: torch.device
    ) -> None:
        """A column is added to, filled and zeroed through its view."""
        tensor = torch.tensor([[1, 2, 3], [4, 5, 6]], device=device)
        column = tensor[:, 1]

        column += 10
        tensor[:, 0].fill_(5)
        tensor[:, 2].zero_()

        assert tensor.tolist() == [[5, 12, 0], [5, 15, 0]]

    @pytest.mark.parametrize(
        "index",
        [
            pytest.param(np.s_[1], id="row"),
            pytest.param(np.s_[-1, -2], id="element from the end"),
            pytest.param(np.s_[..., -1], id="last column"),
            pytest.param(np.s_[1:, :2], id="block"),
            pytest.param(np.s_[::2, 1::2], id="steps"),
            pytest.param(np.s_[None, :, 0], id="new dimension"),
        ],
    )
    def test_selection_without_a_list_is_a_view(self, index: Any, device: torch.device) -> None:
        """Indexing with numbers, slices, an ellipsis or None gives a view, even of one element."""
        array = np.arange(12, dtype=np.float32).reshape(3, 4)
        tensor = torch.tensor(array, device=device)

        tensor[index].add_(100)
        array[index] += 100

        assert tensor.tolist() == array.tolist()

    def test_assigned_values_are_laid_out_and_converted_as_in_numpy(
        self, device: torch.device
    ) -> None:
        """A row of values fills a column in order, and floats are cut off for integers."""
        tensor = torch.tensor([[1, 2, 3], [4, 5, 6]], device=device)

        tensor[:, 1] = torch.tensor([7, 8], device=device)
        tensor[0, 0], tensor[1, 0] = 2.7, -2.7
        tensor[:, 2] += 10

        assert tensor.tolist() == [[2, 7, 13], [-2, 8, 16]]
        with pytest.raises(RuntimeError, match=r"shape mismatch|must match"):
            tensor[:, 1] = torch.tensor([7, 8, 9], device=device)

    def test_index_out_of_range_is_refused(self, device: torch.device) -> None:
        """An index past the last column raises IndexError; so does one before the first row."""
        tensor = torch.ones(4, 4, device=device)
        assert tensor[:, 3].tolist() == tensor[-4].tolist() == [1, 1, 1, 1]

        with pytest.raises(IndexError, match="index 4 is out of bounds for dimension 1"):
            tensor[:, 4]
        with pytest.raises(IndexError, match="index -5 is out of bounds for dimension 0"):
            tensor[-5]

    def test_more_indices_than_dimensions_are_refused(self, device: torch.device) -> None:
        """Three indices into two dimensions raise IndexError; two select an element."""
        tensor = torch.ones(4, 4, device=device)
        assert tensor[0, 0].item() == 1

        with pytest.raises(IndexError, match="too many indices"):
            tensor[0, 0, 0]


class TestJoining:
    @pytest.mark.parametrize("dim", [0, 1, 2, -1, -2, -3])
    def test_cat_joins_any_number_of_cubes(self, dim: int, device: torch.device) -> None:
        """Five tensors of three dimensions are joined in order along any of these."""
        arrays = np.arange(40.0, dtype=np.float32).reshape(5, 2, 2, 2)

        joined = torch.cat(tuple(torch.tensor(arrays, device=device)), dim)

        assert joined.tolist() == np.concatenate(tuple(arrays), dim).tolist()

    def test_cat_takes_other_sizes_in_the_joined_dimension(self, device: torch.device) -> None:
        """The tensors to concatenate may differ in the dimension that is joined."""
        wide = torch.tensor([[1, 2, 3], [4, 5, 6]], device=device)
        narrow = torch.tensor([[7], [8]], device=device)

        joined = torch.cat([wide, narrow, wide], dim=1)

        assert joined.tolist() == [[1, 2, 3, 7, 1, 2, 3], [4, 5, 6, 8, 4, 5, 6]]

    def test_cat_makes_a_copy(self, device: torch.device) -> None:
        """What is joined is a copy, of a single tensor too: it does not follow its parts."""
        part = torch.tensor([0.5, 0.75], device=device)

        alone, twice = torch.cat([part]), torch.cat([part, part])
        beside_nothing, stacked = torch.cat([part, part[:0]]), torch.stack([part])
        part[0] = 7

        assert alone.tolist() == beside_nothing.tolist() == [0.5, 0.75]
        assert stacked.tolist() == [[0.5, 0.75]]
        assert twice.tolist() == [0.5, 0.75, 0.5, 0.75]

    def test_cat_promotes_to_a_common_dtype(self, device: torch.device) -> None:
        """Integers concatenated with floats become floats, and the narrower dtype the wider."""
        integers = torch.tensor([1, 2], device=device)
        floats = torch.tensor([0.5], device=device)

        joined = torch.cat([integers, floats])
        of_bools = torch.cat([integers > 1, integers])

        assert joined.dtype is torch.cat([floats.half(), floats]).dtype is torch.float32
        assert joined.tolist() == [1.0, 2.0, 0.5]
        assert of_bools.dtype is torch.int64
        assert of_bools.tolist() == [0, 1, 1, 2]

    def test_cat_refuses_other_sizes_elsewhere(self, device: torch.device) -> None:
        """Sizes that differ in a dimension other than the joined one raise RuntimeError."""
        tall, short = torch.ones(3, 2, device=device), torch.ones(2, 2, device=device)
        assert torch.cat([tall, short], dim=0).shape == (5, 2)

        with pytest.raises(RuntimeError, match="Sizes of tensors must match except in dimension 1"):
            torch.cat([tall, short], dim=1)
        with pytest.raises(RuntimeError, match="must have same number of dimensions"):
            torch.cat([tall, tall[0]])

    def test_cat_passes_over_an_empty_vector(self, device: torch.device) -> None:
        """A tensor of shape (0,) is joined to a tensor of any shape, which it leaves as it is."""
        block, nothing = torch.ones(3, 2, device=device), torch.ones(0, device=device)

        assert torch.cat([block, nothing]).shape == (3, 2)
        assert torch.cat([block, nothing], dim=1).shape == (3, 2)

    def test_cat_refuses_a_dimension_that_is_not_there(self, device: torch.device) -> None:
        """Concatenating along a dimension past the last raises IndexError; the last is taken."""
        tensor = torch.ones(2, 3, device=device)
        assert torch.cat([tensor, tensor], dim=1).shape == (2, 6)

        with pytest.raises(IndexError, match="Dimension out of range"):
            torch.cat([tensor, tensor], dim=2)

    def test_cat_of_nothing_is_refused(self, device: torch.device) -> None:
        """Concatenating no tensor is an error; concatenating one is not."""
        assert torch.cat([torch.ones(2, device=device)]).tolist() == [1, 1]

        # A RuntimeError up to torch 2.6, a ValueError by 2.11.
        with pytest.raises((RuntimeError, ValueError), match="non-empty list"):
            torch.cat([])

    def test_cat_refuses_tensors_without_dimension(self, device: torch.device) -> None:
        """Concatenating tensors without a dimension raises RuntimeError; stacking takes them."""
        one, two = torch.tensor(1, device=device), torch.tensor(2, device=device)
        assert torch.cat([one.view(1), two.view(1)]).tolist() == [1, 2]
        assert torch.stack([one, two]).tolist() == [1, 2]

        with pytest.raises(RuntimeError, match="zero-dimensional"):
            torch.cat([one, two])

    @pytest.mark.on("accelerator", "meta")
    def test_cat_refuses_tensors_of_several_devices(self, device: torch.device) -> None:
        """Concatenating tensors that are on different devices raises RuntimeError."""
        here, there = torch.ones(2), torch.ones(2, device=device)
        assert torch.cat([there, there]).device == device

        with pytest.raises(RuntimeError, match="device"):
            torch.cat([here, there])

    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_joined_tensors_stay_on_their_device(self, device: torch.device) -> None:
        """Concatenated and stacked tensors are on the device of the tensors they join."""
        tensor = torch.ones(2, 3, device=device)

        assert torch.cat([tensor, tensor]).device == device
        assert torch.stack([tensor, tensor]).device == device

    @pytest.mark.on("cpu", "accelerator", "meta")
    @pytest.mark.parametrize(("dim", "shape"), [(2, (4, 5, 3)), (-1, (4, 5, 3)), (-2, (4, 3, 5))])
    def test_stack_counts_dimensions_with_the_new_one(
        self, dim: int, shape: tuple[int, ...], device: torch.device
    ) -> None:
        """The new dimension of a stack may be the last one, and may be counted from the end."""
        tensor = torch.ones(4, 5, device=device)

        assert torch.stack([tensor, tensor, tensor], dim=dim).shape == shape

    @pytest.mark.parametrize(
        ("dim", "stacked"),
        [
            (0, [[[1, 2, 3], [4, 5, 6]], [[7, 8, 9], [10, 11, 12]]]),
            (2, [[[1, 7], [2, 8], [3, 9]], [[4, 10], [5, 11], [6, 12]]]),
        ],
    )
    def test_stack_lays_tensors_out_along_any_dimension(
        self, dim: int, stacked: list[list[list[int]]], device: torch.device
    ) -> None:
        """Along its first dimension a stack lists its tensors, along its last their elements."""
        first = torch.tensor([[1, 2, 3], [4, 5, 6]], device=device)
        second = torch.tensor([[7, 8, 9], [10, 11, 12]], device=device)

        assert torch.stack([first, second], dim=dim).tolist() == stacked

    def test_stack_needs_equal_shapes(self, device: torch.device) -> None:
        """Stacking tensors of unequal shape raises RuntimeError, though cat takes them."""
        long, short = torch.ones(3, 2, device=device), torch.ones(2, 2, device=device)
        assert torch.cat([long, short]).shape == (5, 2)

        with pytest.raises(RuntimeError, match="equal size"):
            torch.stack([long, short])


class TestMultiplying:
    def test_functions_multiply_as_the_methods_do(self, device: torch.device) -> None:
        """The functions torch.mul and torch.matmul give what the methods of that name give."""
        a = torch.tensor([[1.0, 2.0], [3.0, 4.0]], device=device)

        assert torch.mul(a, a.T).tolist() == a.mul(a.T).tolist() == [[1, 6], [6, 16]]
        assert torch.matmul(a, a.T).tolist() == a.matmul(a.T).tolist() == [[5, 11], [11, 25]]
        assert (a * a.T).tolist() == [[1, 6], [6, 16]]

    def test_elementwise_product_commutes(self, device: torch.device) -> None:
        """The element by element product is the same either way round."""
        a, b = torch.rand(5, 7, device=device), torch.rand(5, 7, device=device)

        assert a.mul(b).tolist() == b.mul(a).tolist()
        assert (a * b).tolist() == (b * a).tolist()

    def test_elementwise_product_is_rounded_once(self, device: torch.device) -> None:
        """Each element of a product is the exact product, rounded to the dtype of the factors."""
        a = np.linspace(0.1, 3.7, 35, dtype=np.float32).reshape(5, 7)
        b = np.linspace(9.3, -0.2, 35, dtype=np.float32).reshape(5, 7)

        left, right = torch.tensor(a, device=device), torch.tensor(b, device=device)

        assert left.mul(right).tolist() == (a * b).tolist()
        assert (left * right).tolist() == (a * b).tolist()

    def test_elementwise_product_of_integers_is_exact(self, device: torch.device) -> None:
        """Integers multiply exactly as far as their dtype goes, past what a float can hold too."""
        whole = torch.tensor([3, 2**53 + 1], device=device)

        assert whole.mul(whole[:1]).tolist() == [9, 3 * 2**53 + 3]
        assert (whole * whole[:1]).tolist() == [9, 3 * 2**53 + 3]

    def test_integers_times_floats_are_floats(self, device: torch.device) -> None:
        """Integers times floats, of a tensor or of Python, are floats."""
        three, halves = torch.tensor([3], device=device), torch.tensor([0.5, 1.5], device=device)

        assert three.mul(halves).dtype is (three * halves).dtype is torch.float32
        assert three.mul(halves).tolist() == (three * halves).tolist() == [1.5, 4.5]
        assert (three * 0.5).tolist() == (0.5 * three).tolist() == [1.5]

    @pytest.mark.parametrize(
        ("other", "product"),
        [
            pytest.param(10.0, [[10, 20, 30], [40, 50, 60]], id="a number"),
            pytest.param([10.0, 1.0, 0.0], [[10, 2, 0], [40, 5, 0]], id="a row"),
            pytest.param([[10.0], [1.0]], [[10, 20, 30], [4, 5, 6]], id="a column"),
        ],
    )
    def test_elementwise_product_broadcasts(
        self, other: Any, product: list[list[int]], device: torch.device
    ) -> None:
        """A number, a row or a column is multiplied with every element, row or column."""
        a = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], device=device)
        b = torch.tensor(other, device=device)

        assert a.mul(b).tolist() == product
        assert (a * b).tolist() == product

    def test_product_has_memory_of_its_own(self, device: torch.device) -> None:
        """Writing to a product does not reach its factors, not even where one factor is 1."""
        a = torch.tensor([2.0, 3.0], device=device)
        b = torch.tensor([5.0, 7.0], device=device)

        a.mul(b)[0] = -1
        (a * b)[0] = -1
        a.mul(1)[0] = -1
        (a * 1)[0] = -1

        assert a.tolist() == [2.0, 3.0]
        assert b.tolist() == [5.0, 7.0]

    def test_elementwise_product_refuses_shapes_that_do_not_fit(self, device: torch.device) -> None:
        """The element by element product of shapes that do not broadcast raises RuntimeError."""
        a, two = torch.ones(2, 3, device=device), torch.ones(2, device=device)
        assert (a * two.view(2, 1)).shape == (2, 3)

        with pytest.raises(RuntimeError, match=r"size of tensor a \(3\) must match"):
            a.mul(two)
        with pytest.raises(RuntimeError, match=r"size of tensor a \(3\) must match"):
            a * two

    def test_matrix_product_has_the_precision_of_its_dtype(self, device: torch.device) -> None:
        """A matrix product of 32-bit floats is as precise as 32-bit floats are."""
        a = np.linspace(0.1, 3.7, 35).reshape(5, 7)
        b = np.linspace(9.3, 0.2, 21).reshape(7, 3)
        left = torch.tensor(a, device=device, dtype=torch.float32)
        right = torch.tensor(b, device=device, dtype=torch.float32)

        product = torch.tensor(a @ b, dtype=torch.float32)

        torch.testing.assert_close(left.matmul(right).cpu(), product)
        torch.testing.assert_close((left @ right).cpu(), product)

    @pytest.mark.on("cpu")  # CUDA has no matrix product of integers
    def test_matrix_product_of_integers_is_of_integers(self, device: torch.device) -> None:
        """Integers multiply as matrices too, one by one in a batch, and stay integers."""
        a = torch.tensor([[[1, 2], [3, 4]], [[5, 6], [7, 8]]], device=device)
        square = a[0]

        assert (a @ a).tolist() == [[[7, 10], [15, 22]], [[67, 78], [91, 106]]]
        assert (square.T @ square).tolist() == [[10, 14], [14, 20]]
        assert a.matmul(a).dtype is (a @ a).dtype is torch.int64

    @pytest.mark.on("cpu")  # not every accelerator has float64
    def test_products_of_double_precision_are_as_precise(self, device: torch.device) -> None:
        """Both products of two float64 tensors are as precise as float64 is."""
        a = torch.tensor([[0.1, 0.7], [1 / 3, 2 / 7]], dtype=torch.float64, device=device)

        squares = torch.tensor([[0.01, 0.49], [1 / 9, 4 / 49]], dtype=torch.float64)
        sums = [[0.01 + 0.7 / 3, 0.07 + 0.2], [0.1 / 3 + 2 / 21, 0.7 / 3 + 4 / 49]]
        products = torch.tensor(sums, dtype=torch.float64)

        # float64 has 16 digits; the default for it allows seven.
        torch.testing.assert_close([a.mul(a), a * a], [squares] * 2, rtol=1e-14, atol=0)
        torch.testing.assert_close([a.matmul(a), a @ a], [products] * 2, rtol=1e-14, atol=0)

    def test_transpose_is_a_view_with_strides_swapped(self, device: torch.device) -> None:
        """The transpose is a view: it swaps the strides and shares the memory of the matrix."""
        a = torch.tensor([[1, 2, 3], [4, 5, 6]], device=device)

        transposed = a.T
        transposed[2, 0] = 9
        transposed.T[0, 0] = 7

        assert a.stride() == (3, 1)
        assert transposed.stride() == (1, 3)
        assert a.tolist() == [[7, 2, 9], [4, 5, 6]]

    def test_matrix_product_refuses_inner_sizes_that_differ(self, device: torch.device) -> None:
        """A matrix product whose inner sizes differ raises RuntimeError."""
        a = torch.ones(2, 3, device=device)
        assert (a @ a.T).tolist() == [[3, 3], [3, 3]]

        with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
            a.matmul(a)
        with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
            a @ a

    def test_matrix_product_refuses_mixed_dtypes(self, device: torch.device) -> None:
        """A matrix product of floats and integers raises RuntimeError; mul takes them."""
        floats = torch.ones(2, 2, device=device)
        integers = torch.tensor([[1, 2], [3, 4]], device=device)
        assert (floats * integers).tolist() == [[1, 2], [3, 4]]

        with pytest.raises(RuntimeError, match="to have the same dtype"):
            floats @ integers

    @pytest.mark.parametrize("shape", [(), (2,), (2, 3, 4)], ids=str)
    def test_t_of_other_than_a_matrix_warns(
        self, shape: tuple[int, ...], every_warning: None, device: torch.device
    ) -> None:
        """The attribute T of anything but a matrix is deprecated, and warns.

        Since torch 1.11; without dimensions since 2.0.
        """
        assert torch.ones(2, 3, device=device).T.shape == (3, 2)

        with pytest.warns(UserWarning, match="deprecated"):
            torch.ones(shape, device=device).T  # noqa: B018


class TestInPlace:
    @pytest.mark.parametrize(
        "change",
        [
            pytest.param(lambda x: x.add_(5), id="add_"),
            pytest.param(lambda x: x.copy_(x * -2), id="copy_"),
            pytest.param(lambda x: x.t_(), id="t_"),
        ],
    )
    def test_underscore_keeps_the_memory(self, change: Any) -> None:
        """The methods add_, copy_ and t_ keep the tensor's address and count up its version."""
        x = torch.tensor([[1, 2, 3], [4, 5, 6]])
        address = x.data_ptr()

        change(x)

        assert x.data_ptr() == address
        assert x._version == 1

    def test_copy_takes_values_not_memory(self, device: torch.device) -> None:
        """In-place copying takes over values, in the tensor's own dtype and order, not memory."""
        x, y = torch.zeros(2, 3, device=device), torch.tensor([1, 2, 3], device=device)
        square = torch.tensor([[1.0, 2.0], [3.0, 4.0]], device=device)

        x.copy_(y)
        y[0] = 7

        assert x.dtype is torch.float32
        assert x.tolist() == [[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]]
        assert torch.zeros(2, 2, device=device).copy_(square.T).tolist() == [[1, 3], [2, 4]]

    @pytest.mark.parametrize(
        ("change", "changed"),
        [
            pytest.param(lambda x: x.__iadd__(1), [2.0, 3.0, 4.0], id="+="),
            pytest.param(lambda x: x.__imul__(2), [2.0, 4.0, 6.0], id="*="),
            pytest.param(lambda x: torch.add(x, 1, out=x), [2.0, 3.0, 4.0], id="out="),
            pytest.param(lambda x: x.__setitem__(0, 9), [9.0, 2.0, 3.0], id="assignment"),
        ],
    )
    def test_in_place_work_need_not_have_an_underscore(
        self, change: Any, changed: list[float], device: torch.device
    ) -> None:
        """The operators += and *=, the argument out= and index assignment work in place as well."""
        x = torch.tensor([1.0, 2.0, 3.0], device=device)
        view = x[:]

        change(x)

        assert view.tolist() == changed

    def test_transposing_three_dimensions_in_place_is_refused(self, device: torch.device) -> None:
        """The method t_ raises RuntimeError for three dimensions; two it transposes."""
        assert torch.ones(2, 3, device=device).t_().shape == (3, 2)

        with pytest.raises(RuntimeError, match="<= 2 dimensions"):
            torch.ones(2, 3, 4, device=device).t_()

    def test_copying_a_shape_that_does_not_fit_is_refused(self, device: torch.device) -> None:
        """The method copy_ raises RuntimeError for a shape that does not broadcast to its own."""
        x = torch.ones(2, 3, device=device)
        assert x.copy_(torch.zeros(3, device=device)).tolist() == [[0, 0, 0], [0, 0, 0]]

        with pytest.raises(RuntimeError, match=r"size of tensor a \(3\) must match"):
            x.copy_(torch.zeros(2, 2, device=device))

    def test_adding_floats_to_integers_in_place_is_refused(self, device: torch.device) -> None:
        """Adding a float in place to integers raises RuntimeError, for their dtype is fixed."""
        x = torch.tensor([1, 2], device=device)
        assert x.add(0.5).tolist() == [1.5, 2.5]

        with pytest.raises(RuntimeError, match="can't be cast to the desired output type Long"):
            x.add_(0.5)

    def test_adding_to_an_expanded_tensor_in_place_is_refused(self, device: torch.device) -> None:
        """Adding in place raises RuntimeError where several elements share one place in memory."""
        expanded = torch.ones(2, 1, device=device).expand(2, 3)
        assert expanded.clone().add_(1).tolist() == [[2, 2, 2], [2, 2, 2]]

        with pytest.raises(RuntimeError, match="single memory location"):
            expanded.add_(1)

    def test_adding_five_in_place_keeps_the_memory(self) -> None:
        """Adding five in place returns the tensor itself, at its address, and its views follow."""
        tensor = torch.tensor([[1.0, 0.0, 1.0, 1.0]])
        address, view = tensor.data_ptr(), tensor[0]

        returned = tensor.add_(5)

        assert returned is tensor
        assert tensor.data_ptr() == address
        assert view.tolist() == [6, 5, 6, 6]

    @pytest.mark.on("accelerator")
    def test_in_place_work_allocates_no_accelerator_memory(
        self, peak_memory: Callable[[Callable[[], object]], int], device: torch.device
    ) -> None:
        """Adding to 4 MiB on an accelerator allocates 4 MiB, and next to nothing in place."""
        x = torch.ones(1024, 1024, device=device)

        in_place = peak_memory(lambda: x.add_(1))
        out_of_place = peak_memory(lambda: x.add(1))

        assert in_place < 4 * 1024
        assert out_of_place >= 4 * 1024 * 1024

    @pytest.mark.parametrize(
        "change",
        [
            pytest.param(lambda t: t.__iadd__(1), id="+="),
            pytest.param(lambda t: t.__imul__(2), id="*="),
            pytest.param(lambda t: t.__setitem__(slice(None), 2), id="assignment"),
        ],
    )
    def test_operators_do_not_change_a_leaf_either(self, change: Any, device: torch.device) -> None:
        """The operators += and *= and assignment raise RuntimeError on a leaf as add_ does."""
        leaf = torch.ones(2, device=device, requires_grad=True)

        with pytest.raises(RuntimeError, match=r"a (view of a )?leaf Variable that requires grad"):
            change(leaf)
        with torch.no_grad():
            change(leaf)

        assert leaf.tolist() == [2, 2]

    def test_view_of_a_leaf_that_requires_grad_is_not_changed_in_place(
        self, device: torch.device
    ) -> None:
        """Changing a view of a leaf that requires grad in place raises RuntimeError too."""
        leaf = torch.ones(2, device=device, requires_grad=True)
        assert leaf.clone()[0].add_(1).item() == 2

        with pytest.raises(RuntimeError, match="a view of a leaf Variable that requires grad"):
            leaf[0].add_(1)


class TestBridgeWithNumpy:
    def test_cpu_of_a_cpu_tensor_still_shares_memory(self) -> None:
        """Moving a CPU tensor to the CPU returns the tensor itself, so its array shares memory."""
        t = torch.ones(2)

        array = t.cpu().numpy()
        t[0] = 5

        assert t.cpu() is t
        assert array.tolist() == [5, 1]

    @pytest.mark.on("accelerator")
    def test_array_of_a_tensor_on_an_accelerator_is_a_snapshot(self, device: torch.device) -> None:
        """The array of a tensor brought from an accelerator does not follow its later changes."""
        t = torch.tensor([1.0, 2.0], device=device)

        array = t.cpu().numpy()
        t.add_(1)

        assert array.tolist() == [1.0, 2.0]
        assert t.tolist() == [2.0, 3.0]

    @pytest.mark.on("accelerator")
    def test_tensor_of_an_array_on_an_accelerator_is_a_snapshot(self, device: torch.device) -> None:
        """A tensor made from an array and moved to an accelerator does not follow the array."""
        a = np.array([1.0, 2.0], dtype=np.float32)

        t = torch.from_numpy(a).to(device)
        a += 1

        assert t.device == device
        assert t.tolist() == [1.0, 2.0]

    def test_array_copy_is_a_snapshot_on_every_device(self, device: torch.device) -> None:
        """With numpy(force=True) and copy(), a tensor on any device gives an array of its own."""
        t = torch.tensor([[1.0, 2.0], [3.0, 4.0]], device=device, requires_grad=True)

        array = t.numpy(force=True).copy()
        t.detach().add_(1)

        assert array.tolist() == [[1.0, 2.0], [3.0, 4.0]]
        assert t.tolist() == [[2.0, 3.0], [4.0, 5.0]]


class TestTensorToNumpy:
    def test_array_has_dtype_strides_and_memory_of_the_tensor(self) -> None:
        """The array of a tensor has its dtype and its strides, and shares its memory."""
        t = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]).t()

        n = t.numpy()

        assert n.dtype == np.float32
        assert n.tolist() == [[1.0, 4.0], [2.0, 5.0], [3.0, 6.0]]
        assert n.strides == (4, 12)
        assert n.ctypes.data == t.data_ptr()

    @pytest.mark.parametrize(
        ("make", "error", "words"),
        [
            pytest.param(
                lambda t: t.requires_grad_(), RuntimeError, "requires grad", id="requires grad"
            ),
            pytest.param(lambda t: t.bfloat16(), TypeError, "BFloat16", id="bfloat16"),
            pytest.param(
                lambda t: (t * 1j).conj(), RuntimeError, "conjugate bit", id="lazy conjugate"
            ),
            pytest.param(lambda t: t.to_sparse(), TypeError, "Sparse layout", id="sparse"),
        ],
    )
    def test_tensor_that_numpy_cannot_lie_over_is_refused(
        self, make: Any, error: Any, words: str
    ) -> None:
        """A call of numpy() fails if a tensor requires grad, is bfloat16, conjugated or sparse."""
        t = torch.ones(2)
        assert t.numpy().tolist() == [1, 1]

        with pytest.raises(error, match=words):
            make(t).numpy()

    def test_tensor_with_an_array_cannot_be_resized(self) -> None:
        """Growing a tensor that shares memory with an array raises RuntimeError."""
        free, shared = torch.ones(2), torch.ones(2)
        assert free.resize_(100).shape == (100,)

        shared.numpy()

        with pytest.raises(RuntimeError, match="not resizable"):
            shared.resize_(100)

    def test_detached_tensor_shares_its_memory_with_an_array(self) -> None:
        """A tensor that requires grad shares its memory with an array once it is detached."""
        t = torch.ones(2, requires_grad=True)

        n = t.detach().numpy()
        n[0] = 7

        assert t.tolist() == [7, 1]

    @pytest.mark.parametrize(
        ("make", "values"),
        [
            pytest.param(lambda t: t.requires_grad_(), [1, 1], id="requires grad"),
            pytest.param(lambda t: (t * 1j).conj(), [-1j, -1j], id="lazy conjugate"),
        ],
    )
    def test_force_takes_tracked_and_conjugated_tensors(self, make: Any, values: Any) -> None:
        """With force=True a tensor that requires grad or is lazily conjugated becomes an array."""
        t = make(torch.ones(2))

        assert t.numpy(force=True).tolist() == values

    def test_tensor_shows_later_changes_of_its_array(self) -> None:
        """A tensor shows every later change of the array that was made from it."""
        t = torch.ones(3)
        n = t.numpy()

        n[1] = 7
        n *= 2

        assert t.tolist() == [2, 14, 2]

    def test_array_of_a_slice_shares_memory_too(self) -> None:
        """The array of a slice shares memory with the whole tensor."""
        t = torch.tensor([[1, 2, 3], [4, 5, 6]])

        column = t[:, 1].numpy()
        t.add_(10)
        column[0] = 0

        assert column.tolist() == [0, 15]
        assert t.tolist() == [[11, 0, 13], [14, 15, 16]]

    @pytest.mark.parametrize(
        ("make", "dtype", "changed"),
        [
            pytest.param(lambda t: t + 1, torch.float32, [7, 2], id="plus"),
            pytest.param(lambda t: t.double(), torch.float64, [7, 1], id="double"),
            pytest.param(lambda t: t.clone(), torch.float32, [7, 1], id="clone"),
        ],
    )
    def test_new_tensor_is_not_tied_to_the_array(
        self, make: Any, dtype: torch.dtype, changed: list[int]
    ) -> None:
        """A sum, a conversion to double and a clone are new tensors, apart from the old array."""
        t = torch.ones(2)
        n = t.numpy()

        new = make(t)
        new[0] = 7

        assert new.dtype is dtype
        assert new.tolist() == changed
        assert n.tolist() == [1, 1]


class TestNumpyToTensor:
    def test_double_precision_is_kept(self) -> None:
        """A tensor over an array of doubles gives all of their digits."""
        n = np.array([0.1])  # of which float32 holds eight digits

        t = torch.from_numpy(n)

        assert t.tolist() == [0.1]
        assert t[0].item() == 0.1

    def test_default_layer_refuses_double_precision(self) -> None:
        """A layer of the default dtype raises RuntimeError for a tensor of double precision."""
        t = torch.from_numpy(np.ones(5))
        layer = torch.nn.Linear(5, 2)
        assert layer(t.float()).shape == (2,)

        with pytest.raises(RuntimeError, match="same dtype"):
            layer(t)

    def test_new_array_under_the_old_name_does_not_reach_the_tensor(self) -> None:
        """Binding the array's name to a new array leaves the tensor on the old one."""
        n = np.ones(3)
        t = torch.from_numpy(n)

        n = n + 1

        assert n.tolist() == [2, 2, 2]
        assert t.tolist() == [1, 1, 1]

    def test_as_tensor_shares_and_tensor_copies(self) -> None:
        """The function as_tensor shares an array's memory, torch.tensor copies it."""
        n = np.ones(2)

        over, apart = torch.as_tensor(n), torch.tensor(n)
        n[0] = 7

        assert over.tolist() == [7, 1]
        assert apart.tolist() == [1, 1]
        assert [over.dtype, apart.dtype] == [torch.float64] * 2

    def test_tensor_outlives_the_name_of_the_array(self) -> None:
        """A tensor keeps the memory of its array alive after the array's name is gone."""
        n = np.array([1.0, 2.0, 3.0])
        t = torch.from_numpy(n)

        del n
        np.full(3, 9.0)  # would take the memory over, were it free

        assert t.tolist() == [1.0, 2.0, 3.0]
