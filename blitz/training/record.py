"""``result.json``: what a training was, and how it came out. docs/result.md describes it."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from blitz import devices
from blitz.base.errors import BlitzError
from blitz.base.versions import installed, stack
from blitz.data import CLASSES
from blitz.learning import running_loss
from blitz.learning.evaluation import Accuracy
from blitz.training.loop import Training

FORMAT = 2


def of(training: Training, accuracy: Accuracy) -> dict[str, Any]:
    """Return the record of a finished training, as numbers, texts, lists and dicts."""
    settings = training.settings.plain()
    device = settings.pop("device")
    seconds = training.seconds
    return {
        "format": FORMAT,
        "settings": {**settings, "feed": training.feed.name},
        "versions": {"blitz": installed("sixty-minute-blitz"), **stack()},
        "device": device,
        "device_name": devices.describe(training.settings.device),
        "processes": training.processes.rank.processes,
        "data": {
            "source": settings["data"],
            "train": {
                "origin": training.train.origin,
                "images": len(training.train),
                "digest": training.images_digest,
            },
            "test": {"origin": training.test.origin, "images": len(training.test)},
        },
        "loss_trace": [asdict(r) for r in training.reports(running_loss.REPORT_EVERY)],
        "accuracy": accuracy.percent,
        "correct": accuracy.correct,
        "total": accuracy.total,
        "class_accuracy": dict(zip(CLASSES, accuracy.class_percent, strict=True)),
        "seconds": seconds,
        "images_per_second": training.images / seconds,
    }


def content(record: Mapping[str, Any]) -> bytes:
    """Return ``record`` as the content of the file."""
    # JSON has no NaN: json.dumps would write one that other readers refuse.
    return (json.dumps(record, indent=2, allow_nan=False, ensure_ascii=False) + "\n").encode()


def read(path: Path) -> tuple[dict[str, Any], float]:
    """Return the plain settings and the accuracy that are recorded in ``path``.

    Raises BlitzError if it is no such file.
    """
    try:
        record = json.loads(path.read_bytes())
        return {**record["settings"], "device": record["device"]}, float(record["accuracy"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BlitzError(
            f"{path} is not the result of a training ({type(error).__name__}: {error}). Choose "
            "another --out."
        ) from error
