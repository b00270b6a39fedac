"""Every lie, in the order of the chapters."""

from . import (
    autograd,
    autograd_forms,
    classifier,
    devices,
    networks,
    recipe,
    several,
    tensor_forms,
    tensors,
)
from .lie import lie

MODULES = (
    tensors,
    tensor_forms,
    autograd,
    autograd_forms,
    networks,
    classifier,
    devices,
    recipe,
    several,
)
LIES = lie.lies
