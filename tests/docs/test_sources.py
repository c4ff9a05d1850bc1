"""What pages say of extras, records, thresholds and each other is what these say."""

from __future__ import annotations

import re
import tomllib

from repscope.capture.reduce import REDUCTIONS
from repscope.compare import compare
from repscope.inference import alarms
from tests.docs.pages import DOCS, PAGES

ROOT = DOCS.parent
NOT_FOR_USERS = {"all", "test", "docs"}


def read(page: str) -> str:
    return (DOCS / page).read_text("utf-8")


def test_the_first_page_names_every_extra():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    extras = read("start.md").partition("Everything else is an extra:")[2].partition("`all`")[0]
    missing = {name for name in set(declared) - NOT_FOR_USERS if f"`{name}`" not in extras}
    assert not missing


def test_the_time_that_a_report_takes_to_open_is_that_of_the_record():
    record = (ROOT / "benchmarks" / "results" / "report-opening-2026-11-27.md").read_text("utf-8")
    seconds = dict(re.findall(r"^\| (\d+) × \d+ \| [\d.]+ MB \| ([\d.]+ s) \|", record, flags=re.M))
    said = re.search(
        r"heat map of 20 × 20 layers ([\d.]+ s) .* 200 × 200 after ([\d.]+ s)", read("report.md").replace("\n", " ")
    )
    assert said is not None
    assert said.groups() == (seconds["20"], seconds["200"])


def test_the_thresholds_of_one_direction_are_those_of_the_code():
    rows = [row for row in read("diagnostics.md").splitlines() if row.startswith("| `") and "from 0.8" in row]
    assert {alarms.FIRST_COMPONENT, alarms.TRANSLATION} == {0.8}
    assert all(f"from 0.8, of {alarms.FEATURES} features or more" in row for row in rows)
    (one,) = (row for row in rows if "first_component_share" in row)
    assert f"{0.8**2 / (0.8**2 + 0.2**2):.2f} or more the squared correlation" in one


def test_every_reduction_is_documented():
    text = " ".join(compare.__doc__.partition("reduce:")[2].partition("forward:")[0].split())
    assert {name for name in REDUCTIONS if f'``"{name}"``' not in text} == set()
    of_tokens = set(REDUCTIONS) - {"flatten", "positions"}
    for page in ("language_models.md", "guides/language.md"):
        assert {name for name in of_tokens if not re.search(rf'`"?{name}[`":]', read(page))} == set(), page


def test_no_two_pages_share_a_title():
    titles = [next((line for line in read(page).splitlines() if line.startswith("# ")), page) for page in PAGES]
    assert len(set(titles)) == len(titles)
