"""Proofs over all inputs that combinational units do what their definitions say.

Each definition is written in Verilog here, apart from the gateware.  Beside each proof runs another
one with a mistake in the definition, which must fail: a proof that cannot fail proves nothing.
"""

from pathlib import Path

import pytest

from hw.config import UnitConfig
from hw.emit import emit
from tests.hw.yosys import run_yosys

pytest.importorskip("pyosys")

#: The handshake of a combinational unit is wires.
HANDSHAKE = ".clk(clk), .rst(rst), .i_valid(valid), .i_ready(u_ready), .o_valid(u_valid), "
HANDSHAKE += ".o_ready(ready)"
FREE = "input clk, input rst, input valid, input ready"
WIRES_HOLD = "(u_valid == valid && u_ready == ready)"


def prove(
    folder: Path, units: list[UnitConfig], good: str, bad: str, *, steps: int | None = None
) -> None:
    """Prove output `ok` of module `good` to be 1, and find an input where that of `bad` is 0.

    Parameters
    ----------
    folder
        Takes the files.
    units
        What the modules have in them.
    good, bad
        Text of the modules.
    steps
        Clock cycles from the initial values of the modules on, other registers starting with
        anything; None: there is no clock.
    """
    unrolled: list[str] = []
    if steps is not None:
        unrolled = ["-seq", "1", "-set-at", "1", "started", "0", "-set-at", "1", "cycle", "0"]
        unrolled += ["-tempinduct-baseonly", "-maxsteps", str(steps)]
    names = []
    for number, text in enumerate([*(emit(unit).verilog for unit in units), good, bad]):
        path = folder / f"{number}.v"
        path.write_text(text, encoding="utf-8")
        names.append(str(path))
    commands = [["read_verilog", *names]]
    for module, flag in (("good", "-verify"), ("bad", "-falsify")):
        commands += [
            ["design", "-save", "all"],
            ["hierarchy", "-check", "-top", module],
            ["proc"],
            ["flatten"],
            ["opt", "-full"],
            ["sat", flag, *unrolled, "-prove", "ok", "1", "-show-inputs", module],
            ["design", "-load", "all"],
        ]
    log = run_yosys(folder, commands)
    if steps is None:
        proved = log.index("SAT proof finished - no model found: SUCCESS!")
        assert proved < log.index("SAT proof finished - model found: FAIL!")
    else:
        proved = log.index(f"proved base case for {steps} steps: SUCCESS!")
        assert proved < log.index("proof finished - model found for base case: FAIL!")


# Lane j is kept iff fewer than N lanes beat it; lane i beats lane j iff key(i) > key(j), or the
# keys are equal and i < j.
REFERENCE = """
  integer i, j, beaten, slot;
  reg [W-1:0] a, b;
  reg [M-1:0] mask;
  reg [N*W-1:0] values;
  reg [N*I-1:0] index;
  always @* begin
    mask = 0;
    values = 0;
    index = 0;
    slot = 0;
    for (j = 0; j < M; j = j + 1) begin
      beaten = 0;
      for (i = 0; i < M; i = i + 1) begin
        a = {key}(data[i*W +: W]);
        b = {key}(data[j*W +: W]);
        if (a > b || (a == b && {tie})) beaten = beaten + 1;
      end
      if (beaten < {limit}) begin
        mask[j] = 1;
        values[slot*W +: W] = data[j*W +: W];
        index[slot*I +: I] = j;
        slot = slot + 1;
      end
    end
  end
  function [W-1:0] of_integer(input [W-1:0] x);
    of_integer = x[W-1] ? -x : x;
  endfunction
  function [W-1:0] of_float(input [W-1:0] x);
    of_float = {{1'b0, x[W-2:0]}};
  endfunction
"""


def parameters(config: UnitConfig) -> str:
    return (
        f"localparam N = {config.n}, M = {config.m}, W = {config.format.width}, "
        f"I = {config.index_width};"
    )


def selection_miter(name: str, config: UnitConfig, *, tie: str = "i < j", fewer: int = 0) -> str:
    key = "of_integer" if config.format.kind == "int" else "of_float"
    reference = REFERENCE.format(key=key, tie=tie, limit=config.n - fewer)
    if config.unit == "selector":
        outputs = ".o_mask(o_mask)"
        equal = "o_mask == mask"
    else:
        outputs = ".i_last(last), .o_last(o_last), .o_values(o_values), .o_meta(o_meta)"
        expected = {"bitmap": "mask", "index": "index"}[config.metadata]
        equal = f"o_values == values && o_meta == {expected} && o_last == last"
    return f"""
module {name}({FREE}, input last, input [{config.m * config.format.width - 1}:0] data, output ok);
  {parameters(config)}
  wire u_valid, u_ready, o_last;
  wire [M-1:0] o_mask;
  wire [N*W-1:0] o_values;
  wire [{config.metadata_width - 1}:0] o_meta;
  {config.top} unit({HANDSHAKE}, .i_data(data), {outputs});
  {reference}
  assign ok = {equal} && {WIRES_HOLD};
endmodule
"""


SELECTORS = [
    (1, 2, "int4"),
    (2, 4, "int4"),
    (3, 5, "int4"),
    (4, 4, "int4"),
    (1, 3, "int8"),
    (2, 4, "fp8_e4m3"),
]


@pytest.mark.parametrize(("n", "m", "dtype"), SELECTORS)
def test_selector_is_the_definition(n, m, dtype, tmp_path):
    config = UnitConfig(n=n, m=m, unit="selector", dtype=dtype, pipeline=0)
    # All lanes are kept whatever the tie rule where N = M.
    mistake = {"tie": "i > j"} if n < m else {"fewer": 1}
    prove(
        tmp_path,
        [config],
        selection_miter("good", config),
        selection_miter("bad", config, **mistake),
    )


@pytest.mark.slow
def test_selector_of_eight_lanes(tmp_path):
    config = UnitConfig(n=4, m=8, unit="selector", dtype="int4", pipeline=0)
    good = selection_miter("good", config)
    prove(tmp_path, [config], good, selection_miter("bad", config, tie="i > j"))


@pytest.mark.parametrize("metadata", ["bitmap", "index"])
@pytest.mark.parametrize(("n", "m"), [(2, 4), (2, 5)])
def test_sparsifier_is_the_definition(n, m, metadata, tmp_path):
    config = UnitConfig(n=n, m=m, dtype="int4", metadata=metadata, pipeline=0)
    good = selection_miter("good", config)
    prove(tmp_path, [config], good, selection_miter("bad", config, tie="i > j"))


# Metadata of a mask, and the mask of metadata, from the definitions.
CODES = """
  integer k, kept, previous, lane;
  reg legal;
  reg [M-1:0] named;
  reg [N*I-1:0] index;
  always @* begin
    kept = 0;
    index = 0;
    for (k = 0; k < M; k = k + 1) if (mask[k]) begin
      if (kept < N) index[kept*I +: I] = k;
      kept = kept + 1;
    end
  end
"""
READ = {
    "bitmap": """
  integer ones;
  always @* begin
    ones = 0;
    for (k = 0; k < M; k = k + 1) ones = ones + meta[k];
    legal = {legal};
    named = legal ? meta : 0;
  end
""",
    "index": """
  always @* begin
    legal = 1;
    named = 0;
    previous = -1;
    for (k = 0; k < N; k = k + 1) begin
      lane = meta[k*I +: I];
      if (lane >= M || lane {wrong} previous) legal = 0;
      else named = named | (1 << lane);
      previous = lane;
    end
    if (!legal) named = 0;
  end
""",
}


def pair_of(n: int, m: int, metadata: str) -> list[UnitConfig]:
    return [
        UnitConfig(n=n, m=m, unit=unit, metadata=metadata, pipeline=0)
        for unit in ("encoder", "decoder")
    ]


def round_trip_miter(name: str, encoder: UnitConfig, decoder: UnitConfig, *, flip: int = 0) -> str:
    """Encoder into decoder; `flip` inverts bits of the metadata on the way."""
    expected = {"bitmap": "mask", "index": "index"}[encoder.metadata]
    return f"""
module {name}({FREE}, input [{encoder.m - 1}:0] mask, output ok);
  {parameters(encoder)}
  wire u_valid, u_ready, between_valid, between_ready, o_error;
  wire [{encoder.metadata_width - 1}:0] meta;
  wire [M-1:0] o_mask;
  {encoder.top} encoder(.clk(clk), .rst(rst), .i_valid(valid), .i_ready(u_ready), .i_mask(mask),
    .o_valid(between_valid), .o_ready(between_ready), .o_meta(meta));
  {decoder.top} decoder(.clk(clk), .rst(rst), .i_valid(between_valid), .i_ready(between_ready),
    .i_meta(meta ^ {flip}), .o_valid(u_valid), .o_ready(ready), .o_mask(o_mask), .o_error(o_error));
  {CODES}
  assign ok = {WIRES_HOLD}
    && (kept != N || (o_mask == mask && o_error == 0 && meta == {expected}));
endmodule
"""


PATTERNS = [(2, 4), (3, 7), (4, 4), (1, 5)]


@pytest.mark.parametrize("metadata", ["bitmap", "index"])
@pytest.mark.parametrize(("n", "m"), PATTERNS)
def test_decoding_undoes_encoding(n, m, metadata, tmp_path):
    units = pair_of(n, m, metadata)
    good = round_trip_miter("good", *units)
    prove(tmp_path, units, good, round_trip_miter("bad", *units, flip=1))


def decoder_miter(name: str, config: UnitConfig, **mistake: str) -> str:
    rule = {"legal": "ones == N", "wrong": "<=", **mistake}
    read = READ[config.metadata].format(**rule)
    return f"""
module {name}({FREE}, input [{config.metadata_width - 1}:0] meta, output ok);
  {parameters(config)}
  wire u_valid, u_ready, o_error;
  wire [M-1:0] o_mask;
  wire [M-1:0] mask = 0;
  {config.top} unit({HANDSHAKE}, .i_meta(meta), .o_mask(o_mask), .o_error(o_error));
  {CODES}
  {read}
  assign ok = {WIRES_HOLD} && o_error == !legal && o_mask == named;
endmodule
"""


@pytest.mark.parametrize("metadata", ["bitmap", "index"])
@pytest.mark.parametrize(("n", "m"), PATTERNS)
def test_decoder_reports_every_illegal_code(n, m, metadata, tmp_path):
    config = UnitConfig(n=n, m=m, unit="decoder", metadata=metadata, pipeline=0)
    # Too few ones would be legal; an index may come twice; with one index, none is legal.
    mistake = {"legal": "ones <= N", "wrong": "<" if n > 1 else ">"}
    good = decoder_miter("good", config)
    prove(tmp_path, [config], good, decoder_miter("bad", config, **mistake))
