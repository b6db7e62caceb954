"""What the layers of language models cost on a tile: `python -m sim.tile_model`."""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hw.cli import CommandParser, parse_patterns
from hw.config import METADATA, pattern_list
from hw.files import write_files
from sim.model_shapes import LINEARS, MODELS
from sim.tile_cost import ENERGY_SOURCE, MULTIPLICATION_ENERGIES, Energies, System
from sim.tile_model_report import PHASES, WEIGHT_READS, Request, report, update
from sw.errors import InputError

__all__ = ["main"]

_PROGRAM = "python -m sim.tile_model"

#: Where activations lie in memory as a sparsifier packs them, and where with all lanes.
_ACTIVATIONS = ("packed", "dense")


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog=_PROGRAM,
        description="Cycles, bytes from and to memory, and energy of one decoder layer of language"
        " models on a tile, dense and sparse.",
    )
    # A default of None would show as "(default: None)".
    optional: dict[str, Any] = {"default": argparse.SUPPRESS}
    usual = Request()
    published = Energies(multiplication=0)
    listed: dict[str, Any] = {"type": lambda text: tuple(text.split(","))}

    what = parser.add_argument_group("what is computed")
    what.add_argument(
        "--model", **listed, default=",".join(MODELS), metavar="NAME,...", help="models"
    )
    what.add_argument(
        "--phase", **listed, default=",".join(PHASES), metavar="PHASE,...",
        help="many tokens at once, or one of each text",
    )  # fmt: skip
    what.add_argument(
        "--tokens", type=int, default=usual.tokens["prefill"], help="tokens of a prefill"
    )
    what.add_argument(
        "--batch", type=int, default=usual.tokens["decode"], help="texts that are decoded at once"
    )
    what.add_argument(
        "--linears", **listed, default=",".join(usual.linears), metavar="NAME,...",
        help=f"those that count, of {', '.join(LINEARS)}",
    )  # fmt: skip
    what.add_argument(
        "--patterns", type=parse_patterns, default=pattern_list(usual.patterns), help="N:M, ..."
    )
    what.add_argument(
        "--codes", **listed, default=",".join(METADATA), metavar="CODE,...",
        help="codes of the metadata of packed activations",
    )  # fmt: skip

    tile = parser.add_argument_group("the tile")
    tile.add_argument("--rows", type=int, default=usual.tile["rows"], help="rows of activations")
    tile.add_argument("--cols", type=int, default=usual.tile["cols"], help="columns of weights")
    tile.add_argument("--dtype", default=usual.tile["dtype"], help="format of activations")
    tile.add_argument(
        "--weight-dtype", **optional, help="format of weights (default: that of activations)"
    )
    tile.add_argument("--pipeline", type=int, default=1, help="register stages")

    around = parser.add_argument_group("what is around it")
    around.add_argument(
        "--activations", choices=_ACTIVATIONS, default=_ACTIVATIONS[0],
        help="how activations lie in memory: as a sparsifier packs them, or with all lanes",
    )  # fmt: skip
    around.add_argument(
        "--weight-reads", default=usual.weight_reads,
        help=f"{', '.join(WEIGHT_READS)}: all rows of weights; those of kept lanes; auto, the"
        " latter in decoding only",
    )  # fmt: skip
    around.add_argument(
        "--buffer", type=int, default=usual.system.buffer, metavar="BYTES",
        help="of the buffer between memory and tile",
    )  # fmt: skip
    around.add_argument(
        "--result-width", type=int, default=usual.system.result_width, metavar="BITS",
        help="of a result in memory",
    )  # fmt: skip

    energy = parser.add_argument_group("energy", f"Defaults are from {ENERGY_SOURCE}.")
    energies = ", ".join(f"{name} {pj:g}" for name, pj in MULTIPLICATION_ENERGIES.items())
    energy.add_argument(
        "--multiplication-energy", type=float, metavar="PJ", **optional,
        help=f"of a multiplication with the addition of its product (default: {energies})",
    )  # fmt: skip
    energy.add_argument(
        "--selection-energy", type=float, default=published.selection, metavar="SHARE",
        help="of the logic of a sparse tile beside its multiplications, as a share of them",
    )  # fmt: skip
    energy.add_argument(
        "--buffer-energy", type=float, default=published.buffer, metavar="PJ",
        help="of a bit into or out of the buffer",
    )  # fmt: skip
    energy.add_argument(
        "--memory-energy", type=float, default=published.memory, metavar="PJ",
        help="of a bit from or to memory",
    )  # fmt: skip

    output = parser.add_argument_group("output").add_mutually_exclusive_group()
    output.add_argument(
        "--json", action="store_const", dest="style", const="json", default="text",
        help="everything as JSON, linear by linear",
    )  # fmt: skip
    output.add_argument(
        "--markdown", action="store_const", dest="style", const="markdown", default="text",
        help="the tables in Markdown",
    )  # fmt: skip
    output.add_argument(
        "--update", type=Path, metavar="FILE", **optional,
        help="no report: make the tables of this page of documentation anew",
    )  # fmt: skip
    return parser


def _request(options: argparse.Namespace) -> Request:
    tokens = {"prefill": options.tokens, "decode": options.batch}
    tile = {name: getattr(options, name) for name in ("dtype", "rows", "cols", "pipeline")}
    if "weight_dtype" in options:
        tile["weight_dtype"] = options.weight_dtype
    phases = dict.fromkeys(options.phase)
    if len(phases) < len(options.phase):
        raise InputError(f"phase must be different ones, not {','.join(options.phase)}")
    energies = ("multiplication", "selection", "buffer", "memory")
    return Request(
        models=options.model,
        tokens={phase: tokens.get(phase, 1) for phase in phases},
        patterns=options.patterns,
        codes=options.codes,
        linears=options.linears,
        tile=tile,
        weight_reads=options.weight_reads,
        system=System(
            buffer=options.buffer,
            result_width=options.result_width,
            packed=options.activations == _ACTIVATIONS[0],
        ),
        energy={
            name: getattr(options, f"{name}_energy")
            for name in energies
            if f"{name}_energy" in options
        },
    )


def _update(path: Path) -> None:
    try:
        page = path.read_text(encoding="utf-8")
        write_files({path: update(page)})
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "no text"
        raise InputError(
            f"update must be a page that can be read and written, not {str(path)!r} ({why})"
        ) from error
    print(f"wrote {shlex.quote(str(path))}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; see ``python -m sim.tile_model --help``.

    Returns
    -------
    int
        0; a wrong argument exits with status 2 and one line on standard error.
    """
    parser = _parser()
    words = list(sys.argv[1:] if argv is None else argv)
    options = parser.parse_args(words)
    try:
        if "update" in options:
            if options != parser.parse_args(["--update", str(options.update)]):
                raise InputError("update must go without other options")
            _update(options.update)
        else:
            command = shlex.join([*_PROGRAM.split(), *words])
            print(report(_request(options), command, options.style), end="")
    except InputError as error:
        parser.error(str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())
