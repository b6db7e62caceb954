"""Evaluates emitted Verilog on many inputs at once, flip-flops included.

Yosys makes a netlist of simple gates of the text.  A net then is one integer with one bit for each
vector, so that a gate takes one operation for all vectors, be they 65,536.
"""

import json
import random
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from tests.hw.yosys import run_yosys

__all__ = ["Gates", "Run", "counted", "from_planes", "to_planes"]

#: Nets of a port or a gate: a number, or a constant as the netlist writes it.
Net = int | str

_SCRIPT = [
    ["proc"],
    ["flatten", "-noscopeinfo"],
    ["opt_expr"],
    ["opt_clean"],
    ["memory_map"],
    ["techmap"],
    ["dfflegalize", "-cell", "$_DFF_P_", "01"],
    ["techmap"],
    ["simplemap"],
    ["opt_expr"],
    ["opt_merge"],
    ["opt_clean"],
]


def _netlist(verilog: str, top: str) -> dict:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source, result = folder / "unit.v", folder / "unit.json"
        source.write_text(verilog, encoding="utf-8")
        commands = [
            ["read_verilog", str(source)],
            ["hierarchy", "-check", "-top", top],
            *_SCRIPT,
            ["write_json", str(result)],
        ]
        run_yosys(folder, commands)
        return json.loads(result.read_text(encoding="utf-8"))["modules"][top]


class Gates:
    """The gates of one module.

    Parameters
    ----------
    verilog
        Text with the module in it.
    top
        Name of the module.
    """

    def __init__(self, verilog: str, top: str) -> None:
        module = _netlist(verilog, top)
        self.inputs: dict[str, list[Net]] = {}
        self.outputs: dict[str, list[Net]] = {}
        for name, port in module["ports"].items():
            (self.inputs if port["direction"] == "input" else self.outputs)[name] = port["bits"]
        self.flip_flops: list[tuple[Net, Net]] = []
        gates: dict[Net, tuple[str, tuple[Net, ...]]] = {}
        for cell in module["cells"].values():
            nets = {pin: bits[0] for pin, bits in cell["connections"].items()}
            if cell["type"] == "$_DFF_P_":
                self.flip_flops.append((nets["D"], nets["Q"]))
            else:
                pins = tuple(nets[pin] for pin in "ABS" if pin in nets)
                gates[nets["Y"]] = (cell["type"], pins)
        self.order = self._sorted(gates)

    def inverted(self) -> Iterator[tuple[str, Net, tuple[Net, ...]]]:
        """Each gate in turn, which does the opposite while it is the one."""
        sound = self.order
        for place, (kind, net, pins) in enumerate(sound):
            wrong = f"not {net}"
            faulty = [(kind, wrong, pins), ("$_NOT_", net, (wrong,))]
            self.order = [*sound[:place], *faulty, *sound[place + 1 :]]
            yield sound[place]
        self.order = sound

    @staticmethod
    def _sorted(
        gates: dict[Net, tuple[str, tuple[Net, ...]]],
    ) -> list[tuple[str, Net, tuple[Net, ...]]]:
        """The gates, each after those that drive it."""
        order: list[tuple[str, Net, tuple[Net, ...]]] = []
        done: set[Net] = set()
        for last in gates:
            stack, path = [last], set()
            while stack:
                net = stack[-1]
                if net in done or net not in gates:
                    stack.pop()
                    continue
                kind, pins = gates[net]
                missing = [pin for pin in pins if pin in gates and pin not in done]
                if missing:
                    assert net not in path, f"combinational loop through net {net}"
                    path.add(net)
                    stack += missing
                    continue
                done.add(net)
                order.append((kind, net, pins))
                stack.pop()
        return order


class Run:
    """A number of copies of a module that run side by side, each on a vector of its own.

    The flip-flops start with random values.

    Parameters
    ----------
    gates
        The module.
    vectors
        Number of copies.
    """

    def __init__(self, gates: Gates, vectors: int) -> None:
        self.gates = gates
        self.ones = (1 << vectors) - 1
        rng = random.Random(vectors)
        # What is undefined may be anything.
        self._nets: dict[Net, int] = {"0": 0, "1": self.ones, "x": rng.getrandbits(vectors)}
        for _, q in gates.flip_flops:
            self._nets[q] = rng.getrandbits(vectors)

    def settle(self, **inputs: int | Sequence[int]) -> None:
        """Give inputs, the others keep theirs: a list of planes, or 0 or 1 for all vectors."""
        nets, ones = self._nets, self.ones
        for name, planes in inputs.items():
            bits = self.gates.inputs[name]
            if isinstance(planes, int):
                planes = [ones if planes >> place & 1 else 0 for place in range(len(bits))]
            for net, plane in zip(bits, planes, strict=True):
                nets[net] = plane
        for kind, net, pins in self.gates.order:
            match kind:
                case "$_AND_":
                    nets[net] = nets[pins[0]] & nets[pins[1]]
                case "$_OR_":
                    nets[net] = nets[pins[0]] | nets[pins[1]]
                case "$_XOR_":
                    nets[net] = nets[pins[0]] ^ nets[pins[1]]
                case "$_NOT_":
                    nets[net] = nets[pins[0]] ^ ones
                case "$_MUX_":
                    a, b, choice = (nets[pin] for pin in pins)
                    nets[net] = a ^ ((a ^ b) & choice)
                case "$_XNOR_":
                    nets[net] = nets[pins[0]] ^ nets[pins[1]] ^ ones
                case "$_NAND_":
                    nets[net] = (nets[pins[0]] & nets[pins[1]]) ^ ones
                case "$_NOR_":
                    nets[net] = (nets[pins[0]] | nets[pins[1]]) ^ ones
                case "$_ANDNOT_":
                    nets[net] = nets[pins[0]] & (nets[pins[1]] ^ ones)
                case "$_ORNOT_":
                    nets[net] = nets[pins[0]] | (nets[pins[1]] ^ ones)
                case "$_BUF_":
                    nets[net] = nets[pins[0]]
                case _:
                    raise NotImplementedError(kind)

    def clock(self) -> None:
        """A rising edge; outputs are old until inputs settle again."""
        after = [(q, self._nets[d]) for d, q in self.gates.flip_flops]
        self._nets.update(after)

    def __getitem__(self, name: str) -> list[int]:
        """The planes of an output, its lowest bit first."""
        return [self._nets[net] for net in self.gates.outputs[name]]

    def bit(self, name: str) -> bool:
        """An output of one bit that is the same in all vectors."""
        (plane,) = self[name]
        assert plane in (0, self.ones), f"{name} must be the same in all vectors"
        return bool(plane)


def counted(bits: int) -> list[int]:
    """Planes of all 2**bits numbers in order."""
    ones = (1 << (1 << bits)) - 1
    # Runs of 2**place zeros and as many ones.
    return [ones // ((1 << (1 << place)) + 1) << (1 << place) & ones for place in range(bits)]


def to_planes(numbers: np.ndarray, width: int) -> list[int]:
    """Numbers (vectors, count) as planes: the bits of the first, lowest first, and so on."""
    bits = (numbers[:, :, None] >> np.arange(width)) & 1
    packed = np.packbits(bits.astype(np.uint8).reshape(len(numbers), -1), axis=0, bitorder="little")
    return [int.from_bytes(column.tobytes(), "little") for column in packed.T]


def from_planes(planes: Sequence[int], vectors: int) -> np.ndarray:
    """The bits of planes (vectors, count)."""
    size = -(-vectors // 8)
    packed = np.frombuffer(b"".join(plane.to_bytes(size, "little") for plane in planes), np.uint8)
    columns = packed.reshape(len(planes), size)
    return np.unpackbits(columns, axis=1, count=vectors, bitorder="little").T
