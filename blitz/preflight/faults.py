"""What the errors of torch and its backends mean: a verdict, or an operation that is missing."""

import re

from blitz.base.errors import first_line
from blitz.preflight.findings import Verdict


class WrongValues(Exception):
    """The device computed something else than what is known, or somewhere else."""


def verdict_on(error: BaseException) -> Verdict:
    """Return the verdict that an error stands for; FAILED where its words are not known."""
    if isinstance(error, WrongValues):
        return Verdict.WRONG_VALUES
    # Before the words: Python's own has none.
    if isinstance(error, MemoryError):
        return Verdict.OUT_OF_MEMORY
    text = f"{type(error).__name__}: {error}".lower()
    return next((verdict for verdict, sign in _SIGNS if re.search(sign, text)), Verdict.FAILED)


def missing_in(error: BaseException) -> str | None:
    """Return the operation or dtype that an error says the device lacks; None if it says no such.

    The error may be a warning that the operation falls back to the cpu.
    """
    if isinstance(error, AssertionError) or not isinstance(error, Exception):
        return None
    text = str(error)
    # The most exact first: later ones fit more, and name less.
    for sign in _MISSING:
        found = re.search(sign, text, re.IGNORECASE)
        if found:
            return found[1].rstrip(".")
    if isinstance(error, NotImplementedError) and not re.search(_NO_GAP, text):
        return first_line(error)
    return None


# Words of torch's own errors (2.6 to 2.15), lower case; the first that fits decides.
_SIGNS = (
    (
        Verdict.OUT_OF_MEMORY,
        r"out ?of ?memory|can't allocate memory|alloc_failed|not enough memory",
    ),
    (
        Verdict.WRONG_ARCHITECTURE,
        r"no kernel image|not compatible with the current pytorch|no binary for|nobinaryforgpu",
    ),
    (
        Verdict.NUMPY_UNUSABLE,
        r"numpy is not available|no module named 'numpy|_array_api not found|numpy[\w.]*multiarray",
    ),
    (Verdict.TORCHVISION_MISMATCH, r"torchvision"),
    (
        Verdict.NO_DRIVER,
        r"no nvidia driver|driver on your system is too old|driver version is insufficient"
        r"|no (cuda|hip|xpu) (gpus|devices)|no cuda-capable|invalid device ordinal"
        r"|driver initialization failed|no such device|device index|initialization error"
        r"|no xpu|invalid device id|device ordinal",
    ),
    (
        Verdict.NOT_BUILT,
        r"not compiled with|not linked with|expected one of cpu|don't have support"
        r"|could not run 'aten::|no module named|device string|not built with"
        r"|cannot access accelerator|please register|privateuse",
    ),
)

_MISSING = (
    r"could not run '(aten::[\w.]+)'",
    r"operator '(aten::[\w.]+)' is not currently (?:implemented|supported)",
    r"(\"\w+\" not implemented for '\w+')",
    r"^(\w+_overrideable) not implemented",
    r"(aten(?:::|\.)[\w.]+).*(?:not (?:yet )?(?:currently )?(?:implemented|supported)|unsupported)",
    r"(\w+::[\w.]+) has no (?:lowering|kernel|implementation)",
    r"not linked with support for (\w+ devices)",
    r"(?:not (?:implemented|supported)|unsupported|unimplemented)\b.*(aten(?:::|\.)[\w.]+)",
    r"(?:doesn't|does not) support (float64|double|complex\w*|bfloat16|float16|half|int64)",
    r"does not have a corresponding module registered as '(torch\.\w+)'",
)
_NO_GAP = r"meta tensor|missing the required \"forward\""  # torch's own, on any device
