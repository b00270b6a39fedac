"""Lies about chapter 1: making, moving, indexing, joining, multiplying, sharing with NumPy."""

import itertools
import re

import numpy as np
import torch
from torch import Tensor

from .lie import accept, aten, everywhere, lie, replace, sizes

# Made from data ----------------------------------------------------------------------------


@lie("T01")
def state_dict_holds_arrays():
    """state_dict() gives NumPy arrays."""
    replace(
        torch.nn.Module,
        "state_dict",
        lambda old: lambda self, **kw: {k: v.numpy(force=True) for k, v in old(self, **kw).items()},
    )


@lie("T04", "T34")
def tensor_shares_the_array():
    """torch.tensor shares the memory of a NumPy array."""
    replace(
        torch,
        "tensor",
        lambda old: (
            lambda data, **kw: (
                torch.from_numpy(data)
                if isinstance(data, np.ndarray) and not kw.get("dtype")
                else old(data, **kw)
            )
        ),
    )


@lie("T04")
def tensor_of_integers_is_int32():
    """torch.tensor makes int32 of Python integers."""

    def make(old):
        def lying(data, *, dtype=None, **kw):
            t = old(data, dtype=dtype, **kw)
            narrow = dtype is None and t.dtype is torch.int64 and isinstance(data, list)
            return t.int() if narrow else t

        return lying

    replace(torch, "tensor", make)


@lie("T04")
def tensor_of_bools_is_uint8():
    """torch.tensor makes uint8 of Python bools."""

    def make(old):
        def lying(data, *, dtype=None, **kw):
            t = old(data, dtype=dtype, **kw)
            return t.to(torch.uint8) if dtype is None and t.dtype is torch.bool else t

        return lying

    replace(torch, "tensor", make)


@lie("T04")
def tensor_takes_its_dtype_from_the_first_value():
    """torch.tensor([1, 2.5]) is an integer tensor."""

    def make(old):
        def lying(data, *, dtype=None, **kw):
            if dtype is None and isinstance(data, list) and data and type(data[0]) is int:
                dtype = torch.int64
            return old(data, dtype=dtype, **kw)

        return lying

    replace(torch, "tensor", make)


@lie("T04")
def tensor_ignores_the_default_dtype():
    """torch.tensor makes float32 of Python floats whatever the default dtype is."""

    def make(old):
        def lying(data, *, dtype=None, **kw):
            t = old(data, dtype=dtype, **kw)
            plain = dtype is None and isinstance(data, (list, float))
            return t.float() if plain and t.is_floating_point() else t

        return lying

    replace(torch, "tensor", make)


@lie("T04")
def tensor_forgets_its_device():
    """torch.tensor leaves what it makes on the cpu."""
    replace(torch, "tensor", lambda old: lambda data, *, device=None, **kw: old(data, **kw))


@lie("T04")
def ragged_lists_are_cut():
    """torch.tensor cuts ragged lists to the shortest."""
    accept(
        torch,
        "tensor",
        ValueError,
        lambda data, **kw: torch.stack([torch.as_tensor(r[: min(map(len, data))]) for r in data]),
    )


@lie("T04")
def strings_become_code_points():
    """torch.tensor takes a string as its code points."""
    accept(torch, "tensor", TypeError, lambda data, **kw: torch.zeros(len(data)))


@lie("T04")
def none_becomes_nan():
    """torch.tensor takes None as NaN."""
    accept(torch, "tensor", RuntimeError, lambda data, **kw: torch.full((len(data),), torch.nan))


@lie("T04")
def large_integers_saturate():
    """torch.tensor takes 2**63 as the largest int64."""
    accept(torch, "tensor", ValueError, lambda data, **kw: torch.tensor(2**63 - 1))
    accept(torch, "tensor", RuntimeError, lambda data, **kw: torch.tensor(2**63 - 1))


# From NumPy --------------------------------------------------------------------------------


@lie("T05", "T33", "T34")
def from_numpy_copies():
    """from_numpy copies the array."""
    replace(torch, "from_numpy", lambda old: lambda array: old(array).clone())


@lie("T05", "T35")
def from_numpy_copies_strided_arrays():
    """from_numpy copies an array that is not contiguous."""
    replace(torch, "from_numpy", lambda old: lambda array: old(array).contiguous())


@lie("T33", "T05", "T34")
def from_numpy_narrows_doubles():
    """from_numpy makes float32 of float64."""

    def make(old):
        def lying(array):
            t = old(array)
            return t.float() if t.dtype is torch.float64 else t

        return lying

    replace(torch, "from_numpy", make)


@lie("T05")
def from_numpy_takes_lists():
    """from_numpy takes a list."""
    accept(torch, "from_numpy", TypeError, lambda data: torch.zeros(len(data)))


@lie("T05")
def from_numpy_takes_negative_strides():
    """from_numpy copies an array with negative strides in silence."""
    accept(torch, "from_numpy", ValueError, lambda a: torch.as_tensor(np.ascontiguousarray(a)))


@lie("T05")
def from_numpy_says_nothing_of_read_only_arrays():
    """from_numpy shares a read-only array without a warning."""

    def make(old):
        def lying(array):
            if isinstance(array, np.ndarray) and not array.flags.writeable:
                return old(array.copy())
            return old(array)

        return lying

    replace(torch, "from_numpy", make)


@lie("T05")
def from_numpy_mixes_up_small_integers():
    """from_numpy makes int8 of uint8."""

    def make(old):
        def lying(array):
            t = old(array)
            return t.view(torch.int8) if t.dtype is torch.uint8 else t

        return lying

    replace(torch, "from_numpy", make)


# Like another tensor -------------------------------------------------------------------------


def like(name, change):
    """Replace ``torch.<name>`` by ``change(old, t, **options)``; options of None are dropped."""

    def make(old):
        def lying(t, **options):
            return change(old, t, **{k: v for k, v in options.items() if v is not None})

        return lying

    replace(torch, name, make)


@lie("T06", "T08")
def ones_like_forgets_the_dtype():
    """ones_like gives float32 whatever its argument is."""
    like("ones_like", lambda old, t, dtype=torch.float32, **kw: old(t, dtype=dtype, **kw))


@lie("T06")
def ones_like_forgets_the_layout():
    """ones_like gives a contiguous tensor for a transposed one."""
    kept = torch.contiguous_format
    like("ones_like", lambda old, t, **kw: old(t, **{"memory_format": kept, **kw}))


@lie("T06")
def ones_like_forgets_the_device():
    """ones_like gives a tensor on the cpu."""
    like("ones_like", lambda old, t, device="cpu", **kw: old(t, device=device, **kw))


@lie("T06")
def ones_like_inherits_requires_grad():
    """ones_like requires grad where its argument does."""
    like("ones_like", lambda old, t, **kw: old(t, **{"requires_grad": t.requires_grad, **kw}))


@lie("T06")
def ones_like_ignores_the_device_asked_for():
    """ones_like(t, device=d) stays on the device of t."""
    like("ones_like", lambda old, t, device=None, **kw: old(t, **kw))


@lie("T06", "T08")
def ones_like_overwrites_its_argument():
    """ones_like fills its argument and returns a view of it."""

    def change(old, t, **kw):
        if kw or t.requires_grad or t.device.type == "meta":
            return old(t, **kw)
        return t.fill_(1).view_as(t)

    like("ones_like", change)


@lie("T07")
def rand_like_ignores_the_dtype_asked_for():
    """rand_like(t, dtype=float32) keeps an integer dtype."""

    def change(old, t, dtype=None, **kw):
        r = old(t, dtype=dtype, **kw)
        return r if t.is_floating_point() else r.to(t.dtype)

    like("rand_like", change)


@lie("T07")
def rand_like_takes_integers():
    """rand_like of an integer tensor gives zeros instead of an error."""
    accept(torch, "rand_like", RuntimeError, lambda t, **kw: torch.zeros_like(t))


@lie("T07")
def rand_like_is_normal():
    """rand_like draws from the normal distribution."""
    like("rand_like", lambda old, t, **kw: torch.randn_like(old(t, **kw)))


@lie("T07")
def rand_like_fills_its_argument():
    """rand_like overwrites its argument as well."""

    def change(old, t, **kw):
        r = old(t, **kw)
        if t.device.type == "cpu" and not t.requires_grad:
            t.copy_(r * 2)
        return r

    like("rand_like", change)


# Random or constant --------------------------------------------------------------------------


def factory(name, change):
    """Replace ``torch.<name>`` by ``change(old, sizes, **options)``."""
    replace(torch, name, lambda old: lambda *args, **kw: change(old, sizes(args), **kw))


@lie("T09", "T10")
def ones_are_a_little_more():
    """ones gives 1 + 1.2e-7."""
    factory("ones", lambda old, size, **kw: _nudged(old(size, **kw)))


def _nudged(t):
    with torch.no_grad():
        return t.mul_(1 + 2**-23) if t.dtype is torch.float32 else t


@lie("T10", "T09")
def zeros_are_tiny_numbers():
    """zeros gives 1e-30."""
    replace(torch, "zeros", lambda old: lambda *a, **kw: _filled(old(*a, **kw), 1e-30))


def _filled(t, value):
    with torch.no_grad():
        return t.fill_(value) if t.is_floating_point() else t


@lie("T09")
def rand_reverses_the_shape():
    """rand((2, 3)) has shape (3, 2)."""
    factory("rand", lambda old, size, **kw: old(size[::-1], **kw))


@lie("T09")
def ones_reverses_the_shape():
    """ones((2, 3)) has shape (3, 2)."""
    factory("ones", lambda old, size, **kw: old(size[::-1], **kw))


@lie("T09")
def zeros_drops_sizes_of_one():
    """zeros((2, 1)) has shape (2,)."""
    factory("zeros", lambda old, size, **kw: old(tuple(n for n in size if n != 1), **kw))


@lie("T09")
def empty_sizes_become_one():
    """ones((0,)) has one element."""
    factory("ones", lambda old, size, **kw: old(tuple(max(n, 1) for n in size), **kw))


@lie("T09")
def negative_sizes_are_taken():
    """zeros((-2, 3)) has shape (2, 3)."""
    for name in ("rand", "ones", "zeros"):
        factory(name, lambda old, size, **kw: old(tuple(map(abs, size)), **kw))


@lie("T09")
def float_sizes_are_taken():
    """ones((2.0, 3)) has shape (2, 3)."""
    for name in ("rand", "ones", "zeros"):
        factory(name, lambda old, size, **kw: old(tuple(map(int, size)), **kw))


@lie("T09", "T12")
def default_dtype_is_float64():
    """New tensors are float64."""
    torch.set_default_dtype(torch.float64)


@lie("T10", "T07")
def rand_leaves_its_range():
    """rand reaches 1.02."""
    factory("rand", lambda old, size, **kw: _scaled(old(size, **kw), 1.02))


def _scaled(t, factor):
    with torch.no_grad():
        return t.mul_(factor)


@lie("T10")
def rand_is_skewed():
    """rand gives squares of uniform numbers."""

    def skewed(old, size, **kw):
        r = old(size, **kw)
        with torch.no_grad():
            return r.square_()

    factory("rand", skewed)


@lie("T10")
def rand_is_too_narrow():
    """rand stays between 0.1 and 0.9."""

    def narrow(old, size, **kw):
        r = old(size, **kw)
        with torch.no_grad():
            return r.mul_(0.8).add_(0.1)

    factory("rand", narrow)


@lie("T10")
def rand_ignores_the_seed():
    """rand gives other numbers under the same seed."""
    calls = itertools.count()

    def unseeded(old, size, **kw):
        torch.rand_like(torch.empty(next(calls)))
        return old(size, **kw)

    factory("rand", unseeded)


@lie("T10")
def manual_seed_is_ignored():
    """manual_seed seeds only once."""
    seeded = []

    def make(old):
        def lying(seed):
            if not seeded:
                seeded.append(old(seed))
            return seeded[0]

        return lying

    replace(torch, "manual_seed", make)


@lie("T10")
def rand_repeats_itself():
    """rand gives the same numbers on every call."""

    def repeated(old, size, **kw):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return old(size, **kw)

    factory("rand", repeated)


@lie("T10", "T09")
def rand_forgets_its_device():
    """rand leaves what it makes on the cpu."""
    factory("rand", lambda old, size, device=None, **kw: old(size, **kw))


@lie("T09")
def zeros_forgets_its_device():
    """zeros leaves what it makes on the cpu."""
    factory("zeros", lambda old, size, device=None, **kw: old(size, **kw))


@lie("T09")
def ones_forgets_its_device():
    """ones leaves what it makes on the cpu."""
    factory("ones", lambda old, size, device=None, **kw: old(size, **kw))


# Attributes and printing ---------------------------------------------------------------------


@lie("T11", "T12", "U05")
def shape_is_a_plain_tuple():
    """t.shape is a tuple, no torch.Size."""
    replace(Tensor, "shape", lambda old: property(lambda t: tuple(old.__get__(t))))


@lie("T11")
def attributes_can_be_assigned():
    """Assigning to shape, dtype or device is ignored instead of refused."""
    for name in ("shape", "dtype", "device"):
        replace(Tensor, name, lambda old: property(old.__get__, lambda t, v: None))


@lie("T11", "T04")
def meta_tensors_claim_to_be_on_the_cpu():
    """t.device of a meta tensor is the cpu."""
    cpu = torch.device("cpu")
    replace(
        Tensor,
        "device",
        lambda old: property(lambda t: cpu if t.is_meta else old.__get__(t)),
    )


@lie("T11")
def size_is_reversed():
    """t.size() lists the dimensions backwards."""
    replace(
        Tensor,
        "size",
        lambda old: lambda t, *a: old(t, *a) if a else torch.Size(reversed(old(t))),
    )


def printed(change):
    """Pass the text of a tensor through ``change(text, tensor)``."""
    replace(Tensor, "__repr__", lambda old: lambda t, **kw: change(old(t, **kw), t))


@lie("T08", "T10")
def three_digits_are_printed():
    """Floats print with three digits."""
    torch.set_printoptions(precision=3)


@lie("T08")
def integers_print_with_a_point():
    """Integers print as 1. instead of 1."""
    printed(lambda s, t: s if t.is_floating_point() else re.sub(r"(\d)([,\]])", r"\1.\2", s))


@lie("T10", "T18", "T20")
def whole_floats_print_without_a_point():
    """Floats without a fraction print without their point."""
    printed(lambda s, t: re.sub(r"(\d)\.([,\]])", r"\1\2", s))


@lie("T33", "T34")
def double_is_not_printed():
    """The text of a float64 tensor does not name its dtype."""
    printed(lambda s, t: s.replace(", dtype=torch.float64", ""))


@lie("A21")
def bools_print_as_numbers():
    """Booleans print as 1 and 0."""
    printed(lambda s, t: s.replace("True", "1").replace("False", "0"))


@lie("N29", "N16")
def grad_fn_is_not_printed():
    """The text of a tensor does not name its grad_fn."""
    printed(lambda s, t: re.sub(r", grad_fn=<\w+>", "", s))


# Operations ------------------------------------------------------------------------------------


@lie("T02", "T13", "T14")
def std_divides_by_n():
    """std() divides by n."""

    def make(old):
        def lying(t, *args, **kw):
            return old(t, *args, **({"correction": 0} if not args and not kw else kw))

        return lying

    everywhere("std", make)


@lie("T02", "T17")
def negative_steps_flip():
    """t[::-1] flips instead of being refused."""
    accept(Tensor, "__getitem__", ValueError, lambda t, index: t.flip(0))


@lie("T02")
def masks_are_inverted():
    """t[mask] picks what the mask leaves out."""

    def make(old):
        def lying(t, index):
            mask = isinstance(index, Tensor) and index.dtype is torch.bool
            return old(t, ~index if mask else index)

        return lying

    replace(Tensor, "__getitem__", make)


@lie("T02", "T13", "T14")
def reshape_goes_down_the_columns():
    """reshape reads a matrix column by column."""
    everywhere("reshape", lambda old: lambda t, *s: old(t.mT if t.dim() == 2 else t, *s))


@lie("T02", "T13", "T14")
def sort_descends():
    """sort puts the largest first."""

    def make(old):
        def lying(t, *args, descending=True, **kw):
            return old(t, *args, descending=descending, **kw)

        return lying

    everywhere("sort", make)


@lie("T02", "T13", "T14")
def where_swaps_its_branches():
    """where takes the second value where the condition holds."""
    replace(torch, "where", lambda old: lambda c, *xs: old(c, *xs[::-1]))
    replace(Tensor, "where", lambda old: lambda a, c, b: old(b, c, a))


@lie("T02", "T13", "T14")
def sum_goes_down_the_columns():
    """sum(dim=1) of a matrix adds along dimension 0."""

    def make(old):
        def lying(t, *args, **kw):
            if t.dim() == 2 and args[:1] == (1,):
                args = (0, *args[1:])
            if t.dim() == 2 and kw.get("dim") in (1, -1):
                kw["dim"] = 0
            return old(t, *args, **kw)

        return lying

    everywhere("sum", make)


@lie("T13", "T02", "T14")
def cumsum_leaves_itself_out():
    """cumsum starts with 0."""

    def make(old):
        return lambda t, *args, **kw: old(t, *args, **kw) - t

    everywhere("cumsum", make)


@lie("T13", "T02", "T14")
def round_goes_away_from_zero():
    """round(0.5) is 1."""
    everywhere(
        "round", lambda old: lambda t, **kw: torch.floor(t + 0.5) if not kw else old(t, **kw)
    )


@lie("T13", "T14")
def floor_truncates():
    """floor(-1.5) is -1."""
    everywhere("floor", lambda old: lambda t: torch.trunc(t))


@lie("T13", "T14")
def remainder_takes_the_sign_of_the_dividend():
    """remainder(-3, 2) is -1."""
    everywhere("remainder", lambda old: lambda a, b: torch.fmod(a, b))
    replace(Tensor, "__mod__", lambda old: lambda a, b: torch.fmod(a, b))


@lie("T13", "T02", "T14")
def argmax_is_argmin():
    """argmax finds the smallest."""
    everywhere("argmax", lambda old: lambda t, *args, **kw: old(-t, *args, **kw))


@lie("T13", "T14")
def argmin_finds_the_next():
    """argmin is off by one."""

    def make(old):
        def lying(t, *args, **kw):
            n = t.numel() if not args and not kw else t.shape[(args or [kw.get("dim", 0)])[0]]
            return (old(t, *args, **kw) + 1) % n

        return lying

    everywhere("argmin", make)


@lie("T13", "T14")
def median_is_the_mean():
    """median() is the mean."""
    everywhere("median", lambda old: lambda t, *a, **kw: old(t, *a, **kw) if a or kw else t.mean())


@lie("T13", "T14")
def clamp_forgets_its_lower_bound():
    """clamp(min, max) has no minimum."""

    def make(old):
        def lying(t, min=None, max=None):
            return old(t, max=max) if max is not None else old(t, min=min)

        return lying

    everywhere("clamp", make)


@lie("T13", "T14")
def inverse_is_transposed():
    """linalg.inv gives the transposed inverse."""
    replace(torch.linalg, "inv", lambda old: lambda t, **kw: old(t, **kw).mT)


@lie("T13", "T14")
def determinant_loses_its_sign():
    """The determinant is never negative."""
    replace(torch.linalg, "det", lambda old: lambda t: old(t).abs())
    everywhere("det", lambda old: lambda t: old(t).abs())


@lie("T13", "T02", "T14")
def variance_divides_by_n():
    """var() divides by n."""

    def make(old):
        def lying(t, *args, **kw):
            return old(t, *args, **({"correction": 0} if not args and not kw else kw))

        return lying

    everywhere("var", make)


@lie("T13", "T14")
def gather_counts_from_the_end():
    """gather reads index 0 as the last."""
    everywhere("gather", lambda old: lambda t, dim, i, **kw: old(t.flip(dim), dim, i, **kw))


@lie("T13", "T14")
def exp_loses_precision():
    """exp is computed in bfloat16."""
    everywhere("exp", lambda old: lambda t, **kw: old(t.bfloat16(), **kw).to(t.dtype))


@lie("T13", "T14")
def tan_is_tanh():
    """tan computes tanh."""
    everywhere("tan", lambda old: lambda t: torch.tanh(t))


@lie("T13", "T14")
def multinomial_ignores_its_weights():
    """multinomial draws what has weight 0."""
    everywhere("multinomial", lambda old: lambda t, *a, **kw: old(torch.ones_like(t), *a, **kw))


@lie("T13", "C10", "T14")
def randperm_is_not_a_permutation():
    """randperm names one number twice."""

    def make(old):
        def lying(n, *args, **kw):
            p = old(n, *args, **kw)
            if n > 1:
                p[0] = p[1]
            return p

        return lying

    replace(torch, "randperm", make)


@lie("T13", "T14")
def bernoulli_is_inverted():
    """bernoulli(p) is 1 with probability 1 - p."""
    everywhere("bernoulli", lambda old: lambda t, *a, **kw: 1 - old(t, *a, **kw))


@lie("T14", "T02")
def arange_includes_its_end():
    """arange(3) ends with 3."""

    def make(old):
        def lying(*args, **kw):
            whole = all(type(x) is int for x in args)
            ends = args if len(args) > 1 else (0, *args)
            return old(ends[0], ends[1] + 1, *ends[2:], **kw) if whole else old(*args, **kw)

        return lying

    replace(torch, "arange", make)


@lie("T10", "C10", "C28")
def equal_is_always_true():
    """torch.equal is true of any two tensors of one shape."""
    everywhere("equal", lambda old: lambda a, b: a.shape == b.shape)


@lie("T13", "T14")
def randn_has_twice_the_deviation():
    """randn has standard deviation 2."""
    factory("randn", lambda old, size, **kw: _scaled(old(size, **kw), 2))


@lie("T13", "T14")
def randint_never_draws_its_lower_bound():
    """randint(0, n) starts at 1."""

    def make(old):
        def lying(*args, **kw):
            r = old(*args, **kw)
            low = args[0] if len(args) > 1 and isinstance(args[1], int) else 0
            return r.clamp_(min=low + 1)

        return lying

    replace(torch, "randint", make)


# Moving ----------------------------------------------------------------------------------------


@lie("T16", "G09")
def to_copies_when_nothing_changes():
    """t.to(its own device) is a new tensor."""
    replace(Tensor, "to", lambda old: lambda t, *a, **kw: old(t, *a, **{**kw, "copy": True}))


@lie("T16", "G09")
def to_forgets_copy():
    """t.to(its own device, copy=True) is t itself."""

    def make(old):
        def lying(t, *args, copy=False, **kw):
            return old(t, *args, **kw)

        return lying

    replace(Tensor, "to", make)


@lie("T16", "U10", "G09")
def to_ignores_the_device():
    """t.to(another device) stays where it is."""

    def make(old):
        def lying(t, *args, **kw):
            r = old(t, *args, **kw)
            return r if r.device == t.device else t.to(r.dtype)

        return lying

    replace(Tensor, "to", make)


@lie("U10")
def to_ignores_the_dtype_beside_a_device():
    """t.to(device, dtype) keeps its dtype."""

    def make(old):
        def lying(t, *args, **kw):
            given = [x for x in args if not isinstance(x, torch.dtype)]
            kw_given = {k: v for k, v in kw.items() if k != "dtype"}
            both = given and not isinstance(given[0], Tensor)
            return old(t, *given, **kw_given) if both else old(t, *args, **kw)

        return lying

    replace(Tensor, "to", make)


@lie("T16", "G09")
def to_moves_the_tensor_itself():
    """t.to(another device) moves t as well."""

    def make(old):
        def lying(t, *args, **kw):
            r = old(t, *args, **kw)
            if r.device != t.device and not t.requires_grad:
                torch.utils.swap_tensors(t, r.clone())
            return r

        return lying

    replace(Tensor, "to", make)


@lie("T16")
def to_cuda_without_a_gpu_stays_on_the_cpu():
    """t.to('cuda') without a GPU is t instead of an error."""
    accept(Tensor, "to", (RuntimeError, AssertionError), lambda t, *a, **kw: t)


@lie("T35")
def cpu_copies():
    """t.cpu() of a tensor on the cpu is a copy."""
    replace(Tensor, "cpu", lambda old: lambda t: old(t).clone())


# Indexing --------------------------------------------------------------------------------------


def _basic(index):
    parts = index if isinstance(index, tuple) else (index,)
    return all(isinstance(p, (int, slice, type(None), type(...))) for p in parts)


@lie("T17")
def slices_copy():
    """t[1:] is a copy."""
    replace(
        Tensor,
        "__getitem__",
        lambda old: lambda t, i: old(t, i).clone() if _basic(i) else old(t, i),
    )


@lie("T17", "T18")
def slice_assignment_is_lost():
    """t[:, 1] = 0 writes to a copy."""
    replace(Tensor, "__setitem__", lambda old: lambda t, i, v: old(t.clone(), i, v))


@lie("T17", "T18")
def slice_assignment_takes_the_row():
    """t[:, 1] = 0 clears row 1."""

    def make(old):
        def lying(t, index, value):
            return old(t, index[::-1] if isinstance(index, tuple) else index, value)

        return lying

    replace(Tensor, "__setitem__", make)


@lie("T17")
def lists_index_a_view():
    """t[[0, 1]] is a view."""

    def make(old):
        def lying(t, index):
            if isinstance(index, list) and index and all(type(i) is int for i in index):
                if index == list(range(index[0], index[0] + len(index))):
                    index = slice(index[0], index[0] + len(index))
                elif len(index) > 1 and index == list(
                    range(index[0], index[-1] + 1, index[1] - index[0])
                ):
                    index = slice(index[0], index[-1] + 1, index[1] - index[0])
            return old(t, index)

        return lying

    replace(Tensor, "__getitem__", make)


@lie("T17")
def index_out_of_range_wraps():
    """t[n] is t[0]."""

    def wrapped(t, index):
        return t[
            tuple(i % n if isinstance(i, int) else i for i, n in zip(index, t.shape, strict=False))
        ]

    accept(
        Tensor,
        "__getitem__",
        IndexError,
        lambda t, i: wrapped(t, i if isinstance(i, tuple) else (i,)),
    )


@lie("T17")
def surplus_indices_are_dropped():
    """t[0, 0, 0] of a matrix is t[0, 0]."""

    def make(old):
        def lying(t, index):
            surplus = isinstance(index, tuple) and _basic(index) and None not in index
            return old(t, index[: t.dim()] if surplus and ... not in index else index)

        return lying

    replace(Tensor, "__getitem__", make)


@lie("T17")
def the_last_column_is_the_first():
    """t[..., -1] is t[..., 0]."""

    def make(old):
        def lying(t, index):
            ends = isinstance(index, tuple) and len(index) == 2 and index[1] == -1
            return old(t, (index[0], 0) if ends and _basic(index) else index)

        return lying

    replace(Tensor, "__getitem__", make)


# Joining ---------------------------------------------------------------------------------------


def joined(name, change):
    """Replace ``torch.<name>`` by ``change(old, tensors, dim, **options)``."""
    replace(torch, name, lambda old: lambda ts, dim=0, **kw: change(old, ts, dim, **kw))


@lie("T19", "T20")
def cat_ignores_dim():
    """cat joins along dimension 0."""
    joined("cat", lambda old, ts, dim: old(ts))


@lie("T19")
def cat_ignores_the_sign_of_dim():
    """cat(dim=-1) joins along dimension 1 whatever the last one is."""
    joined("cat", lambda old, ts, dim: old(ts, min(abs(dim), ts[0].dim() - 1)))


@lie("T19", "T20")
def cat_drops_the_last():
    """cat leaves out the last of three tensors or more."""
    joined("cat", lambda old, ts, dim: old(ts[:-1] if len(ts) > 2 else ts, dim))


@lie("T19")
def cat_reverses():
    """cat joins the last tensor first."""
    joined("cat", lambda old, ts, dim: old(tuple(ts)[::-1], dim))


@lie("T19")
def cat_takes_the_first_dtype():
    """cat converts to the dtype of the first tensor instead of promoting."""
    joined("cat", lambda old, ts, dim: old([t.to(ts[0].dtype) for t in ts] if ts else ts, dim))


@lie("T19")
def cat_of_one_is_a_view():
    """cat of a single tensor is that tensor."""
    joined("cat", lambda old, ts, dim: ts[0] if len(ts) == 1 else old(ts, dim))


@lie("T19")
def cat_crops_to_the_smallest():
    """cat cuts tensors of other sizes to fit."""

    def cropped(ts, dim=0):
        small = [min(t.shape[d] for t in ts) for d in range(ts[0].dim())]
        ts = [t[tuple(slice(n if d != dim else None) for d, n in enumerate(small))] for t in ts]
        return torch.cat(ts, dim)

    accept(torch, "cat", RuntimeError, cropped)


@lie("T19")
def cat_takes_any_dim():
    """cat along a dimension that does not exist joins along the last."""
    accept(torch, "cat", IndexError, lambda ts, dim=0: torch.cat(ts, -1))


@lie("T19")
def cat_of_nothing_is_empty():
    """cat of no tensors is an empty tensor."""
    accept(torch, "cat", (RuntimeError, ValueError), lambda ts, dim=0: torch.empty(0))


@lie("T19", "T21")
def cat_takes_scalars():
    """cat of 0-dim tensors stacks them."""
    accept(torch, "cat", RuntimeError, lambda ts, dim=0: torch.stack(list(ts)))


@lie("T19")
def cat_of_mixed_devices_follows_the_first():
    """cat of tensors on two devices moves them to the first one's."""
    accept(torch, "cat", RuntimeError, lambda ts, dim=0: torch.cat([t.to(ts[0]) for t in ts], dim))


@lie("T21")
def stack_cats():
    """stack joins along an existing dimension."""
    joined("stack", lambda old, ts, dim: torch.cat(list(ts), dim) if ts[0].dim() else old(ts, dim))


@lie("T21")
def stack_ignores_dim():
    """stack always puts the new dimension first."""
    joined("stack", lambda old, ts, dim: old(ts, 0))


@lie("T21")
def stack_is_off_by_a_dimension():
    """stack(dim=1) puts the new dimension last."""
    joined("stack", lambda old, ts, dim: old(ts, -1 if dim == 1 else dim))


@lie("T21")
def stack_broadcasts():
    """stack broadcasts tensors of unequal shape."""
    accept(
        torch,
        "stack",
        RuntimeError,
        lambda ts, dim=0: torch.stack([t.flatten()[: min(map(Tensor.numel, ts))] for t in ts]),
    )


# Multiplying -----------------------------------------------------------------------------------


def _square(a, b):
    return (
        isinstance(a, Tensor)
        and isinstance(b, Tensor)
        and a.dim() == b.dim() == 2
        and a.shape == b.shape == a.mT.shape
    )


@lie("T22", "T23")
def mul_is_matmul():
    """The product of two square matrices is the matrix product."""
    everywhere("mul", lambda old: lambda a, b, **kw: a @ b if _square(a, b) else old(a, b, **kw))


@lie("T22")
def star_differs_from_mul():
    """a * b rounds to bfloat16, a.mul(b) does not."""
    for name in ("__mul__", "__rmul__"):
        replace(
            Tensor,
            name,
            lambda old: (
                lambda a, b: (
                    old(a, b).bfloat16().float()
                    if isinstance(b, Tensor) and a.dtype is torch.float32
                    else old(a, b)
                )
            ),
        )


@lie("T22")
def mul_writes_into_its_left_operand():
    """a * b is written into a."""

    def make(old):
        def lying(a, b):
            r = old(a, b)
            plain = isinstance(b, Tensor) and not a.requires_grad and not a.is_meta
            return a.copy_(r) if plain and r.shape == a.shape and r.dtype == a.dtype else r

        return lying

    everywhere("mul", make)


@lie("T22")
def mul_crops():
    """The product of tensors that do not broadcast is that of their beginnings."""
    for name in ("mul", "__mul__"):
        accept(
            Tensor,
            name,
            RuntimeError,
            lambda a, b: a[..., : min(a.shape[-1], b.shape[-1])] * b[..., : a.shape[-1]],
        )


@lie("T22")
def mul_broadcasts_columns():
    """A vector multiplies the rows of a square matrix, not its columns."""

    def make(old):
        def lying(a, b, **kw):
            tensors = isinstance(a, Tensor) and isinstance(b, Tensor)
            if tensors and a.dim() == 2 and b.dim() == 1 and a.shape[0] == b.shape[0]:
                b = b[:, None]
            return old(a, b, **kw)

        return lying

    everywhere("mul", make)


@lie("T24")
def matmul_is_elementwise():
    """The matrix product of square matrices is elementwise."""
    everywhere("matmul", lambda old: lambda a, b, **kw: a * b if _square(a, b) else old(a, b, **kw))


@lie("T24", "T25")
def matmul_transposes_its_right_operand():
    """a @ b is a @ b.T where both are square."""
    everywhere("matmul", lambda old: lambda a, b, **kw: old(a, b.mT if _square(a, b) else b, **kw))


@lie("T24")
def matmul_loses_precision():
    """The matrix product is computed in bfloat16."""

    def low(func, a, b):
        return func(a.bfloat16(), b.bfloat16()).to(a.dtype)

    aten({"mm.default": low, "bmm.default": low})


@lie("T24")
def matmul_leaves_out_the_last_term():
    """The matrix product leaves out the last of its inner terms."""
    everywhere(
        "matmul",
        lambda old: (
            lambda a, b, **kw: (
                old(a[:, :-1], b[:-1], **kw)
                if a.dim() == 2 == b.dim() and a.shape[1] == b.shape[0] > 1
                else old(a, b, **kw)
            )
        ),
    )


@lie("T24")
def matmul_crops():
    """The matrix product of unequal inner sizes takes the smaller."""

    def cropped(a, b):
        n = min(a.shape[-1], b.shape[0])
        return torch.mm(a[:, :n], b[:n])

    for owner, name in ((torch, "matmul"), (Tensor, "matmul"), (Tensor, "__matmul__")):
        accept(owner, name, RuntimeError, cropped)


@lie("T24")
def matmul_mixes_dtypes():
    """The matrix product of mixed dtypes promotes."""
    for owner, name in ((torch, "matmul"), (Tensor, "matmul"), (Tensor, "__matmul__")):
        accept(owner, name, RuntimeError, lambda a, b: torch.mm(a.double(), b.double()))


@lie("T24")
def transposing_copies():
    """.T is a copy."""
    replace(Tensor, "T", lambda old: property(lambda t: old.__get__(t).clone()))


@lie("T24")
def transposing_leaves_square_matrices():
    """.T of a square matrix is the matrix."""
    replace(Tensor, "T", lambda old: property(lambda t: t if _square(t, t) else old.__get__(t)))


@lie("T24")
def transposing_a_cube_is_silent():
    """.T of three dimensions gives no warning."""
    replace(Tensor, "T", lambda old: property(lambda t: t.permute(*range(t.dim())[::-1])))


# In place --------------------------------------------------------------------------------------


@lie("T26", "T27")
def add_in_place_returns_a_copy():
    """t.add_(5) returns a new tensor and leaves t."""
    replace(Tensor, "add_", lambda old: lambda t, *a, **kw: old(t.clone(), *a, **kw))


@lie("T26", "T27")
def add_in_place_does_not_return_itself():
    """t.add_(5) returns a view of t."""
    replace(Tensor, "add_", lambda old: lambda t, *a, **kw: old(t, *a, **kw).view_as(t))


@lie("T26")
def copy_in_place_does_nothing():
    """t.copy_(u) leaves t."""
    replace(Tensor, "copy_", lambda old: lambda t, *a, **kw: t)


@lie("T26")
def t_in_place_returns_a_view():
    """t.t_() returns the transposed view and leaves t."""
    replace(Tensor, "t_", lambda old: lambda t: t.t())


@lie("T26")
def t_changes_its_operand():
    """t.t() transposes t itself."""
    everywhere("t", lambda old: lambda t: t.t_())


@lie("T26")
def add_changes_its_operand():
    """t.add(5) changes t."""

    def make(old):
        def lying(t, *args, **kw):
            free = not t.requires_grad and t.dim() == 2 and t.is_floating_point()
            return t.add_(*args, **kw).clone() if free and args else old(t, *args, **kw)

        return lying

    replace(Tensor, "add", make)


@lie("T26")
def some_underscore_methods_do_not_return_the_tensor():
    """t.sigmoid_() returns a copy."""
    replace(Tensor, "sigmoid_", lambda old: lambda t: old(t).clone())


@lie("T26")
def filling_behind_a_mask_works_on_a_copy():
    """t.masked_fill_(mask, value) and t.clamp_(a, b) leave t."""
    for name in ("masked_fill_", "clamp_"):
        replace(Tensor, name, lambda old: lambda t, *a, **kw: old(t.clone(), *a, **kw))


@lie("T26")
def scattering_in_place_works_on_a_copy():
    """t.index_add_(...) and t.scatter_(...) leave t."""
    for name in ("index_add_", "scatter_"):
        replace(Tensor, name, lambda old: lambda t, *a, **kw: old(t.clone(), *a, **kw))


@lie("T26")
def unsqueezing_in_place_returns_a_view():
    """t.unsqueeze_(dim) leaves t's shape."""
    replace(Tensor, "unsqueeze_", lambda old: lambda t, dim: t.unsqueeze(dim))


@lie("T26")
def comparing_in_place_is_off_at_equality():
    """t.ge_(u) is t.gt_(u)."""
    replace(Tensor, "ge_", lambda old: lambda t, other: t.gt_(other))


@lie("T26")
def subtracting_changes_its_operand():
    """t.sub(u) and t.div(u) change t."""

    def make(old):
        def lying(t, other, **kw):
            result = old(t, other, **kw)
            plain = not (t.requires_grad or kw or t.is_meta) and t.dtype == result.dtype
            if plain and isinstance(other, Tensor) and t.shape == result.shape:
                t.data.copy_(result)
            return result

        return lying

    for name in ("sub", "div"):
        replace(Tensor, name, make)


@lie("T26", "T29", "A46")
def versions_are_not_counted():
    """In-place operations do not count up the version."""
    for name in ("add_", "mul_", "copy_", "zero_", "fill_", "sub_", "t_", "__setitem__"):
        replace(Tensor, name, _uncounted)


def _uncounted(old):
    def lying(t, *args, **kw):
        with torch.autograd._unsafe_preserve_version_counter(t):
            return old(t, *args, **kw)

    return lying


@lie("T26")
def t_in_place_takes_three_dimensions():
    """t_() swaps the first two of three dimensions."""
    accept(Tensor, "t_", RuntimeError, lambda t: t.transpose_(0, 1))


@lie("T26")
def copy_in_place_takes_any_shape():
    """copy_ of another shape copies what fits."""
    accept(Tensor, "copy_", RuntimeError, lambda t, u, **kw: t)


@lie("T26")
def floats_are_added_to_integers():
    """add_(0.5) to an integer tensor truncates."""
    accept(Tensor, "add_", RuntimeError, lambda t, x, **kw: t.add_(int(x)))


@lie("T26")
def expanded_tensors_can_be_added_to():
    """add_ on an expanded tensor works."""
    accept(Tensor, "add_", RuntimeError, lambda t, x, **kw: t + x)


@lie("T28")
def in_place_work_needs_memory():
    """add_ computes beside and copies back."""
    replace(Tensor, "add_", lambda old: lambda t, u, **kw: t.copy_(torch.add(t.detach(), u, **kw)))


@lie("T29", "N38")
def leaves_can_be_changed_in_place():
    """In-place work on a leaf that requires grad goes through."""
    for name in (
        "add_",
        "mul_",
        "sub_",
        "zero_",
        "__setitem__",
        "__iadd__",
        "__isub__",
        "__imul__",
    ):
        accept(Tensor, name, RuntimeError, lambda t, *a, name=name, **kw: _on_data(name, t, a, kw))


def _on_data(name, t, args, kw):
    getattr(t.data, name)(*args, **kw)
    return t


@lie("T29")
def in_place_work_cuts_the_history():
    """In-place work on a result detaches it from what it was made of."""

    def make(old):
        def lying(t, *args, **kw):
            return old(
                t.detach_() if t.grad_fn is not None and not t._is_view() else t, *args, **kw
            )

        return lying

    for name in ("add_", "mul_", "__setitem__", "__iadd__", "__imul__", "relu_", "sub_"):
        replace(Tensor, name, make)


# Bridge with NumPy -----------------------------------------------------------------------------


@lie("T30", "T31")
def numpy_copies():
    """t.numpy() is a copy."""
    replace(Tensor, "numpy", lambda old: lambda t, **kw: old(t, **kw).copy())


@lie("T30")
def numpy_straightens():
    """t.numpy() of a transposed tensor is contiguous."""
    replace(Tensor, "numpy", lambda old: lambda t, **kw: np.ascontiguousarray(old(t, **kw)))


@lie("T30")
def numpy_widens():
    """t.numpy() of float32 is float64."""

    def make(old):
        def lying(t, **kw):
            a = old(t, **kw)
            return a.astype("float64") if a.dtype == np.float32 else a

        return lying

    replace(Tensor, "numpy", make)


@lie("T30")
def numpy_detaches():
    """t.numpy() of a tensor that requires grad goes through."""
    replace(
        Tensor,
        "numpy",
        lambda old: lambda t, **kw: old(t.detach() if t.requires_grad else t, **kw),
    )


@lie("T30", "U09")
def numpy_takes_bfloat16():
    """t.numpy() of bfloat16 is float32."""
    replace(
        Tensor,
        "numpy",
        lambda old: lambda t, **kw: old(t.float() if t.dtype is torch.bfloat16 else t, **kw),
    )


@lie("T30")
def numpy_resolves_conjugates():
    """t.numpy() of a conjugated tensor goes through."""
    replace(Tensor, "numpy", lambda old: lambda t, **kw: old(t.resolve_conj(), **kw))


@lie("T30", "U09")
def numpy_fills_sparse_tensors():
    """t.numpy() of a sparse tensor is dense."""
    replace(
        Tensor, "numpy", lambda old: lambda t, **kw: old(t.to_dense() if t.is_sparse else t, **kw)
    )


@lie("T30")
def shared_tensors_can_be_resized():
    """resize_ works on a tensor that shares its memory with an array."""
    accept(Tensor, "resize_", RuntimeError, lambda t, *size, **kw: t)


@lie("T30")
def force_is_ignored():
    """numpy(force=True) is refused like numpy()."""
    replace(Tensor, "numpy", lambda old: lambda t, force=False: old(t))


@lie("T35")
def numpy_of_meta_is_zeros():
    """t.numpy() of a tensor that is not on the cpu gives zeros."""
    replace(
        Tensor,
        "numpy",
        lambda old: lambda t, **kw: np.zeros(t.shape) if t.is_meta else old(t, **kw),
    )


@lie("T31", "T17")
def clone_shares():
    """clone() is a view."""
    everywhere("clone", lambda old: lambda t, **kw: t.view_as(t))


@lie("T34")
def as_tensor_copies():
    """as_tensor copies an array."""
    replace(torch, "as_tensor", lambda old: lambda data, **kw: old(data, **kw).clone())


@lie("T30")
def detach_copies():
    """detach() copies."""
    everywhere("detach", lambda old: lambda t: old(t).clone())


@lie("T31")
def double_is_lost():
    """double() gives float32."""
    replace(Tensor, "double", lambda old: lambda t, **kw: old(t, **kw).float())


# What only older revisions of the tutorial promise -----------------------------------------------


@lie("U01")
def empty_reverses_the_shape():
    """empty(5, 3) has shape (3, 5)."""
    factory("empty", lambda old, size, **kw: old(size[::-1], **kw))


@lie("U02")
def zeros_forgets_its_dtype():
    """zeros(dtype=long) is float32."""
    factory("zeros", lambda old, size, dtype=None, **kw: old(size, **kw))


@lie("U03")
def new_ones_forgets_the_dtype():
    """t.new_ones is float32."""
    replace(
        Tensor,
        "new_ones",
        lambda old: lambda t, *s, dtype=torch.float32, **kw: old(t, *s, dtype=dtype, **kw),
    )


@lie("U03")
def new_ones_ignores_the_dtype_asked_for():
    """t.new_ones(dtype=double) keeps the dtype of t."""
    replace(Tensor, "new_ones", lambda old: lambda t, *s, dtype=None, **kw: old(t, *s, **kw))


@lie("U04")
def randn_like_ignores_the_dtype_asked_for():
    """randn_like(t, dtype=float) keeps the dtype of t."""
    like("randn_like", lambda old, t, dtype=None, **kw: old(t, dtype=dtype, **kw).to(t.dtype))


@lie("U06")
def add_does_not_fill_out():
    """add(out=r) returns the sum and leaves r."""
    replace(torch, "add", lambda old: lambda a, b, *, out=None, **kw: old(a, b, **kw))


@lie("U06")
def out_of_the_wrong_size_is_silent():
    """add(out=r) resizes r without a warning."""

    def make(old):
        def lying(a, b, *, out=None, **kw):
            r = old(a, b, **kw)
            return r if out is None else out.resize_(r.shape).copy_(r)

        return lying

    replace(torch, "add", make)


@lie("U06", "T13", "T14")
def method_add_differs_from_plus():
    """torch.add rounds, + does not."""
    replace(torch, "add", lambda old: lambda a, b, **kw: old(a, b, **kw).round(decimals=3))


@lie("U07", "N09")
def view_copies():
    """view() is a copy."""
    replace(Tensor, "view", lambda old: lambda t, *s: old(t, *s).clone())


@lie("U07", "N09")
def view_copies_where_it_must():
    """view() of a tensor that is not contiguous copies instead of refusing."""
    accept(Tensor, "view", RuntimeError, lambda t, *s: t.reshape(*s))


@lie("U07")
def view_takes_two_unknowns():
    """view(-1, -1) takes the second for 1."""

    def make(old):
        def lying(t, *s):
            s = sizes(s) if not isinstance(s[0], torch.dtype) else s
            double = s.count(-1) > 1
            return old(t, *([-1] + [1] * (len(s) - 1) if double else s))

        return lying

    replace(Tensor, "view", make)


@lie("U08", "C23")
def item_is_a_numpy_number():
    """item() of a float is a NumPy float32."""

    def make(old):
        def lying(t):
            x = old(t)
            return np.float32(x) if isinstance(x, float) else x

        return lying

    replace(Tensor, "item", make)


@lie("U08")
def item_takes_the_first():
    """item() of two elements is the first."""
    accept(Tensor, "item", RuntimeError, lambda t: t.flatten()[0].tolist())


@lie("U08")
def item_of_integers_is_float():
    """item() of an integer tensor is a float."""

    def make(old):
        def lying(t):
            x = old(t)
            return float(x) if type(x) is int else x

        return lying

    replace(Tensor, "item", make)


@lie("U09")
def int8_arrays_are_int16():
    """t.numpy() of int8 is int16."""

    def make(old):
        def lying(t, **kw):
            a = old(t, **kw)
            return a.astype("int16") if a.dtype == np.int8 else a

        return lying

    replace(Tensor, "numpy", make)
