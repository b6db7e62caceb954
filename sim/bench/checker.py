"""What compares the transfers of a unit with those of its golden model."""

from collections.abc import Sequence

from hw.config import UnitConfig
from hw.ports import input_payload, output_payload
from sim.words import payload_codes, payload_words
from sw.golden import unit_model

__all__ = ["Checker"]

#: Mismatches that a message shows.
SHOWN = 5


class Checker:
    """Compares in order and bit for bit.

    The golden model is fed with what the input monitor saw, not with what was meant to be sent.

    Attributes
    ----------
    checked, mismatched
        Output transfers compared so far, and those that differed.
    """

    def __init__(self, config: UnitConfig) -> None:
        self._inputs = input_payload(config)
        self._outputs = output_payload(config)
        self._model = unit_model(config)
        self.checked = 0
        self.mismatched = 0

    def expected(self, received: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
        """Output transfers that the golden model makes of the input transfers."""
        return payload_words(self._model(payload_codes(received, self._inputs)), self._outputs)

    def check(
        self,
        received: Sequence[tuple[int, ...]],
        actual: Sequence[tuple[int, ...]],
        *,
        partial: bool = False,
    ) -> None:
        """Fail unless the outputs are exactly those of the inputs.

        Parameters
        ----------
        received
            Input transfers.
        actual
            Output transfers.
        partial
            Whether outputs may be missing at the end, as when a reset cuts a stream short.
        """
        expected = self.expected(received)
        wrong = [
            i for i, (a, b) in enumerate(zip(actual, expected, strict=False)) if a != b
        ]  # fmt: skip
        self.checked += min(len(actual), len(expected))
        self.mismatched += len(wrong)
        messages = [
            f"output {i}: {self._text(actual[i])}, not {self._text(expected[i])}"
            for i in wrong[:SHOWN]
        ]
        assert not wrong, f"{len(wrong)} of {len(expected)} outputs differ:\n" + "\n".join(messages)
        if partial:
            assert len(actual) <= len(expected), (
                f"{len(actual)} outputs, {len(expected)} expected at most"
            )
        else:
            assert len(actual) == len(expected), f"{len(actual)} outputs, {len(expected)} expected"

    def _text(self, word: tuple[int, ...]) -> str:
        return " ".join(
            f"{name}={value:#x}" for name, value in zip(self._outputs, word, strict=True)
        )
