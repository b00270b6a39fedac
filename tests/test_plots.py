"""Pictures: the arrays behind them, the figure, and the error without matplotlib."""

import sys
from io import BytesIO
from pathlib import Path

import pytest
import torch
from PIL import Image

from blitz import plots
from blitz.learning.evaluation import Accuracy
from blitz.learning.running_loss import Report


def to_rgba(color: str) -> tuple[float, ...]:
    """``#rrggbb`` as matplotlib tells a colour back."""
    return (*(int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)), 1.0)


class TestToArray:
    def test_grey_images_keep_their_one_channel(self) -> None:
        array = plots.to_array(torch.tensor([[[-1.0, 0.0, 1.0]]]))

        assert array.tolist() == [[[0.0], [0.5], [1.0]]]

    def test_tensors_with_a_graph_are_taken(self) -> None:
        assert plots.to_array(torch.zeros(3, 2, 2, requires_grad=True)).shape == (2, 2, 3)

    @pytest.mark.parametrize("shape", [(4, 3, 32, 32), (32, 32), (2, 32, 32), (32, 32, 3)], ids=str)
    def test_what_is_no_image_is_refused(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match="image of shape") as caught:
            plots.to_array(torch.zeros(shape))
        assert str(caught.value) == (
            f"image of shape {shape}: a picture needs C x H x W with 1 or 3 channels. "
            "Take one image of a batch, as in images[0]."
        )


class TestSampleGrid:
    @pytest.fixture(autouse=True)
    def _matplotlib(self) -> None:
        pytest.importorskip("matplotlib")

    def test_names_each_image(self) -> None:
        figure = plots.sample_grid(torch.zeros(10, 3, 4, 4), torch.arange(10))

        assert [axes.get_title() for axes in figure.axes][::3] == ["plane", "cat", "frog", "truck"]
        assert figure.get_suptitle() == "10 images and their classes"
        assert figure.texts[0].get_fontsize() == 11
        assert {axes.title.get_fontsize() for axes in figure.axes} == {9}
        assert {axes.get_xlabel() for axes in figure.axes} == {""}

    @pytest.mark.parametrize(
        ("count", "rows", "columns", "inches"),
        [(1, 1, 1, (3, 1.9)), (3, 1, 3, (3.6, 1.9)), (8, 1, 8, (9.6, 1.9)), (10, 2, 8, (9.6, 3.4))],
    )
    def test_stands_in_rows_of_8(
        self, count: int, rows: int, columns: int, inches: tuple[float, float]
    ) -> None:
        figure = plots.sample_grid(torch.zeros(count, 3, 4, 4), [0] * count)

        assert figure.get_size_inches().tolist() == pytest.approx(inches)
        specs = [axes.get_subplotspec() for axes in figure.axes]
        assert [(spec.get_geometry()[:2], spec.num1) for spec in specs] == [
            ((rows, columns), place) for place in range(count)
        ]

    def test_shows_the_pixels(self) -> None:
        image = torch.linspace(-1, 1, 3 * 2 * 4).view(3, 2, 4)

        figure = plots.sample_grid(image[None], [3])

        shown = figure.axes[0].get_images()[0].get_array()
        assert shown.shape == (2, 4, 3)
        assert shown[1, 2].tolist() == pytest.approx([6 / 23, 14 / 23, 22 / 23])

    def test_shows_grey_images(self) -> None:
        images = torch.zeros(2, 1, 4, 4)
        images[1] = torch.tensor([-3.0, -1.0, 0.0, 3.0])

        figure = plots.sample_grid(images, [0, 1], [1, 1], classes=("no", "yes"))

        assert [axes.get_xlabel() for axes in figure.axes] == ["✗ yes", "✓ yes"]
        assert figure.axes[0].get_images()[0].get_clim() == (0, 1)  # one grey is no black
        assert [axes.get_title() for axes in figure.axes] == ["no", "yes"]
        (shown,) = figure.axes[1].get_images()
        assert shown.get_array().tolist() == [[0, 0, 0.5, 1]] * 4
        assert (shown.get_cmap().name, shown.get_clim()) == ("gray", (0, 1))
        assert [list(figure.axes[1].get_xticks()), list(figure.axes[1].get_yticks())] == [[], []]

    def test_predictions_stand_beside_the_truth_and_wrong_ones_out(self) -> None:
        figure = plots.sample_grid(torch.zeros(3, 3, 4, 4), [3, 8, 1], [3, 0, 1])

        right, wrong, _ = figure.axes
        assert [axes.get_title() for axes in figure.axes] == ["cat", "ship", "car"]
        assert [axes.get_xlabel() for axes in figure.axes] == ["✓ cat", "✗ plane", "✓ car"]
        assert figure.get_suptitle() == (
            "Ground truth above, the net's answer below: 2 of 3 right (✓)"
        )
        assert figure.texts[0].get_fontsize() == 11
        for axes, color, width, style in [
            (right, plots.BLUE, 1.5, "solid"),
            (wrong, plots.VERMILLION, 3.5, (0, (3, 1.5))),
        ]:
            assert [axes.xaxis.label.get_color(), axes.xaxis.label.get_fontsize()] == [color, 9]
            assert set(axes.spines) == {"left", "right", "top", "bottom"}
            for side in axes.spines.values():
                assert side.get_edgecolor() == to_rgba(color)
                assert (side.get_linewidth(), side.get_linestyle()) == (width, style)

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
        answers = labels if predicted is None else predicted
        with pytest.raises(ValueError, match=f"{count} images") as caught:
            plots.sample_grid(torch.zeros(count, 3, 4, 4), labels, predicted)
        assert str(caught.value) == (
            f"{count} images, {len(labels)} labels, {len(answers)} predicted: give one label for "
            "each image, and one image at least."
        )

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

    def test_curve_means_and_ends_of_epochs_are_told_apart(self) -> None:
        reports = [Report(epoch, 3000, 1 / epoch) for epoch in (1, 2, 3)]
        fine = [Report(epoch, batches, 1.0) for epoch in (1, 2, 3) for batches in (1500, 3000)]

        figure = plots.loss_curve(reports, fine, batches_per_epoch=3000)

        assert figure.get_size_inches().tolist() == [7, 4.2]
        (axes,) = figure.axes
        curve, points, first, second = axes.get_lines()
        assert curve.get_color() == plots.SKY
        assert (points.get_color(), points.get_marker()) == (plots.BLUE, "o")
        assert (points.get_linestyle(), points.get_markersize()) == ("None", 5)
        (means,) = axes.collections
        assert means.get_edgecolor().tolist() == [list(to_rgba(plots.BLUE))]
        assert means.get_linewidth().tolist() == [2.5]
        assert [end.get_xdata()[0] for end in (first, second)] == [3000, 6000]
        assert first.get_label() == "end of an epoch"
        assert {(end.get_color(), end.get_linestyle()) for end in (first, second)} == {("0.5", ":")}
        legend = axes.get_legend()
        assert not legend.get_frame_on()
        assert [text.get_text() for text in legend.get_texts()] == [
            "mean over 1,500 batches",
            "mean as printed",
            "end of an epoch",
        ]

    def test_axes_begin_at_the_first_batch_and_write_thousands(self) -> None:
        axes = plots.loss_curve([Report(1, 4, 2.0)], [Report(1, 4, 2.0)], 4).axes[0]

        assert axes.get_xlim()[0] == 0
        assert axes.xaxis.get_major_formatter()(1234567.0) == "1,234,567"
        assert {line.get_visible() for line in axes.get_ygridlines()} == {True}
        assert {line.get_color() for line in axes.get_ygridlines()} == {"0.9"}
        assert {line.get_visible() for line in axes.get_xgridlines()} == {False}

    @pytest.mark.parametrize(
        ("reports", "fine"), [([], []), ([], [Report(1, 1, 1.0)]), ([Report(1, 1, 1.0)], [])]
    )
    def test_nothing_to_draw_is_refused(self, reports: list[Report], fine: list[Report]) -> None:
        with pytest.raises(ValueError, match="no report") as caught:
            plots.loss_curve(reports, fine, 1)
        assert str(caught.value) == (
            "there is no report of the loss to draw. Train for one batch at least."
        )


class TestClassBars:
    @pytest.fixture(autouse=True)
    def _matplotlib(self) -> None:
        pytest.importorskip("matplotlib")

    def test_shows_each_class_beside_chance_and_the_whole(self) -> None:
        accuracy = Accuracy((3, 0, 0, 1), (4, 0, 4, 2))

        figure = plots.class_bars(accuracy, ("cat", "dog", "frog", "ship"))

        assert figure.get_size_inches().tolist() == [7, 4.2]
        (axes,) = figure.axes
        assert axes.get_title() == "Accuracy of each class on 10 test images"
        assert (axes.get_xlabel(), axes.get_xlim()) == (
            "named right (per cent of the class)",
            (0, 100),
        )
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
        assert {(text.get_position()[0], text.get_fontsize()) for text in axes.texts} == {(101, 9)}
        assert [line.get_xdata()[0] for line in axes.get_lines()] == [40, 25]
        legend = [text.get_text() for text in axes.get_legend().get_texts()]
        assert legend == ["all classes: 40.0 %", "chance: 25 %"]

    def test_bars_chance_and_the_whole_are_told_apart(self) -> None:
        axes = plots.class_bars(Accuracy((1, 1), (1000, 1000)), ("cat", "dog")).axes[0]

        assert axes.get_title() == "Accuracy of each class on 2,000 test images"
        bars = {(bar.get_facecolor(), bar.get_edgecolor()) for bar in axes.patches}
        assert bars == {(to_rgba(plots.SKY), to_rgba(plots.BLUE))}
        assert [(line.get_color(), line.get_linestyle()) for line in axes.get_lines()] == [
            (plots.BLUE, "--"),
            (plots.VERMILLION, ":"),
        ]

    def test_nothing_overlaps(self) -> None:
        figure = plots.class_bars(Accuracy((1, 2), (4, 4)), ("cat", "dog"))

        figure.draw_without_rendering()

        (axes,) = figure.axes
        above, below = (bar.get_window_extent() for bar in axes.patches)
        assert above.y0 > below.y1  # the first class is the upper one
        for bar, text in zip((above, below), axes.texts, strict=True):
            place = text.get_window_extent()
            assert place.x0 > axes.bbox.x1
            assert (place.y0 + place.y1) / 2 == pytest.approx((bar.y0 + bar.y1) / 2, abs=3)
        legend = axes.get_legend()
        assert not legend.get_frame_on()
        frame, label = legend.get_window_extent(), axes.xaxis.label.get_window_extent()
        assert 0 < frame.y1 < label.y0 + 5
        assert (frame.x0 + frame.x1) / 2 == pytest.approx((axes.bbox.x0 + axes.bbox.x1) / 2, abs=3)
        whole, chance = (text.get_window_extent() for text in legend.get_texts())
        assert whole.x1 < chance.x0  # side by side

    def test_as_many_names_as_classes(self) -> None:
        with pytest.raises(ValueError, match="10 names") as caught:
            plots.class_bars(Accuracy((1, 1), (1, 1)))
        assert str(caught.value) == "10 names for 2 classes. Give a name for each."


class TestFigure:
    @pytest.fixture(autouse=True)
    def _matplotlib(self) -> None:
        pytest.importorskip("matplotlib")

    def test_is_laid_out_by_itself_and_drawn_in_memory(self) -> None:
        figure = plots.blank_figure(4, 3)

        assert figure.get_size_inches().tolist() == [4, 3]
        assert type(figure.get_layout_engine()).__name__ == "ConstrainedLayoutEngine"
        assert type(figure.canvas).__name__ == "FigureCanvasAgg"

    def test_png_is_one_whatever_else_the_user_saves(self) -> None:
        import matplotlib as mpl

        with mpl.rc_context({"savefig.format": "svg"}):
            content = plots.png(plots.blank_figure(4, 3))

        with Image.open(BytesIO(content)) as image:
            assert (image.format, image.size) == ("PNG", (480, 360))  # 120 dots to an inch


def test_missing_matplotlib_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("matplotlib", "matplotlib.figure", "matplotlib.backends.backend_agg"):
        monkeypatch.setitem(sys.modules, module, None)

    with pytest.raises(plots.NoMatplotlib, match="matplotlib") as caught:
        plots.sample_grid(torch.zeros(1, 3, 4, 4), [0])
    cause = caught.value.__cause__
    assert isinstance(cause, ImportError)
    assert str(caught.value) == (
        f"pictures need matplotlib, which cannot be imported ({cause}). Install it: "
        "pip install matplotlib"
    )
