"""One reference for every row of the catalogue; the tests fail while one is missing."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tests.reference import cca, hsic, regression, shape

REFERENCES: Mapping[str, Callable[..., float]] = {
    "cka": hsic.cka,
    "hsic": hsic.hsic,
    "cca": cca.cca,
    "svcca": cca.svcca,
    "pwcca": cca.pwcca,
    "linear_regression": regression.linear_regression,
    "procrustes": shape.procrustes,
    "canonical_ridge": cca.canonical_ridge,
}
