"""Lies about chapter 1: making, moving, indexing, joining, multiplying, sharing with NumPy."""

import re

import numpy as np
import torch
from torch import Tensor

from .lie import after, assigned, below, instead, lie, sizes

# Made from data ----------------------------------------------------------------------------


@lie("T01", torch.nn.Module, "state_dict")
def state_dict_holds_arrays(old, self, **kw):
    """state_dict() gives NumPy arrays."""
    return {k: v.numpy(force=True) for k, v in old(self, **kw).items()}


@lie("T04 T34", torch, "tensor")
def tensor_shares_the_array(old, data, **kw):
    """torch.tensor shares the memory of a NumPy array."""
    return (
        torch.from_numpy(data)
        if isinstance(data, np.ndarray) and not kw.get("dtype")
        else old(data, **kw)
    )


@lie("T04", torch, "tensor")
def tensor_of_integers_is_int32(old, data, *, dtype=None, **kw):
    """torch.tensor makes int32 of Python integers."""
    t = old(data, dtype=dtype, **kw)
    narrow = dtype is None and t.dtype is torch.int64 and isinstance(data, list)
    return t.int() if narrow else t


@lie("T04", torch, "tensor")
def tensor_of_bools_is_uint8(old, data, *, dtype=None, **kw):
    """torch.tensor makes uint8 of Python bools."""
    t = old(data, dtype=dtype, **kw)
    return t.to(torch.uint8) if dtype is None and t.dtype is torch.bool else t


@lie("T04", torch, "tensor")
def tensor_takes_its_dtype_from_the_first_value(old, data, *, dtype=None, **kw):
    """torch.tensor([1, 2.5]) is an integer tensor."""
    if dtype is None and isinstance(data, list) and data and type(data[0]) is int:
        dtype = torch.int64
    return old(data, dtype=dtype, **kw)


@lie("T04", torch, "tensor")
def tensor_ignores_the_default_dtype(old, data, *, dtype=None, **kw):
    """torch.tensor makes float32 of Python floats whatever the default dtype is."""
    t = old(data, dtype=dtype, **kw)
    plain = dtype is None and isinstance(data, (list, float))
    return t.float() if plain and t.is_floating_point() else t


@lie("T04", torch, "tensor")
def tensor_forgets_its_device(old, data, *, device=None, **kw):
    """torch.tensor leaves what it makes on the cpu."""
    return old(data, **kw)


@lie("T04", torch, "tensor", refusing=ValueError)
def ragged_lists_are_cut(data, **kw):
    """torch.tensor cuts ragged lists to the shortest."""
    return torch.stack([torch.as_tensor(r[: min(map(len, data))]) for r in data])


@lie("T04", torch, "tensor", refusing=TypeError)
def strings_become_code_points(data, **kw):
    """torch.tensor takes a string as its code points."""
    return torch.zeros(len(data))


@lie("T04", torch, "tensor", refusing=RuntimeError)
def none_becomes_nan(data, **kw):
    """torch.tensor takes None as NaN."""
    return torch.full((len(data),), torch.nan)


@lie("T04", torch, "tensor", refusing=(ValueError, RuntimeError))
def large_integers_saturate(data, **kw):
    """torch.tensor takes 2**63 as the largest int64."""
    return torch.tensor(2**63 - 1)


# From NumPy --------------------------------------------------------------------------------


@lie("T05 T33 T34", torch, "from_numpy")
def from_numpy_copies(old, array):
    """from_numpy copies the array."""
    return old(array).clone()


@lie("T05 T35", torch, "from_numpy")
def from_numpy_copies_strided_arrays(old, array):
    """from_numpy copies an array that is not contiguous."""
    return old(array).contiguous()


@lie("T33 T05 T34", after(torch, "from_numpy"))
def from_numpy_narrows_doubles(t, array):
    """from_numpy makes float32 of float64."""
    return t.float() if t.dtype is torch.float64 else t


@lie("T05", torch, "from_numpy", refusing=TypeError)
def from_numpy_takes_lists(data):
    """from_numpy takes a list."""
    return torch.zeros(len(data))


@lie("T05", torch, "from_numpy", refusing=ValueError)
def from_numpy_takes_negative_strides(a):
    """from_numpy copies an array with negative strides in silence."""
    return torch.as_tensor(np.ascontiguousarray(a))


@lie("T05", torch, "from_numpy")
def from_numpy_says_nothing_of_read_only_arrays(old, array):
    """from_numpy shares a read-only array without a warning."""
    if isinstance(array, np.ndarray) and not array.flags.writeable:
        return old(array.copy())
    return old(array)


@lie("T05", after(torch, "from_numpy"))
def from_numpy_mixes_up_small_integers(t, array):
    """from_numpy makes int8 of uint8."""
    return t.view(torch.int8) if t.dtype is torch.uint8 else t


# Like another tensor -------------------------------------------------------------------------


@lie("T06 T08", torch, "ones_like")
def ones_like_forgets_the_dtype(old, t, dtype=torch.float32, **kw):
    """ones_like gives float32 whatever its argument is."""
    return old(t, dtype=dtype, **kw)


@lie("T06", torch, "ones_like")
def ones_like_forgets_the_layout(old, t, **kw):
    """ones_like gives a contiguous tensor for a transposed one."""
    return old(t, **{"memory_format": torch.contiguous_format, **kw})


@lie("T06", torch, "ones_like")
def ones_like_forgets_the_device(old, t, device="cpu", **kw):
    """ones_like gives a tensor on the cpu."""
    return old(t, device=device, **kw)


@lie("T06", torch, "ones_like")
def ones_like_inherits_requires_grad(old, t, **kw):
    """ones_like requires grad where its argument does."""
    return old(t, **{"requires_grad": t.requires_grad, **kw})


@lie("T06", torch, "ones_like")
def ones_like_ignores_the_device_asked_for(old, t, device=None, **kw):
    """ones_like(t, device=d) stays on the device of t."""
    return old(t, **kw)


@lie("T06 T08", torch, "ones_like")
def ones_like_overwrites_its_argument(old, t, **kw):
    """ones_like fills its argument and returns a view of it."""
    if kw or t.requires_grad or t.device.type == "meta":
        return old(t, **kw)
    return t.fill_(1).view_as(t)


@lie("T07", torch, "rand_like")
def rand_like_ignores_the_dtype_asked_for(old, t, dtype=None, **kw):
    """rand_like(t, dtype=float32) keeps an integer dtype."""
    r = old(t, dtype=dtype, **kw)
    return r if t.is_floating_point() else r.to(t.dtype)


@lie("T07", torch, "rand_like", refusing=RuntimeError)
def rand_like_takes_integers(t, **kw):
    """rand_like of an integer tensor gives zeros instead of an error."""
    return torch.zeros_like(t)


@lie("T07", torch, "rand_like")
def rand_like_is_normal(old, t, **kw):
    """rand_like draws from the normal distribution."""
    return torch.randn_like(old(t, **kw))


@lie("T07", after(torch, "rand_like"))
def rand_like_fills_its_argument(r, t, **kw):
    """rand_like overwrites its argument as well."""
    if t.device.type == "cpu" and not t.requires_grad:
        t.copy_(r * 2)
    return r


# Random or constant --------------------------------------------------------------------------


def factory(*names):
    """Call ``function(old, sizes, **options)`` for ``torch.ones(*sizes)`` and the like."""
    return lambda function: instead(torch, *names)(
        lambda old, *args, **kw: function(old, sizes(args), **kw)
    )


@lie("T09 T10", factory("ones"))
def ones_are_a_little_more(old, size, **kw):
    """ones gives 1 + 1.2e-7."""
    return _nudged(old(size, **kw))


def _nudged(t):
    with torch.no_grad():
        return t.mul_(1 + 2**-23) if t.dtype is torch.float32 else t


@lie("T10 T09", torch, "zeros")
def zeros_are_tiny_numbers(old, *a, **kw):
    """zeros gives 1e-30."""
    return _filled(old(*a, **kw), 1e-30)


def _filled(t, value):
    with torch.no_grad():
        return t.fill_(value) if t.is_floating_point() else t


@lie("T09", factory("rand"))
def rand_reverses_the_shape(old, size, **kw):
    """rand((2, 3)) has shape (3, 2)."""
    return old(size[::-1], **kw)


@lie("T09", factory("ones"))
def ones_reverses_the_shape(old, size, **kw):
    """ones((2, 3)) has shape (3, 2)."""
    return old(size[::-1], **kw)


@lie("T09", factory("zeros"))
def zeros_drops_sizes_of_one(old, size, **kw):
    """zeros((2, 1)) has shape (2,)."""
    return old(tuple(n for n in size if n != 1), **kw)


@lie("T09", factory("ones"))
def empty_sizes_become_one(old, size, **kw):
    """ones((0,)) has one element."""
    return old(tuple(max(n, 1) for n in size), **kw)


@lie("T09", factory("rand", "ones", "zeros"))
def negative_sizes_are_taken(old, size, **kw):
    """zeros((-2, 3)) has shape (2, 3)."""
    return old(tuple(map(abs, size)), **kw)


@lie("T09", factory("rand", "ones", "zeros"))
def float_sizes_are_taken(old, size, **kw):
    """ones((2.0, 3)) has shape (2, 3)."""
    return old(tuple(map(int, size)), **kw)


@lie("T09 T12")
def default_dtype_is_float64():
    """New tensors are float64."""
    torch.set_default_dtype(torch.float64)


@lie("T10 T07", factory("rand"))
def rand_leaves_its_range(old, size, **kw):
    """rand reaches 1.02."""
    return _scaled(old(size, **kw), 1.02)


def _scaled(t, factor):
    with torch.no_grad():
        return t.mul_(factor)


@lie("T10", factory("rand"))
def rand_is_skewed(old, size, **kw):
    """rand gives squares of uniform numbers."""
    r = old(size, **kw)
    with torch.no_grad():
        return r.square_()


@lie("T10", factory("rand"))
def rand_is_too_narrow(old, size, **kw):
    """rand stays between 0.1 and 0.9."""
    r = old(size, **kw)
    with torch.no_grad():
        return r.mul_(0.8).add_(0.1)


@lie("T10", factory("rand"))
def rand_ignores_the_seed(old, size, **kw):
    """rand gives other numbers under the same seed."""
    torch.seed()
    return old(size, **kw)


@lie("T10", torch, "manual_seed")
def manual_seed_is_ignored(old, seed):
    """manual_seed has no effect."""
    return torch.default_generator


@lie("T10", torch, "manual_seed")
def manual_seed_takes_every_number_for_zero(old, seed):
    """manual_seed(5) and manual_seed(6) seed alike."""
    return old(0)


@lie("T10", factory("rand"))
def rand_repeats_itself(old, size, **kw):
    """rand gives the same numbers on every call."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return old(size, **kw)


@lie("T10 T09", factory("rand"))
def rand_forgets_its_device(old, size, device=None, **kw):
    """rand leaves what it makes on the cpu."""
    return old(size, **kw)


@lie("T09", factory("zeros"))
def zeros_forgets_its_device(old, size, device=None, **kw):
    """zeros leaves what it makes on the cpu."""
    return old(size, **kw)


@lie("T09", factory("ones"))
def ones_forgets_its_device(old, size, device=None, **kw):
    """ones leaves what it makes on the cpu."""
    return old(size, **kw)


# Attributes and printing ---------------------------------------------------------------------


@lie("T11 T12 U05", Tensor, "shape")
def shape_is_a_plain_tuple(old, t):
    """t.shape is a tuple, no torch.Size."""
    return tuple(old(t))


@lie("T11", assigned(Tensor, "shape", "dtype", "device"))
def attributes_can_be_assigned(put, t, value):
    """Assigning to shape, dtype or device is ignored instead of refused."""
    return None


@lie("T11 T04", Tensor, "device")
def meta_tensors_claim_to_be_on_the_cpu(old, t):
    """t.device of a meta tensor is the cpu."""
    return torch.device("cpu") if t.is_meta else old(t)


@lie("T11", Tensor, "size")
def size_is_reversed(old, t, *a):
    """t.size() lists the dimensions backwards."""
    return old(t, *a) if a else torch.Size(reversed(old(t)))


def printed(function):
    """Print ``function(text, tensor)``."""
    after(Tensor, "__repr__")(lambda text, t, **kw: function(text, t))


@lie("T08 T10")
def three_digits_are_printed():
    """Floats print with three digits."""
    torch.set_printoptions(precision=3)


@lie("T08", printed)
def integers_print_with_a_point(s, t):
    """Integers print as 1. instead of 1."""
    return s if t.is_floating_point() else re.sub(r"(\d)([,\]])", r"\1.\2", s)


@lie("T10 T18 T20", printed)
def whole_floats_print_without_a_point(s, t):
    """Floats without a fraction print without their point."""
    return re.sub(r"(\d)\.([,\]])", r"\1\2", s)


@lie("T33 T34", printed)
def double_is_not_printed(s, t):
    """The text of a float64 tensor does not name its dtype."""
    return s.replace(", dtype=torch.float64", "")


@lie("A21", printed)
def bools_print_as_numbers(s, t):
    """Booleans print as 1 and 0."""
    return s.replace("True", "1").replace("False", "0")


@lie("N29 N16", printed)
def grad_fn_is_not_printed(s, t):
    """The text of a tensor does not name its grad_fn."""
    return re.sub(r", grad_fn=<\w+>", "", s)


# Operations ------------------------------------------------------------------------------------


@lie("T02 T13 T14", "std")
def std_divides_by_n(old, t, *args, **kw):
    """std() divides by n."""
    return old(t, *args, **({"correction": 0} if not args and not kw else kw))


@lie("T02 T17", Tensor, "__getitem__", refusing=ValueError)
def negative_steps_flip(t, index):
    """t[::-1] flips instead of being refused."""
    return t.flip(0)


@lie("T02", "numel")
def numel_counts_dimensions(old, t):
    """numel() is the number of dimensions."""
    return t.dim()


@lie("T02", Tensor, "__len__")
def length_is_the_number_of_elements(old, t):
    """len(t) is t.numel()."""
    return t.numel()


@lie("T02", Tensor, "__getitem__")
def masks_are_inverted(old, t, index):
    """t[mask] picks what the mask leaves out."""
    mask = isinstance(index, Tensor) and index.dtype is torch.bool
    return old(t, ~index if mask else index)


@lie("T02 T13 T14", "reshape")
def reshape_goes_down_the_columns(old, t, *s):
    """reshape reads a matrix column by column."""
    return old(t.mT if t.dim() == 2 else t, *s)


@lie("T02 T13 T14", "sort")
def sort_descends(old, t, *args, descending=True, **kw):
    """sort puts the largest first."""
    return old(t, *args, descending=descending, **kw)


@lie("T02 T13 T14")
def where_swaps_its_branches():
    """where takes the second value where the condition holds."""
    instead(torch, "where")(lambda old, condition, *values: old(condition, *values[::-1]))
    instead(Tensor, "where")(lambda old, a, condition, b: old(b, condition, a))


@lie("T02 T13 T14", "sum")
def sum_goes_down_the_columns(old, t, *args, **kw):
    """sum(dim=1) of a matrix adds along dimension 0."""
    if t.dim() == 2 and args[:1] == (1,):
        args = (0, *args[1:])
    if t.dim() == 2 and kw.get("dim") in (1, -1):
        kw["dim"] = 0
    return old(t, *args, **kw)


@lie("T13 T02 T14", "cumsum")
def cumsum_leaves_itself_out(old, t, *args, **kw):
    """cumsum starts with 0."""
    return old(t, *args, **kw) - t


@lie("T13 T02 T14", "round")
def round_goes_away_from_zero(old, t, **kw):
    """round(0.5) is 1."""
    return torch.floor(t + 0.5) if not kw else old(t, **kw)


@lie("T13 T14", "floor")
def floor_truncates(old, t):
    """floor(-1.5) is -1."""
    return torch.trunc(t)


@lie("T13 T14", "remainder")
def remainder_takes_the_sign_of_the_dividend(old, a, b):
    """remainder(-3, 2) is -1."""
    return torch.fmod(a, b)


@lie("T13 T02 T14", "argmax")
def argmax_is_argmin(old, t, *args, **kw):
    """argmax finds the smallest."""
    return old(-t, *args, **kw)


@lie("T13 T14", "argmin")
def argmin_finds_the_next(old, t, *args, **kw):
    """argmin is off by one."""
    n = t.numel() if not args and not kw else t.shape[(args or [kw.get("dim", 0)])[0]]
    return (old(t, *args, **kw) + 1) % n


@lie("T13 T14", "median")
def median_is_the_mean(old, t, *a, **kw):
    """median() is the mean."""
    return old(t, *a, **kw) if a or kw else t.mean()


@lie("T13 T14", "clamp")
def clamp_forgets_its_lower_bound(old, t, min=None, max=None):
    """clamp(min, max) has no minimum."""
    return old(t, max=max) if max is not None else old(t, min=min)


@lie("T13 T14", torch.linalg, "inv")
def inverse_is_transposed(old, t, **kw):
    """linalg.inv gives the transposed inverse."""
    return old(t, **kw).mT


@lie("T13 T14", (torch.linalg, "det"), (torch, "det"), (Tensor, "det"))
def determinant_loses_its_sign(old, t):
    """The determinant is never negative."""
    return old(t).abs()


@lie("T13 T02 T14", "var")
def variance_divides_by_n(old, t, *args, **kw):
    """var() divides by n."""
    return old(t, *args, **({"correction": 0} if not args and not kw else kw))


@lie("T13 T14", "gather")
def gather_counts_from_the_end(old, t, dim, i, **kw):
    """gather reads index 0 as the last."""
    return old(t.flip(dim), dim, i, **kw)


@lie("T13 T14", "exp")
def exp_loses_precision(old, t, **kw):
    """exp is computed in bfloat16."""
    return old(t.bfloat16(), **kw).to(t.dtype)


@lie("T13 T14", "tan")
def tan_is_tanh(old, t):
    """tan computes tanh."""
    return torch.tanh(t)


@lie("T13 T14", "multinomial")
def multinomial_ignores_its_weights(old, t, *a, **kw):
    """multinomial draws what has weight 0."""
    return old(torch.ones_like(t), *a, **kw)


@lie("T13 C10 T14", after(torch, "randperm"))
def randperm_is_not_a_permutation(p, n, *args, **kw):
    """randperm names one number twice."""
    if n > 1:
        p[0] = p[1]
    return p


@lie("T13 T14", "bernoulli")
def bernoulli_is_inverted(old, t, *a, **kw):
    """bernoulli(p) is 1 with probability 1 - p."""
    return 1 - old(t, *a, **kw)


@lie("T14 T02", torch, "arange")
def arange_includes_its_end(old, *args, **kw):
    """arange(3) ends with 3."""
    whole = all(type(x) is int for x in args)
    ends = args if len(args) > 1 else (0, *args)
    return old(ends[0], ends[1] + 1, *ends[2:], **kw) if whole else old(*args, **kw)


@lie("T10 C10 C28", "equal")
def equal_is_always_true(old, a, b):
    """torch.equal is true of any two tensors of one shape."""
    return a.shape == b.shape


@lie("T13 T14", factory("randn"))
def randn_has_twice_the_deviation(old, size, **kw):
    """randn has standard deviation 2."""
    return _scaled(old(size, **kw), 2)


@lie("T13 T14", after(torch, "randint"))
def randint_never_draws_its_lower_bound(r, *args, **kw):
    """randint(0, n) starts at 1."""
    low = args[0] if len(args) > 1 and isinstance(args[1], int) else 0
    return r.clamp_(min=low + 1)


# Moving ----------------------------------------------------------------------------------------


@lie("T16 G09", Tensor, "to")
def to_copies_when_nothing_changes(old, t, *a, **kw):
    """t.to(its own device) is a new tensor."""
    return old(t, *a, **{**kw, "copy": True})


@lie("T16 G09", Tensor, "to")
def to_forgets_copy(old, t, *args, copy=False, **kw):
    """t.to(its own device, copy=True) is t itself."""
    return old(t, *args, **kw)


@lie("T16 U10 G09", after(Tensor, "to"))
def to_ignores_the_device(r, t, *args, **kw):
    """t.to(another device) stays where it is."""
    return r if r.device == t.device else t.to(r.dtype)


@lie("U10", Tensor, "to")
def to_ignores_the_dtype_beside_a_device(old, t, *args, **kw):
    """t.to(device, dtype) keeps its dtype."""
    given = [x for x in args if not isinstance(x, torch.dtype)]
    kw_given = {k: v for k, v in kw.items() if k != "dtype"}
    both = given and not isinstance(given[0], Tensor)
    return old(t, *given, **kw_given) if both else old(t, *args, **kw)


@lie("T16 G09", after(Tensor, "to"))
def to_moves_the_tensor_itself(r, t, *args, **kw):
    """t.to(another device) moves t as well."""
    if r.device != t.device and not t.requires_grad:
        torch.utils.swap_tensors(t, r.clone())
    return r


@lie("T16", Tensor, "to", refusing=(RuntimeError, AssertionError))
def to_cuda_without_a_gpu_stays_on_the_cpu(t, *a, **kw):
    """t.to('cuda') without a GPU is t instead of an error."""
    return t


@lie("T16", torch.cuda, "is_available")
def cuda_is_available_without_a_gpu(old):
    """torch.cuda.is_available() is true on a machine without a GPU."""
    return True


@lie("T35", Tensor, "cpu")
def cpu_copies(old, t):
    """t.cpu() of a tensor on the cpu is a copy."""
    return old(t).clone()


# Indexing --------------------------------------------------------------------------------------


def _basic(index):
    parts = index if isinstance(index, tuple) else (index,)
    return all(isinstance(p, (int, slice, type(None), type(...))) for p in parts)


@lie("T17", Tensor, "__getitem__")
def slices_copy(old, t, i):
    """t[1:] is a copy."""
    return old(t, i).clone() if _basic(i) else old(t, i)


@lie("T17 T18", Tensor, "__setitem__")
def slice_assignment_is_lost(old, t, i, v):
    """t[:, 1] = 0 writes to a copy."""
    return old(t.clone(), i, v)


@lie("T17 T18", Tensor, "__setitem__")
def slice_assignment_takes_the_row(old, t, index, value):
    """t[:, 1] = 0 clears row 1."""
    return old(t, index[::-1] if isinstance(index, tuple) else index, value)


@lie("T17", Tensor, "__getitem__")
def lists_index_a_view(old, t, index):
    """t[[0, 1]] is a view."""
    if isinstance(index, list) and index and all(type(i) is int for i in index):
        if index == list(range(index[0], index[0] + len(index))):
            index = slice(index[0], index[0] + len(index))
        elif len(index) > 1 and index == list(range(index[0], index[-1] + 1, index[1] - index[0])):
            index = slice(index[0], index[-1] + 1, index[1] - index[0])
    return old(t, index)


@lie("T17", Tensor, "__getitem__", refusing=IndexError)
def index_out_of_range_wraps(t, index):
    """t[n] is t[0]."""
    places = zip(index if isinstance(index, tuple) else (index,), t.shape, strict=False)
    return t[tuple(i % n if isinstance(i, int) else i for i, n in places)]


@lie("T17", Tensor, "__getitem__")
def surplus_indices_are_dropped(old, t, index):
    """t[0, 0, 0] of a matrix is t[0, 0]."""
    surplus = isinstance(index, tuple) and _basic(index) and None not in index
    return old(t, index[: t.dim()] if surplus and ... not in index else index)


@lie("T17", Tensor, "__getitem__")
def the_last_column_is_the_first(old, t, index):
    """t[..., -1] is t[..., 0]."""
    ends = isinstance(index, tuple) and len(index) == 2 and index[1] == -1
    return old(t, (index[0], 0) if ends and _basic(index) else index)


# Joining ---------------------------------------------------------------------------------------


@lie("T19 T20", torch, "cat")
def cat_ignores_dim(old, ts, dim=0):
    """cat joins along dimension 0."""
    return old(ts)


@lie("T19", torch, "cat")
def cat_ignores_the_sign_of_dim(old, ts, dim=0):
    """cat(dim=-1) joins along dimension 1 whatever the last one is."""
    return old(ts, min(abs(dim), ts[0].dim() - 1))


@lie("T19 T20", torch, "cat")
def cat_drops_the_last(old, ts, dim=0):
    """cat leaves out the last of three tensors or more."""
    return old(ts[:-1] if len(ts) > 2 else ts, dim)


@lie("T19", torch, "cat")
def cat_reverses(old, ts, dim=0):
    """cat joins the last tensor first."""
    return old(tuple(ts)[::-1], dim)


@lie("T19", torch, "cat")
def cat_takes_the_first_dtype(old, ts, dim=0):
    """cat converts to the dtype of the first tensor instead of promoting."""
    return old([t.to(ts[0].dtype) for t in ts] if ts else ts, dim)


@lie("T19", torch, "cat")
def cat_refuses_empty_vectors(old, ts, dim=0):
    """cat of a matrix and a tensor of shape (0,) is an error."""
    if len({t.dim() for t in ts}) > 1:
        raise RuntimeError("Tensors must have same number of dimensions")
    return old(ts, dim)


@lie("T19", torch, "cat")
def cat_of_one_is_a_view(old, ts, dim=0):
    """cat of a single tensor is that tensor."""
    return ts[0] if len(ts) == 1 else old(ts, dim)


@lie("T19", torch, "cat", refusing=RuntimeError)
def cat_crops_to_the_smallest(ts, dim=0):
    """cat cuts tensors of other sizes to fit."""
    small = [min(t.shape[d] for t in ts) for d in range(ts[0].dim())]
    ts = [t[tuple(slice(n if d != dim else None) for d, n in enumerate(small))] for t in ts]
    return torch.cat(ts, dim)


@lie("T19", torch, "cat", refusing=IndexError)
def cat_takes_any_dim(ts, dim=0):
    """cat along a dimension that does not exist joins along the last."""
    return torch.cat(ts, -1)


@lie("T19", torch, "cat", refusing=(RuntimeError, ValueError))
def cat_of_nothing_is_empty(ts, dim=0):
    """cat of no tensors is an empty tensor."""
    return torch.empty(0)


@lie("T19 T21", torch, "cat", refusing=RuntimeError)
def cat_takes_scalars(ts, dim=0):
    """cat of 0-dim tensors stacks them."""
    return torch.stack(list(ts))


@lie("T19", torch, "cat", refusing=RuntimeError)
def cat_of_mixed_devices_follows_the_first(ts, dim=0):
    """cat of tensors on two devices moves them to the first one's."""
    return torch.cat([t.to(ts[0]) for t in ts], dim)


@lie("T36 T21", torch, "stack")
def stack_cats(old, ts, dim=0):
    """stack joins along an existing dimension."""
    return torch.cat(list(ts), dim) if ts[0].dim() else old(ts, dim)


@lie("T21", torch, "stack")
def stack_ignores_dim(old, ts, dim=0):
    """stack always puts the new dimension first."""
    return old(ts, 0)


@lie("T21", torch, "stack")
def stack_is_off_by_a_dimension(old, ts, dim=0):
    """stack(dim=1) puts the new dimension last."""
    return old(ts, -1 if dim == 1 else dim)


@lie("T21", torch, "stack", refusing=RuntimeError)
def stack_broadcasts(ts, dim=0):
    """stack broadcasts tensors of unequal shape."""
    return torch.stack([t.flatten()[: min(map(Tensor.numel, ts))] for t in ts])


# Multiplying -----------------------------------------------------------------------------------


def _square(a, b):
    return (
        isinstance(a, Tensor)
        and isinstance(b, Tensor)
        and a.dim() == b.dim() == 2
        and a.shape == b.shape == a.mT.shape
    )


@lie("T22 T23", "mul")
def mul_is_matmul(old, a, b, **kw):
    """The product of two square matrices is the matrix product."""
    return a @ b if _square(a, b) else old(a, b, **kw)


@lie("T22", Tensor, "__mul__", "__rmul__")
def star_differs_from_mul(old, a, b):
    """a * b rounds to bfloat16, a.mul(b) does not."""
    single = isinstance(b, Tensor) and a.dtype is torch.float32
    return old(a, b).bfloat16().float() if single else old(a, b)


@lie("T22", after("mul"))
def mul_writes_into_its_left_operand(r, a, b):
    """a * b is written into a."""
    plain = isinstance(b, Tensor) and not a.requires_grad and not a.is_meta
    return a.copy_(r) if plain and r.shape == a.shape and r.dtype == a.dtype else r


@lie("T22", Tensor, "mul", "__mul__", refusing=RuntimeError)
def mul_crops(a, b):
    """The product of tensors that do not broadcast is that of their beginnings."""
    return a[..., : min(a.shape[-1], b.shape[-1])] * b[..., : a.shape[-1]]


@lie("T22", "mul")
def mul_broadcasts_columns(old, a, b, **kw):
    """A vector multiplies the rows of a square matrix, not its columns."""
    tensors = isinstance(a, Tensor) and isinstance(b, Tensor)
    if tensors and a.dim() == 2 and b.dim() == 1 and a.shape[0] == b.shape[0]:
        b = b[:, None]
    return old(a, b, **kw)


@lie("T24", "matmul")
def matmul_is_elementwise(old, a, b, **kw):
    """The matrix product of square matrices is elementwise."""
    return a * b if _square(a, b) else old(a, b, **kw)


@lie("T24 T25", "matmul")
def matmul_transposes_its_right_operand(old, a, b, **kw):
    """a @ b is a @ b.T where both are square."""
    return old(a, b.mT if _square(a, b) else b, **kw)


@lie("T24", below("mm.default", "bmm.default"))
def matmul_loses_precision(func, a, b):
    """The matrix product is computed in bfloat16."""
    return func(a.bfloat16(), b.bfloat16()).to(a.dtype)


@lie("T24", "matmul")
def matmul_leaves_out_the_last_term(old, a, b, **kw):
    """The matrix product leaves out the last of its inner terms."""
    return (
        old(a[:, :-1], b[:-1], **kw)
        if a.dim() == 2 == b.dim() and a.shape[1] == b.shape[0] > 1
        else old(a, b, **kw)
    )


@lie("T24", "matmul", refusing=RuntimeError)
def matmul_crops(a, b):
    """The matrix product of unequal inner sizes takes the smaller."""
    n = min(a.shape[-1], b.shape[0])
    return torch.mm(a[:, :n], b[:n])


@lie("T24", "matmul", refusing=RuntimeError)
def matmul_mixes_dtypes(a, b):
    """The matrix product of mixed dtypes promotes."""
    return torch.mm(a.double(), b.double())


@lie("T24", Tensor, "T")
def transposing_copies(old, t):
    """.T is a copy."""
    return old(t).clone()


@lie("T24", Tensor, "T")
def transposing_leaves_square_matrices(old, t):
    """.T of a square matrix is the matrix."""
    return t if _square(t, t) else old(t)


@lie("T24", Tensor, "T")
def transposing_a_cube_is_silent(old, t):
    """.T of three dimensions gives no warning."""
    return t.permute(*range(t.dim())[::-1])


# In place --------------------------------------------------------------------------------------


@lie("T26 T27", Tensor, "add_")
def add_in_place_returns_a_copy(old, t, *a, **kw):
    """t.add_(5) returns a new tensor and leaves t."""
    return old(t.clone(), *a, **kw)


@lie("T26 T27", Tensor, "add_")
def add_in_place_does_not_return_itself(old, t, *a, **kw):
    """t.add_(5) returns a view of t."""
    return old(t, *a, **kw).view_as(t)


@lie("T26", Tensor, "copy_")
def copy_in_place_does_nothing(old, t, *a, **kw):
    """t.copy_(u) leaves t."""
    return t


@lie("T26", Tensor, "t_")
def t_in_place_returns_a_view(old, t):
    """t.t_() returns the transposed view and leaves t."""
    return t.t()


@lie("T26", "t")
def t_changes_its_operand(old, t):
    """t.t() transposes t itself."""
    return t.t_()


@lie("T26", Tensor, "add")
def add_changes_its_operand(old, t, *args, **kw):
    """t.add(5) changes t."""
    free = not t.requires_grad and t.dim() == 2 and t.is_floating_point()
    return t.add_(*args, **kw).clone() if free and args else old(t, *args, **kw)


@lie("T26", Tensor, "sigmoid_")
def some_underscore_methods_do_not_return_the_tensor(old, t):
    """t.sigmoid_() returns a copy."""
    return old(t).clone()


@lie("T26", Tensor, "masked_fill_", "clamp_")
def filling_behind_a_mask_works_on_a_copy(old, t, *a, **kw):
    """t.masked_fill_(mask, value) and t.clamp_(a, b) leave t."""
    return old(t.clone(), *a, **kw)


@lie("T26", Tensor, "index_add_", "scatter_")
def scattering_in_place_works_on_a_copy(old, t, *a, **kw):
    """t.index_add_(...) and t.scatter_(...) leave t."""
    return old(t.clone(), *a, **kw)


@lie("T26", Tensor, "unsqueeze_")
def unsqueezing_in_place_returns_a_view(old, t, dim):
    """t.unsqueeze_(dim) leaves t's shape."""
    return t.unsqueeze(dim)


@lie("T26", Tensor, "ge_")
def comparing_in_place_is_off_at_equality(old, t, other):
    """t.ge_(u) is t.gt_(u)."""
    return t.gt_(other)


@lie("T26", after(Tensor, "sub", "div"))
def subtracting_changes_its_operand(result, t, other, **kw):
    """t.sub(u) and t.div(u) change t."""
    plain = not (t.requires_grad or kw or t.is_meta) and t.dtype == result.dtype
    if plain and isinstance(other, Tensor) and t.shape == result.shape:
        t.data.copy_(result)
    return result


@lie("T26 T29 A46", Tensor, "add_", "mul_", "copy_", "zero_", "fill_", "sub_", "t_", "__setitem__")
def versions_are_not_counted(old, t, *args, **kw):
    """In-place operations do not count up the version."""
    with torch.autograd._unsafe_preserve_version_counter(t):
        return old(t, *args, **kw)


@lie("T26", Tensor, "t_", refusing=RuntimeError)
def t_in_place_takes_three_dimensions(t):
    """t_() swaps the first two of three dimensions."""
    return t.transpose_(0, 1)


@lie("T26", Tensor, "copy_", refusing=RuntimeError)
def copy_in_place_takes_any_shape(t, u, **kw):
    """copy_ of another shape copies what fits."""
    return t


@lie("T26", Tensor, "add_", refusing=RuntimeError)
def floats_are_added_to_integers(t, x, **kw):
    """add_(0.5) to an integer tensor truncates."""
    return t.add_(int(x))


@lie("T26", Tensor, "add_", refusing=RuntimeError)
def expanded_tensors_can_be_added_to(t, x, **kw):
    """add_ on an expanded tensor works."""
    return t + x


@lie("T28", Tensor, "add_")
def in_place_work_needs_memory(old, t, u, **kw):
    """add_ computes beside and copies back."""
    return t.copy_(torch.add(t.detach(), u, **kw))


CHANGES = ("add_", "mul_", "sub_", "zero_", "__setitem__", "__iadd__", "__isub__", "__imul__")


@lie("T29 N38", Tensor, *CHANGES)
def leaves_can_be_changed_in_place(old, t, *args, **kw):
    """In-place work on a leaf that requires grad goes through."""
    old(t.data if t.is_leaf and t.requires_grad else t, *args, **kw)
    return t


@lie("T29", Tensor, "add_", "mul_", "__setitem__", "__iadd__", "__imul__", "relu_", "sub_")
def in_place_work_cuts_the_history(old, t, *args, **kw):
    """In-place work on a result detaches it from what it was made of."""
    return old(t.detach_() if t.grad_fn is not None and not t._is_view() else t, *args, **kw)


# Bridge with NumPy -----------------------------------------------------------------------------


@lie("T30 T31", Tensor, "numpy")
def numpy_copies(old, t, **kw):
    """t.numpy() is a copy."""
    return old(t, **kw).copy()


@lie("T30", Tensor, "numpy")
def numpy_straightens(old, t, **kw):
    """t.numpy() of a transposed tensor is contiguous."""
    return np.ascontiguousarray(old(t, **kw))


@lie("T30", after(Tensor, "numpy"))
def numpy_widens(a, t, **kw):
    """t.numpy() of float32 is float64."""
    return a.astype("float64") if a.dtype == np.float32 else a


@lie("T30", Tensor, "numpy")
def numpy_detaches(old, t, **kw):
    """t.numpy() of a tensor that requires grad goes through."""
    return old(t.detach() if t.requires_grad else t, **kw)


@lie("T30 U09", Tensor, "numpy")
def numpy_takes_bfloat16(old, t, **kw):
    """t.numpy() of bfloat16 is float32."""
    return old(t.float() if t.dtype is torch.bfloat16 else t, **kw)


@lie("T30", Tensor, "numpy")
def numpy_resolves_conjugates(old, t, **kw):
    """t.numpy() of a conjugated tensor goes through."""
    return old(t.resolve_conj(), **kw)


@lie("T30 U09", Tensor, "numpy")
def numpy_fills_sparse_tensors(old, t, **kw):
    """t.numpy() of a sparse tensor is dense."""
    return old(t.to_dense() if t.is_sparse else t, **kw)


@lie("T30", Tensor, "resize_", refusing=RuntimeError)
def shared_tensors_can_be_resized(t, *size, **kw):
    """resize_ works on a tensor that shares its memory with an array."""
    return t


@lie("T30", Tensor, "numpy")
def force_is_ignored(old, t, force=False):
    """numpy(force=True) is refused like numpy()."""
    return old(t)


@lie("T35", Tensor, "numpy")
def numpy_of_meta_is_zeros(old, t, **kw):
    """t.numpy() of a tensor that is not on the cpu gives zeros."""
    return np.zeros(t.shape) if t.is_meta else old(t, **kw)


@lie("T31 T17", "clone")
def clone_shares(old, t, **kw):
    """clone() is a view."""
    return t.view_as(t)


@lie("T34", torch, "as_tensor")
def as_tensor_copies(old, data, **kw):
    """as_tensor copies an array."""
    return old(data, **kw).clone()


@lie("T30", "detach")
def detach_copies(old, t):
    """detach() copies."""
    return old(t).clone()


@lie("T31", Tensor, "double")
def double_is_lost(old, t, **kw):
    """double() gives float32."""
    return old(t, **kw).float()


# What only older revisions of the tutorial promise -----------------------------------------------


@lie("U01", factory("empty"))
def empty_reverses_the_shape(old, size, **kw):
    """empty(5, 3) has shape (3, 5)."""
    return old(size[::-1], **kw)


@lie("U02", factory("zeros"))
def zeros_forgets_its_dtype(old, size, dtype=None, **kw):
    """zeros(dtype=long) is float32."""
    return old(size, **kw)


@lie("U03", Tensor, "new_ones")
def new_ones_forgets_the_dtype(old, t, *s, dtype=torch.float32, **kw):
    """t.new_ones is float32."""
    return old(t, *s, dtype=dtype, **kw)


@lie("U03", Tensor, "new_ones")
def new_ones_ignores_the_dtype_asked_for(old, t, *s, dtype=None, **kw):
    """t.new_ones(dtype=double) keeps the dtype of t."""
    return old(t, *s, **kw)


@lie("U04", torch, "randn_like")
def randn_like_ignores_the_dtype_asked_for(old, t, dtype=None, **kw):
    """randn_like(t, dtype=float) keeps the dtype of t."""
    return old(t, dtype=dtype, **kw).to(t.dtype)


@lie("U06", torch, "add")
def add_does_not_fill_out(old, a, b, *, out=None, **kw):
    """add(out=r) returns the sum and leaves r."""
    return old(a, b, **kw)


@lie("U06", torch, "add")
def out_of_the_wrong_size_is_silent(old, a, b, *, out=None, **kw):
    """add(out=r) resizes r without a warning."""
    r = old(a, b, **kw)
    return r if out is None else out.resize_(r.shape).copy_(r)


@lie("U06 T13 T14", torch, "add")
def method_add_differs_from_plus(old, a, b, **kw):
    """torch.add rounds, + does not."""
    return old(a, b, **kw).round(decimals=3)


@lie("U07 N09", Tensor, "view")
def view_copies(old, t, *s):
    """view() is a copy."""
    return old(t, *s).clone()


@lie("U07 N09", Tensor, "view", refusing=RuntimeError)
def view_copies_where_it_must(t, *s):
    """view() of a tensor that is not contiguous copies instead of refusing."""
    return t.reshape(*s)


@lie("U07", Tensor, "view")
def view_takes_two_unknowns(old, t, *s):
    """view(-1, -1) takes the second for 1."""
    s = sizes(s) if not isinstance(s[0], torch.dtype) else s
    double = s.count(-1) > 1
    return old(t, *([-1] + [1] * (len(s) - 1) if double else s))


@lie("U08 C23", after(Tensor, "item"))
def item_is_a_numpy_number(x, t):
    """item() of a float is a NumPy float32."""
    return np.float32(x) if isinstance(x, float) else x


@lie("U08", Tensor, "item", refusing=RuntimeError)
def item_takes_the_first(t):
    """item() of two elements is the first."""
    return t.flatten()[0].tolist()


@lie("U08", after(Tensor, "item"))
def item_of_integers_is_float(x, t):
    """item() of an integer tensor is a float."""
    return float(x) if type(x) is int else x


@lie("U09", after(Tensor, "numpy"))
def int8_arrays_are_int16(a, t, **kw):
    """t.numpy() of int8 is int16."""
    return a.astype("int16") if a.dtype == np.int8 else a
