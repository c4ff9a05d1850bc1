"""The paper's own numbers fulfil its claims as they are written here, and other numbers do not."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from repscope.studies import figuref1, paper, tablef1
from repscope.studies.claims import FAILS, HOLDS, UNTESTED
from repscope.studies.experiments import (
    architectures,
    batchnorm,
    datasets,
    depth,
    initialization,
    resnet,
    sanity,
    subspace,
    transformer,
    width,
    within_class,
)
from repscope.studies.identification import Identification, identification_accuracy
from repscope.studies.pairs import PairMean
from repscope.studies.reproduce import find_study
from repscope.studies.study import Context


def context(name, **changes):
    """A context that only judges."""
    study = find_study(name)
    return Context(study, "paper", study.settled("paper", changes), folder=None, networks=None)


def verdicts(claims):
    return {claim.text: claim.verdict for claim in claims}


def published_depth():
    names = {d: f"plain-{d}" for d in (10, 18, 34, 66)}
    return (
        {d: paper.comparison(f"fig3/{name}") for d, name in names.items()},
        {d: paper.curve(f"fig3/probe/{name}")[0].tolist() for d, name in names.items()},
        {d: paper.number("test accuracy", name) for d, name in names.items()},
    )


def test_depth():
    maps, probes, accuracies = published_depth()
    found = verdicts(depth._claims(context("depth"), maps, probes, accuracies))
    assert len(found) == 5
    assert set(found.values()) == {HOLDS}
    shallow = {d: maps[d] for d in (10, 18)}
    found = verdicts(depth._claims(context("depth"), shallow, {d: probes[d] for d in shallow}, accuracies))
    assert sorted(found.values()) == sorted([HOLDS] * 2 + [UNTESTED] * 3)


def test_depth_without_a_block():
    maps, probes, accuracies = published_depth()
    maps[66] = replace(maps[66], values=np.eye(65))
    probes[66] = np.linspace(0.4, 0.9, 65).tolist()
    accuracies[66] = 0.96
    found = list(verdicts(depth._claims(context("depth"), maps, probes, accuracies)).values())
    assert found == [FAILS, FAILS, HOLDS, HOLDS, FAILS]


def test_the_grid_of_a_residual_network():
    found = resnet.facts(paper.panel("fig4/resnet-62"))
    assert found["even, adjacent"] > 0.95 > found["odd, adjacent"] > 0.6
    # §6.2 read off the figure: even groups .89, .96, .81 within; .65, .68, .41 between.
    assert found["even, same stage"] == pytest.approx(np.mean([0.89, 0.96, 0.81]), abs=0.03)
    assert found["even, other stage"] == pytest.approx(np.mean([0.65, 0.68, 0.41]), abs=0.03)
    assert found["odd, same stage"] > found["odd, other stage"]
    assert found["like the last"] < 0.1


def test_residual_networks():
    theirs = resnet.facts(paper.panel("fig4/resnet-62"))
    assert set(verdicts(resnet._claims(context("resnet"), theirs, theirs)).values()) == {HOLDS}
    block = resnet.facts(np.ones((61, 61)))
    assert set(verdicts(resnet._claims(context("resnet"), block, theirs)).values()) == {FAILS}


def test_batch_normalisation():
    theirs = {panel: np.diagonal(paper.panel(f"figF6/{panel}")) for panel in batchnorm.PANELS}
    assert set(verdicts(batchnorm._claims(context("batchnorm"), theirs, theirs)).values()) == {HOLDS}
    early = {panel: 0.6 * values[::-1] for panel, values in theirs.items()}
    assert set(verdicts(batchnorm._claims(context("batchnorm"), early, theirs)).values()) == {FAILS}


def test_within_classes():
    theirs = {panel: paper.panel(f"figF7/{panel}") for panel in ("all examples", "within class")}
    assert set(verdicts(within_class._claims(context("within-class"), theirs, theirs)).values()) == {HOLDS}
    other = theirs | {"within class": 1 - theirs["all examples"]}
    assert set(verdicts(within_class._claims(context("within-class"), other, theirs)).values()) == {FAILS}


def test_groups_of_layers_of_a_residual_network():
    # 6 layers of blocks in 3 stages, and the pool; entries name their place.
    values = np.add.outer(10.0 * np.arange(7), np.arange(7))
    found = resnet.facts(values)
    assert found["even, adjacent"] == np.mean([values[1, 3], values[3, 5]])
    assert found["odd, adjacent"] == np.mean([values[0, 2], values[2, 4]])
    assert np.isnan(found["even, same stage"])  # one even layer a stage
    assert found["even, other stage"] == np.mean([values[i, j] for i in (1, 3, 5) for j in (1, 3, 5) if i != j])


def test_width():
    curves = width._published()
    found = verdicts(width._claims(context("width"), curves, list(paper.widths())))
    assert set(found.values()) == {HOLDS}
    backwards = {
        side: {layer: {"cka": line["cka"][::-1]} for layer, line in lines.items()} for side, lines in curves.items()
    }
    assert next(iter(verdicts(width._claims(context("width"), backwards, list(paper.widths()))).values())) == FAILS


def test_data_sets():
    curves = datasets._published()
    assert set(verdicts(datasets._claims(context("datasets"), curves)).values()) == {HOLDS}
    same = {on: dict.fromkeys(lines, lines["first x first"]) for on, lines in curves.items()}
    assert set(verdicts(datasets._claims(context("datasets"), same)).values()) == {FAILS}


def test_initialisation():
    means = {
        panel: PairMean(paper.comparison(f"figF4/{panel}"), np.zeros((17, 17)), 1) for panel in initialization.PANELS
    }
    others = {name: paper.comparison(f"figF5/{name}") for name in initialization._OTHERS}
    published = {panel: mean.values for panel, mean in means.items()}
    found = verdicts(initialization._claims(context("initialization"), means, published, others))
    assert len(found) == 3
    assert set(found.values()) == {HOLDS}


def test_architectures():
    names = ("plain-10 x plain-18", "plain-10 x resnet-14", "plain-18 x resnet-32", "resnet-14 x resnet-32")
    means = {name: paper.comparison(f"fig5/{name}") for name in names}
    indexes = {index: paper.comparison(f"figF8/{index}") for index in architectures.EIGHT}
    assert architectures.matches(means[names[0]].values) == [2, 3, 6, 7, 8, 11, 13, 15, 17]
    assert architectures.matches(means[names[1]].values) == [2, 2, 6, 6, 8, 10, 11, 12, 13]
    found = verdicts(architectures._claims(context("architectures"), means, means, indexes))
    assert list(found.values()) == [HOLDS] * 3
    backwards = {index: replace(one, values=one.values[::-1]) for index, one in indexes.items()}
    found = verdicts(architectures._claims(context("architectures"), means, means, backwards))
    assert list(found.values()) == [HOLDS, FAILS, HOLDS]


def of_table_2(networks=10):
    """Scores that identify exactly the layers that figure 2's mean matrices do, and the accuracies of Table 2."""
    tables = {}
    for index in sanity.INDEXES:
        name = index.id if f"fig2/{index.id}" in paper.panels() else "cca-r2"
        tables[index.id] = np.broadcast_to(paper.panel(f"fig2/{name}"), (networks, networks, 9, 9))
    layers = tuple(f"layer {i}" for i in range(9))
    counts = dict.fromkeys(tables, networks)
    scores = sanity._Scores(tables, layers, counts, dict.fromkeys(tables, 50000), forced=False, full=False)
    best = {"cka-linear", "cka-rbf-0.4", "cka-rbf-0.8"}
    found = {i.id: Identification(i.paper, 0.005, 0.5 if i.id in best else 0.001, i.id in best) for i in sanity.INDEXES}
    return scores, found


def test_table_2():
    scores, found = of_table_2()
    means = {name: table[0, 1] for name, table in scores.tables.items()}
    thresholds = {
        name: identification_accuracy(np.broadcast_to(paper.panel(f"figF3/{name}"), (2, 2, 9, 9)))
        for name in sanity.FIGURE_F3
    }
    claims = verdicts(sanity._claims(context("sanity"), scores, found, thresholds, means, 0.894))
    assert set(claims.values()) == {HOLDS}
    forced = sanity._claims(context("sanity"), replace(scores, full=True), found, thresholds, means, 0.894)
    assert list(verdicts(forced).values()).count(UNTESTED) == 3
    worse = {name: replace(one, accuracy=1 / 9) for name, one in found.items()}
    claims = verdicts(sanity._claims(context("sanity"), scores, worse, thresholds, means, 0.7))
    assert list(claims.values())[:4] == [FAILS] * 4


def test_indexes_of_fewer_networks_are_tested_on_these():
    rng = np.random.default_rng(0)
    good = np.eye(9) + 0.1 * rng.random((5, 5, 9, 9))
    scores, _ = of_table_2(5)
    tables = {name: good if name.startswith("cka") else rng.random((5, 5, 9, 9)) for name in scores.tables}
    family = [index.id for index in sanity.CANONICAL]
    three = {name: table[:3, :3] if name in family else table for name, table in tables.items()}
    counts = {name: len(table) for name, table in three.items()}
    found = sanity._identified(replace(scores, tables=three, networks=counts))
    assert found["cka-linear"].among_best
    assert not found["cca-r2"].among_best
    assert found["cca-r2"].accuracy == identification_accuracy(three["cca-r2"])
    assert found["cka-linear"].accuracy == 1
    two = {name: table[:2, :2] if name in family else table for name, table in tables.items()}
    found = sanity._identified(replace(scores, tables=two, networks={n: len(t) for n, t in two.items()}))
    assert np.isnan(found["cca-r2"].standard_error)
    assert not found["cca-r2"].among_best


def test_eigenvectors_in_another_network(rng):
    x = rng.standard_normal((40, 6)) * np.array([9, 7, 5, 3, 2, 1.0]) + 3
    y = x[:, :3] @ rng.standard_normal((3, 8)) + 0.1 * rng.standard_normal((40, 8))
    found = subspace.spectrum(x, y)
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    values, vectors = np.linalg.eigh(x @ x.T)
    values, vectors = values[::-1][:6], vectors[:, ::-1][:, :6]
    applied = y @ y.T @ vectors
    np.testing.assert_allclose(found.eigenvalues, values)
    np.testing.assert_allclose(found.scaling, np.linalg.norm(applied, axis=0))
    np.testing.assert_allclose(found.cosine, np.sum(vectors * applied, axis=0) / np.linalg.norm(applied, axis=0))
    assert found.features == 6
    same = subspace.spectrum(x, 2 * x)
    np.testing.assert_allclose(same.cosine, 1)
    np.testing.assert_allclose(same.scaling, 4 * same.eigenvalues)
    assert same.shared == 6
    np.testing.assert_allclose(np.abs(np.corrcoef(subspace.principal(x)[:, 0], vectors[:, 0])[0, 1]), 1)


@pytest.mark.parametrize(("rank", "inset"), [(64, 0), (1200, 1)])
def test_where_eigenvectors_are_many_the_leading_ones_are_drawn_once_more(rank, inset):
    values = np.geomspace(1e6, 1e2, rank)
    spectra = {"conv1": subspace.Spectrum(values, values * 2, np.linspace(1, 0, rank), rank)}
    scaling, rotation = subspace._draw(spectra).axes
    assert len(scaling.child_axes) == inset
    assert (scaling.get_title(), rotation.get_title()) == ("Scaling", "Rotation: cosine of u and YYᵀu")
    assert {text.get_text() for text in scaling.get_legend().get_texts()} == {"‖YYᵀu‖, net B", "‖XXᵀu‖ = λ, net A"}
    for ax in (scaling, *scaling.child_axes):
        (line,) = ax.lines
        np.testing.assert_allclose(line.get_ydata(), values[: len(line.get_ydata())])
        assert ax.get_xlim()[0] > ax.get_xlim()[1], "the largest is at the right"
        assert ax.get_yscale() == "log"
    assert all(len(ax.lines[0].get_xdata()) == subspace.LEADING for ax in scaling.child_axes)


def test_shared_subspaces():
    index = np.arange(64)
    steps = np.where(index < 10, 0.9, 0.1)
    values = np.exp(-0.3 * index)
    pool = subspace.Spectrum(values, values, steps, 64)
    spectra = {"conv1": replace(pool, features=640), "conv4": replace(pool, features=640), "avg_pool": pool}
    judge = context("subspace")
    judge._images["cifar10"] = SimpleNamespace(classes=tuple("0123456789"))
    assert pool.shared == 10
    assert set(verdicts(subspace._claims(judge, spectra, [0.91, 0.93])).values()) == {HOLDS}
    flat = {name: replace(one, cosine=np.full(64, 0.9)) for name, one in spectra.items()}
    assert list(verdicts(subspace._claims(judge, flat, [0.91, 0.1])).values()) == [FAILS, FAILS, FAILS, HOLDS, FAILS]


def test_digits_leave_claims_untested():
    study = find_study("width")
    tiny = Context(study, "tiny", study.settled("tiny", {}), folder=None, networks=None)
    assert set(verdicts(width._claims(tiny, width._published(), list(paper.widths()))).values()) == {UNTESTED}


def published_transformer():
    found = {
        tap: {index.id: Identification(tablef1.published(index.id, tap), 0.0, 1.0, False) for index in tablef1.INDEXES}
        for tap in tablef1.TAPS
    }
    means = {tap: {index: paper.panel(f"figF1/{index}/{tap}") for index in figuref1.FIGURE_F1} for tap in tablef1.TAPS}
    for tables in means.values():
        tables["cca-mean"] = tables["cca-r2"]  # the paper draws the one only
    return found, means


def judged_transformer(found, means, bleu=30.0):
    contrasts = {tap: {index: figuref1.checkerboard(m) for index, m in tables.items()} for tap, tables in means.items()}
    quality = {"net 0": {"tests": {"test": {"bleu": bleu, "exact": 0.0}}}}
    return verdicts(transformer._claims(context("transformer"), found, means, contrasts, quality))


def test_transformer():
    found, means = published_transformer()
    verdict = judged_transformer(found, means)
    assert len(verdict) == 7
    assert set(verdict.values()) == {HOLDS}


def test_transformers_without_structure():
    found, means = published_transformer()
    chance = Identification(1 / 12, 0.0, 1.0, False)
    found = {
        tap: {index: Identification(1.0, 0.0, 1.0, True) if index == "pwcca" else chance for index in indexes}
        for tap, indexes in found.items()
    }
    for index in ("cca-mean", "svcca-r2", "linear-regression"):  # three that are better than the two of the claim
        found["residual"][index] = Identification(0.5, 0.0, 1.0, False)
    distance = np.abs(np.subtract.outer(np.arange(12), np.arange(12)))
    means = {tap: dict.fromkeys(tables, 1 - distance / 12) for tap, tables in means.items()}
    means["scale"] = {index: values**2 for index, values in means["scale"].items()}
    found["scale"]["cca-mean"] = Identification(0.9, 0.0, 1.0, False)
    assert set(judged_transformer(found, means, bleu=3.0).values()) == {FAILS}
