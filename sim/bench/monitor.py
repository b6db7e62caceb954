"""What watches one stream of a unit."""

from collections.abc import Sequence
from typing import Any

__all__ = ["Monitor"]


class Monitor:
    """Records the transfers of a stream and checks its protocol.

    At each falling edge it sees what the next rising edge will do.  While ``rst`` is high no
    transfer counts.  Once ``valid`` is high, it and the payload must hold until the transfer.

    Parameters
    ----------
    dut
        The unit.
    prefix
        ``i`` or ``o``, or that of a further stream.
    names
        Payload ports in the order of the tuples recorded.

    Attributes
    ----------
    words
        Payload of each transfer.
    cycles
        Cycle of each transfer, counted from the start of `watch`.
    """

    def __init__(self, dut: Any, prefix: str, names: Sequence[str]) -> None:
        self._prefix = prefix
        self._clk = dut.clk
        self._rst = dut.rst
        self._valid = getattr(dut, f"{prefix}_valid")
        self._ready = getattr(dut, f"{prefix}_ready")
        self._payload = [getattr(dut, f"{prefix[0]}_{name}") for name in names]
        self.words: list[tuple[int, ...]] = []
        self.cycles: list[int] = []
        self.cycle = 0

    def restart(self) -> None:
        """Forget the transfers so far."""
        self.words, self.cycles = [], []

    async def watch(self) -> None:
        """Record until cancelled."""
        waiting: tuple[int, ...] | None = None
        while True:
            await self._clk.falling_edge
            self.cycle += 1
            if self._rst.value == 1:
                waiting = None
                continue
            valid, ready = self._valid.value, self._ready.value
            for name, value in (("valid", valid), ("ready", ready)):
                assert value.is_resolvable, (
                    f"{self._prefix}_{name} must be 0 or 1, not {value} in cycle {self.cycle}"
                )
            if valid == 0:
                assert waiting is None, (
                    f"{self._prefix}_valid fell before its transfer in cycle {self.cycle}"
                )
                continue
            # An undefined bit of a valid payload is no digit, and fails here.
            word = tuple(int(str(handle.value), 2) for handle in self._payload)
            assert waiting is None or waiting == word, (
                f"the payload of {self._prefix} changed before its transfer in cycle {self.cycle}"
            )
            if ready == 1:
                self.words.append(word)
                self.cycles.append(self.cycle)
                waiting = None
            else:
                waiting = word
