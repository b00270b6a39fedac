"""Several processes that wait for each other: which of them hangs?

A process that ends closes its connections, and the others notice at once. One that hangs leaves
them waiting in a sum that never comes, where nothing can be asked of them. So a thread of each
process says every second, in a store that all can reach, that it lives and which step it has
reached, and looks at what the others say.
"""

import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

BEAT = 1.0
"""Seconds between two signs of life."""

GRACE = 5.0
"""Seconds that a process is left to end of its own accord, once another has failed."""

EXIT_CODE = 1


class Store(Protocol):
    """What is used of a ``torch.distributed.Store``: one that all processes can reach."""

    def set(self, key: str, value: str) -> None:
        """Put ``value`` under ``key``, for all to see."""

    def get(self, key: str) -> bytes:
        """What is under ``key``; waits until something is."""

    def check(self, keys: list[str]) -> bool:
        """Whether there is something under each of ``keys``."""


@dataclass
class Ledger:
    """What the processes said of themselves, and when they last said something new.

    Args:
        limit: Seconds without anything new, after which a process counts as hung.
        processes: How many there are. One that does not hear all of them cannot tell whether it is
            one of the others that hangs.
    """

    limit: float
    processes: int
    _beats: dict[int, tuple[str, float]] = field(default_factory=dict)
    _steps: dict[int, tuple[int, float]] = field(default_factory=dict)
    _busy: dict[int, bool] = field(default_factory=dict)

    def heard(self, rank: int, said: str, now: float) -> None:
        """Take down what process ``rank`` said: how often it has spoken, its step, if it trains."""
        beats, step, busy = said.split()
        if self._beats.get(rank, ("",))[0] != beats:
            self._beats[rank] = beats, now
        if self._steps.get(rank, (-1,))[0] != int(step) or self._busy.get(rank) != bool(int(busy)):
            self._steps[rank] = int(step), now
        self._busy[rank] = bool(int(busy))

    def fault(self, now: float) -> str | None:
        """Who hangs, in a clause; None where nobody does."""
        for rank, (_, since) in self._beats.items():
            if now - since > self.limit:
                return (
                    f"rank {rank} has given no sign of life for {now - since:.0f} s; it had "
                    f"reached step {self._steps[rank][0]}"
                )
        furthest = max(step for step, _ in self._steps.values())
        for rank, (step, since) in self._steps.items():
            if self._busy[rank] and step < furthest and now - since > self.limit:
                return f"rank {rank} has not reached step {furthest} for {now - since:.0f} s"
        since = max(since for _, since in self._steps.values())
        all_busy = list(self._busy.values()) == [True] * self.processes
        if all_busy and now - since > self.limit:
            return (
                f"no rank has got past step {furthest} for {now - since:.0f} s, though each has "
                "reached it: a device, or the link between two, hangs"
            )
        return None


class Watch:
    """The thread of one process that gives signs of life and watches for those of the others.

    The first process watches all others, and these watch the first. Whoever finds that another
    hangs, or that it failed and :data:`GRACE` has passed, ends its own process, which may itself
    be stuck in a sum: with that the others notice, and torchrun ends the rest.

    Args:
        store: A connection for this thread alone.
        rank: This process.
        processes: How many there are.
        limit: Seconds after which a process counts as hung; 0 for never.

    Attributes:
        step: Steps of the training that this process has begun.
        busy: Whether it is in the midst of them, where nobody may keep the others waiting. Outside,
            as where the first process downloads, only a process without signs of life is hung.
    """

    FAILED = "failed"
    """This key is set by a process that ends before the others."""

    def __init__(self, store: Store, rank: int, processes: int, limit: float) -> None:
        self.step = 0
        self.busy = False
        self._store = store
        self._rank = rank
        self._watched = range(processes) if rank == 0 else (0, rank)
        self._processes = processes
        self._limit = limit
        self._beats = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        """Give the first sign of life, and go on with it beside the others' work."""
        self._beat()
        self._thread.start()

    def stop(self) -> None:
        """Give no more signs of life, since the process is done."""
        self._stopped.set()
        self._thread.join(GRACE)

    def _run(self) -> None:
        ledger = Ledger(self._limit or float("inf"), self._processes)
        while not self._stopped.wait(min(BEAT, (self._limit or BEAT) / 4)):
            try:
                fault = self._look(ledger)
            except RuntimeError as error:  # of the store, which does not answer
                fault = self._without_store(error)
            if fault is not None:
                self._end(fault)
                return

    def _look(self, ledger: Ledger) -> str | None:
        self._beat()
        for rank in self._watched:
            if self._store.check([str(rank)]):
                ledger.heard(rank, self._store.get(str(rank)).decode(), time.monotonic())
        if self._store.check([self.FAILED]) and not self._stopped.wait(GRACE):
            return f"{self._store.get(self.FAILED).decode()} failed, see its own error"
        return ledger.fault(time.monotonic())

    def _beat(self) -> None:
        self._beats += 1
        self._store.set(str(self._rank), f"{self._beats} {self.step} {int(self.busy)}")

    def _without_store(self, error: RuntimeError) -> str | None:
        if self._stopped.wait(GRACE):
            return None
        words = str(error).strip().partition("\n")[0]
        return f"torchrun, or the process that keeps the processes' common store, is gone ({words})"

    def _end(self, fault: str, leave: Callable[[int], object] = os._exit) -> None:
        if self._stopped.is_set():
            return
        print(
            f"error: {fault}. Rank {self._rank} gives up; the last checkpoint is whole. Go on from "
            "it with --resume.",
            file=sys.stderr,
            flush=True,
        )
        leave(EXIT_CODE)
