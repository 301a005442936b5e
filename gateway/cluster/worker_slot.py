"""A process's place among several that are one gateway, and what of a carrier that is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from smpp.esme import BindConfig
from smpp.states import BindType


class WorkerSlot(NamedTuple):
    """Worker number `slot`, from 0, of so many."""

    slot: int = 0
    workers: int = 1


ALONE: Final = WorkerSlot()


def submits(config: BindConfig) -> bool:
    """Whether messages can be submitted on this bind."""
    return config.session.bind_type is not BindType.RECEIVER


def own_part(configs: Sequence[BindConfig], share: WorkerSlot) -> tuple[list[BindConfig], float]:
    """Which of a carrier's binds are this process's, and its part of the carrier's rate.

    They are dealt out like cards, to as many workers as there are binds that submit. What comes
    in on any of them finds its worker by the number that it is for.
    """
    if share.workers == 1:
        return list(configs), 1.0
    senders = [config for config in configs if submits(config)]
    players = max(1, min(share.workers, len(senders)))
    receivers = [config for config in configs if not submits(config)]
    ours = [
        bind
        for kind in (senders, receivers)
        for number, bind in enumerate(kind)
        if number % players == share.slot
    ]
    part = sum(map(submits, ours)) / len(senders) if senders else 0.0
    return ours, part
