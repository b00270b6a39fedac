"""The processes of one training, on several devices or machines, as torchrun starts them.

Each has a number, its rank. The first, rank 0, leads: it alone prepares data, writes files and
shows progress. The others train and test with it.

Tutorial: "Training on multiple GPUs".
"""

import os
import pickle
import re
import socket
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar, cast

import torch
import torch.distributed as dist
from torch import nn
from torch.utils.data import TensorDataset

from blitz import data, devices
from blitz.base.errors import BlitzError, UnusableDevice
from blitz.learning import evaluation
from blitz.learning.evaluation import Accuracy
from blitz.learning.step import TrainingStep
from blitz.parallel.rank import WHOLE, Rank
from blitz.parallel.step import DistributedStep
from blitz.parallel.watch import GRACE, Watch

if TYPE_CHECKING:  # torch has it only where it was built for it, and lists it nowhere
    from torch.distributed import Store  # type: ignore[attr-defined]

T = TypeVar("T")

POLL = 0.1
"""Seconds between two looks whether the first process is ready."""

_LOST = re.compile(r"gloo|by peer|NCCL|Broken pipe|timed out|aborted", re.IGNORECASE)


class DistributedError(BlitzError, RuntimeError):
    """Processes that cannot work together; the message says why and what to do."""


class EndedElsewhere(Exception):
    """Another process ended the common work, and said why.

    Attributes:
        code: What this process ends with too.
    """

    def __init__(self, code: int = 1) -> None:
        super().__init__(code)
        self.code = code


class Processes:
    """One process that trains by itself; what :class:`Group` does with several, it does alone.

    Attributes:
        part: Which of how many processes this is.
        launch: Names the start of these processes by torchrun, the same after its restarts; empty
            where it was not torchrun.
        restarted: Whether torchrun started them again after one had failed.
    """

    part: Rank = WHOLE
    launch = ""
    restarted = False

    @property
    def leads(self) -> bool:
        """Whether this one prepares data, writes files and shows progress."""
        return self.part.rank == 0

    @property
    def several(self) -> bool:
        """Whether there are others."""
        return self.part.processes > 1

    def device(self, device: str | torch.device) -> torch.device:
        """Where this process trains, if the first trains on ``device``.

        Raises:
            UnusableDevice: it cannot be used here, or there are fewer of them than processes.
        """
        return devices.resolve(device)

    def first(self, work: Callable[[], T]) -> T:
        """What ``work()`` returns in the first process; the others wait for it, however long.

        Raises:
            EndedElsewhere: it failed there. In the first process its own exception is raised.
        """
        return work()

    def mean(self, numbers: Sequence[float]) -> list[float]:
        """The means over the processes, number by number; the same bits in each of them."""
        return list(numbers)

    def total(self, counts: Sequence[int]) -> list[int]:
        """The sums over the processes, count by count."""
        return list(counts)

    def largest(self, number: int) -> int:
        """The largest of the processes' numbers."""
        return number

    def step(self, net: nn.Module, *, lr: float, momentum: float, exact: bool) -> TrainingStep:
        """The training step for ``net``; of several processes, one that they take together."""
        return TrainingStep(net, lr=lr, momentum=momentum, exact=exact)

    def at_step(self, steps: int, busy: bool = True) -> None:
        """Note that ``steps`` steps are begun, and whether more follow at once."""

    def failed(self) -> None:
        """Tell the others that this process ends before them, having said why."""


ALONE = Processes()


class Group(Processes):
    """This process among several, which torchrun started.

    Args:
        store: What all of them can read and write.
        part: Which of them this is.
        local_rank: Its number on this machine, and that of its device.
        watch: Sees whether the others hang.
    """

    def __init__(self, store: "Store", part: Rank, local_rank: int, watch: Watch) -> None:
        self.part = part
        self.launch = _launch()
        self.restarted = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0
        self._store = store
        self._local_rank = local_rank
        self._watch = watch
        self._told = 0
        self._last: deque[torch.Tensor] = deque(maxlen=8)

    def device(self, device: str | torch.device) -> torch.device:
        """The one of ``device``'s kind that has this process's number on its machine."""
        named = torch.device(device)
        if named.type in ("cpu", "meta"):
            return devices.resolve(named)
        module = torch.get_device_module(named)
        if module.device_count() <= self._local_rank:
            raise UnusableDevice(
                f"device {named.type!r}: rank {self.part.rank} is number {self._local_rank + 1} "
                f"on this machine, which has {module.device_count()} of them. Start as many "
                f"processes as there are: torchrun --nproc-per-node {module.device_count()}"
            )
        own = devices.resolve(f"{named.type}:{self._local_rank}")
        module.set_device(own)  # NCCL takes the current one
        return own

    def first(self, work: Callable[[], T]) -> T:
        """What ``work()`` returns in the first process; it has to be something that pickles."""
        # The others look from time to time instead of waiting in a broadcast: that has a deadline,
        # of half an hour by default, and the first may be downloading for an hour.
        self._told += 1
        key = f"ready/{self._told}"
        if self.leads:
            result = work()
            self._store.set(key, "")
            self._give(pickle.dumps(result))
            return result
        while not self._store.check([key]):
            if self._store.check([Watch.FAILED]):
                raise EndedElsewhere
            time.sleep(POLL)
        return cast("T", pickle.loads(self._take()))

    def _give(self, content: bytes) -> None:
        for numbers in (
            torch.tensor([len(content)]),
            torch.frombuffer(bytearray(content), dtype=torch.uint8),
        ):
            dist.broadcast(self._kept(numbers), src=0)

    def _take(self) -> bytes:
        """What the first process gave; it is trusted, as torch's broadcast_object_list does."""
        size = self._kept(torch.tensor([0]))
        dist.broadcast(size, src=0)
        content = self._kept(torch.empty(int(size.item()), dtype=torch.uint8))
        dist.broadcast(content, src=0)
        return content.numpy().tobytes()

    def _kept(self, numbers: torch.Tensor) -> torch.Tensor:
        """``numbers``, kept alive a while.

        Where gloo's thread is the last to let go of a tensor, it waits for Python's lock, which
        whoever destroys the group holds, and waits for that thread: torch 2.6 hangs there.
        """
        self._last.append(numbers)
        return numbers

    def mean(self, numbers: Sequence[float]) -> list[float]:
        """Means over the processes."""
        sums = self._kept(torch.tensor(numbers, dtype=torch.float64))
        dist.all_reduce(sums)
        means: list[float] = (sums / self.part.processes).tolist()
        return means

    def total(self, counts: Sequence[int]) -> list[int]:
        """Sums over the processes."""
        sums = self._kept(torch.tensor(counts, dtype=torch.int64))
        dist.all_reduce(sums)
        totals: list[int] = sums.tolist()
        return totals

    def largest(self, number: int) -> int:
        """The largest of the processes' numbers."""
        found = self._kept(torch.tensor([number], dtype=torch.int64))
        dist.all_reduce(found, op=dist.ReduceOp.MAX)
        return int(found.item())

    def step(self, net: nn.Module, *, lr: float, momentum: float, exact: bool) -> TrainingStep:
        """A step that all processes take together."""
        return DistributedStep(net, lr=lr, momentum=momentum, exact=exact, on_step=self._on_step)

    def _on_step(self) -> None:
        self._watch.step += 1

    def at_step(self, steps: int, busy: bool = True) -> None:
        """Tell the watch, which names a process that stays behind."""
        self._watch.step, self._watch.busy = steps, busy

    def failed(self) -> None:
        """Tell the others, where the store is still there."""
        with suppress(RuntimeError):  # the store may be gone with the process that keeps it
            self._store.set(Watch.FAILED, f"rank {self.part.rank}")

    def show(self, error: BaseException) -> None:
        """Say what ended this process, unless another has said the same."""
        seen = 0
        with suppress(RuntimeError):
            seen = self._store.add(f"said/{type(error).__name__}: {error}", 1) - 1
        if not seen:
            _say(f"rank {self.part.rank}: {error}")


@contextmanager
def joined(device: str | None = None, limit: float = 0.0) -> Iterator[Processes]:
    """The processes that torchrun started with this one, joined; one alone without torchrun.

    What ends this process early is said at once, on stderr, before the others can notice; then
    they end too.

    Args:
        device: The kind of device that is going to be used, if that is known: ``"cpu"``,
            ``"cuda"``.
        limit: Seconds after which a process that the others wait for counts as hung; 0 for never.

    Raises:
        DistributedError: ``device`` names a single device, and there are several processes.
        SystemExit: in the place of any other error of several processes.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ALONE
        return
    if device is not None and ":" in device:
        raise DistributedError(
            f"device {device!r}: each process has a device of its own. Name the kind alone: "
            f"--device {device.partition(':')[0]}"
        )
    group, watch = _join(device, limit)
    try:
        yield group
    except EndedElsewhere as ended:
        _await_end()
        raise SystemExit(ended.code) from None
    except BlitzError as error:
        group.show(error)
        _record(error)
        group.failed()
        raise SystemExit(error.exit_code) from None
    except Exception as error:
        if _is_loss(error):
            _lost(group, error)
        else:
            _say(f"rank {group.part.rank} failed:\n{traceback.format_exc()}")
            _record(error)
            group.failed()
        raise SystemExit(1) from None
    finally:
        watch.stop()
    dist.destroy_process_group()


def _join(device: str | None, limit: float) -> tuple[Group, Watch]:
    from torch.distributed import PrefixStore  # type: ignore[attr-defined]
    from torch.distributed.rendezvous import rendezvous

    environment = os.environ
    rank, count = int(environment["RANK"]), int(environment["WORLD_SIZE"])
    store, rank, count = next(rendezvous("env://", rank, count))
    # torchrun's store outlives its restarts, and with it the addresses of processes that are gone.
    prefix = f"blitz/{environment.get('TORCHELASTIC_RESTART_COUNT', '0')}/{count}"
    store = PrefixStore(prefix, store)
    watch = Watch(PrefixStore(prefix, _connection(limit)), rank, count, limit)
    watch.start()
    dist.init_process_group(_backend(device), store=store, rank=rank, world_size=count)
    part = Rank(rank, count, int(environment.get("LOCAL_WORLD_SIZE", count)))
    return Group(store, part, int(environment.get("LOCAL_RANK", rank)), watch), watch


def _connection(limit: float) -> "Store":
    """A connection of its own: one that is shared makes its users wait for each other."""
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    return TCPStore(
        os.environ["MASTER_ADDR"],
        int(os.environ["MASTER_PORT"]),
        is_master=False,
        wait_for_workers=False,
        timeout=timedelta(seconds=max(limit, 10.0)),
    )


def _backend(device: str | None) -> str:
    """gloo for the cpu; with it, where there is an accelerator, its own: NCCL for cuda."""
    accelerator = devices.accelerator()
    if accelerator is None or device == "cpu":
        return "gloo"
    return f"cpu:gloo,{accelerator.type}:{dist.get_default_backend_for_device(accelerator)}"


def _launch() -> str:
    """The run's name is "none" unless it is given; its agent, our parent, tells it from others."""
    run = os.environ.get("TORCHELASTIC_RUN_ID", "")
    return f"{run} {socket.gethostname()} {os.getppid()}"


def _is_loss(error: Exception) -> bool:
    """Whether ``error`` is how the end of another process shows in this one."""
    return isinstance(error, dist.DistError) or (
        isinstance(error, RuntimeError) and _LOST.search(str(error)) is not None
    )


def _lost(group: Group, error: Exception) -> None:
    if group.leads:
        words = re.sub(r"^\[\S*\] ", "", str(error).strip()).partition("\n")[0].partition(". ")[0]
        _say(
            "rank 0: the connection to another process is lost; its own error stands above, or in "
            f"what torchrun says. ({words}.) The last checkpoint is whole: go on from it with "
            "--resume."
        )
    _await_end()


def _await_end() -> None:
    """Wait for torchrun to end this process, so that it names the one that failed first."""
    time.sleep(GRACE)


def _record(error: Exception) -> None:
    """Leave ``error`` where torchrun looks for it, so that its summary shows it as the cause."""
    from torch.distributed.elastic.multiprocessing.errors import get_error_handler

    if "TORCHELASTIC_ERROR_FILE" in os.environ:
        get_error_handler().record_exception(error)


def _say(words: str) -> None:
    print(f"error: {words}", file=sys.stderr, flush=True)


def evaluate(
    net: nn.Module, images: TensorDataset, processes: Processes = ALONE, *, batch_size: int = 100
) -> Accuracy:
    """As :func:`blitz.learning.evaluation.evaluate`, each process with its share of the images.

    Every image is counted once: of n processes each has every n-th of them, which is one more or
    less where they do not go round, and the counts are added. torch's DistributedSampler would
    repeat images until they do.

    Args:
        net: The same in all processes.
        images: All of them, the same in all processes, N x 3 x 32 x 32, with their labels, N.
        processes: To share them out to.
        batch_size: Images at once.

    Tutorial: "Test the network on the test data".
    """
    part = processes.part
    own = TensorDataset(*(tensor[part.rank :: part.processes] for tensor in images.tensors))
    if not processes.several or len(own):
        counted = evaluation.evaluate(net, data.loader(own, batch_size, shuffle=False))
    else:
        none = (0,) * len(data.CLASSES)
        counted = Accuracy(none, none)
    classes = len(counted.class_total)
    counts = processes.total([*counted.class_correct, *counted.class_total])
    return Accuracy(tuple(counts[:classes]), tuple(counts[classes:]))
