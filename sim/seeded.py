"""Building a bug into a unit, and expecting that the bench finds it."""

from collections.abc import Callable

import pytest

from hw.config import UnitConfig
from hw.emit import emit
from sim.runner import BenchError, BenchResult

__all__ = ["Bench", "emit_with", "expect_failure"]

_COUNTS = {"random": 100, "ties": 100, "corners": 100}
_STALLED = {"random": 60}

Bench = Callable[..., BenchResult]


def expect_failure(bench: Bench, config: UnitConfig, verilog: str, message: str) -> None:
    """The bench finds this Verilog, which is not the correct one, wrong, with that message."""
    sound = emit(config).verilog
    assert verilog != sound, "the bug is not in the Verilog"
    with pytest.raises(BenchError, match=message):
        bench(config, counts=_COUNTS, stalled_counts=_STALLED, verilog=verilog)


def emit_with(
    monkeypatch: pytest.MonkeyPatch, config: UnitConfig, place: object, name: str, bug: object
) -> str:
    """Verilog of a unit with `bug` in the place of ``place.name``."""
    with monkeypatch.context() as patch:
        patch.setattr(place, name, bug)
        return emit(config).verilog
