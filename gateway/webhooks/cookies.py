"""Cookies of webhooks: kept per pair of numbers for four idle hours
(docs/spec/twilio-api.md#our-http-client)."""

from __future__ import annotations

from collections import OrderedDict
from http.cookies import SimpleCookie

from aiohttp import CookieJar
from yarl import URL

from gateway.runtime.clock import Clock

IDLE_S = 4 * 3600.0
MOST_PAIRS = 10_000  # beyond it the pair that was silent for longest is forgotten
MOST_COOKIES = 50  # of one pair; an app that sets more starts again

NumberPair = tuple[str, str]  # From, To


class Cookies:
    """What the apps told us to remember of each conversation between two numbers."""

    def __init__(self, clock: Clock, most_pairs: int = MOST_PAIRS) -> None:
        self._most_pairs = most_pairs
        self._clock = clock
        self._jars: OrderedDict[NumberPair, tuple[float, CookieJar]] = OrderedDict()

    def header(self, pair: NumberPair, url: URL) -> str:
        """The `Cookie` header for a request; empty when there is nothing to say."""
        kept = self._jars.pop(pair, None)
        now = self._clock.monotonic()
        if kept is None or now - kept[0] > IDLE_S:
            return ""
        self._jars[pair] = (now, kept[1])
        return kept[1].filter_cookies(url).output(header="", sep=";").strip()

    def keep(self, pair: NumberPair, cookies: SimpleCookie, url: URL) -> None:
        """Remember what an answer from `url` set."""
        if not cookies:
            return
        _, jar = self._jars.pop(pair, (0.0, None))
        if jar is None:
            jar = CookieJar(unsafe=True)  # apps may well be known by an address
        jar.update_cookies(cookies, url)
        if len(jar) > MOST_COOKIES:
            jar.clear()
        self._jars[pair] = (self._clock.monotonic(), jar)
        if len(self._jars) > self._most_pairs:
            self._jars.popitem(last=False)
