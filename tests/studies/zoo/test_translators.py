from __future__ import annotations

import io
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from repscope.errors import InputError  # noqa: E402
from repscope.studies.datasets import load_images  # noqa: E402
from repscope.studies.text import load_text  # noqa: E402
from repscope.studies.translating import token_accuracy  # noqa: E402
from repscope.studies.zoo import NetworkSpec, Recipe, TranslationRecipe, _worker, load, trained  # noqa: E402
from repscope.studies.zoo.job import Job  # noqa: E402

SPEC = NetworkSpec("translator", {"width": 16, "heads": 2, "inner": 16, "layers": 1})
RECIPE = TranslationRecipe(epochs=2, batch_size=40, precision="float32")


@pytest.fixture(scope="module")
def numbers():
    text = load_text("numbers")
    return replace(text, train=text.train[:300], tests={"test": text.judged[:50]})


def weights(network):
    return [value.tolist() for value in network.model.state_dict().values()]


def test_translators_are_trained_kept_and_read_like_other_networks(numbers, tmp_path, capsys):
    (network,) = trained(SPEC, numbers, RECIPE, [4], tmp_path, limit=200, progress=True)
    said = capsys.readouterr().err
    assert "2 epochs of 200 pairs of sentences of numbers" in said
    assert "pairs of sentences/s a network" in said
    assert network.file.name == "translator-width16-heads2-inner16-layers1-numbers-first200-epochs2-seed4.safetensors"
    assert (network.spec, network.recipe, network.data) == (SPEC, RECIPE, numbers.facts(200))
    assert network.test_accuracy == token_accuracy(network.model, numbers.tokens(numbers.judged))
    again = load(network.file)
    assert weights(again) == weights(network)
    assert (again.recipe, again.record) == (RECIPE, network.record)


def test_a_worker_gets_the_same_job(numbers, tmp_path):
    job = Job(SPEC, numbers, RECIPE, tmp_path, 200, torch.device("cpu"))
    pipe = io.BytesIO()
    _worker.send_job(job, pipe)
    pipe.seek(0)
    found = _worker._receive_job(pipe)
    assert found.facts == job.facts
    assert (found.spec, found.recipe, found.file(3)) == (job.spec, job.recipe, job.file(3))
    assert found.data.tokens(found.data.train) == numbers.tokens(numbers.train)


def test_a_file_of_other_text_or_recipe_is_refused(numbers, tmp_path):
    trained(SPEC, numbers, RECIPE, [0], tmp_path)
    with pytest.raises(InputError, match=r"recipe label_smoothing 0\.1 instead of 0\.0"):
        trained(SPEC, numbers, replace(RECIPE, label_smoothing=0.0), [0], tmp_path)
    with pytest.raises(InputError, match="data fingerprint"):
        trained(SPEC, replace(numbers, train=numbers.train[::-1]), RECIPE, [0], tmp_path)


def test_a_recipe_for_other_data_is_refused(numbers, tmp_path):
    with pytest.raises(InputError, match=r"recipe must fit the pairs of sentences of 'numbers', got a Recipe"):
        trained(SPEC, numbers, Recipe(epochs=1), [0], tmp_path)
    with pytest.raises(InputError, match="recipe must fit the images of 'digits', got a TranslationRecipe"):
        trained(NetworkSpec("tiny10"), load_images("digits"), RECIPE, [0], tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": -1}, "epochs must be 0 or more, got -1"),
        ({"batch_size": 0}, "batch_size must be positive, got 0"),
        ({"label_smoothing": 1.0}, "label_smoothing must be from 0 to below 1"),
        ({"precision": "half"}, "precision must be auto, float32 or bfloat16, got 'half'"),
    ],
)
def test_impossible_recipes_are_refused(changes, message):
    with pytest.raises(InputError, match=f"TranslationRecipe: {message}"):
        TranslationRecipe(**changes)


def test_a_limit_out_of_range_is_refused(numbers, tmp_path):
    with pytest.raises(InputError, match="limit must be from 1 to 300, the number of train pairs"):
        trained(SPEC, numbers, RECIPE, [0], tmp_path, limit=301)
