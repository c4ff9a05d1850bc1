from __future__ import annotations

import math

import pytest

from repscope import RBF, InputError, Laplace, Polynomial
from repscope.cli.arguments import parse_kernel, parse_options, parse_value


@pytest.mark.parametrize(
    ("text", "kernel"),
    [
        ("linear", "linear"),
        ("cosine", "cosine"),
        ("rbf", RBF()),
        ("rbf:0.4", RBF(0.4)),
        ("RBF:0.4", RBF(0.4)),
        ("rbf:sigma=2", RBF(sigma=2)),
        ("rbf:0.4,median=off-diagonal", RBF(0.4, median="off-diagonal")),
        ("laplace:1", Laplace(1)),
        ("polynomial:3", Polynomial(3)),
        ("polynomial:2,0,gamma=0.5", Polynomial(2, constant=0, gamma=0.5)),
    ],
)
def test_kernels_by_name_and_parameters(text, kernel):
    assert parse_kernel(text) == kernel


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gauss:1", "--kernel must begin with linear, cosine, rbf, laplace, polynomial, got 'gauss:1'"),
        ("rbf:width=1", "--kernel rbf takes fraction, median, sigma, got 'width=1'"),
        ("rbf:0.4,fraction=1", "takes fraction, median, sigma, got 'fraction=1'"),
        ("rbf:", "takes fraction, median, sigma, got ''"),
        ("polynomial:2,0,1,7", "takes degree, constant, gamma, got '7'"),
        ("linear:2", "--kernel linear takes no parameters, got '2'"),
        ("rbf:wide", "--kernel must have numbers as parameters, got 'rbf:wide'"),
        ("rbf:-1", "RBF: fraction must be positive and finite, got -1"),
    ],
)
def test_kernels_that_are_refused(text, message):
    with pytest.raises(InputError) as refused:
        parse_kernel(text)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [("3", 3), ("0.5", 0.5), ("1e-3", 1e-3), ("inf", math.inf), ("true", True), ("None", None), ("mean", "mean")],
)
def test_values_have_the_types_they_look_like(text, value):
    parsed = parse_value(text)
    assert parsed == value
    assert type(parsed) is type(value)


def test_options_are_keys_and_values():
    assert parse_options(["summary=mean", "kappa_x=inf"]) == {"summary": "mean", "kappa_x": math.inf}


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["summary"], "--option must be key=value, got 'summary'"),
        (["a b=1"], "--option must be key=value, got 'a b=1'"),
        (["kernel=cosine"], "got 'kernel=cosine'. Use --kernel."),
        (["forward=x"], "got 'forward=x'. See: repscope compare --help"),
        (["summary=r2", "summary=mean"], "--option summary must be given once"),
    ],
)
def test_options_that_are_refused(texts, message):
    with pytest.raises(InputError) as refused:
        parse_options(texts)
    assert message in str(refused.value)
