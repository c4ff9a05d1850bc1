"""Comparisons and the catalogue as text for a terminal of any width."""

from __future__ import annotations

import math
import shutil
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from repscope._words import shorten
from repscope.comparison import Comparison
from repscope.errors import MissingExtraError
from repscope.measures.measure import Facts, Invariance, Measure, describe

MAXIMUM_LINES = 120
"""A matrix that takes more lines than this is not printed; nobody reads it."""

_PAIRS = {"all": "all pairs of examples (exact)", "batch": "pairs within batches (minibatch estimate)"}


def print_comparison(comparison: Comparison, *, details: bool = False) -> None:
    """Print the scores, the most similar layers, and (``details``) all that was recorded about them, to stdout.

    Raises:
        MissingExtraError: rich is not installed.
    """
    try:
        from rich.console import Console
        from rich.text import Text
    except ImportError:
        raise MissingExtraError("Printing a comparison", "rich", "cli") from None
    # Lines are laid out here for the width; soft_wrap keeps rich from breaking them again.
    console = Console(highlight=False, soft_wrap=True)
    console.print(Text(comparison.title, style="bold"))
    pairs = _PAIRS.get(str(comparison.conventions.get("pairs")))
    scale = "higher is more alike" if comparison.kind == "similarity" else "a distance: lower is more alike"
    heading = [f"{comparison.n} examples" if comparison.n is not None else "", pairs or "", scale]
    _paragraph(console.print, "; ".join(part for part in heading if part), console.width)
    lines, strong = matrix_lines(comparison, console.width)
    console.print()
    for line, spans in zip(lines, strong, strict=True):
        text = Text(line)
        for start, stop in spans:
            text.stylize("bold", start, stop)
        console.print(text)
    console.print()
    for line in match_lines(comparison, console.width):
        console.print(Text(line))
    if chance := chance_line(comparison):
        _paragraph(console.print, chance, console.width)
    if details:
        console.print()
        for key, value in _recorded(comparison).items():
            _paragraph(console.print, f"{key:<18} {value}", console.width, indent=19)
        for line in diagnostic_lines(comparison, console.width):
            console.print(Text(line))
        for warning in comparison.warnings:
            _paragraph(console.print, f"warning: {warning}", console.width, indent=2)


def matrix_lines(comparison: Comparison, width: int) -> tuple[list[str], list[list[tuple[int, int]]]]:
    """The scores in lines of at most ``width`` characters, with the places of each row's best.

    Columns are headed by their layers where these fit, otherwise by numbers that the rows (or a legend) explain. A
    matrix too wide for one block takes several; one too large for that is replaced by a line that says so.
    """
    cells = [[_number(value, comparison) for value in row] for row in comparison.values]
    rows, columns = _labels(comparison, "row"), _labels(comparison, "column")
    best = _best_columns(comparison)
    room = max(8, width // 3)
    widest = max(len(cell) for row in cells for cell in row)
    left = min(room, max(map(len, rows)))
    named = max(widest, max(len(name) for name in columns))
    by_name = left + len(columns) * (named + 2) <= width
    legend: list[str] = []
    heads = columns
    if not by_name:
        heads = [str(i) for i in range(1, len(columns) + 1)]
        if rows == columns:
            digits = len(heads[-1])
            rows = [f"{head:>{digits}} {name}" for head, name in zip(heads, rows, strict=True)]
        else:
            numbered = ", ".join(f"{head} {name}" for head, name in zip(heads, columns, strict=True))
            legend = textwrap.wrap(f"columns: {numbered}", width, subsequent_indent="  ", break_on_hyphens=False)
        left = min(room, max(map(len, rows)))
    cell_width = max(widest, *map(len, heads))
    per_block = max(1, (width - left) // (cell_width + 2))
    blocks = [range(start, min(start + per_block, len(heads))) for start in range(0, len(heads), per_block)]
    if len(blocks) * (len(rows) + 2) > MAXIMUM_LINES:
        said = f"{len(rows)} × {len(heads)} scores are too many to print: draw them with -o DIR, or use --json."
        wrapped = textwrap.wrap(said, width)
        return wrapped, [[] for _ in wrapped]
    lines: list[str] = legend + [""] * bool(legend)
    strong: list[list[tuple[int, int]]] = [[] for _ in lines]
    for number, block in enumerate(blocks):
        if number:
            lines.append("")
            strong.append([])
        lines.append(" " * left + "".join(f"  {heads[j]:>{cell_width}}" for j in block))
        strong.append([])
        for i, name in enumerate(rows):
            lines.append(f"{shorten(name, left):<{left}}" + "".join(f"  {cells[i][j]:>{cell_width}}" for j in block))
            ends = [left + (k + 1) * (cell_width + 2) for k, j in enumerate(block) if j == best[i]]
            strong.append([(end - len(cells[i][best[i]]), end) for end in ends])
    return lines, strong


def match_lines(comparison: Comparison, width: int) -> list[str]:
    """For each row layer the most similar column layer; within one model, of the other layers."""
    within = _same_axes(comparison)
    values = np.array(comparison.values)
    if within:
        if len(values) == 1:
            return []
        np.fill_diagonal(values, math.nan)
    matches = replace(comparison, values=values).best_match()
    several = {axis: len(set(getattr(comparison, f"{axis}_models"))) > 1 for axis in ("row", "column")}

    def label(model: str | None, layer: str | None, axis: str) -> str:
        return "none: all scores are NaN" if layer is None else f"{model}: {layer}" if several[axis] else layer

    left = [label(match.row_model, match.row, "row") for match in matches]
    right = [label(match.column_model, match.column, "column") for match in matches]
    chance = _best_within_chance(comparison)
    numbers = [
        "" if math.isnan(match.value) else _number(match.value, comparison) + error + "  within chance" * within
        for match, error, within in zip(matches, _best_errors(comparison), chance, strict=True)
    ]
    searched = {match["row"]: match for match in comparison.details.get("best_matches", ())}
    numbers = [
        f"{number}  calibrated {searched[name]['calibrated']:.3f}, p = {searched[name]['p_value']:.2g}"
        if name in searched
        else number
        for name, number in zip(left, numbers, strict=True)
    ]
    room = max(8, (width - max(map(len, numbers)) - 8) // 2)
    widths = [min(room, max(map(len, names))) for names in (left, right)]
    head = "Most similar of the other layers" if within else "Most similar layer"
    lines = [f"{head}, judged as found by a search:" if searched else f"{head}:"]
    for name, other, number in zip(left, right, numbers, strict=True):
        head = f"  {shorten(name, widths[0]):<{widths[0]}} → {shorten(other, widths[1]):<{widths[1]}}"
        lines.append(f"{head}  {number}".rstrip())
    return lines


def _best_errors(comparison: Comparison) -> list[str]:
    """The standard error of each row's best score, as `` ± 0.012``; nothing where there is none."""
    best, errors = _best_columns(comparison), comparison.standard_errors
    if errors is None:
        return [""] * len(best)
    return [f" ± {_number(float(row[j]), comparison)}" for row, j in zip(errors, best, strict=True)]


def measure_rows(measure: Measure, options: Mapping[str, Any] | None = None) -> dict[str, str]:
    """All that is declared about a measure in words, by heading; of given options, or of the defaults."""
    facts = measure.facts(measure.options if options is None else options)
    low, high = facts.range
    alike = "higher is more alike" if facts.kind == "similarity" else "lower is more alike"
    defaults = ", ".join(f"{key}={describe(value)}" for key, value in measure.options.items())
    return {
        "kind": f"{facts.kind}, {alike}",
        "range": f"{_bound(low)} to {_bound(high)}",
        "symmetric": "yes" if facts.symmetric else "no",
        "metric": "yes" if facts.metric else f"no, {facts.metric_form} is" if facts.metric_form else "no",
        "invariant to": _invariances(facts),
        "chance": "by permutation" if facts.chance is None else facts.chance.text,
        "smallest n": str(facts.minimum_examples),
        "options": defaults or "none",
        "formula": measure.formula,
        "cost": measure.cost,
        "references": "; ".join(measure.references),
    }


_DIAGNOSTICS = {
    "features": "features",
    "participation_ratio": "PR",
    "first_component_share": "PC1",
    "dominant_share": "farthest",
    "largest_activation": "largest",
    "constant_features": "constant",
    "repeated_examples": "repeated",
}
"""Facts of a layer that are printed, as far as the width allows, and what heads their columns."""

_LEAST_NAME = 8
"""Characters that a layer's name gets before any fact of it."""

_EXPLAINED = (
    "PR: participation ratio, the directions that carry variance; PC1: share of the first of them; farthest: share of "
    "the squared Gram matrix that the farthest hundredth of the examples brings; largest: activation, in standard "
    "deviations; constant: features that never change; repeated: examples that equal another. More: --json."
)


def diagnostic_lines(comparison: Comparison, width: int) -> list[str]:
    """A table of what is known of each layer by itself; no lines where nothing is."""
    several = len(comparison.diagnostics) > 1
    rows = {
        f"{model}: {layer}" if several else layer: [_fact(facts.get(name)) for name in _DIAGNOSTICS]
        for model, layers in comparison.diagnostics.items()
        for layer, facts in layers.items()
    }
    if not rows:
        return []
    heads = list(_DIAGNOSTICS.values())
    widths = [max(len(head), *(len(cells[i]) for cells in rows.values())) for i, head in enumerate(heads)]
    while sum(widths) + 2 * len(widths) + _LEAST_NAME > width and len(widths) > 1:
        widths.pop()
    left = max(_LEAST_NAME, min(max(map(len, rows)), width - sum(widths) - 2 * len(widths)))

    def line(name: str, cells: Sequence[str]) -> str:
        return f"{shorten(name, left):<{left}}" + "".join(
            f"  {cell:>{w}}" for cell, w in zip(cells, widths, strict=False)
        )

    table = [line("", heads), *(line(name, cells) for name, cells in rows.items())]
    explained = textwrap.wrap(_EXPLAINED, width, initial_indent="  ", subsequent_indent="  ")
    return ["", "Each layer by itself:", *table, *explained, ""]


def _fact(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def chance_line(comparison: Comparison) -> str:
    """The scores of unrelated layers, and how many scores they explain; empty where this is not known."""
    within, mean, sd = comparison.within_chance, comparison.null_mean, comparison.null_sd
    if mean is None or sd is None or np.isnan(mean).all():
        return ""
    levels = [_number(value, comparison) for value in (np.nanmin(mean), np.nanmax(mean))]
    level = " to ".join(dict.fromkeys(levels))
    spread = _number(float(np.nanmax(sd)), comparison)
    text = f"Chance level: {level} (sd {'' if len(set(levels)) == 1 else 'up to '}{spread})."
    if within is None:
        return f"{text} For p values: --permutations N."
    if comparison.p_values is None or np.isnan(comparison.p_values).all():
        return f"{text} Too few examples for p values."
    count = int(within.sum())
    explained = f"{count if count else 'None'} of {within.size} scores {'is' if count < 2 else 'are'}"
    return f"{text} {explained} within chance (p > 0.05)."


def measure_lines(measure: Measure, width: int) -> list[str]:
    """All that is declared about a measure, in lines of at most ``width`` characters."""
    lines = textwrap.wrap(f"{measure.id}: {measure.title}", width)
    for key, value in measure_rows(measure).items():
        lines += textwrap.wrap(
            f"  {key:<12}  {value}", width, subsequent_indent=" " * 16, break_on_hyphens=False, break_long_words=False
        )
    return lines


def measure_facts(measure: Measure) -> dict[str, Any]:
    """The same as plain data for JSON, with the options at their defaults."""
    facts = measure.facts(measure.options)
    return {
        "id": measure.id,
        "title": measure.title,
        "kind": facts.kind,
        "range": list(facts.range),
        "symmetric": facts.symmetric,
        "metric": facts.metric,
        "metric_through": facts.metric_through,
        "invariances_x": sorted(facts.invariances_x),
        "invariances_y": sorted(facts.invariances_y),
        "chance": None if facts.chance is None else facts.chance.text,
        "minimum_examples": facts.minimum_examples,
        "options": dict(measure.options),
        "formula": measure.formula,
        "cost": measure.cost,
        "references": list(measure.references),
    }


def text_width() -> int:
    """Characters in a line: those of the terminal, no more than is easily read."""
    return min(shutil.get_terminal_size((80, 24)).columns, 100)


def _paragraph(write: Any, text: str, width: int, indent: int = 0) -> None:
    for line in textwrap.wrap(text, max(width, indent + 20), subsequent_indent=" " * indent) or [""]:
        write(line, markup=False)


def _recorded(comparison: Comparison) -> Mapping[str, str]:
    def plain(value: Any) -> str:
        return ", ".join(map(str, value)) if isinstance(value, list) else str(value)

    versions = ", ".join(f"{name} {version}" for name, version in comparison.versions.items())
    seeds = ", ".join(f"{name} {seed}" for name, seed in comparison.seeds.items())
    low, high = comparison.range
    return {
        "range": f"{_bound(low)} to {_bound(high)}",
        **{key: plain(value) for key, value in comparison.conventions.items()},
        **({"seeds": seeds} if seeds else {}),
        **({"versions": versions} if versions else {}),
        "created": comparison.created,
    }


def _labels(comparison: Comparison, axis: str) -> list[str]:
    layers: Sequence[str] = getattr(comparison, f"{axis}_layers")
    models: Sequence[str] = getattr(comparison, f"{axis}_models")
    if len(set(models)) == 1:
        return list(layers)
    return [f"{model}: {layer}" for model, layer in zip(models, layers, strict=True)]


def _same_axes(comparison: Comparison) -> bool:
    return (comparison.row_models, comparison.row_layers) == (comparison.column_models, comparison.column_layers)


def _best_columns(comparison: Comparison) -> list[int]:
    """The column of each row's best score, apart from itself; -1 where there is none."""
    values = np.array(comparison.values) if comparison.kind == "similarity" else -comparison.values
    if _same_axes(comparison):
        np.fill_diagonal(values, math.nan)
    return [-1 if np.isnan(row).all() else int(np.nanargmax(row)) for row in values]


def _best_within_chance(comparison: Comparison) -> list[bool]:
    """Whether each row's best score, apart from itself, is within chance."""
    within = comparison.within_chance
    best = _best_columns(comparison)
    return [within is not None and j >= 0 and bool(within[i, j]) for i, j in enumerate(best)]


def _number(value: float, comparison: Comparison) -> str:
    bounded = all(math.isfinite(end) for end in comparison.range)
    text = f"{value:.3f}" if bounded or not math.isfinite(value) else f"{value:.4g}"
    return text.removeprefix("-") if float(text) == 0 else text


def _bound(value: float) -> str:
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return "π/2" if value == math.pi / 2 else f"{value:g}"


def _invariances(facts: Facts) -> str:
    def listed(invariances: frozenset[Any]) -> str:
        return ", ".join(str(i) for i in Invariance if i in invariances) or "nothing"

    if facts.invariances_x == facts.invariances_y:
        return listed(facts.invariances_x)
    return f"of x: {listed(facts.invariances_x)}; of y: {listed(facts.invariances_y)}"
