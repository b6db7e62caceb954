"""Asks the process that started the simulation for stimuli and expected outputs."""

from multiprocessing.connection import Client
from typing import Any

__all__ = ["ask"]


def ask(address: str, name: str, *arguments: object) -> Any:
    """The answer of `sim.golden_server` to one question.

    Parameters
    ----------
    address
        Of its socket.
    name, arguments
        What is asked for.

    Raises
    ------
    Exception
        What it raised.
    """
    with Client(address) as connection:
        connection.send((name, arguments))
        answer = connection.recv()
    if isinstance(answer, Exception):
        raise answer
    return answer
