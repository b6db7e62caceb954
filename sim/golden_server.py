"""Stimuli and golden model for a simulation, from the process that started it.

PyTorch takes longer to import than most simulations to run.  So the benches do not import it: they
ask whoever has it already, through a socket.
"""

import contextlib
from collections.abc import Iterator
from multiprocessing.connection import Client, Connection, Listener
from threading import Thread
from typing import Any

from hw.ports import input_streams, output_streams
from sim.bench.plan import Plan, Transfers
from sim.stimuli import stimuli
from sim.words import payload_codes, payload_words
from sw.golden import Payload, unit_model

__all__ = ["golden_server"]


class _Golden:
    """What can be asked for."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._model = unit_model(plan.config)

    def stimuli(self, counts: dict[str, int], salt: int) -> Transfers:
        """All stimuli of each input stream, kind after kind."""
        plan = self._plan
        streams = input_streams(plan.config)
        words: dict[str, list[tuple[int, ...]]] = {prefix: [] for prefix in streams}
        for kind, count in counts.items():
            payload = stimuli(plan.config, kind, count, plan.seed + salt, plan.captured)
            for prefix, fields in streams.items():
                words[prefix] += payload_words(payload, fields)
        return words

    def expected(self, received: Transfers) -> Transfers:
        """Output transfers that the golden model makes of the input transfers."""
        config = self._plan.config
        inputs: Payload = {}
        for prefix, fields in input_streams(config).items():
            inputs |= payload_codes(received[prefix], fields)
        outputs = self._model(inputs)
        return {
            prefix: payload_words(outputs, fields)
            for prefix, fields in output_streams(config).items()
        }


@contextlib.contextmanager
def golden_server(plan: Plan) -> Iterator[str]:
    """Answer `sim.bench.golden.ask` for a plan; the address of the socket."""
    golden = _Golden(plan)
    with Listener() as listener:

        def serve() -> None:
            while True:
                with listener.accept() as connection:
                    if not _answer(connection, golden):
                        return

        thread = Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield str(listener.address)
        finally:
            with Client(listener.address) as connection:
                connection.send(None)
            thread.join()


def _answer(connection: "Connection[Any, Any]", golden: _Golden) -> bool:
    """Answer one question; whether there may be more."""
    # A simulation that is killed leaves its question, or the answer, alone.
    with contextlib.suppress(EOFError, OSError):
        question = connection.recv()
        if question is None:
            return False
        name, arguments = question
        try:
            answer = getattr(golden, name)(*arguments)
        except Exception as error:  # noqa: BLE001 - it is raised where the question was asked
            answer = error
        connection.send(answer)
    return True
