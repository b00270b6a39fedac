"""What README.md and docs/README.zh.md say is so: commands, options, links, counts and figures."""

import argparse
import doctest
import json
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from blitz import __main__ as command_line
from blitz import data
from blitz.harness import benchmarks, contents, summary
from blitz.harness.outcomes import Results
from tests import small_images

ROOT = Path(__file__).parents[1]
PAGES = {name: (ROOT / name).read_text("utf-8") for name in ("README.md", "docs/README.zh.md")}
README = PAGES["README.md"]
WORDS = " ".join(README.split())
CLAIMS = contents.load(ROOT / "spec" / "contents.toml")
HEADS = ("uv", "pip", "pytest", "python", "python3", "torchrun", "blitz")
"""What a code span begins with if it is a command."""


def fenced(page: str, language: str) -> list[str]:
    """Return the blocks of code in ``language``."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", page, re.M | re.S)
    return [code for its, code in blocks if its == language]


def commands(page: str) -> list[str]:
    """Return every command of a page, in the order of their first appearance."""
    lines = [
        line.removeprefix("$ ").partition("  #")[0].strip()
        for block in fenced(page, "console")
        for line in block.splitlines()
        if line.startswith("$ ")
    ]
    prose = re.sub(r"^```.*?^```", "", page, flags=re.M | re.S)
    spans = [" ".join(span.split()) for span in re.findall(r"`([^`\n]+)`", prose)]
    of_spans = [s for s in spans if s.split()[0] in HEADS and " " in s]
    return list(dict.fromkeys([*lines, *of_spans]))


FIGURES = sorted((ROOT / "docs").glob("*two_cores.json"))
EVERY = dict.fromkeys(command for page in PAGES.values() for command in commands(page))


class Parsed(Exception):
    """A command's arguments were taken by its own parser; it goes no further."""


@pytest.fixture
def parse_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every argparse parser ends the program when it has taken the arguments."""
    take = argparse.ArgumentParser.parse_args

    def parse_args(self: argparse.ArgumentParser, args: Any = None, namespace: Any = None) -> None:
        take(self, args, namespace)
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_args)
    monkeypatch.chdir(tmp_path)  # a parser may open the files it is given


@pytest.fixture
def check(parse_only: None, pytestconfig: pytest.Config) -> Callable[[str], None]:
    """Give a command's words to the parser that would get them; fail on what it does not know."""

    def run_pytest(arguments: list[str]) -> None:
        taken = pytestconfig._parser.parse(arguments)
        for value in vars(taken).values():
            if hasattr(value, "close"):
                value.close()
        for place in taken.file_or_dir:
            assert (ROOT / place.partition("::")[0]).exists(), f"there is no {place}"
        keys = {claim.key for claim, _ in CLAIMS.claims()}
        assert set(filter(None, (taken.claim or "").split(","))) <= keys

    def check(command: str) -> None:
        typed = shlex.split(command.partition(" > ")[0])  # what follows is the shell's
        words = ["https://example.org/" if word == "URL" else word for word in typed]
        match words:
            case ["uv", "run", *rest]:
                check(shlex.join(rest)) if rest else None
            case ["pip", "install", "-e", place]:
                assert place == "." or place.removeprefix(".[").removesuffix("]") == "pictures"
            case ["pytest", *rest] | ["python3", "-m", "pytest", *rest]:
                run_pytest(rest)
            case ["blitz", "spec", *rest]:
                run_pytest(rest)
            case ["blitz", *rest] | ["-m", "blitz", *rest]:
                with pytest.raises(Parsed):
                    command_line.main(rest)
            case ["python", script, *_]:
                path = ROOT / script
                assert path.is_file() or (path / "__main__.py").is_file(), f"there is no {script}"
            case ["torchrun", "--nproc-per-node", _, *rest]:
                check(shlex.join(rest))
            case _:
                pytest.fail(f"no test knows how to check {command!r}")

    return check


class TestCommands:
    @pytest.mark.parametrize("command", EVERY)
    def test_command_is_taken_by_its_own_parser(
        self, command: str, check: Callable[[str], None]
    ) -> None:
        check(command)

    def test_both_pages_have_the_same(self) -> None:
        english, chinese = (set(commands(page)) for page in PAGES.values())
        options, others = (set(re.findall(r"--[a-z][a-z-]+", page)) for page in PAGES.values())

        assert english - chinese == {"pytest spec --report FILE.html"}  # in Chinese: --lang zh
        assert chinese <= english
        assert options == others

    @pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
    def test_trainings_run_one_after_the_other(
        self, page: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """As they stand on the page, with few images and short."""
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(data, "MADE", {"train": 20, "test": 10})
        small_images.make(tmp_path / "DIR")
        Image.new("RGB", (32, 32)).save(tmp_path / "photo.jpg")
        short = {"train": ["--epochs", "1"]}
        [block] = [b for b in fenced(page, "console") if "$ blitz train" in b]

        for line in block.splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            code = command_line.main([*words[1:], "--device", "cpu", *short.get(words[1], [])])
            assert code == 0, line

        assert (tmp_path / "run" / "result.json").exists()

    def test_python_shows_what_it_is_said_to_show(self) -> None:
        [block] = fenced(README, "python")
        test = doctest.DocTestParser().get_doctest(block, {}, "README", "README.md", 0)

        assert doctest.DocTestRunner(verbose=False).run(test).failed == 0
        assert len(test.examples) > 3


class TestLinks:
    @staticmethod
    def links(page: str) -> list[str]:
        """Return the files that a page links to, as it writes them."""
        found = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", PAGES[page])
        return [target for target in found if not target.startswith("https://")]

    @pytest.mark.parametrize("page", PAGES)
    def test_every_target_exists(self, page: str) -> None:
        folder = (ROOT / page).parent

        assert [t for t in self.links(page) if not (folder / t).exists()] == []

    def test_both_pages_link_to_the_same(self) -> None:
        english, chinese = (
            {(ROOT / page).parent.joinpath(target).resolve() for target in self.links(page)}
            for page in PAGES
        )

        assert english - chinese == {ROOT / "docs" / "README.zh.md"}
        assert chinese - english == {ROOT / "README.md", ROOT / "spec" / "zh.toml"}

    @pytest.mark.parametrize("page", PAGES)
    def test_every_chapter_is_listed(self, page: str) -> None:
        named = {Path(target).name for target in self.links(page)}

        assert {file.name for file in (ROOT / "spec").glob("[bt]*_*.py")} <= named


class TestCounts:
    @pytest.mark.parametrize("page", PAGES)
    def test_claims_are_counted_by_who_says_them(self, page: str) -> None:
        said, kinds = CLAIMS.said(), [claim.kind for claim, _ in CLAIMS.claims()]
        begin = PAGES[page].partition("```")[0]

        counts = [said[who] for who in ("text", "upstream", "older", "ours")]
        assert list(numbers(begin)) == [*counts, kinds.count("tested")]

    def test_first_lines_of_the_summary_are_those_of_a_run(self) -> None:
        for line in summary.lines(CLAIMS, Results(), None):
            assert " ".join(line.split()) in WORDS

    def test_verdict_quoted_is_that_of_a_run(self) -> None:
        every = {claim.key for claim, _ in CLAIMS.claims()}
        lines = [" ".join(line.split()) for line in summary.untrue(CLAIMS, every)]
        [block] = [b for b in fenced(README, "") if "No longer true" in b]

        assert " ".join(block.rpartition("…\n")[2].split()) in lines


def numbers(text: str) -> Iterator[int]:
    """Yield the counts of claims in a paragraph: numbers of two or three digits."""
    yield from (int(n) for n in re.findall(r"(?<![\w.])\d{2,3}(?!\d| Minute| 分钟)", text))


class TestFigures:
    def test_both_pages_have_the_same(self) -> None:
        english, chinese = (
            set(re.findall(r"(?<![\w.])\d[\d.,-]*\d|(?<![\w.])\d", self.prose(page)))
            for page in PAGES.values()
        )

        assert chinese <= english

    @staticmethod
    def prose(page: str) -> str:
        """Return a page without its code and the targets of its links."""
        return re.sub(r"^```.*?^```|`[^`\n]*`|\]\([^)]*\)", "", page, flags=re.M | re.S)

    def test_machine_of_the_picture_is_that_of_its_file(self) -> None:
        file = json.loads((ROOT / "docs" / "two_cores.json").read_text())
        about = file["machine_info"]["blitz"]
        versions = file["benchmarks"][0]["extra_info"]["versions"]
        version = ".".join(versions["torch"].split(".")[:2])

        said = f"{about['cpu']} (torch {version}, float32, no accelerator, {file['datetime'][:10]}"
        assert about["cores"] == 2
        assert f"Measured on two cores of an {said};" in WORDS

    @pytest.mark.parametrize("file", FIGURES, ids=lambda f: f.stem)
    def test_figures_are_kept_a_row_a_line(self, file: Path) -> None:
        """As the scripts in docs/ write them."""
        text = file.read_text(encoding="utf-8")

        assert text == benchmarks.as_rows(json.loads(text))

    @pytest.mark.parametrize("page", PAGES)
    def test_table_of_releases_is_that_of_the_file(self, page: str) -> None:
        file = ROOT / "docs" / "releases.json"
        kept = json.loads(file.read_text()) if file.exists() else {}
        table = PAGES[page].partition("<!-- releases -->")[2].partition("<!-- end")[0]

        rows = re.findall(r"^\| (\S+) \| (3\.\d+) \| (\d+) \| (\d+) \| (\S+) \|$", table, re.M)

        assert rows == [
            (release, row["python"], str(row["passed"]), str(row["skipped"]), row["date"])
            for release, row in kept.items()
        ]
        assert not any(row["exit"] for row in kept.values())
