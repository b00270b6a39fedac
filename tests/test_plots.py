"""Pictures of a training: what they show, and the error without matplotlib."""

import sys
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest
import torch
from PIL import Image

from blitz import plots
from blitz.data import CLASSES
from blitz.learning.evaluation import Accuracy
from blitz.learning.running_loss import Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes


BLUE, SKY, ORANGE = "#0072B2", "#56B4E9", "#D55E00"


def looks(artist: Any, *names: str) -> tuple[Any, ...]:
    """Return the first property of an artist, a colour, in hex, and the others as they are."""
    from matplotlib.colors import to_hex

    color, *others = (getattr(artist, f"get_{name}")() for name in names)
    return to_hex(color).upper(), *others


def legend(drawn: Any) -> list[str]:
    assert not drawn.get_frame_on()
    return [text.get_text() for text in drawn.get_texts()]


@pytest.fixture(autouse=True)
def matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # it could open a window


class TestSampleGrid:
    def test_names_each_image(self) -> None:
        figure = plots.sample_grid(torch.zeros(10, 3, 4, 4), torch.arange(10))

        assert [axes.get_title() for axes in figure.axes] == list(CLASSES)
        assert figure.get_suptitle() == "10 images and their classes"
        assert {axes.get_xlabel() for axes in figure.axes} == {""}
        assert [len(axes.get_xticks()) + len(axes.get_yticks()) for axes in figure.axes] == 10 * [0]

    @pytest.mark.parametrize(("images", "columns", "size"), [(1, 1, [3, 1.9]), (9, 8, [9.6, 3.4])])
    def test_grows_with_the_images(self, images: int, columns: int, size: list[float]) -> None:
        figure = plots.sample_grid(torch.zeros(images, 3, 4, 4), torch.arange(images))

        assert figure.axes[0].get_gridspec().ncols == columns
        assert figure.get_size_inches().tolist() == size

    def test_each_image_has_a_class(self) -> None:
        with pytest.raises(ValueError, match="argument 2 is shorter"):
            plots.sample_grid(torch.zeros(2, 3, 4, 4), torch.tensor([0]))

    def test_shows_the_pixels_within_their_range(self, capsys: pytest.CaptureFixture[str]) -> None:
        image = torch.linspace(-1, 1, 3 * 2 * 4, requires_grad=True).view(3, 2, 4)

        figure = plots.sample_grid(torch.stack([image, 3 * image]), torch.tensor([3, 3]))

        shown, clipped = (axes.get_images()[0].get_array() for axes in figure.axes)
        assert shown.shape == (2, 4, 3)
        assert shown[1, 2].tolist() == pytest.approx([6 / 23, 14 / 23, 22 / 23])
        assert (clipped[0, 0, 0], clipped[1, 3, 2]) == (0, 1)
        assert capsys.readouterr().err == ""  # where matplotlib names an image that it clips

    def test_wrong_answers_stand_out(self) -> None:
        labels, predicted = torch.tensor([3, 8, 1]), torch.tensor([3, 0, 1])
        figure = plots.sample_grid(torch.zeros(3, 3, 4, 4), labels, predicted)

        assert [axes.get_title() for axes in figure.axes] == ["cat", "ship", "car"]
        assert [axes.get_xlabel() for axes in figure.axes] == ["✓ cat", "✗ plane", "✓ car"]
        assert figure.get_suptitle() == (
            "Ground truth above, the net's answer below: 2 of 3 right (✓)"
        )
        right, wrong, _ = figure.axes
        for axes, frame in ((right, (BLUE, "solid", 1.5)), (wrong, (ORANGE, "dashed", 3.5))):
            assert {looks(side, "ec", "ls", "lw") for side in axes.spines.values()} == {frame}
            assert looks(axes.xaxis.label, "color") == frame[:1]


class TestLossCurve:
    @pytest.fixture
    def axes(self) -> "Axes":
        reports = [Report(1, 4000, 2.0), Report(1, 6000, 1.5, rest=True), Report(3, 4000, 1.0)]
        fine = [Report(1, 3000, 2.5), Report(1, 6000, 1.75, rest=True), Report(3, 2000, 1.25)]
        return plots.loss_curve(reports, fine, batches_per_epoch=6000).axes[0]

    def test_shows_each_mean_over_its_batches(self, axes: "Axes") -> None:
        curve, points, *ends = axes.get_lines()

        assert curve.get_xydata().tolist() == [[3000, 2.5], [6000, 1.75], [14000, 1.25]]
        assert points.get_xydata().tolist() == [[4000, 2.0], [6000, 1.5], [16000, 1.0]]
        assert [end.get_xdata()[0] for end in ends] == [6000, 12000]
        first, rest, last = (means.tolist() for means in axes.collections[0].get_segments())
        assert first == [[0, 2.0], [4000, 2.0]]
        assert rest == [[4000, 1.5], [6000, 1.5]]
        assert last == [[6000, 1.0], [16000, 1.0]]

    def test_says_what_is_what(self, axes: "Axes") -> None:
        words = axes.get_title(), axes.get_xlabel(), axes.get_ylabel()
        assert words == ("Loss on the training images", "batches", "loss (cross-entropy)")
        said = ["mean over 3,000 batches", "mean as printed", "end of an epoch"]
        assert legend(axes.get_legend()) == said
        assert axes.xaxis.get_major_formatter()(2000) == "2,000"
        assert axes.get_xlim()[0] == 0

    def test_draws_means_and_ends_unlike_the_curve(self, axes: "Axes") -> None:
        end = ("#808080", ":", "None")
        lines = [looks(line, "c", "ls", "marker") for line in axes.get_lines()]
        assert lines == [(SKY, "-", "None"), (BLUE, "None", "o"), end, end]
        assert [looks(means, "ec", "lw") for means in axes.collections] == [(BLUE, [2.5])]
        grids = [axis.get_tick_params().get("grid_color") for axis in (axes.xaxis, axes.yaxis)]
        assert grids == [None, "0.9"]
        assert axes.figure.get_size_inches().tolist() == [7, 4.2]


class TestClassBars:
    @pytest.fixture
    def axes(self) -> "Axes":
        accuracy = Accuracy((3, 0, 0, 1, *6 * (0,)), (4, 0, 4, 2, *6 * (0,)))
        return plots.class_bars(accuracy).axes[0]

    def test_shows_each_class_beside_chance_and_the_whole(self, axes: "Axes") -> None:
        assert axes.get_title() == "Accuracy of each class on 10 test images"
        assert axes.get_xlabel() == "named right (per cent of the class)"
        assert axes.get_xlim() == (0, 100)
        assert [bar.get_width() for bar in axes.patches] == [75, 0, 0, 50, *6 * [0]]
        assert [label.get_text() for label in axes.get_yticklabels()] == list(CLASSES)
        said = [text.get_text() for text in axes.texts]
        assert said == ["75.0 %", "no images", "0.0 %", "50.0 %", *6 * ["no images"]]
        beside = [(*text.get_position(), text.get_va()) for text in axes.texts]
        assert beside == [(101, row, "center") for row in range(10)]
        assert [line.get_xdata()[0] for line in axes.get_lines()] == [40, 10]
        assert legend(axes.figure.legends[0]) == ["all classes: 40.0 %", "chance: 10 %"]

    def test_draws_the_whole_unlike_chance(self, axes: "Axes") -> None:
        assert {looks(bar, "fc") + looks(bar, "ec") for bar in axes.patches} == {(SKY, BLUE)}
        lines = [looks(line, "c", "ls") for line in axes.get_lines()]
        assert lines == [(BLUE, "--"), (ORANGE, ":")]
        assert axes.figure.get_size_inches().tolist() == [7, 4.2]


def test_png_is_one_whatever_else_the_user_saves() -> None:
    import matplotlib as mpl

    with mpl.rc_context({"savefig.format": "svg"}):
        content = plots.png(plots.blank_figure(4, 3))

    with Image.open(BytesIO(content)) as image:
        assert (image.format, image.size) == ("PNG", (480, 360))


def test_missing_matplotlib_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, module, None)

    with pytest.raises(plots.NoMatplotlib, match=r"cannot be imported .* pip install matplotlib$"):
        plots.sample_grid(torch.zeros(1, 3, 4, 4), torch.tensor([0]))
