"""What is told of the gateway: logs, alerts, the journal, measures, and the wall around a unit."""
