import pytest

from sw.errors import InputError
from sw.model import LanguageModel
from sw.text import Text
from sw.windows import check_windows, parse_tokens, read_windows, tokenizer_name
from tests.sw.tiny_model import CONTEXT, WORDS, words


def token(place: int) -> int:
    return (7 * place + 3) % WORDS


@pytest.mark.parametrize(
    ("tokens", "window", "ranges"),
    [
        ((0, 20), 20, [(0, 20)]),
        ((0, 20), 99, [(0, 20)]),
        ((3, 20), 8, [(3, 11), (11, 19), (19, 20)]),
        ((99, 100), 1, [(99, 100)]),
    ],
)
def test_windows(
    tiny: LanguageModel,
    tiny_text: Text,
    tokens: tuple[int, int],
    window: int,
    ranges: list[tuple[int, int]],
) -> None:
    got = [one.tolist() for one in read_windows(tiny, tiny_text, tokens, window)]
    assert got == [[[token(place) for place in range(*one)]] for one in ranges]


@pytest.mark.parametrize(
    ("tokens", "window", "message"),
    [
        ((5, 5), 8, "tokens must be START:STOP with 0 <= START < STOP, not 5:5"),
        ((-1, 5), 8, "tokens must be START:STOP with 0 <= START < STOP, not -1:5"),
        ((0, 5), 0, "window must be at least 1, not 0"),
        ((90, 101), 8, "tokens must be within the 100 tokens of the text, not 90:101"),
    ],
)
def test_what_is_wrong(
    tiny: LanguageModel, tiny_text: Text, tokens: tuple[int, int], window: int, message: str
) -> None:
    with pytest.raises(InputError) as caught:
        read_windows(tiny, tiny_text, tokens, window)
    assert str(caught.value) == message


def test_context(tiny: LanguageModel) -> None:
    text = Text(words(2 * CONTEXT), "words.txt", "file")
    assert len(read_windows(tiny, text, (0, 2 * CONTEXT), CONTEXT)) == 2
    with pytest.raises(InputError) as caught:
        read_windows(tiny, text, (0, 2 * CONTEXT), CONTEXT + 1)
    assert str(caught.value) == (
        f"window must be at most {CONTEXT}, the model's context, not {CONTEXT + 1}"
    )


def test_parse() -> None:
    assert parse_tokens("0:4096") == (0, 4096)
    for argument in ("4096", "5:5", "9:5", "-1:5", "1:x", "", "1:2:3"):
        with pytest.raises(InputError) as caught:
            parse_tokens(argument)
        assert str(caught.value) == (
            f"tokens must be START:STOP with 0 <= START < STOP, not {argument!r}"
        )


def test_check() -> None:
    assert check_windows((0, 9), 4) == (0, 9, 4)
    with pytest.raises(TypeError):
        check_windows((0, 9), 4.0)  # type: ignore[arg-type]


def test_name(tiny: LanguageModel) -> None:
    name = type(tiny.tokenizer).__name__
    assert tokenizer_name(tiny.tokenizer) == f"{name}, 66 entries, no special tokens added"
