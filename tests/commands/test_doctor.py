"""The command doctor: whom it tries, with what, and what it prints and returns."""

from pathlib import Path

import pytest

from blitz import preflight
from blitz.__main__ import main
from blitz.commands import doctor
from blitz.preflight import ANY, Finding, Verdict

SOUND = Finding("cpu", Verdict.USABLE, facts={"torch": "2.15", "count": "1"})


class Trials:
    """Stands in for the trials: what each is given, and what is found (all usable at first)."""

    def __init__(self) -> None:
        self.given: list[tuple[str, list[str], float]] = []
        self.found: dict[str, Finding] = {"cpu": SOUND}

    def check(self, name: str, *, modules: list[str], limit: float) -> Finding:
        self.given.append((name, modules, limit))
        return self.found.get(name, Finding(name, Verdict.USABLE))


@pytest.fixture
def trials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Trials:
    trials = Trials()
    for maker in ("NVIDIA", "AMD"):  # the system sees no GPU
        monkeypatch.setattr(doctor, maker, tmp_path / maker)
    monkeypatch.setattr(preflight, "check", trials.check)
    return trials


def test_trial_is_given_the_plug_ins_and_the_limit(trials: Trials) -> None:
    options = ["--import", "json", "--import", "os.path", "--preflight-limit", "0.5"]

    assert main(["doctor", "--device", "toy:1, cpu,toy:1", *options]) == 0
    assert sorted(trials.given) == [
        ("cpu", ["json", "os.path"], 0.5),
        ("toy:1", ["json", "os.path"], 0.5),
    ]


@pytest.mark.parametrize(("there", "name"), [("none", ANY), ("NVIDIA", "cuda"), ("AMD", "cuda")])
def test_trials_are_of_the_cpu_and_of_what_the_system_sees(
    trials: Trials, tmp_path: Path, there: str, name: str
) -> None:
    (tmp_path / there).touch()

    assert main(["doctor"]) == 0
    assert sorted(given[0] for given in trials.given) == sorted(["cpu", name])


NAMES = "give names such as cpu, cuda, cuda:1 or mps. There is nothing to try on meta, which has"


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--import", "torch_of_nobody.part", "torch_of_nobody.part: there is no module of this"),
        *(
            ("--device", value, f"{value!r}: {NAMES}")
            for value in ("", "cpu, ", "meta", "cpu,meta")
        ),
    ],
)
def test_option_that_cannot_be_used_is_told_before_any_trial(
    capsys: pytest.CaptureFixture[str], trials: Trials, option: str, value: str, words: str
) -> None:
    assert main(["doctor", option, value]) == 2
    assert capsys.readouterr().err.startswith(f"error: {option} {words} n")
    assert trials.given == []


def test_findings_are_printed_in_order_and_one_bad_device_is_1(
    trials: Trials, capsys: pytest.CaptureFixture[str]
) -> None:
    gaps = {"float64": "no room", "aten::mm": "not yet"}
    trials.found["cuda"] = Finding("cuda", Verdict.HUNG, "no end after 5 s", "compute")
    trials.found["toy"] = Finding("toy", Verdict.USABLE, gaps=gaps, facts={"device": "toy:0"})

    assert main(["doctor", "--device", "cuda,cpu,toy"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "cuda: NOT USABLE: hung: no end after 5 s",
        "  at the stage: compute",
        f"  what to do: {Verdict.HUNG.remedy}",
        "cpu: usable",
        "  torch: 2.15",
        "  count: 1",
        "toy: usable",
        "  unsupported: float64 (no room)",
        "  unsupported: aten::mm (not yet)",
        "  device: toy:0",
    ]


def test_no_accelerator_is_sound_unless_one_was_asked_for_or_the_system_sees_one(
    trials: Trials, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trials.found[ANY] = Finding(ANY, Verdict.NO_DRIVER, "RuntimeError: none", "find the device")

    assert main(["doctor"]) == 0
    said = capsys.readouterr().out
    assert said.endswith("\naccelerator: torch finds none on this machine\n")
    assert main(["doctor", "--device", ANY]) == 1

    trials.found[ANY] = Finding(ANY, Verdict.CRASHED, stage="compute")
    assert main(["doctor"]) == 1

    trials.found["cuda"] = Finding("cuda", Verdict.NO_DRIVER, "RuntimeError: none", "import torch")
    (tmp_path / "NVIDIA").touch()
    assert main(["doctor"]) == 1
    assert "cuda: NOT USABLE: no such device, no driver" in capsys.readouterr().out
