"""Index list: field k of the metadata is the lane of the k-th kept value, in ascending order."""

from itertools import pairwise

from amaranth.hdl import Cat, Const, Module, Value

from hw.comparators import majority_not_less
from hw.logic import any_of, named
from hw.metadata.common import MetadataCode
from hw.pipeline import Bundle, Step
from hw.slots import kept_lanes

__all__ = ["Index"]


class Index(MetadataCode):
    """N fields of ceil(log2 M) bits; illegal iff a field is M or more or the list does not ascend.

    Writing is an or of each slot's select bits: at most N * (M - N + 1) * log2(M) / 2 gate inputs.
    Reading decodes each field inside its window of M - N + 1 lanes; N - 1 comparators of
    neighbouring fields check the order, and a strictly ascending list whose last field is below M
    has every field inside its window.
    """

    writes_from_select = True

    @property
    def _index_width(self) -> int:
        """Bits that number a lane."""
        return (self.m - 1).bit_length()

    def write(self) -> list[Step]:
        """Each field is the number of the lane that the slot's select bits name."""

        def compute(m: Module, bundle: Bundle) -> Bundle:
            window = self.m - self.n + 1
            fields: list[Value] = []
            for slot in range(self.n):
                field: list[Value] = []
                for bit in range(self._index_width):
                    # With one lane to choose from the field is a constant.
                    lanes = [lane for lane in range(slot, slot + window) if lane >> bit & 1]
                    if len(lanes) == window:
                        field.append(Const(1, 1))
                    elif lanes:
                        chosen = [bundle["select"][slot * window + lane - slot] for lane in lanes]
                        field.append(named(m, f"index{slot}_{bit}", any_of(chosen)))
                    else:
                        field.append(Const(0, 1))
                fields.append(Cat(field))
            return {"meta": fields}

        return [Step(compute, {"meta": self.n * self._index_width}, levels=3)]

    def _error(self, m: Module, fields: list[Value], *, check: bool) -> Value:
        if not check:
            return Const(0, 1)
        faults = [
            majority_not_less(m, f"slot{slot}_not_below", first, second)
            for slot, (first, second) in enumerate(pairwise(fields))
        ]
        if self.m < 1 << self._index_width:
            faults.append(fields[-1] >= self.m)
        return named(m, "wrong_order", any_of(faults) if faults else Const(0, 1))

    def _select(self, m: Module, fields: list[Value]) -> list[Value]:
        return [
            named(m, f"slot{slot}_is_lane{lane}", field == lane)
            for slot, field in enumerate(fields)
            for lane in range(slot, slot + self.m - self.n + 1)
        ]

    def read_mask(self) -> list[Step]:
        """A lane is kept iff a slot's field names it and the whole list is legal."""

        def mask(m: Module, bundle: Bundle) -> Bundle:
            legal = ~bundle["error"][0]
            kept = kept_lanes(bundle["select"], self.n, self.m)
            lanes = enumerate(kept)
            return {"mask": [named(m, f"kept{lane}", bit & legal) for lane, bit in lanes]}

        return [*self.read_select(check=True), Step(mask, {"mask": self.m}, ("select",), levels=4)]

    def read_select(self, *, check: bool) -> list[Step]:
        """Decode the fields; look at their order if asked to."""

        def compute(m: Module, bundle: Bundle) -> Bundle:
            return {
                "select": self._select(m, bundle["meta"]),
                "error": [self._error(m, bundle["meta"], check=check)],
            }

        produces = {"select": self.n * (self.m - self.n + 1), "error": 1}
        return [Step(compute, produces, ("meta",), levels=5)]

    def read_index(self, *, check: bool) -> list[Step]:
        """The fields themselves."""

        def compute(m: Module, bundle: Bundle) -> Bundle:
            return {
                "index": bundle["meta"],
                "error": [self._error(m, bundle["meta"], check=check)],
            }

        produces = {"index": self.n * self._index_width, "error": 1}
        return [Step(compute, produces, ("meta",), levels=5)]
