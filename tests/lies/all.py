"""Every lie, in the order of the chapters."""

from . import autograd, classifier, devices, networks, recipe, several, tensors
from .lie import lie

MODULES = (tensors, autograd, networks, classifier, devices, recipe, several)
LIES = lie.lies
