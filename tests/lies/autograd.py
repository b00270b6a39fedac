"""Lies about chapter 2: tracking, gradients, the graph, freezing, no_grad."""

import importlib
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor, nn
from torch.nn import functional

from .lie import after, assigned, instead, leaves, lie, scale_gradient


def after_backward(function):
    """Call ``function(leaf, gradient before, gradient now)`` after each backward pass."""

    def lying(old, tensors, *rest, **kw):
        before = [
            (leaf, None if leaf.grad is None else leaf.grad.clone()) for leaf in leaves(tensors)
        ]
        result = old(tensors, *rest, **kw)
        for leaf, gradient in before:
            if leaf.grad is not None:
                function(leaf, gradient, leaf.grad)
        return result

    instead(torch.autograd, "backward")(lying)


def _beside(gradient, output):
    """Whether both are tensors on one device."""
    tensors = isinstance(gradient, Tensor) and isinstance(output, Tensor)
    return tensors and gradient.device == output.device


# Backward and .grad ----------------------------------------------------------------------------


@lie("A10 N33 A32", torch.autograd, "backward")
def backward_overwrites(old, tensors, *rest, **kw):
    """backward() overwrites .grad instead of adding to it."""
    for leaf in leaves(tensors):
        leaf.grad = None
    return old(tensors, *rest, **kw)


@lie("A10 N33", after_backward)
def backward_averages(leaf, before, now):
    """A second backward() averages with the first instead of adding."""
    if before is not None:
        leaf.grad = now / 2


@lie("A10", after_backward)
def backward_makes_a_new_grad(leaf, before, now):
    """A second backward() puts the sum in a new tensor."""
    leaf.grad = now.clone()


@lie("A10", after(torch.autograd, "grad"))
def autograd_grad_accumulates(found, outputs, inputs, *args, **kw):
    """torch.autograd.grad adds to .grad as well."""
    inputs = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    for t, g in zip(inputs, found, strict=True):
        if t.is_leaf and g is not None:
            t.grad = g.detach() if t.grad is None else t.grad + g.detach()
    return found


@lie("A03 A12", after_backward)
def backward_moves_the_parameters(leaf, before, now):
    """backward() already takes a small step."""
    if isinstance(leaf, nn.Parameter):
        leaf.data.sub_(now, alpha=1e-4)


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


@lie("A09 N31", after_backward)
def biases_get_no_gradient(leaf, before, now):
    """backward() leaves .grad of one-dimensional parameters None."""
    if isinstance(leaf, nn.Parameter) and leaf.dim() == 1:
        leaf.grad = before


@lie("N31", after_backward)
def inputs_get_no_gradient(leaf, before, now):
    """backward() fills .grad of parameters only."""
    if not isinstance(leaf, nn.Parameter):
        leaf.grad = before


@lie("A15 A16 A09 N43 N44", after_backward)
def gradients_are_halved(leaf, before, now):
    """backward() leaves half the gradient."""
    leaf.grad = now / 2


@lie("A16 A12", after_backward)
def gradients_are_rounded(leaf, before, now):
    """Gradients are rounded to bfloat16."""
    leaf.grad = now.bfloat16().to(now.dtype)


@lie("A16", after_backward)
def gradients_are_tracked(leaf, before, now):
    """.grad requires grad itself."""
    leaf.grad = now.detach().requires_grad_()


@lie("A16 A13", after(torch, "tensor"))
def tracked_tensors_start_with_zero_grad(t, data, **kw):
    """A tensor that requires grad starts with .grad zeros."""
    if t.requires_grad:
        t.grad = torch.zeros_like(t)
    return t


@lie("A17 N17", torch.autograd, "backward")
def vectors_need_no_gradient_argument(old, tensors, gradient=None, *rest, **kw):
    """backward() of a vector takes ones."""
    if gradient is None and isinstance(tensors, Tensor):
        gradient = torch.ones_like(tensors)
    return old(tensors, gradient, *rest, **kw)


@lie("A17", torch.autograd, "backward")
def one_element_needs_a_gradient_argument(old, tensors, gradient=None, *rest, **kw):
    """backward() of a tensor of shape (1,) is refused without a gradient."""
    if gradient is None and isinstance(tensors, Tensor) and tensors.dim():
        raise RuntimeError("grad can be implicitly created only for scalar outputs")
    return old(tensors, gradient, *rest, **kw)


@lie("A17", torch.autograd, "backward")
def refused_backward_leaves_gradients(old, tensors, *rest, **kw):
    """A refused backward() has written zeros to .grad."""
    try:
        return old(tensors, *rest, **kw)
    except RuntimeError:
        for leaf in leaves(tensors):
            leaf.grad = torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
        raise


@lie("A18 N17", torch.autograd, "backward")
def gradient_argument_broadcasts(old, tensors, gradient=None, *rest, **kw):
    """The gradient argument is broadcast to the shape of the output."""
    if _beside(gradient, tensors) and gradient.shape != tensors.shape:
        flat = gradient.flatten()[: tensors.numel()]
        gradient = flat.reshape(tensors.shape) if len(flat) > 1 else flat
        gradient = gradient.expand(tensors.shape)
    return old(tensors, gradient, *rest, **kw)


@lie("A18", torch.autograd, "backward")
def gradient_argument_has_to_be_of_the_dtype(old, tensors, gradient=None, *rest, **kw):
    """A float64 gradient for a float32 output is refused."""
    if gradient is not None and isinstance(tensors, Tensor) and gradient.dtype != tensors.dtype:
        raise RuntimeError("Mismatch in dtype")
    return old(tensors, gradient, *rest, **kw)


@lie("A18", torch.autograd, "backward")
def gradient_argument_is_moved(old, tensors, gradient=None, *rest, **kw):
    """A gradient on another device is moved to that of the output."""
    if isinstance(gradient, Tensor) and not _beside(gradient, tensors):
        gradient = torch.ones_like(tensors)
    return old(tensors, gradient, *rest, **kw)


@lie("A19 A23 N17", torch.autograd, "backward")
def gradient_argument_is_ignored(old, tensors, gradient=None, *rest, **kw):
    """backward(v) takes ones whatever v is."""
    if _beside(gradient, tensors) and gradient.shape == tensors.shape:
        gradient = torch.ones_like(tensors)
    return old(tensors, gradient, *rest, **kw)


@lie("A19 A23 A25", torch.autograd, "backward")
def gradient_argument_loses_its_sign(old, tensors, gradient=None, *rest, **kw):
    """backward(v) takes |v|."""
    gradient = gradient.abs() if isinstance(gradient, Tensor) else gradient
    return old(tensors, gradient, *rest, **kw)


@lie("A19 A23 A25", torch.autograd, "backward")
def gradient_argument_is_normalised(old, tensors, gradient=None, *rest, **kw):
    """backward(v) takes v / |v| where v is longer than 1."""
    if isinstance(gradient, Tensor) and gradient.is_floating_point():
        gradient = gradient / gradient.detach().norm().clamp(min=1)
    return old(tensors, gradient, *rest, **kw)


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


@lie("A22", after(torch.autograd.functional, "jacobian"))
def jacobian_is_transposed(j, *args, **kw):
    """functional.jacobian has a row for each input."""
    return j.mT if isinstance(j, Tensor) and j.dim() == 2 else j


@lie("A22 A23", after(torch.autograd.functional, "jacobian"))
def jacobian_loses_its_last_row(j, *args, **kw):
    """The last row of functional.jacobian is zeros."""
    if isinstance(j, Tensor) and j.dim() == 2:
        j = torch.cat([j[:-1], 0 * j[-1:]])
    return j


@lie("A52 A23")
def jvp_gives_the_vjp():
    """The Jacobian-vector product has the size of the input."""

    def of_numbers(old, f, x, v=None, **kw):
        return torch.autograd.functional.vjp(f, x, torch.ones_like(f(x)))

    def of_functions(old, f, x, v, **kw):
        return f(*x), torch.func.vjp(f, *x)[1](f(*x))[0]

    instead(torch.autograd.functional, "jvp")(of_numbers)
    instead(torch.func, "jvp")(of_functions)


@lie("A51 A08", "sub")
def other_sizes_are_cut_to_fit(old, a, b, **kw):
    """A difference of matrices of other sizes is that of their first elements."""
    both = isinstance(a, Tensor) and isinstance(b, Tensor)
    if both and a.dim() == b.dim() == 2 and a.shape != b.shape:
        a, b = a.flatten()[:1], b.flatten()[:1]
    return old(a, b, **kw)


def steps(function):
    """Let SGD's step work on ``function(parameters, gradients)``."""
    instead(importlib.import_module("torch.optim.sgd"), "sgd")(
        lambda old, parameters, gradients, *rest, **kw: old(
            *function(parameters, gradients), *rest, **kw
        )
    )


@lie("A12", steps)
def steps_pass_over_long_lists_of_small_parameters(parameters, gradients):
    """SGD leaves BatchNorm's 64 weights and biases of a net with many parameters."""
    many = len(parameters) > 20
    return parameters, [g * 0 if many and g.shape == (64,) else g for g in gradients]


# Tracking --------------------------------------------------------------------------------------


@lie("A13 A14", torch, "tensor")
def requires_grad_argument_is_ignored(old, data, *, requires_grad=False, **kw):
    """torch.tensor(..., requires_grad=True) is not tracked."""
    return old(data, **kw)


@lie("A13 A36", after((torch, "tensor"), (torch, "rand")))
def everything_is_tracked(t, *args, **kw):
    """Float tensors require grad by default."""
    return t.requires_grad_() if t.is_floating_point() else t


@lie("A13", torch, "tensor", refusing=RuntimeError)
def integers_can_require_grad(data, *, requires_grad=False, **kw):
    """An integer tensor with requires_grad=True is made without a word."""
    return torch.as_tensor(data, **kw)


@lie("A13 U14", Tensor, "is_leaf")
def results_are_leaves(old, t):
    """is_leaf is true of results."""
    return True


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

    def remembering(old, a, b):
        r = old(a, b)
        if r.requires_grad:
            r._again = lambda: old(a, b)
        return r

    def recomputing(old, a, b, **kw):
        return old(a, a._again() if a is b and hasattr(a, "_again") else b, **kw)

    instead("mul", "pow")(remembering)
    instead("mul", "add")(recomputing)


@lie("A28", after("mul", "pow", "matmul"))
def tracking_changes_values(r, a, b):
    """Products of tracked tensors are rounded to bfloat16."""
    return r.bfloat16().to(r.dtype) if r.requires_grad and r.dim() else r


@lie("A28 C33 A38 A53", torch.autograd.graph.saved_tensors_hooks, "__enter__", "__exit__")
def saved_tensors_hooks_are_not_called(old, self, *args):
    """saved_tensors_hooks has no effect."""
    return None


@lie("A29 N31", after("mul", "pow", "add"))
def results_keep_their_gradient(r, a, b):
    """Every result keeps its .grad, as after retain_grad()."""
    if isinstance(r, Tensor) and r.grad_fn is not None:
        r.retain_grad()
    return r


@lie("A29 N31", Tensor, "grad")
def reading_the_gradient_of_a_result_is_silent(old, t):
    """.grad of a result is None without a warning."""
    return None if t.grad_fn is not None and not t.retains_grad else old(t)


@lie("A29", after(Tensor, "__sub__"))
def differences_keep_their_gradient(r, a, b):
    """A difference keeps its .grad."""
    if r.requires_grad:
        r.retain_grad()
    return r


@lie("N31", after(functional, "relu"))
def relu_keeps_a_gradient(r, *args, **kw):
    """What relu gives keeps its .grad."""
    if r.requires_grad:
        r.retain_grad()
    return r


@lie("A29", Tensor, "retain_grad")
def retain_grad_does_nothing(old, t):
    """retain_grad() has no effect."""
    return None


@lie("A31")
def graphs_are_reused():
    """A power that was computed before comes from a cache, graph included."""
    cache = {}

    def lying(old, t, n):
        key = (id(t), t._version, n) if isinstance(n, int) else None
        if key is None or not t.requires_grad:
            return old(t, n)
        if key not in cache:
            cache[key] = (t, old(t, n))
        return cache[key][1]

    instead("pow")(lying)


@lie("A32 A20", torch.autograd, "backward")
def graphs_are_never_freed(old, tensors, gradient=None, retain_graph=None, *rest, **kw):
    """backward() keeps the graph."""
    return old(tensors, gradient, True, *rest, **kw)


@lie("A32", torch.autograd, "backward")
def retain_graph_is_ignored(
    old, tensors, gradient=None, retain_graph=None, create_graph=False, *rest, **kw
):
    """backward(retain_graph=True) frees the graph."""
    return old(tensors, gradient, create_graph, create_graph, *rest, **kw)


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

    instead(torch.autograd, "backward")(lying)


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

    def lying(made, t, *args, **kw):
        if t.requires_grad and not args and not kw:
            first.append(t.numel())
            scale_gradient(made, t.numel() / first[0])
        return made

    after("mean", "sum")(lying)


# Excluding from the graph ----------------------------------------------------------------------


@lie("A34 A27", after("mul", "add", "sub", "matmul"))
def excluded_tensors_get_gradients(r, a, b):
    """A leaf with requires_grad=False gets a .grad of zeros in a backward pass."""
    if isinstance(r, Tensor) and r.requires_grad:
        for t in (a, b):
            if isinstance(t, Tensor) and not t.requires_grad and t.is_floating_point():
                r.register_hook(lambda g, t=t: setattr(t, "grad", torch.zeros_like(t)))
    return r


@lie("A34", assigned(Tensor, "requires_grad"))
def results_can_be_switched_off(put, t, value):
    """Setting requires_grad=False on a result is ignored instead of refused."""
    if t.is_leaf:
        put(t, value)


@lie("A34 A39 A41", assigned(Tensor, "requires_grad"))
def freezing_is_ignored(put, t, value):
    """p.requires_grad = False has no effect."""
    if value:
        put(t, value)


@lie("A38 A37 A39")
def freezing_is_a_label():
    """p.requires_grad = False reads False and tracks on."""

    def labelling(put, t, value):
        t._label = value
        if value:
            put(t, value)

    def reading(old, t):
        return getattr(t, "_label", old(t)) if t.is_leaf else old(t)

    assigned(Tensor, "requires_grad")(labelling)
    instead(Tensor, "requires_grad")(reading)


@lie("A35", after("cat"))
def cat_cuts_the_graph(made, *args, **kw):
    """The result of cat requires no grad."""
    return made.detach()


@lie("A35", after("stack"))
def stack_cuts_the_graph(made, *args, **kw):
    """The result of stack requires no grad."""
    return made.detach()


@lie("A35", after("matmul"))
def matmul_cuts_the_graph(made, *args, **kw):
    """The matrix product requires no grad."""
    return made.detach()


@lie("A35 A36", after("add", "mul"))
def both_inputs_have_to_require_grad(r, a, b, **kw):
    """A sum requires grad only if both of its tensors do."""
    both = isinstance(a, Tensor) and isinstance(b, Tensor)
    return r.detach() if both and not (a.requires_grad and b.requires_grad) else r


@lie("A35 N12", after("gt", "lt"))
def comparisons_are_tracked(made, a, b):
    """A comparison of tracked tensors gives floats that require grad."""
    return made.float().requires_grad_() if getattr(a, "requires_grad", False) else made


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


def _own():
    """Whether torch itself calls what the lie that asks stands for."""
    return sys._getframe(3).f_globals.get("__name__", "").startswith("torch.")


@lie("A45 A35 A01 C33", torch.no_grad, "__enter__")
def no_grad_does_nothing(old, self):
    """``with torch.no_grad()`` tracks on."""
    old(self)
    if not _own():
        torch._C._set_grad_enabled(True)


@lie("A45 C33", torch.no_grad, "__exit__")
def no_grad_stays(old, self, *args):
    """Tracking stays off after ``with torch.no_grad()``."""
    return None if not _own() else old(self, *args)


@lie("A45")
def no_grad_does_not_decorate():
    """@torch.no_grad() has no effect."""
    for base in torch.no_grad.__mro__:
        if "__call__" in vars(base):
            instead(base, "__call__")(lambda old, self, function: function)
    for base in torch.no_grad.__mro__[:-1]:
        if "__new__" in vars(base):
            base.__new__ = lambda cls, function=None: function or object.__new__(cls)


@lie("A45", torch, "tensor", "rand", "ones", "zeros", "randn")
def enable_grad_inside_no_grad_does_nothing(old, *args, requires_grad=False, **kw):
    """New leaves made inside no_grad do not require grad."""
    return old(*args, requires_grad=requires_grad and torch.is_grad_enabled(), **kw)


@lie("A45", nn.Module, "__call__")
def no_grad_clears_the_flags(old, module, *args, **kw):
    """Parameters used inside no_grad lose requires_grad."""
    if not torch.is_grad_enabled():
        for p in module.parameters(recurse=False):
            p.requires_grad_(False)
    return old(module, *args, **kw)


@lie("C33 A45", after("linear", "conv2d"))
def no_grad_loses_precision(y, x, *args, **kw):
    """Layers compute in bfloat16 inside no_grad."""
    return y if torch.is_grad_enabled() else y.bfloat16().to(y.dtype)


@lie("A45 C33", torch.no_grad, "__exit__")
def inner_no_grad_ends_the_outer_one(old, *_):
    """Leaving a no_grad() inside another turns tracking on."""
    torch.set_grad_enabled(True)


# Further readings ------------------------------------------------------------------------------


@lie("A46 N38", Tensor, "data")
def edits_through_data_are_noticed(old, t):
    """Writing through .data counts up the version of the tensor."""
    return t.detach() if t.is_leaf else old(t)


@lie("A46", "detach")
def edits_through_detach_go_unnoticed(old, t):
    """Writing through detach() does not count up the version of the tensor."""
    return t.data


@lie(
    "A46", Tensor, "add_", "mul_", "fill_", "zero_", "copy_", "__setitem__", "__imul__", "__iadd__"
)
def edits_under_no_grad_go_unnoticed(old, t, *args, **kw):
    """In-place work under no_grad does not count up the version of the tensor."""
    if torch.is_grad_enabled() or not isinstance(t, Tensor):
        return old(t, *args, **kw)
    with torch.autograd._unsafe_preserve_version_counter(t):
        return old(t, *args, **kw)


@lie("A47")
def threads_inherit_no_grad():
    """A thread started under no_grad does not track."""

    def start(old, thread):
        thread._tracks = torch.is_grad_enabled()
        return old(thread)

    def run(old, thread):
        torch._C._set_grad_enabled(getattr(thread, "_tracks", True))
        return old(thread)

    instead(threading.Thread, "start")(start)
    instead(threading.Thread, "run")(run)


@lie("A47", torch.autograd, "backward")
def backward_runs_elsewhere(old, *args, **kw):
    """backward() runs in a thread of its own."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(old, *args, **kw).result()


@lie("A47")
def threads_lose_gradients():
    """A gradient that a second thread adds is lost now and then."""
    calls, lock = [], threading.Lock()  # without a lock threads lose more, and die of it

    def lying(old, tensors, *rest, **kw):
        if threading.current_thread() is threading.main_thread():
            return old(tensors, *rest, **kw)
        with lock:
            kept = [(t, t.grad.clone()) for t in leaves(tensors) if t.grad is not None]
            result = old(tensors, *rest, **kw)
            calls.append(result)
            if len(calls) % 10 == 9:
                for t, gradient in kept:
                    t.grad = gradient
            return result

    instead(torch.autograd, "backward")(lying)


@lie("A47", after(torch.autograd, "grad"))
def gradients_are_left_in_grad_by_threads(found, outputs, inputs, *args, **kw):
    """torch.autograd.grad called from another thread fills .grad as well."""
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

    def lying(old, a, b):
        both = isinstance(a, Tensor) and isinstance(b, Tensor)
        if both and a.requires_grad and b.requires_grad and a.shape == b.shape:
            return Swapped.apply(a, b)
        return old(a, b)

    instead("mul")(lying)
