from __future__ import annotations

from collections import namedtuple
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_sequence
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from repscope.capture import batch_items, batches, fingerprint, model_inputs, move
from repscope.capture.data import accepted_keywords, attention_mask, few_items
from repscope.errors import CaptureError, InputError

Pair = namedtuple("Pair", ["x", "y"])


def sizes(data: Any, **options: Any) -> list[int]:
    return [batch_items(batch) for batch in batches(data, **options)]


class Squares(Dataset[tuple[Tensor, int]]):
    def __len__(self) -> int:
        return 7

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return torch.full((2,), float(index**2)), index


class Rows:
    """A map-style data set that isn't torch's, like those of Hugging Face."""

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> dict[str, float]:
        return {"x": float(index)}

    def __getitems__(self, indices: list[int]) -> list[dict[str, float]]:
        return [self[index] for index in indices]

    def __iter__(self) -> Iterator[dict[str, float]]:
        raise AssertionError("examples one by one aren't batches")


class Stream(IterableDataset[Tensor]):
    def __iter__(self) -> Iterator[Tensor]:
        return iter(torch.arange(6.0))


def test_one_array_is_cut_in_order() -> None:
    x = np.arange(20).reshape(10, 2)
    parts = list(batches(x, batch_size=4, fold_smaller_than=0))
    assert [len(part) for part in parts] == [4, 4, 2]
    np.testing.assert_array_equal(np.concatenate(parts), x)


def test_tuples_and_dicts_of_arrays_are_cut_together() -> None:
    x, y = torch.arange(10.0), np.arange(10)
    for part in batches((x, y), batch_size=4):
        np.testing.assert_array_equal(part[0].numpy(), part[1])
    named = list(batches({"x": x, "y": y}, batch_size=4))
    assert [set(part) for part in named] == [{"x", "y"}] * 3


def test_a_list_of_tensors_is_a_list_of_batches() -> None:
    assert sizes([torch.zeros(3, 2), torch.zeros(3, 2), torch.zeros(2, 2)]) == [3, 3, 2]


def test_datasets_are_batched_in_order() -> None:
    (first, labels), _ = batches(Squares(), batch_size=4)
    np.testing.assert_array_equal(first[:, 0].numpy(), [0, 1, 4, 9])
    np.testing.assert_array_equal(labels.numpy(), [0, 1, 2, 3])
    assert sizes(Rows(), batch_size=3) == [3, 2]
    assert sizes(Stream(), batch_size=4) == [4, 2]


@pytest.mark.parametrize(
    ("n", "fold", "expected"),
    [
        (10, None, [4, 4, 2]),  # half of the usual size stays
        (9, None, [4, 5]),  # one item is folded in
        (9, 0, [4, 4, 1]),
        (10, 3, [4, 6]),
        (8, None, [4, 4]),
        (3, None, [3]),
    ],
)
def test_small_last_batch_is_folded_in(n: int, fold: int | None, expected: list[int]) -> None:
    loader = DataLoader(TensorDataset(torch.arange(n), torch.arange(n)), batch_size=4)
    parts = list(batches(loader, fold_smaller_than=fold))
    assert [batch_items(part) for part in parts] == expected
    for column in (0, 1):
        np.testing.assert_array_equal(torch.cat([part[column] for part in parts]).numpy(), np.arange(n))


def test_small_batches_before_the_last_stay() -> None:
    assert sizes([torch.zeros(n, 1) for n in (4, 1, 4, 1, 1)]) == [4, 1, 4, 2]


def test_folding_keeps_the_kind_of_batch() -> None:
    def batch(n: int) -> dict[str, Any]:
        return {"pair": Pair(torch.ones(n), np.ones(n)), "names": ["a"] * n, "kind": "train", "step": torch.ones(())}

    (folded,) = batches([{key: value for key, value in batch(n).items() if key != "step"} for n in (4, 1)])
    assert isinstance(folded["pair"], Pair)
    assert (len(folded["pair"].x), len(folded["pair"].y), folded["names"]) == (5, 5, ["a"] * 5)
    assert folded["kind"] == "train"
    assert len(list(batches([batch(4), batch(1)]))) == 2  # a value without an axis of items can't be joined


def test_batches_that_cannot_be_joined_stay_apart() -> None:
    padded = [{"ids": torch.zeros(4, 9)}, {"ids": torch.zeros(1, 7)}]
    assert sizes(padded) == [4, 1]
    assert sizes([torch.zeros(4, 2), torch.zeros(1, 2, dtype=torch.float64)]) == [4, 1]
    assert sizes([{"a": torch.zeros(4)}, {"b": torch.zeros(1)}]) == [4, 1]
    assert sizes([(torch.zeros(4), "train"), (torch.zeros(1), "test")]) == [4, 1]
    assert sizes([(torch.zeros(4),), (torch.zeros(1), torch.zeros(1))]) == [4, 1]
    assert sizes([torch.zeros(4, 2), np.zeros((1, 2))]) == [4, 1]


def test_batches_can_be_gone_through_again() -> None:
    data = batches(torch.arange(9), batch_size=4)
    assert [part.tolist() for part in data] == [part.tolist() for part in data]
    assert not data.one_pass


def test_generator_is_good_for_one_pass() -> None:
    data = batches(torch.zeros(2, 1) for _ in range(3))
    assert data.one_pass
    assert len(list(data)) == 3
    with pytest.raises(InputError, match=r"must allow a second pass, got a generator"):
        list(data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], r"batches: data must hold at least one batch, got none"),
        (torch.zeros(0, 3), r"batches: data must hold at least one batch, got none"),
        ("digits", r"batches: data must be batches, a Dataset or arrays, got the str 'digits'"),
        (3, r"batches: data must be a DataLoader, an iterable of batches, a Dataset, or arrays, got int"),
        (torch.tensor(1.0), r"first axis of items, got Tensor at 0"),
        ({"x": torch.zeros(2), "name": "a"}, r"first axis of items, got str at 'name'"),
        ((torch.zeros(3), torch.zeros(2)), r"same number of items, got \{0: 3, 1: 2\}. To pass ready-made batches"),
    ],
)
def test_bad_data(data: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        list(batches(data))


@pytest.mark.parametrize("size", [0, 2.5, True])
def test_bad_batch_size(size: Any) -> None:
    with pytest.raises(InputError, match="batches: batch_size must be a positive integer, got"):
        batches(torch.zeros(3), batch_size=size)


def test_batch_items() -> None:
    assert batch_items(torch.zeros(3, 2)) == 3
    assert batch_items((np.zeros((4, 2)), np.zeros(4))) == 4
    assert batch_items({"flag": True, "scale": torch.tensor(2.0), "ids": torch.zeros(5, 2)}) == 5
    assert batch_items(["a", "b"]) == 2
    with pytest.raises(InputError, match=r"batch_items: batch must hold a tensor, array or list .* got float"):
        batch_items(2.0)


def test_few_items() -> None:
    x, ids = torch.arange(8.0).reshape(4, 2), np.arange(4)
    batch = {"x": x, "pair": Pair(ids, ["a", "b", "c", "d"]), "kind": "train", "scale": torch.tensor(2.0), "none": None}
    few = few_items((batch, ids), 3)
    assert isinstance(few, tuple)
    named, labels = few
    assert torch.equal(named["x"], x[:3])
    assert (named["pair"].x.tolist(), named["pair"].y) == ([0, 1, 2], ["a", "b", "c"])
    assert (named["kind"], named["scale"], named["none"]) == ("train", batch["scale"], None)
    assert labels.tolist() == [0, 1, 2]
    assert few_items(["a", "b"], 1) == ["a"]
    assert few_items(x, 4) is None


@pytest.mark.parametrize("other", [torch.zeros(3), [224, 224], object(), pack_sequence([torch.ones(2)] * 4)])
def test_batches_of_which_few_items_cannot_be_taken(other: Any) -> None:
    assert few_items((torch.zeros(4), other), 3) is None
    assert few_items({"x": torch.zeros(4), "other": other}, 3) is None


def test_move_casts_floats_only() -> None:
    batch = {"x": np.ones((2, 3)), "ids": torch.arange(2), "pair": Pair(torch.ones(2), "a"), "names": np.array(["a"])}
    moved = move(batch, "cpu", torch.bfloat16)
    assert moved["x"].dtype == moved["pair"].x.dtype == torch.bfloat16
    assert moved["ids"].dtype == torch.int64
    assert isinstance(moved["pair"], Pair)
    assert moved["pair"].y == "a"
    assert moved["names"] is batch["names"]


def test_move_copies() -> None:
    tensor, array = torch.ones(3), np.ones(3)
    move(tensor, "cpu").zero_()
    move(array, "cpu").zero_()
    assert tensor.sum() == array.sum() == 3


def test_move_takes_any_numeric_array() -> None:
    read_only = np.arange(3.0)
    read_only.flags.writeable = False
    for array in (read_only, np.arange(3.0)[::-1], np.arange(3, dtype=">f4"), np.arange(3, dtype=np.uint8)):
        np.testing.assert_array_equal(move(array, "cpu").numpy(), array)


def test_move_asks_custom_batches() -> None:
    class Graph:
        device = "nowhere"

        def to(self, device: str) -> Graph:
            self.device = device
            return self

    assert move(Graph(), "cpu").device == "cpu"


def test_model_inputs() -> None:
    x, y = torch.zeros(2), torch.ones(2)
    assert model_inputs(x) == ((x,), {})
    assert model_inputs((x, y)) == ((x,), {})
    assert model_inputs([x]) == ((x,), {})
    assert model_inputs({"ids": x}) == ((), {"ids": x})
    assert model_inputs(({"ids": x}, y)) == ((), {"ids": x})
    with pytest.raises(InputError, match=r"model_inputs: batch must be a tensor.*got object. Pass forward="):
        model_inputs(object())


def test_keywords_follow_the_signature() -> None:
    def forward(ids: int, *, mask: int = 0) -> None: ...

    def anything(ids: int, **more: int) -> None: ...

    assert accepted_keywords(forward, {"ids": 1, "mask": 2, "label": 3}) == {"ids": 1, "mask": 2}
    assert accepted_keywords(anything, {"ids": 1, "label": 3}) == {"ids": 1, "label": 3}
    with pytest.raises(CaptureError, match=r"forward\(ids: 'int', \*, mask: .*got the keys \['x'\].*Rename the keys"):
        accepted_keywords(forward, {"x": 1})
    with pytest.raises(CaptureError, match=r"got the keys \['mask'\] \(missing a required argument: 'ids'\)"):
        accepted_keywords(forward, {"mask": 1})
    with pytest.raises(CaptureError, match="none of them accepted"):
        accepted_keywords(lambda x=0: None, {"y": 1})


def test_attention_mask() -> None:
    mask = attention_mask({"attention_mask": np.array([[1, 1, 0], [0, 1, 1]])})
    assert mask is not None
    assert mask.tolist() == [[True, True, False], [False, True, True]]
    assert attention_mask(({"attention_mask": torch.ones(1, 2)}, None)) is not None
    assert attention_mask({"ids": torch.ones(2)}) is None
    assert attention_mask(torch.ones(2)) is None


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (torch.ones(2, 1, 3), r"attention_mask must have shape \(items, tokens\), got \(2, 1, 3\)"),
        (torch.tensor([[0.0, -1e4]]), r"attention_mask must be 1 for tokens and 0 for padding"),
        (torch.tensor([[1, 0], [0, 0]]), r"got only padding in item 1 of the batch"),
    ],
)
def test_bad_attention_mask(mask: Tensor, message: str) -> None:
    with pytest.raises(CaptureError, match=message):
        attention_mask({"attention_mask": mask})


class TestFingerprint:
    x = torch.arange(50_000.0).reshape(100, 500)

    def test_equal_content_has_equal_fingerprints(self) -> None:
        assert fingerprint({"x": self.x, "y": [1, "a"]}) == fingerprint({"x": self.x.clone(), "y": [1, "a"]})
        assert fingerprint(self.x) == fingerprint(self.x.numpy())
        assert fingerprint(self.x.t()) == fingerprint(self.x.t().contiguous())

    def test_is_stable_between_processes(self) -> None:
        assert fingerprint((torch.arange(3), "a")) == "9d823bec3b1c97e8a3656969ea5ebedd"

    @pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.uint8, torch.bool, torch.complex64])
    def test_takes_every_type(self, dtype: torch.dtype) -> None:
        assert fingerprint(torch.ones(3, dtype=dtype)) != fingerprint(torch.zeros(3, dtype=dtype))

    def test_sees_any_change(self) -> None:
        one_value = self.x.clone()
        one_value[37, 211] += 1  # not among the sampled values
        others = [
            one_value,
            self.x.flip(0),
            self.x[torch.randperm(100, generator=torch.Generator().manual_seed(0))],
            self.x.reshape(500, 100),
            self.x.double(),
            self.x[:99],
            (self.x, 1),
            {"x": self.x},
            object(),
            None,
        ]
        assert len({fingerprint(other) for other in [self.x, *others]}) == len(others) + 1
