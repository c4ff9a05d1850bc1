"""A process that trains networks one after another: it reads its orders from stdin and reports on stdout.

The orders: a line of JSON that describes the job, the bytes of its data's arrays, then a seed a line, and ``end``. The
reports are lines of JSON, each with an ``event``.
"""

from __future__ import annotations

import json
import math
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

from repscope.errors import RepscopeError
from repscope.studies.datasets import ImageSet
from repscope.studies.text import ParallelText
from repscope.studies.zoo.job import Job
from repscope.studies.zoo.spec import NetworkSpec

END = "end"
_DATA: Mapping[str, type[ImageSet] | type[ParallelText]] = {kind.__name__: kind for kind in (ImageSet, ParallelText)}


def send_job(job: Job, pipe: IO[bytes]) -> None:
    """Write a job as :func:`_receive_job` reads it."""
    header, arrays = job.data.pack()
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    order = {
        "spec": job.spec.as_json(),
        "recipe": job.recipe.as_json(),
        "folder": str(job.folder),
        "limit": job.limit,
        "device": str(job.device),
        "kind": type(job.data).__name__,
        "data": header,
        "arrays": {name: [array.dtype.str, array.shape] for name, array in arrays.items()},
    }
    pipe.write(json.dumps(order).encode() + b"\n")
    for array in arrays.values():
        pipe.write(array.data.cast("B"))
    pipe.flush()


def _receive_job(pipe: IO[bytes]) -> Job:
    order = json.loads(pipe.readline())
    arrays: dict[str, Any] = {}
    for name, (kind, shape) in order["arrays"].items():
        content = pipe.read(math.prod(shape) * np.dtype(kind).itemsize)
        arrays[name] = np.frombuffer(bytearray(content), dtype=kind).reshape(shape)
    spec = NetworkSpec.from_json(order["spec"])
    return Job(
        spec,
        _DATA[order["kind"]].unpack(order["data"], arrays),
        spec.recipe.from_json(order["recipe"]),
        Path(order["folder"]),
        order["limit"],
        torch.device(order["device"]),
    )


def main() -> int:
    """Work until the orders end; return the exit status."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which ends its workers
    reports = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints is no report

    def report(event: str, **facts: Any) -> None:
        reports.write(json.dumps({"event": event, **facts}) + "\n")
        reports.flush()

    job = _receive_job(sys.stdin.buffer)
    seeds: queue.SimpleQueue[int | None] = queue.SimpleQueue()
    threading.Thread(target=_read_seeds, args=(sys.stdin.buffer, seeds), daemon=True).start()
    first = True  # network: the workers begin at the same time, so they measure while all of them are busy
    while (seed := seeds.get()) is not None:
        try:
            test_accuracy = job.run(
                seed,
                (lambda rate, seed=seed: report("speed", seed=seed, rate=rate)) if first else None,  # type: ignore[misc]
                lambda epoch, seed=seed: report("epoch", seed=seed, epoch=asdict(epoch)),  # type: ignore[misc]
            )
        except RepscopeError as error:
            report("refused", seed=seed, kind=type(error).__name__, message=str(error))
            return 1
        except Exception:
            report("failed", seed=seed, message=traceback.format_exc())
            return 1
        report("done", seed=seed, accuracy=test_accuracy)
        first = False
    return 0


def _read_seeds(pipe: IO[bytes], seeds: queue.SimpleQueue[int | None]) -> None:
    for line in pipe:
        if line.strip() == END.encode():
            seeds.put(None)
            return
        seeds.put(int(line))
    os._exit(1)  # the parent has died: nobody waits for the rest
