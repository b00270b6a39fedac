"""Chapter 1: a tensor is an array that can live on an accelerator."""

import pytest
import torch

from blitz import tensors


class TestFromData:
    def test_tensor_takes_shape_and_values_of_nested_lists(self, device):
        """A tensor made from nested lists has their shape and holds their values."""
        t = tensors.from_data([[1, 2], [3, 4]], device=device)

        assert t.shape == (2, 2)
        assert t.tolist() == [[1, 2], [3, 4]]

    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_tensor_is_made_on_the_device_asked_for(self, device):
        """A tensor made from data lives on the device that was asked for."""
        t = tensors.from_data([1.0, 2.0], device=device)

        assert t.device == device

    def test_ragged_lists_are_refused(self, device):
        """Lists of unequal length are refused; lists of equal length beside them are not."""
        tensors.from_data([[1, 2], [3, 4]], device=device)

        with pytest.raises(ValueError, match="expected sequence of length 2 at dim 1"):
            tensors.from_data([[1, 2], [3]], device=device)
