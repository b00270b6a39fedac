"""What the tests of the commands share."""

from pathlib import Path

import pytest
import torch

from blitz import classifier
from blitz.training import weights


@pytest.fixture
def model(tmp_path: Path) -> str:
    """The file of a net of width 5."""
    path = tmp_path / "model.pt"
    with torch.random.fork_rng(devices=[]):
        weights.save(classifier.Net(width=5), path)
    return str(path)
