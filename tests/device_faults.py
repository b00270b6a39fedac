"""Break what a device computes, one operation at a time, and see which claim notices.

``python tests/device_faults.py [--list] [--only NAME …]`` needs torch 2.11 or newer. The device is
the pretend accelerator; each fault gets a copy of this process with that fault in the kernel of one
operation. A fault counts as noticed when a claim is broken whose sentence or test names the
operation. The preflight is left out: it would notice some of them first.
"""

import argparse
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT)] if __name__ == "__main__" else []

import pytest  # noqa: E402
import torch  # noqa: E402
from torch.utils.weak import WeakIdKeyDictionary  # noqa: E402

from tests import published_faults  # noqa: E402
from tests.forked import Done, call  # noqa: E402
from tests.published_faults import Fault, always, arguments, spoil  # noqa: E402


@dataclass(frozen=True)
class DeviceFault:
    """A fault in one operation.

    Attributes:
        name: What is broken, in snake case.
        faults: Operation → what makes of its kernel a faulty one.
        tests: Words of the tests to run (as after ``-k``).
        names: The claim that notices has one of these words in its sentence or its test's id.
        issue: The report of a device that had it, as ``owner/repository#number``.
    """

    name: str
    faults: dict[str, Fault]
    tests: str
    names: tuple[str, ...]
    issue: str = ""


def result(change: Callable[[torch.Tensor], object], place: int | None = None) -> Fault:
    """Change a result in place: the only one, or the one at ``place``."""
    return spoil(always, change, place)


def off(percent: float) -> Callable[[torch.Tensor], torch.Tensor]:
    """Make a tensor too large."""
    return lambda t: t.mul_(1 + percent / 100)


def in_bf16(t: torch.Tensor | None) -> torch.Tensor | None:
    """The tensor, rounded to bfloat16 where it is float32."""
    return t.bfloat16().float() if t is not None and t.dtype is torch.float32 else t


def _a_copy_if_it_is_a_slice(t: torch.Tensor) -> torch.Tensor:
    return t if t.is_contiguous() and t.storage_offset() == 0 else t.clone()


def _averaging(kernel: Callable) -> Callable:
    def pool(**given: Any) -> Any:
        found = kernel(**given)
        options = {n: given[n] for n in ("kernel_size", "stride", "padding", "ceil_mode")}
        found[0].copy_(torch.nn.functional.avg_pool2d(given["self"], **options))
        return found

    return pool


def _truncating_on_the_way_back(kernel: Callable) -> Callable:
    def copy(**given: Any) -> Any:
        caller = sys._getframe(1).f_locals
        if caller["self"].device.type == "cpu" and given["src"].is_floating_point():
            given["src"] = given["src"].trunc()
        return kernel(**given)

    return copy


def _forgetting_in_place(kernel: Callable) -> Callable:
    def add(**given: Any) -> Any:
        called = sys._getframe(1).f_locals["given"]
        found = kernel(**given)
        if called.get("out") is called["self"]:
            found.copy_(given["self"])
        return found

    return add


def _stale_once_in_ten(kernel: Callable) -> Callable:
    def product(**given: Any) -> Any:
        found = kernel(**given)
        calls.append(found.clone())
        if len(calls) % 10 == 0:
            found.copy_(calls[-2].flatten()[0].expand_as(found))
        return found

    return product


def _nothing_in_a_second_backward(kernel: Callable) -> Callable:
    def backward(**given: Any) -> Any:
        found, node = kernel(**given), torch._C._current_autograd_node()
        if any(node is seen for seen in nodes):
            found[1].zero_()
        nodes.append(node)
        return found

    return backward


def _keeping_weights(kernel: Callable) -> Callable:
    def addmm(**given: Any) -> Any:
        weight = sys._getframe(1).f_locals["given"]["mat2"]._base
        if weight is not None and not torch.is_grad_enabled():
            given["mat2"] = kept.setdefault(weight, given["mat2"].clone())
        return kernel(**given)

    return addmm


calls: list[torch.Tensor] = []
nodes: list[Any] = []
kept = WeakIdKeyDictionary()


def fault(name: str, faults: dict[str, Fault], tests: str, *names: str) -> DeviceFault:
    """Return a fault that a claim with one of ``names``, else with a word of ``tests``, notices."""
    return DeviceFault(name, faults, tests, names or tuple(tests.split(" or ")))


ALL = [
    fault(
        "convolution_weight_gradient_off_by_1_percent",
        {"convolution_backward": result(off(1), 1)},
        "conv2d and batches_of_odd",
        "conv",
    ),
    fault(
        "convolution_input_gradient_off_by_1_percent",
        {"convolution_backward": result(off(1), 0)},
        "conv2d and batches_of_odd",
        "conv",
    ),
    fault(
        "convolution_bias_gradient_missing",
        {"convolution_backward": result(lambda t: t.zero_(), 2)},
        "conv2d and batches_of_odd",
        "conv",
    ),
    fault(
        "convolution_in_bf16",
        {"convolution": arguments(input=in_bf16, weight=in_bf16)},
        "conv2d and batches_of_odd",
        "conv",
    ),
    fault(
        "slice_assignment_writes_to_a_copy",
        {
            "copy_": arguments(self=_a_copy_if_it_is_a_slice),
            "fill_.Scalar": arguments(self=_a_copy_if_it_is_a_slice),
        },
        "slice or column or assign",
    ),
    fault(
        "matmul_in_bf16",
        {
            "mm.out": arguments(self=in_bf16, mat2=in_bf16),
            "addmm.out": arguments(mat1=in_bf16, mat2=in_bf16),
        },
        "matmul",
    ),
    fault("pool_that_averages", {"max_pool2d_with_indices.out": _averaging}, "pool"),
    fault(
        "pool_gradient_doubled",
        {"max_pool2d_with_indices_backward.grad_input": result(off(100))},
        "pool",
    ),
    fault(
        "sgd_step_drops_momentum",
        {"_foreach_mul_.Scalar": arguments(scalar=lambda _: 0.0)},
        "momentum",
    ),
    fault(
        "sgd_step_ignores_the_learning_rate",
        {"_foreach_add_.List": arguments(alpha=lambda _: -1.0)},
        "sgd",
        "sgd",
        "learning rate",
    ),
    fault(
        "copy_back_truncates",
        {"copy_": _truncating_on_the_way_back},
        "comes_back or moved_batch",
        "came back",
        "moved",
    ),
    fault("in_place_add_that_does_not", {"add.out": _forgetting_in_place}, "in_place", "in place"),
    fault(
        "product_returns_stale_memory_once_in_ten",
        {"mul.out": _stale_once_in_ten},
        "product or mul",
    ),
    fault(
        "cat_in_reverse",
        {"cat.out": arguments(tensors=lambda ts: list(ts)[::-1])},
        "cat",
        "cat",
        "join",
    ),
    fault("relu_lets_negatives_through", {"relu": result(lambda t: t.sub_(0.01))}, "relu"),
    fault(
        "relu_gradient_ignores_the_sign",
        {"threshold_backward.grad_input": result(lambda t: t.fill_(1))},
        "relu",
    ),
    fault(
        "cross_entropy_off_by_1_percent",
        {"nll_loss_forward.output": result(off(1), 0)},
        "cross_entropy",
        "cross",
    ),
    fault(
        "cross_entropy_gradient_off_by_1_percent",
        {"nll_loss_backward.grad_input": result(off(1))},
        "cross_entropy",
        "cross",
    ),
    fault("log_softmax_off_by_1_percent", {"_log_softmax.out": result(off(1))}, "softmax"),
    fault("mse_loss_off_by_1_percent", {"mse_loss.out": result(off(1))}, "mse or mean_squared"),
    fault("mse_loss_gradient_off_by_1_percent", {"mse_loss_backward": result(off(1))}, "mse"),
    fault("sum_off_by_1_percent", {"sum.IntList_out": result(off(1))}, "sum"),
    fault("mean_off_by_1_percent", {"mean.out": result(off(1))}, "mean"),
    fault(
        "running_sum_starts_late",
        {"cumsum.out": result(lambda t: t.sub_(1))},
        "agrees_with_numpy or cumsum",
        "cumsum",
    ),
    fault("power_off_by_1_percent", {"pow.Tensor_Scalar_out": result(off(1))}, "pow or cube"),
    fault("product_off_by_1_percent", {"mul.out": result(off(1))}, "product or mul"),
    fault("exponential_off_by_1_percent", {"exp.out": result(off(1))}, "exp"),
    fault("zeros_that_are_not", {"zero_": result(lambda t: t.fill_(7))}, "zeros", "zero"),
    fault("ones_that_are_not", {"fill_.Scalar": result(lambda t: t.fill_(7))}, "ones"),
    fault("argmax_off_by_one", {"argmax.out": result(lambda t: t.add_(1))}, "argmax"),
    fault(
        "convolution_gives_nothing_in_a_second_backward",
        {"convolution_backward": _nothing_in_a_second_backward},
        "any_moment",
        "conv",
    ),
    fault(
        "loaded_weights_are_not_used",
        {"addmm.out": _keeping_weights},
        "loaded_weights_are",
        "loaded",
    ),
    fault(
        "adam_counts_the_steps_of_the_first_parameter",
        {"_foreach_addcdiv_.ScalarList": arguments(scalars=lambda s: [s[0]] * len(s))},
        "steps_of_each",
        "adam",
    ),
    fault("random_numbers_that_are_not", {"uniform_": result(lambda t: t.fill_(0.5))}, "rand"),
]
ALL += [
    DeviceFault(reported.split()[1], faults, tests, tuple(words.split(", ")), reported.split()[0])
    for reported, (faults, tests, words) in published_faults.ROWS.items()
]
SOUND = DeviceFault("nothing", {}, "batches_of_odd or convol or sgd", ("",))
BY_NAME = {fault.name: fault for fault in ALL}


class Watch:
    """A pytest plugin: the first broken claim of this device that names the operation."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names, self.noticed, self.beside = names, "", ""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        marks = dict(item.user_properties)
        if report.failed and call.when == "call" and marks.get("device") == "pretend:0":
            words = f"{marks['sentence']} {item.name}".lower()
            said = f"{marks['claim']} {item.name}: {marks['sentence']}"
            if any(name in words for name in self.names):
                self.noticed = said
                item.session.shouldstop = "noticed"
            else:
                self.beside = said
        return report


def examine(fault: DeviceFault, spec: Path = ROOT / "spec") -> tuple[bool, str]:
    """Whether a claim that names the operation is broken, and which; how it ended otherwise."""

    def run() -> int:
        from blitz import preflight
        from tests import pretend_backend

        facts = {"device": "pretend:0", "count": "1"}
        preflight.check = lambda name, **_: preflight.Finding(
            name, preflight.Verdict.USABLE, facts=facts
        )
        pretend_backend.faults |= {f"aten::{op}": f for op, f in fault.faults.items()}
        watch = Watch(fault.names)
        options = ["-q", "-p", "no:cacheprovider", "--device=pretend", "-n0", "--tb=line"]
        where = spec / "devices" if fault.issue else spec
        pytest.main([str(where), *options, "-k", fault.tests], plugins=[watch])
        print(f"\nVERDICT {watch.noticed or 'beside: ' + watch.beside}")
        return 0 if watch.noticed else 1

    done: Done = call(run)
    verdict = [line for line in done.output.splitlines() if line.startswith("VERDICT ")]
    return done.code == 0, verdict[-1][8:] if verdict else done.output[-2000:]


def examine_all(chosen: Iterable[DeviceFault]) -> Iterator[tuple[DeviceFault, bool, str]]:
    """Each fault, whether it was noticed, and by which claim."""
    for fault in chosen:
        yield fault, *examine(fault)


def main() -> int:
    """Print a line for each fault; 1 where one went unnoticed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--list", action="store_true", help="name the faults and try none")
    parser.add_argument("--only", nargs="+", choices=BY_NAME, default=list(BY_NAME), metavar="NAME")
    options = parser.parse_args()
    if options.list:
        print("\n".join(f"{fault.name} {fault.issue}".rstrip() for fault in ALL))
        return 0
    start, missed = time.monotonic(), 0
    accused, how = examine(SOUND)
    print(f"a sound device: {how}", flush=True)
    if accused:
        print("The claims must hold on a sound device before a fault can be told.")
        return 1
    for fault, noticed, how in examine_all(BY_NAME[name] for name in options.only):
        missed += not noticed
        print(f"{fault.name}: {'' if noticed else 'NOT NOTICED: '}{how}", flush=True)
    tried = len(options.only)
    print(f"{tried - missed} of {tried} noticed in {time.monotonic() - start:.0f} s")
    return int(missed > 0)


if __name__ == "__main__":
    raise SystemExit(main())
