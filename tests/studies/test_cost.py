"""What a study says that it will do is what it does, and the arithmetic of its cost."""

from __future__ import annotations

from collections import Counter

import pytest

pytest.importorskip("torch")

from repscope.errors import InputError
from repscope.studies import cost
from repscope.studies.datasets import load_images
from repscope.studies.plans import Comparing, Plan, Training, facts_of
from repscope.studies.text import load_text
from repscope.studies.zoo import NetworkSpec

TINY10 = NetworkSpec("tiny10", {"width": 16})


def test_passes_are_networks_times_epochs_times_examples():
    assert Training(TINY10, "cifar10", 10, 24).passes == 12_000_000
    assert Training(TINY10, "cifar10", 10, 24, 1000).passes == 240_000
    plan = Plan([Training(TINY10, "digits", 2, 3), Training(TINY10, "digits", 2, 0)])
    assert cost.counts(plan) == "2 networks to train, 8,400 passes of an example"
    assert cost.counts(Plan()) == "no training"


def test_operations_and_widths_are_those_of_the_network():
    shape = cost._shape(TINY10, "cifar10")
    # Table E.1: 3×3 convolutions of 16, 16 and, with stride 2, 32 channels on 32×32, and so on; 9 layers.
    assert shape.widths[:4] == (16 * 1024, 16 * 1024, 32 * 256, 32 * 256)
    assert shape.widths[-1] == 64
    first = 2 * 9 * 3 * 16 * 1024
    second = 2 * 9 * 16 * 16 * 1024
    third = 2 * 9 * 16 * 32 * 256
    assert first + second + third < shape.operations < 3 * (first + second + third)


def test_a_comparison_takes_gram_matrices_and_their_products():
    widths = cost._shape(TINY10, "cifar10").widths
    one = Comparing([(TINY10, 2)], "cifar10", 100)
    assert cost.operations_of(one) == 2 * 100**2 * (2 * sum(widths) + (2 * len(widths)) ** 2)
    assert cost.operations_of(Comparing([(TINY10, 2)], "cifar10", 100, indexes=3)) == 3 * cost.operations_of(one)
    assert cost.operations_of(Comparing([(TINY10, 2)], "cifar10", 100, indexes=0, family=True)) > 0


def test_times_come_from_the_measured_speed(monkeypatch):
    monkeypatch.setattr(cost, "_rate", lambda spec, *_: 500.0)
    monkeypatch.setattr(cost, "_at_once", lambda _: 4)
    monkeypatch.setattr(cost, "flops_per_second", lambda: 1e9)
    plan = Plan([*(Training(TINY10, "digits", count, 10) for count in (2, 5)), Training(TINY10, "digits", 3, 0)])
    assert cost.estimate(plan) == [
        "2 × tiny10, 10 epochs of 1,400 images of digits: about 28 s at 500 a second and network",  # 28,000 / (2 · 500)
        "5 × tiny10, 10 epochs of 1,400 images of digits: about 56 s at 500 a second and network",  # four, then one
        "3 × tiny10, untrained",
    ]
    one = Comparing([(TINY10, 1)], "cifar10", 500)
    assert cost.estimate(Plan([], [one])) == [
        f"comparing: {cost.operations_of(one):.2g} operations, about {cost.operations_of(one) / 1e9:.3g} s on the CPU"
    ]


def test_what_takes_too_long_to_measure_is_told_in_operations(monkeypatch):
    monkeypatch.setattr(cost, "flops_per_second", lambda: 1e3)
    cost._rate.cache_clear()
    (line,) = cost.estimate(Plan([Training(TINY10, "cifar10", 1, 2, 100)]))
    total = 3 * 200 * cost._shape(TINY10, "cifar10").operations
    assert line == f"1 × tiny10, 2 epochs of 100 images of cifar10: {total:.2g} operations"


def test_speed_is_measured_on_this_machine(monkeypatch):
    monkeypatch.setattr(cost, "MEASURED", 0.01)
    cost._rate.cache_clear()
    assert cost._rate(NetworkSpec("tiny10", {"width": 2}), "digits-transposed", True, "cpu") > 0
    assert cost._rate(NetworkSpec("translator", {"width": 8, "heads": 2, "inner": 8}), "numbers", True, "cpu") > 0
    assert cost._rate(NetworkSpec("translator", {"width": 8}), "multi30k", True, "cpu") is None
    with pytest.raises(InputError, match="device must be 'auto' or one that this machine has"):
        cost._rate(TINY10, "digits", True, "abacus")


def test_what_is_known_of_the_data_beforehand_is_true():
    digits, known = load_images("digits"), facts_of("digits")
    assert known["train_examples"] == digits.train_examples
    assert (known["channels"], known["side"], known["side"]) == digits.train_images.shape[1:]
    assert (known["classes"], known["unit"]) == (len(digits.classes), digits.unit)
    numbers, known = load_text("numbers"), facts_of("numbers")
    assert (known["train_examples"], known["unit"]) == (numbers.train_examples, numbers.unit)


def stems(trainings):
    """Names of the files that trainings leave, without their seeds, and how many of each there are."""
    found = Counter()
    for one in trainings:
        part = "" if one.examples is None else f"-first{one.examples}"
        found[f"{one.spec.name}-{one.data}{part}-epochs{one.epochs}"] += one.count
    return found
