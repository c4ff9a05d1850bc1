from __future__ import annotations

import gzip
from dataclasses import replace

import pytest

from repscope.errors import FileFormatError, InputError, MissingExtraError
from repscope.studies import vocabulary
from repscope.studies.text import MULTI30K_TESTS, ParallelText, load_text
from repscope.studies.vocabulary import BEGIN, END, SubWords, Words

ENGLISH = ["A man sits.", "Two dogs, playing!", "A  red   hat", "naïve — 5 €"]
GERMAN = ["Ein Mann sitzt.", "Zwei Hunde spielen!", "Ein roter Hut", "Straßenfußgänger"]


@pytest.fixture
def folder(tmp_path):
    """Files like those of Multi30k, of four lines each."""
    for name in ("train", *MULTI30K_TESTS):
        for language, lines in (("en", ENGLISH), ("de", GERMAN)):
            content = "".join(f"{line}\n" for line in lines).encode()
            (tmp_path / f"{name}.{language}.gz").write_bytes(gzip.compress(content))
    return tmp_path


def test_numbers_are_made_the_same_every_time_and_tests_are_not_trained_on():
    text, again = load_text("numbers"), load_text("numbers")
    assert text.fingerprint == again.fingerprint
    assert (len(text.train), len(text.judged)) == (20_000, 200)
    assert not set(text.train) & set(text.judged)
    assert len(dict(text.train)) == len(text.train)
    assert text.vocabulary.kind == "words"


def test_tokens_of_pairs_have_their_ends_and_come_back():
    text = load_text("numbers")
    ((source, target),) = text.tokens([("forty-two", "zwei und vierzig")])
    assert source[-1] == END
    assert (target[0], target[-1]) == (BEGIN, END)
    assert text.vocabulary.decode([source, target]) == ["forty two", "zwei und vierzig"]
    assert text.vocabulary.size == 3 + len(text.vocabulary.words)


def test_the_fingerprint_sees_every_change():
    pairs = (("a b", "c"), ("b", "c c"))
    text = ParallelText("numbers", pairs, {"test": pairs[:1]}, Words(("a", "b", "c")))
    others = [
        replace(text, train=pairs[::-1]),
        replace(text, train=(("a", "b c"), pairs[1])),
        replace(text, tests={"other": pairs[:1]}),
        replace(text, tests={"test": pairs}),
        replace(text, vocabulary=Words(("b", "a", "c"))),
    ]
    assert len({one.fingerprint for one in (text, *others)}) == 6
    assert replace(text, name="x").fingerprint == text.fingerprint


def test_taken_apart_and_put_together_it_is_the_same():
    text = load_text("numbers")
    small = replace(text, train=text.train[:5], tests={"test": text.judged[:3]}, notes=("short",))
    again = ParallelText.unpack(*small.pack())
    assert again.fingerprint == small.fingerprint
    assert (again.train, again.tests, again.notes) == (small.train, small.tests, small.notes)
    assert small.facts(2) == {
        "name": "numbers",
        "fingerprint": small.fingerprint,
        "train_pairs": 2,
        "test_pairs": 3,
        "vocabulary": text.vocabulary.size,
        "tokens": "words",
        "notes": ["short"],
    }


@pytest.mark.parametrize("sub", ["", "multi30k", "text/multi30k"])
def test_multi30k_is_found_in_its_folder_and_below(folder, sub, tmp_path_factory):
    pytest.importorskip("tokenizers")
    root = tmp_path_factory.mktemp("data")
    place = root / sub
    place.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        (place / path.name).write_bytes(path.read_bytes())
    text = load_text("multi30k", root, vocabulary_size=300)
    assert text.train == tuple(zip(ENGLISH, GERMAN, strict=True))
    assert tuple(text.tests) == MULTI30K_TESTS
    assert text.notes == ()
    assert text.vocabulary.size == 300


def test_sub_words_give_every_text_back_and_are_learned_the_same_every_time(folder):
    pytest.importorskip("tokenizers")
    text = load_text("multi30k", folder, vocabulary_size=300)
    assert text.fingerprint == load_text("multi30k", folder, vocabulary_size=300).fingerprint
    for sentence in [*ENGLISH, *GERMAN, "Unseen: 漢字 and ☃"]:
        assert text.vocabulary.decode(text.vocabulary.encode([sentence])) == [sentence]
    assert text.vocabulary.decode([[BEGIN, *text.vocabulary.encode(["A man"])[0], END]]) == ["A man"]
    copied = vocabulary.from_text(text.vocabulary.to_text())
    assert copied.encode(ENGLISH) == text.vocabulary.encode(ENGLISH)
    with pytest.raises(InputError, match="size must be at least 259, got 100"):
        SubWords.learned(ENGLISH, 100)


def test_missing_test_sets_are_noted_and_the_first_is_needed(folder):
    pytest.importorskip("tokenizers")
    (folder / "test_2017_mscoco.de.gz").unlink()
    text = load_text("multi30k", folder, vocabulary_size=300)
    assert text.notes == ("The folder has no test_2017_mscoco.",)
    (folder / "test_2016_flickr.de.gz").unlink()
    with pytest.raises(FileFormatError, match=r"must hold test_2016_flickr\.de or test_2016_flickr\.de\.gz"):
        load_text("multi30k", folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"one\ntwo\n", r"must have the same number of lines, got 4 and 2"),
        (b"eins\nzw\xffei\ndrei\nvier\n", r"must be UTF-8, got byte 0xff in line 2, place 3"),
    ],
)
def test_damaged_files_are_named(folder, content, message):
    (folder / "train.de.gz").unlink()
    (folder / "train.de").write_bytes(content)
    with pytest.raises(FileFormatError, match=message):
        load_text("multi30k", folder)


@pytest.mark.parametrize("place", [3, 10, -6])  # its header, what it holds, its checksum
def test_an_archive_with_a_wrong_byte_is_named(folder, place):
    path = folder / "train.de.gz"
    content = bytearray(path.read_bytes())
    content[place] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match=r"train\.de(\.gz)?' must be "):
        load_text("multi30k", folder, vocabulary_size=60)


def test_a_truncated_archive_is_named(folder):
    path = folder / "train.de.gz"
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(FileFormatError, match=r"train\.de\.gz' must be a whole gzip file"):
        load_text("multi30k", folder)


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match="name must be one of numbers, multi30k, got 'wmt'"):
        load_text("wmt")
    with pytest.raises(InputError, match="pass their folder as data_dir"):
        load_text("multi30k")
    with pytest.raises(InputError, match=r"data_dir must hold train\.en"):
        load_text("multi30k", tmp_path)


def test_the_package_for_sub_words_is_named(folder, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tokenizers", None)
    with pytest.raises(MissingExtraError, match=r"package 'tokenizers'.*repscope\[text\]"):
        load_text("multi30k", folder)


def test_unknown_words_are_named():
    with pytest.raises(InputError, match="got 'dozen', which is none of its 2"):
        Words(("one", "two")).encode(["one dozen"])


def test_nothing_to_learn_from_is_refused():
    pair = (("a", "b"),)
    with pytest.raises(InputError, match="train must hold at least one pair"):
        ParallelText("numbers", (), {"test": pair}, Words(("a", "b")))
    with pytest.raises(InputError, match="tests must hold at least one test set"):
        ParallelText("numbers", pair, {}, Words(("a", "b")))
