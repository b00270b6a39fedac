"""What the tests of the commands share."""

from pathlib import Path

import pytest
import torch

from blitz import classifier


@pytest.fixture
def model(tmp_path: Path) -> str:
    """The file of a net of width 5."""
    path = tmp_path / "model.pt"
    with torch.random.fork_rng(devices=[]):
        torch.save(classifier.Net(width=5).state_dict(), path)
    return str(path)
