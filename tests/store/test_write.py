from __future__ import annotations

import errno
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zarr
from torch import nn

from repscope.capture import Capture, columns, model_fingerprint, representations, write_store
from repscope.errors import CaptureError, CaptureWarning, FileFormatError, InputError, MissingExtraError
from repscope.store import open_store
from tests.capture.models import Encoder, token_batch
from tests.store.helpers import capture, files, images, interrupted, network


def test_a_store_holds_what_capture_gives(tmp_path: Path) -> None:
    store = capture(tmp_path / "s")
    expected = representations(network(), images(), batch_size=16)
    assert store.names == tuple(expected) == ("2", "4")
    assert [(layer.kind, layer.features, layer.dtype) for layer in store.layers] == [
        ("ReLU", 144, "float32"),
        ("Linear", 5, "float32"),
    ]
    assert (store.n, store.complete, store.chunk_rows, len(store.batches)) == (100, True, 16, 7)
    assert store.batches[-1].rows == 4
    for name, x in expected.items():
        np.testing.assert_array_equal(store.read(name), x.numpy())


def test_any_reader_of_zarr_opens_it(tmp_path: Path) -> None:
    store = capture(tmp_path / "s")
    group = zarr.open_group(str(tmp_path / "s"), mode="r")
    assert sorted(group.array_keys()) == ["0000", "0001", "batches"]
    array = group["0001"]
    assert isinstance(array, zarr.Array)
    np.testing.assert_array_equal(array[:], store.read("4"))
    assert array.attrs["layer"] == "4"
    assert array.chunks == (16, 5)
    document = json.loads((tmp_path / "s/0001/zarr.json").read_text())
    assert [codec["name"] for codec in document["codecs"]] == ["bytes", "zstd", "crc32c"]
    assert document["dimension_names"] == ["examples", "features"]


def test_bytes_depend_on_model_and_data_alone(tmp_path: Path) -> None:
    capture(tmp_path / "one")
    capture(tmp_path / "elsewhere/two")
    assert files(tmp_path / "one") == files(tmp_path / "elsewhere/two")
    assert sorted(files(tmp_path / "one"))[:3] == ["0000/c.0.0", "0000/c.1.0", "0000/c.2.0"]


@pytest.mark.parametrize("stop", [0, 1, 4, 6])
def test_an_exception_in_the_data_leaves_the_complete_batches_and_resuming_ends_alike(
    tmp_path: Path, stop: int
) -> None:
    capture(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        capture(tmp_path / "s", data=interrupted(images().split(16), stop))
    if stop:
        with pytest.warns(CaptureWarning, match=rf"not complete: it holds the first {stop} batches \({16 * stop} exam"):
            partial = open_store(tmp_path / "s")
        assert (partial.n, partial.complete) == (16 * stop, False)
        expected = representations(network(), images(), batch_size=16)
        np.testing.assert_array_equal(partial.read("2"), expected["2"][: 16 * stop].numpy())
        partial.verify()
    capture(tmp_path / "s")
    assert files(tmp_path / "s") == files(tmp_path / "whole")


def test_only_missing_batches_run_the_model(tmp_path: Path) -> None:
    seen: list[int] = []

    class Counting(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(len(x))
            return super().forward(x)

    def model() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), Counting(108, 4))

    with pytest.raises(KeyboardInterrupt):
        capture(tmp_path / "s", model(), interrupted(images().split(16), 5))
    seen.clear()
    capture(tmp_path / "s", model())
    assert seen == [13, 16, 4], "a dozen items to find the layers, then batches 5 and 6"
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "s").rglob("*")}
    capture(tmp_path / "s", model())
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "s").rglob("*")} == before


def test_rows_that_are_not_what_the_record_counts_are_nothing(tmp_path: Path) -> None:
    # Three batches are on disk but the data turns out to end after two: what the third left must not come back.
    capture(tmp_path / "whole", data=images(20), batch_size=8)
    with pytest.raises(KeyboardInterrupt):
        capture(tmp_path / "s", data=interrupted(images().split(8), 3))
    first = json.loads((tmp_path / "s/zarr.json").read_text())
    assert first["attributes"]["repscope"]["batches"] == 3
    with pytest.raises(InputError, match="got 2 batches where it has 3"):
        capture(tmp_path / "s", data=images()[:16], batch_size=8)
    with pytest.raises(KeyboardInterrupt):
        capture(tmp_path / "t", data=interrupted(images().split(8), 2))
    (tmp_path / "t/0000/c.2.0").write_bytes(b"left by a batch that was not finished")
    (tmp_path / "t/0000/c.7.0.partial").write_bytes(b"and by one more")
    capture(tmp_path / "t", data=images(20), batch_size=8)
    assert files(tmp_path / "t") == files(tmp_path / "whole")


STRANGE = ["conv/1", "..", "<script>alert(1)</script>", "层·ü", "a b", "c.0.0", "zarr.json"]


def test_names_of_layers_are_no_names_of_files(tmp_path: Path) -> None:
    class Strange(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for name in STRANGE:
                self._modules[name] = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for module in self.children():
                x = module(x)
            return x

    store = capture(tmp_path / "s", Strange(), torch.randn(20, 4), layers=[nn.Linear])
    assert store.names == tuple(STRANGE)
    assert {path.name for path in tmp_path.iterdir()} == {"s"}
    assert {path.name for path in (tmp_path / "s").iterdir()} == {
        "batches",
        "zarr.json",
        *(f"{i:04d}" for i in range(len(STRANGE))),
    }
    assert open_store(tmp_path / "s").read("层·ü").shape == (20, 4)


def test_wide_layers_are_split_along_the_features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert columns.chunk_shape(256, 65536, np.dtype("float32")) == (256, 65536)
    assert columns.chunk_shape(256, 65537, np.dtype("float32")) == (256, 32769)
    monkeypatch.setattr(columns, "CHUNK_BYTES", 16 * 50 * 4)
    with pytest.raises(KeyboardInterrupt):
        capture(tmp_path / "s", data=interrupted(images().split(16), 2))
    store = capture(tmp_path / "s")
    assert sorted(path.name for path in (tmp_path / "s/0000").glob("c.0.*")) == ["c.0.0", "c.0.1", "c.0.2"]
    np.testing.assert_array_equal(store.read("2"), representations(network(), images())["2"].numpy())
    store.verify()


def ragged() -> list[dict[str, torch.Tensor]]:
    """Token batches of 3, 4, 5 items, with 12, 18, 25 tokens or so."""
    return [token_batch(items=items) for items in (3, 4, 5)]


@pytest.mark.parametrize("stop", [1, 2])
def test_batches_of_many_lengths_become_chunks_of_one(tmp_path: Path, stop: int) -> None:
    torch.manual_seed(0)
    model = Encoder().eval()
    options: dict[str, Any] = {"layers": ["norm", "encoder.layers.1"], "reduce": "tokens"}
    whole = write_store(model, ragged(), tmp_path / "whole", **options)
    expected = representations(model, ragged(), **options)
    assert whole.n == len(expected["norm"]) == sum(batch.rows for batch in whole.batches)
    assert whole.n > 2 * whole.chunk_rows
    for name, x in expected.items():
        np.testing.assert_array_equal(whole.read(name), x.numpy())

    with pytest.raises(KeyboardInterrupt):
        write_store(model, interrupted(ragged(), stop), tmp_path / "s", **options)
    write_store(model, ragged(), tmp_path / "s", **options)
    assert files(tmp_path / "s") == files(tmp_path / "whole")


def test_a_damaged_last_chunk_stops_resuming(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Encoder().eval()

    for name, damage in (("flipped", b"x" * 40), ("gone", None)):
        with pytest.raises(KeyboardInterrupt):
            write_store(model, interrupted(ragged(), 2), tmp_path / name, layers="norm", reduce="tokens")
        file = tmp_path / name / "0000/c.2.0"  # 33 rows in chunks of 15
        file.unlink() if damage is None else file.write_bytes(damage)
        with pytest.raises(
            FileFormatError, match=r"0000 must be as it was written to go on, got damaged data in the ch"
        ):
            write_store(model, ragged(), tmp_path / name, layers="norm", reduce="tokens")


def test_bfloat16_is_kept_exactly_as_float32(tmp_path: Path) -> None:
    model, data = network().bfloat16(), images().bfloat16()
    store = capture(tmp_path / "s", model, data)
    assert store.layers[0].dtype == "float32"
    expected = representations(model, data, batch_size=16)["2"]
    assert expected.dtype == torch.bfloat16
    np.testing.assert_array_equal(store.read("2"), expected.float().numpy())


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_another_precision_on_disk(tmp_path: Path, dtype: str) -> None:
    store = capture(tmp_path / "s", dtype=dtype)
    x = store.read("4")
    assert x.dtype == dtype
    expected = representations(network(), images(), batch_size=16)["4"].numpy()
    np.testing.assert_array_equal(x, expected.astype(dtype))


def test_numbers_that_overflow_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"dtype must hold the activations, got \d.* in layer '2' of batch 0, more than"
    ):
        capture(tmp_path / "s", data=1e6 * images(), dtype="float16")
    with pytest.raises(InputError, match=r"dtype must be one of float16, float32, float64 or None, got 'int8'"):
        capture(tmp_path / "s", dtype="int8")


def test_chunks_of_nan_are_there_too(tmp_path: Path) -> None:
    store = capture(tmp_path / "s", data=torch.full((20, 3, 6, 6), float("nan")))
    assert np.isnan(store.read("4")).all()
    assert (tmp_path / "s/0001/c.0.0").exists()


# --- sample identifiers -----------------------------------------------------------------------------------------


class Keyed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x)


@pytest.mark.parametrize(
    ("key", "ids"),
    [
        ("id", [f"img/{i}" for i in range(4)]),
        ("ids", torch.arange(10, 14)),
        ("idx", np.arange(4)),
        ("index", (3, "two", 1, 0)),
    ],
)
def test_identifiers_are_found_in_batches(tmp_path: Path, key: str, ids: Any) -> None:
    torch.manual_seed(0)
    store = capture(tmp_path / "s", Keyed(), [{"x": torch.randn(4, 4), key: ids}])
    expected = tuple(ids.tolist()) if hasattr(ids, "tolist") else tuple(ids)
    assert open_store(store.path).sample_ids == store.sample_ids == expected


@pytest.mark.parametrize("ids", [torch.zeros(4, 2), [1, 2, 3], ["a", None, "c", "d"], torch.rand(4), "four", None])
def test_what_does_not_identify_items_is_left_alone(tmp_path: Path, ids: Any) -> None:
    torch.manual_seed(0)
    assert capture(tmp_path / "s", Keyed(), [{"x": torch.randn(4, 4), "id": ids}]).sample_ids is None


def test_identifiers_from_a_function(tmp_path: Path) -> None:
    numbers = iter(range(100))

    def name(batch: torch.Tensor) -> list[str]:
        return [f"no {next(numbers)}" for _ in batch]

    store = capture(tmp_path / "s", sample_ids=name)
    assert store.sample_ids is not None
    assert store.sample_ids[-1] == "no 99"
    with pytest.raises(InputError, match=r"got other sample identifiers in batch 0"):
        capture(tmp_path / "s", sample_ids=lambda batch: list(range(len(batch))))
    with pytest.raises(
        InputError, match=r"sample_ids must return a whole number or a text for each of the 16 .* got 3"
    ):
        capture(tmp_path / "t", sample_ids=lambda batch: [1, 2, 3])
    with pytest.raises(InputError, match=r"sample_ids must return .* got something else"):
        capture(tmp_path / "t", sample_ids=lambda batch: 0.5)


def test_identifiers_for_some_batches_only_are_refused(tmp_path: Path) -> None:
    data = [{"x": torch.randn(4, 4), "id": [1, 2, 3, 4]}, {"x": torch.randn(4, 4)}]
    with pytest.raises(InputError, match=r"sample_ids must be there for all batches or for none, got none in batch 1"):
        capture(tmp_path / "s", Keyed(), data)


# --- resuming with something else ---------------------------------------------------------------------------------


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    with pytest.raises(KeyboardInterrupt):
        capture(tmp_path / "s", data=interrupted(images().split(16), 3))
    return tmp_path / "s"


def changed_weight() -> nn.Module:
    model = network()
    with torch.no_grad():
        model[4].weight[2, 3] += 1e-6
    return model


def changed_statistic() -> nn.Module:
    model = network()
    model[1].running_mean[0] += 1e-6
    return model


def changed_function() -> nn.Module:
    model = network()
    model[2] = nn.GELU()
    return model


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": changed_weight()}, r"model must be the one that .* was begun with, got other weights or modules"),
        ({"model": changed_statistic()}, r"model must be the one that .* got other weights or modules"),
        ({"model": changed_function()}, r"model must be the one that .* got other weights or modules"),
        ({"model": Keyed()}, r"model must be the one that .* got 'Keyed' instead of 'Sequential'"),
        ({"layers": ["2", "3"]}, r"layers must be those that .* got additional '3'; missing '4'\. Call"),
        ({"layers": ["2"]}, r"layers must be those that .* got missing '4'"),
        ({"reduce": "mean"}, r"reduce must be the one that .* got 'mean' instead of 'auto'"),
        ({"reduce": {"2": "mean"}}, r"reduce must be .* got \{'2': 'mean'\} instead of 'auto'"),
        ({"dtype": "float16"}, r"dtype must be the one that .* got 'float16' instead of None"),
        ({"forward": lambda model, batch: model(batch)}, r"forward must be .* got '.*<lambda>' instead of None"),
        ({"data": images(seed=2)}, r"data must be those that .* got other content in batch 0\. Turn shuffling"),
        ({"data": torch.cat([images()[:40], -images()[40:]])}, r"got other content in batch 2"),
        ({"batch_size": 8}, r"got other content in batch 0"),
        ({"data": images()[:32]}, r"got 2 batches where it has 3"),
    ],
)
def test_something_else_cannot_be_resumed(begun: Path, options: dict[str, Any], message: str) -> None:
    before = files(begun)
    with pytest.raises(InputError, match=message):
        capture(begun, **options)
    after = files(begun)
    assert {name: after[name] for name in before if name != "0000/zarr.json"} == {
        name: before[name] for name in before if name != "0000/zarr.json"
    }
    capture(begun)
    assert open_store(begun).n == 100


def test_a_complete_store_does_not_grow(tmp_path: Path) -> None:
    capture(tmp_path / "s", data=images(32))
    with pytest.raises(InputError, match=r"data must be those that .* was made from, got more than its 2 batches"):
        capture(tmp_path / "s", data=images())


def test_starting_anew(tmp_path: Path) -> None:
    capture(tmp_path / "fresh", data=images(20))
    capture(tmp_path / "s")
    capture(tmp_path / "s", data=images(20), resume=False)
    assert files(tmp_path / "s") == files(tmp_path / "fresh")


def test_the_fingerprint_knows_a_model_and_not_its_wrapping() -> None:
    model = network()
    assert model_fingerprint(model) == model_fingerprint(network()) == model_fingerprint(nn.DataParallel(model))
    others = [changed_weight(), changed_statistic(), changed_function(), network(seed=1)]
    assert len({model_fingerprint(other) for other in [model, *others]}) == 5


# --- things that go wrong -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("write", [1, 2, 8, 20])
def test_a_full_disk_leaves_a_store_that_opens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: int) -> None:
    capture(tmp_path / "whole")
    real, count = columns._write_and_sync, 0

    def full(path: Path, content: bytes) -> None:
        nonlocal count
        count += 1
        if count > write:
            path.write_bytes(content[: len(content) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        real(path, content)

    monkeypatch.setattr(columns, "_write_and_sync", full)
    with pytest.raises(
        CaptureError, match=r"must take all activations, got 'No space left on device at .*The first \d ba"
    ):
        capture(tmp_path / "s")
    assert not list((tmp_path / "s").rglob("*.partial"))
    with pytest.warns(CaptureWarning, match="not complete"):
        store = open_store(tmp_path / "s")
    assert store.n == 16 * len(store.batches)
    store.verify()
    monkeypatch.undo()
    capture(tmp_path / "s")
    assert files(tmp_path / "s") == files(tmp_path / "whole")


def test_foreign_directories_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("…")
    for resume in (True, False):
        with pytest.raises(InputError, match=r"path must be a new or empty directory, or a store, got .* thesis\.tex"):
            capture(tmp_path, resume=resume)
    with pytest.raises(InputError, match=r"path must be a new or empty directory"):
        capture(tmp_path / "thesis.tex")
    zarr.create_group(str(tmp_path / "other"))
    with pytest.raises(InputError, match=r"which holds zarr\.json"):
        capture(tmp_path / "other", resume=False)


def test_two_writers_at_once_are_refused(tmp_path: Path) -> None:
    def data() -> Any:
        yield images()[:16]
        with pytest.raises(InputError, match=r"one process at a time, and another one writes to .* now"):
            capture(tmp_path / "s")
        yield images()[16:32]

    assert capture(tmp_path / "s", data=data()).n == 32


def test_layers_with_different_numbers_of_rows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match=r"same number of examples, got 576 from 2 and 16 from 4 in batch 0"):
        capture(tmp_path / "s", reduce={"2": "positions"})


def test_without_zarr_the_message_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    capture(tmp_path / "s")
    monkeypatch.setitem(__import__("sys").modules, "zarr", None)
    for work in (lambda: open_store(tmp_path / "s"), lambda: capture(tmp_path / "t")):
        with pytest.raises(MissingExtraError, match=r"repscope\[store\]"):
            work()


def test_hooks_are_gone_after_a_failed_write(tmp_path: Path) -> None:
    model = network()
    with pytest.raises(InputError, match="dtype must hold"):
        capture(tmp_path / "s", model, 1e6 * images(), dtype="float16")
    assert not any(module._forward_hooks for module in model.modules())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Capture(model).run(images(4), lambda name, x: None)
