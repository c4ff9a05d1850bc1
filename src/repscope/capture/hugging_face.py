"""Models of Hugging Face by their names or folders, without running any code that comes with them.

Weights come as safetensors where there are any. A pickled checkpoint is read as tensors only, and what would run code
is refused, as is code in the folder of a model (``trust_remote_code``). What is in the local cache is used without a
look at the network.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from repscope._words import first_line
from repscope.capture.text import TextModel
from repscope.errors import CaptureWarning, FileFormatError, InputError, MissingExtraError

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "vocab.json", "spiece.model")


def load_pretrained(
    place: str, *, truncate: bool = False, argument: str = "A", options: dict[str, Any] | None = None
) -> nn.Module:
    """A model with its tokenizer, if it has one.

    Args:
        place: a folder that ``save_pretrained`` wrote, or a name on the hub, with ``@REVISION`` behind it where another
            than the newest is meant.
        truncate: cut sentences that are longer than the model takes.
        argument: what the place is called on the command line, for messages.
        options: further arguments of ``AutoModel.from_pretrained``, such as ``attn_implementation`` and ``dtype``.

    Returns:
        A :class:`TextModel`, or the model alone where there is no tokenizer, as for images; in eval mode and in the
        precision of the checkpoint. Heads for a task are left away: the model ends with its last hidden state.

    Raises:
        InputError: there is no such model, it is not one of transformers' own, or it can't be read.
        FileFormatError: the weights would run code, or are damaged.
        MissingExtraError: transformers is not installed.

    Warns:
        CaptureWarning: the checkpoint lacks some of the weights, so that these are random.
    """
    transformers = _transformers()
    name, revision = _revision(place)
    with _refusals(place, argument), _quiet(transformers):
        config, where = _found(transformers, name, revision)
        model, facts = transformers.AutoModel.from_pretrained(
            name,
            config=config,
            use_safetensors=None,  # where there are any, otherwise the others, read with weights_only
            weights_only=True,
            trust_remote_code=False,
            output_loading_info=True,
            **{"dtype": "auto", **where, **(options or {})},
        )
        tokenizer = _tokenizer(transformers, name, where)
    missing = sorted(facts["missing_keys"])
    if missing:
        shown = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
        warnings.warn(
            f"compare: {argument} must hold all weights of a {type(model).__name__}, and 'hf:{place}' lacks {shown}. "
            "These are random: leave their layers out, for example with layers='residual'.",
            CaptureWarning,
            stacklevel=2,
        )
    model.eval()
    loaded: nn.Module = model
    return loaded if tokenizer is None else TextModel(loaded, tokenizer, truncate=truncate)


def _transformers() -> Any:
    try:
        import transformers
    except ModuleNotFoundError as error:
        if error.name != "transformers":
            raise
        raise MissingExtraError("Loading models of Hugging Face", "transformers", "transformers") from None
    return transformers


def _revision(place: str) -> tuple[str, str | None]:
    if Path(place).is_dir():
        return place, None
    name, _, revision = place.partition("@")
    return name, revision or None


def _found(transformers: Any, name: str, revision: str | None) -> tuple[Any, dict[str, Any]]:
    """The configuration of a model, and how to ask for its other files: from the local cache, if it is there."""
    if Path(name).is_dir():
        where: dict[str, Any] = {"local_files_only": True}
        return transformers.AutoConfig.from_pretrained(name, trust_remote_code=False, **where), where
    where = {} if revision is None else {"revision": revision}
    try:
        cached = {**where, "local_files_only": True}
        return transformers.AutoConfig.from_pretrained(name, trust_remote_code=False, **cached), cached
    except OSError:
        return transformers.AutoConfig.from_pretrained(name, trust_remote_code=False, **where), where


def _tokenizer(transformers: Any, name: str, where: dict[str, Any]) -> Any:
    if Path(name).is_dir() and not any((Path(name) / file).exists() for file in _TOKENIZER_FILES):
        return None
    try:
        return transformers.AutoTokenizer.from_pretrained(name, trust_remote_code=False, **where)
    except (OSError, ValueError, KeyError):
        if Path(name).is_dir():
            raise
        return None  # a model of the hub without one


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Keep progress bars and reports of unused weights away; what matters of them is said by us."""
    logging = transformers.utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


@contextmanager
def _refusals(place: str, argument: str) -> Iterator[None]:
    """Turn what transformers raises into one line."""
    import pickle

    from safetensors import SafetensorError

    try:
        yield
    except (pickle.UnpicklingError, SafetensorError) as error:
        raise FileFormatError(
            f"compare: {argument} must hold whole weights and nothing that runs code, got 'hf:{place}' "
            f"({first_line(error)}). Save the model with save_pretrained, which writes safetensors."
        ) from error
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        raise InputError(
            f"compare: {argument} must be hf: and a folder that save_pretrained wrote, or a name on the hub that is "
            f"cached here or can be reached, got 'hf:{place}' ({first_line(error)})."
        ) from error
