"""What is printed, on a terminal and off one."""

import io
import os
import subprocess
import sys

from mlops_assets.commands import console as consoles
from mlops_assets.commands.console import Console, folded, table, wrapped


class Clock:
    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def test_a_terminal_shows_one_live_line_and_wipes_it():
    stream = io.StringIO()
    console = Console(stream, terminal=True)
    console.live("tuning", "trial 1 of 3")
    console.live("tuning", "trial 2")
    console.field("best", "a = 1\nb = 2")
    first, second = "  tuning     trial 1 of 3", "  tuning     trial 2"
    wiped = "".join(f"{shown}\r{' ' * len(shown)}\r" for shown in (first, second))
    assert stream.getvalue() == f"{wiped}  best       a = 1\n             b = 2\n"


def test_elsewhere_a_live_line_is_repeated_every_few_seconds():
    stream, clock = io.StringIO(), Clock()
    console = Console(stream, terminal=False, clock=clock)
    for second in range(12):
        clock.now = float(second)
        console.live("tuning", f"trial {second}")
        console.passing("tuning", "never shown")
    console.clear()
    assert [line.split()[-1] for line in stream.getvalue().splitlines()] == ["0", "5", "10"]


def test_a_reader_that_went_away_stops_nothing():
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as stream:
        Console(stream, terminal=False).line("x" * 100_000)
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


NOISY = """\
import os, pathlib, sys
from mlops_assets.commands import console as consoles
with consoles.opened(to_stderr=False, log=pathlib.Path(sys.argv[1])) as console:
    print("noise")
    os.write(2, b"more noise\\n")
    console.line("signal")
print("after")
"""


def test_what_libraries_print_goes_to_the_log(tmp_path):
    log = tmp_path / "logs" / "run.log"
    done = subprocess.run(
        [sys.executable, "-c", NOISY, str(log)], capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr, done.returncode) == ("signal\nafter\n", "", 0)
    assert sorted(log.read_text().splitlines()) == ["more noise", "noise"]


def test_with_json_the_words_go_to_standard_error(capfd):
    with consoles.opened(to_stderr=True, log=None) as console:
        console.line("words")
    assert capfd.readouterr() == ("", "words\n")


def test_columns_are_aligned_and_lists_wrapped():
    assert table([("a", "bb"), ("ccc", "d")], indent=" ") == " a    bb\n ccc  d"
    assert table([]) == ""
    assert wrapped(["aaaa", "bbbb", "cccc"], width=10) == "aaaa, bbbb,\ncccc"
    assert folded("one two three", width=8) == "one two\nthree"
