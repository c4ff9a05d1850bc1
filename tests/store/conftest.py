from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forty files a store take longer to reach a busy disk than all else; only a power cut would tell."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
