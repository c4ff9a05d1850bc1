"""Comparisons that the tests of this room and of the plots look at."""

from __future__ import annotations

import numpy as np

from repscope.comparison import Comparison


def ridge(rows, columns=None):
    """Scores in (0, 1) with a bright diagonal; every score is another number."""
    columns = rows if columns is None else columns
    depth = np.abs(np.linspace(0, 1, rows)[:, None] - np.linspace(0, 1, columns)[None, :])
    return 0.1 + 0.8 * np.exp(-8 * depth) + 1e-6 * np.arange(rows * columns).reshape(rows, columns)


def comparison(values=None, rows=None, columns=None, row_model="net a", column_model="net b", **fields):
    """A comparison of one pair of models, or of several where tuples of model names are given."""
    values = ridge(3, 4) if values is None else np.asarray(values, dtype=float)
    r, c = values.shape
    fields = {"measure": "cka", "conventions": {"kernel": "linear", "estimator": "unbiased"}} | fields
    return Comparison(
        values=values,
        row_layers=tuple(f"conv{i + 1}" for i in range(r)) if rows is None else rows,
        column_layers=tuple(f"conv{i + 1}" for i in range(c)) if columns is None else columns,
        row_models=(row_model,) * r if isinstance(row_model, str) else row_model,
        column_models=(column_model,) * c if isinstance(column_model, str) else column_model,
        **fields,
    )


def full():
    """A comparison that fills every field, with the names and numbers that break careless writers."""
    values = np.array([[1.0, -0.0, np.nan], [np.inf, -np.inf, 5e-324]])
    return comparison(
        values,
        rows=("encoder/layer.0", '<script>alert("1")</script>'),
        columns=("Schicht ä\n", "层[0]", "../../etc"),
        row_model="модель 'a'",
        column_model="b\ud800",
        measure="procrustes",
        kind="distance",
        range=(-np.inf, np.pi),
        symmetric=False,
        n=np.int64(10_000),
        conventions={
            "kind": "angle",
            "estimator": None,
            "batch_size": np.int32(64),
            "cut": (0.99, np.nan, -np.inf, -0.0),
            "$float": "user",
            "nested": {"$float": 1.0, "$$": [True, 2**80, 0.1]},
        },
        warnings=["n < p + q", "NaN in 层"],
        versions={"numpy": "2.0"},
        seeds={"torch": 2**63},
        details={"layers": {"a": [1, 2]}},
        diagnostics={"b\ud800": {"层[0]": {"participation_ratio": 1.5, "spectrum": [0.75, 0.25], "dead_units": 0}}},
        null_mean=np.full((2, 3), np.nan),
        null_sd=np.zeros((2, 3)),
        p_values=np.full((2, 3), 1e-300),
        calibrated=np.full((2, 3), 0.5),
        standard_errors=np.ones((2, 3)),
        replicates=np.arange(12.0).reshape(2, 2, 3),
    )
