"""The settings of a training: chosen for a new one, compared for one that goes on."""

from pathlib import Path
from typing import Any

import pytest
import torch

from blitz import devices
from blitz.base.errors import BlitzError
from blitz.training import settings
from blitz.training.settings import Settings

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
SAVED = Settings(data="there", batch_size=8).plain()
WHERE = Path("c.pt")


class TestChosen:
    def test_little_work_has_one_thread(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch, "get_num_threads", lambda: 5)

        assert settings.chosen({"device": CPU}) == Settings()
        assert settings.chosen({"device": CPU, "width": 24}).threads == 5
        assert settings.chosen({"device": CPU, "batch_size": 16}).threads == 5

    def test_default_device_is_the_accelerator(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch, "get_num_threads", lambda: 5)
        monkeypatch.setattr(devices, "pick", lambda: CUDA)

        chosen = settings.chosen({"epochs": 3})

        assert chosen == Settings(epochs=3, device=CUDA, threads=5)


class TestResumed:
    def test_saved_ones_come_back_except_those_that_may_change(self) -> None:
        free = {"data": "here", "workers": 2, "feed": "loader"}
        same = {"batch_size": 8, "device": CPU}

        assert settings.resumed({}, SAVED, WHERE) == Settings(data="there", batch_size=8)
        assert settings.resumed({**free, **same}, SAVED, WHERE) == (
            Settings(batch_size=8, data="here", workers=2, feed="loader")
        )

    def test_device_is_that_of_the_training(self) -> None:
        saved = {**SAVED, "device": "cuda:0"}

        assert settings.resumed({}, saved, WHERE).device == CUDA
        assert settings.resumed({"device": CUDA}, saved, WHERE).device == CUDA
        with pytest.raises(BlitzError, match=r"--device cuda:1 \(there: cuda:0\)"):
            settings.resumed({"device": torch.device("cuda", 1)}, saved, WHERE)

    @pytest.mark.parametrize("saved", [{**SAVED, "more": 1}, {"seed": 3}], ids=["more", "less"])
    def test_those_that_are_none_are_refused(self, saved: dict[str, Any]) -> None:
        with pytest.raises(BlitzError, match=r"c\.pt: holds no settings of a training"):
            settings.resumed({}, saved, WHERE)
