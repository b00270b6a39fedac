"""Which devices a run uses: those asked for, or all there are, each tried before anything else.

Under xdist the controller selects and tries, and its workers use the same.
"""

import contextlib
import importlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import torch

from blitz import devices, preflight
from blitz.base import backend
from blitz.base.errors import BlitzError
from blitz.preflight import Finding, Verdict

NO_ACCELERATOR = "torch finds no accelerator on this machine"


@dataclass(frozen=True)
class Selected:
    """A device of the run.

    Attributes:
        place: The device as its tensors show it, and as tests have it in their ids.
        gaps: What the preflight found missing, with the error that said so.
        model: What the hardware is called; empty where it is not known.
    """

    place: str
    gaps: dict[str, str] = field(default_factory=dict)
    model: str = ""

    @property
    def device(self) -> torch.device:
        """Return the device itself."""
        return torch.device(self.place)

    @property
    def kind(self) -> str:
        """Return ``cpu``, ``meta`` or ``accelerator``."""
        return kind(self.device)

    def __str__(self) -> str:
        """Return it as the head of a run names it."""
        return f"{self.place} ({self.model})" if self.model else self.place


META = Selected("meta")  # shapes without values: there is nothing to try


@dataclass(frozen=True)
class Selection:
    """The devices of a run.

    Attributes:
        devices: In the order in which they were named.
        unusable: Of accelerators that nobody named and that are there, why they are left out.
        missing: Why there is no accelerator, where none was asked for; None where there is one.
        lost: The places of those that did not come back after a crash, and why.
    """

    devices: tuple[Selected, ...]
    unusable: tuple[str, ...] = ()
    missing: str | None = None
    lost: dict[str, str] = field(default_factory=dict)

    def alive(self) -> list[torch.device]:
        """Return the devices that are not lost."""
        return [s.device for s in self.devices if s.place not in self.lost]

    def of_kinds(self, kinds: Sequence[str]) -> list[Selected]:
        """Return those of the given kinds."""
        return [selected for selected in self.devices if selected.kind in kinds]

    def lack(self, kinds: Sequence[str]) -> str:
        """Return why a test of the given kinds has nothing to run on."""
        why = self.missing or "none of the devices asked for fits"
        return f"needs {' or '.join(kinds)}: {why}"

    def get(self, device: torch.device) -> Selected | None:
        """Return the one that is ``device``."""
        return next((s for s in self.devices if s.device == device), None)


def kind(device: torch.device) -> str:
    """Return ``cpu``, ``meta`` or ``accelerator``."""
    return device.type if device.type in ("cpu", "meta") else "accelerator"


def select(names: str | None, modules: Sequence[str], *, limit: float) -> Selection:
    """Choose the devices of a run, try each in a child process, then import the plug-ins here.

    Args:
        names: What ``--device`` says, or None for cpu, meta and every accelerator there is.
        modules: The plug-ins to import.
        limit: Seconds for each trial.
    """
    selection = _all(modules, limit) if names is None else _named(names, modules, limit)
    import_modules(modules)
    return selection


def import_modules(modules: Sequence[str]) -> None:
    """Import the plug-ins in order; whatever one raises becomes a BlitzError."""
    if modules:
        # torchvision asks torch.ops for its own version as it is imported, which torchax refuses.
        with contextlib.suppress(ImportError):
            importlib.import_module("torchvision")
    for name in modules:
        try:
            importlib.import_module(name)
        except Exception as error:  # whatever a backend's own start may raise
            raise BlitzError(f"--import {name}: {type(error).__name__}: {error}") from error


def _named(names: str, modules: Sequence[str], limit: float) -> Selection:
    wanted = list(dict.fromkeys(name.strip() for name in names.split(",")))
    elsewhere = [name for name in wanted if name not in ("cpu", "meta")]
    findings = {}
    if "cpu" in wanted or not elsewhere:  # before a thread is started here: it may be a fork
        findings["cpu"] = preflight.check("cpu", modules=() if elsewhere else modules, limit=limit)
    findings |= zip(elsewhere, _tried(elsewhere, modules, limit), strict=True)
    for finding in findings.values():
        _refuse_broken_import(finding)
        if not finding.usable:
            raise BlitzError(f"--device: {finding}")
    return Selection(
        tuple(META if name == "meta" else _selected(findings[name]) for name in wanted)
    )


def _all(modules: Sequence[str], limit: float) -> Selection:
    cpu = preflight.check("cpu", limit=limit)  # before a driver is touched: it may be a fork
    if not cpu.usable:
        raise BlitzError(str(cpu))
    first = _first_accelerator(modules, limit)
    if first is None:
        why = backend.driver_warning()
        none = f"{NO_ACCELERATOR}: {why}" if why else NO_ACCELERATOR
        return Selection((_selected(cpu), META), missing=none)
    findings = [first]
    if first.usable:
        kind, count = torch.device(first.facts["device"]).type, int(first.facts["count"])
        findings += _tried([f"{kind}:{i}" for i in range(1, count)], modules, limit)
    usable = [_selected(finding) for finding in findings if finding.usable]
    unusable = tuple(str(finding) for finding in findings if not finding.usable)
    missing = None if usable else unusable[0]
    return Selection((_selected(cpu), *usable, META), unusable, missing)


def _first_accelerator(modules: Sequence[str], limit: float) -> Finding | None:
    if not modules:
        found = devices.accelerator()
        return None if found is None else preflight.check(str(found), limit=limit)
    finding = preflight.check(preflight.ANY, modules=modules, limit=limit)
    _refuse_broken_import(finding)
    return None if finding.verdict is Verdict.NO_DRIVER else finding


def _tried(names: Sequence[str], modules: Sequence[str], limit: float) -> list[Finding]:
    with ThreadPoolExecutor() as pool:  # each thread waits for a process
        return list(pool.map(lambda n: preflight.check(n, modules=modules, limit=limit), names))


def _selected(finding: Finding) -> Selected:
    return Selected(finding.facts["device"], finding.gaps, finding.facts.get("model", ""))


def _refuse_broken_import(finding: Finding) -> None:
    kind, _, module = finding.stage.partition(" ")
    if finding.usable or kind != "import" or module == "torch":
        return
    if finding.verdict in (Verdict.CRASHED, Verdict.HUNG):
        raise BlitzError(
            f"--import {module}: {finding.verdict.phrase} ({finding.detail}). "
            f"{finding.verdict.remedy}"
        )
    raise BlitzError(f"--import {module}: {finding.detail}")
