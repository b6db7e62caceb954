"""Registers of a tile behind AXI4-Lite.

Python alone, needs nothing.  `FIELDS` is made from hw/registers.py by
`python -m hw.register_files`.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

__all__ = ["FIELDS", "Field", "TileRegisters"]


class Field(NamedTuple):
    """Some bits of a register, or of several in a row."""

    offset: int
    low: int
    width: int
    access: str
    places: int


#: All fields, by the names of their register and their own.
FIELDS = {
    # of this map: 1
    "id_version": Field(0x000, 0, 16, "ro", 1),
    # 0x4E4D, NM in ASCII
    "id_magic": Field(0x000, 16, 16, "ro", 1),
    # lanes kept of each group; M in a dense tile
    "pattern_shape_n": Field(0x004, 0, 8, "ro", 1),
    # lanes of a group
    "pattern_shape_m": Field(0x004, 8, 8, "ro", 1),
    # number of patterns to choose from; 1: none
    "pattern_shape_patterns": Field(0x004, 16, 8, "ro", 1),
    # rows of activations
    "tile_shape_rows": Field(0x008, 0, 16, "ro", 1),
    # columns of weights
    "tile_shape_cols": Field(0x008, 16, 16, "ro", 1),
    # bits of an activation
    "formats_data_width": Field(0x00C, 0, 8, "ro", 1),
    # bits of a weight
    "formats_weight_width": Field(0x00C, 8, 8, "ro", 1),
    # bits of a sum in the stream of results
    "formats_sum_width": Field(0x00C, 16, 8, "ro", 1),
    # bits of a scale; 0: no scales
    "formats_scale_width": Field(0x00C, 24, 8, "ro", 1),
    # take activations and weights
    "control_enable": Field(0x010, 0, 1, "rw", 1),
    # empty the tile and the scales, clear the counters
    "control_reset": Field(0x010, 1, 1, "wo", 1),
    # something is inside, or a result has not left
    "status_busy": Field(0x014, 0, 1, "ro", 1),
    # there is room for a word of scales
    "status_scale_ready": Field(0x014, 1, 1, "ro", 1),
    # a row was given a pattern that does not exist
    "status_pattern_error": Field(0x014, 8, 1, "w1c", 1),
    # TLAST inside a step, or inside a reduction that has a length
    "status_last_error": Field(0x014, 9, 1, "w1c", 1),
    # the table of scales was not as long as the reduction
    "status_scale_error": Field(0x014, 10, 1, "w1c", 1),
    # a word of scales came without room for it
    "status_scale_lost": Field(0x014, 11, 1, "w1c", 1),
    # its number in the list
    "pattern_value": Field(0x018, 0, 32, "rw", 1),
    # steps; 0: TLAST of the activations ends it
    "length_value": Field(0x01C, 0, 32, "rw", 1),
    # code in the activations' format, in the lowest bits
    "shift_value": Field(0x020, 0, 32, "rw", 1),
    # modulo 2^32
    "steps_value": Field(0x024, 0, 32, "ro", 1),
    # modulo 2^32
    "results_value": Field(0x028, 0, 32, "ro", 1),
    # modulo 2^32
    "cycles_value": Field(0x02C, 0, 32, "ro", 1),
    # looked at with its last word
    "scale_tokens_value": Field(0x030, 0, 32, "rw", 1),
    # 1: take it
    "scale_push_push": Field(0x034, 0, 1, "wo", 1),
    # 1: it is the last word of the table
    "scale_push_last": Field(0x034, 1, 1, "wo", 1),
    # bits 32 k to 32 k + 31
    "scale_word_value": Field(0x100, 0, 32, "rw", 64),
}


class TileRegisters:
    """Registers by the names in `FIELDS`.

    Parameters
    ----------
    read
        Gives the word at an offset.
    write
        Takes an offset and the word to be written there.
    """

    def __init__(self, read: Callable[[int], int], write: Callable[[int, int], None]) -> None:
        self._read = read
        self._write = write

    def get(self, name: str, place: int = 0) -> int:
        """What a field holds.

        Raises
        ------
        KeyError
            There is no such field.
        IndexError
            There are fewer registers of that name.
        """
        field = FIELDS[name]
        return (self._read(_address(name, place)) >> field.low) & ((1 << field.width) - 1)

    def set(self, name: str, value: int, place: int = 0) -> None:
        """Write a field; the others of its register stay as they are.

        A field that is cleared by writing 1 is cleared where `value` has ones.

        Raises
        ------
        KeyError, IndexError
            As of `get`.
        ValueError
            The field cannot be written, or the value has more bits.
        """
        field = FIELDS[name]
        address = _address(name, place)
        if field.access == "ro":
            raise ValueError(f"{name} must be a field that can be written")
        if not 0 <= value < 1 << field.width:
            highest = (1 << field.width) - 1
            raise ValueError(f"{name} must be from 0 to {highest}, not {value}")
        word = value << field.low
        # Only what reads back as it was written may be written again.
        stays = sum(
            ((1 << other.width) - 1) << other.low
            for key, other in FIELDS.items()
            if other.offset == field.offset and other.access == "rw" and key != name
        )
        if stays:
            word |= self._read(address) & stays
        self._write(address, word)

    def push_scales(self, words: Sequence[int], *, last: bool) -> None:
        """Give the tile the scales of one group.

        Parameters
        ----------
        words
            The scales as words of 32 bits, that of lane 0 in the lowest bits of the first.
        last
            Whether they are those of the last group; ``scale_tokens`` must hold how many
            reductions the table serves.
        """
        for place, word in enumerate(words):
            self.set("scale_word_value", word, place)
        push, end = FIELDS["scale_push_push"], FIELDS["scale_push_last"]
        self._write(push.offset, 1 << push.low | int(last) << end.low)


def _address(name: str, place: int) -> int:
    field = FIELDS[name]
    if not 0 <= place < field.places:
        last = field.places - 1
        raise IndexError(f"{name} must have a place from 0 to {last}, not {place}")
    return field.offset + 4 * place
