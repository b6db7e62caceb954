"""What one simulation tests, handed over through the environment."""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hw.config import UnitConfig
from hw.ports import input_streams
from sim.stimuli import stimuli
from sim.words import payload_words

__all__ = ["PLAN", "Plan", "plan_from_environment"]

#: The environment variable that holds the plan as JSON.
PLAN = "NMSPARSE_BENCH_PLAN"


@dataclass(frozen=True)
class Plan:
    """What one simulation tests.

    Parameters
    ----------
    unit
        Arguments of `UnitConfig`.
    counts
        Transfers of each kind of stimulus without stalls.
    stalled_counts
        The same for each of the runs with stalls.
    seed
        Of all random numbers.
    captured
        File of activations for the kind ``captured``.
    given
        File of payloads to be sent in place of stimuli: JSON, by stream a list for each transfer.
    report
        Where the numbers go, and with `given` the outputs.
    progress
        Where the number of transfers sent so far is written now and then.
    """

    unit: dict[str, Any]
    counts: dict[str, int]
    stalled_counts: dict[str, int]
    seed: int
    captured: str | None
    given: str | None
    report: str
    progress: str
    config: UnitConfig = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "config", UnitConfig(**self.unit))

    def to_json(self) -> str:
        """The plan as the environment carries it."""
        return json.dumps({key: value for key, value in asdict(self).items() if key != "config"})

    def words(self, counts: dict[str, int], salt: int) -> dict[str, list[tuple[int, ...]]]:
        """All stimuli of each input stream, kind after kind, or what is given."""
        if self.given is not None:
            given = json.loads(Path(self.given).read_text())
            return {prefix: [tuple(word) for word in sent] for prefix, sent in given.items()}
        streams = input_streams(self.config)
        words: dict[str, list[tuple[int, ...]]] = {prefix: [] for prefix in streams}
        for kind, count in counts.items():
            payload = stimuli(self.config, kind, count, self.seed + salt, self.captured)
            for prefix, fields in streams.items():
                words[prefix] += payload_words(payload, fields)
        return words


def plan_from_environment() -> Plan:
    """The plan of this simulation."""
    return Plan(**json.loads(os.environ[PLAN]))
