"""The tool that runs mutants: its floor, its list of survivors, and what it takes for words."""

import ast
import json
import re
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from mutation import __main__ as command
from mutation import floor, keeping, making, running
from mutation.floor import Outcome, ResultError, Survivor
from mutation.making import Mutant

SOURCE = """
def x_double__mutmut_orig(x: int, by: int = 2) -> int:
    if x < 0:
        raise ValueError(f"{x} is below 0." "Give more.")
    return x * by

def x_double__mutmut_1(x: int, by: int = 3) -> int:
    if x < 0:
        raise ValueError(f"{x} is below 0." "Give more.")
    return x * by

def x_double__mutmut_2(x: int, by: int = 2) -> int:
    if x <= 0:
        raise ValueError(f"{x} is below 0." "Give more.")
    return x * by

class Net:
    def xǁNetǁforward__mutmut_orig(self, x):
        return self.layer(x)
    def xǁNetǁforward__mutmut_1(self, x):
        return self.layer(None)
"""

TEST = "def test_y() -> None:\n    assert 1\n"


def mutants(count: int, module: str = "blitz.tensors") -> list[Mutant]:
    return [Mutant(f"{module}.x_cat__mutmut_{n}", f"a{n} → b", False, "d") for n in range(count)]


def outcomes(of: list[Mutant], alive: int = 0) -> dict[str, Outcome]:
    """All but the first ``alive`` are killed."""
    states = ["survived"] * alive + ["killed"] * (len(of) - alive)
    return {
        mutant.name: Outcome(mutant.name, mutant.digest, state, "tests/test_x.py::test_y")
        for mutant, state in zip(of, states, strict=True)
    }


def listed(*of: Mutant) -> dict[str, Survivor]:
    return {m.name: Survivor(m.name, m.change, "equivalent: because") for m in of}


class TestTheFloor:
    def test_holds_at_95_percent_where_the_survivors_are_listed(self) -> None:
        made = mutants(20)

        assert floor.faults({"blitz.tensors": made}, outcomes(made, 1), listed(made[0])) == []

    def test_does_not_hold_below(self) -> None:
        made = mutants(19)

        [fault] = floor.faults({"blitz.tensors": made}, outcomes(made, 1), listed(made[0]))

        assert fault == "94.7 % of the mutants were killed, fewer than 95 %"

    def test_is_over_all_modules_together(self) -> None:
        made = {"blitz.tensors": mutants(10), "blitz.graph": mutants(10, "blitz.graph")}
        found = outcomes(made["blitz.tensors"], 1) | outcomes(made["blitz.graph"])

        assert floor.faults(made, found, listed(made["blitz.tensors"][0])) == []

    def test_counts_one_that_runs_on_for_ever_as_killed(self) -> None:
        made = mutants(1)
        found = {made[0].name: Outcome(made[0].name, "d", "timeout")}

        assert floor.faults({"blitz.tensors": made}, found, {}) == []

    def test_counts_one_that_was_not_run_as_alive(self) -> None:
        made = mutants(10)
        found = outcomes(made)
        del found[made[0].name]

        faults = floor.faults({"blitz.tensors": made}, found, {})

        assert faults[0] == "blitz.tensors: 1 of 10 mutants were not run"
        assert faults[1].startswith("90.0 % of the mutants were killed")

    def test_leaves_out_words(self) -> None:
        made = [*mutants(20), Mutant("blitz.tensors.x_cat__mutmut_99", "", True, "d")]

        tally = floor.tally("blitz.tensors", made, outcomes(made[:20], 1), [made[0].name])

        assert tally == floor.Tally("blitz.tensors", 1, 20, 19, 0, 1, 1, 0)
        assert floor.percent([tally]) == 95

    def test_says_what_was_not_run(self) -> None:
        assert str(floor.tally("blitz.tensors", mutants(3), {}, [])).endswith("; not run")

    @pytest.mark.parametrize("made", [{}, {"blitz.tensors": []}])
    def test_does_not_hold_over_nothing(self, made: dict[str, list[Mutant]]) -> None:
        assert floor.faults(made, {}, {}) == ["there is no mutant to run"]


class TestSurvivors:
    def faults(self, made: list[Mutant], alive: int, survivors: dict[str, Survivor]) -> list[str]:
        return floor.faults({"blitz.tensors": made}, outcomes(made, alive), survivors)

    def test_that_is_not_listed_is_a_fault(self) -> None:
        made = mutants(40)

        [fault] = self.faults(made, 1, {})

        assert fault == f"{made[0].name} survived and is not listed: a0 → b"

    def test_that_is_listed_and_killed_is_a_fault(self) -> None:
        made = mutants(40)

        [fault] = self.faults(made, 1, listed(*made[:2]))

        assert fault.startswith(f"{made[1].name} is listed as a survivor, and tests/test_x.py::")

    def test_that_is_listed_and_no_more_is_a_fault(self) -> None:
        made = mutants(40)

        [fault] = self.faults(made[:-1], 0, listed(made[-1]))

        assert fault.endswith("is listed as a survivor, and there is no such mutant")

    def test_that_is_listed_as_another_change_is_a_fault(self) -> None:
        made = mutants(40)

        [fault] = self.faults(made, 1, listed(replace(made[0], change="c → d")))

        assert fault == f"{made[0].name} is listed as another change than it is: a0 → b"

    def test_of_other_modules_are_left_alone(self) -> None:
        made = mutants(40)

        assert self.faults(made, 0, listed(*mutants(1, "blitz.graph"))) == []

    def test_outcome_of_another_change_is_a_fault(self) -> None:
        made = mutants(40)
        found = outcomes(made)

        [fault] = floor.faults({"blitz.tensors": [replace(made[0], digest="e")]}, found, {})

        assert fault.endswith("its outcome is that of another change")


class TestFiles:
    def test_outcomes_come_back(self, tmp_path: Path) -> None:
        [outcome] = outcomes(mutants(1)).values()
        floor.write(tmp_path / "results", outcome)
        floor.write(tmp_path / "results", replace(outcome, state="survived", test=""))

        assert floor.read_outcomes(tmp_path / "results")[outcome.name].state == "survived"

    @pytest.mark.parametrize(
        ("content", "fault"),
        [
            (b"", "is empty: nothing was run"),
            (b"{", "line 1: no outcome of a mutant"),
            (b'{"name": "x"}', "line 1: no outcome of a mutant"),
            (b'{"name": "x", "digest": "d", "state": "fine"}', "unknown state 'fine'"),
            (b"[1]", "line 1: no outcome of a mutant"),
            (b"\xff", "cannot be read"),
        ],
    )
    def test_results_that_say_nothing_are_refused(
        self, tmp_path: Path, content: bytes, fault: str
    ) -> None:
        (tmp_path / "results").write_bytes(content)

        with pytest.raises(ResultError, match=fault):
            floor.read_outcomes(tmp_path / "results")

    def test_missing_results_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ResultError, match="none cannot be read"):
            floor.read_outcomes(tmp_path / "none")

    def test_survivors_are_read(self, tmp_path: Path) -> None:
        entry = '[[survivor]]\nname = "a.x_b__mutmut_1"\nchange = "c"\nreason = "equivalent: so"\n'
        (tmp_path / "survivors.toml").write_text(entry)

        survivors = floor.read_survivors(tmp_path / "survivors.toml")

        name = "a.x_b__mutmut_1"
        assert survivors == {name: Survivor(name, "c", "equivalent: so")}

    @pytest.mark.parametrize(
        ("entry", "fault"),
        [
            ('name = "a"\nchange = "c"', "has a name, a change and a reason"),
            ('name = "a"\nchange = "c"\nreason = " "', "is empty"),
            ('name = "a"\nchange = "c"\nreason = 1', "is empty"),
            ('name = "a"\nchange = "c"\nreason = "r"\nmore = "m"', "has a name, a change"),
            ("name = ", "cannot be read"),
        ],
    )
    def test_survivor_without_a_reason_is_refused(
        self, tmp_path: Path, entry: str, fault: str
    ) -> None:
        (tmp_path / "survivors.toml").write_text(f"[[survivor]]\n{entry}\n")

        with pytest.raises(ResultError, match=fault):
            floor.read_survivors(tmp_path / "survivors.toml")

    def test_survivor_listed_twice_is_refused(self, tmp_path: Path) -> None:
        entry = '[[survivor]]\nname = "a"\nchange = "c"\nreason = "r"\n'
        (tmp_path / "survivors.toml").write_text(2 * entry)

        with pytest.raises(ResultError, match="a is listed twice"):
            floor.read_survivors(tmp_path / "survivors.toml")

    def test_kept_list_can_be_read(self) -> None:
        floor.read_survivors(command.ROOT / "tests" / "survivors.toml")


class TestMutants:
    @pytest.fixture
    def made(self, tmp_path: Path) -> list[Mutant]:
        (tmp_path / "double.py").write_text(SOURCE, encoding="utf-8")
        return list(making.read(tmp_path / "double.py", "blitz.double"))

    def test_have_the_names_of_mutmut_and_of_the_function(self, made: list[Mutant]) -> None:
        assert [mutant.name.rpartition(".")[2] for mutant in made] == [
            "x_double__mutmut_1",
            "x_double__mutmut_2",
            "xǁNetǁforward__mutmut_1",
        ]
        assert {mutant.module for mutant in made} == {"blitz.double"}
        assert made[2].function == "blitz.double.xǁNetǁforward"

    def test_are_described_by_the_lines_that_differ(self, made: list[Mutant]) -> None:
        assert [mutant.change for mutant in made] == [
            "def double(x: int, by: int = 2) -> int: → def double(x: int, by: int = 3) -> int:",
            "if x < 0: → if x <= 0:",
            "return self.layer(x) → return self.layer(None)",
        ]

    def test_digest_changes_with_the_function_and_not_with_its_annotations(
        self, tmp_path: Path, made: list[Mutant]
    ) -> None:
        def digest(source: str) -> str:
            (tmp_path / "other.py").write_text(source, encoding="utf-8")
            return list(making.read(tmp_path / "other.py", "blitz.double"))[1].digest

        assert digest(SOURCE.replace("x: int", "x: float")) == made[1].digest
        assert digest(SOURCE.replace("x * by", "x + by")) != made[1].digest
        assert made[0].digest != made[1].digest

    @pytest.mark.parametrize(
        ("line", "other", "words"),
        [
            ('say("It is late.")', 'say("it is late.")', True),
            ('raise ValueError("late")', 'raise ValueError("LATE")', True),
            ('raise ValueError(f"{a} late")', 'raise ValueError(f"{a} LATE")', True),
            ('option("-x", metavar="N")', 'option("-x", metavar="n")', True),
            ('say("late")', 'say("LATE")', False),
            ('say("It is late.")', "say(None)", False),
            ('raise ValueError("late")', "raise ValueError(None)", False),
            ("say(1)", "say(2)", False),
            ('say("a b", "c d")', 'say("A b", "C d")', False),
        ],
    )
    def test_words_are_told_apart(self, line: str, other: str, words: bool) -> None:
        before, after = (ast.parse(f"def f():\n    {text}").body[0] for text in (line, other))

        assert making.is_words(before, after) is words

    @pytest.mark.parametrize(
        ("line", "other", "dropped"),
        [
            ("ones(2, device=place)", "ones(2, device=None)", True),
            ("ones(2, device=resolve(place))", "ones(2, )", True),
            ("ones(2, device=place)", "ones(3, device=place)", False),
            ("ones(2, device=place)", "None", False),
            ("ones(2, dtype=wanted)", "ones(2)", False),
            ("ones(2, dtype=wanted)", "ones(2, dtype=None)", False),
            ("ones(2, device=place)", "ones(2, device=there)", False),
        ],
    )
    def test_that_drop_a_device_are_told_apart(self, line: str, other: str, dropped: bool) -> None:
        before, after = (ast.parse(f"def f():\n    {text}").body[0] for text in (line, other))

        assert making.drops_device(before, after) is dropped

    def test_are_made_beside_nothing_of_an_earlier_copy(self, tmp_path: Path) -> None:
        folder = tmp_path / "blitz" / "report"
        folder.mkdir(parents=True)
        for name in ("page.py", "page.py.meta", "gone.py", "page.html.j2"):
            (folder / name).write_text("")
        (tmp_path / "tests").mkdir()

        making._forget_old(tmp_path, [Path("blitz/report/page.py")])

        assert sorted(path.name for path in folder.iterdir()) == ["page.py", "page.py.meta"]
        assert not (tmp_path / "tests").exists()

    def test_that_drop_a_device_should_die_on_meta(self) -> None:
        made = [replace(mutant, device=True) for mutant in mutants(3)]
        found = outcomes(made)
        for mutant, test in zip(made, ["t[meta]", "t[2-meta-sum]", "t_meta[cpu]"], strict=True):
            found[mutant.name] = replace(found[mutant.name], test=test)

        assert floor.not_on_meta({"blitz.tensors": made}, found) == (3, [made[2]])


class TestWhatIsKept:
    def kept(self, root: Path, outcome: Outcome, mutant: Mutant) -> dict[str, Outcome]:
        running.digest_of.cache_clear()
        return keeping.still_true({mutant.name: outcome}, [mutant], root)

    @pytest.fixture
    def killed(self, tmp_path: Path) -> tuple[Mutant, Outcome]:
        """A mutant and its outcome, in a checkout that is as it was."""
        (tmp_path / "tests").mkdir()
        (tmp_path / "tests" / "test_x.py").write_text(TEST)
        [mutant] = mutants(1)
        test = "tests/test_x.py::test_y"
        digest = running.digest_of(tmp_path, test)
        return mutant, Outcome(mutant.name, "d", "killed", test, digest)

    def test_what_was_killed_is(self, tmp_path: Path, killed: tuple[Mutant, Outcome]) -> None:
        mutant, outcome = killed

        assert self.kept(tmp_path, outcome, mutant) == {mutant.name: outcome}

    def test_what_survived_is_tried_again(
        self, tmp_path: Path, killed: tuple[Mutant, Outcome]
    ) -> None:
        mutant, outcome = killed

        assert self.kept(tmp_path, replace(outcome, state="survived"), mutant) == {}

    def test_what_has_changed_is_tried_again(
        self, tmp_path: Path, killed: tuple[Mutant, Outcome]
    ) -> None:
        mutant, outcome = killed

        assert self.kept(tmp_path, outcome, replace(mutant, digest="e")) == {}

    @pytest.mark.parametrize("content", [TEST.replace("1", "2"), f"HELP = 1\n{TEST}", None])
    def test_what_a_changed_test_killed_is_tried_again(
        self, tmp_path: Path, killed: tuple[Mutant, Outcome], content: str | None
    ) -> None:
        mutant, outcome = killed
        (tmp_path / "tests" / "test_x.py").unlink()
        if content:
            (tmp_path / "tests" / "test_x.py").write_text(content)

        assert self.kept(tmp_path, outcome, mutant) == {}

    @pytest.mark.parametrize(
        "more",
        ["def test_z() -> None:\n    pass\n", "class TestZ:\n    def test_y(self): ...\n"],
        ids=["test", "class"],
    )
    def test_another_test_in_the_file_makes_no_difference(
        self, tmp_path: Path, killed: tuple[Mutant, Outcome], more: str
    ) -> None:
        mutant, outcome = killed
        (tmp_path / "tests" / "test_x.py").write_text(TEST + more)

        assert self.kept(tmp_path, outcome, mutant) == {mutant.name: outcome}


class TestCommand:
    @pytest.fixture
    def checkout(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A checkout with one module of forty mutants; mutmut is not asked."""
        (tmp_path / "tests").mkdir()
        (tmp_path / "tests" / "survivors.toml").write_text("")
        (tmp_path / "mutants").mkdir()
        monkeypatch.setattr(command, "ROOT", tmp_path)
        for name in ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "MPLBACKEND", "PYTHONPATH"):
            monkeypatch.setenv(name, "0")
        monkeypatch.setattr(making, "make", lambda root: dict.fromkeys(["blitz.tensors"], root))
        monkeypatch.setattr(making, "read", lambda file, module: mutants(40))
        return tmp_path

    def results(self, checkout: Path, alive: int) -> None:
        for outcome in outcomes(mutants(40), alive).values():
            floor.write(checkout / "mutants" / "outcomes.jsonl", outcome)

    def test_ends_with_0_where_all_is_well(
        self, checkout: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.results(checkout, 0)

        assert command.main(["--check"]) == 0
        assert "40 of 40 mutants killed: 100.0 %" in capsys.readouterr().out

    def test_ends_with_1_and_writes_down_what_has_to_be_listed(
        self, checkout: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.results(checkout, 1)

        assert command.main(["--check"]) == 1
        assert "FAULT: blitz.tensors.x_cat__mutmut_0 survived" in capsys.readouterr().out
        unlisted = checkout / "mutants" / "unlisted.toml"
        with pytest.raises(ResultError, match="its reason is empty"):
            floor.read_survivors(unlisted)
        (checkout / "tests" / "survivors.toml").write_text(
            unlisted.read_text(encoding="utf-8").replace('reason = ""', 'reason = "equivalent"'),
            encoding="utf-8",
        )
        assert command.main(["--check"]) == 0

    def test_ends_with_2_where_there_is_no_result(
        self, checkout: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert command.main(["--check"]) == 2
        assert re.search(r"error: .*outcomes.jsonl cannot be read", capsys.readouterr().err)

    def test_ends_with_2_on_an_unknown_module(
        self, checkout: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert command.main(["blitz.nothing", "--check"]) == 2
        assert "there is no module blitz.nothing, but blitz.tensors" in capsys.readouterr().err

    def test_names_its_scope(
        self, checkout: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.results(checkout, 0)
        both = dict.fromkeys(["blitz.tensors", "blitz.graph"], checkout)
        monkeypatch.setattr(making, "make", lambda root: both)

        assert command.main(["blitz.tensors", "--check"]) == 0
        assert "says nothing of the 1 other modules: blitz.graph" in capsys.readouterr().out

    def test_results_of_some_modules_do_not_do_for_all(
        self, checkout: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.results(checkout, 0)
        both = dict.fromkeys(["blitz.tensors", "blitz.graph"], checkout)
        monkeypatch.setattr(making, "make", lambda root: both)
        monkeypatch.setattr(making, "read", lambda file, module: mutants(40, module))

        assert command.main(["--check"]) == 1
        assert "blitz.graph: 40 of 40 mutants were not run" in capsys.readouterr().out

    def test_sees_that_no_cuda_is_visible(
        self, checkout: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import os

        command.main(["--check"])

        assert os.environ["CUDA_VISIBLE_DEVICES"] == ""


@pytest.mark.parametrize("text", ["a → b", "it's → its", "ends with '", 'say("x")', r"\d"])
def test_change_is_written_as_toml(text: str) -> None:
    assert tomllib.loads(f"change = {command.quoted(text)}")["change"] == text


def test_written_outcome_is_one_line(tmp_path: Path) -> None:
    floor.write(tmp_path / "results", Outcome("a", "d", "killed"))

    [line] = (tmp_path / "results").read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["state"] == "killed"
