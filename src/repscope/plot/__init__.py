"""Pictures of results; each function takes results, returns matplotlib objects and shows nothing."""

from __future__ import annotations

from repscope.errors import MissingExtraError

try:
    import matplotlib as _matplotlib  # noqa: F401  (only to say how to install it)
except ImportError as error:
    raise MissingExtraError("Plotting", "matplotlib", "plot") from error

from repscope.plot._figure import COLUMN, PAGE, panels
from repscope.plot.correspondence import correspondence
from repscope.plot.development import sample_size, training
from repscope.plot.heatmap import grid, heatmap
from repscope.plot.lines import curve, hues, points
from repscope.plot.path import match_path
from repscope.plot.profile import same_layer
from repscope.plot.spectra import spectra

__all__ = [
    "COLUMN",
    "PAGE",
    "correspondence",
    "curve",
    "grid",
    "heatmap",
    "hues",
    "match_path",
    "panels",
    "points",
    "same_layer",
    "sample_size",
    "spectra",
    "training",
]
