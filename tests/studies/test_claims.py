from __future__ import annotations

import json
import math

import pytest

from repscope.studies.claims import FAILS, HOLDS, UNTESTED, Check, Claim, count_verdicts, figure, percent


@pytest.mark.parametrize(
    ("relation", "value", "holds"),
    [("≥", 1.0, True), ("≥", 0.9, False), ("≤", 1.0, True), ("≤", 1.1, False), (">", 1.0, False), (">", 1.1, True),
     ("<", 1.0, False), ("<", 0.9, True)],
)  # fmt: skip
def test_a_check_compares(relation, value, holds):
    assert Check("it", value, relation, 1.0).holds is holds


@pytest.mark.parametrize("relation", ["≥", "≤", ">", "<"])
def test_what_is_undefined_fulfils_nothing(relation):
    assert not Check("it", math.nan, relation, 1.0).holds
    assert not Check("it", 1.0, relation, math.nan).holds


def test_a_claim_holds_if_all_checks_do():
    good, bad = Check("a", 2, ">", 1), Check("b", 0, ">", 1)
    assert Claim("c", "§1", (good,)).verdict == HOLDS
    assert Claim("c", "§1", (good, bad)).verdict == FAILS
    assert Claim("c", "§1", (good, bad), untested="too few").verdict == UNTESTED
    assert Claim("c", "§1").verdict == UNTESTED
    claims = [Claim("c", "§1", (good,)), Claim("c", "§1", (bad,)), Claim("c", "§1", (good,))]
    assert count_verdicts(claims) == {HOLDS: 2, FAILS: 1, UNTESTED: 0}


def test_the_evidence_shows_both_sides_and_the_papers():
    claim = Claim("c", "§1", (Check("CKA", 0.5, "≥", 0.25, "regression", 0.993),), untested="too few")
    assert claim.evidence == "too few — CKA 0.500 (paper: 0.993) ≥ regression 0.250"


def test_a_claim_is_strict_json():
    claim = Claim("c", "§1", (Check("CKA", math.nan, "≥", math.inf),))
    content = json.loads(json.dumps(claim.to_json(), allow_nan=False))
    assert content["verdict"] == FAILS
    assert content["checks"][0]["value"] is None
    assert content["checks"][0]["holds"] is False


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (math.nan, "undefined"), (math.inf, "inf"), (3.0, "3"), (0.1234, "0.123"), (1e-7, "1.0e-07"),
     (123.456, "123.5"), (5e7, "5.0e+07"), (0, "0")],
)  # fmt: skip
def test_figures_are_as_long_as_they_need_to_be(value, text):
    assert figure(value) == text


def test_per_cent():
    assert percent(0.9934) == "99.3"
    assert percent(math.nan) == "–"
