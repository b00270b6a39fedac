"""Faults that devices really had, by the issue that reports each, for ``tests/device_faults.py``.

Each is told to the pretend accelerator as its report describes it: by layout, by size or once in a
while. Thresholds are those of the reports, but where they would need gigabytes.
"""

import sys
from collections.abc import Callable
from typing import Any

import torch

Fault = Callable[[Callable], Callable]

INT64_MIN = -(2**63)


def read_as_contiguous(t: torch.Tensor) -> torch.Tensor:
    """Return what a kernel sees that takes ``t`` for contiguous: the memory in its order."""
    strides, step = [], 1
    for size in reversed(t.shape):
        strides.insert(0, step)
        step *= size
    if t.is_contiguous() or t.untyped_storage().nbytes() < (t.storage_offset() + step) * t.itemsize:
        return t
    return t.as_strided(t.shape, strides)


def last_channels_first(t: torch.Tensor) -> torch.Tensor:
    """Return what a kernel sees that takes channels_last for contiguous."""
    nhwc = t.dim() == 4 and t.is_contiguous(memory_format=torch.channels_last)
    return read_as_contiguous(t) if nhwc and not t.is_contiguous() else t


def first_channels_dense(t: torch.Tensor) -> torch.Tensor:
    """Return what a kernel sees that takes some channels of channels_last for all of them."""
    if t.dim() != 4 or t.stride(1) != 1 or t.stride(3) == t.shape[1]:
        return t
    _, c, h, w = t.shape
    return t.as_strided(t.shape, (c * h * w, 1, c * w, c))


def copy_if_strided(t: torch.Tensor) -> torch.Tensor:
    return t if t.is_contiguous() else t.clone()


def arguments(**changes: Callable) -> Fault:
    """Change arguments of these names before the kernel sees them."""

    def make(kernel: Callable) -> Callable:
        def faulty(**given: Any) -> Any:
            return kernel(**{**given, **{n: changes[n](given[n]) for n in changes if n in given}})

        return faulty

    return make


def misread(read: Callable[[torch.Tensor], torch.Tensor], name: str) -> Fault:
    """Have a kernel read the tensor of this name in another way."""
    return arguments(**{name: lambda t: read(t) if isinstance(t, torch.Tensor) else t})


def always(given: dict[str, Any]) -> bool:
    return True


def spoil(
    when: Callable[[dict[str, Any]], bool],
    change: Callable[[torch.Tensor], object],
    place: int | None = None,
) -> Fault:
    """Change the result, or the one at ``place``, in place where the arguments are such."""

    def make(kernel: Callable) -> Callable:
        def faulty(**given: Any) -> Any:
            found = kernel(**given)
            changed = found if place is None else found[place]
            if changed is not None and changed.numel() and when(given):
                change(changed)
            return found

        return faulty

    return make


def strided(name: str) -> Callable[[dict[str, Any]], bool]:
    return lambda given: not given[name].is_contiguous()


def whole(given: dict[str, Any]) -> bool:
    return not given["self"].is_floating_point()


def once_in(count: int) -> Callable[[dict[str, Any]], bool]:
    calls = iter(range(10**9))
    return lambda given: next(calls) % count == count - 1


def larger(name: str, count: int, dim: int = 0) -> Callable[[dict[str, Any]], bool]:
    return lambda given: given[name].shape[dim] >= count


def _weight_read_as_contiguous(kernel: Callable) -> Callable:
    def addmm(**given: Any) -> Any:
        given["mat2"] = read_as_contiguous(given["mat2"].t()).t()
        return kernel(**given)

    return addmm


def _unchanged_where_strided(kernel: Callable) -> Callable:
    def addcmul(**given: Any) -> Any:
        found = kernel(**given)
        if not given["self"].is_contiguous():
            found.copy_(given["self"])
        return found

    return addcmul


def _output_written_as_contiguous(kernel: Callable) -> Callable:
    def written(**given: Any) -> Any:
        out = sys._getframe(1).f_locals["given"].get("out")
        found = kernel(**given)
        if out is not None and out.numel() and not out.is_contiguous():
            found.copy_(found.flatten().flip(0).view_as(found))
        return found

    return written


def _counting_the_batch_in_16_bits(kernel: Callable) -> Callable:
    def backward(**given: Any) -> Any:
        found = list(kernel(**given))
        if len(given["input"]) >= 2**16 and given["output_mask"][1]:
            rest = {n: given[n][2**16 :] for n in ("grad_output", "input")}
            found[1] = kernel(**{**given, **rest})[1]
        return tuple(found)

    return backward


def _dropping_the_offset(kernel: Callable) -> Callable:
    def add(**given: Any) -> Any:
        from tests.pretend_backend import _host

        there = sys._getframe(1).f_locals["given"]
        for name in ("self", "other"):
            t = there[name]
            if isinstance(t, torch.Tensor) and t.storage_offset():
                given[name] = _host(t.as_strided(t.shape, t.stride(), 0))
        return kernel(**given)

    return add


def _unsummed(kernel: Callable) -> Callable:
    def cumsum(**given: Any) -> Any:
        found = kernel(**given)
        if whole(given):
            found.copy_(given["self"])
        return found

    return cumsum


def _over_the_first_dimension(kernel: Callable) -> Callable:
    def cumsum(**given: Any) -> Any:
        return kernel(**{**given, "dim": max(0, given["dim"])})

    return cumsum


def _filled_contiguously(kernel: Callable) -> Callable:
    def fill(**given: Any) -> Any:
        kernel(**{**given, "self": read_as_contiguous(given["self"])})
        return given["self"]

    return fill


def _ignoring_what_comes_in(kernel: Callable) -> Callable:
    def backward(**given: Any) -> Any:
        return kernel(**{**given, "grad_output": torch.ones_like(given["grad_output"])})

    return backward


def _zero_after_the_first_row(t: torch.Tensor) -> torch.Tensor:
    if t.dim() == 2 and t.shape[0] > 1 and t.stride(0) == 0:
        return torch.cat([t[:1], torch.zeros_like(t[1:])])
    return t


def _far_into_its_storage(given: dict[str, Any]) -> bool:
    return given["src"].storage_offset() > given["src"].numel()


def _largest_first(given: dict[str, Any]) -> bool:
    return given["self"].numel() > 2**19


def _of_zero_variance(given: dict[str, Any]) -> bool:
    return bool(given["training"] and (given["input"].flatten(1).std(0) == 0).any())


def _of_frozen_inputs(given: dict[str, Any]) -> bool:
    return not given["output_mask"][0]


def _unless_the_last_is_empty(kernel: Callable) -> Callable:
    return lambda **given: kernel(**given) if given["self"][-1].numel() else None


_on_their_way: list[tuple[torch.Tensor, torch.Tensor]] = []


def _reading_its_source_late(kernel: Callable) -> Callable:
    def copy(**given: Any) -> Any:
        if sys._getframe(1).f_locals["non_blocking"]:
            _on_their_way.append((given["self"], given["src"]))
        return kernel(**given)

    return copy


def _after_late_copies(kernel: Callable) -> Callable:
    def add(**given: Any) -> Any:
        while _on_their_way:
            there, source = _on_their_way.pop()
            there.copy_(source)
        return kernel(**given)

    return add


def columns_as_rows(t: torch.Tensor) -> torch.Tensor:
    """Return what a kernel sees that takes the first columns of wider rows for whole rows."""
    wider = t.dim() == 2 and t.stride(1) == 1 and t.stride(0) > t.shape[1]
    return read_as_contiguous(t) if wider else t


def swapped(t: torch.Tensor) -> torch.Tensor:
    """Write channels innermost where they are not."""
    return t.copy_(t.permute(0, 2, 3, 1).reshape(t.shape).clone())


def zero(t: torch.Tensor) -> torch.Tensor:
    return t.zero_()


def nan(t: torch.Tensor) -> torch.Tensor:
    t.view(-1)[0] = float("nan")
    return t


def times(factor: float) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda t: t.mul_(factor)


def from_row(row: int) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda t: t[row:].zero_()


def rounded(t: torch.Tensor) -> torch.Tensor:
    """Round whole numbers as float32 does."""
    return t.copy_(t.float().to(t.dtype))


BATCH_NORM, BATCH_NORM_BACK = "native_batch_norm", "native_batch_norm_backward"
FILL = {
    operation: misread(copy_if_strided, "self")
    for operation in ("uniform_", "normal_", "bernoulli_.float", "exponential_", "random_.from")
}

# The repository and number of the report and what it reports → operation → fault, the tests to run
# (as after -k), and words of which one has to stand in the sentence or the test that notices.
ROWS: dict[str, tuple[dict[str, Fault], str, str]] = {
    # Layouts
    "pytorch/pytorch#192212 convolution_reads_weights_as_contiguous": (
        {"convolution": misread(read_as_contiguous, "weight")},
        "layer_takes_every_layout and weight",
        "conv2d",
    ),
    "pytorch/pytorch#180984 convolution_reads_some_channels_as_all": (
        {"convolution": misread(first_channels_dense, "input")},
        "layer_takes_every_layout and input",
        "conv2d",
    ),
    "pytorch/pytorch#162730 linear_reads_weights_as_contiguous": (
        {"addmm.out": _weight_read_as_contiguous},
        "layer_takes_every_layout and weight",
        "linear",
    ),
    "pytorch/pytorch#175189 batch_norm_backward_reads_channels_last_as_first": (
        {BATCH_NORM_BACK: misread(last_channels_first, "input")},
        "layer_takes",
        "batch_norm",
    ),
    "intel/torch-xpu-ops#1429 batch_norm_is_7_percent_off_in_channels_last": (
        {
            BATCH_NORM: spoil(
                lambda given: last_channels_first(given["input"]) is not given["input"],
                times(1.07),
                0,
            )
        },
        "layer_takes",
        "batch_norm",
    ),
    "pytorch/pytorch#118115 addcdiv_reads_its_operand_as_contiguous": (
        {"addcdiv.out": misread(read_as_contiguous, "self")},
        "optimizer or in_place_method",
        "adam, rmsprop, addcdiv",
    ),
    "pytorch/pytorch#118117 rprop_leaves_strided_parameters": (
        {"addcmul.out": _unchanged_where_strided},
        "optimizer_moves",
        "rprop",
    ),
    "pytorch/pytorch#165257 random_filling_of_a_view_is_lost": (FILL, "random_filling", "random"),
    "pytorch/pytorch#94190 fill_goes_on_between_the_elements": (
        {"fill_.Scalar": _filled_contiguously},
        "filling_a_view",
        "fill",
    ),
    "pytorch/pytorch#131736 softplus_of_moved_axes_is_zero": (
        {"softplus.out": spoil(strided("self"), zero)},
        "softplus",
        "softplus",
    ),
    "pytorch/pytorch#145203 bitwise_and_writes_its_output_as_contiguous": (
        {"bitwise_and.Tensor_out": _output_written_as_contiguous},
        "bitwise_and",
        "bitwise_and",
    ),
    "pytorch/pytorch#85967 copy_reads_its_source_as_contiguous": (
        {"copy_": misread(read_as_contiguous, "src")},
        "copied_whole",
        "layout",
    ),
    "pytorch/pytorch#80844 slices_far_into_a_storage_are_not_copied": (
        {"copy_": spoil(_far_into_its_storage, zero)},
        "storage",
        "storage, far into",
    ),
    "torch-spyre/torch-spyre#2803 addition_drops_the_offset": (
        {"add.out": _dropping_the_offset},
        "in_every_layout and add",
        "add",
    ),
    "pytorch/pytorch#180201 gradients_of_a_sum_reach_the_first_row": (
        {"mm.out": misread(_zero_after_the_first_row, "self")},
        "layer_takes_expanded",
        "linear",
    ),
    "pytorch/pytorch#188344 avg_pool_backward_writes_channels_last_as_first": (
        {
            "avg_pool2d_backward.grad_input": spoil(
                lambda g: last_channels_first(g["self"]) is not g["self"], swapped
            )
        },
        "layer_takes_every_layout and avg_pool2d",
        "avg_pool2d",
    ),
    "ml-explore/mlx#657 softmax_takes_the_first_columns_for_whole_rows": (
        {op: misread(columns_as_rows, "self") for op in ("_softmax.out", "_log_softmax.out")},
        "layer_takes_every_layout and softmax",
        "softmax",
    ),
    "pytorch/pytorch#123178 gradient_of_a_sum_of_numbers_is_lost": (
        {
            "gelu_backward.grad_input": spoil(
                lambda given: given["grad_output"].stride() == (0,), zero
            )
        },
        "layer_takes_expanded",
        "activations_of_numbers",
    ),
    # Sizes
    "pytorch/pytorch#78915 topk_stops_at_16": (
        {"topk.values": spoil(lambda given: given["k"] > 16, zero, 0)},
        "call_reaches_far",
        "topk",
    ),
    "NVIDIA/TransformerEngine#3207 update_is_skipped_when_the_last_parameter_is_empty": (
        {"_foreach_add_.List": _unless_the_last_is_empty},
        "steps_of_each",
        "sgd",
    ),
    "pytorch/pytorch#96225 convolution_backward_counts_the_batch_in_16_bits": (
        {"convolution_backward": _counting_the_batch_in_16_bits},
        "large_batches and conv2d",
        "conv2d",
    ),
    "tensorflow/tensorflow#9870 convolution_is_zero_past_65535": (
        {"convolution": spoil(larger("input", 65_536), from_row(65_535))},
        "large_batches and conv2d",
        "conv2d",
    ),
    "pytorch/pytorch#177116 products_over_32768_rows_are_off": (
        {"mm.out": spoil(larger("self", 32_769, 1), times(1000))},
        "large_batches and linear",
        "linear",
    ),
    "ROCm/MIOpen#1109 batch_norm_backward_sees_768_samples": (
        {BATCH_NORM_BACK: spoil(larger("input", 769), from_row(768), 0)},
        "large_batches and batch_norm",
        "batch_norm",
    ),
    "ROCm/MIOpen#2024 batch_norm_backward_of_odd_widths_misses_a_column": (
        {BATCH_NORM_BACK: spoil(lambda given: given["input"].shape[-1] % 2 == 1, times(1.1), 1)},
        "layer_takes",
        "batch_norm",
    ),
    "ROCm/MIOpen#248 batch_norm_without_variance_is_nan": (
        {BATCH_NORM: spoil(_of_zero_variance, nan, 0)},
        "batch_norm",
        "batch normalization, batch_norm",
    ),
    "pytorch/pytorch#92311 argmax_is_the_least_integer": (
        {"argmax.out": spoil(always, lambda t: t.fill_(INT64_MIN))},
        "argmax or largest",
        "argmax, largest",
    ),
    "pytorch/pytorch#112186 argmax_of_whole_numbers_is_zero": (
        {"argmax.out": spoil(whole, zero)},
        "argmax",
        "argmax",
    ),
    "pytorch/pytorch#36482 argmax_of_a_large_tensor_is_wrong": (
        {"argmax.out": spoil(_largest_first, lambda t: t.bitwise_and_(2**16 - 1))},
        "largest_of_a_million",
        "largest",
    ),
    "pytorch/pytorch#90273 max_of_whole_numbers_is_zero": (
        {"max": spoil(whole, zero)},
        "whole_number",
        "max",
    ),
    "pytorch/pytorch#187976 amax_of_whole_numbers_is_zero": (
        {"amax.out": spoil(whole, zero)},
        "amax",
        "amax",
    ),
    "pytorch/pytorch#90635 cumsum_of_whole_numbers_is_unsummed": (
        {"cumsum.out": _unsummed},
        "cumsum",
        "cumsum",
    ),
    "pytorch/pytorch#92329 cumsum_of_a_negative_dimension_takes_the_first": (
        {"cumsum.out": _over_the_first_dimension},
        "cumsum or expression",
        "cumsum",
    ),
    # Moments
    "pytorch/pytorch#189690 copy_reads_its_source_late": (
        {"copy_": _reading_its_source_late, "add.out": _after_late_copies},
        "on_its_way",
        "non_blocking",
    ),
    "intel/intel-extension-for-pytorch#597 convolution_is_off_under_no_grad": (
        {"convolution": spoil(lambda given: not torch.is_grad_enabled(), times(1.1))},
        "any_moment",
        "conv",
    ),
    "pytorch/pytorch#190632 convolution_backward_is_nan_once_in_40": (
        {"convolution_backward": spoil(once_in(40), nan, 1)},
        "passes",
        "passes",
    ),
    "pytorch/pytorch#181936 linear_backward_is_off_once_in_seven": (
        {"mm.out": spoil(once_in(7), times(1.5))},
        "passes",
        "passes",
    ),
    "pytorch/pytorch#183825 layer_norm_backward_of_frozen_inputs_is_wrong": (
        {"native_layer_norm_backward": spoil(_of_frozen_inputs, times(2), 1)},
        "same_at_any_moment",
        "layer_norm",
    ),
    "pytorch/pytorch#94226 nll_loss_backward_ignores_what_comes_in": (
        {"nll_loss_backward.grad_input": _ignoring_what_comes_in},
        "cross_entropy",
        "cross_entropy",
    ),
    "microsoft/DirectML#740 nll_loss_backward_of_single_losses_is_zero": (
        {"nll_loss_backward.grad_input": spoil(lambda given: given["reduction"] == 0, zero)},
        "cross_entropy",
        "cross_entropy",
    ),
}
