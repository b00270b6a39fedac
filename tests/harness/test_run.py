"""A run as its user sees it: header, summary, a broken claim's report, exit codes, options."""

import os
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from blitz import devices
from blitz.harness.context import ExitState, RunContext
from blitz.harness.outcomes import (
    BROKEN,
    CRASHED,
    HELD,
    HUNG,
    KNOWN,
    NOT_RUN,
    UNSUPPORTED,
    Outcome,
    Results,
)
from blitz.harness.selection import Selected, Selection
from blitz.harness.texts import Message
from tests import small_house

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[2]

TESTS, CONTENTS = small_house.TESTS, small_house.CONTENTS


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Run pytest in a small house of its own, with the real conftest.py and pytest.ini."""
    monkeypatch.setenv("COLUMNS", "200")  # no line is wrapped
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)  # the run in there is nobody's worker

    def run(*options: str, tests: str = TESTS, claims: str = CONTENTS) -> pytest.RunResult:
        spec = small_house.make_whole(pytester.path, tests)
        (spec / "contents.toml").write_text(claims)
        return pytester.runpytest_inprocess("spec", *options)

    return run


@pytest.fixture
def no_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "accelerator", lambda: None)


@pytest.mark.parametrize(
    ("options", "refusal"),
    [
        ("--device=gpu", "--device: device 'gpu'*"),
        ("--require-accelerator --device=cpu", "--require-accelerator: --device asks for cpu only"),
        ("--require-accelerator", "--require-accelerator: torch finds no accelerator*"),
        ("--import=torch_gpu_", "--import torch_gpu_: ModuleNotFoundError: No module named *"),
        ("--preflight-limit=-1", "*argument --preflight-limit: '-1': give *"),
        ("--test-limit=-1", "*argument --test-limit: '-1': give *"),
        ("--benchmark-only -n 2", "Can't have both --benchmark-only and *if xdist is on*"),
        ("--claim=x9,T1,t11", "--claim T11, X9: the contents have no such claim*"),
        ("--known-gaps=nowhere.toml", "profile nowhere.toml: *No such file*"),
        ("--data=nowhere", "*nowhere*"),
    ],
)
def test_option_that_cannot_be_followed_ends_the_run_with_a_sentence(
    run: Callable[..., Any], no_accelerator: None, options: str, refusal: str
) -> None:
    result = run(*options.split())

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*{refusal}"])


def test_result_that_cannot_be_written_fails_the_run(run: Callable[..., Any]) -> None:
    result = run("--device=cpu", "--conformance", "nowhere/a.json")

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["FAILED: nowhere/a.json: the result cannot be written there: *"])


def test_header_and_summary_name_the_machine_and_count_claims_on_each_device(
    run: Callable[..., Any], no_accelerator: None
) -> None:
    result = run()

    result.stdout.fnmatch_lines(
        [
            f"torch {torch.__version__}, torchvision *, NumPy *, Python 3.*",
            "devices: cpu, meta; torch finds no accelerator on this machine",
            "threads: *",
            "images: made on the spot*",
            "12 claims: 8 in the text followed, 1 only in the English original, *",
            "8 tested, 1 left to the benchmarks *, 1 slips in a listing, 2 no test can check",
            "  cpu: * 2 claims held, 0 broken, 0 not run (3 tests ran)",
            "  accelerator: 0 claims held, 0 broken, 1 not run (0 tests ran)",
            "  meta: * 2 claims held, 0 broken, 0 not run (2 tests ran)",
            "  no device: * 5 claims held, 0 broken, 0 not run (5 tests ran)",
            "  0 claims ran on an accelerator: torch finds no accelerator on this machine",
            "No longer true, or never true:",
            "  T3  changed in 2.0: the text says Habits are zeros. Now: Habits are None.",
            "  T4  slip in a listing: A quote & a brace are missing.",
        ]
    )
    assert result.ret == 0


def test_broken_claim_is_reported_with_key_sentence_and_address(run: Callable[..., Any]) -> None:
    result = run(tests=TESTS.replace("== 6", "== 7"))

    result.stdout.fnmatch_lines(
        [
            "*broken claim on cpu*",
            "T1: The sum of three twos is <b>six</b>.",
            "https://example.org/tensors.html#joining",
            "  cpu: * 1 claims held, 1 broken, 0 not run (3 tests ran)",
        ]
    )
    assert result.ret == 1


def test_claim_that_breaks_in_its_set_up_counts_as_broken(run: Callable[..., Any]) -> None:
    result = run(tests=TESTS.replace("(self, n, device)", "(self, n, no)"))

    result.stdout.fnmatch_lines(["  no device: * 5 claims held, 1 broken, *"])


@pytest.mark.parametrize("options", [("--claim", "T1"), ("-k", "sum_is_six"), ("--collect-only",)])
def test_misfit_is_named_whichever_tests_are_chosen(
    run: Callable[..., Any], options: tuple[str, ...]
) -> None:
    result = run(*options, claims=CONTENTS.replace("old_habit", "odd_habit"))

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [
            "ERROR: spec/contents.toml and the tests do not fit:",
            "*T3 names 'odd_habit', but there is no test_odd_habit",
            "*test_1.py: test_old_habit belongs to no claim in the contents",
        ]
    )


@pytest.mark.parametrize("options", [(), ("--claim", "T1")])
def test_slip_in_the_tests_is_named_with_the_file(
    run: Callable[..., Any], options: tuple[str, ...]
) -> None:
    result = run(*options, tests=TESTS + "\n  def slanted(self):")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: *test_1.py is no Python: unindent*(test_1.py, line *)"])


def test_run_in_which_every_claim_is_skipped_fails(
    run: Callable[..., Any], no_accelerator: Any
) -> None:
    only_accelerators = 'pytest.mark.on("accelerator")\n    def test_sum_is_six'
    tests = TESTS.replace("def test_sum_is_six", "@" + only_accelerators)

    result = run("-k", "sum_is_six", tests=tests)

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "  accelerator: 0 claims held, 0 broken, 1 not run (0 tests ran)",
            "*1 not run: needs accelerator: torch finds no accelerator on this machine",
            "FAILED: no claim was checked*",
        ]
    )


def test_device_option_restricts_the_run(run: Callable[..., Any]) -> None:
    result = run("--device", "meta")

    result.stdout.fnmatch_lines(
        [
            "devices: meta",
            "  cpu: * 0 claims held, 0 broken, 1 not run (0 tests ran)",
            "  *1 not run: needs cpu or accelerator: none of the devices asked for fits",
            "  meta: * 2 claims held, *",
        ]
    )
    assert result.ret == 0


def test_requested_device_on_which_nothing_ran_fails_the_run(run: Callable[..., Any]) -> None:
    result = run("--device", "cpu,meta", "-k", "sum_is_six")

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["FAILED: nothing ran on meta, which --device asks for"])


def test_every_test_starts_from_the_same_seed(run: Callable[..., Any]) -> None:
    tests = TESTS + (
        "\n    def test_seeded(self):"
        '\n        """The seed is 0."""'
        "\n        drawn = torch.rand(3).tolist()"
        "\n        again = torch.Generator().manual_seed(0)"
        "\n        assert drawn == torch.rand(3, generator=again).tolist()"
    )
    before = torch.get_rng_state()

    result = run(tests=tests, claims=CONTENTS.replace("T9 =", 'T11 = ["seeded"]\nT9 ='))

    assert result.ret == 0
    assert torch.equal(torch.get_rng_state(), before)


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_chapter_of_small_nets_has_one_thread_and_gives_the_other_back(
    run: Callable[..., Any], two_threads: None
) -> None:
    tests = "import pytest\npytestmark = pytest.mark.usefixtures('one_thread')\n" + TESTS.replace(
        "assert True", "assert torch.get_num_threads() == 1"
    )

    assert run(tests=tests).ret == 0
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize(
    ("options", "given", "policy"),
    [([], None, "PASSIVE"), ([], "ACTIVE", "ACTIVE"), (["--benchmark-only"], None, None)],
    ids=["tests", "given", "benchmarks"],
)
def test_threads_do_not_spin_while_they_wait_unless_they_are_timed(
    monkeypatch: pytest.MonkeyPatch, options: list[str], given: str | None, policy: str | None
) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", str(given))
    if given is None:
        monkeypatch.delenv("OMP_WAIT_POLICY")
    monkeypatch.setattr(sys, "argv", ["pytest", *options])

    runpy.run_path(str(ROOT / "blitz" / "harness" / "before_torch.py"))

    assert os.environ.get("OMP_WAIT_POLICY") == policy


def test_openmp_is_told_how_to_wait_before_torch_is_loaded() -> None:
    stop = (
        "import os, sys\n"
        "class Stop:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'torch':\n"
        "            sys.exit(os.environ.get('OMP_WAIT_POLICY'))\n"
        "sys.meta_path.insert(0, Stop())\n"
        "import conftest\n"
    )
    without = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}

    told = subprocess.run(
        [sys.executable, "-c", stop], env=without, cwd=ROOT, capture_output=True, text=True
    )

    assert told.stderr.strip() == "PASSIVE"


@pytest.mark.parametrize("option", ["--report", "--conformance"])
def test_run_that_is_refused_or_only_collects_leaves_the_file_of_an_earlier_one(
    run: Callable[..., Any], tmp_path: Path, option: str
) -> None:
    file = tmp_path / "file"
    file.write_text("earlier")

    refused = run("--device", "cpu", option, str(file), claims=CONTENTS + '\nM3 = ["nothing"]')
    collected = run("--device", "cpu", option, str(file), "--collect-only")

    assert (refused.ret, collected.ret) == (pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.OK)
    assert file.read_text() == "earlier"


@pytest.mark.parametrize(
    ("spelling", "slip"),
    [
        ("@pytest.mark.changed(", "@pytest.mark.chnaged(odd=1)\n    @pytest.mark.changed("),
        ("@pytest.mark.changed(", "@pytest.mark.xfail\n    @pytest.mark.changed("),
        ("assert True", "import warnings; warnings.warn('deprecated', stacklevel=1)"),
    ],
    ids=["unknown mark", "unexpected success", "warning"],
)
def test_slip_that_pytest_would_forgive_fails_the_run(
    run: Callable[..., Any], spelling: str, slip: str
) -> None:
    assert run("--device", "cpu", tests=TESTS.replace(spelling, slip)).ret != 0


@pytest.mark.parametrize(("count", "state"), [(1, "skipped"), (2, "passed")])
def test_second_accelerator_is_the_one_beside_the_first_where_there_are_two(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, count: int, state: str
) -> None:
    module = SimpleNamespace(device_count=lambda: count, is_available=lambda: False)
    monkeypatch.setattr(torch, "get_device_module", lambda device: module)
    device = "\n@pytest.fixture\ndef device():\n    return torch.device('cuda', 0)\n"
    tests = TESTS.replace("habit(self)", "habit(self, second)").replace(
        "assert True", "assert second == torch.device('cuda', 1)"
    )

    result = run("--device", "cpu", "-k", "habit", tests=tests + device)

    result.assert_outcomes(**{state: 1})


@pytest.mark.parametrize("names", [("cpu",), ("cpu", "meta")])
def test_tf32_is_off(run: Callable[..., Any], names: tuple[str, ...]) -> None:
    tests = TESTS.replace(
        "assert True",
        "assert not torch.backends.cuda.matmul.allow_tf32 and not torch.backends.cudnn.allow_tf32",
    )

    assert run("--device", ",".join(names), tests=tests).ret == 0


def test_what_is_frozen_for_the_run_is_not_reported_as_leaked_when_the_process_ends() -> None:
    """nanobind would do so where triton is frozen: forty lines below the verdict."""
    program = (
        "import gc, pytest\n"
        "pytest.main(['spec/test_4_classifier.py', '--collect-only', '-q'])\n"
        "assert gc.get_freeze_count() > 0\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert done.stderr == ""


def test_several_processes_find_spec_where_the_run_starts_beside_another_one(
    tmp_path: Path,
) -> None:
    (tmp_path / "spec").mkdir()
    file = ROOT / "spec" / "test_8_several_devices.py"
    command = [Path(sys.executable).with_name("pytest"), file, "-k", "weights_of_the_first"]

    assert subprocess.run(command, cwd=tmp_path, capture_output=True).returncode == 0


def test_benchmarks_stay_out_of_a_plain_run(run: Callable[..., Any], no_accelerator: None) -> None:
    run().stdout.no_fnmatch_line("*bench_throughput*")
    result = run("--benchmark-only", "--benchmark-max-time=0")

    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*how fast the 60 Minute Blitz is*")  # none says so
    assert result.ret == 0


class TestOneClaim:
    def test_its_tests_alone_are_run_and_what_is_known_of_it_is_told_last(
        self, run: Callable[..., Any], no_accelerator: None
    ) -> None:
        result = run("--claim", "t3")

        result.assert_outcomes(passed=1, deselected=10)
        told = [line.rstrip() for line in result.outlines]
        begin = next(i for i, line in enumerate(told) if line.strip("= ") == "T3")
        assert told[begin + 1 : begin + 5] == [
            "Joining <tensors>: https://example.org/tensors.html#joining",
            "spec/test_1.py:16  test_old_habit",
            "  changed, not true since 2.0: Habits are zeros.",
            "  true now: Habits are None.",
        ]

    def test_what_is_known_is_told_without_running_anything(self, run: Callable[..., Any]) -> None:
        result = run("--claim", "T1,T4", "--collect-only")

        assert result.ret == pytest.ExitCode.OK
        result.stdout.fnmatch_lines(
            [
                "=* T1 =*",
                "spec/test_1.py:6  test_sum_is_six",
                "  holds: The sum of three twos is <b>six</b>.",
                "=* T4 =*",
                "Joining <tensors>: *",
                "slip in a listing: A quote & a brace are missing.",
            ]
        )


class TestVerdict:
    """What a run comes to, from made-up outcomes."""

    def run(self, outcomes: list[tuple[str, str, str]], *selected: Selected) -> RunContext:
        results = Results()
        for number, (key, device, state) in enumerate(outcomes):
            node = f"test_{number}"
            results._outcomes[node] = Outcome(node, key, device, state)
        rest: Any = {"contents": None, "profile": None, "images": "", "threads": 1}
        return RunContext(
            selection=Selection(selected), results=results, named=True, judged=True, **rest
        )

    @pytest.mark.parametrize(
        ("outcomes", "idle"),
        [
            ([("T1", "xpu:1", HELD)], False),
            ([("T1", "xpu:0", HELD)], True),
            ([("T1", "cpu", HELD), ("T1", "xpu:1", NOT_RUN)], True),
        ],
    )
    def test_device_that_was_asked_for_has_to_be_at_work(
        self, outcomes: list[tuple[str, str, str]], idle: bool
    ) -> None:
        faults = self.run(outcomes, Selected("xpu:1")).faults()

        assert faults == [Message("fault.idle", {"device": "xpu:1"})] * idle

    @pytest.mark.parametrize(
        ("states", "ending", "faults", "key", "more"),
        [
            ([HELD, HELD], ExitState(), [], "held", {"claims": 1}),
            ([HELD, NOT_RUN], ExitState(), [], "held", {"claims": 1}),
            ([HELD, UNSUPPORTED], ExitState(), [], "gaps", {"claims": 1, "gaps": 1}),
            ([KNOWN], ExitState(), [], "gaps", {"claims": 1, "gaps": 1}),
            ([HELD], ExitState(code=3), [], "otherwise", {"claims": 1, "code": 3}),
            ([BROKEN, HELD], ExitState(code=1), ["f"], "broken", {"claims": 1, "broken": 1}),
            ([BROKEN], ExitState(2, True), ["f"], "broken_off", {"claims": 1, "broken": 1}),
            ([CRASHED], ExitState(1), [], "broken", {"claims": 1, "broken": 1}),
            ([HUNG], ExitState(1), [], "broken", {"claims": 1, "broken": 1}),
            ([], ExitState(5), [], "nothing", None),
            ([HELD], ExitState(), ["f", "g"], "fault", None),
        ],
    )
    def test_sentence(
        self,
        monkeypatch: pytest.MonkeyPatch,
        states: list[str],
        ending: ExitState,
        faults: Any,
        key: str,
        more: Any,
    ) -> None:
        monkeypatch.setattr(RunContext, "faults", lambda run: faults)
        run = self.run([("T1", "cpu", state) for state in states])
        counts = {"claims": 0, "broken": 0, "gaps": 0}
        values = counts | more if more is not None else ({"fault": "f"} if faults else {})

        assert run.sentence(ending) == Message(f"verdict.{key}", values)
