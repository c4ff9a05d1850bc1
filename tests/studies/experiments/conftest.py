from __future__ import annotations

from types import SimpleNamespace

import pytest

pytest.importorskip("torch")
pytest.importorskip("matplotlib")

from repscope.studies.reproduce import reproduce
from repscope.studies.zoo import tasks

QUICK = {"transformer": {"epochs": 1, "train_pairs": 100, "sentences": 30}}
"""Changes to studies whose scale tiny is made to learn something, and takes a minute."""


@pytest.fixture(scope="session", autouse=True)
def unmeasured():
    """Training without the time in which its speed is measured."""
    with pytest.MonkeyPatch.context() as patch:
        for speed in ("images_per_second", "pairs_per_second"):
            patch.setattr(tasks, speed, lambda *_, **__: 1000.0)
        yield


@pytest.fixture(scope="session")
def workshop(tmp_path_factory):
    """Runs studies at scale tiny; networks are shared, and outcomes kept by study and settings."""
    root = tmp_path_factory.mktemp("studies")
    outcomes = {}

    def run(name, /, output="results", **changes):
        changes = QUICK.get(name, {}) | changes
        key = (name, output, *sorted((k, str(v)) for k, v in changes.items()))
        if key not in outcomes:
            outcomes[key] = reproduce(
                name, output=root / output, networks_dir=root / "networks", changes=changes, progress=False
            )
        return outcomes[key]

    return SimpleNamespace(run=run, root=root, networks=root / "networks", quick=QUICK)
