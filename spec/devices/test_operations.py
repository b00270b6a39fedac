"""Every operation of the tables, on the device: against NumPy, in place, and drawn at random."""

from operator import attrgetter
from typing import Any

import numpy as np
import pytest
import torch

from blitz.base import backend
from spec.devices import in_place, operations

Pair = tuple[np.ndarray, torch.Tensor]
"""The same numbers as an array and as a tensor on the device."""


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


cuda_build = pytest.mark.skipif(
    not torch.backends.cuda.is_built(), reason="this build of torch has no operator for CUDA"
)


class TestLikeNumpy:
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
        tensor = torch.tensor(array, device=device)

        assert tensor[index].tolist() == array[index].tolist()
        assert tensor[index].shape == array[index].shape

        tensor[index] = -1
        array[index] = -1
        assert tensor.tolist() == array.tolist()


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


class TestDraws:
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

        backend.seed(0, [device])  # torch.manual_seed does not know XLA
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
        """A random permutation has every number once, and no order is far likelier than another."""
        draws = torch.stack([torch.randperm(3, device=device) for _ in range(600)])
        long = torch.randperm(70_001, device=device)  # more than 16 bits count

        assert draws.sort(dim=1).values.unique(dim=0).tolist() == [[0, 1, 2]]
        torch.testing.assert_close(long.sort().values.cpu(), torch.arange(70_001))
        orders, counts = np.unique(np.array(draws.tolist()), axis=0, return_counts=True)
        assert len(orders) == 6
        # Each of the 6 orders comes 100 times of 600, with a standard deviation of 9.1.
        assert abs(counts - 100).max() < 55

    def test_draws_without_replacement_never_repeat(self, device: torch.device) -> None:
        """Draws without replacement never repeat a number; the likelier ones tend to come first."""
        weights = torch.tensor([[1.0, 0.0, 3.0, 6.0]], device=device).expand(400, 4)

        draws = np.array(torch.multinomial(weights, 3).tolist())

        assert np.unique(np.sort(draws, axis=1), axis=0).tolist() == [[0, 2, 3]]
        # Number 3 comes first in 6 of 10, 240 of 400, with a standard deviation of 9.8.
        assert abs((draws[:, 0] == 3).sum() - 240) < 60


class TestInPlace:
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

    @pytest.mark.parametrize(
        "name",
        [
            *("bernoulli_", "cauchy_", "exponential_", "log_normal_"),
            *("normal_", "random_", "uniform_"),
        ],
    )
    def test_method_that_draws_fills_its_operand(self, name: str, device: torch.device) -> None:
        """A method with an underscore that draws random numbers fills its operand with them."""
        x = torch.full((20,), 0.5, device=device)

        returned = getattr(x, name)()

        assert returned is x
        assert x.tolist() != [0.5] * 20
