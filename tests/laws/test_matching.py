"""Matchings of units: against all of them, their metrics and where these end, their digits near 0."""

from __future__ import annotations

import itertools
import math
import re
import sys

import numpy as np
import pytest

import repscope
from repscope import InputError, MissingExtraError
from repscope.measures import matching
from repscope.measures.catalog import configure
from tests.measures.examples import NARROW, WIDE, pair


def centered(x):
    return x - x.mean(axis=0)


def all_matchings(p, q):
    """Every way to give each of p units another of q ≥ p."""
    return (list(columns) for columns in itertools.permutations(range(q), p))


@pytest.mark.parametrize("sizes", [(20, 1, 1), (20, 3, 3), (4, 4, 4), (20, 2, 5), (20, 5, 2), (6, 1, 5)], ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_no_permutation_is_better(sizes, seed):
    x, y = (centered(z) for z in pair(*sizes, seed=seed))
    narrow, wide = (x, y) if x.shape[1] <= y.shape[1] else (y, x)
    fits = [np.sum(narrow * wide[:, columns]) for columns in all_matchings(narrow.shape[1], wide.shape[1])]
    angle = math.acos(max(fits) / np.linalg.norm(x) / np.linalg.norm(y))
    np.testing.assert_allclose(repscope.permutation_procrustes(x, y), angle, rtol=1e-9)
    squared = np.sum(x * x) + np.sum(y * y) - 2 * max(fits)
    np.testing.assert_allclose(repscope.permutation_procrustes(x, y, kind="distance"), math.sqrt(squared), rtol=1e-9)


@pytest.mark.parametrize("sizes", [*NARROW, *WIDE], ids=str)
def test_permutations_are_rotations_and_there_are_others(sizes):
    x, y = pair(*sizes)
    for kind in ("angle", "distance"):
        by_rotation = float(repscope.procrustes(x, y, kind=kind))
        assert by_rotation <= float(repscope.permutation_procrustes(x, y, kind=kind)) * (1 + 1e-12)


@pytest.mark.parametrize("kind", ["angle", "distance"])
def test_permutation_procrustes_is_a_metric_between_layers_of_one_width(kind):
    rng = np.random.default_rng(7)
    for _ in range(60):
        p = rng.integers(1, 5)
        shared = rng.normal(size=(12, p))
        x, y, z = (shared * rng.integers(-1, 2) + 10.0 ** -rng.integers(0, 3) * rng.normal(size=(12, p)) for _ in "xyz")
        xy, yz, xz = (float(repscope.permutation_procrustes(a, b, kind=kind)) for a, b in ((x, y), (y, z), (x, z)))
        assert xz <= xy + yz + 1e-9
        assert xy <= xz + yz + 1e-9
        assert yz <= xy + xz + 1e-9
        assert min(xy, yz, xz) > 0


@pytest.mark.parametrize("kind", ["angle", "distance"])
def test_between_layers_of_several_widths_it_is_none(kind):
    # The padding depends on the pair: x must be matched with −x, but z has room for both.
    x = np.array([[1.0], [-1.0], [0.0]])
    z = np.concatenate([x, -x], axis=1) / math.sqrt(2)
    apart, *halves = (float(repscope.permutation_procrustes(a, b, kind=kind)) for a, b in ((x, -x), (x, z), (z, -x)))
    assert apart > sum(halves) + 0.1
    if kind == "angle":
        np.testing.assert_allclose([apart, *halves], [math.pi, math.pi / 4, math.pi / 4], rtol=1e-12)


@pytest.mark.parametrize("exponent", [-2, -10, -20, -30, -40])
def test_permutation_procrustes_keeps_its_digits_near_0(exponent):
    basis = np.linalg.qr(centered(np.random.default_rng(3).normal(size=(40, 2))))[0]
    e = 2.0**exponent
    # tan of the angle between (1, 1) and (1, 1 + e).
    angle = math.atan2(e, 2 + e)
    swapped = (basis * [1.0, 1.0 + e])[:, ::-1]
    np.testing.assert_allclose(repscope.permutation_procrustes(basis, swapped), angle, rtol=1e-9, atol=1e-16)
    distance = repscope.permutation_procrustes(3 * basis, 3 * swapped, kind="distance")
    np.testing.assert_allclose(distance, 3 * e, rtol=1e-4, atol=1e-15)


def test_more_units_than_can_be_matched_are_refused(monkeypatch):
    x, y = pair(30, 4, 6)
    monkeypatch.setattr(matching, "MOST_UNITS", 5)
    for name in ("permutation_procrustes", "correlation_matching", "soft_matching"):
        words = f"{name}: x and y must have at most 5 units to be matched, got 4 and 6. Draw some of them"
        with pytest.raises(InputError, match=words):
            repscope.score(name, x, y)
        assert repscope.score(name, x, y[:, :5]) > 0
    assert repscope.correlation_matching(x, y, assignment="soft") > 0


@pytest.mark.parametrize(
    ("name", "widths", "package", "missing"),
    [
        ("permutation_procrustes", (4, 6), "scipy.optimize", "permutation_procrustes needs the package 'scipy'"),
        ("correlation_matching", (4, 6), "scipy.optimize", "correlation_matching needs the package 'scipy'"),
        ("soft_matching", (4, 4), "scipy.optimize", "soft_matching needs the package 'scipy'"),
        ("soft_matching", (4, 6), "ot", "soft_matching between layers of different widths needs the package 'POT'"),
        ("soft_matching(mass=0.5)", (4, 4), "ot.partial", "soft_matching of a part of the units needs the package"),
    ],
)
def test_what_solves_them_may_be_missing(name, widths, package, missing, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=re.escape(missing) + ".*repscope\\[measures\\]"):
        repscope.score(name.split("(")[0], *pair(30, *widths), **({"mass": 0.5} if "mass" in name else {}))


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("seed", range(3))
def test_a_part_of_equal_layers_is_the_best_matching_of_so_many_units(count, seed):
    x, y = (centered(z) for z in pair(20, 4, 4, seed=seed))
    squared = np.array([[np.sum((a - b) ** 2) for b in y.T] for a in x.T])
    r = np.corrcoef(x.T, y.T)[:4, 4:]
    chosen = [
        (rows, columns)
        for rows in itertools.combinations(range(4), count)
        for columns in itertools.permutations(range(4), count)
    ]
    least, most = min(np.mean(squared[c]) for c in chosen), max(np.mean(r[c]) for c in chosen)
    np.testing.assert_allclose(repscope.soft_matching(x, y, mass=count / 4), math.sqrt(least), rtol=1e-9)
    np.testing.assert_allclose(repscope.soft_matching(x, y, mass=count / 4, kind="correlation"), most, rtol=1e-9)


def test_the_more_units_are_matched_the_worse_they_fit():
    x, y = pair(20, 5, 7)
    shares = np.linspace(0.05, 1.0, 20)
    for kind, sign in (("distance", 1), ("correlation", -1)):
        values = [sign * float(repscope.soft_matching(x, y, kind=kind, mass=share)) for share in shares]
        assert np.all(np.diff(values) >= -1e-12)
        np.testing.assert_allclose(values[-1], sign * repscope.soft_matching(x, y, kind=kind), rtol=1e-9)


def test_units_without_a_counterpart_are_left_out():
    x, rest = pair(20, 4, 4)
    y = np.concatenate([x[:, ::-1], rest], axis=1)  # half of the units of y are those of x
    assert repscope.soft_matching(x, y) > 0.5
    assert repscope.soft_matching(x, y, mass=0.5) < 1e-12
    np.testing.assert_allclose(repscope.soft_matching(x, y, mass=0.5, kind="correlation"), 1.0, rtol=1e-12)
    assert repscope.soft_matching(x, y, mass=0.55) > 0.1
    dead = np.concatenate([x[:, :1], np.zeros((20, 3))], axis=1)
    np.testing.assert_allclose(repscope.soft_matching(dead, x, mass=0.25, kind="correlation"), 1.0, rtol=1e-12)
    for share in (0.3, 1.0):
        np.testing.assert_allclose(repscope.soft_matching(x[:, :1], 2 * x[:, :1], mass=share, kind="correlation"), 1.0)


def test_a_part_is_no_metric_and_declared_so():
    # Half of y is x, and half of it z, which have nothing in common.
    basis = np.linalg.qr(centered(np.random.default_rng(3).normal(size=(20, 2))))[0]
    x, y, z = basis[:, :1], basis, basis[:, 1:]
    part = configure("soft_matching", mass=0.5)
    assert not part.facts.metric
    assert part(x, y) + part(y, z) < 1e-7
    np.testing.assert_allclose(part(x, z), math.sqrt(2), rtol=1e-9)


@pytest.mark.parametrize("mass", [0, -0.5, 1.01, float("nan"), True, "half"])
def test_what_is_no_share_of_the_units(mass):
    words = f"soft_matching: mass must be a share of the units above 0, at most 1, got {mass!r}"
    with pytest.raises(InputError, match=re.escape(words)):
        repscope.soft_matching(*pair(20, 4, 6), mass=mass)


@pytest.mark.parametrize("sizes", [(20, 3, 3), (20, 2, 5), (20, 5, 2), (6, 1, 5)], ids=str)
def test_no_one_to_one_matching_correlates_more(sizes):
    x, y = pair(*sizes)
    p, q = sorted(sizes[1:])
    r = np.corrcoef(x.T, y.T)[: x.shape[1], x.shape[1] :]
    r = r if x.shape[1] <= y.shape[1] else r.T
    best = max(np.mean([r[i, j] for i, j in enumerate(columns)]) for columns in all_matchings(p, q))
    np.testing.assert_allclose(repscope.correlation_matching(x, y), best, rtol=1e-12)
    assert repscope.correlation_matching(x, y, assignment="soft") >= (best + r.max(axis=0).mean()) / 2 - 1e-12


def test_the_sign_of_a_correlation_counts():
    x, _ = pair(30, 4, 1)
    assert repscope.correlation_matching(x, -x) < 0.5
    for assignment in ("hard", "soft"):
        np.testing.assert_allclose(
            repscope.correlation_matching(x, x[:, ::-1] * [1.0, 2.0, 3.0, 4.0] + 5, assignment=assignment), 1.0
        )


@pytest.mark.parametrize("p", [1, 4, 12])
def test_between_equal_widths_soft_matching_is_a_permutation(p):
    x, y = pair(20, p, p)
    np.testing.assert_allclose(
        repscope.soft_matching(x, y),
        repscope.permutation_procrustes(x, y, kind="distance") / math.sqrt(p),
        rtol=1e-12,
    )
    np.testing.assert_allclose(
        repscope.soft_matching(x, y, kind="correlation"), repscope.correlation_matching(x, y), rtol=1e-12
    )


@pytest.mark.parametrize("sizes", [(20, 2, 3), (20, 4, 6), (20, 1, 5), (6, 5, 7)], ids=str)
def test_between_others_it_is_a_permutation_of_copies(sizes):
    # q copies of every unit of x and p of every unit of y have one mass, and one number.
    x, y = pair(*sizes)
    _, p, q = sizes
    copies_x, copies_y = np.repeat(x, q, axis=1), np.repeat(y, p, axis=1)
    np.testing.assert_allclose(
        repscope.soft_matching(x, y),
        repscope.permutation_procrustes(copies_x, copies_y, kind="distance") / math.sqrt(p * q),
        rtol=1e-9,
    )
    np.testing.assert_allclose(
        repscope.soft_matching(x, y, kind="correlation"), repscope.correlation_matching(copies_x, copies_y), rtol=1e-9
    )


def test_soft_matching_counts_units_in_proportion():
    x, y = pair(20, 4, 3)
    for kind in ("distance", "correlation"):
        np.testing.assert_allclose(
            repscope.soft_matching(np.tile(x, (1, 3)), y, kind=kind), repscope.soft_matching(x, y, kind=kind), rtol=1e-9
        )
    assert repscope.soft_matching(x, np.tile(x, (1, 3))) < 1e-14
    assert repscope.soft_matching(x, x[:, [0, 0, 1, 2, 3]]) > 0.1


def test_soft_matching_of_normalised_units_is_one_number_in_two_forms():
    x, y = (centered(z) / np.linalg.norm(centered(z), axis=0) for z in pair(20, 4, 7))
    correlation = float(repscope.soft_matching(x, y, kind="correlation"))
    np.testing.assert_allclose(1 - repscope.soft_matching(x, y) ** 2 / 2, correlation, rtol=1e-12)


def test_layers_of_very_different_scale():
    x, y = pair(20, 4, 6)
    expected = math.sqrt(np.mean(np.sum(centered(y) ** 2, axis=0)))  # x is at 0
    for small in (1e-200, 0.0):
        np.testing.assert_allclose(repscope.soft_matching(small * x, y), expected, rtol=1e-12)
        np.testing.assert_allclose(repscope.soft_matching(y * 1e200, small * x) / 1e200, expected, rtol=1e-12)


@pytest.mark.parametrize("shape", [(30, 4, 6), (30, 40, 6), (12, 30, 25)], ids=str)
def test_aligned_cosine_weighs_examples_alike_and_procrustes_by_their_lengths(shape):
    # Rows of one length on either side: then the mean cosine is the cosine of the Procrustes angle.
    x, y = (centered(z) for z in pair(*shape))
    for _ in range(200):  # to rows of length 1 with mean 0
        x, y = (centered(z / np.linalg.norm(z, axis=1, keepdims=True)) for z in (x, y))
    np.testing.assert_allclose(np.linalg.norm(x, axis=1), np.linalg.norm(x) / math.sqrt(len(x)), rtol=1e-9)
    np.testing.assert_allclose(repscope.aligned_cosine(x, y), repscope.procrustes(x, y, kind="cosine"), rtol=1e-8)
    stretched = x * np.linspace(1, 9, len(x))[:, None]
    assert abs(repscope.aligned_cosine(stretched, y) - repscope.procrustes(stretched, y, kind="cosine")) > 1e-3
