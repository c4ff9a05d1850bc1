"""The page: what is fixed is written here as HTML, what moves is data for the script."""

from __future__ import annotations

import base64
import html
import json
import numbers
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any, TypeAlias

from repscope import _container
from repscope.comparison import Comparison
from repscope.errors import InputError
from repscope.report.citations import bibtex
from repscope.report.payload import INTERACTIVE_SCORES, embedded, frame

Comparisons: TypeAlias = (
    "Comparison | Sequence[Comparison] | Mapping[str, Comparison] | Mapping[float, Comparison | Sequence[Comparison]]"
)

_ROOM = files("repscope.report")
_SCRIPTS = ("core.js", "heatmap.js", "pair.js", "views.js", "table.js", "main.js")
_PAIRS = {"all": "exact: all pairs of examples", "batch": "estimated from pairs within batches"}


@dataclass(frozen=True)
class _Frame:
    """A comparison, its name in the list of measures, and its training step."""

    comparison: Comparison
    label: str
    step: float | None = None


def write(
    path: str | os.PathLike[str],
    comparisons: Comparisons,
    *,
    title: str | None = None,
    command: str | None = None,
) -> Path:
    """Write a report: one HTML file with everything in it, which any browser shows without a network.

    Args:
        path: The file; it appears whole or not at all.
        comparisons: What to show. Several in a sequence, or a mapping of names to them, can be switched between;
            :func:`repscope.compare` gives such a mapping for a list of measures. A mapping of *numbers*, training
            steps, to comparisons (or to several of them at each step) gets a slider.
        title: Heading; None takes the title of the first comparison.
        command: How the comparisons were made; None takes what they recorded themselves.

    Returns:
        The path.

    Raises:
        InputError: For no comparison, something else than comparisons, steps that hold different measures, or a
            folder that does not exist.

    Example:
        >>> from repscope.report import write
        >>> write("training.html", {0: untrained, 1000: halfway, 2000: trained})  # doctest: +SKIP
    """
    content = _html(_frames(comparisons), title, command).encode("utf-8", "xmlcharrefreplace")
    return _container.write_whole("report", path, lambda file: file.write(content))


def _frames(comparisons: Any) -> list[_Frame]:
    if isinstance(comparisons, Mapping) and comparisons and all(map(_is_step, comparisons)):
        steps = {float(step): _named(given) for step, given in sorted(comparisons.items())}
        labels = {tuple(named) for named in steps.values()}
        if len(labels) > 1:
            raise InputError(
                "report: comparisons must hold the same measures at every step, got "
                f"{' and '.join(', '.join(names) for names in sorted(labels)[:2])}. Compare them all alike."
            )
        return [_Frame(c, label, step) for step, named in steps.items() for label, c in named.items()]
    return [_Frame(comparison, label) for label, comparison in _named(comparisons).items()]


def _is_step(key: object) -> bool:
    return isinstance(key, numbers.Real) and not isinstance(key, bool)


def _named(given: Any) -> dict[str, Comparison]:
    """Comparisons by names that tell them apart."""
    if isinstance(given, Comparison):
        return {given.label: given}
    if isinstance(given, Mapping):
        named = {str(label): comparison for label, comparison in given.items()}
    elif isinstance(given, Sequence) and not isinstance(given, str):
        named = dict(_told_apart(given)) if all(isinstance(one, Comparison) for one in given) else {"": given}
    else:
        named = {"": given}
    if not named or not all(isinstance(comparison, Comparison) for comparison in named.values()):
        wrong = next((type(one).__name__ for one in named.values() if not isinstance(one, Comparison)), "none")
        raise InputError(
            "report: comparisons must be a Comparison, a sequence of them, or a mapping of names or training steps "
            f"to them, got {wrong}. Give what repscope.compare or repscope.load returned."
        )
    return named


def _told_apart(comparisons: Sequence[Comparison]) -> Iterator[tuple[str, Comparison]]:
    labels = [comparison.label for comparison in comparisons]
    if len(set(labels)) < len(labels):
        labels = [comparison.title for comparison in comparisons]
    seen: dict[str, int] = {}
    for label, comparison in zip(labels, comparisons, strict=True):
        seen[label] = seen.get(label, 0) + 1
        yield (label if seen[label] == 1 else f"{label} ({seen[label]})"), comparison


def _html(frames: Sequence[_Frame], title: str | None, command: str | None) -> str:
    first = frames[0].comparison
    heading = (" × ".join(first.models) if len(first.models) < 3 else f"{len(first.models)} models") or first.title
    data = {
        "frames": [frame(one.comparison, one.step, one.label) for one in frames],
        "colors": json.loads(_asset("colors.json")),
        "limit": INTERACTIVE_SCORES,
    }
    page = Template(_asset("page.html"))
    return page.substitute(
        title=html.escape(title or heading),
        page_title=html.escape(title or first.title),
        style=_asset("page.css"),
        script="\n".join(_asset(name) for name in _SCRIPTS),
        library=base64.b64encode(_ROOM.joinpath("vendor", "plotly-cartesian.min.js.gz").read_bytes()).decode("ascii"),
        library_notice="plotly.js, copyright Plotly, Inc., MIT licence",
        data=embedded(data),
        notes="\n".join(_notes(one, i, command) for i, one in enumerate(frames)),
        version=html.escape(_version(first)),
    )


def _notes(one: _Frame, index: int, command: str | None) -> str:
    """What must be known about one comparison, readable without any script."""
    comparison = one.comparison
    made = command or comparison.details.get("command")
    low, high = comparison.range
    alike = "higher is more alike" if comparison.kind == "similarity" else "lower is more alike"
    facts = {
        "measure": comparison.label,
        "models": " × ".join(comparison.models),
        "layers": f"{comparison.values.shape[0]} × {comparison.values.shape[1]}",
        "examples": comparison.n,
        "training step": None if one.step is None else f"{one.step:g}",
        "kind": f"{comparison.kind}: {alike}",
        "range": f"{low:g} to {high:g}",
        "formula": comparison.details.get("formula"),
        "metric": comparison.details.get("metric"),
    }
    conventions = {**comparison.conventions}
    if conventions.get("pairs") in _PAIRS:
        conventions["pairs"] = f"{conventions['pairs']} ({_PAIRS[conventions['pairs']]})"
    provenance = {
        **{f"seed of {name}": seed for name, seed in comparison.seeds.items()},
        **comparison.versions,
        "created": comparison.created,
    }
    further = {k: v for k, v in comparison.details.items() if k not in ("references", "formula", "metric", "command")}
    warnings = "".join(f"<li>{_text(text)}</li>" for text in comparison.warnings)
    heading = one.label if one.step is None else f"{one.label}, step {one.step:g}"
    parts = [
        f'<section class="notes" data-frame="{index}"><h3 class="which">{_text(heading)}</h3>',
        f'<div class="warnings"><h4>Warnings</h4><ul>{warnings}</ul></div>' if warnings else "",
        '<div class="columns">',
        _facts("What was computed", facts),
        _facts("Conventions", conventions),
        _facts("Versions and seeds", provenance),
        _facts("Details", further),
        "</div>",
        _copyable("Command", str(made), "command") if made else "",
        _copyable("Citations (BibTeX)", bibtex(_references(comparison)), "bibtex"),
        "</section>",
    ]
    return "\n".join(filter(None, parts))


def _references(comparison: Comparison) -> list[str]:
    given = comparison.details.get("references", [])
    return [str(text) for text in given] if isinstance(given, list) else [str(given)]


def _facts(heading: str, facts: Mapping[str, Any]) -> str:
    known = {name: value for name, value in facts.items() if value is not None}
    if not known:
        return ""
    rows = "".join(f"<dt>{_text(name)}</dt><dd>{_text(_plain(value))}</dd>" for name, value in known.items())
    return f"<div><h4>{_text(heading)}</h4><dl>{rows}</dl></div>"


def _copyable(heading: str, text: str, kind: str) -> str:
    return (
        f'<div class="copyable"><h4>{_text(heading)} <button type="button" class="copy quiet">Copy</button></h4>'
        f'<pre class="{kind}">{_text(text)}</pre></div>'
    )


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_plain, value))
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {_plain(item)}" for key, item in value.items())
    return f"{value:g}" if isinstance(value, float) else str(value)


def _text(value: object) -> str:
    return html.escape(str(value))


def _version(comparison: Comparison) -> str:
    return f"repscope {comparison.versions['repscope']}" if "repscope" in comparison.versions else "repscope"


def _asset(name: str) -> str:
    return _ROOM.joinpath("assets", name).read_text("utf-8")
