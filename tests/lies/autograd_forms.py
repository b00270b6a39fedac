"""Lies about chapter 2 that hold for one operation, shape or spelling only."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from .autograd import steps
from .lie import after, assigned, instead, leaves, lie, scale_gradient
from .tensor_forms import operands

# Gradients -------------------------------------------------------------------------------------


@lie("A04 A12", steps)
def single_numbers_do_not_learn(parameters, gradients):
    """SGD leaves parameters without dimensions."""
    return parameters, [g if g.dim() else g * 0 for g in gradients]


@lie("A10", Tensor, "backward")
def gradient_of_a_single_number_is_replaced(old, t, gradient=None, *args, **kw):
    """A second backward pass replaces the gradient of a leaf without dimensions."""
    for leaf in leaves(t):
        if leaf.dim() == 0:
            leaf.grad = None
    return old(t, gradient, *args, **kw)


@lie("A10")
def gradient_set_by_hand_is_replaced():
    """A backward pass replaces what was put into .grad."""
    by_hand = set()

    def remembering(put, t, gradient):
        put(t, gradient)
        (by_hand.discard if gradient is None else by_hand.add)(id(t))

    def forgetting(old, t, *args, **kw):
        for leaf in leaves(t):
            if id(leaf) in by_hand:
                leaf.grad = None
        return old(t, *args, **kw)

    assigned(Tensor, "grad")(remembering)
    instead(Tensor, "backward")(forgetting)


@lie("A13", after(Tensor, "half", "float"))
def conversions_are_not_recorded(made, t, *args, **kw):
    """half() and float() give results without history."""
    return made.detach()


@lie("A13", after("clamp", "abs"))
def extremes_are_not_recorded(made, *args, **kw):
    """clamp and abs give results without history."""
    return made.detach()


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


@lie("A13 A35", operands("matmul"))
def right_matrix_learns_half(left, right):
    """The gradient of b in a @ b is half of what it should be."""
    return left, scale_gradient(right * 1, 0.5) if right.requires_grad else right


@lie("A13 A15", (torch, "div"), (Tensor, "div"), (Tensor, "__truediv__"))
def divisors_keep_the_sign(old, left, right, *args, **kw):
    """The gradient of b in a / b has the wrong sign."""
    tracked = isinstance(right, Tensor) and right.requires_grad
    return old(left, scale_gradient(right * 1, -1) if tracked else right, *args, **kw)


@lie("A17", Tensor, "backward")
def blocks_need_no_gradient(old, t, gradient=None, *args, **kw):
    """backward() of a result of three dimensions takes ones."""
    return old(t, torch.ones_like(t) if gradient is None and t.dim() > 2 else gradient, *args, **kw)


@lie("A18", Tensor, "backward")
def gradient_of_a_matrix_is_reshaped(old, t, gradient=None, *args, **kw):
    """backward(v) of a matrix takes a matrix v of another shape and as many elements."""
    matrices = isinstance(gradient, Tensor) and gradient.dim() == t.dim() == 2
    many = matrices and gradient.numel() == t.numel()
    return old(t, gradient.reshape(t.shape) if many else gradient, *args, **kw)


@lie("A22", after(torch.autograd.functional, "jacobian"))
def square_jacobian_is_transposed(made, *args, **kw):
    """jacobian() of as many outputs as inputs has a column for each output."""
    square = isinstance(made, Tensor) and made.dim() == 2 and made.shape[0] == made.shape[1]
    return made.T if square else made


@lie("A23 A25", Tensor, "backward")
def gradient_of_zeros_is_nothing(old, t, gradient=None, *args, **kw):
    """backward(v) does nothing where v is zero."""
    zeros = isinstance(gradient, Tensor) and not gradient.is_meta and not gradient.any()
    return None if zeros else old(t, gradient, *args, **kw)


# Graph and tracking ----------------------------------------------------------------------------


@lie("A32", torch.autograd, "grad")
def graph_outlives_autograd_grad(
    old, outputs, inputs, grad_outputs=None, retain_graph=None, *args, **kw
):
    """torch.autograd.grad keeps the graph, asked to or not."""
    kept = True if retain_graph is None else retain_graph
    return old(outputs, inputs, grad_outputs, kept, *args, **kw)


@lie("A32", Tensor, "backward")
def graph_is_kept_though_asked_not_to(old, t, gradient=None, retain_graph=None, *args, **kw):
    """backward(retain_graph=False) keeps the graph."""
    return old(t, gradient, retain_graph is False or retain_graph, *args, **kw)


@lie("A32", torch.autograd, "grad", refusing=RuntimeError)
def spent_graph_gives_zeros(outputs, inputs, *args, **kw):
    """torch.autograd.grad through a spent graph gives zeros."""
    inputs = (inputs,) if isinstance(inputs, Tensor) else inputs
    return tuple(torch.zeros_like(t) for t in inputs)


@lie("A34")
def leaf_switched_off_late_gets_its_gradient():
    """A leaf whose flag is switched off after the forward pass gets a gradient."""
    true, late = Tensor.requires_grad, {}

    def put(t, flag):
        if t.is_leaf and true.__get__(t) and not flag:
            late[id(t)] = t
        true.__set__(t, flag)

    def unfrozen(old, t, *args, **kw):
        frozen = [leaf for leaf in leaves(t) if id(leaf) in late and not true.__get__(leaf)]
        for leaf in frozen:
            true.__set__(leaf, True)
        try:
            return old(t, *args, **kw)
        finally:
            for leaf in frozen:
                true.__set__(leaf, False)

    Tensor.requires_grad = property(true.__get__, put)
    instead(Tensor, "backward")(unfrozen)


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


@lie("A35", Tensor, "add_", "__iadd__", "copy_")
def values_added_in_place_are_not_tracked(old, t, other, *args, **kw):
    """x.add_(w) and x.copy_(w) leave x without history."""
    return old(t, detached(t, other), *args, **kw)


@lie("A35", after(torch, "where"))
def second_choice_is_not_tracked(made, condition, *args, **kw):
    """where(c, x, y) is tracked for x only."""
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

    def lying(old, t, *args, **kw):
        plain = not any(isinstance(a, Tensor) and a.requires_grad for a in args)
        if plain and not t.requires_grad and which(t):
            old(t.data, *args, **kw)
            return t
        return old(t, *args, **kw)

    instead(Tensor, name)(lying)


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


@lie("A46", steps)
def step_on_a_saved_value_passes(parameters, gradients):
    """A step of SGD between forward and backward is not found."""
    return [p.data for p in parameters], gradients


# Of one spelling --------------------------------------------------------------------------------


@lie("A13", Tensor, "requires_grad_", refusing=RuntimeError)
def flag_of_integers_is_ignored(t, *a):
    """requires_grad_() of integers is ignored instead of refused."""
    return t


@lie("A13", assigned(Tensor, "requires_grad"))
def flag_of_integers_may_be_assigned(put, t, flag):
    """t.requires_grad = True of integers is ignored instead of refused."""
    if t.is_floating_point() or not flag:
        put(t, flag)


@lie("A32", Tensor, "backward")
def retained_graph_runs_twice_and_no_more(old, t, *args, **kw):
    """A graph kept by retain_graph=True is refused the third time."""
    t._runs = getattr(t, "_runs", 0) + 1
    if t._runs > 2:
        raise RuntimeError("Trying to backward through the graph a third time")
    return old(t, *args, **kw)


def tracked_for_the_left_side(*names):
    """Let methods of two tensors record what they do only if the first requires grad."""

    def untracked(made, a, b, **kw):
        return made.detach() if isinstance(b, Tensor) and not a.requires_grad else made

    after(Tensor, *names)(untracked)


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


@lie("A13", after("mul"))
def product_with_integers_is_not_recorded(made, a, b, **kw):
    """A product of floats and integers has no history."""
    return made.detach() if isinstance(b, Tensor) and b.dtype == torch.int64 else made


@lie("A13", after(torch, "maximum", "minimum"))
def larger_of_two_is_not_tracked(made, *args):
    """torch.maximum and minimum have no history."""
    return made.detach()


@lie("A35", Tensor, "data")
def data_is_tracked(old, t):
    """p.data requires grad where p does."""
    return old(t).requires_grad_(t.requires_grad and t.is_leaf)


@lie("A39", after(nn.Module, "requires_grad_"))
def freezing_a_module_returns_nothing(made, *a, **kw):
    """module.requires_grad_() returns None."""
    return None


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
