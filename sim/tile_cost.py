"""What a matrix costs on a tile: cycles, bytes to and from memory, energy.

Cycles are those of the hardware, to the last one.  Bytes follow from a rule of what the buffer
beside the tile keeps.  Energy is a model: counts times published energies of one operation.
"""

from collections.abc import Iterator
from dataclasses import astuple, dataclass, fields
from fractions import Fraction
from math import ceil

from hw.config import UnitConfig
from sim.model_shapes import Linear
from sw.errors import InputError
from sw.packed import PackedFormat

__all__ = [
    "ENERGY_SOURCE",
    "MULTIPLICATION_ENERGIES",
    "Cost",
    "Energies",
    "System",
    "kept_share",
    "matrix_cost",
    "matrix_cycles",
    "multiplication_energy",
]

#: Where the default energies are from, all of one table.
ENERGY_SOURCE = "M. Horowitz, Computing's energy problem, ISSCC 2014: 45 nm, 0.9 V"

#: pJ of a multiplication and the addition of its product, by format: int8 0.2 and a 32-bit addition
#: 0.1; fp16 1.1 and an fp32 addition 0.9.  The table has no bf16: that of fp16 stands for it.
MULTIPLICATION_ENERGIES = {"int8": 0.2 + 0.1, "fp16": 1.1 + 0.9, "bf16": 1.1 + 0.9}


@dataclass(frozen=True, kw_only=True)
class Energies:
    """What one of each takes.

    Parameters
    ----------
    multiplication
        pJ of a multiplication and the addition of its product.
    selection
        What the logic of a sparse tile takes beside, as a share of its multiplications.  A sparse
        tile has 1.22 to 1.31 times the area that N/M of the dense tile have, 1.25 at 8:16
        (docs/tile.md); sparsifiers, multiplexers and registers are in it.
    buffer
        pJ of a bit into or out of the buffer: 100 pJ for 64 bits of a cache of 1 MB.
    memory
        pJ of a bit from or to memory: 1.3 nJ for 64 bits, the lower end of the table's 1.3 to
        2.6 nJ.

    Raises
    ------
    InputError
        One is negative, infinite or no number.
    """

    multiplication: float
    selection: float = 0.25
    buffer: float = 100 / 64
    memory: float = 1300 / 64

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0 <= value < float("inf"):
                raise InputError(f"{field.name} energy must be at least 0, not {value:g}")


@dataclass(frozen=True, kw_only=True)
class System:
    """What there is around a tile.

    Parameters
    ----------
    buffer
        Bytes of the buffer between memory and tile.
    result_width
        Bits of a result in memory.
    packed
        Whether activations lie in memory as a sparsifier packs them; False: all lanes of them.
    gather
        Whether only those rows of weights are read whose lane some token keeps.

    Raises
    ------
    InputError
        A number is below 1.
    """

    buffer: int = 1 << 20
    result_width: int = 32
    packed: bool = True
    gather: bool = False

    def __post_init__(self) -> None:
        for name in ("buffer", "result_width"):
            value = getattr(self, name)
            if value < 1:
                raise InputError(f"{name.replace('_', '-')} must be at least 1, not {value}")


@dataclass(frozen=True)
class Cost:
    """Costs of matrices, which add up.

    Parameters
    ----------
    cycles
        From the first transfer into the tile to the last result, both included.
    multiplications
        Those of a kept lane of a token with a weight.
    activation_bytes, weight_bytes
        Read from memory.
    result_bytes
        Written to memory.
    tile_bytes
        Between buffer and tile.
    """

    cycles: int = 0
    multiplications: int = 0
    activation_bytes: int = 0
    weight_bytes: int = 0
    result_bytes: int = 0
    tile_bytes: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    @property
    def memory_bytes(self) -> int:
        """All bytes from and to memory."""
        return self.activation_bytes + self.weight_bytes + self.result_bytes

    def energy(self, energies: Energies, *, is_sparse: bool) -> float:
        """pJ: multiplications, with the selection if there is one, buffer and memory.

        Each byte of memory goes through the buffer on its way, beside what the tile takes and
        gives.
        """
        multiplication = energies.multiplication * (1 + energies.selection * is_sparse)
        return (
            self.multiplications * multiplication
            + 8 * (self.tile_bytes + self.memory_bytes) * energies.buffer
            + 8 * self.memory_bytes * energies.memory
        )


def multiplication_energy(config: UnitConfig) -> float:
    """The published energy of a multiplication of a tile's formats.

    Raises
    ------
    InputError
        There is none.
    """
    formats = [config.dtype, config.weight_format.name]
    if formats[0] != formats[1] or formats[0] not in MULTIPLICATION_ENERGIES:
        known = ", ".join(MULTIPLICATION_ENERGIES)
        raise InputError(
            f"multiplication energy must be given for formats other than two equal ones of {known},"
            f" not {' by '.join(formats)}"
        )
    return MULTIPLICATION_ENERGIES[formats[0]]


def matrix_cycles(config: UnitConfig, linear: Linear, tokens: int) -> int:
    """``ceil(T / R) ceil(O / C) ceil(L / M) + latency``.

    From the transfer of the first step to the last result, both cycles included, when nothing
    stalls.

    Parameters
    ----------
    config
        The tile.
    linear
        L inputs, O outputs.
    tokens
        T.

    Raises
    ------
    InputError
        A number is below 1.
    """
    for name, value in (
        ("tokens", tokens), ("inputs", linear.inputs), ("outputs", linear.outputs),
    ):  # fmt: skip
        if value < 1:
            raise InputError(f"{name} must be at least 1, not {value}")
    reductions = _ceil(tokens, config.rows) * _ceil(linear.outputs, config.cols)
    return reductions * _ceil(linear.inputs, config.m) + config.latency_cycles


def kept_share(config: UnitConfig, tokens: int) -> Fraction:
    """``1 - (1 - N/M)^T``: how many of the lanes at least one of T tokens is expected to keep.

    As if each token kept its lanes independently of the others, which is the most that can be
    expected: real tokens agree more.  Exactly N/M for one token.
    """
    return 1 - (1 - Fraction(config.n, config.m)) ** tokens


def matrix_cost(config: UnitConfig, linear: Linear, tokens: int, system: System) -> Cost:
    """Cost of T tokens times a matrix of weights.

    One block lies in the buffer while everything else passes it, whichever order reads less:

    - blocks of as many tokens as fit, in multiples of R: activations are read once, the weights
      once for each block;
    - blocks of as many columns as fit, in multiples of C: weights are read once, the activations
      once for each block;
    - where neither R tokens nor C columns fit nothing is kept: activations are read for each C
      columns, weights for each R tokens.

    Parameters
    ----------
    config
        The tile; its metadata is that of packed activations.
    linear
        The matrix.
    tokens
        T.
    system
        What is around the tile.

    Raises
    ------
    InputError
        A number is below 1.
    """
    cycles = matrix_cycles(config, linear, tokens)
    token = _token_bytes(config, linear.inputs, packed=system.packed)

    def weights(sizes: Iterator[int]) -> int:
        """Bytes of the weights, once for each block of so many tokens."""
        kinds: dict[int, int] = {}
        for size in sizes:
            kinds[size] = kinds.get(size, 0) + 1
        return sum(
            count * _weight_bytes(config, linear, size, gather=system.gather)
            for size, count in kinds.items()
        )

    column_bytes = Fraction(linear.inputs * config.weight_format.width, 8)
    block = int(system.buffer / Fraction(token)) // config.rows * config.rows
    column_block = int(system.buffer / column_bytes) // config.cols * config.cols
    passes = _ceil(linear.outputs, config.cols)
    rows = list(_blocks(tokens, config.rows))
    # Nothing kept is what the tile itself takes.
    taken = (passes * tokens * token, weights(iter(rows)))
    orders = [taken]
    if block:
        orders.append((tokens * token, weights(_blocks(tokens, block))))
    if column_block:
        column_passes = _ceil(linear.outputs, column_block)
        orders.append((column_passes * tokens * token, weights(iter([tokens]))))
    read = min(orders, key=sum)
    results = _ceil(tokens * linear.outputs * system.result_width, 8)
    groups = _ceil(linear.inputs, config.m)
    return Cost(
        cycles=cycles,
        multiplications=tokens * linear.outputs * groups * config.n,
        activation_bytes=read[0],
        weight_bytes=read[1],
        result_bytes=results,
        tile_bytes=sum(taken) + results,
    )


def _token_bytes(config: UnitConfig, inputs: int, *, packed: bool) -> int:
    """Bytes of the activations of one token."""
    if not packed or config.is_dense:
        return _ceil(inputs * config.format.width, 8)
    stream = PackedFormat(
        n=config.n, m=config.m, dtype=config.dtype, metadata=config.metadata
    )  # fmt: skip
    return sum(stream.byte_counts(_ceil(inputs, config.m)))


def _weight_bytes(config: UnitConfig, linear: Linear, tokens: int, *, gather: bool) -> int:
    """Bytes of the weights that are read for some tokens at once: all rows, or the kept ones.

    A row is the weights of one input.  The last group may have fewer than M.
    """
    rows = Fraction(linear.inputs)
    if gather:
        groups, rest = divmod(linear.inputs, config.m)
        expected = config.m * kept_share(config, tokens)
        rows = groups * expected + min(Fraction(rest), expected)
    return ceil(rows * linear.outputs * config.weight_format.width / 8)


def _blocks(count: int, size: int) -> Iterator[int]:
    """Sizes of the blocks that so many are cut into."""
    for start in range(0, count, size):
        yield min(size, count - start)


def _ceil(number: int, divisor: int) -> int:
    return -(-number // divisor)
