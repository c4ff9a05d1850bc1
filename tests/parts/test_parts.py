"""Work that is divided, interrupted or merged gives the numbers of one undisturbed process."""

from __future__ import annotations

import numpy as np
import pytest

import repscope

torch = pytest.importorskip("torch")

from repscope.engine.data_log import DataLog, other_batch  # noqa: E402
from repscope.engine.partial import Partial, Shard, merge  # noqa: E402
from repscope.partials import PartialFile, read_partial  # noqa: E402
from tests.parts.networks import images, network  # noqa: E402

# Few features are added up as moments; memory for a few batches only makes blocks of rows and several passes.
ROUTES = {
    "batch": {"pairs": "batch"},
    "moments": {"pairs": "all", "layers": ["4"]},
    "memory": {"pairs": "all", "kernel": repscope.RBF(0.5)},
    "passes": {"pairs": "all", "memory": "200KB"},
}


BATCH = 20


def settings(route: str) -> dict[str, object]:
    return {"data": images(), "batch_size": BATCH, **ROUTES[route]}


def images_but(batch: int) -> torch.Tensor:
    """The images with one batch of others."""
    changed = images().clone()
    changed[batch * BATCH : (batch + 1) * BATCH] += 1
    return changed


@pytest.fixture
def models():
    return network(0), network(1)


@pytest.mark.parametrize("shards", [1, 2, 3, 20])
@pytest.mark.parametrize("route", ROUTES)
def test_shares_of_the_work_merge_to_the_whole(route, shards, models, tmp_path):
    whole = repscope.compare(*models, **settings(route))
    assert whole.conventions["route"] == route
    paths = [tmp_path / f"{k}.partial" for k in range(shards)]
    for k, path in enumerate(paths):
        repscope.compare_part(*models, shard=(k + 1, shards), path=path, **settings(route))
    merged = repscope.merge(paths[::-1])
    np.testing.assert_allclose(merged.values, whole.values, rtol=0, atol=1e-12)
    assert merged.n == whole.n == 203
    assert merged.row_layers == whole.row_layers
    if route != "batch":  # activations are not in the shares
        assert merged.standard_errors is None
        assert merged.conventions["intervals"].startswith("none: the jackknife needs all activations")
    of_intervals = ("intervals", "replicates")
    assert {k: v for k, v in merged.conventions.items() if k not in of_intervals or route == "batch"} == {
        k: v for k, v in whole.conventions.items() if k not in of_intervals or route == "batch"
    }


class Interrupt(torch.utils.data.Dataset):
    """Raises KeyboardInterrupt at one item, once."""

    def __init__(self, at: int) -> None:
        self.images, self.at = images(), at

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> torch.Tensor:
        if index == self.at:
            self.at = -1
            raise KeyboardInterrupt
        return self.images[index]


@pytest.mark.parametrize(("route", "at"), [("batch", 130), ("moments", 130), ("passes", 199)])
def test_an_interrupted_comparison_goes_on_where_it_was(route, at, models, tmp_path, monkeypatch):
    monkeypatch.setattr("repscope.partials.SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    data, path = Interrupt(at), tmp_path / "sums.partial"
    if route == "passes":  # let the first pass and block of rows go by
        data.at = -1
        passes = iter(range(100))
        original = repscope.sources.ModelSource.stream

        def stream(self, visitor, **limits):
            if next(passes) == 1:
                data.at = at
            original(self, visitor, **limits)

        monkeypatch.setattr("repscope.sources.ModelSource.stream", stream)
    with pytest.raises(KeyboardInterrupt):
        repscope.compare(*models, checkpoint=path, **{**settings(route), "data": data})
    _, partial = read_partial(path)
    assert partial.done > 0
    assert not partial.complete
    data.at = -1
    monkeypatch.undo()
    resumed = repscope.compare(*models, checkpoint=path, **{**settings(route), "data": data})
    whole = repscope.compare(*models, **settings(route))
    np.testing.assert_allclose(resumed.values, whole.values, rtol=0, atol=1e-12)
    assert read_partial(path)[1].complete


def test_a_checkpoint_keeps_its_plan_when_memory_changes(models, tmp_path, monkeypatch):
    path = tmp_path / "sums.partial"
    setting = {**settings("passes"), "memory": None}
    monkeypatch.setattr("repscope.engine.plan.available_memory", lambda: 180 * 1024.0)
    first = repscope.compare(*models, checkpoint=path, **setting)
    monkeypatch.setattr("repscope.engine.plan.available_memory", lambda: 2.0**30)
    again = repscope.compare(*models, checkpoint=path, **setting)
    assert first.conventions["route"] == again.conventions["route"] == "passes"
    np.testing.assert_array_equal(first.values, again.values)


@pytest.fixture
def costly(models, monkeypatch):
    """A comparison of models whose exact value is too expensive, by as much as the machine happens to find."""
    rates = iter(np.geomspace(1e6, 1e3, 10))
    monkeypatch.setattr("repscope.planning.flops_per_second", lambda: next(rates))
    return {"pairs": "auto", "data": images(), "batch_size": BATCH, "memory": "200KB"}


def test_an_estimate_that_was_the_cheaper_choice_is_gone_on_with(models, costly, tmp_path):
    first = repscope.compare(*models, checkpoint=tmp_path / "sums.partial", **costly)
    assert first.conventions["pairs"] == "batch"
    again = repscope.compare(*models, checkpoint=tmp_path / "sums.partial", **costly)
    np.testing.assert_array_equal(first.values, again.values)
    assert first.conventions == again.conventions


def test_shares_do_not_choose_for_themselves(models, costly, tmp_path):
    paths = [tmp_path / f"{k}.partial" for k in (1, 2)]
    for k, path in enumerate(paths, 1):
        repscope.compare_part(*models, shard=(k, 2), path=path, **costly)
    assert repscope.merge(paths).conventions["pairs"] == "all"


def test_a_finished_checkpoint_is_used_as_it_is(models, tmp_path):
    path = tmp_path / "sums.partial"
    first = repscope.compare(*models, checkpoint=path, **settings("batch"))
    again = repscope.compare(*models, checkpoint=path, **settings("batch"))
    np.testing.assert_array_equal(first.values, again.values)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"data": images(203) + 1}, "models or data"),
        ({"estimator": "biased"}, r"estimator \(unbiased, biased\)"),
        ({"layers": ["0", "2"]}, "layers"),
        ({"measure": "hsic"}, r"measure \(cka, hsic\)"),
    ],
)
def test_a_checkpoint_of_other_work_is_refused(change, named, models, tmp_path):
    path = tmp_path / "sums.partial"
    repscope.compare(*models, checkpoint=path, **settings("batch"))
    with pytest.raises(repscope.InputError, match=rf"must be of this comparison, got one with other {named}"):
        repscope.compare(*models, checkpoint=path, **{**settings("batch"), **change})


@pytest.mark.parametrize("route", ROUTES)
def test_a_finished_checkpoint_of_other_data_is_refused_whatever_batch_differs(route, models, tmp_path):
    path = tmp_path / "sums.partial"
    repscope.compare(*models, checkpoint=path, **settings(route))
    with pytest.raises(repscope.InputError, match=r"those of the checkpoint, in the same order, got another batch 3\."):
        repscope.compare(*models, checkpoint=path, **{**settings(route), "data": images_but(3)})


@pytest.mark.parametrize("route", ["batch", "moments"])
def test_an_interrupted_comparison_does_not_go_on_with_other_data(route, models, tmp_path, monkeypatch):
    monkeypatch.setattr("repscope.partials.SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    data, path = Interrupt(130), tmp_path / "sums.partial"
    with pytest.raises(KeyboardInterrupt):
        repscope.compare(*models, checkpoint=path, **{**settings(route), "data": data})
    data.images = images_but(1)
    with pytest.raises(repscope.InputError, match=r"those of the checkpoint, in the same order, got another batch 1\."):
        repscope.compare(*models, checkpoint=path, **{**settings(route), "data": data})


def test_networks_with_the_same_weights_are_others_where_they_compute_otherwise(models, tmp_path):
    path = tmp_path / "sums.partial"
    repscope.compare(*models, checkpoint=path, **settings("batch"))
    one = network(0)
    one[next(i for i, module in enumerate(one) if isinstance(module, torch.nn.ReLU))] = torch.nn.Tanh()
    with pytest.raises(repscope.InputError, match="one with other models or data"):
        repscope.compare(one, models[1], checkpoint=path, **settings("batch"))
    with pytest.raises(repscope.InputError, match="one with other models or data"):
        repscope.compare(*models, checkpoint=path, forward=lambda model, x: model(x.abs()), **settings("batch"))


def test_a_checkpoint_of_arrays_knows_every_row(tmp_path):
    rng = np.random.default_rng(0)
    x, y = ({name: rng.standard_normal((1000, 6))} for name in "xy")
    path = tmp_path / "sums.partial"
    first = repscope.compare(x, y, checkpoint=path)
    np.testing.assert_array_equal(repscope.compare(x, y, checkpoint=path).values, first.values)
    x["x"][501] += 1
    with pytest.raises(repscope.InputError, match="one with other models or data"):
        repscope.compare(x, y, checkpoint=path)


def test_shares_of_other_data_do_not_merge(models, tmp_path):
    one, two = tmp_path / "1.partial", tmp_path / "2.partial"
    repscope.compare_part(*models, shard=(1, 2), path=one, **settings("batch"))
    repscope.compare_part(*models, shard=(2, 2), path=two, **{**settings("batch"), "data": images_but(2)})
    with pytest.raises(
        repscope.InputError, match=r"^merge: all partial results must be of the same data, got another batch 2"
    ):
        repscope.merge([one, two])


def test_shares_whose_memory_cuts_other_tiles_do_not_merge(tmp_path):
    rng = np.random.default_rng(0)
    layers = {f"{i}": rng.standard_normal((300, 500)).astype("f4") for i in range(2)}
    paths = [tmp_path / f"{k}.partial" for k in (1, 2)]
    for k, (path, memory) in enumerate(zip(paths, ("1GB", "2MB"), strict=True), 1):
        repscope.compare_part(layers, shard=(k, 2), path=path, memory=memory)
    with pytest.raises(repscope.InputError, match=r"other rows of a tile \(300, 150\) in .*memory= included"):
        repscope.merge(paths)


def test_logs_differ_where_one_ends_before_the_other():
    marks = [f"{k:032x}" for k in range(4)]
    whole, begun, short = (DataLog(marks[:k], [5] * k, all_).arrays() for k, all_ in ((4, True), (2, False), (2, True)))
    assert other_batch(whole, begun) is None
    assert other_batch(begun, short) is None
    assert other_batch(whole, short) == other_batch(short, whole) == 2
    assert other_batch(whole, {}) is None
    found = DataLog()
    found.recall(whole)
    assert (found.marks, found.rows, found.complete, found.recalled) == (marks, [5] * 4, True, True)


def test_a_checkpoint_is_for_sums_only(models, tmp_path):
    with pytest.raises(repscope.InputError, match="checkpoint must be left out but for one measure"):
        repscope.compare(*models, checkpoint=tmp_path / "x", measure="procrustes", data=images())
    with pytest.raises(repscope.InputError, match="measure must be hsic or cka"):
        repscope.compare_part(*models, shard=(1, 2), path=tmp_path / "x", measure="cca", data=images())


def test_a_checkpoint_that_cannot_be_written_is_refused_before_the_work(models, tmp_path, monkeypatch):
    monkeypatch.setattr("repscope.sources.ModelSource.stream", None)
    missing = tmp_path / "missing" / "x"
    with pytest.raises(
        repscope.InputError, match=r"checkpoint: path must lie in an existing folder, got '.*missing/x'"
    ):
        repscope.compare(*models, checkpoint=missing, data=images())
    with pytest.raises(repscope.InputError, match=r"checkpoint: path must lie in an existing folder"):
        repscope.compare_part(*models, shard=(1, 2), path=missing, data=images())
    with pytest.raises(repscope.InputError, match=r"checkpoint: path must be a file name, got the folder"):
        repscope.compare(*models, checkpoint=tmp_path, data=images())


def test_a_checkpoint_of_another_share_is_refused(models, tmp_path):
    path = tmp_path / "sums.partial"
    repscope.compare_part(*models, shard=(1, 2), path=path, **settings("batch"))
    with pytest.raises(repscope.InputError, match="must be of share 2 of 2, got 1 of 2"):
        repscope.compare_part(*models, shard=(2, 2), path=path, **settings("batch"))


def test_merge_names_what_is_missing_doubled_or_foreign(models, tmp_path):
    paths = [tmp_path / f"{k}.partial" for k in range(3)]
    for k, path in enumerate(paths):
        repscope.compare_part(*models, shard=(k + 1, 3), path=path, **settings("batch"))
    with pytest.raises(repscope.InputError, match=r"got shares \[1, 3\], without \[2\]"):
        repscope.merge([paths[0], paths[2]])
    with pytest.raises(repscope.InputError, match=r"twice \[1\]"):
        repscope.merge([paths[0], *paths])
    other = tmp_path / "other.partial"
    repscope.compare_part(*models, shard=(2, 3), path=other, estimator="biased", **settings("batch"))
    with pytest.raises(repscope.InputError, match=r"got other estimator \(unbiased, biased\) in"):
        repscope.merge([paths[0], other, paths[2]])
    with pytest.raises(repscope.InputError, match="at least one partial result"):
        repscope.merge([])
    (tmp_path / "junk").write_bytes(b"junk")
    with pytest.raises(repscope.FileFormatError):
        repscope.merge([tmp_path / "junk"])


def test_other_files_are_named_as_what_they_are_not(models, tmp_path):
    whole, arrays = tmp_path / "whole.npz", tmp_path / "x.npy"
    repscope.compare(*models, **settings("batch")).save(whole)
    np.save(arrays, np.ones(3))
    kind = r"must be a file written by compare with checkpoint= or by compare_part, got another kind of file\."
    for path in (whole, arrays):
        with pytest.raises(repscope.FileFormatError, match=rf"merge: '{path}' {kind} .*repscope.load"):
            repscope.merge([path])
        with pytest.raises(repscope.FileFormatError, match=rf"compare: '{path}' {kind} Name another file as the check"):
            repscope.compare(*models, checkpoint=path, **settings("batch"))
        with pytest.raises(repscope.FileFormatError, match=rf"compare: '{path}' {kind}"):
            PartialFile(path, {}).resume(Shard(0, 1))


def test_merge_refuses_unfinished_shares():
    parts = [Partial("batch", Shard(0, 2), 3, True, {}), Partial("batch", Shard(1, 2), 1, False, {})]
    with pytest.raises(repscope.InputError, match=r"shares \[2\] of 2 are not finished"):
        merge(parts, lambda arrays: None)


def test_a_damaged_partial_file_is_named(tmp_path, models):
    path = tmp_path / "sums.partial"
    repscope.compare(*models, checkpoint=path, **settings("batch"))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(repscope.FileFormatError, match=r"sums\.partial"):
        repscope.compare(*models, checkpoint=path, **settings("batch"))


def test_a_shard_outside_its_count_is_refused():
    with pytest.raises(repscope.InputError, match="index must be from 0 to 1, got 2 of 2"):
        Shard(2, 2)


def test_checkpoints_are_written_some_seconds_apart(tmp_path):
    file = PartialFile(tmp_path / "x", {"a": 1})
    file.checkpoint(lambda: pytest.fail("the state, which takes the longer the more batches there were, was made"))
    assert not file.path.exists()
    file.save(Partial("batch", Shard(), 1, False, {}))
    assert file.path.exists()


def test_the_plan_is_told_without_computing(models):
    plan = repscope.plan_comparison(*models, **settings("passes"))
    assert plan.route == "passes"
    assert f"passes   {plan.passes} over the data" in plan.explain()
    with pytest.raises(repscope.InputError, match="measure must be hsic or cka"):
        repscope.plan_comparison(*models, measure="cca", data=images())
