"""Why a run must not count as a success, beside its failed tests."""

from blitz.harness.profile import Applied
from blitz.harness.results import Results
from blitz.harness.selection import Selected, Selection


def faults(
    results: Results, selection: Selection, asked_for: bool, profile: Applied | None
) -> list[str]:
    """The faults of a run, in words; none where it may count as a success.

    Args:
        results: What came of the tests.
        selection: The devices of the run.
        asked_for: Whether ``--device`` names them.
        profile: The profile in force.
    """
    if not len(results):
        return []
    if not results.ran():
        return ["no claim was checked: every test of the specification was skipped"]
    idle = [s for s in selection.devices if asked_for and not _ran_on(s, results)]
    found = [f"nothing ran on {selected.place}, which --device asks for" for selected in idle]
    return found + ([] if profile is None else profile.stale(results))


def _ran_on(selected: Selected, results: Results) -> bool:
    if selected.visible == 1:
        return results.ran_on(selected.place) > 0
    return any(
        results.ran_on(name) > 0
        for name in results.devices()
        if name.startswith(f"{selected.device.type}:")
    )
