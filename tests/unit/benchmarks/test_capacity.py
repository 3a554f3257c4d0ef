"""Do the plans follow from what was measured, and does the page say what they say?"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.capacity import FLOORS, PAGE, recorded, report
from benchmarks.capacity_measure import cpu_of_family
from benchmarks.capacity_model import BUSY, PARTS, PEOPLE_BUSY, Costs, Work, most_items, plan
from benchmarks.capacity_page import tables, write_tables
from benchmarks.harness import cpu_seconds
from benchmarks.report import Table

COSTS = Costs(
    cpu=dict(zip(PARTS, (0.004, 0.0001, 0.0001, 0.0002, 0.0004, 0.0002), strict=True)),
    explaining=0.02,
    review_share=0.2,
    events=3.0,
    database_bytes=5_000.0,
    wal_bytes=8_000.0,
    waiting_bytes=1_000.0,
    ceilings={"the log": 4_000.0, "a queue": 12_000.0},
)
WORK = Work(share=0.1, seconds=9.0, hours=8.0, core_month=10.0, gb_month=0.1, reviewer_hour=20.0)


def usual() -> tuple[Costs, Work, dict[str, dict[str, float]]]:
    known = recorded()
    costs = Costs.of(known["capacity"], known["router"], known["logger"])
    return costs, Work(costs.review_share, seconds=10.0), known


def test_the_narrowest_part_says_how_many_deployments_there_are() -> None:
    # Given a log that takes 4 000 items a second, planned at 70 %
    assert COSTS.ceiling == ("the log", 4_000.0)
    assert plan(2_799, COSTS, WORK).deployments == 1
    assert plan(2_801, COSTS, WORK).deployments == 2
    # I expect at least one process of each in each.
    assert plan(100_000, COSTS, WORK).deployments == 36
    assert min(plan(100_000, COSTS, WORK).processes.values()) == 36
    assert set(plan(1, COSTS, WORK).processes.values()) == {1}


def test_a_plan_is_what_the_items_cost() -> None:
    # Given 100 items a second that cost 5 ms of a core each, and a tenth of them 20 ms later on
    found = plan(100, COSTS, WORK)
    # I expect half a core and the share to spare, and 0.2 where there is time for highlights;
    assert found.cores == pytest.approx(0.5 / BUSY)
    assert found.highlight_cores == pytest.approx(0.2 / BUSY)
    assert found.database_gb_day == pytest.approx(100 * 86_400 * 5_000 / 1e9)
    assert found.backlog_gb_hour == pytest.approx(100 * 3_600 * 1_000 / 1e9)
    # ten questions a second of nine seconds: ninety people around the clock, in shifts of 8 hours.
    assert found.reviewer_hours_day == pytest.approx(90 * 24)
    assert found.reviewers == 318  # 90 times 3 shifts, at 85 %
    price = 0.5 / BUSY * 10 + found.database_gb_day * 30 * 0.1 + 90 * 24 * 30 * 20
    assert found.price(WORK) == pytest.approx(price)
    # So many people can do what was planned for them.
    assert most_items(318, WORK) == pytest.approx(100, rel=0.01)
    assert most_items(1, WORK) == pytest.approx(PEOPLE_BUSY / 3 / 9 / 0.1)


def test_the_page_says_what_follows_from_what_was_measured() -> None:
    costs, work, known = usual()
    page = PAGE.read_text()
    for name, table in tables(costs, work, known).items():
        [there] = re.findall(rf"<!-- {name} -->\n(.*?)<!-- end -->", page, re.DOTALL)
        rows = [line.strip("| ").split(" | ") for line in there.splitlines()[2:]]
        assert rows == [[str(cell) for cell in row] for row in table.rows], name


def test_the_prediction_and_the_measurement_are_within_a_factor_of_two() -> None:
    _, work, known = usual()
    result = report(known, work).result
    for name, floor in FLOORS.items():
        assert result[name] >= floor


def test_a_page_without_a_place_for_a_table_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- here -->\nold\n<!-- end -->\nafter\n")
    write_tables(page, {"here": Table(("a", "b"), [("1", r"\2")])})
    assert (
        page.read_text()
        == "<!-- here -->\n| a | b |\n| --- | --- |\n| 1 | \\2 |\n<!-- end -->\nafter\n"
    )
    with pytest.raises(ValueError, match="no place for there"):
        write_tables(page, {"there": Table(("a",), [])})


def test_the_time_of_a_process_counts_that_of_its_children() -> None:
    # Given a child that works for a third of a second and ends
    own, family = cpu_seconds(os.getpid()), cpu_of_family(os.getpid())
    work = "import time\nwhile time.process_time() < 0.33: pass"
    subprocess.run([sys.executable, "-c", work], check=True)
    # I expect its time in the family's, and not in ours alone.
    assert cpu_of_family(os.getpid()) - family >= 0.3
    assert cpu_seconds(os.getpid()) - own < 0.3
