from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import zarr

from repscope.errors import FileFormatError, InputError
from repscope.store import Store, is_store, open_store
from tests.store.helpers import capture, flip


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return capture(tmp_path / "s")


def test_rows_are_read_as_numpy_would(store: Store) -> None:
    x = store.read("2")
    assert x.shape == (100, 144)
    for rows in (slice(None), slice(10, 40), slice(-7, None), slice(90, 200), slice(3, 80, 9), slice(80, 3, -9)):
        np.testing.assert_array_equal(store.read("2", rows), x[rows])
    for index in ([5], [99, 0, 31, 31], np.arange(15, 18, dtype=np.uint8), []):
        np.testing.assert_array_equal(store.read("2", index), x[np.asarray(index, dtype=int)])
    assert store.read("2", slice(50, 50)).shape == (0, 144)


def test_wrong_names_and_rows(store: Store) -> None:
    with pytest.raises(InputError, match=r"layer must be one of .*, got '5'\. It has '2', '4'\."):
        store.read("5")
    for rows in ([100], [-1], np.array([0, 100])):
        with pytest.raises(InputError, match=r"rows must be from 0 to 99, got (100|-1)\."):
            store.read("2", rows)
    for wrong in ([0.5], [[1, 2]], [True, False]):
        with pytest.raises(InputError, match=r"rows must be a slice or a list of whole numbers"):
            store.read("2", wrong)


def test_a_store_describes_itself(store: Store) -> None:
    assert repr(store) == f"Store({str(store.path)!r}: 2 layers, 100 examples)"
    assert store.settings["model"] == "Sequential"
    assert store.sample_ids is None
    assert is_store(store.path)


def test_a_flipped_byte_in_any_chunk_is_found_and_named(store: Store) -> None:
    places = 0
    for number, layer in enumerate(store.layers):
        for batch in range(7):
            file = store.path / f"{number:04d}/c.{batch}.0"
            content = file.read_bytes()
            for at in np.linspace(0, len(content) - 1, 5).astype(int):
                flip(file, at, bit=int(at) % 8)
                message = (
                    rf"layer '{layer.name}', batch {batch} \(rows {16 * batch} to {min(16 * batch + 15, 99)}\), "
                    rf"file .*{number:04d}/c\.{batch}\.0: .*hecksum"
                )
                with pytest.raises(FileFormatError, match="verify: .*" + message):
                    store.verify()
                with pytest.raises(FileFormatError, match="read: .*" + message):
                    store.read(layer.name, slice(16 * batch, None))
                if batch:
                    assert np.isfinite(store.read(layer.name, slice(0, 16 * batch))).all()
                file.write_bytes(content)
                places += 1
    store.verify()
    assert places == 70


def test_all_damage_is_listed(store: Store) -> None:
    for batch in range(7):
        flip(store.path / f"0000/c.{batch}.0", 30)
    with pytest.raises(FileFormatError, match=r"batch 0 .*batch 4 .*; and 2 more\. Restore these files from a copy"):
        store.verify()


def test_missing_short_and_long_chunks_are_found(store: Store) -> None:
    file = store.path / "0001/c.2.0"
    content = file.read_bytes()
    for damaged in (b"", content[:-1], content + b"\0", content[:4]):
        file.write_bytes(damaged)
        with pytest.raises(FileFormatError, match=r"layer '4', batch 2 "):
            store.verify()
    file.unlink()
    for work in (store.verify, lambda: store.read("4", [33])):
        with pytest.raises(FileFormatError, match=r"layer '4', batch 2 .*c\.2\.0: it is missing"):
            work()


def bytes_of(file: Path) -> Iterator[int]:
    size = file.stat().st_size
    yield from range(0, size, max(1, size // 60))


@pytest.mark.parametrize("name", ["zarr.json", "0000/zarr.json", "batches/zarr.json", "batches/c.0"])
def test_a_flipped_byte_in_what_describes_the_store_is_found(store: Store, name: str) -> None:
    expected = {layer: store.read(layer) for layer in store.names}
    file = store.path / name
    content = file.read_bytes()
    found = 0
    for at in bytes_of(file):
        flip(file, at, bit=at % 7)
        try:
            damaged = open_store(store.path)
            damaged.verify()
        except FileFormatError:
            found += 1
        else:  # white space, or a field of zarr that this store does not use
            assert name in ("zarr.json", "batches/zarr.json")
            assert (damaged.batches, damaged.layers, damaged.settings) == (store.batches, store.layers, store.settings)
            for layer, x in expected.items():
                np.testing.assert_array_equal(damaged.read(layer), x)
        file.write_bytes(content)
    assert found >= (60 if name in ("0000/zarr.json", "batches/c.0") else 20)


def test_what_is_no_store(tmp_path: Path, store: Store) -> None:
    with pytest.raises(InputError, match=r"path must be a directory of stored activations, got nothing at"):
        open_store(tmp_path / "absent")
    (tmp_path / "file").write_text("{}")
    with pytest.raises(InputError, match=r"got a file at"):
        open_store(tmp_path / "file")
    zarr.create_group(str(tmp_path / "other"), attributes={"repscope": {"format": "something else"}})
    for path in (tmp_path, tmp_path / "other"):
        assert not is_store(path)
        with pytest.raises(FileFormatError, match=r"must hold a zarr\.json that repscope wrote, got none"):
            open_store(path)


def test_a_later_format_says_which_version_wrote_it(store: Store) -> None:
    document = json.loads((store.path / "zarr.json").read_text())
    document["attributes"]["repscope"] |= {"format_version": 2, "version": "7.0", "news": []}
    (store.path / "zarr.json").write_text(json.dumps(document))
    with pytest.raises(FileFormatError, match=r"format version 1 or older, got version 2, written by repscope 7\.0"):
        open_store(store.path)


def test_a_record_with_other_numbers_is_not_believed(store: Store) -> None:
    text = (store.path / "zarr.json").read_text()
    (store.path / "zarr.json").write_text(text.replace('"examples": 100', '"examples": 101'))
    with pytest.raises(FileFormatError, match=r"the record of .* must be as it was written, got damaged data"):
        open_store(store.path)


def test_arrays_of_two_stores_cannot_be_mixed_up(tmp_path: Path, store: Store) -> None:
    document = store.path / "0000/zarr.json"
    document.write_text((store.path / "0001/zarr.json").read_text())
    with pytest.raises(
        FileFormatError, match=r"layer '2' must have 100 × 144 numbers of type float32, got shape \(100, 5\)"
    ):
        open_store(store.path).read("2")
    document.write_text("{")
    with pytest.raises(FileFormatError, match=r"layer '2' must have a readable .*zarr\.json"):
        open_store(store.path).read("2")
    with pytest.raises(FileFormatError, match=r"layer '2', file .*zarr\.json: its checksum differs"):
        open_store(store.path).verify()
