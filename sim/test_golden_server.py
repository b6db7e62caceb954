"""The socket between a simulation and the golden model."""

from dataclasses import asdict

import pytest

from hw.config import UnitConfig
from sim.bench.golden import ask
from sim.bench.plan import Plan
from sim.golden_server import golden_server

CONFIG = UnitConfig(n=2, m=4, unit="encoder", metadata="enumerative", pipeline=0)


@pytest.fixture
def plan() -> Plan:
    return Plan(
        unit=asdict(CONFIG), counts={}, stalled_counts={}, seed=1, captured=None, given=None,
        report="", progress="",
    )  # fmt: skip


def test_questions_are_answered_one_after_another(plan: Plan) -> None:
    with golden_server(plan) as address:
        sent = ask(address, "stimuli", {"corners": 6}, 0)
        assert sorted(sent["i"]) == [(0b0011,), (0b0101,), (0b0110,), (0b1001,), (0b1010,), (12,)]
        # The ranks of two masks, from the definition: C(0, 1) + C(1, 2) and C(2, 1) + C(3, 2).
        assert ask(address, "expected", {"i": [(0b0011,), (0b1100,)]}) == {"o": [(0,), (5,)]}


def test_an_error_is_raised_where_the_question_was_asked(plan: Plan) -> None:
    with golden_server(plan) as address:
        with pytest.raises(KeyError, match="i"):
            ask(address, "expected", {})
        assert ask(address, "stimuli", {}, 0) == {"i": []}


def test_there_is_no_server_afterwards(plan: Plan) -> None:
    with golden_server(plan) as address:
        pass
    with pytest.raises(OSError):
        ask(address, "stimuli", {}, 0)
