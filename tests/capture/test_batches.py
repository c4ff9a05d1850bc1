"""What loaders yield: memory that is used again, packed sequences, mappings of their own types."""

from __future__ import annotations

from collections import OrderedDict, UserDict
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence
from torch.utils.data import DataLoader

from repscope import compare
from repscope.capture import Capture, TextModel, batch_items, batches, model_inputs, move, representations, write_store
from repscope.errors import InputError
from tests.capture.models import Encoder, token_batch

X = torch.randn(21, 4, generator=torch.Generator().manual_seed(0))


class OneBuffer:
    """Batches that all lie in the same memory, and know their number or not."""

    def __init__(self, size: int, kind: str = "tensor") -> None:
        self.size, self.kind = size, kind

    def __iter__(self) -> Iterator[Any]:
        buffer = torch.zeros(self.size, 4)
        for part in X.split(self.size):
            batch = buffer[: len(part)].copy_(part)
            yield {"tensor": batch, "array": batch.numpy(), "dict": {"x": [batch]}}[self.kind]


class OneBufferOfKnownLength(OneBuffer):
    def __len__(self) -> int:
        return -(-len(X) // self.size)


def tensor_of(batch: Any) -> Tensor:
    return torch.as_tensor(batch["x"][0] if isinstance(batch, dict) else batch)


class TestMemoryThatIsUsedAgain:
    @pytest.mark.parametrize("kind", ["tensor", "array", "dict"])
    @pytest.mark.parametrize("fold", [None, 0, 3])
    @pytest.mark.parametrize("size", [4, 5, 7, 30])
    @pytest.mark.parametrize("loader", [OneBuffer, OneBufferOfKnownLength])
    def test_no_batch_is_lost(self, loader: type[OneBuffer], size: int, fold: int | None, kind: str) -> None:
        expected = [part.clone() for part in batches(list(X.split(size)), fold_smaller_than=fold)]
        got = [tensor_of(part).clone() for part in batches(loader(size, kind), fold_smaller_than=fold)]
        assert [len(part) for part in got] == [len(part) for part in expected]
        assert torch.equal(torch.cat(got), X)
        generator = batches(iter(loader(size, kind)), fold_smaller_than=fold)
        assert torch.equal(torch.cat([tensor_of(part).clone() for part in generator]), X)

    @pytest.mark.parametrize(
        ("loader", "fold", "ahead"),
        [
            (OneBufferOfKnownLength, None, [0, 0, 0, 0, 1]),  # the sixth, of one item, is joined to the fifth
            (OneBuffer, None, [1, 1, 1, 1, 1]),
            (OneBuffer, 0, [0, 0, 0, 0, 0, 0]),
        ],
    )
    def test_what_need_not_be_held_back_comes_at_once(
        self, loader: type[OneBuffer], fold: int | None, ahead: list[int]
    ) -> None:
        seen = []

        class Watched(loader):  # type: ignore[misc, valid-type]
            def __iter__(self) -> Iterator[Any]:
                for number, batch in enumerate(super().__iter__()):
                    seen.append(number)
                    yield batch

        assert [seen[-1] - number for number, _ in enumerate(batches(Watched(4), fold_smaller_than=fold))] == ahead

    def test_batches_that_lie_ready_are_not_copied(self) -> None:
        parts = list(X.split(7))
        assert all(one is other for one, other in zip(batches(parts), parts, strict=True))
        assert next(iter(batches(X, batch_size=30))).data_ptr() == X.data_ptr()

    def test_stores_and_representations(self, tmp_path: Path) -> None:
        model = nn.Linear(4, 3)
        with torch.no_grad():
            expected = model(X)
        torch.testing.assert_close(representations(model, OneBuffer(5))["Linear"], expected)
        store = write_store(model, OneBuffer(5), tmp_path / "store", progress=False)
        torch.testing.assert_close(torch.as_tensor(store.read("Linear")), expected)


def packed(items: int = 4, seed: int = 0) -> PackedSequence:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(items, 6, 4, generator=generator)
    lengths = torch.arange(items) % 5 + 2
    return pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.out = nn.GRU(4, 5, batch_first=True), nn.Linear(5, 3)

    def forward(self, x: PackedSequence) -> Tensor:
        return self.out(self.rnn(x)[1][-1])


class TestPackedSequences:
    def test_are_one_batch(self) -> None:
        batch = packed()
        assert batch_items(batch) == batch_items((batch, torch.zeros(4))) == 4
        assert model_inputs(batch) == ((batch,), {})
        assert model_inputs((batch, torch.zeros(4)))[0] == (batch,)

    def test_reach_the_model_as_they_are(self) -> None:
        model, batch = Recurrent(), packed()
        with torch.no_grad():
            expected = model(batch)
        for form in (batch, (batch, torch.zeros(4))):
            torch.testing.assert_close(Capture(model, "out").collect(form)["out"], expected)

    def test_are_not_joined(self) -> None:
        for small in ([packed(4), packed(1)], [(packed(4), torch.zeros(4)), (packed(1), torch.zeros(1))]):
            assert [batch_items(batch) for batch in batches(small)] == [4, 1]

    def test_move_casts_and_copies(self) -> None:
        batch = packed()
        moved = move(batch, "cpu", torch.float64)
        assert isinstance(moved, PackedSequence)
        assert moved.data.dtype == torch.float64
        torch.testing.assert_close(moved.data.float(), batch.data)
        assert torch.equal(moved.batch_sizes, batch.batch_sizes)
        assert move(batch, "cpu").data.data_ptr() != batch.data.data_ptr()


class TestArrays:
    @pytest.mark.filterwarnings("error")
    def test_of_any_byte_order_and_read_only(self) -> None:
        model = nn.Linear(4, 3)
        with torch.no_grad():
            expected = model(X)
        read_only = X.numpy().copy()
        read_only.flags.writeable = False
        for array in (read_only, X.numpy().astype(">f4"), X.numpy()[::-1][::-1]):
            for batch in (array, (array, np.zeros(21)), {"input": array}):
                torch.testing.assert_close(Capture(model).collect(batch)["Linear"], expected)

    @pytest.mark.filterwarnings("error")
    def test_of_tokens_and_masks(self) -> None:
        batch = token_batch()
        expected = Capture(Encoder(), "embed", reduce="sample:2:0").collect(batch)["embed"].shape
        foreign = {key: value.numpy().astype(">i8") for key, value in batch.items()}
        assert Capture(Encoder(), "embed", reduce="sample:2:0").collect(foreign)["embed"].shape == expected
        for array in foreign.values():
            array.flags.writeable = False
        assert Capture(Encoder(), "embed", reduce="sample:2:0").collect(foreign)["embed"].shape == expected


class Letters:
    """A tokenizer that makes a token of every letter."""

    is_fast, pad_token_id, model_max_length = False, 0, 99

    def __call__(self, sentences: list[str], **options: Any) -> dict[str, list[list[int]]]:
        return {"input_ids": [[1 + ord(letter) % 19 for letter in sentence] for sentence in sentences]}

    def get_vocab(self) -> dict[str, int]:
        return {str(i): i for i in range(20)}


class TestTextWithLabels:
    sentences = ("some", "words", "and", "others")

    @pytest.mark.parametrize("form", [tuple, list])
    def test_labels_are_left_out(self, form: Any) -> None:
        model = TextModel(Encoder(), Letters())
        expected = Capture(model, "embed").collect(self.sentences)["embed"]
        batch = form([form(self.sentences), torch.zeros(4)])
        torch.testing.assert_close(Capture(model, "embed").collect(batch)["embed"], expected)
        assert Capture(model).prepare(batch).items == batch_items(batch) == 4

    @pytest.mark.filterwarnings("ignore::repscope.DiagnosticWarning")  # of so few sentences
    def test_from_a_data_set(self) -> None:
        model = TextModel(Encoder(), Letters())
        loader = DataLoader([(sentence, 1) for sentence in self.sentences], batch_size=3)
        got = representations(model, loader, "embed")["embed"]
        assert got.shape == (4, 8)
        result = compare(model, data=loader, layers="embed", estimator="biased")
        assert result.n == 4

    def test_a_model_without_a_tokenizer(self) -> None:
        batch = (self.sentences, torch.zeros(4))
        with pytest.raises(InputError, match=r"model must have a tokenizer to run on text, got a Encoder by itself"):
            Capture(Encoder()).prepare(batch)
        assert Capture(Encoder(), forward=lambda model, batch: None).prepare(batch).batch is batch


class Attributes(dict[str, Any]):
    __getattr__ = dict.__getitem__


class Entries(dict[str, Any]):
    """A mapping whose entries are its attributes, by the usual trick."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.__dict__ = self


class Encoding(UserDict[str, Any]):
    """A mapping that knows more than its entries, as BatchEncoding does."""

    def __init__(self, data: dict[str, Any], words: str = "") -> None:
        super().__init__(data)
        self.words = words

    def __getattr__(self, name: str) -> Any:
        try:
            return self.data[name]
        except KeyError:
            raise AttributeError(name) from None


class Closed(dict[str, Any]):
    def __setitem__(self, key: str, value: Any) -> None:
        raise TypeError("closed")


class TestMappings:
    @pytest.mark.parametrize("kind", [Attributes, Entries, Encoding])
    def test_forward_gets_the_loaders_type(self, kind: Any) -> None:
        seen = []

        def forward(model: nn.Module, batch: Any) -> Any:
            seen.append(batch)
            return model(batch.x)

        batch, model = kind({"x": X, "kind": "train"}), nn.Linear(4, 3).double()
        got = Capture(model, forward=forward).collect(batch)["Linear"]
        with torch.no_grad():
            torch.testing.assert_close(got, model(X.double()))
        assert {type(other) for other in seen} == {kind}
        assert seen[0].x is seen[0]["x"]
        assert batch["x"] is X
        assert batch.x is X

    def test_what_else_a_mapping_knows_stays(self) -> None:
        batch = Encoding({"x": X, "data": X}, words="known")
        moved = move(batch, "cpu", torch.float64)
        assert moved.words == "known"
        assert moved["data"].dtype == torch.float64
        assert batch["data"] is X

    @pytest.mark.parametrize("kind", [MappingProxyType, Closed])
    def test_others_become_a_dict(self, kind: Any) -> None:
        batch = kind({"x": X})
        assert type(move(batch, "cpu")) is dict
        assert batch["x"] is X

    def test_folding_keeps_the_type(self) -> None:
        (joined,) = batches([OrderedDict(x=X[:4]), OrderedDict(x=X[4:5])])
        assert type(joined) is OrderedDict
        assert torch.equal(joined["x"], X[:5])

    def test_positions_are_added_to_the_loaders_own_form(self) -> None:
        class Positioned(Encoder):
            config = None

            def forward(self, input_ids: Tensor, attention_mask: Any = None, position_ids: Any = None) -> Any:
                return super().forward(input_ids, attention_mask)

        batch = Attributes(token_batch(left=True))
        capture = Capture(Positioned())
        assert type(capture.prepare(batch).batch) is Attributes
        assert "position_ids" not in batch
        inner, labels = capture.prepare((batch, "labels")).batch
        assert (type(inner), labels) == (Attributes, "labels")
        assert "position_ids" in inner
