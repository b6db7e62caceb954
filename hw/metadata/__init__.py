"""Codes of the metadata: one function each way, one signature, one file each."""

from dataclasses import replace

from amaranth.hdl import Module

from hw.config import UnitConfig
from hw.logic import named
from hw.metadata.bitmap import Bitmap
from hw.metadata.bitmap_implied import BitmapImplied
from hw.metadata.common import MetadataCode
from hw.metadata.decoded import Decoded
from hw.metadata.enumerative import Enumerative
from hw.metadata.index import Index
from hw.metadata.run_time import run_time_groups, run_time_index
from hw.pipeline import Bundle, Step
from hw.slots import SlotSelect

__all__ = [
    "MetadataCode",
    "create_metadata_code",
    "encode_steps",
    "read_index",
    "remember_pattern",
    "write_metadata",
]

_CODES: dict[str, type[MetadataCode]] = {
    "bitmap": Bitmap,
    "index": Index,
    "bitmap-implied": BitmapImplied,
    "enumerative": Enumerative,
    "decoded": Decoded,
}


def create_metadata_code(config: UnitConfig) -> MetadataCode:
    """The code that the configuration asks for."""
    return _CODES[config.metadata](n=config.n, m=config.m)


def encode_steps(code: MetadataCode) -> list[Step]:
    """Steps from ``mask`` alone to ``meta``."""
    first, *others = code.write()
    if not code.writes_from_select:
        return [replace(first, consumes=("mask",)), *others]
    walk = SlotSelect(n=code.n, m=code.m).steps(consumes=("mask",))
    return [*walk, replace(first, consumes=("select", "legal")), *others]


def read_index(config: UnitConfig) -> list[Step]:
    """Steps from ``meta`` to ``index``, the lane of every slot, and ``error``.

    For an illegal code all lanes are 0, or without `check` unspecified.
    """

    def gate(m: Module, bundle: Bundle) -> Bundle:
        legal = ~bundle["error"][0]
        return {
            "index": [
                named(m, f"index_of_slot{slot}", lane & legal.replicate(len(lane)))
                for slot, lane in enumerate(bundle["index"])
            ]
        }

    code = create_metadata_code(config)
    index = Index(n=config.n, m=config.m)
    if isinstance(code, Index):
        steps = code.read_index(check=config.check)
    else:
        (number,) = index.write()

        def compute(m: Module, bundle: Bundle) -> Bundle:
            return {"index": number.compute(m, bundle)["meta"]}

        bits = config.n * config.index_width
        steps = [
            *code.read_select(check=config.check),
            replace(number, compute=compute, produces={"index": bits}, consumes=("select",)),
        ]
    return [*steps, Step(gate, {"index": config.n * config.index_width}, (), levels=1)]


def write_metadata(config: UnitConfig, *, window: int) -> list[Step]:
    """Steps of a sparsifier from ``mask``, ``select`` and ``listed`` to ``meta``.

    Only the first of them reads mask and select.

    Parameters
    ----------
    config
        The sparsifier.
    window
        Lanes that one slot's part of ``select`` has room for.
    """
    name, width = config.metadata, config.metadata_width
    if name == "index" and (config.flexible or config.n_runtime):
        return [
            run_time_index(
                # With N at run time, one group with a slot for every lane.
                patterns=((config.slots, config.m),) if config.n_runtime else config.patterns,
                lanes=config.m,
                width=width,
                window=window,
            )
        ]
    if config.flexible and name != "bitmap":
        return run_time_groups(
            [(m, encode_steps(_CODES[name](n=n, m=m))) for n, m in config.patterns],
            lanes=config.m,
            width=width,
        )
    if config.n_runtime and name == "enumerative":
        return Enumerative(n=config.slots, m=config.m).write_from(window=window, width=width)
    return create_metadata_code(config).write()


def remember_pattern(config: UnitConfig) -> list[Step]:
    """Steps that keep ``pattern`` as ``listed``, where `write_metadata` needs it."""
    if not config.flexible or config.metadata == "bitmap":
        return []
    if config.metadata == "index" and len(config.patterns) == 1:
        return []
    return [
        Step(
            lambda _, bundle: {"listed": bundle["pattern"]},
            {"listed": config.pattern_width},
            levels=0,
        )
    ]
