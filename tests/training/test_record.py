"""``result.json``: what it holds, and what is refused in its place."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from blitz import data
from blitz.base.errors import BlitzError
from blitz.base.versions import installed
from blitz.learning.evaluation import Accuracy
from blitz.learning.running_loss import Report
from blitz.parallel.shares import Rank
from blitz.training import record
from blitz.training.settings import Settings

WHOLE = {"settings": {"seed": 3}, "device": "cpu", "accuracy": 50}


def test_holds_all_of_the_training() -> None:
    trained: Any = SimpleNamespace(
        settings=Settings(data="there", seed=3, threads=2),
        seconds=2.0,
        feed=SimpleNamespace(name="resident"),
        processes=SimpleNamespace(rank=Rank(1, 2)),
        images=10,
        images_digest="d1",
        reports=lambda every: [Report(1, 2, 0.5 if every == 2000 else 0.25)],
        train=data.Images(["a", "b"], [0, 1], "ours"),
        test=data.Images(["c"], [0], "theirs"),
    )

    found = record.of(trained, Accuracy((1, *9 * (0,)), (2, *9 * (0,))))

    versions = found.pop("versions")
    assert versions["blitz"] == installed("sixty-minute-blitz")
    assert versions["torch"] == str(torch.__version__)
    assert found == {
        "format": 2,
        "settings": {
            "data": "there",
            "epochs": 2,
            "batch_size": 4,
            "lr": 0.001,
            "momentum": 0.9,
            "width": 6,
            "seed": 3,
            "threads": 2,
            "workers": 0,
            "feed": "resident",
            "exact": False,
        },
        "device": "cpu",
        "device_name": "cpu",
        "processes": 2,
        "data": {
            "source": "there",
            "train": {"origin": "ours", "images": 2, "digest": "d1"},
            "test": {"origin": "theirs", "images": 1},
        },
        "loss_trace": [{"epoch": 1, "batches": 2, "loss": 0.5, "rest": False}],
        "accuracy": 50.0,
        "correct": 1,
        "total": 2,
        "class_accuracy": {**dict.fromkeys(data.CLASSES), data.CLASSES[0]: 50.0},
        "seconds": 2.0,
        "images_per_second": 5.0,
    }


def test_content_is_json_that_people_read() -> None:
    assert record.content({"a": "é"}) == '{\n  "a": "é"\n}\n'.encode()
    with pytest.raises(ValueError, match="JSON"):
        record.content({"a": float("nan")})


@pytest.mark.parametrize(
    ("wrong", "fault"),
    [
        ({"settings": None}, "TypeError"),
        ({"accuracy": "good"}, "ValueError: could not convert"),
    ],
    ids=str,
)
def test_that_lacks_something_is_refused(tmp_path: Path, wrong: dict[str, Any], fault: str) -> None:
    file = tmp_path / "result.json"
    file.write_bytes(record.content({**WHOLE, **wrong}))

    with pytest.raises(BlitzError, match=rf"json is not the result of a training \({fault}"):
        record.read(file)
