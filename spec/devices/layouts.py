"""The same numbers, laid out in memory in other ways than a new tensor has them.

Kernels that take every tensor for a contiguous one are right in most tests and wrong in use. Each
layout here is a function of a tensor that gives the memory (``room``) and a view of it that holds
the tensor's numbers. Where the room has gaps, they are filled with 99.
"""

from collections.abc import Callable
from typing import Any

import torch

from spec.devices.in_place import InPlace
from spec.devices.operations import OPERATIONS, Operation, listed

Layout = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]

GAP = 99


def packed(t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Lay ``t`` out as a new tensor is."""
    room = t.clone(memory_format=torch.contiguous_format)
    return room, room


def transposed(t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Lay ``t`` out with its first dimension innermost, as a transposed weight is."""
    backwards = tuple(reversed(range(t.dim())))
    room = t.permute(backwards).clone(memory_format=torch.contiguous_format)
    return room, room.permute(backwards)


def strided(t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Lay ``t`` out as every second element of a tensor: ``room[..., ::2]``."""
    if t.dim() == 0:
        return offset(t)
    room = t.new_full((*t.shape[:-1], 2 * t.shape[-1]), GAP)
    room[..., ::2] = t
    return room, room[..., ::2]


def offset(t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Lay ``t`` out contiguously, from the fourth element of its storage on."""
    room = t.new_full((t.numel() + 5,), GAP)
    room[3:-2] = t.reshape(-1)
    return room, room[3:-2].view(t.shape)


def sliced(t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Lay ``t`` out as the first columns of wider rows: ``room[..., :n]``."""
    if t.dim() == 0:
        return offset(t)
    room = torch.cat([t, torch.full_like(t, GAP)], -1)
    return room, room[..., : t.shape[-1]]


def inner(t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Lay ``t`` out as every second row, from the second column on, of a wider tensor."""
    if t.dim() < 2:
        return strided(t)
    room = t.new_full((2 * t.shape[0], *t.shape[1:-1], t.shape[-1] + 3), GAP)
    view = room[::2, ..., 1:-2]
    view.copy_(t)
    return room, view


def swapped(t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Lay ``t`` out as a batch of transposed matrices: ``room.mT``."""
    if t.dim() < 2:
        return offset(t)
    room = t.mT.clone(memory_format=torch.contiguous_format)
    return room, room.mT


def channels_last(t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Lay images or kernels out with their channels innermost; other tensors as they are."""
    room = t.contiguous(memory_format=torch.channels_last) if t.dim() == 4 else t.clone()
    return room, room


def sliced_channels_last(t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Lay images or kernels out as the first channels of more, with channels innermost."""
    if t.dim() != 4:
        return strided(t)
    room = torch.cat([t, t.new_full(t.shape, GAP)], 1).contiguous(memory_format=torch.channels_last)
    return room, room[:, : t.shape[1]]


def offset_channels_last(t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Lay images or kernels out as the last of one more, with channels innermost."""
    if t.dim() != 4:
        return offset(t)
    room = torch.cat([t[:1] * 0 + GAP, t]).contiguous(memory_format=torch.channels_last)
    return room, room[-t.shape[0] :] if len(t) else room


LAYOUTS: dict[str, Layout] = {"transposed": transposed, "strided": strided}
LAYOUTS |= {"offset": offset, "sliced": sliced}
LAYOUTS_OF_IMAGES: dict[str, Layout] = {
    **LAYOUTS,
    "channels_last": channels_last,
    "sliced_channels_last": sliced_channels_last,
}
# For accelerators, beside the ones above.
EVERY_LAYOUT: dict[str, Layout] = {
    "packed": packed,
    "inner": inner,
    "swapped": swapped,
    **LAYOUTS_OF_IMAGES,
    "offset_channels_last": offset_channels_last,
}


def expanded(t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Lay the first slice of ``t`` out as often as ``t`` has slices, by a stride of zero."""
    return t, t[:1].expand(t.shape) if t.dim() else t


# They look at the strides of their input, or warn of those that slow them down.
OF_ITS_STRIDES = {"Tensor.view", "as_strided", "view_as_complex", "searchsorted", "bucketize"}
OF_ANY_LAYOUT = [o for o in OPERATIONS if o.inputs and o.torch_name not in OF_ITS_STRIDES]


def results(operation: Operation, device: torch.device) -> dict[str, list[torch.Tensor]]:
    """Return what ``operation`` makes of its inputs in every layout, on the cpu, by layout."""
    found = {}
    for name, layout in LAYOUTS.items():
        inputs = [layout(t)[1] for t in operation.tensors(device)]
        found[name] = [result.cpu() for result in listed(operation.on_tensors(*inputs))]
    return found


def rooms_after(
    method: InPlace, device: torch.device, layouts: dict[str, Layout] = LAYOUTS
) -> dict[str, torch.Tensor]:
    """Return the whole memory of the operand after ``method`` changed it, by layout."""
    found = {}
    for name, layout in layouts.items():
        operand, arguments = method.tensors(device)
        room, view = layout(operand)
        room.cpu()  # the view is older than this copy
        getattr(view, method.name)(*[_laid_out(layout, argument) for argument in arguments])
        found[name] = room.cpu()
    return found


def rooms_expected(
    method: InPlace, layouts: dict[str, Layout] = LAYOUTS
) -> dict[str, torch.Tensor]:
    """Return the same from the method's twin, on contiguous tensors of the cpu: gaps stay 99."""
    found = {}
    for name, layout in layouts.items():
        operand, arguments = method.tensors(torch.device("cpu"))
        room, view = layout(operand)
        view.copy_(getattr(operand, method.name.removesuffix("_"))(*arguments))
        found[name] = room
    return found


def _laid_out(layout: Layout, argument: Any) -> Any:
    if isinstance(argument, tuple):
        return tuple(_laid_out(layout, part) for part in argument)
    return layout(argument)[1] if isinstance(argument, torch.Tensor) else argument
