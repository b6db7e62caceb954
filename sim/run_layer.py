"""A decoder layer of a language model through a simulated tile: `python -m sim.run_layer`.

gate_proj and down_proj read what they read in the model; activations have a scale a token, weights
a scale an output.  The tile's sums are compared bit for bit with its golden model and with the
product of the matrices, and the outputs that they stand for with those in floating point.  What is
done stays in the folder: a run that was stopped goes on behind it.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from tabulate import tabulate

import sw
from hw.cli import CommandParser
from hw.config import ConfigError, UnitConfig
from hw.files import write_files
from hw.progress import progress_bar, ticking
from sim.simulator import Simulator, SimulatorMissing, find_simulator
from sim.verilated_tile import TileError, VerilatedTile, build_tile
from sw.capture import capture
from sw.errors import InputError
from sw.golden import Payload, unit_model
from sw.linears import find_linears, linear_name
from sw.model import LanguageModel
from sw.model_text import add_model_and_text, load_model_and_text, origin
from sw.quantized_linear import ErrorOfOutputs, QuantizedLinear, error_of
from sw.text import Text
from sw.tile_matrix import product_of_sums, steps_of_product

__all__ = ["LayerError", "LinearResult", "linears_of", "main", "run_linear"]

_PROG = "python -m sim.run_layer"

PROJECTIONS = ("gate", "down")

#: Sees massive activations in the default model.
LAYER = 11


class LayerError(AssertionError):
    """The tile did something else than its golden model."""


@dataclass(frozen=True)
class LinearResult:
    """Numbers of one linear through one tile.

    Parameters
    ----------
    steps, cycles
        Of the tile.
    compared
        Sums compared bit for bit.
    error
        Of the outputs against floating point.
    sparse_error
        The same without numbers of few bits: of the sparsity alone.
    """

    steps: int
    cycles: int
    compared: int
    error: ErrorOfOutputs
    sparse_error: ErrorOfOutputs

    @classmethod
    def from_dict(cls, numbers: dict[str, Any]) -> "LinearResult":
        """The inverse of `dataclasses.asdict`."""
        errors = {
            name: ErrorOfOutputs(**numbers[name]) for name in ("error", "sparse_error")
        }  # fmt: skip
        return cls(**{**numbers, **errors})


def linears_of(
    language_model: LanguageModel, text: Text, *, layer: int, tokens: int
) -> dict[str, QuantizedLinear]:
    """gate_proj and down_proj of a layer, with what they read of the first tokens of a text.

    Raises
    ------
    InputError
        There is no such layer, or the text is shorter.
    """
    activations = capture(
        language_model,
        text,
        projections=PROJECTIONS,
        layers=[layer],
        tokens=(0, tokens),
        window=tokens,
        dtype="fp32",
        progress=False,
    )
    modules = find_linears(language_model.model)
    return {
        (name := linear_name(layer, projection)): QuantizedLinear(
            activations.tensors[name], modules[layer, projection].get_parameter("weight").detach()
        )
        for projection in PROJECTIONS
    }


def run_linear(
    linear: QuantizedLinear,
    tile: VerilatedTile,
    folder: Path,
    *,
    seed: int = 0,
    progress: Callable[[int], object] | None = None,
) -> LinearResult:
    """One linear through a tile, held against the golden model and against the definition.

    Parameters
    ----------
    linear
        What it computes.
    tile
        The tile.
    folder
        Of the files on the way.
    seed
        Of stalls; 0: none, and then the cycles are compared too.
    progress
        As of `VerilatedTile.run`.

    Raises
    ------
    LayerError
        A sum or the number of cycles is another one.
    TileError
        The tile stands still.
    """
    config = tile.config
    tokens, outputs = len(linear.x), len(linear.weight)
    steps = steps_of_product(config, linear.data, linear.weights)
    run = tile.run(steps, folder, seed=seed, progress=progress)
    _compare(config, steps, run.outputs, reductions=-(-outputs // config.cols))
    product = product_of_sums(config, run.outputs["sum"], tokens, outputs)
    wrong = int((product != linear.product(config)).sum())
    if wrong:
        raise LayerError(f"{wrong} of {product.numel()} outputs are not the product of matrices")
    count = len(steps["last"])
    if not seed and run.cycles != count + config.latency_cycles:
        raise LayerError(
            f"{count} steps took {run.cycles} cycles, not {count + config.latency_cycles}"
        )
    wanted = linear.outputs
    return LinearResult(
        steps=count,
        cycles=run.cycles,
        compared=product.numel(),
        error=error_of(linear.numbers(product), wanted),
        sparse_error=error_of(linear.sparse_outputs(config), wanted),
    )


def _compare(config: UnitConfig, steps: Payload, outputs: Payload, *, reductions: int) -> None:
    """The golden model bit for bit, so many reductions at a time: it takes memory for each PE."""
    model = unit_model(config)
    ends = (steps["last"].flatten().nonzero().flatten() + 1).tolist()
    if len(outputs["sum"]) != len(ends):
        raise LayerError(f"{len(outputs['sum'])} results, not {len(ends)}")
    for first in range(0, len(ends), reductions):
        chosen = slice(first, first + reductions)
        start, stop = ends[first - 1] if first else 0, ends[chosen][-1]
        expected = model({name: codes[start:stop] for name, codes in steps.items()})
        for name, codes in expected.items():
            wrong = int((codes != outputs[name][chosen]).sum())
            if wrong:
                raise LayerError(f"{wrong} of {codes.numel()} of o_{name} differ from step {start}")


def _configs(options: argparse.Namespace) -> list[UnitConfig]:
    """The dense tile, and the sparse one if it is not dense too."""
    sparse = UnitConfig(
        n=options.n,
        m=options.m,
        unit="tile",
        dtype="int8",
        rows=options.rows,
        cols=options.cols,
    )
    return list(dict.fromkeys((replace(sparse, n=sparse.m), sparse)))


def _parser() -> CommandParser:
    parser = CommandParser(prog=_PROG, description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add_model_and_text(parser)
    add("--layer", type=int, default=LAYER, help="decoder layer, from 0")
    add("--tokens", type=int, default=16, help="tokens of the text, from its first one on")
    add("--n", type=int, default=8, help="lanes kept of each group")
    add("--m", type=int, default=16, help="lanes of a group")
    add("--rows", type=int, default=4, help="rows of the tile")
    add("--cols", type=int, default=64, help="columns of the tile")
    add("--seed", type=int, default=0, help="of stalls in all streams; 0: none")
    add("-o", "--output", type=Path, default=Path("build/layer"), help="folder")
    return parser


def _digest(linear: QuantizedLinear, tile: VerilatedTile, seed: int) -> str:
    """Tells results of the same numbers, tile and stalls from all others."""
    digest = hashlib.sha256(tile.program.parent.parent.name.encode())
    for codes in (linear.data, linear.weights):
        digest.update(codes.numpy().tobytes())
    # The judges count too.
    for source in (Path(__file__), *sorted(Path(sw.__path__[0]).glob("*.py"))):
        digest.update(source.read_bytes())
    digest.update(str(seed).encode())
    return digest.hexdigest()[:12]


def _run_all(
    linears: dict[str, QuantizedLinear],
    configs: Sequence[UnitConfig],
    *,
    simulator: Simulator,
    folder: Path,
    seed: int,
) -> dict[tuple[str, str], LinearResult]:
    """Each linear through each tile; what is in the folder already is not done again."""
    tiles = []
    for config in configs:
        with ticking(f"building the {config.n}:{config.m} tile (half a minute)"):
            tiles.append(build_tile(config, simulator=simulator, folder=folder))
    results = {}
    for name, linear in linears.items():
        for tile in tiles:
            pattern = f"{tile.config.n}:{tile.config.m}"
            stem = f"{name}_{pattern.replace(':', '_')}_{_digest(linear, tile, seed)}"
            kept = folder / f"{stem}.json"
            if not kept.exists():
                total = len(steps_of_product(tile.config, linear.data, linear.weights)["last"])
                with progress_bar(total=total, desc=f"{name} {pattern}", unit="step") as bar:
                    result = run_linear(
                        linear,
                        tile,
                        folder,
                        seed=seed,
                        progress=lambda done, bar=bar: bar.update(done - bar.n),  # type: ignore[misc]
                    )
                    bar.update(total - bar.n)
                write_files({kept: json.dumps(asdict(result)) + "\n"})
            results[name, pattern] = LinearResult.from_dict(json.loads(kept.read_text()))
    return results


def _table(results: dict[tuple[str, str], LinearResult]) -> str:
    rows = [
        (
            name,
            pattern,
            f"{result.steps:,}",
            f"{result.cycles:,}",
            f"{result.compared:,}",
            *(
                f"{number:.4f}"
                for number in (
                    result.error.relative,
                    result.error.of_token,
                    result.error.cosine,
                    result.sparse_error.relative,
                )
            ),
        )
        for (name, pattern), result in results.items()
    ]
    headers = ["linear", "pattern", "steps", "cycles", "sums compared", "error"]
    headers += ["a token", "cosine", "sparsity alone"]
    align = ("left", "left", *["right"] * 7)
    return tabulate(rows, headers, disable_numparse=True, colalign=align)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    for name, least in (("tokens", 1), ("seed", 0)):
        if getattr(options, name) < least:
            parser.error(f"--{name} must be at least {least}, not {getattr(options, name)}")
    folder: Path = options.output
    try:
        configs = _configs(options)
        simulator = find_simulator("verilator")
        language_model, text = load_model_and_text(options)
        linears = linears_of(language_model, text, layer=options.layer, tokens=options.tokens)
    except ConfigError as error:
        parser.error(f"--{error.parameter} {error.rule}")
    except (InputError, SimulatorMissing) as error:
        parser.error(str(error))
    names = origin(language_model, text)
    print(
        f"{names['model']}, layer {options.layer}, tokens 0:{options.tokens} of {names['text']}; "
        f"int8 tiles of {options.rows} x {options.cols}; {simulator.name} {simulator.version}"
    )
    try:
        with torch.no_grad():
            results = _run_all(
                linears, configs, simulator=simulator, folder=folder, seed=options.seed
            )
    except (LayerError, TileError) as error:
        print(error, file=sys.stderr)
        return 1
    report = {f"{name} {pattern}": asdict(result) for (name, pattern), result in results.items()}
    write_files({folder / "layer.json": json.dumps({**names, "results": report}, indent=2) + "\n"})
    print(_table(results))
    print("error: ||y - z|| / ||z||, z in floating point; a token: of each token, averaged")
    return 0


if __name__ == "__main__":
    sys.exit(main())
