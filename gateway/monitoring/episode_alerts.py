"""What an operator has been told of each episode, and what he is to be told next.

The last word about a spot must be true, and a spot that flaps must not flood. So what was told last
is held against what is, at every look, instead of telling each change as it happens:

* a standstill where the last word was "over", or there was none, is told at once;
* "over", and another reason for what is still stuck, are each told at most once in a quiet time.
  What the quiet held back is told at its end, if it still is so.

Nothing opens twice without an "over" between. So in one quiet time a spot gets at most one "over"
and two alerts of a standstill, and a last word that is no longer true is put right within it.

Pure, like the watchdog: the time is passed in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from gateway.monitoring.watchdog import Spot, Standstill

NEVER: Final = float("-inf")


class Word(NamedTuple):
    """An alert to raise."""

    over: bool
    standstill: Standstill  # as it is, or as it was when it was last seen stuck


@dataclass(slots=True)
class _Told:
    standstill: Standstill  # as it was last seen stuck
    said: Standstill  # as it was told
    over: bool = False  # the last word
    stuck_at: float = NEVER  # when a standstill was told last
    over_at: float = NEVER


class EpisodeAlerts:
    """Remembers the last word about each spot, as long as it may still keep one back."""

    def __init__(self, quiet_s: float) -> None:
        self._quiet_s = quiet_s
        self._told: dict[Spot, _Told] = {}

    def look(self, now: float, episodes: Mapping[Spot, Standstill]) -> list[Word]:
        """What is to be told now that these are open."""
        words: list[Word] = []
        for spot, episode in episodes.items():
            told = self._told.get(spot)
            if told is None:
                told = self._told[spot] = _Told(episode, episode, over=True)
            told.standstill = episode
            another = episode.group.reason is not told.said.group.reason
            if told.over or (another and now - told.stuck_at >= self._quiet_s):
                told.over, told.stuck_at, told.said = False, now, replace(episode)
                words.append(Word(False, episode))
        for spot in [spot for spot in self._told if spot not in episodes]:
            told = self._told[spot]
            quiet = now - told.over_at < self._quiet_s
            if not told.over and not quiet:
                told.over, told.over_at = True, now
                words.append(Word(True, told.standstill))
            elif told.over and not quiet:
                del self._told[spot]
        return words
