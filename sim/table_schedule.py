"""When words enter and leave a scale memory."""

from collections.abc import Iterable

__all__ = ["table_schedule", "table_sizes"]


def table_sizes(words: Iterable[tuple[int, int]], depth: int) -> list[tuple[int, int]]:
    """Words and tokens of each table; what has no end yet is left out.

    Parameters
    ----------
    words
        ``i_last`` and ``i_tokens`` of each word.
    depth
        Words of the longest table.
    """
    tables = []
    length = 0
    for last, tokens in words:
        length += 1
        if last or length == depth:
            tables.append((length, tokens))
            length = 0
    return tables


def table_schedule(
    tables: Iterable[tuple[int, int]], *, latency: int = 2, start: int = 0
) -> tuple[list[int], list[int]]:
    """Cycles in which words enter and leave when nothing stalls.

    A word enters in the cycle after the one before it, unless both banks are taken: until the last
    word of the last table but one is at the output.  The first word of a table leaves so many
    cycles after its last one has entered, or when the table before it has left; the others follow
    cycle by cycle.

    Parameters
    ----------
    tables
        Words and tokens of each.
    latency
        Cycles from the last word in to the first word out.
    start
        Cycle in which the first word enters.
    """
    entered: list[int] = []
    left: list[int] = []
    #: Cycles in which the last words of tables leave, of those that serve a token.
    ends: list[int] = []
    enter = start - 1
    for length, tokens in tables:
        for _ in range(length):
            enter = max([enter + 1, *ends[-2:-1]])
            entered.append(enter)
        if tokens:
            begin = max([enter + latency, *(end + 1 for end in ends[-1:])])
            left += range(begin, begin + length * tokens)
            ends.append(left[-1])
    return entered, left
