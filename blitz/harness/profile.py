"""The gaps of a backend that its maintainer knows of, kept in a file by claim key.

::

    device = "npu"  # optional: the type of device it is for; every accelerator without it

    [claims]
    T16 = { skip = "takes an hour on this device" }
    N34 = { xfail = "no gradient of a pool yet" }
    A12 = { rtol = 1e-3, atol = 1e-4, reason = "its sums are kept in bfloat16" }

``skip`` leaves the claim's tests out. ``xfail`` lets them fail; where all of them hold, the line is
stale, and fails the run. A tolerance widens ``torch.testing.assert_close`` in the claim's tests.
"""

import contextlib
import tomllib
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch

from blitz.base.errors import BlitzError
from blitz.harness.contents import Contents, parts_of
from blitz.harness.outcomes import KEY, KNOWN, NOT_RUN, PROFILE, Results, device_of, get_property
from blitz.harness.selection import kind
from blitz.harness.texts import Message

SKIP, XFAIL, TOLERANCE = "skip", "xfail", "tolerance"


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

    def line(self, key: str, device: torch.device | None) -> Line | None:
        """Return the line for a test of the claim ``key``; None where there is none."""
        line, named = self.lines.get(key), self.device_type
        if device is None:  # a backend can change what is done on the cpu too, as torchax does
            fits = named is not None and line is not None and line.action == XFAIL
        else:
            fits = device.type == named if named else kind(device) == "accelerator"
        return line if fits else None

    def stale(self, results: Results) -> list[Message]:
        """Return the faults of the ``xfail`` lines that the run has refuted."""
        judged = [o for o in results if o.profile and o.state != NOT_RUN]
        failed = {o.key for o in judged if o.state == KNOWN}
        stale = dict.fromkeys(o.key for o in judged if o.key not in failed)
        return [Message("fault.stale", {"profile": str(self.path), "key": key}) for key in stale]


def load(path: Path, keys: Iterable[str]) -> Profile:
    """Return the profile in the TOML file ``path`` for claims of the given keys.

    Raises:
        BlitzError: it cannot be used; the message names the file, the line's key and the fault.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BlitzError(f"profile {path}: {error}") from error
    claims, device_type = table.pop("claims", {}), table.pop("device", None)
    if table or not isinstance(claims, dict) or not isinstance(device_type, str | None):
        raise BlitzError(
            f"profile {path}: {', '.join(table) or 'a value'} is not known. Give device = "
            '"TYPE" and a table [claims] with lines such as T16 = { skip = "why" }.'
        )
    lines = {key: _line(path, key, entry) for key, entry in claims.items()}
    unknown = sorted(lines.keys() - set(keys))
    if unknown:
        raise BlitzError(
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
        line = Line(key, "", "")
    numbers = all(isinstance(n, int | float) and n >= 0 for n in (line.rtol, line.atol))
    if not isinstance(line.reason, str) or not line.reason.strip() or not numbers:
        raise BlitzError(
            f'profile {path}: {key}: give {{ skip = "why" }}, {{ xfail = "why" }} or '
            '{ rtol = 1e-3, atol = 1e-4, reason = "why" }, with numbers of 0 or more.'
        )
    return line


class ProfilePlugin:
    """A pytest plugin that applies a profile to the tests of claims.

    Args:
        profile: The profile.
        contents: Gives the claims and their tests.
    """

    def __init__(self, profile: Profile, contents: Callable[[], Contents]) -> None:
        self.profile, self._contents = profile, contents
        self._left_out: set[str | None] = set()

    def line_of(self, item: pytest.Item) -> Line | None:
        """Return the line for a test; None where the profile says nothing about it."""
        key = get_property(item, KEY)
        return None if key is None else self.profile.line(key, device_of(item))

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Mark the tests that are left out or may fail; the items know their keys by now."""
        for item in items:
            line = self.line_of(item)
            if line is not None and line.action == SKIP:
                item.add_marker(pytest.mark.skip(reason=f"profile: {line.reason}"))
            if line is not None and line.action == XFAIL:
                item.add_marker(pytest.mark.xfail(reason=f"profile: {line.reason}", strict=False))

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        """Remember the claims that are not checked whole."""
        self._left_out |= {get_property(item, KEY) for item in items}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Mark the tests that their line is judged by: where all of the claim's are in the run."""
        ids = {parts_of(item.nodeid)[0] for item in session.items if get_property(item, KEY)}
        claims = [claim for claim, _ in self._contents().claims()]
        whole = {claim.key for claim in claims if ids.issuperset(claim.tests)} - self._left_out
        for item in session.items:
            line = self.line_of(item)
            if line is not None and line.action == XFAIL and line.key in whole:
                item.user_properties.append((PROFILE, XFAIL))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, None, None]:
        """Widen the tolerances in the test."""
        line = self.line_of(item)
        if line is None or line.action != TOLERANCE:
            return (yield)
        with widened(line.rtol, line.atol):
            return (yield)


@contextlib.contextmanager
def widened(rtol: float, atol: float) -> Iterator[None]:
    """Let ``assert_close`` pass what is within these tolerances."""
    comparison = torch.testing._comparison
    tolerances = comparison.get_tolerances

    def least(*inputs: Any, **given: Any) -> tuple[float, float]:
        own = tolerances(*inputs, **given)
        return max(own[0], rtol), max(own[1], atol)

    # Not exported; assert_close calls it in torch 2.6 to 2.15.
    with patch.object(comparison, "get_tolerances", least):
        yield
