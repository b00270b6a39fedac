"""The profile of a backend's known gaps, applied to the tests of claims."""

import contextlib
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from blitz.harness.contents import Contents
from blitz.harness.outcomes import (
    HELD,
    KEY,
    KNOWN,
    NOT_RUN,
    PROFILE,
    Results,
    device_of,
    get_property,
    put_property,
)
from blitz.harness.profile import NEEDED, SKIP, TOLERANCE, XFAIL, Line, Profile
from blitz.harness.texts import Message


class ProfilePlugin:
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
        """Return the line for a test; None where the profile says nothing about it."""
        key = get_property(item.user_properties, KEY)
        return None if key is None else self.profile.line(key, device_of(item), self._alone)

    def apply(self, items: Iterable[pytest.Item]) -> None:
        """Mark the tests that have a line; call it when the items know their keys."""
        for item in items:
            line = self.line_of(item)
            if line is None:
                continue
            put_property(item, PROFILE, line.action)
            if line.action == SKIP:
                item.add_marker(pytest.mark.skip(reason=f"profile: {line.reason}"))

    def widen(self) -> Callable[[], None]:
        """Let ``assert_close`` heed the profile from now on; return what undoes that.

        Tests get it by importing it, so this must come before they are collected.
        """
        old = torch.testing.assert_close
        if any(line.action == TOLERANCE for line in self.profile.lines.values()):
            torch.testing.assert_close = widening(old)
        return lambda: setattr(torch.testing, "assert_close", old)

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        """Remember the claims that are not checked whole."""
        for item in items:
            key = get_property(item.user_properties, KEY)
            self._left_out.add(key or "")

    def collected(self, items: list[pytest.Item], contents: Contents) -> None:
        """Work out :attr:`whole` from the items of the run and the tests of each claim."""
        tests = {claim.key: set(claim.tests) for claim, _ in contents.claims()}
        found: dict[str, set[str]] = {}
        for item in items:
            key = get_property(item.user_properties, KEY)
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
                    put_property(item, PROFILE, NEEDED)

    def stale(self, results: Results) -> list[Message]:
        """Return the faults of lines that the run has refuted."""
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
    """Return ``torch.testing.assert_close`` that heeds :func:`widened`."""

    def assert_close_or_within(actual: Any, expected: Any, **options: Any) -> None:
        __tracebackhide__ = True
        try:
            return assert_close(actual, expected, **options)
        except AssertionError:
            if not _in_force:
                raise
        use = _in_force[-1]
        # Not exported; every pair of tensors and of numbers asks it, in torch 2.6 to 2.15.
        comparison = torch.testing._comparison
        strict = comparison.get_tolerances

        def least(*inputs: Any, **given: Any) -> tuple[float, float]:
            rtol, atol = strict(*inputs, **given)
            return max(rtol, use.rtol), max(atol, use.atol)

        comparison.get_tolerances = least
        try:
            assert_close(actual, expected, **options)
        finally:
            comparison.get_tolerances = strict
        use.needed = True

    return assert_close_or_within
