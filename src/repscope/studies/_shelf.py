"""Large things that are needed again and again, as many at hand as there is room for."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Iterable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item")


class Shelf(Generic[Key, Item]):
    """Fetches things and holds those that will be needed soonest.

    The order of all uses is known beforehand, so what has to give way is what is needed last, which no other rule beats
    (Belady 1966). Where things are used in turn and do not all fit, the usual rule, to drop what has rested longest,
    would fetch every one every time.

    Args:
        fetch: Returns the thing of a key, wherever it comes from.
        size: Returns the room that a thing takes.
        room: How much there is.
        uses: The keys in the order in which they will be taken.
    """

    def __init__(
        self, fetch: Callable[[Key], Item], size: Callable[[Item], float], room: float, uses: Iterable[Key]
    ) -> None:
        self._fetch, self._size, self._room = fetch, size, room
        self._ahead: dict[Key, deque[int]] = defaultdict(deque)
        for place, key in enumerate(uses):
            self._ahead[key].append(place)
        self._held: dict[Key, Item] = {}
        self._taken = 0.0

    def take(self, key: Key) -> Item:
        """The thing of this key, which must be the next of the uses."""
        self._ahead[key].popleft()
        if key in self._held:
            item = self._held[key]
            if not self._ahead[key]:
                self._drop(key)
            return item
        item = self._fetch(key)
        if self._ahead[key] and self._make_room(self._size(item), self._ahead[key][0]):
            self._held[key] = item
            self._taken += self._size(item)
        return item

    def _make_room(self, size: float, next_use: int) -> bool:
        """Drop things that are needed later than ``next_use``, if that gives the room."""
        later = sorted((key for key in self._held if self._ahead[key][0] > next_use), key=lambda k: self._ahead[k][0])
        if self._taken + size - sum(self._size(self._held[key]) for key in later) > self._room:
            return False
        while self._taken + size > self._room:
            self._drop(later.pop())
        return True

    def _drop(self, key: Key) -> None:
        self._taken -= self._size(self._held.pop(key))
