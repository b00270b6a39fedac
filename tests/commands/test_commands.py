"""``python -m blitz test``, ``predict`` and ``compare``: all that they say and hand on."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from blitz import classifier, data, devices
from blitz.__main__ import main, parser
from blitz.commands import predict
from blitz.commands import test as test_command
from blitz.learning import evaluation
from blitz.learning.evaluation import Accuracy
from blitz.parallel import processes as distributed
from blitz.parallel.rank import Rank
from blitz.training import weights


@pytest.fixture
def model(tmp_path: Path) -> str:
    """The file of a net of width 5."""
    path = tmp_path / "model.pt"
    with torch.random.fork_rng(devices=[]):
        weights.save(classifier.Net(width=5), path)
    return str(path)


class Process(distributed.Processes):
    """One of two processes, on meta devices."""

    def __init__(self, rank: int = 0) -> None:
        self.part = Rank(rank, 2)
        self.asked: list[object] = []

    def device(self, device: object) -> torch.device:
        self.asked.append(device)
        return torch.device("meta")


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is given to be counted; half of the images of the first class were named right."""
    calls: list[Any] = []

    def evaluate(*given: Any, **named: Any) -> Accuracy:
        calls.append((*given, named))
        return Accuracy((1, *9 * (0,)), (2, *9 * (0,)))

    monkeypatch.setattr(distributed, "evaluate", evaluate)
    return calls


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What images are asked for; there are three, all white."""
    calls: list[Any] = []

    def load(*given: Any) -> data.Images:
        calls.append(given)
        return data.Images(np.full((3, 32, 32, 3), 255, np.uint8), [1, 2, 3], "ours, all of them")

    monkeypatch.setattr(data, "load", load)
    return calls


FIGURES = [
    "Accuracy of the network on the 2 test images: 50 %",
    f"Accuracy of {data.CLASSES[0]:>5} : 50 %",
    *(f"Accuracy of {name:>5} : no images" for name in data.CLASSES[1:]),
]


class TestTest:
    def run(self, process: Process, *words: str) -> int:
        return test_command._run(parser().parse_args(["test", *words]), process)

    @pytest.mark.parametrize(
        ("words", "source", "batch_size"),
        [((), None, 100), (("--data", "D", "--batch-size", "7"), "D", 7)],
        ids=["", "options"],
    )
    def test_first_reads_tests_and_shows(
        self,
        model: str,
        counted: list[Any],
        loaded: list[Any],
        capsys: pytest.CaptureFixture[str],
        words: tuple[str, ...],
        source: str | None,
        batch_size: int,
    ) -> None:
        process = Process()

        assert self.run(process, "--model", model, *words) == 0

        assert loaded == [("test", source)]
        ((net, images, processes, named),) = counted
        assert (processes, named) == (process, {"batch_size": batch_size})
        assert net.fc3.bias.is_meta
        assert net.conv1.out_channels == 5
        assert torch.equal(images.tensors[0], torch.ones(3, 3, 32, 32))
        assert images.tensors[1].tolist() == [1, 2, 3]
        shown = capsys.readouterr().out.splitlines()
        assert shown == ["images: ours, all of them", *FIGURES]

    def test_others_show_nothing(
        self,
        model: str,
        counted: list[Any],
        loaded: list[Any],
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        assert self.run(Process(1), "--model", model) == 0

        assert capsys.readouterr().out == "images: ours, all of them\n"

    def test_device_is_the_one_asked_for_or_the_best(
        self,
        model: str,
        counted: list[Any],
        loaded: list[Any],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(devices, "pick", lambda: "the best")
        process = Process()

        self.run(process, "--model", model)
        self.run(process, "--model", model, "--device", "cpu")

        assert process.asked == ["the best", "cpu"]

    def test_images_are_named_before_the_slow_look_at_them(
        self, model: str, loaded: list[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        said: list[Any] = []

        def say(*words: str, **named: Any) -> None:
            said.append((*words, named))

        monkeypatch.setattr(test_command, "print", say, raising=False)

        test_command._read(parser().parse_args(["test", "--model", model]))

        assert said == [("images: ours, all of them", {"flush": True})]

    def test_joins_the_others_on_the_device_asked_for(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        process, calls = Process(), []

        @contextmanager
        def joined(*given: object) -> Iterator[Process]:
            calls.append(given)
            yield process

        def run(*given: Any) -> int:
            assert given == (args, process)
            return 3

        monkeypatch.setattr(distributed, "joined", joined)
        monkeypatch.setattr(test_command, "_run", run)
        args = parser().parse_args(["test", "--model", "m", "--device", "cuda"])

        assert test_command.run(args) == 3

        assert calls == [("cuda",)]


class TestPredict:
    @pytest.fixture
    def photo(self, tmp_path: Path) -> str:
        path = tmp_path / "photo.png"
        Image.new("RGB", (40, 40), (200, 10, 10)).save(path)
        return str(path)

    def test_top_is_the_likeliest_first(self) -> None:
        chances = torch.tensor([0.01, 0.2, 0.05, 0.0, 0.4, 0.1, 0.04, 0.1994, 0.0, 0.0006])

        assert predict._top(chances) == "deer 40.0%, car 20.0%, horse 19.9%"

    def test_each_image_has_its_line_at_once(
        self, model: str, photo: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        said: list[Any] = []

        def say(*words: Any, **named: Any) -> None:
            said.append((*words, named))

        monkeypatch.setattr(predict, "print", say, raising=False)
        net = weights.load(model, width=5)
        pixels = np.full((32, 32, 3), (200, 10, 10), np.uint8)
        image = data.normalized(data.Images(pixels[None], [0], "")).tensors[0]
        line = f"{photo}: {predict._top(evaluation.probabilities(net, image)[0])}"

        assert main(["predict", "--model", model, photo, photo]) == 0

        assert said == 2 * [(line, {"flush": True})]

    @pytest.mark.parametrize("bad", [1, 2])
    def test_files_that_are_no_images_are_2_however_many(
        self, model: str, photo: str, capsys: pytest.CaptureFixture[str], bad: int
    ) -> None:
        files = bad * [model]

        assert main(["predict", "--model", model, *files, photo]) == 2

        printed = capsys.readouterr()
        assert printed.err.count(f"error: {model} cannot be read as an image: ") == bad
        assert printed.out.startswith(f"{photo}: ")

    def test_device_that_cannot_be_used_is_refused(
        self, model: str, photo: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["predict", "--model", model, "--device", "nowhere", photo]) == 2

        printed = capsys.readouterr()
        assert printed.out == ""
        assert "nowhere" in printed.err


def result_of(torch_version: str, **claims: dict[str, str]) -> dict[str, Any]:
    """A result with the outcome of each claim on each device (``cuda_0`` for ``cuda:0``)."""
    return {
        "format": "blitz conformance",
        "version": 1,
        "environment": {"torch": torch_version, "devices": []},
        "claims": [
            {
                "key": key,
                "devices": {
                    name.replace("_", ":"): {"outcome": outcome, "tests": []}
                    for name, outcome in outcomes.items()
                },
            }
            for key, outcomes in claims.items()
        ],
    }


class TestCompare:
    BEFORE = result_of(
        "2.6",
        T1={"cpu": "held", "meta": "held"},
        T2={"cpu": "broken", "meta": "held"},
        T3={"cpu": "held", "meta": "held"},
    )
    AFTER = result_of(
        "2.7",
        T1={"cpu": "held", "meta": "broken"},
        T2={"cpu": "held", "cuda_0": "held"},
        T3={"cpu": "broken", "meta": "broken"},
    )

    @pytest.fixture
    def compare(self, tmp_path: Path) -> Callable[..., int]:
        def compare(before: Any, after: Any, *options: str) -> int:
            files = tmp_path / "a.json", tmp_path / "b.json"
            for file, result in zip(files, (before, after), strict=True):
                file.write_text(json.dumps(result), encoding="utf-8")
            return main(["compare", *map(str, files), *options])

        return compare

    def test_says_what_changed_the_regressions_first(
        self, compare: Callable[..., int], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert compare(self.BEFORE, self.AFTER) == 1

        assert capsys.readouterr().out.splitlines() == [
            "torch: 2.6 → 2.7",
            "regression: T3 on cpu: held → broken",
            "regression: T1 on meta: held → broken",
            "regression: T2 on meta: held → not there",
            "regression: T3 on meta: held → broken",
            "change: T2 on cpu: broken → held",
            "change: T2 on cuda:0: not there → held",
            "4 regressions, 2 other changes",
        ]

    def test_of_one_device_says_no_more(
        self, compare: Callable[..., int], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert compare(self.BEFORE, self.AFTER, "--device", "cpu") == 1

        assert capsys.readouterr().out.splitlines() == [
            "torch: 2.6 → 2.7",
            "regression: T3 on cpu: held → broken",
            "change: T2 on cpu: broken → held",
            "1 regressions, 1 other changes",
        ]

    def test_what_is_only_new_is_no_loss(
        self, compare: Callable[..., int], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert compare(self.BEFORE, self.AFTER, "--device", "cuda:0") == 0

        assert capsys.readouterr().out.splitlines()[1:] == [
            "change: T2 on cuda:0: not there → held",
            "0 regressions, 1 other changes",
        ]

    def test_device_that_neither_has_is_named_with_those_there_are(
        self, compare: Callable[..., int], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert compare(self.BEFORE, self.AFTER, "--device", "mps:0") == 2

        printed = capsys.readouterr()
        assert (printed.out, printed.err) == (
            "",
            "error: --device mps:0: neither run has it. They have: cpu, cuda:0, meta.\n",
        )
