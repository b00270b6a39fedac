"""What one process of a group does, with a store and other processes that stand in."""

import json
import os
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed as dist

from blitz import devices
from blitz.base.errors import BlitzError, UnusableDevice
from blitz.parallel import joining, processes
from blitz.parallel.processes import EndedElsewhere, Group
from blitz.parallel.rank import Rank


@pytest.fixture(autouse=True)
def same_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test gives this process goes with it."""
    monkeypatch.setattr(os, "environ", os.environ.copy())
    for name in [name for name in os.environ if name.startswith("TORCHELASTIC")]:
        del os.environ[name]


def group_of(rank: int, count: int = 2, store: Any = None) -> Group:
    return Group(dist.HashStore() if store is None else store, Rank(rank, count), rank)


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

    def test_there_are_too_few_of(self, current: list[torch.device]) -> None:
        with pytest.raises(UnusableDevice, match="rank 2 is number 3 on this machine, which has 2"):
            group_of(2, 3).device("cuda")


class TestStart:
    """How a process finds the others, by what torchrun gave it."""

    @pytest.mark.parametrize(("given", "run"), [({}, ""), ({"TORCHELASTIC_RUN_ID": "x7"}, "x7")])
    def test_launch_is_named_by_run_machine_and_agent(
        self, given: dict[str, str], run: str
    ) -> None:
        os.environ |= given

        assert group_of(0).launch == f"{run} {socket.gethostname()} {os.getppid()}"

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
    @pytest.fixture
    def ended(self, monkeypatch: pytest.MonkeyPatch) -> list[float]:
        """Join as the second of two processes; the waits for the end by torchrun."""
        waits: list[float] = []
        os.environ["WORLD_SIZE"] = "2"
        store = dist.HashStore()
        monkeypatch.setattr(joining, "_join", lambda device, limit: group_of(1, 2, store))
        monkeypatch.setattr(joining.time, "sleep", waits.append)
        return waits

    @pytest.mark.parametrize(
        ("error", "said", "code", "waits"),
        [
            (BlitzError("no"), "error: rank 1: no\n", 2, []),
            (ValueError("no"), "error: rank 1 failed:\nTraceback", 1, []),
            (RuntimeError("out of memory"), "error: rank 1 failed:\nTraceback", 1, []),
            (EndedElsewhere(), "", 1, [processes.GRACE]),
        ],
        ids=["ours", "any", "any of torch", "elsewhere"],
    )
    def test_is_said_unless_another_has_said_it(
        self,
        ended: list[float],
        capsys: pytest.CaptureFixture[str],
        error: Exception,
        said: str,
        code: int,
        waits: list[float],
    ) -> None:
        with pytest.raises(SystemExit) as end, joining.joined("cpu"):
            raise error

        assert end.value.code == code
        assert capsys.readouterr().err.startswith(said)
        assert ended == waits

    @pytest.mark.parametrize(
        "error",
        [
            *(RuntimeError(f"a {words} b") for words in ("gloo", "by peer", "NCCL", "Broken pipe")),
            *(RuntimeError(f"a {words} b") for words in ("Timed out", "aborted")),
            dist.DistError("whatever"),
        ],
        ids=repr,
    )
    def test_of_another_process_shows_in_torchs_errors(
        self, ended: list[float], monkeypatch: pytest.MonkeyPatch, error: Exception
    ) -> None:
        lost: list[Exception] = []
        monkeypatch.setattr(Group, "absent", lambda group, error: lost.append(error))

        with pytest.raises(SystemExit), joining.joined("cpu"):
            raise error

        assert lost == [error]
        assert ended == [processes.GRACE]

    def test_is_left_where_torchrun_looks_for_it(self, ended: list[float], tmp_path: Path) -> None:
        os.environ["TORCHELASTIC_ERROR_FILE"] = str(tmp_path / "error.json")

        with pytest.raises(SystemExit), joining.joined("cpu"):
            raise ValueError("the disk is on fire")

        message = json.loads((tmp_path / "error.json").read_text(encoding="utf-8"))["message"]
        assert message["message"] == "ValueError: the disk is on fire"
