"""The texts of failed tests, kept for the report."""

import re
from collections.abc import Iterator

import pytest

# Characters of each text that are kept, from its end, where the error stands.
KEPT = 20_000

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff\ufffe\uffff]")


class Failures:
    """A pytest plugin that keeps the text of every failure; under xdist, in the controller."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the text of a failed test: its error, and what it printed."""
        if report.failed:
            text = printable("\n".join(_parts(report)))
            before = self._texts.get(report.nodeid)
            self._texts[report.nodeid] = (f"{before}\n\n{text}" if before else text)[-KEPT:]

    def get(self, node: str) -> str:
        """Return the text of the failed test ``node``; empty where there is none."""
        return self._texts.get(node, "")


def printable(text: str) -> str:
    """Return ``text`` without a terminal's colours; other characters that no page may hold as �."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _CONTROL.sub(lambda found: "" if found[0].startswith("\x1b[") else "\ufffd", text)


def _parts(report: pytest.TestReport) -> Iterator[str]:
    yield report.longreprtext
    for title, content in report.sections:
        if title.startswith("Captured") and content.strip():
            yield f"\n--- {title} ---\n{content.rstrip()}"
