"""What the tab key offers in a shell."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


def offered(*words: str) -> list[str]:
    """What bash would offer for the last of these words."""
    asked = {"_REPSCOPE_COMPLETE": "complete_bash", "COMP_WORDS": "\n".join(words), "COMP_CWORD": str(len(words) - 1)}
    command = [sys.executable, "-m", "repscope"]
    return subprocess.run(command, env=os.environ | asked, capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["repscope", "co"], ["compare"]),
        (["repscope", "measures", "pr"], ["procrustes"]),
        (["repscope", "compare", "a.npz", "--measure", "linear"], ["linear_regression"]),
        (["repscope", "reproduce", "wi"], ["width", "within-class"]),
        (["repscope", "compare", "--est"], ["--estimator"]),
    ],
)
def test_commands_options_measures_and_studies_are_offered(words, expected):
    assert offered(*words) == expected


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_a_script(shell):
    asked = {"_REPSCOPE_COMPLETE": f"source_{shell}"}
    command = [sys.executable, "-m", "repscope"]
    script = subprocess.run(command, env=os.environ | asked, capture_output=True, text=True, check=True).stdout
    assert "_REPSCOPE_COMPLETE" in script
    assert f"complete_{shell}" in script
