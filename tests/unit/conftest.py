"""How patient is hypothesis? A busy machine is no failure: pytest's own time limit guards these."""

from hypothesis import HealthCheck, settings

settings.register_profile("unit", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unit")
