"""The record of a study as a Markdown page: claims, the paper's numbers beside ours, settings, cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from repscope.studies.claims import count_verdicts, figure
from repscope.studies.findings import Cell, Findings, Picture, Table
from repscope.studies.study import Study

CITATION = (
    "S. Kornblith, M. Norouzi, H. Lee, G. Hinton (2019). Similarity of Neural Network Representations Revisited. "
    "ICML, PMLR 97:3519–3529. <https://arxiv.org/abs/1905.00414>"
)


def render(study: Study, findings: Findings, record: Mapping[str, Any]) -> str:
    """Return the page.

    Args:
        study: What was asked.
        findings: What was found.
        record: Of the run: ``scale``, ``command``, ``date``, ``settings``, ``data``, ``networks``, ``seconds``,
            ``versions``, ``device`` and ``warnings``.
    """
    parts = [
        f"# {study.title}",
        f"`{record['command']}`, {record['date']}. After {study.source} of Kornblith et al. (2019).",
        study.shows,
        "## Claims of the paper",
        _verdicts(findings),
        _table(
            ("claim", "source", "verdict", "computed here"),
            [(c.text, c.source, f"**{c.verdict}**", c.evidence) for c in findings.claims],
        ),
        *(part for table in findings.tables for part in _section(table)),
        *(part for picture in findings.pictures for part in _picture(picture)),
        "## What was done",
        _list(study.protocol),
        f"### What scale `{record['scale']}` reduces, and how that moves the numbers",
        _list(_reductions(study, record)) or "Nothing: the paper's counts.",
        "### Settings",
        _table(("setting", "value"), [(key, _plain(value)) for key, value in record["settings"].items()]),
        *_networks(record["networks"]),
        "### Data, time and versions",
        _list(
            [
                *(f"Data `{name}`, fingerprint `{mark}`" for name, mark in record["data"].items()),
                f"Device: {record['device']}",
                *(f"{stage}: {duration(seconds)}" for stage, seconds in record["seconds"].items()),
                ", ".join(f"{name} {version}" for name, version in record["versions"].items()),
            ]
        ),
    ]
    if notes := [*findings.notes, *summarised(record["warnings"])]:
        parts += ["### Read with care", _list(notes)]
    parts += ["### Source", CITATION]
    return "\n\n".join(part for part in parts if part) + "\n"


def _reductions(study: Study, record: Mapping[str, Any]) -> list[str]:
    """What the scale reduces, with what was set otherwise than the scale does."""
    own = study.settings[record["scale"]]
    changed = [
        f"{key} {_plain(value)} in place of {_plain(own[key])}"
        for key, value in record["settings"].items()
        if value != own[key]
    ]
    said = list(study.reductions[record["scale"]])
    if not changed:
        return said
    rest = " What follows is said of the scale's own settings." if said else ""
    return [f"Set for this run: {'; '.join(changed)}.{rest}", *said]


def duration(seconds: float) -> str:
    """A time in the unit that fits."""
    if seconds < 100:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def summarised(warnings: Sequence[str], most: int = 4) -> list[str]:
    """Warnings, each once; of many the first ones and how many more there are."""
    once = list(dict.fromkeys(warnings))
    if len(once) <= most:
        return once
    return [*once[:most], f"… and {len(once) - most} more warnings of this kind, in the comparisons' files"]


def _verdicts(findings: Findings) -> str:
    counts = count_verdicts(findings.claims)
    return ", ".join(f"{verdict}: {count}" for verdict, count in counts.items() if count)


def _section(table: Table) -> list[str]:
    return [f"## {table.title}", _table(table.columns, table.rows), table.note]


def _picture(picture: Picture) -> list[str]:
    ours = f"![{_escaped(picture.caption)}]({picture.name}.png)"
    title = f"## {picture.caption}"
    if picture.paper is None:
        return [title, ours]
    paper = f"![The same in the paper]({picture.name}-paper.png)"
    return [title, f"| paper (from its digitised numbers) | ours |\n| --- | --- |\n| {paper} | {ours} |"]


def _networks(networks: Sequence[Mapping[str, Any]]) -> list[str]:
    if not networks:
        return []
    columns = list(networks[0])
    return ["### Networks", _table(columns, [[network[column] for column in columns] for network in networks])]


def _table(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    lines = [columns, ["---"] * len(columns), *([_cell(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(cell: Cell) -> str:
    return _escaped(cell) if isinstance(cell, str) else figure(cell)


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _plain(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value))
    if isinstance(value, Mapping):
        return ", ".join(f"{key} = {_plain(item)}" for key, item in value.items())
    return str(value)


def _list(items: Sequence[str]) -> str:
    return "\n".join(f"- {item}" for item in items)
