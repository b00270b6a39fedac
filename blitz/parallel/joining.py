"""How a process joins the others that torchrun started, and how it ends when one of them does."""

import os
import re
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, cast

import torch.distributed as dist

from blitz import devices
from blitz.base.errors import BlitzError, first_line
from blitz.parallel import processes as group
from blitz.parallel.processes import ALONE, EndedElsewhere, Group
from blitz.parallel.shares import Rank

ENDLESS = timedelta(days=20)
"""gloo counts milliseconds in 32 bits: 24 days at most."""

_LOST = re.compile(r"gloo|by peer|NCCL|Broken pipe|timed out|aborted", re.IGNORECASE)


@contextmanager
def joined(device: str | None = None, limit: float = 0.0) -> Iterator[Group]:
    """Yield the processes that torchrun started with this one; one alone without torchrun.

    What ends this process early is said at once, on stderr, before the others can notice; then
    they end too.

    Args:
        device: The kind of device that is going to be used, if that is known: ``"cpu"``,
            ``"cuda"``.
        limit: Seconds that the others wait for a process before it counts as hung; 0 for no end.

    Raises:
        BlitzError: ``device`` names a single device, and there are several processes.
        SystemExit: in the place of any other error of several processes.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ALONE
        return
    if device is not None and ":" in device:
        raise BlitzError(
            f"device {device!r}: each process has a device of its own. Name the kind alone: "
            f"--device {device.partition(':')[0]}"
        )
    processes = _join(device, limit)
    try:
        yield processes
    except BlitzError as error:
        # A missing file is missing for all of them: one line is enough.
        if processes.says_first(str(error)):
            _say(f"rank {processes.rank.rank}: {error}")
        _record(error)
        processes.failed()
        raise SystemExit(error.exit_code) from None
    except Exception as error:
        if _is_loss(error):
            _lost(processes, error)
        else:
            _say(f"rank {processes.rank.rank} failed:\n{traceback.format_exc()}")
            _record(error)
            processes.failed()
        raise SystemExit(1) from None
    dist.destroy_process_group()


def _join(device: str | None, limit: float) -> Group:
    from torch.distributed import PrefixStore  # type: ignore[attr-defined]
    from torch.distributed.rendezvous import rendezvous

    environment = os.environ
    rank, count = int(environment["RANK"]), int(environment["WORLD_SIZE"])
    store, rank, count = next(rendezvous("env://", rank, count))
    # torchrun's store outlives its restarts, and with it the addresses of processes that are gone.
    attempt = environment.get("TORCHELASTIC_RESTART_COUNT", "0")
    store = PrefixStore(f"blitz/{attempt}/{count}", store)
    # Imports may take longer than the limit, which holds from here on.
    store.set(f"there/{rank}", "")
    store.wait([f"there/{each}" for each in range(count)])
    timeout = timedelta(seconds=limit) if limit else ENDLESS
    dist.init_process_group(
        _backend(device), store=store, rank=rank, world_size=count, timeout=timeout
    )
    # A group that lost a member cannot be asked any more; this one can.
    roll = dist.new_group(backend="gloo", timeout=timedelta(seconds=2 * group.GRACE))
    own = Rank(rank, count, int(environment.get("LOCAL_WORLD_SIZE", count)))
    return Group(store, own, int(environment.get("LOCAL_RANK", rank)), cast("Any", roll))


def _backend(device: str | None) -> str:
    """Return gloo for the cpu; with it, where there is an accelerator, its own: NCCL for cuda."""
    accelerator = devices.accelerator()
    if accelerator is None or device == "cpu":
        return "gloo"
    return f"cpu:gloo,{accelerator.type}:{dist.get_default_backend_for_device(accelerator)}"


def _is_loss(error: Exception) -> bool:
    """Return whether ``error`` is how the end of another process shows in this one."""
    return isinstance(error, (EndedElsewhere, dist.DistError)) or (
        isinstance(error, RuntimeError) and _LOST.search(str(error)) is not None
    )


def _lost(processes: Group, error: Exception) -> None:
    fault = processes.absent()
    if fault is not None and processes.says_first("lost"):
        fault = f"{fault} ({first_line(error).partition('. ')[0]})"
        _say(f"{fault}. The last checkpoint is whole: go on from it with --resume.")
        _record(RuntimeError(fault))
    # torchrun ends this process meanwhile, and names the one that failed first.
    time.sleep(group.GRACE)


def _record(error: Exception) -> None:
    """Leave ``error`` where torchrun, if it is there, looks for the cause that it shows."""
    from torch.distributed.elastic.multiprocessing.errors import get_error_handler

    get_error_handler().record_exception(error)


def _say(words: str) -> None:
    print(f"error: {words}", file=sys.stderr, flush=True)
