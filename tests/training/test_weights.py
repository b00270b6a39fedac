"""The file of weights: read without trust, in the forms that people keep."""

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import swa_utils

from blitz.base.errors import BlitzError
from blitz.classifier import Net
from blitz.training import weights
from tests.conftest import MakesFolder


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "net.pth"


@pytest.fixture
def saved(path: Path) -> Net:
    """A net that is saved in ``path``."""
    net = Net()
    torch.save(net.state_dict(), path)
    return net


def bytes_of(content: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()


def bytes_of_zip(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, b"")
    return file.getvalue()


NET = Net(width=5)
STATE = NET.state_dict()
FORMS = {
    "bare": bytes_of(STATE),
    "before torch 1.6": bytes_of(STATE, _use_new_zipfile_serialization=False),
    "DataParallel": bytes_of(nn.DataParallel(NET).state_dict()),
    "torch.compile": bytes_of({f"_orig_mod.{name}": value for name, value in STATE.items()}),
    "both": bytes_of({f"_orig_mod.module.{name}": value for name, value in STATE.items()}),
    "Lightning": bytes_of({"state_dict": {f"net.{name}": w for name, w in STATE.items()}}),
    "averaged": bytes_of(swa_utils.AveragedModel(nn.ModuleDict({"net": NET})).state_dict()),
    "beside numbers": bytes_of({"epoch": 3, **STATE}),
    "half": bytes_of({name: value.half() for name, value in STATE.items()}),
    "parameters": bytes_of(dict(Net(width=5).named_parameters()) | STATE),
    **{
        key: bytes_of({"epoch": 3, key: STATE, "optimizer": {"state": {}}})
        for key in ("state_dict", "model_state_dict", "model", "net")
    },
    "all": bytes_of(
        {"model": {f"module.{name}": value for name, value in STATE.items()}},
        _use_new_zipfile_serialization=False,
    ),
}


class TestLoad:
    @pytest.mark.parametrize("form", FORMS)
    def test_takes_the_forms_that_people_keep(self, path: Path, form: str) -> None:
        path.write_bytes(FORMS[form])

        net = weights.load(str(path))

        tolerance = 1e-3 if form == "half" else 0
        assert net.conv1.out_channels == 5
        assert all(parameter.requires_grad for parameter in net.parameters())
        for name, value in net.state_dict().items():
            torch.testing.assert_close(value, STATE[name], rtol=tolerance, atol=tolerance)

    def test_net_goes_to_the_device(self, saved: Net, path: Path) -> None:
        net = weights.load(path, torch.device("meta"))

        assert all(parameter.is_meta for parameter in net.parameters())

    def test_leaves_the_random_generator_alone(self, saved: Net, path: Path) -> None:
        before = torch.get_rng_state()

        weights.load(path)

        assert torch.equal(torch.get_rng_state(), before)


def harmed(content: bytes, index: int) -> bytes:
    return content[:index] + bytes([content[index] ^ 1]) + content[index + 1 :]


WHOLE = bytes_of(STATE)
OLD = bytes_of(STATE, _use_new_zipfile_serialization=False)
DAMAGED = "not a file of weights, or a damaged one"
OTHER = "cannot be the weights of the tutorial's net: "
REFUSED = {
    "empty": (b"", DAMAGED),
    "cut": (WHOLE[:1000], DAMAGED),
    "cut at the end": (WHOLE[:-1], DAMAGED),
    "cut, old": (OLD[:-1000], DAMAGED),
    "one bit": (harmed(WHOLE, len(WHOLE) // 2), "the checksum of .* does not fit"),
    "text": (b"hello " * 99, DAMAGED),
    "pickle": (pickle.dumps([1]), DAMAGED),
    "list": (bytes_of([1, 2]), "holds a list without weights by name"),
    "dict": (bytes_of({"epoch": 3}), "holds a dict without weights by name"),
    "nothing": (bytes_of({}), "holds a dict without weights by name"),
    "tensor": (bytes_of(torch.zeros(3)), "holds a Tensor without weights by name"),
    "numbers": (bytes_of({1: torch.zeros(3)}), f"{OTHER}it has no conv1.weight"),
    "two nets": (
        bytes_of({f"{net}.{name}": value for net in "ab" for name, value in STATE.items()}),
        f"{OTHER}it has no conv1.weight",
    ),
    "integers": (
        bytes_of({**STATE, "fc3.bias": torch.ones(10).long()}),
        "its fc3.bias is no dense",
    ),
    "sparse": (bytes_of({**STATE, "fc3.bias": torch.eye(10)[0].to_sparse()}), "is no dense"),
    "without values": (bytes_of({**STATE, "fc3.bias": torch.ones(10, device="meta")}), "no dense"),
    "diverged": (
        bytes_of({**STATE, "fc3.bias": torch.full((10,), float("nan"))}),
        "its fc3.bias has numbers that are not finite",
    ),
    "forged width": (
        bytes_of({**STATE, "conv1.weight": torch.zeros(1).expand(2**50, 3, 5, 5)}),
        f"{OTHER}its conv1.weight is no dense",
    ),
    "TorchScript": (bytes_of_zip("net/data.pkl", "net/constants.pkl"), "nothing of it was run"),
    "npz": (bytes_of_zip("conv1.weight.npy"), f"{DAMAGED}: torch.save did not write it"),
    "net": (bytes_of(nn.Linear(2, 2)), "holds something else than tensors.*nothing of it was run"),
    "other": (bytes_of(nn.Linear(2, 2).state_dict()), f"{OTHER}it has no conv1.weight"),
    "scalar": (bytes_of({"conv1.weight": torch.zeros(())}), rf"{OTHER}its .* has shape \(\), not"),
    "7 x 7": (
        bytes_of({"conv1.weight": torch.zeros(64, 3, 7, 7)}),
        rf"{OTHER}its conv1.weight has shape \(64, 3, 7, 7\), not \(64, 3, 5, 5\)",
    ),
    "more": (
        bytes_of({**STATE, "fc4.weight": torch.zeros(2)}),
        f"{OTHER}its fc4.weight is not part of this one",
    ),
}


@pytest.mark.filterwarnings("ignore:Validating sparse")
@pytest.mark.parametrize(("content", "words"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused_names_fault_and_remedy_in_a_line(
    path: Path, content: bytes, words: str
) -> None:
    path.write_bytes(content)

    with pytest.raises(BlitzError, match=words) as refused:
        weights.load(path)

    said = str(refused.value)
    assert said.startswith(f"{path}: ")
    assert said.endswith(" hold it under state_dict, model_state_dict, model, net.")
    assert "\n" not in said
    assert ".. " not in said


@pytest.mark.parametrize("old", [False, True], ids=["zip", "before torch 1.6"])
@pytest.mark.parametrize("allowed", [False, True], ids=["", "where the environment allows it"])
@pytest.mark.filterwarnings("ignore")  # torch warns of the environment's variable
def test_code_in_a_file_does_not_run(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch, old: bool, allowed: bool
) -> None:
    if allowed:
        monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    trace = tmp_path / "trace"
    content = {**STATE, "more": MakesFolder(trace)}
    path.write_bytes(bytes_of(content, _use_new_zipfile_serialization=not old))

    with pytest.raises(BlitzError, match="nothing of it was run"):
        weights.load(path)

    assert not trace.exists()
    torch.load(path, weights_only=False)  # the control: the file does run code
    assert trace.exists()
