"""``repscope compare hf:A hf:B --data text:FILE`` from the shell."""

from __future__ import annotations

import json

import numpy as np
import pytest

from repscope import compare
from repscope.capture import TextModel
from repscope.capture.hugging_face import load_pretrained
from repscope.text import TextFile

pytest.importorskip("transformers")

from tests.capture import language

pytestmark = pytest.mark.usefixtures("workplace")


@pytest.fixture
def checkpoints(workplace):
    """Two checkpoints of a run, a model that reads by another tokenizer, and sentences."""
    for name, model, tokenizer in (
        ("step-100", language.gpt2(), language.byte_pairs()),
        ("step-200", language.gpt2(), language.byte_pairs()),
        ("bert", language.bert(), language.word_pieces()),
    ):
        language.saved(workplace / "run" / name, model, tokenizer)
    (workplace / "sentences.txt").write_text("\n".join(language.SENTENCES) + "\n", encoding="utf-8")
    return workplace / "run"


def test_two_checkpoints_of_one_run(checkpoints, repscope):
    words = ["--data", "text:sentences.txt", "--layers", "residual", "--json"]
    done = repscope("compare", f"hf:{checkpoints}/step-100", f"hf:{checkpoints}/step-200/", *words)
    assert done.code == 0, done
    result = json.loads(done.out)
    assert result["row_layers"] == result["column_layers"] == ["h.0", "h.1"]
    assert set(result["row_models"]) == {"step-100"}
    assert set(result["column_models"]) == {"step-200"}
    a, b = (load_pretrained(str(checkpoints / name)) for name in ("step-100", "step-200"))
    expected = compare(a, b, data=TextFile("sentences.txt"), layers="residual")
    np.testing.assert_array_equal(np.array(result["values"]), expected.values)
    assert result["n"] == len(language.SENTENCES)
    assert done.err == ""


def test_two_tokenizers(checkpoints, repscope, fails):
    specs = [f"hf:{checkpoints}/step-100", f"hf:{checkpoints}/bert", "--data", "text:sentences.txt"]
    done = repscope("compare", *specs, "--layers", "residual", "--reduce", "words", "--json")
    assert done.code == 0, done
    assert json.loads(done.out)["n"] == sum(len(sentence.split()) for sentence in language.SENTENCES)
    line = fails("compare", *specs, "--layers", "residual", "--reduce", "tokens")
    assert "got different ones for" in line
    assert "reduce='words'" in line


def test_one_model_by_itself_and_as_a_store(checkpoints, repscope):
    words = [f"hf:{checkpoints}/bert", "--data", "text:sentences.txt", "--layers", "residual", "--layers", "embeddings"]
    done = repscope("compare", *words, "--reduce", "tokens", "--json")
    kept = repscope("capture", *words, "--reduce", "tokens", "-o", "kept")
    assert (done.code, kept.code) == (0, 0), (done, kept)
    stored = repscope("compare", "kept", "--json")
    np.testing.assert_allclose(json.loads(stored.out)["values"], json.loads(done.out)["values"], rtol=1e-6)


def test_stores_of_two_tokenizers(checkpoints, repscope, fails, workplace):
    def capture(name, reduce, text="sentences.txt"):
        words = ["--data", f"text:{text}", "--layers", "residual", "--reduce", reduce, "-o", f"{name}-{reduce}", "-q"]
        return repscope("capture", f"hf:{checkpoints}/{name}", *words)

    for reduce in ("tokens", "words"):
        for name in ("step-100", "step-200", "bert"):
            assert capture(name, reduce).code == 0
    assert repscope("compare", "step-100-tokens", "step-200-tokens", "-q").code == 0
    assert "stores of single tokens must be made by one tokenizer" in fails("compare", "step-100-tokens", "bert-tokens")
    stored = repscope("compare", "step-100-words", "bert-words", "--json")
    specs = [f"hf:{checkpoints}/step-100", f"hf:{checkpoints}/bert", "--data", "text:sentences.txt"]
    direct = repscope("compare", *specs, "--layers", "residual", "--reduce", "words", "--json")
    for key in ("values", "n"):
        np.testing.assert_allclose(json.loads(stored.out)[key], json.loads(direct.out)[key], rtol=1e-6)
    (workplace / "strange.txt").write_text("one \x00 two\nthree\n")
    done = capture("bert", "words", "strange.txt")
    assert done.code == 2
    done = repscope("capture", f"hf:{checkpoints}/bert", "--data", "text:strange.txt", "--reduce", "words", "-o", "new")
    assert "every one of the words must have a token to be stored" in done.err
    assert "got none for '\\x00' in 'one" in done.err


def test_long_sentences_are_cut_only_when_asked(checkpoints, repscope, fails, workplace):
    (workplace / "long.txt").write_text("dog " * 100 + "\nA dog runs.\nsnow\nA tree.\n")
    words = ["compare", f"hf:{checkpoints}/step-100", "--data", "text:long.txt", "--layers", "residual"]
    assert "--truncate" in fails(*words)
    assert repscope(*words, "--truncate", "--quiet").code == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["hf:gone/away", "--data", "text:sentences.txt"], "A must be hf: and a folder that save_pretrained wrote"),
        (["hf:run/bert", "--data", "text:gone.txt"], "path must name an existing file, got 'gone.txt'"),
        (["hf:run/bert", "--data", "text:latin.txt"], "got byte 0xe9 in line 2 at byte 4"),
        (["models.py:first", "--data", "text:sentences.txt"], "must have a tokenizer to run on text"),
        (["a.npz", "--truncate"], "--truncate must be left out for stored arrays"),
    ],
)
def test_what_is_refused(checkpoints, fails, workplace, monkeypatch, words, message):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    (workplace / "latin.txt").write_bytes("one\ncafé\n".encode("latin1"))
    assert message in fails("compare", *words)


def test_text_models_are_found_in_python_too(checkpoints):
    model = load_pretrained(str(checkpoints / "bert"), truncate=True)
    assert isinstance(model, TextModel)
    assert model.truncate
