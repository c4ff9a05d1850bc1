"""The networks of a study: read where they are there, trained where they are not."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import torch

from repscope._words import first_line
from repscope.errors import InputError
from repscope.studies._checkpoint import epochs_saved
from repscope.studies.datasets import ImageSet
from repscope.studies.text import ParallelText
from repscope.studies.training import Epoch
from repscope.studies.zoo import _pool
from repscope.studies.zoo._report import Report
from repscope.studies.zoo.job import Job
from repscope.studies.zoo.network_file import TrainedNetwork, facts_of, load
from repscope.studies.zoo.spec import AnyRecipe, NetworkSpec

WORTH_A_PROCESS = 100_000
"""Passes of examples through a network below which the seconds that another process takes to start do not pay."""


def trained(
    spec: NetworkSpec,
    data: ImageSet | ParallelText,
    recipe: AnyRecipe,
    seeds: Sequence[int],
    folder: str | os.PathLike[str],
    *,
    device: str | torch.device = "auto",
    progress: bool | None = None,
    limit: int | None = None,
    jobs: int | None = None,
) -> list[TrainedNetwork]:
    """Return a network for each seed: from its file where ``folder`` has it, else trained and stored there.

    Every network computes on one CPU thread, so the result does not depend on how many are trained at once. After an
    interruption of any kind the same call continues at the last finished epoch of each network and ends with the
    same weights, bit for bit, on the same machine.

    Args:
        spec: What to train.
        data: On what.
        recipe: How, of the kind that fits the data; with ``epochs=0`` the networks keep their initial weights.
        seeds: Different integers, one for each network.
        folder: Where the files are; made if need be. Files of other networks in it are left alone.
        device: ``"auto"``: a GPU if there is one, else the CPU; or what :class:`torch.device` takes.
        progress: True: report on stderr, by bars on a terminal and by lines elsewhere; None: on a terminal only;
            False: never. A report says what speed was measured and what time to expect before training starts.
        limit: Train on the first so many examples only; None: on all.
        jobs: How many networks train at once, each in a process of its own (in this one if it is 1). None: as many as
            there are CPUs for longer trainings on the CPU, else 1.

    Returns:
        The networks in the order of ``seeds``, on ``device``, in evaluation mode.

    Raises:
        InputError: An argument is out of range; a file in ``folder`` was made with another recipe, network or data;
            the loss is not finite; the disk is full.
        FileFormatError: A file in ``folder`` is damaged.

    Example:
        >>> from repscope.studies.datasets import load_images
        >>> digits = load_images("digits")
        >>> spec, recipe = NetworkSpec("tiny10", {"width": 4}), Recipe.for_images("digits", epochs=1)
        >>> [network.seed for network in trained(spec, digits, recipe, [0, 1], "networks")]
        [0, 1]
    """
    seeds = _checked_seeds(seeds)
    data.check_limit("trained", "train", limit)
    if jobs is not None and jobs < 1:
        raise InputError(f"trained: jobs must be at least 1, got {jobs}.")
    job = Job(spec, data, recipe, Path(folder), limit, device_of(device))
    _make(job.folder)
    missing = [seed for seed in seeds if not _stored(job, seed)]
    if missing:
        workers = min(jobs or _jobs(job), len(missing))
        with Report(
            _heading(job, len(missing), workers),
            epochs=sum(recipe.epochs - epochs_saved(job.checkpoint(seed)) for seed in missing),
            examples=job.examples,
            unit=job.data.unit,
            workers=workers,
            show=progress,
        ) as report:
            if workers == 1:
                for seed in missing:
                    accuracy = job.run(
                        seed,
                        report.speed if seed == missing[0] else None,
                        lambda epoch, seed=seed: report.epoch(seed, epoch),  # type: ignore[misc]
                    )
                    report.done(seed, accuracy)
            else:
                _in_processes(job, missing, workers, report)
    return [load(job.file(seed), device=job.device) for seed in seeds]


def _in_processes(job: Job, seeds: Sequence[int], workers: int, report: Report) -> None:
    events: Iterator[_pool.Event] = _pool.run(job, seeds, workers)
    with closing(events):  # type: ignore[type-var]
        for event in events:
            seed = event["seed"]
            if event["event"] == "speed":
                report.speed(event["rate"])
            elif event["event"] == "epoch":
                report.epoch(seed, Epoch(**event["epoch"]))
            else:
                report.done(seed, event["accuracy"])


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"trained: folder must be a folder or the name of a new one, got '{folder}' ({error.strerror or error})."
        ) from error


def _checked_seeds(seeds: Sequence[int]) -> list[int]:
    listed = [int(seed) for seed in seeds]
    if not listed or len(set(listed)) < len(listed) or min(listed) < 0:
        raise InputError(f"trained: seeds must be one or more different integers from 0, got {listed}.")
    return listed


def device_of(device: str | torch.device) -> torch.device:
    """The device of this name; ``"auto"`` is a GPU where there is one, else the CPU.

    Raises:
        InputError: This machine has none of that name.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"trained: device must be 'auto' or one that this machine has, got {str(device)!r} ({first_line(error)})."
        ) from error


def _jobs(job: Job) -> int:
    if job.device.type != "cpu" or job.recipe.epochs * job.examples < WORTH_A_PROCESS:
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _stored(job: Job, seed: int) -> bool:
    """Whether the network's file is there and is what was asked for."""
    path = job.file(seed)
    if not path.exists():
        return False
    facts = facts_of(path)
    differing = [
        *_differences("spec", facts["spec"]["options"], job.spec.as_json()["options"]),
        *_differences("recipe", facts["recipe"], job.recipe.as_json()),
        *_differences("data", facts["data"], job.facts),
    ]
    if differing:
        raise InputError(
            f"trained: '{path}' must come from the same training, got one with {'; '.join(differing)}. "
            "Pass another folder, or delete the file."
        )
    return True


def _differences(what: str, found: dict[str, Any], asked: dict[str, Any]) -> list[str]:
    return [
        f"{what} {key} {found.get(key)!r} instead of {value!r}"
        for key, value in asked.items()
        if found.get(key) != value
    ]


def _heading(job: Job, networks: int, workers: int) -> str:
    model = job.spec.build(job.data, 0)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return (
        f"{networks} × {job.spec.name} ({parameters:,} parameters), {job.recipe.epochs} epochs of "
        f"{job.examples:,} {job.data.unit} of {job.data.name}, {workers} at once on {job.device} "
        f"in {job.recipe.precision_on(job.device)}"
    )
