"""A study of four units with made-up tools, for tests of what is around the tools."""

import re

import pytest

from synth.area import AreaResult
from synth.process import SynthesisError
from synth.report import main

#: The study on the command line.
TINY = "--selectors compare_matrix,threshold_serial --patterns 2:4 --key-widths 8 --pipelines 0,1"

#: Area and delay of each unit of the tiny table.
COSTS = {
    ("compare_matrix", 0): (400.0, 2.0),
    ("compare_matrix", 1): (500.0, 1.0),
    ("threshold_serial", 0): (200.0, 4.0),
    ("threshold_serial", 1): (250.0, 1.0),
}


class Tools:
    """Generator, synthesis and timing in their places, which count what they are asked for.

    They tell units apart by a key.
    """

    def __init__(self):
        self.emitted = []
        self.measured = []
        self.costs = dict(COSTS)
        self.failures = {}
        self.body = "module"
        self.header = "// made today\n"
        self.generator = "a generator"
        self.sta = "OpenSTA 1.2"

    def verilog(self, config, cancel):
        self.emitted.append(self.key(config))
        if self.failures.get(self.key(config)) == "slow":
            assert cancel.wait(30)
            raise SynthesisError("the synthesis was cancelled")
        return f"{self.header}\n{self.body} {self.key(config)}\n"

    def area(self, design, *, library, flow, cancel):
        key = self.key(design.config)
        self.measured.append(key)
        assert not cancel.is_set()
        if key in self.failures:
            raise self.failures[key]
        area, delay = self.cost(design, flow)
        result = AreaResult(
            name=design.top,
            parameters={},
            area=area,
            combinational=area,
            sequential=self.sequential(design.config),
            area_unit="um2",
            nand2=area,
            longest_path=3,
            cells=10,
            cell_types={"nand2": 10},
            library=library.name,
            flow=flow,
            tool="yosys 0.0 (pyosys)",
            seconds=1.0,
            delay_ns=delay,
            timing="OpenSTA 1.2",
            timing_note="no path" if delay is None else None,
        )
        return result if design.config is None else result.of(design.config)

    def cost(self, design, flow):  # noqa: ARG002 - of others it depends on the flow
        """Area and delay."""
        return self.costs[self.key(design.config)]

    @staticmethod
    def sequential(config):
        """Area of registers."""
        return 0.0 if (config.selector, config.pipeline) == ("compare_matrix", 0) else 30.0

    @staticmethod
    def key(config):
        """What a unit is known by."""
        return config.selector, config.pipeline


def rows(lines):
    """The rows of the table."""
    return [
        " ".join(line.split()) for line in lines if re.match("(compare_matrix|threshold_s)", line)
    ]


#: The rows of its table.
TABLE = [
    "compare_matrix 2:4 8 0 400.0 2.000 0 - - 800",
    # 1e15 / (500 * 1), in 1e9.
    "compare_matrix 2:4 8 1 500.0 1.000* 1 1 2,000.00* 500",
    "threshold_serial 2:4 8 0 200.0* 4.000 0 11 113.64 800",
    "threshold_serial 2:4 8 1 250.0 1.000* 1 11 363.64 250",
]


def refused(capsys, name, *arguments):
    """The one line of a refused command of a study."""
    with pytest.raises(SystemExit) as caught:
        main([name, *map(str, arguments)])
    assert caught.value.code == 2
    printed, message = capsys.readouterr()
    assert printed == ""
    start = f"python -m synth.report {name}: error: "
    assert message.startswith(start)
    assert message.endswith("\n")
    assert message.count("\n") == 1
    return message.removeprefix(start).removesuffix("\n")
