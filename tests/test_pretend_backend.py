"""The accelerator that is none: a sound one keeps every promise, a wrong gradient is noticed."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.forked import needs_python_backends

ROOT = Path(__file__).parents[1]


PRETENDING = """
import sys

import pytest
import torch

from blitz import preflight
from tests import pretend_backend

facts = {"device": "pretend:0", "count": "1"}
preflight.check = lambda name, **_: preflight.Finding(
    name, preflight.Verdict.USABLE, facts=facts
)

FILES = ["spec/test_5_devices.py", "spec/details/test_5_devices.py", "spec/devices/test_float64.py"]

def run(select):
    options = ["-q", "-p", "no:cacheprovider", "--device=pretend", "-n0", "-k", select]
    return pytest.main([*FILES, *options])

assert run("gradients or moves or refuses or _copy") == 0
torch.manual_seed(0)
torch.rand(2, device="pretend"), torch.rand(2)
host, pretend = torch.get_rng_state(), torch.pretend.get_rng_state()

def too_steep(kernel):
    def faulty(**arguments):
        of_input, of_weight, of_bias = kernel(**arguments)
        return of_input, of_weight * 1.01, of_bias
    return faulty

pretend_backend.faults["aten::convolution_backward"] = too_steep
print("with a fault:")
assert run("gradients_on_a_device") == 1
assert torch.equal(torch.get_rng_state(), host), "the cpu's generator moved"
assert torch.equal(torch.pretend.get_rng_state(), pretend), "the device's generator moved"
"""


@pytest.fixture(scope="module")
def pretending() -> list[str]:
    """What a process of its own says, since a backend stays registered as long as it lives."""
    done = subprocess.run(
        [sys.executable, "-c", PRETENDING], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.split("with a fault:")


@needs_python_backends
class TestPretendAccelerator:
    def test_keeps_the_promises_of_an_accelerator(self, pretending: list[str]) -> None:
        healthy, _ = pretending

        assert "pretend:0:" in healthy
        assert " 0 broken" in healthy
        assert "failed" not in healthy

    def test_wrong_gradient_of_one_percent_is_noticed(self, pretending: list[str]) -> None:
        _, faulty = pretending

        assert "broken claim on pretend:0" in faulty
        assert "2 failed" in faulty
