"""Functions run in several processes that join as torchrun's do, and how each of them ended."""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from multiprocessing import connection, get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple

from torch.distributed import TCPStore

PRELOADED = ["torch.distributed", "torch._dynamo", "torchvision", "blitz.training.loop"]
"""Imported once, in the server that the processes are forked from."""

PATIENCE = 2.0
"""Seconds between SIGTERM and SIGKILL, where the others are ended with one that failed."""


class Outcome(NamedTuple):
    """How one of the processes ended: its exit code, negative for a signal, and what it wrote."""

    code: int
    output: str


def run(
    function: Callable[..., object],
    count: int,
    *arguments: Any,
    limit: float = 60.0,
    together: bool = False,
) -> list[Outcome]:
    """Run ``function(rank, *arguments)`` in ``count`` processes, with what torchrun tells them.

    Args:
        function: Of a module's top level, since it is sent by its name.
        limit: Seconds after which those still running are killed.
        together: Whether the others are ended when one has failed, as torchrun does it.
    """
    context = get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)  # unless the server runs already
    # As torchrun's agent keeps one.
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, str(rank)) for rank in range(count)]
        processes = [
            context.Process(target=_call, args=(function, rank, count, store.port, file, arguments))
            for rank, file in enumerate(files)
        ]
        try:
            for process in processes:
                process.start()
            _await(processes, limit, together)
        finally:
            for process in processes:
                process.kill()
                process.join()
        return [
            Outcome(process.exitcode, file.read_text(encoding="utf-8") if file.exists() else "")
            for process, file in zip(processes, files, strict=True)
        ]


def _await(processes: Sequence[BaseProcess], limit: float, together: bool) -> None:
    end = time.monotonic() + limit
    while running := [process for process in processes if process.is_alive()]:
        left = end - time.monotonic()
        if left <= 0:
            return
        connection.wait([process.sentinel for process in running], left)
        if together and any(process.exitcode for process in processes):
            for process in running:
                process.terminate()
            end, together = min(end, time.monotonic() + PATIENCE), False


def _call(
    function: Callable[..., object],
    rank: int,
    count: int,
    port: int,
    file: Path,
    arguments: tuple[Any, ...],
) -> None:
    with file.open("w") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
    }
    function(rank, *arguments)
