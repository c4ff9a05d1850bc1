"""Marks by which another process knows a function again."""

from __future__ import annotations

import os
import subprocess
import sys

from repscope.capture import call_fingerprint

CODE = """
from repscope.capture import call_fingerprint
def call(model, batch):
    names = [key for key in batch if key in {"image", "mask", "text", "label"}]
    return model(*map(lambda key: batch[key] * {factor}, names))
print(call_fingerprint(call))
"""


def mark_in_another_process(factor: int, seed: int) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": str(seed)}
    command = [sys.executable, "-c", CODE.replace("{factor}", str(factor))]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout


def test_a_function_has_the_same_mark_in_every_process_and_another_where_it_does_something_else() -> None:
    marks = {mark_in_another_process(2, seed) for seed in (0, 1)}
    assert len(marks) == 1
    assert mark_in_another_process(3, 0) not in marks


def test_functions_that_are_not_python_have_the_mark_of_their_name() -> None:
    assert call_fingerprint(len) == call_fingerprint(len) != call_fingerprint(abs)
    assert call_fingerprint(None) != call_fingerprint(len)
