"""Fetch one published file, checked against its checksum, or leave nothing behind."""

from __future__ import annotations

import contextlib
import hashlib
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from typing import IO

from repscope._progress import track
from repscope.errors import FileFormatError, InputError

_CHUNK = 1 << 20
_PATIENCE = 30.0
"""Seconds without a byte after which a connection counts as broken."""


def fetch(url: str, target: Path, md5: str) -> None:
    """Download ``url`` to ``target``, which appears only when it is whole and its checksum right.

    Args:
        url: What to fetch.
        target: The file to write; its folder is made if need be.
        md5: Its MD5 sum, hexadecimal, as published.

    Raises:
        InputError: The address cannot be reached, or the file cannot be written.
        FileFormatError: What came is not what was published.
    """
    partial = target.with_name(target.name + ".partial")
    digest = hashlib.md5(usedforsecurity=False)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with urllib.request.urlopen(url, timeout=_PATIENCE) as answer, partial.open("wb") as file:
            length = answer.headers.get("Content-Length")
            chunks = None if length is None else -(-int(length) // _CHUNK)
            for chunk in track(_chunks(answer), f"Downloading {target.name}", total=chunks):
                digest.update(chunk)
                file.write(chunk)
        if digest.hexdigest() != md5:
            raise FileFormatError(
                f"load_images: the download of {url} must have the MD5 sum {md5}, got {digest.hexdigest()} in "
                f"{partial.stat().st_size:,} bytes{f' of {int(length):,}' if length else ''}. Try again."
            )
        os.replace(partial, target)
    except (OSError, HTTPException, ValueError) as error:
        if isinstance(error, FileFormatError):
            raise
        raise InputError(
            f"load_images: download=True must be able to fetch {url} to '{target}', got {error}. Fetch it by other "
            f"means and pass the folder that holds it as data_dir."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def md5_of(path: Path) -> str:
    """The MD5 sum of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _chunks(answer: IO[bytes]) -> Iterator[bytes]:
    while chunk := answer.read(_CHUNK):
        yield chunk
