"""The scale memory: bugs that its bench must find, and a sparsifier behind it."""

import random
import re
from functools import cache
from pathlib import Path

import pytest
import torch

import hw.units
import hw.units.scale_memory
from hw.config import UnitConfig
from hw.emit import emit
from hw.files import write_files
from hw.ports import input_payload, output_payload
from sim.bench.join import JOIN, Join
from sim.runner import BenchError, run_tests
from sim.seeded import Bench, expect_failure
from sim.simulator import Simulator
from sim.words import payload_words
from sw.golden import unit_model
from tests.mutant import mutant

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        # A bank is swapped after the first token: what it reads may never have been written.
        ("read_bank ^ done", "read_bank ^ (read & is_last)", "outputs differ|invalid literal"),
        # A word is overwritten while it is still read.
        ("self.i.ready.eq(~waiting)", "self.i.ready.eq(1)", "outputs|changed before"),
        # A table serves one token too many, and one too few.
        ("tokens == 1", "tokens == 0", "outputs"),
        ("tokens == 1", "tokens < 3", "outputs"),
        # It goes on behind the end of its bank.
        ("word.last | is_full", "word.last", "outputs|invalid literal"),
        # The output does not hold.
        ("read_port.en.eq(read)", "read_port.en.eq(1)", "outputs differ|changed before"),
        # A bank stays taken for a cycle more.
        ("self.i.ready.eq(~waiting)", "self.i.ready.eq(~waiting & ~done)", r"word \d+ entered in"),
    ],
)
def test_seeded_bug(
    old: str, new: str, message: str, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = UnitConfig(n=1, m=2, unit="scale_memory", depth=5)
    bug = mutant(hw.units.scale_memory, old, new).ScaleMemoryUnit
    with monkeypatch.context() as patch:
        patch.setitem(hw.units._UNITS, "scale_memory", bug)
        verilog = emit(config).verilog
    expect_failure(bench, config, verilog, message)


# In front of a sparsifier

SPARSIFIER = UnitConfig(n=8, m=16, criterion="scaled")
MEMORY = UnitConfig(n=8, m=16, unit="scale_memory", depth=16)

#: Groups of a token and tokens of each layer.  Each table can be loaded while the one before it is
#: streamed, so that nothing need wait.
LAYERS = ((6, 3), (4, 0), (5, 4), (16, 2), (1, 30), (1, 0), (1, 0), (7, 3))

#: The text of the page.
EXAMPLE = re.search(
    r"```verilog\n(.*?)```",
    (Path(__file__).parents[1] / "docs" / "scale_memory.md").read_text(),
    re.DOTALL,
)

#: Ports by the names of the benches, and by those of the page.
JOINED = """
module joined(
  input clk, input rst,
  input i_valid, output i_ready, input [255:0] i_data, input i_last,
  input i_table_valid, output i_table_ready,
  input [127:0] i_table_scale, input i_table_last, input [31:0] i_table_tokens,
  output o_valid, input o_ready, output [127:0] o_values, output [15:0] o_meta, output o_last
);
wire act_valid = i_valid, act_last = i_last;
wire [255:0] act_data = i_data;
wire table_valid = i_table_valid, table_last = i_table_last;
wire [127:0] table_scale = i_table_scale;
wire [31:0] table_tokens = i_table_tokens;
wire packed_ready = o_ready;
wire act_ready, table_ready, packed_valid, packed_last;
wire [127:0] packed_values;
wire [15:0] packed_meta;
assign i_ready = act_ready, i_table_ready = table_ready;
assign o_valid = packed_valid, o_values = packed_values, o_meta = packed_meta, o_last = packed_last;
{example}
endmodule
"""


def composition() -> Join:
    """Tables of some layers, their tokens, and what the sparsifier makes of group g and word g."""
    rng = random.Random(5)
    width = input_payload(MEMORY)["scale"].width
    tables: dict[str, list[list[int]]] = {"scale": [], "last": [], "tokens": []}
    groups: dict[str, list[list[int]]] = {"data": [], "scale": [], "last": []}
    for count, tokens in LAYERS:
        layer = [[rng.getrandbits(width) for _ in range(SPARSIFIER.m)] for _ in range(count)]
        ends = [[0]] * (count - 1) + [[1]]
        tables["scale"] += layer
        tables["last"] += ends
        tables["tokens"] += [[tokens]] * count
        for _ in range(tokens):
            # Few magnitudes, so that the scales decide.
            groups["data"] += [
                [rng.choice((0x3F80, 0xBF80, 0x3FC0)) for _ in range(SPARSIFIER.m)]
                for _ in range(count)
            ]
            groups["scale"] += layer
            groups["last"] += ends
    payload = {name: torch.tensor(column) for name, column in groups.items()}
    memory = {name: torch.tensor(column) for name, column in tables.items()}
    inputs, outputs = input_payload(SPARSIFIER), output_payload(SPARSIFIER)
    del inputs["scale"]
    return Join(
        names={
            "i": list(inputs),
            "i_table": [f"table_{name}" for name in input_payload(MEMORY)],
            "o": list(outputs),
        },
        sent={
            "i": payload_words(payload, inputs),
            "i_table": payload_words(memory, input_payload(MEMORY)),
        },
        expected=payload_words(unit_model(SPARSIFIER)(payload), outputs),
    )


@cache
def units() -> str:
    """Verilog of both."""
    return emit(MEMORY).verilog + emit(SPARSIFIER).verilog


def run_joined(folder: Path, simulator: Simulator, example: str) -> None:
    """Simulate the text of the page, or what became of it."""
    source, join = folder / "joined.v", folder / "join.json"
    verilog = units() + JOINED.format(example=example)
    write_files({source: verilog, join: composition().to_json()})
    run_tests(
        source, "joined", "sim.bench.join_tests", simulator=simulator, folder=folder, seed=1,
        environment={JOIN: str(join.resolve())},
    )  # fmt: skip


def test_the_sparsifier_of_the_page(simulator: Simulator, tmp_path: Path) -> None:
    assert EXAMPLE is not None
    run_joined(tmp_path, simulator, EXAMPLE[1])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("act_valid & scale_valid;", "act_valid;", "invalid literal"),
        ("{2{both_valid & sparsifier_ready}}", "{2{sparsifier_ready}}", "outputs, 121 expected"),
        (
            "{2{both_valid & sparsifier_ready}}",
            "{both_valid & sparsifier_ready, sparsifier_ready}",
            "TimeoutError",
        ),
        (".i_scale  (scale)", ".i_scale  ({scale[119:0], scale[127:120]})", "output 0 differs"),
    ],
)
def test_a_wrong_join(
    old: str, new: str, message: str, simulator: Simulator, tmp_path: Path
) -> None:
    assert EXAMPLE is not None
    assert EXAMPLE[1].count(old) == 1
    with pytest.raises(BenchError, match=message):
        run_joined(tmp_path, simulator, EXAMPLE[1].replace(old, new))
