"""Perplexity of methods of sparsity side by side: `python -m sw.evaluate METHOD ...`.

Every method predicts the same windows of a text, each window on its own and with no special token
before it.  The first token of a window, which carries massive activations, is read and made sparse
like every other, and is the only one that is not predicted.  The dense model is always among the
methods; what a method costs is the difference to it, window by window.

The result is a JSON file with the log-likelihood of every window, and beside it the table in
Markdown.  A method that the file has already, measured under the same conditions, is not measured
again.  Arguments may come from a file, one a line: ``@sw/baselines/methods.txt`` are those of the
committed results, which `BASELINE` is.
"""

import argparse
import hashlib
import json
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tabulate import tabulate

from hw.cli import CommandParser
from hw.files import write_files
from hw.progress import progress_bar
from sw.activations import DTYPES
from sw.constants import Constants, constants_of, merge, read_constants
from sw.errors import InputError
from sw.method import Method
from sw.model import LanguageModel
from sw.model_text import (
    add_model_and_text,
    check_folder_of,
    load_model_and_text,
    origin,
    versions,
)
from sw.perplexity import Likelihood, paired_difference, perplexity, window_likelihood
from sw.sparse_model import sparsify
from sw.text import Text
from sw.windows import parse_tokens, read_windows

__all__ = ["BASELINE", "Evaluation", "Measured", "evaluate", "main", "read_evaluation"]

_PROGRAM = "python -m sw.evaluate"

#: The committed results, of the default model and text.
BASELINE = Path(__file__).with_name("baselines") / "evaluation.json"

#: Value of the key ``format`` of the file.
FORMAT = "nmsparse evaluation 1"

_DENSE = Method()


@dataclass(frozen=True)
class Measured:
    """What was measured of one method.

    Parameters
    ----------
    method
        The method.
    constants
        Hash of the constants that it was given (`_digest`); None if there were none.
    windows
        Result of each window.
    """

    method: Method
    constants: str | None
    windows: tuple[Likelihood, ...]


@dataclass
class Evaluation:
    """Methods measured under the same conditions.

    Parameters
    ----------
    context
        The conditions: model, text, windows, number format, versions.
    measured
        Text of the method -> what was measured; the dense model is among them.
    """

    context: Mapping[str, str]
    measured: dict[str, Measured] = field(default_factory=dict)

    @property
    def json(self) -> str:
        """The evaluation as JSON; sums are rounded to 9 digits, which is what two runs share."""
        results = [
            {
                "method": text,
                "constants": one.constants,
                "log_likelihoods": [
                    float(f"{window.log_likelihood:.9g}") for window in one.windows
                ],
                "predictions": [window.predictions for window in one.windows],
            }
            for text, one in self.measured.items()
        ]
        content = {"format": FORMAT, "context": dict(self.context), "results": results}
        return json.dumps(content, indent=1) + "\n"

    def table(
        self,
        methods: Sequence[Method] | None = None,
        style: str = "simple",
        reference: Method | None = None,
    ) -> str:
        """Perplexities and differences to the dense model, as a table.

        Parameters
        ----------
        methods
            Those that are shown; None: all.
        style
            A format of `tabulate`.
        reference
            A method that was measured: differences to it are shown as well.
        """
        references = [_DENSE] if reference in (None, _DENSE) else [_DENSE, reference]
        rows = []
        for text in self.measured if methods is None else map(str, methods):
            # Four digits, zeros at the end included.
            row = [text, f"{perplexity(self.measured[text].windows):#.4g}".rstrip(".")]
            for other in map(str, references):
                row += self._difference(text, other)
            rows.append(row)
        headers = ["method", "perplexity", "nats a token worse", "standard error"]
        if len(references) > 1:
            headers += [f"than {reference}", "standard error"]
        align = ("left", *["right"] * (len(headers) - 1))
        return tabulate(rows, headers, tablefmt=style, disable_numparse=True, colalign=align)

    def _difference(self, text: str, reference: str) -> list[str]:
        """How much worse than another method, and the standard error; blank for the same one."""
        if text == reference:
            return ["", ""]
        difference, error = paired_difference(
            self.measured[text].windows, self.measured[reference].windows
        )
        return [f"{difference:+.4f}", "" if error is None else f"{error:.4f}"]

    @property
    def notes(self) -> list[str]:
        """What must be known to read the table."""
        windows = self.measured[str(_DENSE)].windows
        prefill = self.context["prefill"]
        phase = "read at once"
        if prefill != "all":
            phase = f"of which {prefill} tokens are read at once and the others one by one"
        return [
            f"model {self.context['model']} in {self.context['dtype']},"
            f" text {self.context['text']}, tokens {self.context['tokens']}",
            f"{len(windows)} windows of {self.context['window']} tokens, {phase};"
            f" {sum(window.predictions for window in windows):,} tokens are predicted",
            "token 0 of each window is read, and made sparse, like every other, but not predicted",
            "worse: mean log-likelihood of a token, dense less sparse, paired by windows, and the"
            " standard error of that mean over the windows",
        ]

    def markdown(self, reference: Method | None = None) -> str:
        """Table, as `table` has it, and notes in Markdown."""
        notes = "\n".join(f"- {note}" for note in self.notes)
        return f"{self.table(style='github', reference=reference)}\n\n{notes}\n"


def read_evaluation(path: Path) -> Evaluation:
    """Read the JSON file of an evaluation.

    Raises
    ------
    InputError
        It cannot be read or is something else.
    """
    subject = f"evaluation file {str(path)!r}"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{subject} must be a readable file: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{subject} must be JSON: {error}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f"{subject} must have the format {FORMAT!r}")
    measured = {}
    try:
        for result in content["results"]:
            pairs = zip(result["log_likelihoods"], result["predictions"], strict=True)
            windows = tuple(Likelihood(*pair) for pair in pairs)
            method = Method.parse(result["method"])
            measured[str(method)] = Measured(method, result["constants"], windows)
        return Evaluation(content["context"], measured)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{subject} must hold results of methods ({error})") from error


def evaluate(
    language_model: LanguageModel,
    text: Text,
    methods: Sequence[Method],
    *,
    constants: Constants | None = None,
    tokens: tuple[int, int] = (0, 4096),
    window: int = 512,
    prefill: int | None = None,
    known: Evaluation | None = None,
    save: Callable[[Evaluation], None] | None = None,
    progress: bool = True,
) -> Evaluation:
    """Measure methods of sparsity on the windows of a text.

    Parameters
    ----------
    language_model, text
        From `sw.model.load_model` and `sw.text.load_text`; the model computes in the type that it
        has.
    methods
        Measured in this order, after the dense model.
    constants
        Of all methods that need some.
    tokens
        (START, STOP): the windows lie in the text's tokens START .. STOP - 1.
    window
        Tokens of a window.
    prefill
        As of `sw.perplexity.window_likelihood`.
    known
        What was measured before under the same conditions: taken over.
    save
        Called after each method.
    progress
        Whether a progress bar shows on standard error.

    Raises
    ------
    InputError
        An argument breaks a rule, a method does not fit the model, or what is known was measured
        under other conditions.
    """
    context = _context(language_model, text, tokens, window, prefill)
    if known is not None and known.context != context:
        different = [key for key in context if known.context.get(key) != context[key]]
        raise InputError(
            "evaluation must be continued under the same conditions, not with another"
            f" {', '.join(different) or 'set of conditions'}"
        )
    windows = read_windows(language_model, text, tokens, window)
    for method in methods:
        if method.phase == "decode" and prefill is None:
            raise InputError(
                f"phase=decode must have tokens that are read one by one, not all at once"
                f" (--prefill; {method})"
            )
    evaluation = Evaluation(context)
    wanted = {str(method): method for method in (_DENSE, *methods)}
    if known is not None:
        evaluation.measured |= known.measured
    todo = {}
    for name, method in wanted.items():
        digest = _digest(method, constants)
        if name not in evaluation.measured or evaluation.measured[name].constants != digest:
            todo[name] = method, digest
    bar = progress_bar(total=len(todo) * len(windows), unit="window", disable=not progress)
    with bar:
        for name, (method, digest) in todo.items():
            bar.set_description(name, refresh=False)
            results = []
            with sparsify(language_model.model, method, constants, progress=False):
                for one in windows:
                    results.append(window_likelihood(language_model.model, one, prefill))
                    bar.update()
            evaluation.measured[name] = Measured(method, digest, tuple(results))
            if save is not None:
                save(evaluation)
    # The order is that in which methods were asked for.
    others = [name for name in evaluation.measured if name not in wanted]
    names = dict.fromkeys([str(_DENSE), *others, *wanted])
    evaluation.measured = {name: evaluation.measured[name] for name in names}
    return evaluation


def _context(
    language_model: LanguageModel,
    text: Text,
    tokens: tuple[int, int],
    window: int,
    prefill: int | None,
) -> dict[str, str]:
    dtype = language_model.model.dtype
    return {
        **origin(language_model, text),
        "dtype": {value: name for name, value in DTYPES.items()}.get(dtype, str(dtype)),
        "tokens": f"{tokens[0]}:{tokens[1]}",
        "window": str(window),
        "prefill": "all" if prefill is None else str(prefill),
        **versions(),
    }


def _digest(method: Method, constants: Constants | None) -> str | None:
    """Hash of the constants that a method takes from those given; None: it takes none."""
    names = {constant.name for constant in constants_of(method)}
    total = hashlib.sha256()
    taken = False
    for linear, named in sorted(constants.tensors.items()) if constants else ():
        for name in sorted(names & named.keys()):
            taken = True
            total.update(f"{linear}/{name} {tuple(named[name].shape)}\n".encode())
            total.update(named[name].contiguous().numpy().tobytes())
    return total.hexdigest() if taken else None


def _read_all_constants(paths: Sequence[Path], language_model: LanguageModel) -> Constants | None:
    if not paths:
        return None
    files = [read_constants(path) for path in paths]
    for path, one in zip(paths, files, strict=True):
        made_for = one.metadata.get("model_sha256", "unknown")
        if "unknown" not in (made_for, language_model.sha256 or "unknown") and (
            made_for != language_model.sha256
        ):
            raise InputError(
                f"constants must be of the model {language_model.name}, not of"
                f" {one.metadata.get('model', 'another')} ({str(path)!r})"
            )
    return merge(files)


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog=_PROGRAM,
        description="Perplexity of a language model under methods of sparsity, side by side."
        " @FILE stands for the arguments in a file, one a line.",
        fromfile_prefix_chars="@",
    )
    # A default of None would show as "(default: None)".
    optional: dict[str, Any] = {"default": argparse.SUPPRESS}
    parser.add_argument(
        "methods", nargs="+", metavar="METHOD",
        help="such as dense, 8:16, unstructured=0.5 or 8:16,criterion=amber,shift=d-pts-mean,var",
    )  # fmt: skip
    add_model_and_text(parser)
    parser.add_argument(
        "--constants", type=Path, action="append", metavar="FILE", **optional,
        help="constants of methods that need some, from python -m sw.calibrate; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--tokens", default="0:4096", metavar="START:STOP",
        help="range of the text's tokens that is read; STOP is not in it",
    )  # fmt: skip
    parser.add_argument("--window", type=int, default=512, help="tokens of a window")
    parser.add_argument(
        "--prefill", type=int, metavar="TOKENS", **optional,
        help="so many tokens of a window are read at once and the others one by one"
        " (default: all at once)",
    )  # fmt: skip
    parser.add_argument(
        "--reference", metavar="METHOD", **optional,
        help="show the difference to this method as well as that to the dense model",
    )  # fmt: skip
    parser.add_argument(
        "--dtype", default="fp32", help=f"what the model computes in: {', '.join(DTYPES)}"
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", **optional,
        help="JSON file to write and to continue, and beside it the table in Markdown",
    )  # fmt: skip
    return parser


def _known(path: Path | None) -> Evaluation | None:
    """What an earlier run left; finds out before the work that nothing can be written."""
    if path is None:
        return None
    if path.suffix != ".json":
        raise InputError(f"output must be a file that ends in .json, not {str(path)!r}")
    if path.exists():
        return read_evaluation(path)
    check_folder_of(path)
    return None


def _write(evaluation: Evaluation, path: Path, reference: Method | None) -> None:
    # The reference may be still to come.
    reference = reference if str(reference) in evaluation.measured else None
    markdown = evaluation.markdown(reference)
    try:
        write_files({path: evaluation.json, path.with_suffix(".md"): markdown})
    except OSError as error:
        raise InputError(
            f"output must be a file that can be written, not {str(path)!r} ({error.strerror})"
        ) from error


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; see ``python -m sw.evaluate --help``.

    Returns
    -------
    int
        0; a wrong argument exits with status 2 and one line on standard error.
    """
    parser = _parser()
    options = parser.parse_args(argv)
    given = vars(options)
    output: Path | None = given.get("output")
    try:
        # What needs no model is checked before it is loaded.
        methods = [Method.parse(text) for text in options.methods]
        reference = Method.parse(given["reference"]) if "reference" in given else None
        wanted = [*methods, reference] if reference is not None else methods
        tokens = parse_tokens(options.tokens)
        if options.dtype not in DTYPES:
            raise InputError(f"dtype must be one of {', '.join(DTYPES)}, not {options.dtype!r}")
        known = _known(output)
        language_model, text = load_model_and_text(options)
        constants = _read_all_constants(given.get("constants", []), language_model)
        language_model.model.to(DTYPES[options.dtype])
        evaluation = evaluate(
            language_model,
            text,
            wanted,
            constants=constants,
            tokens=tokens,
            window=options.window,
            prefill=given.get("prefill"),
            known=known,
            save=None if output is None else lambda result: _write(result, output, reference),
        )
        if output is not None:
            _write(evaluation, output, reference)
    except InputError as error:
        parser.error(str(error))
    shown = dict.fromkeys((_DENSE, *wanted))
    print(evaluation.table(list(shown), reference=reference))
    print("\n".join(evaluation.notes))
    if output is not None:
        print(f"wrote {shlex.quote(str(output))} and {shlex.quote(str(output.with_suffix('.md')))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
