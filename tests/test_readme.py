"""What README.md says is so: its commands, options, links, counts and figures."""

import argparse
import doctest
import json
import re
import runpy
import shlex
import sys
import tomllib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from blitz import __main__ as command_line
from blitz import data
from blitz.harness import contents, outcomes, summary
from blitz.harness.outcomes import NO_DEVICE, Results
from blitz.training import folder as run_folder
from tests import forked, small_images

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
WORDS = " ".join(README.split())
"""All of it in one line, so that a sentence is found wherever its lines end."""

HEADS = ("uv", "pip", "pytest", "python", "python3", "torchrun", "mypy", "ruff", ".ci/run")
"""What a code span begins with if it is a command."""

STAND_INS = {"URL": "https://example.org/", "FILE…": "FILE"}


def fenced(language: str) -> Iterator[str]:
    """The blocks of code in ``language``."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.M | re.S)
    yield from (code for its, code in blocks if its == language)


def commands() -> list[str]:
    """Every command of the README, in the order of their first appearance."""
    lines = [
        line.removeprefix("$ ").partition("  #")[0].strip()
        for block in fenced("console")
        for line in block.splitlines()
        if line.startswith("$ ")
    ]
    prose = re.sub(r"^```.*?^```", "", README, flags=re.M | re.S)
    spans = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose)]
    return list(dict.fromkeys([*lines, *(s for s in spans if s.split()[0] in HEADS)]))


def options_alone() -> list[str]:
    """Code spans that are options without a command: ``--feed resident --exact``."""
    return list(dict.fromkeys(re.findall(r"`(--[^`]+)`", README)))


class Parsed(Exception):
    """A command's arguments were taken by its own parser; it goes no further."""


@pytest.fixture
def parse_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every argparse parser ends the program when it has taken the arguments."""
    take = argparse.ArgumentParser.parse_args

    def parse_args(self: argparse.ArgumentParser, args: Any = None, namespace: Any = None) -> None:
        take(self, args, namespace)
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_args)


@pytest.fixture
def check(
    parse_only: None,
    pytestconfig: pytest.Config,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> Callable[[str], None]:
    """Give a command's words to the parser that would get them; fail on what it does not know."""
    monkeypatch.chdir(tmp_path)  # a parser may open the files it is given

    def run_script(path: Path, arguments: list[str]) -> None:
        assert path.exists(), f"there is no {path.relative_to(ROOT)}"
        monkeypatch.setattr(sys, "argv", [str(path), *arguments])
        monkeypatch.syspath_prepend(path if path.is_dir() else path.parent)
        with pytest.raises((Parsed, SystemExit)) as ended:
            runpy.run_path(str(path), run_name="__main__")
        assert ended.type is Parsed, capsys.readouterr().err

    def run_pytest(arguments: list[str]) -> None:
        try:
            taken = pytestconfig._parser.parse(arguments)
        except pytest.UsageError as error:
            pytest.fail(str(error))
        for value in vars(taken).values():
            if hasattr(value, "close"):
                value.close()
        for place in taken.file_or_dir:
            assert (ROOT / place.partition("::")[0]).exists(), f"there is no {place}"
        for key in (taken.claim or "").split(","):
            assert not key or key in {claim.key for claim, _ in claims().claims()}

    def run_blitz(arguments: list[str]) -> None:
        with pytest.raises((Parsed, SystemExit)) as ended:
            command_line.main(arguments)
        assert ended.type is Parsed, capsys.readouterr().err

    def check(command: str) -> None:
        words = [STAND_INS.get(word, word) for word in shlex.split(command)]
        match words:
            case ["uv", "run", *rest] if rest:
                check(shlex.join(rest))
            case ["pip", "install", "-e", "."] | ["uv", "run"] | [".ci/run"] | ["mypy"]:
                assert (ROOT / words[0]).exists() or words[0] in ("pip", "uv", "mypy")
            case ["pip", "install", "-e", place]:
                extra = place.removeprefix(".[").removesuffix("]")
                assert extra in project()["optional-dependencies"]
            case ["ruff", "check" | "format", *rest]:
                assert rest in ([], ["--check"])
            case ["pytest", *rest] | ["python" | "python3", "-m", "pytest", *rest]:
                run_pytest(rest)
            case ["python", "-m", "blitz", *rest]:
                run_blitz(rest)
            case ["python", "-m", "tests.lies", *rest]:
                run_script(ROOT / "tests" / "lies", rest)
            case ["python", script, *rest] if not script.startswith("-"):
                run_script(ROOT / script, rest)
            case ["torchrun", *rest]:
                from torch.distributed.run import get_args_parser

                begin = rest.index("-m")
                with pytest.raises((Parsed, SystemExit)) as ended:
                    get_args_parser().parse_args(rest)
                assert ended.type is Parsed, capsys.readouterr().err
                check(shlex.join(["python", *rest[begin:]]))
            case _:
                pytest.fail(f"no test knows how to check {command!r}")

    return check


@cache
def claims() -> contents.Contents:
    return contents.load(ROOT / "spec" / "contents.toml")


@cache
def project() -> dict[str, Any]:
    parsed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return dict(parsed["project"])


class TestCommands:
    def test_they_are_found(self) -> None:
        assert "uv run pytest spec" in commands()
        assert "python -m blitz train --data DIR --out run" in commands()
        assert "pytest spec --device cpu,cuda" in commands()
        assert len(commands()) > 40

    @pytest.mark.parametrize("command", commands())
    def test_command_is_taken_by_its_own_parser(
        self, command: str, check: Callable[[str], None]
    ) -> None:
        check(command)

    @pytest.mark.parametrize(
        "command",
        [
            "pytest spec --devise cpu",
            "pytest spec/test_9_nothing.py",
            "pytest spec --claim N99",
            "python -m blitz train --epoch-count 3",
            "python -m blitz dance",
            "python tests/nothing.py",
            "pip install -e .[movies]",
            "uv run dance",
        ],
    )
    def test_command_that_is_none_is_noticed(
        self, command: str, check: Callable[[str], None]
    ) -> None:
        with pytest.raises((AssertionError, pytest.fail.Exception)):
            check(command)

    @pytest.mark.parametrize("words", options_alone())
    def test_option_belongs_to_a_command(self, words: str, pytestconfig: pytest.Config) -> None:
        known = {"--help"} | {
            o for g in pytestconfig._parser._groups for x in g.options for o in x.names()
        }
        known |= set(_options_of_blitz())

        assert {word.partition("=")[0] for word in words.split() if word[:2] == "--"} <= known

    def test_trainings_run_one_after_the_other(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """As they stand in the README, with few images and short."""
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(data, "MADE", {"train": 20, "test": 10})
        small_images.make(tmp_path / "DIR")
        Image.new("RGB", (32, 32)).save(tmp_path / "photo.jpg")
        short = {"train": ["--epochs", "1"]}
        [block] = [b for b in fenced("console") if "$ python -m blitz train" in b]

        for line in block.splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            assert words[:3] == ["python", "-m", "blitz"]
            code = command_line.main([*words[3:], "--device", "cpu", *short.get(words[3], [])])
            assert code == 0, line

        assert (tmp_path / "run" / "result.json").exists()

    def test_python_shows_what_it_is_said_to_show(self) -> None:
        [block] = fenced("python")
        test = doctest.DocTestParser().get_doctest(block, {}, "README", "README.md", 0)

        assert doctest.DocTestRunner(verbose=False).run(test).failed == 0
        assert len(test.examples) > 3


def _options_of_blitz() -> Iterator[str]:
    for action in command_line.parser()._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from command._option_string_actions


class TestLinks:
    LINKS = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", README)

    def test_they_are_found(self) -> None:
        assert {"docs/made_images.png", "spec/contents.toml"} <= set(self.LINKS)

    @pytest.mark.parametrize("target", dict.fromkeys(LINKS))
    def test_target_exists(self, target: str) -> None:
        if not target.startswith("https://"):
            assert (ROOT / target).exists()

    def test_every_file_of_the_specification_is_listed(self) -> None:
        files = {file.relative_to(ROOT).as_posix() for file in (ROOT / "spec").glob("*_*.py")}

        assert files <= set(self.LINKS)


class Items:
    """A pytest plugin that keeps the claim and the device of each test that was collected."""

    def __init__(self) -> None:
        self.found: list[tuple[str, str, bool]] = []

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        for item in session.items:
            marks = dict(item.user_properties)
            skipped = item.get_closest_marker("skip") is not None
            place = "accelerator" if skipped else str(marks[outcomes.DEVICE])
            self.found.append((str(marks[outcomes.KEY]), place, skipped))


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, str, bool]]:
    """Key and device of each test of the specification, and whether it has to be skipped."""
    file = tmp_path_factory.mktemp("readme") / "items.json"

    def collect() -> int:
        items = Items()
        options = ["--collect-only", "-q", "--device=cpu,meta", "-p", "no:cacheprovider"]
        code = pytest.main([str(ROOT / "spec"), f"--rootdir={ROOT}", *options], [items])
        file.write_text(json.dumps(items.found))
        return int(code)

    done = forked.call(collect)
    assert done.code == 0, done.output
    return [tuple(found) for found in json.loads(file.read_text())]


class TestCounts:
    def test_number_of_promises(self) -> None:
        keys = [
            claim.key
            for page in claims().pages
            if not page.ours
            for section in page.sections
            for claim in section.claims
        ]

        assert re.findall(r"It makes (\d+) promises", WORDS) == [str(len(keys))]

    def test_first_lines_of_the_summary_are_those_of_a_run(self) -> None:
        lines = list(summary.lines(claims(), Results(), None))

        for line in lines:
            assert " ".join(line.split()) in WORDS

    def test_verdicts_quoted_are_those_of_a_run(self) -> None:
        every = {claim.key for claim, _ in claims().claims()}
        lines = [" ".join(line.split()) for line in summary.untrue(claims(), every)]
        [block] = [b for b in fenced("") if "No longer true" in b]
        quoted = re.split(r"\n  (?=\w\d\d )", block.partition("  …\n")[2].rstrip())

        assert len(quoted) == 2
        for verdict in quoted:
            assert " ".join(verdict.split()) in lines

    @pytest.mark.skipif(
        not torch.__version__.startswith(re.findall(r"^torch (\d+\.\d+)\.", README, re.M)[0]),
        reason="the README's run was of another torch, which may lack what some tests need",
    )
    @pytest.mark.parametrize("place", ["cpu", "accelerator", "meta", NO_DEVICE])
    def test_claims_and_tests_on_each_device(
        self, place: str, collected: list[tuple[str, str, bool]]
    ) -> None:
        here = [(key, skipped) for key, its, skipped in collected if its == place]
        held = len({key for key, skipped in here if not skipped})
        not_run = len(
            {key for key, skipped in here} - {key for key, skipped in here if not skipped}
        )
        ran = sum(not skipped for _, skipped in here)

        line = f"{place}: {held} claims held, 0 broken, {not_run} not run ({ran} tests ran)"
        assert line in WORDS
        if place == "accelerator":
            assert f"{len(here)} not run: needs accelerator: torch finds no" in WORDS

    def test_grid_of_the_benchmarks(self) -> None:
        bench = (ROOT / "spec" / "bench_throughput.py").read_text(encoding="utf-8")
        widths, batches = re.findall(r"^WIDTHS, BATCHES = \((.*?)\), \((.*?)\)$", bench, re.M)[0]
        few, several, many = batches.split(", ")

        first, *_, last = widths.split(", ")
        said = f"at widths {first} to {last} in batches of {few}, {several} and {many}"
        assert said in WORDS

    def test_number_of_pictures(self) -> None:
        assert len(run_folder.RunFolder.PICTURES) == 4
        assert "and four pictures" in WORDS
        assert len(data.CLASSES) == 10
        assert "Ten rows of made images, a row a class" in WORDS

    def test_supported_versions_are_those_of_the_project(self) -> None:
        needs = {need.partition(">=")[0]: need for need in project()["dependencies"]}
        torch_, vision = needs["torch"], needs["torchvision"]
        said = r"torch (\S+) \(torchvision (\S+)\) to 2\.(\d+) \(0\.(\d+)\), Python (\S+) and newer"

        oldest, oldest_vision, last, last_vision, python = re.findall(said, WORDS)[0]

        assert torch_ == f"torch>={oldest},<2.{int(last) + 1}"
        assert vision == f"torchvision>={oldest_vision},<0.{int(last_vision) + 1}"
        assert project()["requires-python"] == f">={python}"


FEEDS = {
    "the tutorial's loop, two workers; none; none and one thread": [
        "tutorial's loop, 2 workers",
        "tutorial's loop, 0 workers",
        "tutorial's loop, 0 workers, 1 thread",
    ],
    "`--feed loader`": ["blitz, loader feed"],
    "Lightning, fed with ready tensors; with one thread": [
        "Lightning, ready tensors",
        "Lightning, ready tensors, 1 thread",
    ],
    "Ignite, fed with ready tensors; with one thread": [
        "Ignite, ready tensors",
        "Ignite, ready tensors, 1 thread",
    ],
    "`--exact`: the losses of the tutorial's loop to the last bit": ["blitz, resident feed"],
    "the default on a cpu, which rounds otherwise": ["blitz, resident feed, --fast"],
}
"""The rows of the README's table, and what they are called in the figures."""

ELSEWHERE = {
    "5 GB": "du of an environment with torch 2.15 and its CUDA libraries: 5.7 GB with the tools",
}
"""Figures with a unit that no file of figures holds, and what they were measured by."""


class TestFigures:
    def test_table_of_feeds_is_that_of_the_file(self) -> None:
        measured = json.loads((ROOT / "docs" / "feeds_two_cores.json").read_text())["steps/s"]
        table = README.partition("| feed | times the tutorial's loop |\n|---|---|\n")[2]
        rows = [line.strip("| ").split(" | ") for line in table.partition("\n\n")[0].splitlines()]

        assert [name for name, _ in rows] == list(FEEDS)
        for name, said in rows:
            ratios = [measured[key]["times the tutorial's"] for key in FEEDS[name]]
            assert said == "; ".join(f"{ratio:.1f}" for ratio in ratios)

    def test_circumstances_of_the_feeds_are_those_of_the_file(self) -> None:
        file = json.loads((ROOT / "docs" / "feeds_two_cores.json").read_text())

        assert f"median of {file['rounds']} rounds of {file['steps']} steps" in WORDS
        assert file["device"] == "cpu"
        assert (file["cpu"], file["date"]) == ("AMD EPYC", "2026-11-23")

    def test_circumstances_of_the_throughput_are_those_of_the_file(self) -> None:
        file = json.loads((ROOT / "docs" / "two_cores.json").read_text())
        rows = [row["extra_info"] for row in file["benchmarks"]]
        about = file["machine_info"]["blitz"]
        rounds = [row["rounds"] for row in rows]

        version = ".".join(about["versions"]["torch"].split(".")[:2])
        assert about["cores"] == 2
        said = f"{about['cpu']} (torch {version}, float32, no accelerator, {file['datetime'][:10]}"
        assert f"Measured on two cores of an {said}, " in WORDS
        assert f"median of {min(rounds)} to {max(rounds)} rounds;" in WORDS
        assert {row["device"] for row in rows} == {"cpu"}
        assert about["no accelerator"]

    @pytest.mark.parametrize("page", ["report_two_cores.html", "report_two_cores_zh.html"])
    def test_pages_of_the_report_have_every_claim(self, page: str) -> None:
        text = (ROOT / "docs" / page).read_text(encoding="utf-8")

        shown = set(re.findall(r' id="([A-Z]\d\d)"', text))

        assert shown == {claim.key for claim, _ in claims().claims()}

    def test_no_figure_stands_without_a_source(self) -> None:
        """What has a unit and is no row of a table above is named in ELSEWHERE."""
        figures = re.findall(
            r"\b\d[\d.,]* (?:%|[GM]i?B|seconds|minutes|hours|ms|times)(?!\w)", README
        )

        assert set(figures) == set(ELSEWHERE)
