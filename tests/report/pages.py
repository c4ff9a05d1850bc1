"""The comparison that most pages show, and where its cells are on the screen."""

from __future__ import annotations

import numpy as np

from tests.comparison.examples import comparison, ridge

NAMES = ("stem", "layer1.conv1", "layer1.conv2", "layer2.conv1", "layer2.conv2", "head")


def two(**fields):
    spectra = {"spectrum": [0.6, 0.3, 0.1], "participation_ratio": 2.25, "dominant_rows": []}
    values = ridge(6) + 0.05 * np.eye(6)
    given = {
        "rows": NAMES,
        "columns": NAMES,
        "n": 512,
        "null_mean": np.full((6, 6), 0.011),
        "null_sd": np.full((6, 6), 0.002),
        "p_values": np.where(values > 0.3, 1e-4, 0.5),
        "standard_errors": np.full((6, 6), 0.01),
        "diagnostics": {model: dict.fromkeys(NAMES, spectra) for model in ("net a", "net b")},
    }
    return comparison(values, **(given | fields))


def point(page, row, column):
    """Where a cell of the heat map is on the screen, by its place among those shown."""
    page.locator("#heatmap").scroll_into_view_if_needed()
    return page.evaluate(
        """([row, column]) => {
            const plot = document.getElementById("heatmap");
            const { xaxis, yaxis } = plot._fullLayout;
            const box = plot.getBoundingClientRect();
            return [box.left + xaxis._offset + xaxis.d2p(column), box.top + yaxis._offset + yaxis.d2p(row)];
        }""",
        [row, column],
    )
