from __future__ import annotations

import io
import sys

import pytest

pytest.importorskip("torch")

from repscope.studies.training import Epoch
from repscope.studies.zoo._report import Report


class Terminal(io.StringIO):
    def isatty(self):
        return True


def told(monkeypatch, stream, show):
    """What a report of two networks, of which one epoch is done already, says about the next two epochs."""
    monkeypatch.setattr(sys, "stderr", stream)
    with Report("two networks", epochs=5, examples=1000, workers=2, show=show) as report:
        report.speed(10.0)
        report.speed(30.0)
        report.epoch(0, Epoch(2, 3, 1.5, 0.25, 60.0))
        report.epoch(1, Epoch(1, 3, 2.5, 0.125, 180.0))
        report.done(0, 0.875)
    return stream.getvalue()


def test_a_log_gets_lines_with_the_time_left(monkeypatch):
    assert told(monkeypatch, io.StringIO(), True).splitlines() == [
        "two networks",
        "measured 20 images/s a network, 40 in all: about 2 min to expect",  # 5 · 1000 / 40 s
        "seed 0  epoch 2/3  loss 1.5000  train 25.0 %  60.0 s  left 2 min",  # 4 · 60 s / 2
        "seed 1  epoch 1/3  loss 2.5000  train 12.5 %  180.0 s  left 3 min",  # 3 · 120 s / 2
        "seed 0  finished after 60 s: test accuracy 87.50 %",
    ]


def test_what_to_expect_is_said_when_all_have_measured(monkeypatch):
    monkeypatch.setattr(sys, "stderr", stream := io.StringIO())
    with Report("three networks", epochs=3, examples=1000, workers=3, show=True) as report:
        report.speed(10.0)
        report.speed(10.0)
        assert "measured" not in stream.getvalue()
        report.speed(4.0)
        assert stream.getvalue().splitlines()[1:] == [
            "measured 8 images/s a network, 24 in all: about 2 min to expect"  # 3 · 1000 / 24 s
        ]


@pytest.mark.parametrize(("seconds", "said"), [(45.0, []), (120.0, ["5 min"]), (30.0, ["75 s"])])
def test_the_first_real_epoch_corrects_what_to_expect(monkeypatch, seconds, said):
    monkeypatch.setattr(sys, "stderr", stream := io.StringIO())
    with Report("two networks", epochs=5, examples=1000, workers=2, show=True) as report:
        report.speed(20.0)
        report.speed(20.0)  # 125 s
        report.epoch(0, Epoch(1, 3, 1.5, 0.25, seconds))
        report.epoch(1, Epoch(1, 3, 1.5, 0.25, 1000.0))  # once is enough
    corrections = [line for line in stream.getvalue().splitlines() if "in all" in line and "first epoch" in line]
    assert corrections == [f"the first epoch took {seconds:.1f} s: about {time} to expect in all" for time in said]


def test_a_terminal_gets_a_bar(monkeypatch):
    pytest.importorskip("rich")
    monkeypatch.setenv("TERM", "xterm")
    text = told(monkeypatch, Terminal(), None)
    assert "about 2 min to expect" in text
    assert "seed 1  epoch 1/3" in text
    assert "left" not in text
    assert "━" in text


def test_without_rich_a_terminal_gets_lines(monkeypatch):
    monkeypatch.setitem(sys.modules, "rich.console", None)
    assert "left 3 min" in told(monkeypatch, Terminal(), None)


def test_inside_another_display_lines_are_used(monkeypatch):
    pytest.importorskip("rich")
    from rich.errors import LiveError
    from rich.progress import Progress

    def refuse(_):
        raise LiveError("Only one live display may be active at once")

    monkeypatch.setattr(Progress, "__enter__", refuse)
    assert "left 3 min" in told(monkeypatch, Terminal(), None)


@pytest.mark.parametrize(("stream", "show"), [(io.StringIO, None), (io.StringIO, False), (Terminal, False)])
def test_elsewhere_or_if_told_so_it_is_silent(monkeypatch, stream, show):
    assert told(monkeypatch, stream(), show) == ""
