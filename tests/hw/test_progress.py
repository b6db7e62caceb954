import time

import pytest

import hw.progress
from hw.progress import progress_bar, ticking


@pytest.fixture(autouse=True)
def interval(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hw.progress, "_interval", lambda: 0.05)


def test_bar_shows_count_and_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar(total=4, desc="work", unit="group") as bar:
        for _ in range(4):
            time.sleep(0.06)
            bar.update()
    shown = capsys.readouterr().err
    assert "work: " in shown
    assert "4/4" in shown


def test_bar_of_short_work_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar(total=4) as bar:
        bar.update(4)
    assert capsys.readouterr().err == ""


def test_clock(capsys: pytest.CaptureFixture[str]) -> None:
    with ticking("thinking"):
        time.sleep(0.2)
    shown = capsys.readouterr().err
    assert shown.startswith("\rthinking: 0 s")
    assert shown.endswith("\n")


def test_clock_of_short_work_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    with ticking("thinking"):
        pass
    assert capsys.readouterr().err == ""


def test_clock_stops_on_errors(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyError), ticking("thinking"):
        raise KeyError
    assert capsys.readouterr().err == ""
