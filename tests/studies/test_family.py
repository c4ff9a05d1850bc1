from __future__ import annotations

from collections import namedtuple

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("matplotlib")

from repscope.errors import InputError
from repscope.studies import canonical, family
from repscope.studies.family import pairs_of_networks
from repscope.studies.folder import Folder
from repscope.studies.networks import REPRESENTATION_LAYERS, tiny10
from repscope.studies.reproduce import find_study
from repscope.studies.study import Context

Usage = namedtuple("Usage", "total used free")


@pytest.fixture(scope="module")
def networks():
    return {f"net {seed}": tiny10(1, in_channels=1, seed=seed).eval() for seed in range(3)}


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).standard_normal((150, 1, 10, 10)).astype(np.float32)


def scored(networks, images, path):
    study = find_study("sanity")
    folder = Folder(path, {"study": "sanity"})
    context = Context(study, "tiny", study.settled("tiny", {}), folder, path, progress=False)
    pairs = [("net 0", "net 1"), ("net 0", "net 2"), ("net 1", "net 2")]
    return pairs_of_networks(context, networks, images, pairs)


@pytest.fixture(scope="module")
def whole(networks, images, tmp_path_factory):
    return scored(networks, images, tmp_path_factory.mktemp("whole"))


def same(found, wanted):
    assert found.keys() == wanted.keys()
    for pair, tables in wanted.items():
        for index, table in tables.items():
            np.testing.assert_array_equal(found[pair][index], table, err_msg=index)


@pytest.mark.parametrize(("room", "disk"), [(0.0, 1e12), (2e5, 1e12), (1e12, 0.0)])
def test_room_changes_nothing_and_every_layer_is_decomposed_once(
    networks, images, whole, tmp_path, monkeypatch, room, disk
):
    made, prepare = [], canonical.prepare
    monkeypatch.setattr(canonical, "prepare", lambda x, **options: made.append(1) or prepare(x, **options))
    monkeypatch.setattr(family, "available_memory", lambda: room)
    monkeypatch.setattr(family.shutil, "disk_usage", lambda _: Usage(disk, 0, disk))
    same(scored(networks, images, tmp_path), whole)
    assert len(made) == 3 * len(REPRESENTATION_LAYERS)
    assert not (tmp_path / "bases").exists()


def test_an_interruption_does_no_layer_and_no_pair_of_layers_again(networks, images, whole, tmp_path, monkeypatch):
    made, prepare, scored_pairs, scores = [], canonical.prepare, [], canonical.scores
    monkeypatch.setattr(canonical, "prepare", lambda x, **options: made.append(1) or prepare(x, **options))

    expected = []
    monkeypatch.setattr(family, "WORTH_SAYING", 0.0)
    monkeypatch.setattr(family, "flops_per_second", lambda: 1e6)
    monkeypatch.setattr(family, "duration", lambda seconds: expected.append(seconds) or "")

    def interrupted(x, y):
        if len(scored_pairs) == 103:  # within a row of nine
            raise KeyboardInterrupt
        scored_pairs.append(1)
        return scores(x, y)

    with monkeypatch.context() as patch:
        patch.setattr(canonical, "scores", interrupted)
        with pytest.raises(KeyboardInterrupt):
            scored(networks, images, tmp_path)
    monkeypatch.setattr(canonical, "scores", lambda x, y: scored_pairs.append(1) or scores(x, y))
    same(scored(networks, images, tmp_path), whole)
    assert len(made) == 3 * len(REPRESENTATION_LAYERS)
    assert len(scored_pairs) == 3 * len(REPRESENTATION_LAYERS) ** 2
    assert expected[1] < expected[0] / 2  # 103 of 243 pairs were done, and all layers of two networks decomposed


def test_too_little_room_is_said_before_anything_is_decomposed(networks, images, tmp_path, monkeypatch):
    monkeypatch.setattr(family, "available_memory", lambda: 1e5)
    monkeypatch.setattr(family.shutil, "disk_usage", lambda _: Usage(1e5, 0, 1e5))
    monkeypatch.setattr(canonical, "prepare", lambda *_, **__: pytest.fail("decomposed"))
    with pytest.raises(InputError, match=r"must fit the disk, or half of the free memory, got .* GiB .* Lower the"):
        scored(networks, images, tmp_path)
