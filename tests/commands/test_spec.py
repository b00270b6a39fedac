"""``blitz spec``: pytest on the specification, from any folder."""

from pathlib import Path

import pytest

from blitz.__main__ import main
from blitz.commands import spec

ROOT = Path(__file__).parents[2]


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    """Return what pytest was called with, in a folder that has nothing to do with the project."""
    calls: list[list[str]] = []
    monkeypatch.setattr(pytest, "main", lambda arguments: calls.append(arguments) or 5)
    monkeypatch.chdir(tmp_path)
    return calls


def test_whole_specification_runs_with_its_own_settings(given: list[list[str]]) -> None:
    assert main(["spec", "-k", "zero_grad", "--device=cpu"]) == 5

    [arguments] = given
    assert arguments[:4] == ["-c", str(ROOT / "pytest.ini"), "--rootdir", str(ROOT)]
    assert arguments[-4:] == ["-k", "zero_grad", "--device=cpu", str(ROOT / "spec")]
    assert f"cache_dir={Path.cwd() / '.pytest_cache'}" in arguments


def test_part_of_the_specification_is_found_from_any_folder(given: list[list[str]]) -> None:
    main(["spec", "spec/test_1_tensors.py::TestFromData", "-q"])

    assert given[0][-2:] == [str(ROOT / "spec/test_1_tensors.py::TestFromData"), "-q"]


def test_help_is_that_of_pytest(given: list[list[str]]) -> None:
    main(["spec", "--help"])

    assert "--help" in given[0]


def test_installed_house_wins_over_a_clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spec, "PACKAGE", tmp_path / "blitz")
    assert spec.house() == tmp_path

    (tmp_path / "blitz" / "house" / "spec").mkdir(parents=True)

    assert spec.house() == tmp_path / "blitz" / "house"
