"""The gradient of every differentiable operation, against slopes of what NumPy computes."""

from operator import attrgetter

import pytest
import torch
from torch.testing import assert_close

from spec.devices import slopes
from spec.devices.operations import Operation

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("operation", slopes.SMOOTH, ids=attrgetter("name"))
def test_gradient_of_every_operation_is_its_slope(
    operation: Operation, device: torch.device
) -> None:
    """The gradient of each operation in the table is the slope of what NumPy computes."""
    slope = slopes.slopes(operation)
    known = [numbers.isfinite() for numbers in slope]
    assert all(places.any() for places in known)

    gradients = slopes.gradients(operation, device)

    # in float32 against differences of float64
    assert_close(
        [gradient[places] for gradient, places in zip(gradients, known, strict=True)],
        [numbers[places] for numbers, places in zip(slope, known, strict=True)],
        rtol=1e-3,
        atol=1e-4,
    )
