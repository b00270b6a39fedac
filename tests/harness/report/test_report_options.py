"""The options of the report, in runs of a small specification: what is refused, and written."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import small_house
from tests.report_pages import Node, cells, claim, read, run_in

needs_fork = pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="needs fork")


@needs_fork
class TestOption:
    @pytest.fixture
    def report(self, tmp_path: Path) -> Callable[..., Any]:
        """Run the small specification with --report; what it wrote, and how it ended."""

        def run(*options: str, **other: Any) -> tuple[Any, Node | None]:
            file = tmp_path / "page.html"
            done = run_in(tmp_path, f"--report={file}", *options, **other)
            return done, read(file.read_text(encoding="utf-8")) if file.exists() else None

        return run

    @pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["alone", "xdist"])
    def test_page_shows_what_came_of_the_run(
        self, report: Callable[..., Any], workers: tuple[str, ...]
    ) -> None:
        head = '"""Habits are None."""\n        assert '
        wrong = small_house.TESTS.replace(f"{head}True", f"{head}print('<b>printed</b>') or 2 < 1")

        done, page = report("--device=cpu,meta", *workers, tests=wrong)

        assert done.code == 1
        said = "Failed: 7 claims checked, 1 broken."
        assert f"{said} The report: " in done.output
        assert page.one("div", cls="verdict").one("p").text == said
        rows = [claim(page, key).one("details") for key in ("T2", "T3")]
        assert [cells(row)[:1] + cells(row)[-2:] for row in rows] == [["✓", "✓", ""], ["", "", "✗"]]
        text = rows[1].one("div", cls="failure").one("pre").raw
        assert "assert (None or 2 < 1)" in text
        assert "<b>printed</b>" in text
        assert page.one("dl", cls="machine").text.endswith("made on the spot, no file, no network")
        counts = next(page.one("table", cls="counts").one("tbody").all("tr"))
        assert [cell.text for cell in counts.all()] == ["cpu", "2", "0", "0", "0", "3"]

    def test_part_of_the_specification_leaves_the_rest_not_run(
        self, report: Callable[..., Any]
    ) -> None:
        done, page = report("--device=cpu,meta", "-k", "three", "--lang=zh")

        assert done.code == 0
        assert page.one("html").attributes["lang"] == "zh-Hans"
        shape, sign = claim(page, "T2").all("details")
        assert cells(shape) == ["✓", "✓"]
        for row in (sign, *(claim(page, key).one("details") for key in ("T3", "T7", "T8"))):
            assert cells(row) == ["–", "–"]

    @pytest.mark.parametrize(
        ("body", "options", "said"),
        [
            ("raise KeyboardInterrupt", (), "Broken off: 3 claims checked"),
            ("assert False", ("-x",), "Broken off: 4 claims checked"),
        ],
        ids=["Ctrl-C", "first failure"],
    )
    def test_run_that_is_broken_off_says_so(
        self, report: Callable[..., Any], body: str, options: tuple[str, ...], said: str
    ) -> None:
        tests = small_house.TESTS.replace(
            '"""Habits are None."""\n        assert True', f'"""Habits are None."""\n        {body}'
        )
        assert body in tests

        _, page = report("--device=cpu,meta", *options, tests=tests)

        assert page.one("div", cls="verdict").one("p").text.startswith(said)
        assert "Of the rest nothing is known." in page.one("div", cls="verdict").text
        assert cells(claim(page, "T8").one("details"))[-1] == "–"

    def test_code_is_shown_as_it_ran(self, report: Callable[..., Any], tmp_path: Path) -> None:
        edits = "open(__file__, 'w').write('gone = 1')"
        habit = '"""Habits are None."""'
        tests = small_house.TESTS.replace(habit, f"{habit}; {edits}")

        _, page = report("--device=cpu", tests=tests)

        assert (tmp_path / "spec" / "test_1.py").read_text() == "gone = 1"
        assert edits in claim(page, "T3").text

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ("--report=none/p.html", "--report none/p.html: name a file in an existing folder."),
            ("--report=spec", "--report spec: name a file in an existing folder."),
            ("--report=p.html --lang=xx", "argument --lang: invalid choice: 'xx' (choose from "),
            ("--lang=zh", "--lang zh is for a report, and none is asked for. Add --report FILE"),
            ("--report-benchmark=b.json", "--report-benchmark b.json is for a report, and none is"),
            ("--report=p.html --report-benchmark=b.json", "HERE/b.json: cannot be read: No such"),
            (
                "--report=p.html --report-benchmark=pytest.ini",
                "HERE/pytest.ini: not the results of the benchmarks (JSONDecodeError: ",
            ),
        ],
    )
    def test_what_cannot_be_is_refused_before_anything_runs(
        self, tmp_path: Path, options: str, said: str
    ) -> None:
        done = run_in(tmp_path, *options.split())

        assert done.code == pytest.ExitCode.USAGE_ERROR
        assert said.replace("HERE", str(tmp_path)) in done.output
        assert "collected" not in done.output
        assert not (tmp_path / "p.html").exists()

    def test_page_that_cannot_be_written_leaves_the_old_one_and_fails_the_run(
        self, report: Callable[..., Any], tmp_path: Path
    ) -> None:
        (tmp_path / "page.html").write_text("<p>before</p>")

        def prepare() -> None:
            def refuse(*_: object) -> None:
                raise OSError(28, "No space left on device")

            os.fsync = refuse

        done, page = report("--device=cpu", prepare=prepare)

        assert done.code == 1
        assert page.text == "before"
        assert "page.html: the report cannot be written there: No space left" in done.output
        assert "Traceback" not in done.output
