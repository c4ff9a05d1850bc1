"""Several trainings at once, each worker a process of its own.

Plain subprocesses, not :mod:`multiprocessing`: its ``fork`` deadlocks after OpenMP was used, and its ``spawn`` runs
the caller's script again.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import repscope
from repscope import errors
from repscope.errors import RepscopeError
from repscope.studies.zoo import _worker
from repscope.studies.zoo.job import Job

_PATIENCE = 5.0
"""Seconds that a worker has to end after SIGTERM."""

Event = dict[str, Any]


def run(job: Job, seeds: Sequence[int], workers: int) -> Iterator[Event]:
    """Train a network for each seed and yield what the workers report, in the order in which it happens.

    Events are ``speed`` (``rate``, once a worker), ``epoch`` (``epoch``) and ``done`` (``accuracy``), each with its
    ``seed``. When the
    iterator is closed or an exception passes through it, the workers are ended; their checkpoints stay.

    Raises:
        RepscopeError: What a worker raised, with the seed before the message.
        RuntimeError: A worker failed in another way or was killed.
    """
    waiting = deque(seeds)
    events: queue.SimpleQueue[tuple[_Worker, Event | None]] = queue.SimpleQueue()
    team: list[_Worker] = []
    try:
        for _ in range(min(workers, len(seeds))):
            worker = _Worker(events)
            team.append(worker)
            worker.begin(job)
            worker.give(waiting.popleft())
        active = len(team)
        while active:
            worker, event = events.get()
            if event is None:
                active -= 1
                worker.check()
                continue
            _raise_errors(event)
            yield event
            if event["event"] == "done":
                worker.give(waiting.popleft() if waiting else None)
    finally:
        for worker in team:
            worker.terminate()
        for worker in team:
            worker.wait()


class _Worker:
    def __init__(self, events: queue.SimpleQueue[tuple[_Worker, Event | None]]) -> None:
        package = str(Path(repscope.__file__).resolve().parent.parent)
        paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-c", f"from {_worker.__name__} import main; raise SystemExit(main())"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
        self._seed: int | None = None
        threading.Thread(target=self._listen, args=(events,), daemon=True).start()

    def _listen(self, events: queue.SimpleQueue[tuple[_Worker, Event | None]]) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            events.put((self, json.loads(line)))
        events.put((self, None))

    def begin(self, job: Job) -> None:
        """Send the images and what is to be done with them."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has died: check() will say so
            _worker.send_job(job, self._process.stdin)

    def give(self, seed: int | None) -> None:
        """Send the next seed, or the end."""
        assert self._process.stdin is not None
        self._seed = seed
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(f"{_worker.END if seed is None else seed}\n".encode())
            self._process.stdin.flush()

    def check(self) -> None:
        """Raise if the process ended otherwise than it should."""
        status = self._process.wait()
        if status:
            cause = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
            memory = "; the machine may be out of memory, then try fewer jobs" if status == -signal.SIGKILL else ""
            raise RuntimeError(
                f"trained: seed {self._seed}: the process that trained it {cause}{memory}. "
                "The same call continues at the last finished epoch."
            )

    def terminate(self) -> None:
        """Ask the process to end, if it still runs."""
        if self._process.poll() is None:
            self._process.terminate()

    def wait(self) -> None:
        """Wait for the end, and bring it about if need be."""
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


def _raise_errors(event: Event) -> None:
    if event["event"] == "refused":
        kind: type[RepscopeError] = getattr(errors, event["kind"])
        error = kind.__new__(kind)
        Exception.__init__(error, f"trained: seed {event['seed']}: {event['message']}")
        raise error
    if event["event"] == "failed":
        raise RuntimeError(f"trained: seed {event['seed']} failed:\n{event['message']}")
