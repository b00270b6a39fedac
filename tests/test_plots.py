"""Pictures: the arrays behind them, the figure, and the error without matplotlib."""

import sys
from pathlib import Path

import pytest
import torch

from blitz import plots
from blitz.classifier import Accuracy, Report


class TestToArray:
    def test_grey_images_keep_their_one_channel(self) -> None:
        array = plots.to_array(torch.tensor([[[-1.0, 0.0, 1.0]]]))

        assert array.tolist() == [[[0.0], [0.5], [1.0]]]

    def test_tensors_with_a_graph_are_taken(self) -> None:
        assert plots.to_array(torch.zeros(3, 2, 2, requires_grad=True)).shape == (2, 2, 3)

    @pytest.mark.parametrize("shape", [(4, 3, 32, 32), (32, 32), (2, 32, 32), (32, 32, 3)], ids=str)
    def test_what_is_no_image_is_refused(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(
            ValueError, match=r"needs C x H x W with 1 or 3 channels. Take"
        ) as caught:
            plots.to_array(torch.zeros(shape))
        assert str(shape) in str(caught.value)


class TestSampleGrid:
    @pytest.fixture(autouse=True)
    def _matplotlib(self) -> None:
        pytest.importorskip("matplotlib")

    def test_names_each_image(self) -> None:
        figure = plots.sample_grid(torch.zeros(10, 3, 4, 4), torch.arange(10))

        assert [axes.get_title() for axes in figure.axes][::3] == ["plane", "cat", "frog", "truck"]
        rows, columns, _, _ = figure.axes[9].get_subplotspec().get_geometry()
        assert (rows, columns) == (2, 8)

    def test_shows_the_pixels(self) -> None:
        image = torch.linspace(-1, 1, 3 * 2 * 4).view(3, 2, 4)

        figure = plots.sample_grid(image[None], [3])

        shown = figure.axes[0].get_images()[0].get_array()
        assert shown.shape == (2, 4, 3)
        assert shown[1, 2].tolist() == pytest.approx([6 / 23, 14 / 23, 22 / 23])

    def test_shows_grey_images(self) -> None:
        figure = plots.sample_grid(torch.zeros(2, 1, 4, 4), [0, 1], classes=("no", "yes"))

        assert [axes.get_title() for axes in figure.axes] == ["no", "yes"]

    def test_predictions_stand_beside_the_truth_and_wrong_ones_out(self) -> None:
        figure = plots.sample_grid(torch.zeros(3, 3, 4, 4), [3, 8, 1], [3, 0, 1])

        right, wrong, _ = figure.axes
        assert [axes.get_title() for axes in figure.axes] == ["cat", "ship", "car"]
        assert [axes.get_xlabel() for axes in figure.axes] == ["✓ cat", "✗ plane", "✓ car"]
        assert "2 of 3 right" in figure.get_suptitle()
        frames = [axes.spines["left"] for axes in (right, wrong)]
        assert [frame.get_linestyle() for frame in frames] == ["solid", (0, (3, 1.5))]
        assert frames[1].get_linewidth() > 2 * frames[0].get_linewidth()
        assert [axes.xaxis.label.get_color() for axes in (right, wrong)] == [
            plots.BLUE,
            plots.VERMILLION,
        ]

    def test_can_be_saved_and_opens_no_window(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # importing it fails

        plots.sample_grid(torch.zeros(2, 3, 4, 4), [3, 8]).savefig(tmp_path / "grid.png")

        assert (tmp_path / "grid.png").read_bytes().startswith(b"\x89PNG")

    @pytest.mark.parametrize(
        ("count", "labels", "predicted"),
        [(2, [1], None), (0, [], None), (2, [1, 2], [1])],
        ids=["a label missing", "no image", "a prediction missing"],
    )
    def test_each_image_needs_its_label(
        self, count: int, labels: list[int], predicted: list[int] | None
    ) -> None:
        with pytest.raises(ValueError, match=f"{count} images.*give one label for each"):
            plots.sample_grid(torch.zeros(count, 3, 4, 4), labels, predicted)

    def test_label_without_a_name_is_refused(self) -> None:
        with pytest.raises(ValueError, match="label 10 names none of 10 classes"):
            plots.sample_grid(torch.zeros(1, 3, 4, 4), [10])


class TestLossCurve:
    @pytest.fixture(autouse=True)
    def _matplotlib(self) -> None:
        pytest.importorskip("matplotlib")

    def test_shows_each_mean_over_the_batches_it_is_of(self) -> None:
        reports = [Report(1, 4, 2.0), Report(1, 6, 1.5, rest=True), Report(2, 4, 1.0)]
        fine = [Report(1, 3, 2.5), Report(1, 6, 1.75, rest=True), Report(2, 3, 1.25)]

        axes = plots.loss_curve(reports, fine, batches_per_epoch=6).axes[0]

        assert (axes.get_xlabel(), axes.get_ylabel()) == ("batches", "loss (cross-entropy)")
        assert axes.get_title() == "Loss on the training images"
        curve, points, end = axes.get_lines()
        assert curve.get_xydata().tolist() == [[3, 2.5], [6, 1.75], [9, 1.25]]
        assert points.get_xydata().tolist() == [[4, 2.0], [6, 1.5], [10, 1.0]]
        assert list(end.get_xdata()) == [6, 6]
        spans = [segment.tolist() for segment in axes.collections[0].get_segments()]
        assert spans == [[[0, 2.0], [4, 2.0]], [[4, 1.5], [6, 1.5]], [[6, 1.0], [10, 1.0]]]

    def test_nothing_to_draw_is_refused(self) -> None:
        with pytest.raises(ValueError, match="no report of the loss to draw"):
            plots.loss_curve([], [], 1)


class TestClassBars:
    @pytest.fixture(autouse=True)
    def _matplotlib(self) -> None:
        pytest.importorskip("matplotlib")

    def test_shows_each_class_beside_chance_and_the_whole(self) -> None:
        accuracy = Accuracy((3, 0, 0, 1), (4, 0, 4, 2))

        axes = plots.class_bars(accuracy, ("cat", "dog", "frog", "ship")).axes[0]

        assert [bar.get_width() for bar in axes.patches] == [75, 0, 0, 50]
        assert [label.get_text() for label in axes.get_yticklabels()] == [
            "cat",
            "dog",
            "frog",
            "ship",
        ]
        assert [text.get_text() for text in axes.texts] == [
            "75.0 %",
            "no images",
            "0.0 %",
            "50.0 %",
        ]
        assert [line.get_xdata()[0] for line in axes.get_lines()] == [40, 25]
        legend = [text.get_text() for text in axes.get_legend().get_texts()]
        assert legend == ["all classes: 40.0 %", "chance: 25 %"]

    def test_as_many_names_as_classes(self) -> None:
        with pytest.raises(ValueError, match="10 names for 2 classes"):
            plots.class_bars(Accuracy((1, 1), (1, 1)))


def test_missing_matplotlib_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("matplotlib", "matplotlib.figure", "matplotlib.backends.backend_agg"):
        monkeypatch.setitem(sys.modules, module, None)

    with pytest.raises(ImportError, match=r"pictures need matplotlib.*pip install matplotlib"):
        plots.sample_grid(torch.zeros(1, 3, 4, 4), [0])
