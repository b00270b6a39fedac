"""A device that lies is caught, by a claim that names the operation; a few of the faults."""

import re
import subprocess
import sys
from pathlib import Path

from tests.device_faults import ALL, BY_NAME
from tests.forked import needs_python_backends

ROOT = Path(__file__).parents[1]


def test_faults_have_names_of_their_own_and_most_were_reported() -> None:
    reported = [fault.issue for fault in ALL if fault.issue]

    assert len(BY_NAME) == len(ALL) >= 60
    assert len(set(reported)) == len(reported) >= 30
    assert all(re.fullmatch(r"[\w.-]+/[\w.-]+#\d+", issue) for issue in reported)


@needs_python_backends
def test_faults_are_noticed_and_a_sound_device_is_not_accused() -> None:
    names = [
        "convolution_weight_gradient_off_by_1_percent",  # by its size
        "convolution_reads_weights_as_contiguous",  # by layout
        "linear_backward_is_off_once_in_seven",  # by moment
    ]

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
    assert "test_layer_takes_every_layout[pretend:0-conv2d-weight]" in done.stdout
