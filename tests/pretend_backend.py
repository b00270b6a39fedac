"""An accelerator that is none: a device of its own type, whose memory and kernels are the cpu's.

``python -m pytest --import tests.pretend_backend --device pretend`` checks on any machine what is
otherwise checked on a GPU only: where results live, what must be moved, what may not be mixed.
Importing this module registers the backend, once a process.

Its tensors are plain ``torch.Tensor`` of device ``pretend:0`` under the dispatch key PrivateUse1,
so autograd, views and version counters are torch's own. Their storage is memory of the cpu. A
tensor changes sides without a copy, through a DLPack capsule whose device type is rewritten. Each
operation on them takes one of four ways, all in Python:

- torch composes it from other operations: nothing to do here;
- it returns a view: the cpu's kernel makes it, from the tensor as it is, and shares the storage;
- it is one of the few that every backend writes for itself (copying, resizing, convolution, the
  LSTM cell): below;
- anything else: :func:`_fallback` runs it on the cpu's view of the same memory.

``faults`` breaks an operation on purpose, to see which test notices.
"""

import contextlib
import ctypes
import types
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import torch
from torch.utils import backend_registration

NAME = "pretend"

# An operation ("aten::mm.out", "aten::convolution_backward") and what makes of its cpu kernel a
# faulty one. A kernel takes tensors of the cpu as keyword arguments, named as in the schema.
faults: dict[str, Callable[[Callable], Callable]] = {}

_CPU_KEY = torch._C.DispatchKeySet(torch._C.DispatchKey.CPU)
_DLPACK_CPU, _DLPACK_EXTERNAL = 1, 12  # DLDeviceType in dlpack.h; torch reads 12 as PrivateUse1
_CPU = torch.device("cpu")
_generator = torch.Generator()  # the device's own stream of random numbers


def _relabelled(tensor: torch.Tensor, device_type: int) -> torch.Tensor:
    """A tensor over the same memory with the same strides, on the device type given."""
    capsule = torch._C._to_dlpack(tensor)
    managed = ctypes.pythonapi.PyCapsule_GetPointer(capsule, b"dltensor")
    # DLManagedTensor begins with DLTensor{void *data; DLDevice{int32 type; int32 index}; …}
    ctypes.c_int32.from_address(managed + ctypes.sizeof(ctypes.c_void_p)).value = device_type
    return torch._C._from_dlpack(capsule)


def _host(tensor: torch.Tensor) -> torch.Tensor:
    """``tensor`` as the cpu sees it: the same memory; a tensor of the cpu as it is."""
    if tensor.device.type != NAME:
        return tensor
    if tensor.is_conj():  # a mark on the tensor, which DLPack cannot carry
        return _host(tensor.conj()).conj()
    if tensor.is_neg():
        return torch._neg_view(_host(torch._neg_view(tensor)))
    return _relabelled(tensor, _DLPACK_CPU)


def _pretend(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor of the cpu as one of this device: the same memory."""
    if tensor._is_zerotensor():  # zeros without memory, as autograd makes them in forward mode
        tensor = torch.zeros(tensor.shape, dtype=tensor.dtype)
    return _relabelled(tensor.resolve_conj().resolve_neg(), _DLPACK_EXTERNAL)


@dataclass(frozen=True)
class _Signature:
    """What the fallback has to know of an operation.

    Attributes:
        names: Of its arguments, in order.
        outs: Which of them it writes its results to (``out=``).
        tensors: Which of them are a tensor each.
        draws: Whether it draws random numbers.
        is_view: Whether its result shares the memory of an argument.
    """

    names: tuple[str, ...]
    outs: frozenset[str]
    tensors: frozenset[str]
    draws: bool
    is_view: bool


@cache
def _signature(op) -> _Signature:
    arguments, aliases = op._schema.arguments, [r.alias_info for r in op._schema.returns]
    return _Signature(
        names=tuple(a.name for a in arguments),
        outs=frozenset(a.name for a in arguments if a.is_out),
        tensors=frozenset(a.name for a in arguments if str(a.type) == "Tensor"),
        draws=any(a.name == "generator" for a in arguments),
        is_view=any(alias is not None and not alias.is_write for alias in aliases)
        or op.name().startswith("aten::set_"),
    )


def _fallback(op, *args, **kwargs):
    signature = _signature(op)
    if signature.is_view:
        return op.redispatch(_CPU_KEY, *args, **kwargs)
    _check_one_device(op, [*args, *kwargs.values()])
    ours: dict[int, torch.Tensor] = {}  # id of a tensor of the cpu -> its tensor of this device
    kept = []  # alive until the end, so that no id is used twice

    def to_host(value):
        if isinstance(value, torch.Tensor):
            host = _host(value)
            if host is not value:
                kept.append(host)
                ours[id(host)] = value
            return host
        return _CPU if isinstance(value, torch.device) and value.type == NAME else value

    def to_ours(value):
        if not isinstance(value, torch.Tensor):
            return value
        return ours[id(value)] if id(value) in ours else _pretend(value)

    given = dict(zip(signature.names, args, strict=False)) | kwargs
    on_host, outs = {}, []
    for name, value in given.items():
        if name in signature.outs:  # memory of its own, which the kernel may resize
            on_host[name] = torch.empty(0, dtype=value.dtype)
            ours[id(on_host[name])] = value
            outs.append((value, on_host[name]))
        elif name in signature.tensors and not isinstance(value, torch.Tensor):
            on_host[name] = _number_as_tensor(value)
        else:
            on_host[name] = _mapped(to_host, value)
    if signature.draws:
        _check_generator(given.get("generator"))
        on_host["generator"] = _generator
    result = _kernel(op)(**on_host)
    for out, written in outs:
        _write_back(out, written)
    return _mapped(to_ours, result)


def _update(op, tensors, *args, **kwargs):
    """Change a list of tensors in place; torch counts the changes of single tensors only."""
    _fallback(op, tensors, *args, **kwargs)
    torch.autograd.graph.increment_version(tensors)


def _kernel(op) -> Callable:
    return faults[op.name()](op) if op.name() in faults else op


def _mapped(function: Callable, value):
    """``function`` of every value in lists and tuples, which arguments and results are made of."""
    if isinstance(value, list | tuple):
        return type(value)([_mapped(function, item) for item in value])
    return function(value)


def _number_as_tensor(number: bool | int | float | complex) -> torch.Tensor:
    """The 0-dim tensor that torch made of a Python number and hands to Python as a number again."""
    wide = {float: torch.float64, complex: torch.complex128}
    return torch.tensor(number, dtype=wide.get(type(number)))


def _check_one_device(op, values) -> None:
    """Refuse tensors of the cpu beside ours; a single number and indices may come from there."""
    for value in values:
        if isinstance(value, list | tuple):
            _check_one_device(op, value)
        elif not isinstance(value, torch.Tensor) or value.device.type == NAME:
            continue
        elif value.dim() > 0 and "index" not in op.name():
            raise RuntimeError(
                "Expected all tensors to be on the same device, but found at least two devices, "
                f"{NAME}:0 and {value.device}! ({op.name()})"
            )


def _check_generator(generator: torch.Generator | None) -> None:
    if generator is not None:
        raise RuntimeError(
            f"Expected a '{NAME}' device type for generator but found '{generator.device.type}'"
        )


def _write_back(out: torch.Tensor, result: torch.Tensor) -> None:
    if out.shape == result.shape:
        _host(out).copy_(result)
    else:
        if out.numel() > 0:
            warnings.warn("An output with one or more elements was resized", stacklevel=2)
        torch.ops.aten.set_.source_Tensor.redispatch(_CPU_KEY, out, _pretend(result))


def _copy_(self, src, non_blocking=False):
    _kernel(torch.ops.aten.copy_.default)(self=_host(self), src=_host(src))
    return self


def _copy_from(src, dst, non_blocking=False):
    return _copy_(dst, src)


def _resize_(self, size, memory_format=None):
    old = _host(self).clone().flatten()
    new = torch.empty(size, dtype=self.dtype)
    kept = min(old.numel(), new.numel())
    new.flatten()[:kept] = old[:kept]
    torch.ops.aten.set_.source_Tensor.redispatch(_CPU_KEY, self, _pretend(new))
    return self


def _local_scalar_dense(self):
    return _host(self).item()


def _on_host(op, *given):
    """Run ``op`` on the cpu's view of its arguments, given in the order of its schema."""
    _check_one_device(op, given)
    on_host = [_host(value) if isinstance(value, torch.Tensor) else value for value in given]
    return _kernel(op)(**dict(zip(_signature(op).names, on_host, strict=True)))


def _convolution(*given):
    return _pretend(_on_host(torch.ops.aten.convolution.default, *given))


def _convolution_backward(grad, input, weight, *options):
    _, _, _, transposed, _, groups, _ = options  # and strides, paddings, dilations, the mask
    bias_sizes = [weight.shape[1] * groups if transposed else weight.shape[0]]
    op = torch.ops.aten.convolution_backward.default
    grads = _on_host(op, grad, input, weight, bias_sizes, *options)
    return tuple(grad if grad is None else _pretend(grad) for grad in grads)


def _lstm_cell(input_gates, hidden_gates, cell, input_bias=None, hidden_bias=None):
    biases = [_host(bias) for bias in (input_bias, hidden_bias) if bias is not None]
    gates = sum(biases, _host(input_gates) + _host(hidden_gates))
    i, f, g, o = gates.chunk(4, 1)
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    new_cell = f * _host(cell) + i * g
    gates = torch.cat([i, f, g, o], 1)
    return tuple(_pretend(t) for t in (o * new_cell.tanh(), new_cell, gates))


def _lstm_cell_backward(grad_hidden, grad_cell, cell, new_cell, gates, has_bias):
    i, f, g, o = _host(gates).chunk(4, 1)
    squashed = _host(new_cell).tanh()
    above = torch.zeros_like(squashed) if grad_hidden is None else _host(grad_hidden)
    inner = above * o * (1 - squashed**2)
    inner = inner if grad_cell is None else inner + _host(grad_cell)
    grads = [
        inner * g * i * (1 - i),
        inner * _host(cell) * f * (1 - f),
        inner * i * (1 - g**2),
        above * squashed * o * (1 - o),
    ]
    grad_gates = torch.cat(grads, 1)
    return tuple(_pretend(t) for t in (grad_gates, inner * f, grad_gates.sum(0)))


def _storage_from_file(storage: torch.UntypedStorage, location: str):
    """A storage that was saved from this device back on it; None for one of another device."""
    if not location.startswith(NAME):
        return None
    return _pretend(torch.empty(0, dtype=torch.uint8).set_(storage)).untyped_storage()


def _cloning_storages(clone: Callable) -> Callable:
    """``UntypedStorage.clone``, which deepcopy calls, without an allocator of C++."""

    def clone_storage(self):
        if self.device.type != NAME:
            return clone(self)
        return torch.empty(0, dtype=torch.uint8, device=NAME).set_(self).clone().untyped_storage()

    return clone_storage


def _scatter(tensor, devices, chunk_sizes=None, dim=0, streams=None):
    """What DataParallel calls to split a batch; there is one device to split it over."""
    return [tensor.to(NAME)]


def _keeping_parameters(apply: Callable) -> Callable:
    """``Module._apply``, so that a net moved here keeps its Parameter objects, as on a GPU.

    torch has a list of the devices for which it does so, and PrivateUse1 is not on it.
    """

    def _apply(self, fn, recurse=True):
        before = torch.__future__.get_swap_module_params_on_conversion()
        devices = {fn(torch.empty(0)).device.type, *(p.device.type for p in self.parameters())}
        torch.__future__.set_swap_module_params_on_conversion(before or NAME in devices)
        try:
            return apply(self, fn, recurse)
        finally:
            torch.__future__.set_swap_module_params_on_conversion(before)

    return _apply


def _device_module() -> types.ModuleType:
    """``torch.pretend``, with what torch asks of a backend's module."""
    module = types.ModuleType(f"torch.{NAME}")
    module.device = lambda device: contextlib.nullcontext()
    module.is_available = lambda: True
    module.is_initialized = lambda: True
    module.device_count = lambda: 1
    module.current_device = lambda: 0
    module.set_device = lambda device: None
    module.get_device_name = lambda device=None: "a pretend accelerator"
    module.synchronize = lambda device=None: None
    module._is_in_bad_fork = lambda: False
    module.manual_seed = module.manual_seed_all = _generator.manual_seed
    module.get_rng_state = lambda device=None: _generator.get_state()
    module.set_rng_state = lambda state, device=None: _generator.set_state(state)
    return module


def _operation(name: str):
    packet, overload = name.split(".")
    return getattr(getattr(torch.ops.aten, packet), overload)


def _register() -> list[torch.library.Library]:
    """Register the device and its operations; they last as long as the libraries returned."""
    get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
    get_pointer.restype, get_pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    backend_registration._setup_privateuseone_for_python_backend(NAME, _device_module())
    everything = torch.library.Library("_", "IMPL")
    everything.fallback(_fallback, "PrivateUse1")
    aten = torch.library.Library("aten", "IMPL")
    aten.impl("copy_", _copy_, "PrivateUse1")
    aten.impl("_copy_from", _copy_from, "PrivateUse1")
    aten.impl("resize_", _resize_, "PrivateUse1")
    for update in ("add_.List", "add_.Scalar", "mul_.Scalar", "addcdiv_.ScalarList"):
        name = f"_foreach_{update}"
        aten.impl(name, partial(_update, _operation(name)), "PrivateUse1")  # one step, not 10
    # torch's own, for any backend, calls a kernel of the cpu.
    conjugate = partial(_fallback, torch.ops.aten.conj_physical_.default)
    aten.impl("conj_physical_", conjugate, "PrivateUse1")
    aten.impl("record_stream", lambda self, stream: None, "PrivateUse1")
    aten.impl("_local_scalar_dense", _local_scalar_dense, "PrivateUse1")
    aten.impl("convolution_overrideable", _convolution, "PrivateUse1")
    aten.impl("convolution_backward_overrideable", _convolution_backward, "PrivateUse1")
    aten.impl("_thnn_fused_lstm_cell", _lstm_cell, "PrivateUse1")
    aten.impl("_thnn_fused_lstm_cell_backward_impl", _lstm_cell_backward, "PrivateUse1")
    torch.serialization.register_package(0, lambda storage: None, _storage_from_file)
    torch.UntypedStorage.clone = _cloning_storages(torch.UntypedStorage.clone)
    torch._C._scatter = _scatter
    torch.nn.Module._apply = _keeping_parameters(torch.nn.Module._apply)
    return [everything, aten]


if not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"):
    raise ImportError(f"torch {torch.__version__} cannot register a backend written in Python")
_libraries = _register()
