"""Training steps captured in a CUDA graph, so that the host does next to nothing for a step."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from blitz.learning.step import TrainingStep


class Recording:
    """Some training steps in one CUDA graph, for batches whose indices are written anew.

    A graph reads and writes the same addresses with the same numbers each time. So a recording
    serves one step object while its tensors and rates stay where and what they are, as they do in
    a training. ``images`` (N x 3 x 32 x 32) and ``labels`` (N) are the training set on the device.
    """

    def __init__(
        self,
        step: TrainingStep,
        steps: int,
        batch_size: int,
        images: torch.Tensor,
        labels: torch.Tensor,
    ) -> None:
        device = images.device
        self._step, self._batch_size = step, batch_size
        self.made_for = (step, steps)
        self._images, self._labels = images, labels
        self._indices = torch.zeros(steps * batch_size, dtype=torch.int64, device=device)
        self._losses = torch.zeros(steps, device=device)
        with _undone(step):
            self._replay = record(self._take_steps, device)

    def _take_steps(self) -> None:
        images = self._images.index_select(0, self._indices).split(self._batch_size)
        labels = self._labels.index_select(0, self._indices).split(self._batch_size)
        losses = [self._step(*batch) for batch in zip(images, labels, strict=True)]
        # Into memory of ours: what a graph makes inside is overwritten by the next replay.
        self._losses.copy_(torch.stack(losses))

    def replay(self, indices: torch.Tensor) -> list[float]:
        """Take the steps with the images at ``indices``, steps x batch_size; return the losses."""
        self._indices.copy_(indices)
        self._replay()
        return self._losses.tolist()


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
