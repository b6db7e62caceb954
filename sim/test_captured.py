"""Captured activations through the sparsifier, many of them, for the main patterns."""

from collections.abc import Callable

import pytest

from hw.config import UnitConfig
from sim.captured import Captured
from sim.configurations import MAIN_PATTERNS
from sim.runner import BenchResult
from sw.activations import read_activations

pytestmark = pytest.mark.slow


# The largest pattern takes longest: it starts first.
@pytest.mark.parametrize(("n", "m"), MAIN_PATTERNS[::-1])
def test_captured_groups(
    n: int,
    m: int,
    bench: Callable[..., BenchResult],
    captured: Captured,
    pytestconfig: pytest.Config,
) -> None:
    asked = pytestconfig.getoption("--groups")
    available = len(read_activations(captured.path).groups(m))
    if captured.from_model:
        assert available >= asked, f"{available} groups were captured, {asked} are asked for"
    count = min(asked, available)
    result = bench(
        UnitConfig(n=n, m=m), counts={"captured": count}, stalled_counts={"captured": 500}
    )
    print(f"{n}:{m}: {count} distinct captured groups, {result.mismatched} mismatches")
    assert result.checked >= count
    assert result.mismatched == 0
