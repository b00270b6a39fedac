"""The folder of a training: what it holds, and that one training writes there."""

from pathlib import Path

import pytest

from blitz.base.errors import BlitzError
from blitz.training.folder import Content, RunFolder


@pytest.mark.parametrize(
    ("files", "content"),
    [
        ("", Content.NOTHING),
        ("notes.txt", Content.NOTHING),
        ("checkpoint.pt", Content.UNFINISHED),
        ("checkpoint.pt model.pt loss.png", Content.UNFINISHED),
        ("checkpoint.pt result.json", Content.FINISHED),
        ("result.json", Content.FINISHED),
        *((name, Content.OTHER) for name in ("model.pt", *RunFolder.PICTURES)),
    ],
)
def test_what_is_there_tells_how_far_it_came(tmp_path: Path, files: str, content: Content) -> None:
    for name in files.split():
        (tmp_path / name).touch()

    assert RunFolder(tmp_path).content() is content


class TestHeld:
    def test_folder_is_made_and_removed_if_it_stays_empty(self, tmp_path: Path) -> None:
        folder = RunFolder(tmp_path / "a" / "b")

        with folder.held():
            assert folder.path.is_dir()

        assert not folder.path.exists()

    def test_second_training_is_refused_and_sweeps_nothing(self, tmp_path: Path) -> None:
        half = tmp_path / f".{'0' * 32}.part"
        half.touch()

        with RunFolder(tmp_path).held():
            assert not half.exists()
            half.touch()
            with pytest.raises(BlitzError) as refused, RunFolder(tmp_path).held():
                pass
            assert half.exists()

        assert str(refused.value) == (
            f"another training is writing to {tmp_path}. Wait for it, or choose another --out."
        )
        with RunFolder(tmp_path).held():
            assert not half.exists()
