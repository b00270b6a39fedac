"""What pytest collected, held against the table of contents: a plug-in.

Tests that lie elsewhere than in the folder ``spec`` are passed over.
"""

from pathlib import Path

import pytest

from blitz.base.errors import BlitzError
from blitz.harness.contents import Place, parts_of
from blitz.harness.context import CONTEXT, RunContext
from blitz.harness.outcomes import NO_DEVICE, device_name, properties_of


@pytest.hookimpl(tryfirst=True)  # before tests are left out by -k, -m or --claim
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Refuse a run whose contents and tests do not fit; give each test what it claims."""
    # Plug-ins such as pytest-mypy add items that are no functions.
    in_spec = [
        item
        for item in items
        if isinstance(item, pytest.Function) and config.rootpath / "spec" in item.path.parents
    ]
    if not in_spec:
        return
    try:
        table = config.stash[CONTEXT].contents()
    except BlitzError as error:
        raise pytest.UsageError(str(error)) from error
    misfits = table.misfits()
    if misfits:
        raise pytest.UsageError("spec/contents.toml and the tests do not fit:", *misfits)
    for item in in_spec:
        place = table.place(item.originalname.removeprefix("test_"))
        if place is not None:  # else a benchmark that no claim names
            item.user_properties += properties_of(place, device_name(item))


def located(node: str, run: RunContext) -> tuple[Place, str] | None:
    """Return place and device of a test by its id alone; None for one that checks no claim."""
    test_id, parameters = parts_of(node)
    place = run.contents().place(test_id)
    if place is None or place.test.file.name != Path(node.partition("::")[0]).name:
        return None
    used = (s.place for s in run.selection.devices if s.place in parameters)
    return place, next(used, NO_DEVICE)
