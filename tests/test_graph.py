"""The recorded graph as data and as text."""

from typing import Any

import pytest
import torch

from blitz import graph


@pytest.fixture
def leaf() -> torch.Tensor:
    return torch.tensor([2.0, 3.0], requires_grad=True)


class Square(torch.autograd.Function):
    """A custom operation with an attribute of the name that autograd's leaves use."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.variable = "no leaf"
        return x**2

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        return gradient


class TestOf:
    def test_names_follow_a_depth_first_walk_from_the_root(self, leaf: torch.Tensor) -> None:
        found = graph.of((leaf * 2).exp() + leaf.sin())

        assert found.names() == [
            "AddBackward0",
            "ExpBackward0",
            "MulBackward0",
            "AccumulateGrad",
            "SinBackward0",
        ]

    def test_leaf_used_twice_is_one_node(self, leaf: torch.Tensor) -> None:
        found = graph.of(leaf * leaf)

        assert found.inputs[0] is found.inputs[1]
        assert len(found.nodes()) == 2

    def test_custom_function_goes_by_its_own_name_and_is_no_leaf(self, leaf: torch.Tensor) -> None:
        found = graph.of(Square.apply(leaf) * 2)

        square = found.inputs[0]
        assert square.name == "SquareBackward"
        assert square.leaf is None
        assert found.nested() == "Mul(Square(Leaf), None)"

    @pytest.mark.parametrize(
        ("compute", "operation"),
        [
            (torch.log10, "Log10"),  # Log10Backward0
            (torch.log1p, "Log1P"),  # Log1PBackward0
            (lambda leaf: leaf.mean(dim=0), "Mean"),  # MeanBackward1
        ],
        ids=["log10", "log1p", "mean"],
    )
    def test_nested_operation_is_the_name_without_backward_and_its_number(
        self, leaf: torch.Tensor, compute: Any, operation: str
    ) -> None:
        assert graph.of(compute(leaf)).nested() == f"{operation}(Leaf)"

    def test_deep_graph_needs_no_deep_stack(self, leaf: torch.Tensor) -> None:
        y = leaf
        for _ in range(5000):
            y = y + 1

        found = graph.of(y)

        assert len(found.nodes()) == 5001
        assert len(str(found).splitlines()) == 10_001

    @pytest.mark.parametrize("what", ["constant", "leaf", "no_grad"])
    def test_tensor_without_a_graph_is_refused(self, leaf: torch.Tensor, what: str) -> None:
        with torch.no_grad():
            untracked = leaf * 2
        tensor = {"constant": torch.ones(2), "leaf": leaf, "no_grad": untracked}[what]

        with pytest.raises(ValueError, match=r"tensor of shape \(2,\) has no graph.*Compute it"):
            graph.of(tensor)


def test_text_shows_names_and_leaves_and_writes_a_shared_node_out_once(leaf: torch.Tensor) -> None:
    shared = (3 * leaf).exp()

    assert str(graph.of(shared + shared)).splitlines() == [
        "AddBackward0",
        "  ExpBackward0",
        "    MulBackward0",
        "      AccumulateGrad (2,)",
        "      (not tracked)",
        "  ExpBackward0 (see above)",
    ]


class TestFootprint:
    def test_of_an_untracked_forward_pass_is_zero(self) -> None:
        assert graph.footprint(lambda: torch.ones(3).exp()) == (0, [])

    def test_counts_what_is_saved(self) -> None:
        x = torch.ones(3, requires_grad=True)

        assert graph.footprint(lambda: (x * 2).exp().sum()) == (4, [12])

    def test_leaves_the_graph_usable(self) -> None:
        x = torch.ones(3, requires_grad=True)
        results: list[torch.Tensor] = []

        graph.footprint(lambda: results.append(x**2) or results[0])
        results[0].sum().backward()

        assert x.grad.tolist() == [2.0, 2.0, 2.0]
