"""The gate for any device: what it refuses, what it contains, and what it writes down."""

import json
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch

from blitz.__main__ import main
from tests import small_house
from tests.forked import Done, gate, needs_python_backends

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="needs fork")

CONTENTS = (
    small_house.PAGE
    + """
T1 = ["sum_is_six"]
T2 = ["running_sums", "running_sums_of_nothing"]
T3 = ["third_of_one"]
"""
)

TESTS = '''
import pytest
import torch
from torch.testing import assert_close

class TestJoining:
    def test_sum_is_six(self, device):
        """The sum of three twos is six."""
        assert torch.full((3,), 2.0, device=device).sum().item() == 6

    def test_running_sums(self, device):
        """The running sums of three ones are 1, 2 and 3."""
        assert torch.ones(3, device=device).cumsum(0).tolist() == [1.0, 2.0, 3.0]

    def test_running_sums_of_nothing(self, device):
        """There are no running sums of nothing."""
        assert torch.ones(0, device=device).tolist() == []

    def test_third_of_one(self, device):
        """A third of one is 0.3333."""
        assert_close(torch.ones(1, device=device) / 3, torch.tensor([0.3333], device=device))
'''

CLOSE = TESTS.replace("0.3333]", "1 / 3]")


@pytest.fixture
def house(tmp_path: Path) -> Callable[..., Done]:
    """Run the gate on a small specification of its own."""

    def run(*options: str, tests: str = CLOSE, prepare: Any = lambda: None) -> Done:
        small_house.make(tmp_path, CONTENTS, tests)
        return gate(tmp_path, "-n0", *options, prepare=prepare)

    return run


@pytest.fixture
def profile(tmp_path: Path) -> Callable[..., str]:
    def write(claims: str, device: str = "cpu") -> str:
        (tmp_path / "profile.toml").write_text(f'device = "{device}"\n[claims]\n{claims}')
        return f"--known-gaps={tmp_path / 'profile.toml'}"

    return write


def pretend(**faults: Any) -> Callable[[], None]:
    """Bring the pretend accelerator, and break some of its operations (``cumsum``)."""

    def prepare() -> None:
        from tests import pretend_backend

        for name, fault in faults.items():
            pretend_backend.faults[f"aten::{name}"] = fault

    return prepare


def missing(kernel: Any) -> Callable[..., Any]:
    def refuse(**arguments: Any) -> None:
        raise NotImplementedError(f"Could not run '{kernel.name()}' with arguments from the 'X'")

    return refuse


def refusing(kernel: Any) -> Callable[..., Any]:
    def refuse(**arguments: Any) -> None:
        raise AssertionError("these do not fit")

    return refuse


@needs_python_backends
@pytest.mark.parametrize(
    "refused",
    [
        "with pytest.raises(RuntimeError, match='words'): torch.ones(3, device=device).cumsum(0)",
        "with pytest.raises(AttributeError, match='x'): torch.ones(3, device=device).shape = (3,)",
    ],
    ids=["kind", "words"],
)
def test_device_may_refuse_in_another_way(house: Callable[..., Done], refused: str) -> None:
    computed = "assert torch.ones(3, device=device).cumsum(0).tolist() == [1.0, 2.0, 3.0]"
    tests = CLOSE.replace(computed, refused)

    done = house("--device=pretend", tests=tests, prepare=pretend(**{"cumsum.out": refusing}))

    assert "pretend:0:   3 claims held, 0 broken, 0 not run (4 tests ran)" in done.output


@needs_python_backends
class TestProofOfWork:
    def test_test_that_never_used_its_device_fails(self, house: Callable[..., Done]) -> None:
        idle = CLOSE.replace("torch.full((3,), 2.0, device=device)", "torch.full((3,), 2.0)")

        done = house("--device=pretend", tests=idle, prepare=pretend())

        assert done.code == 1
        assert "nothing in this test gave a tensor on pretend:0" in done.output
        assert "broken claim on pretend:0" in done.output
        assert "1 failed, 3 passed" in done.output

    def test_device_on_which_everything_is_unsupported_fails_the_run(
        self, house: Callable[..., Done]
    ) -> None:
        lacks_all = pretend(**{"ones": missing, "fill_.Scalar": missing, "sum": missing})

        done = house("--device=pretend", "-k", "sum_is_six", prepare=lacks_all)

        assert done.code == 1
        assert "FAILED: no" in done.output


@needs_python_backends
class TestGaps:
    @pytest.mark.parametrize(
        ("fault", "said"),
        [(missing, "aten::cumsum.out"), (refusing, "torch.Tensor.cumsum: these do not fit")],
    )
    def test_missing_operation_is_unsupported_and_not_broken(
        self, house: Callable[..., Done], fault: Any, said: str
    ) -> None:
        done = house("--device=pretend", prepare=pretend(**{"cumsum.out": fault}))

        assert done.code == 0
        assert (
            "  pretend:0:   2 claims held, 0 broken, 1 unsupported, 0 not run (3 tests ran)\n"
            f"               1 unsupported: {said}\n"
        ) in done.output

    def test_dtype_that_the_device_refuses_is_unsupported(self, house: Callable[..., Done]) -> None:
        def no_float64(kernel: Any) -> Callable[..., Any]:
            def copy(**arguments: Any) -> Any:
                if torch.float64 in {arguments["self"].dtype, arguments["src"].dtype}:
                    raise TypeError("pretend memory has no room for that many digits")
                return kernel(**arguments)

            return copy

        double = CLOSE.replace(
            "torch.full((3,), 2.0, device=device)", "torch.full((3,), 2.0).double().to(device)"
        )

        done = house("--device=pretend", tests=double, prepare=pretend(copy_=no_float64))

        assert done.code == 0
        assert "unsupported on pretend:0: float64\n" in done.output
        assert "1 unsupported: float64\n" in done.output

    def test_wrong_value_is_broken_whatever_is_missing(self, house: Callable[..., Done]) -> None:
        wrong = {"cumsum.out": lambda kernel: lambda self, **rest: kernel(self=self + 1, **rest)}

        done = house("--device=pretend", prepare=pretend(**wrong))

        assert done.code == 1
        assert "T2: The running sums of three ones are 1, 2 and 3." in done.output


class TestProfile:
    def test_skip_and_its_reason_are_shown(
        self, house: Callable[..., Done], profile: Callable[..., str]
    ) -> None:
        done = house("--device=cpu", profile('T2 = { skip = "it takes an hour" }'))

        assert done.code == 0
        assert "2 not run: profile: it takes an hour" in done.output

    def test_claim_that_fails_as_foreseen_is_a_known_gap(
        self, house: Callable[..., Done], profile: Callable[..., str]
    ) -> None:
        done = house("--device=cpu", profile('T3 = { xfail = "rounds" }'), tests=TESTS)

        assert done.code == 0
        assert "2 claims held, 0 broken, 1 known gap, 0 not run (4 tests ran)" in done.output
        assert "1 known gap: profile: rounds" in done.output

    def test_line_is_stale_where_it_holds_and_not_judged_by_a_part_of_its_tests(
        self, house: Callable[..., Done], profile: Callable[..., str], tmp_path: Path
    ) -> None:
        line = profile('T2 = { xfail = "no sums" }')
        details = tmp_path / "spec" / "details"
        details.mkdir(parents=True)
        elsewhere = 'def test_running_sums_of_nothing():\n    """There are none."""'
        (details / "test_sums.py").write_text(elsewhere)
        tests = CLOSE.replace("test_running_sums_of_nothing", "running_sums_of_nothing").replace(
            "def test_running_sums(self, ",
            '@pytest.mark.parametrize("n", [2, 3])\n    def test_running_sums(self, n, ',
        )

        for part in ["--ignore=spec/details"], ["-k", "nothing or 2"]:
            assert house("--device=cpu", line, *part, tests=tests).code == 0
        done = house("--device=cpu", line, tests=tests)
        assert done.code == 1
        assert "T2 is stale: xfail, but every test of it held" in done.output

    def test_tolerance_widens_what_needs_it(
        self, house: Callable[..., Done], profile: Callable[..., str]
    ) -> None:
        wider = profile('T3 = { rtol = 1e-3, atol = 0.0, reason = "bfloat16 inside" }')

        assert house("--device=cpu", tests=TESTS).code == 1
        assert house("--device=cpu", wider, tests=TESTS).code == 0

    @needs_python_backends
    def test_profile_is_for_accelerators_and_leaves_the_cpu_alone(
        self, house: Callable[..., Done], profile: Callable[..., str]
    ) -> None:
        line = profile('T2 = { xfail = "no running sums yet" }', "pretend")
        lacks = pretend(**{"cumsum.out": missing})

        done = house("--device=cpu,pretend", line, prepare=lacks)

        assert done.code == 0
        assert "  cpu:         3 claims held, 0 broken, 0 not run" in done.output
        assert "  pretend:0:   2 claims held, 0 broken, 1 known gap, 0 not run" in done.output


class TestConformance:
    def test_file_holds_the_whole_table(self, house: Callable[..., Done], tmp_path: Path) -> None:
        file = tmp_path / "a.json"
        house("--device=cpu", f"--conformance={file}", tests=TESTS)

        written = json.loads(file.read_text())
        assert (written["format"], written["version"]) == ("blitz conformance", 2)
        environment = written["environment"]
        assert environment["torch"] == str(torch.__version__)
        named = (ROOT / "docs" / "conformance.md").read_text(encoding="utf-8")
        assert all(f"`{name}`" in named for name in [*written, *environment])
        assert all(f"`{name}`" in named for name in environment["devices"][0])
        assert [device["name"] for device in environment["devices"]] == ["cpu"]
        assert written["counts"]["cpu"]["claims"]["held"] == 2
        assert written["counts"]["cpu"]["tests"]["broken"] == 1
        assert (written["passed"], written["faults"]) == (False, [])
        assert [claim["key"] for claim in written["claims"]] == ["T1", "T2", "T3"]
        assert written["claims"][2]["devices"]["cpu"]["outcome"] == "broken"
        assert "AssertionError" in written["claims"][2]["devices"]["cpu"]["tests"][0]["reason"]
        assert written["claims"][0]["section"] == "https://example.org/tensors.html#joining"
        assert main(["compare", str(file), str(file)]) == 0


WITH_A_CRASH = CLOSE.replace(
    "assert torch.ones(0", "import os\n        os.abort()\n        torch.ones(0"
)


@pytest.fixture(scope="module")
def shared_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Done, Path]:
    """A run on two workers with a stale profile, in which a test kills its worker."""
    folder = tmp_path_factory.mktemp("house")
    small_house.make(folder, CONTENTS, WITH_A_CRASH)
    (folder / "profile.toml").write_text('device = "cpu"\n[claims]\nT3 = { xfail = "rounds" }')
    options = ["-n2", "--device=cpu", "--known-gaps=profile.toml", "--junitxml=report.xml"]
    return gate(folder, *options, "--conformance=result.json"), folder


class TestXdist:
    def test_crash_of_a_worker_breaks_the_claim_that_it_was_at(
        self, shared_run: tuple[Done, Path]
    ) -> None:
        done, _ = shared_run

        assert done.code == 1
        assert "crashed: the process died of SIGABRT" in done.output
        told = "  cpu:         2 claims held, 0 broken, 1 crashed, 0 not run (4 tests ran)"
        assert told in done.output

    def test_stale_line_is_found(self, shared_run: tuple[Done, Path]) -> None:
        assert "T3 is stale: xfail, but every test of it held" in shared_run[0].output

    def test_report_carries_key_device_verdict_and_section(
        self, shared_run: tuple[Done, Path]
    ) -> None:
        cases = ElementTree.parse(shared_run[1] / "report.xml").iter("testcase")
        found = {
            case.get("name"): {p.get("name"): p.get("value") for p in case.iter("property")}
            for case in cases
        }

        marks = found["test_sum_is_six[cpu]"]
        assert marks["claim"] == marks["key"] == "T1"
        assert (marks["device"], marks["verdict"], marks["outcome"]) == ("cpu", "holds", "held")
        assert marks["section"] == "https://example.org/tensors.html#joining"

    def test_result_holds_what_the_workers_did(self, shared_run: tuple[Done, Path]) -> None:
        written = json.loads((shared_run[1] / "result.json").read_text())

        assert [fault.split(":")[0] for fault in written["faults"]] == ["profile profile.toml"]
        assert written["counts"]["cpu"]["tests"] == {
            "not run": 0,
            "held": 3,
            "known gap": 0,
            "unsupported": 0,
            "broken": 0,
            "hung": 0,
            "crashed": 1,
        }

    def test_worker_gets_whole_chapters(self, tmp_path: Path) -> None:
        details = small_house.make_whole(tmp_path) / "details"
        (details / "test_joining.py").rename(details / "test_1.py")
        for folder in (details, details.parent):
            (folder / "__init__.py").touch()

        done = gate(tmp_path, "-n2", "-v", "--device=cpu,meta")

        ran = set(re.findall(r"\[(gw\d)\].* spec/(?:details/)?(test_\d)\.py", done.output))
        assert sorted(file for _, file in ran) == ["test_1", "test_2"]
        assert sorted(worker for worker, _ in ran) == ["gw0", "gw1"]
