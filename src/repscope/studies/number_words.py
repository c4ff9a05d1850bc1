"""Numbers in English and German words: a small translation task with a real difference of order.

German says the units before the tens: *forty-two* is *zwei und vierzig*. A translator has to look at both words to say
the first. The German words are written apart, where the usual spelling joins them (zweiundvierzig), so that each is a
token.
"""

from __future__ import annotations

import numpy as np

from repscope.errors import InputError

LARGEST = 9_999_999


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_ENGLISH_UNITS = _words(
    "zero one two three four five six seven eight nine "
    "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
)
_ENGLISH_TENS = _words("twenty thirty forty fifty sixty seventy eighty ninety")
_GERMAN_UNITS = _words(
    "null eins zwei drei vier fünf sechs sieben acht neun "
    "zehn elf zwölf dreizehn vierzehn fünfzehn sechzehn siebzehn achtzehn neunzehn"
)
_GERMAN_TENS = _words("zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig")


def english(number: int) -> str:
    """A whole number from 0 to ``LARGEST`` in English words, tens and units joined by a hyphen.

    Raises:
        InputError: ``number`` is out of range.

    Example:
        >>> english(1_230_042)
        'one million two hundred thirty thousand forty-two'
    """
    _check("english", number)
    millions, rest = divmod(number, 1_000_000)
    thousands, units = divmod(rest, 1000)
    parts = [f"{_english_below_thousand(millions)} million"] if millions else []
    parts += [f"{_english_below_thousand(thousands)} thousand"] if thousands else []
    parts += [_english_below_thousand(units)] if units or not parts else []
    return " ".join(parts)


def german(number: int) -> str:
    """A whole number from 0 to ``LARGEST`` in German words, each written apart.

    Raises:
        InputError: ``number`` is out of range.

    Example:
        >>> german(1_230_042)
        'eine million zwei hundert dreißig tausend zwei und vierzig'
    """
    _check("german", number)
    millions, rest = divmod(number, 1_000_000)
    thousands, units = divmod(rest, 1000)
    parts = []
    if millions:
        parts.append("eine million" if millions == 1 else f"{_german_below_thousand(millions, 'ein')} millionen")
    if thousands:
        parts.append(f"{_german_below_thousand(thousands, 'ein')} tausend")
    if units or not parts:
        parts.append(_german_below_thousand(units, "eins"))
    return " ".join(parts)


def drawn(count: int, seed: int) -> list[int]:
    """Different numbers up to ``LARGEST``, of every length from one to seven digits, in random order.

    Raises:
        InputError: ``count`` is not from 1 to a million.
    """
    if not 1 <= count <= 1_000_000:
        raise InputError(f"drawn: count must be from 1 to 1,000,000, got {count}.")
    rng = np.random.default_rng(seed)
    found: dict[int, None] = {}
    while len(found) < count:
        digits = rng.integers(1, len(str(LARGEST)), size=count, endpoint=True)
        lowest = np.where(digits == 1, 0, 10 ** (digits - 1))
        found |= dict.fromkeys(rng.integers(lowest, 10**digits).tolist())
    return list(found)[:count]


def _check(function: str, number: int) -> None:
    if not 0 <= number <= LARGEST:
        raise InputError(f"{function}: number must be from 0 to {LARGEST:,}, got {number}.")


def _english_below_thousand(number: int) -> str:
    hundreds, rest = divmod(number, 100)
    parts = [f"{_ENGLISH_UNITS[hundreds]} hundred"] if hundreds else []
    if rest >= 20:
        tens, units = divmod(rest, 10)
        parts.append(_ENGLISH_TENS[tens - 2] + (f"-{_ENGLISH_UNITS[units]}" if units else ""))
    elif rest or not hundreds:
        parts.append(_ENGLISH_UNITS[rest])
    return " ".join(parts)


def _german_below_thousand(number: int, one: str) -> str:
    """``one`` is the form of 1 at the end: *eins* by itself, *ein* before another word."""
    hundreds, rest = divmod(number, 100)
    parts = [f"{_german_unit(hundreds, 'ein')} hundert"] if hundreds else []
    if rest >= 20:
        tens, units = divmod(rest, 10)
        parts.append((f"{_german_unit(units, 'ein')} und " if units else "") + _GERMAN_TENS[tens - 2])
    elif rest or not hundreds:
        parts.append(_german_unit(rest, one))
    return " ".join(parts)


def _german_unit(number: int, one: str) -> str:
    return one if number == 1 else _GERMAN_UNITS[number]
