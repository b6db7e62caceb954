"""Registers of a unit as software sees them: one description, from which everything else is made.

The gateware (`hw.axi_lite`), the page of the documentation, the C header and the Python class
(`hw.register_files`) all come from `TILE_REGISTERS`.
"""

from dataclasses import dataclass

__all__ = ["ACCESSES", "TILE_REGISTERS", "Register", "RegisterField"]

#: What software can do with a field.
ACCESSES = {
    "ro": "read",
    "rw": "read and write",
    "w1c": "read; writing 1 clears it",
    "wo": "write; acts at once, reads 0",
}


@dataclass(frozen=True)
class RegisterField:
    """Some bits of a register.

    Parameters
    ----------
    name
        Lower-case word.
    low
        Lowest bit.
    width
        Bits.
    access
        One of `ACCESSES`.
    text
        What it means, in a line.
    reset
        What it holds after reset.
    """

    name: str
    low: int
    width: int
    access: str
    text: str
    reset: int = 0

    @property
    def mask(self) -> int:
        """Its bits in the register."""
        return ((1 << self.width) - 1) << self.low


@dataclass(frozen=True)
class Register:
    """A register of 32 bits, or several in a row.

    Parameters
    ----------
    name
        Lower-case words, joined by ``_``.
    offset
        Address in bytes.
    text
        What it is, in a line.
    fields
        Its fields, in ascending order.
    count
        How many there are; register k is at ``offset + 4 * k``.
    """

    name: str
    offset: int
    text: str
    fields: tuple[RegisterField, ...]
    count: int = 1


def _whole(access: str, text: str, name: str = "value") -> tuple[RegisterField, ...]:
    """The field of a register that has but one."""
    return (RegisterField(name, 0, 32, access, text),)


#: The registers of a tile, the same for all of them; what a tile lacks answers with an error.
TILE_REGISTERS = (
    Register(
        "id", 0x00, "what this is",
        (
            RegisterField("version", 0, 16, "ro", "of this map: 1"),
            RegisterField("magic", 16, 16, "ro", "0x4E4D, NM in ASCII"),
        ),
    ),
    Register(
        "pattern_shape", 0x04, "the pattern",
        (
            RegisterField("n", 0, 8, "ro", "lanes kept of each group; M in a dense tile"),
            RegisterField("m", 8, 8, "ro", "lanes of a group"),
            RegisterField("patterns", 16, 8, "ro", "number of patterns to choose from; 1: none"),
        ),
    ),
    Register(
        "tile_shape", 0x08, "the tile",
        (
            RegisterField("rows", 0, 16, "ro", "rows of activations"),
            RegisterField("cols", 16, 16, "ro", "columns of weights"),
        ),
    ),
    Register(
        "formats", 0x0C, "number formats",
        (
            RegisterField("data_width", 0, 8, "ro", "bits of an activation"),
            RegisterField("weight_width", 8, 8, "ro", "bits of a weight"),
            RegisterField("sum_width", 16, 8, "ro", "bits of a sum in the stream of results"),
            RegisterField("scale_width", 24, 8, "ro", "bits of a scale; 0: no scales"),
        ),
    ),
    Register(
        "control", 0x10, "what the tile shall do",
        (
            RegisterField("enable", 0, 1, "rw", "take activations and weights", reset=1),
            RegisterField("reset", 1, 1, "wo", "empty the tile and the scales, clear the counters"),
        ),
    ),
    Register(
        "status", 0x14, "what the tile does",
        (
            RegisterField("busy", 0, 1, "ro", "something is inside, or a result has not left"),
            RegisterField("scale_ready", 1, 1, "ro", "there is room for a word of scales"),
            RegisterField("pattern_error", 8, 1, "w1c", "a row was given a pattern that does not "
                          "exist"),
            RegisterField("last_error", 9, 1, "w1c", "TLAST inside a step, or inside a reduction "
                          "that has a length"),
            RegisterField("scale_error", 10, 1, "w1c", "the table of scales was not as long as the "
                          "reduction"),
            RegisterField("scale_lost", 11, 1, "w1c", "a word of scales came without room for it"),
        ),
    ),
    Register("pattern", 0x18, "pattern of all rows, from the next reduction on",
             _whole("rw", "its number in the list")),
    Register("length", 0x1C, "length of a reduction, from the next one on",
             _whole("rw", "steps; 0: TLAST of the activations ends it")),
    Register("shift", 0x20, "what is subtracted from all activations",
             _whole("rw", "code in the activations' format, in the lowest bits")),
    Register("steps", 0x24, "steps taken since reset", _whole("ro", "modulo 2^32")),
    Register("results", 0x28, "results sent since reset", _whole("ro", "modulo 2^32")),
    Register("cycles", 0x2C, "cycles in which the tile was busy, since reset",
             _whole("ro", "modulo 2^32")),
    Register("scale_tokens", 0x30, "for how many reductions the table of scales serves",
             _whole("rw", "looked at with its last word")),
    Register(
        "scale_push", 0x34, "take scale_word as the next word of the table",
        (
            RegisterField("push", 0, 1, "wo", "1: take it"),
            RegisterField("last", 1, 1, "wo", "1: it is the last word of the table"),
        ),
    ),
    Register("scale_word", 0x100, "scales of one group, those of lane 0 lowest",
             _whole("rw", "bits 32 k to 32 k + 31"), count=64),
)  # fmt: skip
