"""Golden model of the scale memory: tables of scales, each streamed for so many tokens."""

import torch

__all__ = ["replay_tables"]


def replay_tables(
    scale: torch.Tensor, last: torch.Tensor, tokens: torch.Tensor, depth: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Words (R, m) that a scale memory gives, and ``last`` (R, 1), of the words that it takes.

    A table is the words up to one with `last`, or `depth` of them, whichever comes first.  For each
    table in order its words, from the first to the last, as often as `tokens` of its last word
    says, with ``last`` at the last one.  Words of a table that has no end yet give nothing.

    Parameters
    ----------
    scale, last, tokens
        The words: codes (T, m), flags (T, 1), unsigned counts (T, 1), all int64.
    depth
        Words of the longest table.
    """
    is_marked = last.flatten().bool()
    places = torch.arange(len(scale), device=scale.device)
    # Words before this one since the last one with `last`: every so many of them a table ends.
    since = places - torch.where(is_marked.roll(1), places, 0).cummax(0).values
    ends = (is_marked | (since % depth == depth - 1)).nonzero().flatten()
    starts = torch.cat([ends.new_zeros(1), ends + 1])[:-1]
    lengths = ends + 1 - starts
    counts = lengths * tokens.flatten()[ends]

    table = torch.repeat_interleave(counts)
    place = torch.arange(len(table), device=scale.device) - (counts.cumsum(0) - counts)[table]
    place %= lengths[table]
    is_last = (place + 1 == lengths[table]).to(torch.int64)
    return scale[starts[table] + place], is_last.unsqueeze(-1)
