"""Claims by key: where they are tested, what the text says, what is true and since when."""

from collections.abc import Iterator, Sequence

import pytest
from _pytest.terminal import TerminalReporter  # pytest 8.3 does not export it

from blitz.base.errors import BlitzError
from blitz.harness.contents import Claim, Contents
from blitz.harness.outcomes import KEY, get_property
from blitz.harness.source import Test
from blitz.harness.texts import english


class ClaimFilter:
    """A pytest plugin that runs the tests of some claims only, and tells what is known of each.

    Keys are read in large letters or small; one that is none of the contents' is refused.
    """

    def __init__(self, contents: Contents, keys: Sequence[str]) -> None:
        self._contents = contents
        self._keys = dict.fromkeys(key.strip().upper() for key in keys)
        unknown = self._keys.keys() - {claim.key for claim, _ in contents.claims()}
        if unknown:
            raise BlitzError(
                f"--claim {', '.join(sorted(unknown))}: the contents have no such "
                "claim. The keys stand in spec/contents.toml."
            )

    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        """Keep the tests of the claims."""
        wanted = [item for item in items if self._wants(item)]
        left_out = [item for item in items if not self._wants(item)]
        if left_out:
            config.hook.pytest_deselected(items=left_out)
            items[:] = wanted

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: TerminalReporter) -> None:
        """Tell of each claim, in the contents' order, as the last thing on the screen."""
        for claim, section in self._contents.claims():
            if claim.key in self._keys:
                terminalreporter.section(claim.key)
                terminalreporter.write_line(f"{section.heading}: {section.address}")
                for line in told(claim, self._contents):
                    terminalreporter.write_line(line)

    def _wants(self, item: pytest.Item) -> bool:
        return get_property(item, KEY) in self._keys


def told(claim: Claim, contents: Contents) -> Iterator[str]:
    """Yield what is known of ``claim``, a line for each thing: who says it, its tests, verdicts."""
    if claim.said != "text":
        yield english()(f"said.{claim.said}")
    if claim.erratum is not None:
        yield f"slip in a listing: {claim.erratum}"
    if claim.untestable is not None:
        yield f"no test can check it: {claim.untestable}"
    for test in contents.tests(claim):
        yield from _told_of_test(test)


def _told_of_test(test: Test) -> Iterator[str]:
    yield f"{test.where}  test_{test.id}"
    verdict, sentence = test.verdict, test.sentence
    if verdict is None:
        yield f"  holds: {sentence}"
        return
    if not verdict.untrue():
        yield f"  holds, {verdict.span}: {verdict.text}"
        return
    yield f"  {verdict.kind}, {verdict.span}: {verdict.text}"
    if verdict.upstream is not None:
        yield f"  wrong in the translation only, the English says: {verdict.upstream}"
    yield f"  true now: {sentence}"
