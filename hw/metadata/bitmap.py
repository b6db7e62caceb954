"""Bitmap: bit j of the metadata is 1 iff lane j is kept."""

from amaranth.hdl import Const, Module

from hw.counting import CarrySaveCount, Columns
from hw.metadata.common import MetadataCode
from hw.pipeline import Bundle, Step
from hw.slots import SlotSelect

__all__ = ["Bitmap"]


class Bitmap(MetadataCode):
    """M bits; a code is illegal iff it has not exactly N ones.

    Writing is wires.  Reading the mask counts its ones: about M full adders.  Reading the slots is
    the walk of `SlotSelect`, which finds an illegal code on its way.
    """

    writes_from_select = False

    def write(self) -> list[Step]:
        """``meta`` is ``mask``."""
        return [Step(lambda _, bundle: {"meta": bundle["mask"]}, levels=0)]

    def read_mask(self) -> list[Step]:
        """Count the ones, then let the code through or not."""
        count = CarrySaveCount("ones", input_count=self.m, lanes=1, cap=self.m.bit_length())
        return [
            *count.steps(lambda bundle: list(bundle["meta"]), self._error, ()),
            Step(self._gate, ("meta",)),
        ]

    def _error(self, columns: Columns) -> Bundle:
        """At most two bits of each weight are left: add them and compare with N."""
        total = Const(0, 1)
        for weight, column in enumerate(columns):
            for bit in column:
                total = total + (bit << weight)
        return {"error": total != self.n}

    def _gate(self, m: Module, bundle: Bundle) -> Bundle:  # noqa: ARG002 - a step's signature
        return {"mask": bundle["meta"] & ~bundle["error"].replicate(self.m)}

    def read_select(self, *, check: bool) -> list[Step]:
        """The walk over the bitmap itself."""

        def error(m: Module, bundle: Bundle) -> Bundle:  # noqa: ARG001 - a step's signature
            return {"error": ~bundle["legal"] if check else Const(0, 1)}

        return [
            Step(lambda _, bundle: {"mask": bundle["meta"]}, ("meta",), levels=0),
            *SlotSelect(n=self.n, m=self.m).steps(consumes=("mask",)),
            Step(error, ("legal",), levels=0),
        ]
