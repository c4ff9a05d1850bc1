"""Functional similarity against loops over examples, its bounds and chance levels, and what it refuses."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

import repscope
from repscope import InputError


def predictions(n=40, classes=4, seed=0):
    """Scores of three networks (n, C), two of them related, and true classes."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(classes, size=n)
    base = 2.0 * np.eye(classes)[truth]
    return [base + scale * rng.normal(size=(n, classes)) for scale in (0.7, 1.5, 4.0)], truth


def softmax(z):
    return np.array([[math.exp(v) / sum(math.exp(w) for w in row) for v in row] for row in z])


def divergence(p, q):
    """Mean Jensen–Shannon divergence in bits, term by term."""
    total = 0.0
    for row_p, row_q in zip(p, q, strict=True):
        for a, b in zip(row_p, row_q, strict=True):
            m = (a + b) / 2
            total += sum(v / 2 * math.log2(v / m) for v in (a, b) if v > 0)
    return total / len(p)


def test_disagreement_counts_examples(xp):
    (x, y, _), _ = predictions()
    first, second = ([max(range(4), key=lambda c, row=row: row[c]) for row in z] for z in (x, y))
    expected = sum(a != b for a, b in zip(first, second, strict=True))
    assert 0 < expected < 40
    xp.close(repscope.disagreement(xp.array(x), xp.array(y)), expected / 40, rtol=1e-6)
    whole = pytest.importorskip("jax.numpy").asarray if xp.name == "jax" else xp.array  # the fixture's are floats
    xp.close(repscope.disagreement(whole(x.argmax(axis=1)), xp.array(y)), expected / 40, rtol=1e-6)


def test_of_equal_scores_the_first_class_counts():
    assert float(repscope.disagreement(np.ones((3, 2)), np.array([0, 0, 1]))) == pytest.approx(1 / 3)


def test_divergence_equals_its_sums(xp):
    (x, y, _), _ = predictions()
    p, q = softmax(x), softmax(y)
    xp.close(repscope.jensen_shannon_divergence(xp.array(p), xp.array(q)), divergence(p, q))
    xp.close(repscope.jensen_shannon_divergence(xp.array(x), xp.array(y), logits=True), divergence(p, q))


def test_divergence_of_certain_and_of_impossible_classes():
    p, q = np.array([[1.0, 0, 0], [0.5, 0.5, 0]]), np.array([[0.0, 1, 0], [0.5, 0.5, 0]])
    np.testing.assert_allclose(repscope.jensen_shannon_divergence(p, q), 0.5, rtol=1e-15)
    assert float(repscope.jensen_shannon_divergence(p, p)) == 0.0
    far = np.array([[1000.0, -1000.0]])
    np.testing.assert_allclose(repscope.jensen_shannon_divergence(far, -far, logits=True), 1.0, rtol=1e-15)


def test_the_root_of_the_divergence_is_a_metric():
    outputs = [softmax(z) for seed in range(4) for z in predictions(seed=seed)[0]]
    d = [[math.sqrt(float(repscope.jensen_shannon_divergence(p, q))) for q in outputs] for p in outputs]
    for i, j, k in itertools.permutations(range(len(outputs)), 3):
        assert d[i][k] <= d[i][j] + d[j][k] + 1e-9


def test_divergence_agrees_with_scipy():
    jensenshannon = pytest.importorskip("scipy.spatial.distance").jensenshannon
    (x, y, _), _ = predictions()
    p, q = softmax(x), softmax(y)
    np.testing.assert_allclose(
        repscope.jensen_shannon_divergence(p, q), np.mean(jensenshannon(p, q, base=2, axis=1) ** 2), rtol=1e-9
    )


def test_probabilities_in_half_precision_are_taken_for_such():
    torch = pytest.importorskip("torch")
    (x, y, _), _ = predictions(classes=1000)
    p, q = (torch.from_numpy(softmax(z)).half() for z in (x, y))
    exact = divergence(softmax(x), softmax(y))
    np.testing.assert_allclose(float(repscope.jensen_shannon_divergence(p, q)), exact, rtol=1e-2)


def test_accuracies_bound_the_disagreement(xp):
    (x, y, z), truth = predictions()
    for a, b in itertools.combinations((x, y, z), 2):
        errors = [np.mean(s.argmax(axis=1) != truth) for s in (a, b)]
        difference = repscope.accuracy_difference(xp.array(a), xp.array(b), truth)
        xp.close(difference, abs(errors[0] - errors[1]), rtol=1e-6)
        assert float(difference) <= float(repscope.disagreement(a, b)) + 1e-6 <= sum(errors) + 2e-6


def test_chance_level_of_the_disagreement_over_all_pairings():
    rng = np.random.default_rng(0)
    x, y = rng.integers(3, size=6), rng.integers(3, size=6)
    scores = [float(repscope.disagreement(x, y[list(order)])) for order in itertools.permutations(range(6))]
    result = repscope.compare_predictions({"x": x, "y": y})
    np.testing.assert_allclose(result.null_mean[0, 1], np.mean(scores), rtol=1e-12)
    np.testing.assert_allclose(result.null_sd[0, 1], np.std(scores), rtol=1e-12)


def test_what_is_corrected_for_chance_is_cohens_kappa():
    (x, y, z), _ = predictions()
    result = repscope.compare_predictions({"x": x, "y": y, "z": z})
    table = np.zeros((4, 4))
    for a, b in zip(x.argmax(axis=1), z.argmax(axis=1), strict=True):
        table[a, b] += 1 / 40
    agreed, expected = np.trace(table), table.sum(axis=0) @ table.sum(axis=1)
    np.testing.assert_allclose(result.chance_corrected()[0, 2], (agreed - expected) / (1 - expected), rtol=1e-12)


def test_a_comparison_of_networks_that_can_be_kept(tmp_path):
    (x, y, z), truth = predictions()
    outputs = {"x": x, "y": y, "z": z}
    for measure, options in (
        ("disagreement", {}),
        ("jensen_shannon_divergence", {"logits": True}),
        ("accuracy_difference", {"labels": truth}),
    ):
        result = repscope.compare_predictions(outputs, measure=measure, **options)
        function = getattr(repscope, measure)
        for (i, a), (j, b) in itertools.product(enumerate(outputs.values()), repeat=2):
            np.testing.assert_allclose(result.values[i, j], function(a, b, **options), atol=1e-15)
        assert (result.models, result.kind, result.n) == (("x", "y", "z"), "distance", 40)
        result.save(tmp_path / measure)
        assert repscope.load(tmp_path / measure).equals(result)
        assert (result.null_mean is None) == (measure != "disagreement")


X, Y = predictions()[0][:2]
L = predictions()[1]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: repscope.disagreement(X, Y[:20]), "disagreement: x and y must have the same number of rows"),
        (
            lambda: repscope.disagreement(X[:, 0], Y),
            r"disagreement: x must be classes \(n,\) as whole numbers or scores \(n, C\), got dtype float64 of shape",
        ),
        (
            lambda: repscope.disagreement(X, Y[:, :3]),
            r"disagreement: x and y must have the same two or more classes as columns, got \(40, 4\) and \(40, 3\)",
        ),
        (lambda: repscope.disagreement(X[:, :1], Y[:, :1]), "must have the same two or more classes"),
        (lambda: repscope.disagreement(X.tolist(), Y), "disagreement: x must be an array"),
        (lambda: repscope.disagreement(X * np.nan, Y), "disagreement: x must be finite, got nan"),
        (
            lambda: repscope.jensen_shannon_divergence(X, Y),
            "jensen_shannon_divergence: x must be probabilities, not negative and 1 in each row, got a row of sum .* "
            "in row 0. Give logits=True",
        ),
        (lambda: repscope.jensen_shannon_divergence(softmax(X), 2 * softmax(Y)), "y must be probabilities"),
        (lambda: repscope.jensen_shannon_divergence(L, L), "jensen_shannon_divergence: x must be a matrix"),
        (
            lambda: repscope.accuracy_difference(X, Y, L[:20]),
            r"accuracy_difference: labels must be the true classes \(40,\) of 40 examples, got shape \(20,\)",
        ),
        (
            lambda: repscope.accuracy_difference(X, Y, X),
            r"labels must be the true classes \(40,\).*got shape \(40, 4\)",
        ),
        (lambda: repscope.accuracy_difference(X, Y, L.tolist()), "accuracy_difference: labels must be an array"),
        (
            lambda: repscope.compare_predictions({"x": X}, measure="agreement"),
            "compare_predictions: measure must be one of .* Did you mean 'disagreement'",
        ),
        (lambda: repscope.compare_predictions({}), "predictions must be a mapping .* got dict without entries"),
        (lambda: repscope.compare_predictions([X, Y]), "predictions must be a mapping .* got list"),
        (
            lambda: repscope.compare_predictions({"x": X}, measure="accuracy_difference"),
            "labels must be given for measure='accuracy_difference'",
        ),
        (lambda: repscope.compare_predictions({"x": X}, labels=L), "labels must be left out but for measure='acc"),
    ],
)
def test_what_is_refused(call, words):
    with pytest.raises(InputError, match=words):
        call()
