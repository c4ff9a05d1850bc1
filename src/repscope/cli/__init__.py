"""The front door: ``repscope compare``, ``baselines``, ``difference``, ``capture``, ``measures``, ``report`` and more.

Exit codes: 0 done; 1 an unexpected exception, with its traceback, or a reader of stdout that is gone; 2 wrong usage or
bad input, with one line on stderr; 130 interrupted, with nothing half-written. Results go to stdout, everything else
to stderr.
"""

from __future__ import annotations

import io
import os
import shlex
import sys
from collections.abc import Sequence
from typing import NoReturn

from repscope.errors import MissingExtraError, RepscopeError

UNEXPECTED = 1
BAD_INPUT = 2
INTERRUPTED = 130

COMPLETION = "_REPSCOPE_COMPLETE"
"""Set by the scripts that ``repscope --install-completion`` installs, whenever a user presses the tab key."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command and leave with its exit code.

    Args:
        arguments: The words after ``repscope``; None: those of this process.

    Raises:
        SystemExit: Always, unless an unexpected exception comes through.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without √ or → is no reason to fail
    try:
        sys.exit(_run(sys.argv[1:] if arguments is None else list(arguments)))
    except RepscopeError as error:
        _fail(str(error))
    except BrokenPipeError:
        # The reader has gone (| head). What Python still holds back must not fail once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(UNEXPECTED)
    except OSError as error:
        _fail(f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)


def _run(arguments: list[str]) -> int:
    try:
        from typer import Exit
        from typer.main import get_command

        from repscope.cli.app import UsageError, app, usage_message
    except ModuleNotFoundError as error:
        if error.name != "typer":
            raise
        raise MissingExtraError("The command line", "typer", "cli") from None
    command = get_command(app)
    if COMPLETION in os.environ:
        command.main([], prog_name="repscope")  # a shell asks what could come next; leaves with the answer
    try:
        # Not command.main(), which gives Ctrl-C, end of file and closed pipes exit codes and messages of its own.
        with command.make_context("repscope", arguments, obj=shlex.join(["repscope", *arguments])) as context:
            command.invoke(context)
        if sys.stdout is not None:  # closed by whoever started this process
            sys.stdout.flush()
    except Exit as done:
        return done.exit_code
    except UsageError as error:
        _fail(usage_message(error))
    return 0


def _fail(message: str) -> NoReturn:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(BAD_INPUT)
