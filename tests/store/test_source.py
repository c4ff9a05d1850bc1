from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from repscope import compare
from repscope.errors import CaptureWarning, FileFormatError, InputError
from repscope.store import Store, open_store
from repscope.store_source import StoreSource
from repscope.subjects import Subject
from tests.store.helpers import capture, flip, images, interrupted, network


class Seen:
    """A visitor that keeps what it is shown."""

    def __init__(self) -> None:
        self.layers: dict[int, list[Any]] = {}
        self.rows: list[slice] = []
        self.largest = 0

    def layer(self, index: int, x: Any) -> None:
        self.layers.setdefault(index, []).append(np.asarray(x))
        self.largest = max(self.largest, len(x))

    def end(self, rows: slice) -> None:
        self.rows.append(rows)

    def joined(self, index: int) -> Any:
        return np.concatenate(self.layers[index])


def subject(store: Store, name: str = "a") -> Subject:
    return Subject(name, store=store, layers=store.names)


def named(*places: int) -> Any:
    """Batches (mappings) of the images with an identifier for each."""
    ids = np.asarray(places)
    return [{"input": images()[ids[i : i + 16]], "id": ids[i : i + 16]} for i in range(0, len(ids), 16)]


def test_all_layers_come_in_lock_step(tmp_path: Path) -> None:
    a = capture(tmp_path / "a")
    b = capture(tmp_path / "b", network(seed=3), layers=["1", "4"])
    source = StoreSource([subject(a), subject(b, "b")])
    assert source.names == ("a: 2", "a: 4", "b: 1", "b: 4")
    assert (source.n, source.widths, source.itemsize, source.batch_size) == (100, (144, 5, 144, 5), 4, 16)
    seen = Seen()
    source.stream(seen)
    assert seen.rows[-1] == slice(80, 100), "a last batch of less than half is joined to the one before"
    assert all(before.stop == after.start for before, after in pairwise(seen.rows))
    for index, (store, name) in enumerate([(a, "2"), (a, "4"), (b, "1"), (b, "4")]):
        np.testing.assert_array_equal(seen.joined(index), store.read(name))


@pytest.mark.parametrize(("start", "stop", "step"), [(0, None, 1), (2, None, 1), (1, 4, 1), (0, None, 3), (5, 99, 2)])
def test_some_batches_of_a_pass(tmp_path: Path, start: int, stop: int | None, step: int) -> None:
    source = StoreSource([subject(capture(tmp_path / "a"))])
    every, some = Seen(), Seen()
    source.stream(every)
    source.stream(some, start=start, stop=stop, step=step)
    assert some.rows == every.rows[start:stop:step]
    for shown, expected in zip(some.layers[0], every.layers[0][start:stop:step], strict=True):
        np.testing.assert_array_equal(shown, expected)


def test_a_look_at_the_store_is_repeatable_and_small(tmp_path: Path) -> None:
    source = StoreSource([subject(capture(tmp_path / "a"))])
    one, two = Seen(), Seen()
    source.peek(one)
    source.peek(two)
    np.testing.assert_array_equal(one.joined(0), two.joined(0))
    assert 8 <= one.largest <= 32
    everything = source._columns[0].read(slice(0, 100))
    places = [int(np.flatnonzero((everything == row).all(1))[0]) for row in one.joined(0)]
    assert min(places) < 16
    assert max(places) >= 80


def test_stores_with_other_batches_are_aligned_by_their_identifiers(tmp_path: Path) -> None:
    ids = list(range(100))

    def keyed(batch_size: int) -> Any:
        return [
            {"input": images()[i : i + batch_size], "id": ids[i : i + batch_size]} for i in range(0, 100, batch_size)
        ]

    a = capture(tmp_path / "a", data=keyed(16))
    b = capture(tmp_path / "b", network(seed=3), data=keyed(30))
    source, seen = StoreSource([subject(a), subject(b, "b")]), Seen()
    assert source.batch_size == 30
    source.stream(seen)
    np.testing.assert_array_equal(seen.joined(0), a.read("2"))
    np.testing.assert_array_equal(seen.joined(3), b.read("4"))


@pytest.mark.parametrize(
    ("places", "message"),
    [
        (
            [*range(97), 98, 97, 99],
            r"2 of 100 sample identifiers that differ between a and b, the first at item 97: 97 a",
        ),
        (
            [*range(99, -1, -1)],
            r"100 of 100 .* first at item 0: 0 and 99\. They are the same in another order\. Capture",
        ),
        ([*range(99), 5], r"1 of 100 sample identifiers .* item 99: 99 and 5\. Capture both from one data set"),
    ],
)
def test_other_identifiers_are_refused(tmp_path: Path, places: list[int], message: str) -> None:
    model = torch.nn.Sequential(network())
    forward = lambda net, batch: net(batch["input"])  # noqa: E731
    a = capture(tmp_path / "a", model, named(*range(100)), forward=forward)
    b = capture(tmp_path / "b", model, named(*places), forward=forward)
    with pytest.raises(InputError, match=message):
        compare(a, b)


def test_another_number_of_examples_is_refused(tmp_path: Path) -> None:
    a = capture(tmp_path / "a")
    b = capture(tmp_path / "b", data=images(80))
    with pytest.raises(InputError, match=r"stores must hold the same examples, got 100 in a and 80 in b\.$"):
        compare(a, b)
    with pytest.raises(KeyboardInterrupt):
        capture(tmp_path / "c", data=interrupted(images().split(16), 3))
    with (
        pytest.warns(CaptureWarning, match="not complete"),
        pytest.raises(InputError, match=r"got 100 in a and 48 in c\. c is not complete: finish capturing\."),
    ):
        compare(tmp_path / "a", tmp_path / "c")


def test_other_data_are_refused_where_nothing_identifies_the_examples(tmp_path: Path) -> None:
    a = capture(tmp_path / "a")
    changed = torch.cat([images()[:32], images()[48:], images()[32:48]])
    b = capture(tmp_path / "b", data=changed)
    with pytest.raises(
        InputError, match=r"same data, got 5 of 7 batches that differ between a and b, the first is batch 2"
    ):
        compare(a, b)
    c = capture(tmp_path / "c", batch_size=20)
    with pytest.raises(
        InputError, match=r"got 7 and 5 batches of 16 and 20 examples in a and c\. Capture both with the"
    ):
        compare(a, c)


def test_a_store_without_a_batch_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="dtype must hold"):
        capture(tmp_path / "s", data=1e6 * images(), dtype="float16")
    with (
        pytest.warns(CaptureWarning, match="first 0 batches"),
        pytest.raises(InputError, match=r"s must hold at least one complete batch"),
    ):
        compare(tmp_path / "s")


def arrays_of(store: Store) -> dict[str, Any]:
    return {name: store.read(name) for name in store.names}


@pytest.mark.parametrize("measure", ["cka", "hsic", "svcca", "procrustes"])
def test_stores_score_as_their_arrays_do(tmp_path: Path, measure: str) -> None:
    a, b = capture(tmp_path / "a"), capture(tmp_path / "b", network(seed=3))
    options: dict[str, Any] = {"measure": measure, "layers": ["4"]}
    expected = compare(arrays_of(a), arrays_of(b), **options)
    found = compare(tmp_path / "a", str(tmp_path / "b"), **options)
    np.testing.assert_allclose(found.values, expected.values, rtol=1e-6)
    assert (found.row_layers, found.row_models, found.column_models) == (("4",), ("a",), ("b",))
    assert found.n == 100


def test_a_comparison_of_stores_says_how_they_were_made(tmp_path: Path) -> None:
    a = capture(tmp_path / "a", reduce={"2": "mean"})
    b = capture(tmp_path / "b", network(seed=3))
    assert compare(a).conventions["reduce"] == {"2": "mean"}
    assert compare(a, b).conventions["reduce"] == {"a": {"2": "mean"}, "b": "auto"}
    assert compare(a).conventions["dtype"] == "float32"


def test_stores_in_mappings_and_beside_arrays(tmp_path: Path) -> None:
    a, b = capture(tmp_path / "a"), capture(tmp_path / "b", network(seed=3))
    labels = np.eye(10)[np.arange(100) % 10]
    found = compare({"one": a, "two": tmp_path / "b", "labels": {"class": labels}}, layers={"one": ["4"], "two": "4"})
    expected = compare({"one": {"4": a.read("4")}, "two": {"4": b.read("4")}, "labels": {"class": labels}})
    assert found.row_models == ("one", "two", "labels")
    np.testing.assert_allclose(found.values, expected.values, rtol=1e-6)
    with pytest.raises(InputError, match=r"same number of rows .* got 100 in one and 99 in 'labels: class'"):
        compare({"one": a, "labels": {"class": labels[:99]}})
    with pytest.raises(InputError, match="models and stored arrays cannot be mixed"):
        compare({"one": a, "net": network()}, data=images())
    with pytest.raises(InputError, match="data must be left out"):
        compare(a, data=images())
    with pytest.raises(InputError, match=r"layers must name layers of a, got '5'\. There are: '2', '4'\."):
        compare(a, layers="5")


@pytest.mark.parametrize("kernel", ["linear", "cosine"])
@pytest.mark.filterwarnings("ignore::repscope.DiagnosticWarning")  # of few examples
@pytest.mark.parametrize("estimator", ["biased", "unbiased"])
def test_what_does_not_fit_in_memory_is_streamed_to_the_same_number(
    tmp_path: Path, kernel: Any, estimator: str
) -> None:
    def wide(seed: int) -> torch.nn.Module:
        torch.manual_seed(seed)
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(108, 4000))

    a, b = (capture(tmp_path / f"{seed}", wide(seed), images(320)) for seed in (1, 2))
    settings: dict[str, Any] = {"kernel": kernel, "estimator": estimator}
    whole = compare(arrays_of(a), arrays_of(b), **settings)
    memory = 5e6  # of 10 MB
    streamed = compare(a, b, memory=memory, **settings)
    assert streamed.conventions["route"] == "passes"
    assert streamed.conventions["passes"] > 1
    np.testing.assert_allclose(streamed.values, whole.values, rtol=2e-5)
    with pytest.raises(InputError, match=r"svcca needs the representations of all examples in memory, and they do not"):
        compare(a, b, memory=memory, measure="svcca")


def test_batches_of_a_store_are_those_of_the_estimate(tmp_path: Path) -> None:
    store = capture(tmp_path / "a")
    estimate = compare(store, pairs="batch", memory=1e6)
    expected = compare(network(), data=images(), batch_size=16, pairs="batch", layers=["2", "4"])
    assert estimate.conventions["batch_size"] == 16
    np.testing.assert_allclose(estimate.values, expected.values, rtol=1e-5)


def test_damage_is_named_in_a_comparison(tmp_path: Path) -> None:
    capture(tmp_path / "a")
    flip(tmp_path / "a/0001/c.3.0", 40)
    with pytest.raises(FileFormatError, match=r"layer '4', batch 3 \(rows 48 to 63\), file .*0001/c\.3\.0"):
        compare(open_store(tmp_path / "a"))
