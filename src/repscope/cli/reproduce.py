"""``repscope reproduce``: from the words of the command line to a study, and its outcome as text."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from repscope.cli.terminal import text_width
from repscope.errors import InputError, MissingExtraError
from repscope.studies.claims import FAILS, HOLDS, count_verdicts
from repscope.studies.cost import counts, estimate
from repscope.studies.reproduce import NAMES, Outcome, find_study, reproduce
from repscope.studies.study import SCALES, terminal

_STYLES = {HOLDS: "bold green", FAILS: "bold red"}


def list_studies() -> list[str]:
    """The studies, what each asks, and how much it does at each scale, in lines for a terminal."""
    widest = max(map(len, NAMES))
    indent = " " * (widest + 2)
    lines = []
    for name in NAMES:
        study = find_study(name)
        text = f"{name:<{widest}}  {study.title} {study.source}."
        lines += textwrap.wrap(text, text_width(), subsequent_indent=indent, break_on_hyphens=False)
        lines += [f"{indent}{scale:<5}  {counts(study.plan(study.settings[scale]))}" for scale in SCALES]
    return lines


def cost_of(name: str, changes: Mapping[str, Any], device: str) -> list[str]:
    """What a study asks, and what it costs here at each scale, in lines for a terminal.

    Args:
        name: The study.
        changes: Settings that were changed.
        device: Where networks would be trained.

    Raises:
        InputError: There is no such study or setting.
    """
    study = find_study(name)
    lines = textwrap.wrap(f"{study.title} {study.source}.", text_width(), break_on_hyphens=False)
    for scale in SCALES:
        found = estimate(study.plan(study.settled(scale, changes)), device) or ["no training, seconds"]
        for i, text in enumerate(found):
            head = f"{scale if i == 0 else '':<5}  "
            lines += textwrap.wrap(head + text, text_width(), subsequent_indent=" " * 9, break_on_hyphens=False)
    return lines


def changes_of(given: Mapping[str, Any], pairs: Sequence[str]) -> dict[str, Any]:
    """Changed settings, from options that were given and from KEY=VALUE.

    Raises:
        InputError: A word is not of that form, or names a setting twice.
    """
    changes = {key: value for key, value in given.items() if value is not None}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise InputError(f"reproduce: --set must be KEY=VALUE, got {pair!r}.")
        if key in changes:
            raise InputError(f"reproduce: setting {key} must be given once, got it twice.")
        changes[key] = value
    return changes


def run(study: str, *, output: Path, quiet: bool, **options: Any) -> Outcome:
    """Run a study with news on stderr; an interruption says how to go on."""
    try:
        return reproduce(
            study, output=output, progress=False if quiet else None, say=None if quiet else terminal, **options
        )
    except KeyboardInterrupt:
        print(f"'{output}' keeps what is finished; the same command goes on from there", file=sys.stderr)
        raise


def print_outcome(outcome: Outcome) -> None:
    """Print the first table and the verdict on every claim to stdout.

    Raises:
        MissingExtraError: rich is not installed.
    """
    try:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        raise MissingExtraError("Printing the outcome of a study", "rich", "cli") from None
    from repscope.studies.claims import figure

    console = Console(highlight=False)
    console.print(Text(outcome.study.title, style="bold"))
    for first in outcome.findings.tables[:1]:
        table = Table(*map(str, first.columns), title=first.title, title_justify="left", box=None, pad_edge=False)
        for row in first.rows:
            table.add_row(*(Text(cell if isinstance(cell, str) else figure(cell)) for cell in row))
        console.print(table)
    for claim in outcome.findings.claims:
        console.print(Text.assemble((claim.verdict, _STYLES.get(claim.verdict, "bold")), f": {claim.text}"))
    counts = count_verdicts(outcome.findings.claims)
    console.print(", ".join(f"{verdict}: {count}" for verdict, count in counts.items() if count))
