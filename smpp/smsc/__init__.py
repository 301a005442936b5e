"""`tandem smsc`: a carrier simulator, a real SMPP server that behaves as well or badly as told."""

from smpp.smsc.scenario import CarrierScenario, Faults, Rule, Scenario, ScenarioError, parse
from smpp.smsc.server import Smsc

__all__ = ["CarrierScenario", "Faults", "Rule", "Scenario", "ScenarioError", "Smsc", "parse"]
