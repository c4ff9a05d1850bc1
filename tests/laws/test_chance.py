"""What the catalogue declares that unrelated layers score is what draws of unrelated layers score."""

from __future__ import annotations

import math

import numpy as np
import pytest

from repscope.measures.catalog import configure
from repscope.measures.measure import Chance
from tests.measures.examples import ALL, label

EXTRA = (
    configure("shape_distance", alpha=1.0),
    configure("rsa", rdm="squared_euclidean", compare="corr_cov"),
    configure("rsa", rdm="cosine", compare="rho_a"),
)
DECLARED = [measure for measure in (*ALL, *EXTRA) if measure.facts.chance is not None]
DRAWS = 60


@pytest.mark.parametrize(("n", "p", "q"), [(60, 20, 12), (40, 60, 90)], ids=str)
@pytest.mark.parametrize("measure", DECLARED, ids=label)
@pytest.mark.filterwarnings("ignore::repscope.errors.RankWarning")
def test_unrelated_layers_score_what_is_declared(measure, n, p, q):
    rng = np.random.default_rng([n, p, q])
    chance = measure.facts.chance
    scores = np.array([float(measure(rng.normal(size=(n, p)), rng.normal(size=(n, q)))) for _ in range(DRAWS)])
    if chance.of == "its cosine":
        scores = np.cos(scores)
    level, found = chance.level(n, p, q), scores.mean()
    error = 4 * scores.std() / math.sqrt(DRAWS)
    if chance.at_least:
        assert 0.7 * found <= level <= found + error
    else:
        # Moments of normal features give the forms for CKA up to a share of 1/n.
        assert abs(found - level) <= error + level / n


def test_a_level_says_what_it_is_of():
    assert Chance("1/n", lambda n, p, q: 1 / n).text == "1/n"
    assert Chance("1/n", lambda n, p, q: 1 / n, of="its cosine", at_least=True).text == "at least 1/n (its cosine)"
