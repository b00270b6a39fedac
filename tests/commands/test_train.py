"""``python -m blitz train``: what it prints; training/test_session has what it keeps."""

import pytest

from blitz import plots
from tests.conftest import Terminal, Train, no_figure


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "blank_figure", no_figure)


def test_says_what_is_trained_and_how_it_went(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setenv("TERM", "xterm")

    assert train("--lr", "0.01", "--seed", "3", "--exact") == 0

    lines = train.capsys.readouterr().out.splitlines()
    assert lines[:4] == [
        f"train images: 39 of 39 train images of the class folders in {train.images}",
        f"test images: 12 of 12 test images of the class folders in {train.images}",
        "device: cpu; feed: resident",
        "settings: 3 x 10 batches of 4, learning rate 0.01, momentum 0.9, width 6, seed 3, exact",
    ]
    assert lines[4].startswith("some images: ")
    assert [line[:10] for line in lines[5:8]] == ["[1,    10]", "[2,    10]", "[3,    10]"]
    assert lines[8].startswith("training took 0:00:0")
    assert lines[9].startswith("Accuracy of the network on the 12 test images: ")
    told = "model.pt, result.json; pictures need: pip install matplotlib"
    assert lines[-1] == f"in {train.out}: {told}"
    assert "20/30" in stream.getvalue()
