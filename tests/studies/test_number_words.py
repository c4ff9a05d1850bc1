from __future__ import annotations

import pytest

from repscope.errors import InputError
from repscope.studies.number_words import LARGEST, drawn, english, german

# The rules of both languages; German as in the usual spelling with blanks between the parts.
KNOWN = {
    0: ("zero", "null"),
    1: ("one", "eins"),
    12: ("twelve", "zwölf"),
    17: ("seventeen", "siebzehn"),
    21: ("twenty-one", "ein und zwanzig"),
    30: ("thirty", "dreißig"),
    42: ("forty-two", "zwei und vierzig"),
    100: ("one hundred", "ein hundert"),
    101: ("one hundred one", "ein hundert eins"),
    616: ("six hundred sixteen", "sechs hundert sechzehn"),
    1000: ("one thousand", "ein tausend"),
    1001: ("one thousand one", "ein tausend eins"),
    21_301: ("twenty-one thousand three hundred one", "ein und zwanzig tausend drei hundert eins"),
    101_000: ("one hundred one thousand", "ein hundert ein tausend"),
    1_000_000: ("one million", "eine million"),
    2_000_076: ("two million seventy-six", "zwei millionen sechs und siebzig"),
    LARGEST: (
        "nine million nine hundred ninety-nine thousand nine hundred ninety-nine",
        "neun millionen neun hundert neun und neunzig tausend neun hundert neun und neunzig",
    ),
}


@pytest.mark.parametrize("number", KNOWN)
def test_numbers_in_words(number):
    assert (english(number), german(number)) == KNOWN[number]


@pytest.mark.parametrize("words", [english, german])
def test_different_numbers_have_different_words(words):
    assert len({words(number) for number in range(0, LARGEST, 997)}) == len(range(0, LARGEST, 997))


@pytest.mark.parametrize("number", [-1, LARGEST + 1])
@pytest.mark.parametrize("words", [english, german])
def test_numbers_without_words_are_refused(words, number):
    with pytest.raises(InputError, match=rf"{words.__name__}: number must be from 0 to 9,999,999, got {number}"):
        words(number)


def test_drawn_numbers_differ_have_all_lengths_and_follow_the_seed():
    found = drawn(2000, seed=1)
    assert found == drawn(2000, seed=1) != drawn(2000, seed=2)
    assert len(set(found)) == 2000
    assert {len(str(number)) for number in found} == set(range(1, 8))
    assert 0 <= min(found) <= max(found) <= LARGEST
    with pytest.raises(InputError, match="drawn: count must be from 1"):
        drawn(0, seed=1)
