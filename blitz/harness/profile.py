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

import contextlib
import tomllib
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from blitz.base.errors import BlitzError
from blitz.harness import properties
from blitz.harness.containment import device_of
from blitz.harness.contents import Contents
from blitz.harness.report.texts import Message
from blitz.harness.results import HELD, KNOWN, NOT_RUN, Results
from blitz.harness.selection import kind

SKIP, XFAIL, TOLERANCE = "skip", "xfail", "tolerance"
NEEDED = "tolerance needed"  # in place of TOLERANCE, where a test did not hold without

DEFAULT = {"rtol": 1.3e-6, "atol": 1e-5}  # assert_close's own for float32


class ProfileError(BlitzError):
    """A profile that cannot be used; the message names the file, the line's key and the fault."""


@dataclass(frozen=True)
class Line:
    """One line of a profile: what is done about one claim, and why.

    Attributes:
        key: The claim's key.
        action: ``skip``, ``xfail`` or ``tolerance``.
        reason: Why.
        rtol: The least relative tolerance, for a tolerance.
        atol: The least absolute one.
    """

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
        """The line for a test of the claim ``key`` on ``device``; None where there is none.

        Args:
            key: The claim's key.
            device: Where the test runs, None for a test that needs no device.
            alone: Whether the run has no accelerator: then a profile without a device is for
                whatever devices there are.
        """
        if device is None:
            return None
        fits = (
            device.type == self.device_type
            if self.device_type
            else alone or kind(device) == "accelerator"
        )
        return self.lines.get(key) if fits else None


def load(path: Path, keys: Iterable[str] | None = None) -> Profile:
    """The profile in the TOML file ``path``.

    Args:
        path: The file.
        keys: The keys of all claims, to find lines for a claim that does not exist; None where
            they are not known.

    Raises:
        ProfileError: the file cannot be read or holds something else; the message says what.
    """
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
    unknown = [] if keys is None else sorted(lines.keys() - set(keys))
    if unknown:
        raise ProfileError(
            f"profile {path}: {', '.join(unknown)}: stale, there is no such claim. Keys stand in "
            "spec/contents.toml."
        )
    return Profile(path, lines, None if device_type is None else device_type.split(":")[0])


def _line(path: Path, key: str, entry: Any) -> Line:
    known = {
        frozenset({SKIP}): lambda: Line(key, SKIP, entry[SKIP]),
        frozenset({XFAIL}): lambda: Line(key, XFAIL, entry[XFAIL]),
    }
    tolerances = {"rtol", "atol"}
    names = frozenset(entry) if isinstance(entry, dict) else frozenset()
    if names in known:
        line = known[names]()
    elif "reason" in names and names - {"reason"} and names - {"reason"} <= tolerances:
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


class Applied:
    """A pytest plugin that applies a profile to the tests of claims.

    Attributes:
        whole: The keys whose tests are all part of the run; lines of others are not judged.
    """

    def __init__(self, profile: Profile, alone: bool) -> None:
        self.profile = profile
        self.whole: set[str] = set()
        self._alone = alone
        self._left_out: set[str] = set()

    def line_of(self, item: pytest.Item) -> Line | None:
        """The line for a test; None where the profile says nothing about it."""
        key = properties.get(item.user_properties, properties.KEY)
        return None if key is None else self.profile.line(key, device_of(item), self._alone)

    def apply(self, items: Iterable[pytest.Item]) -> None:
        """Mark the tests that have a line; call it when the items know their keys."""
        for item in items:
            line = self.line_of(item)
            if line is None:
                continue
            properties.put(item, properties.PROFILE, line.action)
            if line.action == SKIP:
                item.add_marker(pytest.mark.skip(reason=f"profile: {line.reason}"))

    def widen(self) -> Callable[[], None]:
        """Let ``assert_close`` heed the profile from now on; returns what undoes that.

        Tests get it by importing it, so this must come before they are collected.
        """
        old = torch.testing.assert_close
        if any(line.action == TOLERANCE for line in self.profile.lines.values()):
            torch.testing.assert_close = widening(old)
        return lambda: setattr(torch.testing, "assert_close", old)

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        """Remember the claims that are not checked whole."""
        for item in items:
            key = properties.get(item.user_properties, properties.KEY)
            self._left_out.add(key or "")

    def collected(self, items: list[pytest.Item], contents: Contents) -> None:
        """Work out :attr:`whole` from the items of the run and the tests of each claim."""
        tests = {claim.key: set(claim.tests) for claim, _ in contents.claims()}
        found: dict[str, set[str]] = {}
        for item in items:
            key = properties.get(item.user_properties, properties.KEY)
            if key is not None and isinstance(item, pytest.Function):
                found.setdefault(key, set()).add(item.originalname.removeprefix("test_"))
        self.whole = {key for key, ids in found.items() if ids >= tests[key]}
        self.whole -= self._left_out

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, None, None]:
        """Widen the tolerances in the test, and remember whether it needed that."""
        line = self.line_of(item)
        if line is None or line.action != TOLERANCE:
            return (yield)
        with widened(line.rtol, line.atol) as use:
            try:
                return (yield)
            finally:
                if use.needed:
                    properties.put(item, properties.PROFILE, NEEDED)

    def stale(self, results: Results) -> list[Message]:
        """The faults of lines that the run has refuted."""
        faults = []
        for key, line in self.profile.lines.items():
            tests = [o for o in results if o.key == key and o.profile and o.state != NOT_RUN]
            if key not in self.whole or not tests:
                continue
            if line.action == XFAIL and not any(o.state == KNOWN for o in tests):
                faults.append(("fault.stale_xfail", key))
            if line.action == TOLERANCE and all(
                o.state == HELD and o.profile != NEEDED for o in tests
            ):
                faults.append(("fault.stale_tolerance", key))
        profile = str(self.profile.path)
        return [Message(fault, {"profile": profile, "key": key}) for fault, key in faults]


@dataclass
class Use:
    """Whether a widened tolerance was needed."""

    rtol: float
    atol: float
    needed: bool = False


_in_force: list[Use] = []


@contextlib.contextmanager
def widened(rtol: float, atol: float) -> Iterator[Use]:
    """Let ``assert_close`` pass what is within these tolerances, and note whether it had to."""
    use = Use(rtol, atol)
    _in_force.append(use)
    try:
        yield use
    finally:
        _in_force.remove(use)


def widening(assert_close: Callable[..., None]) -> Callable[..., None]:
    """``torch.testing.assert_close`` that heeds :func:`widened`."""

    def assert_close_or_within(actual: Any, expected: Any, **options: Any) -> None:
        __tracebackhide__ = True
        try:
            return assert_close(actual, expected, **options)
        except AssertionError:
            if not _in_force:
                raise
        use = _in_force[-1]
        given = {
            name: max(options.get(name) or default, getattr(use, name))
            for name, default in DEFAULT.items()
        }
        assert_close(actual, expected, **{**options, **given})
        use.needed = True

    return assert_close_or_within
