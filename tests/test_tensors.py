"""What blitz.tensors refuses, in words that name the input, the fault and the remedy."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from blitz import devices, tensors


def message(error: Any) -> str:
    return str(error.value)


class TestFromData:
    @pytest.mark.parametrize(
        ("data", "words"),
        [
            ([[1, 2], [3]], ["[[1, 2], [3]]", "expected sequence of length 2", "equal length"]),
            ("one", ["'one'", "invalid data type", "int, float, bool or complex"]),
            ([None], ["[None]", "Could not infer dtype", "int, float, bool or complex"]),
            ({"a": 1}, ["{'a': 1}", "Could not infer dtype", "int, float, bool or complex"]),
        ],
        ids=["ragged", "text", "None", "dict"],
    )
    def test_bad_data_is_named_with_fault_and_remedy(self, data: Any, words: list[str]) -> None:
        with pytest.raises((ValueError, TypeError, RuntimeError)) as error:
            tensors.from_data(data)

        assert all(word in message(error) for word in words), message(error)

    def test_long_data_is_shortened_in_the_message(self) -> None:
        with pytest.raises(ValueError, match="cannot become a tensor") as error:
            tensors.from_data([[1] * 1000, [1]])

        assert len(message(error)) < 300

    def test_a_tensor_is_refused_without_a_warning(self) -> None:
        with pytest.raises(TypeError, match=r"shape \(2,\) already.*clone.*to_device"):
            tensors.from_data(torch.ones(2))


class TestFromNumpy:
    @pytest.mark.parametrize(
        ("array", "error", "words"),
        [
            ([1, 2], TypeError, ["array is a list", "from_data"]),
            (np.float64(1), TypeError, ["array is a float64", "numpy.asarray"]),
            (np.array([None]), TypeError, ["shape (1,)", "object", "astype"]),
            (np.array(["a"]), TypeError, ["<U1", "no counterpart in torch", "astype"]),
            (np.zeros(2, "datetime64[s]"), TypeError, ["datetime64", "astype"]),
            (np.zeros(2, np.dtype([("a", "f4")])), TypeError, ["no counterpart", "astype"]),
            (np.ma.array([1.0, 2.0], mask=[0, 1]), TypeError, ["masked", "filled"]),
            (np.zeros((2, 3))[::-1], ValueError, ["(2, 3)", "backwards", "array.copy()"]),
            (
                np.zeros(2, np.dtype("f4").newbyteorder("S")),
                ValueError,
                ["foreign byte order", "newbyteorder"],
            ),
            (np.broadcast_to(1.0, (3,)), ValueError, ["(3,)", "read-only", "array.copy()"]),
        ],
        ids=[
            *("list", "NumPy number", "objects", "text", "dates", "records", "masked"),
            *("negative stride", "foreign byte order", "read-only"),
        ],
    )
    def test_bad_array_is_named_with_fault_and_remedy(
        self, array: Any, error: Any, words: list[str]
    ) -> None:
        with pytest.raises(error) as raised:
            tensors.from_numpy(array)

        assert all(word in message(raised) for word in words), message(raised)

    def test_remedies_work(self) -> None:
        backwards = np.arange(3.0)[::-1]
        foreign = np.arange(3.0).astype(np.dtype("f8").newbyteorder("S"))
        read_only = np.broadcast_to(1.0, (3,))

        assert tensors.from_numpy(backwards.copy()).tolist() == [2, 1, 0]
        native = foreign.astype(foreign.dtype.newbyteorder("="))
        assert tensors.from_numpy(native).tolist() == [0, 1, 2]
        assert tensors.from_numpy(read_only.copy()).tolist() == [1, 1, 1]

    def test_array_without_dimension_or_element_is_taken(self) -> None:
        assert tensors.from_numpy(np.array(3.0)).item() == 3
        assert tensors.from_numpy(np.zeros((0, 3))).shape == (0, 3)


class TestLike:
    @pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool])
    def test_random_numbers_of_a_dtype_without_fractions_are_refused(
        self, dtype: torch.dtype
    ) -> None:
        with pytest.raises(TypeError, match=rf"{dtype} cannot hold .* dtype=torch.float32"):
            tensors.rand_like(torch.zeros(2, dtype=dtype))
        with pytest.raises(TypeError, match=rf"{dtype} cannot hold .* dtype=torch.float32"):
            tensors.rand_like(torch.zeros(2), dtype=dtype)

    def test_random_integers_on_meta_are_refused_too(self) -> None:
        with pytest.raises(TypeError, match=r"torch\.int64 cannot hold"):
            tensors.rand_like(torch.zeros(2, dtype=torch.int64, device="meta"))

    def test_random_complex_numbers_are_made(self) -> None:
        made = tensors.rand_like(torch.zeros(2, dtype=torch.complex64))

        assert made.dtype is torch.complex64


@pytest.mark.parametrize("make", [tensors.rand, tensors.ones, tensors.zeros])
class TestShape:
    def test_negative_size_is_named(self, make: Any) -> None:
        with pytest.raises(ValueError, match=r"shape \(2, -1\) has a negative size. Give"):
            make((2, -1))

    @pytest.mark.parametrize("shape", [3, "23", (2, 1.0), (2, None), (True, 2)], ids=str)
    def test_what_is_no_sequence_of_whole_numbers_is_named(self, make: Any, shape: Any) -> None:
        with pytest.raises(TypeError, match=r"no sequence of whole numbers\. Give one") as error:
            make(shape)

        assert repr(shape) in message(error)

    def test_whole_numbers_of_numpy_are_taken(self, make: Any) -> None:
        assert make((np.int64(2), 3)).shape == (2, 3)


@pytest.mark.parametrize(
    "work",
    [
        lambda device: tensors.from_data([1], device),
        lambda device: tensors.from_numpy(np.ones(1), device),
        lambda device: tensors.ones_like(torch.ones(1), device=device),
        lambda device: tensors.rand_like(torch.ones(1), device=device),
        lambda device: tensors.rand((1,), device),
        lambda device: tensors.ones((1,), device),
        lambda device: tensors.zeros((1,), device),
        lambda device: tensors.to_device(torch.ones(1), device),
    ],
    ids=["data", "numpy", "ones_like", "rand_like", "rand", "ones", "zeros", "to_device"],
)
def test_unusable_device_is_named(work: Callable[..., Any]) -> None:
    with pytest.raises(devices.UnusableDevice, match="device 'nowhere': torch knows no device"):
        work("nowhere")


@pytest.mark.parametrize(
    "work",
    [
        tensors.ones_like,
        tensors.rand_like,
        lambda array: tensors.to_device(array, "cpu"),
        lambda array: tensors.set_column(array, 0, 0),
        lambda array: tensors.add_(array, 1),
        tensors.to_numpy,
        tensors.to_numpy_copy,
    ],
    ids=["ones_like", "rand_like", "to_device", "set_column", "add_", "numpy", "numpy_copy"],
)
def test_array_in_place_of_a_tensor_is_named(work: Any) -> None:
    with pytest.raises(TypeError, match=r"tensor is a ndarray, not a torch\.Tensor.*from_numpy"):
        work(np.ones((2, 2)))


class TestToAccelerator:
    def test_accelerator_that_computes_nothing_is_left_alone(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        broken = torch.device("meta")
        monkeypatch.setattr(devices, "accelerator", lambda: broken)
        monkeypatch.setattr(devices, "why_unusable", lambda device: f"{device} computes nothing")
        tensor = torch.ones(2)

        assert tensors.to_accelerator(tensor) is tensor


class TestSetColumn:
    @pytest.mark.parametrize("shape", [(), (3,)], ids=str)
    def test_tensor_without_columns_is_refused(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match=r"has no columns.*unsqueeze"):
            tensors.set_column(torch.ones(shape), 0, 0)

    def test_column_that_is_not_there_is_refused(self) -> None:
        with pytest.raises(
            IndexError, match="index 3 is out of bounds for dimension 1 with size 3"
        ):
            tensors.set_column(torch.ones(2, 3), 3, 0)


@pytest.mark.parametrize("join", [tensors.cat, tensors.stack])
class TestJoining:
    def test_nothing_is_refused(self, join: Any) -> None:
        with pytest.raises(ValueError, match=r"tensors is empty.*Give one tensor or more"):
            join([])

    def test_several_devices_are_named(self, join: Any) -> None:
        with pytest.raises(ValueError, match=r"are on cpu and meta\. Move them.*to_device"):
            join([torch.ones(2), torch.ones(2, device="meta")])

    def test_a_tuple_and_a_single_tensor_in_a_list_are_taken(self, join: Any) -> None:
        assert join((torch.ones(2), torch.ones(2))).sum().item() == 4
        assert join([torch.ones(2)]).sum().item() == 2


@pytest.mark.parametrize(
    "change",
    [
        lambda t: tensors.add_(t, 1),
        lambda t: tensors.copy_(t, torch.zeros(2, 2)),
        tensors.t_,
        lambda t: tensors.set_column(t, 0, 0),
    ],
    ids=["add_", "copy_", "t_", "set_column"],
)
class TestInPlaceOnALeaf:
    def test_leaf_is_refused_with_the_remedy(self, change: Any) -> None:
        leaf = torch.ones(2, 2, requires_grad=True)

        with pytest.raises(RuntimeError, match=r"\(2, 2\) is a leaf that .*torch.no_grad\(\)"):
            change(leaf)

    def test_view_of_a_leaf_is_refused_with_the_remedy(self, change: Any) -> None:
        leaf = torch.ones(3, 2, requires_grad=True)

        with pytest.raises(RuntimeError, match=r"\(2, 2\) .*a view of one.*torch.no_grad\(\)"):
            change(leaf[1:])

    def test_leaf_is_changed_where_nothing_is_recorded(self, change: Any) -> None:
        leaf = torch.ones(2, 2, requires_grad=True)

        with torch.no_grad():
            assert change(leaf) is leaf

    def test_computed_tensor_is_changed(self, change: Any) -> None:
        computed = torch.ones(2, 2, requires_grad=True) * 2

        assert change(computed) is computed


class TestToNumpy:
    @pytest.mark.parametrize("convert", [tensors.to_numpy, tensors.to_numpy_copy])
    def test_dtype_that_numpy_lacks_is_named(self, convert: Any) -> None:
        with pytest.raises(TypeError, match=r"bfloat16 has no counterpart in NumPy.*float\(\)"):
            convert(torch.ones(2, dtype=torch.bfloat16))

    @pytest.mark.parametrize("convert", [tensors.to_numpy, tensors.to_numpy_copy])
    def test_tensor_without_values_is_named(self, convert: Any) -> None:
        with pytest.raises(TypeError, match=r"is on meta and has no values\. Make it on"):
            convert(torch.ones(2, device="meta"))

    @pytest.mark.parametrize("convert", [tensors.to_numpy, tensors.to_numpy_copy])
    def test_sparse_tensor_is_refused_with_the_remedy(self, convert: Any) -> None:
        with pytest.raises(TypeError, match=r"is sparse, and.*tensor\.to_dense\(\)"):
            convert(torch.ones(2, 2).to_sparse())

    def test_tracked_tensor_is_refused_with_the_remedy(self) -> None:
        with pytest.raises(RuntimeError, match=r"requires grad. Use tensor.detach\(\).numpy\(\)"):
            tensors.to_numpy(torch.ones(2, requires_grad=True))

    def test_copy_takes_a_lazy_conjugate(self) -> None:
        copy = tensors.to_numpy_copy(torch.tensor([1 + 2j]).conj())

        assert copy.tolist() == [1 - 2j]
