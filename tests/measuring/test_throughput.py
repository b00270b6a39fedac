"""Files of results from elsewhere."""

import json
from pathlib import Path

import pytest

from blitz.measuring import throughput
from tests import locales


def test_results_are_read_in_utf8_whatever_the_locale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = {
        "row": "training",
        "device": "cpu",
        "device name": "Größe 9 ×2",
        "threads": 2,
        "width": 6,
        "batch": 4,
        "images/s": 10.0,
        "images/s, low": 9.0,
        "images/s, high": 11.0,
        "rounds": 3,
        "versions": {"torch": "2.15"},
    }
    content = {
        "datetime": "2026-11-23T12:00:00",
        "machine_info": {},
        "benchmarks": [{"extra_info": row}],
    }
    file = tmp_path / "results.json"
    file.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    locales.speak_ascii(monkeypatch)

    (point,) = throughput.read(file).points

    assert point.name == "Größe 9 ×2"
