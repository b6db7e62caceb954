"""cocotb tests of a tile behind AXI, with masters and subordinates that others wrote."""

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.task import bridge, resume
from cocotb.triggers import ClockCycles, FallingEdge, with_timeout
from cocotbext.axi import (
    AxiLiteBus,
    AxiLiteMaster,
    AxiResp,
    AxiStreamBus,
    AxiStreamSink,
    AxiStreamSource,
)

from hw.axi import beat_width
from hw.config import UnitConfig
from hw.ports import input_streams, output_payload
from sim.bench.drivers import random_stalls
from sim.bench.golden import ask
from sim.bench.plan import GOLDEN, plan_from_environment
from sw.tile_driver.nm_tile import FIELDS, TileRegisters

PERIOD_NS = 10
LIMIT = 20_000

#: What the identification must be.
MAGIC, VERSION = 0x4E4D, 1

#: Words of each step by the name of their port.
Payload = dict[str, list[int]]


@dataclass
class Result:
    """What leaves for one reduction: the bytes of its beats, and the errors of the rows."""

    data: bytes
    errors: int


class Device:
    """A tile between masters and a sink of AXI."""

    def __init__(self, dut: Any) -> None:
        logging.getLogger("cocotb").setLevel(logging.WARNING)
        self.plan = plan_from_environment()
        self.config = self.plan.config
        self.tile = replace(self.config, unit="tile", word=UnitConfig.word)
        self.dut = dut
        # Ours is active low.
        common = {"reset_active_level": False}

        def stream(kind: Callable[..., Any], prefix: str) -> Any:
            return kind(AxiStreamBus.from_prefix(dut, prefix), dut.aclk, dut.aresetn, **common)

        self.activations = stream(AxiStreamSource, "s_axis_activations")
        self.weights = stream(AxiStreamSource, "s_axis_weights")
        self.results = stream(AxiStreamSink, "m_axis_results")
        bus = AxiLiteBus.from_prefix(dut, "s_axi")
        self.lite = AxiLiteMaster(bus, dut.aclk, dut.aresetn, **common)
        self.cycle = 0
        #: Cycles of the transfers of each stream.
        self.cycles: dict[str, list[int]] = {}

    async def start(self, *, stalls: int | None = None) -> None:
        """Clock and reset; with random stalls everywhere if there is a seed for them."""
        dut = self.dut
        dut.aresetn.value = 0
        Clock(dut.aclk, PERIOD_NS, unit="ns").start(start_high=False)
        await ClockCycles(dut.aclk, 4)
        dut.aresetn.value = 1
        await ClockCycles(dut.aclk, 2)
        for name in ("s_axis_activations", "s_axis_weights", "m_axis_results"):
            self.cycles[name] = []
            cocotb.start_soon(self._watch(name))
        cocotb.start_soon(self._count())
        if stalls is not None:
            channels = [
                self.activations, self.weights, self.results,
                *(getattr(self.lite.write_if, f"{c}_channel") for c in ("aw", "w", "b")),
                *(getattr(self.lite.read_if, f"{c}_channel") for c in ("ar", "r")),
            ]  # fmt: skip
            for k, channel in enumerate(channels):
                channel.set_pause_generator(random_stalls(stalls + k))

    async def _count(self) -> None:
        while True:
            await FallingEdge(self.dut.aclk)
            self.cycle += 1

    async def _watch(self, name: str) -> None:
        """Note the cycles in which something is transferred."""
        valid, ready = (getattr(self.dut, f"{name}_{end}") for end in ("tvalid", "tready"))
        waiting = False
        while True:
            await FallingEdge(self.dut.aclk)
            if name.startswith("m") and self.dut.aresetn.value == 1:
                assert valid.value == 1 or not waiting, f"{name}_tvalid fell before its transfer"
            waiting = valid.value == 1 and ready.value == 0
            if valid.value == 1 and ready.value == 1:
                self.cycles[name].append(self.cycle)

    # Registers, through the Python class that is made of their description.

    async def use(self, action: Callable[[TileRegisters], Any]) -> Any:
        """Run what uses the registers as software would, one access after the other."""

        @resume
        async def read(offset: int) -> int:
            answer = await self.lite.read(offset, 4)
            assert answer.resp == AxiResp.OKAY, f"no register to read at {offset:#x}"
            return int.from_bytes(answer.data, "little")

        @resume
        async def write(offset: int, word: int) -> None:
            answer = await self.lite.write(offset, word.to_bytes(4, "little"))
            assert answer.resp == AxiResp.OKAY, f"no register to write at {offset:#x}"

        registers = TileRegisters(read, write)
        return await bridge(lambda: action(registers))()

    async def get(self, name: str) -> int:
        """Read a field."""
        return int(await self.use(lambda registers: registers.get(name)))

    async def set(self, name: str, value: int) -> None:
        """Write a field."""
        await self.use(lambda registers: registers.set(name, value))

    async def status(self) -> dict[str, int]:
        """All fields of the status."""
        names = [name for name in FIELDS if name.startswith("status_")]
        return {name.removeprefix("status_"): await self.get(name) for name in names}

    # Streams

    def stimuli(self, lengths: list[int], seed: int, **fixed: list[int]) -> Payload:
        """Steps of reductions of those lengths.

        `fixed` has for each reduction what all its steps and rows have of a port.
        """
        transfers = self.plan.words({"random": sum(lengths)}, seed)
        payload: Payload = {}
        for prefix, streams in input_streams(self.tile).items():
            columns = zip(*transfers[prefix], strict=True)
            payload |= {name: list(c) for name, c in zip(streams, columns, strict=True)}
        payload["last"] = [int(k == length - 1) for length in lengths for k in range(length)]
        for name, values in fixed.items():
            field = input_streams(self.tile)["i"][name]
            payload[name] = [
                sum(value << row * field.width for row in range(field.count))
                for value, length in zip(values, lengths, strict=True)
                for _ in range(length)
            ]
        return payload

    def beats(self, payload: Payload, name: str) -> list[bytes]:
        """The bytes of all beats of each step."""
        streams = input_streams(self.tile)
        field = {**streams["i"], **streams["w"]}[name]
        width = beat_width(field.count * field.width, self.config.word)
        size = self.config.beats(name) * width // 8
        return [word.to_bytes(size, "little") for word in payload[name]]

    async def send(self, payload: Payload, *, last: bool = True) -> None:
        """Send all steps; without `last` TLAST only at the very end."""
        data, weights = self.beats(payload, "data"), self.beats(payload, "weights")
        packet = b""
        for step, end in zip(data, payload["last"], strict=True):
            packet += step
            if end and last:
                await self.activations.send(packet)
                packet = b""
        if packet:
            await self.activations.send(packet)
        await self.weights.send(b"".join(weights))

    def expected(self, payload: Payload) -> list[Result]:
        """What the golden model makes of it."""
        received = {
            prefix: list(zip(*(payload[name] for name in streams), strict=True))
            for prefix, streams in input_streams(self.tile).items()
        }
        outputs = ask(os.environ[GOLDEN], "expected", received)["o"]
        field = output_payload(self.tile)["sum"]
        size = self.config.beats("sum")
        size *= beat_width(self.config.stream_bits("sum"), self.config.word) // 8
        width = self.config.sum_width
        results = []
        for sums, errors in outputs:
            word = 0
            for k in range(field.count):
                code = sums >> k * field.width & (1 << field.width) - 1
                number = code - (1 << field.width) * (code >> field.width - 1)
                word |= (number & (1 << width) - 1) << k * width
            results.append(Result(word.to_bytes(size, "little"), errors))
        return results

    async def check(self, payload: Payload) -> None:
        """The results are those of the golden model, and no more come."""
        for place, expected in enumerate(self.expected(payload)):
            frame = await with_timeout(self.results.recv(), LIMIT * PERIOD_NS, "ns")
            assert bytes(frame.tdata) == expected.data, f"result {place} differs"
            users = frame.tuser if isinstance(frame.tuser, list) else [frame.tuser]
            assert set(users) == {expected.errors}, f"errors of result {place} differ"
        await ClockCycles(self.dut.aclk, 30)
        assert self.results.empty(), "a result too many"

    async def push_table(self, payload: Payload, length: int, reductions: int) -> None:
        """Give the tile the scales of the first `length` steps, for so many reductions."""
        field = input_streams(self.tile)["i"]["scale"]
        words = payload["scale"][:length]
        count = -(-field.count * field.width // 32)
        await self.set("scale_tokens_value", reductions)
        for k, word in enumerate(words):
            parts = [word >> 32 * part & 0xFFFFFFFF for part in range(count)]
            await self.use(partial(TileRegisters.push_scales, words=parts, last=k == length - 1))

    async def prepare(self, payload: Payload, lengths: list[int]) -> None:
        """Scales and shift of a tile that has them; all reductions have the scales of the first."""
        config = self.config
        if config.shift == "static":
            payload["shift"] = payload["shift"][:1] * len(payload["shift"])
            await self.set("shift_value", payload["shift"][0])
        if config.scale is not None:
            (length,) = set(lengths)
            payload["scale"] = payload["scale"][:length] * len(lengths)
            await self.push_table(payload, length, len(lengths))

    def lengths(self, count: int) -> list[int]:
        """Of reductions: equal ones where the table of scales is the same for all."""
        return [3] * count if self.config.scale else [k * 5 % 7 + 1 for k in range(count)]


@cocotb.test()
async def identification(dut: Any) -> None:
    """What the tile is can be read; what is not there answers with an error."""
    device = Device(dut)
    await device.start(stalls=7)
    config = device.config
    expected = {
        "id_magic": MAGIC, "id_version": VERSION, "pattern_shape_n": config.n,
        "pattern_shape_m": config.m, "pattern_shape_patterns": len(config.patterns),
        "tile_shape_rows": config.rows, "tile_shape_cols": config.cols,
        "formats_data_width": config.format.width, "formats_sum_width": config.sum_width,
        "formats_weight_width": config.weight_format.width,
        "formats_scale_width": config.scale.width if config.scale else 0,
        "control_enable": 1, "control_reset": 0, "length_value": 0, "steps_value": 0,
    }  # fmt: skip
    for name, value in expected.items():
        assert await device.get(name) == value, name
    has_scales = config.scale is not None
    for name, there in (
        ("pattern_value", bool(config.flexible)),
        ("shift_value", config.shift == "static"),
        ("scale_tokens_value", has_scales),
        ("scale_word_value", has_scales),
    ):
        offset = FIELDS[name].offset
        response = AxiResp.OKAY if there else AxiResp.SLVERR
        assert (await device.lite.read(offset, 4)).resp == response, name
        assert (await device.lite.write(offset, bytes(4))).resp == response, name
    for offset in (0x38, 0xFC):
        assert (await device.lite.read(offset, 4)).resp == AxiResp.SLVERR
        assert (await device.lite.write(offset, bytes(4))).resp == AxiResp.SLVERR
    # Bytes by themselves; what is only read stays.
    offset = FIELDS["length_value"].offset
    await device.lite.write(offset, (0x11223344).to_bytes(4, "little"))
    await device.lite.write(offset + 1, b"\xaa")
    assert await device.get("length_value") == 0x1122AA44
    await device.lite.write(FIELDS["id_magic"].offset, bytes(4))
    assert await device.get("id_magic") == MAGIC


@cocotb.test()
@cocotb.parametrize(stalls=[None, 100])
async def reductions(dut: Any, stalls: int | None) -> None:
    """Reductions that TLAST ends; counters; latency and rate when nothing stalls."""
    device = Device(dut)
    await device.start(stalls=stalls)
    config = device.config
    lengths = device.lengths(12)
    payload = device.stimuli(lengths, 1, **({"pattern": [0] * 12} if config.flexible else {}))
    await device.prepare(payload, lengths)
    assert (await device.status())["busy"] == 0
    await device.send(payload)
    await device.check(payload)
    assert await device.get("steps_value") == sum(lengths)
    assert await device.get("results_value") == len(lengths)
    status = await device.status()
    # Of the scales nothing was said to be wrong.
    assert status == {**dict.fromkeys(status, 0), "scale_ready": int(config.scale is not None)}
    if stalls is None:
        check_cycles(device, lengths)
        busy = await device.get("cycles_value")
        first, last = device.cycles["s_axis_activations"][0], device.cycles["m_axis_results"][-1]
        start = min(first, device.cycles["s_axis_weights"][0])
        assert busy == last - start, f"busy for {busy} cycles, not {last - start}"


def check_cycles(device: Device, lengths: list[int]) -> None:
    """A beat a cycle in the busiest stream, and the first result after the latency."""
    config, cycles = device.config, device.cycles
    data, weights = (
        [cycles[f"s_axis_{name}"][beats * k - 1] for k in accumulate(lengths)]
        for name, beats in (
            ("activations", config.beats("data")), ("weights", config.beats("weights")),
        )
    )  # fmt: skip
    first = cycles["m_axis_results"][0]
    # Weights need the two stages of a column before the PEs, and results their register behind.
    due = max(data[0] + config.latency_cycles, weights[0] + config.stages + 3)
    assert first == due, f"the first result left in cycle {first}, not {due}"
    began = min(cycles["s_axis_activations"][0], cycles["s_axis_weights"][0])
    taken = cycles["m_axis_results"][-1] - began
    # Results of short reductions are the busiest stream of all.
    busiest = max(sum(lengths) * config.initiation_interval, len(lengths) * config.beats("sum"))
    slack = config.beats("sum") * len(lengths) if busiest > 2 * sum(lengths) else 0
    limit = busiest + config.latency_cycles + config.beats("sum") + slack
    assert taken <= limit, f"{taken} cycles, not {limit} or less"


@cocotb.test()
async def lengths(dut: Any) -> None:
    """Reductions of a length from a register, changed between them; TLAST where it is wrong."""
    device = Device(dut)
    await device.start(stalls=200)
    if device.config.scale is not None:
        return
    for seed, (length, count) in enumerate([(3, 4), (1, 5), (2, 1)]):
        fixed = {"pattern": [1] * count} if device.config.flexible else {}
        if fixed:
            await device.set("pattern_value", 1)
        payload = device.stimuli([length] * count, 10 + seed, **fixed)
        await device.set("length_value", length)
        await device.send(payload, last=False)
        await device.check(payload)
        assert (await device.status())["last_error"] == 0
    # TLAST at each step of reductions of two.
    await device.set("length_value", 2)
    payload = device.stimuli([1] * 4, 20, **({"pattern": [1] * 4} if fixed else {}))
    sent = {**payload, "last": [0, 1, 0, 1]}
    await device.send({**sent, "last": [1, 1, 1, 1]})
    await device.check(sent)
    assert (await device.status())["last_error"] == 1
    # Zeros clear nothing, ones do.
    await device.set("status_pattern_error", 1)
    assert (await device.status())["last_error"] == 1
    await device.set("status_last_error", 1)
    assert (await device.status())["last_error"] == 0


@cocotb.test()
async def last_inside_a_step(dut: Any) -> None:
    """TLAST before the last beat of a step does not end anything, and is remembered."""
    device = Device(dut)
    await device.start()
    if device.config.beats("data") == 1 or device.config.scale or device.config.flexible:
        return
    payload = device.stimuli([1], 30)
    (step,) = device.beats(payload, "data")
    width = beat_width(device.config.stream_bits("data"), device.config.word) // 8
    await device.activations.send(step[:width])
    await device.activations.send(step[width:])
    await device.weights.send(b"".join(device.beats(payload, "weights")))
    await device.check(payload)
    assert (await device.status())["last_error"] == 1


@cocotb.test()
async def patterns(dut: Any) -> None:
    """The pattern of a reduction is that of the register when it begins."""
    device = Device(dut)
    await device.start(stalls=300)
    if not device.config.flexible:
        return
    existing = len(device.config.patterns)
    # The end of a packet is none of the reduction then.
    await device.set("length_value", 3)
    for seed, pattern in enumerate([0, 1, 2, existing, 1]):
        await device.set("pattern_value", pattern)
        payload = device.stimuli([3], 40 + seed, pattern=[pattern])
        first = {name: codes[:1] for name, codes in payload.items()}
        rest = {name: codes[1:] for name, codes in payload.items()}
        await device.send(first, last=False)
        # One step is in; what comes after it has the same pattern.
        while await device.get("steps_value") % 3 != 1:
            pass
        await device.set("pattern_value", 0)
        await device.send(rest, last=False)
        await device.check(payload)
        error = int(pattern >= existing and device.config.check)
        assert (await device.status())["pattern_error"] == error
        await device.set("status_pattern_error", 1)
        assert (await device.status())["pattern_error"] == 0


@cocotb.test()
async def scales(dut: Any) -> None:
    """A table that does not fit the reduction, and one for which there is no room, are noticed."""
    device = Device(dut)
    await device.start()
    if device.config.scale is None:
        return
    payload = device.stimuli([2, 2], 50)
    await device.prepare(payload, [2, 2])
    # A table of three words behind it, and then there is no room.
    await device.push_table(payload, 3, 1)
    status = await device.status()
    assert (status["scale_ready"], status["scale_lost"]) == (0, 0)
    await device.push_table(payload, 1, 1)
    assert (await device.status())["scale_lost"] == 1
    await device.send(payload)
    await device.check(payload)
    assert (await device.status())["scale_error"] == 0
    short = device.stimuli([2], 51)
    short["shift"] = payload["shift"][:2]
    short["scale"] = payload["scale"][:2]
    await device.send(short)
    await device.check(short)
    assert (await device.status())["scale_error"] == 1


@cocotb.test()
async def stop_and_reset(dut: Any) -> None:
    """Disabled it takes nothing; a reset by software empties it, registers stay."""
    device = Device(dut)
    await device.start()
    if device.config.scale is not None:
        return
    fixed = {"pattern": [0]} if device.config.flexible else {}
    await device.set("control_enable", 0)
    payload = device.stimuli([4], 60, **fixed)
    await device.send(payload)
    await ClockCycles(dut.aclk, 50)
    assert not device.cycles["s_axis_activations"]
    assert not device.cycles["s_axis_weights"]
    assert (await device.status())["busy"] == 0
    await device.set("control_enable", 1)
    await device.check(payload)

    # Half a reduction, without its end.
    half = {name: codes[:2] for name, codes in payload.items()}
    await device.set("length_value", 9)
    await device.send(half, last=False)
    await device.activations.wait()
    await device.weights.wait()
    await ClockCycles(dut.aclk, 50)
    assert (await device.status())["busy"] == 1
    await device.set("control_reset", 1)
    status = await device.status()
    # The last step of the half had TLAST, which a length does not want.
    assert (status["busy"], status["last_error"]) == (0, 1)
    assert await device.get("length_value") == 9
    assert await device.get("control_enable") == 1
    for name in ("steps_value", "results_value", "cycles_value"):
        assert await device.get(name) == 0, name
    await device.set("length_value", 0)
    await device.send(payload)
    await device.check(payload)
