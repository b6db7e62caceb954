"""Bugs in the dot product of floating-point numbers, which the bench must find."""

import pytest

import hw.dot_products
import hw.dot_products.float
from hw.config import UnitConfig
from hw.emit import emit
from sim.seeded import Bench, expect_failure
from tests.mutant import mutant

pytestmark = pytest.mark.slow

#: With so few bits much falls off.
CONFIG = UnitConfig(n=2, m=4, unit="pe", dtype="fp8_e5m2", metadata="index", align_bits=8)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        # An illegal group counts.
        ("~group.error)", "group.error | ~group.error)"),
        # It does not count, but its exponent does.
        ("Mux(legal, group.reference, self._sum.least)", "group.reference"),
        # So does the exponent of a product with 0.
        ("exponent & counts.replicate(self._exponent_width)", "exponent"),
        # Infinity times 0 is infinity.
        ("second.is_nan | undefined", "second.is_nan"),
        # The sign is that of the activation.
        ("first.sign ^ second.sign", "first.sign"),
        # Infinities of both signs give one of them.
        ('(seen["above"] & seen["below"])', '(seen["above"] & seen["nan"])'),
        # NaN stays for the next reduction.
        ("(flag & ~fresh)", "flag"),
        # A subnormal has the exponent that its field says.
        ("number.exponent[0] | ~number.is_normal", "number.exponent[0]"),
    ],
)
def test_bug(old: str, new: str, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    module = mutant(hw.dot_products.float, old, new)
    with monkeypatch.context() as patch:
        patch.setitem(hw.dot_products._KINDS, "float", module.FloatDotProduct)
        verilog = emit(CONFIG).verilog
    expect_failure(bench, CONFIG, verilog, "outputs differ")
