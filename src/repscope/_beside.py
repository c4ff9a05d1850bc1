"""JSON of what stands beside scores: baselines, differences."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from repscope import _container
from repscope.comparison import Comparison


def beside_json(comparison: Comparison, found: Mapping[str, Any]) -> str:
    """What was found, under a heading that says of which scores; strict JSON, in which NaN is null."""
    heading = {
        "writer": _container.writer(),
        "measure": comparison.measure,
        "label": comparison.label,
        "models": list(comparison.models),
        "n": comparison.n,
        "conventions": dict(comparison.conventions),
        "warnings": list(comparison.warnings),
        "details": dict(comparison.details),
    }
    return json.dumps(_container.portable(heading | dict(found)), allow_nan=False)
