"""Every lie, in the order of the chapters."""

from . import autograd, classifier, devices, networks, recipe, tensors
from .lie import lie

MODULES = (tensors, autograd, networks, classifier, devices, recipe)
LIES = lie.lies
