"""Command line of the generator: `python -m hw.generate --n 8 --m 16`."""

import argparse
import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from hw.cli import CommandParser, parse_patterns
from hw.config import (
    CRITERIA,
    GOALS,
    LAYOUTS,
    METADATA,
    MULTIPLYING_UNITS,
    OVERFLOWS,
    SELECTORS,
    SHIFTS,
    UNITS,
    WEIGHT_SELECTS,
    WORDS,
    ConfigError,
    UnitConfig,
)
from hw.files import write_files
from hw.formats import FORMATS
from hw.parameters import TILE_UNITS, either
from hw.score_formats import SCALE_FORMATS

__all__ = ["main"]

_PROG = "python -m hw.generate"

#: Options that are refused, not ignored, by units that have no use for them: those that have.
_ONLY = {
    **dict.fromkeys(("weight_dtype", "overflow", "check"), MULTIPLYING_UNITS),
    **dict.fromkeys(("rows", "cols"), TILE_UNITS),
    "word": ("packer", "unpacker", "axi_tile"),
    "layout": ("packer", "unpacker"),
    "acc_width": (*MULTIPLYING_UNITS, "epilogue"),
    "align_bits": (*MULTIPLYING_UNITS, "statistics"),
    "depth": ("scale_memory", "axi_tile"),
}


def _stages(text: str) -> int | str:
    if text == "auto":
        return text
    if not re.fullmatch(r"[+-]?[0-9]+", text):
        raise argparse.ArgumentTypeError(f"must be a whole number or auto, not {text!r}")
    return int(text)


def _pattern(text: str) -> tuple[int, int]:
    patterns = parse_patterns(text)
    if len(patterns) > 1:
        raise argparse.ArgumentTypeError(f"must be one pattern N:M, not {text!r}")
    return patterns[0]


def _parser() -> CommandParser:
    parser = CommandParser(
        prog=_PROG,
        description="Generate a unit of N:M activation sparsity as Verilog, with a JSON manifest.",
        epilog="Units: " + "; ".join(f"{unit}: {text}" for unit, text in UNITS.items()) + ".",
        # Only what is given reaches the configuration, which knows the defaults.
        argument_default=argparse.SUPPRESS,
        formatter_class=argparse.HelpFormatter,
    )
    add = parser.add_argument
    add("--n", type=int, help="lanes kept of each group")
    add("--m", type=int, help="lanes of a group, 2 to 64")
    add("--unit", metavar="UNIT", help=f"{', '.join(UNITS)} (default: sparsifier)")
    add("--dtype", help=f"{', '.join(FORMATS)} (default: bf16)")
    add("--selector", help=f"auto, {', '.join(SELECTORS)} (default: auto)")
    add("--goal", help=f"what auto aims at: {', '.join(GOALS)} (default: density)")
    add("--criterion", help=f"score of a lane: {', '.join(CRITERIA)} (default: act)")
    add(
        "--scale-format",
        metavar="FORMAT",
        help=f"scaled scores, scale_memory: {', '.join(SCALE_FORMATS)} (default: u8)",
    )
    add("--shift", help=f"what is subtracted first: {', '.join(SHIFTS)} (default: none)")
    add(
        "--score-bits",
        type=int,
        metavar="B",
        help="leading bits of the score that are compared, ties to the lower lane (default: all)",
    )
    add(
        "--flexible",
        type=parse_patterns,
        metavar="N:M,...",
        help="instead of --n and --m: patterns of which the input i_pattern chooses",
    )
    add("--n-runtime", action="store_true", help="the input i_n says how many lanes are kept")
    add("--input-register", action="store_true", help="take the group into a register first")
    add("--metadata", help=f"{', '.join(METADATA)}; pe: decoded too (default: bitmap)")
    add("--residual", action="store_true", help="sparsifier: give the dropped values too")
    add("--serial", action="store_true", help="enumerative encoder, decoder: a lane a cycle")
    add(
        "--pipeline",
        type=_stages,
        metavar="K",
        help="register stages, the latency in cycles; 0 is combinational; auto: best for the goal "
        "(default: 1)",
    )
    add(
        "--word",
        type=int,
        metavar="BITS",
        help=f"packer, unpacker: {', '.join(map(str, WORDS))}; axi_tile: up to 65536 (default: 64)",
    )
    add("--layout", help=f"packer, unpacker: {', '.join(LAYOUTS)} (default: interleaved)")
    add(
        "--depth",
        type=int,
        metavar="WORDS",
        help="scale_memory, axi_tile: longest table (default: 256)",
    )
    add("--rows", type=int, metavar="R", help="tiles: rows of activations (default: 4)")
    add("--cols", type=int, metavar="C", help="tiles: columns of weights (default: 4)")
    add("--weight-dtype", help="pe, tiles: number format of the weights (default: as --dtype)")
    add(
        "--weights",
        type=_pattern,
        metavar="N:M",
        help="pe: pattern of packed weights (default: all of them are there)",
    )
    add("--weight-select", help=f"pe: {', '.join(WEIGHT_SELECTS)} (default: mux)")
    add(
        "--outstanding",
        type=int,
        metavar="GROUPS",
        help="pe with gather: groups that may wait for weights (default: 4)",
    )
    add(
        "--acc-width",
        type=int,
        metavar="BITS",
        help="pe, tiles, epilogue: bits of an integer sum (default: 32)",
    )
    add("--overflow", help=f"pe, tiles: {', '.join(OVERFLOWS)} (default: wrap)")
    add(
        "--align-bits",
        type=int,
        metavar="BITS",
        help="statistics, pe, tiles: bits of the largest term of a sum of floats (default: 16; 28)",
    )
    add("--check", choices=("on", "off"), help="pe, tiles: look for what is illegal (default: on)")
    add("--name", help="name of the top module and of the files")
    add("-o", "--output", type=Path, metavar="FOLDER", help="folder of the files (default: build)")
    add("--force", action="store_true", help="overwrite files that another command made")
    return parser


def _config(parser: CommandParser, options: dict[str, object]) -> UnitConfig:
    if "check" in options:
        options["check"] = options["check"] == "on"
    given = [f"--{option}" for option in ("n", "m") if option in options]
    if "flexible" not in options and len(given) < 2:
        missing = ", ".join(option for option in ("--n", "--m") if option not in given)
        parser.error(f"the following arguments are required: {missing}")
    if "flexible" in options and given:
        parser.error(f"{given[0]} must not be given with --flexible")
    try:
        config = UnitConfig(**options)  # type: ignore[arg-type]
    except ConfigError as error:
        if error.parameter == "dtype" and "dtype" not in options:
            parser.error(f"--dtype {error.rule}, the default")
        parser.error(f"--{error.parameter.replace('_', '-')} {error.rule}")
    for option, units in _ONLY.items():
        if option not in options or option in config.parameters:
            continue
        name = f"--{option.replace('_', '-')}"
        if option == "depth" and config.unit in units:
            parser.error(f"{name} must go with --criterion scaled in an {config.unit}")
        if config.unit in units:
            kind = "an integer" if config.format.kind == "float" else "a float"
            parser.error(f"{name} must go with {kind} --dtype, not {config.dtype!r}")
        parser.error(f"{name} must go with --unit {either(units)}, not {config.unit!r}")
    return config


def _foreign(verilog: Path, manifest: Path, command: str) -> Path | None:
    """The first of the two files that exists and was not made by this command."""
    try:
        recorded = json.loads(manifest.read_text())["command"]
    except (OSError, ValueError, KeyError, TypeError):
        recorded = None
    if recorded == command:
        return None
    return next((path for path in (verilog, manifest) if os.path.lexists(path)), None)


def _shown(value: int | str | bool) -> int | str:
    """A parameter as the command line spells it."""
    return ("on" if value else "off") if isinstance(value, bool) else value


def _cycles(count: int) -> str:
    return "1 cycle" if count == 1 else f"{count} cycles"


def _table(config: UnitConfig, verilog: Path, manifest: Path) -> str:
    """The manifest as a short table."""
    from tabulate import tabulate

    from hw.ports import ports

    rows = [
        ("top", config.top),
        *((name, _shown(value)) for name, value in config.parameters.items()),
        ("latency", _cycles(config.latency_cycles)),
        ("interval", _cycles(config.initiation_interval)),
    ]
    port_rows = [
        (
            port.name,
            port.direction,
            port.width,
            ", ".join(f"{f.count} x {f.width} {f.format}" for f in port.fields)
            if port.width > 1
            else "",
        )
        for port in ports(config)
    ]
    return "\n".join(
        [
            tabulate(rows, tablefmt="plain"),
            "",
            tabulate(port_rows, headers=("port", "direction", "bits", "content")),
            "",
            f"wrote {verilog} and {manifest}",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status."""
    parser = _parser()
    options = vars(parser.parse_args(arguments))
    folder: Path = options.pop("output", Path("build"))
    force = options.pop("force", False)
    config = _config(parser, options)

    verilog, manifest = folder / f"{config.top}.v", folder / f"{config.top}.json"
    foreign = None if force else _foreign(verilog, manifest, config.command)
    if foreign is not None:
        parser.error(f"--force must be given to overwrite {foreign}, which another command made")

    from hw.emit import emit

    emission = emit(config)
    try:
        write_files({verilog: emission.verilog, manifest: emission.manifest_text})
    except OSError as error:
        parser.error(f"--output must be a writable folder, not {str(folder)!r} ({error.strerror})")
    print(_table(config, verilog, manifest))
    return 0


if __name__ == "__main__":
    sys.exit(main())
