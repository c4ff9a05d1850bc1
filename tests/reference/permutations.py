"""The null distribution of a score, by trying the permutations one after the other."""

from itertools import permutations

import numpy as np


def all_scores(score, x, y):
    """The score of x with every order of the rows of y (n!,)."""
    return np.array([score(x, y[list(order)]) for order in permutations(range(len(y)))])


def drawn_scores(score, x, y, count, rng):
    """The score of x with ``count`` random orders of the rows of y (count,)."""
    return np.array([score(x, y[rng.permutation(len(y))]) for _ in range(count)])


def skewness(values):
    """E (z − E z)³ / sd³ of a whole population."""
    apart = np.asarray(values) - np.mean(values)
    return np.mean(apart**3) / np.mean(apart**2) ** 1.5
