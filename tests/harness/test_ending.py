"""How a run ends: what is shown and written, and with which exit code."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from blitz.base.errors import BlitzError
from blitz.harness import conformance, contents, ending, verdict
from blitz.harness.ending import End
from blitz.harness.report.texts import Message
from blitz.harness.results import BROKEN, HELD, Outcome, Results
from blitz.harness.run import Run
from blitz.harness.selection import META, Selected, Selection
from tests import small_house

OK, FAILED = pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED
SELECTION = Selection((Selected("cpu", "cpu"), META), missing="no driver")
TESTS = '''
class TestJoining:
    def test_sum(self, device):
        """Sums are sums."""
'''


class Report:
    """A report that keeps what it is given."""

    path = Path("/pages/a.html")

    def __init__(self, fault: str = "") -> None:
        self.given: list[Any] = []
        self.fault = fault

    def write(self, *given: Any) -> None:
        if self.fault:
            raise BlitzError(self.fault)
        self.given.append(given)


class Terminal:
    """A terminal that keeps its lines."""

    def __init__(self) -> None:
        self.lines: list[Any] = []

    def section(self, title: str) -> None:
        self.lines.append(f"== {title}")

    def write_line(self, line: str, **how: Any) -> None:
        self.lines.append((line, how) if how else line)


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Run]:
    """Make a run with one outcome, of which other things are as given."""
    monkeypatch.setenv("COLUMNS", "200")
    spec = small_house.make(tmp_path, small_house.PAGE + 'T1 = ["sum"]', TESTS)

    def make(state: str | None = HELD, **other: Any) -> Run:
        results = Results()
        if state is not None:
            results._outcomes["node"] = Outcome("node", "T1", "cpu", state)
        given: dict[str, Any] = {
            "contents": lambda: contents.load(spec / "contents.toml"),
            "selection": SELECTION,
            "named": False,
            "profile": None,
            "results": results,
            "images": "/images",
            "made": False,
            "threads": 3,
            "report": None,
            "judged": True,
        }
        return Run(**given | other)

    return make


def session(code: int = OK, **other: Any) -> Any:
    return SimpleNamespace(**{"exitstatus": code, "shouldstop": False, "shouldfail": False} | other)


def finished(
    run: Run, code: int = OK, *, result: Path | None = None, config: Any = None, **other: Any
) -> tuple[End, int]:
    """The end of ``run``, which pytest ended with ``code``, and the exit code then."""
    end, ended = End(config or SimpleNamespace(), run, result), session(code, **other)
    end.pytest_sessionfinish(ended)
    return end, ended.exitstatus


def shown(end: End) -> list[Any]:
    terminal = Terminal()
    end.pytest_terminal_summary(terminal)
    return terminal.lines


class TestExitCode:
    def test_run_without_a_fault_stays_as_it_is(self, made: Callable[..., Run]) -> None:
        assert finished(made())[1] == OK

    def test_device_that_was_named_and_did_nothing_fails_the_run(
        self, made: Callable[..., Run]
    ) -> None:
        assert finished(made(named=True))[1] == FAILED
        assert finished(made(named=True), 5)[1] == 5

    def test_line_of_the_profile_that_is_stale_fails_the_run(
        self, made: Callable[..., Run]
    ) -> None:
        stale = SimpleNamespace(stale=lambda results: [Message("fault.all_skipped")])

        assert finished(made(profile=stale))[1] == FAILED

    def test_benchmarks_are_not_judged(self, made: Callable[..., Run]) -> None:
        assert finished(made(named=True, judged=False))[1] == OK

    def test_worker_leaves_it_to_the_controller(self, made: Callable[..., Run]) -> None:
        report, config = Report(), SimpleNamespace(workerinput={})

        assert finished(made(named=True, report=report), config=config)[1] == OK
        assert report.given == []

    def test_file_that_cannot_be_written_fails_the_run(
        self, made: Callable[..., Run], tmp_path: Path
    ) -> None:
        assert finished(made(report=Report("disk full")))[1] == FAILED
        assert finished(made(), result=tmp_path / "no" / "a.json")[1] == FAILED
        assert finished(made(report=Report("disk full")), 2)[1] == 2


class TestFiles:
    def test_report_is_given_the_run_and_how_it_ended(self, made: Callable[..., Run]) -> None:
        run = made(named=True, report=Report())

        finished(run)

        ended = verdict.Ending(1, broken_off=False)
        idle = [Message("fault.idle", {"device": "meta"})]
        assert run.report.given == [(SELECTION, run.results, idle, ended, "/images", 3)]

    def test_images_that_are_made_need_no_name(self, made: Callable[..., Run]) -> None:
        run = made(made=True, report=Report())

        finished(run)

        assert run.report.given[0][4] is None

    @pytest.mark.parametrize(
        ("code", "other", "broken_off"),
        [
            (pytest.ExitCode.INTERRUPTED, {}, True),
            (pytest.ExitCode.INTERNAL_ERROR, {}, True),
            (FAILED, {"shouldstop": "at -x"}, True),
            (FAILED, {"shouldfail": "at --maxfail"}, True),
            (FAILED, {}, False),
        ],
    )
    def test_report_says_whether_the_run_was_broken_off(
        self, made: Callable[..., Run], code: int, other: dict[str, Any], broken_off: bool
    ) -> None:
        run = made(report=Report())

        finished(run, code, **other)

        assert run.report.given[0][3] == verdict.Ending(code, broken_off)

    def test_nothing_is_written_of_a_run_that_could_not_begin(
        self, made: Callable[..., Run], tmp_path: Path
    ) -> None:
        run = made(report=Report())

        finished(run, pytest.ExitCode.USAGE_ERROR, result=tmp_path / "a.json")

        assert run.report.given == []
        assert not (tmp_path / "a.json").exists()

    def test_result_is_the_whole_of_the_run(
        self, made: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        profile = SimpleNamespace(profile="its lines", stale=lambda results: [])
        run = made(named=True, profile=profile)
        monkeypatch.setattr(
            ending.verdict, "faults", lambda *given: [Message("fault.idle", {"device": "meta"})]
        )
        monkeypatch.setattr("blitz.harness.run.table", lambda *given: list(given[::2]))
        given: list[Any] = []
        monkeypatch.setattr(conformance, "document", lambda *values: given.extend(values))
        monkeypatch.setattr(conformance, "write", lambda *values: given.extend(values))

        finished(run, result=tmp_path / "a.json")

        table, *others = given
        assert [claim.key for claim, _ in table.claims()] == ["T1"]
        idle = str(Message("fault.idle", {"device": "meta"}))
        assert others == [
            *(SELECTION, run.results, [SELECTION, "its lines"], [idle], "/images", 3),
            *(tmp_path / "a.json", None),
        ]

    def test_result_of_a_run_that_was_broken_off_is_no_success(
        self, made: Callable[..., Run], tmp_path: Path
    ) -> None:
        file = tmp_path / "a.json"

        finished(made(), pytest.ExitCode.INTERRUPTED, result=file)
        broken_off = conformance.read(file)
        finished(made(), result=file)

        said = [fault.partition(":")[0] for fault in broken_off["faults"]]
        assert (broken_off["passed"], said) == (False, ["Broken off"])
        assert (conformance.read(file)["passed"], conformance.read(file)["faults"]) == (True, [])


class TestSummary:
    def test_shows_lines_faults_and_where_the_report_is(self, made: Callable[..., Run]) -> None:
        end, _ = finished(made(named=True, report=Report()))

        head, *lines, fault, last = shown(end)

        assert head == "== the 60 Minute Blitz on this machine"
        assert "  cpu:         1 claims held, 0 broken, 0 not run (1 tests ran)" in lines
        assert "  0 claims ran on an accelerator: no driver" in lines
        words = f"FAILED: {Message('fault.idle', {'device': 'meta'})}"
        assert fault == (words, {"red": True, "bold": True})
        assert last.endswith(" The report: /pages/a.html")

    def test_says_which_fault_it_fails_for(self, made: Callable[..., Run]) -> None:
        run = made(named=True, report=Report())
        fault = Message("verdict.fault", {"fault": Message("fault.idle", {"device": "meta"})})

        assert shown(finished(run)[0])[-1] == f"{fault} The report: /pages/a.html"

    def test_says_what_came_of_a_run_that_is_in_order(self, made: Callable[..., Run]) -> None:
        run = made(BROKEN, report=Report())
        said = verdict.sentence(run.results, [], verdict.Ending(0))

        assert shown(finished(run)[0])[-1] == f"{said} The report: /pages/a.html"

    def test_lines_are_as_wide_as_the_terminal(
        self, made: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("COLUMNS", "60")

        lines = shown(finished(made())[0])

        assert (
            "  cpu:         1 claims held, 0 broken, 0 not run (1 tests\n               ran)"
            in lines
        )

    def test_says_nothing_of_a_report_before_it_is_written(self, made: Callable[..., Run]) -> None:
        lines = shown(End(SimpleNamespace(), made(report=Report()), None))

        assert not any("The report" in str(line) for line in lines)

    def test_says_what_could_not_be_written_and_not_where_it_is(
        self, made: Callable[..., Run]
    ) -> None:
        lines = shown(finished(made(report=Report("disk full")))[0])

        assert lines[-1] == ("FAILED: disk full", {"red": True, "bold": True})
        assert not any("The report" in str(line) for line in lines)

    def test_run_without_claims_has_none(self, made: Callable[..., Run]) -> None:
        assert shown(finished(made(None, report=Report()))[0]) == []


def test_hang_is_written_down_as_one(
    made: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, config, given = made(report=Report()), SimpleNamespace(), []

    def end_run(theirs: Any, results: Any, write: Callable[[], None], *what: str) -> None:
        given.extend([theirs is config, results is run.results, *what])
        write()

    monkeypatch.setattr(ending, "end_run", end_run)

    End(config, run, None).hung("a test", "hung")

    assert given == [True, True, "a test", "hung"]
    assert run.report.given[0][3] == verdict.Ending(1, broken_off=True, hung="a test")
