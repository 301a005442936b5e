"""The same sockets under uvloop, which the gateway runs on: its transports differ in detail."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import test_esme
import test_misbehaviour
import test_tls
import uvloop

from smpp.smsc import Faults

pytestmark = pytest.mark.slow


async def _octet_by_octet() -> None:
    faults = Faults(one_octet_writes=True)
    await test_misbehaviour.test_every_message_is_answered_whatever_the_connection_does(faults)


@pytest.mark.parametrize(
    "scene",
    [
        test_esme.test_a_message_is_answered_with_an_id_and_receipted_with_the_same,
        test_esme.test_a_thousand_messages_pass_through_a_window_of_ten_in_order,
        test_esme.test_a_lost_connection_reports_what_was_unanswered_and_comes_back,
        test_esme.test_a_half_open_connection_is_noticed_by_enquire_link,
        test_esme.test_closing_waits_for_the_answers_that_are_due_and_unbinds,
        test_esme.test_the_next_host_is_tried_when_one_does_not_answer,
        test_esme.test_a_cancelled_run_leaves_no_socket,
        test_tls.test_a_verified_connection_carries_messages,
        test_tls.test_a_pinned_certificate_is_taken_and_any_other_refused,
        test_tls.test_a_certificate_of_another_name_is_refused,
        _octet_by_octet,
    ],
    ids=lambda scene: scene.__name__,
)
def test_under_uvloop(scene: Callable[[], Coroutine[Any, Any, None]]):
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scene())
