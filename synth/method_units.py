"""Which units a method of sparsity needs, beside the PE that it has anyway."""

from dataclasses import dataclass, replace

from hw.config import UnitConfig
from sw.method import Method

__all__ = ["PIPELINES", "MethodUnits", "is_built", "plain_pe", "units_of"]

#: Register stages of each unit: so many that none is much slower than the sparsifier's scores.
PIPELINES = {"sparsifier": 2, "statistics": 4, "correction": 1, "epilogue": 8, "pe": 3}

#: Number format of the activations that are selected, and of those that a PE multiplies.
_SELECTED, _MULTIPLIED = "bf16", "int8"

#: Format of the scales of a method that does not say one.
_SCALE_FORMAT = "u8"


@dataclass(frozen=True)
class MethodUnits:
    """The units of a method.

    Parameters
    ----------
    sparsifier
        What keeps the activations, with scores and shift of the method.
    others
        What is needed beside it: statistics and their correction of a token, an epilogue of a PE.
    outside
        What no unit does, in words; empty if there is nothing.
    """

    sparsifier: UnitConfig
    others: tuple[UnitConfig, ...]
    outside: str = ""

    @property
    def all(self) -> tuple[UnitConfig, ...]:
        """All of them."""
        return (self.sparsifier, *self.others)


def is_built(method: Method) -> bool:
    """Whether a method drops activations in a pattern, which is what the units are for."""
    return isinstance(method.pattern, tuple) and method.weights == "none"


def plain_pe(n: int, m: int) -> UnitConfig:
    """The PE whose sums an epilogue works on."""
    return UnitConfig(n=n, m=m, unit="pe", dtype=_MULTIPLIED, pipeline=PIPELINES["pe"])


def units_of(method: Method) -> MethodUnits:
    """The units of a method for which `is_built`.

    ========================  ===================================================================
    part of the method        units
    ========================  ===================================================================
    criterion, scaling        ``--criterion scaled``; scaling divides before the selection and
                              multiplies after it: without a shift only the selection sees it
    shift                     ``--shift``; epilogue, which adds the shift times the row sums;
                              statistics and correction where it is the mean of the token
    var                       statistics, correction, epilogue
    ls                        epilogue
    low-rank                  ``--residual``
    ========================  ===================================================================
    """
    config = method.unit_config()
    outside = []
    if method.scaling != "none":
        if method.shift == "none":
            config = replace(config, criterion="scaled", scale_format=_SCALE_FORMAT)
        else:
            outside.append("the division by the scales")
    if method.criterion == "clact" or method.scaling == "dynamic":
        outside.append("the scales of a sequence")
    if method.shift == "d-pts-median":
        outside.append("the median of a token")
    if method.low_rank:
        outside.append(f"the product of rank {method.low_rank} with the residual")
    sparsifier = replace(
        config,
        unit="sparsifier",
        residual=method.low_rank > 0,
        pipeline=PIPELINES["sparsifier"],
    )
    wanted = []
    if method.var or method.shift == "d-pts-mean":
        wanted += ["statistics", "correction"]
    if method.var or method.shift != "none" or method.ls != "none":
        wanted.append("epilogue")
    others = tuple(_unit(unit, config.n, config.m) for unit in wanted)
    return MethodUnits(sparsifier, others, ", ".join(outside))


def _unit(unit: str, n: int, m: int) -> UnitConfig:
    # The epilogue is that of the PE, with integer sums.
    dtype = _MULTIPLIED if unit == "epilogue" else _SELECTED
    return UnitConfig(n=n, m=m, unit=unit, dtype=dtype, pipeline=PIPELINES[unit])
