"""Layout, size and moment together, on accelerators only: kernels err where several meet.

A kernel may be right for small tensors and for transposed ones, and wrong for large transposed
ones, or the second time. Every operation of the tables and many layers are asked all of it.
"""

import math
from collections.abc import Callable
from itertools import product
from operator import attrgetter
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from spec.devices import in_place, layouts, networks, operations, slopes, together
from spec.devices.layouts import EVERY_LAYOUT, GAP, packed
from spec.devices.networks import FURTHER_LAYERS, FURTHER_OPTIMIZERS, LAYERS
from spec.devices.operations import listed
from spec.devices.together import OF_REPEATED, WITH_INPUTS, assert_same

pytestmark = [pytest.mark.on("accelerator"), pytest.mark.usefixtures("one_thread")]

CPU = torch.device("cpu")
SMALL = 1e-4  # of the largest number of a tensor, as in test_layouts

LAYOUTS = {n: layout for n, layout in EVERY_LAYOUT.items() if "channels" not in n}
SMOOTH = [operation for operation in slopes.SMOOTH if operation in WITH_INPUTS]
# Along the copies a softmax has no gradient but its rounding.
OF_REPEATED_AND_SMOOTH = [o for o in SMOOTH if o in OF_REPEATED and "softmax" not in o.name]
ALL_LAYERS = {**LAYERS, **FURTHER_LAYERS}

every_layer = pytest.mark.parametrize("layer", ALL_LAYERS.values(), ids=ALL_LAYERS)


class TestOperations:
    @pytest.mark.parametrize("operation", WITH_INPUTS, ids=attrgetter("name"))
    def test_operation_of_any_size_and_layout_gives_what_numpy_gives(
        self, operation: operations.Operation, device: torch.device
    ) -> None:
        """An operation agrees with NumPy in any size and layout, and once inputs change too."""
        for size, earlier, later in together.sizes_of(operation):
            expected = {"first": earlier.expected(), "second": later.expected()}
            for name, layout in LAYOUTS.items():
                found = together.results(earlier, later, layout, device)
                for moment, tensors in found.items():
                    assert_same(tensors, expected[moment], f"{moment}, {size}, {name}")

    @pytest.mark.parametrize("operation", SMOOTH, ids=attrgetter("name"))
    def test_operation_of_any_size_and_layout_has_the_gradient_of_the_cpu(
        self, operation: operations.Operation, device: torch.device
    ) -> None:
        """The gradient of an operation is the cpu's in any size and layout, the second time too."""
        for size, _, numbers in together.sizes_of(operation):
            expected = together.gradients(numbers, packed, CPU, torch.float64)
            for name, layout in LAYOUTS.items():
                found = together.gradients(numbers, layout, device)
                for what, tensors in found.items():
                    assert_same(tensors, expected[what], f"{what}, {size}, {name}")

    @pytest.mark.parametrize("operation", OF_REPEATED, ids=attrgetter("name"))
    def test_operation_takes_expanded_tensors(
        self, operation: operations.Operation, device: torch.device
    ) -> None:
        """An operation gives for an expanded tensor what it gives for a copy, in any size."""
        for size, _, numbers in together.sizes_of(operation):
            copies = [layouts.expanded(t)[1].clone() for t in numbers.tensors(CPU)]
            views = [layouts.expanded(t)[1] for t in numbers.tensors(device)]
            expected = listed(operation.on_tensors(*copies))
            assert_same([r.cpu() for r in listed(operation.on_tensors(*views))], expected, size)

    @pytest.mark.parametrize("operation", OF_REPEATED_AND_SMOOTH, ids=attrgetter("name"))
    def test_gradient_of_an_expanded_tensor_is_summed(
        self, operation: operations.Operation, device: torch.device
    ) -> None:
        """The gradient of a tensor that was expanded is the sum of those of its copies."""
        for size, _, numbers in together.sizes_of(operation):
            expected = together.gradients(numbers, layouts.expanded, CPU, torch.float64)
            found = together.gradients(numbers, layouts.expanded, device)
            for what, tensors in found.items():
                assert_same(tensors, expected[what], f"{what}, {size}", least=1e-5)

    @pytest.mark.parametrize("method", together.IN_PLACE, ids=attrgetter("name"))
    def test_method_in_place_of_any_size_and_layout_does_as_on_the_cpu(
        self, method: in_place.InPlace, device: torch.device
    ) -> None:
        """A method in place changes as on the cpu a tensor of any size and layout, and no gap."""
        for size, larger in together.methods_of(method):
            expected = layouts.rooms_expected(larger, LAYOUTS)
            found = layouts.rooms_after(larger, device, LAYOUTS)
            for name in LAYOUTS:
                assert_same([found[name]], [expected[name]], f"{size}, {name}")


class TestLayers:
    @every_layer
    def test_layer_of_any_kind_takes_every_layout(
        self, layer: networks.Layer, device: torch.device
    ) -> None:
        """A layer of any kind takes inputs, weights and gradients of any layout."""
        tensors = layer.tensors(3)
        expected = networks.exact(layer, tensors)

        for of in tensors:
            if not (of == "weight" and layer.function in networks.BATCH_NORMS_OF_ROWS):
                found = networks.outcomes(layer, tensors, of, device, EVERY_LAYOUT)
                assert_close(*networks.relative(found, expected), rtol=0, atol=SMALL)

    @every_layer
    def test_layer_of_any_kind_takes_any_batch(
        self, layer: networks.Layer, device: torch.device
    ) -> None:
        """A layer of any kind takes a batch of one, of odd and of large sizes."""
        large = 1025 if layer.parameters or math.prod(layer.sample) > 40 else 65_537
        for count in (1, 2, 33, 257, large):
            tensors = layer.tensors(count)
            found = networks.outcome(layer, networks.on(device, tensors))
            expected = networks.exact(layer, tensors)
            tolerance = SMALL if count < 65_537 else 1e-3
            assert_close(*networks.relative(found, expected), rtol=0, atol=tolerance)

    @every_layer
    def test_layer_gives_the_same_at_any_moment(
        self, layer: networks.Layer, device: torch.device
    ) -> None:
        """A layer uses numbers written over earlier ones, with and without grad, time and again."""
        earlier, tensors = layer.tensors(3), layer.tensors(3)

        found = networks.passes(layer, tensors, earlier, device)

        expected = networks.exact(layer, tensors)
        assert_close(*networks.relative(found, expected), rtol=0, atol=SMALL)

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

        expected = networks.exact(layer, tensors)
        assert_close(*networks.relative(found, expected), rtol=0, atol=SMALL)


class TestOptimizers:
    @pytest.mark.parametrize("foreach", [False, True], ids=["for_loop", "foreach"])
    @pytest.mark.parametrize("optimizer", FURTHER_OPTIMIZERS.values(), ids=FURTHER_OPTIMIZERS)
    def test_optimizer_moves_parameters_of_many_shapes(
        self, optimizer: networks.Optimizer, foreach: bool, device: torch.device
    ) -> None:
        """An optimizer moves 68 parameters of any size as float64 does, some not in each step."""
        expected = networks.trained_together(optimizer, CPU, torch.float64, foreach=False)

        found = networks.trained_together(optimizer, device, torch.float32, foreach=foreach)

        assert_close(found, expected, rtol=1e-3, atol=1e-4)

    def test_hundred_changes_in_place_are_all_made(self, device: torch.device) -> None:
        """Of a hundred additions into one tensor, and into its gradient, none is lost."""
        total = torch.zeros(1025, device=device, requires_grad=True)
        sums = {"add": torch.zeros(1025, device=device), "slice": torch.zeros(99, device=device)}

        for _ in range(100):
            total.sum().backward()
            sums["add"] += 1
            sums["slice"][1::2].add_(torch.ones(49, device=device))

        assert total.grad is not None
        assert total.grad.unique().tolist() == sums["add"].unique().tolist() == [100]
        assert sums["slice"].tolist() == [0, *[100, 0] * 49]


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
        sizes = [(2, 3, 4, 5), (5, 33), (3, 4099), (70_001,), (0, 3), ()]
        dtypes = [(torch.float32,) * 2, (torch.int64, torch.float32), (torch.float32, torch.int32)]

        for (a, of_source), (b, of_target) in product(EVERY_LAYOUT.items(), repeat=2):
            for size, (given, wanted) in product(sizes, dtypes):
                t = (torch.arange(torch.Size(size).numel()) % 97 + 1).view(size)
                view = of_source(t.to(source, given))[1]
                room, made = of_target(torch.zeros(size, dtype=wanted, device=target))
                gaps = (room == GAP).sum().item()
                made.copy_(view)
                assert torch.equal(made.cpu(), t.to(wanted)), f"{size}, {given}, {a} to {b}"
                assert (room == GAP).sum().item() == gaps, f"beside {size}, {a} to {b}"

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
        kept = []
        for _ in range(3):
            t = torch.full(size, 7.0, device=device)
            kept.append(make(t).cpu())
            freed = torch.full(size, 9.0, device=device)
            del freed
            kept.append(make(t).cpu())

        assert torch.stack(kept).unique().tolist() == [number]


class TestDraws:
    @pytest.mark.parametrize(
        "draw",
        [
            pytest.param(lambda t: torch.rand_like(t), id="rand"),
            pytest.param(lambda t: torch.randn_like(t), id="randn"),
            pytest.param(lambda t: t.uniform_(-1, 1), id="uniform_"),
            pytest.param(lambda t: t.normal_(2, 3), id="normal_"),
            pytest.param(lambda t: torch.randint_like(t, 2**20), id="randint"),
            pytest.param(lambda t: torch.rand_like(t) * F.dropout(t + 1), id="dropout"),
            pytest.param(lambda t: nn.init.kaiming_uniform_(t), id="kaiming_uniform_"),
        ],
    )
    def test_long_draw_repeats_nothing(
        self, draw: Callable[..., Any], device: torch.device
    ) -> None:
        """Parts of long draws, one draw and the next, and rows of a draw are all different."""
        drawn = [draw(torch.zeros(3, 70_001, device=device)).cpu() for _ in range(2)]
        drawn += [draw(torch.zeros(3, 33, device=device)).cpu() for _ in range(2)]

        for one, other in product(torch.cat(drawn[:2]).split(10_000, 1), repeat=2):
            assert one is other or not torch.equal(one, other[:, : one.shape[1]])
        rows = [row.tolist() for t in drawn for row in t[:, :33]]
        assert all(rows.count(row) == 1 for row in rows)
        assert [(row[-1000:] == 0).float().mean() < 0.6 for t in drawn for row in t] == [True] * 12
