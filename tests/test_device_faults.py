"""A device that lies is caught, by a claim that names the operation; a few of the faults."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils import backend_registration

from tests.device_faults import ALL, BY_NAME

ROOT = Path(__file__).parents[1]

needs_python_backends = pytest.mark.skipif(
    not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"),
    reason=f"torch {torch.__version__} cannot register a backend written in Python",
)


def test_there_are_at_least_twenty_faults_of_different_names() -> None:
    assert len(BY_NAME) == len(ALL) >= 20


@needs_python_backends
def test_faults_are_noticed_and_a_sound_device_is_not_accused() -> None:
    names = ["convolution_weight_gradient_off_by_1_percent", "pool_that_averages", "matmul_in_bf16"]

    # In a process of its own: torch refuses a backward pass on a device in copies of this one.
    done = subprocess.run(
        [sys.executable, "tests/device_faults.py", "--only", *names],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "a sound device: beside: \n" in done.stdout
    assert "3 of 3 noticed" in done.stdout
    assert "test_gradients_of_an_operation_are_those_of_float64[pretend-convolution]" in done.stdout
