"""Every operation, layer and optimizer on tensors that lie in memory in other ways than new ones.

The numbers are the same, so the results have to be. What is slow or follows from the rest on the
cpu is asked of accelerators only.
"""

from operator import attrgetter

import pytest
import torch
from torch.testing import assert_close

from spec.devices import in_place, layouts, networks, operations
from spec.devices.layouts import GAP, LAYOUTS_OF_IMAGES
from spec.devices.networks import LAYERS, OPTIMIZERS

IN_PLACE = [
    method for method in in_place.METHODS if method not in in_place.SHAPES and method.name != "set_"
]

every_layer = pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)


class TestOperations:
    @pytest.mark.parametrize("operation", layouts.OF_ANY_LAYOUT, ids=attrgetter("name"))
    def test_operation_gives_the_same_in_every_layout(
        self, operation: operations.Operation, device: torch.device
    ) -> None:
        """An operation gives what NumPy gives on transposed, strided and offset tensors too."""
        found = layouts.results(operation, device)

        assert_close(found, dict.fromkeys(found, operation.expected()))

    @pytest.mark.parametrize("method", IN_PLACE, ids=attrgetter("name"))
    def test_in_place_method_changes_its_operand_and_nothing_beside(
        self, method: in_place.InPlace, device: torch.device
    ) -> None:
        """A method in place changes the elements of a transposed, strided or offset tensor only."""
        found = layouts.rooms_after(method, device)

        assert_close(found, layouts.rooms_expected(method), equal_nan=True)


class TestCopies:
    @pytest.mark.parametrize("layout", LAYOUTS_OF_IMAGES.values(), ids=LAYOUTS_OF_IMAGES)
    def test_tensor_of_any_layout_is_copied_whole(
        self, layout: layouts.Layout, device: torch.device
    ) -> None:
        """A tensor of any layout goes to a device, is copied there and comes back unchanged."""
        t = torch.arange(120.0).view(2, 3, 4, 5)
        _, here = layout(t)
        _, there = layout(t.to(device))

        assert_close(here.to(device).cpu(), t, rtol=0, atol=0)
        assert_close(there.cpu(), t, rtol=0, atol=0)
        assert_close(there.clone().cpu(), t, rtol=0, atol=0)
        assert_close(there.contiguous().cpu(), t, rtol=0, atol=0)

    def test_slice_far_into_its_storage_is_copied(self, device: torch.device) -> None:
        """A row far into a tensor goes to a device and comes back with its own numbers."""
        rows = torch.arange(10_000.0).view(100, 100)

        assert rows[90].to(device).tolist() == list(range(9000, 9100))
        assert rows.to(device)[90].cpu().tolist() == list(range(9000, 9100))

    @pytest.mark.parametrize("layout", LAYOUTS_OF_IMAGES.values(), ids=LAYOUTS_OF_IMAGES)
    def test_filling_a_view_fills_nothing_beside_it(
        self, layout: layouts.Layout, device: torch.device
    ) -> None:
        """A number written to a view of any layout is written to each of its elements alone."""
        room, view = layout(torch.full((2, 3, 4, 5), -7.0, device=device))
        gaps = (room.cpu() == GAP).sum().item()  # the view is older than this copy

        view.fill_(5)

        assert (view == 5).all().item()
        assert (room == 5).sum().item() == 120
        assert (room == GAP).sum().item() == gaps


class TestLayers:
    @pytest.mark.parametrize(
        ("layer", "of"),
        [
            pytest.param(layer, of, id=f"{name}-{of}")
            for name, layer in LAYERS.items()
            for of in ("input", "weight", "given")
            if of in layer.names
        ],
    )
    def test_layer_takes_every_layout(
        self, layer: networks.Layer, of: str, device: torch.device
    ) -> None:
        """A layer takes an input, a weight or a gradient of any layout, channels_last too."""
        tensors = layer.tensors(3)

        found = networks.outcomes(layer, tensors, of, device)

        networks.assert_exact(found, layer, tensors)

    @every_layer
    def test_layer_takes_expanded_inputs_and_gradients(
        self, layer: networks.Layer, device: torch.device
    ) -> None:
        """A layer takes one sample expanded to a batch, and the gradient that a sum expands."""
        tensors = layer.tensors(3)
        del tensors["given"]
        sample = tensors["input"][:1]
        moved = networks.on(device, tensors)

        moved["input"] = sample.to(device).expand(3, *layer.sample).detach().requires_grad_()
        found = networks.on_cpu(networks.outcome(layer, moved))

        expected = networks.exact(layer, {**tensors, "input": torch.cat([sample] * 3)})
        assert_close(found, expected, rtol=1e-4, atol=1e-3)  # some are zero, but for rounding


class TestOptimizers:
    @pytest.mark.parametrize("foreach", [False, True], ids=["for_loop", "foreach"])
    @pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
    def test_optimizer_moves_parameters_in_every_layout(
        self, optimizer: networks.Optimizer, foreach: bool, device: torch.device
    ) -> None:
        """An optimizer moves parameters of any layout, with gradients of any layout, alike."""
        parameter, *gradients = torch.randn(4, 3, 4, 3, 2)
        exact = [gradient.double() for gradient in gradients]
        expected = networks.trained(optimizer, parameter.double(), exact, foreach=False).float()

        found = networks.trained_in_every_layout(
            optimizer, parameter, gradients, device, foreach=foreach
        )

        assert_close(found, dict.fromkeys(found, expected), rtol=1e-4, atol=1e-5)

    def test_optimizer_changes_nothing_beside_its_parameter(self, device: torch.device) -> None:
        """A step on a slice of a tensor leaves the rest of the tensor as it was."""
        room, part = layouts.strided(torch.ones(2, 3, device=device))

        networks.trained(OPTIMIZERS["sgd"], part, [torch.ones(2, 3, device=device)])

        assert room[..., 1::2].tolist() == [[GAP] * 3] * 2
        assert_close(room[..., ::2].cpu(), torch.full((2, 3), 0.9))
