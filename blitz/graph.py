"""The graph that autograd records behind a tensor, as data to compare and text to print.

Tutorial: "Computational Graph" of the autograd chapter, "Loss Function" of the network chapter.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch


@dataclass(frozen=True, eq=False)
class Node:
    """One recorded operation, and with it the graph below, down to its leaves.

    Attributes:
        name: The class of autograd's node, such as ``MulBackward0`` or ``AccumulateGrad``.
        inputs: The nodes that made the operation's inputs, in argument order; None where an input
            is not tracked (a constant, or a tensor that does not require grad).
        leaf: The tensor that gradients are accumulated in, for ``AccumulateGrad`` only.
    """

    name: str
    inputs: tuple["Node | None", ...]
    leaf: torch.Tensor | None = field(default=None, repr=False)

    def nested(self) -> str:
        """Return the graph as nested calls: ``Sub(Mul(Pow(Leaf), None), Pow(Leaf))``.

        For small graphs: a shared node is written out wherever it is used.
        """
        if self.leaf is not None:
            return "Leaf"
        below = ", ".join("None" if node is None else node.nested() for node in self.inputs)
        # Without its number: MulBackward0, MeanBackward1.
        return f"{self.name.rstrip('0123456789').removesuffix('Backward')}({below})"

    def nodes(self) -> list["Node"]:
        """Return every node once, this one first, in the order of a depth-first walk."""
        return [node for node, _, seen in _walk(self) if node is not None and not seen]

    def leaves(self) -> list[torch.Tensor]:
        """Return the tensors that gradients are accumulated in, in the order of the walk."""
        return [node.leaf for node in self.nodes() if node.leaf is not None]

    def names(self) -> list[str]:
        """Return the nodes' names, in the order of the walk."""
        return [node.name for node in self.nodes()]

    def __str__(self) -> str:
        return "\n".join("  " * depth + _line(node, seen) for node, depth, seen in _walk(self))


def of(tensor: torch.Tensor) -> Node:
    """Return the graph behind ``tensor``, of any shape, on any device: the node that made it.

    Raises:
        ValueError: ``tensor`` was not computed from anything that requires grad.
    """
    if tensor.grad_fn is None:
        raise ValueError(
            f"tensor of shape {tuple(tensor.shape)} has no graph: its grad_fn is None. Compute it "
            "from a tensor with requires_grad=True, outside torch.no_grad()."
        )
    return _record(tensor.grad_fn)


def _record(root: torch.autograd.graph.Node) -> Node:
    """Turn autograd's nodes into Nodes; one with several consumers becomes one Node."""
    # No recursion: the graph of a loop of 1,000 rounds is deeper than Python's stack.
    made: dict[torch.autograd.graph.Node, Node] = {}
    todo = [root]
    while todo:
        node = todo[-1]
        missing = [below for below, _ in node.next_functions if below and below not in made]
        if missing:
            todo.extend(missing)
            continue
        todo.pop()
        if node not in made:
            inputs = tuple(made[below] if below else None for below, _ in node.next_functions)
            # A leaf's node goes by its C++ name, torch::autograd::AccumulateGrad.
            name = node.name().rsplit("::")[-1]
            leaf = node.variable if name == "AccumulateGrad" else None  # type: ignore[attr-defined]
            made[node] = Node(name, inputs, leaf)
    return made[root]


def _walk(root: Node) -> Iterator[tuple[Node | None, int, bool]]:
    """Yield each use of a node, depth first, with its depth and whether it was used before."""
    seen: set[Node] = set()
    todo: list[tuple[Node | None, int]] = [(root, 0)]
    while todo:
        node, depth = todo.pop()
        yield node, depth, node in seen
        if node is not None and node not in seen:
            seen.add(node)
            todo.extend((below, depth + 1) for below in reversed(node.inputs))


def _line(node: Node | None, seen: bool) -> str:
    if node is None:
        return "(not tracked)"
    shape = "" if node.leaf is None else f" {tuple(node.leaf.shape)}"
    return node.name + shape + (" (see above)" if seen and node.inputs else "")


def footprint(forward: Callable[[], torch.Tensor]) -> tuple[int, list[int]]:
    """Run ``forward`` and return what autograd keeps of it until backward.

    Returns:
        How many operations are recorded, the leaves' AccumulateGrad included, and the bytes of
        each value saved for backward, as often as it is saved; none where nothing is tracked.

    Tutorial: "Exclusion from the DAG" of the autograd chapter.
    """
    sizes: list[int] = []

    def note(tensor: torch.Tensor) -> torch.Tensor:
        sizes.append(tensor.nbytes)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        output = forward()
    nodes = len(of(output).nodes()) if output.grad_fn is not None else 0
    return nodes, sizes
