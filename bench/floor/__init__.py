"""The floor: a pipeline of the gateway's shape with no rules, so that each run knows its limit."""
