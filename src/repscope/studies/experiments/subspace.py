"""Figures 8 and 1: how much of their representations two networks share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from repscope._progress import track
from repscope.compare import representations
from repscope.measures._decomposition import decompose
from repscope.studies import paper
from repscope.studies.claims import Check, Claim
from repscope.studies.findings import Findings, Picture, Table
from repscope.studies.plans import Plan, Training
from repscope.studies.study import Context, Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LAYERS = ("conv1", "conv4", "avg_pool")
SHARED = 0.5
"""Cosine from which on an eigenvector of one network counts as one of the other's too."""

LEADING = 40
"""Eigenvectors that are drawn once more by themselves, where there are many."""

KEPT_POINTS = 400
"""Eigenvectors of a layer whose numbers are written to the results, evenly spaced."""


@dataclass(frozen=True)
class Spectrum:
    """What network B does with the eigenvectors of network A (§6.4).

    Attributes:
        eigenvalues: λ of XXᵀ, descending.
        scaling: ‖YYᵀu‖ of each of its eigenvectors u.
        cosine: uᵀYYᵀu / ‖YYᵀu‖, 1 where u is an eigenvector of YYᵀ too.
        features: Number of features of the layer.
    """

    eigenvalues: NDArray[np.float64]
    scaling: NDArray[np.float64]
    cosine: NDArray[np.float64]
    features: int

    @property
    def shared(self) -> int:
        """How many leading eigenvectors are shared: the first place where the cosine falls below ``SHARED``."""
        below = np.flatnonzero(self.cosine < SHARED)
        return int(below[0]) if below.size else len(self.cosine)


def run(context: Context) -> Findings:
    """Train two networks, apply the similarity matrix of one to the eigenvectors of the other."""
    from repscope.studies.zoo import NetworkSpec

    seeds = [context["seed"], context["seed"] + 1]
    first, second = context.train(NetworkSpec("tiny10", {"width": context["width"]}), seeds, title="Tiny-10")
    data = context.data("test")
    spectra: dict[str, Spectrum] = {}
    for layer in track(LAYERS, "Eigenvectors", total=len(LAYERS), show=context.progress):

        def compute(layer: str = layer) -> dict[str, Any]:
            with context.timed("eigenvectors"):
                return vars(spectrum(*(_one(net.model, data, layer) for net in (first, second))))

        kept = context.folder.kept(f"spectrum-{layer}", compute)
        arrays = {name: np.array(kept[name]) for name in ("eigenvalues", "scaling", "cosine")}
        spectra[layer] = Spectrum(**arrays, features=kept["features"])
    layer = context["pca_layer"]
    components = [principal(_one(net.model, data, layer)) for net in (first, second)]
    components[1] = components[1] * np.sign(np.sum(components[0] * components[1], axis=0))
    correlations = [float(np.corrcoef(components[0][:, k], components[1][:, k])[0, 1]) for k in range(2)]
    return Findings(
        tables=(_table(spectra), _pca_table(correlations, layer)),
        pictures=(
            Picture(
                "figure-8",
                "Figure 8: how network B stretches and turns the principal directions u of network A; index 0, of the "
                "largest λ, is at the right",
                _draw(spectra),
            ),
            Picture(
                "figure-1",
                f"Figure 1: principal components of {layer} of two networks; each image has the colour of its place "
                "in A",
                _draw_components(components),
            ),
        ),
        claims=_claims(context, spectra, correlations),
        numbers={
            "spectra": {
                name: {key: value[:: max(1, len(value) // KEPT_POINTS)] for key, value in _arrays(one).items()}
                | {"shared": one.shared, "features": one.features, "every": max(1, len(one.cosine) // KEPT_POINTS)}
                for name, one in spectra.items()
            },
            "correlation of principal components": correlations,
        },
        notes=("Representations are centred; a component's sign is free and chosen to agree.",),
    )


def spectrum(x: NDArray[np.floating], y: NDArray[np.floating]) -> Spectrum:
    """Apply YYᵀ to the eigenvectors of XXᵀ.

    Args:
        x: Representation (n, p) of network A, centred here.
        y: Representation (n, q) of network B, of the same examples.
    """
    state = decompose(np.asarray(x, dtype=np.float64))
    basis = np.asarray(state.basis)
    y = np.asarray(y, dtype=np.float64)
    y = y - y.mean(axis=0)
    projected = y.T @ basis  # (q, r)
    applied = y @ projected  # (n, r)
    scaling = np.linalg.norm(applied, axis=0)
    own = np.sum(projected**2, axis=0)  # uᵀYYᵀu
    values = (np.asarray(state.singular_values) * state.scale) ** 2
    return Spectrum(values, scaling, own / scaling, x.shape[1])


def principal(x: NDArray[np.floating]) -> NDArray[np.float64]:
    """The first two principal components of a representation (n, p), centred, shape (n, 2)."""
    state = decompose(np.asarray(x, dtype=np.float64))
    leading: NDArray[np.float64] = np.asarray(state.basis[:, :2] * (state.singular_values[:2] * state.scale))
    return leading


def _one(model: Any, data: NDArray[np.float32], layer: str) -> NDArray[np.float64]:
    found = representations(model, data, [layer], reduce="flatten")[layer]
    return np.asarray(found.cpu(), dtype=np.float64)


def _arrays(one: Spectrum) -> dict[str, NDArray[np.float64]]:
    return {"eigenvalues": one.eigenvalues, "scaling": one.scaling, "cosine": one.cosine}


def _table(spectra: Mapping[str, Spectrum]) -> Table:
    rows: list[list[Any]] = [
        [
            name,
            one.features,
            len(one.cosine),
            one.shared,
            float(one.cosine[:10].mean()),
            float(one.cosine[-max(1, len(one.cosine) // 10) :].mean()),
        ]
        for name, one in spectra.items()
    ]
    return Table(
        "Figure 8: eigenvectors of network A that are eigenvectors of network B",
        ["layer", "features", "rank", f"leading ones with cosine ≥ {SHARED}", "cosine, first 10", "cosine, last tenth"],
        rows,
        "The paper, read off its figure: cosines of 0.9 to 0.97 near index 0 in conv1 and conv4, 0.5 near index "
        "1,000 to 1,200, 0.07 and 0.25 at the tail; in avg_pool 0.75 to 0.95 for the first ten, below 0.15 from 25 "
        "on.",
    )


def _pca_table(correlations: list[float], layer: str) -> Table:
    rows = [[f"PC{k + 1}", paper.number("fig1", f"PC{k + 1}"), found] for k, found in enumerate(correlations)]
    return Table(
        f"Figure 1: correlation of the principal components of two networks, {layer}",
        ["component", "paper (layer not named)", "ours"],
        rows,
    )


def _claims(context: Context, spectra: Mapping[str, Spectrum], correlations: list[float]) -> list[Claim]:
    pool, first = spectra["avg_pool"], spectra["conv1"]
    classes = len(context.images().classes)
    tail = pool.cosine[25:]
    return [
        context.claim(
            "Two networks share the subspace of the largest eigenvectors, and only that",
            "§6.4, Figure 8",
            *(
                check
                for name, one in spectra.items()
                for check in (
                    Check(f"{name}, cosine of the first ten", float(one.cosine[:10].mean()), "≥", 0.6),
                    Check(
                        f"{name}, cosine of the last tenth",
                        float(one.cosine[-max(1, len(one.cosine) // 10) :].mean()),
                        "<",
                        # Few images leave out the smallest eigenvectors, so no fixed bound is right at every scale.
                        0.5 * float(one.cosine[:10].mean()),
                        "half of that",
                    ),
                )
            ),
        ),
        context.claim(
            "The shared subspace is much smaller than the layer",
            "§6.4",
            *(
                Check(f"{name}, shared eigenvectors over features", one.shared / one.features, "≤", 0.35)
                for name, one in spectra.items()
            ),
        ),
        context.claim(
            "In avg_pool about as many directions are shared as there are classes",
            "§6.4, Figure 8",
            Check("shared directions", pool.shared, "≥", 0.7 * classes, "0.7 × classes ="),
            Check("shared directions", pool.shared, "≤", 2 * classes, "2 × classes ="),
            Check("cosine from index 25 on", float(tail.mean()) if tail.size else float("nan"), "≤", 0.2),
        ),
        context.claim(
            "The largest eigenvalues of a layer have the same scale in two networks",
            "§6.4, Figure 8",
            Check(
                "conv1, median of ‖YYᵀu‖ / λ over the first ten",
                float(np.median(first.scaling[:10] / first.eigenvalues[:10])),
                "≥",
                0.3,
            ),
            Check(
                "conv1, median of ‖YYᵀu‖ / λ over the first ten",
                float(np.median(first.scaling[:10] / first.eigenvalues[:10])),
                "≤",
                3.0,
            ),
        ),
        context.claim(
            "The first principal components of an intermediate layer are the same in two networks",
            "§2.1, Figure 1",
            *(
                Check(f"correlation of PC{k + 1}", found, "≥", 0.8, paper=paper.number("fig1", f"PC{k + 1}"))
                for k, found in enumerate(correlations)
            ),
        ),
    ]


def _draw(spectra: Mapping[str, Spectrum]) -> Figure:
    from repscope.plot import panels, points

    axes = panels(len(spectra), 2, size=(4.4, 2.7))
    for row, (name, one) in enumerate(spectra.items()):
        scaling, rotation = axes[2 * row], axes[2 * row + 1]
        whole = len(one.cosine)
        _draw_scaling(scaling, one, whole)
        points(np.arange(whole), one.cosine, rotation, colors="rebeccapurple")
        rotation.set_ylim(-0.02, 1.02)
        rotation.set_xlim(whole, -0.02 * whole)
        scaling.set_ylabel(name)
        if whole > 4 * LEADING:  # of thousands, those that are shared would be a line
            inset = scaling.inset_axes((0.3, 0.46, 0.42, 0.46))
            _draw_scaling(inset, one, LEADING)
            inset.tick_params(labelsize="x-small")
            inset.set_title(f"the first {LEADING}", fontsize="x-small", pad=2)
        if name == "avg_pool":
            for ax in (scaling, rotation):
                ax.axvline(10, color="grey", linestyle="--", linewidth=0.8)
    axes[0].set_title("Scaling", fontsize="medium")
    axes[1].set_title("Rotation: cosine of u and YYᵀu", fontsize="medium")
    axes[-2].legend(fontsize="x-small", frameon=False, markerscale=2, loc="upper left")
    for ax in axes[-2:]:
        ax.set_xlabel("eigenvector u of XXᵀ, by its index")
    return axes[0].get_figure(root=True)  # type: ignore[return-value]


def _draw_scaling(ax: Axes, one: Spectrum, count: int) -> None:
    """Lengths of the leading eigenvectors under both similarity matrices, index 0 at the right."""
    from repscope.plot import curve, points

    index, a, b = np.arange(count), one.eigenvalues[:count], one.scaling[:count]
    points(index, b, ax, colors="rebeccapurple", label="‖YYᵀu‖, net B")
    curve(a, ax, x=index, color="darkorange", label="‖XXᵀu‖ = λ, net A")
    ax.set_yscale("log")
    ax.set_ylim(max(b.min() / 3, b.max() * 1e-6), 3 * max(a[0], b[0]))
    ax.set_xlim(count, -0.02 * count)


def _draw_components(components: list[NDArray[np.float64]]) -> Figure:
    from repscope.plot import hues, panels, points

    axes = panels(1, 2, size=(4.2, 3.8))
    colors = hues(components[0][:, 1], components[0][:, 0])
    for ax, name, found in zip(axes, "AB", components, strict=True):
        points(found[:, 1], found[:, 0], ax, colors=colors, size=4)
        ax.set_title(f"Network {name}", fontsize="medium")
        ax.set_xlabel("PC 2")
        ax.set_ylabel("PC 1")
    return axes[0].get_figure(root=True)  # type: ignore[return-value]


def plan(settings: Mapping[str, Any]) -> Plan:
    """What the study trains and compares."""
    from repscope.studies.zoo import NetworkSpec

    spec = NetworkSpec("tiny10", {"width": settings["width"]})
    return Plan([Training(spec, settings["data"], 2, settings["epochs"], settings["train_images"])])


STUDY = Study(
    name="subspace",
    title="How much of their representations do two networks share?",
    source="Figures 8 and 1, sections 6.4 and 2.1",
    shows=(
        "The largest eigenvectors of a layer's similarity matrix are nearly eigenvectors of another network's too; the "
        "others are not. The shared subspace is far smaller than the layer: some ten directions after the average pool."
    ),
    protocol=(
        "Two Tiny-10 networks; X and Y are one layer of both on test images, centred, maps flattened. For each "
        "eigenvector u of XXᵀ with eigenvalue λ: ‖YYᵀu‖ beside λ, and the cosine of u and YYᵀu.",
        "Figure 1: the first two principal components of one layer in both networks. The paper does not name the "
        "layer.",
    ),
    settings={
        "tiny": {
            "data": "digits",
            "epochs": 1,
            "train_images": 200,
            "width": 2,
            "images": 150,
            "pca_layer": "conv5",
            "seed": 0,
        },
        "small": {
            "data": "cifar10",
            "epochs": 40,
            "train_images": 50000,
            "width": 16,
            "images": 4000,
            "pca_layer": "conv5",
            "seed": 0,
        },
        "paper": {
            "data": "cifar10",
            "epochs": 60,
            "train_images": 50000,
            "width": 16,
            "images": 10000,
            "pca_layer": "conv5",
            "seed": 0,
        },
    },
    reductions={
        "tiny": ("Two channels and seconds of training on handwritten digits: a test of the code only.",),
        "small": (
            "4,000 of the 10,000 test images: eigenvalues are smaller in proportion, and so is the number of shared "
            "eigenvectors of the convolutions, which the number of images bounds.",
            "40 epochs.",
        ),
        "paper": (),
    },
    run=run,
    plan=plan,
)
