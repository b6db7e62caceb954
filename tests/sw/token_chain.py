"""Captured tokens through statistics, correction and epilogue, by the golden models."""

import torch

from hw.config import UnitConfig
from sw.activations import read_activations
from sw.codes import codes_of, numbers_of
from sw.float_arithmetic import subtract_shift
from sw.golden import Payload, sparsify, unit_model
from sw.groups import to_groups
from sw.mitigation import row_sums, token_shift, variance_factor
from sw.sample import SAMPLE

OUTPUTS = 7


class TokenChain:
    """D-PTS with the mean, VAR and LS on one linear of bf16 activations.

    Tokens pass the statistics unit twice: as they are, for the mean, and less the mean, for the
    ratio.

    Parameters
    ----------
    tokens
        Number of tokens.
    align_bits
        Bits to which the sums of the statistics are aligned.

    Attributes
    ----------
    configs, sent, expected
        By unit: its configuration, what goes in, what comes out.
    shift, ratio
        eta and v of each token by the units, (tokens, 1).
    result
        The linear's results by the units, (tokens, outputs).
    """

    def __init__(self, tokens: int, align_bits: int) -> None:
        self.configs = {
            unit: UnitConfig(n=8, m=16, unit=unit, align_bits=align_bits)
            for unit in ("statistics", "correction", "epilogue")
        }
        self._sparsifier = UnitConfig(n=8, m=16, shift="token")
        generator = torch.Generator().manual_seed(align_bits)
        rows = read_activations(SAMPLE).tensors["layers.11.o_proj"]
        self.x = rows[torch.randperm(len(rows), generator=generator)[:tokens]]
        self.weight, self.gain, self.bias = (
            torch.randn(shape, generator=generator) * 0.1
            for shape in ((OUTPUTS, self.x.shape[-1]), (OUTPUTS,), (OUTPUTS,))
        )
        self.sent: dict[str, Payload] = {}
        self.expected: dict[str, Payload] = {}
        self._statistics_and_correction()
        self._epilogue()

    def _statistics_and_correction(self) -> None:
        tokens, features = self.x.shape
        groups = to_groups(codes_of(self.x, "bf16"), 16)
        every = torch.ones_like(groups)
        statistics = unit_model(self.configs["statistics"])
        correction = unit_model(self.configs["correction"])

        def corrected(data: torch.Tensor, mask: torch.Tensor) -> tuple[Payload, ...]:
            last = torch.zeros(*data.shape[:-1], 1, dtype=torch.int64)
            last[:, -1] = 1
            first = {"data": data, "mask": mask, "last": last}
            first = {name: codes.flatten(0, 1) for name, codes in first.items()}
            found = statistics(first)
            second = {name: codes for name, codes in found.items() if not name.endswith("max")}
            second["features"] = torch.full((tokens, 1), features)
            return first, found, second, correction(second)

        passes = [corrected(groups, every)]
        mean = numbers_of(passes[0][-1]["mean"], "fp32")
        self.shift = mean.bfloat16()
        code = codes_of(self.shift, "bf16")[:, None]
        self._data = subtract_shift(groups, code, "bf16")
        _, mask = sparsify(self._sparsifier, groups, shift=code)
        self._mask = mask.to(torch.int64)
        passes.append(corrected(self._data, self._mask))
        self.ratio = numbers_of(passes[1][-1]["ratio"], "fp32")
        for k, unit in enumerate(("statistics", "correction")):
            for side, place in ((self.sent, 2 * k), (self.expected, 2 * k + 1)):
                both = [own[place] for own in passes]
                side[unit] = {name: torch.cat([own[name] for own in both]) for name in both[0]}

    def _epilogue(self) -> None:
        kept = numbers_of(torch.where(self._mask.bool(), self._data, 0), "bf16").flatten(1)
        # The PE's sum.
        total = (kept.double() @ self.weight.double().T).float()
        numbers = {
            "sum": total,
            "ratio": self.ratio,
            "gain": 1 + self.gain,
            "shift": self.shift.float(),
            "row_sum": row_sums(self.weight),
            "bias": self.bias,
        }
        sent = {
            name: codes_of(number.expand_as(total).contiguous(), "fp32").reshape(-1, 1)
            for name, number in numbers.items()
        }
        ends = torch.zeros(total.numel(), 1, dtype=torch.int64)
        self.sent["epilogue"] = {**sent, "last": ends, "error": ends}
        self.expected["epilogue"] = unit_model(self.configs["epilogue"])(self.sent["epilogue"])
        self.result = numbers_of(self.expected["epilogue"]["result"], "fp32").view_as(total)

    def in_floats(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """eta, v and the result by the formulas of `sw.mitigation`: fp64 but for eta.

        With the shift of the units, which decides the mask.
        """
        d = (self.x - self.shift).to(torch.bfloat16)
        kept = torch.where(self._mask.bool().flatten(1), d, 0)
        v = variance_factor(d, kept).double()
        product = kept.double() @ self.weight.double().T
        returned = self.shift.double() * self.weight.double().sum(-1)
        result = v * (1 + self.gain.double()) * product + returned + self.bias.double()
        return token_shift(self.x, "mean"), v, result
