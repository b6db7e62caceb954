"""Progress of work whose length is not known."""

import contextlib
import threading
from collections.abc import Iterator

from tqdm import tqdm

__all__ = ["ticking"]


@contextlib.contextmanager
def ticking(what: str) -> Iterator[None]:
    """Show on standard error what is going on and for how long, twice a second."""
    done = threading.Event()
    with tqdm(desc=what, bar_format="{desc}: {elapsed}") as bar:

        def tick() -> None:
            while not done.wait(0.5):
                bar.refresh()

        thread = threading.Thread(target=tick, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
