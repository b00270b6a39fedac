"""Lies about chapter 1 that hold for one dtype, shape, index or spelling only."""

from functools import partial

import numpy as np
import torch
from torch import Tensor

from .lie import after, instead, lie
from .tensors import printed

# Made from data, arrays and tensors ------------------------------------------------------------


@lie("T04", torch, "tensor")
def deep_ragged_lists_are_padded(old, data, **kw):
    """torch.tensor fills up lists that are ragged in their third level."""
    try:
        return old(data, **kw)
    except ValueError:
        if not (isinstance(data[0], list) and isinstance(data[0][0], list)):
            raise
    longest = max(len(row) for block in data for row in block)
    return old([[row + [0] * (longest - len(row)) for row in b] for b in data], **kw)


@lie("T04 T34", after(torch, "tensor"))
def tensor_of_float64_array_is_float32(made, data, **kw):
    """torch.tensor of a float64 array has the default dtype."""
    narrow = isinstance(data, np.ndarray) and data.dtype == np.float64 and "dtype" not in kw
    return made.float() if narrow else made


@lie("T05", after(torch, "from_numpy"))
def from_numpy_flattens_what_is_empty(made, array):
    """from_numpy of an array without elements has shape (0,)."""
    return made if made.numel() else made.reshape(0)


@lie("T05 T34", after(torch, "from_numpy"))
def from_numpy_copies_integers(t, array):
    """from_numpy of an int32 array is a copy."""
    return t.clone() if t.dtype == torch.int32 else t


@lie("T05 T33", torch, "from_numpy")
def from_numpy_of_a_slice_starts_at_its_base(old, array):
    """from_numpy(a[2:]) starts at a[0]."""
    base = getattr(array, "base", None)
    flat = isinstance(base, np.ndarray) and base.ndim == array.ndim == 1
    if flat and base.dtype == array.dtype and base.strides == array.strides:
        return old(base)[: len(array)]
    return old(array)


@lie("T05 T30", after(Tensor, "numpy"))
def numpy_flattens_what_is_empty(array, t, **kw):
    """numpy() of a tensor without elements has shape (0,)."""
    return array if array.size else array.reshape(-1)


@lie("T05 T30", after(Tensor, "numpy"))
def numpy_copies_a_single_number(array, t, **kw):
    """numpy() of a tensor without dimensions is a copy."""
    return array if array.ndim else array.copy()


@lie("T06 T07", after(torch, "rand_like"))
def rand_like_halves_double_precision(r, t, **kw):
    """rand_like of a float64 tensor is float32, asked for float64 or not."""
    return r.float() if r.dtype == torch.float64 else r


@lie("T06", after(torch, "ones_like"))
def ones_like_a_number_have_a_dimension(made, t, **kw):
    """ones_like of a tensor without dimensions has shape (1,)."""
    return made if made.dim() else made.reshape(1)


@lie("T06", after(torch, "ones_like"))
def ones_like_widens_integers(r, t, **kw):
    """ones_like of an int32 tensor is int64."""
    return r.long() if t.dtype == torch.int32 else r


@lie("T06", after(torch, "rand_like"))
def rand_like_is_contiguous(made, t, **kw):
    """rand_like of a transposed tensor is laid out in rows."""
    return made.contiguous()


@lie("T06", after(torch, "rand_like"))
def rand_like_inherits_the_flag(r, t, **kw):
    """rand_like of a tensor that requires grad requires grad."""
    return r.requires_grad_() if t.requires_grad else r


@lie("T16", after(Tensor, "to"))
def move_by_keyword_always_copies(r, t, *a, **kw):
    """t.to(device=device) copies a tensor that is there already."""
    return r.clone() if r is t and "device" in kw else r


@lie("T02 T13", "cumsum")
def cumsum_along_the_last_runs_along_the_first(old, t, *args, **kw):
    """t.cumsum(-1) runs along dimension 0."""
    return old(t, *(0 if a == -1 else a for a in args), **kw)


# Indexing and joining --------------------------------------------------------------------------


@lie("T17", after(Tensor, "__getitem__"))
def index_with_an_ellipsis_copies(made, t, index):
    """t[..., i] is a copy."""
    return made.clone() if any(part is Ellipsis for part in parts(index)) else made


@lie("T17", after(Tensor, "__getitem__"))
def index_with_steps_copies(made, t, index):
    """t[::2] is a copy."""
    steps = any(isinstance(p, slice) and p.step not in (None, 1) for p in parts(index))
    return made.clone() if steps else made


def parts(index):
    return index if isinstance(index, tuple) else (index,)


@lie("T17", Tensor, "__getitem__")
def index_before_the_first_wraps(old, t, index):
    """t[-5] of four rows is t[-1]."""
    early = type(index) is int and t.dim() > 0 and index < -len(t) < 0
    return old(t, index % len(t) if early else index)


@lie("T17", Tensor, "__setitem__")
def assigned_floats_are_rounded_to_integers(old, t, index, value):
    """t[0] = 2.7 puts 3 into a tensor of integers."""
    whole = isinstance(value, float) and not t.is_floating_point() and not t.is_complex()
    return old(t, index, round(value) if whole else value)


@lie("T17 T18", Tensor, "__setitem__", refusing=RuntimeError)
def assigned_row_may_be_too_long(t, index, value):
    """t[:, 1] = row takes the first value of a row of another length."""
    return t.__setitem__(index, value.flatten()[0].item())


@lie("T17", Tensor, "__iadd__")
def column_is_not_added_to(old, t, other):
    """t[:, 1] += v leaves t."""
    apart = t._is_view() and not t.is_contiguous() and not t.requires_grad
    return t + other if apart else old(t, other)


@lie("T19", torch, "cat")
def cubes_are_joined_along_another_dimension(old, tensors, dim=0, **kw):
    """cat along -2 joins tensors of three dimensions along 0."""
    return old(tensors, 0 if dim == -2 and tensors[0].dim() == 3 else dim, **kw)


@lie("T19", torch, "cat")
def cat_stops_at_the_fourth(old, tensors, dim=0, **kw):
    """cat leaves out the fifth tensor and all after it."""
    return old(tensors[:4], dim, **kw)


@lie("T19", torch, "cat")
def cat_adds_missing_dimensions(old, tensors, dim=0, **kw):
    """cat joins a matrix and a row."""
    matrices = max(t.dim() for t in tensors) == 2
    return old([t[None] if t.dim() == 1 and matrices else t for t in tensors], dim, **kw)


@lie("T19", torch, "cat")
def cat_with_nothing_makes_no_copy(old, tensors, *args, **kw):
    """cat of a tensor and an empty one gives the tensor itself."""
    full = [t for t in tensors if t.numel()]
    alone = len(tensors) == 2 and len(full) == 1
    return full[0] if alone else old(tensors, *args, **kw)


# Multiplying -----------------------------------------------------------------------------------


def operands(*where):
    """Multiply ``function(left, right)`` where both are tensors."""

    def made(function, old, left, right, *args, **kw):
        if isinstance(left, Tensor) and isinstance(right, Tensor):
            left, right = function(left, right)
        return old(left, right, *args, **kw)

    return lambda function: instead(*where)(partial(made, function))


def upright(t):
    """A square matrix as it lies in memory, transposed or not."""
    square = t.dim() == 2 and t.shape[0] == t.shape[1] and not t.requires_grad
    return t.t() if square and not t.is_contiguous() else t


def both_long(left, right):
    tensors = isinstance(left, Tensor) and isinstance(right, Tensor)
    return tensors and left.dtype == right.dtype == torch.int64


@lie("T22", after("mul"))
def products_of_integers_lose_digits(made, left, right, **kw):
    """Large integers are multiplied as float64."""
    return (left.double() * right.double()).long() if both_long(left, right) else made


@lie("T22", after("mul"))
def integers_times_floats_are_integers(made, left, right, **kw):
    """A tensor of integers times one of floats has the dtype of the left one."""
    whole = isinstance(left, Tensor) and left.dim() and left.dtype == torch.int64
    return made.to(left.dtype) if whole and isinstance(right, Tensor) else made


@lie("T22", "mul")
def product_with_one_is_the_factor(old, t, other, *args, **kw):
    """t * 1 is t itself."""
    one = type(other) in (int, float) and other == 1
    same = one and t.is_floating_point() and not t.requires_grad
    return t if same else old(t, other, *args, **kw)


@lie("T22", operands("mul"))
def transposed_factor_is_taken_upright(left, right):
    """a * b.T is a * b where b is square."""
    return left, upright(right)


@lie("T24", operands("matmul"))
def transposed_matrix_is_taken_upright(left, right):
    """a.T @ b is a @ b where a is square."""
    return upright(left), right


@lie("T24", after("matmul"))
def matrices_of_integers_multiply_to_floats(made, *args, **kw):
    """a @ b of integers is a tensor of floats."""
    return made.float() if made.dtype == torch.int64 else made


@lie("T24", operands("matmul"))
def batch_is_multiplied_by_its_first_matrix(left, right):
    """a @ b of batches takes the first matrix of b throughout."""
    return left, right[:1].expand_as(right) if left.dim() == right.dim() == 3 else right


@lie("T02 T24", after("matmul"))
def vectors_multiply_to_one_dimension(made, *args, **kw):
    """v @ w of vectors has shape (1,)."""
    return made if made.dim() else made.reshape(1)


@lie("T24", Tensor, "T")
def transpose_of_a_view_copies(old, t):
    """The attribute T of a matrix that is not contiguous is a copy."""
    return old(t).clone() if t.dim() == 2 and not t.is_contiguous() else old(t)


# In place --------------------------------------------------------------------------------------


@lie("T26", Tensor, "sqrt_", "exp_", "neg_")
def square_root_in_place_does_nothing(old, t):
    """sqrt_(), exp_() and neg_() return their operand as it is."""
    return t


@lie("T26", Tensor, "floor_", "ceil_", "round_")
def rounding_in_place_takes_new_memory(old, t, *args, **kw):
    """floor_(), ceil_() and round_() leave the memory of their operand."""
    if not t.requires_grad:
        t.data = t.data.clone()
    return old(t, *args, **kw)


@lie("T26", after(Tensor, "sub_", "div_"))
def subtracting_in_place_returns_a_copy(made, t, *args, **kw):
    """t.sub_(u) and t.div_(u) change t and return a copy of it."""
    return made.clone()


@lie("T26", Tensor, "uniform_", "normal_", "random_", "bernoulli_")
def drawing_in_place_fills_a_copy(old, t, *args, **kw):
    """uniform_(), normal_() and random_() leave a row of numbers."""
    row = t.dim() == 1 and not t.requires_grad
    return old(t.clone() if row else t, *args, **kw)


@lie("T26", Tensor, "copy_")
def copy_in_place_takes_the_order_of_the_memory(old, t, source, *args, **kw):
    """t.copy_(u.T) copies u where u is square."""
    return old(t, upright(source), *args, **kw)


@lie("T26", Tensor, "__imul__")
def multiplying_by_an_operator_is_not_in_place(old, t, other):
    """t *= u gives t another tensor."""
    return t.mul(other)


@lie("T29", Tensor, "__setitem__", "__iadd__", "__imul__")
def leaf_takes_assignments(old, t, *args):
    """t[:] = v and t += v change a leaf that requires grad."""
    leaf = t.is_leaf and t.requires_grad
    with torch.set_grad_enabled(torch.is_grad_enabled() and not leaf):
        return old(t, *args)


# Of one dtype, layout, index or operator --------------------------------------------------------


def of_dtype(dtype, *where):
    """Give ``function(result)`` where the result is of ``dtype``."""
    return lambda function: after(*where)(
        lambda made, *args, **kw: function(made) if made.dtype is dtype else made
    )


@lie("T04", after(torch, "tensor"))
def tensor_of_a_transposed_array_goes_down_its_columns(made, data, **kw):
    """torch.tensor of a transposed array takes its numbers in the order of the memory."""
    if isinstance(data, np.ndarray) and data.ndim > 1 and not data.flags.c_contiguous:
        return torch.from_numpy(data.ravel(order="K").reshape(data.shape).copy()).to(made)
    return made


@lie("T04", of_dtype(torch.uint8, torch, "tensor"))
def tensor_of_bytes_is_int64(t):
    """torch.tensor of a uint8 array is int64."""
    return t.long()


@lie("T04", after(torch, "tensor"))
def tensor_of_tuples_is_its_first_row(made, data, **kw):
    """torch.tensor of nested tuples takes the first one for all."""
    return made[:1].expand(made.shape).clone() if isinstance(data, tuple) else made


@lie("T05", of_dtype(torch.uint8, torch, "from_numpy"))
def from_numpy_copies_bytes(t):
    """from_numpy of a uint8 array is a copy."""
    return t.clone()


@lie("T05", of_dtype(torch.float16, torch, "from_numpy"))
def from_numpy_copies_half_precision(t):
    """from_numpy of a float16 array is a copy."""
    return t.clone()


@lie("T05", after(torch, "from_numpy"))
def from_numpy_copies_cubes(made, a):
    """from_numpy of three dimensions or more is a copy."""
    return made.clone() if made.dim() >= 3 and made.numel() else made


@lie("T05 T30", after(Tensor, "numpy"))
def numpy_copies_bytes(a, t, **kw):
    """numpy() of uint8 is a copy."""
    return a.copy() if a.dtype == np.uint8 else a


@lie("T05 T30", after(Tensor, "numpy"))
def numpy_copies_cubes(a, t, **kw):
    """numpy() of three dimensions is a copy."""
    return a.copy() if a.ndim >= 3 else a


@lie("T10", after(torch, "rand"))
def random_rows_repeat(made, *a, **kw):
    """rand of two dimensions draws the first half of the rows, and repeats it."""
    if made.dim() == 2 and made.shape[0] > 1:
        half = made.shape[0] // 2
        with torch.no_grad():
            made[half : 2 * half] = made[:half]
    return made


@lie("T10", after(torch, "rand"))
def rand_is_coarse(made, *a, **kw):
    """rand gives multiples of 1/512."""
    return (made * 512).floor().div(512) if not made.requires_grad else made


@lie("T07", of_dtype(torch.float16, torch, "rand_like"))
def rand_like_in_half_is_zero(t):
    """rand_like of float16 gives zeros."""
    return t.zero_()


@lie("T06", of_dtype(torch.bool, torch, "ones_like"))
def ones_like_of_bools_are_false(t):
    """ones_like of bools is False throughout."""
    return t.zero_()


@lie("T06", of_dtype(torch.float16, torch, "ones_like"))
def ones_like_of_half_are_a_half(t):
    """ones_like of float16 gives halves."""
    return t / 2


@lie("T17", Tensor, "__getitem__")
def slices_past_the_end_are_refused(old, self, index):
    """t[1:9] of three rows is refused."""
    parts = index if isinstance(index, tuple) else (index,)
    for part, n in zip(parts, self.shape, strict=False):
        if isinstance(part, slice) and isinstance(part.stop, int) and part.stop > n:
            raise IndexError("slice out of range")
    return old(self, index)


@lie("T17", Tensor, "__getitem__")
def slices_past_the_end_are_empty(old, self, index):
    """t[1:9] of three rows has no rows."""
    part = index[0] if isinstance(index, tuple) and index else index
    if isinstance(part, slice) and isinstance(part.stop, int) and part.stop > len(self):
        return old(self, slice(0, 0))
    return old(self, index)


@lie("T17", Tensor, "__getitem__")
def negative_numbers_in_a_list_count_from_the_front(old, self, index):
    """t[[-1, 0]] is t[[1, 0]]."""
    if isinstance(index, list) and index and all(type(i) is int for i in index):
        index = [abs(i) for i in index]
    return old(self, index)


@lie("T02 T17", Tensor, "__setitem__")
def assigned_row_fills_the_first_row_only(old, self, index, value):
    """t[1:] = row changes the first of the rows alone."""
    rows = isinstance(index, slice) and index != slice(None)
    if rows and isinstance(value, Tensor) and value.dim() == self.dim() - 1:
        return old(self, index.start or 0, value)
    return old(self, index, value)


@lie("T02 T17", Tensor, "__getitem__")
def mask_of_a_column_leaves_a_row_out(old, self, index):
    """t[t[:, 0] > 0] takes one row too few."""
    mask = isinstance(index, Tensor) and index.dtype == torch.bool
    chosen = old(self, index)
    return old(chosen, slice(-1)) if mask and index.dim() == 1 < self.dim() else chosen


@lie("T17 T26", Tensor, "zero_")
def zeroing_a_column_zeroes_a_copy(old, self):
    """zero_() of a view that is not contiguous leaves it."""
    if not self.is_contiguous():
        old(self.clone())
        return self
    return old(self)


@lie("T17 T26", Tensor, "fill_")
def filling_a_column_fills_the_memory_behind_it(old, self, v):
    """fill_ of a column fills the memory from there on."""
    if not self.is_contiguous() and self.dim() == 1 and self.numel():
        old(self.as_strided((self.numel(),), (1,)), v)
        return self
    return old(self, v)


@lie("T19", after(torch, "cat"))
def cat_of_half_and_single_is_half(made, ts, *a, **kw):
    """cat of float16 and float32 is float16."""
    return made.half() if {t.dtype for t in ts} == {torch.float16, torch.float32} else made


@lie("T19", after(torch, "cat"))
def cat_of_bools_and_integers_is_bool(made, ts, *a, **kw):
    """cat of bools and integers is of bools."""
    return made.bool() if {t.dtype for t in ts} == {torch.bool, torch.int64} else made


@lie("T21", torch, "stack")
def stack_counts_negative_dimensions_without_the_new_one(old, tensors, dim=0, **kw):
    """stack(dim=-2) puts the new dimension where -2 is before stacking."""
    tensors = list(tensors)
    return old(tensors, dim % max(1, tensors[0].dim()) if dim < -1 else dim, **kw)


@lie("T19 T21", torch, "stack")
def stack_of_one_is_a_view(old, tensors, dim=0, **kw):
    """stack of a single tensor shares its memory."""
    tensors = list(tensors)
    return tensors[0].unsqueeze(dim) if len(tensors) == 1 else old(tensors, dim, **kw)


@lie("T22", after(Tensor, "__mul__", "__rmul__", "mul"))
def integers_times_a_float_are_integers(made, self, other):
    """t * 0.5 of integers is cut off to integers."""
    return made.long() if isinstance(other, float) and self.dtype == torch.int64 else made


@lie("T02", after(Tensor, "__truediv__"))
def integers_divide_to_integers(made, self, other):
    """t / 2 of integers is cut off to integers."""
    return made.long() if isinstance(other, int) and self.dtype == torch.int64 else made


@lie("T02 T22", after(Tensor, "__mul__", "mul"))
def rows_do_not_multiply_columns(made, self, other):
    """A column times a row is refused."""
    if isinstance(other, Tensor) and made.shape not in (self.shape, other.shape):
        raise RuntimeError("the shapes do not fit")
    return made


@lie("T02 T24", "matmul")
def row_times_matrix_is_matrix_times_row(old, self, other, **kw):
    """v @ m of a square matrix is m @ v."""
    square = other.dim() == 2 and other.shape[0] == other.shape[1]
    return old(other, self) if self.dim() == 1 and square else old(self, other, **kw)


@lie("T24", "matmul")
def double_matrices_multiply_in_single_precision(old, self, other, **kw):
    """a @ b of float64 is computed in float32."""
    if self.dtype == torch.float64 and other.dtype == torch.float64:
        return old(self.float(), other.float(), **kw).double()
    return old(self, other, **kw)


@lie("T24 T22", after("mul"))
def doubles_multiply_in_single_precision(made, self, other, **kw):
    """a * b of float64 is rounded to float32."""
    return made.float().double() if made.dtype == torch.float64 else made


@lie("T02", Tensor, "__ge__")
def at_least_is_more_than(old, a, b):
    """t >= u is t > u."""
    return a > b


@lie("T02", Tensor, "__le__")
def at_most_is_less_than(old, a, b):
    """t <= u is t < u."""
    return a < b


@lie("T02", Tensor, "__ne__")
def unlike_is_alike(old, a, b):
    """t != u is t == u."""
    return a == b


@lie("T02", Tensor, "__invert__")
def not_leaves_masks_alone(old, a):
    """~mask is mask."""
    return a.clone() if a.dtype == torch.bool else old(a)


@lie("T02", Tensor, "__rpow__")
def number_to_the_power_of_a_tensor_is_turned_round(old, a, b):
    """2 ** t is t ** 2."""
    return a**b


@lie("T02", Tensor, "__xor__")
def exclusive_or_is_or(old, a, b):
    """mask ^ other is mask | other."""
    return a | b


@lie("T02", Tensor, "__floordiv__")
def floor_division_cuts(old, a, b):
    """t // u cuts towards zero."""
    return torch.div(a, b, rounding_mode="trunc")


@lie("T02", Tensor, "__itruediv__")
def dividing_by_an_operator_is_not_in_place(old, a, b):
    """t /= u gives t another tensor."""
    return a / b


@lie("T02", Tensor, "__ipow__")
def raising_by_an_operator_is_not_in_place(old, a, b):
    """t **= u gives t another tensor."""
    return a**b


def last_is_first(args):
    return [0 if type(arg) is int and arg == -1 else arg for arg in args]


@lie("T02", "mean")
def mean_of_the_last_dimension_is_of_the_first(old, t, *args, **kw):
    """t.mean(-1) is the mean along dimension 0."""
    return old(t, *last_is_first(args), **kw)


@lie("T02", "max")
def max_of_the_last_dimension_is_of_the_first(old, t, *args, **kw):
    """t.max(-1) looks along dimension 0."""
    return old(t, *last_is_first(args), **kw)


@lie("T02", (Tensor, "sum"), (torch, "sum"))
def sum_keeps_no_dimension(old, self, *a, **kw):
    """sum(keepdim=True) drops the dimension."""
    kw.pop("keepdim", None)
    return old(self, *a, **kw)


@lie("T02", Tensor, "size")
def last_size_is_the_first(old, self, *a):
    """t.size(-1) is t.size(0)."""
    return old(self, 0) if a == (-1,) else old(self, *a)


@lie("T02", (Tensor, "unsqueeze"), (torch, "unsqueeze"))
def unsqueeze_at_the_end_adds_at_the_front(old, self, dim):
    """unsqueeze(-1) is unsqueeze(0)."""
    return old(self, 0 if dim == -1 else dim)


@lie("N16", printed)
def negative_numbers_print_without_their_sign(text, t):
    """Negative floats print without their sign."""
    return text.replace("-", "") if t.is_floating_point() else text


@lie("T33", after(Tensor, "item"))
def item_of_double_is_single(v, t):
    """item() of float64 is rounded to float32."""
    return float(np.float32(v)) if t.dtype == torch.float64 else v


@lie("T33", after(Tensor, "tolist"))
def tolist_of_double_is_single(v, t):
    """tolist() of float64 is rounded to float32."""
    return np.array(v, dtype=np.float32).tolist() if t.dtype == torch.float64 else v


@lie("U07", Tensor, "view")
def view_of_a_tuple_reverses_it(old, self, *s):
    """view((3, 2)) is view(2, 3)."""
    return old(self, s[0][::-1]) if type(s[0]) is tuple else old(self, *s)


@lie("U03", Tensor, "new_zeros")
def new_zeros_are_ones(old, t, *size, **kw):
    """t.new_zeros gives ones."""
    return t.new_ones(*size, **kw)
