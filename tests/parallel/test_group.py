"""What one process of a group does, with a store and other processes that stand in."""

import os
from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.utils.data import TensorDataset

from blitz import devices
from blitz.base.errors import UnusableDevice
from blitz.parallel import joining, processes
from blitz.parallel.processes import Group
from blitz.parallel.shares import Rank


@pytest.fixture(autouse=True)
def same_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test gives this process goes with it."""
    monkeypatch.setattr(os, "environ", os.environ.copy())
    for name in [name for name in os.environ if name.startswith("TORCHELASTIC")]:
        del os.environ[name]


def group_of(rank: int, count: int = 2) -> Group:
    return Group(dist.HashStore(), Rank(rank, count), rank)


class TestDevice:
    @pytest.mark.parametrize("kind", ["cpu", "meta"])
    def test_without_number_is_for_all(self, kind: str) -> None:
        assert group_of(1).device(kind) == torch.device(kind)

    @pytest.fixture
    def current(self, monkeypatch: pytest.MonkeyPatch) -> list[torch.device]:
        """A machine with two GPUs; the device that was made the current one."""
        made: list[torch.device] = []
        module = SimpleNamespace(device_count=lambda: 2, set_device=made.append)
        monkeypatch.setattr(torch, "get_device_module", lambda device: module)
        monkeypatch.setattr(devices, "resolve", torch.device)
        return made

    def test_has_the_processs_number_on_its_machine_and_is_the_current_one(
        self, current: list[torch.device]
    ) -> None:
        assert group_of(1).device("cuda") == torch.device("cuda:1")
        assert current == [torch.device("cuda:1")]

    def test_of_one_alone_is_the_one_named(self, current: list[torch.device]) -> None:
        assert processes.ALONE.device("cuda:1") == torch.device("cuda:1")
        assert current == []

    def test_there_are_too_few_of(self, current: list[torch.device]) -> None:
        with pytest.raises(UnusableDevice, match="rank 2 is number 3 on this machine, which has 2"):
            group_of(2, 3).device("cuda")


@pytest.mark.parametrize("count", [3, 100, 250])
def test_right_answers_are_counted_in_batches_of_any_size(count: int) -> None:
    scores, labels = torch.eye(10)[torch.arange(count) % 3], torch.arange(count) % 2

    accuracy = processes.evaluate(nn.Identity(), TensorDataset(scores, labels))

    right = [sum(n % 2 == n % 3 == label for n in range(count)) for label in (0, 1)]
    assert accuracy.class_correct == (*right, *8 * (0,))
    assert accuracy.class_total == ((count + 1) // 2, count // 2, *8 * (0,))


class TestStart:
    """How a process finds the others, by what torchrun gave it."""

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

        assert joining._backend(asked) == backend


class TestEnd:
    @pytest.mark.parametrize(
        ("error", "of_another"),
        [
            *((RuntimeError(f"a {w} b"), True) for w in ("gloo", "by peer", "NCCL", "Broken pipe")),
            *((RuntimeError(f"a {words} b"), True) for words in ("Timed out", "aborted")),
            (dist.DistError("whatever"), True),
            (RuntimeError("out of memory"), False),
        ],
        ids=repr,
    )
    def test_of_another_process_shows_in_torchs_errors(
        self,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        error: Exception,
        of_another: bool,
    ) -> None:
        waits: list[float] = []
        os.environ["WORLD_SIZE"] = "2"
        monkeypatch.setattr(joining, "_join", lambda device, limit: group_of(1))
        monkeypatch.setattr(joining.time, "sleep", waits.append)
        monkeypatch.setattr(Group, "absent", lambda group: None)

        with pytest.raises(SystemExit, match="1"), joining.joined("cpu"):
            raise error

        assert waits == ([processes.GRACE] if of_another else [])
        said = capsys.readouterr().err
        assert said == "" if of_another else said.startswith("error: rank 1 failed:\nTraceback")
