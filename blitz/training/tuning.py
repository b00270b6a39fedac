"""What makes the tutorial's recipe faster on a cpu, with what was measured.

Measured on two cores of an AMD EPYC (AVX2), torch 2.15, the tutorial's net in batches of 4, as the
time of a whole step, each against the line before it:

==============================================  ==========================================
oneDNN's convolutions → torch's own, one thread  a fifth to a quarter faster: a convolution this
                                                 small costs oneDNN more to set up than to compute
SGD in one kernel (``fused``) instead of ten     a tenth faster
losses left as tensors until a chunk is full     no ``item()`` in between
images in channels_last                          a third slower with torch's own convolutions; with
                                                 oneDNN's a fifth faster for nets of width 24 and
                                                 more, but only if the net is converted too
==============================================  ==========================================

For wider nets and larger batches oneDNN takes half the time of torch's own convolutions, so it is
turned off for little work only. The first two round otherwise than the tutorial's loop; ``--exact``
leaves them out.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

LITTLE_WORK = 2**14
"""Images in a batch times weights of the largest convolution, up to which a step is little work.

The tutorial's 4 x 2,400 are; 4 images through a net of width 24 are not, nor are 16 at width 6.
"""

GATHERED_ON_CPU = 8 * 2**20
"""Bytes of images that the cpu gathers at once."""


def little_work(net: nn.Module, batch_size: int) -> bool:
    """Return whether a step of ``net`` is too little work to share out among threads."""
    convolutions = [m.weight.numel() for m in net.modules() if isinstance(m, nn.Conv2d)]
    return batch_size * max(convolutions, default=0) <= LITTLE_WORK


@contextmanager
def suited_to(
    net: nn.Module, batch_size: int, device: torch.device, *, exact: bool
) -> Iterator[None]:
    """Set torch's threads and convolutions for the steps inside, on the cpu, and restore them.

    With ``exact`` oneDNN is left alone, so losses match the tutorial's loop on one thread.
    """
    if device.type != "cpu" or not little_work(net, batch_size):
        yield
        return
    threads, one_dnn = torch.get_num_threads(), bool(torch.backends.mkldnn.enabled)
    torch.set_num_threads(1)
    # torch.backends.mkldnn.set_flags would reset the precision as well.
    torch._C._set_mkldnn_enabled(exact and one_dnn)
    try:
        yield
    finally:
        torch._C._set_mkldnn_enabled(one_dnn)
        torch.set_num_threads(threads)
