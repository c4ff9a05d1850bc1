"""How far are the scores of each precision from double precision on the same stored activations?

    python -m benchmarks.precision

Linear CKA (unbiased) and RBF CKA of eight layers, 2,000 examples; features plain, with a common offset of 1,000
standard deviations, and scaled by 1e-6 and 1e6. Half a minute on two cores.
"""

from __future__ import annotations

import warnings

import numpy as np

import repscope

WIDTHS = (16, 64, 64, 256, 256, 1024, 2048, 4096)
CASES = {"plain": (0.0, 1.0), "offset 1000 sd": (1000.0, 1.0), "scale 1e-6": (0.0, 1e-6), "scale 1e6": (0.0, 1e6)}


def layers(n: int, offset: float, scale: float) -> dict[str, np.ndarray]:
    """Layers that share a latent signal, each more of it lost than in the one before; float32."""
    rng = np.random.default_rng(0)
    latent = rng.standard_normal((n, 30)) * np.linspace(3, 0.3, 30)
    made = {}
    for i, p in enumerate(WIDTHS):
        latent = latent + 0.5 * rng.standard_normal(latent.shape)
        x = np.maximum(latent @ rng.standard_normal((30, p)) / 5 + rng.standard_normal((n, p)), 0)
        made[f"layer {i}"] = ((x + offset * x.std()) * scale).astype(np.float32)
    return made


def main() -> None:
    warnings.simplefilter("ignore")
    print(f"{'':16}" + "".join(f"{name:>22}" for name in ("float32", "bfloat16")) + "   (largest error of 64 scores)")
    for kernel in ("linear", repscope.RBF(0.5)):
        for case, (offset, scale) in CASES.items():
            x = layers(2000, offset, scale)
            exact = repscope.compare({k: v.astype(np.float64) for k, v in x.items()}, kernel=kernel).values
            errors = []
            for precision in ("float32", "bfloat16"):
                values = repscope.compare(x, kernel=kernel, precision=precision, pairs="all").values
                errors.append(np.abs(values - exact).max())
            print(f"{kernel!s:8} {case:16}" + "".join(f"{error:22.1e}" for error in errors))


if __name__ == "__main__":
    main()
