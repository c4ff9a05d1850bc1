"""The bar that long commands show."""

from __future__ import annotations

import re

import pytest

from repscope._progress import track


@pytest.mark.parametrize(("variable", "colored"), [("NO_COLOR", False), ("COLUMNS", True)])
def test_it_tells_the_time_left_and_has_no_colours_where_none_are_wanted(variable, colored, capsys, monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")  # as on a terminal
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv(variable, "70")
    assert list(track([1, 2], "Comparing", show=True)) == [1, 2]
    shown = capsys.readouterr().err
    assert "Comparing" in shown
    assert "100%" in shown
    assert "0:00:00" in shown
    assert bool(re.search(r"\x1b\[(?:\d;)*3\d", shown)) == colored
