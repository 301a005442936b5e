"""Profiles: ``pytest tests/property/pacing --hypothesis-profile=nightly`` looks far longer."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile(
    "nightly", max_examples=100_000, deadline=None, suppress_health_check=list(HealthCheck)
)
