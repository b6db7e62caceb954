"""Progress on standard error: bars, and clocks where the length of the work is not known."""

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from tqdm import tqdm

__all__ = ["progress_bar", "repeating", "ticking"]


def _interval() -> float:
    """Seconds between two updates, and before the first: a log is not to be filled with bars."""
    return 0.2 if sys.stderr.isatty() else 5.0


def progress_bar(**options: Any) -> tqdm:
    """A tqdm bar, with time left, that is kind to logs: there it comes after five seconds."""
    return tqdm(mininterval=_interval(), delay=_interval(), **options)


@contextlib.contextmanager
def repeating(seconds: float, action: Callable[[], object]) -> Iterator[None]:
    """Call the action every so many seconds, first after as many, from another thread."""
    done = threading.Event()

    def repeat() -> None:
        while not done.wait(seconds):
            action()

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@contextlib.contextmanager
def ticking(what: str) -> Iterator[None]:
    """Show what is going on and for how long."""
    started = time.monotonic()

    def tick() -> None:
        seconds = time.monotonic() - started
        print(f"\r{what}: {seconds:.0f} s", end="", file=sys.stderr, flush=True)

    try:
        with repeating(_interval(), tick):
            yield
    finally:
        if time.monotonic() - started > _interval():
            print(file=sys.stderr)
