"""The classifier beyond what the tutorial shows: exactness, bad input, and files that lie."""

import io
import os
import pickle
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from blitz import classifier, devices
from blitz.learning import evaluation
from blitz.learning.evaluation import Accuracy
from blitz.learning.step import TrainingStep
from blitz.training import weights
from blitz.training.weights import WeightsError


@pytest.fixture
def images() -> TensorDataset:
    """Fifteen random images with labels: three batches of 4, then one of 3."""
    return TensorDataset(torch.rand(15, 3, 32, 32) * 2 - 1, torch.arange(15) % 10)


@pytest.fixture
def saved(tmp_path: Path) -> tuple[classifier.Net, Path]:
    """A net and the file that it is saved to."""
    net = classifier.Net()
    weights.save(net, tmp_path / "net.pth")
    return net, tmp_path / "net.pth"


class Obeys:
    """Unpickling this runs code, which leaves a file."""

    def __init__(self, trace: Any) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.trace),)


class TestNet:
    def test_width_is_that_of_the_first_convolution(self) -> None:
        net = classifier.Net(width=12)

        assert net.conv1.weight.shape == (12, 3, 5, 5)
        assert net.conv2.weight.shape == (16, 12, 5, 5)
        assert net(torch.zeros(2, 3, 32, 32)).shape == (2, 10)

    @pytest.mark.parametrize("width", [0, -1])
    def test_width_below_one_is_refused(self, width: int) -> None:
        with pytest.raises(ValueError, match=f"width {width}: a net needs a channel. Give 1"):
            classifier.Net(width)

    @pytest.mark.parametrize(
        "shape",
        [(3, 32, 32), (1, 1, 32, 32), (2, 3, 28, 28), (2, 32, 32, 3), (1, 2, 3, 32, 32), ()],
        ids=str,
    )
    def test_wrong_shape_is_named(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match=r"this net takes N x 3 x 32 x 32. Resize") as caught:
            classifier.Net()(torch.zeros(shape))
        assert str(shape) in str(caught.value)

    def test_empty_batch_gives_an_empty_answer(self) -> None:
        assert classifier.Net()(torch.zeros(0, 3, 32, 32)).shape == (0, 10)


def losses_of_the_plain_loop(net: nn.Module, loader: Iterable[Any], epochs: Any) -> list[float]:
    """The tutorial's loop, line by line."""
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.001, momentum=0.9)
    losses = []
    for _ in range(epochs):
        for inputs, labels in loader:
            optimizer.zero_grad()
            loss = criterion(net(inputs), labels)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return losses


class TestTrainingStep:
    @pytest.mark.parametrize("make", [TrainingStep])
    def test_has_the_tutorials_settings_where_none_are_given(
        self, make: Callable[[nn.Module], TrainingStep]
    ) -> None:
        step = make(classifier.Net())

        defaults = step.optimizer.defaults
        assert (defaults["lr"], defaults["momentum"], step.exact) == (0.001, 0.9, True)
        assert not defaults["fused"]

    @pytest.mark.parametrize(
        ("net", "settings", "said"),
        [
            (nn.Flatten(), {}, "^Flatten has no parameters to train: use a network.$"),
            (nn.Linear(1, 1), {"lr": -1.0}, "Invalid learning rate: -1.0"),
            (nn.Linear(1, 1), {"momentum": -1.0}, "Invalid momentum value: -1.0"),
        ],
    )
    def test_is_refused_where_nothing_can_be_trained(
        self, net: nn.Module, settings: dict[str, float], said: str
    ) -> None:
        with pytest.raises(ValueError, match=said):
            TrainingStep(net, **settings)

    def test_takes_the_settings_it_is_given(self) -> None:
        step = TrainingStep(classifier.Net(), lr=0.5, momentum=0.25, exact=False)

        defaults = step.optimizer.defaults
        assert (defaults["lr"], defaults["momentum"], step.exact) == (0.5, 0.25, False)
        assert defaults["fused"]

    def test_moves_images_and_labels_to_the_net(self) -> None:
        step = TrainingStep(classifier.Net().to("meta"))
        seen = []

        def criterion(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            seen.append((outputs.device.type, labels.device.type))
            return outputs.sum()

        step.criterion = criterion
        step(torch.ones(2, 3, 32, 32), torch.tensor([1, 2]))

        assert seen == [("meta", "meta")]

    def test_loss_has_no_graph(self) -> None:
        step = TrainingStep(classifier.Net())

        loss = step(torch.ones(2, 3, 32, 32), torch.tensor([1, 2]))

        assert loss.shape == ()
        assert not loss.requires_grad

    @pytest.mark.parametrize("exact", [True, False])
    @pytest.mark.parametrize(("place", "fused"), [("cuda", True), ("xpu", False)])
    def test_one_kernel_updates_all_parameters_on_cuda(
        self, place: str, fused: bool, exact: bool
    ) -> None:
        class Elsewhere(nn.Parameter):
            """It says that it is somewhere else than it is."""

            device = torch.device(place)

        net = nn.ParameterList([Elsewhere(torch.ones(1))])

        assert TrainingStep(net, exact=exact).optimizer.defaults["fused"] is fused


class TestTrain:
    def test_gives_the_losses_of_a_plain_loop_to_the_last_bit(self, images: TensorDataset) -> None:
        torch.manual_seed(3)
        plain_net = classifier.Net()
        plain = losses_of_the_plain_loop(plain_net, DataLoader(images, 4, shuffle=True), 3)

        torch.manual_seed(3)
        net = classifier.Net()
        reports = classifier.train(
            net, DataLoader(images, 4, shuffle=True), epochs=3, report_every=1
        )

        assert [report.loss for report in reports] == plain
        assert [report.epoch for report in reports] == [1] * 4 + [2] * 4 + [3] * 4
        for mine, theirs in zip(net.parameters(), plain_net.parameters(), strict=True):
            assert torch.equal(mine, theirs)

    def test_mean_loss_is_the_running_sum_over_the_count(self, images: TensorDataset) -> None:
        torch.manual_seed(3)
        a, b, c, d = losses_of_the_plain_loop(classifier.Net(), DataLoader(images, 4), 1)

        torch.manual_seed(3)
        reports = classifier.train(
            classifier.Net(), DataLoader(images, 4), epochs=1, report_every=3
        )

        assert [report.loss for report in reports] == [(0.0 + a + b + c) / 3, d]
        assert [report.rest for report in reports] == [False, True]

    def test_momentum_can_be_left_out(self, images: TensorDataset) -> None:
        def trained(**options: float) -> float:
            torch.manual_seed(3)
            return classifier.train(classifier.Net(), DataLoader(images, 4), **options)[-1].loss

        assert trained(momentum=0.9) == trained()
        assert trained(momentum=0.0) != trained()

    def test_reports_as_it_goes(self, images: TensorDataset) -> None:
        net, seen = classifier.Net(), []

        def on_report(report: Any) -> None:
            seen.append((report, net.fc3.bias.tolist()))

        reports = classifier.train(
            net, DataLoader(images, 4), epochs=1, report_every=2, on_report=on_report
        )

        assert [report for report, _ in seen] == reports
        assert seen[0][1] != seen[1][1]

    def test_report_of_everything_has_no_rest(self, images: TensorDataset) -> None:
        reports = classifier.train(
            classifier.Net(), DataLoader(images, 5), epochs=1, report_every=3
        )

        assert [(report.batches, report.rest) for report in reports] == [(3, False)]

    def test_keeps_the_training_mode(self, images: TensorDataset) -> None:
        net = nn.Sequential(classifier.Net(), nn.Dropout(0.0)).eval()

        classifier.train(net, DataLoader(images, 5), epochs=1)

        assert not any(module.training for module in net.modules())

    @pytest.mark.parametrize("bad", [{"epochs": 0}, {"report_every": 0}], ids=str)
    def test_less_than_one_is_refused(self, images: TensorDataset, bad: dict[str, int]) -> None:
        with pytest.raises(ValueError, match="give 1 or more for both"):
            classifier.train(classifier.Net(), DataLoader(images, 4), **bad)

    def test_loader_without_batches_is_refused(self) -> None:
        with pytest.raises(ValueError, match=r"gave no batch in epoch 1. Give one over a data set"):
            classifier.train(classifier.Net(), [])

    def test_iterator_is_refused_in_the_second_epoch(self, images: TensorDataset) -> None:
        with pytest.raises(ValueError, match=r"gave no batch in epoch 2.*not an iterator"):
            classifier.train(classifier.Net(), iter(DataLoader(images, 4)))

    @pytest.mark.parametrize("label", [10, -1])
    def test_label_without_an_output_is_refused_before_any_step(self, label: int) -> None:
        net = classifier.Net()
        before = net.fc3.bias.tolist()

        with pytest.raises(ValueError, match=f"label {label} fits none of the net's 10 outputs"):
            classifier.train(net, [(torch.zeros(2, 3, 32, 32), torch.tensor([3, label]))])

        assert net.fc3.bias.tolist() == before

    @pytest.mark.parametrize(
        "labels", [torch.zeros(2), torch.zeros(3).long(), torch.zeros(2, 1).long()], ids=str
    )
    def test_labels_that_are_not_one_number_an_image_are_refused(self, labels: Any) -> None:
        with pytest.raises(ValueError, match="for 2 images: give a class number for each, int64"):
            classifier.train(classifier.Net(), [(torch.zeros(2, 3, 32, 32), labels)])


class TestEvaluate:
    def test_counts_by_hand(self) -> None:
        scores = torch.tensor([[0.0, 1.0, 2.0], [3.0, 1.0, 2.0], [0.0, 5.0, 2.0]])

        accuracy = evaluation.evaluate(nn.Identity(), [(scores, torch.tensor([2, 1, 1]))])

        assert accuracy == Accuracy((0, 1, 1), (0, 2, 1))
        assert (accuracy.correct, accuracy.total) == (2, 3)
        assert accuracy.percent == pytest.approx(200 / 3)
        assert accuracy.class_percent == (None, 50, 100)

    def test_runs_in_evaluation_mode_and_restores_each_module(self) -> None:
        seen = []

        class Watched(nn.Module):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                seen.append((self.training, torch.is_grad_enabled()))
                return x

        net = nn.Sequential(Watched(), nn.Dropout().eval(), Watched()).train()
        net[1].eval()

        evaluation.evaluate(net, [(torch.eye(3), torch.arange(3))])

        assert seen == [(False, False)] * 2
        assert [module.training for module in net] == [True, False, True]
        assert torch.is_grad_enabled()

    def test_mode_is_restored_after_an_error(self) -> None:
        net = classifier.Net()

        with pytest.raises(ValueError, match="this net takes"):
            evaluation.evaluate(net, [(torch.zeros(1, 1), torch.zeros(1).long())])

        assert net.training
        assert torch.is_grad_enabled()

    def test_loader_without_batches_is_refused(self) -> None:
        with pytest.raises(ValueError, match="gave no batch to test the net on"):
            evaluation.evaluate(classifier.Net(), [])

    @pytest.mark.parametrize("label", [3, -1])
    def test_label_without_an_output_is_refused(self, label: int) -> None:
        with pytest.raises(ValueError, match=f"label {label} fits none of the net's 3 outputs"):
            evaluation.evaluate(nn.Identity(), [(torch.eye(3)[:1], torch.tensor([label]))])

    def test_images_go_where_the_net_is(self) -> None:
        class Elsewhere(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.weight = nn.Parameter(torch.ones(1, device="meta"))

            def forward(self, images: torch.Tensor) -> torch.Tensor:
                assert images.device == torch.device("meta")
                return torch.eye(3)

        accuracy = evaluation.evaluate(Elsewhere(), [(torch.zeros(3, 2), torch.arange(3))])

        assert accuracy.class_correct == (1, 1, 1)

    def test_one_label_for_many_images_is_refused(self) -> None:
        with pytest.raises(ValueError, match="for 3 images"):
            evaluation.evaluate(nn.Identity(), [(torch.eye(3), torch.tensor([1]))])


class TestLines:
    def test_names_fit_the_labels(self) -> None:
        assert evaluation.class_names([1, 0], ("no", "yes")) == ["yes", "no"]
        assert evaluation.labels_line([1, 0], ("no", "yes")) == "  yes    no"

    @pytest.mark.parametrize("labels", [[10], [-1], [0.5], torch.tensor([3, 10])], ids=str)
    def test_label_without_a_name_is_refused(self, labels: Any) -> None:
        wrong = float(labels[-1])

        with pytest.raises(
            ValueError,
            match=rf"label {wrong:g} names none of 10 classes\. Give whole numbers from 0 to 9\.",
        ):
            evaluation.labels_line(labels)

    def test_as_many_names_as_classes(self) -> None:
        with pytest.raises(ValueError, match=r"10 names for 2 classes. Give a name for each"):
            Accuracy((1, 1), (1, 1)).class_lines()

    def test_class_without_images(self) -> None:
        lines = Accuracy((1, 0), (1, 0)).class_lines(("cat", "dog"))

        assert lines == ["Accuracy of   cat : 100 %", "Accuracy of   dog : no images"]


class TestSave:
    def test_replaces_a_file_whole(self, saved: tuple[classifier.Net, Path]) -> None:
        _, path = saved
        net = classifier.Net()

        weights.save(net, str(path))

        assert torch.equal(weights.load(path).fc1.weight, net.fc1.weight)
        assert [file.name for file in path.parent.iterdir()] == ["net.pth"]

    def test_file_is_readable_as_other_files_are(
        self, saved: tuple[classifier.Net, Path], tmp_path: Path
    ) -> None:
        _, path = saved
        (tmp_path / "other").touch()

        assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(
            (tmp_path / "other").stat().st_mode
        )

    @pytest.mark.parametrize("broken", ["fsync", "replace"])
    def test_disk_that_fails_leaves_the_former_file(
        self, saved: tuple[classifier.Net, Path], monkeypatch: pytest.MonkeyPatch, broken: str
    ) -> None:
        _, path = saved
        before = path.read_bytes()

        def full(*args: Any) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, broken, full)
        with pytest.raises(WeightsError, match="cannot be written there: No space left"):
            weights.save(classifier.Net(), path)

        assert path.read_bytes() == before
        assert [file.name for file in path.parent.iterdir()] == ["net.pth"]

    def test_missing_folder_is_named(self, tmp_path: Path) -> None:
        path = tmp_path / "nowhere" / "net.pth"

        with pytest.raises(WeightsError, match=r"No such file.*Choose a file in") as caught:
            weights.save(classifier.Net(), path)

        assert str(path) in str(caught.value)
        assert not path.parent.exists()

    def test_folder_in_place_of_a_file_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(WeightsError, match="cannot be written there: Is a directory"):
            weights.save(classifier.Net(), tmp_path)

        assert list(tmp_path.iterdir()) == []

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
    def test_folder_that_may_not_be_written_to(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o500)
        try:
            with pytest.raises(WeightsError, match="Permission denied"):
                weights.save(classifier.Net(), tmp_path / "net.pth")
        finally:
            tmp_path.chmod(0o700)

    def test_net_without_values_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(WeightsError, match="lies on meta and has no values"):
            weights.save(classifier.Net().to("meta"), tmp_path / "net.pth")

        assert list(tmp_path.iterdir()) == []

    def test_net_without_all_its_values_is_refused(self, tmp_path: Path) -> None:
        net = classifier.Net()
        net.fc3.to("meta")

        with pytest.raises(WeightsError, match="lies on meta and has no values"):
            weights.save(net, tmp_path / "net.pth")

        assert list(tmp_path.iterdir()) == []


def bytes_of(thing: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    torch.save(thing, file, **options)
    return file.getvalue()


class TestLoad:
    def test_gives_the_weights_back(self, saved: tuple[classifier.Net, Path]) -> None:
        net, path = saved

        loaded = weights.load(str(path))

        for mine, theirs in zip(loaded.parameters(), net.parameters(), strict=True):
            assert torch.equal(mine, theirs)
            assert mine.requires_grad

    def test_leaves_the_random_generator_alone(self, saved: tuple[classifier.Net, Path]) -> None:
        before = torch.get_rng_state()

        weights.load(saved[1])

        assert torch.equal(torch.get_rng_state(), before)

    def test_another_width_is_named(self, saved: tuple[classifier.Net, Path]) -> None:
        _, path = saved

        with pytest.raises(WeightsError, match=r"a net of width 6, not 12.*width=6"):
            weights.load(path, width=12)

    def test_net_without_a_width_is_another_net(self, tmp_path: Path) -> None:
        torch.save(nn.Linear(3, 2).state_dict(), tmp_path / "linear.pth")

        with pytest.raises(WeightsError, match=r"holds the weights of another net"):
            weights.load(tmp_path / "linear.pth", width=None)

    def test_missing_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(
            WeightsError,
            match=r"none.pth: cannot be read: No such file.*Save the weights again",
        ):
            weights.load(tmp_path / "none.pth")

    def test_folder_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(WeightsError, match="cannot be read: Is a directory"):
            weights.load(tmp_path)

    def test_unusable_device_is_refused(self, saved: tuple[classifier.Net, Path]) -> None:
        with pytest.raises(devices.UnusableDevice, match="'nowhere'"):
            weights.load(saved[1], "nowhere")

    @pytest.mark.parametrize("keep", [0, 1, 1000, -1, -200])
    def test_cut_file_is_refused(self, saved: tuple[classifier.Net, Path], keep: int) -> None:
        _, path = saved
        path.write_bytes(path.read_bytes()[:keep])

        with pytest.raises(WeightsError, match="not a file of weights, or a damaged one"):
            weights.load(path)

    @pytest.mark.parametrize("part", [0.05, 0.3, 0.5, 0.9])
    def test_single_wrong_bit_in_the_weights_is_found(
        self, saved: tuple[classifier.Net, Path], part: float
    ) -> None:
        _, path = saved
        content = bytearray(path.read_bytes())
        content[int(part * len(content))] ^= 1
        path.write_bytes(content)

        with pytest.raises(WeightsError, match=r"the checksum of .* does not fit"):
            weights.load(path)

    @pytest.mark.parametrize("content", [b"hello " * 99, pickle.dumps([1])], ids=["text", "pickle"])
    def test_foreign_file_is_refused(self, tmp_path: Path, content: Any) -> None:
        (tmp_path / "net.pth").write_bytes(content)

        with pytest.raises(WeightsError, match="not a file of weights, or a damaged one"):
            weights.load(tmp_path / "net.pth")

    @pytest.mark.parametrize(
        ("thing", "words"),
        [
            ([1, 2], "holds a list that is not a state_dict"),
            ({"epoch": 3}, "holds a dict that is not a state_dict"),
            (torch.zeros(3), "holds a Tensor that is not a state_dict"),
            ({1: torch.zeros(3)}, "holds a dict that is not a state_dict"),
            ({"conv1.weight": torch.zeros(2).long()}, "holds a dict that is not a state_dict"),
            (nn.Linear(2, 2).state_dict(), "holds the weights of another net"),
            ({"conv1.weight": torch.zeros(())}, "holds the weights of another net"),
            ({"conv1.weight": torch.zeros(64, 3, 7, 7)}, "holds the weights of another net"),
        ],
        ids=["list", "checkpoint", "tensor", "numbers", "int64", "other net", "scalar", "7 x 7"],
    )
    def test_file_of_something_else_is_refused(
        self, tmp_path: Path, thing: Any, words: str
    ) -> None:
        (tmp_path / "net.pth").write_bytes(bytes_of(thing))

        with pytest.raises(WeightsError, match=words):
            weights.load(tmp_path / "net.pth")

    def test_code_in_a_file_does_not_run(self, tmp_path: Path) -> None:
        trace, path = tmp_path / "trace", tmp_path / "net.pth"
        path.write_bytes(bytes_of({**classifier.Net().state_dict(), "more": Obeys(trace)}))

        with pytest.raises(WeightsError, match="nothing of it was run"):
            weights.load(path)

        assert not trace.exists()
        torch.load(path, weights_only=False)  # the control: the file does run code
        assert trace.exists()

    @pytest.mark.filterwarnings("ignore")  # torch warns where it gives in to the environment
    def test_code_in_a_file_does_not_run_where_the_environment_allows_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
        trace, path = tmp_path / "trace", tmp_path / "net.pth"
        path.write_bytes(bytes_of({**classifier.Net().state_dict(), "more": Obeys(trace)}))

        with pytest.raises(WeightsError, match="nothing of it was run"):
            weights.load(path)

        assert not trace.exists()

    def test_code_in_a_bare_pickle_does_not_run(self, tmp_path: Path) -> None:
        trace, path = tmp_path / "trace", tmp_path / "net.pth"
        path.write_bytes(pickle.dumps(Obeys(trace)))

        with pytest.raises(WeightsError, match="not a file of weights"):
            weights.load(path)

        assert not trace.exists()

    def test_whole_net_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "net.pth").write_bytes(bytes_of(nn.Linear(2, 2)))

        with pytest.raises(WeightsError, match="holds something else than tensors"):
            weights.load(tmp_path / "net.pth")
