"""What becomes of a trial: a fixed list of verdicts, each with its remedy."""

from dataclasses import dataclass, field
from enum import Enum

LIMIT = 120.0
"""Seconds that a trial may take, with the import of torch and the start of a cold GPU."""

ANY = "accelerator"
"""In place of a device's name: the accelerator that torch finds, whatever its name."""


class Verdict(Enum):
    """What became of a trial: a phrase, and what to do about it."""

    USABLE = ("usable", "Nothing to do.")
    NOT_BUILT = (
        "torch was built without this device",
        "Check the device's name, install a build of torch that supports it, or name the plug-in "
        "that brings it with --import MODULE.",
    )
    NO_DRIVER = (
        "no such device, no driver, or too old a driver",
        "Check that the vendor's tool (nvidia-smi, rocm-smi, xpu-smi) lists the device, and "
        "install a driver that suits this build of torch.",
    )
    WRONG_ARCHITECTURE = (
        "this build of torch has no kernels for this GPU's architecture",
        "Install a build of torch whose list of architectures holds this GPU's.",
    )
    TORCHVISION_MISMATCH = (
        "torchvision was built for another torch",
        "Install torch and the torchvision that belongs to it, both in one command.",
    )
    NUMPY_UNUSABLE = (
        "NumPy cannot be used from torch",
        "Install NumPy, in a version that this build of torch was made for.",
    )
    OUT_OF_MEMORY = (
        "out of memory",
        "End the other programs that use the device, or choose another one.",
    )
    WRONG_VALUES = (
        "wrong values",
        "Do not train on it. Update its driver and its build of torch, then report it to the "
        "maintainers of the backend.",
    )
    FAILED = (
        "an operation that every device needs failed",
        "Read the error, update the backend, and report it to its maintainers.",
    )
    CRASHED = (
        "crashed",
        "The driver and this build of torch do not go together, or the device is broken. Update "
        "both; for a GPU that torch half supports, choose another build.",
    )
    HUNG = (
        "hung",
        "Restart the device or the machine and end other programs that use it; if it is only "
        "slow, allow it more time with --preflight-limit SECONDS.",
    )

    def __init__(self, phrase: str, remedy: str) -> None:
        self.phrase = phrase
        self.remedy = remedy


@dataclass(frozen=True)
class Finding:
    """The outcome of a trial.

    Attributes:
        device: The device's name as it was asked for.
        verdict: What became of the trial.
        detail: The error, the wrong values, or the signal; empty where it went well.
        stage: What the trial was doing last.
        facts: What is known of the device and of this torch, by name. ``device`` is the device
            with its index, ``count`` how many of its type this process may use.
        gaps: What the device does not have, such as ``float64`` or ``aten::mul.out``, and the
            first line of the error that said so.
    """

    device: str
    verdict: Verdict
    detail: str = ""
    stage: str = ""
    facts: dict[str, str] = field(default_factory=dict)
    gaps: dict[str, str] = field(default_factory=dict)

    @property
    def usable(self) -> bool:
        """Return whether the device may be used."""
        return self.verdict is Verdict.USABLE

    def __str__(self) -> str:
        """Return the device, the fault and the remedy in a sentence or two."""
        if self.usable:
            return f"device {self.device!r} is usable"
        detail = f" ({self.detail})" if self.detail else ""
        return (
            f"device {self.device!r} cannot be used: {self.verdict.phrase}{detail}, at the stage "
            f"{self.stage!r}. {self.verdict.remedy}"
        )
