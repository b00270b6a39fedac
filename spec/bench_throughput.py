"""How fast the tutorial's work runs on each device: `pytest --benchmark-only`.

A round is many operations or whole training steps; the device is waited for at the edges of a round
and nowhere inside, warm-up rounds are not counted, and each benchmark asserts that what it timed
happened. torch's own settings (TF32, threads) are left as they are.
"""

import pytest
import torch

from blitz import classifier, devices, tensors


@pytest.fixture
def per_second(benchmark, device):
    """Time ``work()``, ``times`` times a round, and note how many there are a second."""

    def per_second(work, *, times, unit):
        def a_round():
            for _ in range(times):
                result = work()
            devices.synchronize(device)
            return result

        result = benchmark.pedantic(
            a_round,
            setup=lambda: devices.synchronize(device),
            rounds=7,
            warmup_rounds=2,
        )
        if benchmark.stats is not None:  # None with --benchmark-disable
            benchmark.extra_info[unit] = times / benchmark.stats.stats.median
        benchmark.extra_info["device"] = devices.describe(device)
        benchmark.extra_info["threads"] = torch.get_num_threads()
        return result

    return per_second


class TestOperations:
    @pytest.mark.benchmark(group="matmul 1024 x 1024")
    def test_large_matmul(self, per_second, device):
        """Matrix products of 1024 x 1024 numbers, where an accelerator can show what it has."""
        a = tensors.ones((1024, 1024), device=device)

        product = per_second(lambda: tensors.matmul(a, a), times=5, unit="operations/s")

        assert product[0, 0].item() == 1024
        assert product.device == device

    @pytest.mark.benchmark(group="matmul 4 x 4")
    def test_tiny_matmul(self, per_second, device):
        """Matrix products of 4 x 4 numbers, where the launch costs more than the work."""
        a = tensors.ones((4, 4), device=device)

        product = per_second(lambda: tensors.matmul(a, a), times=2000, unit="operations/s")

        assert product.tolist() == [[4.0] * 4] * 4
        assert product.device == device


class TestTraining:
    @pytest.mark.benchmark(group="training step, width 6, batch 4")
    def test_training_step(self, per_second, device):
        """Training steps of the tutorial's classifier on batches of 4 that are already there."""
        net = classifier.Net().to(device)
        inputs = torch.randn(4, 3, 32, 32).to(device)
        labels = torch.tensor([3, 8, 8, 0], device=device)
        step = classifier.training_step(net)
        before = step(inputs, labels).item()

        loss = per_second(lambda: step(inputs, labels), times=50, unit="steps/s")

        assert loss.item() < before
        assert loss.device == device
