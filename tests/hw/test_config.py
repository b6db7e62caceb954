import dataclasses
from itertools import combinations
from math import comb

import pytest

from hw.config import METADATA, SELECTORS, UNITS, ConfigError, UnitConfig
from hw.formats import FORMATS
from hw.generate import _config, _parser

FORMAT_NAMES = "int4, int8, int16, fp16, bf16, fp8_e4m3, fp8_e5m2"
IDENTIFIER_RULE = "must be a Verilog identifier and no keyword"
PE_PIPELINE_RULE = "must be between 1 and 32 in a pe, whose accumulator is a stage"

SCORE_RULE = "must be between 1 and {}, the bits of a score of {}"
SHAPE_RULE = "must be patterns n:m with 2 <= m <= 64 and 1 <= n <= m"

PE = {"unit": "pe", "dtype": "int8"}
TILE = {"unit": "tile", "dtype": "int8"}
MEMORY = {"unit": "scale_memory"}


@pytest.mark.parametrize(
    ("changes", "parameter", "rule"),
    [
        ({"n": 5}, "n", "must be between 1 and m = 4, not 5"),
        ({"n": 0}, "n", "must be between 1 and m = 4, not 0"),
        ({"n": -1}, "n", "must be between 1 and m = 4, not -1"),
        ({"n": 1, "m": 1}, "m", "must be between 2 and 64, not 1"),
        ({"m": 0}, "m", "must be between 2 and 64, not 0"),
        ({"m": -4}, "m", "must be between 2 and 64, not -4"),
        ({"m": 65}, "m", "must be between 2 and 64, not 65"),
        (
            {"unit": "sorter"},
            "unit",
            "must be one of sparsifier, selector, encoder, decoder, decompressor, packer, "
            "unpacker, pe, statistics, scale_memory, correction, epilogue, tile, axi_tile, not "
            "'sorter'",
        ),
        (
            {"metadata": "rank"},
            "metadata",
            "must be one of bitmap, index, bitmap-implied, enumerative, not 'rank'",
        ),
        ({"serial": True}, "serial", "must go with unit encoder or decoder, not 'sparsifier'"),
        (
            {"unit": "encoder", "metadata": "index", "serial": True},
            "serial",
            "must go with metadata enumerative, not 'index'",
        ),
        ({"word": 48}, "word", "must be one of 32, 64, 128, 256, 512, not 48"),
        ({"layout": "mixed"}, "layout", "must be one of interleaved, split, not 'mixed'"),
        (
            {"unit": "packer", "pipeline": 2},
            "pipeline",
            "must be 1 in a packer, whose buffer is the stage, not 2",
        ),
        (
            {"unit": "unpacker", "n": 1, "m": 2, "dtype": "int4"},
            "n",
            "must make groups of at least 8 bits in a stream of words, so that bytes tell how many "
            "they are, not 6",
        ),
        (
            {"unit": "packer", "n": 1, "m": 16, "dtype": "int4", "layout": "split"},
            "n",
            "must make groups of at least 8 bits in a stream of words, so that bytes tell how many "
            "they are, not 4",
        ),
        (
            {"unit": "packer", "n": 4, "m": 4, "layout": "split", "metadata": "enumerative"},
            "layout",
            "must be interleaved where metadata has no bits, not split",
        ),
        ({"unit": "PE"}, "unit", f"must be one of {', '.join(UNITS)}, not 'PE'"),
        ({"dtype": "fp32"}, "dtype", f"must be one of {FORMAT_NAMES}, not 'fp32'"),
        ({"dtype": ""}, "dtype", f"must be one of {FORMAT_NAMES}, not ''"),
        (
            {"selector": "bubble"},
            "selector",
            f"must be one of auto, {', '.join(SELECTORS)}, not 'bubble'",
        ),
        ({"goal": "power"}, "goal", "must be one of area, delay, density, not 'power'"),
        (
            {"metadata": "ranks"},
            "metadata",
            f"must be one of {', '.join(METADATA)}, not 'ranks'",
        ),
        ({"overflow": "trap"}, "overflow", "must be one of wrap, saturate, not 'trap'"),
        ({"weight_dtype": "int3"}, "weight_dtype", f"must be one of {FORMAT_NAMES}, not 'int3'"),
        (
            {**PE, "weight_dtype": "fp8_e4m3"},
            "weight_dtype",
            "must be one of int4, int8, int16 with the dtype int8, not 'fp8_e4m3'",
        ),
        (
            {"unit": "pe", "weight_dtype": "int4"},
            "weight_dtype",
            "must be one of fp16, bf16, fp8_e4m3, fp8_e5m2 with the dtype bf16, not 'int4'",
        ),
        (
            {"unit": "pe", "weight_dtype": "fp16", "align_bits": 18},
            "align_bits",
            "must be between 19 and 40 in a pe of bf16 and fp16, not 18",
        ),
        ({"pipeline": -1}, "pipeline", "must be between 0 and 32, not -1"),
        ({"pipeline": 33}, "pipeline", "must be between 0 and 32, not 33"),
        ({**PE, "pipeline": 0}, "pipeline", f"{PE_PIPELINE_RULE}, not 0"),
        ({**PE, "pipeline": -1}, "pipeline", f"{PE_PIPELINE_RULE}, not -1"),
        ({**PE, "pipeline": 33}, "pipeline", f"{PE_PIPELINE_RULE}, not 33"),
        (
            {**PE, "weight_select": "shift"},
            "weight_select",
            "must be one of mux, gather, dense-skip, not 'shift'",
        ),
        ({"weight_select": "gather"}, "weight_select", "must go with unit pe, not 'sparsifier'"),
        ({**PE, "outstanding": 4}, "outstanding", "must go with weight_select gather, not 'mux'"),
        (
            {**PE, "weight_select": "gather", "outstanding": 1},
            "outstanding",
            "must be between 2 and 64, not 1",
        ),
        (
            {**PE, "weight_select": "gather", "outstanding": 65},
            "outstanding",
            "must be between 2 and 64, not 65",
        ),
        ({**PE, "acc_width": 1}, "acc_width", "must be between 2 and 64, not 1"),
        ({**PE, "acc_width": 65}, "acc_width", "must be between 2 and 64, not 65"),
        (
            {"unit": "epilogue", "dtype": "int8", "acc_width": 1},
            "acc_width",
            "must be between 2 and 64, not 1",
        ),
        ({"unit": "correction", "pipeline": 33}, "pipeline", "must be between 0 and 32, not 33"),
        (
            {"unit": "epilogue", "pipeline": "auto"},
            "pipeline",
            "must be a number unless in sparsifier or selector, not 'auto' in 'epilogue'",
        ),
        ({"name": "module"}, "name", f"{IDENTIFIER_RULE}, not 'module'"),
        ({"name": "logic"}, "name", f"{IDENTIFIER_RULE}, not 'logic'"),
        ({"name": ""}, "name", f"{IDENTIFIER_RULE}, not ''"),
        ({"name": "2of4"}, "name", f"{IDENTIFIER_RULE}, not '2of4'"),
        ({"name": "top-level"}, "name", f"{IDENTIFIER_RULE}, not 'top-level'"),
        ({"name": "a/b"}, "name", f"{IDENTIFIER_RULE}, not 'a/b'"),
        ({"name": "top\n"}, "name", f"{IDENTIFIER_RULE}, not 'top\\n'"),
        ({"name": "größe"}, "name", f"{IDENTIFIER_RULE}, not 'größe'"),
        ({"name": "a$b"}, "name", f"{IDENTIFIER_RULE}, not 'a$b'"),
        ({"score_bits": 0}, "score_bits", f"{SCORE_RULE.format(15, 'bf16')}, not 0"),
        ({"score_bits": 16}, "score_bits", f"{SCORE_RULE.format(15, 'bf16')}, not 16"),
        (
            {"dtype": "fp8_e4m3", "score_bits": 8},
            "score_bits",
            f"{SCORE_RULE.format(7, 'fp8_e4m3')}, not 8",
        ),
        (
            {"dtype": "int4", "score_bits": -1},
            "score_bits",
            f"{SCORE_RULE.format(4, 'int4')}, not -1",
        ),
        (
            {"n_runtime": True, "unit": "decoder"},
            "n_runtime",
            "must go with unit sparsifier or selector, not 'decoder'",
        ),
        (
            {"input_register": True, "unit": "encoder"},
            "input_register",
            "must go with unit sparsifier or selector, not 'encoder'",
        ),
        (
            {**PE, "input_register": True},
            "input_register",
            "must go with unit sparsifier or selector, not 'pe'",
        ),
        (
            {"n_runtime": True, "selector": "threshold_serial"},
            "n_runtime",
            "must go with selector compare_matrix, not 'threshold_serial'",
        ),
        ({"criterion": "clact"}, "criterion", "must be one of act, scaled, not 'clact'"),
        (
            {**PE, "criterion": "scaled"},
            "criterion",
            "must be act in a unit other than sparsifier, selector, tile or axi_tile, not 'scaled'",
        ),
        (
            {"scale_format": "u8"},
            "scale_format",
            "must go with criterion scaled or unit scale_memory, not 'act'",
        ),
        *(
            (
                {"criterion": "scaled", "scale_format": name},
                "scale_format",
                f"must be one of u1 to u32, pow2, bf16, not {name!r}",
            )
            for name in ("u0", "u33", "u08", "fp16", "", "U8")
        ),
        (
            {"criterion": "scaled", "score_bits": 27},
            "score_bits",
            f"{SCORE_RULE.format(26, 'bf16')} with a scale of u8, not 27",
        ),
        (
            {**MEMORY, "scale_format": "u33"},
            "scale_format",
            "must be one of u1 to u32, pow2, bf16, not 'u33'",
        ),
        (
            {**MEMORY, "criterion": "scaled"},
            "criterion",
            "must be act in a unit other than sparsifier, selector, tile or axi_tile, not 'scaled'",
        ),
        *(
            ({**MEMORY, "depth": depth}, "depth", f"must be between 1 and 65536, not {depth}")
            for depth in (-1, 0, 65537)
        ),
        *(
            (
                {**MEMORY, "pipeline": stages},
                "pipeline",
                f"must be 1 in a scale_memory, whose memory is the stage, not {stages}",
            )
            for stages in (0, 2)
        ),
        (
            {**MEMORY, "pipeline": "auto"},
            "pipeline",
            "must be a number unless in sparsifier or selector, not 'auto' in 'scale_memory'",
        ),
        ({"shift": "median"}, "shift", "must be one of none, static, lane, token, not 'median'"),
        (
            {"shift": "token", "unit": "encoder"},
            "shift",
            "must be none in a unit other than sparsifier, selector, tile or axi_tile, not 'token'",
        ),
        (
            {"residual": True, "unit": "selector"},
            "residual",
            "must go with unit sparsifier, not 'selector'",
        ),
        (
            {"unit": "statistics", "align_bits": 15},
            "align_bits",
            "must be between 16 and 40 in statistics of bf16, not 15",
        ),
        (
            {"unit": "statistics", "align_bits": 41, "dtype": "fp16"},
            "align_bits",
            "must be between 22 and 40 in statistics of fp16, not 41",
        ),
        (
            {"unit": "statistics", "pipeline": 0},
            "pipeline",
            "must be between 1 and 32 in statistics, whose sums are a stage, not 0",
        ),
        (
            {"pipeline": "auto", "unit": "encoder"},
            "pipeline",
            "must be a number unless in sparsifier or selector, not 'auto' in 'encoder'",
        ),
        (
            {**PE, "pipeline": "auto"},
            "pipeline",
            "must be a number unless in sparsifier or selector, not 'auto' in 'pe'",
        ),
    ],
)
def test_broken_rules(changes, parameter, rule):
    with pytest.raises(ConfigError) as caught:
        UnitConfig(**{"n": 2, "m": 4, **changes})
    assert str(caught.value) == f"{parameter} {rule}"
    assert (caught.value.parameter, caught.value.rule) == (parameter, rule)
    assert isinstance(caught.value, ValueError)


TWO = ((2, 4), (4, 8))


@pytest.mark.parametrize(
    ("changes", "parameter", "rule"),
    [
        ({"flexible": ()}, "flexible", "must be different patterns n:m, not ''"),
        (
            {"flexible": ((2, 4), (4, 8), (2, 4))},
            "flexible",
            "must be different patterns n:m, not '2:4,4:8,2:4'",
        ),
        ({"flexible": ((0, 4),)}, "flexible", f"{SHAPE_RULE}, not 0:4"),
        ({"flexible": ((2, 4), (9, 8))}, "flexible", f"{SHAPE_RULE}, not 9:8"),
        ({"flexible": ((1, 1), (4, 8))}, "flexible", f"{SHAPE_RULE}, not 1:1"),
        ({"flexible": ((1, 65),)}, "flexible", f"{SHAPE_RULE}, not 1:65"),
        (
            {"flexible": ((2, 4), (1, 3), (4, 8))},
            "flexible",
            "must be patterns whose m divides the largest, 8, not 1:3",
        ),
        (
            {"flexible": ((3, 6), (2, 4))},
            "flexible",
            "must be patterns whose m divides the largest, 6, not 2:4",
        ),
        ({"flexible": TWO, "n": 3}, "n", "must not be given with flexible, or be 4, not 3"),
        ({"flexible": TWO, "m": 4}, "m", "must not be given with flexible, or be 8, not 4"),
        ({"flexible": TWO, "n_runtime": True}, "n_runtime", "must not be given with flexible"),
        (
            {"flexible": TWO, **PE},
            "flexible",
            "must go with unit sparsifier, selector, tile or axi_tile, not 'pe'",
        ),
        (
            {"flexible": TWO, "unit": "encoder"},
            "flexible",
            "must go with unit sparsifier, selector, tile or axi_tile, not 'encoder'",
        ),
        (
            {"flexible": TWO, "selector": "rank_merge"},
            "flexible",
            "must go with selector compare_matrix, not 'rank_merge'",
        ),
        ({"flexible": None}, "m", "must be between 2 and 64, not 0"),
        ({"m": 8}, "n", "must be between 1 and m = 8, not 0"),
    ],
)
def test_broken_rules_of_patterns(changes, parameter, rule):
    with pytest.raises(ConfigError) as caught:
        UnitConfig(**changes)
    assert str(caught.value) == f"{parameter} {rule}"
    assert (caught.value.parameter, caught.value.rule) == (parameter, rule)


AXI_TILE = {"unit": "axi_tile", "dtype": "int8"}


@pytest.mark.parametrize(
    ("changes", "parameter", "rule"),
    [
        ({"shift": "lane"}, "shift", "must be none or static in an axi_tile, not 'lane'"),
        ({"shift": "token"}, "shift", "must be none or static in an axi_tile, not 'token'"),
        (
            {"word": 48},
            "word",
            "must be one of 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, "
            "not 48",
        ),
    ],
)
def test_broken_rules_behind_axi(changes, parameter, rule):
    with pytest.raises(ConfigError) as caught:
        UnitConfig(**{"n": 2, "m": 4, **AXI_TILE, **changes})
    assert str(caught.value) == f"{parameter} {rule}"


@pytest.mark.parametrize(
    ("changes", "beats", "cycles"),
    [
        # Two rows of 32 bits, three columns of 32, six sums of 32.
        ({}, (2, 3, 6), (4, 3)),
        ({"word": 64, "pipeline": 2}, (1, 2, 3), (6, 2)),
        ({"word": 65536, "n": 4}, (1, 1, 1), (4, 1)),
        # Sums of 20 bits take 32, those of 33 take 64.
        ({"acc_width": 20}, (2, 3, 6), (4, 3)),
        ({"acc_width": 33}, (2, 3, 12), (4, 3)),
        ({"acc_width": 5}, (2, 3, 2), (4, 3)),
    ],
)
def test_beats(changes, beats, cycles):
    """Beats of a step's activations and weights and of a result; latency and interval."""
    config = UnitConfig(**{"n": 2, "m": 4, **AXI_TILE, "rows": 2, "cols": 3, "word": 32, **changes})
    assert tuple(map(config.beats, ("data", "weights", "sum"))) == beats
    assert (config.latency_cycles, config.initiation_interval) == cycles


HALVES = ((1, 2), (2, 4), (4, 8))


@pytest.mark.parametrize(
    ("changes", "parameter", "rule"),
    [
        ({"rows": 0}, "rows", "must be between 1 and 64, not 0"),
        ({"rows": 65}, "rows", "must be between 1 and 64, not 65"),
        ({"cols": 0}, "cols", "must be between 1 and 256, not 0"),
        ({"cols": 257}, "cols", "must be between 1 and 256, not 257"),
        (
            {"weight_dtype": "fp16"},
            "weight_dtype",
            "must be one of int4, int8, int16 with the dtype int8, not 'fp16'",
        ),
        (
            {"dtype": "bf16", "align_bits": 15},
            "align_bits",
            "must be between 16 and 40 in a tile of bf16 and bf16, not 15",
        ),
        ({"weight_select": "gather"}, "weight_select", "must go with unit pe, not 'tile'"),
        ({"weights": (2, 4)}, "weights", "must go with unit pe, not 'tile'"),
        (
            {"selector": "threshold_serial"},
            "selector",
            "must take a group a cycle in a tile, not be 'threshold_serial'",
        ),
        (
            {"metadata": "decoded"},
            "metadata",
            "must be one of bitmap, index, bitmap-implied, enumerative, not 'decoded'",
        ),
        ({"acc_width": 1}, "acc_width", "must be between 2 and 64, not 1"),
        (
            {"pipeline": 0},
            "pipeline",
            "must be between 1 and 32 in a tile, whose sums are a stage, not 0",
        ),
        (
            {"pipeline": "auto"},
            "pipeline",
            "must be a number unless in sparsifier or selector, not 'auto' in 'tile'",
        ),
        ({"residual": True}, "residual", "must go with unit sparsifier, not 'tile'"),
        (
            {"n_runtime": True},
            "n_runtime",
            "must go with unit sparsifier or selector, not 'tile'",
        ),
        (
            {"n": 0, "m": 0, "flexible": ((2, 4), (2, 8))},
            "flexible",
            "must be patterns that keep as many of the 8 lanes each in a tile, not '2:4,2:8'",
        ),
        (
            {"n": 0, "m": 0, "flexible": HALVES, "metadata": "index"},
            "metadata",
            "must be bitmap in a tile with patterns at run time, not 'index'",
        ),
        (
            {"n": 0, "m": 0, "flexible": ((2, 2), (4, 4))},
            "flexible",
            "must not be given for a tile that keeps all 4 lanes",
        ),
        *(
            ({"n": 4, parameter: value}, parameter, rule)
            for rule in ["must not be given for a tile that keeps all 4 lanes"]
            for parameter, value in (
                ("shift", "token"),
                ("criterion", "scaled"),
                ("score_bits", 3),
                ("selector", "rank_merge"),
                ("metadata", "index"),
            )
        ),
    ],
)
def test_broken_rules_of_a_tile(changes, parameter, rule):
    with pytest.raises(ConfigError) as caught:
        UnitConfig(**{"n": 2, "m": 4, **TILE, **changes})
    assert str(caught.value) == f"{parameter} {rule}"


@pytest.mark.parametrize(
    ("changes", "latency"),
    [
        ({}, 3),
        ({"pipeline": 2}, 5),
        ({"pipeline": 32}, 65),
        ({"n": 4}, 3),
        ({"n": 4, "pipeline": 5}, 7),
        ({"goal": "area"}, 3),
    ],
)
def test_cycles_of_a_tile(changes, latency):
    """Sparsifier, step, PE; without sparsity two stages in front of the PE."""
    config = UnitConfig(**{"n": 2, "m": 4, **TILE, **changes})
    assert (config.latency_cycles, config.initiation_interval) == (latency, 1)


@pytest.mark.parametrize(("patterns", "has"), [(HALVES, True), (HALVES[:2], False)])
def test_patterns_that_do_not_exist(patterns, has):
    assert UnitConfig(flexible=patterns, **TILE).has_illegal_patterns == has
    assert not UnitConfig(n=2, m=4, **TILE).has_illegal_patterns


@pytest.mark.parametrize("value", ["2:4", 5, ((2, 4, 8),), ((2.0, 4),), (2, 4), (("2", "4"),)])
def test_patterns_of_the_wrong_kind(value):
    with pytest.raises(TypeError) as caught:
        UnitConfig(flexible=value)
    assert str(caught.value) == f"flexible must be pairs of integers, not {value!r}"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n": 2.0}, "n must be an integer, not 2.0"),
        ({"n": "2"}, "n must be an integer, not '2'"),
        ({"n": None}, "n must be an integer, not None"),
        ({"m": 4.5}, "m must be an integer, not 4.5"),
        ({"pipeline": 1.0}, "pipeline must be an integer, not 1.0"),
        ({"acc_width": "32"}, "acc_width must be an integer, not '32'"),
        ({"depth": "8"}, "depth must be an integer, not '8'"),
        ({"depth": None}, "depth must be an integer, not None"),
        ({"rows": 2.0}, "rows must be an integer, not 2.0"),
        ({"cols": "4"}, "cols must be an integer, not '4'"),
        ({**MEMORY, "scale_format": 8}, "scale_format must be a string, not 8"),
        ({"check": 1}, "check must be True or False, not 1"),
        ({"check": "on"}, "check must be True or False, not 'on'"),
        ({"check": None}, "check must be True or False, not None"),
        ({"unit": None}, "unit must be a string, not None"),
        ({"unit": ["pe"]}, "unit must be a string, not ['pe']"),
        ({"dtype": 16}, "dtype must be a string, not 16"),
        ({"selector": 0}, "selector must be a string, not 0"),
        ({"goal": b"area"}, "goal must be a string, not b'area'"),
        ({"metadata": True}, "metadata must be a string, not True"),
        ({"overflow": 2}, "overflow must be a string, not 2"),
        ({"weight_dtype": 8}, "weight_dtype must be a string, not 8"),
        ({"weight_select": None}, "weight_select must be a string, not None"),
        ({"outstanding": 2.0}, "outstanding must be an integer, not 2.0"),
        ({"name": 5}, "name must be a string, not 5"),
        ({"pipeline": "fast"}, "pipeline must be an integer, not 'fast'"),
        ({"score_bits": 7.0}, "score_bits must be an integer, not 7.0"),
        ({"score_bits": "7"}, "score_bits must be an integer, not '7'"),
        ({"criterion": None}, "criterion must be a string, not None"),
        ({"shift": 0}, "shift must be a string, not 0"),
        (
            {"criterion": "scaled", "scale_format": 8},
            "scale_format must be a string, not 8",
        ),
        ({"residual": 1}, "residual must be True or False, not 1"),
        ({"n_runtime": 1}, "n_runtime must be True or False, not 1"),
        ({"n_runtime": None}, "n_runtime must be True or False, not None"),
        ({"input_register": "on"}, "input_register must be True or False, not 'on'"),
    ],
)
def test_wrong_kinds(changes, message):
    with pytest.raises(TypeError) as caught:
        UnitConfig(**{"n": 2, "m": 4, **changes})
    assert str(caught.value) == message


def test_integers_of_other_libraries_become_plain():
    import torch

    config = UnitConfig(n=torch.tensor(2), m=torch.tensor(4))
    assert (type(config.n), type(config.m)) == (int, int)
    assert config == UnitConfig(n=2, m=4)


def test_defaults_and_immutability():
    config = UnitConfig(n=8, m=16)
    assert dataclasses.asdict(config) == {
        "n": 8,
        "m": 16,
        "unit": "sparsifier",
        "dtype": "bf16",
        "selector": "auto",
        "goal": "density",
        "criterion": "act",
        "scale_format": None,
        "shift": "none",
        "score_bits": None,
        "flexible": None,
        "n_runtime": False,
        "input_register": False,
        "metadata": "bitmap",
        "residual": False,
        "serial": False,
        "pipeline": 1,
        "word": 64,
        "layout": "interleaved",
        "depth": 256,
        "weight_dtype": None,
        "weight_select": "mux",
        "weights": None,
        "outstanding": None,
        "acc_width": 32,
        "overflow": "wrap",
        "align_bits": None,
        "check": True,
        "rows": 4,
        "cols": 4,
        "name": None,
    }
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.n = 4
    with pytest.raises(TypeError):
        UnitConfig(8, 16)
    assert hash(config) == hash(UnitConfig(n=8, m=16))


@pytest.mark.parametrize(
    ("parameters", "top"),
    [
        ({}, "nm_sparsifier_8_16_bf16"),
        ({"dtype": "fp8_e4m3", "metadata": "index", "pipeline": 3}, "nm_sparsifier_8_16_fp8_e4m3"),
        ({"unit": "selector"}, "nm_selector_8_16_bf16"),
        ({"unit": "selector", "metadata": "index", "goal": "area"}, "nm_selector_8_16_bf16"),
        ({"unit": "encoder"}, "nm_encoder_8_16_bitmap"),
        ({"unit": "encoder", "metadata": "index"}, "nm_encoder_8_16_index"),
        ({"unit": "decoder", "metadata": "index", "dtype": "int4"}, "nm_decoder_8_16_index"),
        ({"unit": "pe", "dtype": "int8"}, "nm_pe_8_16_int8"),
        ({"unit": "pe", "dtype": "int8", "weight_dtype": "int8"}, "nm_pe_8_16_int8"),
        ({"unit": "pe", "dtype": "int8", "weight_dtype": "int4"}, "nm_pe_8_16_int8_int4"),
        (
            {"unit": "pe", "dtype": "int8", "acc_width": 24, "overflow": "saturate"},
            "nm_pe_8_16_int8",
        ),
        ({"unit": "pe", "dtype": "int8", "weight_select": "gather"}, "nm_pe_8_16_int8"),
        (TILE, "nm_tile_8_16_int8"),
        ({**TILE, "weight_dtype": "int4", "rows": 7}, "nm_tile_8_16_int8_int4"),
        ({"weight_dtype": "int4"}, "nm_sparsifier_8_16_bf16"),
        (MEMORY, "nm_scale_memory_8_16_u8"),
        ({**MEMORY, "scale_format": "bf16", "depth": 5}, "nm_scale_memory_8_16_bf16"),
        ({**MEMORY, "dtype": "int4", "metadata": "index"}, "nm_scale_memory_8_16_u8"),
        ({"unit": "correction"}, "nm_correction_8_16_bf16"),
        ({"unit": "epilogue", "dtype": "int8", "acc_width": 24}, "nm_epilogue_8_16_int8"),
        ({"name": "keep_half"}, "keep_half"),
        ({"unit": "encoder", "name": "_E1"}, "_E1"),
    ],
)
def test_top_names(parameters, top):
    assert UnitConfig(n=8, m=16, **parameters).top == top


MAIN = ((2, 4), (4, 8), (8, 16), (16, 32))


@pytest.mark.parametrize(
    ("parameters", "top"),
    [
        ({"flexible": MAIN, "unit": "selector"}, "nm_selector_flex32_bf16"),
        ({"flexible": MAIN[:2], "dtype": "int8"}, "nm_sparsifier_flex8_int8"),
        ({"flexible": ((3, 9), (1, 3)), "metadata": "index"}, "nm_sparsifier_flex9_bf16"),
        ({"flexible": MAIN, "name": "any_of_four"}, "any_of_four"),
        # What can be changed at run time is no part of the name.
        ({"n": 8, "m": 16, "n_runtime": True, "unit": "selector"}, "nm_selector_8_16_bf16"),
        ({"n": 8, "m": 16, "score_bits": 5, "input_register": True}, "nm_sparsifier_8_16_bf16"),
    ],
)
def test_names_of_what_is_chosen_at_run_time(parameters, top):
    assert UnitConfig(**parameters).top == top


@pytest.mark.parametrize(
    ("patterns", "n", "m", "index", "pattern_width", "counts"),
    [
        (MAIN, 16, 32, 80, 2, range(16, 17)),
        # With a number that no pattern has, there may be no kept lane at all.
        (MAIN[:3], 8, 16, 32, 2, range(9)),
        (MAIN[:2], 4, 8, 12, 1, range(4, 5)),
        (((1, 4), (2, 4), (2, 8), (6, 8)), 6, 8, 18, 2, range(2, 7)),
        (((1, 3), (2, 3), (3, 9), (8, 9)), 8, 9, 32, 2, range(3, 9)),
        (((3, 5),), 3, 5, 9, 1, range(4)),
        # More, narrower fields are the longer list.
        (((5, 8), (4, 4)), 8, 8, 16, 1, range(5, 9)),
    ],
)
def test_sizes_of_patterns(patterns, n, m, index, pattern_width, counts):
    config = UnitConfig(flexible=patterns, metadata="index")
    assert (config.n, config.m, config.slots) == (n, m, n)
    assert config.metadata_width == index
    assert config.pattern_width == pattern_width
    assert config.kept_counts == counts
    assert config.patterns == patterns
    assert UnitConfig(flexible=patterns).metadata_width == m
    # Saying what follows anyway is no contradiction.
    assert UnitConfig(flexible=patterns, n=n, m=m, metadata="index") == config


def test_patterns_become_plain():
    import torch

    patterns = [[torch.tensor(2), torch.tensor(4)], (n for n in (4, 8))]
    config = UnitConfig(flexible=patterns)
    assert config.flexible == MAIN[:2]
    assert all(type(number) is int for pattern in config.flexible for number in pattern)
    assert hash(config) == hash(UnitConfig(flexible=MAIN[:2]))


def test_sizes_of_any_n():
    config = UnitConfig(n=2, m=7, n_runtime=True, metadata="index")
    assert (config.slots, config.metadata_width) == (7, 21)
    assert config.kept_counts == range(8)
    assert UnitConfig(n=2, m=7, n_runtime=True).metadata_width == 7
    assert UnitConfig(n=2, m=7).kept_counts == range(2, 3)


@pytest.mark.parametrize(
    ("parameters", "latency", "interval"),
    [
        ({"pipeline": 3}, 3, 1),
        ({"pipeline": 3, "input_register": True}, 4, 1),
        ({"pipeline": 0, "input_register": True}, 1, 1),
        # One cycle for each of 15 bits of the key and 4 of the lane, and one more.
        ({"selector": "threshold_serial", "pipeline": 2}, 2, 20),
        ({"selector": "threshold_serial", "pipeline": 0}, 0, 20),
        ({"selector": "threshold_serial", "pipeline": 2, "input_register": True}, 22, 20),
        ({"selector": "threshold_serial", "score_bits": 4}, 1, 9),
        ({"selector": "threshold_serial", "dtype": "int4", "m": 9}, 1, 9),
        ({"selector": "threshold_serial", "dtype": "int4", "m": 8}, 1, 8),
        # It has no selector.
        ({"selector": "threshold_serial", "unit": "encoder"}, 1, 1),
        ({"selector": "threshold_serial", **PE}, 1, 1),
        (MEMORY, 2, 1),
        ({**MEMORY, "depth": 1, "scale_format": "pow2"}, 2, 1),
    ],
)
def test_latency_and_interval(parameters, latency, interval):
    config = UnitConfig(**{"n": 8, "m": 16, **parameters})
    assert (config.latency_cycles, config.initiation_interval) == (latency, interval)


def test_key_width():
    assert UnitConfig(n=2, m=4).key_width == 15
    assert UnitConfig(n=2, m=4, score_bits=15).key_width == 15
    assert UnitConfig(n=2, m=4, score_bits=1).key_width == 1
    assert UnitConfig(n=2, m=4, dtype="int8").key_width == 8


@pytest.mark.parametrize(
    ("n", "m", "bitmap", "index"),
    [
        (2, 4, 4, 4),
        (4, 8, 8, 12),
        (8, 16, 16, 32),
        (16, 32, 32, 80),
        (1, 2, 2, 1),
        (3, 5, 5, 9),
        (64, 64, 64, 384),
        (7, 33, 33, 42),
    ],
)
def test_metadata_widths(n, m, bitmap, index):
    assert UnitConfig(n=n, m=m).metadata_width == bitmap
    assert UnitConfig(n=n, m=m, metadata="bitmap-implied").metadata_width == m - 1
    assert UnitConfig(n=n, m=m, metadata="index").metadata_width == index
    masks = sum(1 for _ in combinations(range(m), n)) if m <= 16 else comb(m, n)
    config = UnitConfig(n=n, m=m, metadata="enumerative")
    assert config.metadata_bits == (masks - 1).bit_length()
    assert config.metadata_width == max(1, config.metadata_bits)


@pytest.mark.parametrize(
    ("m", "width"), [(2, 1), (3, 2), (4, 2), (5, 3), (8, 3), (9, 4), (63, 6), (64, 6)]
)
def test_index_width(m, width):
    assert UnitConfig(n=1, m=m).index_width == width


@pytest.mark.parametrize("pipeline", [0, 1, 7, 32])
def test_latency(pipeline):
    config = UnitConfig(n=2, m=4, pipeline=pipeline)
    assert (config.latency_cycles, config.initiation_interval) == (pipeline, 1)


@pytest.mark.parametrize(
    ("weight_select", "latency", "multipliers"),
    [("mux", 3, 2), ("gather", 4, 2), ("dense-skip", 3, 5)],
)
def test_weight_select(weight_select, latency, multipliers):
    """A group whose weights are asked for waits for a cycle."""
    config = UnitConfig(n=2, m=5, unit="pe", dtype="int8", weight_select=weight_select, pipeline=3)
    assert (config.latency_cycles, config.initiation_interval) == (latency, 1)
    assert config.multiplier_count == multipliers
    shown = {name: config.parameters.get(name) for name in ("weight_select", "outstanding")}
    assert (
        shown
        == {
            "mux": {"weight_select": None, "outstanding": None},
            "gather": {"weight_select": "gather", "outstanding": 4},
            "dense-skip": {"weight_select": "dense-skip", "outstanding": None},
        }[weight_select]
    )


def test_formats():
    config = UnitConfig(n=2, m=4, unit="pe", dtype="int8", weight_dtype="int4")
    assert config.format is FORMATS["int8"]
    assert config.weight_format is FORMATS["int4"]
    assert UnitConfig(n=2, m=4, unit="pe", dtype="int16").weight_format is FORMATS["int16"]
    # Bits, bits of the key, exponent, mantissa.
    assert {
        name: (f.width, f.key_width, f.exponent_width, f.mantissa_width)
        for name, f in FORMATS.items()
    } == {
        "int4": (4, 4, 0, 0),
        "int8": (8, 8, 0, 0),
        "int16": (16, 16, 0, 0),
        "fp16": (16, 15, 5, 10),
        "bf16": (16, 15, 8, 7),
        "fp8_e4m3": (8, 7, 4, 3),
        "fp8_e5m2": (8, 7, 5, 2),
    }


@pytest.mark.parametrize("goal", ["area", "delay", "density"])
def test_auto_is_resolved(goal):
    config = UnitConfig(n=2, m=4, goal=goal)
    assert config.resolved_selector in SELECTORS
    assert config.parameters["selector"] == config.resolved_selector
    assert "goal" not in config.parameters


PE_INT8 = {"unit": "pe", "dtype": "int8", "weight_dtype": "int8"}
EXPLICIT = [
    {"selector": "compare_matrix", "dtype": "int4", "pipeline": 0, "metadata": "index"},
    {"selector": "compare_matrix", "unit": "selector", "dtype": "fp8_e5m2", "pipeline": 32},
    {"unit": "encoder", "metadata": "index", "name": "my_encoder"},
    {"unit": "decoder", "pipeline": 2},
    {**MEMORY, "scale_format": "pow2", "depth": 9, "name": "scales"},
    {"unit": "correction", "dtype": "int16", "pipeline": 0},
    {"unit": "epilogue", "dtype": "fp16", "pipeline": 12, "name": "behind"},
    {"unit": "epilogue", "dtype": "int4", "acc_width": 17, "pipeline": 32},
    {"unit": "pe", "dtype": "int8", "weight_dtype": "int8", "metadata": "decoded"},
    {
        "unit": "axi_tile",
        "dtype": "int8",
        "weight_dtype": "int8",
        "criterion": "scaled",
        "scale_format": "u8",
        "depth": 12,
        "selector": "compare_matrix",
        "word": 8192,
    },
    {
        "unit": "tile",
        "rows": 3,
        "cols": 64,
        "dtype": "int8",
        "weight_dtype": "int4",
        "shift": "lane",
        "criterion": "scaled",
        "scale_format": "pow2",
        "selector": "rank_merge",
        "metadata": "index",
        "acc_width": 20,
        "overflow": "saturate",
        "check": False,
        "pipeline": 2,
    },
    {
        "unit": "pe",
        "dtype": "int16",
        "weight_dtype": "int4",
        "metadata": "index",
        "acc_width": 48,
        "overflow": "saturate",
        "check": False,
        "pipeline": 5,
        "name": "mac",
    },
    {**PE_INT8, "weight_select": "gather", "outstanding": 9},
    {**PE_INT8, "weight_select": "dense-skip", "pipeline": 2},
]


def parse(command: str) -> UnitConfig:
    *prog, n_option = command.split()[:4]
    assert prog == ["python", "-m", "hw.generate"]
    assert n_option == "--unit"
    parser = _parser()
    return _config(parser, vars(parser.parse_args(command.split()[3:])))


@pytest.mark.parametrize("parameters", EXPLICIT)
def test_command_gives_the_configuration_back(parameters):
    config = UnitConfig(n=3, m=7, **parameters)
    assert parse(config.command) == config


@pytest.mark.parametrize("name", SELECTORS)
def test_command_names_the_selector(name):
    config = UnitConfig(n=3, m=7, selector=name, score_bits=9, input_register=True, pipeline=2)
    assert parse(config.command) == config


@pytest.mark.parametrize(
    "parameters",
    [
        {"flexible": MAIN},
        {"flexible": MAIN[1::-1], "unit": "selector", "pipeline": 0, "dtype": "int4"},
        {"flexible": ((3, 5),), "metadata": "index", "name": "alone", "score_bits": 2},
        {"n": 1, "m": 9, "n_runtime": True, "input_register": True},
        {"n": 1, "m": 9, "n_runtime": True, "unit": "selector", "pipeline": 4},
    ],
)
def test_command_of_what_is_chosen_at_run_time(parameters):
    config = UnitConfig(selector="compare_matrix", **parameters)
    assert parse(config.command) == config


@pytest.mark.parametrize("unit", UNITS)
def test_command_of_defaults_makes_the_same_unit(unit):
    config = UnitConfig(n=3, m=7, unit=unit, dtype="int8")
    again = parse(config.command)
    assert again.parameters == config.parameters
    assert (again.top, again.command) == (config.top, config.command)


def test_command_text():
    assert UnitConfig(n=8, m=16, selector="compare_matrix").command == (
        "python -m hw.generate --unit sparsifier --n 8 --m 16 --dtype bf16"
        " --selector compare_matrix --metadata bitmap --pipeline 1"
    )
    assert UnitConfig(flexible=MAIN[:2], unit="selector", input_register=True).command == (
        "python -m hw.generate --unit selector --flexible 2:4,4:8 --dtype bf16"
        " --selector compare_matrix --input-register --pipeline 1"
    )
    assert UnitConfig(n=1, m=4, n_runtime=True, score_bits=3).command == (
        "python -m hw.generate --unit sparsifier --n 1 --m 4 --dtype bf16 --score-bits 3"
        " --n-runtime --selector compare_matrix --metadata bitmap --pipeline 1"
    )
    assert UnitConfig(n=8, m=16, unit="encoder", metadata="index", name="e").command == (
        "python -m hw.generate --unit encoder --n 8 --m 16 --metadata index --pipeline 1 --name e"
    )
    assert UnitConfig(n=2, m=4, unit="scale_memory").command == (
        "python -m hw.generate --unit scale_memory --n 2 --m 4 --scale-format u8 --depth 256"
    )
    assert UnitConfig(n=2, m=4, unit="correction", dtype="int8", acc_width=9).command == (
        "python -m hw.generate --unit correction --n 2 --m 4 --dtype int8 --pipeline 1"
    )
    # Sums of floating-point numbers are fp32.
    assert UnitConfig(n=2, m=4, unit="epilogue", acc_width=9).command == (
        "python -m hw.generate --unit epilogue --n 2 --m 4 --dtype bf16 --pipeline 1"
    )
    assert UnitConfig(n=2, m=4, unit="epilogue", dtype="int8", pipeline=7).command == (
        "python -m hw.generate --unit epilogue --n 2 --m 4 --dtype int8 --acc-width 32 --pipeline 7"
    )
    assert UnitConfig(n=4, m=4, unit="tile", dtype="int8", rows=2).command == (
        "python -m hw.generate --unit tile --n 4 --m 4 --rows 2 --cols 4 --dtype int8"
        " --weight-dtype int8 --acc-width 32 --overflow wrap --check on --pipeline 1"
    )
    assert UnitConfig(n=2, m=4, unit="pe", dtype="int8", check=False).command == (
        "python -m hw.generate --unit pe --n 2 --m 4 --dtype int8 --weight-dtype int8"
        " --metadata bitmap --acc-width 32 --overflow wrap --check off --pipeline 1"
    )


def test_truth_values_are_no_pattern():
    """A bool is an integer to Python; names and commands must still hold digits."""
    assert UnitConfig(n=True, m=4).top == "nm_sparsifier_1_4_bf16"
