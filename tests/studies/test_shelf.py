from __future__ import annotations

import pytest

from repscope.studies._shelf import Shelf

IN_TURN = ["a", "b", "c"] * 4


def fetched(uses, room):
    """Keys in the order in which a shelf of this room had to fetch them; every thing takes 1."""
    calls = []
    shelf = Shelf(lambda key: calls.append(key) or key.upper(), lambda _: 1.0, room, uses)
    assert [shelf.take(key) for key in uses] == [key.upper() for key in uses]
    assert not shelf._held
    return calls


def fewest_fetches(uses, room):
    """By trying every choice of what to hold after each use."""
    from itertools import combinations

    states = {frozenset(): 0}
    for key in uses:
        after = {}
        for held, count in states.items():
            cost = count + (key not in held)
            at_hand = held | {key}
            for size in range(room + 1):
                for kept in map(frozenset, combinations(sorted(at_hand), size)):
                    after[kept] = min(cost, after.get(kept, cost))
        states = after
    return min(states.values())


def test_what_fits_is_fetched_once():
    assert fetched(IN_TURN, 3) == ["a", "b", "c"]


def test_without_room_everything_is_fetched_every_time():
    assert fetched(IN_TURN, 0) == IN_TURN


@pytest.mark.parametrize("room", [1, 2, 3])
@pytest.mark.parametrize("uses", [IN_TURN, list("abacabadabac"), list("abcdabcdab"), list("aabbcacb")])
def test_no_choice_of_what_to_hold_fetches_less(uses, room):
    assert len(fetched(uses, room)) == fewest_fetches(uses, room)


def test_sizes_count():
    sizes = {"big": 5.0, "small": 1.0, "tiny": 0.5}
    calls = []
    uses = ["small", "big", "tiny", "small", "tiny", "big"]
    shelf = Shelf(lambda key: calls.append(key) or key, sizes.__getitem__, 2.0, uses)
    for key in uses:
        shelf.take(key)
    assert calls == ["small", "big", "tiny", "big"]
