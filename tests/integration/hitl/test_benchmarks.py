"""Does a benchmark run from beginning to end and say its result as programs read it?"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def test_names_are_listed_where_none_is_given() -> None:
    # If I name no benchmark
    said = subprocess.run([ROOT / "bin" / "bench"], capture_output=True, text=True)
    # I expect to read which there are
    assert said.returncode == 1
    assert all(name in said.stderr for name in ("usage:", "router", "logger", "pipeline"))


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("name", "keys"),
    [
        (
            "router",
            {
                "ours_per_s",
                "ours_client_us",
                "ours_broker_us",
                "vs_aio_pika",
                "vs_faststream",
                "vs_celery",
            },
        ),
        ("logger", {"ours_events_per_s", "rows_per_s", "vs_orm", "vs_copy", "slower_at_20000"}),
        ("pipeline", {"items_per_s", "vs_naive", "latency_p99_ms_at_50"}),
    ],
)
def test_a_quick_run_ends_with_its_result(
    name: str, keys: set[str], request: pytest.FixtureRequest
) -> None:
    # Given half a minute for each
    if not request.config.getoption("--soak"):
        pytest.skip("takes half a minute: --soak runs it")
    # If I run it as a program would
    command = [sys.executable, "-m", f"benchmarks.{name}", "--quick", "--json"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    # I expect one JSON object and nothing else, with these numbers in it
    result = json.loads(ran.stdout)
    assert keys <= result.keys(), ran.stderr
    assert all(result[key] > 0 for key in keys)
