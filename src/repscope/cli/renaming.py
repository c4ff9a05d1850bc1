"""The user's names of the models in results and in warnings."""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from repscope.comparison import Comparison
from repscope.errors import RepscopeWarning


def with_names(comparison: Comparison, names: list[str], renamed: dict[str, str]) -> Comparison:
    """The comparison with the user's names of the models in place of their classes; notes what became what."""
    old = (comparison.row_models[0], comparison.column_models[0])
    new = (names[0], names[-1])
    renamed.update(zip(old, new, strict=True))
    return replace(
        comparison,
        row_models=(new[0],) * len(comparison.row_models),
        column_models=(new[1],) * len(comparison.column_models),
        warnings=tuple(_in_text(text, renamed) for text in comparison.warnings),
        diagnostics={renamed.get(model, model): layers for model, layers in comparison.diagnostics.items()},
    )


def _in_text(text: str, renamed: Mapping[str, str]) -> str:
    """A message with other names before its layers, as in ``Net a: conv1``."""
    if not renamed:
        return text
    old = "|".join(map(re.escape, sorted(renamed, key=len, reverse=True)))
    return re.sub(rf"(?<!\w)({old})(?=: )", lambda found: renamed[found[1]], text)


@contextmanager
def warnings_once() -> Iterator[dict[str, str]]:
    """Hold repscope's warnings back to the end and print each once, after the renaming that the block fills in."""
    texts: dict[str, None] = {}
    renamed: dict[str, str] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("always", RepscopeWarning)
        others = warnings.showwarning

        def show(message: Any, category: type[Warning], *place: Any, **more: Any) -> None:
            if issubclass(category, RepscopeWarning):
                texts[str(message)] = None
            else:
                others(message, category, *place, **more)

        warnings.showwarning = show
        try:
            yield renamed
        finally:
            for text in texts:
                print(f"warning: {' '.join(_in_text(text, renamed).split())}", file=sys.stderr)
