"""What makes the tutorial's recipe faster on a cpu, in one place, with what was measured.

Measured on two cores of an AMD EPYC (AVX2), torch 2.15, the tutorial's net in batches of 4, as the
time of a whole step, each against the line before it:

==============================================  ==========================================
oneDNN's convolutions → torch's own, one thread  a fifth to a quarter faster: a convolution this
                                                 small costs oneDNN more to set up than to compute
SGD in one kernel (``fused``) instead of ten     a tenth faster
gradients straight to that kernel                a tenth faster: neither ``.grad`` nor the hooks and
                                                 the profiler's marks around ``optimizer.step()``
losses left as tensors until a chunk is full     no ``item()`` in between
images in channels_last                          a third slower with torch's own convolutions; with
                                                 oneDNN's a fifth faster for nets of width 24 and
                                                 more, but only if the net is converted too
==============================================  ==========================================

The first turns round for wider nets and larger batches, where oneDNN takes half the time: so it is
done for little work alone, which :data:`LITTLE_WORK` delimits.

The first two round otherwise than the tutorial's loop. They are for steps that need not be equal to
it to the last bit: ``classifier.TrainingStep(exact=False)``, on the command line ``--fast``.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.optim.sgd import sgd

LITTLE_WORK = 2**14
"""Images in a batch times weights of the largest convolution, up to which a step is little work.

The tutorial's 4 x 2,400 are; 4 images through a net of width 24 are not, nor are 16 at width 6.
"""

GATHERED_ON_CPU = 8 * 2**20
"""Bytes of images that the cpu gathers at once."""


def little_work(net: nn.Module, batch_size: int) -> bool:
    """Whether a step of ``net`` with ``batch_size`` images costs more to share out than to do."""
    convolutions = [m.weight.numel() for m in net.modules() if isinstance(m, nn.Conv2d)]
    return batch_size * max(convolutions, default=0) <= LITTLE_WORK


@contextmanager
def suited_to(
    net: nn.Module, batch_size: int, device: torch.device, *, exact: bool = False
) -> Iterator[None]:
    """torch's threads and convolutions as suits the steps inside; as they were, outside.

    Where the steps are to be ``exact``, those of the tutorial's loop to the last bit, convolutions
    stay as they are. The number of threads shows in the last bits too: the loop to compare with is
    one that runs on as many.

    Where an accelerator does the work, all is left alone.
    """
    if device.type != "cpu" or not little_work(net, batch_size):
        yield
        return
    threads, one_dnn = torch.get_num_threads(), torch.backends.mkldnn.enabled
    torch.set_num_threads(1)
    # mkldnn.set_flags would reset the precision as well.
    torch._C._set_mkldnn_enabled(exact and one_dnn)
    try:
        yield
    finally:
        torch._C._set_mkldnn_enabled(one_dnn)
        torch.set_num_threads(threads)


def sgd_step(optimizer: torch.optim.SGD, loss: torch.Tensor) -> None:
    """Take a step of fused SGD on ``loss``: the bits of ``backward()`` and ``optimizer.step()``.

    The momentum stays where ``optimizer``, which has one group of parameters, keeps it. No
    ``.grad`` is written, and no hook of the optimizer runs.
    """
    (group,) = optimizer.param_groups
    parameters = [p for p in group["params"] if p.requires_grad]
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    moved = [(p, g) for p, g in zip(parameters, gradients, strict=True) if g is not None]
    kept = [optimizer.state[p] if group["momentum"] else {} for p, _ in moved]
    momenta = [state.get("momentum_buffer") for state in kept]
    options = ("weight_decay", "momentum", "lr", "dampening", "nesterov", "maximize")
    with torch.no_grad():
        sgd(
            [p for p, _ in moved],
            [g for _, g in moved],
            momenta,
            fused=True,
            **{option: group[option] for option in options},
        )
    for state, momentum in zip(kept, momenta, strict=True):
        state["momentum_buffer"] = momentum
