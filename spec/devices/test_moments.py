"""What goes wrong once in a while: random filling of slices, and passes that have to agree."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from spec.devices import networks
from spec.devices.layouts import GAP, offset, strided, transposed

pytestmark = pytest.mark.usefixtures("one_thread")


class TestRandomFilling:
    @pytest.mark.parametrize(
        ("fill", "low", "high"),
        [
            pytest.param(lambda t: t.uniform_(2, 3), 2, 3, id="uniform_"),
            pytest.param(lambda t: t.normal_(5, 0.1), 4, 6, id="normal_"),
            pytest.param(lambda t: t.bernoulli_(0.5), 0, 1, id="bernoulli_"),
            pytest.param(lambda t: t.exponential_(1), 0, 30, id="exponential_"),
            pytest.param(lambda t: t.random_(5, 9), 5, 8, id="random_"),
            pytest.param(lambda t: t.log_normal_(0, 0.1), 0.5, 2, id="log_normal_"),
            pytest.param(lambda t: nn.init.kaiming_uniform_(t), -1, 1, id="kaiming_uniform_"),
        ],
    )
    @pytest.mark.parametrize("layout", [transposed, strided, offset])
    def test_random_filling_of_a_view_fills_the_view_alone(
        self, device: torch.device, layout: Any, fill: Callable[..., Any], low: float, high: float
    ) -> None:
        """Random numbers written to a view fill all of it, and nothing between its elements."""
        room, view = layout(torch.full((30, 20), -7.0, device=device))
        gaps = (room.cpu() == GAP).sum().item()  # the view is older than this copy

        fill(view)

        assert (room == GAP).sum().item() == gaps
        assert (room == -7).sum().item() == 0
        assert ((view >= low) & (view <= high)).all().item()
        assert len(view.flatten().unique()) > 1

    def test_dropout_takes_any_layout(self, device: torch.device) -> None:
        """Dropout of half a transposed tensor leaves zeros and doubled numbers in their places."""
        _, t = transposed(torch.arange(1.0, 601, device=device).view(30, 20))

        dropped = F.dropout(t, 0.5)

        assert_close(dropped[dropped != 0], 2 * t[dropped != 0])
        assert 200 < (dropped == 0).sum().item() < 400  # 300, and its spread is 12


class TestRepeatedPasses:
    def test_ten_passes_agree(self, device: torch.device) -> None:
        """Forward and backward passes of one net over one batch give the same gradients."""
        first, *others = gradients_of_passes(10, images=4, device=device)

        assert_close(others, [first] * 9)

    @pytest.mark.on("accelerator")
    def test_hundred_passes_of_a_larger_batch_agree(self, device: torch.device) -> None:
        """A hundred forward and backward passes over 128 images give the same gradients."""
        first, *others = gradients_of_passes(100, images=128, device=device)

        # Devices add up in another order each time; the sums are good to 1e-4.
        assert_close(others, [first] * 99, rtol=1e-3, atol=1e-4)

    def test_loaded_weights_are_used_at_once(self, device: torch.device) -> None:
        """A net that has been tried gives the outputs of weights loaded into it afterwards."""
        net, ones = nn.Linear(3, 2).to(device).eval(), torch.ones(1, 3, device=device)

        with torch.no_grad():
            net(ones)
            net.load_state_dict({"weight": torch.full((2, 3), 2.0), "bias": torch.ones(2)})

            assert net(ones).tolist() == [[7, 7]]

    def test_batch_may_be_overwritten_once_it_is_on_its_way(self, device: torch.device) -> None:
        """A batch sent with non_blocking keeps its numbers when its memory is filled anew."""
        batch = torch.full((64, 64), 3.0)

        sent = batch.to(device, non_blocking=True, copy=True)
        batch.fill_(5)

        assert (sent + 1).unique().tolist() == [4]

    @pytest.mark.parametrize("optimizer", ["sgd_with_momentum", "adam", "rmsprop"])
    def test_optimizer_counts_the_steps_of_each_parameter(
        self, optimizer: str, device: torch.device
    ) -> None:
        """A parameter that starts to learn later, beside an empty one, moves as if alone."""
        early, later = torch.ones(2, 3, device=device)
        parameters = [t.detach().requires_grad_() for t in (early, later, early[:0])]
        steps = networks.OPTIMIZERS[optimizer](parameters, foreach=True)
        gradient = torch.full((3,), 0.5, device=device)

        parameters[0].grad = gradient.clone()
        steps.step()
        parameters[1].grad, parameters[2].grad = gradient.clone(), gradient[:0]
        steps.step()

        alone = torch.ones(3, device=device)
        trained = networks.trained(networks.OPTIMIZERS[optimizer], alone, [gradient.clone()])
        assert_close(parameters[1].detach(), trained)


def gradients_of_passes(
    count: int, images: int, device: torch.device
) -> list[dict[str, torch.Tensor]]:
    """Return the gradients of all parameters of a net from each of ``count`` passes."""
    net = nn.Sequential(
        nn.Conv2d(3, 6, 5),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(6 * 6 * 6, 10),
    ).to(device)
    batch, labels = torch.randn(images, 3, 16, 16).to(device), torch.arange(images) % 10
    parameters, found = dict(net.named_parameters()), []
    for _ in range(count):
        loss = F.cross_entropy(net(batch), labels.to(device))
        gradients = torch.autograd.grad(loss, list(parameters.values()))
        found.append({n: g.cpu() for n, g in zip(parameters, gradients, strict=True)})
    return found
