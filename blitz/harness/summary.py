"""The lines that a run adds to pytest's own: the header and the verdict on the tutorial."""

import re
import textwrap
from collections import Counter
from collections.abc import Collection, Iterator

from blitz.base.versions import stack
from blitz.harness.contents import KINDS, SAID, Contents
from blitz.harness.outcomes import (
    BROKEN,
    CRASHED,
    HELD,
    HUNG,
    KNOWN,
    NO_DEVICE,
    NOT_RUN,
    UNSUPPORTED,
    Results,
)
from blitz.harness.selection import Selection
from blitz.harness.texts import Texts, english


def header(selection: Selection, threads: int, images: str) -> list[str]:
    """Return the machine in a few lines: versions, devices, threads, origin of the images."""
    named = ", ".join(str(selected) for selected in selection.devices)
    left_out = selection.unusable or ((selection.missing,) if selection.missing else ())
    versions = "torch {torch}, torchvision {torchvision}, NumPy {numpy}, Python {python}"
    return [
        versions.format(**stack()),
        "; ".join([f"devices: {named}", *left_out]),
        *(
            f"unsupported on {selected.place}: {', '.join(selected.gaps)}"
            for selected in selection.devices
            if selected.gaps
        ),
        f"threads: {threads}",
        f"images: {images}",
    ]


def lines(contents: Contents, results: Results, missing: str | None) -> Iterator[str]:
    """Yield the verdict: claims in all, what held on each device, what is no longer true."""
    yield from (line.replace("`", "") for line in accounts(contents, english()))
    for device in sorted(results.devices(), key=cpu_first):
        yield from _device_lines(device, results)
    if missing is not None:
        yield f"  0 claims ran on an accelerator: {missing}"
    ran = {outcome.key for outcome in results}
    for title, told in (
        ("No longer true, or never true:", untrue(contents, ran)),
        ("Wrong in the translation only:", mistranslated(contents, ran)),
    ):
        found = list(told)
        if found:
            yield from ("", title, *found)


def untrue(contents: Contents, ran: Collection[str]) -> Iterator[str]:
    """Yield a line for each untrue sentence of the claims ``ran``, and the slips beside them."""
    tests = contents.untrue(upstream=False)
    for claim, section in contents.claims():
        if claim.erratum is not None and any(each.key in ran for each in section.claims):
            yield f"  {claim.key}  slip in a listing: {claim.erratum}"
        for test, verdict in tests.get(claim.key, []) if claim.key in ran else []:
            what = "mistaken" if verdict.since is None else f"changed in {verdict.since}"
            yield f"  {claim.key}  {what}: the text says {verdict.text} Now: {test.sentence}"


def mistranslated(contents: Contents, ran: Collection[str]) -> Iterator[str]:
    """Yield a line for each sentence of the claims ``ran`` of which the English is right."""
    for key, tests in contents.untrue(upstream=True).items():
        for test, verdict in tests if key in ran else []:
            yield (
                f"  {key}  the text says {verdict.text} The English says {verdict.upstream} "
                f"Now: {test.sentence}"
            )


def wrapped(line: str, width: int) -> str:
    """Return ``line`` broken at ``width`` columns, with what follows under its text."""
    label = re.match(r" *(\S.*? {2,})?", line)
    return textwrap.fill(
        line,
        width,
        subsequent_indent=" " * len(label[0] if label else ""),
        break_long_words=False,
        break_on_hyphens=False,
    )


def accounts(contents: Contents, texts: Texts) -> list[str]:
    """Return how many claims there are, by who says them and by what became of them."""
    said, kinds = contents.said(), Counter(claim.kind for claim, _ in contents.claims())
    return [
        texts("counts.said", all=said.total(), **{who: said[who] for who in SAID}),
        texts("counts.accounts", **{kind: kinds[kind] for kind in KINDS}),
    ]


def cpu_first(device: str) -> tuple[int, str]:
    """Return what sorts the devices of a run: the cpu, accelerators, meta, no device."""
    order = {"cpu": 0, "meta": 2, NO_DEVICE: 3}
    return order.get(device, 1), device


def _device_lines(device: str, results: Results) -> Iterator[str]:
    states = list(results.claims(device).values())
    counted = [f"{states.count(HELD)} claims held", f"{states.count(BROKEN)} broken"]
    counted += [
        f"{states.count(s)} {s}" for s in (CRASHED, HUNG, UNSUPPORTED, KNOWN) if s in states
    ]
    counted += [f"{states.count(NOT_RUN)} not run ({results.ran_on(device)} tests ran)"]
    yield f"  {device + ':':<13}{', '.join(counted)}"
    for state in (CRASHED, HUNG, UNSUPPORTED, KNOWN, NOT_RUN):
        for reason, count in results.reasons(device, state).items():
            yield f"  {'':<13}{count} {state}: {reason}"
