"""The table of operations: large, true to its names, and with a NumPy side that knows no torch."""

from operator import attrgetter
from typing import Any

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode

from spec.devices import operations
from spec.devices.operations import OPERATIONS, SAMPLERS, Operation

CPU = torch.device("cpu")
ROWS = [*OPERATIONS, *SAMPLERS]
by_name = attrgetter("name")


class Calls(TorchFunctionMode):
    """Records the torch functions that are called."""

    def __init__(self) -> None:
        super().__init__()
        self.functions = []

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        self.functions.append(func)
        return func(*args, **(kwargs or {}))


def plain(numbers: Any) -> bool:
    if isinstance(numbers, list):
        return all(plain(number) for number in numbers)
    return type(numbers) in (bool, int, float, complex)


def run(row: Any, device: torch.device = CPU) -> Any:
    return row.results(device) if isinstance(row, Operation) else row.draw(device)


class TestTable:
    def test_names_are_unique(self) -> None:
        for rows in (OPERATIONS, SAMPLERS):
            assert len({row.name for row in rows}) == len(rows)

    def test_every_row_calls_the_function_it_is_named_after(self) -> None:
        for row in ROWS:
            named = attrgetter(row.name.split(" ")[0])(torch)
            with Calls() as calls:
                run(row)
            wanted = named if callable(named) else named.__get__
            assert wanted in calls.functions, row.name

    def test_inputs_are_plain_numbers(self) -> None:
        assert [row.name for row in OPERATIONS if not all(map(plain, row.inputs))] == []

    def test_numpy_side_never_calls_torch(self) -> None:
        for row in OPERATIONS:
            arrays = [np.array(numbers) for numbers in row.inputs]
            with Calls() as calls, np.errstate(all="ignore"):
                results = row.on_arrays(*arrays)
            assert calls.functions == [], row.name
            for result in results if isinstance(results, (tuple, list)) else [results]:
                assert isinstance(result, (np.ndarray, np.generic, int, float)), row.name

    def test_no_row_is_content_with_its_input(self) -> None:
        """An operation that did nothing would be noticed."""
        for row in OPERATIONS:
            for expected in row.expected():
                for numbers in row.inputs:
                    assert not np.array_equal(np.array(numbers), expected.numpy()), row.name

    def test_no_row_is_content_with_one_number_everywhere(self) -> None:
        """A result that is one number repeated is what a broken operation tends to give."""
        even = {"zeros", "ones", "full", "zeros_like", "ones_like", "full_like"}
        for row in OPERATIONS:
            results = [expected for expected in row.expected() if expected.numel() > 1]
            if results and row.name not in even:
                assert max(len(np.unique(result.numpy())) for result in results) > 1, row.name

    def test_every_row_left_out_on_meta_cannot_run_there(self) -> None:
        meta = torch.device("meta")
        for row in ROWS:
            if row.not_on_meta:
                with pytest.raises(NotImplementedError):
                    run(row, meta)

    def test_numpy_must_give_the_kind_of_number_stated(self) -> None:
        row = Operation("mean", torch.mean, np.mean, ([1.0, 2.0],), torch.int64)

        with pytest.raises(TypeError, match=r"NumPy gives float64, the row states torch\.int64"):
            row.expected()


class TestSamplers:
    @pytest.mark.parametrize(
        "draws",
        [
            pytest.param(np.linspace(0, 0.9999, 10_000) ** 1.2, id="skewed"),
            pytest.param(np.full(10_000, 0.5), id="constant"),
            pytest.param(np.random.default_rng(0).random(10_000) * 0.96, id="too narrow"),
        ],
    )
    def test_wrong_distribution_is_an_error(self, draws: Any) -> None:
        rand = SAMPLERS[0]

        assert rand.name == "rand"
        assert rand.error(draws) > operations.LARGEST_ERROR

    def test_order_in_the_draws_is_a_correlation(self) -> None:
        rand = SAMPLERS[0]
        draws = np.linspace(0, 0.9999, operations.DRAWS)

        assert rand.error(draws) < operations.LARGEST_ERROR
        assert rand.correlation(draws) > operations.LARGEST_CORRELATION

    @pytest.mark.parametrize("sampler", SAMPLERS, ids=by_name)
    def test_impossible_draws_are_found(self, sampler: Any) -> None:
        impossible = np.array([-np.inf, np.nan, np.inf])

        assert not sampler.allowed(impossible).any()

    @pytest.mark.parametrize("sampler", SAMPLERS, ids=by_name)
    def test_share_is_a_distribution_function(self, sampler: Any) -> None:
        shares = [sampler.share(x) for x in sampler.points]

        assert shares == sorted(shares)
        assert min(shares) >= 0
        assert 0.85 < max(shares) <= 1 + 1e-9


class TestDispatch:
    def test_operators_below_a_call_are_named(self) -> None:
        called = operations.overloads_called(lambda: torch.ones(2, 3) @ torch.ones(3, 2))

        assert called == {"aten::ones", "aten::mm"}
