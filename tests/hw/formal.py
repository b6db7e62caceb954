"""Proofs over all inputs, by yosys's SAT solver, and the definitions that units are held to.

The definitions are written in Verilog here, apart from the gateware.  Each proof is tried with
mistakes, which must be found: a proof that cannot fail proves nothing.
"""

from collections.abc import Mapping
from functools import cache
from math import comb
from pathlib import Path

from hw.config import UnitConfig
from hw.emit import emit
from hw.ports import Field, input_payload, output_payload
from tests.hw.yosys import run_yosys

__all__ = ["clocked_miter", "miter", "prove"]

#: A text that occurs once in a module, and what takes its place.
Mistake = tuple[str, str]


@cache
def _verilog(config: UnitConfig) -> str:
    return emit(config).verilog


def prove(
    folder: Path, units: list[UnitConfig], good: str, *mistakes: Mistake, steps: int | None = None
) -> None:
    """Prove output `ok` of a module to be 1, and with each mistake find an input where it is 0.

    Parameters
    ----------
    folder
        Takes the files.
    units
        What the module has in it.
    good
        Text of the module, called ``miter``.
    mistakes
        Each makes another module of it.
    steps
        Clock cycles, from the one in which the module's register ``cycle`` is 0 on; all other
        registers start with anything.  None: there is no clock.
    """
    assert mistakes
    modules = {"miter": good}
    for number, (right, wrong) in enumerate(mistakes):
        assert good.count(right) == 1, f"{right!r} is there {good.count(right)} times"
        name = f"mistake{number}"
        modules[name] = good.replace(right, wrong).replace("module miter(", f"module {name}(")
    names = []
    for number, text in enumerate([*map(_verilog, units), *modules.values()]):
        path = folder / f"{number}.v"
        path.write_text(text, encoding="utf-8")
        names.append(str(path))
    unrolled: list[str] = []
    proved = "SAT proof finished - no model found: SUCCESS!"
    refuted = "SAT proof finished - model found: FAIL!"
    if steps is not None:
        unrolled = ["-seq", "1", "-set-at", "1", "cycle", "0"]
        unrolled += ["-tempinduct-baseonly", "-maxsteps", str(steps)]
        proved = f"proved base case for {steps} steps: SUCCESS!"
        refuted = "proof finished - model found for base case: FAIL!"
    commands = [["read_verilog", *names]]
    for module in modules:
        flag = "-verify" if module == "miter" else "-falsify"
        commands += [
            ["design", "-save", "all"],
            ["hierarchy", "-check", "-top", module],
            ["proc"],
            ["flatten"],
            ["memory"],
            ["opt", "-full"],
            ["sat", flag, *unrolled, "-prove", "ok", "1", "-show-inputs", module],
            ["design", "-load", "all"],
        ]
    log = run_yosys(folder, commands)
    assert (log.count(proved), log.count(refuted)) == (1, len(mistakes))
    assert log.index(proved) < log.index(refuted)


#: What a kept lane, the `slot`-th from 0 on, adds to the metadata of its mask.
_WRITE = {
    "bitmap": "meta_of[lane] = 1;",
    "bitmap-implied": "if (lane < M - 1) meta_of[lane] = 1;",
    "index": "meta_of[slot*I +: I] = lane;",
    "enumerative": "meta_of = meta_of + BINOMIALS[(lane*N + slot)*B +: B];",
}

#: The magnitude of a code.
_KEY = {"int": "x[W-1] ? -x : x", "float": "{1'b0, x[W-2:0]}"}


def _definitions(config: UnitConfig) -> str:
    """Constants and functions of the pattern, the format and the code of a unit, in Verilog.

    `meta_of` is that of a mask of N ones.  `mask_of` looks for the mask that has the metadata; it
    is 0 where no mask has.
    """
    width = config.metadata_width
    binomials = 0
    for lane in range(config.m):
        for slot in range(config.n):
            term = comb(lane, slot + 1) % (1 << width)
            binomials |= term << (lane * config.n + slot) * width
    return f"""
  localparam N = {config.n}, M = {config.m}, W = {config.format.width}, I = {config.index_width};
  localparam B = {width}, V = {config.weight_format.width}, A = {config.acc_width};
  // C(lane, slot + 1)
  localparam [M*N*B-1:0] BINOMIALS = {config.m * config.n * width}'h{binomials:x};

  function [W-1:0] key_of(input [W-1:0] x);
    key_of = {_KEY[config.format.kind]};
  endfunction

  // Lane j is kept iff fewer than N lanes beat it; lane i beats lane j iff key(i) > key(j), or the
  // keys are equal and i < j.
  function [M-1:0] kept_of(input [M*W-1:0] data);
    integer i, j, beaten;
    reg [W-1:0] a, b;
    for (j = 0; j < M; j = j + 1) begin
      beaten = 0;
      for (i = 0; i < M; i = i + 1) begin
        a = key_of(data[i*W +: W]);
        b = key_of(data[j*W +: W]);
        if (a > b || (a == b && i < j)) beaten = beaten + 1;
      end
      kept_of[j] = beaten < N;
    end
  endfunction

  function [31:0] count_of(input [M-1:0] mask);
    integer lane;
    begin
      count_of = 0;
      for (lane = 0; lane < M; lane = lane + 1) count_of = count_of + mask[lane];
    end
  endfunction

  function [B-1:0] meta_of(input [M-1:0] mask);
    integer lane, slot;
    begin
      meta_of = 0;
      slot = 0;
      for (lane = 0; lane < M; lane = lane + 1) if (mask[lane] && slot < N) begin
        {_WRITE[config.metadata]}
        slot = slot + 1;
      end
    end
  endfunction

  function [M-1:0] mask_of(input [B-1:0] meta);
    integer mask;
    begin
      mask_of = 0;
      for (mask = 0; mask < 1 << M; mask = mask + 1)
        if (count_of(mask) == N && meta == meta_of(mask)) mask_of = mask;
    end
  endfunction

  function [N*W-1:0] values_of(input [M*W-1:0] data, input [M-1:0] mask);
    integer lane, slot;
    begin
      values_of = 0;
      slot = 0;
      for (lane = 0; lane < M; lane = lane + 1) if (mask[lane] && slot < N) begin
        values_of[slot*W +: W] = data[lane*W +: W];
        slot = slot + 1;
      end
    end
  endfunction

  function [M*W-1:0] data_of(input [N*W-1:0] values, input [M-1:0] mask);
    integer lane, slot;
    begin
      data_of = 0;
      slot = 0;
      for (lane = 0; lane < M; lane = lane + 1) if (mask[lane] && slot < N) begin
        data_of[lane*W +: W] = values[slot*W +: W];
        slot = slot + 1;
      end
    end
  endfunction
"""


def _declared(kind: str, prefix: str, payload: Mapping[str, Field]) -> list[str]:
    return [
        f"{kind} [{field.count * field.width - 1}:0] {prefix}_{name}"
        for name, field in payload.items()
    ]


def _instance(unit: UnitConfig, name: str, signals: Mapping[str, str]) -> str:
    """A unit, its ports connected to the signals of the same names or to those given."""
    payload = [f"i_{name}" for name in input_payload(unit)]
    payload += [f"o_{name}" for name in output_payload(unit)]
    connected = ", ".join(
        f".{port}({signals.get(port, port)})"
        for port in ("clk", "rst", "i_valid", "i_ready", "o_valid", "o_ready", *payload)
    )
    return f"{unit.top} {name}({connected});"


def _module(
    unit: UnitConfig, inputs: list[str], wires: list[str], lines: list[str], ok: str
) -> str:
    """Module ``miter`` of these, after the definitions for a unit."""
    head = f"module miter({', '.join(inputs)}, output ok);"
    declared = [f"{wire};" for wire in wires]
    rest = [*lines, f"assign ok = {ok};", "endmodule", ""]
    return "\n".join([head, _definitions(unit), *declared, *rest])


def miter(
    unit: UnitConfig, expected: str, body: str = "", *, front: UnitConfig | None = None
) -> str:
    """Module ``miter`` of one combinational unit, or of two, one behind the other.

    Its output `ok` says that the handshake is wires and that `expected` is true.

    Parameters
    ----------
    unit
        The last unit: its outputs are called ``o_...``.
    expected
        Of the names of ports, and of the unit's definitions.
    body
        More of the module.
    front
        The unit before it, if any: it has the inputs ``i_...`` and hands on ``mid_...``.
    """
    first = front or unit
    inputs = ["input clk", "input rst", "input i_valid", "input o_ready"]
    inputs += _declared("input", "i", input_payload(first))
    wires = ["wire i_ready, o_valid", *_declared("wire", "o", output_payload(unit))]
    instances = [_instance(unit, "unit", {})]
    if front:
        middle = output_payload(front)
        wires += ["wire mid_valid, mid_ready", *_declared("wire", "mid", middle)]
        names = ("valid", "ready", *middle)
        instances = [
            _instance(front, "front", {f"o_{name}": f"mid_{name}" for name in names}),
            _instance(unit, "unit", {f"i_{name}": f"mid_{name}" for name in names}),
        ]
    holds = "o_valid == i_valid && i_ready == o_ready"
    return _module(unit, inputs, wires, [*instances, body], f"{holds} && ({expected})")


def clocked_miter(unit: UnitConfig, expected: str, body: str = "", *, held: bool = False) -> str:
    """Module ``miter`` of a unit that is reset in cycle 0; `ok` says that `expected` is true later.

    Parameters
    ----------
    unit
        All its ports go by their names.
    expected
        Of these names, of ``cycle``, and of the unit's definitions.
    body
        More of the module.
    held
        Whether the payload is any, but the same in all cycles, and nothing ever stalls; otherwise
        all inputs are free in each cycle.
    """
    payload = input_payload(unit)
    inputs = ["input clk", *_declared("input", "free" if held else "i", payload)]
    wires = ["reg [7:0] cycle = 0", "wire rst = cycle == 0", "wire i_ready, o_valid"]
    wires += _declared("wire", "o", output_payload(unit))
    lines = ["always @(posedge clk) cycle <= cycle + 1;", _instance(unit, "unit", {}), body]
    if held:
        wires += ["wire i_valid = 1, o_ready = 1", *_declared("reg", "i", payload)]
        lines += [
            f"always @(posedge clk) if (cycle == 0) i_{name} <= free_{name};" for name in payload
        ]
    else:
        inputs += ["input i_valid", "input o_ready"]
    return _module(unit, inputs, wires, lines, f"cycle == 0 || ({expected})")
