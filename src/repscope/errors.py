"""The exceptions and warnings that repscope raises, in one place.

Every message names the call, the argument, what was got and the remedy. All exceptions derive from
:class:`RepscopeError`; each also derives from the built-in exception that fits, so ``except ValueError`` works.
"""

from __future__ import annotations


class RepscopeError(Exception):
    """Base of every exception that repscope raises on purpose."""


class InputError(RepscopeError, ValueError):
    """An argument has the wrong shape, type, size or content."""


class CaptureError(RepscopeError, RuntimeError):
    """Activations could not be recorded from a model."""


class FileFormatError(RepscopeError, ValueError):
    """A file is not what it should be: truncated, of another kind, or unsafe to load."""


class MissingExtraError(RepscopeError, ImportError):
    """An optional dependency is not installed; the message holds the pip command that installs it."""

    def __init__(self, purpose: str, package: str, extra: str) -> None:
        super().__init__(f"{purpose} needs the package '{package}'. Install it with: pip install 'repscope[{extra}]'")


class RepscopeWarning(UserWarning):
    """Base of every warning that repscope gives."""


class DegenerateInputWarning(RepscopeWarning):
    """The measure is undefined on this input (0/0) and the result is NaN."""


class RankWarning(RepscopeWarning):
    """The examples are too few for the widths: the measure says nothing (Theorem 1 of Kornblith et al. 2019)."""


class CaptureWarning(RepscopeWarning):
    """Something about the model or the data makes the captured activations differ from what one may expect."""


class DataOrderWarning(RepscopeWarning):
    """The examples are ordered (by class, say), so an estimate from minibatches is wrong."""


class DiagnosticWarning(RepscopeWarning):
    """A layer's scores mean less than they seem to: a few examples, one direction or one feature decide them."""
