"""Wiring: the options, the device and image fixtures, the table of contents and the summary."""

import gc
import importlib
import os
from pathlib import Path

import pytest
import torch

from blitz import data, devices
from blitz.harness import contents as contents_module
from blitz.harness import summary
from blitz.harness.results import NO_DEVICE, Results

SPEC = Path(__file__).parent / "spec"

contents_key = pytest.StashKey[contents_module.Contents]()
results_key = pytest.StashKey[Results]()
devices_key = pytest.StashKey[list[torch.device]]()
images_key = pytest.StashKey[str]()


def pytest_addoption(parser):
    group = parser.getgroup("blitz", "the executable 60 Minute Blitz")
    group.addoption(
        "--device",
        metavar="NAME[,NAME…]",
        help="run the claims on these devices only (cpu, meta, cuda, cuda:1, mps, …); "
        "default: cpu, meta and the accelerator, if there is one",
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
        "--data",
        type=Path,
        metavar="DIR",
        help="use the CIFAR-10 images in DIR (the official files, or train/<class>/ and "
        "test/<class>/ folders) instead of images made on the spot",
    )


def pytest_configure(config):
    if config.getoption("benchmark_only") and config.getoption("numprocesses", None):
        raise pytest.UsageError(
            "--benchmark-only does not go with -n: workers that share the machine would time each "
            "other. Run the benchmarks without -n."
        )
    config.stash[results_key] = Results()
    config.pluginmanager.register(config.stash[results_key], "blitz-results")
    _import(config.getoption("imports"))
    config.stash[devices_key] = _devices(config.getoption("--device"))
    config.stash[images_key] = _images(config.getoption("--data"))
    if hasattr(config, "workerinput"):  # xdist: share the cores out
        workers = int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
        torch.set_num_threads(max(1, torch.get_num_threads() // workers))
    # torch and torchvision leave millions of objects behind; looking through them for cycles after
    # every few hundred new ones took a fifth of the run.
    gc.set_threshold(100_000, 50, 100)
    # Correctness is claimed in float32, not in TF32.
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


def _import(modules: list[str]) -> None:
    for name in modules:
        try:
            importlib.import_module(name)
        except Exception as error:  # whatever a backend's own start may raise
            cause = f"{type(error).__name__}: {error}"
            raise pytest.UsageError(f"--import {name}: {cause}") from error


def _devices(names: str | None) -> list[torch.device]:
    if names is not None:
        try:
            return [devices.resolve(name.strip()) for name in names.split(",")]
        except devices.UnusableDevice as error:
            raise pytest.UsageError(f"--device: {error}") from error
    found = devices.accelerator()
    usable = found is not None and devices.why_unusable(found) is None
    return [torch.device("cpu"), *([found] if usable else []), torch.device("meta")]


def _images(source: Path | None) -> str:
    try:
        return data.describe(source)
    except data.DataError as error:
        raise pytest.UsageError(f"--data: {error}") from error


def _missing_accelerator(config) -> str | None:
    """Why no accelerator is among the devices; None where one is, or where none was asked for."""
    chosen = config.stash[devices_key]
    if config.getoption("--device") or any(_kind(device) == "accelerator" for device in chosen):
        return None
    found = devices.accelerator()
    if found is None:
        return "torch finds no accelerator on this machine"
    return f"{found} cannot be used: {devices.why_unusable(found)}"


def _kind(device: torch.device) -> str:
    return device.type if device.type in ("cpu", "meta") else "accelerator"


def pytest_report_header(config):
    missing = _missing_accelerator(config)
    return summary.header(config.stash[devices_key], missing, config.stash[images_key])


def pytest_ignore_collect(collection_path, config):
    """Benchmarks are collected when asked for: by --benchmark-only or by the file's name."""
    if not collection_path.name.startswith("bench_") or config.getoption("benchmark_only"):
        return None
    named = [config.invocation_params.dir / arg.split("::")[0] for arg in config.args]
    return collection_path not in named


def pytest_generate_tests(metafunc):
    if "device" not in metafunc.fixturenames:
        return
    mark = metafunc.definition.get_closest_marker("on")
    kinds = ("cpu", "accelerator") if mark is None else mark.args
    chosen = [device for device in metafunc.config.stash[devices_key] if _kind(device) in kinds]
    if not chosen:
        why = _missing_accelerator(metafunc.config) or "none of the devices asked for fits"
        reason = f"needs {' or '.join(kinds)}: {why}"
        chosen = [pytest.param(None, marks=pytest.mark.skip(reason=reason), id=kinds[0])]
    metafunc.parametrize("device", chosen, indirect=True, scope="session", ids=_device_id)


def _device_id(device):
    return None if device is None else str(device).removesuffix(":0")


@pytest.fixture(scope="session")
def device(request):
    """The device a claim is checked on; the only way a test gets one."""
    return request.param


@pytest.fixture(scope="session")
def train_images(request):
    """The training images, as PIL images: no more than 8,000, as many of each class."""
    return data.load("train", request.config.getoption("--data"), count=8000)


@pytest.fixture(scope="session")
def test_images(request):
    """The test images, as PIL images: no more than 2,000, as many of each class."""
    return data.load("test", request.config.getoption("--data"), count=2000)


@pytest.fixture(scope="session")
def train_set(train_images):
    """The training images and their labels as tensors, normalized as the tutorial does."""
    return data.normalized(train_images)


@pytest.fixture(scope="session")
def test_set(test_images):
    """The test images and their labels as tensors, normalized as the tutorial does."""
    return data.normalized(test_images)


@pytest.fixture(autouse=True)
def _same_start(request):
    """Every test starts from the same seed, and leaves the generators as they were."""
    with devices.forked_generators(request.config.stash[devices_key]):
        devices.seed(0, request.config.stash[devices_key])
        yield


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    in_spec = [item for item in items if item.path.parent == SPEC]
    if not in_spec:
        return
    contents = contents_module.load(SPEC / "contents.toml")
    misfits = contents.misfits({item.path for item in in_spec})
    if misfits:
        raise pytest.UsageError("spec/contents.toml and the tests do not fit:", *misfits)
    for item in in_spec:
        place = contents.place(item.path, item.originalname.removeprefix("test_"))
        if place is None:
            continue  # a benchmark that no claim names
        item.user_properties += [
            ("claim", place.claim.key),
            ("device", _device_of(item)),
            ("verdict", place.test.verdict.kind if place.test.verdict else "holds"),
            ("section", place.section.address),
            ("sentence", place.test.sentence),
        ]


def _device_of(item) -> str:
    params = getattr(item, "callspec", None) and item.callspec.params
    if not params or "device" not in params:
        return NO_DEVICE
    if params["device"] is not None:
        return str(params["device"])
    mark = item.get_closest_marker("on")
    return "cpu" if mark is None else mark.args[0]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    marks = dict(item.user_properties)
    if report.failed and "claim" in marks:
        claim = f"{marks['claim']}: {marks['sentence']}\n{marks['section']}"
        report.sections.insert(0, (f"broken claim on {marks['device']}", claim))


def pytest_terminal_summary(terminalreporter, config):
    results = config.stash[results_key]
    if not len(results):
        return
    contents = contents_module.load(SPEC / "contents.toml")
    terminalreporter.section("the 60 Minute Blitz on this machine")
    for line in summary.lines(contents, results, _missing_accelerator(config)):
        terminalreporter.write_line(line)
    for fault in _nothing_checked(config):
        terminalreporter.write_line(f"FAILED: {fault}", red=True, bold=True)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
    if session.exitstatus == pytest.ExitCode.OK and any(_nothing_checked(session.config)):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _nothing_checked(config) -> list[str]:
    """Why a run without failures must not count as a success; empty where it may."""
    results = config.stash[results_key]
    if not len(results) or config.getoption("benchmark_only") or hasattr(config, "workerinput"):
        return []
    if not results.ran():
        return ["no claim was checked: every test of the specification was skipped"]
    asked_for = config.stash[devices_key] if config.getoption("--device") else []
    idle = [str(device) for device in asked_for if not results.ran_on(str(device))]
    return [f"nothing ran on {name}, which --device asks for" for name in idle]
