"""A machine whose locale reads and writes files in ASCII, as one without UTF-8 does."""

import io

import pytest


def speak_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the test ends, a file that is opened by its path without an encoding is in ASCII."""
    monkeypatch.setattr(io, "text_encoding", lambda encoding, *_: encoding or "ascii")
