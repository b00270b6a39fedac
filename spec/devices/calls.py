"""Calls with many dimensions, shapes and arguments: the rows of the other tables have one each."""

import contextlib
import math
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import product
from typing import Any

import torch
import torch.nn.functional as F

from spec.devices.layouts import EVERY_LAYOUT
from spec.devices.operations import listed

Compared = Iterator[tuple[str, list[torch.Tensor], list[torch.Tensor]]]
"""Where, what was found there and what was expected."""

LAYOUTS = {name: layout for name, layout in EVERY_LAYOUT.items() if "channels" not in name}


def _indices(x: torch.Tensor, dim: int, count: int = 5) -> torch.Tensor:
    return torch.arange(count, device=x.device) * 7919 % x.shape[dim]


def _labels(x: torch.Tensor) -> torch.Tensor:
    return _indices(x, 1, len(x))


def _along(x: torch.Tensor, dim: int) -> torch.Tensor:
    return x.detach().argsort(dim)


def _masked(x: torch.Tensor, dim: int) -> torch.Tensor:
    return x.masked_fill(x.detach() > x.detach().narrow(dim, 0, 1), 3.0)


def _of_many_kinds(x: torch.Tensor, dim: int) -> list[torch.Tensor]:
    return [x * 2, x.sum(dim), x.cumsum(dim), x.amax(-1), x.softmax(0)]


# Calls with a dimension.
OF_A_DIMENSION: dict[str, Callable[[torch.Tensor, int], Any]] = {
    "sum": lambda x, dim: x.sum(dim),
    "mean": lambda x, dim: x.mean(dim, keepdim=True),
    "sums of others": lambda x, dim: x.sum([d for d in range(x.dim()) if d != dim]),
    "means of others": lambda x, dim: x.mean([d for d in range(x.dim()) if d != dim]),
    "variances of others": lambda x, dim: x.movedim(dim, 0).flatten(1).var(1, correction=0),
    "prod": lambda x, dim: (1 + x / 1000).prod(dim),
    "amax": lambda x, dim: x.amax(dim),
    "amin": lambda x, dim: x.amin(dim),
    "max": lambda x, dim: list(x.max(dim)),
    "min": lambda x, dim: list(x.min(dim)),
    "argmax": lambda x, dim: x.argmax(dim),
    "argmin": lambda x, dim: x.argmin(dim),
    "median": lambda x, dim: list(x.median(dim)),
    "std": lambda x, dim: x.std(dim) if x.shape[dim] > 2 else x,  # of two it may be almost zero
    "logsumexp": lambda x, dim: x.logsumexp(dim),
    "norm": lambda x, dim: x.norm(dim=dim),
    "all and any": lambda x, dim: [(x > -2).all(dim), (x > 2).any(dim)],
    "count_nonzero": lambda x, dim: (x > 0).count_nonzero(dim),
    "sum of booleans": lambda x, dim: (x > 0).sum(dim),
    "cumsum": lambda x, dim: x.cumsum(dim),
    "cumprod": lambda x, dim: (1 + x / 1000).cumprod(dim),
    "cummax": lambda x, dim: x.cummax(dim).values,
    "softmax": lambda x, dim: x.softmax(dim),
    "log_softmax": lambda x, dim: x.log_softmax(dim),
    # of one number they are 1 or -1, and the gradient is rounding
    "normalize": lambda x, dim: F.normalize(x, dim=dim) if x.shape[dim] > 1 else x,
    "cosine_similarity": lambda x, dim: (
        F.cosine_similarity(x, x * x, dim=dim) if x.shape[dim] > 1 else x
    ),
    "sort": lambda x, dim: list(x.sort(dim)),
    "sort descending": lambda x, dim: x.sort(dim, descending=True).values,
    "sort stable": lambda x, dim: list((x * 8).floor().sort(dim=dim, stable=True)),
    "kthvalue": lambda x, dim: list(x.kthvalue(1 + x.shape[dim] // 3, dim)),
    "logcumsumexp": lambda x, dim: x.logcumsumexp(dim),
    "topk": lambda x, dim: list(x.topk(min(2, x.shape[dim]), dim)),
    "flip": lambda x, dim: x.flip(dim),
    "roll": lambda x, dim: x.roll(2, dim),
    "diff": lambda x, dim: x.diff(dim=dim),
    "cat": lambda x, dim: torch.cat([x, x * 2, x.narrow(dim, -1, 1)], dim),
    "stack": lambda x, dim: torch.stack([x, x * 2], dim),
    "split": lambda x, dim: torch.cat(x.split(2, dim)[::-1], dim) if x.shape[dim] < 99 else x,
    "unbind": lambda x, dim: torch.stack(x.unbind(dim)[::2]) if x.shape[dim] < 99 else x,
    "narrow": lambda x, dim: x.narrow(dim, -1, 1) * 2,
    "select": lambda x, dim: x.select(dim, -1),
    "step": lambda x, dim: x.movedim(dim, 0)[1::2] + 1,
    "index_select": lambda x, dim: x.index_select(dim, _indices(x, dim)),
    "index_select often": lambda x, dim: x.index_select(dim, _indices(x, dim, 65)),
    "index": lambda x, dim: x.movedim(dim, 0)[_indices(x, dim, 33)],
    "index_add": lambda x, dim: x.index_add(dim, _indices(x, dim, x.shape[dim]) // 2, x * 2),
    "index_fill": lambda x, dim: x.index_fill(dim, _indices(x, dim), 3.0),
    "index_copy": lambda x, dim: x.index_copy(dim, _indices(x, dim, 1), x.sum(dim, keepdim=True)),
    "gather": lambda x, dim: x.gather(dim, _along(x, dim)),
    "scatter": lambda x, dim: torch.zeros_like(x).scatter(dim, _along(x, dim), x * 2),
    "scatter_add": lambda x, dim: x.scatter_add(dim, _along(x, dim).div(2).long(), x),
    "take_along_dim": lambda x, dim: x.take_along_dim(_along(x, dim), dim),
    "repeat_interleave": lambda x, dim: x.repeat_interleave(2, dim),
    "expand": lambda x, dim: x.sum(dim, keepdim=True).expand(x.shape),
    "expanded": lambda x, dim: _of_many_kinds(x.narrow(dim, 0, 1).expand(x.shape), dim),
    "masked_fill": _masked,
    "where": lambda x, dim: torch.where(x > x.narrow(dim, 0, 1), x, 0.0),
    "to the front": lambda x, dim: x.movedim(dim, 0).contiguous(),
    "unfold": lambda x, dim: x.unfold(dim, min(2, x.shape[dim]), 1),
    "times a range": lambda x, dim: x.movedim(dim, -1) * torch.arange(x.shape[dim]).to(x.device),
}
SHAPES = (
    *((3, 5, 7, 33), (2, 3, 2, 3, 2, 5), (257, 3, 17), (7, 1000), (2, 1025, 3), (4099, 2)),
    *((1, 4099), (70_001, 1), (70_001, 2)),
)

# Calls of two tensors, which are broadcast.
OF_TWO: dict[str, Callable[[torch.Tensor, torch.Tensor], Any]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": lambda x, y: x / (y.abs() + 1),
    "pow": lambda x, y: (x.abs() + 1) ** y,
    "add with alpha": lambda x, y: torch.add(x, y, alpha=3),
    "maximum": torch.maximum,
    "lerp": lambda x, y: torch.lerp(*torch.broadcast_tensors(x, y), 0.3),
    "lerp by one": lambda x, y: torch.lerp(x, x * 2, y),
    "addcmul": lambda x, y: torch.addcmul(x, x, y, value=3),
    "addcdiv": lambda x, y: torch.addcdiv(x, y, x.abs() + 1),
    "where": lambda x, y: torch.where(x > y, x, y),
    "where and a number": lambda x, y: torch.where(x > y, y, 0.0),
    "masked_fill": lambda x, y: (x + y * 0).masked_fill(y.detach() > 0, 3.0),
    "clamp": lambda x, y: x.clamp(min=y),
    "comparisons": lambda x, y: [x < y, x <= y, x > y, x >= y, x == y, x != y],
    "logic": lambda x, y: [(x > 0) & (y > 0), (x > 0) | (y > 0), (x > 0) ^ (y > 0)],
    "integers": lambda x, y: [(x * 8).long() + (y * 8).long(), (x * 8).int() * (y * 8).int()],
    "floor_divide": lambda x, y: (x * 128).long() // ((y * 8).long().abs() + 1),
    "remainder": lambda x, y: (x * 128).long() % ((y * 8).long().abs() + 1),
    "atan2": torch.atan2,
    "in place": lambda x, y: (x + y * 0).add_(y).mul_(y).sub_(y, alpha=2),
    "in place of a part": lambda x, y: (x + y * 0)[..., :1].mul_(2),
    "mse_loss": lambda x, y: F.mse_loss(x + y * 0, y + x * 0, reduction="none"),
    "sums": lambda x, y: (x * y).sum(),
    "means": lambda x, y: (x - y).square().mean(),
}
PAIRS = (
    *(((5, 33), (33,)), ((33,), (5, 33)), ((5, 33), (5, 1)), ((5, 1), (1, 33)), ((5, 33), (5, 33))),
    *(((2, 5, 33), (5, 1)), ((4, 3, 5, 5), (3, 1, 1)), ((3, 1, 1), (4, 3, 5, 5)), ((5, 33), ())),
    *(((), (5, 33)), ((4, 1, 5, 1), (3, 1, 7)), ((4099, 2), (2,)), ((2, 70_001), (2, 1))),
    *(((2, 70_001), (70_001,)), ((4, 3, 5, 5), (4, 3, 5, 5)), ((1,), (1, 1)), ((1025,), (1,))),
    ((1025, 1027), (1025, 1027)),
    *(((33, 1), (1, 33)), ((33, 1), (33,)), ((2, 3, 1, 2, 1), (3, 5, 1, 2)), ((6, 5), (1, 5))),
)

# Products, by the shapes of their operands.
LENGTHS = [
    *product((1, 5, 64, 130), repeat=3),
    *((1025, 3, 5), (3, 4099, 5), (3, 5, 1025), (257, 33, 65), (1, 4099, 2), (4099, 1, 2)),
    *((5, 0, 33), (0, 5, 33), (5, 33, 0)),
]
PRODUCTS: dict[str, tuple[Callable[..., Any], Callable[[int, int, int], tuple[Any, ...]]]] = {
    "mm": (torch.mm, lambda m, k, n: ((m, k), (k, n))),
    "linear": (F.linear, lambda m, k, n: ((m, k), (n, k), (n,))),
    "addmm": (torch.addmm, lambda m, k, n: ((n,), (m, k), (k, n))),
    "addmm scaled": (
        lambda a, x, y: torch.addmm(a, x, y, beta=0.5, alpha=2),
        lambda m, k, n: ((m, n), (m, k), (k, n)),
    ),
    "mv": (torch.mv, lambda m, k, n: ((m, k), (k,))),
    "dot": (lambda x, y: x @ y, lambda m, k, n: ((k,), (k,))),
    "vector by matrix": (lambda x, y: x @ y, lambda m, k, n: ((k,), (k, n))),
    "outer": (torch.outer, lambda m, k, n: ((m,), (n,))),
    "bmm": (torch.bmm, lambda m, k, n: ((3, m, k), (3, k, n))),
    "baddbmm": (torch.baddbmm, lambda m, k, n: ((3, m, n), (3, m, k), (3, k, n))),
    "matmul of one": (torch.matmul, lambda m, k, n: ((2, 3, m, k), (k, n))),
    "matmul of a batch": (torch.matmul, lambda m, k, n: ((2, 1, m, k), (3, k, n))),
    "transposed": (lambda x, y: x.t() @ y.t(), lambda m, k, n: ((k, m), (n, k))),
    "transposed batches": (lambda x, y: x @ y.mT, lambda m, k, n: ((3, m, k), (3, n, k))),
    "einsum": (
        lambda x, y: torch.einsum("mk,kn->nm", x, y),
        lambda m, k, n: ((m, k), (k, n)),
    ),
}


# Calls, shapes that they refuse and shapes that they take.
REFUSED: dict[str, tuple[Callable[..., Any], Sequence[Any], Sequence[Any]]] = {
    **{name: (call, ((5, 33), (7,)), PAIRS[0]) for name, call in OF_TWO.items()},
    **{
        name: (call, [of(3, 4, 5)[0], *of(6, 7, 8)[1:]], of(3, 4, 5))
        for name, (call, of) in PRODUCTS.items()
    },
}

# The same call of tensors of the same shapes, with one argument and another.
Otherwise = dict[str, tuple[Callable[[torch.Tensor, Any], Any], tuple[Any, ...]]]
_OF_ROWS: Otherwise = {
    "add": (lambda x, n: x + n, (2.5, 7, -1)),
    "subtracted from": (lambda x, n: n - x, (2.5, 7)),
    "mul": (lambda x, n: x * n, (2.5, 7, 0)),
    "div": (lambda x, n: x / n, (2.5, 7)),
    "divided by": (lambda x, n: n / (x.abs() + 1), (2.5, 7)),
    "pow": (lambda x, n: x.abs() ** n, (2, 3, 0.5)),
    "power of": (lambda x, n: n**x, (2, 3)),
    "compared": (lambda x, n: [x > n, x <= n, x.floor() == n], (0.5, -1.0, 0)),
    "alpha": (lambda x, n: torch.add(x, x, alpha=n), (2, 3)),
    "value": (lambda x, n: torch.addcmul(x, x, x, value=n), (2, 3)),
    "clamp": (lambda x, n: x.clamp(*n), ((-1, 1), (-0.5, 2), (0, None))),
    "in place": (lambda x, n: (x * 1).mul_(n).add_(n).div_(n), (2, 3)),
    "fill_": (lambda x, n: (x * 1).fill_(n) + x, (2, 3)),
    "full_like": (lambda x, n: torch.full_like(x, n), (2, 3)),
    "masked_fill": (lambda x, n: x.masked_fill(x > 0, n), (2.0, 3.0)),
    "where": (lambda x, n: torch.where(x > 0, x, n), (2.0, 3.0)),
    "lerp": (lambda x, n: torch.lerp(x, x * 2, n), (0.25, 0.75)),
    "leaky_relu": (F.leaky_relu, (0.1, 0.3)),
    "elu": (F.elu, (1.0, 0.3)),
    "threshold": (lambda x, n: F.threshold(x, n, 3.0), (0.1, -0.3)),
    "softplus": (F.softplus, (1.0, 2.0)),
    "gelu": (lambda x, n: F.gelu(x, approximate=n), ("none", "tanh")),
    "softmax": (lambda x, n: x.softmax(n), (0, 1)),
    "log_softmax": (lambda x, n: x.log_softmax(n), (0, 1)),
    "sum": (lambda x, n: x.sum(n), (0, 1, (0, 1))),
    "keepdim": (lambda x, n: x.sum(1, keepdim=n), (True, False)),
    "mean": (lambda x, n: x.mean(n), (0, 1)),
    "max": (lambda x, n: list(x.max(n)), (0, 1)),
    "argmax": (lambda x, n: x.argmax(n), (0, 1, None)),
    "var": (lambda x, n: x.var(1, correction=n), (0, 1)),
    "norm": (lambda x, n: x.norm(n), (1, 2, 3)),
    "cumsum": (lambda x, n: x.cumsum(n), (0, 1)),
    "sort": (lambda x, n: list(x.sort(1, descending=n)), (True, False)),
    "topk": (lambda x, n: list(x.topk(3, largest=n)), (True, False)),
    "flip": (lambda x, n: x.flip(n), (0, 1)),
    "roll": (lambda x, n: x.roll(n, 0), (1, 2)),
    "transpose": (lambda x, n: x.transpose(0, n).contiguous(), (0, 1)),
    "tril": (lambda x, n: x.tril(n), (0, 1)),
    "diagonal": (lambda x, n: x.diagonal(n) * 2, (1, -1)),
    "row": (lambda x, n: x[n] * 2, (0, 3)),
    "rows": (lambda x, n: x[n : n + 3] * 2, (0, 3)),
    "columns": (lambda x, n: x[:, n : n + 3] * 2, (0, 3)),
    "element": (lambda x, n: x[n, n] * 2, (0, 3)),
    "indices": (lambda x, n: x[n] * 2, ([0, 1], [3, 3])),
    "pad": (lambda x, n: F.pad(x, n), ((1, 2), (2, 1))),
    "pad with": (lambda x, n: F.pad(x, (1, 2), value=n), (1.0, 2.0)),
    "cat": (lambda x, n: torch.cat([x, x * 2], n), (0, 1)),
    "dtype": (lambda x, n: (x * 8).to(n), (torch.int32, torch.int64, torch.float16)),
    # not of float16: a device may round once where the cpu rounds thrice
    "sum of": (lambda x, n: ((x * 8).to(n) * 3).sum(0), (torch.int32, torch.int64, torch.float32)),
    "shape": (lambda x, n: x.reshape(n).softmax(0) + x.reshape(n).sum(0), ((7, 7), (49,), (1, 49))),
    "matrix_power": (torch.linalg.matrix_power, (2, 3)),
    "addmm": (lambda x, n: torch.addmm(x, x, x, alpha=n), (2, 3)),
    "beta": (lambda x, n: torch.addmm(x, x, x, beta=n), (2, 0)),
    "layer_norm": (lambda x, n: F.layer_norm(x, (7,), eps=n), (1e-5, 0.5)),
    "cross_entropy": (
        lambda x, n: F.cross_entropy(x, _labels(x), reduction=n),
        ("mean", "sum", "none"),
    ),
    "labels": (lambda x, n: F.cross_entropy(x, (_labels(x) + n) % 7), (0, 1, 3)),
    "label_smoothing": (lambda x, n: F.cross_entropy(x, _labels(x), label_smoothing=n), (0.0, 0.3)),
    "ignore_index": (lambda x, n: F.cross_entropy(x, _labels(x), ignore_index=n), (1, 2)),
    "weights of classes": (
        lambda x, n: F.nll_loss(x, _labels(x), n * x.detach()[0].abs() + 1),
        (0.0, 1.0),
    ),
    "mse_loss": (lambda x, n: F.mse_loss(x, x.detach() * 2, reduction=n), ("mean", "sum", "none")),
    "huber_loss": (lambda x, n: F.huber_loss(x, x.detach() * 2, delta=n), (0.5, 2.0)),
    "grad": (lambda x, n: x * 3 if n else x.detach() * 3 + x, (True, False)),
}
_OF_IMAGES: Otherwise = {
    "permute": (lambda x, n: x.permute(n) + 1, ((3, 2, 1, 0), (0, 2, 3, 1))),
    "batch_norm": (lambda x, n: F.batch_norm(x, None, None, training=True, eps=n), (1e-5, 0.5)),
    "group_norm": (F.group_norm, (1, 2)),
    "max_pool2d": (lambda x, n: F.max_pool2d(x, n, stride=3, padding=n // 2), (2, 3)),
    "avg_pool2d": (lambda x, n: F.avg_pool2d(x, 3, padding=1, count_include_pad=n), (True, False)),
    "conv2d stride": (lambda x, n: F.conv2d(x, x[:, :, :3, :3], stride=n), (1, 2, 3)),
    "conv2d padding": (
        lambda x, n: F.conv2d(x, x[:, :, :3, :3], padding=n),
        (0, 1, (0, 1), (1, 0)),
    ),
    "conv2d dilation": (lambda x, n: F.conv2d(x, x[:, :, :3, :3], padding=n, dilation=n), (1, 2)),
    "conv2d groups": (lambda x, n: F.conv2d(x, x[:2, : 4 // n, :3, :3], groups=n), (1, 2)),
    "interpolate": (lambda x, n: F.interpolate(x, scale_factor=2, mode=n), ("nearest", "bilinear")),
    "corners": (
        lambda x, n: F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=n),
        (True, False),
    ),
}
OTHERWISE = {
    **{name: (*row, (7, 7)) for name, row in _OF_ROWS.items()},
    **{name: (*row, (3, 4, 6, 6)) for name, row in _OF_IMAGES.items()},
}


def _parts(x: torch.Tensor) -> list[torch.Tensor]:
    return [x[row : row + 1 + row % 3] * (row + 1) for row in range(0, len(x), len(x) // 300)]


def _far(x: torch.Tensor, count: int = 2049) -> torch.Tensor:
    return _indices(x, 0, count)


# Far into a tensor of 70,001 rows, and many at once.
OF_MANY: dict[str, Callable[[torch.Tensor], Any]] = {
    "cat": lambda x: torch.cat(_parts(x)),
    "stack": lambda x: torch.stack([part[0] for part in _parts(x)], 1),
    "list of losses": lambda x: sum(part.square().mean() for part in _parts(x)),
    "index_select": lambda x: x.index_select(0, _far(x)),
    "index": lambda x: x[_far(x, 70_001)],
    "index by int32": lambda x: x[_far(x).int()],
    "columns by index": lambda x: x.t()[:, _far(x)],
    "pairs": lambda x: x[_far(x), _far(x) % 3],
    "embedding": lambda x: F.embedding(_far(x), x),
    "gather": lambda x: x.gather(0, _far(x)[:, None].expand(-1, 3)),
    "take": lambda x: x.take(_far(x) * 3 + 1),
    "scatter": lambda x: torch.zeros_like(x).scatter(0, _far(x)[:, None].expand(-1, 3), x[:2049]),
    "index_add": lambda x: torch.zeros_like(x).index_add(0, _far(x), x[:2049]),
    "index_add to few": lambda x: torch.zeros_like(x[:3]).index_add(0, _far(x) % 3, x[:2049]),
    "index_put": lambda x: (x * 1).index_put((_far(x, 70_001),), x * 2),
    "accumulated": lambda x: (x * 1).index_put((_far(x) % 7,), x[:2049], accumulate=True),
    "index_copy": lambda x: x.index_copy(0, _far(x, 70_001), x * 2),
    "masked_select": lambda x: x[x > 1],
    "rows by mask": lambda x: x[x[:, 1] > 1],
    "masked_scatter": lambda x: x.masked_scatter(x.detach() > 1, x * 2),
    "nonzero": lambda x: (x > 2).nonzero(),
    "unique": lambda x: list((x * 8).long().unique(return_counts=True)),
    "searchsorted": lambda x: torch.searchsorted(
        x[:, 0].detach().sort().values.contiguous(), x.detach().contiguous()
    ),
    "bincount": lambda x: (_far(x) * 3 % 70_001).bincount(),
    "one_hot": lambda x: F.one_hot(_far(x, 33), 70_001).sum(0),
    "cross_entropy": lambda x: F.cross_entropy(x.t(), _far(x, 3) + 5),
    "topk": lambda x: list(x[:, 0].topk(99)),
    "argmax": lambda x: [x.argmax(), x.argmin(), x.argmax(0)],
    "max of all": lambda x: [x.max(), x.min()],
    "mean of right": lambda x: (x.argmax(1) == _indices(x, 0, len(x)) % 3).float().mean(),
    "last": lambda x: [x[-1], x[70_000, 2], x[65_536:65_540], x[-3:, 1:]],
    "every 999th": lambda x: x[5::999],
    "arange": lambda x: torch.arange(len(x), device=x.device),
    "linspace": lambda x: torch.linspace(0, 1, len(x), device=x.device),
}

# Calls with indices, of either dimension.
WITH_INDICES: dict[str, Callable[[torch.Tensor, torch.Tensor], Any]] = {
    "index_select": lambda x, i: x.index_select(0, i),
    "columns": lambda x, i: x.index_select(1, i),
    "index": lambda x, i: x[i],
    "pairs": lambda x, i: x[i, i],
    "embedding": lambda x, i: F.embedding(i, x),
    "gather": lambda x, i: x.gather(0, i[None]),
    "take": lambda x, i: x.take(i),
    "scatter": lambda x, i: torch.zeros_like(x).scatter(1, i[:, None], x[:, :1]),
    "scatter_add": lambda x, i: x.scatter_add(1, i[:, None], x[:, :1]),
    "index_add": lambda x, i: x.index_add(0, i, x),
    "index_copy": lambda x, i: x.index_copy(0, i[:2], x[:2]),
    "index_fill": lambda x, i: x.index_fill(0, i[:2], 3.0),
    "index_put": lambda x, i: (x * 1).index_put((i[:2],), x[:2] * 2),
    "cross_entropy": F.cross_entropy,
    "nll_loss": lambda x, i: F.nll_loss(x.log_softmax(1), i),
    "take_along_dim": lambda x, i: x.take_along_dim(i[:, None], 1),
}

# With out=, into tensors of any layout.
INTO: dict[str, Callable[..., Any]] = {
    **{f.__name__: f for f in (torch.add, torch.sub, torch.mul, torch.div, torch.mm, torch.matmul)},
    **{f.__name__: f for f in (torch.maximum, torch.minimum, torch.atan2, torch.hypot)},
    "exp": lambda x, y, **out: torch.exp(x, **out),
    "sin": lambda x, y, **out: torch.sin(x, **out),
    "clamp": lambda x, y, **out: torch.clamp(x, -1, 1, **out),
    "pow": lambda x, y, **out: torch.pow(x, 2, **out),
    "sum": lambda x, y, **out: torch.sum(x, 0, **out),
    "mean": lambda x, y, **out: torch.mean(x, 1, **out),
    "amax": lambda x, y, **out: torch.amax(x, 1, **out),
    "cumsum": lambda x, y, **out: torch.cumsum(x, 1, **out),
    "cat": lambda x, y, **out: torch.cat([x, y], 1, **out),
    "cat of rows": lambda x, y, **out: torch.cat([x, y], **out),
    "stack": lambda x, y, **out: torch.stack([x, y], 2, **out),
    "index_select": lambda x, y, **out: torch.index_select(x, 1, _indices(x, 1, 7), **out),
    "gather": lambda x, y, **out: torch.gather(x, 1, _along(y, 1), **out),
    "where": lambda x, y, **out: torch.where(x > 0, x, y, **out),
    "addmm": lambda x, y, **out: torch.addmm(x, x, y, **out),
    "bmm": lambda x, y, **out: torch.bmm(x[None], y[None], **out),
    "mv": lambda x, y, **out: torch.mv(x, y[0], **out),
    "lerp": lambda x, y, **out: torch.lerp(x, y, 0.25, **out),
    "tril": lambda x, y, **out: torch.tril(x, **out),
    "masked_select": lambda x, y, **out: torch.masked_select(x, y > 0, **out),
}

DTYPES = (torch.bool, torch.uint8, torch.int32, torch.int64, torch.float16, torch.float32)
OF_TWO_DTYPES: dict[str, Callable[[torch.Tensor, torch.Tensor], Any]] = {
    **{f.__name__: f for f in (torch.add, torch.sub, torch.mul, torch.div, torch.floor_divide)},
    **{f.__name__: f for f in (torch.maximum, torch.minimum, torch.remainder, torch.pow)},
    **{f.__name__: f for f in (torch.eq, torch.lt, torch.ge, torch.logical_and, torch.logical_xor)},
    "bitwise": lambda x, y: [x & y, x | y, x ^ y],
    "where": lambda x, y: torch.where(x > 3, x, y),
    "cat": lambda x, y: torch.cat([x, y], 1),
    "in place": lambda x, y: x.clone().add_(y),
    "products in place": lambda x, y: x.clone().mul_(y),
    "copied": lambda x, y: [x.to(y.dtype), x.clone().copy_(y)],
    "put": lambda x, y: _put(x.clone(), y),
    "masked": lambda x, y: [x[y.bool()], y.masked_fill(x.bool(), 1)],
    "sums": lambda x, y: [x.sum(), x.sum(0), x.sum(0, dtype=y.dtype), (x == y).sum(1)],
    "means": lambda x, y: [x.float().mean(0), (x == y).float().mean()],
    "numbers": lambda x, y: [x + 2, x * 2.5, x / 2, x > 1, 3 - x, x + True],
    "accumulated": lambda x, y: x.cumsum(0, dtype=y.dtype),
}


def _put(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    x[1:, ::2] = y[1:, ::2]
    return x


def distinct(shape: tuple[int, ...]) -> torch.Tensor:
    """Draw numbers from -3 to 3, no two alike: of equal ones any may come first in a sort."""
    count = math.prod(shape)
    return (torch.randperm(count) / count * 6 - 3).view(shape)


def compared(
    call: Callable[..., Any],
    shapes: Sequence[tuple[int, ...]],
    device: torch.device,
    turns: Sequence[int] = range(len(LAYOUTS)),
    shift: float = 0,
) -> Compared:
    """Compare results and gradients with float64's; each input of a call has another layout."""
    numbers, layouts = [distinct(shape) + shift for shape in shapes], list(LAYOUTS)
    expected = _results(call, [t.double() for t in numbers])
    for turn in turns:
        names = [layouts[(turn + 3 * place) % len(layouts)] for place in range(len(numbers))]
        views = [LAYOUTS[n](t.to(device))[1] for n, t in zip(names, numbers, strict=True)]
        yield f"{shapes}, {names}", _results(call, views), expected


def of_shapes(
    call: Callable[..., Any], shapes: Iterable[Sequence[tuple[int, ...]]], device: torch.device
) -> Compared:
    """Compare what a call makes of inputs of these shapes, each in three of the layouts."""
    for place, each in enumerate(shapes):
        yield from compared(call, each, device, range(place, place + 6, 2))


def _results(call: Callable[..., Any], inputs: list[torch.Tensor]) -> list[torch.Tensor]:
    """Return what a call makes, also in no_grad, and gradients: of a sum and of weights, added."""
    leaves = [t.detach().requires_grad_() for t in inputs]
    with torch.no_grad():
        tried = listed(call(*leaves))
    first = [t.sum() for t in listed(call(*leaves)) if t.requires_grad]
    made = listed(call(*leaves))
    learned = [t for t in made if t.requires_grad]
    if learned:
        torch.autograd.backward(first)
        weights = [torch.linspace(1, 2, t.numel()).view(t.shape).to(t) for t in learned]
        torch.autograd.backward(learned, weights)
    found = [*tried, *made, *[t.grad for t in leaves if t.grad is not None]]
    return [t.detach().cpu().float() if t.is_floating_point() else t.cpu() for t in found]


def products(
    call: Callable[..., Any], shapes_of: Callable[[int, int, int], Any], device: torch.device
) -> Compared:
    """Compare products of all lengths, each with operands in two layouts."""
    for turn, lengths in enumerate(LENGTHS):
        yield from compared(call, shapes_of(*lengths), device, [turn])


def along_dimensions(call: Callable[[torch.Tensor, int], Any], device: torch.device) -> Compared:
    """Compare what a call makes along each dimension of tensors with two to six of them.

    Some numbers are all below or all above zero, with which kernels pad their blocks.
    """
    for shape in SHAPES:
        for dim in range(len(shape)):
            this = partial(_at, call, dim)
            for shift, turns in ((0, range(dim, dim + 6, 2)), (-5, [dim]), (5, [dim + 3])):
                for where, found, expected in compared(this, [shape], device, turns, shift):
                    yield f"dimension {dim}, {where} and {shift}", found, expected


def after_refusal(
    call: Callable[..., Any],
    refused: Sequence[tuple[int, ...]],
    shapes: Sequence[tuple[int, ...]],
    device: torch.device,
) -> Compared:
    """Compare what a call makes right after inputs of shapes that do not fit."""
    with contextlib.suppress(RuntimeError, IndexError, ValueError):
        call(*[torch.ones(shape, device=device) for shape in refused])
    yield from compared(call, shapes, device, [0])


def after_wrong_index(
    call: Callable[[torch.Tensor, torch.Tensor], Any], device: torch.device
) -> Compared:
    """Compare what a call makes right after an index out of range.

    On CUDA that ends the process's work with the device; there floats are given for an index.
    """
    x, index = distinct((9, 9)), torch.tensor([0, 8, 3, 3, 1, 5, 7, 2, 6])
    expected = _results(partial(_at, call, index), [x.double()])
    wrong = index.float() if device.type == "cuda" else index * 999
    with contextlib.suppress(RuntimeError, IndexError, ValueError):
        call(x.to(device), wrong.to(device))
    yield "next", _results(partial(_at, call, index.to(device)), [x.to(device)]), expected


def _at(call: Callable[..., Any], argument: Any, x: torch.Tensor) -> Any:
    return call(x, argument)


def with_other_arguments(
    call: Callable[[torch.Tensor, Any], Any],
    arguments: tuple[Any, ...],
    shape: tuple[int, ...],
    device: torch.device,
) -> Compared:
    """Compare what a call makes with each argument, twice in turn, of tensors of one shape."""
    x = distinct(shape)
    for turn, argument in enumerate(arguments * 2):
        this = partial(_at, call, argument)
        yield f"{argument}, {turn}", _results(this, [x.to(device)]), _results(this, [x.double()])


def into(call: Callable[..., Any], device: torch.device) -> Compared:
    """Compare the whole memory of tensors of any layout, into which a call writes its result."""
    for length in (7, 33):
        x, y = distinct((2, length, length))
        made = call(x, y)
        for name, layout in LAYOUTS.items():
            room, out = layout(torch.zeros_like(made).to(device))
            expected, view = layout(torch.zeros_like(made))
            view.copy_(made)
            call(x.to(device), y.to(device), out=out)
            yield f"{length}, {name}", [room.cpu()], [expected]


def of_two_dtypes(call: Callable[..., Any], device: torch.device) -> Compared:
    """Compare with the cpu's what a call makes of two dtypes, where the cpu takes them."""
    numbers = torch.arange(5 * 33).view(5, 33) % 7
    for (a, b), (name, layout) in product(product(DTYPES, repeat=2), LAYOUTS.items()):
        far = 2**40 if a == b == torch.int64 else 0  # a float holds no neighbours there
        x, y = (numbers + far).to(a), (numbers % 3 + 1 + far).to(b)
        try:
            expected = listed(call(x, y))
        except RuntimeError:
            continue
        found = listed(call(layout(x.to(device))[1], y.to(device)))
        assert [t.dtype for t in found] == [t.dtype for t in expected]
        yield f"{a} and {b}, {name}", [t.cpu() for t in found], expected
