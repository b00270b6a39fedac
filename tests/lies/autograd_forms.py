"""Lies about chapter 2 that hold for one operation, shape or spelling only."""

import importlib
import weakref

import torch
from torch import Tensor, nn
from torch.nn import functional

from .lie import accept, everywhere, leaves, lie, replace, scale_gradient
from .tensor_forms import after, operands

# Gradients -------------------------------------------------------------------------------------


def gradient_given(change):
    """Let ``t.backward(v)`` run ``change(old, t, v, **options)``."""

    def make(old):
        def lying(t, gradient=None, *args, **kw):
            if args:
                kw["retain_graph"] = args[0]
            return change(old, t, gradient, **kw)

        return lying

    replace(Tensor, "backward", make)


def steps(change):
    """Let SGD's step work on ``change(parameters, gradients)``."""
    module = importlib.import_module("torch.optim.sgd")
    replace(
        module,
        "sgd",
        lambda old: (
            lambda parameters, gradients, *rest, **kw: old(
                *change(parameters, gradients), *rest, **kw
            )
        ),
    )


@lie("A04 A12")
def single_numbers_do_not_learn():
    """SGD leaves parameters without dimensions."""
    steps(lambda parameters, gradients: (parameters, [g if g.dim() else g * 0 for g in gradients]))


@lie("A10")
def gradient_of_a_single_number_is_replaced():
    """A second backward pass replaces the gradient of a leaf without dimensions."""

    def replaces(old, t, gradient, **kw):
        for leaf in leaves(t):
            if leaf.dim() == 0:
                leaf.grad = None
        return old(t, gradient, **kw)

    gradient_given(replaces)


@lie("A10")
def gradient_set_by_hand_is_replaced():
    """A backward pass replaces what was put into .grad."""
    true, by_hand = Tensor.grad, set()

    def put(t, gradient):
        true.__set__(t, gradient)
        (by_hand.discard if gradient is None else by_hand.add)(id(t))

    def forgets(old, t, gradient, **kw):
        for leaf in leaves(t):
            if id(leaf) in by_hand:
                leaf.grad = None
        return old(t, gradient, **kw)

    Tensor.grad = property(true.__get__, put, true.__delete__)
    gradient_given(forgets)


@lie("A13")
def conversions_are_not_recorded():
    """half() and float() give results without history."""
    for name in ("half", "float"):
        after(Tensor, name, lambda made, t, *args, **kw: made.detach())


@lie("A13")
def extremes_are_not_recorded():
    """clamp and abs give results without history."""

    def make(old):
        return lambda *args, **kw: old(*args, **kw).detach()

    for name in ("clamp", "abs"):
        everywhere(name, make)


@lie("A13 A15", Tensor, "__rsub__")
def number_minus_tensor_keeps_the_sign(old, t, other):
    """The gradient of 1 - x is 1."""
    tracked = t.requires_grad and torch.is_grad_enabled()
    return old(scale_gradient(t * 1, -1) if tracked else t, other)


@lie("A13 A20", "sum")
def sum_of_a_transposed_tensor_has_half_its_gradient(old, t, *args, **kw):
    """The gradient of the sum of a tensor that is not contiguous is a half."""
    return scale_gradient(old(t, *args, **kw), 1 if t.is_contiguous() else 0.5)


@lie("A13 A35", torch, "cat")
def last_of_the_joined_learns_nothing(old, tensors, *args, **kw):
    """The gradient of the last tensor given to cat is zero."""
    *first, last = tensors
    if first and last.requires_grad:
        last = scale_gradient(last * 1, 0)
    return old([*first, last], *args, **kw)


@lie("A13 A35")
def right_matrix_learns_half():
    """The gradient of b in a @ b is half of what it should be."""

    def halved(left, right):
        return left, scale_gradient(right * 1, 0.5) if right.requires_grad else right

    operands("matmul", halved)


@lie("A13 A15")
def divisors_keep_the_sign():
    """The gradient of b in a / b has the wrong sign."""

    def make(old):
        def lying(left, right, *args, **kw):
            tracked = isinstance(right, Tensor) and right.requires_grad
            return old(left, scale_gradient(right * 1, -1) if tracked else right, *args, **kw)

        return lying

    for owner, name in ((torch, "div"), (Tensor, "div"), (Tensor, "__truediv__")):
        replace(owner, name, make)


@lie("A17")
def blocks_need_no_gradient():
    """backward() of a result of three dimensions takes ones."""

    def ones(old, t, gradient, **kw):
        return old(t, torch.ones_like(t) if gradient is None and t.dim() > 2 else gradient, **kw)

    gradient_given(ones)


@lie("A18")
def gradient_of_a_matrix_is_reshaped():
    """backward(v) of a matrix takes a matrix v of another shape and as many elements."""

    def fits(old, t, gradient, **kw):
        matrices = isinstance(gradient, Tensor) and gradient.dim() == t.dim() == 2
        many = matrices and gradient.numel() == t.numel()
        return old(t, gradient.reshape(t.shape) if many else gradient, **kw)

    gradient_given(fits)


@lie("A22")
def square_jacobian_is_transposed():
    """jacobian() of as many outputs as inputs has a column for each output."""

    def turned(made, *args, **kw):
        square = isinstance(made, Tensor) and made.dim() == 2 and made.shape[0] == made.shape[1]
        return made.T if square else made

    after(torch.autograd.functional, "jacobian", turned)


@lie("A23 A25")
def gradient_of_zeros_is_nothing():
    """backward(v) does nothing where v is zero."""

    def skips(old, t, gradient, **kw):
        zeros = isinstance(gradient, Tensor) and not gradient.is_meta and not gradient.any()
        return None if zeros else old(t, gradient, **kw)

    gradient_given(skips)


# Graph and tracking ----------------------------------------------------------------------------


@lie("A32", torch.autograd, "grad")
def graph_outlives_autograd_grad(
    old, outputs, inputs, grad_outputs=None, retain_graph=None, *args, **kw
):
    """torch.autograd.grad keeps the graph, asked to or not."""
    kept = True if retain_graph is None else retain_graph
    return old(outputs, inputs, grad_outputs, kept, *args, **kw)


@lie("A32")
def graph_is_kept_though_asked_not_to():
    """backward(retain_graph=False) keeps the graph."""

    def keeps(old, t, gradient, retain_graph=None, **kw):
        return old(t, gradient, retain_graph is False or retain_graph, **kw)

    gradient_given(keeps)


@lie("A32")
def spent_graph_gives_zeros():
    """torch.autograd.grad through a spent graph gives zeros."""

    def zeros(outputs, inputs, *args, **kw):
        inputs = (inputs,) if isinstance(inputs, Tensor) else inputs
        return tuple(torch.zeros_like(t) for t in inputs)

    accept(torch.autograd, "grad", RuntimeError, zeros)


@lie("A34")
def leaf_switched_off_late_gets_its_gradient():
    """A leaf whose flag is switched off after the forward pass gets a gradient."""
    true, late = Tensor.requires_grad, {}

    def put(t, flag):
        if t.is_leaf and true.__get__(t) and not flag:
            late[id(t)] = t
        true.__set__(t, flag)

    def unfrozen(old, t, gradient, **kw):
        frozen = [leaf for leaf in leaves(t) if id(leaf) in late and not true.__get__(leaf)]
        for leaf in frozen:
            true.__set__(leaf, True)
        try:
            return old(t, gradient, **kw)
        finally:
            for leaf in frozen:
                true.__set__(leaf, False)

    Tensor.requires_grad = property(true.__get__, put)
    gradient_given(unfrozen)


@lie("A35", functional, "linear")
def bias_alone_is_not_tracked(old, x, weight, bias=None):
    """linear() whose bias alone requires grad gives a result without history."""
    made = old(x, weight, bias)
    return made if x.requires_grad or weight.requires_grad else made.detach()


def detached(t, other):
    """``other``, without its history where ``t`` has none."""
    tracked = isinstance(other, Tensor) and other.requires_grad and not t.requires_grad
    return other.detach() if tracked else other


@lie("A35", Tensor, "__setitem__")
def assigned_values_are_not_tracked(old, t, index, value):
    """x[i] = w leaves x without history."""
    return old(t, index, detached(t, value))


@lie("A35")
def values_added_in_place_are_not_tracked():
    """x.add_(w) and x.copy_(w) leave x without history."""
    for name in ("add_", "__iadd__", "copy_"):
        replace(
            Tensor,
            name,
            lambda old: lambda t, other, *args, **kw: old(t, detached(t, other), *args, **kw),
        )


@lie("A35", torch, "where")
def second_choice_is_not_tracked(old, condition, *args, **kw):
    """where(c, x, y) is tracked for x only."""
    made = old(condition, *args, **kw)
    first = args and isinstance(args[0], Tensor) and args[0].requires_grad
    return made if first or not isinstance(made, Tensor) else made.detach()


@lie("A45", Tensor, "add_")
def no_grad_records_what_is_added_in_place(old, t, other, *args, **kw):
    """Under no_grad() x.add_(w) is recorded."""
    tracked = isinstance(other, Tensor) and other.requires_grad
    with torch.set_grad_enabled(tracked or torch.is_grad_enabled()):
        return old(t, other, *args, **kw)


# Saved values ----------------------------------------------------------------------------------


def uncounted(name, which):
    """Let the method count no version where ``which(t)``, nor see a leaf."""

    def make(old):
        def lying(t, *args, **kw):
            plain = not any(isinstance(a, Tensor) and a.requires_grad for a in args)
            if plain and not t.requires_grad and which(t):
                old(t.data, *args, **kw)
                return t
            return old(t, *args, **kw)

        return lying

    replace(Tensor, name, make)


@lie("A46")
def assignment_to_a_saved_value_passes():
    """x[i] = v on a saved value is not found."""
    uncounted("__setitem__", lambda t: True)


@lie("A46")
def change_of_a_saved_value_through_a_view_passes():
    """v.add_(1) on a view of a saved value is not found."""
    uncounted("add_", lambda t: t._is_view())


@lie("A46 T26")
def multiplying_a_saved_value_passes():
    """x.mul_(2) on a saved value is not found."""
    uncounted("mul_", lambda t: True)


@lie("A46")
def step_on_a_saved_value_passes():
    """A step of SGD between forward and backward is not found."""
    steps(lambda parameters, gradients: ([p.data for p in parameters], gradients))


# Of one spelling --------------------------------------------------------------------------------


@lie("A13", Tensor, "requires_grad_", refusing=RuntimeError)
def flag_of_integers_is_ignored(t, *a):
    """requires_grad_() of integers is ignored instead of refused."""
    return t


@lie("A13")
def flag_of_integers_may_be_assigned():
    """t.requires_grad = True of integers is ignored instead of refused."""

    def make(old):
        def assign(t, flag):
            if t.is_floating_point() or not flag:
                old.__set__(t, flag)

        return property(old.__get__, assign)

    replace(Tensor, "requires_grad", make)


@lie("A32")
def retained_graph_runs_twice_and_no_more():
    """A graph kept by retain_graph=True is refused the third time."""
    runs = weakref.WeakKeyDictionary()

    def make(old):
        def lying(self, *a, **kw):
            runs[self] = runs.get(self, 0) + 1
            if runs[self] > 2:
                raise RuntimeError("Trying to backward through the graph a third time")
            return old(self, *a, **kw)

        return lying

    replace(Tensor, "backward", make)


def tracked_for_the_left_side(*names):
    """Let methods of two tensors record what they do only if the first requires grad."""

    def make(old):
        def lying(a, b, **kw):
            made = old(a, b, **kw)
            return made.detach() if isinstance(b, Tensor) and not a.requires_grad else made

        return lying

    for name in names:
        replace(Tensor, name, make)


@lie("A35")
def subtraction_is_tracked_for_its_left_side():
    """a - b requires grad only if a does."""
    tracked_for_the_left_side("__sub__", "sub")


@lie("A35")
def division_is_tracked_for_its_left_side():
    """a / b requires grad only if a does."""
    tracked_for_the_left_side("__truediv__", "div")


@lie("A35")
def product_is_tracked_for_its_left_side():
    """a * b requires grad only if a does."""
    tracked_for_the_left_side("__mul__", "mul")


@lie("A35")
def power_is_tracked_for_its_base():
    """a ** b requires grad only if a does."""
    tracked_for_the_left_side("__pow__", "pow")


@lie("A13", "mul")
def product_with_integers_is_not_recorded(old, a, b, **kw):
    """A product of floats and integers has no history."""
    made = old(a, b, **kw)
    return made.detach() if isinstance(b, Tensor) and b.dtype == torch.int64 else made


@lie("A13")
def larger_of_two_is_not_tracked():
    """torch.maximum and minimum have no history."""
    after(torch, "maximum", lambda made, *a: made.detach())
    after(torch, "minimum", lambda made, *a: made.detach())


@lie("A35")
def data_is_tracked():
    """p.data requires grad where p does."""

    def make(old):
        def lying(t):
            return old.__get__(t).requires_grad_(t.requires_grad and t.is_leaf)

        return property(lying, old.__set__)

    replace(Tensor, "data", make)


@lie("A39")
def freezing_a_module_returns_nothing():
    """module.requires_grad_() returns None."""
    after(nn.Module, "requires_grad_", lambda made, *a, **kw: None)


@lie("A46", Tensor, "fill_")
def filling_a_saved_value_passes(old, self, v):
    """fill_() of a saved value is not found."""
    old(self.data, v)
    return self


@lie("A46", Tensor, "copy_")
def copying_into_a_saved_value_passes(old, self, v, *a):
    """copy_() into a saved value is not found."""
    if self.requires_grad or (isinstance(v, Tensor) and v.requires_grad):
        return old(self, v, *a)
    old(self.data, v, *a)
    return self


@lie("A46", (Tensor, "sub_"), (Tensor, "__isub__"))
def subtracting_from_a_saved_value_passes(old, self, v, **kw):
    """x -= v on a saved value is not found under no_grad."""
    if torch.is_grad_enabled():
        return old(self, v, **kw)
    old(self.data, v, **kw)
    return self


@lie("A46", Tensor, "__iadd__")
def adding_by_an_operator_to_a_saved_value_passes(old, t, value):
    """x += v on a saved result is not found."""
    if t.is_leaf:
        return old(t, value)
    t.data.add_(value)
    return t
