"""What the benches cover: patterns, formats, codes and pipelines of every unit."""

from typing import Any

from hw.config import LAYOUTS, METADATA, SELECTORS, WORDS, UnitConfig
from hw.formats import FORMATS, INTEGER_FORMATS

__all__ = ["ALL_PATTERNS", "MAIN_PATTERNS", "configurations", "counts_for"]

#: The patterns of the literature.
MAIN_PATTERNS = ((2, 4), (4, 8), (8, 16), (16, 32))

#: One lane, all lanes, all but one, sizes that are no powers of two.
AWKWARD_PATTERNS = ((1, 2), (3, 7), (5, 5), (1, 16), (15, 16), (24, 48))

ALL_PATTERNS = (*MAIN_PATTERNS, *AWKWARD_PATTERNS)

_SMALL = (3, 7)
_USUAL = (8, 16)
_FORMATS = tuple(FORMATS)


def _config(pattern: tuple[int, int], **options: object) -> UnitConfig:
    return UnitConfig(n=pattern[0], m=pattern[1], **options)  # type: ignore[arg-type]


def _sparsifiers() -> list[UnitConfig]:
    common: dict[str, object] = {"unit": "sparsifier"}
    return [
        *(_config(pattern, **common) for pattern in ALL_PATTERNS),
        *(
            _config(pattern, **common, dtype="int8", metadata="index", pipeline=2)
            for pattern in ALL_PATTERNS
        ),
        *(
            _config(pattern, **common, dtype=dtype, metadata=metadata)
            for pattern, metadata in ((_USUAL, "bitmap"), (_SMALL, "index"))
            for dtype in FORMATS
            if dtype not in ("bf16", "int8")
        ),
        *(_config(_USUAL, **common, pipeline=stages) for stages in (0, 3, 4, 7, 20)),
        *(_config(_SMALL, **common, dtype="int4", pipeline=stages) for stages in (0, 5, 9)),
        _config(_USUAL, **common, score_bits=9),
        *_architectures("sparsifier"),
        *_at_run_time("sparsifier"),
        *_scored("sparsifier"),
        *_residuals(),
    ]


def _selectors() -> list[UnitConfig]:
    return [
        *(
            _config(pattern, unit="selector", dtype=_FORMATS[i % len(_FORMATS)])
            for i, pattern in enumerate(ALL_PATTERNS)
        ),
        *(_config(_USUAL, unit="selector", dtype=dtype, pipeline=2) for dtype in FORMATS),
        *(_config(_SMALL, unit="selector", pipeline=stages) for stages in (0, 3, 6)),
        *(
            _config(_USUAL, unit="selector", dtype=dtype, score_bits=bits)
            for dtype, bits in (("bf16", 8), ("int8", 1), ("fp8_e5m2", 6))
        ),
        *_architectures("selector"),
        *_at_run_time("selector"),
        *_scored("selector"),
    ]


#: Pattern, format, register stages of each architecture, in selectors and in sparsifiers.
_SPREAD: dict[str, tuple[tuple[tuple[int, int], str, int], ...]] = {
    "selector": (
        ((2, 4), "bf16", 0), ((4, 8), "int4", 1), ((8, 16), "fp8_e4m3", 3), ((3, 7), "int8", 2),
        ((1, 16), "fp8_e5m2", 6), ((15, 16), "int4", 1), ((16, 32), "fp16", 4),
        ((24, 48), "int4", 2),
    ),
    "sparsifier": (
        ((2, 4), "int4", 2), ((3, 7), "bf16", 0), ((8, 16), "int8", 1), ((4, 8), "fp16", 5),
    ),
}  # fmt: skip


def _architectures(unit: str) -> list[UnitConfig]:
    """What ``auto`` may not stand for: each architecture by name, and registers in front."""
    codes = METADATA if unit == "sparsifier" else ("bitmap",)
    return [
        *(
            _config(
                pattern, unit=unit, selector=name, dtype=dtype, pipeline=stages,
                metadata=codes[i % len(codes)],
            )
            for name in SELECTORS
            for i, (pattern, dtype, stages) in enumerate(_SPREAD[unit])
        ),
        *(
            _config(
                _SMALL, unit=unit, selector="threshold_serial", dtype="int8", pipeline=stages,
                input_register=True, metadata=codes[-1],
            )
            for stages in (0, 1, 2)
        ),
        _config(_USUAL, unit=unit, selector="threshold_serial", score_bits=5, pipeline=0),
        *(
            _config(_SMALL, unit=unit, selector="rank_merge", pipeline=stages, input_register=True)
            for stages in (0, 2)
        ),
        UnitConfig(flexible=FLEXIBLE[1], unit=unit, input_register=True),
    ]  # fmt: skip


#: Patterns at run time: those of the literature; a list that does not fill its port; other shares
#: than a half, lanes that are no power of two, groups of odd size; all lanes kept.
FLEXIBLE = (
    MAIN_PATTERNS,
    ((2, 4), (4, 8), (8, 16)),
    ((1, 4), (2, 4), (2, 8), (6, 8)),
    ((1, 3), (2, 3), (3, 9), (8, 9)),
    ((1, 3), (3, 9)),
    ((2, 2), (4, 4)),
    ((3, 5),),
)


def _at_run_time(unit: str) -> list[UnitConfig]:
    codes = METADATA if unit == "sparsifier" else ("bitmap",)
    dtypes = ("bf16", "int8", "fp8_e4m3", "int4")
    return [
        *(
            UnitConfig(
                flexible=patterns,
                unit=unit,
                dtype=dtypes[i % len(dtypes)],
                metadata=codes[i % len(codes)],
                pipeline=(1, 0, 2, 3)[i % 4],
            )
            for i, patterns in enumerate(FLEXIBLE)
        ),
        UnitConfig(flexible=MAIN_PATTERNS, unit=unit, metadata=codes[-1], pipeline=4),
        *(
            UnitConfig(
                n=1, m=m, unit=unit, n_runtime=True, dtype=dtypes[i],
                metadata=codes[i % len(codes)], pipeline=pipeline,
            )
            for i, (m, pipeline) in enumerate(((16, 1), (7, 3), (4, 0), (32, 2)))
        ),
    ]  # fmt: skip


#: Format, scale format, shift, register stages, pattern of units with scores of their own.
_SCORES = (
    ("bf16", "u8", "none", 1, _USUAL),
    ("bf16", "bf16", "lane", 6, _USUAL),
    ("bf16", None, "static", 1, _USUAL),
    ("fp16", None, "lane", 3, _SMALL),
    ("bf16", "pow2", "none", 0, _SMALL),
    ("int8", "u8", "token", 2, _USUAL),
    ("int8", "pow2", "none", 1, _SMALL),
    ("int8", "bf16", "none", 3, _SMALL),
    ("fp16", "u5", "none", 2, _SMALL),
    ("fp8_e4m3", "u8", "token", 0, _SMALL),
    ("fp8_e4m3", "bf16", "none", 1, _SMALL),
    ("fp8_e5m2", "u32", "static", 4, _SMALL),
    ("int4", "u1", "lane", 0, _SMALL),
    ("int16", "u13", "static", 5, _SMALL),
)


def _scored(unit: str) -> list[UnitConfig]:
    """Scales and shifts: every format, cut scores, every kind of selector."""
    scaled: dict[str, Any] = {"unit": unit, "criterion": "scaled"}
    return [
        *(
            _config(
                pattern, unit=unit, dtype=dtype, shift=shift, pipeline=stages,
                criterion="act" if scale is None else "scaled", scale_format=scale,
            )
            for dtype, scale, shift, stages, pattern in _SCORES
        ),
        # Cut inside f, at its end, inside e, and inside the class.
        *(_config(_SMALL, **scaled, score_bits=bits) for bits in (14, 11, 6, 1)),
        _config(_SMALL, **scaled, dtype="int8", score_bits=5),
        *(
            _config(
                _SMALL, **scaled, dtype="int8", selector="threshold_serial", shift="token",
                input_register=registered, pipeline=1,
            )
            for registered in (False, True)
        ),
        _config(_SMALL, **scaled, selector="selection_network", pipeline=2),
        UnitConfig(flexible=FLEXIBLE[1], **scaled, dtype="int8", shift="lane"),
        UnitConfig(n=1, m=7, n_runtime=True, **scaled, dtype="fp8_e5m2", shift="static"),
    ]  # fmt: skip


def _residuals() -> list[UnitConfig]:
    common: dict[str, Any] = {"unit": "sparsifier", "residual": True}
    return [
        *(
            _config(pattern, **common, dtype="int8", metadata=METADATA[i % len(METADATA)])
            for i, pattern in enumerate(ALL_PATTERNS)
        ),
        *(_config(_USUAL, **common, pipeline=stages) for stages in (0, 3)),
        _config(_SMALL, **common, selector="threshold_serial", dtype="int4", pipeline=1),
        _config(_SMALL, **common, shift="token", criterion="scaled", pipeline=3),
        UnitConfig(flexible=FLEXIBLE[2], **common, dtype="int8"),
        UnitConfig(flexible=FLEXIBLE[1], **common, dtype="int8", metadata="index", pipeline=2),
        UnitConfig(n=1, m=7, n_runtime=True, **common, dtype="int4"),
    ]


def _coders(unit: str) -> list[UnitConfig]:
    return [
        *(
            _config(pattern, unit=unit, metadata=metadata)
            for metadata in METADATA
            for pattern in ALL_PATTERNS
        ),
        *(
            _config(_SMALL, unit=unit, metadata=metadata, pipeline=stages)
            for metadata in METADATA
            for stages in (0, 2, 4)
        ),
        *(_config(_USUAL, unit=unit, metadata=metadata, pipeline=3) for metadata in METADATA),
        *(
            _config(pattern, unit=unit, metadata="enumerative", serial=True, pipeline=stages)
            for pattern, stages in (
                ((2, 4), 1),
                ((4, 8), 0),
                ((3, 7), 2),
                ((8, 16), 1),
                ((5, 5), 1),
                ((1, 2), 0),
                ((16, 32), 1),
            )
        ),
    ]


def _decompressors() -> list[UnitConfig]:
    return [
        *(
            _config(pattern, unit="decompressor", metadata=METADATA[i % len(METADATA)])
            for i, pattern in enumerate(ALL_PATTERNS)
        ),
        *(
            _config(_SMALL, unit="decompressor", dtype=dtype, metadata=METADATA[i % len(METADATA)])
            for i, dtype in enumerate(FORMATS)
        ),
        *(
            _config(_USUAL, unit="decompressor", dtype="int8", metadata=metadata, pipeline=stages)
            for metadata in METADATA
            for stages in (0, 3)
        ),
    ]


def _packers(unit: str) -> list[UnitConfig]:
    """Groups smaller and larger than a word, of sizes with small and large common divisors."""
    return [
        *(
            _config(_USUAL, unit=unit, word=word, layout=layout, metadata=metadata)
            for word, metadata in zip(WORDS, (*METADATA, "enumerative"), strict=True)
            for layout in LAYOUTS
        ),
        *(
            _config(pattern, unit=unit, dtype=dtype, word=word, layout=layout, metadata=metadata)
            for pattern, dtype, word, layout, metadata in (
                ((2, 4), "int4", 32, "interleaved", "enumerative"),
                ((2, 4), "int4", 64, "split", "enumerative"),
                ((2, 4), "bf16", 512, "interleaved", "index"),
                ((2, 4), "int8", 32, "interleaved", "bitmap"),
                ((3, 7), "int4", 32, "interleaved", "enumerative"),
                ((3, 7), "int8", 128, "split", "bitmap-implied"),
                ((5, 5), "bf16", 64, "interleaved", "enumerative"),
                ((16, 32), "bf16", 64, "split", "index"),
                ((16, 32), "fp8_e4m3", 256, "interleaved", "enumerative"),
                ((1, 16), "int8", 32, "interleaved", "index"),
            )
        ),
    ]


def _pes() -> list[UnitConfig]:
    common: dict[str, object] = {"unit": "pe"}
    return [
        *(
            _config(pattern, **common, dtype="int8", metadata=METADATA[i % len(METADATA)])
            for i, pattern in enumerate(ALL_PATTERNS)
        ),
        *(
            _config(_USUAL, **common, dtype=dtype, metadata=metadata, pipeline=stages)
            for dtype, metadata, stages in (
                ("int8", "index", 2), ("int8", "bitmap", 3), ("int4", "index", 4),
                ("int16", "bitmap", 5), ("int4", "bitmap", 9),
            )
        ),
        *(
            _config(_SMALL, **common, dtype=dtype, weight_dtype=weight_dtype, metadata="index")
            for dtype in INTEGER_FORMATS
            for weight_dtype in INTEGER_FORMATS
        ),
        *(
            _config(_SMALL, **common, dtype="int8", acc_width=acc_width, overflow=overflow)
            for acc_width in (2, 17, 64)
            for overflow in ("wrap", "saturate")
        ),
        _config(_SMALL, **common, dtype="int16", acc_width=32, overflow="saturate"),
        *(
            _config(_USUAL, **common, dtype="int8", metadata=metadata, check=False)
            for metadata in METADATA
        ),
        *(
            _config(pattern, **common, dtype="int8", metadata="decoded", check=check)
            for pattern, check in ((_USUAL, True), (_SMALL, False), ((5, 5), True))
        ),
        *(
            _config(
                pattern, **common, dtype=dtype, weight_dtype=weights, metadata=metadata,
                pipeline=stages, align_bits=bits,
            )
            for pattern, dtype, weights, metadata, stages, bits in (
                (_USUAL, "bf16", None, "index", 1, None),
                (_SMALL, "bf16", None, "bitmap", 8, 16),
                (_SMALL, "bf16", "fp8_e4m3", "enumerative", 4, None),
                (_SMALL, "fp16", None, "index", 2, None),
                ((3, 7), "fp16", "bf16", "bitmap-implied", 12, 40),
                (_USUAL, "fp8_e4m3", None, "bitmap", 3, None),
                ((1, 2), "fp8_e5m2", None, "index", 5, 6),
                (_SMALL, "fp8_e5m2", "fp8_e4m3", "index", 6, 10),
                ((16, 32), "fp8_e4m3", None, "index", 2, None),
            )
        ),
        _config(_SMALL, **common, dtype="bf16", metadata="index", check=False, pipeline=2),
        *_weight_selects(),
    ]  # fmt: skip


def _weight_selects() -> list[UnitConfig]:
    """Weights that are asked for, and multipliers for all lanes."""
    common: dict[str, Any] = {"unit": "pe"}
    gather: dict[str, Any] = {**common, "weight_select": "gather"}
    skip: dict[str, Any] = {**common, "weight_select": "dense-skip"}
    return [
        *(
            _config(pattern, **gather, dtype="int8", metadata=metadata, pipeline=stages)
            for pattern, metadata, stages in (
                (_SMALL, "bitmap", 1), (_SMALL, "index", 2), (_SMALL, "bitmap-implied", 3),
                (_SMALL, "enumerative", 6), ((5, 5), "enumerative", 1), ((2, 4), "index", 1),
            )
        ),
        *(
            _config((2, 4), **gather, dtype="int4", metadata="index", outstanding=groups)
            for groups in (2, 3, 16)
        ),
        _config((1, 16), **gather, dtype="int4", weight_dtype="int8", check=False),
        _config(_SMALL, **gather, dtype="bf16", weight_dtype="fp8_e5m2", pipeline=5),
        _config(_SMALL, **skip, dtype="fp16", metadata="index", pipeline=2),
        *(
            _config(pattern, **skip, dtype="int8", metadata=metadata, pipeline=stages)
            for pattern, metadata, stages in (
                (_SMALL, "index", 1), (_SMALL, "enumerative", 2), ((2, 4), "bitmap", 3),
                ((5, 5), "bitmap", 1), ((15, 16), "bitmap-implied", 1),
            )
        ),
        _config(_SMALL, **skip, dtype="int16", weight_dtype="int4", overflow="saturate"),
        *(
            _config(
                pattern, **common, dtype=dtype, weights=weights, metadata=metadata,
                weight_dtype=weight_dtype, pipeline=stages,
            )
            for pattern, weights, dtype, weight_dtype, metadata, stages in (
                ((4, 4), (2, 4), "int8", "int4", "index", 1),
                ((2, 4), (2, 4), "int8", "int8", "bitmap", 2),
                (_SMALL, (5, 7), "int4", "int8", "enumerative", 1),
                ((5, 7), _SMALL, "int8", "int4", "bitmap-implied", 4),
                (_SMALL, (7, 7), "int4", "int4", "index", 3),
                (_SMALL, (5, 7), "bf16", "bf16", "index", 2),
                ((6, 8), (2, 8), "fp8_e5m2", "fp16", "bitmap", 6),
                # So many lanes that one side is spread over them.
                ((2, 13), (3, 13), "int8", "int8", "index", 1),
                ((3, 13), (2, 13), "fp8_e4m3", "fp8_e4m3", "bitmap", 3),
            )
        ),
    ]  # fmt: skip


def _statistics() -> list[UnitConfig]:
    common: dict[str, Any] = {"unit": "statistics"}
    return [
        *(
            _config(pattern, **common, dtype=dtype, pipeline=stages)
            for dtype, pattern, stages in (
                ("bf16", _USUAL, 1),
                ("bf16", _SMALL, 6),
                ("fp16", _SMALL, 3),
                ("fp8_e4m3", _USUAL, 2),
                ("fp8_e5m2", (1, 2), 4),
                ("int8", _USUAL, 1),
                ("int16", _SMALL, 2),
                ("int4", (5, 5), 3),
            )
        ),
        *(_config(_SMALL, **common, align_bits=bits, pipeline=2) for bits in (16, 31, 40)),
    ]


def _corrections() -> list[UnitConfig]:
    return [
        _config(pattern, unit="correction", dtype=dtype, pipeline=stages)
        for pattern, dtype, stages in (
            (_USUAL, "bf16", 1),
            (_SMALL, "fp8_e4m3", 0),
            ((2, 4), "int16", 3),
        )
    ]


def _epilogues() -> list[UnitConfig]:
    return [
        _config(pattern, unit="epilogue", dtype=dtype, pipeline=stages, acc_width=width)
        for pattern, dtype, stages, width in (
            (_USUAL, "bf16", 1, 32),
            (_SMALL, "fp16", 0, 32),
            (_USUAL, "int8", 4, 32),
            ((5, 5), "int16", 12, 64),
        )
    ]


def _tiles() -> list[UnitConfig]:
    """Tiles of a few rows and columns; each format, code and option in one of them."""

    def tile(pattern: tuple[int, int], rows: int, cols: int, **options: Any) -> UnitConfig:
        return _config(pattern, unit="tile", rows=rows, cols=cols, **options)

    return [
        tile(_USUAL, 2, 4, dtype="int8"),
        tile((2, 4), 1, 1, dtype="int4", metadata="index"),
        tile((4, 8), 2, 3, dtype="int8", weight_dtype="int4", metadata="enumerative", pipeline=3),
        tile(
            _SMALL, 3, 2, dtype="int16", weight_dtype="int8", acc_width=17, overflow="saturate",
            shift="token", criterion="scaled", metadata="bitmap-implied", pipeline=2,
        ),
        tile((4, 4), 2, 2, dtype="int8", pipeline=2),
        tile((4, 8), 2, 2, dtype="bf16", weight_dtype="fp8_e4m3", pipeline=5),
        tile((3, 3), 1, 2, dtype="fp16"),
        UnitConfig(
            flexible=((2, 4), (4, 8), (8, 16)), unit="tile", dtype="int8", rows=2, cols=2,
            shift="lane",
        ),
        UnitConfig(
            flexible=((1, 2), (2, 4), (4, 8)), unit="tile", dtype="int4", rows=2, cols=1,
            check=False, pipeline=2,
        ),
    ]  # fmt: skip


def _scale_memories() -> list[UnitConfig]:
    """Banks of one word, of many, and of numbers that are no power of two."""
    return [
        _config(pattern, unit="scale_memory", scale_format=scale, depth=depth)
        for pattern, scale, depth in (
            (_USUAL, "u8", 256),
            (_USUAL, "u8", 1),
            (_USUAL, "bf16", 37),
            ((2, 4), "u8", 16),
            ((4, 8), "u5", 6),
            ((16, 32), "u8", 8),
            (_SMALL, "pow2", 5),
            (_SMALL, "u32", 2),
            ((1, 2), "u1", 3),
            ((1, 2), "pow2", 65536),
            ((24, 48), "u13", 3),
        )
    ]


def configurations(unit: str) -> list[UnitConfig]:
    """The configurations in which a unit is tested."""
    if unit in ("encoder", "decoder"):
        return _coders(unit)
    if unit == "decompressor":
        return _decompressors()
    if unit in ("packer", "unpacker"):
        return _packers(unit)
    return {
        "sparsifier": _sparsifiers,
        "selector": _selectors,
        "pe": _pes,
        "statistics": _statistics,
        "scale_memory": _scale_memories,
        "correction": _corrections,
        "epilogue": _epilogues,
        "tile": _tiles,
        # Its ports are those of AXI: see sim/test_axi_tile.py.
        "axi_tile": list,
    }[unit]()


def counts_for(config: UnitConfig) -> tuple[dict[str, int], dict[str, int]]:
    """Transfers of each kind of stimulus, without and with stalls.

    Fewer of the large groups, and where a group takes many cycles.
    """
    share = 300 if config.m <= 16 else 120 if config.m <= 32 else 40
    if config.initiation_interval > 4 or config.unit == "tile":
        # Each step of a tile is many groups.
        share //= 4
    whole = {"random": share, "ties": share, "corners": share, "captured": share}
    if config.unit == "scale_memory":
        # It takes no activations.
        del whole["captured"]
    return whole, {kind: count // 5 for kind, count in whole.items()}
