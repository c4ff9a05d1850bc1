from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from repscope._undisturbed import undisturbed

zarr = pytest.importorskip("zarr")


def test_ctrl_c_waits_for_the_end_of_the_block() -> None:
    done = []

    def block() -> None:
        with undisturbed():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            done.append("to the end")

    with pytest.raises(KeyboardInterrupt):
        block()
    assert done == ["to the end"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with undisturbed():
        done.append("undisturbed")
    assert done == ["to the end", "undisturbed"], "what was heard is not heard again"


def test_what_the_block_raises_comes_first() -> None:
    def block() -> None:
        with undisturbed():
            signal.raise_signal(signal.SIGINT)
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        block()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_it_is_told_to_whom_it_would_have_been_told() -> None:
    heard = []
    usual = signal.signal(signal.SIGINT, lambda number, frame: heard.append((number, frame is not None)))
    try:
        with undisturbed():
            signal.raise_signal(signal.SIGINT)
            assert heard == []
        assert heard == [(signal.SIGINT, True)]
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with undisturbed():
            signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, usual)


def test_other_threads_change_no_handler() -> None:
    seen: list[object] = []

    def work() -> None:
        with undisturbed():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]


def test_zarr_is_left_to_end_what_it_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else its thread goes on alone, and complains on stderr when Python ends."""
    from repscope.capture.columns import Column

    ended: list[str] = []

    def disturbed(original: Callable[..., object], name: str) -> Callable[..., object]:
        def call(*args: object, **kwargs: object) -> object:
            signal.raise_signal(signal.SIGINT)
            result = original(*args, **kwargs)
            ended.append(name)
            return result

        return call

    def column() -> Column:
        return Column(tmp_path, dtype=np.dtype("f4"), chunk=(2, 3), trailing=(3,), name="early")

    whole = column()
    for name in ("__setitem__", "resize"):
        with monkeypatch.context() as patch:
            patch.setattr(zarr.Array, name, disturbed(getattr(zarr.Array, name), name))
            with pytest.raises(KeyboardInterrupt):
                whole.append(np.ones((2 * len(ended) + 1, 3), dtype="f4"))
    assert ended == ["__setitem__", "resize"]
    with monkeypatch.context() as patch:
        patch.setattr(zarr, "create_array", disturbed(zarr.create_array, "create"))
        with pytest.raises(KeyboardInterrupt):
            column()
    assert ended[2:] == ["create"]


def test_reading_a_store_is_not_cut_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    from repscope.capture.store import write_store
    from repscope.store import open_store

    write_store(torch.nn.Sequential(torch.nn.Linear(3, 2)), torch.ones(4, 3), tmp_path / "s", batch_size=2)
    store = open_store(tmp_path / "s")
    ended = []
    original = zarr.Array.__getitem__

    def disturbed(self: object, selection: object) -> object:
        signal.raise_signal(signal.SIGINT)
        found = original(self, selection)
        ended.append(selection)
        return found

    monkeypatch.setattr(zarr.Array, "__getitem__", disturbed)
    with pytest.raises(KeyboardInterrupt):
        store.read("0", slice(0, 2))
    with pytest.raises(KeyboardInterrupt):
        store.verify()
    with pytest.raises(KeyboardInterrupt):
        open_store(tmp_path / "s")
    assert len(ended) == 3
