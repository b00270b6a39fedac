"""The tolerances in force: how far a result may be from what is known, and where it says so.

``torch.testing.assert_close`` has a tolerance for each dtype. Where a test of the specification
gives another, that stands at the call; it is read from the source, so that the table is what is
in force and not what somebody wrote down. A profile's tolerances come last and widen the others.
"""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

import torch

from blitz.harness.contents import Contents
from blitz.harness.profile import TOLERANCE, Profile
from blitz.harness.selection import Selection

DTYPES = {
    "float64, complex128": torch.float64,
    "float32, complex64": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "whole numbers, bool": torch.int64,
}


@dataclass(frozen=True)
class Row:
    """A tolerance: ``|found - known| <= atol + rtol · |known|``.

    Attributes:
        operation: A claim's key and test, or any other.
        rtol: As in the source, where it is worked out.
        reason: A profile's reason; empty where the specification gives it at the call.
    """

    device: str
    dtype: str
    operation: str
    rtol: str
    atol: str
    reason: str = ""


def table(selection: Selection, contents: Contents, profile: Profile | None) -> list[Row]:
    """Return every tolerance in force on the devices of a run; meta has no values to compare."""
    used = [selected for selected in selection.devices if selected.kind != "meta"]
    rows = [
        Row(selected.place, name, "any other", *_by_default(dtype))
        for selected in used
        for name, dtype in DTYPES.items()
    ]
    every = ", ".join(selected.place for selected in used)
    rows += [Row(every, "any", name, rtol, atol) for name, rtol, atol in _in_the_source(contents)]
    if profile is None:
        return rows
    for line in profile.lines.values():
        if line.action == TOLERANCE:
            where = profile.device_type or "accelerators"
            rtol, atol = f"at least {line.rtol:g}", f"at least {line.atol:g}"
            rows.append(Row(where, "any", line.key, rtol, atol, line.reason))
    return rows


def lines(rows: Iterable[Row]) -> Iterator[str]:
    """Yield the table as aligned text, with a head."""
    cells = [("device", "dtype", "kind of operation", "rtol", "atol", "")]
    cells += [tuple(asdict(row).values()) for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(5)]
    for row in cells:
        fixed = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False))
        yield f"  {fixed}  {row[5]}".rstrip()


def _by_default(dtype: torch.dtype) -> tuple[str, str]:
    # Not exported; assert_close takes its tolerances from there in torch 2.6 to 2.15.
    rtol, atol = torch.testing._comparison.default_tolerances(dtype)
    return f"{rtol:g}", f"{atol:g}"


def _in_the_source(contents: Contents) -> Iterator[tuple[str, str, str]]:
    """Yield (claim and test, rtol, atol) of every call that gives its own."""
    for place in contents.places():
        for rtol, atol in dict.fromkeys(_given(place.test.code)):
            yield f"{place.claim.key} {place.test.id}", rtol, atol


def _given(code: str) -> Iterator[tuple[str, str]]:
    for call in ast.walk(ast.parse(code)):
        if isinstance(call, ast.Call):
            options = {word.arg: ast.unparse(word.value) for word in call.keywords}
            if "rtol" in options or "atol" in options:
                yield options.get("rtol", "0"), options.get("atol", "0")
