"""``repscope measures --choose``: three questions, asked in a terminal or answered by options, and what follows."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import typer

from repscope.errors import InputError
from repscope.measures.choosing import INVARIANCES, Recommendation, Suggestion, recommend

IN_FULL = 3
"""Suggestions that are explained; further ones are named."""

_MEANINGS: Mapping[str, str] = {
    "permutation": "the order of units only: single units count",
    "orthogonal": "rotations: directions count by their variance",
    "linear": "any invertible linear map: all directions count alike",
}


@dataclass(frozen=True)
class Answers:
    """What was given on the command line; None where a question is still to be put.

    Attributes:
        invariance: ``"permutation"``, ``"orthogonal"`` or ``"linear"``.
        examples: Number of examples.
        width: Features of the wider layer.
        metric: Whether the score must be a metric.
    """

    invariance: str | None = None
    examples: int | None = None
    width: int | None = None
    metric: bool | None = None

    @property
    def given(self) -> dict[str, Any]:
        """Those that are there, by name."""
        return {name: value for name, value in vars(self).items() if value is not None}


def settle(answers: Answers) -> Recommendation:
    """Put the questions that are open, and recommend.

    Raises:
        InputError: A question is open and nobody can be asked, or an answer means nothing.
    """
    missing = [name for name in vars(answers) if name not in answers.given]
    if missing and not sys.stdin.isatty():
        options = {"metric": "--metric or --no-metric"}
        asked = ", ".join(options.get(name, f"--{name}") for name in missing)
        raise InputError(f"measures: --choose asks in a terminal only. Answer by options: {asked}.")
    found = {**answers.given, **{name: _ask(name) for name in missing}}
    return recommend(found["invariance"], found["examples"], found["width"], metric=found["metric"])


def _ask(name: str) -> Any:
    """One question on stderr, until its answer can be understood."""
    if name == "invariance":
        print("Which changes of a layer shall not change the score?", file=sys.stderr)
        for answer, meaning in _MEANINGS.items():
            print(f"  {answer:<12} {meaning}", file=sys.stderr)
        while (answer := typer.prompt("Invariance", default="orthogonal", err=True)) not in INVARIANCES:
            print(f"One of {', '.join(INVARIANCES)}, please.", file=sys.stderr)
        return answer
    if name == "metric":
        return typer.confirm("Must it be a metric, as for clustering or embedding models?", default=False, err=True)
    question, least = {"examples": ("How many examples?", 2), "width": ("How many features has the wider layer?", 1)}[
        name
    ]
    while (number := typer.prompt(question, type=int, err=True)) < least:
        print(f"A whole number from {least}, please.", file=sys.stderr)
    return number


def lines_of(found: Recommendation, width: int) -> list[str]:
    """A recommendation in lines of at most ``width`` characters."""
    lines = textwrap.wrap(_asked(found), width)
    first, further = found.suggestions[:IN_FULL], found.suggestions[IN_FULL:]
    for number, one in enumerate(first, 1):
        lines += ["", *textwrap.wrap(f"{number}. {one.measure.label}: {one.measure.measure.title}", width)]
        lines += _indented(" ".join(one.reasons), width)
        lines += _indented(" ".join(one.cautions), width)
    if further:
        lines += ["", *textwrap.wrap(f"These fit too: {', '.join(one.measure.label for one in further)}.", width)]
    if not first:
        lines += ["", "No measure of the catalogue fits. Take more examples, or another invariance."]
    lines += ["", "Why not the others:"]
    reasons: dict[str, list[str]] = {}
    for name, reason in found.excluded.items():
        reasons.setdefault(reason, []).append(name)
    for reason, names in reasons.items():
        lines += _indented(f"{', '.join(names)}: {reason[0].lower()}{reason[1:]}", width)
    return lines


def facts_of(found: Recommendation) -> dict[str, Any]:
    """The same as plain data for JSON."""
    return {
        "invariance": found.invariance,
        "examples": found.examples,
        "width": found.width,
        "metric": found.metric,
        "suggestions": [_facts(one) for one in found.suggestions],
        "excluded": dict(found.excluded),
    }


def _facts(one: Suggestion) -> dict[str, Any]:
    return {
        "id": one.measure.id,
        "label": one.measure.label,
        "options": dict(one.measure.options),
        "reasons": list(one.reasons),
        "cautions": list(one.cautions),
    }


def _asked(found: Recommendation) -> str:
    metric = ", a metric" if found.metric else ""
    return (
        f"Invariant to {_MEANINGS[found.invariance].split(':')[0]}{metric}; {found.examples} examples, layers of up to "
        f"{found.width} features:"
    )


def _indented(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)
