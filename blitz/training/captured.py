"""Training steps captured in a CUDA graph, so that the host does next to nothing for a step."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from blitz.learning.step import TrainingStep


def recorded(
    step: TrainingStep, steps: int, batch_size: int, images: torch.Tensor, labels: torch.Tensor
) -> Callable[[torch.Tensor], list[float]]:
    """Return a function that takes so many training steps as one CUDA graph.

    It takes the indices of the steps' images, steps x batch_size, and returns the losses.
    ``images`` (N x 3 x 32 x 32) and ``labels`` (N) are the training set on the device. A graph
    reads and writes the same addresses with the same numbers each time. So it serves one step
    object while its tensors and rates stay where and what they are, as they do in a training.
    """
    indices = torch.zeros(steps * batch_size, dtype=torch.int64, device=images.device)
    losses = torch.zeros(steps, device=images.device)

    def take_steps() -> None:
        batches = (each.index_select(0, indices).split(batch_size) for each in (images, labels))
        # Into memory of ours: what a graph makes inside is overwritten by the next replay.
        losses.copy_(torch.stack([step(*batch) for batch in zip(*batches, strict=True)]))

    with _undone(step):
        replay = record(take_steps, images.device)

    def take(chosen: torch.Tensor) -> list[float]:
        indices.copy_(chosen)
        replay()
        return losses.tolist()

    return take


def record(work: Callable[[], None], device: torch.device) -> Callable[[], None]:
    """Return a function that does on ``device`` what ``work`` does, as one CUDA graph.

    ``work`` runs twice beforehand, with its effects, so that cuDNN, cuBLAS and the optimizer have
    allocated what they keep.
    """
    with torch.cuda.device(device):
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            work()
            work()
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        # torch's default capture stream is of the first device that was ever captured.
        with torch.cuda.graph(graph, stream=aside):
            work()

    def replay() -> None:
        with torch.cuda.device(device):
            graph.replay()

    return replay


@contextmanager
def _undone(step: TrainingStep) -> Iterator[None]:
    """Give net and optimizer back the values they had, in the same memory."""
    before = {name: tensor.clone() for name, tensor in _tensors(step).items()}
    try:
        yield
    finally:
        with torch.no_grad():
            for name, tensor in _tensors(step).items():
                # A momentum that did not exist yet becomes zero, from which SGD goes on alike.
                tensor.copy_(before[name]) if name in before else tensor.zero_()
        # The gradients lie in the graph's private pool, which the next replay overwrites.
        step.optimizer.zero_grad()


def _tensors(step: TrainingStep) -> dict[tuple[str, str], torch.Tensor]:
    """Return what a step changes: the net's parameters and buffers, the optimizer's state."""
    found = {("net", name): value for name, value in step.net.state_dict().items()}
    parameters = [p for group in step.optimizer.param_groups for p in group["params"]]
    for index, parameter in enumerate(parameters):
        for key, value in step.optimizer.state.get(parameter, {}).items():
            if isinstance(value, torch.Tensor):
                found[f"state {index}", key] = value
    return found
