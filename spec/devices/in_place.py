"""Methods that end in an underscore, as data: what each is called with.

An :class:`InPlace` is one row: the method, the numbers it changes and its arguments. The method of
the same name without the underscore, called with the same, says what it has to make of them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from spec.devices.operations import (
    BITS,
    BLOCK,
    INTS,
    MATRICES,
    POSITIVE,
    SQUARE,
    TALL,
    UNIT,
    VECTOR,
    A,
    B,
    tensor_of,
)


@dataclass(frozen=True, eq=False)
class InPlace:
    """One method that works in place.

    Attributes:
        name: The method of ``torch.Tensor``, with its underscore.
        operand: What it changes: plain numbers, nested; floats become float32 tensors, whole
            numbers int64.
        arguments: What it is called with; arrays become tensors on the operand's device.
    """

    name: str
    operand: Any
    arguments: tuple[Any, ...] = ()

    def tensors(self, device: torch.device) -> tuple[torch.Tensor, list[Any]]:
        """The operand, and the arguments after it, on ``device``."""
        on_device = partial(tensor_of, device=device)
        return on_device(self.operand), self.with_arrays(on_device)

    def with_arrays(self, change: Callable[[np.ndarray], Any]) -> list[Any]:
        """The arguments after ``change`` of every array in them."""
        return [_changed(argument, change) for argument in self.arguments]


def _changed(argument: Any, change: Callable[[np.ndarray], Any]) -> Any:
    if isinstance(argument, tuple):
        return tuple(_changed(part, change) for part in argument)
    return change(argument) if isinstance(argument, np.ndarray) else argument


OTHER = np.array(B)
LEVEL_IN_PARTS = np.array([[0.5, -3.0, 3.25], [2.0, 4.0, -0.75]])  # with A: equal, above, below
COLUMNS = np.array([[2, 0, 1], [1, 2, 0]])
ROWS = np.array([1, 0])
MASK = np.array([[True, False, True], [False, False, True]])
ABOVE_ONE = [[1.5, 2.0, 3.25], [1.25, 4.0, 1.75]]
WITH_NAN = [[0.5, float("nan"), -2.0]]

# Not here: set_ and share_memory_, resize_ and its kin, which give up the memory; apply_, map_ and
# map2_, for the cpu alone; float_power_, which float32 has no room for; the random ones, whose twin
# draws other numbers.
# fmt: off
NUMBERS = [
    *[InPlace(name, A) for name in (
        "abs_", "absolute_", "arctan_", "arcsinh_", "asinh_", "atan_", "ceil_", "cos_", "cosh_",
        "deg2rad_", "erf_", "erfc_", "exp2_", "exp_", "expm1_", "fix_", "floor_", "frac_",
        "logical_not_", "neg_", "negative_", "rad2deg_", "reciprocal_", "relu_", "round_", "sgn_",
        "sigmoid_", "sign_", "sin_", "sinc_", "sinh_", "square_", "tan_", "tanh_", "trunc_",
    )],
    *[InPlace(name, UNIT) for name in (
        "acos_", "arccos_", "arcsin_", "arctanh_", "asin_", "atanh_", "erfinv_",
    )],
    *[InPlace(name, POSITIVE) for name in (
        "digamma_", "i0_", "lgamma_", "log10_", "log1p_", "log2_", "log_", "rsqrt_", "sqrt_",
    )],
    *[InPlace(name, ABOVE_ONE) for name in ("acosh_", "arccosh_")],
    InPlace("logit_", UNIT, (0.25,)),
    InPlace("mvlgamma_", ABOVE_ONE, (2,)),
    InPlace("polygamma_", POSITIVE, (1,)),
    InPlace("nan_to_num_", WITH_NAN, (7.5,)),
    InPlace("conj_physical_", [[1 + 2j, -0.5 + 1j]]),
    InPlace("bitwise_not_", BITS),
    InPlace("cumsum_", A, (1,)), InPlace("cumprod_", A, (1,)),
    InPlace("clamp_", A, (-1.0, 2.0)), InPlace("clip_", A, (-1.0, 2.0)),
    InPlace("clamp_max_", A, (1.5,)), InPlace("clamp_min_", A, (1.5,)),
    InPlace("renorm_", A, (2, 0, 1.0)),
    InPlace("tril_", SQUARE), InPlace("triu_", SQUARE),
]

PAIRS = [
    *[InPlace(name, A, (OTHER,)) for name in (
        "add_", "sub_", "subtract_", "mul_", "multiply_", "div_", "divide_", "true_divide_",
        "floor_divide_", "remainder_", "fmod_", "arctan2_", "atan2_", "copysign_", "hypot_",
        "nextafter_", "heaviside_", "ldexp_", "logical_and_", "logical_or_", "logical_xor_",
    )],
    *[InPlace(name, A, (LEVEL_IN_PARTS,)) for name in (
        "eq_", "ne_", "not_equal_", "lt_", "less_", "le_", "less_equal_", "gt_", "greater_",
        "ge_", "greater_equal_",
    )],
    *[InPlace(name, POSITIVE, (OTHER,)) for name in ("pow_", "xlogy_")],
    *[InPlace(name, POSITIVE, (np.array(ABOVE_ONE),)) for name in ("igamma_", "igammac_")],
    *[InPlace(name, INTS, (np.array(BITS),)) for name in (
        "bitwise_and_", "bitwise_or_", "bitwise_xor_", "gcd_", "lcm_",
        "bitwise_left_shift_", "bitwise_right_shift_",
    )],
    InPlace("add_", A, (5,)), InPlace("sub_", A, (5,)), InPlace("mul_", A, (5,)),
    InPlace("div_", A, (5,)), InPlace("pow_", A, (3,)),
    InPlace("add_", INTS, (np.array(BITS),)), InPlace("mul_", INTS, (np.array(BITS),)),
    InPlace("lerp_", A, (OTHER, 0.25)),
    InPlace("addcmul_", A, (OTHER, np.array(POSITIVE))),
    InPlace("addcdiv_", A, (OTHER, np.array(POSITIVE))),
]

MATRIX_PRODUCTS = [
    InPlace("addmm_", SQUARE, (np.array(TALL), OTHER)),
    InPlace("addmv_", [0.5, -2.0], (OTHER, np.array([1.5, -1.0, 0.25]))),
    InPlace("addr_", A, (np.array([1.5, -1.0]), np.array([10.0, -20.0, 30.5]))),
    InPlace("addbmm_", SQUARE, (np.array(BLOCK), np.array(MATRICES).swapaxes(1, 2))),
    InPlace("baddbmm_", [SQUARE] * 2, (np.array(BLOCK), np.array(MATRICES).swapaxes(1, 2))),
]

PLACES = [
    InPlace("index_add_", A, (0, ROWS, OTHER)),
    InPlace("index_copy_", A, (0, ROWS, OTHER)),
    InPlace("index_fill_", A, (1, ROWS, 7.5)),
    InPlace("index_put_", VECTOR, ((np.array([3, 1]),), np.array([7.5, -9.0]))),
    InPlace("masked_fill_", A, (MASK, 7.5)),
    InPlace("masked_scatter_", A, (MASK, OTHER)),
    InPlace("put_", A, (np.array([4, 0]), np.array([7.5, -9.0]))),
    InPlace("scatter_", A, (1, COLUMNS, OTHER)),
    InPlace("scatter_add_", A, (1, COLUMNS, OTHER)),
]

SHAPES = [
    InPlace("t_", A),
    InPlace("squeeze_", [[[1.5], [-2.0]]]),
    InPlace("unsqueeze_", A, (1,)),
    InPlace("transpose_", BLOCK, (0, 2)),
    InPlace("swapaxes_", BLOCK, (0, 1)),
    InPlace("swapdims_", BLOCK, (1, 2)),
    InPlace("as_strided_", A, ((2, 2), (3, 2))),
]
# fmt: on

METHODS = [*NUMBERS, *PAIRS, *MATRIX_PRODUCTS, *PLACES, *SHAPES]
