"""`tandem smsc`: a carrier simulator, a real SMPP server that behaves as well or badly as told."""

from smpp.smsc.scenario import CarrierScenario, Faults, Scenario, ScenarioError, ScenarioRule, parse
from smpp.smsc.server import Smsc

__all__ = [
    "CarrierScenario",
    "Faults",
    "Scenario",
    "ScenarioError",
    "ScenarioRule",
    "Smsc",
    "parse",
]
