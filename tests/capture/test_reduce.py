from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from repscope.capture.reduce import REDUCTIONS, check_rule, reduce_activation, rule_for
from repscope.capture.tokens import Tokens
from repscope.errors import CaptureError, InputError

MAPS = torch.arange(2 * 3 * 4 * 5, dtype=torch.float32).reshape(2, 3, 4, 5)
TOKENS = torch.arange(3 * 4 * 2, dtype=torch.float32).reshape(3, 4, 2)
RIGHT = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1], [1, 0, 0, 0]], dtype=torch.bool)
LEFT = RIGHT.flip(1)


def reduce(x: Tensor, how: Any, mask: Tensor | None = None, features_last: bool | None = None) -> np.ndarray:
    last = x.ndim == 3 if features_last is None else features_last
    return reduce_activation(x, how, tokens=Tokens(mask), features_last=last, layer="block.act").numpy()


@pytest.mark.parametrize("how", REDUCTIONS)
def test_vectors_stay_as_they_are(how: str) -> None:
    np.testing.assert_array_equal(reduce(torch.arange(6.0).reshape(3, 2), how), [[0, 1], [2, 3], [4, 5]])
    np.testing.assert_array_equal(reduce(torch.arange(3.0), how), [[0], [1], [2]])


@pytest.mark.parametrize("how", ["auto", "flatten"])
def test_maps_are_flattened_item_by_item(how: str) -> None:
    np.testing.assert_array_equal(reduce(MAPS, how), MAPS.numpy().reshape(2, -1))
    np.testing.assert_array_equal(reduce(MAPS[:, :, None], how), MAPS.numpy().reshape(2, -1))


def test_mean_of_maps() -> None:
    expected = [[MAPS[i, c].mean().item() for c in range(3)] for i in range(2)]
    np.testing.assert_allclose(reduce(MAPS, "mean"), expected)
    np.testing.assert_allclose(reduce(MAPS[:, :, None], "mean"), expected)  # volumes


def test_positions_keep_every_pixel_in_the_order_of_the_items() -> None:
    expected = [MAPS[i, :, h, w].tolist() for i in range(2) for h in range(4) for w in range(5)]
    np.testing.assert_array_equal(reduce(MAPS, "positions"), expected)


def test_maps_with_features_last() -> None:
    last = MAPS.movedim(1, -1)
    for how in ("mean", "positions"):
        np.testing.assert_allclose(reduce(last, how, features_last=True), reduce(MAPS, how))
    sequences = MAPS[:, :, 0]  # (items, channels, length), as after a Conv1d
    np.testing.assert_allclose(reduce(sequences, "mean", features_last=False), sequences.mean(2).numpy())
    np.testing.assert_allclose(
        reduce(sequences, "positions", features_last=False), sequences.movedim(1, 2).reshape(-1, 3).numpy()
    )


def test_maps_ignore_the_mask() -> None:
    sequences = MAPS[:, :, 0]
    np.testing.assert_array_equal(
        reduce(sequences, "auto", torch.ones(2, 9, dtype=torch.bool), features_last=False), sequences.flatten(1).numpy()
    )


@pytest.mark.parametrize("mask", [RIGHT, LEFT])
@pytest.mark.parametrize("how", ["auto", "mean"])
def test_masked_mean(mask: Tensor, how: str) -> None:
    expected = [np.mean([TOKENS[i, t].numpy() for t in range(4) if mask[i, t]], axis=0) for i in range(3)]
    np.testing.assert_allclose(reduce(TOKENS, how, mask), expected)


def test_masked_mean_never_looks_at_padding() -> None:
    dirty = TOKENS.masked_fill(~RIGHT[..., None], float("nan"))
    np.testing.assert_array_equal(reduce(dirty, "mean", RIGHT), reduce(TOKENS, "mean", RIGHT))


def test_masked_mean_in_half_precision_sums_in_float32() -> None:
    x = torch.full((1, 300, 1), 300.0, dtype=torch.float16)  # the sum, 90000, is beyond float16
    mean = reduce_activation(
        x, "mean", tokens=Tokens(torch.ones(1, 300, dtype=torch.bool)), features_last=True, layer="a"
    )
    assert mean.dtype == torch.float16
    assert mean.item() == 300


def test_tokens_without_mask() -> None:
    np.testing.assert_array_equal(reduce(TOKENS, "auto"), TOKENS.reshape(3, 8).numpy())
    np.testing.assert_allclose(reduce(TOKENS, "mean"), TOKENS.numpy().mean(1))
    np.testing.assert_array_equal(reduce(TOKENS, "tokens"), TOKENS.reshape(12, 2).numpy())
    np.testing.assert_array_equal(reduce(TOKENS, "first"), TOKENS[:, 0].numpy())
    np.testing.assert_array_equal(reduce(TOKENS, "last"), TOKENS[:, -1].numpy())


def test_flatten_keeps_padding() -> None:
    np.testing.assert_array_equal(reduce(TOKENS, "flatten", RIGHT), TOKENS.reshape(3, 8).numpy())


@pytest.mark.parametrize("how", ["tokens", "positions"])
def test_every_real_token_is_an_example(how: str) -> None:
    expected = [TOKENS[i, t].tolist() for i in range(3) for t in range(4) if LEFT[i, t]]
    np.testing.assert_array_equal(reduce(TOKENS, how, LEFT), expected)


@pytest.mark.parametrize(
    ("mask", "first", "last"), [(RIGHT, [0, 0, 0], [1, 3, 0]), (LEFT, [2, 0, 3], [3, 3, 3])], ids=["right", "left"]
)
def test_first_and_last_token_with_padding(mask: Tensor, first: list[int], last: list[int]) -> None:
    np.testing.assert_array_equal(reduce(TOKENS, "first", mask), TOKENS[range(3), first].numpy())
    np.testing.assert_array_equal(reduce(TOKENS, "last", mask), TOKENS[range(3), last].numpy())


@pytest.mark.parametrize("how", ["tokens", "first", "last"])
def test_token_reductions_refuse_maps(how: str) -> None:
    with pytest.raises(
        CaptureError, match=rf"reduce='{how}' must be used on tokens .*got shape \(2, 3, 4, 5\) at layer"
    ):
        reduce(MAPS, how)


def test_mask_must_fit_the_tokens() -> None:
    message = (
        r"attention_mask must have the shape \(items, tokens\) of layer 'block.act', got \(3, 4\) for an activation of "
        r"shape \(3, 5, 2\)\..*reduce=\{'block.\*': 'flatten'\}"
    )
    with pytest.raises(CaptureError, match=message):
        reduce(torch.zeros(3, 5, 2), "auto", RIGHT)


def test_function_sees_activation_and_mask() -> None:
    def largest(x: Tensor, mask: Tensor | None) -> Tensor:
        assert mask is not None
        return x.masked_fill(~mask[..., None], -1).amax(1)

    np.testing.assert_array_equal(reduce(TOKENS, largest, RIGHT), [[2, 3], [14, 15], [16, 17]])


@pytest.mark.parametrize(
    ("wrong", "got"),
    [
        (lambda x, mask: x, r"torch.float32 \(3, 4, 2\)"),
        (lambda x, mask: x.sum((1, 2)), r"torch.float32 \(3,\)"),
        (lambda x, mask: x.long().flatten(1), r"torch.int64 \(3, 8\)"),
        (lambda x, mask: x.numpy(), "ndarray"),
    ],
)
def test_function_must_return_a_matrix(wrong: Any, got: str) -> None:
    with pytest.raises(CaptureError, match=rf"must return a floating-point tensor \(examples, features\), got {got}"):
        reduce(TOKENS, wrong)


def test_rules_by_layer() -> None:
    rule = {"layer?": "mean", "relu#1": "first", "relu": "last", "*.fc": "flatten"}
    assert check_rule(rule, ("layer1", "relu", "head.fc")) is rule
    assert rule_for(rule, "layer1") == "mean"
    assert rule_for(rule, "relu#1") == "first"
    assert rule_for(rule, "relu#0") == "last"
    assert rule_for(rule, "other") == "auto"
    assert rule_for("mean", "other") == "mean"


def test_unknown_rules() -> None:
    with pytest.raises(InputError, match=r"reduce must be one of auto, flatten.*got 'avg'"):
        check_rule("avg", ("a",))
    with pytest.raises(InputError, match=r"got 'flaten'\. Did you mean 'flatten'"):
        check_rule({"a": "flaten"}, ("a",))
    with pytest.raises(InputError, match=r"got 'layr1', which matches no layer\. Did you mean 'layer1'"):
        check_rule({"layr1": "mean"}, ("layer1", "fc"))
    with pytest.raises(InputError, match=r"reduce must be one of .*got 3"):
        check_rule(3, ("a",))  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"reduce must be one of .*got \['mean'\]"):
        check_rule(["mean"], ("a",))  # type: ignore[arg-type]
