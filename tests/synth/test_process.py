import signal
import sys
import time
from threading import Event, Timer

import pytest

from synth.process import SynthesisError, how_it_ended, log_lines, run


def python(program, *arguments):
    return [sys.executable, "-c", program, *arguments]


def test_run(tmp_path):
    log = tmp_path / "the.log"
    folder = tmp_path / "folder"
    folder.mkdir()
    program = (
        "import os, pathlib, sys; pathlib.Path('here').touch(); print(os.environ['WORD']);"
        "print('PATH' in os.environ, file=sys.stderr); print(sys.stdin.read() == ''); sys.exit(3)"
    )
    assert run(python(program), log, folder=folder, environment={"WORD": "a word"}) == 3
    assert (folder / "here").is_file()
    assert sorted(log_lines(log)) == ["True", "True", "a word"]


def test_log_without_its_folder(tmp_path):
    log = tmp_path / "the.log"
    log.write_bytes(f"  one\n\n{tmp_path}/two of {tmp_path}\n\xff\n".encode("latin-1"))
    assert log_lines(log) == ["one", f"two of {tmp_path}", "\N{REPLACEMENT CHARACTER}"]


def test_how_it_ended():
    assert how_it_ended(2, ["one", "two"]) == "ended with status 2; the last line of its log: two"
    assert how_it_ended(-signal.SIGKILL, []) == (
        "was killed by signal 9 (Killed); the last line of its log: (none)"
    )


def test_cancelled_meanwhile(tmp_path):
    cancel = Event()
    timer = Timer(0.2, cancel.set)
    timer.start()
    start = time.monotonic()
    with pytest.raises(SynthesisError) as caught:
        run(python("import time; time.sleep(9)"), tmp_path / "the.log", cancel=cancel)
    assert str(caught.value) == "the synthesis was cancelled"
    assert 0.2 <= time.monotonic() - start < 5
    timer.join()


def test_finished_before_it_was_cancelled(tmp_path):
    cancel = Event()
    cancel.set()
    assert run(python(""), tmp_path / "the.log", cancel=cancel) == 0
