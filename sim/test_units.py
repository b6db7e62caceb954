"""Every unit in every configuration: all stimuli, all stalls, reset, latency, throughput."""

from collections.abc import Callable

import pytest

from hw.config import UNITS, UnitConfig
from sim.configurations import configurations, counts_for
from sim.runner import BenchResult

pytestmark = pytest.mark.slow


def _label(config: UnitConfig) -> str:
    hidden = ("unit", "n", "m", "flexible", "dtype")
    shown = [f"{name}={value}" for name, value in config.parameters.items() if name not in hidden]
    return "-".join([config.top.removeprefix("nm_"), *shown])


@pytest.mark.parametrize(
    "config", [config for unit in UNITS for config in configurations(unit)], ids=_label
)
def test_unit(config: UnitConfig, bench: Callable[..., BenchResult]) -> None:
    counts, stalled_counts = counts_for(config)
    result = bench(config, counts=counts, stalled_counts=stalled_counts)
    # An unpacker takes words and gives groups.
    groups = result.checked if config.unit == "unpacker" else result.groups
    assert groups >= sum(counts.values()) + 3 * sum(stalled_counts.values())
    assert result.mismatched == 0
