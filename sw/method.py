"""Methods of sparsity: what is kept, by which score, and what makes up for the rest, in one object.

A method has a text form, which command lines take and tables show: what is kept, then options,
joined by commas, as in ``8:16,criterion=amber,shift=d-pts-mean,var``.

================================  =================================================================
text                              meaning
================================  =================================================================
``dense``                         everything is kept
``N:M``                           N of each M consecutive features of a token
``unstructured=R``                all but the share R of a token's features, R like 0.5 or 1/3
``criterion=C``                   score, of `sw.criteria.CRITERIA`; without: ``act``
``shift=S``                       what is subtracted before the selection and added back behind the
                                  product: ``d-pts-mean``, ``d-pts-median`` (of the token),
                                  ``s-pts`` (of the linear, one number, calibrated),
                                  ``s-pts-channel`` (one a feature), ``l-pts`` (one a feature,
                                  learned); or only an addition to the bias: ``l-pts-bias``
                                  (learned)
``var``                           VAR: the variance of each token is restored
``ls``, ``ls=scale``              a learned gain of each output, with a learned bias or without
``low-rank=R``, ``low-rank=R:T``  the dropped part through a product of rank R, T = ``svd`` (of the
                                  weights, the default) or ``trained``
``scaling``, ``scaling=static``   score of x / s, with s from the sequence or calibrated
``weights=B``                     a baseline of `sw.weight_pruning`: the pattern is that of the
                                  weights, and the activations stay dense
``exact=hw``                      masks as the RTL computes them; without: ``exact=float``
``dtype=F``                       of ``exact=hw``: number format of the activations
``score-bits=B``                  of ``exact=hw``: leading bits of the score that are compared
``scale-format=F``                of ``exact=hw``: format of the criterion's scales, ``u8``, ...
``phase=P``                       ``prefill``, ``decode`` or ``both`` (the default)
``linears=A+B``                   names of linears, see `sw.sparse_model.choose_linears`
``skip-layers=A+B``               numbers of layers that stay dense
================================  =================================================================
"""

import operator
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from typing import Any

from hw.config import UnitConfig
from hw.parameters import MAX_M, ConfigError
from sw.activations import DTYPES
from sw.criteria import CRITERIA
from sw.errors import InputError
from sw.linears import PROJECTIONS
from sw.weight_pruning import WEIGHT_BASELINES

__all__ = ["PHASES", "SHIFTS", "Method"]

#: Shifts by name.
SHIFTS: tuple[str, ...] = (
    "none",
    "d-pts-mean",
    "d-pts-median",
    "s-pts",
    "s-pts-channel",
    "l-pts",
    "l-pts-bias",
)

#: When a method acts: on calls of more than one token a sequence, on calls of one, on all.
PHASES: tuple[str, ...] = ("prefill", "decode", "both")

_LS = ("none", "scale", "scale-bias")
_SOURCES = ("svd", "trained")
_SCALINGS = ("none", "dynamic", "static")
_EXACT = ("float", "hw")


@dataclass(frozen=True)
class Method:
    """A method of sparsity.

    Parameters
    ----------
    pattern
        (n, m), a `Fraction` (the share of a token's features that is dropped, 0 <= r < 1; a token
        keeps ``floor(C * (1 - r))`` of its C features, at least 1), or None: dense.
    criterion
        Score, a name out of `sw.criteria.CRITERIA`.
    shift
        A name out of `SHIFTS`.
    var
        Whether VAR restores the variance.
    ls
        Learned gain of each output: ``none``, ``scale`` (g), or ``scale-bias`` (g and b).
    low_rank
        Rank of the product that the dropped part takes; 0: none.
    low_rank_source
        ``svd`` or ``trained``.
    scaling
        ``none``, ``dynamic`` (of each sequence) or ``static`` (calibrated).
    weights
        ``none``, or a baseline out of `sw.weight_pruning.WEIGHT_BASELINES`.
    exact
        ``float``: the formulas in floating point.  ``hw``: masks bit for bit as the RTL.
    dtype
        Of ``hw``: number format of the activations, out of `hw.formats.FORMATS`.
    score_bits
        Of ``hw``: leading bits of the score that are compared; None: all.
    scale_format
        Of ``hw``: format of the scales, a name of `hw.score_formats`; with ``act`` there are none.
    phase
        A name out of `PHASES`.
    linears
        Names of linears; by default q, k, v, o, gate, up and down.
    skip_layers
        Numbers of layers that stay dense, kept in ascending order.

    Raises
    ------
    InputError
        A value breaks a rule, or two values exclude each other; the text says which.
    TypeError
        A value is of the wrong kind.
    """

    pattern: tuple[int, int] | Fraction | None = None
    criterion: str = "act"
    shift: str = "none"
    var: bool = False
    ls: str = "none"
    low_rank: int = 0
    low_rank_source: str = "svd"
    scaling: str = "none"
    weights: str = "none"
    exact: str = "float"
    dtype: str = "bf16"
    score_bits: int | None = None
    scale_format: str = "u8"
    phase: str = "both"
    linears: tuple[str, ...] = PROJECTIONS
    skip_layers: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        self._check_kinds()
        self._check_pattern()
        self._check_choice("criterion", CRITERIA)
        self._check_choice("shift", SHIFTS)
        self._check_choice("ls", _LS)
        if self.low_rank < 0:
            raise InputError(f"low-rank must be at least 0, not {self.low_rank}")
        self._check_choice("low-rank", _SOURCES, self.low_rank_source)
        self._check_choice("scaling", _SCALINGS)
        self._check_choice("weights", ("none", *WEIGHT_BASELINES))
        self._check_choice("exact", _EXACT)
        self._check_choice("phase", PHASES)
        if not self.linears or "" in self.linears:
            raise InputError(f"linears must be names, not {'+'.join(self.linears)!r}")
        for name in self.linears:
            if "," in name or "+" in name:
                raise InputError(f"linears must be names without , and +, not {name!r}")
        if self.skip_layers and self.skip_layers[0] < 0:
            raise InputError(f"skip-layers must be at least 0, not {self.skip_layers[0]}")
        self._check_combination()

    def _check_kinds(self) -> None:
        for name in ("low_rank", "score_bits"):
            value = getattr(self, name)
            if name == "score_bits" and value is None:
                continue
            object.__setattr__(self, name, _integer(name.replace("_", "-"), value))
        if not isinstance(self.var, bool):
            raise TypeError(f"var must be True or False, not {self.var!r}")
        if isinstance(self.linears, str):
            raise TypeError(f"linears must be a sequence of names, not {self.linears!r}")
        object.__setattr__(self, "linears", tuple(dict.fromkeys(self.linears)))
        layers = {_integer("skip-layers", layer) for layer in self.skip_layers}
        object.__setattr__(self, "skip_layers", tuple(sorted(layers)))

    def _check_pattern(self) -> None:
        if self.pattern is None:
            return
        if isinstance(self.pattern, Fraction):
            if not 0 <= self.pattern < 1:
                raise InputError(
                    "unstructured must be a ratio of at least 0 and less than 1,"
                    f" not {_ratio_text(self.pattern)}"
                )
            return
        if not isinstance(self.pattern, tuple) or len(self.pattern) != 2:
            raise TypeError(f"pattern must be (n, m), a Fraction or None, not {self.pattern!r}")
        n, m = (_integer(name, value) for name, value in zip("nm", self.pattern, strict=True))
        if not (2 <= m <= MAX_M and 1 <= n <= m):
            raise InputError(
                f"pattern must be N:M with 1 <= N <= M and 2 <= M <= {MAX_M}, not {n}:{m}"
            )
        object.__setattr__(self, "pattern", (n, m))

    def _check_choice(
        self, subject: str, choices: tuple[str, ...] | dict[str, Any], value: str | None = None
    ) -> None:
        value = getattr(self, subject) if value is None else value
        if value not in choices:
            raise InputError(f"{subject} must be of {', '.join(choices)}, not {value!r}")

    def _check_combination(self) -> None:
        """Refuse what has no meaning, so that no option is ever without effect."""
        set_options = self._options()
        acting = [text for name, text in set_options.items() if name in _ACTING]
        if self.pattern is None and (acting or self.weights != "none"):
            text = set_options.get("weights") or acting[0]
            raise InputError(f"dense must stand without {_key(text)}, not with {text}")
        if self.weights != "none" and acting:
            raise InputError(
                f"weights={self.weights} must leave the activations dense, not with {acting[0]}"
            )
        if self.shift == "l-pts-bias" and self.ls != "none":
            raise InputError(
                "shift=l-pts-bias must stand without ls, not with"
                f" {set_options['ls']} (ls learns that bias too)"
            )
        if self.low_rank == 0 and self.low_rank_source != "svd":
            raise InputError("low-rank must have a rank to be trained, not 0")
        if self.scaling != "none" and CRITERIA[self.criterion].needs == "weights":
            raise InputError(
                "scaling must stand with criterion act or clact, not with"
                f" criterion={self.criterion} (it changes the weights that this one measures)"
            )
        if self.scaling != "none" and self.shift in ("s-pts", "s-pts-channel"):
            raise InputError(
                f"scaling must stand without a calibrated shift, not with shift={self.shift}"
                " (it is that of unscaled activations)"
            )
        if self.exact == "hw":
            self._check_exact()
        else:
            for name in set_options.keys() & _OF_HARDWARE:
                text = set_options[name]
                raise InputError(f"{_key(text)} must stand with exact=hw, not without ({text})")

    def _check_exact(self) -> None:
        if not isinstance(self.pattern, tuple):
            raise InputError(f"exact=hw must have a pattern N:M, not {self._pattern_text}")
        if self.scaling != "none":
            raise InputError(f"exact=hw must stand without scaling, not with {self.scaling}")
        if self.unit_shift != "none" and self.dtype not in DTYPES:
            raise InputError(
                f"exact=hw must have dtype bf16 or fp16 with a shift, not {self.dtype} (the scale"
                " of each token would change the shift)"
            )
        if self.criterion == "act" and self.scale_format != "u8":
            raise InputError("scale-format must stand with scales, not with criterion=act")
        try:
            self.unit_config()
        except ConfigError as error:
            raise InputError(f"{error.parameter.replace('_', '-')} {error.rule}") from error

    @property
    def unit_shift(self) -> str:
        """What the hardware unit's shift is, of `hw.parameters.SHIFTS`."""
        return {
            "d-pts-mean": "token",
            "d-pts-median": "token",
            "s-pts": "static",
            "s-pts-channel": "lane",
            "l-pts": "lane",
        }.get(self.shift, "none")

    def unit_config(self) -> UnitConfig:
        """The hardware unit that computes the masks of ``exact=hw``."""
        if not isinstance(self.pattern, tuple):
            raise InputError(f"exact=hw must have a pattern N:M, not {self._pattern_text}")
        n, m = self.pattern
        scaled = self.criterion != "act"
        return UnitConfig(
            n=n,
            m=m,
            unit="selector",
            dtype=self.dtype,
            criterion="scaled" if scaled else "act",
            scale_format=self.scale_format if scaled else None,
            shift=self.unit_shift,
            score_bits=self.score_bits,
        )

    @property
    def _pattern_text(self) -> str:
        if self.pattern is None:
            return "dense"
        if isinstance(self.pattern, Fraction):
            return f"unstructured={_ratio_text(self.pattern)}"
        return "{}:{}".format(*self.pattern)

    def _options(self) -> dict[str, str]:
        """Field -> text, of all that differ from their default, in canonical order."""
        texts = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in _TEXTS and value != field.default:
                texts[field.name] = _TEXTS[field.name](self, value)
        return texts

    def __str__(self) -> str:
        return ",".join([self._pattern_text, *self._options().values()])

    @property
    def linear_text(self) -> str:
        """The text without that which says where and when: what a single linear computes."""
        return str(replace(self, phase="both", linears=PROJECTIONS, skip_layers=()))

    @classmethod
    def parse(cls, text: str) -> "Method":
        """The method of a text; ``Method.parse(str(method)) == method``.

        Raises
        ------
        InputError
            The text is no method.

        Examples
        --------
        >>> print(Method.parse("8:16,var,low-rank=64:svd,criterion=amber"))
        8:16,criterion=amber,var,low-rank=64
        """
        first, *options = text.replace(" ", "").split(",")
        values: dict[str, Any] = {"pattern": _parse_pattern(first)}
        for option in options:
            key, _, value = option.partition("=")
            if key not in _PARSERS or (not value and option != key):
                known = ", ".join(_PARSERS)
                raise InputError(f"method must have options of {known}, not {option!r}")
            parsed = _PARSERS[key](value)
            if parsed.keys() & values.keys():
                raise InputError(f"method must have {key} once, not again in {option!r}")
            values |= parsed
        return cls(**values)


#: Fields that act on activations: they make no sense where none is dropped.
_ACTING = ("criterion", "shift", "var", "ls", "low_rank", "scaling", "exact", "phase")

#: Fields that only `exact` uses.
_OF_HARDWARE = frozenset({"dtype", "score_bits", "scale_format"})

_TEXTS: dict[str, Callable[[Method, Any], str]] = {
    "criterion": lambda _, value: f"criterion={value}",
    "shift": lambda _, value: f"shift={value}",
    "var": lambda _, __: "var",
    "ls": lambda _, value: "ls" if value == "scale-bias" else f"ls={value}",
    "low_rank": lambda method, value: (
        f"low-rank={value}" + (":trained" if method.low_rank_source == "trained" else "")
    ),
    "scaling": lambda _, value: "scaling" if value == "dynamic" else f"scaling={value}",
    "weights": lambda _, value: f"weights={value}",
    "exact": lambda _, value: f"exact={value}",
    "dtype": lambda _, value: f"dtype={value}",
    "score_bits": lambda _, value: f"score-bits={value}",
    "scale_format": lambda _, value: f"scale-format={value}",
    "phase": lambda _, value: f"phase={value}",
    "linears": lambda _, value: f"linears={'+'.join(value)}",
    "skip_layers": lambda _, value: f"skip-layers={'+'.join(map(str, value))}",
}


def _key(text: str) -> str:
    return text.partition("=")[0]


def _integer(subject: str, value: object) -> int:
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{subject} must be an integer, not {value!r}") from None


def _ratio_text(ratio: Fraction) -> str:
    """As a decimal number where that is exact."""
    odd = ratio.denominator
    for prime in (2, 5):
        while odd % prime == 0:
            odd //= prime
    return f"{float(ratio):.15g}" if odd == 1 and ratio.denominator < 10**9 else str(ratio)


def _parse_pattern(text: str) -> tuple[int, int] | Fraction | None:
    if text == "dense":
        return None
    key, separator, value = text.partition("=")
    if key == "unstructured" and separator:
        try:
            return Fraction(value)
        except (ValueError, ZeroDivisionError):
            raise InputError(
                f"unstructured must be a ratio such as 0.5 or 1/3, not {value!r}"
            ) from None
    n, separator, m = text.partition(":")
    if not (n.isdecimal() and m.isdecimal() and len(n) <= 9 and len(m) <= 9):
        raise InputError(f"method must begin with dense, N:M or unstructured=RATIO, not {text!r}")
    return int(n), int(m)


def _number(key: str, value: str) -> int:
    if not value.isdecimal() or len(value) > 9:
        raise InputError(f"{key} must be a number, not {value!r}")
    return int(value)


def _parse_flag(value: str) -> dict[str, Any]:
    if value:
        raise InputError(f"var must stand alone, not with {value!r}")
    return {"var": True}


def _parse_low_rank(value: str) -> dict[str, Any]:
    rank, separator, source = value.partition(":")
    number = _number("low-rank", rank)
    if number == 0:
        raise InputError("low-rank must be at least 1, not 0")
    return {"low_rank": number, "low_rank_source": source if separator else "svd"}


_PARSERS: dict[str, Callable[[str], dict[str, Any]]] = {
    "criterion": lambda value: {"criterion": value},
    "shift": lambda value: {"shift": value},
    "var": _parse_flag,
    "ls": lambda value: {"ls": value or "scale-bias"},
    "low-rank": _parse_low_rank,
    "scaling": lambda value: {"scaling": value or "dynamic"},
    "weights": lambda value: {"weights": value},
    "exact": lambda value: {"exact": value},
    "dtype": lambda value: {"dtype": value},
    "score-bits": lambda value: {"score_bits": _number("score-bits", value)},
    "scale-format": lambda value: {"scale_format": value},
    "phase": lambda value: {"phase": value},
    "linears": lambda value: {"linears": tuple(value.split("+"))},
    "skip-layers": lambda value: {
        "skip_layers": tuple(_number("skip-layers", part) for part in value.split("+"))
    },
}
