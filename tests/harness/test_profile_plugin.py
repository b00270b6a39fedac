"""A backend's profile at work: what it does to the tests, and which of its lines are stale."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from blitz.harness import profile_plugin
from blitz.harness.contents import Claim
from blitz.harness.outcomes import (
    BROKEN,
    HELD,
    KNOWN,
    NOT_RUN,
    PROFILE,
    Outcome,
    get_property,
    put_property,
)
from blitz.harness.profile import Line, Profile
from blitz.harness.profile_plugin import ProfilePlugin
from blitz.harness.texts import Message
from tests.harness.test_profile import CPU, CUDA, LINES, PATH, SKIP, WIDER, XFAIL

pytest_plugins = ["pytester"]


class Item:
    """A test as far as a profile looks at it."""

    def __init__(self, key: str | None, device: torch.device | None = CUDA) -> None:
        self.user_properties = [] if key is None else [("claim", key)]
        self.callspec = SimpleNamespace(params={} if device is None else {"device": device})
        self.marks: list[Any] = []

    def add_marker(self, mark: Any) -> None:
        self.marks.append(mark)

    @property
    def done(self) -> str | None:
        """What the profile did to it."""
        return get_property(self.user_properties, PROFILE)


def applied(**lines: Line) -> ProfilePlugin:
    return ProfilePlugin(Profile(PATH, lines or LINES), alone=False)


class TestProfilePlugin:
    def test_tests_get_the_line_of_their_claim_and_device(self) -> None:
        items = [Item("T1"), Item("T1", CPU), Item("T1", None), Item(None), Item("T9"), Item("T2")]

        lines = [applied().line_of(item) for item in items]

        assert lines == [SKIP, None, None, None, None, XFAIL]
        assert ProfilePlugin(Profile(PATH, LINES), alone=True).line_of(Item("T1", CPU)) == SKIP

    def test_tests_are_marked_and_skipped(self) -> None:
        items = [Item("T9"), Item("T1"), Item("T2"), Item("T3"), Item("T3", CPU)]

        applied().apply(items)

        assert [item.done for item in items] == [None, "skip", "xfail", "tolerance", None]
        assert [len(item.marks) for item in items] == [0, 1, 0, 0, 0]
        (skip,) = items[1].marks
        assert (skip.name, skip.kwargs) == ("skip", {"reason": "profile: too long"})

    def test_claims_are_whole_whose_tests_are_all_there(self, pytester: pytest.Pytester) -> None:
        items = pytester.getitems(
            "import pytest\n"
            "@pytest.mark.parametrize('device', ['cpu', 'meta'])\n"
            "def test_one(device): pass\n"
            "def test_two(): pass\n"
            "def test_three(): pass\n"
            "def test_four(): pass\n"
            "def test_nobodys(): pass\n"
        )
        for item, key in zip(items, ["T1", "T1", "T1", "T2", "T3"], strict=False):
            put_property(item, "claim", key)
        claims = [
            *(Claim("T1", ("one", "two")), Claim("T2", ("three", "five"))),
            *(Claim("T3", ("four",)), Claim("T4", ("six",))),
        ]
        contents: Any = SimpleNamespace(claims=lambda: ((claim, None) for claim in claims))
        file = Item("T4")
        judge = applied()
        assert judge.whole == set()

        judge.collected([file, *items], contents)
        assert judge.whole == {"T1", "T3"}
        judge.pytest_deselected([Item("T3"), Item(None)])
        judge.collected(items, contents)
        assert judge.whole == {"T1"}


class TestWidening:
    @pytest.fixture(autouse=True)
    def _restored(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.testing, "assert_close", torch.testing.assert_close)

    def call(self, judge: ProfilePlugin, item: Item, work: Callable[[], object]) -> Any:
        """Run ``work`` as the test ``item``; what the hook returns for it."""
        hook = judge.pytest_runtest_call(item)
        assert next(hook) is None
        try:
            done = work()
        except AssertionError as error:
            return hook.throw(error)
        with pytest.raises(StopIteration) as stopped:
            hook.send(done)
        return stopped.value.value

    def close(self, difference: float, **options: Any) -> Callable[[], str]:
        def close() -> str:
            torch.testing.assert_close(torch.tensor(difference), torch.tensor(0.0), **options)
            return "close"

        return close

    def test_is_undone_and_not_begun_where_no_line_needs_it(self) -> None:
        ours = torch.testing.assert_close

        undo = applied(T2=XFAIL).widen()
        assert torch.testing.assert_close is ours
        undo()
        undo = applied(T3=WIDER).widen()
        assert torch.testing.assert_close is not ours
        undo()
        assert torch.testing.assert_close is ours

    @pytest.mark.parametrize(
        ("key", "difference", "done"),
        [("T3", 0.0, "tolerance"), ("T3", 0.4, "tolerance needed"), ("T2", 0.0, "xfail")],
    )
    def test_needed_tolerance_is_noted(self, key: str, difference: float, done: str) -> None:
        judge, item = applied(), Item(key)
        judge.apply([item])
        judge.widen()

        assert self.call(judge, item, self.close(difference)) == "close"
        assert item.done == done

    @pytest.mark.parametrize(("key", "difference"), [("T3", 0.6), ("T2", 0.4), (None, 0.4)])
    def test_what_is_farther_off_fails(self, key: str | None, difference: float) -> None:
        judge, item = applied(), Item(key)
        judge.apply([item])
        judge.widen()
        before = item.done

        with pytest.raises(AssertionError, match="Scalars are not close"):
            self.call(judge, item, self.close(difference))
        assert item.done == before

    def test_failure_after_a_needed_tolerance_is_noted_too(self) -> None:
        judge, item = applied(), Item("T3")
        judge.widen()

        def work() -> None:
            self.close(0.4)()
            raise AssertionError("another")

        with pytest.raises(AssertionError, match="another"):
            self.call(judge, item, work)
        assert item.done == "tolerance needed"
        with pytest.raises(AssertionError):
            self.close(0.4)()  # no longer in force

    @pytest.mark.parametrize(
        ("least", "given", "dtype", "asked"),
        [
            ((1e-2, 0.0), {}, torch.float32, {"rtol": 1e-2, "atol": 1e-5}),
            ((0.0, 0.5), {}, torch.float32, {"rtol": 1.3e-6, "atol": 0.5}),
            ((0.0, 1e-2), {}, torch.bfloat16, {"rtol": 1.6e-2, "atol": 1e-2}),
            ((1e-3, 0.0), {}, torch.float64, {"rtol": 1e-3, "atol": 1e-7}),
            ((1e-2, 0.5), {"rtol": 0.1, "atol": 0.7}, torch.float32, {"rtol": 0.1, "atol": 0.7}),
            ((1e-2, 0.5), {"atol": 0.1}, torch.float32, {"rtol": 1e-2, "atol": 0.5}),
        ],
    )
    def test_least_tolerances_widen_those_of_the_test_or_of_the_dtype(
        self,
        least: tuple[float, float],
        given: dict[str, float],
        dtype: torch.dtype,
        asked: dict[str, float],
    ) -> None:
        calls: list[dict[str, Any]] = []

        def refuse_once(*values: Any, **options: Any) -> None:
            calls.append(options)
            assert len(calls) > 1

        heeding = profile_plugin.widening(refuse_once)
        with profile_plugin.widened(9.0, 9.0), profile_plugin.widened(*least) as use:
            heeding(
                {"sums": [torch.ones(2, dtype=dtype)]},
                {"sums": [torch.ones(2, dtype=dtype)]},
                **given,
            )

        assert use == profile_plugin.Use(*least, needed=True)
        assert calls == [given, asked]

    def test_tolerance_that_was_not_needed_or_not_enough_is_not_noted(self) -> None:
        heeding = profile_plugin.widening(torch.testing.assert_close)
        one, other = torch.tensor(1.0), torch.tensor(2.0)

        with profile_plugin.widened(0.1, 0.1) as use:
            heeding(one, one)
            assert not use.needed
            with pytest.raises(AssertionError):
                heeding(one, other)
            assert not use.needed
            heeding(one, one + 0.05)
            assert use.needed

    def test_report_of_a_failure_does_not_show_it(self) -> None:
        heeding = profile_plugin.widening(torch.testing.assert_close)

        with profile_plugin.widened(0.1, 0.1), pytest.raises(AssertionError) as caught:
            heeding(torch.tensor(1.0), torch.tensor(2.0))

        (ours,) = (
            frame for frame in caught.traceback if frame.path == Path(profile_plugin.__file__)
        )
        assert ours.ishidden(caught)


class TestStale:
    @pytest.mark.parametrize(
        ("key", "outcomes", "fault"),
        [
            ("T1", [(NOT_RUN, "skip")], None),
            ("T1", [(HELD, "skip")], None),
            ("T2", [(KNOWN, "xfail")], None),
            ("T2", [(HELD, "xfail"), (KNOWN, "xfail")], None),
            ("T2", [(HELD, "xfail"), (HELD, "xfail")], "fault.stale_xfail"),
            ("T2", [(HELD, "xfail"), (NOT_RUN, "xfail")], "fault.stale_xfail"),
            ("T2", [(HELD, "xfail"), (KNOWN, "")], "fault.stale_xfail"),
            ("T2", [(NOT_RUN, "xfail")], None),
            ("T2", [(HELD, "")], None),
            ("T2", [], None),
            ("T3", [(HELD, "tolerance")], "fault.stale_tolerance"),
            ("T3", [(HELD, "tolerance"), (HELD, "tolerance needed")], None),
            ("T3", [(HELD, "tolerance"), (BROKEN, "tolerance")], None),
            ("T3", [(NOT_RUN, "tolerance")], None),
        ],
    )
    def test_lines_that_the_run_refutes(
        self, key: str, outcomes: list[tuple[str, str]], fault: str | None
    ) -> None:
        results: Any = [Outcome("x", key, "cuda:0", state, "", did) for state, did in outcomes]
        results.append(Outcome("y", "T9", "cuda:0", KNOWN, "", "xfail"))
        judge = applied()
        assert judge.stale(results) == []  # no claim's tests are known to be all there
        judge.whole = {"T1", "T2", "T3"}

        faults = [] if fault is None else [Message(fault, {"profile": "backend.toml", "key": key})]
        assert judge.stale(results) == faults

    def test_every_line_is_judged(self) -> None:
        judge = applied(T2=XFAIL, T3=WIDER, T5=Line("T5", "xfail", "no pool"))
        judge.whole = {"T2", "T3", "T5"}
        results: Any = [
            Outcome("x", "T2", "cuda:0", NOT_RUN, "", "xfail"),
            Outcome("x", "T3", "cuda:0", HELD, "", "tolerance"),
            Outcome("x", "T5", "cuda:0", HELD, "", "xfail"),
        ]

        assert [message.values["key"] for message in judge.stale(results)] == ["T3", "T5"]
