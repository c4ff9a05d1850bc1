"""Plans, checkpoints, shares and several processes from the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.usefixtures("workplace")

ARRAYS = ("compare", "a.npz", "b.npz", "--pairs", "batch", "--batch-size", "10")


def values(done):
    assert done.code == 0, done
    return np.array(json.loads(done.out)["values"])


def test_the_plan_is_printed_and_nothing_else_done(repscope, tmp_path):
    done = repscope("compare", "a.npz", "b.npz", "--plan", "-o", str(tmp_path / "results"))
    assert done.code == 0
    assert [line.split()[0] for line in done.out.splitlines()] == ["route", "passes", "work", "memory"]
    assert not (tmp_path / "results").exists()


def test_shares_merge_to_the_whole(repscope, tmp_path):
    whole = values(repscope(*ARRAYS, "--json"))
    for k in (1, 2):
        done = repscope(*ARRAYS, "--shard", f"{k}/2", "--checkpoint", f"{k}.partial")
        assert (done.code, done.out) == (0, "")
        assert f"wrote {k}.partial" in done.err
    merged = values(repscope("merge", "2.partial", "1.partial", "--json", "-o", "results"))
    np.testing.assert_allclose(merged, whole, atol=1e-12)
    assert (tmp_path / "results" / "comparison.npz").exists()


def test_a_quiet_share_prints_nothing_and_a_plan_for_shares_is_exact(repscope):
    words = ("compare", "a.npz", "b.npz", "--shard", "1/2", "--checkpoint", "x")
    plan = repscope(*words, "--plan", "--json")
    assert "(pairs='all')" in plan.out
    done = repscope(*words, "--quiet")
    assert (done.code, done.out, done.err) == (0, "", "")


def test_a_checkpoint_is_gone_on_from(repscope):
    first = values(repscope(*ARRAYS, "--checkpoint", "sums.partial", "--json"))
    again = values(repscope(*ARRAYS, "--checkpoint", "sums.partial", "--json"))
    np.testing.assert_array_equal(first, again)
    done = repscope(*ARRAYS, "--checkpoint", "sums.partial", "--estimator", "biased")
    assert done.code == 2
    assert "got one with other estimator (unbiased, biased)" in done.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--shard", "3/2", "--checkpoint", "x"], "--shard must be k/count with k from 1 to count"),
        (["--shard", "half", "--checkpoint", "x"], "--shard must be k/count with k from 1 to count"),
        (["--shard", "1/2"], "--shard must come with --checkpoint FILE"),
        (["--shard", "1/2", "--checkpoint", "x", "--json"], "--json must be left out with --shard"),
        (["--shard", "1/2", "--checkpoint", "x", "-o", "results"], "--output must be left out with --shard"),
        (["--shard", "1/2", "--checkpoint", "x", "--html", "x.html"], "--html must be left out with --shard"),
        (["--shard", "1/2", "--checkpoint", "x", "--intervals"], "intervals must be left out, got True"),
        (["--checkpoint", "nowhere/x"], "checkpoint: path must lie in an existing folder"),
        (["--precision", "tf32"], "precision 'tf32' must be used on an NVIDIA GPU"),
    ],
)
def test_bad_words_are_one_line(words, message, repscope):
    done = repscope(*ARRAYS, *words)
    assert done.code == 2
    assert message in done.err
    assert done.err.count("\n") == 1


def test_missing_shares_are_named(repscope):
    repscope(*ARRAYS, "--shard", "1/2", "--checkpoint", "1.partial")
    done = repscope("merge", "1.partial")
    assert done.code == 2
    assert "without [2]" in done.err


@pytest.mark.slow
def test_torchrun_prints_the_numbers_of_one_process_once(repscope):
    words = ["compare", "a.npz", "b.npz", "--pairs", "batch", "--batch-size", "10", "--json"]
    alone = values(repscope(*words))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "repscope"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, *words], capture_output=True, text=True, timeout=180, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(np.array(json.loads(done.stdout)["values"]), alone, atol=1e-9)
