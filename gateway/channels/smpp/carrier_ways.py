"""What is known of a carrier by its id, whether it runs or is gone."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.channels.connector import Doubt
from gateway.channels.smpp.connector import SmppConnector
from gateway.channels.smpp.profile import Profile
from gateway.channels.smpp.tlvs import shown
from gateway.directory.directory import SenderRecord
from gateway.messages.message import Message
from gateway.opt_out.scope import network_could


class CarrierWays:
    """Asks the connectors, as they are at the moment."""

    def __init__(self, connectors: Mapping[int, SmppConnector[Message]]) -> None:
        self._connectors = connectors

    def profile(self, carrier_id: int) -> Profile | None:
        connector = self._connectors.get(carrier_id)
        return connector.profile if connector is not None else None

    def profile_of(self, carrier_id: int) -> Profile:
        """A carrier's ways; those of most where it is gone."""
        return self.profile(carrier_id) or Profile()

    def name(self, carrier_id: int) -> str:
        """A carrier's name; its id where it is gone."""
        connector = self._connectors.get(carrier_id)
        return connector.name if connector is not None else str(carrier_id)

    def rate(self, carrier_id: int) -> float | None:
        """Segments per second that it is given now; None: no limit."""
        connector = self._connectors.get(carrier_id)
        return connector.rate_now if connector is not None else None

    def doubt(self, carrier_id: int) -> Doubt:
        """What becomes of a message whose answer was lost."""
        connector = self._connectors.get(carrier_id)
        return connector.doubt if connector is not None else Doubt.RESUBMIT

    def network_opt_out(self, record: SenderRecord) -> bool:
        """Whether the carrier's network takes STOP for its toll-free numbers
        (docs/spec/messaging-services.md#effects-of-keywords)."""
        connector = self._connectors.get(record.sender.carrier_id)
        return (
            connector is not None and connector.settings.network_opt_out and network_could(record)
        )

    def callback_tlvs(self, message: Message) -> list[tuple[str, str]]:
        """The carrier's parameters that its list lets into status callbacks."""
        profile = self.profile(message.carrier_id) if message.carrier_tlvs else None
        return shown(message.carrier_tlvs, profile.callback_tlvs) if profile is not None else []
