"""Older revisions in detail: refusals, and the answers of torch's releases where they differ."""

import pytest
import torch
from torch import nn


class TestMakingTensors:
    def test_new_ones_are_ones(self, device: torch.device) -> None:
        """What new_ones makes are ones, new_zeros zeros; the tensor they start from stays."""
        x = torch.tensor([7, 8], device=device)

        assert x.new_ones(2, 3).tolist() == [[1, 1, 1], [1, 1, 1]]
        assert x.new_zeros(2, 3).tolist() == [[0, 0, 0], [0, 0, 0]]
        assert x.tolist() == [7, 8]

    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_new_methods_take_another_device(self, device: torch.device) -> None:
        """A new_ method makes its tensor on another device if that is asked for."""
        x = torch.zeros(2)

        assert x.new_ones(5, 3, device=device).device == device

    def test_randn_like_draws_from_the_normal_distribution(self, device: torch.device) -> None:
        """Normal random numbers have a mean near 0 and a variance near 1."""
        sample = torch.randn_like(torch.ones(100, 100, device=device)).cpu()

        # Of 10,000 normal numbers the mean strays by 0.010 and the variance by 0.014 (one standard
        # deviation); six of them are allowed.
        assert sample.mean().item() == pytest.approx(0, abs=0.06)
        assert sample.var().item() == pytest.approx(1, abs=0.085)

    def test_size_does_what_a_tuple_does(self) -> None:
        """The size of a tensor has a length, slices, sums and the hash of a tuple."""
        size = torch.empty(5, 3).size()
        batch = (64,)

        assert size + batch == (5, 3, 64)
        assert size[1:] == (3,)
        assert len(size) == 2
        assert {(5, 3): "found"}[size] == "found"


class TestOperations:
    def test_out_of_another_size_is_resized_with_a_warning(self, device: torch.device) -> None:
        """A result written to a tensor of another size resizes that tensor, with a warning."""
        x = torch.tensor([1.0, 2.0], device=device)
        torch.add(x, 1, out=torch.empty(0, device=device))
        out = torch.zeros(3, device=device)

        with pytest.warns(UserWarning, match="resized"):
            torch.add(x, 1, out=out)

        assert out.tolist() == [2.0, 3.0]

    def test_view_shares_memory(self, device: torch.device) -> None:
        """A view copies nothing: each sees what is written to the other."""
        x = torch.tensor([[1, 2, 3], [4, 5, 6]], device=device)
        flat = x.view(-1)

        flat[4] = 9
        x[0, 0] = 7

        assert x.tolist() == [[7, 2, 3], [4, 9, 6]]
        assert flat.tolist() == [7, 2, 3, 4, 9, 6]

    @pytest.mark.parametrize(
        ("sizes", "words"),
        [
            pytest.param((-1, 5), "invalid for input of size 6", id="no multiple"),
            pytest.param((2, 2), "invalid for input of size 6", id="too few"),
            pytest.param((-1, -1), "only one dimension can be inferred", id="two to work out"),
        ],
    )
    def test_view_refuses_sizes_that_do_not_fit(
        self, sizes: tuple[int, ...], words: str, device: torch.device
    ) -> None:
        """Sizes that do not hold every element, or leave two to work out, raise a RuntimeError."""
        x = torch.ones(2, 3, device=device)
        assert x.view(-1, 3).shape == (2, 3)

        with pytest.raises(RuntimeError, match=words):
            x.view(*sizes)

    def test_view_refuses_memory_out_of_order(self, device: torch.device) -> None:
        """A transposed matrix cannot be viewed flat, for its memory is out of order."""
        x = torch.tensor([[1, 2, 3], [4, 5, 6]], device=device).t()
        assert x.reshape(6).tolist() == [1, 4, 2, 5, 3, 6]

        with pytest.raises(RuntimeError, match="view size is not compatible"):
            x.view(6)

    def test_item_of_two_elements_is_refused(self, device: torch.device) -> None:
        """Calling item() on two elements raises a RuntimeError; on one it gives a number."""
        x = torch.tensor([1.5, 2.5], device=device)
        assert x[1].item() == 2.5

        with pytest.raises(RuntimeError, match="cannot be converted to Scalar"):
            x.item()

    def test_sparse_tensor_does_not_go_to_numpy(self) -> None:
        """A sparse tensor on the CPU does not convert to NumPy; made dense, it does."""
        sparse = torch.tensor([[0.0, 2.0], [0.0, 0.0]]).to_sparse()
        assert sparse.to_dense().numpy().tolist() == [[0.0, 2.0], [0.0, 0.0]]

        with pytest.raises(TypeError, match="Sparse layout"):
            sparse.numpy()

    def test_to_converts_the_values(self, device: torch.device) -> None:
        """A tensor that to takes to another dtype keeps its values as far as that dtype can."""
        x = torch.tensor([1.0, 2.5, -3.75])

        assert x.to(device, torch.int64).tolist() == [1, 2, -3]


class TestAutograd:
    def test_requires_grad_is_cleared_in_place(self, device: torch.device) -> None:
        """Calling requires_grad_ with False makes the tensor itself not require grad."""
        x = torch.ones(2, device=device, requires_grad=True)

        returned = x.requires_grad_(False)

        assert returned is x
        assert not x.requires_grad
        assert not (x * 3).requires_grad

    def test_backward_of_a_scalar_starts_from_one(self, device: torch.device) -> None:
        """Calling backward on a scalar without an argument is calling it with one."""
        x = torch.ones(2, 2, device=device, requires_grad=True)

        (3 * (x + 2) * (x + 2)).mean().backward(torch.tensor(1.0, device=device))

        assert x.grad.tolist() == [[4.5, 4.5], [4.5, 4.5]]

    def test_detached_branch_adds_nothing_to_the_gradient(self, device: torch.device) -> None:
        """A detached tensor is not tracked: only the other branch contributes to the gradient."""
        x = torch.tensor([2.0, 5.0], device=device, requires_grad=True)

        (x * x.detach()).sum().backward()

        assert x.grad.tolist() == [2.0, 5.0]  # of x * x it were [4, 10]


def gradient_or_refusal(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor | str:
    """Return the gradient of the mean squared error, or the words of torch's refusal."""
    try:
        nn.MSELoss()(output, target).backward()
    except RuntimeError as refusal:
        return str(refusal)
    return output.grad.cpu()


class TestIntegerTarget:
    def test_integer_target_gives_the_same_loss(self, device: torch.device) -> None:
        """The mean squared error of an integer target is that of the same numbers as floats."""
        output = torch.zeros(1, 10, device=device)
        target = torch.arange(1, 11, device=device).view(1, -1)

        loss = nn.MSELoss()(output, target)

        assert loss.dtype is torch.float32
        assert loss.item() == 38.5

    def test_integer_target_gives_the_same_gradient_or_none(self, device: torch.device) -> None:
        """An integer target gives the gradient of floats, or is refused as before torch 2.12."""
        output = torch.zeros(1, 10, device=device, requires_grad=True)
        target = torch.arange(1, 11, device=device).view(1, -1)

        answer = gradient_or_refusal(output, target)

        right = torch.tensor([[-0.2, -0.4, -0.6, -0.8, -1.0, -1.2, -1.4, -1.6, -1.8, -2.0]])
        # Which of the two is up to the release, and to the backend's own kernels.
        refused = isinstance(answer, str) and "Found dtype Long but expected Float" in answer
        assert refused or torch.allclose(answer, right)
