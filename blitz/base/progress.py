"""A progress bar on a terminal, drawn by tqdm; no bar elsewhere, nor without tqdm."""

import os
from contextlib import nullcontext
from typing import Any

# tqdm's; in a checkout beside an installed torch alone, torch's stand-in, which knows no lines.
from torch.hub import tqdm  # type: ignore[attr-defined]

_lines_above = getattr(tqdm, "external_write_mode", None)


def bar(total: int, unit: str, done: int = 0, *, shown: bool = True, **options: Any) -> Any:
    """Return a bar on stderr, below the lines that a command prints; a context manager.

    Args:
        total: All there is to do.
        unit: What is counted.
        done: How much was done before; it does not count for the pace.
        shown: Whether it is drawn where stderr is a terminal.
        options: More of tqdm's.
    """
    movable = shown and os.environ.get("TERM") != "dumb" and _lines_above is not None
    return tqdm(
        total=total,
        initial=done,
        unit=unit,
        disable=None if movable else True,  # None: by isatty()
        leave=False,
        dynamic_ncols=True,
        **options,
    )


def line(text: str) -> None:
    """Print a line above the bar, if there is one, and flush it: tqdm.write does not."""
    # A print in the midst of a bar would stand on the bar's own line.
    with (_lines_above or nullcontext)():
        print(text, flush=True)
