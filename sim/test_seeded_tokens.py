"""Bugs in correction and epilogue, which the benches must find."""

import re
import types

import pytest

import hw.units
import hw.units.correction
import hw.units.epilogue
from hw.config import UnitConfig
from hw.emit import emit
from sim.seeded import Bench, expect_failure
from tests.mutant import mutant

pytestmark = pytest.mark.slow

CORRECTION = UnitConfig(n=2, m=4, unit="correction")
EPILOGUE = UnitConfig(n=2, m=4, unit="epilogue")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        # The results are said to be there a cycle before.
        ("self.done.eq(cycle == last)", "self.done.eq(cycle == last - 1)", "outputs differ"),
        # They are there a cycle later than could be.
        ("last = self._plan.cycles", "last = self._plan.cycles + 1", "groups entered every"),
        # The next token begins where the last one ended.
        ("ResetSignal() | self.release |", "ResetSignal() |", "outputs differ"),
    ],
)
def test_correction(
    old: str, new: str, message: str, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = mutant(hw.units.correction, old, new)
    expect_failure(bench, CORRECTION, _emit(CORRECTION, module, monkeypatch), message)


def test_epilogue_takes_the_bias_off(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bias = 'operands=("returned", "bias")'
    module = mutant(hw.units.epilogue, bias, f"subtract=True, {bias}")
    verilog = _emit(EPILOGUE, module, monkeypatch)
    expect_failure(bench, EPILOGUE, verilog, "outputs differ")


def test_epilogue_forgets_an_error(bench: Bench) -> None:
    verilog, count = re.subn(r"(\w*error\w*) <= \w+;", r"\1 <= 1'h0;", emit(EPILOGUE).verilog)
    assert count == 1
    expect_failure(bench, EPILOGUE, verilog, "outputs differ")


def _emit(config: UnitConfig, module: types.ModuleType, monkeypatch: pytest.MonkeyPatch) -> str:
    """Verilog of the unit as the module has it."""
    with monkeypatch.context() as patch:
        patch.setitem(hw.units._UNITS, config.unit, getattr(module, f"{config.unit}_unit"))
        return emit(config).verilog
