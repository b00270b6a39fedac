"""What is asked for with ``--report``: what is read before the run, and what is written after."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from blitz.base import files as atomic
from blitz.harness import contents, texts
from blitz.harness.outcomes import Results
from blitz.harness.report import failures, options, page, releases, speed
from blitz.harness.report.options import ReportError, Request
from blitz.harness.report.rows import Run
from blitz.harness.selection import META, Selection
from blitz.harness.texts import Message
from blitz.harness.verdict import ExitState
from tests import locales, small_house
from tests import report_pages as pages


@dataclass(frozen=True)
class Invocation:
    """Where pytest was called."""

    dir: Path


class Config:
    """As much of pytest's as the options need."""

    def __init__(self, folder: Path, **given: Any) -> None:
        self._given = {"--report": None, "--lang": None, "--report-benchmark": None} | given
        self.invocation_params = Invocation(folder)

    def getoption(self, name: str, *default: Any) -> Any:
        """What was given for an option; one that nobody knows has to have a default."""
        return self._given.get(name, *default) if default else self._given[name]


class WorkerConfig(Config):
    """That of a worker of xdist."""

    workerinput: dict[str, Any] = {}  # noqa: RUF012 - as xdist sets it


@pytest.fixture
def house(tmp_path: Path) -> Path:
    pages.furnish(tmp_path)
    (tmp_path / "spec" / "zh.toml").write_text('[claims]\nold_habit = "习惯"\n', encoding="utf-8")
    return tmp_path


def table(house: Path) -> Callable[[], contents.Contents]:
    return lambda: contents.load(house / "spec" / "contents.toml")


def requested(house: Path, config: type[Config] = Config, **given: Any) -> Request | None:
    """What is asked for with these options."""
    asked = {f"--{name.replace('_', '-')}": value for name, value in given.items()}
    asked |= {"collectonly": asked.pop("--collectonly")} if "--collectonly" in asked else {}
    return options.requested(config(house, **asked), house / "spec", table(house))


class TestRequested:
    def test_report_alone_is_in_english_and_holds_all_that_was_there(self, house: Path) -> None:
        found = requested(house, report=Path("page.html"))

        spec = house / "spec"
        assert found.path == house / "page.html"
        assert found.texts is texts.english()
        assert found.measured is None
        assert found.probes == releases.load(spec / "releases.json")
        assert [page.title for page in found.contents.pages] == ["Tensors", "Mistakes"]
        assert found.sources == {
            spec / "test_1.py": small_house.TESTS,
            spec / "details" / "test_joining.py": small_house.DETAILS,
            spec / "test_2.py": small_house.OWN_TESTS,
            spec / "bench_throughput.py": small_house.BENCHMARKS,
        }
        assert isinstance(found.failures, failures.Failures)

    def test_language_and_benchmarks_are_read(self, house: Path) -> None:
        (house / "two.json").write_bytes(pages.BENCHMARK.read_bytes())

        found = requested(
            house, report=Path("page.html"), lang="zh", report_benchmark=Path("two.json")
        )

        assert found.texts == texts.texts("zh", house / "spec")
        assert found.texts.said == {"claims": {"old_habit": "习惯"}}
        measured = speed.read(pages.BENCHMARK)
        assert found.measured == replace(measured, machine=replace(measured.machine, name="two"))

    def test_sources_are_read_in_utf8_whatever_the_locale(
        self, house: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = house / "spec" / "bench_throughput.py"
        text = f"# größer\n{small_house.BENCHMARKS}"
        file.write_text(text, encoding="utf-8")
        locales.speak_ascii(monkeypatch)

        assert requested(house, report=Path("page.html")).sources[file] == text

    def test_nothing_is_asked_for(self, house: Path) -> None:
        assert requested(house) is None
        assert requested(house, collectonly=True, report=Path("page.html")) is None
        assert requested(house, WorkerConfig, report=Path("page.html"), lang="xx") is None
        assert requested(house, collectonly=False, report=Path("page.html")) is not None

    @pytest.mark.parametrize(
        ("given", "said"),
        [
            (
                {"lang": "zh"},
                "--lang zh is for a report, and none is asked for. Add --report FILE.html, or "
                "leave --lang out.",
            ),
            (
                {"report_benchmark": Path("b.json")},
                "--report-benchmark b.json is for a report, and none is asked for. Add --report "
                "FILE.html, or leave --report-benchmark out.",
            ),
            (
                {"report": Path("spec")},
                "--report spec: is a folder. Name a file in an existing folder that you may "
                "write to.",
            ),
            (
                {"report": Path("none/page.html")},
                "--report none/page.html: the folder HERE/none is not there. Name a file in an "
                "existing folder that you may write to.",
            ),
        ],
        ids=["language alone", "benchmark alone", "a folder", "no folder"],
    )
    def test_what_cannot_be_is_refused(self, house: Path, given: dict[str, Any], said: str) -> None:
        with pytest.raises(ReportError) as refused:
            requested(house, **given)

        assert str(refused.value) == said.replace("HERE", str(house))

    def test_folder_that_cannot_be_written_to_is_refused(
        self, house: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tried = []

        def refuse(*_: Any, dir: Path) -> None:
            tried.append(dir)
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("tempfile.TemporaryFile", refuse)

        with pytest.raises(ReportError) as refused:
            requested(house, report=Path("page.html"))

        assert tried == [house]
        assert str(refused.value) == (
            f"--report page.html: the folder {house} cannot be written to. Name a file in an "
            "existing folder that you may write to."
        )

    def test_trying_a_folder_leaves_nothing_there(self, house: Path) -> None:
        before = sorted(house.rglob("*"))

        requested(house, report=Path("page.html"))

        assert sorted(house.rglob("*")) == before


class TestWritten:
    def write(self, request: Request, **other: Any) -> None:
        given: dict[str, Any] = {
            "selection": Selection((pages.CPU, META)),
            "results": Results(),
            "faults": [Message("fault.all_skipped")],
            "ending": ExitState(3),
            "images": "/images",
            "threads": 5,
        }
        request.write(**given | other)

    def test_page_is_of_the_run_in_the_language_that_was_asked_for(
        self, house: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (house / "two.json").write_bytes(pages.BENCHMARK.read_bytes())
        request = requested(
            house, report=Path("page.html"), lang="zh", report_benchmark=Path("two.json")
        )
        given: list[Any] = []

        def html(*values: Any) -> bytes:
            given.extend(values)
            return b"<p>a page</p>"

        monkeypatch.setattr(page, "html", html)
        results, chosen = Results(), Selection((META,))

        self.write(request, results=results, selection=chosen)

        run = Run(
            contents=request.contents,
            sources=request.sources,
            selection=chosen,
            results=results,
            failures=request.failures,
            faults=[Message("fault.all_skipped")],
            ending=ExitState(3),
            images="/images",
            threads=5,
            probes=request.probes,
        )
        assert given == [run, request.texts, request.measured]
        assert run.probes
        assert (house / "page.html").read_bytes() == b"<p>a page</p>"

    @pytest.mark.parametrize(
        ("error", "said"),
        [(OSError(28, "No space left on device"), "No space left on device"), (OSError("x"), "x")],
    )
    def test_page_that_cannot_be_written_says_what_to_do(
        self, house: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, said: str
    ) -> None:
        def refuse(*_: object) -> None:
            raise error

        monkeypatch.setattr(atomic, "write", refuse)
        request = requested(house, report=Path("page.html"))

        with pytest.raises(ReportError) as refused:
            self.write(request)

        assert str(refused.value) == (
            f"--report {house / 'page.html'}: cannot be written: {said}. Choose a file in a "
            "folder that has room and that you may write to."
        )


def test_options_are_files_and_a_language() -> None:
    parser = pytest.Parser(_ispytest=True)
    options.add_options(parser.getgroup("blitz").addoption)

    none = vars(parser.parse([]))
    given = vars(parser.parse(["--report=a.html", "--lang", "zh", "--report-benchmark", "b.json"]))

    names = ("report", "lang", "report_benchmark")
    assert [none[name] for name in names] == [None, None, None]
    assert [given[name] for name in names] == [Path("a.html"), "zh", Path("b.json")]
    shown = " ".join(parser.optparser.format_help().split())
    assert "--report=FILE.html write one page to look at to FILE.html: every claim" in shown
    assert "--lang=en|zh the language of the report: en (the default) or zh" in shown
    assert "--report-benchmark=FILE.json show in the report what pytest" in shown
