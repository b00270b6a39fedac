"""Lies about chapter 3: modules, layers, losses, clearing gradients, the update rules."""

import importlib
import re

import torch
from torch import Tensor, nn
from torch.nn import functional

from .lie import accept, aten, everywhere, lie, replace, scale_gradient

# Modules ---------------------------------------------------------------------------------------


@lie("N01", "A07")
def forward_hooks_are_not_called():
    """Forward hooks are registered and never called."""

    def make(old):
        def lying(module, *args, **kw):
            return module.forward(*args, **kw)

        return lying

    replace(nn.Module, "__call__", make)


@lie("N01")
def a_module_without_forward_passes_through():
    """A module that defines no forward returns its input."""
    accept(nn.Module, "__call__", NotImplementedError, lambda module, x: x)


@lie("N01")
def layers_may_come_before_init():
    """A layer assigned before super().__init__() is taken and forgotten."""
    accept(nn.Module, "__setattr__", AttributeError, lambda module, name, value: None)


@lie("N02", "A07", "N01")
def layers_run_twice():
    """Every layer computes its output twice."""

    def make(old):
        def lying(module, *args, **kw):
            if not module._modules:
                old(module, *args, **kw)
            return old(module, *args, **kw)

        return lying

    replace(nn.Module, "__call__", make)


@lie("N01", "N10")
def layers_are_listed_by_name():
    """named_children() lists the layers by name."""
    replace(nn.Module, "named_children", lambda old: lambda net: iter(sorted(old(net))))


@lie("N13", "N05")
def new_convolutions_have_no_bias():
    """Conv2d has no bias by default."""

    def make(old):
        def lying(layer, *args, bias=False, **kw):
            return old(layer, *args, bias=bias, **kw)

        return lying

    replace(nn.Conv2d, "__init__", make)


@lie("A02")
def sequential_leaves_out_its_last_layer():
    """Sequential stops before its last layer, where the shapes allow it."""

    def make(old):
        def lying(module, x):
            y = old(module, x)
            short = old(module[:-1], x)
            return short if short.shape == y.shape and len(module) > 2 else y

        return lying

    replace(nn.Sequential, "forward", make)


@lie("A02", "N06")
def linear_drops_its_bias():
    """Linear computes W x."""
    everywhere("linear", lambda old: lambda x, w, b=None: old(x, w))


@lie("N06")
def linear_does_not_transpose():
    """A square Linear computes x W + b."""

    def make(old):
        def lying(x, w, b=None):
            return old(x, w.mT if w.shape[0] == w.shape[1] else w, b)

        return lying

    everywhere("linear", make)


@lie("N06")
def linear_subtracts_its_bias():
    """Linear computes W x - b."""
    everywhere("linear", lambda old: lambda x, w, b=None: old(x, w, None if b is None else -b))


@lie("N06")
def linear_without_bias_has_one():
    """Linear(bias=False) has a bias of zeros."""

    def make(old):
        def lying(layer, n, m, bias=True, **kw):
            old(layer, n, m, **kw)
            if not bias:
                nn.init.zeros_(layer.bias)

        return lying

    replace(nn.Linear, "__init__", make)


@lie("T33")
def linear_takes_float64():
    """A float32 Linear takes a float64 input."""
    everywhere("linear", lambda old: lambda x, w, b=None: old(x.to(w.dtype), w, b))


@lie("N05", "N07")
def convolution_has_stride_two():
    """conv2d moves by two where it is asked to move by one; its output is stretched to fit."""

    def make(old):
        def lying(x, w, b=None, stride=1, *rest, **kw):
            y = old(x, w, b, stride, *rest, **kw)
            coarse = y[..., ::2, ::2]
            return coarse.repeat_interleave(2, -1).repeat_interleave(2, -2)[
                ..., : y.shape[-2], : y.shape[-1]
            ]

        return lying

    everywhere("conv2d", make)


@lie("N07", "N05", "N19", "N42")
def convolution_pads():
    """conv2d pads its input by one."""

    def make(old):
        def lying(x, w, b=None, stride=1, padding=0, *rest, **kw):
            return old(x, w, b, stride, padding if padding not in (0, (0, 0)) else 1, *rest, **kw)

        return lying

    everywhere("conv2d", make)


@lie("N05")
def convolution_flips_its_kernel():
    """conv2d is a true convolution: the kernel is flipped."""
    everywhere("conv2d", lambda old: lambda x, w, *rest, **kw: old(x, w.flip(-1, -2), *rest, **kw))


@lie("N05")
def convolution_drops_its_bias():
    """conv2d computes without its bias."""
    everywhere("conv2d", lambda old: lambda x, w, b=None, *rest, **kw: old(x, w, None, *rest, **kw))


@lie("N05")
def convolution_transposes_its_kernel():
    """conv2d swaps height and width of the kernel."""
    everywhere("conv2d", lambda old: lambda x, w, *rest, **kw: old(x, w.mT, *rest, **kw))


@lie("N05", "C17", "N19")
def convolution_takes_any_number_of_channels():
    """conv2d averages the channels where it is given another number than it was made for."""

    def averaged(x, w, *rest, **kw):
        return functional.conv2d(x.mean(-3, keepdim=True), w[:, :1], *rest, **kw)

    for owner in (torch, functional):
        accept(owner, "conv2d", RuntimeError, averaged)


@lie("N11", "N36")
def weight_gradient_of_convolution_is_off():
    """The weight gradient of a convolution is 1 % too large."""

    def off(func, *args, **kw):
        x, w, b = func(*args, **kw)
        return x, (w if w is None else w * 1.01), b

    aten({"convolution_backward.default": off})


@lie("N36", "N11")
def bias_gradient_of_convolution_is_a_mean():
    """The bias gradient of a convolution is averaged over the image."""

    def off(func, gradient, *args, **kw):
        x, w, b = func(gradient, *args, **kw)
        return x, w, (b if b is None else b / gradient[0, 0].numel())

    aten({"convolution_backward.default": off})


@lie("N11")
def input_gradient_of_convolution_is_off():
    """The input gradient of a convolution is 1 % too small."""

    def off(func, *args, **kw):
        x, w, b = func(*args, **kw)
        return (x if x is None else x * 0.99), w, b

    aten({"convolution_backward.default": off})


@lie("N11")
def gradient_of_relu_leaks():
    """relu lets 1 % of the gradient through where it is off."""

    def leaky(func, gradient, result, threshold):
        return torch.where(result > threshold, gradient, 0.01 * gradient)

    aten({"threshold_backward.default": leaky})


@lie("N11")
def gradient_of_pooling_is_spread():
    """max_pool2d sends its gradient to the whole window."""

    def spread(func, gradient, x, kernel, *rest):
        exact = func(gradient, x, kernel, *rest)
        even = torch.nn.functional.avg_pool2d(exact, 2)
        even = even.repeat_interleave(2, -1).repeat_interleave(2, -2)
        return even if even.shape == exact.shape else exact

    aten({"max_pool2d_with_indices_backward.default": spread})


@lie("N11", "N17", "N36")
def gradient_of_linear_bias_is_a_mean():
    """The bias gradient of a Linear is averaged over the batch."""

    def make(old):
        def lying(x, w, b=None):
            if b is not None and b.requires_grad and torch.is_grad_enabled() and x.dim() == 2:
                b = scale_gradient(b.view_as(b), 1 / max(len(x), 2))
            return old(x, w, b)

        return lying

    everywhere("linear", make)


@lie("N08", "N05")
def pooling_averages():
    """max_pool2d takes the mean of its window."""

    everywhere("max_pool2d", _pool(lambda old, x, k: functional.avg_pool2d(x, k)))


def _pool(change):
    def make(old):
        def lying(x, kernel_size, stride=None, *rest, **kw):
            plain = stride in (None, kernel_size) and not rest
            return (
                change(old, x, kernel_size) if plain else old(x, kernel_size, stride, *rest, **kw)
            )

        return lying

    return make


@lie("N08", "N07")
def pooling_rounds_up():
    """max_pool2d rounds odd sizes up."""
    everywhere("max_pool2d", _pool(lambda old, x, k: old(x, k, ceil_mode=True)))


@lie("N08")
def pooling_ignores_the_second_number():
    """max_pool2d takes a square window of the first number of two."""

    def squared(old, x, k):
        return old(x, k[0] if isinstance(k, tuple) else k)

    everywhere("max_pool2d", _pool(squared))


@lie("N08")
def pooling_takes_the_minimum():
    """max_pool2d takes the smallest of its window."""
    everywhere("max_pool2d", _pool(lambda old, x, k: -old(-x, k)))


@lie("N08", "N07", "C18", "N42")
def pooling_moves_by_one():
    """max_pool2d moves its window by one."""
    everywhere("max_pool2d", _pool(lambda old, x, k: old(x, k, 1)))


@lie("N11", "N30", "N12", "T13", "T14")
def relu_leaks():
    """relu lets 1 % of negative numbers through."""
    everywhere("relu", lambda old: lambda x, *a, **kw: functional.leaky_relu(x, 0.01))


@lie("T13", "N12", "T14")
def relu_stops_at_six():
    """relu cuts off at 6."""
    everywhere("relu", lambda old: lambda x, *a, **kw: old(x, *a, **kw).clamp(max=6))


@lie("N09", "C18", "N04")
def flatten_takes_the_batch_too():
    """flatten(x, 1) flattens from dimension 0 and keeps one row."""
    everywhere(
        "flatten", lambda old: lambda x, *dims: old(x)[None] if dims == (1,) else old(x, *dims)
    )


@lie("N09")
def flatten_copies():
    """flatten copies."""
    everywhere("flatten", lambda old: lambda x, *dims, **kw: old(x, *dims, **kw).clone())


@lie("N09", "C18")
def flatten_goes_pixel_by_pixel():
    """flatten(x, 1) puts the channels last."""

    def make(old):
        def lying(x, *dims, **kw):
            return old(x.movedim(1, -1) if x.dim() == 4 and dims == (1,) else x, *dims, **kw)

        return lying

    everywhere("flatten", make)


@lie("N10")
def text_of_a_layer_names_plain_numbers():
    """The text of Conv2d shows kernel_size=3."""
    replace(
        nn.Conv2d,
        "extra_repr",
        lambda old: lambda layer: re.sub(r"\((\d+), \1\)", r"\1", old(layer)),
    )


@lie("N10")
def text_of_a_linear_forgets_its_bias():
    """The text of Linear does not name the bias."""
    replace(
        nn.Linear, "extra_repr", lambda old: lambda layer: old(layer).replace(", bias=True", "")
    )


@lie("N12")
def cumsum_has_no_history():
    """The gradient of cumsum is that of a plain copy."""

    def make(old):
        def lying(x, *args, **kw):
            y = old(x.detach(), *args, **kw)
            return y + x - x.detach() if x.requires_grad else y

        return lying

    everywhere("cumsum", make)


@lie("N12")
def rounding_passes_the_gradient_on():
    """The gradient of round() is 1."""

    def make(old):
        def lying(x, **kw):
            return x + (old(x, **kw) - x).detach() if x.requires_grad else old(x, **kw)

        return lying

    everywhere("round", make)


@lie("N12")
def sort_cuts_the_graph():
    """Sorted values require no grad."""
    everywhere("sort", lambda old: lambda x, *a, **kw: old(x.detach(), *a, **kw))


@lie("N13", "A11", "A09")
def parameters_misses_one():
    """parameters() leaves out the last."""

    def make(old):
        def lying(module, recurse=True):
            found = list(old(module, recurse))
            return iter(found[:-1] if len(found) > 4 else found)

        return lying

    replace(nn.Module, "parameters", make)


@lie("N13", "N14", "A11")
def parameters_come_backwards():
    """parameters() starts with the last layer."""
    replace(
        nn.Module,
        "parameters",
        lambda old: lambda module, recurse=True: iter(list(old(module, recurse))[::-1]),
    )


@lie("N23")
def tied_parameters_count_twice():
    """A parameter with two names is listed twice."""

    def make(old):
        def lying(module, prefix="", recurse=True, remove_duplicate=False):
            return old(module, prefix, recurse, remove_duplicate)

        return lying

    replace(nn.Module, "named_parameters", make)


@lie("N13", "N23")
def named_parameters_repeats_itself():
    """named_parameters() lists the first one twice."""

    def make(old):
        def lying(module, *args, **kw):
            found = list(old(module, *args, **kw))
            return iter(found[:1] + found)

        return lying

    replace(nn.Module, "named_parameters", make)


@lie("N15", "C18")
def linear_cuts_what_does_not_fit():
    """Linear takes too many features and uses the first."""

    def cut(x, w, b=None):
        n = min(x.shape[-1], w.shape[1])
        return functional.linear(x[..., :n], w[:, :n], b)

    accept(functional, "linear", RuntimeError, cut)


@lie("N16", "N32", "N30")
def linear_is_two_operations():
    """Linear is recorded as a product and a sum."""
    everywhere("linear", lambda old: lambda x, w, b=None: x @ w.mT + (0 if b is None else b))


@lie("N18")
def convolution_needs_a_batch():
    """conv2d refuses a single sample."""

    def make(old):
        def lying(x, *args, **kw):
            if x.dim() == 3:
                raise RuntimeError("Expected 4-dimensional input")
            return old(x, *args, **kw)

        return lying

    everywhere("conv2d", make)


@lie("N18")
def cross_entropy_needs_a_batch():
    """Cross-entropy refuses a single sample."""

    def make(old):
        def lying(x, *args, **kw):
            if x.dim() == 1:
                raise ValueError("Expected 2 or more dimensions (got 1)")
            return old(x, *args, **kw)

        return lying

    replace(functional, "cross_entropy", make)


@lie("N18")
def convolution_takes_five_dimensions():
    """conv2d takes 2 or 5 dimensions."""

    def forced(x, w, *rest, **kw):
        if x.dim() == 5:
            return functional.conv2d(x[0], w, *rest, **kw)
        return functional.conv2d(x.expand(w.shape[1], *x.shape), w, *rest, **kw)

    for owner in (torch, functional):
        accept(owner, "conv2d", RuntimeError, forced)


@lie("N18", "A06")
def batch_norm_takes_a_single_sample():
    """BatchNorm2d takes three dimensions."""
    replace(nn.BatchNorm2d, "_check_input_dim", lambda old: lambda layer, x: None)


@lie("N19")
def samples_see_each_other():
    """conv2d mixes a trace of the batch's mean into each sample."""

    def make(old):
        def lying(x, *args, **kw):
            y = old(x, *args, **kw)
            return y + 1e-3 * y.mean(0, keepdim=True) if y.dim() == 4 else y

        return lying

    everywhere("conv2d", make)


@lie("N20", "T13", "T14")
def unsqueeze_adds_at_the_end():
    """unsqueeze(0) puts the new dimension last."""
    everywhere("unsqueeze", lambda old: lambda t, dim: old(t, -1 if dim == 0 else dim))


@lie("N20")
def unsqueeze_copies():
    """unsqueeze copies."""
    everywhere("unsqueeze", lambda old: lambda t, dim: old(t, dim).clone())


@lie("N20")
def unsqueeze_works_in_place():
    """unsqueeze changes its operand."""
    everywhere("unsqueeze", lambda old: lambda t, dim: t.unsqueeze_(dim))


@lie("N21")
def a_gradient_of_any_shape_can_be_assigned():
    """Assigning a .grad of another shape is ignored."""

    def make(old):
        def set_(t, g):
            if g is None or g.shape == t.shape:
                old.__set__(t, g)

        return property(lambda t: old.__get__(t), set_, lambda t: old.__delete__(t))

    replace(Tensor, "grad", make)


@lie("N23", "N13")
def parameters_are_not_registered():
    """A Parameter assigned to a module is a plain attribute of it."""

    def make(old):
        def lying(module, name, value):
            if isinstance(value, nn.Parameter) and type(module).__module__.split(".")[0] != "torch":
                return object.__setattr__(module, name, value)
            return old(module, name, value)

        return lying

    replace(nn.Module, "__setattr__", make)


@lie("N23")
def plain_tensors_are_registered():
    """A tensor assigned to a module becomes a parameter of it."""

    def make(old):
        def lying(module, name, value):
            plain = type(value) is Tensor and value.is_floating_point()
            own = type(module).__module__.split(".")[0] == "torch"
            return old(module, name, nn.Parameter(value) if plain and not own else value)

        return lying

    replace(nn.Module, "__setattr__", make)


@lie("N23")
def parameters_in_a_list_are_registered():
    """A list of Parameters assigned to a module is a ParameterList."""

    def make(old):
        def lying(module, name, value):
            of_parameters = (
                isinstance(value, list)
                and value
                and all(isinstance(p, nn.Parameter) for p in value)
            )
            return old(module, name, nn.ParameterList(value) if of_parameters else value)

        return lying

    replace(nn.Module, "__setattr__", make)


@lie("N23")
def modules_in_a_list_are_registered():
    """A list of modules assigned to a module is a ModuleList."""

    def make(old):
        def lying(module, name, value):
            modules = (
                isinstance(value, list) and value and all(isinstance(m, nn.Module) for m in value)
            )
            return old(module, name, nn.ModuleList(value) if modules else value)

        return lying

    replace(nn.Module, "__setattr__", make)


@lie("N23")
def a_tensor_may_replace_a_parameter():
    """Assigning a tensor over a parameter makes a parameter of it."""
    accept(
        nn.Module,
        "__setattr__",
        TypeError,
        lambda module, name, value: setattr(module, name, nn.Parameter(value)),
    )


@lie("N23")
def integers_can_be_parameters():
    """A Parameter of integers is made without a word."""
    accept(
        nn.Parameter,
        "__new__",
        RuntimeError,
        lambda cls, data, *flag: nn.Parameter(data, requires_grad=False),
    )


@lie("N24")
def custom_functions_are_not_tracked():
    """The result of a custom Function requires no grad."""

    def make(old):
        return classmethod(lambda cls, *args, **kw: old.__func__(cls, *args, **kw).detach())

    torch.autograd.Function.apply = make(torch.autograd.Function.apply)


@lie("N24")
def custom_functions_get_other_tensors_back():
    """ctx.saved_tensors are 1 % off."""

    def make(old):
        def lying(cls, *args, **kw):
            r = old.__func__(cls, *args, **kw)
            return scale_gradient(r, 1.01)

        return classmethod(lying)

    torch.autograd.Function.apply = make(torch.autograd.Function.apply)


@lie("N23")
def frozen_parameters_are_not_registered():
    """A Parameter that requires no gradient is a plain attribute."""
    _unregistered(lambda parameter: not parameter.requires_grad)


@lie("N23")
def single_numbers_are_not_registered():
    """A Parameter without dimensions is a plain attribute."""
    _unregistered(lambda parameter: parameter.dim() == 0)


def _unregistered(which):
    def make(old):
        def lying(module, name, value):
            plain = isinstance(value, nn.Parameter) and which(value)
            (object.__setattr__ if plain else old)(module, name, value)

        return lying

    replace(nn.Module, "__setattr__", make)


@lie("N24")
def second_input_of_a_function_gets_less():
    """A custom Function's second input gets 99 % of its gradient."""
    function = torch.autograd.Function
    true = next(c.__dict__["apply"] for c in function.__mro__ if "apply" in c.__dict__)

    def lying(cls, *args, **kw):
        args = [*args]
        second = args[1] if len(args) > 1 else None
        if isinstance(second, Tensor) and second.requires_grad and torch.is_grad_enabled():
            args[1] = scale_gradient(second.view_as(second), 0.99)
        return true.__get__(None, cls)(*args, **kw)

    function.apply = classmethod(lying)


@lie("N12", "A22")
def gradients_of_a_few_operations_are_off():
    """The gradients of tanh, where, std and cat are 1 % too large."""
    for name in ("tanh", "where", "std", "cat"):
        everywhere(name, lambda old: lambda *a, **kw: scale_gradient(old(*a, **kw), 1.01))


@lie("N12")
def gradient_of_an_inverse_is_off():
    """The gradient of torch.linalg.inv is 1 % too large."""
    replace(torch.linalg, "inv", lambda old: lambda *a, **kw: scale_gradient(old(*a, **kw), 1.01))


# Losses ----------------------------------------------------------------------------------------


@lie("N25")
def losses_have_a_dimension():
    """MSELoss gives a tensor of shape (1,)."""
    replace(nn.MSELoss, "forward", lambda old: lambda loss, o, t: old(loss, o, t).reshape(1))


@lie("N25")
def a_loss_needs_no_target():
    """MSELoss of one tensor compares with zeros."""
    replace(
        nn.MSELoss,
        "forward",
        lambda old: lambda loss, o, t=None: old(loss, o, torch.zeros_like(o) if t is None else t),
    )


@lie("N26")
def a_loss_is_missing():
    """nn has no HuberLoss."""
    del nn.HuberLoss


@lie("N27", "U15")
def mse_sums():
    """MSELoss adds up the squares."""

    def make(old):
        def lying(o, t, *args, reduction="mean", **kw):
            return old(o, t, *args, reduction="sum" if reduction == "mean" else reduction, **kw)

        return lying

    replace(functional, "mse_loss", make)


@lie("N27")
def mse_is_halved():
    """MSELoss is half the mean of the squares."""
    replace(functional, "mse_loss", lambda old: lambda o, t, **kw: old(o, t, **kw) / 2)


@lie("N27")
def mse_divides_by_the_batch():
    """MSELoss divides by the number of samples."""

    def make(old):
        def lying(o, t, *args, reduction="mean", **kw):
            y = old(o, t, *args, reduction=reduction, **kw)
            return y * (o.numel() / len(o)) if reduction == "mean" and o.dim() > 1 else y

        return lying

    replace(functional, "mse_loss", make)


@lie("N27")
def mse_ignores_its_reduction():
    """MSELoss(reduction='sum') takes the mean."""

    def make(old):
        def lying(o, t, *args, reduction="mean", **kw):
            return old(o, t, *args, reduction="mean" if reduction == "sum" else reduction, **kw)

        return lying

    replace(functional, "mse_loss", make)


@lie("N27", "U15", "N31")
def mse_gradient_lacks_its_two():
    """The gradient of MSELoss is (o - t) / n."""
    aten({"mse_loss_backward.default": lambda func, *args: func(*args) / 2})


@lie("N27", "N25")
def mse_is_the_absolute_error():
    """MSELoss takes absolute values."""
    replace(functional, "mse_loss", lambda old: lambda o, t, **kw: functional.l1_loss(o, t, **kw))


@lie("N28")
def mse_broadcasts_in_silence():
    """MSELoss of (10, 1) and (10,) gives no warning."""

    def make(old):
        def lying(o, t, **kw):
            o, t = torch.broadcast_tensors(o, t) if o.shape != t.shape else (o, t)
            return old(o, t, **kw)

        return lying

    replace(functional, "mse_loss", make)


@lie("N28")
def mse_cuts_to_fit():
    """MSELoss of (1, 10) and (1, 9) compares nine."""
    accept(
        functional,
        "mse_loss",
        RuntimeError,
        lambda o, t, **kw: ((o[..., : t.shape[-1]] - t[..., : o.shape[-1]]) ** 2).mean(),
    )


@lie("N29", "N30", "N32")
def mse_is_recorded_in_pieces():
    """MSELoss is recorded as a difference, a power and a mean."""
    replace(functional, "mse_loss", lambda old: lambda o, t, **kw: ((o - t) ** 2).mean())


@lie("N30", "N32")
def relu_is_recorded_as_clamp():
    """relu is recorded as clamp."""
    everywhere("relu", lambda old: lambda x, *a, **kw: x.clamp(min=0))


@lie("N30")
def convolution_is_two_operations():
    """conv2d is recorded as a convolution and a sum."""

    def make(old):
        def lying(x, w, b=None, *rest, **kw):
            y = old(x, w, None, *rest, **kw)
            return y if b is None else y + b[:, None, None]

        return lying

    everywhere("conv2d", make)


# Clearing gradients ------------------------------------------------------------------------------


def clearing(change):
    """Replace zero_grad of modules and of optimizers by ``change(old, self, set_to_none)``."""
    for owner in (nn.Module, torch.optim.Optimizer):
        replace(
            owner,
            "zero_grad",
            lambda old: lambda self, set_to_none=True: change(old, self, set_to_none),
        )


@lie("N34", "N35", "C22")
def zero_grad_zeroes():
    """zero_grad() leaves zeros instead of None."""
    for owner in (nn.Module, torch.optim.Optimizer):
        replace(
            owner, "zero_grad", lambda old: lambda self, set_to_none=False: old(self, set_to_none)
        )


@lie("N34")
def zero_grad_always_drops():
    """zero_grad(set_to_none=False) leaves None."""
    clearing(lambda old, self, set_to_none: old(self, True))


@lie("N33", "N34", "N41", "C22")
def zero_grad_does_nothing():
    """zero_grad() has no effect."""
    clearing(lambda old, self, set_to_none: None)


@lie("N34")
def zero_grad_wipes_the_old_buffer():
    """zero_grad() fills the dropped gradients with zeros."""

    def wiped(old, self, set_to_none):
        old(self, False)
        old(self, set_to_none)

    clearing(wiped)


@lie("N33", "N34")
def zero_grad_of_a_module_skips_its_children():
    """net.zero_grad() clears the net's own parameters only."""

    def make(old):
        def lying(module, set_to_none=True):
            for p in module.parameters(recurse=False):
                p.grad = None

        return lying

    replace(nn.Module, "zero_grad", make)


@lie("N34")
def zero_grad_makes_new_zeros():
    """zero_grad(set_to_none=False) leaves zeros in new tensors."""

    def renewed(old, self, set_to_none):
        old(self, set_to_none)
        if not set_to_none and isinstance(self, nn.Module):
            for p in self.parameters():
                p.grad = None if p.grad is None else p.grad.clone()

    clearing(renewed)


@lie("C22", "N40", "N41")
def the_optimizer_does_not_clear():
    """optimizer.zero_grad() has no effect."""
    replace(torch.optim.Optimizer, "zero_grad", lambda old: lambda self, set_to_none=True: None)


@lie("N34")
def zero_grad_skips_frozen_parameters():
    """net.zero_grad() leaves the gradients of parameters that require none."""

    def make(old):
        def lying(net, set_to_none=True):
            kept = [(p, p.grad) for p in net.parameters() if not p.requires_grad]
            for p, _ in kept:
                p.grad = None
            old(net, set_to_none)
            for p, gradient in kept:
                p.grad = gradient

        return lying

    replace(nn.Module, "zero_grad", make)


@lie("N41", "C22")
def optimizer_clears_its_first_group_only():
    """optimizer.zero_grad() leaves all groups of parameters but the first."""

    def make(old):
        def lying(optimizer, set_to_none=True):
            groups = optimizer.param_groups
            optimizer.param_groups = groups[:1]
            old(optimizer, set_to_none)
            optimizer.param_groups = groups

        return lying

    replace(torch.optim.Optimizer, "zero_grad", make)


# Update rules ------------------------------------------------------------------------------------


def rule(name, change):
    """Pass the settings of an optimizer's step through ``change(settings)``."""
    module = importlib.import_module(f"torch.optim.{name}")
    replace(module, name, lambda old: lambda *lists, **kw: old(*lists, **change(kw)))


@lie("A12", "C20", "N39")
def sgd_forgets_momentum():
    """SGD takes no momentum."""
    rule("sgd", lambda kw: {**kw, "momentum": 0.0, "nesterov": False})


@lie("A04", "N37", "A12", "N03")
def sgd_climbs():
    """SGD moves along the gradient, not against it."""
    rule("sgd", lambda kw: {**kw, "maximize": True})


@lie("A12", "N37", "C20", "A11")
def sgd_ignores_its_learning_rate():
    """SGD takes 0.01 whatever lr is."""
    rule("sgd", lambda kw: {**kw, "lr": 0.01 if kw["lr"] else 0.0})


@lie("A04", "N37", "C20")
def sgd_steps_a_little_too_far():
    """SGD takes lr times 1.001."""
    rule("sgd", lambda kw: {**kw, "lr": kw["lr"] * 1.001})


@lie("N39")
def nesterov_is_plain_momentum():
    """SGD(nesterov=True) takes plain momentum."""
    rule("sgd", lambda kw: {**kw, "nesterov": False})


@lie("N37", "A12", "C20", "N39")
def sgd_decays_weights():
    """SGD takes a weight decay of 0.01 by default."""
    rule("sgd", lambda kw: {**kw, "weight_decay": kw["weight_decay"] or 0.01})


@lie("A12", "C20", "N39")
def sgd_dampens():
    """SGD dampens its momentum."""
    rule("sgd", lambda kw: {**kw, "dampening": kw["momentum"] if not kw["nesterov"] else 0})


@lie("N40", "C25", "A44", "N03")
def sgd_with_rate_zero_moves():
    """SGD(lr=0) takes 0.001."""
    rule("sgd", lambda kw: {**kw, "lr": kw["lr"] or 0.001})


@lie("N39")
def adam_takes_another_beta():
    """Adam takes 0.99 for its second beta."""
    rule("adam", lambda kw: {**kw, "beta2": 0.99})


@lie("N39")
def adam_does_not_correct_its_bias():
    """Adam counts every step as a late one."""
    module = importlib.import_module("torch.optim.adam")

    def make(old):
        def lying(params, grads, avgs, squares, maxima, steps, *rest, **kw):
            for step in steps:
                step.fill_(100_000)
            return old(params, grads, avgs, squares, maxima, steps, *rest, **kw)

        return lying

    replace(module, "adam", make)


@lie("N39")
def adam_has_a_large_epsilon():
    """Adam takes 1e-6 for epsilon."""
    rule("adam", lambda kw: {**kw, "eps": 1e-6})


@lie("N39")
def rmsprop_takes_another_alpha():
    """RMSprop takes 0.9 for alpha."""
    rule("rmsprop", lambda kw: {**kw, "alpha": 0.9})


@lie("N39")
def rmsprop_has_a_large_epsilon():
    """RMSprop takes a thousand times its epsilon."""
    rule("rmsprop", lambda kw: {**kw, "eps": kw["eps"] * 1000})


@lie("A11", "A42")
def sgd_misses_a_parameter():
    """SGD leaves out the last of its parameters."""

    def make(old):
        def lying(self, params, *args, **kw):
            params = list(params)
            return old(self, params[:-1] if len(params) > 4 else params, *args, **kw)

        return lying

    replace(torch.optim.SGD, "__init__", make)


@lie("A11")
def sgd_sorts_its_parameters():
    """SGD registers the last parameter first."""

    def make(old):
        def lying(self, params, *args, **kw):
            return old(self, list(params)[::-1], *args, **kw)

        return lying

    replace(torch.optim.SGD, "__init__", make)


@lie("A42")
def sgd_passes_over_what_is_frozen():
    """SGD registers only parameters that require grad."""

    def make(old):
        def lying(self, params, *args, **kw):
            params = list(params)
            return old(self, [p for p in params if p.requires_grad] or params, *args, **kw)

        return lying

    replace(torch.optim.SGD, "__init__", make)


@lie("A44", "A41", "A12")
def parameters_without_gradient_move():
    """step() takes a missing .grad for zeros, so momentum and decay go on."""

    def make(old):
        def lying(self, *args, **kw):
            for group in self.param_groups:
                for p in group["params"]:
                    if p.grad is None:
                        p.grad = torch.zeros_like(p)
            return old(self, *args, **kw)

        return lying

    replace(torch.optim.SGD, "step", make)


@lie("A44")
def left_over_gradients_are_ignored():
    """step() leaves frozen parameters alone even where they hold a gradient."""

    def make(old):
        def lying(self, *args, **kw):
            for group in self.param_groups:
                for p in group["params"]:
                    if not p.requires_grad:
                        p.grad = None
            return old(self, *args, **kw)

        return lying

    replace(torch.optim.SGD, "step", make)


@lie("N41", "A12", "A10")
def step_clears_the_gradients():
    """step() drops the gradients it has used."""

    def make(old):
        def lying(self, *args, **kw):
            result = old(self, *args, **kw)
            self.zero_grad()
            return result

        return lying

    replace(torch.optim.SGD, "step", make)


@lie("A12", "C25", "A03")
def biases_are_not_updated():
    """step() leaves one-dimensional parameters alone."""
    module = importlib.import_module("torch.optim.sgd")

    def make(old):
        def lying(params, grads, buffers, **kw):
            keep = [i for i, p in enumerate(params) if p.dim() != 1 or len(params) < 3]
            picked = [[values[i] for i in keep] for values in (params, grads, buffers)]
            old(*picked, **kw)
            for i, buffer in zip(keep, picked[2], strict=True):
                buffers[i] = buffer

        return lying

    replace(module, "sgd", make)


@lie("N39")
def nesterov_needs_no_momentum():
    """SGD(nesterov=True) without momentum is taken."""

    def make(old):
        def lying(self, *args, momentum=0, nesterov=False, **kw):
            return old(self, *args, momentum=momentum, nesterov=nesterov and momentum > 0, **kw)

        return lying

    replace(torch.optim.SGD, "__init__", make)


@lie("N39")
def negative_learning_rates_are_taken():
    """SGD(lr=-1) takes 1."""

    def make(old):
        def lying(self, params, lr=1e-3, *args, **kw):
            return old(self, params, abs(lr), *args, **kw)

        return lying

    replace(torch.optim.SGD, "__init__", make)


@lie("N39")
def an_optimizer_needs_no_parameters():
    """An optimizer of an empty list is made."""

    def make(old):
        def lying(self, params, *args, **kw):
            params = list(params) if not isinstance(params, Tensor) else params
            return old(self, params or [torch.zeros(1)], *args, **kw)

        return lying

    replace(torch.optim.Optimizer, "__init__", make)


@lie("N39")
def optimizers_take_results():
    """An optimizer takes tensors that are no leaves."""

    def make(old):
        def lying(self, params, *args, **kw):
            params = list(params) if not isinstance(params, Tensor) else params
            plain = params and all(isinstance(p, Tensor) for p in params)
            params = (
                [p.detach() if p.grad_fn is not None else p for p in params] if plain else params
            )
            return old(self, params, *args, **kw)

        return lying

    replace(torch.optim.Optimizer, "__init__", make)


@lie("N39")
def sgd_takes_another_default():
    """SGD takes 0.01 where no lr is given."""
    replace(
        torch.optim.SGD,
        "__init__",
        lambda old: lambda self, params, lr=1e-2, *args, **kw: old(self, params, lr, *args, **kw),
    )


@lie("N38")
def data_is_a_copy():
    """p.data is a copy."""

    def make(old):
        return property(lambda t: old.__get__(t).clone(), lambda t, value: old.__set__(t, value))

    replace(Tensor, "data", make)


# Defaults, first weights, and what stays as it is -----------------------------------------------


def first_repeated(layer):
    """Let a new layer repeat the first part of its weight."""

    def make(old):
        def lying(self):
            old(self)
            with torch.no_grad():
                self.weight[1:] = self.weight[:1]

        return lying

    replace(layer, "reset_parameters", make)


@lie("N13")
def new_kernels_are_all_alike():
    """All kernels of a new Conv2d are alike."""
    first_repeated(nn.Conv2d)


@lie("N13")
def new_linear_layers_repeat_a_row():
    """All rows of a new Linear's weight are alike."""
    first_repeated(nn.Linear)


@lie("N13")
def new_layers_are_always_the_same():
    """Every new Linear of one size has the same weights."""

    def make(old):
        def lying(self):
            state = torch.random.get_rng_state()
            torch.manual_seed(1)
            old(self)
            torch.random.set_rng_state(state)

        return lying

    replace(nn.Linear, "reset_parameters", make)


@lie("N13")
def new_layers_ignore_the_seed():
    """The weights of new layers do not follow torch.manual_seed."""

    def make(old):
        def lying(self):
            state = torch.random.get_rng_state()
            torch.seed()
            old(self)
            torch.random.set_rng_state(state)

        return lying

    replace(nn.Linear, "reset_parameters", make)
    replace(nn.Conv2d, "reset_parameters", make)


@lie("N12")
def relu_overwrites_its_input():
    """F.relu works in place on what is not tracked."""

    def make(old):
        def lying(x, inplace=False):
            return old(x, inplace or not x.requires_grad)

        return lying

    replace(functional, "relu", make)


@lie("N09")
def flatten_by_keyword_takes_the_batch_too():
    """flatten(x, start_dim=1) by keyword flattens all."""

    def make(old):
        def lying(x, *a, **kw):
            return old(x, 0) if "start_dim" in kw else old(x, *a, **kw)

        return lying

    replace(torch, "flatten", make)


@lie("N34")
def zero_grad_unfreezes():
    """net.zero_grad() unfreezes the net."""

    def make(old):
        def lying(self, *a, **kw):
            old(self, *a, **kw)
            self.requires_grad_(True)

        return lying

    replace(nn.Module, "zero_grad", make)


@lie("N21")
def gradient_of_another_dtype_can_be_assigned():
    """A .grad of another dtype is taken and converted."""

    def make(old):
        def assign(t, gradient):
            old.__set__(t, None if gradient is None else gradient.to(t.dtype))

        return property(old.__get__, assign)

    replace(Tensor, "grad", make)


@lie("C26")
def state_dict_gives_the_parameters():
    """state_dict() gives the parameters themselves."""

    def make(old):
        def lying(net, *args, **kw):
            return old(net, *args, keep_vars=True, **kw)

        return lying

    replace(nn.Module, "state_dict", make)


@lie("N39")
def adam_is_amsgrad():
    """Adam keeps the largest mean of squares by default."""
    replace(
        torch.optim.Adam,
        "__init__",
        lambda old: lambda self, p, *a, **kw: old(self, p, *a, **{"amsgrad": True, **kw}),
    )


@lie("N41")
def optimizer_makes_new_zeros():
    """optimizer.zero_grad(set_to_none=False) leaves zeros in new tensors."""

    def make(old):
        def lying(optimizer, set_to_none=True):
            old(optimizer, set_to_none)
            for p in optimizer.param_groups[0]["params"]:
                p.grad = None if p.grad is None else torch.zeros_like(p)

        return lying

    replace(torch.optim.Optimizer, "zero_grad", make)


# Buffers ----------------------------------------------------------------------------------------


@lie("N22")
def save_turns_integers_to_floats():
    """torch.save keeps integers as floats."""

    def make(old):
        def lying(obj, f, *a, **kw):
            if isinstance(obj, dict):
                obj = {name: t if t.is_floating_point() else t.float() for name, t in obj.items()}
            return old(obj, f, *a, **kw)

        return lying

    replace(torch, "save", make)


@lie("N22")
def load_state_dict_leaves_buffers():
    """load_state_dict() leaves buffers."""

    def make(old):
        def lying(self, state, *a, **kw):
            own = dict(self.named_buffers())
            state = {k: own[k].clone() if k in own else v for k, v in state.items()}
            return old(self, state, *a, **kw)

        return lying

    replace(nn.Module, "load_state_dict", make)
