"""Ranks that would plan differently agree on one plan; ranks with different models are refused."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import repscope

torch = pytest.importorskip("torch")

from tests.compare.nets import Net, inputs  # noqa: E402

ROOT = Path(__file__).parents[2]

SCRIPT = """
import os, sys
sys.path.insert(0, {root!r})
import repscope
from repscope.engine import distributed
from tests.compare.nets import Net, inputs

shard = distributed.join(timeout_seconds=60)
memory = ["300KB", "1GB"][shard.index]  # by itself, the second rank would hold everything
result = repscope.compare(Net(0, 300), data=inputs(96), batch_size=16, pairs="all", memory=memory)
assert result.conventions["route"] == "passes"
result.save({folder!r} + f"/{{shard.index}}.npz")
try:
    repscope.compare(Net(shard.index), data=inputs(96), batch_size=16, pairs="all")
except repscope.RepscopeError as error:
    print(f"RANK {{shard.index}}: {{error}}", file=sys.stderr, flush=True)
    os._exit(1)
"""


@pytest.mark.slow
def test_ranks_agree_on_the_plan_and_must_have_the_same_models(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(root=str(ROOT), folder=str(tmp_path)))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "default"}
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=False)
    alone = repscope.compare(Net(0, 300), data=inputs(96), batch_size=16, pairs="all")
    for rank in (0, 1):
        result = repscope.load(tmp_path / f"{rank}.npz")
        np.testing.assert_allclose(result.values, alone.values, atol=1e-5)
    assert run.returncode != 0
    assert "RANK 1: compare: all ranks must have the same models and data in the same order" in run.stderr
