"""The same numbers from one, two and three processes under torchrun; a clear end where one of them dies."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import repscope

torch = pytest.importorskip("torch")

from tests.parts.networks import images, network  # noqa: E402

ROOT = Path(__file__).parents[2]

SCRIPT = """
import os, sys
sys.path.insert(0, {root!r})
import repscope
from repscope.engine import distributed
from tests.parts.networks import images, network

data = images()
if {dies} and os.environ["RANK"] == "1":
    class Dying:
        def __iter__(self):
            yield data[:20]
            os._exit(3)
    data = Dying()
shard = distributed.join(timeout_seconds=60)
try:
    for route, settings in {{"batch": dict(pairs="batch"), "moments": dict(layers=["4"]),
                            "memory": dict(kernel=repscope.RBF(0.5)), "passes": dict(memory="200KB")}}.items():
        result = repscope.compare(network(0), network(1), data=data, batch_size=20, **{{"pairs": "all", **settings}})
        assert result.conventions["route"] == route
        if shard.index == 0:
            result.save({folder!r} + f"/{{route}}-{{shard.count}}.npz")
except repscope.RepscopeError as error:
    print(f"RANK {{shard.index}}: {{error}}", file=sys.stderr)
    os._exit(1)
distributed.leave()
"""


def launch(tmp_path: Path, processes: int, *, dies: bool = False) -> subprocess.CompletedProcess[str]:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(root=str(ROOT), folder=str(tmp_path), dies=dies))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "default"}
    return subprocess.run(
        [*command, str(script)], capture_output=True, text=True, timeout=180, env=environment, check=False
    )


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2, 3])
def test_any_number_of_processes_gives_the_same_numbers(processes, tmp_path):
    finished = launch(tmp_path, processes)
    assert finished.returncode == 0, finished.stderr
    alone = repscope.compare(network(0), network(1), data=images(), batch_size=20, pairs="batch")
    several = repscope.load(tmp_path / f"batch-{processes}.npz")
    np.testing.assert_allclose(several.values, alone.values, rtol=0, atol=1e-9)
    narrow = repscope.compare(network(0), network(1), data=images(), batch_size=20, layers=["4"], pairs="all")
    values = repscope.load(tmp_path / f"moments-{processes}.npz").values
    np.testing.assert_allclose(values, narrow.values, rtol=0, atol=1e-9)
    # Single precision: the tiles of these routes are cut differently.
    for route, settings in (("memory", {"kernel": repscope.RBF(0.5)}), ("passes", {})):
        whole = repscope.compare(network(0), network(1), data=images(), pairs="all", **settings)
        values = repscope.load(tmp_path / f"{route}-{processes}.npz").values
        np.testing.assert_allclose(values, whole.values, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_a_dead_rank_ends_the_run_with_a_clear_error(tmp_path):
    finished = launch(tmp_path, 2, dies=True)
    assert finished.returncode != 0
    told = "RANK 0: distributed: rank 0 has finished its share, but another of the 2 ranks has died" in finished.stderr
    stopped = "Sending process" in finished.stderr and "SIGTERM" in finished.stderr  # the launcher was faster
    assert told or stopped, finished.stderr
    assert not list(tmp_path.glob("*.npz"))


MEMORY = """
import sys
sys.path.insert(0, {root!r})
import repscope
from repscope import opened
from repscope.engine import distributed
from tests.parts.networks import images, network

shard = distributed.join(timeout_seconds=30)
ours = dict(data=images(), batch_size=20, pairs="all", progress=False)
free = lambda *bytes_: setattr(opened, "memory_budget", lambda memory: bytes_[shard.index])

free(1e9, 1e5)  # the second rank cannot hold what the first one plans with
unequal = repscope.compare(network(0), network(1), kernel=repscope.RBF(0.5), **ours)
assert unequal.conventions["route"] == "memory"

free(2e5, 2e5)
first = repscope.compare(network(0), network(1), checkpoint={folder!r} + "/sums", **ours)
free(3e5, 3e5)
again = repscope.compare(network(0), network(1), checkpoint={folder!r} + "/sums", **ours)
assert first.conventions == again.conventions
unequal.save({folder!r} + f"/{{shard.index}}.npz")
distributed.leave()
"""


@pytest.mark.slow
def test_ranks_with_other_memory_than_the_first_or_than_before_follow_its_plan(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(MEMORY.format(root=str(ROOT), folder=str(tmp_path)))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    finished = subprocess.run(command, capture_output=True, text=True, timeout=180, env=environment, check=False)
    assert finished.returncode == 0, finished.stderr
    alone = repscope.compare(network(0), network(1), data=images(), pairs="all", kernel=repscope.RBF(0.5))
    for rank in (0, 1):
        np.testing.assert_allclose(repscope.load(tmp_path / f"{rank}.npz").values, alone.values, rtol=0, atol=1e-5)
