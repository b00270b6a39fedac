"""What a test's report carries beside its outcome, for the summary and for machines.

They are pytest's user properties: ``--junitxml`` writes them, and under xdist they travel from the
workers to the controller.
"""

from collections.abc import Iterable

import pytest

from blitz.harness.contents import Place

KEY, DEVICE, VERDICT, SECTION = "claim", "device", "verdict", "section"
SENTENCE, OUTCOME, PROFILE = "sentence", "outcome", "profile"


def get(properties: Iterable[tuple[str, object]], name: str) -> str | None:
    """The value of the property ``name``, or None."""
    return next((str(value) for key, value in properties if key == name), None)


def put(item: pytest.Item, name: str, value: str) -> None:
    """Give the test the property ``name``, in place of one that it has."""
    item.user_properties[:] = [pair for pair in item.user_properties if pair[0] != name]
    item.user_properties.append((name, value))


def of_claim(item: pytest.Item, place: Place, device: str) -> None:
    """Give the test of a claim its key, device, verdict, section and sentence."""
    put(item, KEY, place.claim.key)
    put(item, "key", place.claim.key)  # the word of those who read the report
    put(item, DEVICE, device)
    put(item, VERDICT, place.test.untrue.kind if place.test.untrue else "holds")
    put(item, SECTION, place.section.address)
    put(item, SENTENCE, place.test.sentence)
