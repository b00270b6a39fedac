"""What one process of a group does, with a store and other processes that stand in."""

import io
import json
import os
import socket
import sys
import weakref
from collections.abc import Callable, Iterator
from copy import copy
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.utils.data import TensorDataset

from blitz import data, devices
from blitz.base.errors import BlitzError
from blitz.harness.ranks import as_torchrun_would
from blitz.learning.evaluation import Accuracy
from blitz.parallel import processes as distributed
from blitz.parallel.processes import EndedElsewhere, Group, Processes
from blitz.parallel.rank import Rank
from blitz.parallel.watch import GRACE
from tests.clocks import give_clock


class Shared:
    """A store in the memory of this process, which notes what is set; it may be gone."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.content: dict[str, Any] = {}
        self.gone = False

    def set(self, key: str, value: str) -> None:
        if self.gone:
            raise RuntimeError("Broken pipe")
        self.keys.append(key)
        self.content[key] = value.encode()

    def add(self, key: str, number: int) -> int:
        if self.gone:
            raise RuntimeError("Broken pipe")
        self.content[key] = self.content.get(key, 0) + number
        return int(self.content[key])

    def check(self, keys: list[str]) -> bool:
        return all(key in self.content for key in keys)


class Wire:
    """Carries what process 0 broadcasts to the one that takes it; and sums with another process."""

    def __init__(self) -> None:
        self.sent: list[torch.Tensor] = []
        self.other: list[float] = []
        self.leads = True

    def broadcast(self, tensor: torch.Tensor, src: int) -> None:
        assert src == 0
        if self.leads:
            self.sent.append(tensor.clone())
        else:
            tensor.copy_(self.sent.pop(0))

    def all_reduce(self, tensor: torch.Tensor, op: Any = dist.ReduceOp.SUM) -> None:
        theirs = torch.tensor(self.other, dtype=tensor.dtype)
        if op == dist.ReduceOp.MAX:
            tensor.copy_(torch.maximum(tensor, theirs))
        else:
            tensor.add_(theirs)


@pytest.fixture(autouse=True)
def same_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test gives this process goes with it."""
    monkeypatch.setattr(os, "environ", os.environ.copy())
    for name in [name for name in os.environ if name.startswith("TORCHELASTIC")]:
        del os.environ[name]


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    wire = Wire()
    monkeypatch.setattr(dist, "broadcast", wire.broadcast)
    monkeypatch.setattr(dist, "all_reduce", wire.all_reduce)
    return wire


@pytest.fixture
def store() -> Shared:
    return Shared()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    waits: list[float] = []
    give_clock(monkeypatch, distributed, sleep=waits.append)
    return waits


def group_of(store: Any, rank: int, count: int = 2, local: int | None = None) -> Group:
    watch: Any = SimpleNamespace(step=0, busy=False)
    return Group(store, Rank(rank, count), rank if local is None else local, watch)


class Stream(io.StringIO):
    """What stands in it for all to see, since it was flushed."""

    there = ""

    def flush(self) -> None:
        self.there = self.getvalue()


class TestSums:
    @pytest.fixture
    def group(self, wire: Wire, store: Shared) -> Group:
        return group_of(store, 1)

    def test_mean_is_that_of_the_processes_in_double_precision(
        self, group: Group, wire: Wire
    ) -> None:
        wire.other = [3.0, 0.1]

        assert group.mean([1.0, 0.2]) == [2.0, (0.1 + 0.2) / 2]

    def test_mean_is_over_as_many_processes_as_there_are(self, wire: Wire, store: Shared) -> None:
        wire.other = [5.0]

        assert group_of(store, 0, 3).mean([1.0]) == [2.0]

    def test_total_counts_without_rounding(self, group: Group, wire: Wire) -> None:
        wire.other = [2**53, 4]

        assert group.total([1, 2]) == [2**53 + 1, 6]

    @pytest.mark.parametrize(("other", "largest"), [(2, 3), (3, 3), (2**53 + 1, 2**53 + 1)])
    def test_largest_of_two(self, group: Group, wire: Wire, other: int, largest: int) -> None:
        wire.other = [other]

        found = group.largest(3)

        assert (found, type(found)) == (largest, int)

    def test_last_eight_tensors_are_kept(self, store: Shared) -> None:
        group = group_of(store, 0)

        seen = [weakref.ref(group._kept(torch.tensor([number]))) for number in range(9)]

        assert [each() is not None for each in seen] == [False, *[True] * 8]


class TestFirst:
    """What the first process has worked out is had by all."""

    def test_is_given_to_the_others_as_often_as_it_is_asked_for(
        self, wire: Wire, store: Shared
    ) -> None:
        leader, follower = group_of(store, 0), group_of(store, 1)
        results = ({"a": [1, 2]}, "more")
        taken = []
        for result in results:
            wire.leads = True
            assert leader.first(partial(copy, result)) == result
            wire.leads = False
            taken.append(follower.first(lambda: pytest.fail("the second process did it too")))

        assert tuple(taken) == results
        assert store.keys == ["ready/1", "ready/2"]
        assert wire.sent == []

    def test_is_waited_for(
        self, wire: Wire, store: Shared, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        leader, follower = group_of(store, 0), group_of(store, 1)
        waits = []

        def sleep(seconds: float) -> None:
            waits.append(seconds)
            if len(waits) == 3:
                wire.leads = True
                leader.first(lambda: 4)
                wire.leads = False

        give_clock(monkeypatch, distributed, sleep=sleep)

        assert follower.first(lambda: 5) == 4
        assert waits == [distributed.POLL] * 3

    def test_that_failed_ends_the_others(
        self, wire: Wire, store: Shared, waits: list[float]
    ) -> None:
        group_of(store, 0).failed()

        with pytest.raises(EndedElsewhere) as ended:
            group_of(store, 1).first(lambda: 5)

        assert (ended.value.code, ended.value.args) == (1, (1,))
        assert store.content == {"failed": b"rank 0"}
        assert waits == []


class TestDevice:
    @pytest.mark.parametrize("kind", ["cpu", "meta"])
    def test_without_number_is_for_all(self, store: Shared, kind: str) -> None:
        assert group_of(store, 5).device(kind) == torch.device(kind)

    @pytest.fixture
    def two_gpus(self, monkeypatch: pytest.MonkeyPatch) -> list[torch.device]:
        current: list[torch.device] = []
        module = SimpleNamespace(device_count=lambda: 2, set_device=current.append)
        monkeypatch.setattr(
            torch, "get_device_module", lambda device: module if device.type == "cuda" else None
        )
        monkeypatch.setattr(devices, "resolve", torch.device)
        return current

    def test_has_the_processs_number_on_its_machine_and_is_the_current_one(
        self, store: Shared, two_gpus: list[torch.device]
    ) -> None:
        assert group_of(store, 3, 4, local=1).device("cuda") == torch.device("cuda", 1)
        assert two_gpus == [torch.device("cuda", 1)]

    def test_there_are_too_few_of(self, store: Shared, two_gpus: list[torch.device]) -> None:
        with pytest.raises(devices.UnusableDevice) as refused:
            group_of(store, 6, 8, local=2).device("cuda")

        assert str(refused.value) == (
            "device 'cuda': rank 6 is number 3 on this machine, which has 2 of them. Start as many "
            "processes as there are: torchrun --nproc-per-node 2"
        )
        assert two_gpus == []


class TestSteps:
    @pytest.mark.parametrize("several", [False, True], ids=["alone", "several"])
    def test_are_of_the_kind_for_so_many(
        self, store: Shared, monkeypatch: pytest.MonkeyPatch, several: bool
    ) -> None:
        asked: list[Any] = []
        monkeypatch.setattr(
            distributed, "DistributedStep", lambda net, **options: asked.append((net, options))
        )
        monkeypatch.setattr(
            distributed, "TrainingStep", lambda net, **options: asked.append((net, options))
        )
        net, group = nn.Linear(1, 1), group_of(store, 1)

        (group if several else distributed.ALONE).step(net, lr=0.5, momentum=0.25, exact=False)

        ((stepped, options),) = asked
        assert stepped is net
        begin = options.pop("on_step", None)
        assert options == {"lr": 0.5, "momentum": 0.25, "exact": False}
        assert (begin is not None) == several
        if several:
            begin()
            begin()
            assert group._watch.step == 2

    def test_are_told_to_the_watch(self, store: Shared) -> None:
        group = group_of(store, 1)

        group.at_step(7)
        told = (group._watch.step, group._watch.busy)
        group.at_step(9, busy=False)

        assert told == (7, True)
        assert (group._watch.step, group._watch.busy) == (9, False)


class TestAlone:
    def test_device_is_the_one_named(self) -> None:
        assert distributed.ALONE.device("meta") == torch.device("meta")
        with pytest.raises(devices.UnusableDevice, match="nowhere"):
            distributed.ALONE.device("nowhere")

    @pytest.mark.parametrize(
        ("part", "leads", "several"),
        [(Rank(0, 1), True, False), (Rank(0, 2), True, True), (Rank(1, 2), False, True)],
    )
    def test_first_leads_and_two_are_several(self, part: Rank, leads: bool, several: bool) -> None:
        processes = Processes()
        processes.part = part

        assert (processes.leads, processes.several) == (leads, several)


class TestStart:
    """How a process finds the others, by what torchrun gave it."""

    @pytest.mark.parametrize(
        ("given", "restarted"),
        [({}, False), ({"TORCHELASTIC_RESTART_COUNT": "0"}, False)]
        + [({"TORCHELASTIC_RESTART_COUNT": count}, True) for count in "12"],
    )
    def test_restart_is_one_that_was_counted(
        self, store: Shared, given: dict[str, str], restarted: bool
    ) -> None:
        os.environ |= given

        assert group_of(store, 0).restarted is restarted

    @pytest.mark.parametrize(("given", "run"), [({}, ""), ({"TORCHELASTIC_RUN_ID": "x7"}, "x7")])
    def test_launch_is_named_by_run_machine_and_agent(
        self, store: Shared, given: dict[str, str], run: str
    ) -> None:
        os.environ |= given

        assert group_of(store, 0).launch == f"{run} {socket.gethostname()} {os.getppid()}"

    @pytest.mark.parametrize(
        ("asked", "accelerator", "backend"),
        [
            (None, None, "gloo"),
            ("cuda", None, "gloo"),
            ("cpu", "cuda", "gloo"),
            (None, "cuda", "cpu:gloo,cuda:nccl"),
            ("cuda", "cuda", "cpu:gloo,cuda:nccl"),
        ],
    )
    def test_backend_is_that_of_the_accelerator_beside_gloo(
        self,
        monkeypatch: pytest.MonkeyPatch,
        asked: str | None,
        accelerator: str | None,
        backend: str,
    ) -> None:
        found = accelerator and torch.device(accelerator)
        monkeypatch.setattr(devices, "accelerator", lambda: found)

        assert distributed._backend(asked) == backend

    @pytest.mark.parametrize(("limit", "seconds"), [(0.0, 10), (10.5, 10.5), (120.0, 120)])
    def test_connection_is_one_of_its_own_to_torchruns_store(
        self, monkeypatch: pytest.MonkeyPatch, limit: float, seconds: float
    ) -> None:
        monkeypatch.setattr(dist, "TCPStore", lambda *place, **options: (place, options))
        as_torchrun_would(1, 3, 4711)

        assert distributed._connection(limit) == (
            ("127.0.0.1", 4711),
            {
                "is_master": False,
                "wait_for_workers": False,
                "timeout": timedelta(seconds=seconds),
            },
        )

    @pytest.mark.parametrize(
        ("more", "prefix", "part", "local"),
        [
            ({}, "blitz/0/3", Rank(2, 3, 3), 2),
            (
                {
                    "TORCHELASTIC_RESTART_COUNT": "4",
                    "LOCAL_RANK": "0",
                    "LOCAL_WORLD_SIZE": "1",
                },
                *("blitz/4/3", Rank(2, 3, 1), 0),
            ),
            ({"LOCAL_RANK": "", "LOCAL_WORLD_SIZE": ""}, "blitz/0/3", Rank(2, 3, 3), 2),
        ],
        ids=["one machine", "restarted on several", "not told which of the machine"],
    )
    def test_joining_takes_rank_number_and_store_from_torchrun(
        self,
        monkeypatch: pytest.MonkeyPatch,
        more: dict[str, str],
        prefix: str,
        part: Rank,
        local: int,
    ) -> None:
        as_torchrun_would(2, 3, 4711)
        for name, value in more.items():
            if value:
                os.environ[name] = value
            else:
                del os.environ[name]
        log: list[Any] = []

        def meet(address: str, rank: int, count: int) -> Iterator[tuple[str, int, int]]:
            log.append((address, rank, count))
            yield "store", rank, count

        class Watch:
            def __init__(self, *arguments: Any) -> None:
                log.append(arguments)
                self.step = 0

            def start(self) -> None:
                log.append("watching")

        monkeypatch.setattr(sys.modules["torch.distributed.rendezvous"], "rendezvous", meet)
        monkeypatch.setattr(dist, "PrefixStore", lambda prefix, store: f"{store} at {prefix}")
        monkeypatch.setattr(
            dist, "init_process_group", lambda *backend, **options: log.append((backend, options))
        )
        monkeypatch.setattr(distributed, "Watch", Watch)
        monkeypatch.setattr(distributed, "_connection", lambda limit: f"connection for {limit}")
        monkeypatch.setattr(distributed, "_backend", lambda device: f"backend for {device}")

        group, watch = distributed._join("cuda", 7.5)

        assert log == [
            ("env://", 2, 3),
            (f"connection for 7.5 at {prefix}", 2, 3, 7.5),
            "watching",
            (
                ("backend for cuda",),
                {"store": f"store at {prefix}", "rank": 2, "world_size": 3},
            ),
        ]
        assert (group.part, group._local_rank, group._store) == (part, local, f"store at {prefix}")
        assert group._watch is watch
        assert isinstance(watch, Watch)


class TestEnd:
    @pytest.mark.parametrize(
        ("error", "lost"),
        [
            *((RuntimeError(f"a {words} b"), True) for words in ("gloo", "Gloo", "by peer")),
            *((RuntimeError(f"a {words} b"), True) for words in ("NCCL", "Broken pipe")),
            *((RuntimeError(f"a {words} b"), True) for words in ("timed out", "aborted")),
            (RuntimeError("out of memory"), False),
            (ValueError("gloo"), False),
            (dist.DistError("whatever"), True),
        ],
        ids=lambda value: repr(value),
    )
    def test_of_another_process_shows_in_torchs_errors(self, error: Exception, lost: bool) -> None:
        assert distributed._is_loss(error) is lost

    @pytest.mark.parametrize(
        "error",
        [
            " [/torch/gloo/pair.cc:553] Read error by peer. More of it. And more\nat #0\nat #1\n",
            "Read error by peer\nat #0. More\nat #1",
        ],
        ids=["sentences", "lines"],
    )
    @pytest.mark.parametrize(
        ("rank", "said"),
        [
            (
                0,
                "error: rank 0: the connection to another process is lost; its own error stands "
                "above, or in what torchrun says. (Read error by peer.) The last checkpoint is "
                "whole: go on from it with --resume.\n",
            ),
            (1, ""),
        ],
        ids=["first", "second"],
    )
    def test_of_another_process_is_said_by_the_first_and_waited_out_by_all(
        self,
        store: Shared,
        waits: list[float],
        capsys: pytest.CaptureFixture[str],
        error: str,
        rank: int,
        said: str,
    ) -> None:
        distributed._lost(group_of(store, rank), RuntimeError(error))

        assert capsys.readouterr() == ("", said)
        assert waits == [GRACE]

    def test_is_said_once_by_whoever_comes_first(
        self, store: Shared, capsys: pytest.CaptureFixture[str]
    ) -> None:
        said = []
        for rank, error in [(2, ValueError("no")), (0, ValueError("no")), (0, KeyError("no"))]:
            group_of(store, rank, 3).show(error)
            said.append(capsys.readouterr().err)

        assert said == ["error: rank 2: no\n", "", "error: rank 0: 'no'\n"]
        assert store.content == {"said/ValueError: no": 2, "said/KeyError: 'no'": 1}

    def test_is_said_where_the_store_is_gone_too(
        self, store: Shared, capsys: pytest.CaptureFixture[str]
    ) -> None:
        store.gone = True
        group = group_of(store, 1)

        group.failed()
        group.show(ValueError("no"))

        assert capsys.readouterr().err == "error: rank 1: no\n"

    def test_is_said_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        stream = Stream()
        monkeypatch.setattr(sys, "stderr", stream)

        distributed._say("something")

        assert stream.there == "error: something\n"

    def test_is_left_where_torchrun_looks_for_it(self, tmp_path: Path) -> None:
        file = tmp_path / "error.json"
        distributed._record(ValueError("not asked for"))
        os.environ["TORCHELASTIC_ERROR_FILE"] = str(file)

        distributed._record(ValueError("the disk is on fire"))

        message = json.loads(file.read_text(encoding="utf-8"))["message"]
        assert message["message"] == "ValueError: the disk is on fire"
        assert [path.name for path in tmp_path.iterdir()] == ["error.json"]


class TestJoined:
    @pytest.fixture
    def came(self, store: Shared, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """What came of a second process, step by step."""
        came: list[str] = []
        group = group_of(store, 1)
        watch = SimpleNamespace(stop=lambda: came.append("watched no more"))
        os.environ["WORLD_SIZE"] = "2"
        monkeypatch.setattr(distributed, "_join", lambda device, limit: (group, watch))
        monkeypatch.setattr(distributed, "_say", lambda words: came.append("said"))
        monkeypatch.setattr(distributed, "_record", lambda error: came.append("recorded"))
        monkeypatch.setattr(group, "failed", lambda: came.append("told to the others"))
        monkeypatch.setattr(distributed, "_await_end", lambda: came.append("end awaited"))
        monkeypatch.setattr(dist, "destroy_process_group", lambda: came.append("group left"))
        return came

    def test_process_that_comes_to_its_end_leaves_the_group(self, came: list[str]) -> None:
        with distributed.joined("cpu") as processes:
            assert processes.part.rank == 1

        assert came == ["watched no more", "group left"]

    @pytest.mark.parametrize(
        ("error", "steps", "code"),
        [
            (BlitzError("no"), ["said", "recorded", "told to the others"], 2),
            (ValueError("no"), ["said", "recorded", "told to the others"], 1),
            (RuntimeError("closed by peer"), ["end awaited"], 1),
            (EndedElsewhere(3), ["end awaited"], 3),
        ],
        ids=["ours", "any", "lost", "elsewhere"],
    )
    def test_process_that_ends_early_says_why_before_the_others_can_notice(
        self, came: list[str], error: Exception, steps: list[str], code: int
    ) -> None:
        with pytest.raises(SystemExit) as ended, distributed.joined("cpu"):
            raise error

        assert ended.value.code == code
        assert came == [*steps, "watched no more"]


class Thrice(Processes):
    """One of three processes that all count alike."""

    def __init__(self, rank: int) -> None:
        self.part = Rank(rank, 3)

    def total(self, counts: Any) -> list[int]:
        return [3 * count for count in counts]


class TestEvaluation:
    @pytest.fixture
    def images(self) -> TensorDataset:
        """Each is full of the number of a class; every other label is right."""
        numbers = torch.arange(7)
        labels = torch.where(numbers % 2 == 0, numbers, 9)
        return TensorDataset(numbers.float().reshape(7, 1, 1, 1).expand(7, 3, 32, 32), labels)

    @pytest.fixture
    def net(self) -> nn.Module:
        class Names(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.weight = nn.Parameter(torch.eye(10))

            def forward(self, images: torch.Tensor) -> torch.Tensor:
                return self.weight[images[:, 0, 0, 0].long()]

        return Names()

    @pytest.mark.parametrize(
        ("rank", "correct", "total"),
        [
            (0, {0: 3, 6: 3}, {0: 3, 6: 3, 9: 3}),
            (1, {4: 3}, {4: 3, 9: 3}),
            (2, {2: 3}, {2: 3, 9: 3}),
        ],
    )
    def test_counts_each_so_manieth_image(
        self,
        net: nn.Module,
        images: TensorDataset,
        rank: int,
        correct: dict[int, int],
        total: dict[int, int],
    ) -> None:
        counted = distributed.evaluate(net, images, Thrice(rank))

        assert counted == Accuracy(
            tuple(correct.get(number, 0) for number in range(10)),
            tuple(total.get(number, 0) for number in range(10)),
        )

    def test_process_without_images_counts_none(self, net: nn.Module) -> None:
        two = TensorDataset(torch.zeros(2, 3, 32, 32), torch.zeros(2, dtype=torch.int64))

        assert distributed.evaluate(net, two, Thrice(2)) == Accuracy((0,) * 10, (0,) * 10)

    def test_single_process_without_images_is_refused(self, net: nn.Module) -> None:
        none = TensorDataset(torch.zeros(0, 3, 32, 32), torch.zeros(0, dtype=torch.int64))

        with pytest.raises(ValueError, match="no "):
            distributed.evaluate(net, none)

    @pytest.mark.parametrize(("given", "size"), [({}, 100), ({"batch_size": 2}, 2)], ids=str)
    def test_batches_are_in_order_and_as_large_as_asked_for(
        self,
        net: nn.Module,
        images: TensorDataset,
        monkeypatch: pytest.MonkeyPatch,
        given: dict[str, int],
        size: int,
    ) -> None:
        asked: list[Any] = []
        make: Callable[..., Any] = data.loader

        def loader(own: TensorDataset, *arguments: Any, **options: Any) -> Any:
            asked.append((len(own), arguments, options))
            return make(own, *arguments, **options)

        monkeypatch.setattr(data, "loader", loader)

        assert distributed.evaluate(net, images, **given).correct == 4
        assert asked == [(7, (size,), {"shuffle": False})]
