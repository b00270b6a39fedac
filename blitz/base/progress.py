"""How far a long piece of work has come: a bar on a terminal, nothing elsewhere.

Written here rather than taken from tqdm, so that there is one bar on every machine: a command must
work where tqdm is not installed.
"""

import os
import shutil
import sys
import time
from typing import TextIO

REDRAW_SECONDS = 0.1
_CELLS = 24


class Bar:
    """A line at the foot of a terminal that says how much is done and how long the rest takes.

    Args:
        total: All there is to do.
        unit: What is counted, in the plural.
        done: How much was done before; it does not count for the pace.
        stream: Where the bar is drawn, if that is a terminal. Lines go to ``out``.
        out: Where :meth:`line` writes.
    """

    def __init__(
        self,
        total: int,
        unit: str,
        done: int = 0,
        *,
        stream: TextIO | None = None,
        out: TextIO | None = None,
    ) -> None:
        self.total, self.unit = total, unit
        self._before = self._done = done
        self._stream = stream or sys.stderr
        self._out = out or sys.stdout
        self._shown = self._stream.isatty() and os.environ.get("TERM") != "dumb"
        self._drawn = 0.0
        self._started = time.monotonic()

    def __enter__(self) -> "Bar":
        self._draw()
        return self

    def __exit__(self, *_: object) -> None:
        self._clear()

    def update(self, done: int) -> None:
        """Show that ``done`` of the total is done."""
        self._done = done
        if time.monotonic() - self._drawn >= REDRAW_SECONDS:
            self._draw()

    def line(self, text: str) -> None:
        """Write a line of its own above the bar."""
        self._clear()
        print(text, file=self._out, flush=True)
        self._draw()

    def text(self, columns: int) -> str:
        """The bar as it stands, in fewer than ``columns`` characters."""
        part = self._done / self.total if self.total else 1.0
        full = int(part * _CELLS)
        bar = "█" * full + "░" * (_CELLS - full) if self._can_draw() else ""
        whole = f"{part:4.0%} {bar} {self._done:,} of {self.total:,} {self.unit}{self._pace()}"
        return whole[: columns - 1]

    def _pace(self) -> str:
        seconds = time.monotonic() - self._started
        done = self._done - self._before
        if done <= 0 or seconds <= 0:
            return ""
        left = (self.total - self._done) * seconds / done
        return f", {done / seconds:,.0f}/s, {duration(left)} left"

    def _can_draw(self) -> bool:
        encoding: str | None = getattr(self._stream, "encoding", None)
        return encoding is not None and encoding.lower().startswith("utf")

    def _draw(self) -> None:
        if self._shown:
            self._drawn = time.monotonic()
            text = self.text(shutil.get_terminal_size().columns)
            self._stream.write(f"\r{text}\x1b[K")
            self._stream.flush()

    def _clear(self) -> None:
        if self._shown:
            self._stream.write("\r\x1b[K")
            self._stream.flush()


def duration(seconds: float) -> str:
    """``seconds`` as people say it: 8 s, 2:05 min, 1:02:05 h."""
    whole = round(seconds)
    minutes, hours = whole // 60 % 60, whole // 3600
    if hours:
        return f"{hours}:{minutes:02d}:{whole % 60:02d} h"
    return f"{minutes}:{whole % 60:02d} min" if minutes else f"{whole} s"
