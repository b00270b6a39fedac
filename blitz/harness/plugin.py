"""The pytest plug-in of the specification: it reads the options and puts the parts together.

PYTEST_DONT_REWRITE: conftest.py imports parts of this package before pytest could.
"""

import atexit
import gc
import sys
import warnings
from functools import cache
from multiprocessing import forkserver, get_context
from pathlib import Path

import pytest
import torch

from blitz import data
from blitz.base.errors import BlitzError
from blitz.harness import (
    benchmarks,
    claim_check,
    isolation,
    judge,
    options,
    profile,
    selection,
    summary,
    xdist,
)
from blitz.harness.claim_filter import ClaimFilter
from blitz.harness.contents import load
from blitz.harness.context import CONTEXT, RunContext
from blitz.harness.outcomes import Results
from blitz.harness.profile import Profile, ProfilePlugin
from blitz.harness.report import options as report
from blitz.harness.run_end import RunEndPlugin


@pytest.hookimpl(trylast=True)  # after those of other plug-ins, with which a name is shared
def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    options.add(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Choose devices, read what was asked for, and register the parts."""
    # torch stays to the end, where pytest and Python look through it for garbage, 0.2 s each time.
    # What torchvision loads comes too late for this: triton's nanobind would report it as leaked.
    if "triton" not in sys.modules:
        gc.freeze()
    atexit.register(gc.disable)  # one time less: 0.7 s of 6.2 where nothing is run
    spec, worker = config.rootpath / "spec", xdist.is_worker(config)
    contents = cache(lambda: load(spec / "contents.toml"))
    try:
        asked = report.requested(config, spec)
        run = _context(config, contents)
        keys = config.getoption("--claim")
        claim = None if keys is None else ClaimFilter(contents(), keys.split(","))
    except BlitzError as error:
        raise pytest.UsageError(str(error)) from error
    config.stash[CONTEXT] = run
    parts: list[object] = [claim_check, RunEndPlugin(config, run, asked), run.results]
    parts += [isolation.LostContextPlugin(config, run.selection), judge, benchmarks]
    if run.profile is not None:
        parts.append(ProfilePlugin(run.profile, contents))
    if claim is not None:
        parts.append(claim)
    if isolation.supervise(config, run.selection) or (xdist.has_workers(config) and not worker):
        parts.append(isolation.SupervisorPlugin(config, run))
    for part in (*parts, xdist):
        config.pluginmanager.register(part)
    if worker:
        torch.set_num_threads(run.threads)
    if not config.getoption("benchmark_only"):  # those leave torch's default and record it
        _turn_tf32_off()


def _context(config: pytest.Config, contents: options.Table) -> RunContext:
    chosen = _selection(config)
    return RunContext(
        contents=contents,
        selection=chosen,
        named=config.getoption("--device") is not None,
        profile=_profile(config, contents),
        results=Results(),
        images=data.describe(config.getoption("--data")),
        threads=xdist.threads(config),
        judged=not (config.getoption("benchmark_only") or xdist.is_worker(config)),
    )


def _selection(config: pytest.Config) -> selection.Selection:
    names, modules = config.getoption("--device"), config.getoption("imports")
    if xdist.is_worker(config):
        selection.import_modules(modules)
        return xdist.selection(config)
    chosen = selection.select(names, modules, limit=config.getoption("--preflight-limit"))
    if config.getoption("--require-accelerator") and not chosen.of_kinds(["accelerator"]):
        why = chosen.missing or f"--device asks for {names} only"
        raise BlitzError(f"--require-accelerator: {why}")
    return chosen


def _profile(config: pytest.Config, contents: options.Table) -> Profile | None:
    path = config.getoption("--known-gaps")
    if path is None:
        return None
    keys = [claim.key for claim, _ in contents().claims()]
    return profile.load(path, keys)


def _turn_tf32_off() -> None:
    """Have float32 computed as float32."""
    with warnings.catch_warnings():
        # 2.9.0 calls these setters deprecated. After the new ones, fp32_precision, allow_tf32 can
        # no longer be read, in 2.15 either, and others read it.
        warnings.simplefilter("ignore")
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Show the machine."""
    run = config.stash[CONTEXT]
    return summary.header(run.selection, run.threads, run.images)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Collect benchmarks when asked for by --benchmark-only or by name, and then nothing else."""
    if not collection_path.name.startswith(("bench_", "test_")):
        return None
    of_the_kind = collection_path.name.startswith("bench_") == config.getoption("benchmark_only")
    named = [config.invocation_params.dir / arg.split("::")[0] for arg in config.args]
    return None if of_the_kind or collection_path in named else True


@pytest.hookimpl(tryfirst=True)  # before the other parameters
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that takes ``device`` on each device of the kinds that it is marked for."""
    if "device" not in metafunc.fixturenames:
        return
    mark = metafunc.definition.get_closest_marker("on")
    kinds = ("cpu", "accelerator") if mark is None else mark.args
    selected = metafunc.config.stash[CONTEXT].selection
    chosen = [pytest.param(s.device, id=s.place) for s in selected.of_kinds(kinds)]
    if not chosen:
        skip = pytest.mark.skip(reason=selected.lack(kinds))
        chosen = [pytest.param(kinds[0], marks=skip, id=kinds[0])]
        # One skipped test stands for all its cases, as pytest has it for an empty parameter set.
        markers = metafunc.definition.own_markers
        markers[:] = [mark for mark in markers if mark.name != "parametrize"]
    metafunc.parametrize("device", chosen, indirect=True, scope="session")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Begin to prepare the server that processes are forked from, while other tests run."""
    files = {item.module.__name__ for item in session.items if xdist.forks(item)}  # type: ignore[attr-defined]
    if files:
        # The first DistributedDataParallel imports torch._dynamo, which takes seconds. Looking for
        # garbage as often as Python does, each process would copy all memory that it shares.
        preload = ["torch._dynamo"]
        if Path.cwd() == session.config.rootpath:  # elsewhere, the server finds another spec first
            preload = ["blitz.harness.before_torch", *preload, *files]
        get_context("forkserver").set_forkserver_preload(preload)
        # Of several workers, one will need it.
        if not (xdist.is_worker(session.config) or session.config.option.collectonly):
            forkserver.ensure_running()
