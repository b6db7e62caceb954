"""Decoded: what reading another code gives, for PEs of which many share one decoder."""

from amaranth.hdl import Const, Module

from hw.metadata.common import MetadataCode
from hw.pipeline import Bundle, Step

__all__ = ["Decoded"]


class Decoded(MetadataCode):
    """``select`` of `hw.slots`, N fields of M - N + 1 bits, and one bit that says it is illegal.

    Reading is wires.  With N = M there is nothing to select: those bits are not looked at.
    """

    writes_from_select = True

    def write(self) -> list[Step]:
        """``select``, legal."""
        width = self.n * (self.m - self.n + 1)

        def compute(_: Module, bundle: Bundle) -> Bundle:
            return {"meta": [*bundle["select"], Const(0, 1)]}

        return [Step(compute, {"meta": width + 1}, levels=0)]

    def read_mask(self) -> list[Step]:
        """No unit reads a mask from it.

        Raises
        ------
        NotImplementedError
            Always.
        """
        raise NotImplementedError("decoded metadata is for PEs, which read no mask")

    def read_select(self, *, check: bool) -> list[Step]:
        """The bits themselves."""

        def compute(_: Module, bundle: Bundle) -> Bundle:
            *select, error = bundle["meta"]
            if self.n == self.m:
                select = [Const(1, 1)] * self.n
            return {"select": select, "error": [error if check else Const(0, 1)]}

        produces = {"select": self.n * (self.m - self.n + 1), "error": 1}
        return [Step(compute, produces, ("meta",), levels=0)]
