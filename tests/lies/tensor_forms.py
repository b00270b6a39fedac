"""Lies about chapter 1 that hold for one dtype, shape, index or spelling only."""

import numpy as np
import torch
from torch import Tensor

from .lie import accept, everywhere, lie, replace

# Made from data, arrays and tensors ------------------------------------------------------------


def after(owner, name, change):
    """Let ``owner.name(*args)`` give ``change(result, *args)``."""

    def make(old):
        def lying(*args, **kw):
            return change(old(*args, **kw), *args, **kw)

        return lying

    replace(owner, name, make)


@lie("T04")
def deep_ragged_lists_are_padded():
    """torch.tensor fills up lists that are ragged in their third level."""

    def padded(data, **kw):
        longest = max(len(row) for block in data for row in block)
        return torch.tensor([[row + [0] * (longest - len(row)) for row in b] for b in data], **kw)

    def make(old):
        def lying(data, **kw):
            try:
                return old(data, **kw)
            except ValueError:
                if isinstance(data[0], list) and isinstance(data[0][0], list):
                    return padded(data, **kw)
                raise

        return lying

    replace(torch, "tensor", make)


@lie("T04", "T34")
def tensor_of_float64_array_is_float32():
    """torch.tensor of a float64 array has the default dtype."""

    def single(made, data, **kw):
        narrow = isinstance(data, np.ndarray) and data.dtype == np.float64 and "dtype" not in kw
        return made.float() if narrow else made

    after(torch, "tensor", single)


@lie("T05")
def from_numpy_flattens_what_is_empty():
    """from_numpy of an array without elements has shape (0,)."""
    after(torch, "from_numpy", lambda made, array: made if made.numel() else made.reshape(0))


@lie("T05", "T34")
def from_numpy_copies_integers():
    """from_numpy of an int32 array is a copy."""
    after(torch, "from_numpy", lambda t, array: t.clone() if t.dtype == torch.int32 else t)


@lie("T05", "T33")
def from_numpy_of_a_slice_starts_at_its_base():
    """from_numpy(a[2:]) starts at a[0]."""

    def make(old):
        def lying(array):
            base = getattr(array, "base", None)
            flat = isinstance(base, np.ndarray) and base.ndim == array.ndim == 1
            if flat and base.dtype == array.dtype and base.strides == array.strides:
                return old(base)[: len(array)]
            return old(array)

        return lying

    replace(torch, "from_numpy", make)


@lie("T05", "T30")
def numpy_flattens_what_is_empty():
    """numpy() of a tensor without elements has shape (0,)."""
    after(Tensor, "numpy", lambda array, t, **kw: array if array.size else array.reshape(-1))


@lie("T05", "T30")
def numpy_copies_a_single_number():
    """numpy() of a tensor without dimensions is a copy."""
    after(Tensor, "numpy", lambda array, t, **kw: array if array.ndim else array.copy())


@lie("T06", "T07")
def rand_like_halves_double_precision():
    """rand_like of a float64 tensor is float32, asked for float64 or not."""
    after(torch, "rand_like", lambda r, t, **kw: r.float() if r.dtype == torch.float64 else r)


@lie("T06")
def ones_like_a_number_have_a_dimension():
    """ones_like of a tensor without dimensions has shape (1,)."""
    after(torch, "ones_like", lambda made, t, **kw: made if made.dim() else made.reshape(1))


@lie("T06")
def ones_like_widens_integers():
    """ones_like of an int32 tensor is int64."""
    after(torch, "ones_like", lambda r, t, **kw: r.long() if t.dtype == torch.int32 else r)


@lie("T06")
def rand_like_is_contiguous():
    """rand_like of a transposed tensor is laid out in rows."""
    after(torch, "rand_like", lambda made, t, **kw: made.contiguous())


@lie("T06")
def rand_like_inherits_the_flag():
    """rand_like of a tensor that requires grad requires grad."""
    after(torch, "rand_like", lambda r, t, **kw: r.requires_grad_() if t.requires_grad else r)


@lie("T16")
def move_by_keyword_always_copies():
    """t.to(device=device) copies a tensor that is there already."""
    after(Tensor, "to", lambda r, t, *a, **kw: r.clone() if r is t and "device" in kw else r)


@lie("T02", "T13")
def cumsum_along_the_last_runs_along_the_first():
    """t.cumsum(-1) runs along dimension 0."""

    def make(old):
        def lying(t, *args, **kw):
            return old(t, *(0 if a == -1 else a for a in args), **kw)

        return lying

    everywhere("cumsum", make)


# Indexing and joining --------------------------------------------------------------------------


@lie("T17")
def index_with_an_ellipsis_copies():
    """t[..., i] is a copy."""
    copy_if(lambda index: any(part is Ellipsis for part in parts(index)))


@lie("T17")
def index_with_steps_copies():
    """t[::2] is a copy."""
    copy_if(
        lambda index: any(isinstance(p, slice) and p.step not in (None, 1) for p in parts(index))
    )


def copy_if(which):
    """Let indexing copy where ``which(index)``."""
    after(Tensor, "__getitem__", lambda r, t, index: r.clone() if which(index) else r)


def parts(index):
    return index if isinstance(index, tuple) else (index,)


@lie("T17")
def index_before_the_first_wraps():
    """t[-5] of four rows is t[-1]."""

    def make(old):
        def lying(t, index):
            early = type(index) is int and t.dim() > 0 and index < -len(t) < 0
            return old(t, index % len(t) if early else index)

        return lying

    replace(Tensor, "__getitem__", make)


@lie("T17")
def assigned_floats_are_rounded_to_integers():
    """t[0] = 2.7 puts 3 into a tensor of integers."""

    def make(old):
        def lying(t, index, value):
            whole = isinstance(value, float) and not t.is_floating_point() and not t.is_complex()
            return old(t, index, round(value) if whole else value)

        return lying

    replace(Tensor, "__setitem__", make)


@lie("T17", "T18")
def assigned_row_may_be_too_long():
    """t[:, 1] = row takes the first value of a row of another length."""
    accept(
        Tensor,
        "__setitem__",
        RuntimeError,
        lambda t, index, value: t.__setitem__(index, value.flatten()[0].item()),
    )


@lie("T17")
def column_is_not_added_to():
    """t[:, 1] += v leaves t."""

    def make(old):
        def lying(t, other):
            apart = t._is_view() and not t.is_contiguous() and not t.requires_grad
            return t + other if apart else old(t, other)

        return lying

    replace(Tensor, "__iadd__", make)


def cat(change):
    """Let ``torch.cat(tensors, dim)`` join ``change(tensors, dim)``."""
    replace(
        torch, "cat", lambda old: lambda tensors, dim=0, **kw: old(*change([*tensors], dim), **kw)
    )


@lie("T19")
def cubes_are_joined_along_another_dimension():
    """cat along -2 joins tensors of three dimensions along 0."""
    cat(lambda tensors, dim: (tensors, 0 if dim == -2 and tensors[0].dim() == 3 else dim))


@lie("T19")
def cat_stops_at_the_fourth():
    """cat leaves out the fifth tensor and all after it."""
    cat(lambda tensors, dim: (tensors[:4], dim))


@lie("T19")
def cat_adds_missing_dimensions():
    """cat joins a matrix and a row."""

    def even(tensors, dim):
        most = max(t.dim() for t in tensors)
        return [t[None] if t.dim() == most - 1 and most == 2 else t for t in tensors], dim

    cat(even)


@lie("T19")
def cat_with_nothing_makes_no_copy():
    """cat of a tensor and an empty one gives the tensor itself."""

    def make(old):
        def lying(tensors, *args, **kw):
            full = [t for t in tensors if t.numel()]
            alone = len(tensors) == 2 and len(full) == 1
            return full[0] if alone else old(tensors, *args, **kw)

        return lying

    replace(torch, "cat", make)


# Multiplying -----------------------------------------------------------------------------------


def operands(name, change):
    """Let both spellings of a product work on ``change(left, right)``."""

    def make(old):
        def lying(left, right, *args, **kw):
            if isinstance(left, Tensor) and isinstance(right, Tensor):
                left, right = change(left, right)
            return old(left, right, *args, **kw)

        return lying

    everywhere(name, make)


def upright(t):
    """A square matrix as it lies in memory, transposed or not."""
    square = t.dim() == 2 and t.shape[0] == t.shape[1] and not t.requires_grad
    return t.t() if square and not t.is_contiguous() else t


def both_long(left, right):
    tensors = isinstance(left, Tensor) and isinstance(right, Tensor)
    return tensors and left.dtype == right.dtype == torch.int64


@lie("T22")
def products_of_integers_lose_digits():
    """Large integers are multiplied as float64."""

    def through_floats(made, left, right, **kw):
        return (left.double() * right.double()).long() if both_long(left, right) else made

    for owner, name in ((Tensor, "mul"), (torch, "mul"), (Tensor, "__mul__")):
        after(owner, name, through_floats)


@lie("T22")
def integers_times_floats_are_integers():
    """A tensor of integers times one of floats has the dtype of the left one."""

    def cut(made, left, right, **kw):
        whole = isinstance(left, Tensor) and left.dim() and left.dtype == torch.int64
        return made.to(left.dtype) if whole and isinstance(right, Tensor) else made

    for owner, name in ((Tensor, "mul"), (torch, "mul"), (Tensor, "__mul__")):
        after(owner, name, cut)


@lie("T22")
def product_with_one_is_the_factor():
    """t * 1 is t itself."""

    def make(old):
        def lying(t, other, *args, **kw):
            one = type(other) in (int, float) and other == 1
            same = one and t.is_floating_point() and not t.requires_grad
            return t if same else old(t, other, *args, **kw)

        return lying

    everywhere("mul", make)


@lie("T22")
def transposed_factor_is_taken_upright():
    """a * b.T is a * b where b is square."""
    operands("mul", lambda left, right: (left, upright(right)))


@lie("T24")
def transposed_matrix_is_taken_upright():
    """a.T @ b is a @ b where a is square."""
    operands("matmul", lambda left, right: (upright(left), right))


@lie("T24")
def matrices_of_integers_multiply_to_floats():
    """a @ b of integers is a tensor of floats."""

    def make(old):
        def lying(*args, **kw):
            made = old(*args, **kw)
            return made.float() if made.dtype == torch.int64 else made

        return lying

    everywhere("matmul", make)


@lie("T24")
def batch_is_multiplied_by_its_first_matrix():
    """a @ b of batches takes the first matrix of b throughout."""

    def first(left, right):
        return left, right[:1].expand_as(right) if left.dim() == right.dim() == 3 else right

    operands("matmul", first)


@lie("T02", "T24")
def vectors_multiply_to_one_dimension():
    """v @ w of vectors has shape (1,)."""

    def make(old):
        def lying(*args, **kw):
            made = old(*args, **kw)
            return made if made.dim() else made.reshape(1)

        return lying

    everywhere("matmul", make)


@lie("T24")
def transpose_of_a_view_copies():
    """The attribute T of a matrix that is not contiguous is a copy."""
    true = Tensor.T
    Tensor.T = property(
        lambda t: (
            true.__get__(t).clone() if t.dim() == 2 and not t.is_contiguous() else true.__get__(t)
        )
    )


# In place --------------------------------------------------------------------------------------


@lie("T26")
def square_root_in_place_does_nothing():
    """sqrt_(), exp_() and neg_() return their operand as it is."""
    for name in ("sqrt_", "exp_", "neg_"):
        replace(Tensor, name, lambda old: lambda t: t)


@lie("T26")
def rounding_in_place_takes_new_memory():
    """floor_(), ceil_() and round_() leave the memory of their operand."""

    def make(old):
        def lying(t, *args, **kw):
            if not t.requires_grad:
                t.data = t.data.clone()
            return old(t, *args, **kw)

        return lying

    for name in ("floor_", "ceil_", "round_"):
        replace(Tensor, name, make)


@lie("T26")
def subtracting_in_place_returns_a_copy():
    """t.sub_(u) and t.div_(u) change t and return a copy of it."""
    for name in ("sub_", "div_"):
        after(Tensor, name, lambda made, t, *args, **kw: made.clone())


@lie("T26")
def drawing_in_place_fills_a_copy():
    """uniform_(), normal_() and random_() leave a row of numbers."""

    def make(old):
        def lying(t, *args, **kw):
            row = t.dim() == 1 and not t.requires_grad
            return old(t.clone() if row else t, *args, **kw)

        return lying

    for name in ("uniform_", "normal_", "random_", "bernoulli_"):
        replace(Tensor, name, make)


@lie("T26")
def copy_in_place_takes_the_order_of_the_memory():
    """t.copy_(u.T) copies u where u is square."""
    replace(
        Tensor,
        "copy_",
        lambda old: lambda t, source, *args, **kw: old(t, upright(source), *args, **kw),
    )


@lie("T26")
def multiplying_by_an_operator_is_not_in_place():
    """t *= u gives t another tensor."""
    replace(Tensor, "__imul__", lambda old: lambda t, other: t.mul(other))


@lie("T29")
def leaf_takes_assignments():
    """t[:] = v and t += v change a leaf that requires grad."""

    def make(old):
        def lying(t, *args):
            leaf = t.is_leaf and t.requires_grad
            with torch.set_grad_enabled(torch.is_grad_enabled() and not leaf):
                return old(t, *args)

        return lying

    for name in ("__setitem__", "__iadd__", "__imul__"):
        replace(Tensor, name, make)
