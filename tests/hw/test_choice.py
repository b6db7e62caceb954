"""What ``auto`` stands for, with a table of our own."""

import dataclasses
import json

import pytest

import hw.choice
from hw.choice import Measured, choose, serial_cycles
from hw.config import GOALS, SELECTORS, UnitConfig


def row(selector, area, delay, *, n=8, m=16, key_width=15, pipeline=1, interval=1):
    return Measured(
        selector=selector, n=n, m=m, key_width=key_width, pipeline=pipeline, interval=interval,
        area=area, delay=delay,
    )  # fmt: skip


#: At 8:16: the smallest is serial and would be the densest if its interval did not count; the
#: compare matrix is fast; the merge is dense.  At 2:4 the network is all of it.
ROWS = [
    row("threshold_serial", 300, 0.5, interval=20),
    row("threshold_search", 900, 6.0),
    row("compare_matrix", 3000, 1.0),
    row("rank_merge", 1400, 1.5),
    row("rank_merge", 1600, 1.1, pipeline=2),
    row("compare_matrix", 3400, 0.6, pipeline=2),
    row("compare_matrix", 3900, 0.4, pipeline=4),
    row("selection_network", 1000, 9.0, pipeline=0),
    row("selection_network", 200, 0.3, n=2, m=4),
    row("compare_matrix", 250, 0.4, n=2, m=4),
    row("compare_matrix", 400, 0.2, n=2, m=4, key_width=4),
    row("rank_merge", 100, 0.1, n=1, m=16),
]


@pytest.fixture
def use(tmp_path, monkeypatch):
    """Put a table in the place of the measured one."""

    def replace(rows):
        path = tmp_path / "table.json"
        path.write_text(json.dumps({"rows": [dataclasses.asdict(entry) for entry in rows]}))
        monkeypatch.setattr(hw.choice, "TABLE", path)
        hw.choice.table.cache_clear()

    yield replace
    monkeypatch.undo()
    hw.choice.table.cache_clear()


@pytest.fixture
def table(use):
    use(ROWS)


def chosen(goal, *, n=8, m=16, key_width=15, pipeline=1, selectors=SELECTORS):
    return choose(n=n, m=m, key_width=key_width, goal=goal, selectors=selectors, pipeline=pipeline)


@pytest.mark.usefixtures("table")
class TestChoice:
    def test_goals(self):
        assert chosen("area") == ("threshold_serial", 1)
        assert chosen("delay") == ("compare_matrix", 1)
        # Area times delay: 5400, 3000, 2100; the serial one 3000 with its interval, 150 without.
        assert chosen("density") == ("rank_merge", 1)

    def test_stages_by_themselves(self):
        assert chosen("area", pipeline=None) == ("threshold_serial", 1)
        assert chosen("delay", pipeline=None) == ("compare_matrix", 4)
        assert chosen("density", pipeline=None) == ("compare_matrix", 4)
        assert chosen("density", pipeline=None, selectors=("rank_merge",)) == ("rank_merge", 2)

    def test_only_area_takes_a_serial_one(self):
        others = [entry for entry in ROWS if entry.selector != "threshold_serial"]
        for goal in ("delay", "density"):
            for pipeline in (None, 0, 1, 5):
                name, _ = chosen(goal, pipeline=pipeline)
                assert name in {entry.selector for entry in others}

    def test_a_serial_one_that_is_named(self):
        for goal in GOALS:
            serial = ("threshold_serial",)
            assert chosen(goal, selectors=serial) == ("threshold_serial", 1)
            assert chosen(goal, selectors=serial, pipeline=None) == ("threshold_serial", 1)

    def test_stages_that_were_not_measured(self):
        """The nearest number of stages counts, and the number asked for stays."""
        assert chosen("density", pipeline=0) == ("selection_network", 0)
        assert chosen("area", pipeline=9) == ("compare_matrix", 9)
        assert chosen("density", pipeline=2) == ("rank_merge", 2)

    def test_nearest_pattern(self):
        assert chosen("area", n=2, m=4) == ("selection_network", 1)
        assert chosen("area", n=3, m=5) == ("selection_network", 1)
        assert chosen("area", n=30, m=64) == ("threshold_serial", 1)
        # Size first, then the share that is kept, then the key.
        assert chosen("delay", n=2, m=16) == ("rank_merge", 1)
        assert chosen("area", n=4, m=4, key_width=3) == ("compare_matrix", 1)
        assert chosen("area", n=2, m=4, key_width=14) == ("selection_network", 1)

    def test_of_some_architectures(self):
        assert chosen("area", selectors=("compare_matrix", "rank_merge")) == ("rank_merge", 1)
        # One that was never measured, and no number asked for.
        assert chosen("area", selectors=("unknown",), pipeline=None) == ("unknown", 1)
        assert chosen("area", selectors=("unknown",), pipeline=7) == ("unknown", 7)

    def test_configurations(self):
        config = UnitConfig(n=8, m=16, goal="area", unit="selector")
        assert (config.resolved_selector, config.is_serial) == ("threshold_serial", True)
        assert config.initiation_interval == 20
        config = UnitConfig(n=8, m=16, goal="delay", pipeline="auto")
        assert (config.resolved_selector, config.pipeline) == ("compare_matrix", 4)
        assert config.latency_cycles == 4
        assert config.command.endswith("--pipeline 4")
        # The nearest key counts.
        config = UnitConfig(n=2, m=4, goal="area", score_bits=4)
        assert config.resolved_selector == "compare_matrix"

    @pytest.mark.parametrize("goal", GOALS)
    @pytest.mark.parametrize(
        "options", [{"n": 8, "m": 16, "n_runtime": True}, {"flexible": ((2, 4), (8, 16))}]
    )
    def test_what_is_chosen_at_run_time_has_one_architecture(self, goal, options):
        config = UnitConfig(goal=goal, pipeline="auto", **options)
        assert config.resolved_selector == "compare_matrix"
        assert config.pipeline in {e.pipeline for e in ROWS if e.selector == "compare_matrix"}


@pytest.mark.parametrize("pipeline", [None, 0, 1, 3])
@pytest.mark.parametrize("goal", GOALS)
def test_an_empty_table(goal, pipeline, use):
    use([])
    assert chosen(goal, pipeline=pipeline) == (SELECTORS[0], 1 if pipeline is None else pipeline)


@pytest.mark.parametrize(
    ("m", "key_width", "bits_per_cycle", "cycles"),
    [(2, 1, 1, 2), (16, 15, 1, 19), (17, 15, 1, 20), (16, 15, 2, 10), (16, 15, 19, 1)],
)
def test_cycles_of_a_search(m, key_width, bits_per_cycle, cycles):
    assert serial_cycles(m=m, key_width=key_width, bits_per_cycle=bits_per_cycle) == cycles


@pytest.mark.parametrize("goal", GOALS)
@pytest.mark.parametrize(("n", "m"), [(2, 4), (8, 16), (16, 32), (1, 64)])
def test_the_measured_table(goal, n, m):
    config = UnitConfig(n=n, m=m, goal=goal, pipeline="auto")
    assert config.resolved_selector in SELECTORS
    assert goal == "area" or config.initiation_interval == 1
    assert config.stages >= 1
