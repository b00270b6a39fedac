"""How a CUDA graph is captured, as far as it can be seen without a device that has graphs."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from blitz.training.captured import record


class Stream:
    """A stream that notes what waits for what."""

    def __init__(self, log: list[str], name: str) -> None:
        self.log, self.name = log, name

    def wait_stream(self, other: "Stream") -> None:
        self.log.append(f"{self.name} waits for {other.name}")


class TestRecord:
    @pytest.fixture
    def log(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        log: list[str] = []

        @contextmanager
        def inside(what: object) -> Iterator[None]:
            log.append(f"into {what}")
            yield
            log.append(f"out of {what}")

        class Graph:
            def replay(self) -> None:
                log.append("replay")

        for name, stands_in in {
            "device": inside,
            "Stream": lambda: Stream(log, "aside"),
            "current_stream": lambda: Stream(log, "current"),
            "stream": lambda stream: inside(stream.name),
            "CUDAGraph": Graph,
            "graph": lambda graph, stream: inside(f"{type(graph).__name__}, {stream.name}"),
        }.items():
            monkeypatch.setattr(torch.cuda, name, stands_in)
        return log

    def test_warms_up_aside_captures_there_and_replays(self, log: list[str]) -> None:
        replay = record(lambda: log.append("work"), torch.device("cuda", 1))

        assert log == [
            *("into cuda:1", "aside waits for current", "into aside", "work", "work"),
            *("out of aside", "current waits for aside"),
            *("into Graph, aside", "work", "out of Graph, aside", "out of cuda:1"),
        ]
        log.clear()
        replay()
        assert log == ["into cuda:1", "replay", "out of cuda:1"]
