"""Networks of two data sets are trained on as many images, whatever the sets' sizes."""

from __future__ import annotations

import pytest

from repscope.studies.experiments import datasets

SIZES = {"cifar10": 50_000, "cifar100": 20_000}


class Sets(dict):
    """Settings of the study, and data sets of which only the size is known."""

    def images(self, name):
        class Images:
            train_examples = SIZES[name]

        return Images


@pytest.mark.parametrize(("limit", "epochs"), [(50_000, 20), (20_000, 8), (30_000, 12)])
def test_a_smaller_set_is_shown_more_often(limit, epochs):
    sets = Sets(data="cifar10", epochs=8, train_images=limit)
    assert datasets._epochs(sets, "cifar10") == 8
    assert datasets._epochs(sets, "cifar100") == epochs
