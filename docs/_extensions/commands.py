"""The directive ``{commands}``: what ``repscope COMMAND --help`` says, for every command."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from typer.main import get_command

from repscope.cli.app import app as application


class CommandsDirective(SphinxDirective):
    """A section with the help of each command."""

    def run(self) -> list[nodes.Node]:
        """Called by docutils."""
        group = get_command(application)
        context = group.make_context("repscope", [], resilient_parsing=True)
        sections: list[nodes.Node] = []
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            inner = command.make_context(name, [], parent=context, resilient_parsing=True)
            inner.terminal_width = inner.max_content_width = 88
            section = nodes.section(ids=[f"repscope-{name}"])
            section += nodes.title(text=f"repscope {name}")
            section += nodes.literal_block(text=command.get_help(inner), language="text")
            sections.append(section)
        return sections


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_directive("commands", CommandsDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
