"""The real helm of the chart's tests, and what each values file renders to."""

import pytest

from tests.support.helm_chart import CHART, SETS, Object, rendered, unpack_helm


@pytest.fixture(scope="session")
def helm(pytestconfig: pytest.Config) -> str:
    """The path of a real helm."""
    assert pytestconfig.cache is not None
    return unpack_helm(pytestconfig.cache)


@pytest.fixture(scope="session")
def sets(helm: str) -> dict[str, list[Object]]:
    """What each values file in the chart's ci/ folder renders to."""
    return {name: rendered(helm, "-f", CHART / "ci" / f"{name}-values.yaml") for name in SETS}
