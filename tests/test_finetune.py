"""``python -m blitz finetune`` with a net of three layers in the place of ResNet-18."""

import argparse
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import small_images
import torch
from torch import nn

from blitz import autograd, classifier, data, devices, feeds, progress
from blitz.__main__ import main, parser
from blitz.commands import finetune

CPU = torch.device("cpu")


class Small(nn.Module):
    """A convolution, a BatchNorm and a last layer ``fc``, as ResNet-18 has them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 8, stride=8)
        self.bn = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, 1000)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.fc(self.bn(self.conv(images)).mean((2, 3)))
        return scores


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_images.make(tmp_path_factory.mktemp("images"))


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """What is asked of ``resnet18``, which gives the small net."""
    asked: list[Any] = []

    def resnet18(weights: Any, device: torch.device) -> Small:
        asked.append((weights, device))
        return Small().to(device)

    monkeypatch.setattr(autograd, "resnet18", resnet18)
    with devices.forked_generators([CPU]):
        yield asked


def asked_for(**options: Any) -> argparse.Namespace:
    """The defaults, but for ``options``."""
    return argparse.Namespace(**{**vars(parser().parse_args(["finetune"])), **options})


def expected(images: Path, freeze_statistics: bool) -> tuple[list[str], Small]:
    """The lines and the net of 25 steps, by a loop of the tutorial's kind."""
    train, test = (data.load(split, images) for split in ("train", "test"))
    torch.manual_seed(3)
    model = Small()
    model.requires_grad_(False)
    model.fc = nn.Linear(4, 10)
    if freeze_statistics:
        model.bn.eval()
    optimizer = torch.optim.SGD(model.fc.parameters(), lr=0.05, momentum=0.5)
    pixels, labels = data.normalized(train).tensors
    orders = [feeds.order(39, 3, epoch).split(8) for epoch in (1, 2, 3, 4, 5)]
    losses = []
    for places in [places for order in orders for places in order]:
        optimizer.zero_grad()
        loss = nn.CrossEntropyLoss()(model(pixels[places]), labels[places])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    means = [sum(losses[start : start + 3]) / 3 for start in range(0, 24, 3)]
    reports = [classifier.Report(1, 3 * (n + 1), mean) for n, mean in enumerate(means)]
    reports.append(classifier.Report(1, 25, losses[-1], rest=True))
    lines = [
        f"images: {train.origin} for training; {test.origin} for the test",
        "device: cpu; weights: none",
        *map(str, reports),
        "parameters that moved (2 of 6): fc.bias, fc.weight",
    ]
    if freeze_statistics:
        lines.append("buffers that moved (0 of 3): none")
    else:
        lines += [
            "buffers that moved (3 of 3): bn.num_batches_tracked, bn.running_mean, bn.running_var",
            "BatchNorm's statistics moved although its parameters are frozen: a forward pass in "
            "train mode updates them. --freeze-statistics keeps them.",
        ]
    lines.append(classifier.evaluate(model, [data.normalized(test)[:]]).line())
    return lines, model


@pytest.mark.parametrize("freeze", [False, True], ids=["moving", "frozen"])
def test_prints_its_losses_what_moved_and_the_accuracy(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], freeze: bool
) -> None:
    out = tmp_path / "model.pt"
    settings = ("--steps", "25", "--batch-size", "8", "--lr", "0.05", "--momentum", "0.5")
    options = (*settings, "--seed", "3", "--device", "cpu", "--out", str(out))

    code = main(
        ["finetune", "--data", str(images), *options, *(["--freeze-statistics"] if freeze else [])]
    )

    lines, model = expected(images, freeze)
    assert capsys.readouterr().out.splitlines() == [*lines, f"the weights are in {out}"]
    assert code == 0
    kept = torch.load(out, weights_only=True)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(kept[name], value, msg=name)


def test_lines_are_there_before_long_work_begins(
    images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stream(io.StringIO):
        there = ""

        def flush(self) -> None:
            self.there = self.getvalue()

    stream = Stream()
    there: list[str] = []
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(finetune, "_train", lambda *_: there.append(stream.there))
    monkeypatch.setattr(finetune, "_keep", lambda *_: there.append(stream.there) or 0)

    assert main(["finetune", "--data", str(images), "--device", "cpu"]) == 0

    begun, tested = (text.splitlines()[-1] for text in there)
    assert begun == "device: cpu; weights: none"
    assert tested.startswith("Accuracy of the network on the 12 test images")


class TestOptions:
    def test_defaults(self) -> None:
        understood = vars(parser().parse_args(["finetune"]))

        assert understood == {
            **dict.fromkeys(("data", "device", "out")),
            "command": "finetune",
            "run": finetune.run,
            "weights": "none",
            "freeze_statistics": False,
            "steps": 100,
            "batch_size": 16,
            "lr": 0.01,
            "momentum": 0.9,
            "seed": 0,
        }

    def test_help_explains_them(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("COLUMNS", "1000")

        with pytest.raises(SystemExit, match="0"):
            main(["finetune", "--help"])

        shown = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
        assert shown[0] == (
            "usage: python -m blitz finetune [-h] [--weights default|none|FILE] "
            "[--freeze-statistics] [--data DIR] [--steps N] [--batch-size N] [--lr RATE] "
            "[--momentum M] [--device DEVICE] [--seed N] [--out FILE]"
        )
        explained = " ".join(shown[shown.index("options:") + 2 : shown.index("exit codes:")])
        assert explained.strip() == (
            "--weights default|none|FILE what the frozen layers start from: torchvision's weights, "
            "downloaded (45 MB) unless they are there; random ones; or a file of a ResNet-18's "
            "state_dict (default: none) "
            "--freeze-statistics keep BatchNorm in evaluation mode, so that no buffer moves "
            "--data DIR the images: the folder that holds cifar-10-batches-py/, or one with "
            "train/<class>/ and test/<class>/ (default: made on the spot) "
            "--steps N (default: 100) "
            "--batch-size N images to a step (default: 16) "
            "--lr RATE (default: 0.01) "
            "--momentum M (default: 0.9) "
            "--device DEVICE cpu, cuda, cuda:1, … (default: the first accelerator, else the cpu) "
            "--seed N (default: 0) "
            "--out FILE write the state_dict there; a file that exists is refused"
        )

    @pytest.mark.parametrize("option", ["--steps", "--batch-size"])
    def test_one_is_enough(self, option: str) -> None:
        understood = vars(parser().parse_args(["finetune", option, "1"]))

        assert understood[option.strip("-").replace("-", "_")] == 1

    @pytest.mark.parametrize(
        "wrong",
        ["--steps 0", "--batch-size 0", "--lr 0", "--momentum 1", "--seed -1", "--seed x"],
    )
    def test_number_out_of_range_is_named(
        self, capsys: pytest.CaptureFixture[str], wrong: str
    ) -> None:
        with pytest.raises(SystemExit, match="2"):
            main(["finetune", *wrong.split()])

        assert wrong.split()[0] in capsys.readouterr().err.splitlines()[-1]

    def test_seed_0_and_momentum_0_are_taken(self) -> None:
        understood = parser().parse_args(["finetune", "--seed", "0", "--momentum", "0"])

        assert (understood.seed, understood.momentum) == (0, 0.0)

    @pytest.mark.parametrize(
        ("options", "place"), [([], "cpu"), (["--device", "meta"], "meta")], ids=["none", "one"]
    )
    def test_device_is_the_one_named_or_the_first(
        self, monkeypatch: pytest.MonkeyPatch, asked: list[Any], options: list[str], place: str
    ) -> None:
        class Enough(Exception):
            pass

        def train(*arguments: object) -> None:
            raise Enough

        monkeypatch.setattr(devices, "pick", lambda: CPU)
        monkeypatch.setattr(finetune, "_train", train)

        with pytest.raises(Enough):
            main(["finetune", "--weights", "resnet.pt", *options])
        assert asked == [("resnet.pt", torch.device(place))]


class TestModel:
    @pytest.mark.parametrize(("weights", "given"), [("none", None), ("default", "default")])
    def test_is_frozen_but_for_a_last_layer_of_ten(
        self, asked: list[Any], weights: str, given: str | None
    ) -> None:
        model = finetune._model(weights, CPU)

        assert asked == [(given, CPU)]
        assert model.fc.weight.shape == (10, 4)
        moving = [name for name, value in model.named_parameters() if value.requires_grad]
        assert moving == ["fc.weight", "fc.bias"]

    @pytest.mark.parametrize("freeze", [False, True])
    def test_only_statistics_are_frozen_and_only_on_demand(self, freeze: bool) -> None:
        model = Small().eval()

        finetune._set_modes(model, freeze)

        modes = {name: module.training for name, module in model.named_modules()}
        assert modes == {"": True, "conv": True, "bn": not freeze, "fc": True}


class TestTraining:
    @pytest.fixture
    def train(self) -> data.Images:
        return data.load("train", count=10)

    def test_batches_go_on_with_another_epoch_and_end_with_the_steps(
        self, train: data.Images
    ) -> None:
        pixels, labels = data.normalized(train).tensors
        first, second = (feeds.order(10, 5, epoch).split(4) for epoch in (1, 2))

        got = list(finetune._batches(train, asked_for(steps=5, batch_size=4, seed=5)))

        assert len(got) == 5
        for (images, of_class), places in zip(got, [*first, *second[:2]], strict=True):
            assert torch.equal(images, pixels[places])
            assert torch.equal(of_class, labels[places])

    @pytest.mark.parametrize(
        ("steps", "said"), [(10, [*range(1, 11)]), (11, [2, 4, 6, 8, 10, 11]), (1, [1])]
    )
    def test_bar_counts_the_steps_and_ten_losses_stand_above_it(
        self, train: data.Images, monkeypatch: pytest.MonkeyPatch, steps: int, said: list[int]
    ) -> None:
        made: list[tuple[int, str]] = []
        done: list[int] = []
        lines: list[str] = []

        class Bar:
            def __init__(self, total: int, unit: str) -> None:
                made.append((total, unit))

            def __enter__(self) -> "Bar":
                return self

            def __exit__(self, *error: object) -> None:
                pass

            def update(self, number: int) -> None:
                done.append(number)

            def line(self, text: str) -> None:
                lines.append(text)

        monkeypatch.setattr(progress, "Bar", Bar)

        finetune._train(finetune._model("none", CPU), train, asked_for(steps=steps, batch_size=2))

        assert made == [(steps, "batches")]
        assert done == list(range(1, steps + 1))
        batches = [int(line.partition("]")[0].partition(",")[2]) for line in lines]
        assert batches == said


class TestWhatMoved:
    def test_names_are_sorted_and_set_in_100_columns(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        names = {f"layer{number}.mean" for number in range(8)}

        finetune._tell("buffers", names, 12)

        assert capsys.readouterr().out.splitlines() == [
            "buffers that moved (8 of 12): layer0.mean, layer1.mean, layer2.mean, layer3.mean, "
            "layer4.mean,",
            "  layer5.mean, layer6.mean, layer7.mean",
        ]

    def test_long_name_stays_whole(self, capsys: pytest.CaptureFixture[str]) -> None:
        finetune._tell("parameters", {"x" * 120}, 1)

        assert capsys.readouterr().out == f"parameters that moved (1 of 1):\n  {'x' * 120}\n"


class TestOut:
    @pytest.mark.parametrize("kind", ["file", "broken link"])
    def test_that_exists_is_left_alone(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
    ) -> None:
        out = tmp_path / "model.pt"
        if kind == "file":
            out.write_text("mine")
        else:
            out.symlink_to(tmp_path / "nowhere")

        assert main(["finetune", "--out", str(out)]) == 2

        words = f"error: {out} exists; nothing was changed. Choose another --out.\n"
        assert capsys.readouterr() == ("", words)

    def test_that_cannot_be_written_is_an_error_after_the_training(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "file").write_text("")
        out = tmp_path / "file" / "model.pt"

        assert finetune._keep(Small(), str(out)) == 1

        printed, said = capsys.readouterr()
        assert printed == ""
        assert said.startswith("error: ")
        assert str(out) in said

    def test_that_is_not_asked_for_is_not_written(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.chdir(tmp_path)

        assert finetune._keep(Small(), None) == 0

        assert list(tmp_path.iterdir()) == []
        assert capsys.readouterr().out == ""
