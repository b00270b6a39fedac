"""Proof of work: what counts as computed on a device, and what is said where nothing was."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from blitz.harness.work import Idle, Work

CPU, META = torch.device("cpu"), torch.device("meta")


def calls_counted(call: Any, device: torch.device = META) -> int:
    work = Work(device)
    with work:
        call()
    return work.count


@pytest.mark.parametrize(
    ("call", "count"),
    [
        (lambda: torch.ones(2, device="meta"), 1),
        (lambda: torch.ones(2, device="meta").view(1, 2), 2),
        (lambda: torch.ones(2), 0),
        (lambda: torch.stack([torch.ones(2, device="meta")] * 2), 2),
        (lambda: torch.ones(2, device="meta").unbind(), 2),
        (lambda: torch.ones(2, device="meta").size(), 2),
        (lambda: torch.ones(2).size(), 0),
    ],
    ids=["made", "made_and_used", "elsewhere", "in_a_list", "gives_a_tuple", "takes", "takes_not"],
)
def test_calls_that_take_or_give_a_tensor_of_the_device_are_counted(call: Any, count: int) -> None:
    assert calls_counted(call) == count


def test_calls_give_what_they_give_unwatched() -> None:
    with Work(CPU):
        found = torch.full((2,), fill_value=3.0, dtype=torch.float64)

    assert found.tolist() == [3.0, 3.0]
    assert found.dtype is torch.float64


def test_test_in_which_nothing_was_computed_there_is_idle() -> None:
    work = Work(META)

    with work:
        torch.ones(2)

    with pytest.raises(Idle) as idle:
        work.check()
    assert str(idle.value) == (
        "nothing in this test gave a tensor on meta: whatever it checked was computed elsewhere"
    )


def test_test_that_computed_there_is_not() -> None:
    work = Work(META)

    with work:
        torch.ones(2, device="meta")

    work.check([torch.ones(2)])


there, here = torch.ones(2, device="meta"), torch.ones(2)


@pytest.mark.parametrize(
    ("made", "found"),
    [
        ([there], True),
        ([here], False),
        ([here, there], True),
        ([[1, (here, there)]], True),
        ([nn.Linear(1, 1, device="meta")], True),
        ([nn.Linear(1, 1)], False),
        ([nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1, device="meta"))], True),
        ([SimpleNamespace(name="run", loss=there)], True),
        ([SimpleNamespace(losses=[here, there])], True),
        ([SimpleNamespace(run=SimpleNamespace(loss=there))], True),
        ([[SimpleNamespace(run=SimpleNamespace(loss=there))]], True),
        ([SimpleNamespace(a=SimpleNamespace(b=SimpleNamespace(loss=there)))], False),
        ([SimpleNamespace(loss=here)], False),
        ([3, "meta", None], False),
    ],
)
def test_fixtures_are_looked_into_two_objects_deep(made: list[Any], found: bool) -> None:
    work = Work(META)

    if found:
        work.check(made)
    else:
        with pytest.raises(Idle):
            work.check(made)


def test_objects_that_a_call_takes_are_not_looked_into() -> None:
    work = Work(META)

    given = work.__torch_function__(len, (), ([SimpleNamespace(loss=there)],))

    assert (given, work.count) == (1, 0)
