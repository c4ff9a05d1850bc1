"""compare on arrays in memory and in files."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import repscope
from repscope import RBF, DegenerateInputWarning, FileFormatError, InputError, compare
from repscope.files import load_representations
from tests.compare.nets import layers_of


def expected(a: dict[str, Any], b: dict[str, Any] | None = None, measure: str = "cka", **options: Any) -> Any:
    b = a if b is None else b
    return [
        [float(repscope.score(measure, np.asarray(x), np.asarray(y), **options)) for y in b.values()]
        for x in a.values()
    ]


@pytest.mark.parametrize(
    "measure", ["cka", "hsic", "cca", "svcca", "pwcca", "linear_regression", "procrustes", "canonical_ridge"]
)
def test_every_measure_on_arrays(measure: str) -> None:
    a, b = layers_of(seed=0), layers_of(seed=1)
    result = compare(a, b, measure=measure)
    np.testing.assert_allclose(result.values, expected(a, b, measure), atol=1e-9)
    assert (result.models, result.n) == (("a", "b"), 50)
    within = compare(a, measure=measure)
    np.testing.assert_allclose(within.values, expected(a, measure=measure), atol=1e-9)


@pytest.mark.parametrize("library", ["numpy", "torch", "torch-bfloat16", "jax"])
@pytest.mark.parametrize("options", [{}, {"kernel": RBF(0.4)}, {"kernel": "cosine"}, {"pairs": "batch"}])
def test_arrays_of_every_library(library: str, options: dict[str, Any]) -> None:
    layers = layers_of(dtype=np.float32)
    convert: Any = np.asarray
    if library.startswith("torch"):
        torch = pytest.importorskip("torch")
        dtype = torch.bfloat16 if library.endswith("bfloat16") else torch.float32
        convert = lambda x: torch.from_numpy(x).to(dtype)  # noqa: E731
    elif library == "jax":
        convert = pytest.importorskip("jax.numpy").asarray
    result = compare({k: convert(x) for k, x in layers.items()}, **options)
    kernel = {k: v for k, v in options.items() if k == "kernel"}
    tolerance = 0.01 if library.endswith("bfloat16") else 1e-5
    np.testing.assert_allclose(result.values, expected(layers, **kernel), atol=tolerance)
    assert result.conventions["dtype"] == ("bfloat16" if library.endswith("bfloat16") else "float32")


def test_libraries_may_be_mixed_across_the_two_sides() -> None:
    torch = pytest.importorskip("torch")
    a, b = layers_of(seed=0), layers_of(seed=1)
    for measure in ("cka", "cca"):
        result = compare(a, {k: torch.from_numpy(x) for k, x in b.items()}, measure=measure)
        np.testing.assert_allclose(result.values, expected(a, b, measure), atol=1e-9)


def test_read_only_arrays_are_enough_and_stay_as_they_are() -> None:
    layers = layers_of()
    before = {k: x.copy() for k, x in layers.items()}
    for x in layers.values():
        x.flags.writeable = False
    for measure in ("cka", "cca", "procrustes"):
        compare(layers, measure=measure)
    compare(layers, kernel="polynomial")
    for k, x in layers.items():
        np.testing.assert_array_equal(x, before[k])


def test_integers_are_promoted() -> None:
    images = np.random.default_rng(0).integers(0, 255, (40, 12), dtype=np.uint8)
    result = compare({"pixels": images, "other": images[:, :5]})
    np.testing.assert_allclose(
        result.values, expected({"p": images.astype(float), "o": images[:, :5].astype(float)}), atol=1e-9
    )


@pytest.mark.parametrize("kernel", ["linear", "rbf", "polynomial"])
@pytest.mark.parametrize("pairs", ["all", "batch"])
def test_a_callable_kernel(kernel: str, pairs: str) -> None:
    def product(x: Any) -> Any:
        return (x @ x.T) ** 2

    layers = layers_of()
    result = compare(layers, kernel=product, pairs=pairs, batch_size=50)
    np.testing.assert_allclose(result.values, expected(layers, kernel=product), atol=1e-9)
    assert result.conventions["kernel"].endswith("product")


@pytest.mark.parametrize("pairs", ["all", "batch"])
def test_a_callable_kernel_in_torch(pairs: str) -> None:
    torch = pytest.importorskip("torch")

    def distance(x: Any) -> Any:
        return -torch.cdist(x, x)

    layers = {k: torch.from_numpy(x) for k, x in layers_of().items()}
    result = compare(layers, kernel=distance, pairs=pairs, batch_size=50)
    wanted = [[float(repscope.cka(x, y, kernel=distance)) for y in layers.values()] for x in layers.values()]
    np.testing.assert_allclose(result.values, wanted, atol=1e-9)


def test_several_sets_of_layers() -> None:
    sets = {"one": layers_of(seed=0), "two": layers_of(seed=1), "three": layers_of(seed=2)}
    result = compare(sets)
    assert result.values.shape == (9, 9)
    np.testing.assert_allclose(result.between("one", "three").values, expected(sets["one"], sets["three"]), atol=1e-9)


def test_two_plain_arrays() -> None:
    x, y = list(layers_of().values())[:2]
    result = compare(x, y)
    np.testing.assert_allclose(result.values, [[float(repscope.cka(x, y))]], atol=1e-12)
    assert (result.row_layers, result.column_layers) == (("a",), ("b",))


def test_names_that_are_no_text() -> None:
    layers = layers_of()
    assert compare({0: layers["layer0"], 7: layers["layer1"]}).row_layers == ("0", "7")


def test_names_that_become_equal() -> None:
    x = layers_of()["layer0"]
    with pytest.raises(
        InputError, match=r"compare: model must have keys with names of their own, got 1 and '1', which"
    ):
        compare({1: x, "1": x})
    with pytest.raises(InputError, match=r"compare: a must have keys with names of their own, got 1 and '1', which"):
        compare({1: {"x": x}, "1": {"x": x}})


def test_the_choice_of_layers() -> None:
    layers = layers_of() | {"block[0]": layers_of(seed=3)["layer0"]}
    assert compare(layers, layers="layer[02]").row_layers == ("layer0", "layer2")
    assert compare(layers, layers=["block[0]", "layer1"]).row_layers == ("layer1", "block[0]")
    pair = compare(layers, layers, layers=("layer0", ["layer1", "layer2"]))
    assert (pair.row_layers, pair.column_layers) == (("layer0",), ("layer1", "layer2"))
    with pytest.raises(
        InputError, match=r"compare: layers must name layers of model, got 'layr1'. Did you mean 'layer1'"
    ):
        compare(layers, layers="layr1")
    with pytest.raises(
        InputError, match=r"compare: layers must be names or globs where layers are given as arrays, got 0"
    ):
        compare(layers, layers=[0])
    with pytest.raises(InputError, match=r"compare: layers must name at least one layer of model, got none"):
        compare(layers, layers=[])


def test_mistakes_are_named() -> None:
    layers = layers_of()
    with pytest.raises(
        InputError,
        match=r"all layers must have the same number of rows .* got 50 in 'layer0' of a and 40 in 'layer0' of b",
    ):
        compare(layers, layers_of(40))
    with pytest.raises(InputError, match=r"compare: layer 'bad' of model must be a matrix"):
        compare({**layers, "bad": np.zeros((50, 2, 2))})
    with pytest.raises(InputError, match=r"compare: layer 'bad' of model must be finite, got nan in row 3, column 1"):
        compare({**layers, "bad": np.where(np.arange(100).reshape(50, 2) == 7, np.nan, 1.0)})
    with pytest.raises(InputError, match=r"compare: data must be left out when layers are given as arrays"):
        compare(layers, data=np.zeros((50, 3)))
    with pytest.raises(InputError, match=r"compare: model must be a torch module.*got an empty mapping"):
        compare({})
    with pytest.raises(InputError, match=r"compare: data must hold at least 4 examples.*got 3"):
        compare(layers_of(3))
    with pytest.raises(InputError, match=r"compare: pairs must be 'auto', 'all' or 'batch', got 'some'"):
        compare(layers, pairs="some")
    with pytest.raises(InputError, match=r"compare: pairs must be left out for procrustes"):
        compare(layers, measure="procrustes", pairs="batch")
    with pytest.raises(InputError, match=r"compare: measure must hold each measure once, got cka twice"):
        compare(layers, measure=["cka", "cca", "cka"])
    with pytest.raises(InputError, match=r"compare: batch_size must be a positive whole number, got 0"):
        compare(layers, pairs="batch", batch_size=0)


@pytest.mark.parametrize("memory", ["abc", "1.2.3GB", "4 apples", "", -1, 0, float("nan")])
def test_a_memory_budget_that_is_none(memory: Any) -> None:
    with pytest.raises(InputError, match=r"compare: memory must be (a number of bytes or text such as '4GB'|positive)"):
        compare(layers_of(), memory=memory)


@pytest.mark.parametrize("memory", ["4GB", "4gib", "512 MB", "1e9", 2**30, None])
def test_a_memory_budget(memory: Any) -> None:
    compare(layers_of(), memory=memory)


@pytest.mark.parametrize("measure", ["cka", "cca", "procrustes"])
def test_a_constant_layer_is_named(measure: str) -> None:
    layers = layers_of() | {"dead": np.full((50, 4), 0.1)}
    with pytest.warns(DegenerateInputWarning, match="dead") as caught:
        result = compare(layers, measure=measure)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert np.isnan(result.values[3]).all()
    assert np.isfinite(result.values[:3, :3]).all()


@pytest.mark.filterwarnings("ignore::repscope.DiagnosticWarning")
def test_equal_but_for_one_example_has_no_unbiased_score() -> None:
    lonely = np.zeros((50, 4), np.float32)
    lonely[20] = 3
    for pairs in ("all", "auto"):
        with pytest.warns(DegenerateInputWarning, match="lonely"):
            result = compare(layers_of(dtype=np.float32) | {"lonely": lonely}, pairs=pairs)
        assert np.isnan(result.values[3]).all()
    assert np.isfinite(compare({"lonely": lonely}, estimator="biased").values).all()


def test_the_cosine_of_an_example_of_zeros_is_refused() -> None:
    layers = layers_of()
    layers["layer1"][7] = 0
    with pytest.raises(InputError, match=r"Cosine: every example must be non-zero, got zeros in layer 'layer1'"):
        compare(layers, kernel="cosine")
    with pytest.raises(InputError, match=r"Cosine: every row must be non-zero"):
        compare(layers, kernel="cosine", pairs="batch")


def test_what_is_recorded() -> None:
    result = compare(layers_of(), seed=4)
    assert result.seeds == {}  # all 50 examples set the bandwidth of a radial kernel, and this one is linear
    assert "batch_size" not in result.conventions
    assert compare(layers_of(), pairs="batch", batch_size=25).conventions["batch_size"] == 25
    assert compare(layers_of(), measure="cca").conventions["summary"] == "r2"


# -- files -----------------------------------------------------------------------------------------------------------


def test_paths(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    a, b = layers_of(seed=0), layers_of(seed=1)
    np.savez(tmp_path / "a.npz", **a)
    np.savez_compressed(tmp_path / "c.npz", **b)
    save_file({k: torch.from_numpy(x).to(torch.bfloat16) for k, x in b.items()}, tmp_path / "b.safetensors")
    np.save(tmp_path / "single.npy", a["layer1"])
    result = compare(tmp_path / "a.npz", str(tmp_path / "c.npz"))
    np.testing.assert_allclose(result.values, expected(a, b), atol=1e-9)
    assert result.models == ("a", "c")
    half = compare(tmp_path / "a.npz", tmp_path / "b.safetensors")
    np.testing.assert_allclose(half.values, expected(a, b), atol=0.01)
    single = compare(tmp_path / "single.npy", tmp_path / "a.npz", layers=(None, "layer1"))
    np.testing.assert_allclose(single.values, 1, atol=1e-12)
    assert single.row_layers == ("single",)
    three = compare({"x": tmp_path / "a.npz", "y": tmp_path / "c.npz", "z": a})
    assert three.values.shape == (9, 9)


class Bomb:
    """What a pickle could do."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("exploded",)


def test_pickles_are_refused_and_never_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    bomb = np.array([Bomb()], dtype=object)
    np.save("object.npy", bomb, allow_pickle=True)
    np.savez("object.npz", layer=bomb)
    Path("raw.npy").write_bytes(pickle.dumps(Bomb()))
    Path("raw.npz").write_bytes(pickle.dumps(Bomb()))
    with zipfile.ZipFile("member.npz", "w") as archive:
        archive.writestr("layer.npy", pickle.dumps(Bomb()))
    for name in ("object.npy", "object.npz", "raw.npy", "raw.npz", "member.npz"):
        with pytest.raises(FileFormatError, match=rf"load: {name} (holds pickled objects|could not be read)"):
            compare(name)
    assert not Path("exploded").exists()


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    good = tmp_path / "good.npz"
    np.savez_compressed(good, **layers_of(400))
    whole = good.read_bytes()
    for name, content in {
        "cut.npz": whole[: len(whole) // 2],
        "flipped.npz": whole[:3000] + bytes([whole[3000] ^ 255]) + whole[3001:],
        "text.npz": b"not an archive",
        "empty.npz": b"",
        "empty.npy": b"",
        "cut.safetensors": b"\x08\x00\x00\x00\x00\x00\x00\x00{}",
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(FileFormatError, match=r"load: .*(could not be read|pickled|holds no)"):
            load_representations(tmp_path / name)
    np.savez(tmp_path / "none.npz")
    with pytest.raises(FileFormatError, match=r"holds no arrays"):
        load_representations(tmp_path / "none.npz")
    with zipfile.ZipFile(tmp_path / "notes.npz", "w") as archive:
        archive.writestr("notes.txt", "hello")
    with pytest.raises(FileFormatError, match=r"its member 'notes.txt' is no array"):
        load_representations(tmp_path / "notes.npz")


def test_paths_that_do_not_exist_or_have_another_suffix(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"load: .*nothing.npz does not exist"):
        compare(tmp_path / "nothing.npz")
    with pytest.raises(InputError, match=r"load: .* must end in .npy, .npz, .safetensors, got '.pt'"):
        compare(tmp_path / "model.pt")
