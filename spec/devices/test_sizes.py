"""Batches of odd and of large sizes, long sums and large whole numbers.

Kernels are launched in blocks: what is left over, and what exceeds a counter of 16 bits or the
digits of a float, is where devices went wrong.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from spec.devices import networks
from spec.devices.networks import LAYERS

MILLION = 1_000_003

every_layer = pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)


class TestBatches:
    @pytest.mark.parametrize("count", [1, 3, 5])
    @every_layer
    def test_layer_takes_batches_of_odd_sizes(
        self, layer: networks.Layer, count: int, device: torch.device
    ) -> None:
        """A layer gives its outputs and gradients for one sample, three and five."""
        tensors = layer.tensors(count)

        found = networks.outcome(layer, networks.on(device, tensors))

        networks.assert_exact(found, layer, tensors)

    @pytest.mark.on("accelerator")
    @pytest.mark.parametrize("count", [1025, 65_535, 65_536])
    @every_layer
    def test_layer_takes_large_batches(
        self, layer: networks.Layer, count: int, device: torch.device
    ) -> None:
        """A layer gives every sample of a batch up to 65,536 its output and its gradient."""
        tensors = layer.tensors(count)

        found = networks.outcome(layer, networks.on(device, tensors))

        # Sums over 65,536 samples in float32 are good to 1e-5 of the largest gradient.
        networks.assert_exact(found, layer, tensors, tolerance=1e-3)

    @pytest.mark.parametrize("shape", [(4, 3), (64, 512)], ids=["4x3", "64x512"])
    def test_batch_norm_of_equal_numbers_is_its_bias(
        self, device: torch.device, shape: tuple[int, int]
    ) -> None:
        """Batch normalization of a channel without variance gives the bias, and no NaN."""
        equal = torch.full(shape, 2.5, device=device)
        bias = torch.arange(float(shape[1]), device=device)

        normalized = F.batch_norm(equal, None, None, torch.ones_like(bias), bias, training=True)

        assert_close(normalized, bias.expand(shape), rtol=0, atol=1e-3)  # 1e-6 / sqrt(1e-5)


class TestLongSums:
    @pytest.mark.parametrize(
        ("reduce", "expected"),
        [
            pytest.param(lambda t: t.sum(), 1_000_003.0, id="sum"),
            pytest.param(lambda t: t.mean(), 1.0, id="mean"),
            pytest.param(lambda t: t.cumsum(0)[-1], 1_000_003.0, id="cumsum"),
            pytest.param(lambda t: t.square().sum(), 1_000_003.0, id="sum_of_squares"),
            pytest.param(lambda t: t @ t, 1_000_003.0, id="dot"),
            pytest.param(lambda t: (t / 10).sum(), 100_000.3, id="sum_of_tenths"),
            pytest.param(lambda t: (t / 10).mean(), 0.1, id="mean_of_tenths"),
            pytest.param(lambda t: t.norm(), 1000.0015, id="norm"),
            pytest.param(lambda t: t.softmax(0).sum(), 1.0, id="softmax"),
        ],
    )
    def test_sum_over_a_million_numbers_loses_none(
        self, device: torch.device, reduce: Callable[[torch.Tensor], Any], expected: float
    ) -> None:
        """A sum over 1,000,003 numbers, added in float32, counts every one of them."""
        total = reduce(torch.ones(MILLION, device=device))

        assert total.item() == pytest.approx(expected, rel=1e-5)  # one at a time: 1e-2 for tenths

    @pytest.mark.parametrize("place", [0, 999_999, MILLION - 1])
    def test_largest_of_a_million_numbers_is_found(self, device: torch.device, place: int) -> None:
        """The largest of 1,000,003 numbers is found at the beginning and at the very end."""
        t = torch.zeros(MILLION, device=device)
        t[place] = 1

        assert t.argmax().item() == place
        assert t.max().item() == 1
        assert t.nonzero().tolist() == [[place]]


@pytest.mark.parametrize("limit", [2**24, 2**53], ids=["beyond_2_to_24", "beyond_2_to_53"])
class TestWholeNumbers:
    @pytest.mark.parametrize(
        ("operation", "above"),
        [
            pytest.param(lambda t: t.max(), 3, id="max"),
            pytest.param(lambda t: t.min(), 1, id="min"),
            pytest.param(lambda t: t.amax(), 3, id="amax"),
            pytest.param(lambda t: t[t.argmax()], 3, id="argmax"),
            pytest.param(lambda t: t.max(0).values, 3, id="max_of_a_dimension"),
            pytest.param(lambda t: t.sum() - t[0] - t[1], 2, id="sum"),
            pytest.param(lambda t: t.cumsum(0)[-1] - t[0] - t[1], 2, id="cumsum"),
            pytest.param(lambda t: t.sort().values[1], 2, id="sort"),
            pytest.param(lambda t: t[0] + 4, 5, id="add"),
            pytest.param(lambda t: (t[1] * 3) // 3, 3, id="mul"),
            pytest.param(lambda t: t.clone()[2], 2, id="clone"),
            pytest.param(lambda t: torch.cat([t, t])[4], 3, id="cat"),
            pytest.param(lambda t: torch.where(t > t[2], t, t[0])[1], 3, id="where"),
            pytest.param(lambda t: t.clone().fill_(t[1].item())[0], 3, id="fill_"),
            pytest.param(lambda t: t[::2].clone()[1], 2, id="copy_of_a_slice"),
        ],
    )
    def test_whole_number_keeps_its_last_digit(
        self, device: torch.device, limit: int, operation: Callable[..., Any], above: int
    ) -> None:
        """An int64 that no float can hold passes through an operation to its last digit."""
        t = torch.tensor([limit + 1, limit + 3, limit + 2], device=device)

        assert operation(t).item() == limit + above

    def test_neighbours_are_told_apart(self, device: torch.device, limit: int) -> None:
        """Two int64 that differ by one are not equal, beyond the digits of a float too."""
        t = torch.tensor([limit, limit + 1], device=device)

        assert (t == limit + 1).tolist() == (t >= t.flip(0)).tolist() == [False, True]
        assert (t <= t.flip(0)).tolist() == [True, False]
        assert not (t == t.flip(0)).any().item()
        assert (t[1] > t[0]).item()
        assert torch.maximum(t, t.flip(0)).tolist() == [limit + 1] * 2
        assert t.unique().tolist() == [limit, limit + 1]
