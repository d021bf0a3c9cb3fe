"""Patience for property tests: the machine may be busy, and a slow example is no wrong one."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "patient", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("patient")
