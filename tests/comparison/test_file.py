from __future__ import annotations

import io
import os
import stat
import zipfile

import numpy as np
import pytest

import repscope._container as container
from repscope.comparison import FORMAT_VERSION, load
from repscope.errors import FileFormatError, InputError
from tests.comparison.examples import comparison, full, ridge


@pytest.fixture
def saved(tmp_path):
    return full().save(tmp_path / "result.rsc")


def rewrite(path, **changes):
    """The same archive with other members; None leaves one out."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members |= {name.replace("__", "."): data for name, data in changes.items()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            if data is not None:
                archive.writestr(name, data)
    return path


def header(path):
    with zipfile.ZipFile(path) as archive:
        return container.loads(archive.read(container.HEADER))


# -- there and back -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["result", "result.npz", "result.rsc", "a b.tar.gz", "Ergebnis ä.x"])
def test_a_file_loads_back_identically_under_any_name(tmp_path, name):
    one = full()
    assert one.save(tmp_path / name) == tmp_path / name
    assert [entry.name for entry in tmp_path.iterdir()] == [name]
    again = load(str(tmp_path / name))
    assert again.equals(one)
    assert again.conventions["nested"] == one.conventions["nested"]
    assert again.range == (-np.inf, np.pi)
    assert np.isnan(again.conventions["cut"][1])
    assert not again.values.flags.writeable


def test_every_bit_of_a_nan_survives(tmp_path):
    values = np.array([[0x7FF8000000000123, 0xFFF8000000000000]], dtype=np.uint64).view(np.float64)
    path = comparison(values).save(tmp_path / "nan")
    np.testing.assert_array_equal(load(path).values.view(np.uint64), values.view(np.uint64))


def test_random_numbers_survive(tmp_path):
    values = np.random.default_rng(0).standard_normal((200, 61)) ** 9
    one = comparison(values, details={"mean": [float(v) for v in values[0]]})
    assert load(one.save(tmp_path / "x")).equals(one)


def test_the_bytes_depend_on_the_content_only(tmp_path):
    one = full()
    assert one.save(tmp_path / "a").read_bytes() == one.save(tmp_path / "b").read_bytes()


def test_numpy_reads_the_arrays(saved):
    with np.load(saved, allow_pickle=False) as archive:
        np.testing.assert_array_equal(archive["values"], full().values)
        np.testing.assert_array_equal(archive["p_values"], full().p_values)


def test_the_header_is_strict_json(saved):
    with zipfile.ZipFile(saved) as archive:
        text = archive.read(container.HEADER).decode("ascii")
    assert "NaN" not in text.replace("NaN in", "")
    assert "Infinity" not in text
    assert '"format": "repscope-comparison"' in text
    assert header(saved)["format_version"] == FORMAT_VERSION
    assert header(saved)["writer"].startswith("repscope")


# -- whole or not at all ------------------------------------------------------------------------------------


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = comparison(created="old").save(tmp_path / "x")
    before = path.read_bytes()
    for error in (OSError("disk full"), KeyboardInterrupt()):

        def fail(*_, error=error):
            raise error

        for broken in ("fsync", "replace"):
            with monkeypatch.context() as patch:
                patch.setattr(os, broken, fail)
                with pytest.raises(type(error)):
                    comparison(ridge(5)).save(path)
            assert [entry.name for entry in tmp_path.iterdir()] == ["x"]
            assert path.read_bytes() == before


def test_the_data_is_on_disk_before_the_name_is(tmp_path, monkeypatch):
    steps = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: steps.append("fsync") or fsync(handle))
    monkeypatch.setattr(os, "replace", lambda a, b: steps.append((a.parent, b.name)) or replace(a, b))
    comparison().save(tmp_path / "x")
    assert steps == ["fsync", (tmp_path, "x")]


def test_the_file_has_the_rights_of_any_new_file(tmp_path):
    path = comparison().save(tmp_path / "x")
    (tmp_path / "other").write_text("")
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE((tmp_path / "other").stat().st_mode)


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "x").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "store" / "x")
    one = comparison()
    one.save(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert load(tmp_path / "store" / "x").equals(one)


def test_save_needs_a_folder(tmp_path):
    with pytest.raises(InputError, match=r"Comparison.save: path must lie in an existing folder, got .*Create '.*no'"):
        comparison().save(tmp_path / "no" / "x")
    with pytest.raises(InputError, match=r"Comparison.save: path must be a file name, got the folder"):
        comparison().save(tmp_path)


# -- what load refuses --------------------------------------------------------------------------------------


def test_a_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"load: path must be an existing file, got '.*none' \(No such file"):
        load(tmp_path / "none")
    with pytest.raises(InputError, match="load: path must be an existing file, got"):
        load(tmp_path)


def test_another_kind_of_file(tmp_path):
    (tmp_path / "text").write_text("hello")
    (tmp_path / "empty").write_bytes(b"")
    np.savez(tmp_path / "arrays.npz", values=np.ones(3))
    with zipfile.ZipFile(tmp_path / "other", "w") as archive:
        archive.writestr(container.HEADER, '{"format": "something-else", "format_version": 1}')
    for name in ("text", "empty", "arrays.npz", "other"):
        with pytest.raises(
            FileFormatError, match=rf"load: '.*{name}' must be a file written by Comparison.save.*compare"
        ):
            load(tmp_path / name)


def test_a_newer_version_says_who_wrote_it(saved):
    facts = header(saved) | {"format_version": FORMAT_VERSION + 1, "writer": "repscope 9.1"}
    rewrite(saved, header__json=container.dumps(facts))
    with pytest.raises(FileFormatError, match=r"at most 1, got 2, written by repscope 9\.1\. Update with: pip install"):
        load(saved)


def test_a_truncated_file_at_every_length(saved, tmp_path):
    data = saved.read_bytes()
    part = tmp_path / "part"
    for length in range(2, len(data), 7):
        part.write_bytes(data[:length])
        with pytest.raises(
            FileFormatError, match=r"must be a whole file, got a truncated or damaged one.*Copy it again"
        ):
            load(part)


def test_a_changed_byte_is_noticed_or_harmless(saved):
    data, one = bytearray(saved.read_bytes()), load(saved)
    noticed = 0
    for place in range(0, len(data), 3):
        data[place] ^= 0xFF
        saved.write_bytes(data)
        data[place] ^= 0xFF
        try:
            assert load(saved).equals(one)  # a date or a comment of the archive
        except FileFormatError:
            noticed += 1
    assert noticed > len(data) / 3 / 2


def test_a_pickle_in_the_archive_is_not_run(saved):
    buffer = io.BytesIO()
    np.save(buffer, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(FileFormatError, match=r"damaged one.*[Oo]bject array"):
        load(rewrite(saved, values__npy=buffer.getvalue()))


@pytest.mark.parametrize(
    "change",
    [
        lambda head: head | {"arrays": ["values", "lost"]},
        lambda head: head | {"format_version": "two"},
        lambda head: head | {"facts": head["facts"] | {"unknown": 1}},
        lambda head: head | {"facts": head["facts"] | {"row_layers": ["only one"]}},
        lambda head: head | {"facts": head["facts"] | {"range": [0.0]}},
        lambda head: head | {"facts": 3},
        lambda head: [head],
    ],
)
def test_a_header_that_does_not_fit(saved, change):
    with pytest.raises(FileFormatError, match="truncated or damaged"):
        load(rewrite(saved, header__json=container.dumps(change(header(saved)))))


def test_a_nan_literal_in_the_header(saved):
    text = container.dumps(header(saved)).replace('{"$float": "nan"}', "NaN")
    with pytest.raises(FileFormatError, match="NaN is not JSON"):
        load(rewrite(saved, header__json=text))
