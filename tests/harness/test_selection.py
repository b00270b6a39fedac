"""The devices of a run: which are tried, with what, and what is said of those that fail."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from blitz import preflight
from blitz.base.errors import BlitzError
from blitz.harness import selection
from blitz.harness.selection import META, NO_ACCELERATOR, Selected, Selection
from blitz.preflight import Finding, Verdict

CPU = Selected("cpu")


@dataclass
class Machine:
    """A machine with four GPUs, of which the third hangs in its trial; its trials are recorded.

    Attributes:
        trials: Name, plug-ins and limit of each.
        found: Findings that come in place of the usual ones, by the device's name.
    """

    trials: list[tuple[str, tuple[str, ...], float]] = field(default_factory=list)
    found: dict[str, Finding] = field(default_factory=dict)

    def check(self, name: str, *, modules: Any = (), limit: float = preflight.LIMIT) -> Finding:
        self.trials.append((name, tuple(modules), limit))
        if name in self.found:
            return self.found[name]
        place = "cuda:0" if name in ("accelerator", "cuda") else name
        count = "2" if name == "cpu" else "4"  # two sockets, which nobody shares out
        verdict = Verdict.HUNG if place == "cuda:2" else Verdict.USABLE
        return Finding(name, verdict, "no end", "sums", {"device": place, "count": count})


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine()
    monkeypatch.setattr(preflight, "check", made.check)
    monkeypatch.setattr(selection.devices, "accelerator", lambda: torch.device("cuda:0"))
    return made


@pytest.fixture
def plug_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Write a plug-in that can be imported; its name."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(text: str = "", name: str = "brings_a_device") -> str:
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.delitem(sys.modules, name, raising=False)
        return name

    return write


def places(chosen: Selection) -> list[str]:
    return [selected.place for selected in chosen.devices]


class TestNobodyNamesADevice:
    def test_cpu_meta_and_every_accelerator_that_works_are_used(self, machine: Machine) -> None:
        chosen = selection.select(None, (), limit=7)

        assert places(chosen) == ["cpu", "cuda:0", "cuda:1", "cuda:3", "meta"]
        hung = Finding("cuda:2", Verdict.HUNG, "no end", "sums")
        assert chosen.unusable == (str(hung),)
        assert chosen.missing is None

    def test_plug_ins_go_to_the_trials_of_accelerators_and_are_then_imported(
        self, machine: Machine, plug_in: Callable[..., str]
    ) -> None:
        name = plug_in()

        chosen = selection.select(None, (name,), limit=7)

        assert machine.trials[:2] == [("cpu", (), 7), ("accelerator", (name,), 7)]
        assert sorted(machine.trials[2:]) == [(f"cuda:{i}", (name,), 7) for i in (1, 2, 3)]
        assert places(chosen)[1] == "cuda:0"
        assert name in sys.modules

    def test_one_that_fails_is_left_out_with_its_kind_and_said_to_be_missing(
        self, machine: Machine
    ) -> None:
        broken = Finding("cuda:0", Verdict.WRONG_VALUES, "1 + 1 is 3", "sums")
        machine.found["cuda:0"] = broken

        chosen = selection.select(None, (), limit=7)

        assert chosen == Selection((CPU, META), (str(broken),), str(broken))
        assert len(machine.trials) == 2

    def test_machine_without_one_has_cpu_and_meta(
        self, machine: Machine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(selection.devices, "accelerator", lambda: None)

        assert selection.select(None, (), limit=7) == Selection((CPU, META), (), NO_ACCELERATOR)
        assert NO_ACCELERATOR == "torch finds no accelerator on this machine"
        assert machine.trials == [("cpu", (), 7)]


class TestNamed:
    @pytest.mark.parametrize(
        ("names", "used", "trials"),
        [
            ("cpu", ["cpu"], [("cpu", "plugged")]),
            ("meta", ["meta"], [("cpu", "plugged")]),
            ("cpu, meta,cpu", ["cpu", "meta"], [("cpu", "plugged")]),
            ("cuda:1", ["cuda:1"], [("cuda:1", "plugged")]),
            ("cuda:1,cpu", ["cuda:1", "cpu"], [("cpu", "alone"), ("cuda:1", "plugged")]),
            ("cuda:3,meta", ["cuda:3", "meta"], [("cuda:3", "plugged")]),
        ],
    )
    def test_each_is_used_in_order_and_tried_once(
        self,
        machine: Machine,
        plug_in: Callable[..., str],
        names: str,
        used: list[str],
        trials: list[tuple[str, str]],
    ) -> None:
        name = plug_in()

        chosen = selection.select(names, (name,), limit=7)

        assert places(chosen) == used
        assert (chosen.unusable, chosen.missing) == ((), None)
        assert machine.trials == [
            (tried, (name,) if how == "plugged" else (), 7) for tried, how in trials
        ]
        assert name in sys.modules

    def test_one_that_fails_is_refused(self, machine: Machine) -> None:
        with pytest.raises(BlitzError) as refused:
            selection.select("cpu,cuda:2", (), limit=7)

        assert str(refused.value) == (
            "--device: device 'cuda:2' cannot be used: hung (no end), at the stage 'sums'. "
            + Verdict.HUNG.remedy
        )

    def test_what_the_trial_found_is_kept(self, machine: Machine) -> None:
        facts = {"device": "cuda:0", "count": "1", "model": "H200"}
        gaps = {"float64": "no double here"}
        machine.found["cuda"] = Finding("cuda", Verdict.USABLE, facts=facts, gaps=gaps)

        [chosen] = selection.select("cuda", (), limit=7).devices

        assert chosen == Selected("cuda:0", gaps=gaps, model="H200")


class TestPlugIns:
    @pytest.mark.parametrize(
        ("text", "fault"),
        [
            ("raise RuntimeError('no driver')", "RuntimeError: no driver"),
            ("import nowhere_", "ModuleNotFoundError: No module named 'nowhere_'"),
        ],
    )
    def test_one_that_raises_here_is_refused_with_what_it_said(
        self, machine: Machine, plug_in: Callable[..., str], text: str, fault: str
    ) -> None:
        name = plug_in(text)

        with pytest.raises(BlitzError) as refused:
            selection.select("cuda:1", (name,), limit=7)

        assert str(refused.value) == f"--import {name}: {fault}"
        assert machine.trials == [("cuda:1", (name,), 7)]

    @pytest.mark.parametrize(
        ("verdict", "said"),
        [
            (Verdict.FAILED, "no driver"),
            (Verdict.CRASHED, f"crashed (no driver). {Verdict.CRASHED.remedy}"),
            (Verdict.HUNG, f"hung (no driver). {Verdict.HUNG.remedy}"),
        ],
    )
    @pytest.mark.parametrize(("names", "tried"), [(None, "accelerator"), ("cuda:1", "cuda:1")])
    def test_one_that_fails_in_a_trial_is_blamed_in_the_device_s_place(
        self,
        machine: Machine,
        plug_in: Callable[..., str],
        names: str | None,
        tried: str,
        verdict: Verdict,
        said: str,
    ) -> None:
        machine.found[tried] = Finding(tried, verdict, "no driver", "import torch_x")

        with pytest.raises(BlitzError) as refused:
            selection.select(names, (plug_in(),), limit=7)

        assert str(refused.value) == f"--import torch_x: {said}"


@pytest.mark.parametrize(
    ("selected", "shown"),
    [(Selected("cuda:0", model="H200"), "cuda:0 (H200)"), (CPU, "cpu")],
)
def test_head_of_a_run_names_a_device_and_its_model(selected: Selected, shown: str) -> None:
    assert str(selected) == shown
