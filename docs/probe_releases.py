"""Asks the torch that is installed whether it does what the tutorial says.

    python docs/probe_releases.py  # adds the column of this release, or refreshes it

spec/releases.json lists the questions, and from which release on each was answered how; the report
draws that as a strip of cells. A question that this machine cannot ask (no torchvision, no
accelerator) leaves alone what the file knows already.

It needs torch 1.7 and Python 3.8 or newer, and nothing of this project, so that it runs beside any
release.
"""

from __future__ import annotations

import io
import json
import platform
import re
import sys
import warnings
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

if TYPE_CHECKING:
    from collections.abc import Callable

    Work = Callable[[], object]
    Judge = Callable[[Work], "Seen | None"]

FILE = Path(__file__).parents[1] / "spec" / "releases.json"
LONGEST = 100  # characters of an answer


class Seen(NamedTuple):
    """Whether a release does what the tutorial says, and what was seen, in a few words of code."""

    as_told: bool
    answer: str


PROBES: dict[str, Callable[[], Seen | None]] = {}


def probe(judge: Judge) -> Callable[[Work], Work]:
    """Register a function under its name, and how what it does is judged."""

    def register(work: Work) -> Work:
        PROBES[work.__name__] = partial(judge, work)
        return work

    return register


def by_itself(work: Callable[[], Seen | None]) -> Seen | None:
    """Return what ``work`` says it saw; None where the machine cannot ask."""
    return work()


def gives(told: str) -> Judge:
    """Return a judge of what a call gives: as told where it is ``told``."""

    def judge(work: Work) -> Seen:
        answer = short(work())
        return Seen(answer == told, answer)

    return judge


def works(work: Work) -> Seen:
    """Return what ``work`` gives; as told where it raises nothing."""
    try:
        return Seen(True, short(work()))
    except Exception as error:
        return Seen(False, refusal(error))


def is_refused(work: Work) -> Seen:
    """Return what ``work`` gives; as told where it raises."""
    done, answer = works(work)
    return Seen(not done, answer)


def without_a_warning(work: Work) -> Seen:
    """Return what ``work`` gives and the kinds of warnings; as told where there are none."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = work()
    kinds = sorted({warning.category.__name__ for warning in caught})
    return Seen(not kinds, ", ".join([str(result), *kinds]))


def short(words: object) -> str:
    """Return the first line, no longer than an answer may be."""
    lines = str(words).strip().splitlines() or [""]
    return lines[0] if len(lines[0]) <= LONGEST else lines[0][: LONGEST - 1] + "…"


def refusal(error: Exception) -> str:
    """Return an error in a line, without the name of the function: Python 3.10 qualified it."""
    return short(f"{type(error).__name__}: " + re.sub(r"^[\w.]+\(\) ", "", str(error)))


def net() -> nn.Sequential:
    """Return LeNet with 3x3 kernels for grey images of 32x32, as chapter three has it."""
    maps = nn.Conv2d(1, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 3), nn.ReLU()
    flat = nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16 * 6 * 6, 120), nn.ReLU()
    return nn.Sequential(*maps, *flat, nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10))


def output(of: nn.Module) -> torch.Tensor:
    """Return what a net makes of a random image."""
    result: torch.Tensor = of(torch.randn(1, 1, 32, 32))
    return result


def loss(of: nn.Module) -> torch.Tensor:
    """Return the mean squared error of that."""
    return F.mse_loss(output(of), torch.randn(1, 10))


def name(node: Any) -> str:
    """Return the name of a node of the graph, or of another object's class."""
    return type(node).__name__


def shape(tensor: torch.Tensor) -> tuple[int, ...]:
    """Return the sizes as a plain tuple."""
    return tuple(tensor.shape)


# Chapter 1: tensors


@probe(works)
def array_of_uint16() -> object:
    import numpy as np

    return torch.from_numpy(np.ones(2, dtype=np.uint16)).dtype


@probe(by_itself)
def kernels_for_cuda() -> Seen | None:
    if torch.version.cuda is None:
        return None  # no kernel for CUDA in such a build, whatever the release has
    # ormqr has one since 1.9; histogram came in 1.10 without
    dumps = {op: torch._C._dispatch_dump(f"aten::{op}") for op in ("ormqr", "histogram.bin_ct")}
    lacking = [op for op, d in dumps.items() if "\nCPU: " in d and "\nCUDA: " not in d]
    # two that run on CUDA say nothing of all the others
    return Seen(False, f"CPU alone: {', '.join(lacking)}") if lacking else None


@probe(gives("no history"))
def history_after_in_place_work() -> object:
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    y = x * 2
    y.add_(1)
    if y.grad_fn is None:
        return "no history"
    y.pow(2).sum().backward()
    assert x.grad is not None
    return f"{name(y.grad_fn)}, grad {x.grad.tolist()}"  # of (2x + 1)²: 4 (2x + 1)


# Chapter 2: autograd


@probe(gives("changed"))
def parameters_after_backward() -> object:
    net = nn.Linear(3, 2)
    before = net.weight.tolist()
    net(torch.ones(1, 3)).sum().backward()
    return "changed" if net.weight.tolist() != before else "as before, .grad filled"


@probe(gives("by 0.5 and 5.0"))
def moves_by_the_absolute_error() -> object:
    error = torch.tensor([1.0, 10.0], requires_grad=True)
    error.abs().sum().backward()
    torch.optim.SGD([error], lr=0.5).step()
    return f"by {1.0 - error[0].item()} and {10.0 - error[1].item()}"


@probe(by_itself)
def pretrained_flag() -> Seen | None:
    from torchvision.models import resnet, resnet18

    # torchvision 0.13 moved the call that downloads
    home: Any = sys.modules.get("torchvision.models._api", resnet)
    files: list[str] = []

    def download(url: str, *_: object, **__: object) -> dict[str, torch.Tensor]:
        files.append(url.rsplit("/", 1)[-1])
        return resnet18().state_dict()

    real, home.load_state_dict_from_url = home.load_state_dict_from_url, download
    try:
        return without_a_warning(lambda: resnet18(pretrained=True) and files[0])
    finally:
        home.load_state_dict_from_url = real


@probe(by_itself)
def labels_in_the_summed_difference() -> Seen | None:
    data = torch.arange(6.0).view(2, 3)
    gradients = []
    for labels in (torch.zeros(2, 1), torch.tensor([[5.0], [-7.0]])):
        weight = torch.ones(3, 1, requires_grad=True)
        (data.mm(weight) - labels).sum().backward()
        assert weight.grad is not None
        gradients.append(weight.grad.flatten().tolist())
    return Seen(gradients[0] != gradients[1], f"{gradients[0]}, {gradients[1]}")


@probe(gives("of class Function"))
def class_of_a_node() -> object:
    node = (torch.ones(2, requires_grad=True) ** 2).grad_fn
    is_function = isinstance(node, torch.autograd.Function)
    return "of class Function" if is_function else "not of class Function"


@probe(gives("one graph"))
def graphs_of_two_forward_passes() -> object:
    a = torch.ones(2, requires_grad=True)
    first, second = a**2, a**2
    return "one graph" if first.grad_fn is second.grad_fn else "a graph for each forward pass"


@probe(by_itself)
def second_backward() -> Seen | None:
    y = torch.ones(2, requires_grad=True).pow(2).sum()
    y.backward()
    return is_refused(y.backward)


@probe(gives("62 of 62"))
def optimizer_of_the_head() -> object:
    from torchvision.models import resnet18

    model = resnet18()
    optimizer = torch.optim.SGD(model.fc.parameters(), lr=0.01, momentum=0.9)
    return f"{len(optimizer.param_groups[0]['params'])} of {len(list(model.parameters()))}"


@probe(by_itself)
def step_on_an_accelerator() -> Seen | None:
    module = getattr(torch, "accelerator", None)  # from 2.6 on
    if module is not None and module.is_available():
        device = module.current_accelerator()
    elif torch.cuda.is_available():
        device = torch.device("cuda")
    else:
        return None

    def step() -> str:
        layers = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 6 * 6, 5)
        model = nn.Sequential(*layers).to(device)
        data, labels = torch.rand(2, 3, 8, 8).to(device), torch.rand(2, 5).to(device)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
        (model(data) - labels).sum().backward()
        optimizer.step()
        return f"{device.type}: {len(optimizer.state)} parameters moved"

    return is_refused(step)


# Chapter 3: neural networks


@probe(by_itself)
def cross_entropy_of_a_single_sample() -> Seen | None:
    cross_entropy = nn.CrossEntropyLoss()
    return is_refused(lambda: shape(cross_entropy(torch.ones(10), torch.tensor(3))))


@probe(gives("tensor([1., 1.])"))
def gradient_in_between() -> object:
    y = torch.ones(2, requires_grad=True) * 2
    y.sum().backward()
    return y.grad


@probe(gives("ReluBackward"))
def third_node() -> object:
    first = loss(net()).grad_fn
    assert first is not None
    return name(first.next_functions[0][0].next_functions[0][0])


ZEROS = "tensor([0., 0., 0., 0., 0., 0.])"


def zeroed(of: Callable[[nn.Module], Any]) -> object:
    """Return the gradients of a bias after backward and ``zero_grad`` of what ``of`` gives."""
    layer = nn.Linear(1, 6)
    layer(torch.ones(1, 1)).sum().backward()
    of(layer).zero_grad()
    return layer.bias.grad


# Chapter 4: the classifier


@probe(gives("0 to 1"))
def range_of_an_image() -> object:
    from torchvision.datasets import FakeData

    image, _ = FakeData(size=1, image_size=(3, 32, 32))[0]
    bands = image.getextrema()
    return f"{min(low for low, _ in bands)} to {max(high for _, high in bands)}"


def saved(thing: object) -> io.BytesIO:
    """Return a file of ``thing``, open at its beginning."""
    file = io.BytesIO()
    torch.save(thing, file)
    file.seek(0)
    return file


# Chapter 5: several devices; older revisions


class Numbers:
    """A data set that can be indexed and has no length."""

    def __getitem__(self, index: int) -> float:
        return float(index)


@probe(gives("recommends nothing else"))
def advice_of_data_parallel() -> object:
    advice = " ".join((nn.DataParallel.__doc__ or "").split())
    recommends = re.search(r"recommended to use :class:`[\w.~]*DistributedDataParallel`", advice)
    return "recommends DistributedDataParallel" if recommends else "recommends nothing else"


# What a call does that is all of the question: how it is judged, and the call.
LOADER: Any = DataLoader  # the types know the newest answers alone
SGD: Any = torch.optim.SGD
CALLS: dict[str, tuple[Judge, Work]] = {
    "transpose_of_three_dimensions": (without_a_warning, lambda: shape(torch.ones(2, 3, 4).T)),
    "backward_of_a_vector": (
        is_refused,
        lambda: (torch.ones(2, requires_grad=True) * 2).backward(),
    ),
    "node_of_the_output": (gives("AddmmBackward"), lambda: name(output(net()).grad_fn)),
    "node_of_the_loss": (gives("MseLossBackward"), lambda: name(loss(net()).grad_fn)),
    "convolution_of_a_single_sample": (
        is_refused,
        lambda: shape(nn.Conv2d(1, 6, 3)(torch.ones(1, 32, 32))),
    ),
    "pooling_of_a_single_sample": (
        is_refused,
        lambda: shape(nn.MaxPool2d(2)(torch.ones(1, 32, 32))),
    ),
    "net_zero_grad": (gives(ZEROS), lambda: zeroed(lambda layer: layer)),
    "optimizer_zero_grad": (gives(ZEROS), lambda: zeroed(lambda layer: SGD(layer.parameters(), 1))),
    "first_pooling": (
        gives("(1, 16, 14, 14)"),
        lambda: shape(F.max_pool2d(nn.Conv2d(1, 6, 5)(torch.ones(1, 1, 32, 32)), 2)),
    ),
    "sgd_without_learning_rate": (
        is_refused,
        lambda: SGD(list(net().parameters())).param_groups[0]["lr"],
    ),
    "home_of_the_loader": (gives("torchvision"), lambda: LOADER.__module__.rpartition(".")[0]),
    "num_worker": (works, lambda: LOADER([1, 2], num_worker=0)),
    "dataiter_next": (
        works,
        lambda: name(iter(LOADER(TensorDataset(torch.ones(4, 2), torch.ones(4)))).next()),
    ),
    "class_probabilities": (
        is_refused,
        lambda: shape(nn.CrossEntropyLoss()(torch.zeros(2, 10), torch.full((2, 10), 0.1))),
    ),
    "integer_target": (
        works,
        lambda: (
            F.mse_loss(torch.zeros(10, requires_grad=True), torch.arange(10)).backward() or "ok"
        ),
    ),
    "file_of_weights": (works, lambda: name(torch.load(saved(net().state_dict())))),
    "file_of_a_whole_net": (works, lambda: name(torch.load(saved(nn.Linear(2, 2))))),
    "data_set_without_length": (works, lambda: LOADER(Numbers(), shuffle=True)),
    "char_tensor_to_numpy": (is_refused, lambda: torch.tensor([-128, 127]).char().numpy().dtype),
}
PROBES.update({key: partial(judge, call) for key, (judge, call) in CALLS.items()})


# The column of this release


def release() -> str:
    """Return the release of torch without what is built in: 2.15.0."""
    return str(torch.__version__).split("+")[0]


def answer_all() -> dict[str, Seen | None]:
    """Return what each probe saw; None where it could not be asked, with the reason on stderr."""
    seen: dict[str, Seen | None] = {}
    for key, ask in PROBES.items():
        torch.manual_seed(0)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                seen[key] = ask()
        except Exception as error:  # a release may lack what the probe stands on
            print(f"{key}: not probed: {refusal(error)}", file=sys.stderr)
            seen[key] = None
    return seen


def versions() -> dict[str, str]:
    """Return what the answers were got with."""
    found = {"torch": str(torch.__version__), "python": platform.python_version()}
    for package in ("torchvision", "numpy"):
        try:
            found[package] = str(__import__(package).__version__)
        except ImportError:
            continue
    return found


def merge(table: dict[str, Any], seen: dict[str, Seen | None]) -> dict[str, Any]:
    """Return the table with this release's column added, or refreshed where it was asked again."""
    column, before = release(), table["versions"]
    found = {**before, column: versions()}
    names = sorted(found, key=lambda name: [int(part) for part in name.split(".")])
    probes = {}
    for key, row in table["probes"].items():
        told = shown = None
        changes: dict[str, Any] = {}  # an answer stands at the first release that gave it
        for name in names:
            told = row["seen"].get(name, told)
            answer = told if name in before else None
            if name == column and seen.get(key) is not None:
                answer = list(seen[key] or ())
            if answer != shown:
                changes[name] = shown = answer
        probes[key] = {**row, "seen": changes}
    return {"versions": {name: found[name] for name in names}, "probes": probes}


def as_text(table: dict[str, Any]) -> str:
    """Return JSON with a line for each release and each probe."""
    text = json.dumps(table, ensure_ascii=False, indent=1)
    return re.sub(r"\n {3,}|\n {2}(?=[\]}])", " ", text) + "\n"


def main() -> None:
    """Add the answers of this release to the file."""
    table = merge(json.loads(FILE.read_text(encoding="utf-8")), answer_all())
    FILE.write_text(as_text(table), encoding="utf-8")


if __name__ == "__main__":
    main()
