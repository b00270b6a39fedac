"""The file of weights: written whole, read without trust."""

import io
import os
import pickle
import stat
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from blitz import classifier, devices
from blitz.base.files import WriteError
from blitz.training import weights
from blitz.training.weights import WeightsError


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
        with pytest.raises(WriteError, match="cannot be written there: No space left"):
            weights.save(classifier.Net(), path)

        assert path.read_bytes() == before
        assert [file.name for file in path.parent.iterdir()] == ["net.pth"]

    def test_missing_folder_is_named(self, tmp_path: Path) -> None:
        path = tmp_path / "nowhere" / "net.pth"

        with pytest.raises(WriteError, match=r"No such file.*Choose a file in") as caught:
            weights.save(classifier.Net(), path)

        assert str(path) in str(caught.value)
        assert not path.parent.exists()

    def test_folder_in_place_of_a_file_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(WriteError, match="cannot be written there: Is a directory"):
            weights.save(classifier.Net(), tmp_path)

        assert list(tmp_path.iterdir()) == []

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
    def test_folder_that_may_not_be_written_to(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o500)
        try:
            with pytest.raises(WriteError, match="Permission denied"):
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
