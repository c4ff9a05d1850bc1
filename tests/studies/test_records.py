"""The committed records of studies agree with themselves."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from repscope.studies.page import duration

RESULTS = Path(__file__).parents[2] / "results"
if not RESULTS.is_dir():
    pytest.skip("the records are not part of the source distribution", allow_module_level=True)

RECORDS = sorted(path.parent.relative_to(RESULTS).as_posix() for path in RESULTS.glob("*/*/numbers.json"))
ROUNDED = 0.01
"""Seconds in ``numbers.json`` are rounded."""


@pytest.mark.parametrize("name", RECORDS)
def test_the_page_the_numbers_and_the_times_say_the_same_of_time(name):
    folder = RESULTS / name
    seconds = json.loads((folder / "numbers.json").read_text("utf-8"))["seconds"]
    times = json.loads((folder / "times.json").read_text("utf-8"))
    assert {stage: seconds[stage] for stage in times} == pytest.approx(times, abs=ROUNDED)
    lines = (folder / "page.md").read_text("utf-8").splitlines()
    rows = [f"- {stage}: {duration(took)}" for stage, took in seconds.items()]
    start = lines.index(rows[0])
    assert lines[start : start + len(rows)] == rows
    assert not lines[start + len(rows)].endswith((" s", " min", " h"))


@pytest.mark.parametrize("name", RECORDS)
def test_stages_count_over_all_calls_and_so_does_their_sum(name):
    seconds = json.loads((RESULTS / name / "numbers.json").read_text("utf-8"))["seconds"]
    assert not any("this call" in stage for stage in seconds)
    *stages, whole = seconds
    assert whole in ("in all", "in all, last call")
    if whole == "in all":
        assert seconds[whole] >= sum(seconds[stage] for stage in stages) - ROUNDED * len(seconds)


def test_the_networks_that_are_kept_are_those_that_the_page_lists():
    kept = {path.name: len(list(path.glob("*.safetensors"))) for path in RESULTS.glob("networks/*/")}
    rows = re.findall(r"^\| `(.+?)` \|.*seeds 0 to (\d+) ", (RESULTS / "networks/README.md").read_text("utf-8"), re.M)
    assert {name: int(last) + 1 for name, last in rows} == kept
    page = (RESULTS / "README.md").read_text("utf-8").replace("\n", " ")
    assert "twice ten Tiny-10, and three with half the channels. Those of the other studies are not" in page
