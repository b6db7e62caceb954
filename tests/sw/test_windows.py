import pytest

from sw.errors import InputError
from sw.model import LanguageModel
from sw.text import Text
from sw.windows import check_windows, draw_windows, parse_tokens, read_windows, tokenizer_name
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


# Windows at random places


def test_drawn(tiny: LanguageModel, tiny_text: Text) -> None:
    windows = draw_windows(tiny, tiny_text, (10, 40), 5, 200, seed=1)
    assert len(windows) == 200
    # A word names its place modulo 64.
    begins = {int(window[0, 0]) for window in windows}
    assert begins == {token(place) for place in range(10, 36)}
    for window in windows:
        first = window[0, 0]
        assert window.tolist() == [[int((first + 7 * place) % WORDS) for place in range(5)]]
    again = draw_windows(tiny, tiny_text, (10, 40), 5, 200, seed=1)
    assert [one.tolist() for one in again] == [one.tolist() for one in windows]
    other = draw_windows(tiny, tiny_text, (10, 40), 5, 200, seed=2)
    assert [one.tolist() for one in other] != [one.tolist() for one in windows]


def test_the_whole_range(tiny: LanguageModel, tiny_text: Text) -> None:
    (window,) = draw_windows(tiny, tiny_text, (10, 40), 30, 1)
    assert window.tolist() == [[token(place) for place in range(10, 40)]]


@pytest.mark.parametrize(
    ("window", "count", "message"),
    [
        (5, 0, "windows must be at least 1, not 0"),
        (1, 1, "window must be between 2 and the 30 tokens of the range, not 1"),
        (31, 1, "window must be between 2 and the 30 tokens of the range, not 31"),
    ],
)
def test_wrong_draw(
    tiny: LanguageModel, tiny_text: Text, window: int, count: int, message: str
) -> None:
    with pytest.raises(InputError) as caught:
        draw_windows(tiny, tiny_text, (10, 40), window, count)
    assert str(caught.value) == message
