"""Import torchax and enable it: a device ``jax`` whose tensors are JAX's arrays.

``pytest spec --import tests.jax_backend --device jax``
"""

import importlib

# torchax is installed in environments of its own only; a plain import would fail mypy's check.
importlib.import_module("torchax").enable_globally()
