"""The study of translators, on numbers in words."""

from __future__ import annotations

import json

import numpy as np
import pytest

import repscope
from repscope.compare import representations
from repscope.errors import InputError, MissingExtraError
from repscope.studies import translations
from repscope.studies.claims import HOLDS, UNTESTED
from repscope.studies.experiments import transformer
from repscope.studies.reproduce import reproduce
from repscope.studies.tablef1 import INDEXES, TAPS
from repscope.studies.vocabulary import SubWords, Words


def test_number_words_test_the_identities_only(workshop):
    verdicts = {claim.text: claim.verdict for claim in workshop.run("transformer").findings.claims}
    assert verdicts.pop("CCA is the same before and after the channel-wise scale") == HOLDS
    assert set(verdicts.values()) == {UNTESTED}
    untested = [claim.untested for claim in workshop.run("transformer").findings.claims if claim.verdict == UNTESTED]
    assert set(untested) == {"number words stand in for the paper's text"}


def test_every_index_is_identified_at_every_tap_and_stands_beside_the_papers(workshop):
    outcome = workshop.run("transformer")
    numbers = json.loads((outcome.folder / "numbers.json").read_text(encoding="utf-8"))["numbers"]
    assert list(numbers["accuracy of identification"]) == list(TAPS)
    for tap in TAPS:
        found = numbers["accuracy of identification"][tap]
        assert list(found) == [index.id for index in INDEXES]
        assert all(0 <= one["accuracy"] <= 1 for one in found.values())
        assert any(one["among_best"] for one in found.values())
    table = outcome.findings.tables[0]
    assert table.rows[0][:2] == ["CCA (ρ̄)", "85.3"]
    assert table.rows[-2][0] == "CKA (RBF 0.8)"
    assert table.rows[-2][1] == "80.8"
    assert table.rows[-2][3] == "95.8*"
    assert {len(row) for row in table.rows} == {9}


def test_tokens_are_examples_without_padding_and_ends(workshop):
    outcome = workshop.run("transformer")
    kept = repscope.load(outcome.folder / "comparisons" / "residual-cka-linear.npz")
    assert kept.values.shape == (36, 36)
    assert kept.row_layers[:2] == ("encoder.attention1.residual", "encoder.ffn1.residual")
    from repscope.studies.text import load_text

    text = load_text("numbers")
    tokens = sum(len(source) - 1 for source, _ in text.tokens(text.judged[:30]))
    assert outcome.findings.numbers["tokens compared"] == tokens
    assert kept.conventions["reduce"] == "tokens"


def test_the_family_is_that_of_the_measures(workshop):
    """The CCA family through the folder of bases gives what the measures give on the same activations."""
    from repscope.studies.text import load_text
    from repscope.studies.translating import token_batches
    from repscope.studies.zoo import load

    outcome = workshop.run("transformer")
    first, second = (load(workshop.networks / net["file"]).model.double() for net in outcome.record["networks"][:2])
    text = load_text("numbers")
    batches = list(token_batches([source for source, _ in text.tokens(text.judged[:30])]))
    layers = ["encoder.attention2.scale", "encoder.ffn3.scale"]
    x, y = (
        representations(model, batches, layers, reduce="tokens", forward=transformer._encode)
        for model in (first, second)
    )
    part = json.loads(
        (outcome.folder / "parts" / f"cca-family-net-0-net-1-{layers[0]}.json").read_text(encoding="utf-8")
    )
    for index, expected in {
        "cca-r2": repscope.cca(x[layers[0]], y[layers[1]]),
        "svcca-mean-0.99": repscope.svcca(x[layers[0]], y[layers[1]], summary="mean"),
        "pwcca": repscope.pwcca(x[layers[0]], y[layers[1]]),
        "linear-regression": repscope.linear_regression(x[layers[0]], y[layers[1]]),
    }.items():
        assert part[layers[1]][index][0] == pytest.approx(float(expected), abs=1e-9), index


def test_the_panel_has_the_papers_layout(workshop):
    (picture,) = workshop.run("transformer").findings.pictures
    for figure in (picture.figure, picture.paper):
        titles = [ax.get_title() for ax in figure.axes if ax.images]
        assert len(titles) == 20
        assert titles[:4] == [f"CCA (R²), {tap}" for tap in ("Layer Norm", "Scale", "Attention/FFN", "Residual")]
        assert [title.rpartition(", ")[0] for title in titles[::4]] == [
            "CCA (R²)",
            "SVCCA (R²)",
            "Linear regression",
            "CKA (linear)",
            "CKA (RBF 0.4)",
        ]
    values = [ax.images[0].get_array() for ax in picture.figure.axes if ax.images]
    np.testing.assert_allclose(values[0], values[1], atol=1e-9)


def test_the_page_shows_taps_and_translations(workshop):
    page = workshop.run("transformer").page.read_text(encoding="utf-8")
    for part in ("| Scale | encoder.attention1.scale |", "## Translations", "test tokens predicted, %", "Checkerboard"):
        assert part in page


def test_two_networks_are_too_few(workshop, tmp_path):
    with pytest.raises(InputError, match="needs three networks or more for the jackknife, got 2"):
        reproduce("transformer", output=tmp_path, changes={"networks": 2}, progress=False)


def test_missing_text_is_named(tmp_path):
    with pytest.raises(InputError, match="Multi30k must be read from files"):
        reproduce("transformer", scale="small", output=tmp_path, progress=False)


class _Text:
    def __init__(self, vocabulary):
        self.vocabulary = vocabulary


def test_bleu_is_sacrebleus_and_number_words_have_none(monkeypatch):
    pytest.importorskip("tokenizers")
    sacrebleu = pytest.importorskip("sacrebleu")
    found = ["Ein Mann mit einem roten Hut sitzt.", "Zwei Hunde spielen im Schnee."]
    wanted = ["Ein Mann mit einem roten Hut steht.", "Zwei Hunde spielen im Garten."]
    text = _Text(SubWords.learned(wanted, 260))
    result = translations.bleu(found, wanted, text)
    assert result["bleu"] == pytest.approx(sacrebleu.corpus_bleu(found, [wanted]).score)
    assert "tok:13a" in result["signature"]
    assert np.isnan(translations.bleu(found, wanted, _Text(Words(("ein",))))["bleu"])
    monkeypatch.setitem(__import__("sys").modules, "sacrebleu.metrics.bleu", None)
    with pytest.raises(MissingExtraError, match=r"package 'sacrebleu'.*repscope\[text\]"):
        translations.bleu(found, wanted, text)
