"""Bitmap: bit j of the metadata is 1 iff lane j is kept."""

from amaranth.hdl import Cat, Const, Module

from hw.counting import count_steps
from hw.logic import named
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
        return [Step(lambda _, bundle: {"meta": bundle["mask"]}, {"meta": self.m}, levels=0)]

    def read_mask(self) -> list[Step]:
        """Count the ones, then let the code through or not."""
        return [
            *count_steps("ones", lanes=1, input_count=self.m, bits=lambda bundle: [bundle["meta"]]),
            Step(self._gate, {"mask": self.m, "error": 1}, ("meta", "ones"), levels=5),
        ]

    def _gate(self, m: Module, bundle: Bundle) -> Bundle:
        error = named(m, "wrong_count", bundle["ones"][0] != self.n)
        mask = named(m, "gated_mask", Cat(bundle["meta"]) & ~error.replicate(self.m))
        return {"mask": list(mask), "error": [error]}

    def read_select(self, *, check: bool) -> list[Step]:
        """The walk over the bitmap itself."""

        def error(m: Module, bundle: Bundle) -> Bundle:
            wrong = named(m, "wrong_count", ~bundle["legal"][0]) if check else Const(0, 1)
            return {"error": [wrong]}

        return [
            Step(lambda _, bundle: {"mask": bundle["meta"]}, {"mask": self.m}, ("meta",), levels=0),
            *SlotSelect(n=self.n, m=self.m).steps(consumes=("mask",)),
            Step(error, {"error": 1}, ("legal",), levels=0),
        ]
