"""``repscope doctor``: what this installation can do, and what it lacks."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import metadata

import numpy as np
import pytest

from repscope import __version__
from repscope.cli import doctor
from repscope.engine import products

REQUIRES = [
    "numpy>=1.26",
    "torch>=2.4; extra == 'torch'",
    'no-such-package[x]>=3,<4 ; extra == "plot"',
    "matplotlib>=3.8; python_version >= '3.11' and extra == 'plot'",
    "repscope[plot,torch]; extra == 'all'",
    "pytest>=8; extra == 'test'",
]


@pytest.fixture
def requirements(monkeypatch):
    monkeypatch.setattr(metadata, "requires", lambda name: REQUIRES)


def test_what_is_missing_is_named_with_the_command_that_installs_it(requirements, repscope):
    done = repscope("doctor")
    assert done.code == 0
    assert "\nplot  lacks no-such-package: pip install 'repscope[plot]'\n      matplotlib 3." in done.out
    assert f"\ncore  numpy {np.__version__}\n" in done.out
    assert f"repscope {__version__}, python 3." in done.out
    assert "device cpu" in done.out
    assert "Gflop/s" in done.out
    assert "pytest" not in done.out


def test_columns_fit_the_longest_extra_and_one_thread_is_one():
    needs = {name: (doctor.Requirement("numpy", "", "2.0"),) for name in ("core", "transformers")}
    found = doctor.Findings({"repscope": "1"}, "Linux", 1, 2.0**30, {"cpu": "x"}, {"numpy": 1e9}, needs)
    lines = doctor.report_lines(found)
    assert lines[-2:] == ["core         numpy 2.0", "transformers numpy 2.0"]
    assert "1.0 GiB of memory free, 1 thread" in lines
    assert "1.0 GiB of memory free, 2 threads" in doctor.report_lines(replace(found, threads=2))


def test_json_holds_the_same(requirements, repscope):
    found = json.loads(repscope("doctor", "--json").out)
    assert set(found["extras"]) == {"core", "torch", "plot"}
    assert found["extras"]["core"] == [{"name": "numpy", "wanted": ">=1.26", "installed": np.__version__}]
    missing, there = found["extras"]["plot"]
    assert missing == {"name": "no-such-package", "wanted": ">=3,<4", "installed": None}
    assert there["installed"] == metadata.version("matplotlib")
    assert found["memory"] > 0
    assert found["threads"] >= 1
    assert min(found["routes"].values()) > 0


def test_the_declared_extras_are_read():
    extras = doctor._extras()
    assert {"core", "torch", "plot", "frames", "cli", "images", "store"} <= set(extras)
    assert not set(extras) & set(doctor.NOT_FOR_USERS)
    assert {need.name for need in extras["core"]} == {"numpy", "array-api-compat"}


def test_the_routes_are_those_of_the_engine():
    rates = products.route_rates()
    assert set(rates) == set(products._trials("sample"))
    assert products.flops_per_second() == max(rates.values())
