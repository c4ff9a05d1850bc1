"""Every snippet of the README runs, and prints what it says."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from repscope.measures.catalog import CATALOG
from repscope.measures.measure import Invariance
from tests.docs.pages import MODELS, fill, snippets

torch = pytest.importorskip("torch")

README = Path(__file__).parents[1] / "README.md"
TEXT = README.read_text(encoding="utf-8")
PYTHON = snippets(TEXT, "python")
CONSOLE = [line for code in snippets(TEXT, "console") for line in code.splitlines()]


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A folder with the files that the README's commands name."""
    monkeypatch.chdir(tmp_path)
    return fill(tmp_path)


def test_the_readme_has_the_snippets_that_are_tested():
    assert len(PYTHON) == 2
    assert sum(line.startswith("repscope ") for line in CONSOLE) == 3
    assert {line.split()[1] for line in CONSOLE if line.startswith("make ")} == {"demo", "test"}


@pytest.mark.parametrize("code", PYTHON)
def test_python_snippets_run_and_print_the_numbers_beside_them(code, workplace, capsys):
    names: dict[str, object] = {}
    exec(compile(MODELS, "models.py", "exec"), names)
    names["model_a"], names["model_b"] = names["first"](), names["second"]()
    inputs = torch.randn(40, 8, generator=torch.Generator().manual_seed(0))
    names["loader"] = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(inputs), batch_size=10)
    exec(compile(code, str(README), "exec"), names)
    printed = capsys.readouterr().out.splitlines()
    expected = re.findall(r"print\(.*\)  # ([\d.]+)", code)
    assert len(printed) >= max(1, len(expected))
    assert not expected or printed == expected


@pytest.mark.parametrize("line", [line for line in CONSOLE if line.startswith("repscope ")])
def test_shell_lines_run(line, workplace):
    cli = pytest.importorskip("repscope.cli")
    with pytest.raises(SystemExit) as finished:
        cli.main(shlex.split(line)[1:])
    assert finished.value.code in (0, None)


@pytest.mark.parametrize("line", [line for line in CONSOLE if line.startswith("make ")])
def test_make_targets_exist(line):
    target = line.split()[1]
    makefile = (README.parent / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE)


ROWS = [line for line in TEXT.splitlines() if line.startswith("| `") and re.findall(r"`(\w+)`", line)[0] in CATALOG]


def test_the_table_of_measures_holds_each_once():
    assert sorted(name for row in ROWS for name in re.findall(r"`(\w+)`", row.split("|")[1])) == sorted(CATALOG)


@pytest.mark.parametrize("row", [row for row in ROWS if "`rsa`" not in row])  # there the dissimilarity decides
def test_a_row_says_where_a_shift_changes_nothing(row):
    facts = [CATALOG[name].facts(CATALOG[name].options) for name in re.findall(r"`(\w+)`", row.split("|")[1])]
    declared = [Invariance.TRANSLATION in one.invariances_x & one.invariances_y for one in facts]
    assert ("shift" in row.split("|")[3]) == any(declared)
