"""Lies about the GPU section: moving nets, mixing devices, several GPUs."""

import copy
import warnings

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Dataset

from .lie import after, below, lie


@lie("G01", torch.cuda, "is_available")
def cuda_is_there(old):
    """torch.cuda.is_available() is true on a machine without a GPU."""
    return True


@lie("G02", nn.Module, "_apply")
def moving_skips_buffers(old, module, change, recurse=True):
    """net.to(device) moves parameters only."""
    buffers = {id(m): dict(m._buffers) for m in module.modules()}
    result = old(module, change, recurse)
    for m in module.modules():
        m._buffers.update(buffers[id(m)])
    return result


@lie("G02", nn.Module, "_apply")
def moving_skips_passing_buffers(old, module, change, recurse=True):
    """net.to(device) leaves buffers that are not saved."""
    kept = {n: module._buffers[n] for n in module._non_persistent_buffers_set}
    result = old(module, change, recurse)
    module._buffers.update(kept)
    return result


@lie("G02 N22", nn.Module, "_apply")
def moving_skips_the_children(old, m, change, recurse=True):
    """net.to(device) moves the net's own tensors only."""
    return old(m, change, False)


@lie("G02", nn.Module, "_apply")
def moving_casts_integers(old, module, change, recurse=True):
    """net.to(device) turns integer buffers into floats."""

    def changed(t):
        moved = change(t)
        return moved.float() if moved.dtype is torch.int64 else moved

    return old(module, changed, recurse)


@lie("G02", nn.Module, "_apply")
def moving_takes_plain_tensors_along(old, module, change, recurse=True):
    """net.to(device) moves tensors that are plain attributes."""
    for name, value in vars(module).items():
        if type(value) is Tensor:
            vars(module)[name] = change(value)
    return old(module, change, recurse)


@lie("G03 N22", nn.Module, "to")
def moving_a_net_copies_it(old, module, *args, **kw):
    """net.to(device) leaves the net and returns a copy."""
    return old(copy.deepcopy(module), *args, **kw)


@lie("G03", after(nn.Module, "to"))
def moving_a_net_makes_new_parameters(result, module, *args, **kw):
    """net.to(its own device) makes new parameters, so that an optimizer loses them."""
    for m in module.modules():
        for name, p in m._parameters.items():
            if p is not None:
                m._parameters[name] = nn.Parameter(p.detach().clone(), p.requires_grad)
    return result


@lie("G02", after(nn.Module, "to"))
def moving_back_rounds(result, module, *args, **kw):
    """net.to(device) rounds the weights to bfloat16."""
    for p in module.parameters():
        p.data = p.data.bfloat16().to(p.dtype)
    return result


@lie("G04 A49", nn.Module, "__call__")
def a_net_fetches_its_input(old, module, *args, **kw):
    """A layer moves its input to its own device."""
    own = next(module.parameters(), None)
    if own is not None:
        args = [
            torch.empty_like(a, device=own.device) if a.device != own.device else a for a in args
        ]
    return old(module, *args, **kw)


@lie("G04", (nn.MSELoss, "forward"), (nn.CrossEntropyLoss, "forward"))
def a_loss_fetches_its_target(old, loss, o, t):
    """A loss moves its target to the device of the output."""
    return old(loss, o, torch.empty_like(t, device=o.device) if t.device != o.device else t)


@lie("G04", Tensor, "__mul__", "__add__", "mul", "add", "__sub__", "__truediv__")
def scalars_on_the_cpu_do_not_mix(old, a, b):
    """A 0-dim tensor on the cpu is refused beside a tensor elsewhere."""
    if isinstance(b, Tensor) and a.device != b.device:
        raise RuntimeError("Expected all tensors to be on the same device")
    return old(a, b)


@lie("G06", "conv2d", refusing=RuntimeError)
def layers_of_unequal_width_fit(x, w, *args, **kw):
    """conv2d leaves out surplus channels."""
    return functional.conv2d(x[:, : w.shape[1]], w, *args, **kw)


@lie("G11", "chunk")
def chunks_are_even(old, t, n, dim=0):
    """chunk splits as evenly as it can: 10 by 3 is 4, 3, 3."""
    return torch.tensor_split(t, n, dim)


@lie("G11", "chunk")
def chunks_drop_the_remainder(old, t, n, dim=0):
    """chunk leaves out what does not divide."""
    return old(t.narrow(dim, 0, t.shape[dim] // n * n or t.shape[dim]), n, dim)


@lie("G12", nn.DataParallel, "forward")
def data_parallel_splits_on_the_cpu(old, self, x):
    """DataParallel without a GPU shows the module half of the batch at a time."""
    if len(x) < 2:
        return old(self, x)
    return torch.cat([old(self, half) for half in x.chunk(2)])


@lie("G12 G13", nn.DataParallel, "forward")
def data_parallel_drops_the_remainder(old, self, x):
    """DataParallel leaves out the last of an odd number of samples."""
    return old(self, x[: max(1, len(x) - 1)])


@lie("G12", nn.DataParallel, "forward")
def data_parallel_cuts_the_graph(old, self, *x):
    """No gradient comes through DataParallel."""
    return old(self, *x).detach_()


@lie("G13", nn.DataParallel, "__getattr__")
def data_parallel_passes_attributes_through(old, parallel, name):
    """DataParallel shows the attributes of its module."""
    try:
        return old(parallel, name)
    except AttributeError:
        return getattr(old(parallel, "module"), name)


@lie("G13", nn.DataParallel, "state_dict")
def data_parallel_hides_its_prefix(old, parallel, **kw):
    """The state_dict of DataParallel has the keys of its module."""
    return parallel.module.state_dict(**kw)


@lie("G14")
def datasets_have_a_length():
    """A Dataset without __len__ has length 0."""
    Dataset.__len__ = lambda self: 100


@lie("G15", nn.LSTM, "__init__")
def lstm_ignores_batch_first(old, self, *args, batch_first=False, **kw):
    """LSTM(batch_first=True) takes the sequence first."""
    return old(self, *args, **kw)


@lie("G16", after(nn.DataParallel, "__init__"))
def data_parallel_warns(made, *args, **kw):
    """DataParallel warns that it is deprecated."""
    warnings.warn("DataParallel is deprecated", FutureWarning, stacklevel=2)


@lie("G16", torch, "load", refusing=RuntimeError)
def files_from_a_gpu_load_anywhere(f, **kw):
    """torch.load puts on the cpu what was saved on a GPU that is not there."""
    return (
        f.seek(0) if hasattr(f, "seek") else None,
        torch.load(f, **{**kw, "map_location": "cpu"}),
    )[1]


@lie("G07 N11 C25", below("threshold_backward.default"))
def gradients_vanish_below(func, gradient, result, threshold):
    """relu lets 99 % of the gradient through."""
    return func(gradient, result, threshold) * 0.99


@lie("G02", nn.Module, "_apply")
def moving_skips_frozen_parameters(old, module, change, recurse=True):
    """net.to(device) leaves parameters that require no gradient where they are."""
    frozen = {
        m: {n: p for n, p in m._parameters.items() if p is not None and not p.requires_grad}
        for m in module.modules()
    }
    result = old(module, change, recurse)
    for m, parameters in frozen.items():
        m._parameters.update(parameters)
    return result


@lie("G12 G15", nn.DataParallel, "forward")
def data_parallel_drops_keyword_arguments(old, parallel, *x, **kw):
    """DataParallel passes on what it is given by position only."""
    return old(parallel, *x)


@lie("G15", after(nn.DataParallel, "forward"))
def data_parallel_gives_the_first_output_only(outputs, parallel, *x, **kw):
    """DataParallel drops all outputs but the first."""
    return outputs[0] if isinstance(outputs, tuple) else outputs


@lie("G15", nn.DataParallel, "forward")
def data_parallel_evaluates(old, parallel, *x, **kw):
    """DataParallel runs its module in evaluation mode."""
    modes = {m: m.training for m in parallel.module.modules()}
    parallel.module.eval()
    try:
        return old(parallel, *x, **kw)
    finally:
        for m, training in modes.items():
            m.training = training


# Spellings, and what a move leaves as it is -----------------------------------------------------


@lie("G09", after(Tensor, "to"))
def moved_tensors_are_not_tracked(made, t, *a, **kw):
    """t.to(another device) has no history."""
    return made.detach() if made.device != t.device else made


@lie("G09", after(Tensor, "to"))
def conversion_to_the_same_dtype_copies(made, t, *a, **kw):
    """t.to(its own dtype) is a copy."""
    return made.clone() if made is t and a and isinstance(a[0], torch.dtype) else made


@lie("G09", Tensor, "to")
def tensors_moved_by_name_stay(old, self, *a, **kw):
    """t.to('meta') by name stays."""
    return self if a and isinstance(a[0], str) and a[0] == "meta" else old(self, *a, **kw)


@lie("G09", Tensor, "to")
def tensors_moved_by_keyword_stay(old, self, *a, **kw):
    """t.to(device=device) stays."""
    return self if "device" in kw and not a and "dtype" not in kw else old(self, *a, **kw)


@lie("G03", nn.Module, "to")
def nets_moved_by_name_stay(old, self, *a, **kw):
    """net.to('meta') by name does nothing."""
    return self if a and isinstance(a[0], str) and a[0] != "cpu" else old(self, *a, **kw)


@lie("G03", nn.Module, "to")
def nets_moved_by_keyword_stay(old, self, *a, **kw):
    """net.to(device=device) does nothing."""
    return self if "device" in kw and not a else old(self, *a, **kw)


@lie("G02", after(nn.Module, "to"))
def moving_unfreezes(made, *a, **kw):
    """net.to(device) makes every parameter require grad."""
    return made.requires_grad_()


@lie("G02", nn.Module, "to")
def moving_freezes(old, self, *a, **kw):
    """net.to(another device) freezes the net."""
    before = {p.device for p in self.parameters()}
    made = old(self, *a, **kw)
    if {p.device for p in self.parameters()} != before:
        self.requires_grad_(False)
    return made


@lie("G02", after(nn.Module, "to"))
def moving_starts_evaluation(made, self, *a, **kw):
    """net.to(device) puts the net into evaluation mode."""
    return made.eval()


@lie("G03", nn.Module, "to")
def moving_leaves_gradients_behind(old, self, *a, **kw):
    """net.to(another device) drops the gradients."""
    before = {p.device for p in self.parameters()}
    made = old(self, *a, **kw)
    if {p.device for p in self.parameters()} != before:
        for p in self.parameters():
            p.grad = None
    return made


@lie("G12", nn.DataParallel, "forward")
def data_parallel_passes_first_argument_only(old, self, *a, **kw):
    """DataParallel without a GPU passes on its first argument alone."""
    return old(self, *a[:1], **kw)


@lie("G13", nn.DataParallel, "train")
def data_parallel_keeps_its_mode(old, parallel, mode=True):
    """DataParallel.eval() leaves its module in training mode."""
    parallel.training = mode
    return parallel
