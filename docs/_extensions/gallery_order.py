"""The order of the pictures in the gallery: as a reader asks."""

from __future__ import annotations

ORDER = (
    "plot_heatmap.py",
    "plot_grid.py",
    "plot_match_path.py",
    "plot_correspondence.py",
    "plot_same_layer.py",
    "plot_baselines.py",
    "plot_spectra.py",
    "plot_sample_size.py",
    "plot_training.py",
    "plot_parts.py",
)


class ByQuestion:
    """Where a script stands among the others; sphinx-gallery makes one for each folder."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __call__(self, script: str) -> int:
        """The place of a script."""
        return ORDER.index(script)
