"""``python -m blitz test``, and ``predict``, and the help of the commands."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from blitz import classifier, data
from blitz.__main__ import main
from blitz.learning import evaluation
from blitz.training import weights
from tests import small_images


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_images.make(tmp_path_factory.mktemp("images"))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The file of a net of width 5."""
    path = tmp_path / "model.pt"
    weights.save(classifier.Net(width=5), path)
    return path


class Obeys:
    """Unpickling this runs code, which leaves a folder."""

    def __init__(self, trace: Any) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.trace),)


class TestTest:
    def test_counts_what_the_net_names_right(
        self, model: Path, images: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["test", "--model", str(model), "--data", str(images)]) == 0

        printed = capsys.readouterr().out
        net, test = weights.load(model, width=None), data.load("test", images)
        accuracy = evaluation.evaluate(net, [data.normalized(test)[:]])
        assert printed.splitlines()[1:] == [accuracy.line(), *accuracy.class_lines()]
        assert "12 of 12 test images of the class folders in" in printed

    def test_batch_size_makes_no_difference(
        self, model: Path, images: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        command = ["test", "--model", str(model), "--data", str(images)]

        assert main(command) == main([*command, "--batch-size", "5"]) == 0

        lines = capsys.readouterr().out.splitlines()
        assert lines[: len(lines) // 2] == lines[len(lines) // 2 :]

    def test_code_in_a_model_does_not_run(
        self, tmp_path: Path, images: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        trace, path = tmp_path / "trace", tmp_path / "model.pt"
        torch.save({**classifier.Net().state_dict(), "more": Obeys(trace)}, path)

        assert main(["test", "--model", str(path), "--data", str(images)]) == 2

        assert "nothing of it was run" in capsys.readouterr().err
        assert not trace.exists()
        torch.load(path, weights_only=False)  # the control: the file does run code
        assert trace.exists()

    @pytest.mark.parametrize("what", ["--model", "--data"])
    def test_what_is_not_there_is_named(
        self, model: Path, images: Path, capsys: pytest.CaptureFixture[str], what: str
    ) -> None:
        given = {"--model": str(model), "--data": str(images), what: "none"}

        assert main(["test", *(word for pair in given.items() for word in pair)]) == 2

        assert "error: none" in capsys.readouterr().err


class TestPredict:
    def test_top_three_with_probabilities(
        self, model: Path, images: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        photo = images / "test" / "frog" / "06.png"

        assert main(["predict", "--model", str(model), str(photo)]) == 0

        with Image.open(photo) as image:
            scores = weights.load(model, width=5)(data.transform()(image)[None])[0]
        chances = (scores.exp() / scores.exp().sum()).tolist()
        best = sorted(range(10), key=lambda label: -chances[label])[:3]
        expected = ", ".join(f"{data.CLASSES[label]} {chances[label]:.1%}" for label in best)
        assert capsys.readouterr().out == f"{photo}: {expected}\n"

    def test_file_that_is_no_image_is_named_and_the_others_are_done(
        self, model: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "text.png").write_text("hello")
        photo = images / "test" / "frog" / "06.png"

        files = [str(tmp_path / "text.png"), str(tmp_path / "none.png"), str(photo)]
        assert main(["predict", "--model", str(model), *files]) == 2

        printed = capsys.readouterr()
        assert f"error: {files[0]} cannot be read as an image: cannot identify" in printed.err
        assert f"error: {files[1]} cannot be read as an image: No such file" in printed.err
        assert printed.out.startswith(f"{photo}: ")


class TestHelp:
    @pytest.mark.parametrize(
        ("command", "options"),
        [
            (
                "train",
                "--data --download --epochs --batch-size --lr --momentum --width --device "
                "--workers --seed --out --resume --feed --exact --mirror",
            ),
            ("test", "--model --data --device"),
            ("predict", "--model IMAGE softmax"),
        ],
    )
    def test_names_options_and_exit_codes(
        self, capsys: pytest.CaptureFixture[str], command: str, options: str
    ) -> None:
        with pytest.raises(SystemExit, match="0"):
            main([command, "--help"])

        printed = capsys.readouterr().out
        assert all(option in printed for option in [*options.split(), "exit codes:"])

    def test_needs_no_torch(self) -> None:
        program = "import sys; from blitz import __main__; __main__.parser(); print(*sys.modules)"

        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        )

        assert "blitz.commands.train" in done.stdout.split()
        assert not {"torch", "numpy", "PIL", "matplotlib"} & set(done.stdout.split())

    @pytest.mark.parametrize(
        "wrong",
        [
            "--epochs 0",
            "--epochs two",
            "--batch-size 0",
            "--lr 0",
            "--lr nan",
            "--momentum 1",
            "--momentum -0.1",
            "--width 0",
            "--workers -1",
            "--seed -1",
            "--checkpoint-every -1",
            "--at-least 101",
            "--data a --download",
        ],
    )
    def test_value_out_of_range_is_named(
        self, capsys: pytest.CaptureFixture[str], wrong: str
    ) -> None:
        with pytest.raises(SystemExit, match="2"):
            main(["train", *wrong.split()])

        assert wrong.split()[0] in capsys.readouterr().err.splitlines()[-1]
