"""What is set before torch is loaded; conftest.py imports this first, ahead of torch itself."""

import gc
import os
import sys

# OpenMP reads this as it is loaded, with torch. Threads that spin while they wait for each other
# make the small tensors of the tests take three times as long. Benchmarks keep torch's default.
if "--benchmark-only" not in sys.argv:
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# torch and torchvision make millions of objects as they are imported; looking through them for
# cycles after every few hundred new ones took half a second there and a fifth of the run.
gc.set_threshold(1_000_000, 50, 100)
