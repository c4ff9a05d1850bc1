"""Appendix F.2 (Figure F.3) of Kornblith et al. (2019): SVCCA at several shares of the variance."""

from __future__ import annotations

from collections.abc import Mapping

from repscope.studies.claims import percent
from repscope.studies.findings import Table

VARIANCES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.99)
"""Shares of the variance at which SVCCA cuts."""

FIGURE_F3 = (*(f"svcca-r2-{share:g}" for share in VARIANCES), "svcca-mean-0.9", "svcca-mean-0.99")
"""The panels of the figure, each an index as :func:`repscope.studies.family.pairs_of_networks` names it."""


def title(index: str) -> str:
    """An index of the figure in words."""
    summary, share = _name(index)
    return f"SVCCA, mean {summary}, {share}"


def threshold_table(thresholds: Mapping[str, float]) -> Table:
    """Accuracy of identifying layers by index of the figure."""
    rows = [[*_name(index), percent(accuracy)] for index, accuracy in thresholds.items()]
    return Table(
        "SVCCA at other thresholds: accuracy of identifying corresponding layers, %",
        ["mean of", "share of the variance kept", "ours"],
        rows,
        "The paper shows the matrices (figure F.3) and gives no accuracies for them.",
    )


def _name(index: str) -> tuple[str, str]:
    summary, share = index.removeprefix("svcca-").split("-")
    return ("ρ²" if summary == "r2" else "ρ"), share
