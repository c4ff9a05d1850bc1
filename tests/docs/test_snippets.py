"""Every snippet of the documentation runs, a page from top to bottom, and prints what it says."""

from __future__ import annotations

import importlib.util
import re
import shlex

import pytest

from tests.docs.pages import DOCS, PAGES, fill, promised, snippets

torch = pytest.importorskip("torch")
pytest.importorskip("matplotlib")
pytest.importorskip("pandas")

NEEDS = re.compile(r"^(?:import|from) (transformers|xarray|scipy|sklearn)\b", flags=re.MULTILINE)


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A folder with the files that the commands name."""
    monkeypatch.chdir(tmp_path)
    return fill(tmp_path)


def with_language(language):
    return [page for page in PAGES if snippets((DOCS / page).read_text(encoding="utf-8"), language)]


def missing_package(code):
    return next((name for name in NEEDS.findall(code) if importlib.util.find_spec(name) is None), None)


@pytest.mark.parametrize("page", with_language("python"))
def test_python_snippets_run_and_print_what_stands_beside_them(page, workplace, capsys):
    names: dict[str, object] = {"__name__": "snippet"}
    blocks = snippets((DOCS / page).read_text(encoding="utf-8"), "python")
    if (package := missing_package("\n".join(blocks))) is not None:
        pytest.skip(f"{page} needs {package}")
    for code in blocks:
        exec(compile(code, page, "exec"), names)
        printed = capsys.readouterr().out.splitlines()
        assert [line for line in printed if line in promised(code)] == promised(code), printed
        assert ("print(" in code) == bool(printed)


@pytest.mark.parametrize("page", with_language("console"))
def test_shell_lines_run(page, workplace):
    cli = pytest.importorskip("repscope.cli")
    text = "\n".join(snippets((DOCS / page).read_text(encoding="utf-8"), "console"))
    commands = [line for line in text.replace("\\\n", " ").splitlines() if line.startswith("repscope ")]
    for line in commands:
        with pytest.raises(SystemExit) as finished:
            cli.main(shlex.split(line, comments=True)[1:])
        assert finished.value.code in (0, None), line


def test_snippets_are_found_and_promises_are_read():
    text = "1. a\n\n   ```python\n   x = 1\n\n   print(x)  # 1\n   ```\n\n```console\nls\n```\n"
    (code,) = snippets(text, "python")
    assert code == "x = 1\n\nprint(x)  # 1\n"
    assert promised(code) == ["1"]
    assert snippets(text, "console") == ["ls\n"]
    assert with_language("python")
    assert with_language("console")


@pytest.mark.parametrize("code", ["x = 1 +\n", "print(1)  # 2\n"])
def test_a_wrong_snippet_is_found(code, tmp_path, monkeypatch, capsys):
    (tmp_path / "page.md").write_text(f"```python\n{code}```\n")
    monkeypatch.setattr("tests.docs.test_snippets.DOCS", tmp_path)
    with pytest.raises((SyntaxError, AssertionError)):
        test_python_snippets_run_and_print_what_stands_beside_them("page.md", None, capsys)
