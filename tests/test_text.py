"""Files of sentences."""

from __future__ import annotations

import warnings

import pytest

from repscope.errors import CaptureWarning, InputError
from repscope.text import TextFile


def test_a_sentence_a_line(tmp_path):
    file = tmp_path / "a.txt"
    file.write_bytes("\ufeffA dog.\r\nEin Hund\u2028läuft. \n  snow\n".encode())
    text = TextFile(file)
    assert [text[i] for i in range(len(text))] == ["A dog.", "Ein Hund\u2028läuft.", "  snow"]
    assert text.lines == (1, 2, 3)


def test_empty_lines_are_left_out_with_a_warning(tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("one\n\n \ntwo\n\n\n\n\n\n")
    with pytest.warns(CaptureWarning, match=r"7 of 9 in '.*a\.txt' are empty and left out: 2, 3, 5, 6, 7, …"):
        text = TextFile(file)
    assert text.sentences == ("one", "two")
    assert text.lines == (1, 4)
    file.write_text("one\ntwo\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        TextFile(file)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("gut\nschön\n".encode("latin1"), r"got byte 0xf6 in line 2 at byte 4 of '.*a\.txt' \(invalid start byte\)"),
        (b"\xef\xbb\xbfok \xff", r"byte 0xff in line 1 at byte 4 .*Convert it"),
        (b"", r"must hold at least one sentence, got none in"),
        (b"\n\n \n", r"must hold at least one sentence, got none in"),
    ],
)
def test_files_that_are_refused(tmp_path, content, message):
    file = tmp_path / "a.txt"
    file.write_bytes(content)
    with pytest.raises(InputError, match=message):
        TextFile(file)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match=r"path must name an existing file, got '.*gone\.txt'"):
        TextFile(tmp_path / "gone.txt")
