"""The selection of whole tensors, fast on a CPU and bit for bit that of `sw.selection.select`.

The magnitudes of a group are made into keys that all differ, by the lane in the low bits, reversed,
so that of equal magnitudes the lower lane has the greater key.  Then one number decides:

    u_j = key_j * 64 + (63 - j)
    mask_j = u_j >= (n-th greatest of u_0 .. u_{m-1})

There are two ways to that number, and `select` for where there is no NumPy:

===========  =======================================================================================
``network``  a network of comparators (`hw.networks`) whose lines are lanes: each comparator is a
             maximum and a minimum of two arrays over the groups.  Many groups at a time make up for
             the calls
``sort``     each group sorted by NumPy, which takes time for each group rather than for each lane
``golden``   `sw.selection.select`, on any device and inside a model that is being compiled
===========  =======================================================================================

Nothing is compiled, so there is nothing to wait for at the first call.
"""

import operator
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial, reduce
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from hw.networks import selection_network
from hw.parameters import MAX_M
from sw.errors import InputError
from sw.groups import to_groups
from sw.selection import select

__all__ = ["METHODS", "auto_method", "comparators", "keep_mask", "nth_greatest"]

#: Ways to the mask.
METHODS: tuple[str, ...] = ("network", "sort", "golden")

#: Floating-point types and the integers of their width.
_FLOATS: dict[torch.dtype, torch.dtype] = {
    torch.bfloat16: torch.int16,
    torch.float16: torch.int16,
    torch.float32: torch.int32,
    torch.float8_e4m3fn: torch.int8,
    torch.float8_e5m2: torch.int8,
}

_INTEGERS = (torch.int8, torch.int16, torch.int32, torch.int64)

#: Bits of a lane below the magnitude.
_LANE_BITS = (MAX_M - 1).bit_length()

#: Times m * m: below so many groups to call a network takes longer than to sort the groups.
_FEW_GROUPS = 32

#: Beyond this many lanes a sorted group costs less than its comparators.
_FEW_LANES = 16

#: Elements that are worked on at a time, so that all lanes stay in the cache of a core.
_BLOCK = 1 << 18

_Integers = npt.NDArray[np.signedinteger[Any]]
_Mask = npt.NDArray[np.bool_]
_Lane = TypeVar("_Lane")


def keep_mask(x: torch.Tensor, n: int, m: int, method: str = "auto") -> torch.Tensor:
    """Mask of the n greatest magnitudes of each group of m: bool (..., K), contiguous.

    Groups, order and ties are those of the golden models: `sw.groups.to_groups` cuts the last
    dimension, a row whose length is not a multiple of m is padded with zeros at its end; lane j is
    kept iff fewer than n lanes beat it, on a tie the lower lane wins; NaN ranks above infinity, and
    -0 is +0.  Padding that is kept is cut off again, otherwise exactly n are kept.

    As many threads are used as `torch.get_num_threads` says.

    Parameters
    ----------
    x
        Activations or scores (..., K).  bf16, fp16, fp32, fp8_e4m3 or fp8_e5m2: magnitudes are the
        bits below the sign.  int8 (int4 in it), int16, int32: |x|, exact for the most negative
        number too.  int64: |x| below 2**56.
    n, m
        Pattern, 1 <= n <= m <= 64.
    method
        One of `METHODS`, or ``auto``: the fastest (`auto_method`).

    Raises
    ------
    TypeError
        x has another type, or n or m is no integer.
    InputError
        x has no dimension, the pattern is out of range, or the method is unknown.

    Examples
    --------
    >>> keep_mask(torch.tensor([1.0, -3.0, 0.5, 3.0, 2.0, -2.0, 2.0, 2.0]), 2, 4).tolist()
    [False, True, False, True, True, True, False, False]
    """
    n, m = _checked(x, n, m)
    if method not in ("auto", *METHODS):
        raise InputError(f"method must be auto or one of {', '.join(METHODS)}, not {method!r}")
    is_float = x.dtype in _FLOATS
    codes = to_groups(x.detach().view(_FLOATS[x.dtype]) if is_float else x.detach(), m)
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        method = "golden"
    elif method == "auto":
        method = auto_method(codes.numel() // m, m)
    if method == "golden":
        mask = _by_golden_model(codes, n, is_float)
    else:
        fill = partial(_by_network if method == "network" else _by_sorting, n=n, is_float=is_float)
        mask = _in_blocks(fill, codes.numpy().reshape(-1, m)).view(codes.shape)
    rows = mask.flatten(-2)
    return rows[..., : x.shape[-1]].contiguous() if x.shape[-1] % m else rows


def auto_method(groups: int, m: int) -> str:
    """The method that ``auto`` stands for on a CPU, by the number of groups and of lanes."""
    return "sort" if groups < _FEW_GROUPS * m * m or m > _FEW_LANES else "network"


def nth_greatest(
    lanes: Sequence[_Lane],
    n: int,
    network: Iterable[tuple[int, int]],
    maximum: Callable[[_Lane, _Lane], _Lane],
    minimum: Callable[[_Lane, _Lane], _Lane],
) -> _Lane:
    """The n-th greatest of the lanes, elementwise.

    Parameters
    ----------
    lanes
        An array for each lane, one element for each group.
    n
        1 .. number of lanes.
    network
        `comparators` of n and the number of lanes.
    maximum, minimum
        Elementwise, of two arrays.
    """
    lines = list(lanes)
    for i, j in network:
        lines[i], lines[j] = maximum(lines[i], lines[j]), minimum(lines[i], lines[j])
    return reduce(minimum, lines[:n])


@cache
def comparators(n: int, m: int) -> tuple[tuple[int, int], ...]:
    """Comparators that bring the n greatest of m lines to the first n, in any order."""
    return tuple(comparator for layer in selection_network(n, m) for comparator in layer)


def _checked(x: torch.Tensor, n: int, m: int) -> tuple[int, int]:
    if x.dtype not in (*_FLOATS, *_INTEGERS):
        names = ", ".join(map(_name, (*_FLOATS, *_INTEGERS)))
        raise TypeError(f"x must be a tensor of {names}, not of {_name(x.dtype)}")
    if x.ndim == 0:
        raise InputError("x must have shape (..., K), not ()")
    n, m = map(operator.index, (n, m))
    if not 1 <= m <= MAX_M:
        raise InputError(f"m must be between 1 and {MAX_M}, not {m}")
    if not 1 <= n <= m:
        raise InputError(f"n must be between 1 and m = {m}, not {n}")
    return n, m


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


class _Fill(Protocol):
    """Fills masks (G, m) of codes (G, m)."""

    def __call__(self, mask: _Mask, codes: _Integers) -> None: ...


def _in_blocks(fill: _Fill, codes: _Integers) -> torch.Tensor:
    groups, m = codes.shape
    mask = np.empty(codes.shape, np.bool_)
    size = _BLOCK // m
    blocks = [slice(start, start + size) for start in range(0, groups, size)]
    threads = min(torch.get_num_threads(), len(blocks))
    if threads > 1:
        # NumPy lets other threads run while it computes.
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda block: fill(mask[block], codes[block]), blocks))
    else:
        for block in blocks:
            fill(mask[block], codes[block])
    return torch.from_numpy(mask)


def _by_golden_model(codes: torch.Tensor, n: int, is_float: bool) -> torch.Tensor:
    integers = codes.to(torch.int64)
    return select(integers & torch.iinfo(codes.dtype).max if is_float else integers.abs(), n)


def _by_network(mask: _Mask, codes: _Integers, n: int, is_float: bool) -> None:
    m = codes.shape[1]
    keys = [_distinct_keys(codes[:, lane], lane, is_float) for lane in range(m)]
    threshold = nth_greatest(keys, n, comparators(n, m), np.maximum, np.minimum)
    for lane in range(m):
        np.greater_equal(keys[lane], threshold, out=mask[:, lane])


def _by_sorting(mask: _Mask, codes: _Integers, n: int, is_float: bool) -> None:
    m = codes.shape[1]
    keys = _distinct_keys(codes, np.arange(m), is_float)
    threshold = np.sort(keys, axis=1)[:, m - n, np.newaxis]
    np.greater_equal(keys, threshold, out=mask)


def _distinct_keys(codes: _Integers, lane: int | _Integers, is_float: bool) -> _Integers:
    """Magnitudes with the lane below them, greater for a lower one."""
    wide: type[np.signedinteger[Any]] = np.int32 if codes.itemsize <= 2 else np.int64
    keys = codes.astype(wide)
    if is_float:
        keys &= np.iinfo(codes.dtype).max
    else:
        np.abs(keys, out=keys)
    keys <<= _LANE_BITS
    keys |= np.subtract(MAX_M - 1, lane, dtype=wide)
    return keys
