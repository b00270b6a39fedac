"""The checkpoint of a training: what is refused in its place."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from blitz.__main__ import main
from tests.conftest import SMALL, MakesFolder, no_figure


@pytest.fixture(scope="module")
def halfway(images: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the checkpoint of a training on the small images holds."""
    out = tmp_path_factory.mktemp("halfway")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("blitz.plots.blank_figure", no_figure)
        patch.setattr("blitz.training.folder.RunFolder.drop_checkpoint", lambda folder: None)
        assert main(["train", "--data", str(images), "--out", str(out), *SMALL]) == 0
    return torch.load(out / "checkpoint.pt", weights_only=True)


HARMS: dict[str, tuple[str, Any, str]] = {
    "list": ("", [], "is not a checkpoint"),
    "kind": ("format", ..., "is not a checkpoint"),
    "older format": ("format", 1, "is in format 1, and this version reads format 5"),
    "text format": ("format", "5", "is in format '5', and this version reads format 5"),
    "code": ("more", MakesFolder(Path("trace")), "nothing of it was run"),
    "some settings": ("settings", {"epochs": 3}, "holds no settings of a training"),
    "images": ("images", "others", "its training had other images than those of --data"),
}
"""Where the content is changed, to what (... takes it out), and what is said."""


def harmed(content: dict[str, Any], place: str, value: Any) -> dict[str, Any]:
    if not place:
        return value
    name, _, below = place.partition(".")
    changed = {**content, name: harmed(content.get(name), below, value)}
    return {name: value for name, value in changed.items() if value is not ...}


@pytest.mark.parametrize(("place", "value", "message"), HARMS.values(), ids=HARMS)
def test_harmed_checkpoint_is_refused_and_left_as_it_is(
    halfway: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    place: str,
    value: Any,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(harmed(halfway, place, value), "checkpoint.pt")
    before = Path("checkpoint.pt").read_bytes()

    assert main(["train", "--out", ".", "--resume"]) == 2

    error = capsys.readouterr().err
    assert error.startswith("error: checkpoint.pt: ")
    assert message in error
    assert error.count("\n") == 1
    assert "another --out" in error or "the version of blitz that wrote it" in error
    assert Path("checkpoint.pt").read_bytes() == before
    assert sorted(os.listdir()) == [".lock", "checkpoint.pt"]
