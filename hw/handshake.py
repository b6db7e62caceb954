"""How the register stages of a pipeline hold what they hold while the output stalls.

Both ways accept one transfer a cycle when nothing stalls, hold up to K groups in K stages and give
`i.ready` as a function of registers and of `o.ready`.  They differ in what a stall costs.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring

from hw.logic import any_of, split

__all__ = ["Elastic", "Handshake", "Queued", "cheapest_handshake"]

#: Area of a multiplexer that makes a register hold, with the area of a register as the unit.
_HOLD = 0.55


class Handshake(ABC):
    """Register stages 0 .. K-1 between two streams; K >= 1.

    Parameters
    ----------
    m
        Module that gets the logic.
    i, o
        The streams.
    stages
        K.
    """

    def __init__(
        self, m: Module, i: wiring.PureInterface, o: wiring.PureInterface, stages: int
    ) -> None:
        self.m = m
        self.i = i
        self.o = o
        self.stages = stages
        self._control()

    def register(self, stage: int, name: str, elements: Sequence[Value]) -> list[Value]:
        """The elements as a stage holds them; there may be none."""
        if not elements:
            return []
        joined = Cat(elements)
        held = Signal(len(joined), reset_less=True, name=f"stage{stage}_{name}")
        self._store(stage, held, joined)
        return split(self.m, held.name, held, [len(element) for element in elements])

    @abstractmethod
    def _control(self) -> None:
        """Build whatever the stages share."""

    @abstractmethod
    def _store(self, stage: int, held: Signal, entering: Value) -> None:
        """Make `held` hold what enters a stage."""

    @staticmethod
    @abstractmethod
    def cost(inner_bits: int, output_bits: int, stages: int) -> float:
        """Area beyond the registers of the stages, in registers.

        Parameters
        ----------
        inner_bits
            Bits of all stages but the last.
        output_bits
            Bits of the last stage.
        stages
            K.
        """


class Elastic(Handshake):
    """Every stage has a valid bit and enters a new payload when it is empty or moves on.

    Bubbles close up while the output stalls.  All payload registers have an enable.
    """

    def _control(self) -> None:
        m, stages = self.m, self.stages
        valid = [self.i.valid, *(Signal(name=f"stage{k}_valid") for k in range(1, stages))]
        valid.append(self.o.valid)
        ready = [*(Signal(name=f"stage{k}_ready") for k in range(stages)), self.o.ready]
        m.d.comb += self.i.ready.eq(ready[0])
        self._enable = []
        for k in range(stages):
            m.d.comb += ready[k].eq(~valid[k + 1] | ready[k + 1])
            with m.If(ready[k]):
                m.d.sync += valid[k + 1].eq(valid[k])
            enable = Signal(name=f"stage{k}_enable")
            m.d.comb += enable.eq(valid[k] & ready[k])
            self._enable.append(enable)

    def _store(self, stage: int, held: Signal, entering: Value) -> None:
        with self.m.If(self._enable[stage]):
            self.m.d.sync += held.eq(entering)

    @staticmethod
    def cost(inner_bits: int, output_bits: int, stages: int) -> float:  # noqa: ARG004
        """A multiplexer for each bit."""
        return _HOLD * (inner_bits + output_bits)


class Queued(Handshake):
    """The inner stages never stop; results that find the output taken wait in a queue behind it.

    A group is accepted only when there is room for its result: K groups at most are inside.  The
    queue is a ring of K-1 places; each of its registers loads when the pointer, a register itself,
    says so, so that no net of the stages depends on `o.ready` but the output register's.  Worth it
    where results are narrow and the stages before them wide, as in a selector.
    """

    def _control(self) -> None:
        m, places = self.m, self.stages - 1
        self._stall = stall = Signal(name="stall")
        m.d.comb += stall.eq(self.o.valid & ~self.o.ready)
        enter = Signal(name="enter")
        leave = Signal(name="leave")
        m.d.comb += enter.eq(self.i.valid & self.i.ready)
        m.d.comb += leave.eq(self.o.valid & self.o.ready)

        # How many groups are inside, one-hot.
        inside = self._one_hot("inside", self.stages + 1, up=enter, down=leave)
        m.d.comb += self.i.ready.eq(~inside[-1] | self.o.ready)

        arriving: Value = enter
        for k in range(places):
            arrived = Signal(name=f"stage{k}_valid")
            m.d.sync += arrived.eq(arriving)
            arriving = arrived

        push = Signal(name="queue_push")
        pop = Signal(name="queue_pop")
        #: How many results wait, one-hot.
        used = self._one_hot("queue_used", places + 1, up=push, down=pop)
        empty, full = used[0], used[-1]
        #: What arrives goes to the output.
        self._straight = straight = Signal(name="queue_bypassed")
        self._pop = pop
        m.d.comb += [
            straight.eq(empty & ~stall),
            push.eq(arriving & ~straight),
            pop.eq(~empty & ~stall),
        ]
        m.d.sync += self.o.valid.eq(arriving | stall | ~empty)

        #: One-hot: the place that the output loads next, and the one that loads what arrives, which
        #: in a full queue is none: there nothing arrives, but the place must not be touched.
        self._read = self._pointer("queue_read", places, pop)
        write = self._pointer("queue_write", places, push)
        self._load = Signal(places, name="queue_load")
        m.d.comb += self._load.eq(write & (~full).replicate(places))

    def _pointer(self, name: str, places: int, moves: Value) -> Signal:
        """A one-hot number of a place, to the next place in the ring and so on."""
        pointer = Signal(places, name=name, init=1)
        with self.m.If(moves):
            self.m.d.sync += pointer.eq(pointer.rotate_left(1))
        return pointer

    def _one_hot(self, name: str, size: int, *, up: Value, down: Value) -> Signal:
        count = Signal(size, name=name, init=1)
        self.m.d.sync += count.eq(_moved(count, up, down))
        return count

    def _store(self, stage: int, held: Signal, entering: Value) -> None:
        m, width = self.m, len(held)
        if stage < self.stages - 1:
            m.d.sync += held.eq(entering)
            return
        waiting = []
        for k in range(self.stages - 1):
            place = Signal(width, reset_less=True, name=f"{held.name}_queue{k}")
            with m.If(self._load[k]):
                m.d.sync += place.eq(entering)
            waiting.append(place & self._read[k].replicate(width))
        m.d.sync += held.eq(
            (entering & self._straight.replicate(width))
            | (held & self._stall.replicate(width))
            | (any_of(waiting) & self._pop.replicate(width))
        )

    @staticmethod
    def cost(inner_bits: int, output_bits: int, stages: int) -> float:  # noqa: ARG004
        """K-1 places of registers that hold, one more choice at the output, and the control."""
        places = stages - 1
        return places * output_bits * (1 + _HOLD) + output_bits * 2 * _HOLD + 5 + 6 * stages


def _moved(count: Signal, up: Value, down: Value) -> Value:
    """A one-hot count after one more, one less, both or neither."""
    return Mux(up & ~down, count << 1, Mux(down & ~up, count >> 1, count))


def cheapest_handshake(inner_bits: int, output_bits: int, stages: int) -> type[Handshake]:
    """The smaller of the two for these registers."""
    ways: tuple[type[Handshake], ...] = (Elastic, Queued) if stages > 1 else (Elastic,)
    return min(ways, key=lambda way: way.cost(inner_bits, output_bits, stages))
