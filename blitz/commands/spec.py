"""Run the specification with pytest, from any folder and without a clone."""

from collections.abc import Sequence
from pathlib import Path

import blitz

PACKAGE = Path(blitz.__file__).parent


def run(arguments: Sequence[str]) -> int:
    """Run pytest on the specification and return its exit code.

    Args:
        arguments: What pytest takes. A path such as ``spec/test_1_tensors.py`` is looked up in the
            specification, from any folder; with none all of it runs.
    """
    import pytest

    root = house()
    found = [_located(argument, root) for argument in arguments]
    if not any(argument != given for argument, given in zip(found, arguments, strict=True)):
        # Options alone: pytest would look for tests in the folder where it was typed.
        found.append(str(root / "spec"))
    settings = ["-c", str(root / "pytest.ini"), "--rootdir", str(root)]
    # The cache goes where the command is typed: an installed package is often read-only.
    settings += ["-o", f"cache_dir={Path.cwd() / '.pytest_cache'}"]
    return int(pytest.main([*settings, *found]))


def house() -> Path:
    """Return the folder with ``spec``, conftest.py and pytest.ini: the wheel's, or the clone."""
    installed = PACKAGE / "house"
    return installed if (installed / "spec").is_dir() else PACKAGE.parent


def _located(argument: str, root: Path) -> str:
    path = argument.partition("::")[0]
    is_part = path.split("/")[0] == "spec" and (root / path).exists()
    return str(root / argument) if is_part else argument
