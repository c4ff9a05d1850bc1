"""Table 1, Theorem 1, eq. 1 and 10–14 and Appendix D: what each index is invariant to, and how they hang together."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from repscope.compare import representations
from repscope.errors import RankWarning
from repscope.measures._decomposition import decompose
from repscope.measures.cca import cca
from repscope.measures.cka import cka
from repscope.measures.regression import linear_regression
from repscope.studies.claims import Check, Claim
from repscope.studies.findings import Findings, Picture, Table
from repscope.studies.identities import (
    Identity,
    Matrix,
    identities,
    invertible_map,
    orthogonal_map,
    rank_of,
    ridge_paths,
    subspace_map,
)
from repscope.studies.study import CKA, Context, Study
from repscope.studies.table2 import INDEXES, Index

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SAME, CHANGED = 1e-6, 1e-3
"""A score that moved by less than the first, relative to itself, is invariant; by more than the second, it is not."""

CONDITION = 100.0
"""Of the invertible map: one that is nearly a rotation hardly moves CKA of layers with one dominant direction."""

FORCED = ("cca-mean", "cca-r2", "pwcca", "linear-regression")
"""Indexes that are invariant to every invertible map of one argument at least, so that Theorem 1 speaks of them."""

# Table 1: what each index is invariant to; "x" or "y": of this argument only; "cut": where SVCCA keeps the same space.
TABLE_1: Mapping[str, Mapping[str, str]] = {
    "linear-regression": {"invertible": "y", "orthogonal": "xy", "isotropic": "xy"},
    "cca-r2": {"invertible": "xy", "orthogonal": "xy", "isotropic": "xy"},
    "cca-mean": {"invertible": "xy", "orthogonal": "xy", "isotropic": "xy"},
    "svcca-r2": {"invertible": "cut", "orthogonal": "xy", "isotropic": "xy"},
    "svcca-mean": {"invertible": "cut", "orthogonal": "xy", "isotropic": "xy"},
    "pwcca": {"invertible": "y", "orthogonal": "y", "isotropic": "xy"},
    "hsic-linear": {"invertible": "", "orthogonal": "xy", "isotropic": ""},
    "cka-linear": {"invertible": "", "orthogonal": "xy", "isotropic": "xy"},
    "cka-rbf-0.4": {"invertible": "", "orthogonal": "xy", "isotropic": "xy"},
}
_PRINTED = {"xy": "yes", "": "no", "x": "X only", "y": "Y only", "cut": "if the same subspace is kept"}
RIDGES = tuple(float(share) for share in np.geomspace(1e-10, 1e6, 33))


def run(context: Context) -> Findings:
    """Transform, compare, and set both sides of every identity beside each other."""
    rng = np.random.default_rng(context["seed"])
    x, y, wide = _representations(context)
    moved = _kept(context, "invariances", lambda: _moved(x, y, rng), rng)
    forced = _kept(context, "theorem", lambda: _by_width(context["theorem_examples"], rng), rng)
    real = _kept(context, "theorem-real", lambda: _forced_on(wide, rng), rng)
    found = identities(x, y)
    generated = identities(*_generated(rng))
    paths = context.folder.kept("ridge", lambda: ridge_paths(x, y, RIDGES))
    ranks = rank_of(x), rank_of(y)
    canonical = float(cca(x, y))
    ends = {
        "R² (CCA)": canonical,
        "R² (regression)": float(linear_regression(x, y)),
        "linear CKA": float(CKA(x, y)),
        "CKA of the bases": canonical * (ranks[0] / ranks[1]) ** 0.5,
    }
    return Findings(
        tables=(*_invariance_tables(moved), _identity_table(found, generated), _theorem_table(forced, real)),
        pictures=(
            Picture("theorem-1", "Theorem 1: unrelated Gaussian data, score by width over examples", _draw(forced)),
            Picture("ridge", "The canonical ridge joins CCA, regression and CKA (App. D.1)", _draw_paths(paths, ends)),
        ),
        claims=(*_table_1_claims(moved), *_theorem_claims(forced, real), *_identity_claims(found, paths, ends)),
        numbers={
            "relative change": moved,
            "by width": forced,
            "forced on images": real,
            "identities": [vars(i) for i in found],
            "identities on generated data": [vars(i) for i in generated],
            "ridge": {"κ / λ₁": list(RIDGES), **paths, "ends": ends},
        },
        notes=(f"x has {x.shape[1]} features of rank {ranks[0]}, y {y.shape[1]} of rank {ranks[1]}, n = {len(x)}.",),
    )


def _kept(context: Context, name: str, compute: Callable[[], Any], rng: np.random.Generator) -> Any:
    """A part that is kept, with the state of the generator behind it: what follows draws the same where it is read."""

    def computed() -> Any:
        value = compute()
        context.folder.add("generator", name, rng.bit_generator.state)
        return value

    value = context.folder.kept(name, computed)
    rng.bit_generator.state = context.folder.part("generator").get(name, rng.bit_generator.state)
    return value


def _representations(context: Context) -> tuple[Matrix, Matrix, Matrix]:
    """Two layers of two untrained networks on real images, and a layer wider than its examples."""
    from repscope.studies.networks import tiny10

    images = context.images()
    data = images.standardised("train", context["images"])
    first, second = (
        tiny10(context["width"], in_channels=images.channels, seed=context["seed"] + i).eval() for i in range(2)
    )
    x = representations(first, data, ["conv8"], reduce="flatten")["conv8"]
    y = representations(second, data, ["conv6"], reduce="flatten")["conv6"]
    wide = representations(first, data[: context["theorem_examples"]], ["conv1"], reduce="flatten")["conv1"]
    return tuple(np.asarray(z, dtype=np.float64) for z in (x, y, wide))  # type: ignore[return-value]


def _generated(rng: np.random.Generator) -> tuple[Matrix, Matrix]:
    """Two representations of 300 examples that share four directions, 7 and 12 features wide."""
    shared = rng.standard_normal((300, 4))
    return tuple(  # type: ignore[return-value]
        shared @ rng.standard_normal((4, p)) + rng.standard_normal((300, p)) for p in (7, 12)
    )


# -- Table 1 ------------------------------------------------------------------------------------------------------


def _moved(x: Matrix, y: Matrix, rng: np.random.Generator) -> dict[str, dict[str, float]]:
    """For each index, how far each transformation of each argument moves it, relative to the score."""
    maps: dict[str, Callable[[Matrix], Matrix]] = {
        "orthogonal": lambda z: z @ orthogonal_map(z.shape[1], rng),
        "isotropic": lambda z: 1.337 * z,
        "invertible": lambda z: z @ invertible_map(z.shape[1], rng, CONDITION),
        "same subspace": lambda z: z @ subspace_map(z, 0.99, rng),
    }
    indexes = _indexes()
    first, second = _Layer(x), _Layer(y)
    scores = {index.id: first.score(index, second) for index in indexes}
    moved: dict[str, dict[str, float]] = {index.id: {} for index in indexes}
    for name, mapped in maps.items():
        for pair in ((_Layer(mapped(x)), second), (first, _Layer(mapped(y)))):
            which = "x" if pair[1] is second else "y"
            for index in indexes:
                score = scores[index.id]
                moved[index.id][f"{name} {which}"] = abs(pair[0].score(index, pair[1]) - score) / abs(score)
    return moved


class _Layer:
    """One representation, decomposed once and prepared once for each index."""

    def __init__(self, values: Matrix) -> None:
        self._values, self._decomposition = values, decompose(values)
        self._states: dict[Any, Any] = {}

    def score(self, index: Index, other: _Layer) -> float:
        """The index between this representation and another one."""
        return float(index.measure.score(self._state(index), other._state(index)))

    def _state(self, index: Index) -> Any:
        key = index.measure.preparation
        if key not in self._states:
            self._states[key] = index.measure.prepare(self._values, decomposition=self._decomposition)
        return self._states[key]


def _invariance_tables(moved: Mapping[str, Mapping[str, float]]) -> tuple[Table, Table]:
    columns = ("invertible", "orthogonal", "isotropic")
    words, changes = [], []
    for index in _indexes():
        found = moved[index.id]
        words.append([index.title, *(cell for c in columns for cell in (_printed(index)[c], _answer(found, c)))])
        changes.append([index.title, *(found[f"{c} {which}"] for c in (*columns, "same subspace") for which in "xy")])
    return (
        Table(
            "Table 1: invariant to",
            ["index", *(head for c in columns for head in (f"{c} (paper)", "ours"))],
            words,
            "Of PWCCA the paper says no to both, because its weights come from x; a map of y leaves it unchanged.",
        ),
        Table(
            "Relative change of each index when one argument is transformed",
            ["index", *(f"{c}, of {which}" for c in (*columns, "same subspace") for which in "xy")],
            changes,
        ),
    )


def _answer(found: Mapping[str, float], column: str) -> str:
    """What the numbers say, in the words of the table."""
    kept = "".join(which for which in "xy" if found[f"{column} {which}"] <= SAME)
    if column == "invertible" and not kept and max(found["same subspace x"], found["same subspace y"]) <= SAME:
        return _PRINTED["cut"]
    return _PRINTED[kept]


def _printed(index: Index) -> Mapping[str, str]:
    return _PWCCA_PRINTED if index.id == "pwcca" else {c: _PRINTED[kept] for c, kept in TABLE_1[index.id].items()}


_PWCCA_PRINTED = {"invertible": "no", "orthogonal": "no", "isotropic": "yes"}


def _indexes() -> list[Index]:
    return [index for index in INDEXES if index.id in TABLE_1]


def _table_1_claims(moved: Mapping[str, Mapping[str, float]]) -> list[Claim]:
    claims = []
    for index in _indexes():
        checks = []
        for column, kept in TABLE_1[index.id].items():
            for which in "xy":
                name = f"{column} {which}"
                change = moved[index.id][name]
                what = f"change under {column} map of {which}"
                checks.append(Check(what, change, "≤", SAME) if which in kept else Check(what, change, ">", CHANGED))
            if kept == "cut":
                checks += [
                    Check(
                        f"change where the same subspace is kept, of {which}",
                        moved[index.id][f"same subspace {which}"],
                        "≤",
                        SAME,
                    )
                    for which in "xy"
                ]
        text = ", ".join(f"{column}: {said}" for column, said in _printed(index).items())
        claims.append(Claim(f"{index.title} is invariant to — {text}", "Table 1", tuple(checks)))
    return claims


# -- Theorem 1 ----------------------------------------------------------------------------------------------------


def _by_width(n: int, rng: np.random.Generator) -> dict[str, Any]:
    """Every index between unrelated Gaussian representations of growing width."""
    widths = sorted({max(2, round(n * share)) for share in (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9, 1.0, 1.5, 2.0)})
    scores: dict[str, list[float]] = {index.id: [] for index in _indexes() if index.id != "hsic-linear"}
    scores["cka-unbiased"] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RankWarning)  # which is the point here
        for p in widths:
            x, y = rng.standard_normal((n, p)), rng.standard_normal((n, p))
            for index in _indexes():
                if index.id in scores:
                    scores[index.id].append(float(index.measure(x, y)))
            scores["cka-unbiased"].append(float(cka(x, y)))
    return {"n": n, "widths": widths, "scores": scores}


def _forced_on(wide: Matrix, rng: np.random.Generator) -> dict[str, float]:
    """Each index between a layer wider than its examples and noise that has nothing to do with it."""
    noise = rng.standard_normal((len(wide), len(wide) + 50))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RankWarning)
        found = {index.id: float(index.measure(wide, noise)) for index in _indexes() if index.id != "hsic-linear"}
    return {**found, "cka-unbiased": float(cka(wide, noise))}


def _theorem_table(forced: Mapping[str, Any], real: Mapping[str, float]) -> Table:
    places = [i for i, p in enumerate(forced["widths"]) if p / forced["n"] in (0.1, 0.5, 1.0, 2.0)]
    heads = ["index", *(f"p = {forced['widths'][i] / forced['n']:g} n" for i in places), "layer × noise, p > n"]
    titles = {index.id: index.title for index in INDEXES} | {"cka-unbiased": "CKA (linear, unbiased)"}
    rows = [[titles[key], *(scores[i] for i in places), real[key]] for key, scores in forced["scores"].items()]
    return Table(
        f"Theorem 1: scores of unrelated representations, n = {forced['n']}",
        heads,
        rows,
        "The last column compares the first layer of a network on real images with Gaussian noise.",
    )


def _theorem_claims(forced: Mapping[str, Any], real: Mapping[str, float]) -> list[Claim]:
    wide = [i for i, p in enumerate(forced["widths"]) if p >= forced["n"]]
    titles = {index.id: index.title for index in INDEXES}
    lowest = [
        Check(f"smallest {titles[key]} at p ≥ n", min(forced["scores"][key][i] for i in wide), "≥", 1 - SAME)
        for key in FORCED
    ]
    on_images = [Check(f"{titles[key]} of a wide layer with noise", real[key], "≥", 1 - SAME) for key in FORCED]
    largest = max(abs(forced["scores"]["cka-unbiased"][i]) for i in wide)
    return [
        Claim(
            "An index invariant to invertible linear maps gives the same score to all representations of width ≥ n",
            "Theorem 1, §2.1",
            (*lowest, *on_images),
        ),
        Claim(
            "CKA can tell representations apart that are wider than the number of examples",
            "§3, §6",
            (Check("largest |unbiased CKA| of unrelated data at p ≥ n", largest, "≤", 0.1),),
        ),
    ]


# -- identities ---------------------------------------------------------------------------------------------------


def _identity_table(found: list[Identity], generated: list[Identity]) -> Table:
    rows = [[i.name, i.left, i.right, i.difference, g.difference] for i, g in zip(found, generated, strict=True)]
    return Table(
        "Identities that tie CKA to CCA and regression",
        ["identity", "left, images", "right, images", "relative difference", "on generated data"],
        rows,
        "Equation 12 is misprinted in the paper: the factor is √p₂, because ‖QᵧᵀQᵧ‖ = √p₂.",
    )


def _identity_claims(found: list[Identity], paths: Mapping[str, list[float]], ends: Mapping[str, float]) -> list[Claim]:
    true = [Check(i.name.split(":")[0] + ", relative difference", i.difference, "≤", SAME) for i in found if i.true]
    claims = [
        Claim("CCA, regression and CKA are one formula with different weights", "§5, eq. 1, 10–14, D.2", tuple(true))
    ]
    claims += [
        Claim(
            "Eq. 12 as printed (an erratum: it should not hold where p₁ ≠ p₂)",
            "§5, eq. 12",
            (Check("relative difference of the sides", i.difference, "≤", SAME),),
        )
        for i in found
        if not i.true
    ]
    canonical, regression, linear, bases = ends.values()
    claims.append(
        Claim(
            "The canonical ridge runs from CCA to regression (κ_Y = 0) and to CKA (κ_X = κ_Y → ∞)",
            "App. D.1",
            (
                Check("distance of κ → 0 from R² (CCA)", abs(paths["first"][0] - canonical), "≤", 1e-3),
                Check("distance of κ_X → ∞ from R² (regression)", abs(paths["first"][-1] - regression), "≤", 1e-4),
                Check("distance of κ_X = κ_Y → 0 from CKA(QₓQₓᵀ, QᵧQᵧᵀ)", abs(paths["both"][0] - bases), "≤", 1e-3),
                Check("distance of κ_X = κ_Y → ∞ from linear CKA", abs(paths["both"][-1] - linear), "≤", 1e-4),
            ),
        )
    )
    return claims


# -- pictures -----------------------------------------------------------------------------------------------------


def _draw(forced: Mapping[str, Any]) -> Figure:
    from repscope.plot import curve, panels

    (ax,) = panels(1, 1, size=(6.4, 4.0))
    titles = {index.id: index.title for index in INDEXES} | {"cka-unbiased": "CKA (linear, unbiased)"}
    shares = np.array(forced["widths"]) / forced["n"]
    for key, scores in forced["scores"].items():
        style = "-" if key.startswith("cka") else "--"
        curve(scores, ax, x=shares, label=titles[key], style=style, marker="o")
    ax.axvline(1.0, color="grey", linewidth=0.6)
    ax.set_xlabel("features p over examples n")
    ax.set_ylabel("score of unrelated data")
    ax.legend(fontsize="x-small", frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return ax.get_figure(root=True)  # type: ignore[return-value]


def _draw_paths(paths: Mapping[str, list[float]], ends: Mapping[str, float]) -> Figure:
    from repscope.plot import curve, panels

    (ax,) = panels(1, 1, size=(6.4, 4.0))
    curve(paths["both"], ax, x=RIDGES, label="κ_X = κ_Y, eq. 27", color="C0")
    curve(paths["first"], ax, x=RIDGES, label="κ_Y = 0, eq. 25", color="C3")
    for (name, value), color in zip(ends.items(), ("grey", "C3", "C0", "C0"), strict=True):
        ax.axhline(value, color=color, linewidth=0.8, linestyle=":")
        ax.text(RIDGES[0], value, f" {name} ", fontsize="x-small", va="bottom", color=color)
    ax.set_xscale("log")
    ax.set_xlabel("κ over the largest eigenvalue")
    ax.set_ylabel("canonical ridge")
    ax.legend(fontsize="small", frameon=False)
    return ax.get_figure(root=True)  # type: ignore[return-value]


STUDY = Study(
    name="invariance",
    title="What is each index invariant to, and how do they hang together?",
    source="Table 1, Theorem 1, equations 1 and 10–14, Appendices B–D",
    shows=(
        "Indexes that are invariant to every invertible linear map say nothing once a layer is wider than the "
        "number of examples. CKA is invariant to rotations and isotropic scaling only; CCA and regression are the "
        "same sum of alignments of principal directions with other weights, and the canonical ridge leads from one "
        "to the other."
    ),
    protocol=(
        "x is layer conv8, y layer conv6 of two untrained Tiny-10 networks of reduced width on training images, maps "
        "flattened, float64; nothing is trained.",
        f"Maps: a uniformly random rotation; scaling by 1.337; a random matrix of condition {CONDITION:g}; for SVCCA "
        "also a map within the span of the components it keeps.",
        f"Invariant means that the score moves by at most {SAME:g} of itself, not invariant by more than {CHANGED:g}.",
    ),
    settings={
        "tiny": {"data": "digits", "images": 600, "width": 2, "theorem_examples": 120, "seed": 0},
        "small": {"data": "cifar10", "images": 5000, "width": 4, "theorem_examples": 200, "seed": 0},
        "paper": {"data": "cifar10", "images": 10000, "width": 8, "theorem_examples": 500, "seed": 0},
    },
    reductions={
        "tiny": (
            "Handwritten digits and networks an eighth as wide; the statements are algebra and do not depend on it.",
        ),
        "small": ("5,000 images and networks a quarter as wide; the statements are algebra and do not depend on it.",),
        "paper": ("The paper proves these statements; the number of images and the width are ours.",),
    },
    run=run,
)
