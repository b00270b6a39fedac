"""Clocks that wait for a device."""

import time
from typing import Any

import pytest
import torch

from blitz import devices
from blitz.measuring import clock

CPU, XPU = torch.device("cpu"), torch.device("xpu", 0)


class QueuingDevice:
    """A device that takes work at once and does it later, as torch's ``synchronize`` finds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done_at = 0.0
        self.waits = 0
        monkeypatch.setattr(torch.xpu, "synchronize", self.wait)

    def launch(self, seconds: Any = 0.001) -> None:
        self.done_at = max(self.done_at, time.perf_counter()) + seconds

    def wait(self, device: torch.device = None) -> None:
        self.waits += 1
        time.sleep(max(0.0, self.done_at - time.perf_counter()))


@pytest.fixture
def queuing(monkeypatch: pytest.MonkeyPatch) -> QueuingDevice:
    return QueuingDevice(monkeypatch)


class TestClock:
    def test_reading_without_a_wait_is_shorter_where_work_is_queued(
        self, queuing: QueuingDevice
    ) -> None:
        hasty = clock.seconds(lambda: queuing.launch(0.03), time.perf_counter, times=3)
        queuing.wait()
        honest = clock.seconds(lambda: queuing.launch(0.03), clock.clock(XPU), times=3)

        assert hasty < 0.09 <= honest

    def test_device_is_waited_for_at_the_edges_only_and_earlier_work_is_not_counted(
        self, queuing: QueuingDevice
    ) -> None:
        read = clock.clock(XPU)
        queuing.launch(0.2)
        queuing.waits = 0

        assert clock.seconds(queuing.launch, read, times=5) < 0.2
        assert queuing.waits == 2

    def test_device_that_cannot_be_timed_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delattr(torch.xpu, "synchronize")

        for device, fault in (XPU, "cannot be timed"), (torch.device("meta"), "computes nothing"):
            with pytest.raises(devices.UnusableDevice, match=fault):
                clock.clock(device)
        assert clock.clock(CPU)() <= clock.clock(CPU)()
