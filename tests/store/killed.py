"""Captures that are killed, to be run on its own: ``python -m tests.store.killed DIRECTORY``.

A process that has imported torch and zarr, but not yet used their threads, forks children that capture and are killed.
Each attempt ends with the same bytes as a capture that nothing happened to, or the script ends with a message.
"""

from __future__ import annotations

import itertools
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import zarr.codecs
import zarr.storage  # noqa: F401 - once here, not in every child

from repscope.capture import columns
from tests.store.helpers import capture, files, images

ITEMS = 20  # in 2 batches


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def kill_at(event: int) -> None:
    """Arrange that this process dies at an event of its writing: half a file, a whole one, a renamed one."""
    events = itertools.count()
    write, replace = columns._write_and_sync, os.replace

    def dying_write(path: Path, content: bytes) -> None:
        if next(events) == event:
            path.write_bytes(content[: len(content) // 2])
            die()
        write(path, content)
        if next(events) == event:
            die()

    def dying_replace(source: Path, target: Path) -> None:
        replace(source, target)
        if next(events) == event:
            die()

    columns._write_and_sync = dying_write
    os.replace = dying_replace  # type: ignore[assignment]


def child(work: Callable[[], object], seconds: float | None = None) -> bool:
    """Do something in another process, which is killed after a time; True if it came to its end."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            os._exit(1)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status) != 0:
        sys.exit("capturing failed")
    return os.WIFEXITED(status)


def run(directory: Path) -> None:
    torch.set_num_threads(1)
    os.fsync = lambda descriptor: None  # the kernel survives, and waiting for the disk is most of the time
    data = images(ITEMS)
    whole, path = directory / "whole", directory / "killed"
    start = time.perf_counter()
    assert child(lambda: capture(whole, data=data))
    seconds = time.perf_counter() - start
    expected = files(whole)

    def check(what: str) -> None:
        if files(path) != expected:
            sys.exit(f"{what}: other bytes than without a kill")
        shutil.rmtree(path)

    def killed(event: int) -> Callable[[], None]:
        def work() -> None:
            kill_at(event)
            capture(path, data=data)

        return work

    # At every single event of writing.
    event = 0
    while not child(killed(event)):
        assert child(lambda: capture(path, data=data))
        check(f"killed at event {event}")
        event += 1
    events = event
    check("not killed")

    # At events again and again, each time a few steps further on.
    for event in (4, 7, 1, 20, 12, 2, 25):
        child(killed(event))
    assert child(lambda: capture(path, data=data))
    check("killed again and again")

    # At any time.
    chance = random.Random(0)
    for attempt in range(4):
        for _ in range(1 + attempt % 3):
            child(lambda: capture(path, data=data), seconds=chance.uniform(0, 1.2) * seconds)
        assert child(lambda: capture(path, data=data))
        check(f"killed at a random time, attempt {attempt}")
    print(f"{events} events")


if __name__ == "__main__":
    run(Path(sys.argv[1]))
