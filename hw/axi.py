"""Sizes of AXI4-Stream beats, and the signals of an AXI4-Lite port."""

from typing import Literal

__all__ = ["ADDRESS_WIDTH", "LITE_SIGNALS", "beat_count", "beat_width", "container_width"]

#: Bits of an address: 512 bytes.
ADDRESS_WIDTH = 9

#: Signals of a subordinate's port: direction and bits.
LITE_SIGNALS: dict[str, tuple[Literal["input", "output"], int]] = {
    "awaddr": ("input", ADDRESS_WIDTH),
    "awprot": ("input", 3),
    "awvalid": ("input", 1),
    "awready": ("output", 1),
    "wdata": ("input", 32),
    "wstrb": ("input", 4),
    "wvalid": ("input", 1),
    "wready": ("output", 1),
    "bresp": ("output", 2),
    "bvalid": ("output", 1),
    "bready": ("input", 1),
    "araddr": ("input", ADDRESS_WIDTH),
    "arprot": ("input", 3),
    "arvalid": ("input", 1),
    "arready": ("output", 1),
    "rdata": ("output", 32),
    "rresp": ("output", 2),
    "rvalid": ("output", 1),
    "rready": ("input", 1),
}


def beat_width(bits: int, word: int) -> int:
    """Bits of a beat: those of a word, or whole bytes that hold all of a smaller payload."""
    return min(word, (bits + 7) // 8 * 8)


def beat_count(bits: int, word: int) -> int:
    """Beats of a payload."""
    return -(-bits // word)


def container_width(bits: int) -> int:
    """The least of 8, 16, 32, 64 that is at least `bits`: what software reads a number from."""
    return max(8, 1 << (bits - 1).bit_length())
