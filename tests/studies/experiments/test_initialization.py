"""What batch normalisation of untrained networks runs with."""

from __future__ import annotations

import numpy as np
import pytest

from repscope.errors import InputError
from repscope.studies.reproduce import reproduce


def test_statistics_of_data_or_those_it_starts_with(tmp_path):
    settings = {"networks": 2, "epochs": 0, "others": []}
    found = {
        statistics: reproduce(
            "initialization",
            output=tmp_path / statistics,
            changes={**settings, "statistics": statistics},
            progress=False,
        ).findings.numbers["mean CKA"]["different networks"]
        for statistics in ("data", "initial")
    }
    assert not np.allclose(found["data"], found["initial"], atol=1e-3)
    with pytest.raises(InputError, match="statistics must be data or initial, got 'batch'"):
        reproduce("initialization", output=tmp_path / "x", changes={"statistics": "batch"}, progress=False)
