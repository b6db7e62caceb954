"""The plain compare matrix as Verilog: a yardstick, and no unit of the project.

The project's own selectors are in `hw.selectors`.
"""

from synth.area import Design

__all__ = ["plain_matrix"]


def plain_matrix(n: int, m: int, key_width: int) -> Design:
    """Top-n-of-m selection as written down from its definition, without registers or handshake.

    Lane i beats lane j iff its key is greater, or the keys are equal and i < j.  A lane is kept iff
    fewer than n lanes beat it.  m (m - 1) / 2 comparators, of which each serves both its lanes, and
    m sums of m - 1 bits.

    Parameters
    ----------
    n, m
        Pattern.
    key_width
        Bits of a key.

    Returns
    -------
    Design
        With the ports ``i_keys[m * key_width]``, unsigned, lane 0 lowest, and ``o_mask[m]``.
    """
    top = f"plain_matrix_{n}_{m}"
    lines = [f"module {top}(input [{m * key_width - 1}:0] i_keys, output [{m - 1}:0] o_mask);"]
    for lane in range(m):
        key = f"i_keys[{lane * key_width} +: {key_width}]"
        lines.append(f"  wire [{key_width - 1}:0] key{lane} = {key};")
    for j in range(m):
        lines += [f"  wire beats_{i}_{j} = key{i} >= key{j};" for i in range(j)]
    for lane in range(m):
        lower = [f"beats_{i}_{lane}" for i in range(lane)]
        upper = [f"(!beats_{lane}_{i})" for i in range(lane + 1, m)]
        lines += [
            f"  wire [{(m - 1).bit_length() - 1}:0] rank{lane} = {' + '.join([*lower, *upper])};",
            f"  assign o_mask[{lane}] = rank{lane} < {n};",
        ]
    return Design("\n".join([*lines, "endmodule", ""]), top)
