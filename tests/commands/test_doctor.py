"""The command doctor: whom it tries, with what, and what it prints and returns."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from blitz import preflight
from blitz.__main__ import main
from blitz.commands import doctor
from blitz.preflight import ANY, Finding, Verdict

HUNG = Finding("cuda", Verdict.HUNG, "no end after 5 s", "compute", seconds=5.0)
NONE = Finding(ANY, Verdict.NO_DRIVER, "RuntimeError: no accelerator", "find the device")
SOUND = Finding("cpu", Verdict.USABLE, facts={"torch": "2.15", "count": "1"}, seconds=0.26)


@pytest.fixture
def findings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Finding]:
    """What is found of each device, to be filled in; no GPU is there for the system."""
    found: dict[str, Finding] = {"cpu": SOUND}
    for name in ("NVIDIA", "AMD"):
        monkeypatch.setattr(doctor, name, tmp_path / name)
    monkeypatch.setattr(preflight, "check", lambda name, **_: found[name])
    return found


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What each trial was given; all devices are usable."""
    given: list[Any] = []

    def check(name: str, *, modules: list[str], limit: float) -> Finding:
        given.append((name, modules, limit))
        return Finding(name, Verdict.USABLE)

    monkeypatch.setattr(preflight, "check", check)
    return given


class TestTrial:
    def test_is_given_the_plug_ins_and_the_limit(self, tried: list[Any]) -> None:
        options = ["--import", "json", "--import", "os.path", "--preflight-limit", "0.5"]

        assert main(["doctor", "--device", "toy:1, cpu,toy:1", *options]) == 0
        assert sorted(tried) == [
            ("cpu", ["json", "os.path"], 0.5),
            ("toy:1", ["json", "os.path"], 0.5),
        ]

    @pytest.mark.parametrize(
        ("there", "name"), [([], ANY), (["NVIDIA"], "cuda"), (["AMD"], "cuda")]
    )
    def test_is_of_the_cpu_and_of_what_the_system_sees(
        self,
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
        tried: list[Any],
        there: list[str],
        name: str,
    ) -> None:
        for maker in ("NVIDIA", "AMD"):
            monkeypatch.setattr(doctor, maker, tmp_path / maker)
        for maker in there:
            (tmp_path / maker).touch()

        assert main(["doctor"]) == 0
        assert sorted(given[0] for given in tried) == sorted(["cpu", name])

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (
                ["--import", "torch_of_nobody.part"],
                "--import torch_of_nobody.part: there is no module of this name. Install it.",
            ),
            *(
                (
                    ["--device", names],
                    f"--device {names!r}: give names such as cpu, cuda, cuda:1 or mps. There is "
                    "nothing to try on meta, which has no values.",
                )
                for names in ("", "cpu, ", "meta", "cpu,meta")
            ),
        ],
        ids=str,
    )
    def test_does_not_begin_with_an_option_that_cannot_be_used(
        self,
        capsys: pytest.CaptureFixture[str],
        tried: list[Any],
        options: list[str],
        words: str,
    ) -> None:
        assert main(["doctor", *options]) == 2
        assert capsys.readouterr().err == f"error: {words}\n"
        assert tried == []


class TestFindings:
    @pytest.fixture
    def printed(
        self, findings: dict[str, Finding], capsys: pytest.CaptureFixture[str]
    ) -> Callable[..., tuple[int, str]]:
        def run(*options: str) -> tuple[int, str]:
            code = main(["doctor", *options])
            return code, capsys.readouterr().out

        return run

    def test_are_printed_in_order_and_one_bad_device_is_1(
        self, findings: dict[str, Finding], printed: Callable[..., tuple[int, str]]
    ) -> None:
        findings["cuda"] = HUNG

        code, said = printed("--device", "cuda,cpu")

        assert code == 1
        assert said == (
            "cuda: NOT USABLE: hung: no end after 5 s\n"
            "  at the stage: compute\n"
            f"  what to do: {Verdict.HUNG.remedy}\n"
            "cpu: usable (tried in 0.3 s)\n"
            "  torch: 2.15\n"
            "  count: 1\n"
        )

    def test_without_an_accelerator_are_sound_unless_one_was_asked_for(
        self, findings: dict[str, Finding], printed: Callable[..., tuple[int, str]]
    ) -> None:
        findings[ANY] = NONE

        code, said = printed()
        assert code == 0
        assert said.endswith("\naccelerator: torch finds none on this machine\n")
        assert printed("--device", ANY)[0] == 1

    def test_of_an_accelerator_that_fails_is_1(
        self, findings: dict[str, Finding], printed: Callable[..., tuple[int, str]]
    ) -> None:
        findings[ANY] = Finding(ANY, Verdict.CRASHED, stage="compute")

        code, said = printed()

        assert code == 1
        assert "\naccelerator: NOT USABLE: crashed\n  at the stage: compute\n" in said

    def test_name_what_is_missing_before_the_facts(self) -> None:
        gaps = {"float64": "no room", "aten::mm": "not yet"}
        found = Finding("toy", Verdict.USABLE, facts={"device": "toy:0"}, gaps=gaps, seconds=12.34)

        assert list(doctor.report(found)) == [
            "toy: usable (tried in 12.3 s)",
            "  unsupported: float64 (no room)",
            "  unsupported: aten::mm (not yet)",
            "  device: toy:0",
        ]
