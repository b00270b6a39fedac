"""torchrun itself: it restarts what failed, and joins machines."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from blitz.__main__ import main
from blitz.parallel.processes import GRACE
from blitz.training import checkpoint
from tests import ranks
from tests.conftest import SMALL, result_in
from tests.parallel.test_distributed import (
    assert_close,
    at_step,
    fail,
    parameters_in,
    small,
    whole,
)

ROOT = Path(__file__).parents[2]


ONCE = ("--epochs", "1")


def options(images: Path, out: Path) -> list[str]:
    return ["train", "--data", str(images), "--out", str(out), *SMALL, *ONCE]


def torchrun(node: int, modules: Path, *arguments: str) -> None:
    """One agent, as the command ``torchrun`` starts it; its processes import torch anew."""
    from torch.distributed import run

    (modules / "matplotlib.py").write_text("raise ImportError('none, for speed')")
    os.environ |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": f"{modules}{os.pathsep}{ROOT}"}
    run.main(arguments)


def forking_torchrun(
    rank: int, restarts: int, before: Callable[[], object], arguments: list[str]
) -> None:
    """The same agent with two processes that are its forks: they need not import torch."""
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=2,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        run_id=str(os.getpid()),
        max_restarts=restarts,
        start_method="fork",
    )
    try:
        elastic_launch(config, train_forked)(before, arguments)
    except ChildFailedError as error:
        print(error)
        raise SystemExit(1) from None


def train_forked(before: Callable[[], object], arguments: list[str]) -> None:
    small(grace=GRACE)
    before()
    raise SystemExit(main(arguments))


def fails_once() -> None:
    if os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
        at_step(8, 1, fail, int(os.environ["RANK"]))


@pytest.fixture(scope="module")
def alone(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return whole(images, tmp_path_factory.mktemp("alone"), 1, *ONCE)


def test_restarts_what_failed_from_its_checkpoint(
    images: Path, tmp_path: Path, alone: Path
) -> None:
    arguments = options(images, tmp_path / "out")

    (agent,) = ranks.run(forking_torchrun, 1, 1, fails_once, arguments)

    assert agent.code == 0, agent.output
    assert "going on after 6 of 10 batches" in agent.output
    assert_close(tmp_path / "out", alone)


def test_without_restarts_shows_the_error_first_and_as_the_cause(
    images: Path, tmp_path: Path
) -> None:
    arguments = options(images, tmp_path / "out")

    (agent,) = ranks.run(forking_torchrun, 1, 0, fails_once, arguments)

    assert agent.code == 1, agent
    words = [line for line in agent.output.splitlines() if "error" in line.lower()]
    assert words[0] == "error: rank 1 failed:", agent
    cause = agent.output.partition("Root Cause")[2]
    assert "rank      : 1 (local_rank: 1)" in cause
    assert "the disk of rank 1 is on fire" in cause
    assert len(checkpoint.load(tmp_path / "out" / "checkpoint.pt")["losses"]) == 6


def test_two_machines_that_meet_on_the_loopback(images: Path, tmp_path: Path, alone: Path) -> None:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    meeting = ["--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{port}", "--rdzv-id=blitz"]
    arguments = ["--nnodes=2", "--nproc-per-node=1", "--local-addr=127.0.0.1", *meeting]

    agents: list[ranks.Outcome] = ranks.run(
        torchrun,
        2,
        tmp_path,
        *arguments,
        "-m",
        "blitz",
        *options(images, tmp_path / "out"),
        limit=240,
    )

    assert [agent.code for agent in agents] == [0, 0], agents
    told = ["Accuracy of the network on the 12 test images" in agent.output for agent in agents]
    assert sorted(told) == [False, True]
    found = parameters_in(tmp_path / "out")
    for name, value in parameters_in(alone).items():
        torch.testing.assert_close(found[name], value)
    assert result_in(tmp_path / "out")["processes"] == 2
    assert result_in(tmp_path / "out")["correct"] == result_in(alone)["correct"]
