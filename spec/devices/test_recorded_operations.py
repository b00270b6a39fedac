"""What autograd records: operation by operation, each way into a result, each change in place."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

no_grad = torch.no_grad()


def assigned(x: Tensor, values: Tensor) -> Tensor:
    x[0] = values[0]
    return x


OPERATIONS = {
    "conversion": (lambda x: x.half().float() * 2, [2, 2]),
    "shape": (lambda x: x.reshape(2, 1).squeeze(1).unsqueeze(0) * 3, [3, 3]),
    "expansion": (lambda x: x.expand(3, 2).permute(1, 0), [3, 3]),
    "index": (lambda x: x[1], [0, 1]),
    "cat": (lambda x: torch.cat([x, x * 2]), [3, 3]),
    "stack": (lambda x: torch.stack([x, x * x]), [-5, 9]),
    "extremes": (lambda x: x.max() - x.min(), [-1, 1]),
    "clamp": (lambda x: x.clamp(min=0), [0, 1]),
    "abs": (lambda x: x.abs(), [-1, 1]),
    "maximum": (lambda x: torch.maximum(x, -2 * x), [-2, 1]),
    "where": (lambda x: torch.where(x > 0, x, -2 * x), [-2, 1]),
    "prod": (lambda x: x.prod(), [4, -3]),
    "cumsum": (lambda x: x.cumsum(0), [2, 1]),
    "norm": (lambda x: x.norm(), [-0.6, 0.8]),
    "var": (lambda x: x.var(), [-7, 7]),
    "in place": (lambda x: (x * 2).mul_(5), [10, 10]),
    "number minus": (lambda x: 1 - x, [-1, -1]),
    "quotient": (lambda x: x[0] / x[1], [1 / 4, 3 / 16]),
    "broadcast": (lambda x: x.new_ones(3, 2) + x, [3, 3]),
    "integers": (lambda x: x * torch.arange(2, 4).to(x.device), [2, 3]),
    "matrix product": (lambda x: x.view(1, 2) @ x.flip(0).view(2, 1), [8, -6]),
}

OF_TWO = {
    "add": lambda x, w: x + w,
    "sub": lambda x, w: x - w,
    "mul": lambda x, w: x * w,
    "div": lambda x, w: x / w,
    "pow": lambda x, w: x**w,
    "matmul": lambda x, w: x @ w,
    "cat": lambda x, w: torch.cat([x, w]),
    "stack": lambda x, w: torch.stack([x, w]),
    "three operands": lambda x, w: x + x.exp() + w,
    "cat of three": lambda x, w: torch.cat([x, x, w]),
    "where": lambda x, w: torch.where(x > 0, x, w),
    "linear": lambda x, w: nn.functional.linear(x, x, w[0]),
    "in place": lambda x, w: x.clone().add_(w),
    "copy": lambda x, w: x.clone().copy_(w),
    "index_put": lambda x, w: x.clone().index_put_((torch.tensor(0, device=x.device),), w[0]),
    "assignment": lambda x, w: assigned(x.clone(), w),
}

CHANGES = {
    "in place": lambda t: t.add_(1),
    "+=": lambda t: t.__iadd__(1),
    "under no_grad": no_grad(lambda t: t.add_(1)),
    "mul_": no_grad(lambda t: t.mul_(2)),
    "zero_": no_grad(lambda t: t.zero_()),
    "fill_": no_grad(lambda t: t.fill_(7)),
    "copy_": no_grad(lambda t: t.copy_(t + 1)),
    "-=": no_grad(lambda t: t.__isub__(1)),
    "through detach": lambda t: t.detach().add_(1),
    "through a view": lambda t: t.detach()[:1].add_(1),
    "assignment": lambda t: t.detach().__setitem__(0, 7),
    "out=": lambda t: torch.add(t.detach(), 1, out=t.detach()),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_operation_of_any_kind_is_recorded_and_differentiated(
    device: torch.device, name: str
) -> None:
    """Each of 21 kinds of operation is recorded, and its gradient is that of the formula."""
    x = torch.tensor([-3.0, 4.0], requires_grad=True, device=device)
    operation, gradient = OPERATIONS[name]

    operation(x).sum().backward()

    torch.testing.assert_close(x.grad.tolist(), [float(g) for g in gradient])


@pytest.mark.parametrize("combine", OF_TWO.values(), ids=OF_TWO)
def test_either_input_of_an_operation_makes_its_result_tracked(
    device: torch.device, combine: Callable[[Tensor, Tensor], Tensor]
) -> None:
    """In each of 16 operations of two tensors either one can make the result tracked."""
    x = torch.ones(2, 2, device=device)
    w = torch.ones(2, 2, requires_grad=True, device=device)

    assert combine(x, w).requires_grad
    assert combine(w, x).requires_grad
    assert not combine(x, x).requires_grad


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_change_in_place_of_a_saved_value_is_detected(
    device: torch.device, change: Callable[[Tensor], Any]
) -> None:
    """Each of 12 ways to change in place what was saved for backward is detected there."""
    x = torch.tensor([3.0], requires_grad=True, device=device)
    saved = x * 1
    square = saved * saved
    (gradient,) = torch.autograd.grad(square, x, retain_graph=True)
    assert gradient.item() == 6.0

    change(saved)

    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        square.backward()
