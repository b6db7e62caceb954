"""Bitmap without its last bit: with exactly N ones, that of lane M - 1 follows from the others."""

from amaranth.hdl import Const, Module, Value

from hw.logic import named
from hw.metadata.bitmap import Bitmap
from hw.metadata.common import MetadataCode
from hw.pipeline import Bundle, Step
from hw.ranking import at_least

__all__ = ["BitmapImplied"]


class BitmapImplied(MetadataCode):
    """M - 1 bits; a code is illegal iff it has neither N nor N - 1 ones.

    Lane M - 1 is kept iff fewer than N of the others are.  Writing is wires.  Reading counts up to
    N, about M full adders, and goes on as with a whole bitmap.
    """

    writes_from_select = False

    def write(self) -> list[Step]:
        """``meta`` is ``mask`` without its last lane."""

        def compute(_: Module, bundle: Bundle) -> Bundle:
            return {"meta": bundle["mask"][: self.m - 1]}

        return [Step(compute, {"meta": self.m - 1}, levels=0)]

    def read_mask(self) -> list[Step]:
        """Complete the bitmap, and read it."""
        return [self._complete(), *self._bitmap.read_mask()]

    def read_select(self, *, check: bool) -> list[Step]:
        """Complete the bitmap, and read it."""
        return [self._complete(), *self._bitmap.read_select(check=check)]

    @property
    def _bitmap(self) -> Bitmap:
        return Bitmap(n=self.n, m=self.m)

    def _complete(self) -> Step:
        def compute(m: Module, bundle: Bundle) -> Bundle:
            others = bundle["meta"]
            enough: Value = Const(0, 1)
            if self.n < self.m:
                enough = at_least(m, "enough", others, self.n)
            return {"meta": [*others, named(m, "implied", ~enough)]}

        return Step(compute, {"meta": self.m}, (), levels=4 * self.m.bit_length())
