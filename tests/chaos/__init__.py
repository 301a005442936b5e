"""Faults at exact moments, then every ledger against every other (`make chaos`).

A round is one fault in the middle of a load, drawn from a seed: the fault, its moment and the step
it hits. After it the gateway must end with nothing lost, nothing doubled outside the documented
window (docs/reliability.md), and nobody written to who has opted out.
"""
