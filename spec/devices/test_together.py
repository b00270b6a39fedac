"""Layout, size and moment together, on accelerators only: kernels err where several meet.

A kernel may be right for small tensors and for transposed ones, and wrong for large transposed
ones, or the second time. Every operation of the tables and many layers are asked all of it.
"""

from collections.abc import Callable
from operator import attrgetter
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from spec.devices import calls, in_place, networks, operations, slopes, together
from spec.devices.layouts import EVERY_LAYOUT, OF_ANY_LAYOUT
from spec.devices.networks import FURTHER_LAYERS, FURTHER_OPTIMIZERS, LAYERS
from spec.devices.together import CPU, OF_REPEATED, assert_same

pytestmark = [pytest.mark.on("accelerator"), pytest.mark.usefixtures("one_thread")]


SMOOTH = [operation for operation in slopes.SMOOTH if operation in OF_ANY_LAYOUT]
MOVING = ("transposing", "indexing", "slicing", "shaping", "joining", "comparison", "logic")
OF_ANY_DTYPE = [o for family in MOVING for o in operations.FAMILIES[family] if o in OF_ANY_LAYOUT]
# Along the copies a softmax has no gradient but its rounding.
OF_REPEATED_AND_SMOOTH = [o for o in SMOOTH if o in OF_REPEATED and "softmax" not in o.name]
ALL_LAYERS = {**LAYERS, **FURTHER_LAYERS}

every_layer = pytest.mark.parametrize("layer", ALL_LAYERS.values(), ids=ALL_LAYERS)


def named(table: dict[str, Any]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("call", table.values(), ids=table)


every_draw = pytest.mark.parametrize(
    "draw",
    [
        pytest.param(lambda t: torch.rand_like(t), id="rand"),
        pytest.param(lambda t: torch.randn_like(t), id="randn"),
        pytest.param(lambda t: t.uniform_(-1, 1), id="uniform_"),
        pytest.param(lambda t: t.normal_(2, 3), id="normal_"),
        pytest.param(lambda t: torch.randint_like(t, 2**20), id="randint"),
        pytest.param(lambda t: torch.rand_like(t) * F.dropout(t + 1), id="dropout"),
        pytest.param(lambda t: nn.init.kaiming_uniform_(t), id="kaiming_uniform_"),
        pytest.param(lambda t: F.dropout(t + 1), id="dropout alone"),
        pytest.param(lambda t: t.bernoulli_(0.5), id="bernoulli_"),
    ],
)


class TestOperations:
    @pytest.mark.parametrize("operation", OF_ANY_LAYOUT, ids=attrgetter("name"))
    def test_operation_of_any_size_and_layout_gives_what_numpy_gives(
        self, operation: operations.Operation, device: torch.device
    ) -> None:
        """An operation agrees with NumPy in any size and layout, and once inputs change too."""
        assert_same(together.results(operation, device))
        assert_same(together.results_of_nothing(operation, device))

    @pytest.mark.parametrize("operation", SMOOTH, ids=attrgetter("name"))
    def test_operation_of_any_size_and_layout_has_the_gradient_of_the_cpu(
        self, operation: operations.Operation, device: torch.device
    ) -> None:
        """The gradient of an operation is the cpu's in any size and layout, the second time too."""
        assert_same(together.gradients(operation, device))

    @pytest.mark.parametrize("operation", OF_ANY_DTYPE, ids=attrgetter("name"))
    def test_operation_takes_other_dtypes(
        self, operation: operations.Operation, device: torch.device
    ) -> None:
        """An operation makes of booleans, of whole numbers and of float16 what the cpu makes."""
        assert_same(together.results_in_dtypes(operation, device), least=1e-3)

    @pytest.mark.parametrize("operation", OF_REPEATED, ids=attrgetter("name"))
    def test_operation_takes_expanded_tensors(
        self, operation: operations.Operation, device: torch.device
    ) -> None:
        """An operation gives for an expanded tensor what it gives for a copy, in any size."""
        assert_same(together.results_of_expanded(operation, device))

    @pytest.mark.parametrize("operation", OF_REPEATED_AND_SMOOTH, ids=attrgetter("name"))
    def test_gradient_of_an_expanded_tensor_is_summed(
        self, operation: operations.Operation, device: torch.device
    ) -> None:
        """The gradient of a tensor that was expanded is the sum of those of its copies."""
        assert_same(together.gradients_of_expanded(operation, device), least=1e-5)

    @pytest.mark.parametrize("method", together.IN_PLACE, ids=attrgetter("name"))
    def test_method_in_place_of_any_size_and_layout_does_as_on_the_cpu(
        self, method: in_place.InPlace, device: torch.device
    ) -> None:
        """A method in place changes as on the cpu a tensor of any size and layout, and no gap."""
        assert_same(together.changes(method, device))


class TestPrograms:
    @pytest.mark.parametrize("program", together.PROGRAMS.values(), ids=together.PROGRAMS)
    def test_program_has_the_gradients_of_float64(
        self, program: Callable[..., Any], device: torch.device
    ) -> None:
        """What writes to slices or differentiates twice has in float32 the gradients of float64."""
        assert_same(calls.of_shapes(program, [[(3, 4)] * 2, [(33, 65)] * 2], device))

    @pytest.mark.parametrize(
        "combine",
        [
            *(torch.add, torch.sub, torch.mul, torch.div, torch.pow, torch.maximum, torch.gt),
            *(torch.eq, torch.fmod, torch.atan2, lambda t, n: torch.where(t > 0, t, n)),
            *(lambda t, n: n - t, lambda t, n: n / t, lambda t, n: t.clone().mul_(n)),
        ],
    )
    def test_number_of_the_cpu_is_taken_from_its_place(
        self, combine: Callable[..., Any], device: torch.device
    ) -> None:
        """A tensor of the cpu without dimensions, one of many numbers, is taken as a number."""
        t, numbers = torch.linspace(1, 5, 33), torch.tensor([7.0, 2.0, 3.0])

        found = [combine(t.to(device), number).cpu() for number in numbers]

        assert_close(found, [combine(t, torch.full_like(t, number)) for number in (7, 2, 3)])


class TestCalls:
    @named(calls.OF_A_DIMENSION)
    def test_call_takes_any_dimension(self, call: Callable[..., Any], device: torch.device) -> None:
        """A call along one of up to six dimensions, short or long, agrees with float64."""
        assert_same(calls.along_dimensions(call, device))

    @named(calls.OF_TWO)
    def test_call_takes_two_shapes(self, call: Callable[..., Any], device: torch.device) -> None:
        """A call of two tensors of different shapes and layouts agrees with float64."""
        assert_same(calls.of_shapes(call, calls.PAIRS, device))

    @named(calls.OF_TWO_DTYPES)
    def test_call_takes_two_dtypes(self, call: Callable[..., Any], device: torch.device) -> None:
        """A call of two tensors of different dtypes and layouts gives what it gives on the cpu."""
        assert_same(calls.of_two_dtypes(call, device), least=1e-3)

    @named(calls.PRODUCTS)
    def test_product_of_any_lengths_is_right(
        self, call: tuple[Any, Any], device: torch.device
    ) -> None:
        """A product of matrices of any lengths and layouts agrees with float64."""
        assert_same(calls.products(*call, device))

    @named(calls.REFUSED)
    def test_call_is_right_after_shapes_that_do_not_fit(
        self, call: tuple[Any, Any, Any], device: torch.device
    ) -> None:
        """A call that has refused tensors of shapes that do not fit agrees with float64."""
        assert_same(calls.after_refusal(*call, device))

    @named(calls.WITH_INDICES)
    def test_call_is_right_after_an_index_out_of_range(
        self, call: Callable[..., Any], device: torch.device
    ) -> None:
        """A call with indices agrees with float64 right after one that is out of range."""
        assert_same(calls.after_wrong_index(call, device))

    @named(calls.OTHERWISE)
    def test_call_takes_another_argument_the_next_time(
        self, call: tuple[Any, Any, Any], device: torch.device
    ) -> None:
        """A call that is repeated with another argument uses that argument."""
        assert_same(calls.with_other_arguments(*call, device))

    @named(calls.OF_MANY)
    def test_call_reaches_far(self, call: Callable[..., Any], device: torch.device) -> None:
        """A call reaches the last of 70,001 rows, and takes many places or tensors at once."""
        assert_same(calls.compared(call, [(70_001, 3)], device))

    @named(calls.INTO)
    def test_call_writes_into_any_layout(
        self, call: Callable[..., Any], device: torch.device
    ) -> None:
        """A call with out= writes its result into a tensor of any layout, and no gap."""
        assert_same(calls.into(call, device))


class TestLayers:
    @pytest.mark.parametrize(
        ("layer", "of"),
        [
            pytest.param(layer, of, id=f"{name}-{of}")
            for name, layer in ALL_LAYERS.items()
            for of in layer.names
            if of != "weight" or layer.function not in networks.BATCH_NORMS_OF_ROWS
        ],
    )
    def test_layer_of_any_kind_takes_every_layout(
        self, layer: networks.Layer, of: str, device: torch.device
    ) -> None:
        """A layer of any kind takes inputs, weights, targets and gradients of any layout."""
        tensors = layer.tensors(layer.batch)

        found = networks.outcomes(layer, tensors, of, device, EVERY_LAYOUT)

        networks.assert_exact(found, layer, tensors)

    @every_layer
    def test_layer_of_any_kind_takes_any_batch(
        self, layer: networks.Layer, device: torch.device
    ) -> None:
        """A layer of any kind takes a batch of one, of odd and of large sizes."""
        assert_close(*networks.batches(layer, device), rtol=0, atol=networks.SMALL)

    @every_layer
    def test_layer_gives_the_same_at_any_moment(
        self, layer: networks.Layer, device: torch.device
    ) -> None:
        """A layer uses numbers written over earlier ones, with and without grad, time and again."""
        earlier, tensors = layer.tensors(layer.batch), layer.tensors(layer.batch)

        found = networks.passes(layer, tensors, earlier, device)

        networks.assert_exact(found, layer, tensors)

    @every_layer
    def test_layer_gives_the_same_in_inference_mode(
        self, layer: networks.Layer, device: torch.device
    ) -> None:
        """A layer gives in inference mode the output that float64 gives."""
        tensors = layer.tensors(layer.batch)

        with torch.inference_mode():
            found = layer.function(*networks.inputs_of(networks.on(device, tensors)))

        expected = {"output": networks.exact(layer, tensors)["output"]}
        assert_close(*networks.relative({"output": found}, expected), rtol=0, atol=networks.SMALL)

    @pytest.mark.parametrize(
        "layer", [pytest.param(o, id=name) for name, o in ALL_LAYERS.items() if o.parameters]
    )
    def test_layer_is_right_after_a_refused_call(
        self, layer: networks.Layer, device: torch.device
    ) -> None:
        """A layer that has refused a weight of another shape then gives its outputs."""
        tensors = layer.tensors(3)
        moved = networks.on(device, tensors)
        wrong = {**moved, "weight": torch.ones(7, 7, 7, device=device)}

        with pytest.raises((RuntimeError, ValueError)):
            networks.outcome(layer, wrong)
        found = networks.outcome(layer, moved)

        networks.assert_exact(found, layer, tensors)

    @pytest.mark.parametrize(
        ("module", "shape"),
        [
            pytest.param(nn.BatchNorm2d(4), (4, 5, 6), id="images"),
            pytest.param(nn.BatchNorm1d(33), (33,), id="rows"),
            pytest.param(nn.BatchNorm2d(4, momentum=None), (4, 5, 6), id="averages"),
        ],
    )
    def test_batch_norm_keeps_its_statistics(
        self, module: nn.Module, shape: tuple[int, ...], device: torch.device
    ) -> None:
        """A batch norm learns its statistics in train alone, of any layout, whatever comes next."""
        expected = networks.normalized(module, shape, CPU, torch.float64)

        found = networks.normalized(module, shape, device, torch.float32)

        assert_close(found, expected, rtol=1e-4, atol=1e-4)


class TestOptimizers:
    @pytest.mark.parametrize("foreach", [False, True], ids=["for_loop", "foreach"])
    @pytest.mark.parametrize("optimizer", FURTHER_OPTIMIZERS.values(), ids=FURTHER_OPTIMIZERS)
    def test_optimizer_moves_parameters_of_many_shapes(
        self, optimizer: networks.Optimizer, foreach: bool, device: torch.device
    ) -> None:
        """An optimizer moves up to 138 parameters of any size as float64 does, some not always."""
        small = 130 if foreach else 20  # CUDA's kernels take 110 tensors at most
        expected = networks.trained_together(optimizer, CPU, torch.float64, small, foreach=False)

        found = networks.trained_together(optimizer, device, torch.float32, small, foreach=foreach)

        assert_close(found, expected, rtol=1e-3, atol=1e-4)

    def test_hundred_changes_in_place_are_all_made(self, device: torch.device) -> None:
        """Of a hundred additions into one tensor, and into its gradient, none is lost."""
        total = torch.zeros(1025, device=device, requires_grad=True)
        whole, part = torch.zeros(1025, device=device), torch.zeros(99, device=device)

        together.hundred_times(lambda: total.sum().backward())
        together.hundred_times(lambda: whole.add_(1))
        together.hundred_times(lambda: part[1::2].add_(torch.ones(49, device=device)))

        assert total.grad is not None
        assert total.grad.unique().tolist() == whole.unique().tolist() == [100]
        assert part.tolist() == [0, *[100, 0] * 49]


class TestMemory:
    @pytest.mark.parametrize("place", ["to the device", "from the device", "on the device"])
    def test_copy_of_any_size_goes_from_any_layout_to_any_other(
        self, place: str, device: torch.device
    ) -> None:
        """Copies of any size and dtype, between any two layouts, write each number to its place."""
        source, target = {
            "to the device": (CPU, device),
            "from the device": (device, CPU),
            "on the device": (device, device),
        }[place]
        assert_same(together.copies(source, target))

    @pytest.mark.parametrize("size", [(3,), (33, 17), (4099,), (70_001,)])
    @pytest.mark.parametrize(
        ("make", "number"),
        [
            pytest.param(lambda t: torch.zeros(t.shape, device=t.device), 0, id="zeros"),
            pytest.param(lambda t: torch.ones(t.shape, device=t.device), 1, id="ones"),
            pytest.param(lambda t: torch.full(t.shape, 3.0, device=t.device), 3, id="full"),
            pytest.param(torch.zeros_like, 0, id="zeros_like"),
            pytest.param(lambda t: t.new_zeros(t.shape), 0, id="new_zeros"),
            pytest.param(lambda t: torch.empty_like(t).zero_(), 0, id="zero_"),
            pytest.param(lambda t: torch.empty_like(t).fill_(3), 3, id="fill_"),
            pytest.param(lambda t: t * 0, 0, id="mul"),
            pytest.param(lambda t: F.relu(-t), 0, id="relu"),
            pytest.param(lambda t: F.pad(t[..., :0], (0, t.shape[-1])), 0, id="pad"),
        ],
    )
    def test_recycled_memory_holds_nothing_of_before(
        self, make: Callable[..., Any], number: int, size: tuple[int, ...], device: torch.device
    ) -> None:
        """What is made of memory that was just freed holds its own numbers alone."""
        t = torch.full(size, 7.0, device=device)
        kept = [make(t).cpu()]
        freed = [torch.full(size, 9.0, device=device) for _ in range(3)]
        del freed
        kept += [make(t).cpu() for _ in range(5)]

        assert torch.stack(kept).unique().tolist() == [number]

    @pytest.mark.parametrize("size", [(64, 64), (3, 4099), (70_001,)])
    def test_copy_outlives_its_source(self, size: tuple[int, ...], device: torch.device) -> None:
        """A batch sent with non_blocking keeps its numbers when its source is freed at once."""
        batches = [torch.full(size, float(number)) for number in range(4)]

        sent = [batch.to(device, non_blocking=True) for batch in batches[:2]]
        back = [t.cpu() for t in sent]
        sent += [(t + 2).to(device, non_blocking=True) for t in batches[:2]]
        batches = [torch.full(size, 9.0) for _ in batches]

        assert [t.unique().tolist() for t in [*sent, *back]] == [[0], [1], [2], [3], [0], [1]]

    def test_gradients_need_no_name_for_what_they_use(self, device: torch.device) -> None:
        """What backward needs is kept, though nothing else names it and its memory is wanted."""
        x = torch.linspace(1, 2, 4099, device=device, requires_grad=True)

        loss = ((x * 3).exp() * (x + 1)).sum()
        others = [torch.full((4099,), 9.0, device=device) for _ in range(5)]
        loss.backward()

        exact = torch.linspace(1, 2, 4099, dtype=torch.float64)
        expected = (3 * exact).exp() * (3 * (exact + 1) + 1)
        assert x.grad is not None
        assert_close(x.grad.cpu().double(), expected, rtol=1e-4, atol=0)
        assert torch.stack(others).unique().tolist() == [9]


class TestDraws:
    def test_backward_leaves_the_draws_alone(self, device: torch.device) -> None:
        """Dropout drops others in the next step, and its gradient is that of what it dropped."""
        x = torch.ones(3000, device=device, requires_grad=True)

        first, second = F.dropout(x), F.dropout(x)
        (of_second,) = torch.autograd.grad(second.sum(), x)
        (of_first,) = torch.autograd.grad(first.sum(), x)
        third = F.dropout(x)

        assert_close(of_first, first.detach())
        assert_close(of_second, second.detach())
        assert len({tuple(t.tolist()) for t in (first, second, third)}) == 3

    @every_draw
    def test_draw_of_any_size_follows_the_seed(
        self, draw: Callable[..., Any], device: torch.device
    ) -> None:
        """After the same seed draws of odd counts are the same, and their last number is drawn."""
        first, second = together.drawn(draw, device), together.drawn(draw, device)

        assert first == second
        assert any(numbers[-1] != 0 for numbers in first[3:])

    @every_draw
    def test_draw_is_repeated_from_a_kept_state(
        self, draw: Callable[..., Any], device: torch.device
    ) -> None:
        """A draw is repeated once the generator has the state again that it had amid others."""
        first, second = together.drawn_from_one_state(draw, device)

        assert first == second

    @pytest.mark.parametrize("count", [1, 3, 33, 4099, 70_001])
    @every_draw
    def test_every_place_is_drawn_anew(
        self, draw: Callable[..., Any], count: int, device: torch.device
    ) -> None:
        """In forty draws no place of a tensor, the last ones included, has one number always."""
        drawn = torch.stack([draw(torch.zeros(count, 1, device=device)).cpu() for _ in range(40)])

        assert (drawn != drawn[0]).any(0).all()

    @pytest.mark.parametrize(
        "draw",
        [
            pytest.param(lambda t, mean: t.uniform_(mean - 0.5, mean + 0.5), id="uniform_"),
            pytest.param(lambda t, mean: t.normal_(mean, 0.5), id="normal_"),
            pytest.param(lambda t, mean: t.bernoulli_(mean), id="bernoulli_"),
            pytest.param(lambda t, mean: t.exponential_(1 / mean), id="exponential_"),
            pytest.param(lambda t, mean: t.random_(0, int(mean * 20) + 1) / 10, id="random_"),
            pytest.param(lambda t, mean: F.dropout(t + 1, mean) == 0, id="dropout"),
            pytest.param(lambda t, mean: F.dropout(t + mean, 1 - mean), id="dropout scales"),
        ],
    )
    def test_draw_takes_another_argument_the_next_time(
        self, draw: Callable[..., Any], device: torch.device
    ) -> None:
        """A draw that is repeated with another argument has the mean that this one gives."""
        means = [0.2, 0.8, 0.2, 0.5, 0.8]

        found = together.means_of_draws(draw, means, device)

        assert_close(found, means, rtol=0, atol=0.1)  # of 4,099 numbers, six times their error

    @every_draw
    def test_long_draw_repeats_nothing(
        self, draw: Callable[..., Any], device: torch.device
    ) -> None:
        """In draws, long and short ones, no 64 numbers in a row come twice."""
        drawn = [draw(torch.zeros(3, n, device=device)).cpu() for n in (70_001, 70_001, 33, 33)]

        numbers = torch.cat([t.flatten().double() for t in drawn])
        sums = numbers.unfold(0, 64, 1) @ torch.rand(64, dtype=torch.float64)
        assert len(sums.unique()) == len(sums)
        assert min(row[-1000:].count_nonzero() for t in drawn[:2] for row in t) > 400
