import re
from contextlib import closing
from dataclasses import replace

import pytest

from hw.config import UnitConfig
from synth.area import AreaResult, Design, area, areas, default_jobs, each
from synth.flow import DEFAULT_FLOW, SynthesisError

NAND = Design("module gate(input a, b, output y); assign y = ~(a & b); endmodule", "gate")
WIRE = Design("module wire_(input a, output y); assign y = a; endmodule", "wire_")


def test_unit():
    result = area(UnitConfig(n=2, m=4, unit="selector", dtype="int4"))
    assert isinstance(result, AreaResult)
    assert result.name == "nm_selector_2_4_int4"
    assert result.pattern == "2:4"
    assert result.parameters == UnitConfig(n=2, m=4, unit="selector", dtype="int4").parameters
    assert result.area == result.nand2 == result.combinational + result.sequential > 0
    assert result.cells == sum(result.cell_types.values())
    assert (result.area_unit, result.library) == ("NAND2eq", "nmsparse_generic")
    assert result.flow == DEFAULT_FLOW
    # Mask and valid bit are registered, with or without a buffer before them.
    assert result.sequential >= 5 * 6
    assert result.note is None


@pytest.mark.usefixtures("sta")
def test_delay(delays):
    result = area(UnitConfig(n=2, m=4, unit="decoder"), library=delays, flow="timed")
    # The register's own times and a few gates.
    assert 0.625 < result.delay_ns < 5
    assert result.path_start
    assert result.path_end
    assert result.timing.startswith("OpenSTA ")
    assert (result.timing_note, result.is_estimate) == (None, False)
    assert result.initiation_interval == 1
    assert result.density == pytest.approx(1e15 / (result.area * result.delay_ns))


def test_no_delay():
    result = area(NAND)
    assert (result.delay_ns, result.path_start, result.path_end, result.timing) == (None,) * 4
    assert result.timing_note == "library nmsparse_generic has no delays"
    assert result.density is None


def test_density():
    result = replace(
        area(UnitConfig(n=2, m=4, unit="decoder")),
        area=2e4,
        area_unit="um2",
        delay_ns=2.0,
        initiation_interval=5,
    )
    # 100 million groups a second on a fiftieth of a square millimetre.
    assert result.density == pytest.approx(5e9)
    changes = (
        {"area_unit": "NAND2eq"},
        {"delay_ns": None},
        {"delay_ns": 0.0},
        {"area": 0.0},
        {"initiation_interval": None},
        {"is_estimate": True},
    )
    for change in changes:
        assert replace(result, **change).density is None


@pytest.mark.usefixtures("sta")
def test_no_density_without_registers(delays):
    design = UnitConfig(n=2, m=4, unit="decoder", pipeline=0)
    result = area(design, library=delays)
    assert result.delay_ns > 0
    assert result.initiation_interval is None
    assert area(NAND, library=delays).initiation_interval is None


@pytest.mark.usefixtures("sta")
def test_interval_of_a_unit_without_a_pipeline(delays):
    options = {"n": 2, "m": 4, "unit": "selector", "dtype": "int4", "pipeline": 0}
    result = area(UnitConfig(selector="threshold_serial", **options), library=delays)
    # One bit a cycle, so that it has registers all the same.
    assert result.initiation_interval == 7
    assert result.density == pytest.approx(1e15 / (result.area * result.delay_ns * 7))


def test_each():
    items = ["small", "large", "wrong"]
    seen = []

    def work(item, cancel):
        seen.append(item)
        if item == "wrong":
            raise ValueError(item)
        return cancel

    with closing(each(items, work, size=len, jobs=1)) as finished:
        futures = dict(finished)
    # Those of one size in their order.
    assert seen == items
    assert str(futures[2].exception()) == "wrong"
    # Nothing is left to be cancelled by then.
    assert futures[0].result() is not futures[1].result()


def test_each_is_closed():
    events = []

    def work(item, cancel):
        events.append(cancel)
        if item:
            assert cancel.wait(30)

    finished = each([0, 1, 2], work, size=lambda item: -item, jobs=1)
    place, future = next(finished)
    assert (place, future.result()) == (0, None)
    finished.close()
    # The second was under way at most, the third never began.
    assert len(events) <= 2
    assert all(event.is_set() for event in events)


def test_netlist():
    assert area(NAND).netlist is None
    (result,) = areas([NAND], netlist=True)
    assert re.search(r"module gate\(.*nand2 cell_0 \(", result.netlist, re.DOTALL)


def test_pattern_and_pipeline_cost_area():
    small, large, combinational = (
        area(UnitConfig(n=n, m=m, unit="selector", dtype="int4", pipeline=pipeline))
        for n, m, pipeline in ((2, 4, 1), (4, 8, 1), (2, 4, 0))
    )
    assert small.area < large.area
    assert combinational.sequential == 0
    assert combinational.area < small.area


def test_wires():
    result = area(WIRE)
    assert result.area == result.cells == result.longest_path == 0
    assert result.note == "wire_ has no cells: its outputs are inputs or constants"
    assert result.parameters == {}
    assert result.pattern is None
    encoder = area(UnitConfig(n=2, m=4, unit="encoder", metadata="bitmap", pipeline=0))
    assert encoder.area == 0


def test_equivalents(sky130):
    result = area(NAND, library=sky130)
    assert (result.area, result.nand2, result.area_unit) == (3.7536, 1.0, "um2")


def test_areas_keep_the_order_and_tell_progress():
    designs = [
        NAND,
        UnitConfig(n=2, m=4, unit="decoder"),
        WIRE,
        UnitConfig(n=4, m=8, unit="decoder"),
    ]
    seen = []
    results = areas(designs, jobs=2, done=seen.append)
    assert [result.name for result in results] == [
        "gate",
        "nm_decoder_2_4_bitmap",
        "wire_",
        "nm_decoder_4_8_bitmap",
    ]
    assert sorted(map(id, seen)) == sorted(map(id, results))
    assert areas([]) == []


def test_first_error_ends_all():
    wrong = Design("module wrong(input a, output y); endmodule", "wrong")
    with pytest.raises(SynthesisError) as caught:
        areas([NAND, wrong, NAND], jobs=1)
    assert str(caught.value) == "wrong: every output must be driven, but y is not"


def test_jobs():
    assert default_jobs() >= 1
