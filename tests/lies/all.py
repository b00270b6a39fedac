"""Every lie, in the order of the chapters."""

from . import autograd, classifier, devices, networks, tensors
from .lie import lie

MODULES = (tensors, autograd, networks, classifier, devices)
LIES = lie.lies
