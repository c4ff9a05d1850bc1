"""Folders that save_pretrained wrote: loading them offline, and refusing what would run code."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from repscope.capture import Capture, TextModel
from repscope.capture.hugging_face import load_pretrained
from repscope.errors import CaptureWarning, FileFormatError, InputError, MissingExtraError
from tests.capture import language
from tests.capture.language import SENTENCES, saved

pytest.importorskip("transformers")


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*args: Any) -> None:
        raise AssertionError("the network was asked for")

    monkeypatch.setattr("socket.socket.connect", no_network)


@pytest.mark.parametrize("kind", ["bert", "gpt2", "llama", "t5"])
def test_a_language_model_comes_with_its_tokenizer(kind: str, tmp_path: Path) -> None:
    model, tokenizer = getattr(language, kind)(), language.byte_pairs()
    loaded = load_pretrained(str(saved(tmp_path / "model", model, tokenizer)))
    assert isinstance(loaded, TextModel)
    assert not loaded.training
    expected = Capture(TextModel(model, tokenizer), "residual").collect(list(SENTENCES))
    got = Capture(loaded, "residual").collect(list(SENTENCES))
    for name, x in expected.items():
        assert torch.equal(got[name], x)


@pytest.mark.parametrize(("kind", "size"), [("vit", 16), ("resnet", 32)])
def test_an_image_model_comes_alone(kind: str, size: int, tmp_path: Path) -> None:
    model, images = getattr(language, kind)(), torch.randn(3, 3, size, size)
    loaded = load_pretrained(str(saved(tmp_path / "model", model)))
    assert type(loaded) is type(model)
    got, expected = (Capture(m, "residual").collect(images) for m in (loaded, model))
    for name, x in expected.items():
        assert torch.equal(got[name], x)


def test_precision_and_further_options(tmp_path: Path) -> None:
    place = str(saved(tmp_path / "model", language.gpt2().to(torch.bfloat16)))
    assert next(load_pretrained(place).parameters()).dtype == torch.bfloat16
    single = load_pretrained(place, options={"dtype": torch.float32, "attn_implementation": "eager"})
    assert next(single.parameters()).dtype == torch.float32
    assert single.config._attn_implementation == "eager"


def test_weights_that_are_missing_are_named(tmp_path: Path) -> None:
    from transformers import BertModel

    model = language.bert()
    place = saved(tmp_path / "model", BertModel(model.config, add_pooling_layer=False))
    with pytest.warns(CaptureWarning, match=r"must hold all weights of a BertModel, .* lacks pooler\.dense\.bias"):
        load_pretrained(str(place))


class Attack:
    """A pickle that would write a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return Path.write_text, (self.file, "executed")


def pickled(folder: Path, content: Any) -> Path:
    """A model with its weights in a pickle, as older checkpoints have them."""
    place = saved(folder, language.gpt2())
    (place / "model.safetensors").unlink()
    torch.save(content, place / "pytorch_model.bin")
    return place


def test_tensors_in_a_pickle_are_read(tmp_path: Path) -> None:
    model = language.gpt2()
    loaded = load_pretrained(str(pickled(tmp_path / "model", model.state_dict())))
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)


def test_a_pickle_never_runs(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    weights: dict[str, Any] = dict(language.gpt2().state_dict())
    place = pickled(tmp_path / "model", {**weights, "wte.weight": Attack(mark)})
    with pytest.raises(FileFormatError, match=r"A must hold whole weights and nothing that runs code, got 'hf:"):
        load_pretrained(str(place))
    assert not mark.exists()
    pickle.loads(pickle.dumps(Attack(mark)))
    assert mark.read_text() == "executed"  # it would have


def test_safetensors_come_before_a_pickle(tmp_path: Path) -> None:
    mark, model = tmp_path / "mark", language.gpt2()
    place = saved(tmp_path / "model", model)
    torch.save({"wte.weight": Attack(mark)}, place / "pytorch_model.bin")
    loaded = load_pretrained(str(place))
    assert torch.equal(loaded.state_dict()["wte.weight"], model.state_dict()["wte.weight"])
    assert not mark.exists()


def test_code_in_the_folder_never_runs(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    place = saved(tmp_path / "model", language.gpt2())
    code = f"import pathlib\npathlib.Path({str(mark)!r}).write_text('executed')\n"
    (place / "modeling_own.py").write_text(code)
    config = json.loads((place / "config.json").read_text())
    config |= {
        "model_type": "own",
        "auto_map": {"AutoConfig": "modeling_own.Config", "AutoModel": "modeling_own.Model"},
    }
    (place / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=r"A must be hf: and a folder that save_pretrained wrote"):
        load_pretrained(str(place))
    assert not mark.exists()


def test_damaged_weights(tmp_path: Path) -> None:
    place = saved(tmp_path / "model", language.gpt2())
    file = place / "model.safetensors"
    file.write_bytes(file.read_bytes()[:500])
    with pytest.raises(FileFormatError, match="must hold whole weights"):
        load_pretrained(str(place))


def test_folders_of_something_else(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"got 'hf:.*' \(.*config"):
        load_pretrained(str(tmp_path), argument="B")


def test_a_name_that_is_not_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match=r"name on the hub that is cached here or can be reached, got 'hf:no/such"):
        load_pretrained("no/such-model")


def test_without_transformers_the_message_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(MissingExtraError, match=r"needs the package 'transformers'.*repscope\[transformers"):
        load_pretrained("gpt2")
