"""The planner picks the right route, keeps to the budget, and predicts the memory that is measured."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from repscope import RBF, InputError, _allocator
from repscope.engine import plan as planner
from repscope.engine.plan import Plan, available_memory, memory_budget, plan
from repscope.measures.kernels import Cosine

MIB = 2**20
WIDE = (3000, 3000, 3000)


def planned(**changes: Any) -> Plan:
    settings: dict[str, Any] = {"widths": WIDE, "n": 2000, "batch_size": 100, "memory": 1e9, "pairs": "all"}
    return plan(**(settings | changes))


def test_few_features_go_by_moments_and_many_by_tiles() -> None:
    assert planned(widths=(50, 60)).route == "moments"
    assert planned(widths=(50, 60), kernel=RBF(0.4)).route == "memory"
    assert planned(widths=(50, 60), kernel=Cosine()).route == "memory"
    assert planned().route == "memory"
    # Products of features cost twice n P², tiles n² (P + L²/2): the switch is where they meet.
    n = 2 * 200**2 // (200 + 2)
    assert planned(widths=(100, 100), n=n + 2).route == "moments"
    assert planned(widths=(100, 100), n=n - 2).route == "memory"


def test_activations_that_do_not_fit_are_streamed_in_passes() -> None:
    assert planned(memory=100 * MIB).route == "memory"
    passes = planned(memory=60 * MIB)
    assert passes.route == "passes"
    assert passes.passes == -(-20 // passes.held_batches) > 1
    assert "do not fit" in passes.reason
    # Memory that would hold the moments only.
    assert planned(widths=(300, 300), n=10**6, memory=50 * MIB).route == "moments"


def test_activations_are_kept_only_where_they_fit_the_share_that_they_may_fill() -> None:
    kept, routes = 4 * 20_000 * 800, set()
    for memory in np.linspace(1.02, 1.3, 15) * kept:
        found = planned(widths=(400, 400), n=20_000, memory=memory, kernel=RBF(0.4))
        routes.add(found.route)
        assert found.route == "passes" or kept <= planner.KEPT_SHARE * memory
    assert routes == {"memory", "passes"}
    needed = kept / planner.KEPT_SHARE / MIB
    with pytest.raises(InputError, match=rf"{needed:.3g} MiB with what is computed from them"):
        planned(widths=(400, 400), n=20_000, memory=1.05 * kept, kernel=RBF(0.4), repeatable=False)


def test_every_token_of_a_long_text_fits_four_gigabytes() -> None:
    # A million tokens of a language model of 24 layers; batches of 256 sentences of 64 tokens.
    found = planned(widths=(768,) * 24, n=10**6, batch_size=256 * 64, memory=4e9)
    assert (found.route, found.passes) == ("moments", 1)
    assert found.peak_bytes < 3.1e9
    assert planned(widths=(768,) * 24, n=10**9, batch_size=256 * 64, memory=4e9).peak_bytes == found.peak_bytes


@pytest.mark.parametrize("kernel", [planner.Linear(), RBF(0.4), Cosine()], ids=repr)
@pytest.mark.parametrize("widths", [WIDE, (64,) * 80, (20_000,), (10,) * 300])
def test_no_plan_exceeds_its_budget_and_more_memory_never_takes_more_passes(kernel: Any, widths: Any) -> None:
    passes = []
    for memory in (2.0**e for e in range(18, 36)):
        try:
            found = planned(widths=widths, memory=memory, kernel=kernel)
        except InputError:
            assert not passes  # once enough, always enough
            continue
        assert found.peak_bytes <= memory
        passes.append(found.passes)
    assert passes
    assert passes == sorted(passes, reverse=True)
    assert passes[-1] == 1


def test_a_budget_too_small_says_how_much_is_needed_and_that_is_enough() -> None:
    for changes in ({}, {"pairs": "batch"}, {"in_memory": True}, {"kernel": RBF(0.4)}):
        with pytest.raises(
            InputError, match=r"compare: memory must hold at least one .*, [\d.]+ .iB, got 1 KiB"
        ) as caught:
            planned(memory=1024, **changes)
        amount, unit = str(caught.value).split("layers, ")[1].split(", got")[0].split()
        needed = float(amount) * {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}[unit]
        assert planned(memory=1.01 * needed, **changes).peak_bytes <= 1.01 * needed


def test_data_that_come_once_must_fit() -> None:
    assert planned(repeatable=False).route == "memory"
    with pytest.raises(InputError, match=r"compare: the activations take 68.7 MiB and must fit memory=60 MiB, because"):
        planned(repeatable=False, memory=60 * MIB)
    assert planned(widths=(30, 30), repeatable=False, memory=60 * MIB).route == "moments"
    assert planned(pairs="batch", repeatable=False, memory=60 * MIB).route == "batch"


def test_data_that_come_once_must_fit_with_what_is_computed_from_them() -> None:
    message = r"the activations take 68.7 MiB, ([\d.]+) MiB with what is computed from them, and must fit memory=70 MiB"
    with pytest.raises(InputError, match=message) as caught:
        planned(repeatable=False, memory=70 * MIB)
    needed = re.search(message, str(caught.value))
    assert needed is not None
    assert planned(repeatable=False, memory=1.01 * float(needed[1]) * MIB).route == "memory"
    with pytest.raises(InputError, match="must fit memory="):
        planned(repeatable=False, memory=0.99 * float(needed[1]) * MIB)


def test_an_unknown_number_of_examples() -> None:
    assert planned(n=None).route == "memory"
    assert planned(n=None, widths=(30, 30)).route == "moments"
    assert planned(n=None, pairs="batch").route == "batch"


def test_auto_is_exact_unless_that_costs_several_times_the_forward_passes() -> None:
    rate, settings = 1e9, {"n": 5000, "memory": 1e9}

    def route(**changes: Any) -> str:
        return planned(**{"pairs": "auto", "flops_per_second": rate, **settings, **changes}).route

    seconds = planned(**settings).flops / rate
    assert seconds > 100
    assert route(forward_seconds=1.01 * seconds / planner.AFFORDABLE) == "memory"
    assert route(forward_seconds=0.99 * seconds / planner.AFFORDABLE) == "batch"
    assert route() == "memory"  # where nothing is known of the forward passes
    assert route(forward_seconds=1.0, in_memory=True) == "memory"
    assert route(n=400, forward_seconds=1e-6) == "memory"  # less than two seconds are affordable in any case
    reason = planned(pairs="auto", flops_per_second=rate, forward_seconds=seconds / 900, **settings).reason
    assert "900 times the forward passes" in reason
    assert "pairs='all' computes it" in reason


def test_auto_counts_the_passes() -> None:
    for memory in (120 * MIB, 60 * MIB):
        exact = planned(n=5000, memory=memory)
        assert exact.passes > 1
        found = planned(n=5000, memory=memory, pairs="auto", flops_per_second=1e15, forward_seconds=100.0)
        assert found.route == ("passes" if exact.passes - 1 <= planner.AFFORDABLE else "batch")


def test_a_sample_for_the_bandwidth_shrinks_where_memory_is_short() -> None:
    assert planned(kernel=RBF(0.4), n=10_000, memory=1e9).bandwidth_examples == 4096
    assert planned(kernel=RBF(0.4), n=10_000, memory=60 * MIB).bandwidth_examples == 512
    assert planned().bandwidth_examples == 0


def test_the_slices_of_arrays_are_of_one_size() -> None:
    found = planned(n=2500, in_memory=True, itemsize=4, memory=4e9)
    assert found.batch_size == found.tile_rows == 834


def test_the_plan_in_words() -> None:
    text = planned(memory=60 * MIB).explain()
    assert "passes" in text
    assert "GFLOP" in text
    assert "MiB beyond the models and one batch" in text


def test_budgets_in_words() -> None:
    assert memory_budget("4GB") == memory_budget(" 4 gib ") == memory_budget(2**32) == 2**32
    assert memory_budget("1.5kb") == 1536
    assert memory_budget("1e6") == 1e6
    assert 0 < memory_budget(None) == pytest.approx(available_memory() / 2, rel=0.2)


def test_cached_files_of_a_control_group_count_as_free(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, text in {
        "meminfo": "MemTotal: 99 kB\nMemAvailable:    4000000 kB\n",
        "cgroup/memory.max": "1000000\n",
        "cgroup/memory.current": "900000\n",
        "cgroup/memory.stat": "anon 100000\ninactive_file 700000\n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    real = Path

    def elsewhere(path: str) -> Path:
        return real(tmp_path) / real(path).name

    monkeypatch.setattr(planner, "Path", elsewhere)
    assert available_memory() == 800_000
    (tmp_path / "cgroup/memory.max").write_text("max\n")
    assert available_memory() == 4_000_000 * 1024


@pytest.mark.slow
@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="needs Linux's high-water mark")
def test_peak_memory_is_predicted_within_a_quarter() -> None:
    # Memory that is given back goes to the system at once, not to lists of the allocator's own.
    found = measured_memory(MALLOC_MMAP_THRESHOLD_="65536")
    assert {name: route for name, (route, _) in found.items()} == {
        "batch": "batch",
        "moments": "moments",
        "moments_alone": "moments",
        "memory": "memory",
        "rbf": "memory",
        "passes": "passes",
        "arrays": "memory",
        "slices": "memory",
    }
    for name, (_, ratio) in found.items():
        assert 0.8 <= ratio <= 1.25, f"{name}: predicted {ratio:.2f} of what was measured"


@pytest.mark.slow
@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="needs Linux's high-water mark")
@pytest.mark.skipif(_allocator._trim() is None, reason="needs the GNU allocator")
def test_what_is_held_of_many_batches_is_not_in_memory_twice() -> None:
    found = measured_memory("heap")
    assert {name: route for name, (route, _) in found.items()} == {
        "memory": "memory",
        "rbf": "memory",
        "passes": "passes",
    }
    for name, (_, ratio) in found.items():
        assert 0.8 <= ratio <= 1.25, f"{name}: predicted {ratio:.2f} of what was measured"


def measured_memory(*arguments: str, **environment: str) -> dict[str, tuple[str, float]]:
    """Case to its route, and to the predicted over the measured peak."""
    pytest.importorskip("torch")
    run = subprocess.run(
        [sys.executable, "-m", "tests.engine.measure_memory", *arguments],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, **environment, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )
    return {name: (route, int(p) / int(m)) for name, route, p, m in map(str.split, run.stdout.splitlines())}
