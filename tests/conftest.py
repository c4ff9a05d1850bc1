"""Shared fixtures: the array libraries that every measure must serve, and repeatable property tests."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import hypothesis
import numpy as np
import pytest

hypothesis.settings.register_profile("repeatable", derandomize=True, max_examples=40, deadline=None, database=None)
hypothesis.settings.load_profile("repeatable")


@dataclass(frozen=True)
class Library:
    """An array library under test.

    Attributes:
        name: For the test's id.
        array: From numpy to the library, dtype kept where the library has it.
        scalar: The type of a 0-dimensional result.
        double: Whether it computes in float64.
    """

    name: str
    array: Callable[[np.ndarray], Any]
    scalar: type
    double: bool = True

    def close(self, actual: Any, expected: float, *, rtol: float = 1e-9, atol: float = 1e-12) -> None:
        """Assert that a result of this library is ``expected``, as far as its precision goes."""
        assert isinstance(actual, self.scalar), f"{type(actual)} is no scalar of {self.name}"
        assert actual.ndim == 0
        slack = {} if self.double else {"rtol": 2e-4, "atol": 2e-4}
        np.testing.assert_allclose(float(actual), expected, **({"rtol": rtol, "atol": atol} | slack))


LIBRARIES = ("numpy", "numpy-readonly", "torch", "jax", "array-api-strict")


def library(name: str) -> Library:
    """The library of this name; skips the test where it is not installed."""
    if name == "numpy":
        return Library(name, np.asarray, np.floating)
    if name == "numpy-readonly":

        def frozen(x: np.ndarray) -> np.ndarray:
            x = np.array(x)
            x.flags.writeable = False
            return x

        return Library(name, frozen, np.floating)
    if name == "torch":
        torch = pytest.importorskip("torch")
        return Library(name, lambda x: torch.from_numpy(np.array(x)), torch.Tensor)
    if name == "jax":  # single precision, as by default
        jax = pytest.importorskip("jax")
        jax.config.update("jax_disable_most_optimizations", True)  # compiling is all that takes time here
        return Library(name, lambda x: jax.numpy.asarray(np.asarray(x, dtype=np.float32)), jax.Array, double=False)
    strict = pytest.importorskip("array_api_strict")
    return Library(name, strict.asarray, strict.asarray(0.0).__class__)


@pytest.fixture(params=LIBRARIES)
def xp(request: pytest.FixtureRequest) -> Library:
    """Each array library in turn."""
    return library(request.param)


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator with a fixed seed."""
    return np.random.default_rng(20190515)


@pytest.fixture(autouse=True)
def _figures_closed() -> Iterator[None]:
    """Close what a test has drawn: where pyplot is loaded, it holds every figure and warns of the twentieth."""
    yield
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None:
        pyplot.close("all")
