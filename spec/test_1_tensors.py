"""Chapter 1: a tensor is an array that can live on an accelerator."""

import re
from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import Any

import numpy as np
import pytest
import torch

from blitz import devices, graph, tensors
from spec.devices import in_place, operations

# The methods that end in an underscore and need no argument, on torch 2.6 to 2.15; without set_,
# which gives up the tensor's memory, share_memory_, which moves it, and bitwise_not_, for integers.
# fmt: off
IN_PLACE = [
    "abs_", "absolute_", "acos_", "acosh_", "arccos_", "arccosh_", "arcsin_", "arcsinh_",
    "arctan_", "arctanh_", "asin_", "asinh_", "atan_", "atanh_", "bernoulli_", "cauchy_",
    "ceil_", "conj_physical_", "cos_", "cosh_", "deg2rad_", "detach_", "digamma_", "erf_",
    "erfc_", "erfinv_", "exp2_", "exp_", "expm1_", "exponential_", "fix_", "floor_", "frac_",
    "i0_", "lgamma_", "log10_", "log1p_", "log2_", "log_", "log_normal_", "logical_not_",
    "logit_", "nan_to_num_", "neg_", "negative_", "normal_", "rad2deg_", "random_",
    "reciprocal_", "relu_", "requires_grad_", "round_", "rsqrt_", "sgn_", "sigmoid_", "sign_",
    "sin_", "sinc_", "sinh_", "sqrt_", "square_", "squeeze_", "t_", "tan_", "tanh_", "tril_",
    "triu_", "trunc_", "uniform_", "zero_",
]
# fmt: on

# What add_, copy_ and t_ make of [[1, 2, 3], [4, 5, 6]].
CHANGES = [
    pytest.param(lambda x: tensors.add_(x, 5), [[6, 7, 8], [9, 10, 11]], id="add_"),
    pytest.param(lambda x: tensors.copy_(x, x * -2), [[-2, -4, -6], [-8, -10, -12]], id="copy_"),
    pytest.param(lambda x: tensors.t_(x), [[1, 4], [2, 5], [3, 6]], id="t_"),
]

BLOCK = """\
tensor([[1., 0., 1., 1.],
        [1., 0., 1., 1.],
        [1., 0., 1., 1.],
        [1., 0., 1., 1.]])"""


Pair = tuple[np.ndarray, torch.Tensor]
"""The same numbers as an array and as a tensor on the device."""


@pytest.fixture
def block(device: torch.device) -> torch.Tensor:
    """Four rows of 1, 0, 1, 1: the tensor that the tutorial joins, multiplies and adds to."""
    return tensors.set_column(tensors.ones((4, 4), device), 1, 0)


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
def absent() -> str:
    """The name of an accelerator that this machine, or this build of torch, does not have."""
    return next(name for name in ("cuda", "xpu") if devices.why_unusable(torch.device(name)))


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


@pytest.fixture
def x(device: torch.device) -> Pair:
    """Two rows of three numbers, as an array and as a tensor on the device."""
    array = np.array([[1.5, -2.0, 0.25], [3.0, 0.5, -0.75]], dtype=np.float32)
    return array, torch.tensor(array.tolist(), device=device)


@pytest.fixture
def y(device: torch.device) -> Pair:
    """Three numbers, as an array and as a tensor on the device."""
    array = np.array([10.0, -20.0, 30.0], dtype=np.float32)
    return array, torch.tensor(array.tolist(), device=device)


@pytest.fixture
def cuda(device: torch.device) -> torch.device:
    """A CUDA device: what is claimed of CUDA is not claimed of other accelerators."""
    if device.type != "cuda":
        pytest.skip(f"claimed of CUDA, not of {device.type}")
    return device


cuda_build = pytest.mark.skipif(
    not torch.backends.cuda.is_built(), reason="this build of torch has no operator for CUDA"
)


class TestTensors:
    def test_inputs_outputs_and_state_of_a_model_are_tensors(self, device: torch.device) -> None:
        """A model's inputs, outputs, parameters and state are all tensors."""
        model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2)).to(device)
        x = tensors.rand((5, 3), device)

        out = model(x)

        assert [type(x), type(out)] == [torch.Tensor, torch.Tensor]
        assert [tuple(p.shape) for p in model.parameters()] == [(2, 3), (2,), (2,), (2,)]
        assert {type(p) for p in model.parameters()} == {torch.nn.Parameter}
        assert issubclass(torch.nn.Parameter, torch.Tensor)
        assert len(model.state_dict()) == 7
        assert {type(value) for value in model.state_dict().values()} == {torch.Tensor}

    @pytest.mark.parametrize(
        "expression",
        [
            "x[1]",
            "x[1, 2]",
            "x[-1, ::2]",
            "x[:, 1:]",
            "x[..., 0]",
            "x[:, None]",
            "x[[1, 0, 1]]",
            "x[[1, 0], [2, 1]]",
            "x[x > 0.3]",
            "x[x[:, 0] > 2]",
            "x + y",
            "y - x * 2",
            "x / y",
            "x**2 // 2",
            "x % 2",
            "-abs(x)",
            "(x > 0) & (x < 2) | (x == -2)",
            "~(x >= 0.5) ^ (x <= 1.5)",
            "x != 3",
            "2**x",
            "x // y",
            "x @ y",
            "x.T @ x",
            "y @ y",
            "y @ (y[:, None] * x[:1])",
            "x[:, None] @ x.reshape(2, 3, 1)",
            "x.sum()",
            "x.sum(axis=0)",
            "x.mean(axis=1, keepdims=True)",
            "x.prod(axis=1)",
            "x.max()",
            "x.argmax(axis=1)",
            "x.cumsum(axis=1)",
            "x.cumsum(-1)",
            "x.sum(-2)",
            "x.mean(-1)",
            "(x > 0).any(axis=0)",
            "(x < 2).all(axis=1)",
            "x.reshape(3, 2)",
            "x.ravel()",
            "x.swapaxes(0, 1)",
            "x.T",
            "x.clip(-1, 1)",
            "x.round()",
            "xp.where(x > 0, x, y)",
            "xp.maximum(x, y)",
            "xp.exp(x)",
            "xp.sqrt(x * x + 1)",
            "xp.concatenate((x, x + 1), axis=1)",
            "xp.stack((y, y + 1))",
            "xp.isfinite(x)",
            "xp.einsum('ij,j->i', x, y)",
            "xp.linalg.norm(x)",
        ],
    )
    def test_one_expression_serves_arrays_and_tensors(
        self, expression: str, x: Pair, y: Pair, device: torch.device
    ) -> None:
        """An expression written for NumPy arrays gives the same with tensors of their dtype."""
        of_arrays = eval(expression, {"x": x[0], "y": y[0], "xp": np})
        of_tensors = eval(expression, {"x": x[1], "y": y[1], "xp": torch})

        assert of_tensors.device == device
        torch.testing.assert_close(of_tensors.cpu(), torch.from_numpy(np.array(of_arrays)))

    @pytest.mark.parametrize(
        ("in_numpy", "in_torch"),
        [
            ("np.sort(x, axis=1)", "x.sort(dim=1).values"),
            ("np.max(x, axis=1)", "x.max(dim=1).values"),
            ("np.max(x, axis=-1)", "x.max(-1).values"),
            ("x.sum(axis=1, keepdims=True)", "x.sum(1, keepdim=True)"),
            ("np.std(x, axis=0)", "x.std(dim=0, correction=0)"),
            ("x[::-1]", "x.flip(0)"),
            ("x.astype(np.int64)", "x.to(torch.int64)"),
            ("x.transpose(1, 0)", "x.permute(1, 0)"),
            ("x.repeat(2, axis=0)", "x.repeat_interleave(2, dim=0)"),
            ("np.tile(y, 2)", "y.repeat(2)"),
            ("np.expand_dims(y, 1)", "y.unsqueeze(1)"),
            ("np.expand_dims(x, -1)", "x.unsqueeze(-1)"),
            ("np.concatenate([x, x], axis=0)", "torch.cat([x, x], dim=0)"),
            ("np.linalg.inv(x[:, :2])", "torch.linalg.inv(x[:, :2])"),
            ("np.power(x, 3)", "torch.pow(x, 3)"),
            ("np.argwhere(x > 0)", "torch.nonzero(x > 0)"),
            ("np.unique(x > 0)", "torch.unique(x > 0)"),
        ],
    )
    def test_expression_spelt_otherwise_gives_the_same(
        self, in_numpy: str, in_torch: str, x: Pair, y: Pair, device: torch.device
    ) -> None:
        """What NumPy and torch spell differently, a tensor computes as an array does."""
        of_arrays = eval(in_numpy, {"x": x[0], "y": y[0], "np": np})
        of_tensors = eval(in_torch, {"x": x[1], "y": y[1], "torch": torch})

        assert of_tensors.device == device
        torch.testing.assert_close(of_tensors.cpu(), torch.from_numpy(np.array(of_arrays)))

    @pytest.mark.parametrize(
        "statement",
        [
            "x[:, 1] = 0",
            "x[0] *= 2",
            "x[x < 0] = 5",
            "x[[1, 0], [2, 1]] = y[:2]",
            "x += y",
            "x -= 1",
            "x /= 2",
            "x **= 2",
            "x[0:] = y",
            "x.T[1] = 7",
            "x.reshape(3, 2)[1] = 9",
            "x[[0]][0] = 9",
        ],
    )
    def test_one_statement_changes_arrays_and_tensors_alike(
        self, statement: str, x: Pair, y: Pair
    ) -> None:
        """A statement that changes a NumPy array in place, or a copy of it, so changes a tensor."""
        exec(statement, {"x": x[0], "y": y[0]})
        exec(statement, {"x": x[1], "y": y[1]})

        assert x[1].tolist() == x[0].tolist()

    @pytest.mark.parametrize(
        ("question", "answer"),
        [
            ("len(x)", 2),
            ("x.ndim", 2),
            ("tuple(x.shape)", (2, 3)),
            ("x.itemsize", 4),
            ("x.nbytes", 24),
            ("x.tolist()", [[1.5, -2.0, 0.25], [3.0, 0.5, -0.75]]),
            ("x[1, 0].item()", 3.0),
            ("float(x[0, 0])", 1.5),
            ("int(x[1, 0])", 3),
            ("bool(x[0, 0] > 1)", True),
            ("float((x > 0.3).sum() / 2)", 1.5),
            ("-2.0 in x", True),
            ("9.0 in x", False),
            ("[row.tolist() for row in x]", [[1.5, -2.0, 0.25], [3.0, 0.5, -0.75]]),
            ("str(x.dtype).split('.')[-1]", "float32"),
        ],
    )
    def test_arrays_and_tensors_answer_python_alike(
        self, question: str, answer: Any, x: Pair
    ) -> None:
        """Length, shape, sizes in bytes, numbers and rows are asked of a tensor as of an array."""
        of_array = eval(question, {"x": x[0]})
        of_tensor = eval(question, {"x": x[1]})

        assert of_array == answer
        assert of_tensor == answer

    def test_reversing_slice_is_for_arrays_only(self, y: Pair) -> None:
        """A slice with a negative step reverses a NumPy array; a tensor refuses it."""
        assert y[0][::-1].tolist() == [30.0, -20.0, 10.0]
        assert y[1][::2].tolist() == [10.0, 30.0]

        with pytest.raises(ValueError, match="step must be greater than zero"):
            y[1][::-1]

    def test_python_floats_have_half_the_bits_of_numpy(self, device: torch.device) -> None:
        """Python's floats become float32 in a tensor and float64 in a NumPy array."""
        assert np.array([0.5]).dtype == np.float64
        assert torch.tensor([0.5], device=device).dtype == torch.float32

    def test_size_is_a_method_of_tensors(self, x: Pair) -> None:
        """The size of a NumPy array is its number of elements; of a tensor, a method for shapes."""
        array, tensor = x

        assert array.size == 6
        assert tensor.size() == (2, 3)
        assert tensor.size(1) == tensor.size(-1) == 3
        assert tensor.numel() == 6

    def test_standard_deviation_divides_by_one_less(self, device: torch.device) -> None:
        """The standard deviation of a tensor divides by n - 1, that of a NumPy array by n."""
        numbers = [1.0, 2.0, 3.0, 6.0]  # mean 3; squared deviations 4, 1, 0 and 9

        assert np.array(numbers).std() == pytest.approx((14 / 4) ** 0.5)
        assert torch.tensor(numbers, device=device).std().item() == pytest.approx((14 / 3) ** 0.5)


class TestFromData:
    def test_tensor_takes_shape_and_values_of_nested_lists(self, device: torch.device) -> None:
        """A tensor made from nested lists has their shape and holds their values."""
        t = tensors.from_data([[1, 2], [3, 4]], device=device)

        assert t.shape == (2, 2)
        assert t.tolist() == [[1, 2], [3, 4]]

    @pytest.mark.parametrize(
        ("data", "dtype"),
        [
            pytest.param([[1, 2], [3, 4]], torch.int64, id="int"),
            pytest.param([0.1, 2.5], torch.float32, id="float"),
            pytest.param([True, False], torch.bool, id="bool"),
            pytest.param([True, 2], torch.int64, id="bool and int"),
            pytest.param([True, 2, 0.7], torch.float32, id="bool, int and float"),
            pytest.param([1, 2j], torch.complex64, id="int and complex"),
            pytest.param([], torch.float32, id="nothing"),
            pytest.param(np.array([1, 2], dtype=np.int16), torch.int16, id="int16 array"),
            pytest.param(np.array([1, 2], dtype=np.float16), torch.float16, id="float16 array"),
            pytest.param(np.array([1, 255], dtype=np.uint8), torch.uint8, id="array of bytes"),
            pytest.param(np.array([True, False]), torch.bool, id="bool array"),
            pytest.param(
                np.array([[1, 2], [3, 4]], dtype=np.int32).T, torch.int32, id="transposed array"
            ),
            pytest.param(((1, 2), (3, 4)), torch.int64, id="tuples"),
        ],
    )
    def test_dtype_is_worked_out_from_the_values(
        self, data: Any, dtype: torch.dtype, device: torch.device
    ) -> None:
        """The dtype of a tensor made from data is worked out from the data."""
        t = tensors.from_data(data, device=device)

        assert t.dtype is dtype
        assert t.tolist() == np.asarray(data, dtype=str(dtype).removeprefix("torch.")).tolist()

    def test_floats_become_the_default_dtype(
        self, half_by_default: None, device: torch.device
    ) -> None:
        """Python floats become torch's default dtype, integers stay int64 whatever it is."""
        floats = tensors.from_data([1.5, 2.5], device=device)
        integers = tensors.from_data([1, 2], device=device)

        assert floats.dtype is torch.float16
        assert integers.dtype is torch.int64

    @pytest.mark.parametrize(
        "data", [[1.0, 2.0], np.array([1.0, 2.0], dtype=np.float32)], ids=["list", "array"]
    )
    def test_tensor_made_from_data_is_a_copy(self, data: Any, device: torch.device) -> None:
        """A tensor made from a list or an array is a copy: changing the data leaves it alone."""
        data = data.copy()
        t = tensors.from_data(data, device=device)

        data[0] = 7.0

        assert t.tolist() == [1.0, 2.0]

    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_tensor_is_made_on_the_device_asked_for(self, device: torch.device) -> None:
        """A tensor made from data lives on the device that was asked for."""
        t = tensors.from_data([1.0, 2.0], device=device)

        assert t.device == device

    def test_ragged_lists_are_refused(self, device: torch.device) -> None:
        """Lists of unequal length are refused; lists of equal length beside them are not."""
        tensors.from_data([[1, 2], [3, 4]], device=device)

        with pytest.raises(ValueError, match="expected sequence of length 2 at dim 1"):
            tensors.from_data([[1, 2], [3]], device=device)
        with pytest.raises(ValueError, match="expected sequence of length 2 at dim 2"):
            tensors.from_data([[[1, 2], [3, 4]], [[5, 6], [7]]], device=device)

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
        """Text, None and integers past the range of int64 are refused; the last in it is not."""
        assert tensors.from_data([2**63 - 1], device=device).tolist() == [9223372036854775807]

        with pytest.raises(error, match=words):
            tensors.from_data(data, device=device)


class TestFromNumpy:
    def test_tensor_takes_dtype_strides_and_values_of_the_array(self) -> None:
        """A tensor made from an array has its dtype, its values and its strides."""
        a = np.array([[1, 2, 3], [4, 5, 6]], dtype=np.int16).T

        t = tensors.from_numpy(a)

        assert t.dtype is torch.int16
        assert t.tolist() == [[1, 4], [2, 5], [3, 6]]
        assert [step * a.itemsize for step in t.stride()] == list(a.strides)

    def test_tensor_and_array_share_memory(self) -> None:
        """A tensor made from an array lies on the array's memory: each sees writes to the other."""
        a = np.array([1.0, 2.0, 3.0])

        t = tensors.from_numpy(a)
        t[0] = 7
        a[2] = 9

        assert t.data_ptr() == a.ctypes.data
        assert a.tolist() == [7.0, 2.0, 9.0]
        assert t.tolist() == [7.0, 2.0, 9.0]

    @pytest.mark.parametrize("shape", [(2, 1, 3), (2, 0, 3), (3,), ()], ids=str)
    @pytest.mark.parametrize("dtype", [np.float64, np.int32], ids=["float64", "int32"])
    def test_array_of_any_shape_keeps_it_and_its_memory(
        self, dtype: Any, shape: tuple[int, ...]
    ) -> None:
        """Arrays with any number of dimensions keep shape and memory, there and back."""
        a = np.zeros(shape, dtype)

        t = tensors.from_numpy(a)
        back = tensors.to_numpy(t)
        t.fill_(1)
        back[...] += 1

        assert t.shape == back.shape == shape
        assert a.tolist() == t.tolist() == np.full(shape, 2).tolist()

    def test_tensor_of_a_slice_lies_on_the_slice(self) -> None:
        """A tensor made from a slice of an array starts where the slice does."""
        a = np.array([1.0, 2.0, 3.0, 4.0])

        t = tensors.from_numpy(a[2:])
        t += 10

        assert a.tolist() == [1.0, 2.0, 13.0, 14.0]

    def test_round_trip_comes_back_to_the_same_memory(self) -> None:
        """From array to tensor and back nothing is copied, and nothing changes."""
        a = np.array([[1, 2, 3], [4, 5, 6]])

        back = tensors.to_numpy(tensors.from_numpy(a))

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

        t = tensors.from_numpy(a)
        back = tensors.to_numpy(t)
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
        """A read-only array becomes a tensor over its memory, with a warning and no error."""
        a = np.array([1.0, 2.0])
        torch.from_numpy(a)
        a.setflags(write=False)

        with pytest.warns(UserWarning, match="not writable"):
            t = torch.from_numpy(a)

        assert t.data_ptr() == a.ctypes.data

    def test_tensor_made_from_an_array_is_on_the_cpu(self) -> None:
        """A tensor made from an array is always on the CPU."""
        t = torch.from_numpy(np.array([1.0]))

        assert t.device == torch.device("cpu")

    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_tensor_of_an_array_goes_to_the_device_asked_for(self, device: torch.device) -> None:
        """A tensor made from an array and moved lives on the device that was asked for."""
        t = tensors.from_numpy(np.zeros((2, 3), dtype=np.float32), device)

        assert t.device == device
        assert t.shape == (2, 3)
        assert t.dtype is torch.float32

    def test_values_of_an_array_arrive_on_the_device(self, device: torch.device) -> None:
        """The values of an array arrive in order on the device, a transposed array's too."""
        a = np.array([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]], dtype=np.float32).T

        t = tensors.from_numpy(a, device)

        assert t.tolist() == a.tolist()


class TestFromAnotherTensor:
    @pytest.mark.on("cpu", "accelerator", "meta")
    @pytest.mark.parametrize(
        "dtype",
        [torch.float32, torch.float16, torch.int64, torch.int32, torch.uint8, torch.bool],
        ids=str,
    )
    def test_like_tensor_takes_shape_dtype_and_device(
        self, dtype: torch.dtype, device: torch.device
    ) -> None:
        """A tensor made like another takes over its shape, its dtype and its device."""
        source = torch.zeros(2, 3, dtype=dtype, device=device)

        like = tensors.ones_like(source)

        assert like.shape == (2, 3)
        assert like.dtype is dtype
        assert like.device == device

    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_random_like_tensor_takes_shape_dtype_and_device(self, device: torch.device) -> None:
        """A random tensor made like another takes over its shape, its dtype and its device."""
        source = torch.zeros(2, 3, dtype=torch.float16, device=device)

        like = tensors.rand_like(source)

        assert like.shape == (2, 3)
        assert like.dtype is torch.float16
        assert like.device == device

    @pytest.mark.on("cpu")  # not every accelerator has float64
    @pytest.mark.parametrize("like", [torch.ones_like, torch.rand_like, torch.zeros_like])
    @pytest.mark.parametrize("shape", [(2, 3), (2, 0), ()], ids=str)
    def test_like_tensor_of_double_precision_has_it_too(
        self, shape: tuple[int, ...], like: Any, device: torch.device
    ) -> None:
        """Double precision is inherited, or asked for, with any shape."""
        double = torch.zeros(shape, dtype=torch.float64, device=device)

        inherited, asked_for = like(double), like(double.float(), dtype=torch.float64)

        assert [inherited.dtype, asked_for.dtype] == [torch.float64] * 2
        assert inherited.shape == asked_for.shape == shape

    def test_ones_like_are_ones_in_memory_of_their_own(self, device: torch.device) -> None:
        """Ones made like another tensor are all one, and writing to them leaves the other alone."""
        source = tensors.from_data([[5, 6, 7], [8, 9, 10]], device=device)

        like = tensors.ones_like(source)
        like[0, 0] = 2

        assert like.tolist() == [[2, 1, 1], [1, 1, 1]]
        assert source.tolist() == [[5, 6, 7], [8, 9, 10]]
        assert tensors.ones_like(source.half()).tolist() == [[1, 1, 1], [1, 1, 1]]
        assert tensors.ones_like(source > 7).tolist() == [[True] * 3] * 2

    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_like_tensor_takes_the_memory_layout(self, device: torch.device) -> None:
        """A tensor made like a transposed one is laid out in memory as that is."""
        source = tensors.ones((2, 3), device).t()

        ones, random = tensors.ones_like(source), tensors.rand_like(source)

        assert source.stride() == (1, 3)
        assert ones.stride() == (1, 3)
        assert random.stride() == (1, 3)

    @pytest.mark.on("accelerator", "meta")
    @pytest.mark.parametrize("like", [tensors.ones_like, tensors.rand_like])
    def test_device_asked_for_wins_over_the_inherited_one(
        self, like: Any, device: torch.device
    ) -> None:
        """A device asked for wins over the device of the tensor that is the pattern."""
        source = torch.zeros(2, 3)

        elsewhere = like(source, device=device)

        assert elsewhere.device == device
        assert elsewhere.shape == (2, 3)
        assert like(source).device == torch.device("cpu")

    def test_like_tensor_does_not_require_grad(self, device: torch.device) -> None:
        """A tensor made like one that requires grad does not require grad itself."""
        source = torch.zeros(2, device=device, requires_grad=True)

        ones, random = tensors.ones_like(source), tensors.rand_like(source)

        assert source.requires_grad
        assert not ones.requires_grad
        assert not random.requires_grad

    def test_dtype_asked_for_wins_over_the_inherited_one(self, device: torch.device) -> None:
        """A dtype asked for wins over the inherited one: integers can pattern random floats."""
        source = tensors.from_data([[1, 2, 3], [4, 5, 6]], device=device)

        like = tensors.rand_like(source, dtype=torch.float)

        assert like.dtype is torch.float32
        assert like.shape == (2, 3)
        assert source.dtype is torch.int64
        assert source.tolist() == [[1, 2, 3], [4, 5, 6]]

    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_dtype_asked_for_keeps_shape_and_device(self, device: torch.device) -> None:
        """A dtype asked for changes neither the inherited shape nor the inherited device."""
        source = torch.zeros(2, 3, device=device)

        like = tensors.ones_like(source, dtype=torch.int64)

        assert like.dtype is torch.int64
        assert like.shape == (2, 3)
        assert like.device == device

    def test_random_like_numbers_lie_between_0_and_1(self, device: torch.device) -> None:
        """Random numbers made like another tensor lie in [0, 1), and are not all the same."""
        source = torch.full((10, 10), 7, device=device)

        flat = tensors.rand_like(source, dtype=torch.float).flatten().tolist()
        half = tensors.rand_like(source.half()).flatten().tolist()

        assert all(0 <= number < 1 for number in flat)
        assert len(set(flat)) > 90
        assert len(set(half)) > 75  # of the 2,048 that float16 has there

    def test_random_integers_like_integers_are_refused(self, device: torch.device) -> None:
        """Random numbers like a tensor of integers are refused, unless a float dtype is asked for.

        A RuntimeError up to torch 2.6; by 2.11 a NotImplementedError, which is a RuntimeError.
        """
        source = tensors.from_data([[1, 2], [3, 4]], device=device)
        torch.rand_like(source, dtype=torch.float)

        with pytest.raises(RuntimeError, match="not implemented for 'Long'"):
            torch.rand_like(source)

    def test_ones_like_integers_print_as_shown(self, device: torch.device) -> None:
        """Ones made like a 2x2 tensor of integers print as the tutorial shows, without a point."""
        x_data = tensors.from_data([[1, 2], [3, 4]], device=device)

        x_ones = tensors.ones_like(x_data).cpu()

        shown = "Ones Tensor: \n tensor([[1, 1],\n        [1, 1]]) \n"
        assert f"Ones Tensor: \n {x_ones} \n" == shown

    def test_random_like_integers_print_with_four_decimals(self, device: torch.device) -> None:
        """Random floats made like a 2x2 tensor print as a 2x2 block of four decimals."""
        x_data = tensors.from_data([[1, 2], [3, 4]], device=device)

        x_rand = tensors.rand_like(x_data, dtype=torch.float).cpu()

        n = r"\d\.\d{4}(e-\d\d)?"
        shown = rf"tensor\(\[\[{n}, {n}\],\n        \[{n}, {n}\]\]\)"
        assert re.fullmatch(shown, str(x_rand))


class TestRandomOrConstantValues:
    @pytest.mark.on("cpu", "accelerator", "meta")
    @pytest.mark.parametrize("make", [tensors.rand, tensors.ones, tensors.zeros])
    @pytest.mark.parametrize(
        "shape", [(), (0,), (1,), (3,), (2, 3), (2, 0, 4), (2, 1, 3, 4)], ids=str
    )
    def test_shape_decides_the_dimensions(
        self, make: Any, shape: tuple[int, ...], device: torch.device
    ) -> None:
        """The tuple of sizes given to rand, ones and zeros is the shape of what they make."""
        t = make(shape, device)

        assert t.shape == shape
        assert t.dim() == len(shape)
        assert t.dtype is torch.float32
        assert t.device == device

    @pytest.mark.parametrize("make", [torch.rand, torch.ones, torch.zeros])
    def test_sizes_come_as_tuple_list_size_or_arguments(
        self, make: Any, device: torch.device
    ) -> None:
        """A tuple, a list, a torch.Size and separate arguments say the same shape."""
        made = [
            make((2, 3), device=device),
            make([2, 3], device=device),
            make(torch.Size([2, 3]), device=device),
            make(2, 3, device=device),
        ]

        assert [t.shape for t in made] == [(2, 3)] * 4

    @pytest.mark.parametrize("make", [torch.rand, torch.ones, torch.zeros])
    def test_negative_and_fractional_sizes_are_refused(
        self, make: Any, device: torch.device
    ) -> None:
        """A negative size and a fractional one are refused; a size of zero is not."""
        make((2, 0), device=device)

        with pytest.raises(RuntimeError, match="negative"):
            make((2, -1), device=device)
        with pytest.raises(TypeError, match="float"):
            make((2, 1.0), device=device)

    def test_ones_and_zeros_print_as_shown(self, device: torch.device) -> None:
        """Ones and zeros of shape (2, 3) print as the tutorial shows, each with a point."""
        ones_tensor = tensors.ones((2, 3), device).cpu()
        zeros_tensor = tensors.zeros((2, 3), device).cpu()

        assert f"Ones Tensor: \n {ones_tensor} \n" == (
            "Ones Tensor: \n tensor([[1., 1., 1.],\n        [1., 1., 1.]]) \n"
        )
        assert f"Zeros Tensor: \n {zeros_tensor}" == (
            "Zeros Tensor: \n tensor([[0., 0., 0.],\n        [0., 0., 0.]])"
        )

    def test_random_block_prints_with_four_decimals(self, device: torch.device) -> None:
        """Random numbers of shape (2, 3) print as a 2x3 block of four decimals."""
        rand_tensor = tensors.rand((2, 3), device).cpu()

        n = r"\d\.\d{4}(e-\d\d)?"
        shown = rf"tensor\(\[\[{n}, {n}, {n}\],\n        \[{n}, {n}, {n}\]\]\)"
        assert re.fullmatch(shown, str(rand_tensor))

    def test_random_numbers_are_uniform_between_0_and_1(self, device: torch.device) -> None:
        """Random numbers lie in [0, 1), with a mean near 1/2 and a variance near 1/12."""
        sample = np.array(tensors.rand((100, 100), device).tolist())

        assert sample.min() >= 0
        assert sample.max() < 1
        assert np.unique(sample).size > 9_900  # of 10,000; few come twice
        # Of 10,000 uniform numbers the mean strays by 0.003 and the variance by 0.0008 (one
        # standard deviation); six of them are allowed.
        assert sample.mean() == pytest.approx(1 / 2, abs=0.018)
        assert sample.var() == pytest.approx(1 / 12, abs=0.0048)

    def test_same_seed_gives_the_same_random_numbers(self, device: torch.device) -> None:
        """The same seed gives the same random numbers again, and another seed gives others."""
        torch.manual_seed(5)
        first = tensors.rand((2, 3), device).tolist()
        torch.manual_seed(5)
        again = tensors.rand((2, 3), device).tolist()
        torch.manual_seed(6)
        other = tensors.rand((2, 3), device).tolist()

        assert again == first
        assert other != first

    def test_random_numbers_differ_from_call_to_call(self, device: torch.device) -> None:
        """Each call makes new random numbers."""
        first = tensors.rand((2, 3), device).tolist()
        second = tensors.rand((2, 3), device).tolist()

        assert second != first


class TestAttributes:
    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_attributes_are_a_size_a_dtype_and_a_device(self, device: torch.device) -> None:
        """Every tensor has a shape, a dtype and a device, each an object of a type of its own."""
        t = tensors.rand((3, 4), device)

        shape, dtype, place = tensors.attributes(t)

        assert [type(shape), type(dtype), type(place)] == [torch.Size, torch.dtype, torch.device]
        assert isinstance(shape, tuple)
        assert shape == t.size() == (3, 4)
        assert dtype is torch.float32
        assert place == device

    @pytest.mark.on("accelerator")
    def test_device_of_an_accelerator_has_an_index(self, device: torch.device) -> None:
        """The device of a tensor on an accelerator names its kind and its index, as in cuda:0."""
        t = tensors.rand((3, 4), device)

        assert str(t.device) == f"{device.type}:{device.index}"
        assert t.device.index is not None

    @pytest.mark.on("cpu", "accelerator", "meta")
    @pytest.mark.parametrize("name", ["shape", "dtype", "device"])
    def test_shape_dtype_and_device_cannot_be_assigned(
        self, name: str, device: torch.device
    ) -> None:
        """The shape, dtype and device of a tensor cannot be assigned; requires_grad can."""
        t = tensors.rand((3, 4), device)
        t.requires_grad = True

        with pytest.raises(AttributeError, match="not writable"):
            setattr(t, name, getattr(t, name))

    def test_attributes_print_as_shown(self) -> None:
        """The attributes of a random 3x4 tensor print as the three lines the tutorial shows."""
        attributes = tensors.attributes(tensors.rand((3, 4)))

        assert f"Shape of tensor: {attributes.shape}" == "Shape of tensor: torch.Size([3, 4])"
        assert f"Datatype of tensor: {attributes.dtype}" == "Datatype of tensor: torch.float32"
        assert f"Device tensor is stored on: {attributes.device}" == (
            "Device tensor is stored on: cpu"
        )


class TestOperations:
    def test_torch_has_over_a_hundred_operators(self) -> None:
        """Torch has over a thousand public tensor operators, let alone a hundred."""
        overloads = torch._C._dispatch_get_all_op_names()  # such as aten::add.Tensor

        names = {
            name.removeprefix("aten::").split(".")[0] for name in overloads if "aten::" in name
        }
        public = {name for name in names if not name.startswith("_")}

        assert public >= {"add", "t", "select", "slice", "exp", "linalg_solve", "bernoulli"}
        assert len(public) > 1000

    def test_tensors_have_over_a_hundred_methods(self) -> None:
        """A tensor has over five hundred public methods, let alone a hundred."""
        public = {name for name in dir(torch.Tensor) if not name.startswith("_")}

        methods = {name for name in public if callable(getattr(torch.Tensor, name))}

        assert methods >= {"add", "t", "select", "narrow", "exp", "matmul", "bernoulli"}
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
        self, call: Callable[..., Any], result: Any, device: torch.device
    ) -> None:
        """There are operations that transpose, index, slice, calculate, do algebra and sample."""
        x = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 7.0]], device=device)

        assert call(x).tolist() == result

    @pytest.mark.parametrize("sampler", operations.SAMPLERS, ids=attrgetter("name"))
    def test_draws_follow_the_distribution_asked_for(
        self, sampler: Any, device: torch.device
    ) -> None:
        """Random numbers are drawn independently, on the device, from the distribution named."""
        draws = sampler.draw(device)

        assert (draws.shape, draws.dtype) == ((operations.DRAWS,), sampler.dtype)
        assert draws.device == device
        array = np.array(draws.tolist())
        assert sampler.allowed(array).all()
        assert sampler.error(array) < operations.LARGEST_ERROR
        assert abs(sampler.correlation(array)) < operations.LARGEST_CORRELATION

    @pytest.mark.parametrize("sampler", operations.SAMPLERS, ids=attrgetter("name"))
    def test_same_seed_repeats_the_draws(self, sampler: Any, device: torch.device) -> None:
        """After the same seed the same random numbers are drawn; without it, others."""
        first = sampler.draw(device).tolist()
        second = sampler.draw(device).tolist()

        torch.manual_seed(0)
        again = sampler.draw(device).tolist()

        assert first == again
        assert first != second

    @pytest.mark.on("meta")
    def test_draws_have_shape_and_dtype_without_values(self, device: torch.device) -> None:
        """The shape, dtype and device of random numbers are known without drawing them."""
        able = [sampler for sampler in operations.SAMPLERS if not sampler.not_on_meta]

        draws = {sampler.name: sampler.draw(device) for sampler in able}

        assert {name: (d.shape, d.dtype, d.device) for name, d in draws.items()} == {
            sampler.name: ((operations.DRAWS,), sampler.dtype, device) for sampler in able
        }

    def test_permutation_has_every_number_once(self, device: torch.device) -> None:
        """A random permutation has every number once, and every order is as likely."""
        draws = torch.stack([torch.randperm(3, device=device) for _ in range(600)])

        assert draws.sort(dim=1).values.unique(dim=0).tolist() == [[0, 1, 2]]
        orders, counts = np.unique(np.array(draws.tolist()), axis=0, return_counts=True)
        assert len(orders) == 6
        # Each of the 6 orders comes 100 times of 600, with a standard deviation of 9.1.
        assert abs(counts - 100).max() < 55

    def test_draws_without_replacement_never_repeat(self, device: torch.device) -> None:
        """Draws without replacement never repeat a number, and take the likelier ones first."""
        weights = torch.tensor([[1.0, 0.0, 3.0, 6.0]], device=device).expand(400, 4)

        draws = np.array(torch.multinomial(weights, 3).tolist())

        assert np.unique(np.sort(draws, axis=1), axis=0).tolist() == [[0, 2, 3]]
        # Number 3 comes first in 6 of 10, 240 of 400, with a standard deviation of 9.8.
        assert abs((draws[:, 0] == 3).sum() - 240) < 60

    @pytest.mark.parametrize("operation", operations.OPERATIONS, ids=attrgetter("name"))
    def test_operation_gives_what_numpy_gives(self, operation: Any, device: torch.device) -> None:
        """Every one of over two hundred operations runs on the device and agrees with NumPy."""
        results = operation.results(device)

        assert {result.device for result in results} == {device}
        torch.testing.assert_close([result.cpu() for result in results], operation.expected())

    @pytest.mark.on("meta")
    @pytest.mark.parametrize("family", operations.FAMILIES.values(), ids=operations.FAMILIES.keys())
    def test_operations_have_shape_and_dtype_without_values(
        self, family: Any, device: torch.device
    ) -> None:
        """The shapes, dtypes and device of an operation's results are known without its values."""
        able = [operation for operation in family if not operation.not_on_meta]

        found = {o.name: [(r.shape, r.dtype, r.device) for r in o.results(device)] for o in able}

        assert found == {o.name: [(e.shape, e.dtype, device) for e in o.expected()] for o in able}

    @pytest.mark.on("accelerator")
    def test_histogram_is_refused_on_cuda(self, cuda: torch.device) -> None:
        """Not every operation runs on the GPU: CUDA refuses a histogram that the CPU computes."""
        t = torch.tensor([1.0, 2.0, 2.5, 4.0])

        assert torch.histogram(t, 3).hist.tolist() == [1.0, 2.0, 1.0]
        with pytest.raises(NotImplementedError, match=r"aten::histogram\.bin_ct"):
            torch.histogram(t.to(cuda), 3)

    @cuda_build
    def test_few_operators_run_on_the_cpu_only(self) -> None:
        """Of over three thousand operators of torch fewer than a hundred run on the CPU only."""
        missing = operations.overloads_for_the_cpu_only()

        assert "aten::histogram.bin_ct" in missing
        assert not missing & {"aten::add.Tensor", "aten::mm", "aten::bernoulli", "aten::matmul"}
        assert len(missing) < 100

    @cuda_build
    def test_everyday_operations_have_a_way_to_run_on_cuda(self) -> None:
        """Each of over two hundred everyday operations is one that CUDA can run too."""
        cpu = torch.device("cpu")
        missing = operations.overloads_for_the_cpu_only()
        calls = [lambda o=o: o.results(cpu) for o in operations.OPERATIONS]
        draws = [lambda s=s: s.draw(cpu) for s in operations.SAMPLERS]

        needed = operations.overloads_called(*calls, *draws)

        assert len(needed) > 200
        assert needed & missing == set()
        assert operations.overloads_called(lambda: torch.ones(3).histogram(2)) & missing

    @pytest.mark.on("accelerator", "meta")
    def test_guarded_move_goes_to_the_accelerator_there_is(
        self, device: torch.device, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Where an accelerator is available, a guarded move makes a copy on it."""
        monkeypatch.setattr(devices, "accelerator", lambda: device)
        tensor = tensors.ones((3, 4))

        moved = tensors.to_accelerator(tensor)

        assert moved.device == device
        assert moved.shape == (3, 4)
        assert tensor.device == torch.device("cpu")

    @pytest.mark.on("accelerator")
    def test_guarded_move_keeps_the_values(self, device: torch.device) -> None:
        """A tensor moved to the accelerator has there the values it has on the CPU."""
        tensor = tensors.from_data([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])

        moved = tensors.to_accelerator(tensor)

        assert moved.device.type == device.type
        assert moved.tolist() == [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
        assert tensor.tolist() == [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]

    def test_guarded_move_does_nothing_without_an_accelerator(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Where no accelerator is available, a guarded move leaves the very same tensor."""
        monkeypatch.setattr(devices, "accelerator", lambda: None)
        tensor = tensors.ones((3, 4))

        assert tensors.to_accelerator(tensor) is tensor

    def test_unguarded_move_to_an_absent_accelerator_is_refused(self, absent: str) -> None:
        """Moving a tensor to an accelerator that is not there is refused, not ignored."""
        tensor = tensors.ones((3, 4))
        assert tensor.to("cpu").device == torch.device("cpu")

        # A RuntimeError where torch was built for the accelerator, an AssertionError where not.
        with pytest.raises((RuntimeError, AssertionError), match=r"driver|compiled|GPU"):
            tensor.to(absent)

    @pytest.mark.on("accelerator", "meta")
    def test_move_returns_a_tensor_and_leaves_its_own_behind(self, device: torch.device) -> None:
        """Moving returns a new tensor: the old name still stands for the tensor on the CPU."""
        tensor = tensors.ones((2, 3))

        moved = tensors.to_device(tensor, device)

        assert moved is not tensor
        assert moved.device == device
        assert moved.shape == (2, 3)
        assert moved.dtype is torch.float32
        assert tensor.device == torch.device("cpu")

    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_move_to_where_a_tensor_is_returns_the_tensor_itself(
        self, device: torch.device
    ) -> None:
        """Moving a tensor to the device it is on returns the tensor itself, without copy=True."""
        tensor = tensors.ones((2, 3), device)

        assert tensors.to_device(tensor, device) is tensor
        assert tensor.to(device) is tensor
        assert tensor.to(device=device) is tensor
        assert tensors.to_device(tensor, device, copy=True) is not tensor

    def test_move_with_copy_shares_no_memory(self, device: torch.device) -> None:
        """A move with copy=True returns a tensor of equal values in memory of its own."""
        tensor = tensors.from_data([1.0, 2.0], device=device)

        copied = tensors.to_device(tensor, device, copy=True)

        assert copied.tolist() == [1.0, 2.0]
        copied[0] = 7
        assert tensor.tolist() == [1.0, 2.0]


class TestIndexing:
    def test_assignment_to_a_column_changes_just_that_column(self, device: torch.device) -> None:
        """Assigning to a slice of one column changes that column and nothing else."""
        tensor = tensors.from_data([[1, 2, 3], [4, 5, 6]], device=device)

        same = tensors.set_column(tensor, 1, 0)

        assert same is tensor
        assert tensor.tolist() == [[1, 0, 3], [4, 0, 6]]

    def test_assignment_to_a_slice_keeps_the_memory(self) -> None:
        """Assigning to a slice writes into the memory that the tensor has."""
        tensor = tensors.ones((4, 4))
        address = tensor.data_ptr()

        tensors.set_column(tensor, 1, 0)

        assert tensor.data_ptr() == address
        assert tensor.tolist() == [[1, 0, 1, 1]] * 4

    @pytest.mark.parametrize(
        "index",
        [
            pytest.param(np.s_[1], id="row"),
            pytest.param(np.s_[-1, -2], id="element from the end"),
            pytest.param(np.s_[:, 1], id="column"),
            pytest.param(np.s_[..., -1], id="last column"),
            pytest.param(np.s_[1:, :2], id="block"),
            pytest.param(np.s_[::2, 1::2], id="steps"),
            pytest.param(np.s_[2:2], id="empty"),
            pytest.param(np.s_[1:9, -9:2], id="past the ends"),
            pytest.param(np.s_[None, :, 0], id="new dimension"),
            pytest.param(np.s_[[2, 0]], id="list of rows"),
            pytest.param(np.s_[[-1, 0]], id="list of rows from the end"),
            pytest.param(np.s_[[0, 2], [1, 3]], id="list of places"),
            pytest.param(np.s_[[True, False, True]], id="mask of rows"),
        ],
    )
    def test_indexing_reads_and_writes_as_in_numpy(self, index: Any, device: torch.device) -> None:
        """An index selects, and assigned to changes, the same elements as in NumPy."""
        array = np.arange(12, dtype=np.float32).reshape(3, 4)
        tensor = tensors.from_data(array, device=device)

        assert tensor[index].tolist() == array[index].tolist()
        assert tensor[index].shape == array[index].shape

        tensor[index] = -1
        array[index] = -1
        assert tensor.tolist() == array.tolist()

    def test_slice_is_a_view(self, device: torch.device) -> None:
        """A slice is a view: what is written to it is written to the tensor, and back."""
        tensor = tensors.from_data([[1, 2, 3], [4, 5, 6]], device=device)
        column = tensor[:, 1]

        column[0] = 9
        tensor[1, 1] = 8
        column += 10
        tensor[:, 0].fill_(5), tensor[:, 2].zero_()

        assert tensor.tolist() == [[5, 19, 0], [5, 18, 0]]
        assert column.tolist() == [19, 18]

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
        """Whatever is selected without a list or a mask is a view, as it is in NumPy."""
        array = np.arange(12, dtype=np.float32).reshape(3, 4)
        tensor = tensors.from_data(array, device=device)

        tensor[index].add_(100)
        array[index] += 100  # through a view of the array

        assert tensor.tolist() == array.tolist()

    def test_assigned_values_are_laid_out_and_converted_as_in_numpy(
        self, device: torch.device
    ) -> None:
        """A row of values fills a column in order, and floats are cut off for integers."""
        tensor = tensors.from_data([[1, 2, 3], [4, 5, 6]], device=device)

        tensor[:, 1] = tensors.from_data([7, 8], device=device)
        tensor[0, 0], tensor[1, 0] = 2.7, -2.7
        tensor[:, 2] += 10

        assert tensor.tolist() == [[2, 7, 13], [-2, 8, 16]]
        with pytest.raises(RuntimeError, match=r"shape mismatch|must match"):
            tensor[:, 1] = tensors.from_data([7, 8, 9], device=device)

    def test_index_list_makes_a_copy(self, device: torch.device) -> None:
        """A selection by a list is a copy: what is written to it leaves the tensor alone."""
        tensor = tensors.from_data([[1, 2, 3], [4, 5, 6]], device=device)

        columns = tensor[:, [0, 2]]
        columns[0, 0] = 9

        assert columns.tolist() == [[9, 3], [4, 6]]
        assert tensor.tolist() == [[1, 2, 3], [4, 5, 6]]

    def test_index_out_of_range_is_refused(self, device: torch.device) -> None:
        """An index past the last column is refused; the last column is not."""
        tensor = tensors.ones((4, 4), device)
        assert tensor[:, 3].tolist() == [1, 1, 1, 1]

        with pytest.raises(IndexError, match="index 4 is out of bounds for dimension 1"):
            tensor[:, 4]
        with pytest.raises(IndexError, match="index -5 is out of bounds for dimension 0"):
            tensor[-5]

    def test_more_indices_than_dimensions_are_refused(self, device: torch.device) -> None:
        """Three indices into two dimensions are refused; two are not."""
        tensor = tensors.ones((4, 4), device)
        assert tensor[0, 0].item() == 1

        with pytest.raises(IndexError, match="too many indices"):
            tensor[0, 0, 0]

    def test_negative_step_is_refused(self, device: torch.device) -> None:
        """A slice with a negative step, which NumPy takes, is refused; flip does the work."""
        tensor = tensors.from_data([1, 2, 3], device=device)
        assert tensor.flip(0).tolist() == [3, 2, 1]

        with pytest.raises(ValueError, match="step must be greater than zero"):
            tensor[::-1]

    def test_block_with_a_zero_column_prints_as_shown(self, block: torch.Tensor) -> None:
        """Ones of shape (4, 4) with the second column set to zero print as the tutorial shows."""
        assert str(block.cpu()) == BLOCK


class TestJoining:
    @pytest.mark.parametrize(
        ("dim", "joined"),
        [
            (0, [[1, 2, 3], [4, 5, 6], [7, 8, 9], [10, 11, 12]]),
            (1, [[1, 2, 3, 7, 8, 9], [4, 5, 6, 10, 11, 12]]),
            (-1, [[1, 2, 3, 7, 8, 9], [4, 5, 6, 10, 11, 12]]),
            (-2, [[1, 2, 3], [4, 5, 6], [7, 8, 9], [10, 11, 12]]),
        ],
    )
    def test_cat_joins_along_the_dimension_given(
        self, dim: int, joined: list[list[int]], device: torch.device
    ) -> None:
        """Concatenating puts tensors one after another along the dimension that is given."""
        first = tensors.from_data([[1, 2, 3], [4, 5, 6]], device=device)
        second = tensors.from_data([[7, 8, 9], [10, 11, 12]], device=device)

        assert tensors.cat([first, second], dim=dim).tolist() == joined
        assert torch.cat((first, second), dim=dim).tolist() == joined

    @pytest.mark.parametrize("dim", [0, 1, 2, -1, -2, -3])
    def test_cat_joins_any_number_of_cubes(self, dim: int, device: torch.device) -> None:
        """Five cubes in a tuple are joined in order along any of their three dimensions."""
        cubes = [np.arange(8.0, dtype=np.float32).reshape(2, 2, 2) + 10 * n for n in range(5)]

        joined = tensors.cat(tuple(tensors.from_data(cube, device) for cube in cubes), dim)

        assert joined.tolist() == np.concatenate(cubes, dim).tolist()

    def test_cat_takes_other_sizes_in_the_joined_dimension(self, device: torch.device) -> None:
        """The tensors to concatenate may differ in the dimension that is joined."""
        wide = tensors.from_data([[1, 2, 3], [4, 5, 6]], device=device)
        narrow = tensors.from_data([[7], [8]], device=device)

        assert tensors.cat([wide, narrow, wide], dim=1).tolist() == [
            [1, 2, 3, 7, 1, 2, 3],
            [4, 5, 6, 8, 4, 5, 6],
        ]

    def test_cat_makes_a_copy(self, device: torch.device) -> None:
        """What is joined is a copy: it does not follow the tensors that it was made from."""
        values = np.array([0.1, 0.7], dtype=np.float32)
        part = tensors.from_data(values, device=device)

        alone, twice = tensors.cat([part]), tensors.cat([part, part])
        beside_nothing, stacked = tensors.cat([part, part[:0]]), tensors.stack([part])
        part[0] = 7

        assert alone.tolist() == values.tolist()
        assert beside_nothing.tolist() == values.tolist()
        assert stacked.tolist() == [values.tolist()]
        assert twice.tolist() == values.tolist() * 2

    def test_cat_promotes_to_a_common_dtype(self, device: torch.device) -> None:
        """Integers concatenated with floats become floats, and the narrower dtype the wider."""
        integers = tensors.from_data([1, 2], device=device)
        floats = tensors.from_data([0.5], device=device)

        joined = tensors.cat([integers, floats])
        of_bools, of_halves = (
            tensors.cat([integers > 1, integers]),
            tensors.cat([floats.half(), floats]),
        )

        assert joined.dtype is of_halves.dtype is torch.float32
        assert joined.tolist() == [1.0, 2.0, 0.5]
        assert of_bools.dtype is torch.int64
        assert of_bools.tolist() == [0, 1, 1, 2]

    def test_cat_refuses_other_sizes_elsewhere(self, device: torch.device) -> None:
        """Sizes that differ in another dimension than the joined one are refused."""
        tall, short = tensors.ones((3, 2), device), tensors.ones((2, 2), device)
        assert tensors.cat([tall, short], dim=0).shape == (5, 2)

        with pytest.raises(RuntimeError, match="Sizes of tensors must match except in dimension 1"):
            tensors.cat([tall, short], dim=1)
        with pytest.raises(RuntimeError, match="must have same number of dimensions"):
            tensors.cat([tall, tall[0]])

    def test_cat_refuses_a_dimension_that_is_not_there(self, device: torch.device) -> None:
        """A dimension past the last is refused when concatenating; the last is not."""
        tensor = tensors.ones((2, 3), device)
        assert tensors.cat([tensor, tensor], dim=1).shape == (2, 6)

        with pytest.raises(IndexError, match="Dimension out of range"):
            tensors.cat([tensor, tensor], dim=2)

    def test_cat_of_nothing_is_refused(self, device: torch.device) -> None:
        """Concatenating no tensor is refused; concatenating one is not."""
        assert torch.cat([tensors.ones((2,), device)]).tolist() == [1, 1]

        # A RuntimeError up to torch 2.6, a ValueError by 2.11.
        with pytest.raises((RuntimeError, ValueError), match="non-empty list"):
            torch.cat([])

    def test_cat_refuses_tensors_without_dimension(self, device: torch.device) -> None:
        """Tensors without a dimension cannot be concatenated; with one they can."""
        one, two = tensors.from_data(1, device=device), tensors.from_data(2, device=device)
        assert tensors.cat([one.view(1), two.view(1)]).tolist() == [1, 2]

        with pytest.raises(RuntimeError, match="zero-dimensional"):
            tensors.cat([one, two])

    @pytest.mark.on("accelerator", "meta")
    def test_cat_refuses_tensors_of_several_devices(self, device: torch.device) -> None:
        """Tensors on different devices cannot be concatenated; on one device they can."""
        here, there = tensors.ones((2,)), tensors.ones((2,), device)
        assert torch.cat([there, there]).device == device

        with pytest.raises(RuntimeError, match="device"):
            torch.cat([here, there])

    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_joined_tensors_stay_on_their_device(self, device: torch.device) -> None:
        """Concatenated and stacked tensors are on the device of the tensors they join."""
        tensor = tensors.ones((2, 3), device)

        assert tensors.cat([tensor, tensor]).device == device
        assert tensors.stack([tensor, tensor]).device == device

    def test_three_blocks_side_by_side_print_as_shown(self, block: torch.Tensor) -> None:
        """Three 4x4 blocks joined along dimension 1 print as the 4x12 block the tutorial shows."""
        t1 = tensors.cat([block, block, block], dim=1)

        assert t1.shape == (4, 12)
        assert str(t1.cpu()) == (
            "tensor([[1., 0., 1., 1., 1., 0., 1., 1., 1., 0., 1., 1.],\n"
            "        [1., 0., 1., 1., 1., 0., 1., 1., 1., 0., 1., 1.],\n"
            "        [1., 0., 1., 1., 1., 0., 1., 1., 1., 0., 1., 1.],\n"
            "        [1., 0., 1., 1., 1., 0., 1., 1., 1., 0., 1., 1.]])"
        )

    @pytest.mark.on("cpu", "accelerator", "meta")
    @pytest.mark.parametrize(
        ("dim", "shape"),
        [(0, (3, 4, 5)), (1, (4, 3, 5)), (2, (4, 5, 3)), (-1, (4, 5, 3)), (-2, (4, 3, 5))],
    )
    def test_stack_adds_a_dimension(
        self, dim: int, shape: tuple[int, ...], device: torch.device
    ) -> None:
        """Stacking adds a dimension where it is told to, as large as the number of tensors."""
        tensor = tensors.ones((4, 5), device)

        assert tensors.stack([tensor, tensor, tensor], dim=dim).shape == shape

    @pytest.mark.parametrize(
        ("dim", "stacked"),
        [
            (0, [[[1, 2, 3], [4, 5, 6]], [[7, 8, 9], [10, 11, 12]]]),
            (1, [[[1, 2, 3], [7, 8, 9]], [[4, 5, 6], [10, 11, 12]]]),
            (2, [[[1, 7], [2, 8], [3, 9]], [[4, 10], [5, 11], [6, 12]]]),
        ],
    )
    def test_stack_is_cat_along_a_new_dimension(
        self, dim: int, stacked: list[list[list[int]]], device: torch.device
    ) -> None:
        """Stacking does what concatenating along a new dimension of size one does."""
        first = tensors.from_data([[1, 2, 3], [4, 5, 6]], device=device)
        second = tensors.from_data([[7, 8, 9], [10, 11, 12]], device=device)

        unsqueezed = [first.unsqueeze(dim), second.unsqueeze(dim)]

        assert tensors.stack([first, second], dim=dim).tolist() == stacked
        assert tensors.cat(unsqueezed, dim=dim).tolist() == stacked

    def test_stack_needs_equal_shapes(self, device: torch.device) -> None:
        """Tensors of unequal shape cannot be stacked, though they can be concatenated."""
        long, short = tensors.ones((3, 2), device), tensors.ones((2, 2), device)
        assert tensors.cat([long, short]).shape == (5, 2)

        with pytest.raises(RuntimeError, match="equal size"):
            tensors.stack([long, short])

    def test_stack_takes_tensors_without_dimension(self, device: torch.device) -> None:
        """Tensors without a dimension, which cannot be concatenated, can be stacked."""
        one, two = tensors.from_data(1, device=device), tensors.from_data(2, device=device)

        assert tensors.stack([one, two]).tolist() == [1, 2]


class TestMultiplying:
    def test_elementwise_product_has_two_spellings(self, device: torch.device) -> None:
        """The method mul and the operator * both multiply element by element."""
        a = tensors.from_data([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], device=device)
        b = tensors.from_data([[7.0, 8.0, 9.0], [1000.25, -1.0, 2.0]], device=device)

        by_method, by_operator = tensors.elementwise_products(a, b)

        assert by_method.tolist() == [[7.0, 16.0, 27.0], [4001.0, -5.0, 12.0]]
        assert by_operator.tolist() == [[7.0, 16.0, 27.0], [4001.0, -5.0, 12.0]]
        assert torch.mul(a, b).tolist() == [[7.0, 16.0, 27.0], [4001.0, -5.0, 12.0]]

        square = tensors.from_data([[1.0, 2.0], [3.0, 4.0]], device=device)
        by_method, by_operator = tensors.elementwise_products(square, square.T)
        assert by_method.tolist() == by_operator.tolist() == [[1.0, 6.0], [6.0, 16.0]]

    def test_elementwise_product_commutes(self, device: torch.device) -> None:
        """The element by element product is the same either way round."""
        a = tensors.rand((5, 7), device)
        b = tensors.rand((5, 7), device)

        one, other = tensors.elementwise_products(a, b), tensors.elementwise_products(b, a)

        assert one.method.tolist() == other.method.tolist()
        assert one.operator.tolist() == other.operator.tolist()

    def test_elementwise_product_is_rounded_once(self, device: torch.device) -> None:
        """Each element of a product is the exact product, rounded to the dtype of the factors."""
        a = np.linspace(0.1, 3.7, 35, dtype=np.float32).reshape(5, 7)
        b = np.linspace(9.3, -0.2, 35, dtype=np.float32).reshape(5, 7)

        by_method, by_operator = tensors.elementwise_products(
            tensors.from_data(a, device), tensors.from_data(b, device)
        )

        assert by_method.tolist() == (a * b).tolist()
        assert by_operator.tolist() == (a * b).tolist()

    def test_elementwise_product_of_integers_is_exact(self, device: torch.device) -> None:
        """Integers, past what a float can hold too, multiply exactly; times floats they convert."""
        whole = tensors.from_data([3, 2**53 + 1], device=device)
        halves = tensors.from_data([0.5, 1.5], device=device)

        by_method, by_operator = tensors.elementwise_products(whole, whole[:1])
        mixed = tensors.elementwise_products(whole[:1], halves)

        assert by_method.tolist() == by_operator.tolist() == [9, 3 * 2**53 + 3]
        assert [product.dtype for product in mixed] == [torch.float32] * 2
        assert mixed.method.tolist() == mixed.operator.tolist() == [1.5, 4.5]
        assert (whole[:1] * 0.5).tolist() == (0.5 * whole[:1]).tolist() == [1.5]

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
        a = tensors.from_data([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], device=device)
        b = tensors.from_data(other, device=device)

        by_method, by_operator = tensors.elementwise_products(a, b)

        assert by_method.tolist() == product
        assert by_operator.tolist() == product

    def test_product_has_memory_of_its_own(self, device: torch.device) -> None:
        """A product leaves its factors as they are, and writing to it does not reach them."""
        a = tensors.from_data([2.0, 3.0], device=device)
        b = tensors.from_data([5.0, 7.0], device=device)

        for_method, for_operator = tensors.elementwise_products(a, b)
        for_method[0] = for_operator[0] = -1
        times_one, by_one = a * 1, a.mul(1)
        times_one[0] = by_one[0] = -1

        assert a.tolist() == [2.0, 3.0]
        assert b.tolist() == [5.0, 7.0]

    def test_elementwise_product_refuses_shapes_that_do_not_fit(self, device: torch.device) -> None:
        """Shapes that cannot be broadcast are refused in the element by element product."""
        a, two = tensors.ones((2, 3), device), tensors.ones((2,), device)
        assert (a * two.view(2, 1)).shape == (2, 3)

        with pytest.raises(RuntimeError, match=r"size of tensor a \(3\) must match"):
            a.mul(two)
        with pytest.raises(RuntimeError, match=r"size of tensor a \(3\) must match"):
            a * two

    def test_elementwise_products_print_as_shown(self, block: torch.Tensor) -> None:
        """Both spellings of the block times itself print as the tutorial shows."""
        by_method, by_operator = tensors.elementwise_products(block, block)

        assert f"tensor.mul(tensor) \n {by_method.cpu()} \n" == (
            f"tensor.mul(tensor) \n {BLOCK} \n"
        )
        assert f"tensor * tensor \n {by_operator.cpu()}" == f"tensor * tensor \n {BLOCK}"

    def test_matrix_product_has_two_spellings(self, device: torch.device) -> None:
        """The method matmul and the operator @ both multiply rows by columns."""
        a = tensors.from_data([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], device=device)
        rows = [[1000.25, 0.0, 2.0, -1.0], [3.0, 1.0, 0.0, 2.0], [0.0, 4.0, 1.0, 1.0]]
        b = tensors.from_data(rows, device=device)

        by_method, by_operator = tensors.matrix_products(a, b)

        assert by_method.tolist() == [[1006.25, 14.0, 5.0, 6.0], [4016.0, 29.0, 14.0, 12.0]]
        assert by_operator.tolist() == [[1006.25, 14.0, 5.0, 6.0], [4016.0, 29.0, 14.0, 12.0]]
        assert torch.matmul(a, b).tolist() == [
            [1006.25, 14.0, 5.0, 6.0],
            [4016.0, 29.0, 14.0, 12.0],
        ]

    def test_matrix_product_has_the_precision_of_its_dtype(self, device: torch.device) -> None:
        """A matrix product of 32-bit floats is as precise as 32-bit floats are."""
        a = np.linspace(0.1, 3.7, 35).reshape(5, 7)
        b = np.linspace(9.3, 0.2, 21).reshape(7, 3)

        by_method, by_operator = tensors.matrix_products(
            tensors.from_data(a.tolist(), device), tensors.from_data(b.tolist(), device)
        )

        product = torch.tensor((a @ b).tolist())
        torch.testing.assert_close(by_method.cpu(), product)
        torch.testing.assert_close(by_operator.cpu(), product)

    @pytest.mark.on("cpu")  # CUDA has no matrix product of integers
    def test_matrix_product_of_integers_is_of_integers(self, device: torch.device) -> None:
        """Integers multiply as matrices too, one by one in a batch, and stay integers."""
        a = tensors.from_data([[[1, 2], [3, 4]], [[5, 6], [7, 8]]], device=device)
        square = a[0]

        assert (a @ a).tolist() == [[[7, 10], [15, 22]], [[67, 78], [91, 106]]]
        assert (square.T @ square).tolist() == [[10, 14], [14, 20]]
        assert [p.dtype for p in tensors.matrix_products(a, a)] == [torch.int64] * 2

    @pytest.mark.on("cpu")  # not every accelerator has float64
    def test_products_of_double_precision_are_as_precise(self, device: torch.device) -> None:
        """Both products of two float64 tensors are as precise as float64 is."""
        a = tensors.from_data(np.array([[0.1, 0.7], [1 / 3, 2 / 7]]), device=device)

        elementwise, matrix = tensors.elementwise_products(a, a), tensors.matrix_products(a, a)

        squares = torch.tensor([[0.01, 0.49], [1 / 9, 4 / 49]], dtype=torch.float64)
        sums = [[0.01 + 0.7 / 3, 0.07 + 0.2], [0.1 / 3 + 2 / 21, 0.7 / 3 + 4 / 49]]
        torch.testing.assert_close([*elementwise], [squares] * 2, rtol=1e-14, atol=0)
        products = torch.tensor(sums, dtype=torch.float64)
        torch.testing.assert_close([*matrix], [products] * 2, rtol=1e-14, atol=0)

    def test_t_transposes(self, device: torch.device) -> None:
        """The attribute T of a matrix is its transpose."""
        a = tensors.from_data([[1, 2, 3], [4, 5, 6]], device=device)

        assert a.T.tolist() == [[1, 4], [2, 5], [3, 6]]

    def test_transpose_is_a_view_with_strides_swapped(self, device: torch.device) -> None:
        """The transpose is a view: it swaps the strides and lies on the memory of the matrix."""
        a = tensors.from_data([[1, 2, 3], [4, 5, 6]], device=device)

        transposed = a.T
        transposed[2, 0] = 9

        assert a.stride() == (3, 1)
        assert transposed.stride() == (1, 3)
        assert a.tolist() == [[1, 2, 9], [4, 5, 6]]

        transposed.T[0, 0] = 7
        assert a.tolist() == [[7, 2, 9], [4, 5, 6]]

    def test_matrix_product_refuses_inner_sizes_that_differ(self, device: torch.device) -> None:
        """A matrix product whose inner sizes differ is refused; equal ones are not."""
        a = tensors.ones((2, 3), device)
        assert (a @ a.T).tolist() == [[3, 3], [3, 3]]

        with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
            a.matmul(a)
        with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
            a @ a

    def test_matrix_product_refuses_mixed_dtypes(self, device: torch.device) -> None:
        """Floats and integers can be multiplied element by element, not as matrices."""
        floats = tensors.ones((2, 2), device)
        integers = tensors.from_data([[1, 2], [3, 4]], device=device)
        assert (floats * integers).tolist() == [[1, 2], [3, 4]]

        with pytest.raises(RuntimeError, match="to have the same dtype"):
            floats @ integers

    @pytest.mark.changed(since="1.11", text="The attribute T transposes a tensor.")
    @pytest.mark.parametrize("shape", [(), (2,), (2, 3, 4)], ids=str)
    def test_t_of_other_than_a_matrix_warns(
        self, shape: tuple[int, ...], every_warning: None, device: torch.device
    ) -> None:
        """The attribute T transposes a matrix; of any other number of dimensions it warns."""
        assert tensors.ones((2, 3), device).T.shape == (3, 2)

        with pytest.warns(UserWarning, match="deprecated"):
            tensors.ones(shape, device).T  # noqa: B018

    def test_matrix_products_print_as_shown(self, block: torch.Tensor) -> None:
        """Both spellings of the block times its transpose print threes, as the tutorial shows."""
        by_method, by_operator = tensors.matrix_products(block, block.T)

        threes = "tensor([" + ",\n        ".join(["[3., 3., 3., 3.]"] * 4) + "])"
        assert f"tensor.matmul(tensor.T) \n {by_method.cpu()} \n" == (
            f"tensor.matmul(tensor.T) \n {threes} \n"
        )
        assert f"tensor @ tensor.T \n {by_operator.cpu()}" == f"tensor @ tensor.T \n {threes}"


class TestInPlace:
    @pytest.mark.parametrize(("change", "changed"), CHANGES)
    def test_underscore_changes_the_operand(
        self, change: Any, changed: Any, device: torch.device
    ) -> None:
        """An operation with a trailing underscore changes its operand and returns it."""
        x = tensors.from_data([[1, 2, 3], [4, 5, 6]], device=device)
        version = x._version

        returned = change(x)

        assert returned is x
        assert x.tolist() == changed
        assert x._version > version

    @pytest.mark.parametrize(("change", "changed"), CHANGES)
    def test_underscore_keeps_the_memory(self, change: Any, changed: Any) -> None:
        """An operation with a trailing underscore works in the memory that its operand has."""
        x = tensors.from_data([[1, 2, 3], [4, 5, 6]])
        address = x.data_ptr()

        change(x)

        assert x.data_ptr() == address
        assert x.tolist() == changed

    def test_without_underscore_the_operand_stays(self, device: torch.device) -> None:
        """The same operations without the underscore leave their operand as it is."""
        x = tensors.from_data([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], device=device)

        added, transposed = x.add(5), x.t()

        assert added.tolist() == [[6, 7, 8], [9, 10, 11]]
        assert transposed.tolist() == [[1, 4], [2, 5], [3, 6]]
        assert x.tolist() == [[1, 2, 3], [4, 5, 6]]
        assert x.shape == (2, 3)

    @pytest.mark.parametrize("method", in_place.METHODS, ids=attrgetter("name"))
    def test_underscore_changes_the_operand_to_what_the_operation_gives(
        self, method: in_place.InPlace, device: torch.device
    ) -> None:
        """A method with an underscore makes its operand, in its memory, what its twin returns."""
        x, arguments = method.tensors(device)
        y = x.clone()
        memory = y.view(-1)

        made = getattr(x, method.name.removesuffix("_"))(*arguments)
        returned = getattr(y, method.name)(*arguments)

        assert returned is y
        assert y.dtype is x.dtype
        assert y._version > x._version == 0
        operand, _ = method.tensors(device)
        torch.testing.assert_close(x, operand, rtol=0, atol=0, equal_nan=True)
        torch.testing.assert_close(y, made.to(x.dtype), equal_nan=True)
        in_memory = memory.as_strided(y.shape, y.stride())
        torch.testing.assert_close(in_memory, y, rtol=0, atol=0, equal_nan=True)
        assert y.shape != x.shape or not torch.equal(y, x)

    def test_copy_takes_values_not_memory(self, device: torch.device) -> None:
        """In-place copying takes over values, in the operand's dtype, not memory."""
        x = tensors.zeros((2, 3), device)
        y = tensors.from_data([1, 2, 3], device=device)

        tensors.copy_(x, y)
        y[0] = 7

        assert x.dtype is torch.float32
        assert x.tolist() == [[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]]

        square = tensors.from_data([[1.0, 2.0], [3.0, 4.0]], device=device)
        assert tensors.copy_(tensors.zeros((2, 2), device), square.T).tolist() == [[1, 3], [2, 4]]

    def test_every_method_with_an_underscore_returns_its_operand(
        self, device: torch.device
    ) -> None:
        """Seventy methods that end in an underscore and need no argument return their operand."""
        x = tensors.from_data([[0.25, 0.5], [0.75, 0.125]], device=device)

        apart = [name for name in IN_PLACE if getattr(y := x.clone(), name)() is not y]

        assert len(IN_PLACE) == 70
        assert apart == []

    @pytest.mark.parametrize(
        "name",
        [
            *("bernoulli_", "cauchy_", "exponential_", "log_normal_"),
            *("normal_", "random_", "uniform_"),
        ],
    )
    def test_method_that_draws_fills_its_operand(self, name: str, device: torch.device) -> None:
        """A method with an underscore that draws random numbers puts them in its operand."""
        x = torch.full((20,), 0.5, device=device)

        drawn = getattr(x, name)().tolist()

        assert x.tolist() == drawn != [0.5] * 20

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
        self, change: Callable[..., Any], changed: list[float], device: torch.device
    ) -> None:
        """The operator +=, the argument out= and assignment to an index work in place as well."""
        x = tensors.from_data([1.0, 2.0, 3.0], device=device)
        view = x[:]

        change(x)

        assert view.tolist() == changed

    def test_transposing_three_dimensions_in_place_is_refused(self, device: torch.device) -> None:
        """Transposing in place is refused for three dimensions; for two it is not."""
        tensors.t_(tensors.ones((2, 3), device))

        with pytest.raises(RuntimeError, match="<= 2 dimensions"):
            tensors.t_(tensors.ones((2, 3, 4), device))

    def test_copying_a_shape_that_does_not_fit_is_refused(self, device: torch.device) -> None:
        """Copying in place is refused for a shape that cannot be broadcast to the operand's."""
        x = tensors.ones((2, 3), device)
        tensors.copy_(x, tensors.zeros((3,), device))

        with pytest.raises(RuntimeError, match=r"size of tensor a \(3\) must match"):
            tensors.copy_(x, tensors.zeros((2, 2), device))

    def test_adding_floats_to_integers_in_place_is_refused(self, device: torch.device) -> None:
        """Adding a float in place to integers is refused, for their dtype cannot change."""
        x = tensors.from_data([1, 2], device=device)
        assert x.add(0.5).tolist() == [1.5, 2.5]

        with pytest.raises(RuntimeError, match="can't be cast to the desired output type Long"):
            tensors.add_(x, 0.5)

    def test_adding_to_an_expanded_tensor_in_place_is_refused(self, device: torch.device) -> None:
        """Adding in place is refused where several elements lie on one place in memory."""
        expanded = tensors.ones((2, 1), device).expand(2, 3)
        assert tensors.add_(expanded.clone(), 1).tolist() == [[2, 2, 2], [2, 2, 2]]

        with pytest.raises(RuntimeError, match="single memory location"):
            tensors.add_(expanded, 1)

    def test_adding_five_in_place_gives_sixes_and_fives(self, block: torch.Tensor) -> None:
        """Adding five in place turns the block of ones and zeros into sixes and fives."""
        before, view = str(block.cpu()), block[0]

        returned = tensors.add_(block, 5)

        assert returned is block
        assert before == BLOCK
        assert view.tolist() == [6, 5, 6, 6]
        assert block.tolist() == [[6, 5, 6, 6]] * 4
        assert str(block.cpu()) == BLOCK.replace("0.", "5.").replace("1.", "6.")

    def test_adding_five_in_place_keeps_the_memory(self) -> None:
        """Adding five in place leaves the tensor at its address."""
        tensor = tensors.set_column(tensors.ones((4, 4)), 1, 0)
        address = tensor.data_ptr()

        tensors.add_(tensor, 5)

        assert tensor.data_ptr() == address

    def test_in_place_work_allocates_no_memory(self) -> None:
        """Adding to 4 MiB on the CPU allocates 4 MiB, and next to nothing in place."""
        x = tensors.ones((1024, 1024))

        in_place = _allocated_on_cpu(lambda: x.add_(1))
        out_of_place = _allocated_on_cpu(lambda: x.add(1))

        assert in_place < 4 * 1024
        assert out_of_place >= 4 * 1024 * 1024

    @pytest.mark.on("accelerator")
    def test_in_place_work_allocates_no_accelerator_memory(
        self, peak_memory: Callable[[Callable[[], object]], int], device: torch.device
    ) -> None:
        """Adding to 4 MiB on an accelerator allocates 4 MiB, and next to nothing in place."""
        x = tensors.ones((1024, 1024), device)

        in_place = peak_memory(lambda: x.add_(1))
        out_of_place = peak_memory(lambda: x.add(1))

        assert in_place < 4 * 1024
        assert out_of_place >= 4 * 1024 * 1024

    @pytest.mark.parametrize(
        "change",
        [
            pytest.param(lambda t: t.add_(1), id="add_"),
            pytest.param(lambda t: t.__iadd__(1), id="+="),
            pytest.param(lambda t: t.__imul__(2), id="*="),
            pytest.param(lambda t: t.__setitem__(slice(None), 2), id="assignment"),
        ],
    )
    def test_leaf_that_requires_grad_is_not_changed_in_place(
        self, change: Callable[..., Any], device: torch.device
    ) -> None:
        """Changing a leaf that requires grad in place is refused, unless nothing is recorded."""
        leaf = torch.ones(2, device=device, requires_grad=True)
        with torch.no_grad():
            change(leaf)
        assert leaf.tolist() == [2, 2]

        with pytest.raises(RuntimeError, match=r"a (view of a )?leaf Variable that requires grad"):
            change(leaf)
        assert leaf.tolist() == [2, 2]

    def test_view_of_a_leaf_that_requires_grad_is_not_changed_in_place(
        self, device: torch.device
    ) -> None:
        """Changing a view of a leaf that requires grad in place is refused as for the leaf."""
        leaf = torch.ones(2, device=device, requires_grad=True)
        assert leaf.clone()[0].add_(1).item() == 2

        with pytest.raises(RuntimeError, match="a view of a leaf Variable that requires grad"):
            leaf[0].add_(1)

    def test_overwriting_a_value_that_backward_needs_is_found_out(
        self, device: torch.device
    ) -> None:
        """Overwriting a value that a derivative needs makes backward fail, not give a wrong one."""
        x = torch.zeros(2, device=device, requires_grad=True)
        needed, copied = x.exp(), x.exp().clone()
        tensors.add_(copied, 1).sum().backward()
        assert x.grad.tolist() == [1, 1]

        tensors.add_(needed, 1)

        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            needed.sum().backward()

    @pytest.mark.mistaken(text="An in-place operation clears the history at once.")
    def test_in_place_work_is_recorded_in_the_history(self, device: torch.device) -> None:
        """In-place work on a computed tensor extends its history, and gradients stay right."""
        x = tensors.from_data([1.0, 2.0], device=device).requires_grad_()
        y = x * 2

        tensors.add_(y, 1)
        y.pow(2).sum().backward()

        assert graph.of(y).names() == ["AddBackward0", "MulBackward0", "AccumulateGrad"]
        assert x.grad.tolist() == [12.0, 20.0]  # of (2x + 1)²: 4 (2x + 1)


class TestBridgeWithNumpy:
    def test_memory_is_shared_on_the_cpu(self) -> None:
        """A tensor on the CPU and its array share memory, whichever of the two came first."""
        t = tensors.ones((2,))
        a = np.ones(2)
        of_tensor, of_array = tensors.to_numpy(t), tensors.from_numpy(a)

        t[0] = 5
        a[1] = 7

        assert of_tensor.tolist() == [5, 1]
        assert of_array.tolist() == [1, 7]

    def test_cpu_of_a_cpu_tensor_still_shares_memory(self) -> None:
        """Moving a CPU tensor to the CPU returns the tensor itself, so its array shares memory."""
        t = tensors.ones((2,))

        array = t.cpu().numpy()
        t[0] = 5

        assert t.cpu() is t
        assert array.tolist() == [5, 1]

    @pytest.mark.on("accelerator", "meta")
    def test_tensor_away_from_the_cpu_has_no_array(self, device: torch.device) -> None:
        """A tensor that is not on the CPU cannot be had as an array; a tensor on the CPU can."""
        tensors.ones((2,)).numpy()

        with pytest.raises(TypeError, match=f"can't convert {device.type}"):
            tensors.ones((2,), device).numpy()

    @pytest.mark.on("accelerator")
    def test_array_of_a_tensor_on_an_accelerator_is_a_snapshot(self, device: torch.device) -> None:
        """The array of a tensor brought from an accelerator does not follow its later changes."""
        t = tensors.from_data([1.0, 2.0], device=device)

        array = t.cpu().numpy()
        t.add_(1)

        assert array.tolist() == [1.0, 2.0]
        assert t.tolist() == [2.0, 3.0]

    @pytest.mark.on("accelerator")
    def test_tensor_of_an_array_on_an_accelerator_is_a_snapshot(self, device: torch.device) -> None:
        """A tensor made from an array and moved to an accelerator does not follow the array."""
        a = np.array([1.0, 2.0], dtype=np.float32)

        t = tensors.from_numpy(a, device)
        a += 1

        assert t.device == device
        assert t.tolist() == [1.0, 2.0]

    def test_array_copy_is_a_snapshot_on_every_device(self, device: torch.device) -> None:
        """An array copied from a tensor, tracked or not, does not follow the tensor's changes."""
        t = tensors.from_data([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], device=device).requires_grad_()

        array = tensors.to_numpy_copy(t)
        t.detach().add_(1)

        assert array.dtype == np.float32
        assert array.tolist() == [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
        assert t.tolist() == [[2.0, 3.0, 4.0], [5.0, 6.0, 7.0]]


class TestTensorToNumpy:
    def test_five_ones_print_as_shown(self) -> None:
        """Five ones print as the tutorial shows, as a tensor and as its array."""
        t = tensors.ones((5,))

        n = tensors.to_numpy(t)

        assert f"t: {t}" == "t: tensor([1., 1., 1., 1., 1.])"
        assert f"n: {n}" == "n: [1. 1. 1. 1. 1.]"

    def test_array_has_dtype_strides_and_memory_of_the_tensor(self) -> None:
        """The array of a tensor has its dtype and its strides, and lies on its memory."""
        t = tensors.from_data([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]).t()

        n = tensors.to_numpy(t)

        assert type(n) is np.ndarray
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
        self, make: Callable[..., Any], error: Any, words: str
    ) -> None:
        """A tensor that is tracked, bfloat16, lazily conjugated or sparse has no array."""
        t = tensors.ones((2,))
        assert t.numpy().tolist() == [1, 1]

        with pytest.raises(error, match=words):
            make(t).numpy()

    def test_tensor_with_an_array_cannot_be_resized(self) -> None:
        """A tensor whose memory an array shares cannot grow; one without an array can."""
        free, shared = tensors.ones((2,)), tensors.ones((2,))
        assert free.resize_(100).shape == (100,)

        tensors.to_numpy(shared)

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
    def test_force_takes_tracked_and_conjugated_tensors(
        self, make: Callable[..., Any], values: Any
    ) -> None:
        """With force=True a tensor that is tracked or lazily conjugated becomes an array too."""
        t = make(tensors.ones((2,)))

        n = t.numpy(force=True)

        assert n.tolist() == values

    def test_array_shows_later_changes_of_the_tensor(self) -> None:
        """A NumPy array made from a CPU tensor shows every later change of the tensor."""
        t = tensors.ones((5,))
        n = tensors.to_numpy(t)

        t.add_(1)

        assert f"t: {t}" == "t: tensor([2., 2., 2., 2., 2.])"
        assert f"n: {n}" == "n: [2. 2. 2. 2. 2.]"

    def test_tensor_shows_later_changes_of_its_array(self) -> None:
        """A tensor shows every later change of the array that was made from it."""
        t = tensors.ones((3,))
        n = tensors.to_numpy(t)

        n[1] = 7
        n *= 2

        assert t.tolist() == [2, 14, 2]

    def test_array_of_a_slice_shares_memory_too(self) -> None:
        """The array of a slice lies on the memory of the whole tensor."""
        t = tensors.from_data([[1, 2, 3], [4, 5, 6]])

        column = tensors.to_numpy(t[:, 1])
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
        self, make: Callable[..., Any], dtype: torch.dtype, changed: list[int]
    ) -> None:
        """A sum, a conversion to double and a clone are new tensors, apart from the old array."""
        t = tensors.ones((2,))
        n = tensors.to_numpy(t)

        new = make(t)
        new[0] = 7

        assert new.dtype is dtype
        assert new.tolist() == changed
        assert n.tolist() == [1, 1]


class TestNumpyToTensor:
    def test_tensor_over_float64_ones_is_double_precision(self) -> None:
        """A tensor made from NumPy's ones has double precision and lies on their memory."""
        n = np.ones(5)

        t = tensors.from_numpy(n)

        assert t.dtype is torch.float64
        assert t.tolist() == [1.0, 1.0, 1.0, 1.0, 1.0]
        assert t.data_ptr() == n.ctypes.data
        n[0] = 0.1  # of which float32 holds eight digits
        assert t.tolist()[0] == t[0].item() == 0.1

    def test_default_layer_refuses_double_precision(self) -> None:
        """A layer of the default dtype takes a tensor of its dtype, not one of double precision."""
        t = tensors.from_numpy(np.ones(5))
        layer = torch.nn.Linear(5, 2)
        assert layer(t.float()).shape == (2,)

        with pytest.raises(RuntimeError, match="same dtype"):
            layer(t)

    def test_changed_array_and_tensor_print_as_shown(self) -> None:
        """Adding to the array in place changes the tensor, and both print as the tutorial shows."""
        n = np.ones(5)
        t = tensors.from_numpy(n)

        np.add(n, 1, out=n)

        assert f"t: {t}" == "t: tensor([2., 2., 2., 2., 2.], dtype=torch.float64)"
        assert f"n: {n}" == "n: [2. 2. 2. 2. 2.]"

    def test_new_array_under_the_old_name_does_not_reach_the_tensor(self) -> None:
        """Binding the array's name to a new array leaves the tensor on the old one."""
        n = np.ones(3)
        t = tensors.from_numpy(n)

        n = n + 1

        assert n.tolist() == [2, 2, 2]
        assert t.tolist() == [1, 1, 1]

    def test_as_tensor_shares_and_tensor_copies(self) -> None:
        """Of an array as_tensor makes a tensor over its memory, torch.tensor one of its own."""
        n = np.ones(2)

        over, apart = torch.as_tensor(n), torch.tensor(n)
        n[0] = 7

        assert over.tolist() == [7, 1]
        assert apart.tolist() == [1, 1]
        assert [over.dtype, apart.dtype] == [torch.float64] * 2

    def test_tensor_outlives_the_name_of_the_array(self) -> None:
        """A tensor keeps the memory of its array alive after the array's name is gone."""
        n = np.array([1.0, 2.0, 3.0])
        t = tensors.from_numpy(n)

        del n
        np.full(3, 9.0)  # would take the memory over, were it free

        assert t.tolist() == [1.0, 2.0, 3.0]


def _allocated_on_cpu(work: Callable[[], object]) -> int:
    """The bytes that ``work`` asks the CPU allocator for."""
    with torch.autograd.profiler.profile(profile_memory=True) as profile:
        work()
    return sum(max(0, event.self_cpu_memory_usage) for event in profile.key_averages())
