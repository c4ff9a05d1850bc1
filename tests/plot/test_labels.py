from __future__ import annotations

import pytest

from repscope.plot.labels import common_prefix, shorten_all


@pytest.mark.parametrize(
    ("names", "prefix"),
    [
        (["model.encoder.layer.1.mlp", "model.encoder.layer.11.mlp"], "model.encoder.layer."),
        (["encoder.0", "encoders.0"], ""),
        (["encoder", "encoder.0"], ""),
        (["a.b.c", "a.b.c.d"], "a.b."),
        (["a.b.c"], "a.b."),
        (["conv1", "conv2"], ""),
    ],
)
def test_common_prefix(names, prefix):
    assert common_prefix(names) == prefix


def test_short_names_stay():
    assert shorten_all(["conv1", "a" * 10], 10) == ["conv1", "a" * 10]


def test_long_names_lose_their_middle():
    assert shorten_all(["abcdefghijklmnop", "q"], 7) == ["ab…mnop", "q"]


def test_names_that_differ_in_the_middle_stay_different():
    names = [f"transformer.blocks.{i}.attention.output.dense" for i in range(12)]
    short = shorten_all(names, 24)
    assert len(set(short)) == 12
    assert max(map(len, short)) == 24


def test_names_that_cannot_be_told_apart_are_shortened_all_the_same():
    names = ["x" * 40 + c + "x" * 40 for c in "ab"]
    assert shorten_all(names, 9) == ["xxx…xxxxx"] * 2


@pytest.mark.parametrize(("width", "label"), [(3, "a…9"), (2, "…9"), (1, "…")])
def test_hardly_any_room_leaves_the_end_of_a_name(width, label):
    assert shorten_all(["a long name of model9"], width) == [label]
