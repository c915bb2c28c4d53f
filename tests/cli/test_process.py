"""The process behind the command: signals, and what others wrote, on a terminal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import pytest

RED = "\x1b[31mred\x07"


@contextmanager
def waiting(folder: Path, **how: Any) -> Iterator[tuple[subprocess.Popen[str], TextIO]]:
    """A `gloss` process that waits for histories from a pipe, and the pipe's other end."""
    pipe = folder / "histories.jsonl"
    os.mkfifo(pipe)
    call = "from gloss.cli.main import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", call, "recommend", "-b", folder, "--histories", pipe],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **how,
    )
    try:
        with pipe.open("w") as end:  # opened when the process has begun to read
            yield process, end
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_command_with_one_line_and_the_code_of_shells(tmp_path, number):
    heard = partial(signal.signal, number, signal.SIG_DFL)  # the tests may run under nohup
    with waiting(tmp_path, preexec_fn=heard) as (process, _):
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert (out, err) == ("", f"error: stopped by {number.name}\n")
    assert process.returncode == 128 + number


def test_an_interrupt_ends_a_wait_at_once_though_polars_handles_it_too():
    code = """
import signal, sys
from gloss.cli.main import _handle_signals, end_waits_on_interrupt
_handle_signals()
import polars
end_waits_on_interrupt()
print("ready", flush=True)
sys.stdin.buffer.read()
"""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], text=True, **pipes) as process:
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.3)  # it reads by now, and nobody writes
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 1
        assert "_Stopped: 2" in process.stderr.read()


def test_a_signal_that_is_ignored_stays_ignored(tmp_path):
    """As under nohup."""
    hung_up = {"preexec_fn": lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)}
    with waiting(tmp_path, **hung_up) as (process, end):
        process.send_signal(signal.SIGHUP)
        end.write("no JSON\n")
        end.close()
        _, err = process.communicate(timeout=60)
    assert "histories.jsonl:1 is not JSON" in err
    assert process.returncode == 1


@pytest.mark.parametrize(
    "call",
    [
        ("run", RED),
        ("run", "none.yaml", RED),
        ("report", RED),
        ("recommend", "-b", RED, "--history", "x"),
        ("prepare", "amazon", "--category", RED, "-o", "x"),
        ("evaluate", "-r", RED, "-d", RED),
        ("models", "pull", RED),
        ("baseline", RED, "-d", "x", "-o", "y"),
        (RED,),
        ("prepare", RED),
        ("doctor", f"--{RED}"),
        ("index", "-d", "x", "-o", "y", "--retriever", RED),
        ("prepare", "shop", "-o", "x", "--users", RED),
    ],
    ids=lambda call: " ".join(call).encode("unicode_escape").decode(),
)
def test_an_escape_sequence_in_an_argument_is_never_printed_raw(gloss, call):
    said = gloss(*call)
    assert said.code in (1, 2)
    assert "\x1b" not in said.out + said.err
    assert "\x07" not in said.out + said.err


def test_a_line_break_in_a_path_stays_on_the_line(gloss, tmp_path):
    said = gloss("report", tmp_path / "a\nerror: b")
    assert said.error == f"{tmp_path}/a error: b is neither a run folder nor an evaluation"


def test_a_path_of_bytes_that_are_no_text_is_shown(gloss, tmp_path):
    path = Path(os.fsdecode(b"\xff.yaml"))
    assert gloss("run", path).error == "\\udcff.yaml does not exist"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("MemoryError()", "the memory is used up: free some, raise its limit"),
        ('RuntimeError("[enforce fail] can\'t allocate memory: 9 bytes")', "the memory is used up"),
        ("ImportError('a.so: failed to map segment')", "a library cannot be loaded: a.so: failed"),
    ],
)
def test_what_the_system_refuses_is_one_line(error, said):
    code = f"""
import gloss.cli.main as process
def fail(arguments):
    raise {error}
process._call = fail
process.main()
"""
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith(f"error: {said}")
    assert ended.stderr.count("\n") == 1


def test_an_address_space_in_which_libraries_die_or_hang_is_refused():
    code = """
import resource
resource.setrlimit(resource.RLIMIT_AS, (2 * 10**9, 2 * 10**9))
from gloss.cli.main import main
main()
"""
    ended = subprocess.run(
        [sys.executable, "-c", code, "--version"], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith("error: this process may reserve 2.0 GB of address space")
    assert ended.stderr.count("\n") == 1
