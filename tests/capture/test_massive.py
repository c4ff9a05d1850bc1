"""Massive activations: a feature far beyond all others and a first token that all of it goes to, as in large models."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from repscope import compare
from repscope.capture import representations
from tests.capture import language

pytest.importorskip("transformers")

FEATURE = 5
SIZE = 1e3
"""Standard deviations that the feature reaches."""


DATA = [language.ids_of(*np.random.default_rng(seed).integers(3, 12, 40), seed=seed) for seed in range(3)]


class Massive(nn.Module):
    """Adds a huge value to one feature of the residual stream: at the first token of each item, or at every token."""

    def __init__(self, block: nn.Module, size: float, *, everywhere: bool) -> None:
        super().__init__()
        self.block, self.size, self.everywhere = block, size, everywhere

    def forward(self, x: Tensor, *args: Any, **options: Any) -> Tensor:
        x = self.block(x, *args, **options).clone()
        x[:, : None if self.everywhere else 1, FEATURE] += self.size
        return x


def model_with(everywhere: bool, dtype: torch.dtype, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    model = language.gpt2(n_layer=3)
    usual = representations(model, DATA, "h.1", reduce="tokens")["h.1"].std(0).median()
    model.h[1] = Massive(model.h[1], SIZE * float(usual), everywhere=everywhere)
    return model.to(dtype)


@pytest.mark.filterwarnings("ignore::repscope.errors.DiagnosticWarning")
@pytest.mark.parametrize("everywhere", [True, False], ids=["every token", "first token"])
@pytest.mark.parametrize(
    ("measure", "pairs"),
    [("cka", "all"), ("cka", "batch"), ("hsic", "all"), ("hsic", "batch"), ("cca", "auto"), ("procrustes", "auto")],
)
def test_single_precision_agrees_with_double(measure: str, pairs: str, everywhere: bool) -> None:
    options = {"data": DATA, "layers": "residual", "reduce": "tokens", "measure": measure, "pairs": pairs}
    single, double = (
        compare(model_with(everywhere, dtype), model_with(everywhere, dtype, seed=1), **options).values
        for dtype in (torch.float32, torch.float64)
    )
    if measure == "hsic":  # has the units of the activations
        single, double = single / double, np.ones_like(double)
    np.testing.assert_allclose(single, double, atol=1e-3)


@pytest.mark.filterwarnings("ignore::repscope.errors.DiagnosticWarning")  # they are in the result, too
@pytest.mark.parametrize("everywhere", [True, False], ids=["every token", "first token"])
def test_layer_and_feature_are_named(everywhere: bool) -> None:
    model = model_with(everywhere, torch.float32)
    result = compare(model, data=DATA, layers="residual", reduce="tokens", pairs="all")
    text = (
        rf"layer '(h\..)': 1 feature \({FEATURE}\) reaches \d+ times a typical activation \(also in 1 other: '(h\..)'\)"
    )
    found = [match for match in (re.match(text, warning) for warning in result.warnings) if match]
    assert len(found) == 1
    assert sorted(found[0].groups()) == ["h.1", "h.2"]  # which it flows on to
    facts = result.diagnostics["GPT2Model"]
    assert list(facts["h.1"]["massive_features"]) == [FEATURE]
    assert not facts["h.0"]["massive_features"]


@pytest.mark.filterwarnings("ignore::repscope.errors.DegenerateInputWarning")  # the first layers are constant
@pytest.mark.filterwarnings("ignore::repscope.errors.CaptureWarning")  # BERT does not call all of its modules
def test_the_first_token_of_an_untrained_model_has_no_massive_feature() -> None:
    torch.manual_seed(0)
    model = language.bert(num_hidden_layers=3)
    for batch in DATA:
        batch["input_ids"][:, 0] = 1  # the same token, so that the layers hardly vary
    result = compare(model, data=DATA, reduce="first", layers="encoder*", pairs="all")
    facts = result.diagnostics["BertModel"].values()
    assert min(one["largest_activation"] for one in facts if one["largest_activation"] is not None) < 20
    assert not any(one["massive_features"] for one in facts)
    assert not [text for text in result.warnings if "typical activation" in text]
