"""Asks the torch that is installed whether it does what the tutorial says, one probe a question.

    python docs/probe_releases.py                            # print this release's answers
    python docs/probe_releases.py --into spec/releases.json  # add or refresh its column

spec/releases.json holds the answers of every release that was asked, and the report draws them as
a strip of cells. A probe that this machine cannot ask (no torchvision, no accelerator) is null, and
leaves alone what the file knows already.

It needs torch 1.7 or newer and Python 3.8 or newer, uses torchvision and NumPy where they are, and
nothing of this project, so that it runs beside any release.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import re
import sys
import tempfile
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LONGEST = 100
"""An answer has no more characters than this."""


class Seen(NamedTuple):
    """What came of a probe.

    Attributes:
        answer: What was seen, in a few words of code.
        as_told: Whether that is what the tutorial says.
    """

    answer: str
    as_told: bool


class Probe(NamedTuple):
    """A question to a release.

    Attributes:
        ask: Asks it; None where this machine cannot.
        claims: Keys of the claims that it bears on.
        question: What is asked, in English; with yes for an answer the tutorial is right.
        question_zh: The same in Chinese.
        old: How the tutorial spells it, where there is another spelling now.
        new: How it is spelt now.
    """

    ask: Callable[[], Seen | None]
    claims: list[str]
    question: str
    question_zh: str
    old: str | None
    new: str | None


PROBES: dict[str, Probe] = {}


def probe(
    claims: str, question: str, question_zh: str, old: str | None = None, new: str | None = None
) -> Callable[[Callable[[], Seen | None]], Callable[[], Seen | None]]:
    """Makes a function a probe under its own name."""

    def register(ask: Callable[[], Seen | None]) -> Callable[[], Seen | None]:
        PROBES[ask.__name__] = Probe(ask, claims.split(), question, question_zh, old, new)
        return ask

    return register


# ---------------------------------------------------------------------------------------------
# What the probes share


class Net(nn.Module):
    """LeNet with 3x3 kernels for grey images of 32x32, as chapter three has it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 3)
        self.conv2 = nn.Conv2d(6, 16, 3)
        self.fc1 = nn.Linear(16 * 6 * 6, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 1, 32, 32) to (N, 10)."""
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = x.view(-1, 16 * 6 * 6)
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x)))))


def net_and_loss() -> tuple[Net, torch.Tensor, torch.Tensor]:
    """A net, its output for a random image, and the mean squared error of that."""
    net = Net()
    out = net(torch.randn(1, 1, 32, 32))
    return net, out, nn.MSELoss()(out, torch.randn(1, 10))


def name(node: Any) -> str:
    """The name of a node of the graph."""
    return type(node).__name__


def short(words: object) -> str:
    """The first line, no longer than an answer may be."""
    lines = str(words).strip().splitlines() or [""]
    return lines[0] if len(lines[0]) <= LONGEST else lines[0][: LONGEST - 1] + "…"


def refusal(error: BaseException) -> str:
    """An error in a line, without the name of the function, which depends on Python's version."""
    message = re.sub(r"^[\w.]+\(\) ", "", str(error))
    return short(f"{type(error).__name__}: {message}")


def refused(error: BaseException | None) -> bool:
    """Whether there was an error."""
    return error is not None


def attempt(work: Callable[[], object]) -> tuple[str, BaseException | None]:
    """What ``work`` gives, or the error that it ends in."""
    try:
        return short(work()), None
    except Exception as error:
        return refusal(error), error


def shape(tensor: torch.Tensor) -> tuple[int, ...]:
    """The sizes as a plain tuple."""
    return tuple(tensor.shape)


@contextmanager
def noted() -> Iterator[list[str]]:
    """The names of the kinds of warnings given inside, each once."""
    kinds: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield kinds
    kinds += sorted({warning.category.__name__ for warning in caught})


# ---------------------------------------------------------------------------------------------
# Chapter 1: tensors


@probe(
    "T05",
    "Does a NumPy array of uint16 become a tensor, as arrays do in the tutorial?",
    "uint16 的 NumPy 数组能否像教程中的数组那样变成张量？",
)
def array_of_uint16() -> Seen | None:
    import numpy as np

    answer, error = attempt(lambda: torch.from_numpy(np.ones(2, dtype=np.uint16)).dtype)
    return Seen(answer, not refused(error))


@probe(
    "T13",
    "Does torch have over a hundred operators?",
    "torch 的算子是否超过一百个？",
)
def number_of_operators() -> Seen | None:
    schemas = torch._C._jit_get_all_schemas()
    names = {schema.name for schema in schemas if schema.name.startswith("aten::")}
    return Seen(str(len(names)), len(names) > 100)


@probe(
    "T24",
    "Does the attribute T transpose a tensor of three dimensions without a warning?",
    "属性 T 转置三维张量时是否没有警告？",
    old="x.T",
    new="x.permute(2, 1, 0)",
)
def transpose_of_three_dimensions() -> Seen | None:
    with noted() as kinds:
        transposed = shape(torch.ones(2, 3, 4).T)
    return Seen(", ".join([str(transposed), *kinds]), transposed == (4, 3, 2) and not kinds)


@probe(
    "T29",
    "Does an in-place operation clear the history of a computed tensor?",
    "原地操作是否会清除计算所得张量的历史？",
)
def history_after_in_place_work() -> Seen | None:
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    y = x * 2
    y.add_(1)
    if y.grad_fn is None:
        return Seen("no grad_fn", True)
    y.pow(2).sum().backward()
    assert x.grad is not None
    right = x.grad.tolist() == [12.0, 20.0]  # of (2x + 1)²: 4 (2x + 1)
    return Seen(f"{name(y.grad_fn)}, grad {x.grad.tolist()}", not right)


# ---------------------------------------------------------------------------------------------
# Chapter 2: autograd


class Download(Exception):
    """Raised instead of a download, with the name of the file."""


def stop_download(url: str, *_: object, **__: object) -> None:
    """Stands for the function that downloads."""
    raise Download(url.rsplit("/", 1)[-1])


def asked_file(work: Callable[[], object]) -> str:
    """The file that ``work`` would download from torchvision's server."""
    from torchvision.models import resnet

    homes = [resnet, sys.modules.get("torchvision.models._api")]
    found = [home for home in homes if hasattr(home, "load_state_dict_from_url")]
    kept = [home.load_state_dict_from_url for home in found]
    try:
        for home in found:
            home.load_state_dict_from_url = stop_download
        work()
    except Download as file:
        return str(file)
    finally:
        for number, home in enumerate(found):
            home.load_state_dict_from_url = kept[number]
    raise RuntimeError("nothing was to be downloaded")


@probe(
    "A03",
    "Does backward change the parameters?",
    "反向传播是否会改变参数？",
)
def parameters_after_backward() -> Seen | None:
    net = nn.Linear(3, 2)
    before = net.weight.tolist()
    net(torch.ones(1, 3)).sum().backward()
    changed = net.weight.tolist() != before
    return Seen("changed" if changed else "as before, .grad filled", changed)


@probe(
    "A04",
    "Does a parameter that is ten times as far off move ten times as far?",
    "误差为十倍的参数，移动的距离是否也是十倍？",
)
def moves_by_the_absolute_error() -> Seen | None:
    error = torch.tensor([1.0, 10.0], requires_grad=True)
    error.abs().sum().backward()
    torch.optim.SGD([error], lr=0.5).step()
    near, far = 1.0 - error[0].item(), 10.0 - error[1].item()
    return Seen(f"by {near} and {far}", far == 10 * near)


@probe(
    "A05",
    "Does pretrained=True load the default weights without a warning?",
    "pretrained=True 是否不带警告地加载默认权重？",
    old="resnet18(pretrained=True)",
    new="resnet18(weights=ResNet18_Weights.DEFAULT)",
)
def pretrained_flag() -> Seen | None:
    from torchvision.models import resnet18

    with noted() as kinds:
        file = asked_file(lambda: resnet18(pretrained=True))
    return Seen(", ".join([file, *kinds]), not kinds)


@probe(
    "A08",
    "Do the labels change the gradients of the summed difference?",
    "标签是否影响差的总和的梯度？",
)
def labels_in_the_summed_difference() -> Seen | None:
    data = torch.arange(6.0).view(2, 3)
    gradients = []
    for labels in (torch.zeros(2, 1), torch.tensor([[5.0], [-7.0]])):
        weight = torch.ones(3, 1, requires_grad=True)
        (data.mm(weight) - labels).sum().backward()
        assert weight.grad is not None
        gradients.append(weight.grad.flatten().tolist())
    return Seen(f"{gradients[0]}, {gradients[1]}", gradients[0] != gradients[1])


@probe(
    "A17",
    "Is backward of a vector refused without a gradient?",
    "没有 gradient 参数时，对向量反向传播是否会被拒绝？",
)
def backward_of_a_vector() -> Seen | None:
    x = torch.ones(2, requires_grad=True)
    answer, error = attempt(lambda: (x * 2).backward())
    return Seen(answer, refused(error))


@probe(
    "A18",
    "Is a gradient of another shape refused?",
    "形状不同的 gradient 参数是否会被拒绝？",
)
def gradient_of_another_shape() -> Seen | None:
    x = torch.ones(2, requires_grad=True)
    answer, error = attempt(lambda: (x * 2).backward(torch.tensor(1.0)))
    return Seen(answer, refused(error))


@probe(
    "A26",
    "Are recorded operations objects of class Function?",
    "被记录的运算是否是 Function 类的对象？",
)
def class_of_a_node() -> Seen | None:
    node = (torch.ones(2, requires_grad=True) ** 2).grad_fn
    is_function = isinstance(node, torch.autograd.Function)
    return Seen("of class Function" if is_function else "not of class Function", is_function)


@probe(
    "A31",
    "Does the graph stay the same until backward is called?",
    "在调用 backward() 之前，计算图是否保持不变？",
)
def graphs_of_two_forward_passes() -> Seen | None:
    a = torch.ones(2, requires_grad=True)
    first, second = a**2, a**2
    same = first.grad_fn is second.grad_fn
    return Seen("one graph" if same else "a graph for each forward pass", same)


@probe(
    "A32",
    "Is a second backward through the same graph refused?",
    "对同一计算图再次反向传播是否会被拒绝？",
)
def second_backward() -> Seen | None:
    y = torch.ones(2, requires_grad=True).pow(2).sum()
    y.backward()
    answer, error = attempt(y.backward)
    return Seen(answer, refused(error))


@probe(
    "A42",
    "Does the optimizer of the listing hold all parameters?",
    "代码清单中的优化器是否持有全部参数？",
    old="SGD(model.fc.parameters(), …)",
    new="SGD(model.parameters(), …)",
)
def optimizer_of_the_head() -> Seen | None:
    from torchvision.models import resnet18

    model = resnet18()
    optimizer = torch.optim.SGD(model.fc.parameters(), lr=0.01, momentum=0.9)
    held, there = len(optimizer.param_groups[0]["params"]), len(list(model.parameters()))
    return Seen(f"{held} of {there}", held == there)


@probe(
    "A46",
    "Is a value changed in place found out where backward needs it?",
    "反向传播所需的值被原地修改后是否会被发现？",
)
def overwritten_value() -> Seen | None:
    y = torch.ones(2, requires_grad=True).exp()
    z = y.sum()
    y.mul_(2)
    answer, error = attempt(z.backward)
    return Seen(answer, refused(error))


def accelerator() -> torch.device | None:
    """An accelerator that can be used; None where there is none."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    module = getattr(torch, "accelerator", None)
    if module is not None and module.is_available():
        return torch.device(module.current_accelerator())
    return None


@probe(
    "A49",
    "Does the step of chapter two fail on an accelerator, even if model and tensors are moved?",
    "即使移动了模型和张量，第二章的训练步在加速器上是否仍会失败？",
)
def step_on_an_accelerator() -> Seen | None:
    device = accelerator()
    if device is None:
        return None

    def step() -> str:
        layers = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 6 * 6, 5)
        model = nn.Sequential(*layers).to(device)
        data, labels = torch.rand(2, 3, 8, 8).to(device), torch.rand(2, 5).to(device)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
        (model(data) - labels).sum().backward()
        optimizer.step()
        return f"{device.type}: {len(optimizer.state)} parameters moved"

    answer, error = attempt(step)
    return Seen(answer, refused(error))


# ---------------------------------------------------------------------------------------------
# Chapter 3: neural networks

SLIPS = {
    "return": "def forward(x):\n    x = x + 1\n     return x\n",
    "NN": "import torch.nn as nn\nclass Net(NN.Module): pass\n",
    "F": "import torch.nn.functional as f\nF.relu\n",
}


@probe(
    "N04",
    "Does the listing of the network run?",
    "网络的代码清单能否运行？",
    old="class Net(NN.Module)",
    new="class Net(nn.Module)",
)
def slips_of_the_listing() -> Seen | None:
    errors = []
    for source in SLIPS.values():
        try:
            exec(source, {})
        except (SyntaxError, NameError) as error:
            errors.append(type(error).__name__)
    return Seen(", ".join(errors) or "ok", not errors)


@probe(
    "N16",
    "Is the node that made the output called AddmmBackward?",
    "产生输出的节点是否名为 AddmmBackward？",
    old="grad_fn=<AddmmBackward>",
    new="grad_fn=<AddmmBackward0>",
)
def node_of_the_output() -> Seen | None:
    _, out, _ = net_and_loss()
    return Seen(name(out.grad_fn), name(out.grad_fn) == "AddmmBackward")


@probe(
    "N18",
    "Does a 2-D convolution refuse a single sample?",
    "2-D 卷积是否拒绝单个样本？",
    old="conv(image.unsqueeze(0))",
    new="conv(image)",
)
def convolution_of_a_single_sample() -> Seen | None:
    answer, error = attempt(lambda: shape(nn.Conv2d(1, 6, 3)(torch.ones(1, 32, 32))))
    return Seen(answer, refused(error))


@probe(
    "N18",
    "Does the cross-entropy refuse a single sample?",
    "交叉熵是否拒绝单个样本？",
    old="loss(scores.unsqueeze(0), label.unsqueeze(0))",
    new="loss(scores, label)",
)
def cross_entropy_of_a_single_sample() -> Seen | None:
    loss = nn.CrossEntropyLoss()
    answer, error = attempt(lambda: shape(loss(torch.ones(10), torch.tensor(3))))
    return Seen(answer, refused(error))


@probe(
    "N18",
    "Does max pooling refuse a single sample?",
    "最大池化是否拒绝单个样本？",
)
def pooling_of_a_single_sample() -> Seen | None:
    answer, error = attempt(lambda: shape(nn.MaxPool2d(2)(torch.ones(1, 32, 32))))
    return Seen(answer, refused(error))


@probe(
    "N29",
    "Is the node that made the loss called MseLossBackward?",
    "产生损失的节点是否名为 MseLossBackward？",
    old="grad_fn=<MseLossBackward>",
    new="grad_fn=<MseLossBackward0>",
)
def node_of_the_loss() -> Seen | None:
    _, _, loss = net_and_loss()
    return Seen(name(loss.grad_fn), name(loss.grad_fn) == "MseLossBackward")


STAGES = "MseLoss Addmm Relu Addmm Relu Addmm View MaxPool2D Relu Conv MaxPool2D Relu Conv"


@probe(
    "N30",
    "Does the graph lead from the loss back to the first convolution?",
    "计算图是否从损失一直回到第一个卷积？",
)
def graph_of_the_loss() -> Seen | None:
    _, _, loss = net_and_loss()
    node, names = loss.grad_fn, []
    while node is not None:
        names.append(name(node))
        inputs = [n for n, _ in node.next_functions if n is not None]
        stages = [n for n in inputs if name(n) != "AccumulateGrad" and name(n)[:5] != "TBack"]
        node = stages[0] if stages else None
    stage = re.compile(r"(Thnn|Slow)?(\w+?)(2D)?(olution)?(WithIndices)?Backward0?$")
    plain = [stage.sub(r"\2\3", found).replace("Conv2D", "Conv") for found in names]
    return Seen(short(f"{names[-1]} … {names[0]}"), " ".join(plain) == STAGES)


@probe(
    "N31",
    "Does a tensor in between have no gradient after backward?",
    "反向传播之后，中间的张量是否没有梯度？",
)
def gradient_in_between() -> Seen | None:
    y = torch.ones(2, requires_grad=True) * 2
    y.sum().backward()
    with noted():
        grad = y.grad
    return Seen(str(grad), grad is None)


@probe(
    "N32",
    "Is the third node printed a ReLU?",
    "打印的第三个节点是否为 ReLU？",
    old="….next_functions[0][0].next_functions[0][0]",
    new="….next_functions[0][0].next_functions[1][0]",
)
def third_node() -> Seen | None:
    _, _, loss = net_and_loss()
    third = loss.grad_fn.next_functions[0][0].next_functions[0][0]
    return Seen(name(third), name(third).startswith("Relu"))


@probe(
    "N34 N35",
    "Does net.zero_grad() fill the gradients with zeros?",
    "net.zero_grad() 是否用零填充梯度？",
    old="net.zero_grad()",
    new="net.zero_grad(set_to_none=False)",
)
def net_zero_grad() -> Seen | None:
    net, _, loss = net_and_loss()
    loss.backward()
    net.zero_grad()
    grad = net.conv1.bias.grad
    return Seen(str(grad), grad is not None and grad.tolist() == [0.0] * 6)


@probe(
    "N39",
    "Does SGD ask for a learning rate, which the tutorial gives it?",
    "SGD 是否要求给出学习率，如教程所给的那样？",
)
def sgd_without_learning_rate() -> Seen | None:
    def rate() -> object:
        # no learning rate is what is asked; the types know only the newest answer
        optimizer: Any = torch.optim.SGD
        return optimizer(Net().parameters()).param_groups[0]["lr"]

    answer, error = attempt(rate)
    return Seen(answer, refused(error))


@probe(
    "N41 C22",
    "Does optimizer.zero_grad() fill the gradients with zeros?",
    "optimizer.zero_grad() 是否用零填充梯度？",
    old="optimizer.zero_grad()",
    new="optimizer.zero_grad(set_to_none=False)",
)
def optimizer_zero_grad() -> Seen | None:
    net, _, loss = net_and_loss()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    loss.backward()
    optimizer.zero_grad()
    grad = net.conv1.bias.grad
    return Seen(str(grad), grad is not None and grad.tolist() == [0.0] * 6)


@probe(
    "N42",
    "Does pooling the first maps of the 5x5 net give 16 channels?",
    "5x5 网络的第一组特征图池化后是否为 16 个通道？",
)
def first_pooling() -> Seen | None:
    maps = F.max_pool2d(nn.Conv2d(1, 6, 5)(torch.ones(1, 1, 32, 32)), 2)
    return Seen(str(shape(maps)), shape(maps) == (1, 16, 14, 14))


# ---------------------------------------------------------------------------------------------
# Chapter 4: the classifier


@probe(
    "C02",
    "Is DataLoader torchvision's?",
    "DataLoader 是否属于 torchvision？",
)
def home_of_the_loader() -> Seen | None:
    package = DataLoader.__module__.rpartition(".")[0]
    return Seen(package, package.startswith("torchvision"))


@probe(
    "C06",
    "Do torchvision's datasets give PIL images with values in [0, 1]?",
    "torchvision 的数据集给出的 PIL 图像，取值是否在 [0, 1] 内？",
)
def range_of_an_image() -> Seen | None:
    from torchvision.datasets import FakeData

    image, _ = FakeData(size=1, image_size=(3, 32, 32))[0]
    ends = image.convert("L").getextrema() if image.mode == "L" else image.getextrema()
    least, most = min(low for low, _ in ends), max(high for _, high in ends)
    return Seen(f"{least} to {most}", most <= 1)


@probe(
    "C08",
    "Is the number of worker processes called num_worker?",
    "工作进程数的参数是否名为 num_worker？",
    old="DataLoader(…, num_worker=0)",
    new="DataLoader(…, num_workers=0)",
)
def num_worker() -> Seen | None:
    loader: Any = DataLoader
    answer, error = attempt(lambda: loader([1, 2], num_worker=0))
    return Seen(answer if refused(error) else "ok", not refused(error))


@probe(
    "C14",
    "Does dataiter.next() give the next batch?",
    "dataiter.next() 是否给出下一个批量？",
    old="dataiter.next()",
    new="next(dataiter)",
)
def dataiter_next() -> Seen | None:
    dataiter: Any = iter(DataLoader(TensorDataset(torch.ones(4, 2), torch.ones(4))))
    answer, error = attempt(lambda: type(dataiter.next()).__name__)
    return Seen(answer, not refused(error))


@probe(
    "C19",
    "Does the cross-entropy take class numbers only, as the tutorial gives them?",
    "交叉熵是否只接受类别编号，如教程所给的那样？",
)
def class_probabilities() -> Seen | None:
    scores, targets = torch.zeros(2, 10), torch.full((2, 10), 0.1)
    answer, error = attempt(lambda: shape(nn.CrossEntropyLoss()(scores, targets)))
    return Seen(answer, refused(error))


@probe(
    "C21",
    "Is a batch a list of inputs and labels?",
    "批量是否为由输入和标签组成的列表？",
)
def batch_of_a_loader() -> Seen | None:
    batch = next(iter(DataLoader(TensorDataset(torch.ones(4, 2), torch.ones(4)))))
    return Seen(type(batch).__name__, isinstance(batch, list) and len(batch) == 2)


@probe(
    "C28",
    "Does torch.load(PATH) open a file of weights?",
    "torch.load(PATH) 能否打开权重文件？",
)
def file_of_weights() -> Seen | None:
    file = io.BytesIO()
    torch.save(Net().state_dict(), file)
    file.seek(0)
    answer, error = attempt(lambda: type(torch.load(file)).__name__)
    return Seen(answer, not refused(error))


@probe(
    "C28",
    "Does torch.load(PATH) open a whole pickled net too?",
    "torch.load(PATH) 能否同样打开整个用 pickle 保存的网络？",
    old="torch.load(PATH)",
    new="torch.load(PATH, weights_only=False)",
)
def file_of_a_whole_net() -> Seen | None:
    file = io.BytesIO()
    torch.save(nn.Linear(2, 2), file)
    file.seek(0)
    with noted():
        answer, error = attempt(lambda: type(torch.load(file)).__name__)
    return Seen(answer, not refused(error))


@probe(
    "C30",
    "Are the net's outputs probabilities?",
    "网络的输出是否为概率？",
)
def outputs_as_probabilities() -> Seen | None:
    outputs = Net()(torch.randn(8, 1, 32, 32))
    negative = bool((outputs < 0).any())
    to_one = torch.allclose(outputs.sum(1), torch.ones(8), atol=1e-3)
    answer = f"negative: {negative}, sum to 1: {to_one}"
    return Seen(answer, to_one and not negative)


@probe(
    "C38",
    "Does a loop over four images count all hits of a batch of eight?",
    "对四幅图像的循环能否数全八幅批量的命中数？",
    old="for i in range(4)",
    new="for i in range(len(labels))",
)
def loop_over_four_images() -> Seen | None:
    labels = torch.arange(8)
    hits = (labels == torch.arange(8)).squeeze()
    counted = sum(int(hits[i].item()) for i in range(4))
    return Seen(f"{counted} of {len(labels)}", counted == len(labels))


# ---------------------------------------------------------------------------------------------
# Chapter 5: several devices; older revisions


@probe(
    "G12",
    "Does DataParallel without a GPU return all 30 samples?",
    "没有 GPU 时，DataParallel 是否返回全部 30 个样本？",
)
def data_parallel_without_a_gpu() -> Seen | None:
    if torch.cuda.is_available():
        return None
    answer, error = attempt(lambda: shape(nn.DataParallel(nn.Linear(5, 2))(torch.ones(30, 5))))
    return Seen(answer, not refused(error))


class Numbers:
    """A data set that can be indexed and has no length."""

    def __getitem__(self, index: int) -> float:
        return float(index)


@probe(
    "G14",
    "Can a data set that has only __getitem__ be shuffled by a loader?",
    "只有 __getitem__ 的数据集能否由加载器打乱次序？",
)
def data_set_without_length() -> Seen | None:
    numbers: Any = Numbers()
    answer, error = attempt(lambda: DataLoader(numbers, shuffle=True))
    return Seen(answer if refused(error) else "ok", not refused(error))


@probe(
    "G16",
    "Is DataParallel the way to use several GPUs, and no successor recommended?",
    "使用多个 GPU 的途径是否为 DataParallel，而没有推荐后继者？",
    old="nn.DataParallel(model)",
    new="nn.parallel.DistributedDataParallel(model)",
)
def advice_of_data_parallel() -> Seen | None:
    advice = " ".join((nn.DataParallel.__doc__ or "").split())
    recommends = re.search(r"recommended to use :class:`[\w.~]*DistributedDataParallel`", advice)
    answer = "recommends DistributedDataParallel" if recommends else "recommends nothing else"
    return Seen(answer, not recommends)


@probe(
    "U09",
    "Is a CharTensor the tensor that does not convert to NumPy?",
    "不能转换为 NumPy 数组的是否为 CharTensor？",
)
def char_tensor_to_numpy() -> Seen | None:
    answer, error = attempt(lambda: torch.tensor([-128, 127]).char().numpy().dtype)
    return Seen(answer, refused(error))


@probe(
    "U15",
    "Are ten numbers from arange a target for the mean squared error as they are?",
    "arange 给出的十个数能否直接作均方误差的目标？",
    old="criterion(output, torch.arange(1, 11))",
    new="criterion(output, torch.arange(1., 11.))",
)
def integer_target() -> Seen | None:
    output = torch.zeros(10, requires_grad=True)
    answer, error = attempt(lambda: nn.MSELoss()(output, torch.arange(1, 11)).backward())
    return Seen(answer if refused(error) else "ok", not refused(error))


# ---------------------------------------------------------------------------------------------
# The column of this release


def release() -> str:
    """The release of torch, without what is built in: 2.15.0."""
    return str(torch.__version__).split("+")[0]


def answer_all() -> dict[str, Seen | None]:
    """What each probe saw; None where it could not be asked, with the reason on stderr."""
    return {key: _answer(key, asked) for key, asked in PROBES.items()}


def _answer(key: str, asked: Probe) -> Seen | None:
    torch.manual_seed(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return asked.ask()
    except Exception as error:  # a release may lack what the probe stands on
        print(f"{key}: not probed: {refusal(error)}", file=sys.stderr)
        return None


def versions() -> dict[str, str]:
    """What the answers were got with."""
    found = {"torch": str(torch.__version__), "python": platform.python_version()}
    for package in ("torchvision", "numpy"):
        try:
            found[package] = str(__import__(package).__version__)
        except ImportError:
            continue
    return found


def merge(table: dict[str, Any], seen: dict[str, Seen | None]) -> dict[str, Any]:
    """The table with this release's column added, or refreshed where it was asked again.

    Args:
        table: What spec/releases.json holds; may be empty.
        seen: What the probes saw in this release.
    """
    column = release()
    releases = sorted({*table.get("releases", []), column}, key=_order)
    old: dict[str, Any] = table.get("probes", {})
    return {
        "releases": releases,
        "made_by": "docs/probe_releases.py",
        "versions": {r: versions() if r == column else table["versions"][r] for r in releases},
        "probes": {key: _row(PROBES[key], old.get(key, {}), seen[key], releases) for key in PROBES},
    }


def _row(
    asked: Probe, old: dict[str, Any], seen: Seen | None, releases: list[str]
) -> dict[str, Any]:
    answers = {r: old.get("answers", {}).get(r) for r in releases}
    as_told = {r: old.get("as_told", {}).get(r) for r in releases}
    if seen is not None:
        answers[release()], as_told[release()] = seen
    return {
        "claims": asked.claims,
        "question": asked.question,
        "question_zh": asked.question_zh,
        "old": asked.old,
        "new": asked.new,
        "answers": answers,
        "as_told": as_told,
    }


def _order(number: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", number)[:3]]


def write(path: str, table: dict[str, Any]) -> None:
    """Writes beside ``path`` and renames, so that the file is whole at any time."""
    folder = os.path.dirname(os.path.abspath(path))
    handle, beside = tempfile.mkstemp(dir=folder, prefix=os.path.basename(path), suffix=".part")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(table, file, ensure_ascii=False, indent=1)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        os.chmod(beside, 0o644)
        os.replace(beside, path)
    except BaseException:
        os.unlink(beside)
        raise


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--into", metavar="FILE.json", help="add this release's column to FILE.json"
    )
    into = parser.parse_args().into
    seen = answer_all()
    if into is None:
        column = {key: None if s is None else s._asdict() for key, s in seen.items()}
        found = {"release": release(), "versions": versions(), "probes": column}
        print(json.dumps(found, ensure_ascii=False, indent=1))
        return 0
    table: dict[str, Any] = {}
    if os.path.exists(into):
        with open(into, encoding="utf-8") as file:
            table = json.load(file)
    write(into, merge(table, seen))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
