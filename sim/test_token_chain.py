"""Captured tokens through the emitted statistics, correction and epilogue units."""

from functools import cache

import pytest

from hw.ports import input_payload, output_payload
from sim.seeded import Bench
from sim.words import payload_words
from tests.sw.token_chain import TokenChain

pytestmark = pytest.mark.slow


@cache
def chain() -> TokenChain:
    """What `tests/sw/test_token_chain.py` holds against the formulas."""
    return TokenChain(4, 16)


@pytest.mark.parametrize("unit", ["statistics", "correction", "epilogue"])
def test_unit_of_the_chain(unit: str, bench: Bench) -> None:
    config = chain().configs[unit]
    sent = payload_words(chain().sent[unit], input_payload(config))
    result = bench(config, given={"i": sent}, tests="without_stalls")
    expected = payload_words(chain().expected[unit], output_payload(config))
    assert result.outputs["without_stalls"]["o"] == expected
