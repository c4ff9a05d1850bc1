"""Scores between floors and a ceiling: the same numbers as of each pair by itself, from one pass over the data."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import repscope
from repscope import InputError
from repscope.capture import Inputs, reinitialised
from tests.compare.nets import ORDER, Net, Shuffled, inputs, layers_of

pytestmark = pytest.mark.filterwarnings("ignore::repscope.DiagnosticWarning")


def of(model: nn.Module, data: torch.Tensor) -> dict[str, np.ndarray]:
    return {name: x.double().numpy() for name, x in repscope.representations(model, data).items()}


@pytest.mark.parametrize("measure", ["cka", "procrustes", "linear_regression", "hsic"])
def test_every_number_is_that_of_its_pair(measure):
    data = inputs()
    a, b, *seeds = (Net(seed) for seed in range(4))
    fresh = Net(9)
    found = repscope.baselines(a, b, data=data, seeds=seeds, untrained=fresh, measure=measure)
    one, other, bare = of(a, data), of(b, data), of(fresh, data)
    alike = [one, *(of(seed, data) for seed in seeds)]
    pixels = data.double().numpy()
    assert found.layers == tuple(ORDER)
    orders = [(i, j) for i in range(3) for j in range(3) if i != j]
    assert found.pairs == (6 if measure == "linear_regression" else 3)
    for k, layer in enumerate(ORDER):
        ceiling = [
            float(repscope.score(measure, alike[i][layer], alike[j][layer]))
            for i, j in orders
            if i < j or measure == "linear_regression"
        ]
        expected = [
            repscope.score(measure, one[layer], other[layer]),
            np.mean(ceiling),
            np.std(ceiling, ddof=1),
            repscope.score(measure, one[layer], bare[layer]),
            repscope.score(measure, one[layer], pixels),
        ]
        assert found.ceiling is not None
        assert found.ceiling_sd is not None
        numbers = [found.score, found.ceiling, found.ceiling_sd, found.floors["untrained"], found.floors["inputs"]]
        np.testing.assert_allclose([x[k] for x in numbers], expected, rtol=1e-5, atol=1e-5)  # single precision
    plain = repscope.compare(a, b, data=data, measure=measure)
    np.testing.assert_allclose(found.comparison.values, plain.values, rtol=1e-5, atol=1e-6)
    if plain.null_mean is None:
        assert found.chance is None
    else:
        np.testing.assert_allclose(found.chance, np.diag(plain.null_mean), rtol=1e-4, atol=1e-6)


def test_other_measures_leave_out_what_is_not_asked_for():
    found = repscope.baselines(Net(0), Net(1), data=inputs(), seeds=[Net(2)], measure="procrustes")
    values = found.everything.between("seed 1", "untrained").values
    assert np.isnan(values[0, 2])
    assert not np.isnan(np.diag(values)).any()
    assert not np.isnan(found.comparison.values).any()


def test_one_pass_over_a_shuffled_loader_feeds_all():
    data = inputs(64)
    nets = [Net(seed) for seed in range(3)]
    whole = repscope.baselines(nets[0], nets[1], data=data, seeds=[nets[2]], seed=4)
    mixed = repscope.baselines(nets[0], nets[1], data=Shuffled(data, 16), seeds=[nets[2]], seed=4)
    for name in ("untrained", "inputs"):
        np.testing.assert_allclose(mixed.floors[name], whole.floors[name], rtol=1e-4)
    np.testing.assert_allclose(mixed.ceiling, whole.ceiling, rtol=1e-4)


def test_sizes_are_compared_on_the_same_batches_too():
    data = inputs(64)
    (small, large) = repscope.compare_sizes(Net(0), Net(1), data=Shuffled(data, 16), sizes=[16, 64])
    expected = repscope.compare(Net(0), Net(1), data=data)
    np.testing.assert_allclose(large.values, expected.values, rtol=1e-4)
    assert small.n == 16
    (flat,) = repscope.compare_sizes(Net(0), data=data, sizes=[64], layers=["head"], batch_size=8)
    assert flat.row_layers == ("head",)


@pytest.mark.filterwarnings("ignore::repscope.DiagnosticWarning")
def test_sizes_take_the_positions_of_an_image_together():
    torch.manual_seed(0)
    data = torch.randn(40, 3, 6, 6) + 2 * torch.randn(40, 3, 1, 1)  # 16 positions of a map are alike
    nets = [torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3)) for _ in range(2)]
    settings = {"data": data, "layers": ["0"], "reduce": "positions"}
    expected = repscope.compare(*nets, **settings)
    curve = repscope.compare_sizes(*nets, **settings)
    assert [one.n for one in curve] == [16, 32, 80, 160, 320, 640]
    np.testing.assert_allclose(curve[-1].standard_errors, expected.standard_errors, rtol=1e-5)
    assert [one.standard_errors is None for one in curve] == [True] * 3 + [False] * 3  # fewer than 8 images
    assert (curve[-1].models, curve[-1].conventions["reduce"]) == (expected.models, "positions")
    with pytest.raises(InputError, match="sizes must be multiples of the 16 examples that come from one item"):
        repscope.compare_sizes(*nets, sizes=[100], **settings)


def test_sizes_of_tokens_have_no_standard_errors():
    texts = torch.randn(12, 5, 4)
    (found,) = repscope.compare_sizes(torch.nn.Linear(4, 3), data=texts, reduce="tokens", sizes=[60])
    assert found.standard_errors is None
    assert "none is independent" in found.conventions["intervals"]


def test_arrays_by_name_and_by_place():
    a, b, c = (layers_of(seed=seed) for seed in range(3))
    renamed = {f"other {name}": x for name, x in b.items()}
    x = np.random.default_rng(0).standard_normal((50, 2, 3))
    found = repscope.baselines(a, renamed, seeds={"again": c}, untrained=[b, renamed], inputs=x)
    assert found.layers == tuple(a)
    for k, name in enumerate(a):
        assert found.score[k] == pytest.approx(float(repscope.cka(a[name], b[name])))
        assert found.floors["untrained"][k] == pytest.approx(found.score[k])
        assert found.floors["inputs"][k] == pytest.approx(float(repscope.cka(a[name], x.reshape(50, 6))))
    assert found.pairs == 1
    assert np.isnan(found.ceiling_sd).all()
    assert "again" in found.everything.models
    alone = repscope.baselines(a["layer0"], b["layer0"])
    assert alone.layers == ("layer",)
    assert alone.ceiling is None
    assert not alone.floors


def test_the_floor_is_below_and_the_ceiling_above_for_networks_that_share_more_than_their_inputs():
    rng = np.random.default_rng(0)
    x, learned = rng.standard_normal((300, 6)), rng.standard_normal((300, 4))

    def network(share: float) -> dict[str, np.ndarray]:
        seen = np.hstack([x, 2 * share * learned])
        return {"hidden": seen @ rng.standard_normal((10, 40)) + rng.standard_normal((300, 40))}

    found = repscope.baselines(
        network(1.0), network(0.6), seeds=[network(1.0) for _ in range(3)], untrained=network(0.0), inputs=x
    )
    assert found.ceiling is not None
    assert found.floors["inputs"][0] < found.score[0] < found.ceiling[0]
    assert found.floors["untrained"][0] < found.score[0]
    between = found.normalised("inputs")[0]
    low, high = found.floors["inputs"][0], found.ceiling[0]
    assert between == pytest.approx((found.score[0] - low) / (high - low))
    assert 0 < between < 1


def test_the_text_shows_every_number_and_says_what_is_remarkable():
    a = layers_of(seed=0)
    b = {"layer0": a["layer0"], "layer1": np.random.default_rng(8).standard_normal((50, 3)), "layer2": a["layer2"]}
    rng = np.random.default_rng(0)
    seeds = [{name: x + 0.1 * rng.standard_normal(x.shape) for name, x in a.items()} for _ in range(2)]
    found = repscope.baselines(a, b, seeds=seeds, untrained=a | {"layer0": layers_of(seed=3)["layer0"]})
    heading, heads, *rows = str(found).splitlines()
    assert heading == "CKA (linear, unbiased): a × b, 50 examples; ceiling: 3 pairs of seeds"
    assert heads.split() == ["score", "ceiling", "(sd)", "untrained", "chance"]
    assert rows[0].split()[:2] == ["layer0", "1.000"]
    assert rows[3] == "No more alike than a floor: layer1, layer2."
    assert rows[4] == "As alike as other seeds are: layer0, layer2."
    assert len(rows) == 5


def test_the_plot_shows_them_too():
    pytest.importorskip("matplotlib")
    found = repscope.baselines(
        layers_of(seed=0), layers_of(seed=1), seeds=[layers_of(seed=2), layers_of(seed=3)], untrained=layers_of(seed=4)
    )
    ax = found.plot(label="a and b")
    lines = {line.get_label(): line.get_ydata() for line in ax.lines}
    assert list(lines) == ["a and b", "chance", "ceiling: other seeds", "floor: untrained"]
    assert found.plot().lines[0].get_label() == found.comparison.title
    np.testing.assert_array_equal(lines["a and b"], found.score)
    np.testing.assert_array_equal(lines["ceiling: other seeds"], found.ceiling)
    np.testing.assert_array_equal(lines["floor: untrained"], found.floors["untrained"])


# -- controls ----------------------------------------------------------------------------------------------------------


class WithToken(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.zeros(3))
        self.inner = nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x + self.token)


def test_a_copy_is_drawn_anew_and_nothing_else_changes():
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 2))
    model.train()
    model(torch.randn(20, 4))
    before = {name: x.clone() for name, x in model.state_dict().items()}
    state = torch.get_rng_state()
    one, again, other = reinitialised(model, 0), reinitialised(model, 0), reinitialised(model, 1)
    assert torch.equal(torch.get_rng_state(), state)
    for name, x in model.state_dict().items():
        assert torch.equal(x, before[name]), name
    for name, x in one.state_dict().items():
        assert torch.equal(x, again.state_dict()[name]), name
    assert not torch.equal(one[0].weight, model[0].weight)
    assert not torch.equal(one[0].weight, other[0].weight)
    assert torch.equal(one[1].running_mean, torch.zeros(6))
    bound = 4**-0.5  # of torch's own initial weights
    assert one[0].weight.abs().max() <= bound


def test_modules_that_draw_under_another_name_are_drawn_anew_too():
    model = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    fresh = reinitialised(model, 0)
    assert not torch.equal(fresh.self_attn.in_proj_weight, model.self_attn.in_proj_weight)
    assert torch.equal(fresh.self_attn.out_proj.bias, torch.zeros(8))


def test_parameters_that_nothing_draws_are_named():
    with pytest.raises(InputError, match=r"because it, a WithToken, has parameters \(token\) and no reset"):
        reinitialised(WithToken(), 0)
    with pytest.raises(InputError, match=r"module '1', a WithToken, .* Pass a network made like the trained one as"):
        repscope.baselines(*(nn.Sequential(nn.Linear(3, 3), WithToken()) for _ in range(2)), data=torch.randn(20, 3))


def test_the_inputs_are_what_the_model_is_called_on():
    x = torch.randn(4, 2, 3)
    assert torch.equal(Inputs()(x), x.reshape(4, 6))
    assert torch.equal(Inputs(flat=False)(x), x)
    assert torch.equal(Inputs()(input_ids=torch.ones(4, 2, dtype=torch.long), features=x), x.reshape(4, 6))
    with pytest.raises(InputError, match="inputs must hold a floating-point tensor"):
        Inputs()(torch.ones(4, 2, dtype=torch.long))


def test_positions_have_inputs_of_their_own():
    torch.manual_seed(0)
    a, b = (nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.Conv2d(3, 4, 1)) for _ in range(2))
    data = torch.randn(20, 2, 4, 4)
    found = repscope.baselines(a, b, data=data, reduce="positions")
    pixels = data.permute(0, 2, 3, 1).reshape(-1, 2).double().numpy()
    hidden = repscope.representations(a, data, ["2"], reduce="positions")["2"].double().numpy()
    assert found.floors["inputs"][-1] == pytest.approx(float(repscope.cka(hidden, pixels)), rel=1e-4)


def test_mistakes_are_named():
    x = layers_of()
    with pytest.raises(InputError, match="baselines: measure must be one measure, got"):
        repscope.baselines(x, x, measure=["cka", "hsic"])
    with pytest.raises(InputError, match="baselines: checkpoint must be left out"):
        repscope.baselines(x, x, checkpoint="file")
    with pytest.raises(InputError, match=r"baselines: seeds must have names of their own, got inputs"):
        repscope.baselines(x, x, seeds={"inputs": x}, inputs=np.ones((50, 2)))
    with pytest.raises(InputError, match=r"baselines: seeds must have keys with names of their own, got 1 and '1'"):
        repscope.baselines(x, x, seeds={1: x, "1": x})
    with pytest.raises(InputError, match=r"baselines: inputs must be left out for models, got an array"):
        repscope.baselines(Net(0), Net(1), data=inputs(), inputs=np.ones((64, 2)))
    with pytest.raises(InputError, match=r"baselines: inputs must be 'auto', False or an array \(n, ...\), got 'no'"):
        repscope.baselines(x, x, inputs="no")
    with pytest.raises(InputError, match="baselines: inputs must be False where reduce is a mapping"):
        repscope.baselines(Net(0), Net(1), data=inputs(), reduce={"head": "mean"})
    with pytest.raises(InputError, match="networks must have the layers of 'a', got none like 'layer1' in 'seed 1'"):
        repscope.baselines(x, x, seeds=[{"layer0": x["layer0"]}])
    with pytest.raises(InputError, match="must have a ceiling and the floor asked for, got no seeds"):
        repscope.baselines(x, x).normalised()
    with pytest.raises(InputError, match="got the floors none, not untrained"):
        repscope.baselines(x, x, seeds=[x]).normalised()
