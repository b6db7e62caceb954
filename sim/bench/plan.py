"""What one simulation tests, handed over through the environment."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hw.config import UnitConfig
from sim.bench.golden import ask

__all__ = ["GOLDEN", "PLAN", "Plan", "Transfers", "plan_from_environment"]

#: Payloads in order, by the prefix of their stream.
Transfers = Mapping[str, Sequence[tuple[int, ...]]]

#: The environment variable that holds the plan as JSON.
PLAN = "NMSPARSE_BENCH_PLAN"

#: The one that holds the address of `sim.golden_server`.
GOLDEN = "NMSPARSE_BENCH_GOLDEN"


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

    def words(self, counts: dict[str, int], salt: int) -> Transfers:
        """All stimuli of each input stream, kind after kind, or what is given."""
        if self.given is not None:
            given = json.loads(Path(self.given).read_text())
            return {prefix: [tuple(word) for word in sent] for prefix, sent in given.items()}
        stimuli: Transfers = ask(os.environ[GOLDEN], "stimuli", counts, salt)
        return stimuli


def plan_from_environment() -> Plan:
    """The plan of this simulation."""
    return Plan(**json.loads(os.environ[PLAN]))
