"""Directives that write what the catalogue declares: ``{measure} cka`` on one page, ``{measures}`` for all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from repscope.cli.terminal import measure_rows
from repscope.measures.catalog import CATALOG
from repscope.measures.measure import Measure


def facts_table(measure: Measure) -> str:
    """The declared facts as a Markdown table."""
    rows = [("id", f"`{measure.id}`"), ("function", f"{{py:func}}`repscope.{measure.id}`")]
    rows += [(key, _plain(value)) for key, value in measure_rows(measure).items() if key not in ("references",)]
    return "\n".join(["| | |", "| --- | --- |", *(f"| {key} | {value} |" for key, value in rows)])


def variants_table(measure: Measure) -> str:
    """What changes with the options, for the variants that the tests run over."""
    lines = ["| options | kind | range | smallest n | invariant to |", "| --- | --- | --- | --- | --- |"]
    for variant in measure.variants:
        options = {**measure.options, **variant}
        rows = measure_rows(measure, options)
        said = ", ".join(f"`{key}={value!r}`" for key, value in variant.items()) or "the defaults"
        cells = [rows["kind"].split(",")[0], rows["range"], rows["smallest n"], rows["invariant to"]]
        lines.append("| " + " | ".join([said, *map(_plain, cells)]) + " |")
    return "\n".join(lines)


def overview(measures: Iterable[Measure]) -> str:
    """One line for each measure, with a link to its page."""
    heads = ["measure", "what it is", "kind", "symmetric", "metric", "invariant to"]
    lines = [heads, ["---"] * len(heads)]
    for measure in measures:
        rows = measure_rows(measure)
        cells = [rows["kind"].split(",")[0], rows["symmetric"], rows["metric"], rows["invariant to"]]
        lines.append([f"[`{measure.id}`]({measure.id}.md)", measure.title, *map(_plain, cells)])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _plain(text: str) -> str:
    """Text as Markdown shows it letter by letter, in a cell of a table."""
    for letter in "\\|*_$<[]":
        text = text.replace(letter, f"\\{letter}")
    return text


class MeasureDirective(SphinxDirective):
    """What is declared about one measure."""

    required_arguments = 1
    option_spec: ClassVar[dict[str, Any]] = {}

    def run(self) -> list[nodes.Node]:
        """Called by docutils."""
        (name,) = self.arguments
        if name not in CATALOG:
            raise self.error(f"measure: there is no measure {name!r} in the catalogue.")
        measure = CATALOG[name]
        text = facts_table(measure)
        if len(measure.variants) > 1:
            text += f"\n\nWith other options:\n\n{variants_table(measure)}"
        text += "\n\nFrom: " + _plain("; ".join(measure.references)) + "."
        return self.parse_text_to_nodes(text)


class MeasuresDirective(SphinxDirective):
    """All measures, a line each."""

    def run(self) -> list[nodes.Node]:
        """Called by docutils."""
        return self.parse_text_to_nodes(overview(CATALOG.values()))


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_directive("measure", MeasureDirective)
    app.add_directive("measures", MeasuresDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
