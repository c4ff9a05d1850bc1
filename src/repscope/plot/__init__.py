"""Pictures of results; each function takes results, returns matplotlib objects and shows nothing."""

from __future__ import annotations

from repscope.errors import MissingExtraError

try:
    import matplotlib as _matplotlib  # noqa: F401  (only to say how to install it)
except ImportError as error:
    raise MissingExtraError("Plotting", "matplotlib", "plot") from error

from repscope.plot._figure import panels
from repscope.plot.heatmap import grid, heatmap
from repscope.plot.lines import curve, hues, points
from repscope.plot.path import match_path

__all__ = ["curve", "grid", "heatmap", "hues", "match_path", "panels", "points"]
