"""Wiring: the options, the device and image fixtures, the table of contents and the summary."""

import gc
import os
import sys
from collections.abc import Callable, Iterator
from functools import cache
from multiprocessing import forkserver, get_context
from pathlib import Path
from typing import Any

import pytest

# OpenMP reads this when torch is loaded. Threads that spin while they wait for each other make a
# run on a busy machine take three times as long. Benchmarks keep torch's default.
if "--benchmark-only" not in sys.argv:
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from torch.utils.data import TensorDataset

from blitz import data
from blitz.base import backend
from blitz.base.errors import BlitzError
from blitz.harness import claims, contents, options, profile, selection, shared, xdist
from blitz.harness import summary as words
from blitz.harness import tolerances as table
from blitz.harness.benchmarks import BenchmarkSummary
from blitz.harness.collected import Collected
from blitz.harness.containment import Containment
from blitz.harness.ending import End
from blitz.harness.report import options as report
from blitz.harness.reports import Reports
from blitz.harness.results import Results
from blitz.harness.run import Run

SPEC = Path(__file__).parent / "spec"

run_key = pytest.StashKey[Run]()
containment_key = pytest.StashKey[Containment]()


@cache
def _contents() -> contents.Contents:
    return contents.load(SPEC / "contents.toml")


def pytest_addoption(parser: pytest.Parser) -> None:
    options.add(parser.getgroup("blitz", "the executable 60 Minute Blitz"))


def pytest_configure(config: pytest.Config) -> None:
    benchmarks, worker = config.getoption("benchmark_only"), xdist.is_worker(config)
    if benchmarks and xdist.workers(config) > 1:
        raise pytest.UsageError(
            "--benchmark-only does not go with -n: workers that share the machine would time each "
            "other. Run the benchmarks without -n."
        )
    try:
        asked = report.requested(config, SPEC, _contents)
        chosen = _selection(config)
        gaps = _profile(config, chosen)
        claim = claims.asked(config.getoption("--claim"), _contents)
        images = options.images(config.getoption("--data"))
    except BlitzError as error:
        raise pytest.UsageError(str(error)) from error
    threads = xdist.threads(config)
    collected = Collected(SPEC, _contents, chosen, gaps)
    results = Results(collected.locate)
    run = Run(
        contents=_contents,
        selection=chosen,
        named=config.getoption("--device") is not None,
        profile=gaps,
        results=results,
        images=images,
        made=config.getoption("--data") is None,
        threads=threads,
        report=asked,
        judged=not (benchmarks or worker),
    )
    result = None if config.getoption("collectonly") else config.getoption("--conformance")
    end = End(config, run, result)
    limit = 0 if config.getoption("usepdb") else config.getoption("--test-limit")
    contained = Containment(limit, end.hung)
    config.add_cleanup(contained.stop)
    config.stash[run_key], config.stash[containment_key] = run, contained
    plugins = (
        collected,
        xdist.Exchange(chosen, gaps),
        end,
        results,
        contained,
        Reports(chosen, gaps),
        gaps,
        BenchmarkSummary(config, chosen.missing),
        None if asked is None else asked.failures,
        claim,
    )
    for plugin in plugins:
        if plugin is not None:
            config.pluginmanager.register(plugin)
    if worker:
        torch.set_num_threads(threads)
    # torch and torchvision leave millions of objects behind; looking through them for cycles after
    # every few hundred new ones took a fifth of the run.
    gc.set_threshold(100_000, 50, 100)
    # Correctness is claimed in float32, not in TF32.
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


def _selection(config: pytest.Config) -> selection.Selection:
    names, modules = config.getoption("--device"), config.getoption("imports")
    if xdist.is_worker(config):
        selection.import_modules(modules)
        return xdist.selection(config)
    limit, several = config.getoption("--preflight-limit"), xdist.workers(config) > 1
    chosen = selection.select(names, modules, limit=limit, shared=several)
    if config.getoption("--require-accelerator"):
        selection.require_accelerator(chosen, names)
    return chosen


def _profile(config: pytest.Config, chosen: selection.Selection) -> profile.Applied | None:
    path = config.getoption("--profile")
    if path is None:
        return None
    keys = [claim.key for claim, _ in _contents().claims()]
    applied = profile.Applied(profile.load(path, keys), alone=not chosen.of_kinds(["accelerator"]))
    config.add_cleanup(applied.widen())
    return applied


def pytest_report_header(config: pytest.Config) -> list[str]:
    run = config.stash[run_key]
    lines = words.header(run.selection, run.threads, run.images)
    if config.getoption("--tolerances"):
        lines += table.lines(run.tolerances())
    return lines


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Benchmarks are collected when asked for: by --benchmark-only or by the file's name."""
    if not collection_path.name.startswith("bench_") or config.getoption("benchmark_only"):
        return None
    named = [config.invocation_params.dir / arg.split("::")[0] for arg in config.args]
    return collection_path not in named


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "device" not in metafunc.fixturenames:
        return
    mark = metafunc.definition.get_closest_marker("on")
    kinds = ("cpu", "accelerator") if mark is None else mark.args
    selected = metafunc.config.stash[run_key].selection
    chosen = [pytest.param(s.device, id=s.name) for s in selected.of_kinds(kinds)]
    if not chosen:
        skip = pytest.mark.skip(reason=selected.lack(kinds))
        chosen = [pytest.param(None, marks=skip, id=kinds[0])]
    metafunc.parametrize("device", chosen, indirect=True, scope="session")


@pytest.fixture(scope="session")
def device(request: pytest.FixtureRequest) -> torch.device | None:
    """The device a claim is checked on; the only way a test gets one."""
    made: torch.device | None = request.param
    return made


@pytest.fixture
def second(device: torch.device) -> torch.device:
    """The accelerator beside the one in use; the test is skipped on a machine that has one only."""
    count = torch.get_device_module(device).device_count()
    if count < 2:
        pytest.skip(f"needs two accelerators of one type, and this machine has {count}")
    return torch.device(device.type, (device.index + 1) % count)


@pytest.fixture(scope="session")
def train_images(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> data.Images:
    """The training images, as PIL images: no more than 8,000, as many of each class."""
    return _loaded(request.config, tmp_path_factory, "train", 8000)


@pytest.fixture(scope="session")
def test_images(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> data.Images:
    """The test images, as PIL images: no more than 1,000, as many of each class."""
    return _loaded(request.config, tmp_path_factory, "test", 1000)


def _loaded(
    config: pytest.Config, tmp_path_factory: pytest.TempPathFactory, split: str, count: int
) -> data.Images:
    def load() -> data.Images:
        return data.load(split, config.getoption("--data"), count=count)

    if not xdist.is_worker(config):
        return load()
    return shared.images(tmp_path_factory.getbasetemp().parent, split, load)


@pytest.fixture(scope="session")
def train_set(train_images: data.Images) -> TensorDataset:
    """The training images and their labels as tensors, normalized as the tutorial does."""
    return data.normalized(train_images)


@pytest.fixture(scope="session")
def test_set(test_images: data.Images) -> TensorDataset:
    """The test images and their labels as tensors, normalized as the tutorial does."""
    return data.normalized(test_images)


@pytest.fixture(scope="session")
def several() -> Callable[..., list[Any]]:
    """Call ``several(function, count, *arguments)``: in as many processes, with the rank first."""

    def run(function: Callable[..., Any], count: int, *arguments: Any, limit: float = 60) -> Any:
        with get_context("forkserver").Pool(count) as pool:
            calls = [(rank, *arguments) for rank in range(count)]
            return pool.starmap_async(function, calls, chunksize=1).get(limit)

    return run


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """For a chapter whose nets and batches are too small to share out among the cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _same_start(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every test starts from the same seed, and leaves the generators as they were."""
    stash = request.config.stash
    used = stash[containment_key].alive([s.device for s in stash[run_key].selection.devices])
    with backend.forked_generators(used):
        backend.seed(0, used)
        yield


def pytest_collection_finish(session: pytest.Session) -> None:
    if any("several" in getattr(item, "fixturenames", ()) for item in session.items):
        # The first DistributedDataParallel imports torch._dynamo, which takes seconds.
        get_context("forkserver").set_forkserver_preload(["torch._dynamo", "torchvision"])
        if not xdist.is_worker(session.config):  # of several workers, one will need it
            forkserver.ensure_running()  # meanwhile other tests run
