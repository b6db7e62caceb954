import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from sw import evaluate as evaluate_module
from sw.constants import Constants
from sw.errors import InputError
from sw.evaluate import BASELINE, evaluate, main, read_evaluation
from sw.method import Method
from sw.model import LanguageModel
from sw.perplexity import perplexity, window_likelihood
from sw.sparse_model import sparsify
from sw.text import Text, load_text
from sw.windows import read_windows
from tests.sw.command import Run, runner
from tests.sw.tiny_model import words


@pytest.fixture
def run(tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command line on the tiny model and a text of 100 words; later options win."""
    text = tmp_path / "words.txt"
    text.write_text(words(100))

    options = ["--model", str(tiny_folder), "--text", str(text)]
    options += ["--tokens", "0:60", "--window", "20"]
    return runner(main, options, capsys)


def measure(model: LanguageModel, text: Text, *methods: str, **options: Any) -> Any:
    usual = {"tokens": (0, 60), "window": 20, "progress": False}
    parsed = [Method.parse(method) for method in methods]
    return evaluate(model, text, parsed, **(usual | options))


# What is measured


def test_each_method_on_each_window(tiny: LanguageModel, tiny_text: Text) -> None:
    methods = ["8:16,criterion=amber", "2:4,shift=d-pts-mean,var", "unstructured=0.5"]
    got = measure(tiny, tiny_text, *methods).measured
    assert list(got) == ["dense", *methods]
    windows = read_windows(tiny, tiny_text, (0, 60), 20)
    for text, one in got.items():
        with sparsify(tiny.model, text, progress=False):
            expected = [window_likelihood(tiny.model, window) for window in windows]
        assert list(one.windows) == expected
        assert one.constants is None
    assert got["dense"].windows != got["unstructured=0.5"].windows


def test_dense_is_always_there_and_once(tiny: LanguageModel, tiny_text: Text) -> None:
    assert list(measure(tiny, tiny_text).measured) == ["dense"]
    assert list(measure(tiny, tiny_text, "2:4", "dense", "2:4").measured) == ["dense", "2:4"]


def test_the_model_stays_dense(tiny: LanguageModel, tiny_text: Text) -> None:
    before = dict(tiny.model.named_modules())
    measure(tiny, tiny_text, "2:4")
    with pytest.raises(InputError):
        measure(tiny, tiny_text, "2:4,shift=s-pts")
    assert dict(tiny.model.named_modules()) == before


def test_keeping_all_costs_nothing(tiny: LanguageModel, tiny_text: Text) -> None:
    lines = measure(tiny, tiny_text, "4:4").table().splitlines()
    assert lines[0].split() == "method perplexity nats a token worse standard error".split()
    assert lines[2].split() == ["dense", lines[3].split()[1]]
    assert lines[3].split()[2:] == ["+0.0000", "0.0000"]


def test_decoding(tiny: LanguageModel, tiny_text: Text) -> None:
    got = measure(tiny, tiny_text, "2:4,phase=decode", "2:4,phase=prefill", prefill=10).measured
    dense, decode, prefill = (
        [window.log_likelihood for window in one.windows] for one in got.values()
    )
    assert decode != pytest.approx(dense, rel=1e-6)
    assert prefill != pytest.approx(dense, rel=1e-6)
    assert decode != pytest.approx(prefill, rel=1e-6)
    with pytest.raises(InputError) as caught:
        measure(tiny, tiny_text, "2:4,phase=decode")
    assert str(caught.value) == (
        "phase=decode must have tokens that are read one by one, not all at once (--prefill;"
        " 2:4,phase=decode)"
    )


# The table


def test_table_and_notes(run: Run, tmp_path: Path) -> None:
    status, out, err = run("8:16", "-o", str(tmp_path / "new" / "e.json"))
    assert (status, err) == (0, "")
    evaluation = read_evaluation(tmp_path / "new" / "e.json")
    means = {
        text: [window.log_likelihood / 19 for window in one.windows]
        for text, one in evaluation.measured.items()
    }
    differences = [a - b for a, b in zip(means["dense"], means["8:16"], strict=True)]
    mean = sum(differences) / 3
    error = math.sqrt(sum((one - mean) ** 2 for one in differences) / 6)
    rows = [line.split() for line in out.splitlines()[2:4]]
    assert rows == [
        ["dense", f"{math.exp(-sum(means['dense']) / 3):#.4g}"],
        ["8:16", f"{math.exp(-sum(means['8:16']) / 3):#.4g}", f"{mean:+.4f}", f"{error:.4f}"],
    ]
    assert out.splitlines()[4:] == [
        "model tiny in fp32, text words.txt, tokens 0:60",
        "3 windows of 20 tokens, read at once; 57 tokens are predicted",
        "token 0 of each window is read, and made sparse, like every other, but not predicted",
        "worse: mean log-likelihood of a token, dense less sparse, paired by windows, and the"
        " standard error of that mean over the windows",
        f"wrote {tmp_path}/new/e.json and {tmp_path}/new/e.md",
    ]
    markdown = (tmp_path / "new" / "e.md").read_text()
    assert [cell.strip() for cell in markdown.splitlines()[3].split("|")[1:-1]] == rows[1]
    assert markdown.endswith(out.splitlines()[7] + "\n")


def test_notes_of_decoding(run: Run) -> None:
    _, out, _ = run("2:4", "--prefill", "5")
    assert (
        "3 windows of 20 tokens, of which 5 tokens are read at once and the others one by one;"
        " 57 tokens are predicted\n"
    ) in out


def test_only_what_was_asked_for_is_shown(run: Run, tmp_path: Path) -> None:
    output = str(tmp_path / "e.json")
    run("2:4", "-o", output)
    _, out, _ = run("4:8", "-o", output)
    assert [line.split()[0] for line in out.splitlines()[2:4]] == ["dense", "4:8"]
    lines = (tmp_path / "e.md").read_text().splitlines()
    assert [line.split()[1] for line in lines[2:5]] == ["dense", "2:4", "4:8"]


def test_reference(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "e.json"
    status, out, _ = run("2:4", "8:16", "--reference", "4:8", "-o", str(path))
    assert status == 0
    measured = read_evaluation(path).measured
    log = {text: [w.log_likelihood for w in one.windows] for text, one in measured.items()}
    differences = [(b - a) / 19 for a, b in zip(log["2:4"], log["4:8"], strict=True)]
    mean = sum(differences) / 3
    error = math.sqrt(sum((one - mean) ** 2 for one in differences) / 6)
    lines = out.splitlines()
    assert lines[0].split() == (
        "method perplexity nats a token worse standard error than 4:8 standard error".split()
    )
    assert [line.split()[0] for line in lines[2:6]] == ["dense", "2:4", "8:16", "4:8"]
    assert lines[3].split()[4:] == [f"{mean:+.4f}", f"{error:.4f}"]
    assert len(lines[5].split()) == 4
    cells = [
        cell.strip() for cell in path.with_suffix(".md").read_text().splitlines()[3].split("|")
    ]
    assert cells[1:-1] == lines[3].split()
    # The difference to the dense model is there once.
    assert run("8:16", "--reference", "dense")[1] == run("8:16")[1]


def test_arguments_from_a_file(run: Run, tmp_path: Path) -> None:
    (tmp_path / "methods.txt").write_text("--window=30\n2:4\n8:16,var\n")
    status, out, _ = run(f"@{tmp_path}/methods.txt", "4:8")
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()[2:6]] == [
        "dense",
        "2:4",
        "8:16,var",
        "4:8",
    ]
    assert "\n2 windows of 30 tokens," in out


def test_bf16(run: Run) -> None:
    (_, exact, _), (status, out, _) = run("8:16"), run("8:16", "--dtype", "bf16")
    assert status == 0
    assert "model tiny in bf16," in out
    first, second = (float(text.splitlines()[3].split()[1]) for text in (exact, out))
    assert first != second
    assert first == pytest.approx(second, rel=0.05)


# The file, and going on with it


def test_file(run: Run, tmp_path: Path, tiny: LanguageModel, tiny_text: Text) -> None:
    path = tmp_path / "e.json"
    run("2:4", "-o", str(path))
    content = json.loads(path.read_text())
    versions = {key: content["context"].pop(key) for key in ("torch", "transformers", "nmsparse")}
    assert versions["torch"] == torch.__version__
    assert content["context"] == {
        "model": "tiny",
        "model_source": "folder",
        "model_sha256": tiny.sha256,
        "architecture": "LlamaForCausalLM",
        "dtype": "fp32",
        "text": "words.txt",
        "text_sha256": tiny_text.sha256,
        "tokenizer": f"{type(tiny.tokenizer).__name__}, 66 entries, no special tokens added",
        "tokens": "0:60",
        "window": "20",
        "prefill": "all",
    }
    assert [result["method"] for result in content["results"]] == ["dense", "2:4"]
    assert content["results"][1]["predictions"] == [19, 19, 19]
    first = path.read_bytes()
    assert str(tmp_path).encode() not in first
    path.unlink()
    run("2:4", "-o", str(path))
    assert path.read_bytes() == first


def test_what_is_known_is_not_measured_again(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "e.json"
    run("2:4", "4:8", "-o", str(path))
    done = path.read_bytes()
    measured: list[torch.Tensor] = []
    original = evaluate_module.window_likelihood

    def counted(model: Any, window: torch.Tensor, prefill: int | None) -> Any:
        measured.append(window)
        if len(measured) == 5:
            raise InputError("stopped")
        return original(model, window, prefill)

    monkeypatch.setattr(evaluate_module, "window_likelihood", counted)
    assert run("2:4", "4:8", "dense", "-o", str(path))[0] == 0
    assert measured == []
    assert path.read_bytes() == done
    # What was asked for last is last.
    assert run("2:4", "-o", str(path))[0] == 0
    assert measured == []
    assert list(read_evaluation(path).measured) == ["dense", "4:8", "2:4"]
    # Stopped in the second of two methods, it keeps the first.
    assert run("8:16", "1:2", "-o", str(path))[0] == 2
    assert list(read_evaluation(path).measured) == ["dense", "4:8", "2:4", "8:16"]
    assert run("8:16", "1:2", "-o", str(path))[0] == 0
    assert len(measured) == 5 + 3


def test_other_conditions(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "e.json"
    run("2:4", "-o", str(path))
    before = path.read_bytes()
    status, out, err = run("2:4", "-o", str(path), "--window", "30", "--dtype", "bf16")
    assert (status, out) == (2, "")
    assert err == (
        "python -m sw.evaluate: error: evaluation must be continued under the same conditions, not"
        " with another dtype, window\n"
    )
    assert path.read_bytes() == before


# Constants


def constants(tiny: LanguageModel, value: float, **metadata: str) -> Constants:
    paths = [path for path, _ in tiny.model.named_modules() if path.endswith("_proj")]
    return Constants({path: {"shift.s-pts": torch.tensor(value)} for path in paths}, metadata)


def test_constants(run: Run, tmp_path: Path, tiny: LanguageModel) -> None:
    files = [tmp_path / f"{number}.safetensors" for number in range(2)]
    for number, file in enumerate(files):
        constants(tiny, number / 4, model_sha256=str(tiny.sha256)).write(file)
    output = str(tmp_path / "e.json")
    results = []
    for file in (*files, files[1]):
        status, _, _ = run("2:4,shift=s-pts", "2:4", "-o", output, "--constants", str(file))
        assert status == 0
        measured = read_evaluation(Path(output)).measured
        assert measured["2:4"].constants is None
        results.append(measured["2:4,shift=s-pts"])
    # Other constants are another measurement; a shift of 0 is none.
    assert results[0].constants != results[1].constants
    assert results[1] == results[2]
    assert results[0].windows == measured["2:4"].windows
    assert results[1].windows != results[0].windows


def test_constants_of_another_model(run: Run, tmp_path: Path, tiny: LanguageModel) -> None:
    file = tmp_path / "c.safetensors"
    constants(tiny, 0.5, model="other", model_sha256="0").write(file)
    status, _, err = run("2:4,shift=s-pts", "--constants", str(file))
    assert status == 2
    assert err == (
        "python -m sw.evaluate: error: constants must be of the model tiny, not of other"
        f" ({str(file)!r})\n"
    )


# What is wrong


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["2:4,colour"], "method must have options of criterion, shift, var, ls, low-rank, scaling,"
         " weights, exact, dtype, score-bits, scale-format, phase, linears, skip-layers,"
         " not 'colour'"),
        (["2:4", "--tokens", "5"], "tokens must be START:STOP with 0 <= START < STOP, not '5'"),
        (["2:4", "--tokens", "0:101"],
         "tokens must be within the 100 tokens of the text, not 0:101"),
        (["2:4", "--window", "0"], "window must be at least 1, not 0"),
        (["2:4", "--window", "1"], "window must have at least 2 tokens, not 1"),
        (["2:4", "--prefill", "0"], "prefill must be at least 1, not 0"),
        (["2:4", "--dtype", "int8"], "dtype must be one of bf16, fp16, fp32, not 'int8'"),
        (["2:4", "--text", "/no/such"],
         "text must be a file that can be read, not '/no/such' (No such file or directory)"),
        (["2:4", "-o", "/no/such/e.json"],
         "output must be a file that can be written, not '/no/such/e.json'"),
        (["2:4", "-o", "e.txt"], "output must be a file that ends in .json, not 'e.txt'"),
        (["2:4", "--constants", "/no/such"],
         "constants file '/no/such' must be a readable file: No such file or directory"),
        ([], "the following arguments are required: METHOD"),
    ],
)  # fmt: skip
def test_wrong_argument(
    run: Run, arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Also as root nothing can be written there.
    monkeypatch.setattr("os.access", lambda place, _: Path(place) != Path("/"))
    assert run(*arguments) == (2, "", f"python -m sw.evaluate: error: {message}\n")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "must be JSON: Expecting property name enclosed in double quotes: line 1 column 2"
         " (char 1)"),
        ("[]", "must have the format 'nmsparse evaluation 1'"),
        ('{"format": "nmsparse evaluation 1", "context": {}}',
         "must hold results of methods ('results')"),
    ],
)  # fmt: skip
def test_other_files_are_not_overwritten(
    run: Run, tmp_path: Path, content: str, message: str
) -> None:
    path = tmp_path / "e.json"
    path.write_text(content)
    assert run("2:4", "-o", str(path)) == (
        2, "", f"python -m sw.evaluate: error: evaluation file {str(path)!r} {message}\n"
    )  # fmt: skip
    assert path.read_text() == content


# The committed results


def test_page_shows_the_committed_results() -> None:
    evaluation = read_evaluation(BASELINE)
    lines = BASELINE.with_name("methods.txt").read_text().splitlines()
    assert list(evaluation.measured) == ["dense", *(one for one in lines if one[:2] != "--")]
    reference = Method.parse("8:16")
    assert f"--reference={reference}" in lines
    assert BASELINE.with_suffix(".md").read_text() == evaluation.markdown(reference)
    page = Path(__file__).parents[2] / "docs" / "evaluate.md"
    assert evaluation.table(style="github", reference=reference) in page.read_text()


@pytest.mark.slow
def test_default_model(default_model: LanguageModel) -> None:
    methods = [Method.parse(text) for text in ("unstructured=0.5", "8:16", "2:4")]
    evaluation = evaluate(
        default_model, load_text(), methods, tokens=(0, 256), window=128, progress=False
    )
    # The published order of the patterns.
    perplexities = [perplexity(one.windows) for one in evaluation.measured.values()]
    assert perplexities == sorted(perplexities)
    assert 5 < perplexities[0] < 50
