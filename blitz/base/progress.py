"""A progress bar on a terminal, drawn by tqdm; no bar elsewhere, or where tqdm is missing."""

import os
import sys
from contextlib import nullcontext
from typing import Any, TextIO


class Bar:
    """A bar below the lines that a command prints, for use in a ``with`` statement.

    Args:
        total: All there is to do.
        unit: What is counted.
        done: How much was done before; it does not count for the pace.
        stream: Where the bar is drawn if that is a terminal; stderr by default.
        bytes: Whether to count in kB and MB.
    """

    def __init__(
        self,
        total: int,
        unit: str,
        done: int = 0,
        *,
        stream: TextIO | None = None,
        bytes: bool = False,
    ) -> None:
        self._bar: Any = None
        try:
            from tqdm import tqdm
        except ImportError:
            return
        self._bar = tqdm(
            total=total,
            initial=done,
            unit=unit,
            unit_scale=bytes,
            file=stream or sys.stderr,
            disable=True if os.environ.get("TERM") == "dumb" else None,  # None: by isatty()
            leave=False,
            dynamic_ncols=True,
        )

    def __enter__(self) -> "Bar":
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def update(self, done: int) -> None:
        """Show that ``done`` of the total is done."""
        if self._bar is not None:
            self._bar.update(done - self._bar.n)

    def line(self, text: str) -> None:
        """Print a line above the bar, and flush it: tqdm.write does not."""
        # A print in the midst of a bar would stand on the bar's own line.
        with nullcontext() if self._bar is None else self._bar.external_write_mode():
            print(text, flush=True)
