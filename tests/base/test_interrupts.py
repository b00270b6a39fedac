"""Ctrl-C and SIGTERM that are noted, and obeyed where it suits."""

import signal
from collections.abc import Iterator

import pytest

from blitz.base import interrupts

BOTH = (signal.SIGINT, signal.SIGTERM)


@pytest.fixture(autouse=True)
def same_handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in BOTH}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("former", [signal.default_int_handler, signal.SIG_IGN, signal.SIG_DFL])
def test_handlers_are_put_back(former: signal.Handlers) -> None:
    for number in BOTH:
        signal.signal(number, former)

    with pytest.raises(ValueError, match="inside"), interrupts.deferred():
        raise ValueError("inside")

    assert [signal.getsignal(number) for number in BOTH] == [former, former]


def test_worker_ignores_ctrl_c_and_nothing_else() -> None:
    before = signal.getsignal(signal.SIGTERM)

    interrupts.left_to_parent(3)

    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    assert signal.getsignal(signal.SIGTERM) is before
