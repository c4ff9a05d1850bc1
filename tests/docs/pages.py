"""The pages of the documentation and the snippets on them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md") if "_build" not in path.parts)

MODELS = """
import torch

def network(seed):
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 4))

def first():
    return network(0)

def second():
    return network(1)

def third():
    return network(2)
"""
"""The file models.py that commands name."""

_BLOCK = re.compile(r"^(?P<indent> *)```(?P<language>\w+)\n(?P<code>.*?)^ *```$", flags=re.DOTALL | re.MULTILINE)


def snippets(text: str, language: str) -> list[str]:
    """The fenced blocks of one language, those inside lists too, without their indentation."""
    found = []
    for block in _BLOCK.finditer(text):
        if block["language"] == language:
            indent = len(block["indent"])
            found.append("".join(line[indent:] or "\n" for line in block["code"].splitlines(keepends=True)))
    return found


def promised(code: str) -> list[str]:
    """What the comments behind ``print`` say that it prints."""
    return re.findall(r"^ *print\(.*\)  # (.+)$", code, flags=re.MULTILINE)


def fill(folder: Path) -> Path:
    """Put the files into a folder that the commands of the README and of the documentation name."""
    rng = np.random.default_rng(0)
    (folder / "models.py").write_text(MODELS)
    np.savez(folder / "images.npz", images=rng.standard_normal((40, 8)).astype("float32"))
    for name in ("a", "b", "c"):
        np.savez(folder / f"{name}.npz", early=rng.standard_normal((40, 6)), late=rng.standard_normal((40, 3)))
    return folder
