"""How long does a report take to open in Chromium, and how large is it?

    python -m benchmarks.report_opening [--rounds 5] [--sides 20 200]

From asking for the file to the heat map on the screen: wall time, and the processor time of the page's main thread,
which other work on the machine does not lengthen. Takes a minute on two cores.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from playwright.sync_api import sync_playwright

from repscope.comparison import Comparison

SIDES = (20, 200)
LIMIT_BYTES, LIMIT_SECONDS = 2.5e6, 2.0
"""Asked of 20 × 20 layers, and of 200 × 200."""


def comparison(side: int) -> Comparison:
    """Scores with a bright diagonal and noise, and every statistic there is."""
    rng = np.random.default_rng(0)
    depth = np.abs(np.subtract.outer(np.arange(side), np.arange(side))) / side
    noise = [rng.uniform(size=(side, side)) for _ in range(4)]
    names = [f"layer{1 + 4 * i // side}.{i}.conv" for i in range(side)]
    return Comparison(
        0.8 * np.exp(-8 * depth) + 0.1 * rng.uniform(size=(side, side)),
        names,
        names,
        "cka",
        ["a"] * side,
        ["b"] * side,
        n=10_000,
        null_mean=noise[0],
        null_sd=noise[1],
        p_values=noise[2],
        standard_errors=noise[3],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sides", type=int, nargs="+", default=SIDES, help="layers of each axis")
    arguments = parser.parse_args()
    rounds = arguments.rounds
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        print("layers       size      opens in    main thread")
        for side in arguments.sides:
            path = comparison(side).to_html(Path(folder) / f"{side}.html")
            wall, busy = [], []
            for _ in range(rounds):
                page = browser.new_page(viewport={"width": 1360, "height": 900})
                session = page.context.new_cdp_session(page)
                session.send("Performance.enable", {"timeDomain": "threadTicks"})
                begin = time.perf_counter()
                page.goto(path.as_uri())
                page.wait_for_selector("html[data-ready]", state="attached")
                page.wait_for_selector("#heatmap .plot-container, #heatmap img")
                wall.append(time.perf_counter() - begin)
                metrics = {m["name"]: m["value"] for m in session.send("Performance.getMetrics")["metrics"]}
                busy.append(metrics["TaskDuration"])
                page.close()
            size = path.stat().st_size / 1e6
            name = f"{side} × {side}"
            print(f"{name:<9} {size:5.2f} MB   {statistics.median(wall):7.2f} s   {statistics.median(busy):8.2f} s")
        browser.close()
    print(f"asked: at most {LIMIT_BYTES / 1e6:g} MB and {LIMIT_SECONDS:g} s")


if __name__ == "__main__":
    main()
