"""What drives the two streams of a unit.

Inputs change just after a rising clock edge; whether a transfer happens at the next one is settled
by the falling edge between them.
"""

import random
from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import Any

__all__ = ["Sink", "Source", "no_stalls", "random_stalls"]


def no_stalls() -> Iterator[bool]:
    """Never pause."""
    return repeat(False)


def random_stalls(seed: int, *, start: float = 0.3, stop: float = 0.4) -> Iterator[bool]:
    """Pauses of geometric length between runs of geometric length, once a cycle."""
    rng = random.Random(seed)
    stalled = False
    while True:
        stalled = rng.random() >= stop if stalled else rng.random() < start
        yield stalled


class Source:
    """Drives the input stream: sends payloads in order and pauses when told to.

    While it pauses, the payload ports carry garbage: a unit must not look at them.

    Parameters
    ----------
    dut
        The unit.
    prefix
        ``i``, or that of a further input stream.
    names
        Payload ports in the order of the tuples sent.
    seed
        Of the garbage.

    Attributes
    ----------
    sent
        Payloads sent so far.
    """

    def __init__(self, dut: Any, prefix: str, names: Sequence[str], seed: int) -> None:
        self._clk = dut.clk
        self._valid = getattr(dut, f"{prefix}_valid")
        self._ready = getattr(dut, f"{prefix}_ready")
        self._rst = dut.rst
        self._payload = [getattr(dut, f"{prefix[0]}_{name}") for name in names]
        self._widths = [len(handle) for handle in self._payload]
        self._rng = random.Random(seed)
        self.sent = 0

    def idle(self) -> None:
        """Offer nothing."""
        self._valid.value = 0
        for handle, width in zip(self._payload, self._widths, strict=True):
            handle.value = self._rng.getrandbits(width)

    async def send(self, words: Sequence[tuple[int, ...]], stalls: Iterator[bool]) -> None:
        """Send all payloads; starts and ends just after a rising edge."""
        for word in words:
            while next(stalls):
                self.idle()
                await self._clk.rising_edge
            self._valid.value = 1
            for handle, value in zip(self._payload, word, strict=True):
                handle.value = value
            accepted = False
            while not accepted:
                await self._clk.falling_edge
                accepted = self._ready.value == 1 and self._rst.value == 0
                await self._clk.rising_edge
            self.sent += 1
        self.idle()


class Sink:
    """Drives ``o_ready``, or the ``ready`` of a further output stream."""

    def __init__(self, dut: Any, prefix: str) -> None:
        self._clk = dut.clk
        self._ready = getattr(dut, f"{prefix}_ready")

    def refuse(self) -> None:
        """Be not ready."""
        self._ready.value = 0

    async def accept(self, stalls: Iterator[bool]) -> None:
        """Be ready whenever not stalled, until cancelled."""
        while True:
            self._ready.value = int(not next(stalls))
            await self._clk.rising_edge
