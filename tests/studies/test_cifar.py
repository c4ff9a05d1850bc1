from __future__ import annotations

import dataclasses
import http.server
import io
import os
import pickle
import struct
import threading
from functools import partial

import numpy as np
import pytest

from repscope.errors import FileFormatError, InputError, MissingExtraError
from repscope.studies import cifar
from repscope.studies._pickle import read_dictionary
from repscope.studies.datasets import load_images
from tests.studies import cifar_files

WRITERS = {"binary": cifar_files.write_binary, "python": cifar_files.write_python, "grids": cifar_files.write_grids}
NAMES = ("cifar10", "cifar100")


@pytest.fixture
def sources(monkeypatch):
    """Both sources with twenty training images and six test images."""
    small = {name: cifar_files.small(name) for name in NAMES}
    monkeypatch.setattr(cifar, "SOURCES", small)
    return small


def folder_of(form, source):
    return {"binary": source.folders[0], "python": source.folders[1], "grids": source.title.lower().replace("-", "")}[
        form
    ]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("form", WRITERS)
def test_every_form_gives_the_same_images_from_the_folder_and_from_its_parent(name, form, sources, tmp_path):
    if form == "grids":
        pytest.importorskip("PIL")
    source = sources[name]
    folder = WRITERS[form](source, tmp_path / "data" / folder_of(form, source))
    files = cifar_files.content(source)
    for place in (folder, folder.parent):
        images = load_images(name, place)
        train = np.concatenate([files[file][0] for file in source.train]).reshape(-1, 3, 32, 32)
        np.testing.assert_array_equal(images.train_images, train)
        np.testing.assert_array_equal(images.test_images, files[source.test][0].reshape(-1, 3, 32, 32))
        np.testing.assert_array_equal(images.train_labels, np.concatenate([files[f][1][:, -1] for f in source.train]))
        np.testing.assert_array_equal(images.test_labels, files[source.test][1][:, -1])
        assert images.train_images.dtype == np.uint8
        assert images.train_labels.dtype == np.int64
        assert images.classes == tuple(cifar_files.class_names(source))
        assert images.notes == ()


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL))
def test_python_files_are_read_in_every_protocol_that_numpy_arrays_share(protocol, sources, tmp_path):
    folder = cifar_files.write_python(sources["cifar10"], tmp_path / "cifar-10-batches-py", protocol)
    assert len(load_images("cifar10", folder).train_images) == 20


def python_2_pickle(pixels, labels):
    """The bytes that Python 2 wrote for a batch: its strings are neither text nor bytes of Python 3."""
    rows, columns = pixels.shape
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01"
        + struct.pack("<BBBHB", ord("K"), rows, ord("M"), columns, 0x86)
        + b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T"
        + struct.pack("<I", pixels.size)
        + pixels.tobytes()
        + b"tb"
    )
    marks = b"](" + b"".join(bytes([ord("K"), label]) for label in labels) + b"e"
    return b"\x80\x02}(U\x04data" + array + b"U\x06labels" + marks + b"u."


def test_pickles_of_python_2_are_read(sources, tmp_path):
    folder = cifar_files.write_python(sources["cifar10"], tmp_path / "py")
    expected = load_images("cifar10", folder).fingerprint
    for name, (pixels, labels) in cifar_files.content(sources["cifar10"]).items():
        (folder / name).write_bytes(python_2_pickle(pixels, labels[:, -1]))
    assert load_images("cifar10", folder).fingerprint == expected


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("form", ["binary", "python"])
def test_archives_are_read_as_they_are_and_checked(name, form, sources, tmp_path, monkeypatch):
    source = sources[name]
    index = ["binary", "python"].index(form)
    folder = WRITERS[form](source, tmp_path / "unpacked" / source.folders[index])
    data = tmp_path / "data"
    data.mkdir()
    archive = data / source.archives[index][0]
    md5 = cifar_files.pack(folder, archive)
    with pytest.raises(FileFormatError, match=rf"{archive.name}' must have the MD5 sum {source.archives[index][1]}"):
        load_images(name, data)
    set_checksum(monkeypatch, name, index, md5)
    assert load_images(name, data).fingerprint == load_images(name, folder).fingerprint


def set_checksum(monkeypatch, name, index, md5):
    source = cifar.SOURCES[name]
    archives = list(source.archives)
    archives[index] = (archives[index][0], md5)
    monkeypatch.setitem(cifar.SOURCES, name, dataclasses.replace(source, archives=tuple(archives)))


def test_an_archive_without_a_file_names_it(sources, tmp_path, monkeypatch):
    folder = cifar_files.write_binary(sources["cifar10"], tmp_path / "u" / "cifar-10-batches-bin")
    (folder / "data_batch_3.bin").unlink()
    (tmp_path / "d").mkdir()
    set_checksum(monkeypatch, "cifar10", 0, cifar_files.pack(folder, tmp_path / "d" / "cifar-10-binary.tar.gz"))
    with pytest.raises(FileFormatError, match=r"must hold data_batch_3\.bin, got batches\.meta\.txt, data_batch_1"):
        load_images("cifar10", tmp_path / "d")


def test_an_archive_that_is_cut_but_bears_the_right_sum_is_refused(sources, tmp_path, monkeypatch):
    import hashlib

    path = tmp_path / "cifar-10-binary.tar.gz"
    cifar_files.pack(cifar_files.write_binary(sources["cifar10"], tmp_path / "u" / "x"), path)
    path.write_bytes(path.read_bytes()[:2000])
    set_checksum(monkeypatch, "cifar10", 0, hashlib.md5(path.read_bytes()).hexdigest())
    with pytest.raises(FileFormatError, match=r"must be a whole \.tar\.gz archive"):
        load_images("cifar10", tmp_path)


def test_a_truncated_binary_file_is_named_with_both_sizes(sources, tmp_path):
    folder = cifar_files.write_binary(sources["cifar10"], tmp_path / "bin")
    path = folder / "data_batch_2.bin"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(FileFormatError, match=r"data_batch_2\.bin in .* must have 12,292 bytes .*, got 12,287"):
        load_images("cifar10", folder)


@pytest.mark.parametrize(("form", "file"), [("binary", "data_batch_4.bin"), ("python", "data_batch_4")])
def test_a_missing_file_is_named(form, file, sources, tmp_path):
    folder = WRITERS[form](sources["cifar10"], tmp_path / "data")
    (folder / file).unlink()
    with pytest.raises(FileFormatError, match=rf"{file}' must exist beside the other files, but is missing"):
        load_images("cifar10", folder)


def test_labels_out_of_range_are_named_with_their_place(sources, tmp_path):
    folder = cifar_files.write_binary(sources["cifar10"], tmp_path / "bin")
    path = folder / "test_batch.bin"
    data = bytearray(path.read_bytes())
    data[2 * 3073] = 10
    path.write_bytes(data)
    with pytest.raises(
        FileFormatError, match=r"labels of CIFAR-10 must be from 0 to 9, got 10 at image 2 of test_batch"
    ):
        load_images("cifar10", folder)


def test_too_few_class_names_are_refused(sources, tmp_path):
    folder = cifar_files.write_binary(sources["cifar10"], tmp_path / "bin")
    (folder / "batches.meta.txt").write_text("airplane\n", "utf-8")
    with pytest.raises(FileFormatError, match=r"batches\.meta\.txt in .* must name 10 classes, got 1"):
        load_images("cifar10", folder)


# Pickles


class _Attack:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_malicious_pickle_does_not_run(sources, tmp_path):
    folder = cifar_files.write_python(sources["cifar10"], tmp_path / "py")
    mark = tmp_path / "executed"
    attack = pickle.dumps({b"data": _Attack(mark), b"labels": [0]}, 2)
    (folder / "data_batch_1").write_bytes(attack)
    with pytest.raises(
        FileFormatError, match=r"data_batch_1 in .* was not read, because it names posix.mkdir, which no"
    ):
        load_images("cifar10", folder)
    assert not mark.exists()
    pickle.loads(attack)  # an ordinary reader runs it
    assert mark.is_dir()


@pytest.mark.parametrize("name", ["builtins.eval", "os.system", "numpy.load", "numpy.core.multiarray.scalar"])
def test_no_other_name_is_looked_up(name):
    module, _, attribute = name.rpartition(".")
    with pytest.raises(pickle.UnpicklingError, match=f"it names {name}"):
        read_dictionary(io.BytesIO(f"c{module}\n{attribute}\n.".encode()))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "damaged"),
        (b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00utf-8\x86R.", "encodes a str as 'utf-8'"),
        (pickle.dumps({b"a": 1})[:-3], "damaged|truncated"),
        (pickle.dumps([1, 2]), "holds a list, no dictionary"),
        (pickle.dumps({"data": np.zeros(3)}, 2), "not of unsigned bytes"),
        (pickle.dumps({"data": np.zeros((2, 3), np.uint8, order="F")}, 2), "not of unsigned bytes in C order"),
        (b"cnumpy.core.multiarray\n_reconstruct\n(tRp0\n(I1\n(I9\ntcnumpy\ndtype\n(S'u1'\ntRI00\nC\x01Atb0(dS'd'\ng0\ns.",
         "an array of shape"),
        (b"cnumpy.core.multiarray\n_reconstruct\n(tRp0\nI5\nb0(dS'd'\ng0\ns.", "damaged"),
    ],
)  # fmt: skip
def test_damaged_and_foreign_pickles_are_refused(content, reason):
    with pytest.raises(pickle.UnpicklingError, match=reason):
        read_dictionary(io.BytesIO(content))


def test_a_python_file_of_another_size_or_kind_is_refused(sources, tmp_path):
    folder = cifar_files.write_python(sources["cifar10"], tmp_path / "py")
    short = {b"data": np.zeros((3, 3072), np.uint8), b"labels": [0, 1, 2]}
    (folder / "data_batch_1").write_bytes(pickle.dumps(short, 2))
    with pytest.raises(
        FileFormatError, match=r"data_batch_1 in .* images of shape \(4, 3072\) .* got \(3, 3072\) and 3"
    ):
        load_images("cifar10", folder)
    (folder / "data_batch_1").write_bytes(pickle.dumps({b"data": 1}, 2))
    with pytest.raises(FileFormatError, match=r"data_batch_1 in .* must hold 'labels', got 'data'"):
        load_images("cifar10", folder)


# Grids


@pytest.fixture
def grids(sources, tmp_path):
    pytest.importorskip("PIL")
    return cifar_files.write_grids(sources["cifar10"], tmp_path / "cifar10")


def test_a_part_of_the_images_is_noted(grids):
    for number in (3, 4):
        (grids / f"train_{number:02}.webp").unlink()
    images = load_images("cifar10", grids)
    assert len(images.train_images) == len(images.train_labels) == 12
    assert images.notes == ("the first 12 of 20 training images",)


def test_a_missing_picture_is_named(grids):
    (grids / "train_02.webp").unlink()
    with pytest.raises(FileFormatError, match=r"without a gap, got none with the number 2 beside train_00\.webp"):
        load_images("cifar10", grids)


def test_no_pictures_at_all(grids):
    (grids / "test_00.webp").unlink()
    with pytest.raises(FileFormatError, match=r"must hold pictures named test_00\.webp and so on"):
        load_images("cifar10", grids)


def test_a_truncated_picture_is_named(grids):
    path = grids / "train_01.webp"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(FileFormatError, match=r"train_01\.webp' must be a whole picture, got 500 bytes"):
        load_images("cifar10", grids)


def test_a_picture_that_is_no_grid_is_refused(grids):
    from PIL import Image

    Image.new("RGB", (33, 32)).save(grids / "test_00.webp")
    with pytest.raises(FileFormatError, match=r"test_00\.webp' must be a grid of 32×32 pixels, got 33×32"):
        load_images("cifar10", grids)


def test_too_few_labels_are_counted(grids):
    (grids / "labels_train.u8").write_bytes(b"\0" * 19)
    with pytest.raises(FileFormatError, match=r"labels_train\.u8' must have 1 byte\(s\) for each of 20 .*got 19"):
        load_images("cifar10", grids)


def test_approximate_images_are_noted(grids):
    (grids / "approx_indices.txt").write_text("# split, index\ntrain 3 8\ntest 0 8\n", "utf-8")
    assert load_images("cifar10", grids).notes == ("2 images from a JPEG copy",)


def test_near_lossless_pictures_are_noted(sources, tmp_path):
    features = pytest.importorskip("PIL.features")
    if not features.check("avif"):
        pytest.skip("this Pillow reads no AVIF")
    folder = cifar_files.write_grids(sources["cifar10"], tmp_path / "cifar10-small", suffix=".avif")
    for number in range(5):
        (folder / f"train_{number:02}.avif").rename(folder / f"cifar10_train_{number + 1}.avif")
    (folder / "test_00.avif").rename(folder / "cifar10_test.avif")
    images = load_images("cifar10", tmp_path)
    assert images.notes == ("near-lossless",)
    assert images.train_images.shape == (20, 3, 32, 32)


def test_without_pillow_the_message_says_how_to_get_it(grids, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "PIL", None)
    with pytest.raises(MissingExtraError, match=r"pillow.*pip install 'repscope\[images\]'"):
        load_images("cifar10", grids)


# Finding and fetching


def test_where_nothing_is_found_the_message_says_where_it_looked(sources, tmp_path):
    with pytest.raises(
        InputError, match=r"must hold CIFAR-10 .*got a folder without it: looked in .*cifar-10-batches-bin"
    ):
        load_images("cifar10", tmp_path)
    with pytest.raises(InputError, match=r"got no such folder: looked in .*missing"):
        load_images("cifar10", tmp_path / "missing")
    with pytest.raises(
        InputError, match=r"data_dir must name the folder of CIFAR-100, got None\. Fetch https://.*download"
    ):
        load_images("cifar100")


def test_one_data_set_is_not_taken_for_the_other(sources, tmp_path):
    pytest.importorskip("PIL")
    cifar_files.write_grids(sources["cifar100"], tmp_path / "cifar100")
    with pytest.raises(InputError, match="must hold CIFAR-10 "):
        load_images("cifar10", tmp_path / "cifar100")


def test_an_unknown_name_is_refused():
    with pytest.raises(InputError, match=r"name must be one of digits, cifar10, cifar100, got 'mnist'"):
        load_images("mnist")


@pytest.fixture
def site(sources, tmp_path, monkeypatch):
    """A local server in the place of the authors' site, with the binary archive of CIFAR-10."""
    folder = cifar_files.write_binary(sources["cifar10"], tmp_path / "unpacked" / "cifar-10-batches-bin")
    served = tmp_path / "served"
    served.mkdir()
    md5 = cifar_files.pack(folder, served / "cifar-10-binary.tar.gz")
    set_checksum(monkeypatch, "cifar10", 0, md5)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(served)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setattr(cifar, "SITE", f"http://127.0.0.1:{server.server_port}/")
    yield served
    server.shutdown()
    thread.join()
    server.server_close()


def test_what_is_missing_is_fetched_once(site, tmp_path):
    target = tmp_path / "new" / "data"
    images = load_images("cifar10", target, download=True)
    assert len(images.train_images) == 20
    assert [path.name for path in target.iterdir()] == ["cifar-10-binary.tar.gz"]
    (site / "cifar-10-binary.tar.gz").unlink()
    assert load_images("cifar10", target, download=True).fingerprint == images.fingerprint


def test_a_download_that_fails_its_checksum_leaves_nothing(site, tmp_path):
    path = site / "cifar-10-binary.tar.gz"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(
        FileFormatError, match=r"download of http://.* must have the MD5 sum .*, got .* in [\d,]+ bytes"
    ):
        load_images("cifar10", tmp_path / "data", download=True)
    assert list((tmp_path / "data").iterdir()) == []


def test_a_site_that_does_not_answer(site, tmp_path, monkeypatch):
    (site / "cifar-10-binary.tar.gz").unlink()
    with pytest.raises(InputError, match=r"download=True must be able to fetch http://.*404.*pass the folder"):
        load_images("cifar10", tmp_path / "data", download=True)
    monkeypatch.setattr(cifar, "SITE", "http://127.0.0.1:9/")
    with pytest.raises(InputError, match=r"download=True must be able to fetch http://127\.0\.0\.1:9/"):
        load_images("cifar10", tmp_path / "data", download=True)
