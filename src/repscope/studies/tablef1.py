"""Table F.1 of Kornblith et al. (2019): which indexes identify corresponding sublayers of Transformer encoders?"""

from __future__ import annotations

from types import MappingProxyType

from repscope.studies import paper, table2

TAPS = MappingProxyType(
    {"layer-norm": "Layer Norm", "scale": "Scale", "operation": "Attention/FFN", "residual": "Residual"}
)
"""The taps of a sublayer (:data:`repscope.studies.translator.TAPS`) to the headings of the table."""

INDEXES = tuple(index for index in table2.INDEXES if index.id != "hsic-linear")
"""The rows of the table, in its order: those of Table 2 but linear HSIC."""

BEST = frozenset(
    {
        ("pwcca", "layer-norm"),
        ("cka-rbf-0.4", "layer-norm"),
        ("cka-linear", "scale"),
        ("cka-rbf-0.4", "scale"),
        ("cka-rbf-0.8", "scale"),
        ("cca-mean", "operation"),
        ("cca-r2", "operation"),
        ("pwcca", "operation"),
        ("cka-rbf-0.8", "operation"),
        ("cca-r2", "residual"),
        ("cka-rbf-0.4", "residual"),
    }
)
"""Index and tap of the numbers in bold: not significantly different from the best of their column."""


def published(index: str, tap: str) -> float:
    """The accuracy that the table states, 0 to 1: ten Transformers trained on WMT18 English to German.

    Raises:
        InputError: There is no such index or tap in the table.
    """
    return paper.number(f"table F.1, {tap}", index)
