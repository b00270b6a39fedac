"""Pictures of a training: what they show, and the error without matplotlib."""

import sys
from io import BytesIO

import pytest
import torch
from PIL import Image

from blitz import plots
from blitz.data import CLASSES
from blitz.learning.evaluation import Accuracy
from blitz.learning.running_loss import Report


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

    def test_shows_the_pixels_within_their_range(self) -> None:
        image = torch.linspace(-1, 1, 3 * 2 * 4, requires_grad=True).view(3, 2, 4)

        figure = plots.sample_grid(torch.stack([image, 3 * image]), torch.tensor([3, 3]))

        shown, clipped = (axes.get_images()[0].get_array() for axes in figure.axes)
        assert shown.shape == (2, 4, 3)
        assert shown[1, 2].tolist() == pytest.approx([6 / 23, 14 / 23, 22 / 23])
        assert (clipped[0, 0, 0], clipped[1, 3, 2]) == (0, 1)

    def test_wrong_answers_stand_out(self) -> None:
        labels, predicted = torch.tensor([3, 8, 1]), torch.tensor([3, 0, 1])
        figure = plots.sample_grid(torch.zeros(3, 3, 4, 4), labels, predicted)

        assert [axes.get_title() for axes in figure.axes] == ["cat", "ship", "car"]
        assert [axes.get_xlabel() for axes in figure.axes] == ["✓ cat", "✗ plane", "✓ car"]
        assert figure.get_suptitle() == (
            "Ground truth above, the net's answer below: 2 of 3 right (✓)"
        )
        frames = [{side.get_linewidth() for side in axes.spines.values()} for axes in figure.axes]
        assert frames == [{1.5}, {3.5}, {1.5}]


class TestLossCurve:
    def test_shows_each_mean_over_its_batches(self) -> None:
        reports = [Report(1, 4, 2.0), Report(1, 6, 1.5, rest=True), Report(2, 4, 1.0)]
        fine = [Report(1, 3, 2.5), Report(1, 6, 1.75, rest=True), Report(2, 3, 1.25)]

        (axes,) = plots.loss_curve(reports, fine, batches_per_epoch=6).axes

        curve, points, end = axes.get_lines()
        assert curve.get_xydata().tolist() == [[3, 2.5], [6, 1.75], [9, 1.25]]
        assert points.get_xydata().tolist() == [[4, 2.0], [6, 1.5], [10, 1.0]]
        assert list(end.get_xdata()) == [6, 6]
        spans = [segment.tolist() for segment in axes.collections[0].get_segments()]
        assert spans == [[[0, 2.0], [4, 2.0]], [[4, 1.5], [6, 1.5]], [[6, 1.0], [10, 1.0]]]


class TestClassBars:
    ACCURACY = Accuracy((3, 0, 0, 1, *6 * (0,)), (4, 0, 4, 2, *6 * (0,)))

    def test_shows_each_class_beside_chance_and_the_whole(self) -> None:
        (axes,) = plots.class_bars(self.ACCURACY).axes

        assert axes.get_title() == "Accuracy of each class on 10 test images"
        assert axes.get_xlim() == (0, 100)
        assert [bar.get_width() for bar in axes.patches] == [75, 0, 0, 50, *6 * [0]]
        assert [label.get_text() for label in axes.get_yticklabels()] == list(CLASSES)
        said = [text.get_text() for text in axes.texts]
        assert said == ["75.0 %", "no images", "0.0 %", "50.0 %", *6 * ["no images"]]
        assert [line.get_xdata()[0] for line in axes.get_lines()] == [40, 10]
        legend = [text.get_text() for text in axes.get_legend().get_texts()]
        assert legend == ["all classes: 40.0 %", "chance: 10 %"]


def test_png_is_one_whatever_else_the_user_saves() -> None:
    import matplotlib as mpl

    with mpl.rc_context({"savefig.format": "svg"}):
        content = plots.png(plots.blank_figure(4, 3))

    with Image.open(BytesIO(content)) as image:
        assert (image.format, image.size) == ("PNG", (480, 360))


def test_missing_matplotlib_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("matplotlib", "matplotlib.figure", "matplotlib.backends.backend_agg"):
        monkeypatch.setitem(sys.modules, module, None)

    with pytest.raises(plots.NoMatplotlib, match=r"cannot be imported .* pip install matplotlib$"):
        plots.sample_grid(torch.zeros(1, 3, 4, 4), torch.tensor([0]))
