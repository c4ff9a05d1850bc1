from __future__ import annotations

import pytest

from repscope.errors import InputError
from repscope.studies.findings import Findings
from repscope.studies.study import Study

SETTINGS = {"data": "digits", "networks": 3, "rate": 0.5, "widths": [2, 4], "names": ["a", "b"], "fast": True}


def study():
    return Study(
        name="example",
        title="Is it so?",
        source="§1",
        shows="It is.",
        protocol=("Done.",),
        settings=dict.fromkeys(("tiny", "small", "paper"), SETTINGS),
        reductions={"tiny": ("All of it.",), "small": (), "paper": ()},
        run=lambda _: Findings(),
    )


@pytest.mark.parametrize(
    ("changes", "settled"),
    [
        ({"networks": "5"}, {"networks": 5}),
        ({"networks": 5}, {"networks": 5}),
        ({"rate": "1e-3"}, {"rate": 0.001}),
        ({"rate": 1}, {"rate": 1.0}),
        ({"widths": "8,16,32"}, {"widths": [8, 16, 32]}),
        ({"widths": [8]}, {"widths": [8]}),
        ({"names": "c"}, {"names": ["c"]}),
        ({"fast": "false"}, {"fast": False}),
        ({"data": "cifar10"}, {"data": "cifar10"}),
        ({}, {}),
    ],
)
def test_changes_take_the_type_of_the_setting(changes, settled):
    found = study().settled("tiny", changes)
    assert found == SETTINGS | settled
    assert {key: type(value) for key, value in found.items()} == {key: type(value) for key, value in SETTINGS.items()}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network": 3}, r"example has no setting 'network'\. Did you mean 'networks'\? There are data, networks, "),
        ({"networks": "three"}, r"setting networks must be a whole number, got 'three'"),
        ({"networks": 2.5}, r"setting networks must be a whole number, got 2\.5"),
        ({"networks": [3]}, r"setting networks must be a whole number, got \[3\]"),
        ({"rate": "fast"}, r"setting rate must be a number, got 'fast'"),
        ({"widths": "2,wide"}, r"setting widths must be a list, with commas, got '2,wide'"),
        ({"fast": "perhaps"}, r"setting fast must be true or false, got 'perhaps'"),
    ],
)
def test_changes_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        study().settled("small", changes)


def test_an_unknown_scale_is_refused():
    with pytest.raises(InputError, match=r"scale must be one of tiny, small, paper, got 'medium'"):
        study().settled("medium", {})
