"""The gaps of a backend that its maintainer knows of, kept in a file by claim key.

::

    device = "npu"  # optional: the type of device it is for; every accelerator without it

    [claims]
    T16 = { skip = "takes an hour on this device" }
    N34 = { xfail = "no gradient of a pool yet" }
    A12 = { rtol = 1e-3, atol = 1e-4, reason = "its sums are kept in bfloat16" }

``skip`` leaves the claim's tests out. ``xfail`` lets them fail; where all of them hold, the line is
stale. A tolerance widens ``torch.testing.assert_close`` in the claim's tests; where none of them
needs it, the line is stale. A stale line fails the run.
"""

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from blitz.base.errors import BlitzError
from blitz.harness.selection import kind

SKIP, XFAIL, TOLERANCE = "skip", "xfail", "tolerance"
NEEDED = "tolerance needed"  # in place of TOLERANCE, where a test did not hold without


class ProfileError(BlitzError):
    """A profile that cannot be used; the message names the file, the line's key and the fault."""


@dataclass(frozen=True)
class Line:
    """What is done about one claim, and why; ``rtol`` and ``atol`` are the least to be in force."""

    key: str
    action: str
    reason: str
    rtol: float = 0.0
    atol: float = 0.0


@dataclass(frozen=True)
class Profile:
    """The lines of a file, by key, and the type of device that they are for."""

    path: Path
    lines: dict[str, Line]
    device_type: str | None = None

    def line(self, key: str, device: torch.device | None, alone: bool) -> Line | None:
        """Return the line for a test of the claim ``key``; None where there is none.

        Without an accelerator in the run (``alone``) a profile that names no device is for all.
        """
        if device is None:  # a backend can change what is done on the cpu too, as torchax does
            line = self.lines.get(key)
            named = self.device_type is not None and not alone
            return line if named and line is not None and line.action == XFAIL else None
        fits = (
            device.type == self.device_type
            if self.device_type
            else alone or kind(device) == "accelerator"
        )
        return self.lines.get(key) if fits else None


def load(path: Path, keys: Iterable[str]) -> Profile:
    """Return the profile in the TOML file ``path`` for claims of the given keys."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ProfileError(f"profile {path}: {error}") from error
    claims, device_type = table.pop("claims", {}), table.pop("device", None)
    if table or not isinstance(claims, dict) or not isinstance(device_type, str | None):
        raise ProfileError(
            f"profile {path}: {', '.join(table) or 'a value'} is not known. Give device = "
            '"TYPE" and a table [claims] with lines such as T16 = { skip = "why" }.'
        )
    lines = {key: _line(path, key, entry) for key, entry in claims.items()}
    unknown = sorted(lines.keys() - set(keys))
    if unknown:
        raise ProfileError(
            f"profile {path}: {', '.join(unknown)}: stale, there is no such claim. Keys stand in "
            "spec/contents.toml."
        )
    return Profile(path, lines, None if device_type is None else device_type.split(":")[0])


def _line(path: Path, key: str, entry: Any) -> Line:
    names = set(entry) if isinstance(entry, dict) else set()
    if names in ({SKIP}, {XFAIL}):
        [(action, reason)] = entry.items()
        line = Line(key, action, reason)
    elif {"reason"} < names <= {"reason", "rtol", "atol"}:
        line = Line(key, TOLERANCE, entry["reason"], entry.get("rtol", 0.0), entry.get("atol", 0.0))
    else:
        raise ProfileError(
            f'profile {path}: {key}: give {{ skip = "why" }}, {{ xfail = "why" }} or '
            '{ rtol = 1e-3, atol = 1e-4, reason = "why" }.'
        )
    numbers = all(isinstance(n, int | float) and n >= 0 for n in (line.rtol, line.atol))
    if not isinstance(line.reason, str) or not line.reason.strip() or not numbers:
        raise ProfileError(
            f"profile {path}: {key}: the reason is a sentence, and tolerances are numbers of 0 "
            "or more."
        )
    return line
