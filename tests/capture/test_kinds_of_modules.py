"""Modules that are no plain Python ones: TorchScript, which takes no hooks, and torch's quantised modules."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from repscope.capture import Capture, fingerprint, model_fingerprint
from repscope.capture.layers import ModuleTable, Role, role_of
from repscope.errors import CaptureError, CaptureWarning

X = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))


class Whole(nn.Module):
    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body, self.head = body, nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


@pytest.fixture(params=["script", "trace", "frozen"])
def scripted(request: pytest.FixtureRequest) -> Any:
    body = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, that TorchScript is old
        if request.param == "trace":
            return torch.jit.trace(body, X)
        script = torch.jit.script(body)
        return torch.jit.freeze(script) if request.param == "frozen" else script


class TestTorchScript:
    def test_the_layers_around_it_are_recorded(self, scripted: Any) -> None:
        model = Whole(scripted)
        training = model.training
        with torch.no_grad():
            expected = model(X)
        torch.testing.assert_close(Capture(model, "head").collect(X)["head"], expected)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CaptureWarning)
            torch.testing.assert_close(Capture(model).collect(X), {"head": expected})
        assert model.training is training

    def test_what_is_left_out_is_said(self, scripted: Any) -> None:
        model = Whole(scripted)
        message = r"hooks do not reach inside TorchScript, so these modules and what is in them are left out: body\."
        with pytest.warns(CaptureWarning, match=message):
            assert list(Capture(model, "*").collect(X)) == ["head"]
        if any(True for _ in scripted.parameters()):
            with pytest.warns(CaptureWarning, match=message):
                Capture(model).discover(X)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            Capture(model, "head").discover(X)

    def test_asked_for_it_is_refused(self, scripted: Any) -> None:
        model = Whole(scripted)
        for layers in ("body", ["head", "body#0"], scripted):
            with pytest.raises(CaptureError, match=r"got 'body' in TorchScript.*Pass the Python module"):
                Capture(model, layers)
        with pytest.raises(CaptureError, match=r"got only such in TorchScript, .*: body\. Pass the Python modules"):
            Capture(model, "bod*").discover(X)

    def test_a_model_in_it_is_refused(self, scripted: Any) -> None:
        with pytest.raises(CaptureError, match=r"the net must be a Python module, got one in TorchScript.*Pass the Py"):
            Capture(scripted, name="the net")


class Mixed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.cell, self.linear = nn.LSTM(4, 6), nn.GRUCell(6, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.cell(self.rnn(x[None])[0][0]))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_quantised_layers_are_layers() -> None:
    plain = nn.Sequential(Mixed(), nn.Linear(3, 3), nn.ReLU())
    quantised = torch.ao.quantization.quantize_dynamic(plain, {nn.LSTM, nn.GRUCell, nn.Linear})
    found = Capture(quantised)
    assert [info.name for info in found.discover(X)] == [info.name for info in Capture(plain).discover(X)]
    with torch.no_grad():
        torch.testing.assert_close(found.collect(X)["2"], quantised(X))
    table = ModuleTable.of(quantised)
    assert list(table.modules) == list(ModuleTable.of(plain).modules)
    assert {role_of(name, table) for name in ("0.rnn", "0.cell", "0.linear")} == {Role.WEIGHTED}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_quantised_weights_have_a_fingerprint() -> None:
    models = [nn.Sequential(nn.Linear(4, 3)) for _ in range(2)]
    quantised = [torch.ao.quantization.quantize_dynamic(model, {nn.Linear}) for model in models]
    assert model_fingerprint(quantised[0]) == model_fingerprint(quantised[0])
    assert model_fingerprint(quantised[0]) != model_fingerprint(quantised[1])
    states = [model.state_dict() for model in quantised]
    assert fingerprint(states[0]) == fingerprint(states[0])
    assert fingerprint(states[0]) != fingerprint(states[1])
