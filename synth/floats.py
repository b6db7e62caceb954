"""Area and delay of floating-point arithmetic alone, without registers.

`python -m synth.floats` maps each operation of `hw.floats` in each format.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from amaranth.back import verilog
from tabulate import tabulate

from hw.cli import CommandParser
from hw.floats import add_steps, integer_to_float_steps, multiply_steps
from hw.formats import FORMATS, FP32, NumberFormat
from hw.pipeline import Pipeline, Step
from hw.ports import Field
from hw.progress import progress_bar
from synth.area import Design, area
from synth.cli import library_of, list_of, positive, run
from synth.flow import DEFAULT_FLOW, FLOWS
from synth.liberty import GENERIC

__all__ = ["OPERATIONS", "float_design", "main"]

#: All formats of floating-point numbers by name.
_FLOATS = {f.name: f for f in (*FORMATS.values(), FP32) if f.kind == "float"}

#: Bits of the integers that become floating-point numbers.
_INTEGER_WIDTH = 32

#: Steps of each operation, of a format and a number of lanes.
OPERATIONS: dict[str, Callable[..., list[Step]]] = {
    "add": add_steps,
    "subtract": partial(add_steps, subtract=True),
    "multiply": multiply_steps,
    "integer": partial(integer_to_float_steps, _INTEGER_WIDTH),
}


def float_design(operation: str, number_format: NumberFormat, lanes: int) -> Design:
    """One operation without registers, in some lanes, its second operand the same in all of them.

    Parameters
    ----------
    operation
        One of `OPERATIONS`; ``integer`` makes floating-point numbers of 32-bit integers.
    number_format
        Float format.
    lanes
        Number of lanes.
    """
    width = number_format.width
    inputs = {"integer": Field("lane", lanes, _INTEGER_WIDTH, "signed")}
    if operation != "integer":
        inputs = {
            "a": Field("lane", lanes, width, number_format.name),
            "b": Field("lane", 1, width, number_format.name),
        }
    steps = OPERATIONS[operation](number_format, count=lanes, result="c")
    outputs = {"c": Field("lane", lanes, width, number_format.name)}
    pipeline = Pipeline(inputs=inputs, outputs=outputs, steps=steps, stages=0)
    top = f"{operation}_{number_format.name}_{lanes}"
    text = verilog.convert(pipeline, name=top, emit_src=False, strip_internal_attrs=True)
    return Design(text, top)


def _report(given: dict[str, Any]) -> int:
    library = library_of(given["liberty"])
    cases = [
        (operation, _FLOATS[name])
        for operation in given["operations"]
        for name in given["formats"]
        # What is too large must be infinity.
        if operation != "integer" or _FLOATS[name].has_infinity
    ]
    rows = []
    sources: dict[str, None] = {}
    for operation, number_format in progress_bar(iterable=cases, desc="operations", unit="design"):
        design = float_design(operation, number_format, given["lanes"])
        result = area(design, library=library, flow=given["flow"])
        each = result.area / given["lanes"]
        rows.append((operation, number_format.name, result.area, each, result.delay_ns))
        sources |= dict.fromkeys([result.tool, library.name, result.timing or "no delays"])
    unit = library.area_unit
    headers = ["operation", "format", unit, f"{unit} of a lane", "ns"]
    print(tabulate(rows, headers, floatfmt=("", "", ",.0f", ",.0f", ".2f"), missingval="-"))
    print(f"{given['lanes']} lanes; flow {given['flow']}; {', '.join(sources)}")
    return 0


def main(arguments: Sequence[str] | None = None) -> None:
    """`python -m synth.floats`."""
    parser = CommandParser(prog="python -m synth.floats", description=__doc__)
    for option, words in (("formats", list(_FLOATS)), ("operations", list(OPERATIONS))):
        parser.add_argument(
            f"--{option}",
            type=list_of(words, ",".join(words[:2]), option),
            default=",".join(words),
            metavar="NAME,...",
            help=f"{option} to report",
        )
    parser.add_argument("--lanes", type=positive, default=16, metavar="M", help="number of lanes")
    parser.add_argument(
        "--liberty", type=Path, default=GENERIC, metavar="FILE", help="library to map to"
    )
    parser.add_argument("--flow", choices=FLOWS, default=DEFAULT_FLOW, help="synthesis flow")
    run(parser, vars(parser.parse_args(arguments)), _report)


if __name__ == "__main__":
    main()
