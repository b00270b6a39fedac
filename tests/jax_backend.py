"""Import torchax and enable it: a device ``jax`` whose tensors are JAX's arrays.

``pytest spec --import tests.jax_backend --device jax``
"""

import torchax

torchax.enable_globally()
