"""Exit codes, start-up, interruption: what a shell sees."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from repscope import __version__
from repscope.cli import main

HEAVY = {"torch", "matplotlib", "scipy", "PIL", "pandas", "xarray", "rich.table", "repscope.capture", "repscope.plot"}

SLOW = """
import pathlib, time
from torch import nn

class Slow(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(8, 4)

    def forward(self, x):
        pathlib.Path("started").touch()
        time.sleep(60)
        return self.layer(x)
"""


def test_the_quick_commands_import_nothing_heavy():
    commands = [["--help"], ["--version"], ["compare", "--help"], ["measures"], ["measures", "cka", "--json"]]
    code = f"""
import sys
from repscope.cli import main
for words in {commands!r}:
    try:
        main(words)
    except SystemExit as left:
        assert left.code == 0, words
print(sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_python_m_repscope_is_the_command():
    done = subprocess.run([sys.executable, "-m", "repscope", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"repscope {__version__}\n"


def test_help_names_the_commands(repscope):
    for words in ([], ["--help"], ["-h"]):
        done = repscope(*words)
        assert (done.code, done.err) == (0, "")
        assert all(f"  {command} " in done.out for command in ("compare", "measures", "report", "demo"))


def test_the_words_are_those_of_the_process_by_default(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["repscope", "--version"])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 0
    assert capsys.readouterr().out == f"repscope {__version__}\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["compare"], "repscope compare: Missing argument 'A'. See: repscope compare --help"),
        (["comparr"], "repscope: No such command 'comparr'."),
        (["compare", "a.npz", "--nope"], "repscope compare: No such option: --nope"),
        (["compare", "a.npz", "--pairs", "some"], "Invalid value for '--pairs'"),
        (["compare", "a.npz", "--estimator", "best"], "Invalid value for '--estimator'"),
        (["compare", "a.npz", "--batch-size", "0"], "Invalid value for '--batch-size'"),
        (["demo", "--networks", "two"], "Invalid value for '--networks'"),
    ],
)
def test_wrong_usage_is_one_line(fails, words, message):
    assert message in fails(*words)


def test_without_typer_the_command_says_how_to_install_it(fails, monkeypatch):
    monkeypatch.delitem(sys.modules, "repscope.cli.app", raising=False)
    monkeypatch.setitem(sys.modules, "typer", None)
    assert "The command line needs the package 'typer'. Install it with: pip install 'repscope[cli]'" in fails("-h")


def test_an_operating_system_error_is_one_line(fails, workplace, monkeypatch):
    def full(*arguments, **options):
        raise OSError(28, "No space left on device", "results")

    monkeypatch.setattr("repscope.cli.files.write_results", full)
    assert fails("compare", "a.npz", "-o", "results") == "error: results: No space left on device\n"


def test_an_unexpected_exception_keeps_its_traceback(workplace, monkeypatch):
    monkeypatch.setattr("repscope.subjects.resolve", None)  # compare stumbles over it, not the user's code
    with pytest.raises(TypeError, match="'NoneType' object is not callable"):
        main(["compare", "a.npz"])


def test_an_end_of_file_is_no_interruption(workplace, monkeypatch):
    def ended(*arguments, **options):
        raise EOFError("unexpected")

    monkeypatch.setattr("repscope.cli.files.write_results", ended)
    with pytest.raises(EOFError, match="unexpected"):
        main(["compare", "a.npz", "-o", "results"])


def test_ctrl_c_says_so(workplace, monkeypatch, repscope):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("repscope.cli.request.compare", interrupted)
    done = repscope("compare", "a.npz")
    assert (done.code, done.out, done.err) == (130, "", "interrupted\n")


def run_without_a_reader(*words):
    """Run a command in a process of its own; the reader's end is closed before anything is written."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        return subprocess.run(
            [sys.executable, "-m", "repscope", *words], stdout=writing, stderr=subprocess.PIPE, text=True
        )
    finally:
        os.close(writing)


def test_a_reader_that_leaves_early_is_no_error():
    done = run_without_a_reader("measures")
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize(
    ("words", "written"),
    [
        (("compare", "a.npz", "-o", "out"), "out/comparison.npz"),
        (("difference", "alone.npy", "alone.npy", "alone.npy", "-o", "out"), "out/difference.json"),
    ],
)
def test_results_are_written_before_they_are_printed(workplace, words, written):
    pytest.importorskip("matplotlib")
    assert run_without_a_reader(*words).returncode == 1
    assert (workplace / written).exists()


def test_a_page_is_written_before_numbers_are_printed(repscope, workplace):
    repscope("compare", "a.npz", "-o", "out", "-q")
    assert run_without_a_reader("report", "out/comparison.npz", "--json", "--html", "page.html").returncode == 1
    assert (workplace / "page.html").exists()


@pytest.mark.skipif(os.name == "nt", reason="streams are closed the POSIX way")
def test_no_output_at_all_is_no_error():
    command = ["sh", "-c", 'exec "$0" -m repscope measures cka >&-', sys.executable]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_terminal_without_the_letters_is_no_error():
    done = subprocess.run(
        [sys.executable, "-m", "repscope", "measures", "cka"],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "HSIC(K, L) / ?(HSIC(K, K)" in done.stdout


@pytest.mark.skipif(os.name == "nt", reason="signals are sent the POSIX way")
@pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")  # of JAX, which other tests load; the child execs at once
def test_ctrl_c_during_a_forward_pass_leaves_nothing_behind(workplace):
    (workplace / "slow.py").write_text(SLOW)
    before = {path.name for path in workplace.iterdir()}
    words = ["compare", "slow.py:Slow", "--data", "inputs.py:inputs", "-o", "new/results"]
    command = subprocess.Popen(
        [sys.executable, "-B", "-m", "repscope", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A process started in the background may inherit "ignore".
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        deadline = time.monotonic() + 60
        while not (workplace / "started").exists() and time.monotonic() < deadline:
            assert command.poll() is None, command.stderr.read()
            time.sleep(0.05)
        command.send_signal(signal.SIGINT)
        out, err = command.communicate(timeout=30)
    finally:
        command.kill()
    assert (command.returncode, out, err) == (130, "", "interrupted\n")
    assert {path.name for path in workplace.iterdir()} - before == {"started"}
