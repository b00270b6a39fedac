"""Wiring: the options, the device and image fixtures, the table of contents and the summary."""

import gc
import os
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

# OpenMP reads this when torch is loaded. Threads that spin while they wait for each other make a
# run on a busy machine take three times as long. Benchmarks keep torch's default.
if "--benchmark-only" not in sys.argv:
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from torch.utils.data import TensorDataset

from blitz import data, devices, preflight
from blitz.errors import BlitzError
from blitz.harness import (
    claims,
    conformance,
    containment,
    contents,
    profile,
    properties,
    ranks,
    selection,
    shared,
    summary,
    tolerances,
    verdict,
)
from blitz.harness.benchmarks import BenchmarkSummary
from blitz.harness.ending import end_run
from blitz.harness.report import options as report
from blitz.harness.report.texts import Message
from blitz.harness.reports import Reports
from blitz.harness.results import NO_DEVICE, Results

SPEC = Path(__file__).parent / "spec"

results_key = pytest.StashKey[Results]()
selection_key = pytest.StashKey[selection.Selection]()
containment_key = pytest.StashKey[containment.Containment]()
profile_key = pytest.StashKey[profile.Applied | None]()
images_key = pytest.StashKey[str]()
report_key = pytest.StashKey[report.Request | None]()
ending_key = pytest.StashKey[verdict.Ending]()
unwritten_key = pytest.StashKey[str]()
ranks_key = pytest.StashKey[ranks.Ranks]()


@cache
def _contents() -> contents.Contents:
    return contents.load(SPEC / "contents.toml")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("blitz", "the executable 60 Minute Blitz")
    group.addoption(
        "--device",
        metavar="NAME[,NAME…]",
        help="run the claims on these devices only (cpu, meta, cuda, cuda:1, mps, …); "
        "default: cpu, meta and every accelerator there is",
    )
    group.addoption(
        "--import",
        action="append",
        default=[],
        dest="imports",
        metavar="MODULE",
        help="import MODULE first, for a backend that torch does not load by itself (torch_npu, "
        "…); may be given several times",
    )
    group.addoption(
        "--require-accelerator",
        action="store_true",
        help="fail where there is no accelerator that can be used",
    )
    group.addoption(
        "--preflight-limit",
        type=float,
        default=preflight.LIMIT,
        metavar="SECONDS",
        help="take a device for hung whose first trial takes longer (default: %(default)g)",
    )
    group.addoption(
        "--test-limit",
        type=float,
        default=containment.LIMIT,
        metavar="SECONDS",
        help="end and name a test that takes longer; 0 for no limit (default: %(default)g)",
    )
    group.addoption(
        "--profile",
        type=Path,
        metavar="FILE.toml",
        help="the known gaps of a backend by claim key: skip, xfail or a tolerance, with a reason",
    )
    group.addoption(
        "--tolerances", action="store_true", help="show the tolerances in force on each device"
    )
    group.addoption(
        "--conformance",
        type=Path,
        metavar="FILE.json",
        help="write the whole result to FILE.json (docs/conformance.md), for python -m blitz "
        "compare",
    )
    group.addoption(
        "--data",
        type=Path,
        metavar="DIR",
        help="use the CIFAR-10 images in DIR (the official files, or train/<class>/ and "
        "test/<class>/ folders) instead of images made on the spot",
    )
    group.addoption(
        "--claim",
        metavar="KEY[,KEY…]",
        help="run the tests of these claims only (N34), and tell where each is tested, what the "
        "text says, what is true and since when; with --collect-only, tell it at once",
    )
    report.add_options(group)


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("benchmark_only") and _workers(config) > 1:
        raise pytest.UsageError(
            "--benchmark-only does not go with -n: workers that share the machine would time each "
            "other. Run the benchmarks without -n."
        )
    try:
        config.stash[report_key] = asked = report.requested(config, SPEC, _contents)
        config.stash[selection_key] = chosen = _selection(config)
        config.stash[profile_key] = applied = _profile(config, chosen)
        claim = claims.asked(config.getoption("--claim"), _contents)
    except BlitzError as error:
        raise pytest.UsageError(str(error)) from error
    config.stash[images_key] = _images(config.getoption("--data"))
    config.stash[results_key] = results = Results(lambda node: _locate(config, node))
    config.stash[containment_key] = contained = containment.Containment(
        0 if config.getoption("usepdb") else config.getoption("--test-limit"),
        lambda node, fault: end_run(
            config, results, lambda: _write_at_hang(config, node), node, fault
        ),
    )
    config.add_cleanup(contained.stop)
    timings = BenchmarkSummary(config, chosen.missing)
    failures = None if asked is None else asked.failures
    for plugin in (results, contained, Reports(chosen, applied), applied, timings, failures, claim):
        if plugin is not None:
            config.pluginmanager.register(plugin)
    if hasattr(config, "workerinput"):
        torch.set_num_threads(_threads(config))
    # torch and torchvision leave millions of objects behind; looking through them for cycles after
    # every few hundred new ones took a fifth of the run.
    gc.set_threshold(100_000, 50, 100)
    # Correctness is claimed in float32, not in TF32.
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


def _selection(config: pytest.Config) -> selection.Selection:
    """The devices of the run; a worker of xdist has what the controller found usable."""
    names, modules = config.getoption("--device"), config.getoption("imports")
    if hasattr(config, "workerinput"):
        selection.import_modules(modules)
        worker = int(config.workerinput["workerid"].removeprefix("gw"))
        return selection.Selection.unpacked(config.workerinput["blitz"]).for_worker(worker)
    limit, shared = config.getoption("--preflight-limit"), _workers(config) > 1
    chosen = selection.select(names, modules, limit=limit, shared=shared)
    if config.getoption("--require-accelerator") and not chosen.of_kinds(["accelerator"]):
        why = chosen.missing or f"--device asks for {names} only"
        raise pytest.UsageError(f"--require-accelerator: {why}")
    return chosen


def _profile(config: pytest.Config, chosen: selection.Selection) -> profile.Applied | None:
    path = config.getoption("--profile")
    if path is None:
        return None
    keys = [claim.key for claim, _ in _contents().claims()]
    applied = profile.Applied(profile.load(path, keys), alone=not chosen.of_kinds(["accelerator"]))
    config.add_cleanup(applied.widen())
    return applied


def _images(source: Path | None) -> str:
    try:
        return data.describe(source)
    except data.DataError as error:
        raise pytest.UsageError(f"--data: {error}") from error


def _workers(config: pytest.Config) -> int:
    if hasattr(config, "workerinput"):
        return int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    return config.getoption("numprocesses", None) or len(config.getoption("tx", None) or [1])


def _threads(config: pytest.Config) -> int:
    """The threads of each process: under xdist the cores are shared out."""
    return max(1, torch.get_num_threads() // _workers(config))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """xdist: tell a worker which devices there are, which were tried once for all."""
    node.workerinput["blitz"] = node.config.stash[selection_key].packed()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """xdist: hear from a worker what it collected."""
    applied = node.config.stash[profile_key]
    if applied is not None:
        applied.whole |= set(getattr(node, "workeroutput", {}).get("blitz", ()))


def pytest_report_header(config: pytest.Config) -> list[str]:
    return summary.header(
        config.stash[selection_key], _threads(config), config.stash[images_key]
    ) + (list(tolerances.lines(_tolerances(config))) if config.getoption("--tolerances") else [])


def _tolerances(config: pytest.Config) -> list[tolerances.Row]:
    applied = config.stash[profile_key]
    return tolerances.table(
        config.stash[selection_key],
        _contents(),
        None if applied is None else applied.profile,
    )


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
    selected = metafunc.config.stash[selection_key]
    chosen = [pytest.param(s.device, id=s.name) for s in selected.of_kinds(kinds)]
    if not chosen:
        why = selected.missing or "none of the devices asked for fits"
        reason = f"needs {' or '.join(kinds)}: {why}"
        chosen = [pytest.param(None, marks=pytest.mark.skip(reason=reason), id=kinds[0])]
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
    return torch.device(device.type, 1)


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

    if not hasattr(config, "workerinput"):
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
def several(request: pytest.FixtureRequest) -> ranks.Ranks:
    """Runs a function in several processes at once."""
    return request.config.stash[ranks_key]


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
    used = stash[containment_key].alive([s.device for s in stash[selection_key].devices])
    with devices.forked_generators(used):
        devices.seed(0, used)
        yield


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Function]) -> None:
    in_spec = [item for item in items if item.path.parent == SPEC]
    if not in_spec:
        return
    table = _contents()
    misfits = table.misfits({item.path for item in in_spec})
    if misfits:
        raise pytest.UsageError("spec/contents.toml and the tests do not fit:", *misfits)
    for item in in_spec:
        place = table.place(item.path, item.originalname.removeprefix("test_"))
        if place is not None:  # else a benchmark that no claim names
            properties.of_claim(item, place, _device_of(item))
    applied = config.stash[profile_key]
    if applied is not None:
        applied.apply(in_spec)


def _device_of(item: pytest.Function) -> str:
    params = getattr(item, "callspec", None) and item.callspec.params
    if not params or "device" not in params:
        return NO_DEVICE
    if params["device"] is not None:
        return str(params["device"])
    mark = item.get_closest_marker("on")
    return "cpu" if mark is None else mark.args[0]


def _locate(config: pytest.Config, node: str) -> tuple[str, str] | None:
    """The key and the device of a test by its id alone."""
    file, _, function = node.partition("::")
    name, _, params = function.rpartition("::")[2].partition("[")
    table = _contents()
    place = table.place(config.rootpath / file, name.removeprefix("test_"))
    words = params.rstrip("]").split("-")
    used = [s.place for s in config.stash[selection_key].devices if s.name in words]
    return None if place is None else (place.claim.key, used[0] if used else NO_DEVICE)


def pytest_collection_finish(session: pytest.Session) -> None:
    if any("several" in getattr(item, "fixturenames", ()) for item in session.items):
        session.config.stash[ranks_key] = ranks.Ranks()  # while torch has computed nothing
        session.config.add_cleanup(session.config.stash[ranks_key].close)
    applied = session.config.stash[profile_key]
    if applied is not None:
        applied.collected(session.items, _contents())


def pytest_terminal_summary(
    terminalreporter: "pytest.TerminalReporter", config: pytest.Config
) -> None:
    results = config.stash[results_key]
    if not len(results):
        return
    table = _contents()
    terminalreporter.section("the 60 Minute Blitz on this machine")
    for line in summary.lines(table, results, config.stash[selection_key].missing):
        terminalreporter.write_line(line)
    faults = _faults(config)
    for fault in faults:
        terminalreporter.write_line(f"FAILED: {fault}", red=True, bold=True)
    asked = config.stash[report_key]
    if asked is not None and ending_key in config.stash and unwritten_key not in config.stash:
        said = verdict.sentence(results, faults, config.stash[ending_key])
        terminalreporter.write_line(f"{said} The report: {asked.path}")
    if unwritten_key in config.stash:
        terminalreporter.write_line(f"FAILED: {config.stash[unwritten_key]}", red=True, bold=True)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    config = session.config
    if hasattr(config, "workeroutput"):
        applied = config.stash[profile_key]
        config.workeroutput["blitz"] = [] if applied is None else sorted(applied.whole)
        return
    if session.exitstatus == pytest.ExitCode.OK and _faults(config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    if session.exitstatus != pytest.ExitCode.USAGE_ERROR:
        _write_result(config)
        _write_report(config, verdict.Ending(int(session.exitstatus), _broken_off(session)))
    if session.exitstatus == pytest.ExitCode.OK and unwritten_key in config.stash:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _broken_off(session: pytest.Session) -> bool:
    ended_badly = (pytest.ExitCode.INTERRUPTED, pytest.ExitCode.INTERNAL_ERROR)
    return session.exitstatus in ended_badly or bool(session.shouldstop or session.shouldfail)


def _faults(config: pytest.Config) -> list[Message]:
    """Why a run without failures must not count as a success; empty where it may."""
    if config.getoption("benchmark_only") or hasattr(config, "workerinput"):
        return []
    stash, named = config.stash, config.getoption("--device") is not None
    return verdict.faults(stash[results_key], stash[selection_key], named, stash[profile_key])


def _write_result(config: pytest.Config) -> None:
    path, stash = config.getoption("--conformance"), config.stash
    if path is None or config.getoption("collectonly"):
        return
    result = conformance.document(
        _contents(),
        stash[selection_key],
        stash[results_key],
        _tolerances(config),
        [str(fault) for fault in _faults(config)],
        stash[images_key],
        _threads(config),
    )
    conformance.write(path, result)


def _write_report(config: pytest.Config, ending: verdict.Ending) -> None:
    asked, stash = config.stash[report_key], config.stash
    if asked is None:
        return
    stash[ending_key] = ending
    images = None if config.getoption("--data") is None else stash[images_key]
    faults, threads = _faults(config), _threads(config)
    try:
        asked.write(stash[selection_key], stash[results_key], faults, ending, images, threads)
    except BlitzError as error:
        stash[unwritten_key] = str(error)


def _write_at_hang(config: pytest.Config, node: str) -> None:
    _write_result(config)
    _write_report(config, verdict.Ending(1, broken_off=True, hung=node))
