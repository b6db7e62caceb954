"""What compares the transfers of a unit with those of its golden model."""

import os
from collections.abc import Sequence

from hw.config import UnitConfig
from hw.ports import output_streams
from sim.bench.golden import ask
from sim.bench.plan import GOLDEN, Transfers

__all__ = ["Checker"]

#: Mismatches that a message shows.
SHOWN = 5


class Checker:
    """Compares in order and bit for bit.

    The golden model is fed with what the input monitors saw, not with what was meant to be sent.

    Attributes
    ----------
    checked, mismatched
        Output transfers compared so far, and those that differed.
    """

    def __init__(self, config: UnitConfig) -> None:
        self._outputs = output_streams(config)
        self.checked = 0
        self.mismatched = 0

    def expected(self, received: Transfers) -> Transfers:
        """Output transfers that the golden model makes of the input transfers."""
        inputs = {
            prefix: words for prefix, words in received.items() if prefix not in self._outputs
        }
        outputs: Transfers = ask(os.environ[GOLDEN], "expected", inputs)
        return outputs

    def missing(self, transfers: Transfers) -> int:
        """Output transfers that the inputs make and that have not come yet."""
        return sum(
            max(0, len(expected) - len(transfers[prefix]))
            for prefix, expected in self.expected(transfers).items()
        )

    def check(self, transfers: Transfers, *, partial: bool = False) -> None:
        """Fail unless the outputs are exactly those of the inputs.

        Parameters
        ----------
        transfers
            Those of all streams, in and out.
        partial
            Whether outputs may be missing at the end, as when a reset cuts a stream short.
        """
        for prefix, expected in self.expected(transfers).items():
            self._check(prefix, transfers[prefix], expected, partial=partial)

    def _check(
        self,
        prefix: str,
        actual: Sequence[tuple[int, ...]],
        expected: Sequence[tuple[int, ...]],
        *,
        partial: bool,
    ) -> None:
        wrong = [
            i for i, (a, b) in enumerate(zip(actual, expected, strict=False)) if a != b
        ]  # fmt: skip
        self.checked += min(len(actual), len(expected))
        self.mismatched += len(wrong)
        messages = [
            f"output {i}: {self._text(prefix, actual[i])}, not {self._text(prefix, expected[i])}"
            for i in wrong[:SHOWN]
        ]
        assert not wrong, f"{len(wrong)} of {len(expected)} outputs differ:\n" + "\n".join(messages)
        if partial:
            assert len(actual) <= len(expected), (
                f"{len(actual)} outputs, {len(expected)} expected at most"
            )
        else:
            assert len(actual) == len(expected), f"{len(actual)} outputs, {len(expected)} expected"

    def _text(self, prefix: str, word: tuple[int, ...]) -> str:
        names = self._outputs[prefix]
        return " ".join(f"{name}={value:#x}" for name, value in zip(names, word, strict=True))
