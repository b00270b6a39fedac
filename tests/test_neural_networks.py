"""What the network and its update rules refuse, and in which words."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from blitz import devices, neural_networks


@pytest.mark.parametrize("kernel_size", [1, 4, "3", None])
def test_other_kernels_than_3_and_5_are_refused(kernel_size: int | str | None) -> None:
    """The message names the argument, its value and the two that are allowed."""
    with pytest.raises(ValueError, match=r"kernel_size .*Use 3 or 5"):
        neural_networks.Net(kernel_size)


@pytest.mark.parametrize("make", [neural_networks.Net, neural_networks.random_images])
def test_unusable_device_is_refused(make: Any) -> None:
    """What makes tensors names the device it cannot make them on."""
    with pytest.raises(devices.UnusableDevice, match="device 'nonesuch'"):
        make(device="nonesuch")


@pytest.mark.parametrize(
    ("images", "words"),
    [
        pytest.param(
            torch.zeros(1, 32, 32), r"\(1, 32, 32\): one image .*unsqueeze\(0\)", id="unbatched"
        ),
        pytest.param(torch.zeros(32, 32), r"\(32, 32\): 2 dimensions.*Reshape", id="matrix"),
        pytest.param(torch.zeros(1, 1, 1, 32, 32), "5 dimensions.*Reshape", id="five dimensions"),
        pytest.param(torch.zeros(2, 3, 32, 32), r"3 channels.*takes 1\..*mean", id="colour"),
        pytest.param(torch.zeros(2, 32, 32, 1), "32 channels, the network takes 1", id="NHWC"),
        pytest.param(torch.zeros(2, 1, 28, 28), "28x28 pixels.*32x32.*pad", id="MNIST"),
        pytest.param(torch.zeros(2, 1, 4, 4), "4x4 pixels.*32x32.*pad", id="tiny"),
        pytest.param(torch.zeros(2, 1, 0, 0), "0x0 pixels.*32x32", id="empty"),
        pytest.param(torch.zeros(2, 1, 32, 34), "32x34 pixels.*32x32", id="not square"),
        pytest.param(
            torch.zeros(2, 1, 32, 32, dtype=torch.uint8),
            r"torch\.uint8.*torch\.float32.*images\.to\(torch\.float32\)",
            id="bytes",
        ),
        pytest.param(
            torch.zeros(2, 1, 32, 32, dtype=torch.float64), r"torch\.float64.*float32", id="double"
        ),
        pytest.param(
            torch.zeros(2, 1, 32, 32, device="meta"),
            r"on meta, the network is on cpu.*images\.to\('cpu'\)",
            id="elsewhere",
        ),
    ],
)
def test_images_that_do_not_fit_are_refused(images: Any, words: str) -> None:
    """The message names the shape of the images, the fault and the remedy."""
    with pytest.raises(ValueError, match=rf"^images of shape .*{words}"):
        neural_networks.Net()(images)


def test_images_of_unequal_sides_fit_where_the_features_do() -> None:
    """The check refuses nothing that the layers would take: 4 * 9 is 6 * 6."""
    images = torch.zeros(1, 1, 4 * 4 + 6, 9 * 4 + 6)

    assert neural_networks.Net()(images).shape == (1, 10)


def test_array_is_refused_as_images() -> None:
    """A NumPy array is no tensor, and the message says how to make it one."""
    with pytest.raises(TypeError, match=r"images is a ndarray.*torch\.from_numpy"):
        neural_networks.Net()(np.zeros((1, 1, 32, 32), np.float32))


def test_stage_shapes_refuse_what_the_network_refuses() -> None:
    """The walk through the stages checks its input as the network does."""
    with pytest.raises(ValueError, match="28x28 pixels"):
        neural_networks.stage_shapes(neural_networks.Net(), torch.zeros(1, 1, 28, 28))


def test_autocast_matches_the_dtype_itself() -> None:
    """Under autocast, images of half precision are not refused."""
    images = torch.zeros(1, 1, 32, 32, dtype=torch.bfloat16)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert neural_networks.Net()(images).shape == (1, 10)


def test_target_of_another_length_is_refused() -> None:
    """The message gives both shapes and both counts."""
    with pytest.raises(ValueError, match=r"values of shape \(9,\).*\(1, 10\): 9 numbers for 10"):
        neural_networks.target_for(torch.zeros(1, 10), torch.zeros(9))


def test_loss_of_unlike_shapes_is_refused() -> None:
    """The loss by hand does not broadcast, and says how to reshape the target."""
    with pytest.raises(ValueError, match=r"target of shape \(10,\).*\(1, 10\).*target_for"):
        neural_networks.mean_squared_error(torch.zeros(1, 10), torch.zeros(10))


@pytest.mark.parametrize(
    "update", [neural_networks.update_by_hand, neural_networks.update_data_by_hand]
)
class TestUpdate:
    """Both forms of the update by hand."""

    def test_update_without_a_gradient_is_refused_before_anything_changes(
        self, update: Any
    ) -> None:
        """The message names the parameter; the one before it is not updated either."""
        ready, fresh = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(3))
        ready.sum().backward()

        with pytest.raises(ValueError, match=r"parameter 1 of shape \(3,\).*Call backward\(\)"):
            update([ready, fresh])

        assert ready.tolist() == [1.0, 1.0]

    def test_learning_rate_is_a_hundredth_where_none_is_given(self, update: Any) -> None:
        """A gradient of one moves a weight of 1 to 0.99."""
        weight = nn.Parameter(torch.ones(1))
        weight.sum().backward()

        update([weight])

        assert weight.item() == pytest.approx(0.99)

    @pytest.mark.parametrize("learning_rate", [-0.1, float("nan")])
    def test_learning_rate_below_zero_is_refused(self, update: Any, learning_rate: Any) -> None:
        """The message names the learning rate."""
        with pytest.raises(ValueError, match=r"learning_rate .*Use 0 or more"):
            update([], learning_rate)

    def test_frozen_parameter_is_left_alone(self, update: Any) -> None:
        """A parameter that does not require grad needs no gradient and keeps its value."""
        frozen = nn.Parameter(torch.ones(2), requires_grad=False)

        update([frozen])

        assert frozen.tolist() == [1.0, 1.0]


def test_unknown_rule_is_refused() -> None:
    """The message lists the rules there are."""
    with pytest.raises(ValueError, match=r"'sgd' is not known.*SGD, Nesterov, Adam, RMSprop"):
        neural_networks.optimizer("sgd", [nn.Parameter(torch.ones(1))])


def test_unknown_setting_is_refused() -> None:
    """A setting that torch's rule does not have is refused by its name."""
    with pytest.raises(TypeError, match="unexpected keyword argument 'rate'"):
        neural_networks.optimizer("SGD", [nn.Parameter(torch.ones(1))], rate=1)


def test_settings_of_the_table_are_the_documented_ones() -> None:
    """Every rule takes the settings of the table, and lets a caller replace them."""
    parameters = [nn.Parameter(torch.ones(1))]
    made = {rule: neural_networks.optimizer(rule, parameters) for rule in neural_networks.RULES}

    assert [o.defaults["lr"] for o in made.values()] == [0.01, 0.01, 0.001, 0.01]
    assert [made[rule].defaults["momentum"] for rule in ("SGD", "Nesterov")] == [0, 0.9]
    assert made["Nesterov"].defaults["nesterov"] is True
    assert made["Adam"].defaults["betas"] == (0.9, 0.999)
    assert made["RMSprop"].defaults["alpha"] == 0.99
    assert neural_networks.optimizer("Adam", parameters, lr=0.5).defaults["lr"] == 0.5
