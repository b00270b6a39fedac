"""Tests that were collected, held against the table of contents."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from blitz.harness import contents, outcomes
from blitz.harness.claim_check import ClaimCheckPlugin
from blitz.harness.selection import META, Selected, Selection
from tests import small_house

TESTS = '''
class TestJoining:
    def test_sum(self, device):
        """Sums are sums."""
'''

SELECTION = Selection((Selected("cpu", "cpu"), Selected("xpu", "xpu:0"), META))


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    return small_house.make(tmp_path, small_house.PAGE + 'T1 = ["sum"]', TESTS)


class Profile:
    """A profile that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def apply(self, items: list[Any]) -> None:
        self.told += [("apply", [dict(item.user_properties)["claim"] for item in items])]

    def collected(self, items: list[Any], table: contents.Contents) -> None:
        self.told += [("collected", items, [claim.key for claim, _ in table.claims()])]


def make(spec: Path, profile: Any = None) -> ClaimCheckPlugin:
    return ClaimCheckPlugin(spec, lambda: contents.load(spec / "contents.toml"), SELECTION, profile)


def item(path: Path, **more: Any) -> Any:
    made: Any = pytest.Function.__new__(pytest.Function)
    more |= {"path": path, "originalname": "test_sum", "user_properties": []}
    for name, value in more.items():
        setattr(made, name, value)
    return made


def never() -> contents.Contents:
    raise AssertionError("the contents are read")


def test_test_of_a_claim_is_given_what_it_claims_and_where_it_runs(spec: Path) -> None:
    profile = Profile()
    on = SimpleNamespace(params={"device": torch.device("xpu:1")})
    test, other = item(spec / "test_1.py", callspec=on), item(spec / "bench_throughput.py")
    other.originalname = "test_speed"

    make(spec, profile).pytest_collection_modifyitems([test])
    make(spec).pytest_collection_modifyitems([other])

    said = dict(test.user_properties)
    assert (said["claim"], said["device"], said["sentence"]) == ("T1", "xpu:1", "Sums are sums.")
    assert other.user_properties == []
    assert profile.told == [("apply", ["T1"])]


def test_tests_that_lie_elsewhere_are_passed_over(spec: Path) -> None:
    elsewhere = item(spec.parent / "test_1.py")

    ClaimCheckPlugin(spec, never, SELECTION, None).pytest_collection_modifyitems([elsewhere])

    assert elsewhere.user_properties == []


def test_profile_hears_what_is_left_to_run(spec: Path) -> None:
    profile, session = Profile(), SimpleNamespace(items=["one test"])

    make(spec, profile).pytest_collection_finish(session)
    ClaimCheckPlugin(spec, never, SELECTION, None).pytest_collection_finish(session)

    assert profile.told == [("collected", ["one test"], ["T1"])]


@pytest.mark.parametrize(
    ("node", "found"),
    [
        ("spec/test_1.py::TestJoining::test_sum[cpu-3]", ("T1", "cpu")),
        ("spec/test_1.py::TestJoining::test_sum[xpu]", ("T1", "xpu:0")),
        ("spec/test_1.py::TestJoining::test_sum[3-meta]", ("T1", "meta")),
        ("spec/test_1.py::TestJoining::test_sum", ("T1", "no device")),
        ("spec/test_1.py::TestJoining::test_sum[3]", ("T1", "no device")),
        ("spec/test_1.py::TestJoining::test_mean[cpu]", None),
        ("tests/test_2.py::test_sum[cpu]", None),
    ],
)
def test_key_and_device_are_found_by_the_id_alone(
    spec: Path, node: str, found: tuple[str, str] | None
) -> None:
    located = make(spec).locate(node)

    assert found == (None if located is None else (located[0].claim.key, located[1]))


@pytest.mark.parametrize(
    ("params", "mark", "name"),
    [
        ({"device": torch.device("xpu:1")}, None, "xpu:1"),
        ({"device": None}, None, "cpu"),
        ({"device": None}, ("accelerator", "meta"), "accelerator"),
        ({"other": 3}, ("meta",), "no device"),
        (None, None, "no device"),
    ],
    ids=str,
)
def test_device_of_a_test_or_the_kind_that_is_missing(
    params: dict[str, Any] | None, mark: tuple[str, ...] | None, name: str
) -> None:
    marks = {"on": None if mark is None else SimpleNamespace(args=mark)}
    test = SimpleNamespace(get_closest_marker=marks.__getitem__)
    if params is not None:
        test.callspec = SimpleNamespace(params=params)

    assert outcomes.device_name(test) == name
