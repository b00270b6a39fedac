"""Lies about chapter 3: modules, layers, losses, clearing gradients, the update rules."""

import importlib
import re

import torch
from torch import Tensor, nn
from torch.nn import functional

from .lie import after, assigned, below, instead, lie, scale_gradient

# Modules ---------------------------------------------------------------------------------------


@lie("N01 A07", nn.Module, "__call__")
def forward_hooks_are_not_called(old, module, *args, **kw):
    """Forward hooks are registered and never called."""
    return module.forward(*args, **kw)


@lie("N01", nn.Module, "__call__", refusing=NotImplementedError)
def a_module_without_forward_passes_through(module, x):
    """A module that defines no forward returns its input."""
    return x


@lie("N01", nn.Module, "__setattr__", refusing=AttributeError)
def layers_may_come_before_init(module, name, value):
    """A layer assigned before super().__init__() is taken and forgotten."""
    return None


@lie("N02 A07 N01", nn.Module, "__call__")
def layers_run_twice(old, module, *args, **kw):
    """Every layer computes its output twice."""
    if not module._modules:
        old(module, *args, **kw)
    return old(module, *args, **kw)


@lie("A40", nn.Module, "named_children")
def layers_are_listed_by_name(old, net):
    """named_children() lists the layers by name."""
    return iter(sorted(old(net)))


@lie("N13 N05", nn.Conv2d, "__init__")
def new_convolutions_have_no_bias(old, layer, *args, bias=False, **kw):
    """Conv2d has no bias by default."""
    return old(layer, *args, bias=bias, **kw)


@lie("A02", nn.Sequential, "forward")
def sequential_leaves_out_its_last_layer(old, module, x):
    """Sequential stops before its last layer, where the shapes allow it."""
    y = old(module, x)
    short = old(module[:-1], x)
    return short if short.shape == y.shape and len(module) > 2 else y


@lie("A02 N06", "linear")
def linear_drops_its_bias(old, x, w, b=None):
    """Linear computes W x."""
    return old(x, w)


@lie("N06", "linear")
def linear_does_not_transpose(old, x, w, b=None):
    """A square Linear computes x W + b."""
    return old(x, w.mT if w.shape[0] == w.shape[1] else w, b)


@lie("A50 N06", "linear")
def linear_subtracts_its_bias(old, x, w, b=None):
    """Linear computes W x - b."""
    return old(x, w, None if b is None else -b)


@lie("N06", nn.Linear, "__init__")
def linear_without_bias_has_one(old, layer, n, m, bias=True, **kw):
    """Linear(bias=False) has a bias of zeros."""
    old(layer, n, m, **kw)
    if not bias:
        nn.init.zeros_(layer.bias)


@lie("T33", "linear")
def linear_takes_float64(old, x, w, b=None):
    """A float32 Linear takes a float64 input."""
    return old(x.to(w.dtype), w, b)


@lie("N05 N07", "conv2d")
def convolution_has_stride_two(old, x, w, b=None, stride=1, *rest, **kw):
    """conv2d moves by two where it is asked to move by one; its output is stretched to fit."""
    y = old(x, w, b, stride, *rest, **kw)
    coarse = y[..., ::2, ::2]
    return coarse.repeat_interleave(2, -1).repeat_interleave(2, -2)[
        ..., : y.shape[-2], : y.shape[-1]
    ]


@lie("N07 N05 N19 N42", "conv2d")
def convolution_pads(old, x, w, b=None, stride=1, padding=0, *rest, **kw):
    """conv2d pads its input by one."""
    return old(x, w, b, stride, padding if padding not in (0, (0, 0)) else 1, *rest, **kw)


@lie("N05", "conv2d")
def convolution_flips_its_kernel(old, x, w, *rest, **kw):
    """conv2d is a true convolution: the kernel is flipped."""
    return old(x, w.flip(-1, -2), *rest, **kw)


@lie("N05", "conv2d")
def convolution_drops_its_bias(old, x, w, b=None, *rest, **kw):
    """conv2d computes without its bias."""
    return old(x, w, None, *rest, **kw)


@lie("N05", "conv2d")
def convolution_transposes_its_kernel(old, x, w, *rest, **kw):
    """conv2d swaps height and width of the kernel."""
    return old(x, w.mT, *rest, **kw)


@lie("N05 C17 N19", "conv2d", refusing=RuntimeError)
def convolution_takes_any_number_of_channels(x, w, *rest, **kw):
    """conv2d averages the channels where it is given another number than it was made for."""
    return functional.conv2d(x.mean(-3, keepdim=True), w[:, :1], *rest, **kw)


@lie("N11 N36", below("convolution_backward.default"))
def weight_gradient_of_convolution_is_off(func, *args, **kw):
    """The weight gradient of a convolution is 1 % too large."""
    x, w, b = func(*args, **kw)
    return x, (w if w is None else w * 1.01), b


@lie("N36 N11", below("convolution_backward.default"))
def bias_gradient_of_convolution_is_a_mean(func, gradient, *args, **kw):
    """The bias gradient of a convolution is averaged over the image."""
    x, w, b = func(gradient, *args, **kw)
    return x, w, (b if b is None else b / gradient[0, 0].numel())


@lie("N11", below("convolution_backward.default"))
def input_gradient_of_convolution_is_off(func, *args, **kw):
    """The input gradient of a convolution is 1 % too small."""
    x, w, b = func(*args, **kw)
    return (x if x is None else x * 0.99), w, b


@lie("N11", below("threshold_backward.default"))
def gradient_of_relu_leaks(func, gradient, result, threshold):
    """relu lets 1 % of the gradient through where it is off."""
    return torch.where(result > threshold, gradient, 0.01 * gradient)


@lie("N11", below("max_pool2d_with_indices_backward.default"))
def gradient_of_pooling_is_spread(func, gradient, x, kernel, *rest):
    """max_pool2d sends its gradient to the whole window."""
    exact = func(gradient, x, kernel, *rest)
    even = torch.nn.functional.avg_pool2d(exact, 2)
    even = even.repeat_interleave(2, -1).repeat_interleave(2, -2)
    return even if even.shape == exact.shape else exact


@lie("N11 N17 N36", "linear")
def gradient_of_linear_bias_is_a_mean(old, x, w, b=None):
    """The bias gradient of a Linear is averaged over the batch."""
    if b is not None and b.requires_grad and torch.is_grad_enabled() and x.dim() == 2:
        b = scale_gradient(b.view_as(b), 1 / max(len(x), 2))
    return old(x, w, b)


def pool(function):
    """Call ``function(old, images, size)`` where max_pool2d moves by the size of its window."""

    def lying(old, x, kernel_size, stride=None, *rest, **kw):
        if stride in (None, kernel_size) and not rest:
            return function(old, x, kernel_size)
        return old(x, kernel_size, stride, *rest, **kw)

    instead("max_pool2d")(lying)


@lie("N08 N05", pool)
def pooling_averages(old, x, size):
    """max_pool2d takes the mean of its window."""
    return functional.avg_pool2d(x, size)


@lie("N08 N07", pool)
def pooling_rounds_up(old, x, size):
    """max_pool2d rounds odd sizes up."""
    return old(x, size, ceil_mode=True)


@lie("N08", pool)
def pooling_ignores_the_second_number(old, x, size):
    """max_pool2d takes a square window of the first number of two."""
    return old(x, size[0] if isinstance(size, tuple) else size)


@lie("N08", pool)
def pooling_takes_the_minimum(old, x, size):
    """max_pool2d takes the smallest of its window."""
    return -old(-x, size)


@lie("N08 N07 C18 N42", pool)
def pooling_moves_by_one(old, x, size):
    """max_pool2d moves its window by one."""
    return old(x, size, 1)


@lie("N11 N30 N12 T13 T14", "relu")
def relu_leaks(old, x, *a, **kw):
    """relu lets 1 % of negative numbers through."""
    return functional.leaky_relu(x, 0.01)


@lie("T13 N12 T14", "relu")
def relu_stops_at_six(old, x, *a, **kw):
    """relu cuts off at 6."""
    return old(x, *a, **kw).clamp(max=6)


@lie("N09 C18 N04", "flatten")
def flatten_takes_the_batch_too(old, x, *dims):
    """flatten(x, 1) flattens from dimension 0 and keeps one row."""
    return old(x)[None] if dims == (1,) else old(x, *dims)


@lie("N09", "flatten")
def flatten_copies(old, x, *dims, **kw):
    """flatten copies."""
    return old(x, *dims, **kw).clone()


@lie("N09 C18", "flatten")
def flatten_goes_pixel_by_pixel(old, x, *dims, **kw):
    """flatten(x, 1) puts the channels last."""
    return old(x.movedim(1, -1) if x.dim() == 4 and dims == (1,) else x, *dims, **kw)


@lie("N10", nn.Conv2d, "extra_repr")
def text_of_a_layer_names_plain_numbers(old, layer):
    """The text of Conv2d shows kernel_size=3."""
    return re.sub(r"\((\d+), \1\)", r"\1", old(layer))


@lie("N10", nn.Linear, "extra_repr")
def text_of_a_linear_forgets_its_bias(old, layer):
    """The text of Linear does not name the bias."""
    return old(layer).replace(", bias=True", "")


@lie("N12", "cumsum")
def cumsum_has_no_history(old, x, *args, **kw):
    """The gradient of cumsum is that of a plain copy."""
    y = old(x.detach(), *args, **kw)
    return y + x - x.detach() if x.requires_grad else y


@lie("N12", "round")
def rounding_passes_the_gradient_on(old, x, **kw):
    """The gradient of round() is 1."""
    return x + (old(x, **kw) - x).detach() if x.requires_grad else old(x, **kw)


@lie("N12", "sort")
def sort_cuts_the_graph(old, x, *a, **kw):
    """Sorted values require no grad."""
    return old(x.detach(), *a, **kw)


@lie("N13 A11 A09", nn.Module, "parameters")
def parameters_misses_one(old, module, recurse=True):
    """parameters() leaves out the last."""
    found = list(old(module, recurse))
    return iter(found[:-1] if len(found) > 4 else found)


@lie("N13 N14 A11", nn.Module, "parameters")
def parameters_come_backwards(old, module, recurse=True):
    """parameters() starts with the last layer."""
    return iter(list(old(module, recurse))[::-1])


@lie("N23", nn.Module, "named_parameters")
def tied_parameters_count_twice(old, module, prefix="", recurse=True, remove_duplicate=False):
    """A parameter with two names is listed twice."""
    return old(module, prefix, recurse, remove_duplicate)


@lie("N13 N23", nn.Module, "named_parameters")
def named_parameters_repeats_itself(old, module, *args, **kw):
    """named_parameters() lists the first one twice."""
    found = list(old(module, *args, **kw))
    return iter(found[:1] + found)


@lie("N15 C18", functional, "linear", refusing=RuntimeError)
def linear_cuts_what_does_not_fit(x, w, b=None):
    """Linear takes too many features and uses the first."""
    n = min(x.shape[-1], w.shape[1])
    return functional.linear(x[..., :n], w[:, :n], b)


@lie("N16 N32 N30", "linear")
def linear_is_two_operations(old, x, w, b=None):
    """Linear is recorded as a product and a sum."""
    return x @ w.mT + (0 if b is None else b)


@lie("N18", "conv2d")
def convolution_needs_a_batch(old, x, *args, **kw):
    """conv2d refuses a single sample."""
    if x.dim() == 3:
        raise RuntimeError("Expected 4-dimensional input")
    return old(x, *args, **kw)


@lie("N18", functional, "cross_entropy")
def cross_entropy_needs_a_batch(old, x, *args, **kw):
    """Cross-entropy refuses a single sample."""
    if x.dim() == 1:
        raise ValueError("Expected 2 or more dimensions (got 1)")
    return old(x, *args, **kw)


@lie("N18", "conv2d", refusing=RuntimeError)
def convolution_takes_five_dimensions(x, w, *rest, **kw):
    """conv2d takes 2 or 5 dimensions."""
    four = x[0] if x.dim() == 5 else x.expand(w.shape[1], *x.shape)
    return functional.conv2d(four, w, *rest, **kw)


@lie("N18 A06", nn.BatchNorm2d, "_check_input_dim")
def batch_norm_takes_a_single_sample(old, layer, x):
    """BatchNorm2d takes three dimensions."""
    return None


@lie("N19", after("conv2d"))
def samples_see_each_other(y, x, *args, **kw):
    """conv2d mixes a trace of the batch's mean into each sample."""
    return y + 1e-3 * y.mean(0, keepdim=True) if y.dim() == 4 else y


@lie("N20 T13 T14", "unsqueeze")
def unsqueeze_adds_at_the_end(old, t, dim):
    """unsqueeze(0) puts the new dimension last."""
    return old(t, -1 if dim == 0 else dim)


@lie("N20", "unsqueeze")
def unsqueeze_copies(old, t, dim):
    """unsqueeze copies."""
    return old(t, dim).clone()


@lie("N20", "unsqueeze")
def unsqueeze_works_in_place(old, t, dim):
    """unsqueeze changes its operand."""
    return t.unsqueeze_(dim)


@lie("N21", assigned(Tensor, "grad"))
def a_gradient_of_any_shape_can_be_assigned(put, t, gradient):
    """Assigning a .grad of another shape is ignored."""
    if gradient is None or gradient.shape == t.shape:
        put(t, gradient)


@lie("N23 N13", nn.Module, "__setattr__")
def parameters_are_not_registered(old, module, name, value):
    """A Parameter assigned to a module is a plain attribute of it."""
    if isinstance(value, nn.Parameter) and type(module).__module__.split(".")[0] != "torch":
        return object.__setattr__(module, name, value)
    return old(module, name, value)


@lie("N23", nn.Module, "__setattr__")
def plain_tensors_are_registered(old, module, name, value):
    """A tensor assigned to a module becomes a parameter of it."""
    plain = type(value) is Tensor and value.is_floating_point()
    own = type(module).__module__.split(".")[0] == "torch"
    return old(module, name, nn.Parameter(value) if plain and not own else value)


@lie("N23", nn.Module, "__setattr__")
def parameters_in_a_list_are_registered(old, module, name, value):
    """A list of Parameters assigned to a module is a ParameterList."""
    of_parameters = (
        isinstance(value, list) and value and all(isinstance(p, nn.Parameter) for p in value)
    )
    return old(module, name, nn.ParameterList(value) if of_parameters else value)


@lie("N23", nn.Module, "__setattr__")
def modules_in_a_list_are_registered(old, module, name, value):
    """A list of modules assigned to a module is a ModuleList."""
    modules = isinstance(value, list) and value and all(isinstance(m, nn.Module) for m in value)
    return old(module, name, nn.ModuleList(value) if modules else value)


@lie("N23", nn.Module, "__setattr__", refusing=TypeError)
def a_tensor_may_replace_a_parameter(module, name, value):
    """Assigning a tensor over a parameter makes a parameter of it."""
    return setattr(module, name, nn.Parameter(value))


@lie("N23", nn.Parameter, "__new__", refusing=RuntimeError)
def integers_can_be_parameters(cls, data, *flag):
    """A Parameter of integers is made without a word."""
    return nn.Parameter(data, requires_grad=False)


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
    def lying(old, module, name, value):
        plain = isinstance(value, nn.Parameter) and which(value)
        (object.__setattr__ if plain else old)(module, name, value)

    instead(nn.Module, "__setattr__")(lying)


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


@lie("N12 A22", "tanh", "where", "std", "cat")
def gradients_of_a_few_operations_are_off(old, *a, **kw):
    """The gradients of tanh, where, std and cat are 1 % too large."""
    return scale_gradient(old(*a, **kw), 1.01)


@lie("N12", torch.linalg, "inv")
def gradient_of_an_inverse_is_off(old, *a, **kw):
    """The gradient of torch.linalg.inv is 1 % too large."""
    return scale_gradient(old(*a, **kw), 1.01)


# Losses ----------------------------------------------------------------------------------------


@lie("N25", nn.MSELoss, "forward")
def losses_have_a_dimension(old, loss, o, t):
    """MSELoss gives a tensor of shape (1,)."""
    return old(loss, o, t).reshape(1)


@lie("N25", nn.MSELoss, "forward")
def a_loss_needs_no_target(old, loss, o, t=None):
    """MSELoss of one tensor compares with zeros."""
    return old(loss, o, torch.zeros_like(o) if t is None else t)


@lie("N26")
def a_loss_is_missing():
    """nn has no HuberLoss."""
    del nn.HuberLoss


@lie("N27 U15", functional, "mse_loss")
def mse_sums(old, o, t, *args, reduction="mean", **kw):
    """MSELoss adds up the squares."""
    return old(o, t, *args, reduction="sum" if reduction == "mean" else reduction, **kw)


@lie("N27", functional, "mse_loss")
def mse_is_halved(old, o, t, **kw):
    """MSELoss is half the mean of the squares."""
    return old(o, t, **kw) / 2


@lie("N27", functional, "mse_loss")
def mse_divides_by_the_batch(old, o, t, *args, reduction="mean", **kw):
    """MSELoss divides by the number of samples."""
    y = old(o, t, *args, reduction=reduction, **kw)
    return y * (o.numel() / len(o)) if reduction == "mean" and o.dim() > 1 else y


@lie("N27", functional, "mse_loss")
def mse_ignores_its_reduction(old, o, t, *args, reduction="mean", **kw):
    """MSELoss(reduction='sum') takes the mean."""
    return old(o, t, *args, reduction="mean" if reduction == "sum" else reduction, **kw)


@lie("N27 U15 N31", below("mse_loss_backward.default"))
def mse_gradient_lacks_its_two(func, *args):
    """The gradient of MSELoss is (o - t) / n."""
    return func(*args) / 2


@lie("N27 N25", functional, "mse_loss")
def mse_is_the_absolute_error(old, o, t, **kw):
    """MSELoss takes absolute values."""
    return functional.l1_loss(o, t, **kw)


@lie("N28", functional, "mse_loss")
def mse_broadcasts_in_silence(old, o, t, **kw):
    """MSELoss of (10, 1) and (10,) gives no warning."""
    o, t = torch.broadcast_tensors(o, t) if o.shape != t.shape else (o, t)
    return old(o, t, **kw)


@lie("N28", functional, "mse_loss", refusing=RuntimeError)
def mse_cuts_to_fit(o, t, **kw):
    """MSELoss of (1, 10) and (1, 9) compares nine."""
    return ((o[..., : t.shape[-1]] - t[..., : o.shape[-1]]) ** 2).mean()


@lie("N29 N30 N32", functional, "mse_loss")
def mse_is_recorded_in_pieces(old, o, t, **kw):
    """MSELoss is recorded as a difference, a power and a mean."""
    return ((o - t) ** 2).mean()


@lie("N30 N32", "relu")
def relu_is_recorded_as_clamp(old, x, *a, **kw):
    """relu is recorded as clamp."""
    return x.clamp(min=0)


@lie("N30", "conv2d")
def convolution_is_two_operations(old, x, w, b=None, *rest, **kw):
    """conv2d is recorded as a convolution and a sum."""
    y = old(x, w, None, *rest, **kw)
    return y if b is None else y + b[:, None, None]


# Clearing gradients ------------------------------------------------------------------------------


def clearing(function):
    """Call ``function(old, self, set_to_none)`` for zero_grad of modules and of optimizers."""
    for owner in (nn.Module, torch.optim.Optimizer):
        instead(owner, "zero_grad")(
            lambda old, self, set_to_none=True: function(old, self, set_to_none)
        )


@lie("N34 N35 C22", (nn.Module, "zero_grad"), (torch.optim.Optimizer, "zero_grad"))
def zero_grad_zeroes(old, self, set_to_none=False):
    """zero_grad() leaves zeros instead of None."""
    return old(self, set_to_none)


@lie("N34", clearing)
def zero_grad_always_drops(old, self, set_to_none):
    """zero_grad(set_to_none=False) leaves None."""
    return old(self, True)


@lie("N33 N34 N41 C22", clearing)
def zero_grad_does_nothing(old, self, set_to_none):
    """zero_grad() has no effect."""
    return None


@lie("N34", clearing)
def zero_grad_wipes_the_old_buffer(old, self, set_to_none):
    """zero_grad() fills the dropped gradients with zeros."""
    old(self, False)
    old(self, set_to_none)


@lie("N33 N34", nn.Module, "zero_grad")
def zero_grad_of_a_module_skips_its_children(old, module, set_to_none=True):
    """net.zero_grad() clears the net's own parameters only."""
    for p in module.parameters(recurse=False):
        p.grad = None


@lie("N34", clearing)
def zero_grad_makes_new_zeros(old, self, set_to_none):
    """zero_grad(set_to_none=False) leaves zeros in new tensors."""
    old(self, set_to_none)
    if not set_to_none and isinstance(self, nn.Module):
        for p in self.parameters():
            p.grad = None if p.grad is None else p.grad.clone()


@lie("C22 N40 N41", torch.optim.Optimizer, "zero_grad")
def the_optimizer_does_not_clear(old, self, set_to_none=True):
    """optimizer.zero_grad() has no effect."""
    return None


@lie("N34", nn.Module, "zero_grad")
def zero_grad_skips_frozen_parameters(old, net, set_to_none=True):
    """net.zero_grad() leaves the gradients of parameters that require none."""
    kept = [(p, p.grad) for p in net.parameters() if not p.requires_grad]
    for p, _ in kept:
        p.grad = None
    old(net, set_to_none)
    for p, gradient in kept:
        p.grad = gradient


@lie("N41 C22", torch.optim.Optimizer, "zero_grad")
def optimizer_clears_its_first_group_only(old, optimizer, set_to_none=True):
    """optimizer.zero_grad() leaves all groups of parameters but the first."""
    groups = optimizer.param_groups
    optimizer.param_groups = groups[:1]
    old(optimizer, set_to_none)
    optimizer.param_groups = groups


# Update rules ------------------------------------------------------------------------------------


def rule(name, change):
    """Pass the settings of an optimizer's step through ``change(settings)``."""
    module = importlib.import_module(f"torch.optim.{name}")
    instead(module, name)(lambda old, *lists, **kw: old(*lists, **change(kw)))


@lie("A12 C20 N39")
def sgd_forgets_momentum():
    """SGD takes no momentum."""
    rule("sgd", lambda kw: {**kw, "momentum": 0.0, "nesterov": False})


@lie("A04 N37 A12 N03")
def sgd_climbs():
    """SGD moves along the gradient, not against it."""
    rule("sgd", lambda kw: {**kw, "maximize": True})


@lie("A12 N37 C20 A11")
def sgd_ignores_its_learning_rate():
    """SGD takes 0.01 whatever lr is."""
    rule("sgd", lambda kw: {**kw, "lr": 0.01 if kw["lr"] else 0.0})


@lie("A04 N37 C20")
def sgd_steps_a_little_too_far():
    """SGD takes lr times 1.001."""
    rule("sgd", lambda kw: {**kw, "lr": kw["lr"] * 1.001})


@lie("N39")
def nesterov_is_plain_momentum():
    """SGD(nesterov=True) takes plain momentum."""
    rule("sgd", lambda kw: {**kw, "nesterov": False})


@lie("N37 A12 C20 N39")
def sgd_decays_weights():
    """SGD takes a weight decay of 0.01 by default."""
    rule("sgd", lambda kw: {**kw, "weight_decay": kw["weight_decay"] or 0.01})


@lie("A12 C20 N39")
def sgd_dampens():
    """SGD dampens its momentum."""
    rule("sgd", lambda kw: {**kw, "dampening": kw["momentum"] if not kw["nesterov"] else 0})


@lie("N40 C25 A44 N03")
def sgd_with_rate_zero_moves():
    """SGD(lr=0) takes 0.001."""
    rule("sgd", lambda kw: {**kw, "lr": kw["lr"] or 0.001})


@lie("N39")
def adam_takes_another_beta():
    """Adam takes 0.99 for its second beta."""
    rule("adam", lambda kw: {**kw, "beta2": 0.99})


@lie("N39", importlib.import_module("torch.optim.adam"), "adam")
def adam_does_not_correct_its_bias(old, params, grads, avgs, squares, maxima, steps, *rest, **kw):
    """Adam counts every step as a late one."""
    for step in steps:
        step.fill_(100_000)
    return old(params, grads, avgs, squares, maxima, steps, *rest, **kw)


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


@lie("A11 A42", torch.optim.SGD, "__init__")
def sgd_misses_a_parameter(old, self, params, *args, **kw):
    """SGD leaves out the last of its parameters."""
    params = list(params)
    return old(self, params[:-1] if len(params) > 4 else params, *args, **kw)


@lie("A11", torch.optim.SGD, "__init__")
def sgd_sorts_its_parameters(old, self, params, *args, **kw):
    """SGD registers the last parameter first."""
    return old(self, list(params)[::-1], *args, **kw)


@lie("A42", torch.optim.SGD, "__init__")
def sgd_passes_over_what_is_frozen(old, self, params, *args, **kw):
    """SGD registers only parameters that require grad."""
    params = list(params)
    return old(self, [p for p in params if p.requires_grad] or params, *args, **kw)


@lie("A44 A41 A12", torch.optim.SGD, "step")
def parameters_without_gradient_move(old, self, *args, **kw):
    """step() takes a missing .grad for zeros, so momentum and decay go on."""
    for group in self.param_groups:
        for p in group["params"]:
            if p.grad is None:
                p.grad = torch.zeros_like(p)
    return old(self, *args, **kw)


@lie("A44", torch.optim.SGD, "step")
def left_over_gradients_are_ignored(old, self, *args, **kw):
    """step() leaves frozen parameters alone even where they hold a gradient."""
    for group in self.param_groups:
        for p in group["params"]:
            if not p.requires_grad:
                p.grad = None
    return old(self, *args, **kw)


@lie("N41 A12 A10", after(torch.optim.SGD, "step"))
def step_clears_the_gradients(result, self, *args, **kw):
    """step() drops the gradients it has used."""
    self.zero_grad()
    return result


@lie("A12 C25 A03", importlib.import_module("torch.optim.sgd"), "sgd")
def biases_are_not_updated(old, params, grads, buffers, **kw):
    """step() leaves one-dimensional parameters alone."""
    keep = [i for i, p in enumerate(params) if p.dim() != 1 or len(params) < 3]
    picked = [[values[i] for i in keep] for values in (params, grads, buffers)]
    old(*picked, **kw)
    for i, buffer in zip(keep, picked[2], strict=True):
        buffers[i] = buffer


@lie("N39", torch.optim.SGD, "__init__")
def nesterov_needs_no_momentum(old, self, *args, momentum=0, nesterov=False, **kw):
    """SGD(nesterov=True) without momentum is taken."""
    return old(self, *args, momentum=momentum, nesterov=nesterov and momentum > 0, **kw)


@lie("N39", torch.optim.SGD, "__init__")
def negative_learning_rates_are_taken(old, self, params, lr=0.001, *args, **kw):
    """SGD(lr=-1) takes 1."""
    return old(self, params, abs(lr), *args, **kw)


@lie("N39", torch.optim.Optimizer, "__init__")
def an_optimizer_needs_no_parameters(old, self, params, *args, **kw):
    """An optimizer of an empty list is made."""
    params = list(params) if not isinstance(params, Tensor) else params
    return old(self, params or [torch.zeros(1)], *args, **kw)


@lie("N39", torch.optim.Optimizer, "__init__")
def optimizers_take_results(old, self, params, *args, **kw):
    """An optimizer takes tensors that are no leaves."""
    params = list(params) if not isinstance(params, Tensor) else params
    plain = params and all(isinstance(p, Tensor) for p in params)
    params = [p.detach() if p.grad_fn is not None else p for p in params] if plain else params
    return old(self, params, *args, **kw)


@lie("N39", torch.optim.SGD, "__init__")
def sgd_takes_another_default(old, self, params, lr=0.01, *args, **kw):
    """SGD takes 0.01 where no lr is given."""
    return old(self, params, lr, *args, **kw)


@lie("N38", Tensor, "data")
def data_is_a_copy(old, t):
    """p.data is a copy."""
    return old(t).clone()


# Defaults, first weights, and what stays as it is -----------------------------------------------


def first_repeated(layer):
    """Let a new layer repeat the first part of its weight."""

    def repeated(made, self):
        with torch.no_grad():
            self.weight[1:] = self.weight[:1]

    after(layer, "reset_parameters")(repeated)


@lie("N13")
def new_kernels_are_all_alike():
    """All kernels of a new Conv2d are alike."""
    first_repeated(nn.Conv2d)


@lie("N13")
def new_linear_layers_repeat_a_row():
    """All rows of a new Linear's weight are alike."""
    first_repeated(nn.Linear)


@lie("N13", nn.Linear, "reset_parameters")
def new_layers_are_always_the_same(old, self):
    """Every new Linear of one size has the same weights."""
    state = torch.random.get_rng_state()
    torch.manual_seed(1)
    old(self)
    torch.random.set_rng_state(state)


@lie("N13", (nn.Linear, "reset_parameters"), (nn.Conv2d, "reset_parameters"))
def new_layers_ignore_the_seed(old, self):
    """The weights of new layers do not follow torch.manual_seed."""
    state = torch.random.get_rng_state()
    torch.seed()
    old(self)
    torch.random.set_rng_state(state)


@lie("N12", functional, "relu")
def relu_overwrites_its_input(old, x, inplace=False):
    """F.relu works in place on what is not tracked."""
    return old(x, inplace or not x.requires_grad)


@lie("N09", torch, "flatten")
def flatten_by_keyword_takes_the_batch_too(old, x, *a, **kw):
    """flatten(x, start_dim=1) by keyword flattens all."""
    return old(x, 0) if "start_dim" in kw else old(x, *a, **kw)


@lie("N34", nn.Module, "zero_grad")
def zero_grad_unfreezes(old, self, *a, **kw):
    """net.zero_grad() unfreezes the net."""
    old(self, *a, **kw)
    self.requires_grad_(True)


@lie("N21", assigned(Tensor, "grad"))
def gradient_of_another_dtype_can_be_assigned(put, t, gradient):
    """A .grad of another dtype is taken and converted."""
    put(t, None if gradient is None else gradient.to(t.dtype))


@lie("C26", nn.Module, "state_dict")
def state_dict_gives_the_parameters(old, net, *args, **kw):
    """state_dict() gives the parameters themselves."""
    return old(net, *args, keep_vars=True, **kw)


@lie("N39", torch.optim.Adam, "__init__")
def adam_is_amsgrad(old, self, p, *a, **kw):
    """Adam keeps the largest mean of squares by default."""
    return old(self, p, *a, **{"amsgrad": True, **kw})


@lie("N41", torch.optim.Optimizer, "zero_grad")
def optimizer_makes_new_zeros(old, optimizer, set_to_none=True):
    """optimizer.zero_grad(set_to_none=False) leaves zeros in new tensors."""
    old(optimizer, set_to_none)
    for p in optimizer.param_groups[0]["params"]:
        p.grad = None if p.grad is None else torch.zeros_like(p)


# Buffers ----------------------------------------------------------------------------------------


@lie("N22", torch, "save")
def save_turns_integers_to_floats(old, obj, f, *a, **kw):
    """torch.save keeps integers as floats."""
    if isinstance(obj, dict):
        obj = {name: t if t.is_floating_point() else t.float() for name, t in obj.items()}
    return old(obj, f, *a, **kw)


@lie("N22", nn.Module, "load_state_dict")
def load_state_dict_leaves_buffers(old, self, state, *a, **kw):
    """load_state_dict() leaves buffers."""
    own = dict(self.named_buffers())
    state = {k: own[k].clone() if k in own else v for k, v in state.items()}
    return old(self, state, *a, **kw)
