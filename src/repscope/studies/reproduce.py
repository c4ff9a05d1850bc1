"""One study from its name to a folder of results: ``repscope reproduce``."""

from __future__ import annotations

import importlib
import importlib.util
import os
import shlex
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from platform import python_version
from typing import Any

from repscope._words import did_you_mean
from repscope.errors import InputError, MissingExtraError
from repscope.studies.findings import Findings
from repscope.studies.folder import NUMBERS, PAGE, Folder, disk_space_named, write_json
from repscope.studies.page import render
from repscope.studies.study import Context, Study

NAMES: tuple[str, ...] = (
    "invariance",
    "sanity",
    "transformer",
    "depth",
    "resnet",
    "architectures",
    "width",
    "datasets",
    "initialization",
    "batchnorm",
    "within-class",
    "subspace",
)
"""The studies; each is a module of :mod:`repscope.studies.experiments`, its hyphen an underscore."""

_PACKAGES = ("repscope", "numpy", "torch", "matplotlib")


@dataclass(frozen=True)
class Outcome:
    """What :func:`reproduce` leaves.

    Attributes:
        study: The study.
        findings: Tables, claims, figures and numbers.
        folder: The folder of all files.
        page: The Markdown page.
        record: Settings, data, networks, seconds and versions, as on the page.
    """

    study: Study
    findings: Findings
    folder: Path
    page: Path
    record: Mapping[str, Any]


def find_study(name: str) -> Study:
    """Return the study of this name.

    Raises:
        InputError: There is none; with the nearest name.
    """
    if name not in NAMES:
        raise InputError(
            f"reproduce: STUDY must be one of {', '.join(NAMES)}, got {name!r}.{did_you_mean(name, NAMES)}"
        )
    study: Study = importlib.import_module(f"repscope.studies.experiments.{name.replace('-', '_')}").STUDY
    return study


def reproduce(
    name: str,
    *,
    scale: str = "tiny",
    output: str | os.PathLike[str] = "results",
    data_dir: str | os.PathLike[str] | None = None,
    networks_dir: str | os.PathLike[str] | None = None,
    changes: Mapping[str, Any] | None = None,
    device: str = "auto",
    download: bool = False,
    progress: bool | None = None,
    say: Callable[[str], None] | None = None,
) -> Outcome:
    """Run one experiment of Kornblith et al. (2019) and write its numbers, figures and verdicts.

    Everything goes to ``output/STUDY/SCALE/``: ``numbers.json``, every figure as PNG and SVG, the comparisons as
    :func:`repscope.load` reads them, and ``page.md`` with the paper's numbers beside ours and each of its claims
    tested. Trained networks go to ``output/networks/``, where other studies find them. A call that was interrupted
    goes on where it was; one of another configuration is refused.

    Args:
        name: The study, one of ``NAMES``.
        scale: ``"tiny"`` (embedded digits, seconds), ``"small"`` (CIFAR; on two CPU cores an hour or two, for
            ``"sanity"`` with its CCA family some hours more) or ``"paper"`` (the paper's counts).
        output: Folder of all results.
        data_dir: Folder with the files of CIFAR-10, CIFAR-100 and Multi30k.
        networks_dir: Folder of trained networks, read from and written to; None for ``output/networks``.
        changes: Settings of the scale to be changed, by name.
        device: Where networks are trained and run: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        download: Fetch missing data from their authors' site.
        progress: Show bars on stderr; None: where stderr is a terminal.
        say: Called with one line of news at a time.

    Returns:
        Findings and files.

    Raises:
        InputError: There is no such study, scale or setting; data are missing; or the folder holds results of another
            configuration.
        MissingExtraError: PyTorch, safetensors or matplotlib is not installed.
        OSError: The disk is full; what is finished is kept.
    """
    study = find_study(name)
    settings = study.settled(scale, changes or {})
    for package, extra in (("torch", "torch"), ("safetensors", "torch"), ("matplotlib", "plot")):
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError("Reproducing a study", package, extra)
    root = Path(output)
    path = root / study.name / scale
    with disk_space_named(path):
        folder = Folder(path, {"study": study.name, "scale": scale, **settings})
        context = Context(
            study,
            scale,  # type: ignore[arg-type]
            settings,
            folder,
            root / "networks" if networks_dir is None else Path(networks_dir),
            data_dir=None if data_dir is None else Path(data_dir),
            download=download,
            device=device,
            progress=progress,
            say=say or (lambda _: None),
        )
        before, start = sum(folder.times.values()), time.perf_counter()
        findings = study.run(context)
        record = _record(context, changes or {}, before + time.perf_counter() - start)
        page = _write(study, findings, record, folder)
    return Outcome(study, findings, path, page, record)


def _record(context: Context, changes: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """All about a run but its findings; ``seconds`` are those of all calls, of a killed one as far as stages ended."""
    words = ["repscope", "reproduce", context.study.name, "--scale", context.scale]
    for key, value in changes.items():
        words += ["--set", f"{key}={','.join(map(str, value)) if isinstance(value, list | tuple) else value}"]
    return {
        "study": context.study.name,
        "scale": context.scale,
        "command": shlex.join(words),
        "date": datetime.now(UTC).date().isoformat(),
        "settings": dict(context.settings),
        "data": {name: data.fingerprint for name, data in context.loaded.items()},
        "networks": context.trained,
        "seconds": {k: round(v, 2) for k, v in {**context.folder.times, "in all": seconds}.items()},
        "versions": {"python": python_version(), **{p: metadata.version(p) for p in _PACKAGES if p in sys.modules}},
        "device": context.device_name,
        "warnings": list(dict.fromkeys(context.warned)),
    }


def _write(study: Study, findings: Findings, record: Mapping[str, Any], folder: Folder) -> Path:
    for picture in findings.pictures:
        folder.draw(picture.name, picture.figure)
        if picture.paper is not None:
            folder.draw(f"{picture.name}-paper", picture.paper)
    numbers = {
        **record,
        "claims": [claim.to_json() for claim in findings.claims],
        "tables": [
            {"title": table.title, "columns": list(table.columns), "rows": [list(row) for row in table.rows]}
            for table in findings.tables
        ],
        "numbers": findings.numbers,
    }
    write_json(folder.path / NUMBERS, numbers)
    return folder.write(PAGE, render(study, findings, record))
