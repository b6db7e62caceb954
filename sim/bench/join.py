"""What the simulation of some joined units tests, handed over through a file."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

__all__ = ["JOIN", "Join", "join_from_environment"]

#: The environment variable that holds the name of the file: a `Join` as JSON.
JOIN = "NMSPARSE_BENCH_JOIN"


@dataclass(frozen=True)
class Join:
    """What goes in, and what must come out.

    Parameters
    ----------
    names
        Payload ports of each stream, by its prefix, without ``i_`` or ``o_``.
    sent
        Payloads of each input stream.
    expected
        Those of the output stream, ``o``.
    """

    names: Mapping[str, Sequence[str]]
    sent: Mapping[str, Sequence[tuple[int, ...]]]
    expected: Sequence[tuple[int, ...]]

    def to_json(self) -> str:
        """The streams as the file has them."""
        return json.dumps(asdict(self))


def join_from_environment() -> Join:
    """What this simulation tests."""
    given = json.loads(Path(os.environ[JOIN]).read_text())

    def words(stream: list[list[int]]) -> list[tuple[int, ...]]:
        return [tuple(word) for word in stream]

    sent = {prefix: words(stream) for prefix, stream in given["sent"].items()}
    return Join(given["names"], sent, words(given["expected"]))
