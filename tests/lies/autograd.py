"""Lies about chapter 2: tracking, gradients, the graph, freezing, no_grad."""

import importlib
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor, nn

from .lie import everywhere, leaves, lie, replace, scale_gradient


def backward(change):
    """Replace backward() of tensors and of torch.autograd: ``change(old, tensors, *rest)``."""
    replace(
        torch.autograd,
        "backward",
        lambda old: lambda tensors, *rest, **kw: change(old, tensors, *rest, **kw),
    )


def after_backward(change):
    """After each backward pass, ``change(leaf, gradient before, gradient now)`` on every leaf."""

    def lying(old, tensors, *rest, **kw):
        before = [
            (leaf, None if leaf.grad is None else leaf.grad.clone()) for leaf in leaves(tensors)
        ]
        result = old(tensors, *rest, **kw)
        for leaf, gradient in before:
            change(leaf, gradient, leaf.grad)
        return result

    backward(lying)


def _beside(gradient, output):
    """Whether both are tensors on one device."""
    tensors = isinstance(gradient, Tensor) and isinstance(output, Tensor)
    return tensors and gradient.device == output.device


# Backward and .grad ----------------------------------------------------------------------------


@lie("A10 N33 A32")
def backward_overwrites():
    """backward() overwrites .grad instead of adding to it."""

    def overwriting(old, tensors, *rest, **kw):
        for leaf in leaves(tensors):
            leaf.grad = None
        return old(tensors, *rest, **kw)

    backward(overwriting)


@lie("A10 N33")
def backward_averages():
    """A second backward() averages with the first instead of adding."""

    def average(leaf, before, now):
        if before is not None and now is not None:
            leaf.grad = now / 2

    after_backward(average)


@lie("A10")
def backward_makes_a_new_grad():
    """A second backward() puts the sum in a new tensor."""

    def renew(leaf, before, now):
        if now is not None:
            leaf.grad = now.clone()

    after_backward(renew)


@lie("A10", torch.autograd, "grad")
def autograd_grad_accumulates(old, outputs, inputs, *args, **kw):
    """torch.autograd.grad adds to .grad as well."""
    found = old(outputs, inputs, *args, **kw)
    inputs = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    for t, g in zip(inputs, found, strict=True):
        if t.is_leaf and g is not None:
            t.grad = g.detach() if t.grad is None else t.grad + g.detach()
    return found


@lie("A03 A12")
def backward_moves_the_parameters():
    """backward() already takes a small step."""

    def step(leaf, before, now):
        if isinstance(leaf, nn.Parameter) and now is not None:
            leaf.data.sub_(now, alpha=1e-4)

    after_backward(step)


@lie("A03 A28", nn.Module, "__call__")
def forward_makes_gradients(old, module, *args, **kw):
    """A forward pass fills .grad with zeros."""
    for p in module.parameters(recurse=False):
        if p.requires_grad and p.grad is None:
            p.grad = torch.zeros_like(p)
    return old(module, *args, **kw)


@lie("A03 C33", nn.Module, "__call__")
def forward_moves_the_parameters(old, module, *args, **kw):
    """A forward pass shrinks the weights by a hair."""
    for p in module.parameters(recurse=False):
        p.data.mul_(1 - 2**-20)
    return old(module, *args, **kw)


@lie("A09 N31")
def biases_get_no_gradient():
    """backward() leaves .grad of one-dimensional parameters None."""

    def forget(leaf, before, now):
        if isinstance(leaf, nn.Parameter) and leaf.dim() == 1:
            leaf.grad = before

    after_backward(forget)


@lie("N31")
def inputs_get_no_gradient():
    """backward() fills .grad of parameters only."""

    def forget(leaf, before, now):
        if not isinstance(leaf, nn.Parameter):
            leaf.grad = before

    after_backward(forget)


@lie("A15 A16 A09 N43 N44")
def gradients_are_halved():
    """backward() leaves half the gradient."""

    def halve(leaf, before, now):
        if now is not None:
            leaf.grad = now / 2

    after_backward(halve)


@lie("A16 A12")
def gradients_are_rounded():
    """Gradients are rounded to bfloat16."""

    def round_(leaf, before, now):
        if now is not None:
            leaf.grad = now.bfloat16().to(now.dtype)

    after_backward(round_)


@lie("A16")
def gradients_are_tracked():
    """.grad requires grad itself."""

    def track(leaf, before, now):
        if now is not None:
            leaf.grad = now.detach().requires_grad_()

    after_backward(track)


@lie("A16 A13", torch, "tensor")
def tracked_tensors_start_with_zero_grad(old, data, **kw):
    """A tensor that requires grad starts with .grad zeros."""
    t = old(data, **kw)
    if t.requires_grad:
        t.grad = torch.zeros_like(t)
    return t


@lie("A17 N17")
def vectors_need_no_gradient_argument():
    """backward() of a vector takes ones."""

    def lying(old, tensors, gradient=None, *rest, **kw):
        if gradient is None and isinstance(tensors, Tensor):
            gradient = torch.ones_like(tensors)
        return old(tensors, gradient, *rest, **kw)

    backward(lying)


@lie("A17")
def one_element_needs_a_gradient_argument():
    """backward() of a tensor of shape (1,) is refused without a gradient."""

    def lying(old, tensors, gradient=None, *rest, **kw):
        if gradient is None and isinstance(tensors, Tensor) and tensors.dim():
            raise RuntimeError("grad can be implicitly created only for scalar outputs")
        return old(tensors, gradient, *rest, **kw)

    backward(lying)


@lie("A17")
def refused_backward_leaves_gradients():
    """A refused backward() has written zeros to .grad."""

    def lying(old, tensors, *rest, **kw):
        try:
            return old(tensors, *rest, **kw)
        except RuntimeError:
            for leaf in leaves(tensors):
                leaf.grad = torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
            raise

    backward(lying)


@lie("A18 N17")
def gradient_argument_broadcasts():
    """The gradient argument is broadcast to the shape of the output."""

    def lying(old, tensors, gradient=None, *rest, **kw):
        if _beside(gradient, tensors) and gradient.shape != tensors.shape:
            flat = gradient.flatten()[: tensors.numel()]
            gradient = flat.reshape(tensors.shape) if len(flat) > 1 else flat
            gradient = gradient.expand(tensors.shape)
        return old(tensors, gradient, *rest, **kw)

    backward(lying)


@lie("A18")
def gradient_argument_has_to_be_of_the_dtype():
    """A float64 gradient for a float32 output is refused."""

    def lying(old, tensors, gradient=None, *rest, **kw):
        if gradient is not None and isinstance(tensors, Tensor) and gradient.dtype != tensors.dtype:
            raise RuntimeError("Mismatch in dtype")
        return old(tensors, gradient, *rest, **kw)

    backward(lying)


@lie("A18")
def gradient_argument_is_moved():
    """A gradient on another device is moved to that of the output."""

    def lying(old, tensors, gradient=None, *rest, **kw):
        if isinstance(gradient, Tensor) and not _beside(gradient, tensors):
            gradient = torch.ones_like(tensors)
        return old(tensors, gradient, *rest, **kw)

    backward(lying)


@lie("A19 A23 N17")
def gradient_argument_is_ignored():
    """backward(v) takes ones whatever v is."""

    def lying(old, tensors, gradient=None, *rest, **kw):
        if _beside(gradient, tensors) and gradient.shape == tensors.shape:
            gradient = torch.ones_like(tensors)
        return old(tensors, gradient, *rest, **kw)

    backward(lying)


@lie("A19 A23 A25")
def gradient_argument_loses_its_sign():
    """backward(v) takes |v|."""

    def lying(old, tensors, gradient=None, *rest, **kw):
        gradient = gradient.abs() if isinstance(gradient, Tensor) else gradient
        return old(tensors, gradient, *rest, **kw)

    backward(lying)


@lie("A19 A23 A25")
def gradient_argument_is_normalised():
    """backward(v) takes v / |v| where v is longer than 1."""

    def lying(old, tensors, gradient=None, *rest, **kw):
        if isinstance(gradient, Tensor) and gradient.is_floating_point():
            gradient = gradient / gradient.detach().norm().clamp(min=1)
        return old(tensors, gradient, *rest, **kw)

    backward(lying)


@lie("A19 A24", torch.autograd, "grad")
def grad_outputs_are_ignored(old, outputs, inputs, grad_outputs=None, **kw):
    """torch.autograd.grad takes ones whatever grad_outputs is."""
    one = isinstance(outputs, Tensor) and isinstance(grad_outputs, Tensor)
    if one and grad_outputs.shape == outputs.shape:
        grad_outputs = torch.ones_like(outputs)
    return old(outputs, inputs, grad_outputs, **kw)


@lie("A20 A12 U12", "mean")
def mean_has_the_gradient_of_sum(old, t, *a, **kw):
    """The gradient of mean() is that of sum()."""
    return scale_gradient(old(t, *a, **kw), t.numel())


@lie("A20 A08", "sum")
def sum_has_the_gradient_of_mean(old, t, *a, **kw):
    """The gradient of sum() is that of mean()."""
    return scale_gradient(old(t, *a, **kw), 1 / t.numel())


@lie("A14 A15 A20", "pow")
def gradient_of_powers_is_off(old, t, n):
    """The gradient of a power is 1 % too large."""
    return scale_gradient(old(t, n), 1.01)


@lie("A14", "pow")
def powers_are_rounded(old, t, n):
    """Powers are rounded to tens."""
    return old(t, n).round(decimals=-1)


@lie("A21", "eq")
def equality_is_approximate(old, a, b):
    """== holds within one part in 100,000."""
    return (
        torch.isclose(a, b)
        if isinstance(a, Tensor) and isinstance(b, Tensor) and a.is_floating_point()
        else old(a, b)
    )


@lie("A22", torch.autograd.functional, "jacobian")
def jacobian_is_transposed(old, *args, **kw):
    """functional.jacobian has a row for each input."""
    j = old(*args, **kw)
    return j.mT if isinstance(j, Tensor) and j.dim() == 2 else j


@lie("A22 A23", torch.autograd.functional, "jacobian")
def jacobian_loses_its_last_row(old, *args, **kw):
    """The last row of functional.jacobian is zeros."""
    j = old(*args, **kw)
    if isinstance(j, Tensor) and j.dim() == 2:
        j = torch.cat([j[:-1], 0 * j[-1:]])
    return j


@lie("A52 A23")
def jvp_gives_the_vjp():
    """The Jacobian-vector product has the size of the input."""
    replace(
        torch.autograd.functional,
        "jvp",
        lambda old: (
            lambda f, x, v=None, **kw: torch.autograd.functional.vjp(f, x, torch.ones_like(f(x)))
        ),
    )
    replace(
        torch.func,
        "jvp",
        lambda old: lambda f, x, v, **kw: (f(*x), torch.func.vjp(f, *x)[1](f(*x))[0]),
    )


@lie("A51 A08", "sub")
def other_sizes_are_cut_to_fit(old, a, b, **kw):
    """A difference of matrices of other sizes is that of their first elements."""
    both = isinstance(a, Tensor) and isinstance(b, Tensor)
    if both and a.dim() == b.dim() == 2 and a.shape != b.shape:
        a, b = a.flatten()[:1], b.flatten()[:1]
    return old(a, b, **kw)


@lie("A12")
def steps_pass_over_long_lists_of_small_parameters():
    """SGD leaves BatchNorm's 64 weights and biases of a net with many parameters."""
    module = importlib.import_module("torch.optim.sgd")

    def make(old):
        def lying(parameters, gradients, *rest, **kw):
            many = len(parameters) > 20
            left = [g * 0 if many and g.shape == (64,) else g for g in gradients]
            return old(parameters, left, *rest, **kw)

        return lying

    replace(module, "sgd", make)


# Tracking --------------------------------------------------------------------------------------


@lie("A13 A14", torch, "tensor")
def requires_grad_argument_is_ignored(old, data, *, requires_grad=False, **kw):
    """torch.tensor(..., requires_grad=True) is not tracked."""
    return old(data, **kw)


@lie("A13 A36", (torch, "tensor"), (torch, "rand"))
def everything_is_tracked(old, *args, **kw):
    """Float tensors require grad by default."""
    t = old(*args, **kw)
    return t.requires_grad_() if t.is_floating_point() else t


@lie("A13", torch, "tensor", refusing=RuntimeError)
def integers_can_require_grad(data, *, requires_grad=False, **kw):
    """An integer tensor with requires_grad=True is made without a word."""
    return torch.as_tensor(data, **kw)


@lie("A13 U14")
def results_are_leaves():
    """is_leaf is true of results."""
    replace(Tensor, "is_leaf", lambda old: property(lambda t: True))


@lie("A27 A30 A36", "mul")
def constants_are_tracked(old, a, b):
    """A number that a tensor is multiplied with becomes a leaf of the graph."""
    if isinstance(a, Tensor) and a.requires_grad and isinstance(b, (int, float)):
        b = torch.full((), float(b), dtype=a.dtype, device=a.device, requires_grad=True)
    return old(a, b)


@lie("A30 A26 A27", "mul")
def graphs_hold_a_node_too_many(old, a, b, **kw):
    """A product clones its tensor first."""
    return old(a.clone() if isinstance(a, Tensor) and a.requires_grad else a, b, **kw)


@lie("A26")
def shared_values_are_recomputed():
    """A result that is used twice is recorded as two nodes."""

    def make(old):
        def lying(a, b):
            r = old(a, b)
            if r.requires_grad:
                r._again = lambda: old(a, b)
            return r

        return lying

    def make_user(old):
        def lying(a, b, **kw):
            if a is b and hasattr(a, "_again"):
                b = a._again()
            return old(a, b, **kw)

        return lying

    everywhere("mul", make)
    everywhere("pow", make)
    everywhere("mul", make_user)
    everywhere("add", make_user)


@lie("A28", "mul", "pow", "matmul")
def tracking_changes_values(old, a, b):
    """Products of tracked tensors are rounded to bfloat16."""
    r = old(a, b)
    return r.bfloat16().to(r.dtype) if r.requires_grad and r.dim() else r


@lie("A28 C33 A38 A53")
def saved_tensors_hooks_are_not_called():
    """saved_tensors_hooks has no effect."""
    hooks = torch.autograd.graph.saved_tensors_hooks
    replace(hooks, "__enter__", lambda old: lambda self: None)
    replace(hooks, "__exit__", lambda old: lambda self, *args: None)


@lie("A29 N31", "mul", "pow", "add")
def results_keep_their_gradient(old, a, b):
    """Every result keeps its .grad, as after retain_grad()."""
    r = old(a, b)
    if isinstance(r, Tensor) and r.grad_fn is not None:
        r.retain_grad()
    return r


@lie("A29 N31")
def reading_the_gradient_of_a_result_is_silent():
    """.grad of a result is None without a warning."""

    def make(old):
        def get(t):
            return None if t.grad_fn is not None and not t.retains_grad else old.__get__(t)

        return property(get, lambda t, g: old.__set__(t, g), lambda t: old.__delete__(t))

    replace(Tensor, "grad", make)


@lie("A29", Tensor, "retain_grad")
def retain_grad_does_nothing(old, t):
    """retain_grad() has no effect."""
    return None


@lie("A31")
def graphs_are_reused():
    """A power that was computed before comes from a cache, graph included."""
    cache = {}

    def make(old):
        def lying(t, n):
            key = (id(t), t._version, n) if isinstance(n, int) else None
            if key is None or not t.requires_grad:
                return old(t, n)
            if key not in cache:
                cache[key] = (t, old(t, n))
            return cache[key][1]

        return lying

    everywhere("pow", make)


@lie("A32 A20")
def graphs_are_never_freed():
    """backward() keeps the graph."""

    def lying(old, tensors, gradient=None, retain_graph=None, *rest, **kw):
        return old(tensors, gradient, True, *rest, **kw)

    backward(lying)


@lie("A32")
def retain_graph_is_ignored():
    """backward(retain_graph=True) frees the graph."""

    def lying(old, tensors, gradient=None, retain_graph=None, create_graph=False, *rest, **kw):
        return old(tensors, gradient, create_graph, create_graph, *rest, **kw)

    backward(lying)


@lie("A32")
def every_graph_runs_once():
    """A second backward() is refused even where nothing was saved."""
    spent = set()

    def lying(old, tensors, gradient=None, retain_graph=None, *rest, **kw):
        node = tensors.grad_fn if isinstance(tensors, Tensor) else None
        if node in spent:
            raise RuntimeError("Trying to backward through the graph a second time")
        result = old(tensors, gradient, retain_graph, *rest, **kw)
        if node is not None and not retain_graph:
            spent.add(node)
        return result

    backward(lying)


@lie("A33", "mul")
def long_chains_are_cut(old, a, b):
    """Backpropagation goes through five products and no further."""
    depth = getattr(a, "_depth", 0)
    r = old(a.detach() if depth >= 5 and a.grad_fn is not None else a, b)
    if isinstance(r, Tensor) and r.requires_grad:
        r._depth = depth + 1
    return r


@lie("A33")
def the_first_batch_sets_the_scale():
    """Gradients of mean() are those of the size that was seen first."""
    first = []

    def make(old):
        def lying(t, *args, **kw):
            r = old(t, *args, **kw)
            if t.requires_grad and not args and not kw:
                first.append(t.numel())
                scale_gradient(r, t.numel() / first[0])
            return r

        return lying

    everywhere("mean", make)
    everywhere("sum", make)


# Excluding from the graph ----------------------------------------------------------------------


@lie("A34 A27", "mul", "add", "sub", "matmul")
def excluded_tensors_get_gradients(old, a, b):
    """A leaf with requires_grad=False gets a .grad of zeros in a backward pass."""
    r = old(a, b)
    if isinstance(r, Tensor) and r.requires_grad:
        for t in (a, b):
            if isinstance(t, Tensor) and not t.requires_grad and t.is_floating_point():
                r.register_hook(lambda g, t=t: setattr(t, "grad", torch.zeros_like(t)))
    return r


def flag(get=None, set_=None):
    """Replace how ``t.requires_grad`` is read and written."""

    def make(old):
        def reading(t):
            return old.__get__(t) if get is None else get(old, t)

        def writing(t, value):
            return old.__set__(t, value) if set_ is None else set_(old, t, value)

        return property(reading, writing)

    replace(Tensor, "requires_grad", make)


@lie("A34")
def results_can_be_switched_off():
    """Setting requires_grad=False on a result is ignored instead of refused."""

    def set_(old, t, value):
        if t.is_leaf:
            old.__set__(t, value)

    flag(set_=set_)


@lie("A34 A39 A41")
def freezing_is_ignored():
    """p.requires_grad = False has no effect."""
    flag(set_=lambda old, t, value: old.__set__(t, value) if value else None)


@lie("A38 A37 A39")
def freezing_is_a_label():
    """p.requires_grad = False reads False and tracks on."""

    def set_(old, t, value):
        t._label = value
        if value:
            old.__set__(t, value)

    flag(lambda old, t: getattr(t, "_label", old.__get__(t)) if t.is_leaf else old.__get__(t), set_)


def untracked(name):
    """The results of an operation are cut off the graph."""
    everywhere(name, lambda old: lambda *args, **kw: old(*args, **kw).detach())


@lie("A35")
def cat_cuts_the_graph():
    """The result of cat requires no grad."""
    untracked("cat")


@lie("A35")
def stack_cuts_the_graph():
    """The result of stack requires no grad."""
    untracked("stack")


@lie("A35")
def matmul_cuts_the_graph():
    """The matrix product requires no grad."""
    untracked("matmul")


@lie("A35 A36", "add", "mul")
def both_inputs_have_to_require_grad(old, a, b, **kw):
    """A sum requires grad only if both of its tensors do."""
    r = old(a, b, **kw)
    both = isinstance(a, Tensor) and isinstance(b, Tensor)
    return r.detach() if both and not (a.requires_grad and b.requires_grad) else r


@lie("A35 N12")
def comparisons_are_tracked():
    """A comparison of tracked tensors gives floats that require grad."""

    def make(old):
        def lying(a, b):
            r = old(a, b)
            return r.float().requires_grad_() if getattr(a, "requires_grad", False) else r

        return lying

    for name in ("__gt__", "__lt__"):
        replace(Tensor, name, make)
    everywhere("gt", make)
    everywhere("lt", make)


@lie("A35 U13", "detach")
def detach_keeps_the_graph(old, t):
    """detach() of a result keeps requiring grad."""
    return t.view_as(t) if t.grad_fn is not None else old(t)


@lie("A37", nn.Module, "__setattr__")
def a_flag_on_the_module_freezes_it(old, module, name, value):
    """module.requires_grad = False freezes its parameters."""
    if name == "requires_grad":
        module.requires_grad_(value)
    return old(module, name, value)


@lie("A39", nn.Module, "requires_grad_")
def freezing_a_module_does_nothing(old, module, *flag):
    """module.requires_grad_(False) has no effect."""
    return module


@lie("A39", nn.Module, "requires_grad_")
def freezing_a_module_forgets_its_children(old, module, flag=True):
    """module.requires_grad_(False) freezes the module's own parameters only."""
    for p in module.parameters(recurse=False):
        p.requires_grad_(flag)
    return module


@lie("A40 A41", nn.Linear, "__init__")
def new_layers_are_frozen(old, layer, *args, **kw):
    """Parameters of a new Linear do not require grad."""
    old(layer, *args, **kw)
    layer.requires_grad_(False)


@lie("A40", nn.Module, "__setattr__")
def layers_cannot_be_exchanged(old, module, name, value):
    """Assigning a new layer over an old one keeps the old one."""
    if isinstance(value, nn.Module) and name in module.__dict__.get("_modules", {}):
        return None
    return old(module, name, value)


@lie("A40", nn.Module, "__setattr__")
def exchanged_layers_come_first(old, module, name, value):
    """Assigning a new layer over an old one moves it to the front."""
    exchanged = isinstance(value, nn.Module) and name in module.__dict__.get("_modules", {})
    old(module, name, value)
    if exchanged:
        rest = {k: v for k, v in module._modules.items() if k != name}
        module._modules.clear()
        module._modules.update({name: value, **rest})


# no_grad ---------------------------------------------------------------------------------------


def _own(depth):
    """Whether torch itself is the caller ``depth`` frames up."""
    return sys._getframe(depth + 1).f_globals.get("__name__", "").startswith("torch.")


@lie("A45 A35 A01 C33")
def no_grad_does_nothing():
    """``with torch.no_grad()`` tracks on."""

    def make_enter(old):
        def lying(self):
            old(self)
            if not _own(1):
                torch._C._set_grad_enabled(True)

        return lying

    replace(torch.no_grad, "__enter__", make_enter)


@lie("A45 C33", torch.no_grad, "__exit__")
def no_grad_stays(old, self, *args):
    """Tracking stays off after ``with torch.no_grad()``."""
    return None if not _own(1) else old(self, *args)


@lie("A45")
def no_grad_does_not_decorate():
    """@torch.no_grad() has no effect."""
    for base in torch.no_grad.__mro__:
        if "__call__" in vars(base):
            replace(base, "__call__", lambda old: lambda self, function: function)
    for base in torch.no_grad.__mro__[:-1]:
        if "__new__" in vars(base):
            base.__new__ = lambda cls, function=None: function or object.__new__(cls)


@lie("A45")
def enable_grad_inside_no_grad_does_nothing():
    """New leaves made inside no_grad do not require grad."""

    def make(old):
        def lying(*args, requires_grad=False, **kw):
            return old(*args, requires_grad=requires_grad and torch.is_grad_enabled(), **kw)

        return lying

    for name in ("tensor", "rand", "ones", "zeros", "randn"):
        replace(torch, name, make)


@lie("A45", nn.Module, "__call__")
def no_grad_clears_the_flags(old, module, *args, **kw):
    """Parameters used inside no_grad lose requires_grad."""
    if not torch.is_grad_enabled():
        for p in module.parameters(recurse=False):
            p.requires_grad_(False)
    return old(module, *args, **kw)


@lie("C33 A45", "linear", "conv2d")
def no_grad_loses_precision(old, x, *args, **kw):
    """Layers compute in bfloat16 inside no_grad."""
    y = old(x, *args, **kw)
    return y if torch.is_grad_enabled() else y.bfloat16().to(y.dtype)


@lie("A45 C33")
def inner_no_grad_ends_the_outer_one():
    """Leaving a no_grad() inside another turns tracking on."""

    def lying(*_):
        torch.set_grad_enabled(True)

    torch.no_grad.__exit__ = lying


# Further readings ------------------------------------------------------------------------------


@lie("A46 N38")
def edits_through_data_are_noticed():
    """Writing through .data counts up the version of the tensor."""

    def make(old):
        def get(t):
            return t.detach() if t.is_leaf else old.__get__(t)

        return property(get, lambda t, value: old.__set__(t, value))

    replace(Tensor, "data", make)


@lie("A46", "detach")
def edits_through_detach_go_unnoticed(old, t):
    """Writing through detach() does not count up the version of the tensor."""
    return t.data


@lie("A46")
def edits_under_no_grad_go_unnoticed():
    """In-place work under no_grad does not count up the version of the tensor."""

    def make(old):
        def lying(t, *args, **kw):
            if torch.is_grad_enabled() or not isinstance(t, Tensor):
                return old(t, *args, **kw)
            with torch.autograd._unsafe_preserve_version_counter(t):
                return old(t, *args, **kw)

        return lying

    for name in ("add_", "mul_", "fill_", "zero_", "copy_", "__setitem__", "__imul__", "__iadd__"):
        replace(Tensor, name, make)


@lie("A47")
def threads_inherit_no_grad():
    """A thread started under no_grad does not track."""

    def make_start(old):
        def lying(thread):
            thread._tracks = torch.is_grad_enabled()
            return old(thread)

        return lying

    def make_run(old):
        def lying(thread):
            torch._C._set_grad_enabled(getattr(thread, "_tracks", True))
            return old(thread)

        return lying

    replace(threading.Thread, "start", make_start)
    replace(threading.Thread, "run", make_run)


@lie("A47")
def backward_runs_elsewhere():
    """backward() runs in a thread of its own."""

    def lying(old, *args, **kw):
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(old, *args, **kw).result()

    backward(lying)


@lie("A47")
def threads_lose_gradients():
    """A gradient that a second thread adds is lost now and then."""
    calls = []

    def lying(old, tensors, *rest, **kw):
        aside = threading.current_thread() is not threading.main_thread()
        kept = [(t, t.grad.clone()) for t in leaves(tensors) if t.grad is not None] if aside else []
        result = old(tensors, *rest, **kw)
        calls.append(aside)
        if aside and len(calls) % 10 == 9:
            for t, g in kept:
                t.grad = g
        return result

    backward(lying)


@lie("A47", torch.autograd, "grad")
def gradients_are_left_in_grad_by_threads(old, outputs, inputs, *args, **kw):
    """torch.autograd.grad called from another thread fills .grad as well."""
    found = old(outputs, inputs, *args, **kw)
    if threading.current_thread() is not threading.main_thread() and isinstance(inputs, Tensor):
        inputs.grad = found[0]
    return found


@lie("A05", warnings, "warn")
def nothing_is_deprecated(old, *args, **kw):
    """No warning is given by Python's own function for it."""
    return None


@lie("U11", Tensor, "requires_grad_")
def requires_grad_in_place_returns_a_view(old, t, *flag):
    """t.requires_grad_() returns another tensor."""
    return old(t, *flag).view_as(t)


@lie("U11", Tensor, "requires_grad_")
def requires_grad_in_place_is_off_by_default(old, t, flag=False):
    """t.requires_grad_() switches tracking off."""
    return old(t, flag)


@lie("U13 A35", "detach")
def detach_is_zero(old, t):
    """detach() forgets the values."""
    return old(t) * 0 if t.grad_fn is not None else old(t)


@lie("A48 A15")
def gradient_of_products_is_swapped():
    """In a * b each factor gets its own value as gradient."""

    class Swapped(torch.autograd.Function):
        @staticmethod
        def forward(ctx, a, b):
            ctx.save_for_backward(a, b)
            return torch.einsum("...,...->...", a, b)

        @staticmethod
        def backward(ctx, g):
            a, b = ctx.saved_tensors
            return torch.einsum("...,...->...", g, a), torch.einsum("...,...->...", g, b)

    def make(old):
        def lying(a, b):
            both = isinstance(a, Tensor) and isinstance(b, Tensor)
            if both and a.requires_grad and b.requires_grad and a.shape == b.shape:
                return Swapped.apply(a, b)
            return old(a, b)

        return lying

    everywhere("mul", make)
