"""Is what a measurement says written down whole, and is a quick one judged?"""

import argparse
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.harness import Spread, ratio
from benchmarks.report import Bars, Report, Table, publish, write


def report(name: str = "router", vs_c: float = 0.9) -> Report:
    return Report(
        name=name,
        title=name.title(),
        text="What was done.",
        tables=[Table(("program", "messages/s"), [("**ours**", "9,000"), ("C & co", "10,000")])],
        result={"ours_per_s": 9000, "vs_c": vs_c},
        bars=Bars("messages a second", {"ours": 9000, "C & co": 10000}),
        floors={"vs_c": 0.4, "vs_absent": 5.0},
    )


def test_results_become_one_page_with_every_table_and_chart(tmp_path: Path) -> None:
    # Given two results, written one after the other, the later one first on the page
    write(report("logger"), tmp_path)
    write(report("router"), tmp_path)
    # I expect a page with both, each with its table, chart, machine and date
    page = (tmp_path / "benchmarks" / "index.md").read_text()
    assert page.index("## Router") < page.index("## Logger")
    assert page.count("| **ours** | 9,000 |") == 2
    assert page.count("Python ") == 2
    assert "(../images/benchmark-router.svg)" in page
    # the charts as well-formed SVG, and the results for programs
    chart = ElementTree.parse(tmp_path / "images" / "benchmark-router.svg").getroot()  # noqa: S314
    assert "C & co" in [text.text for text in chart.iter("{http://www.w3.org/2000/svg}text")]
    saved = json.loads((tmp_path / "benchmarks" / "router.json").read_text())
    assert saved["result"] == {"ours_per_s": 9000, "vs_c": 0.9}


def test_the_last_line_is_the_result_and_a_quick_run_must_reach_the_floors(
    capsys: pytest.CaptureFixture[str],
) -> None:
    # If a quick run is good enough (a peer that could not run here is not held against it)
    publish(report(), argparse.Namespace(json=False, quick=True))
    # I expect the object on the last line, after the table
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 5 and json.loads(lines[-1])["vs_c"] == 0.9
    # If it is not, I expect the object all the same, alone where only that was asked for
    with pytest.raises(SystemExit, match=r"vs_c.*0\.3"):
        publish(report(vs_c=0.3), argparse.Namespace(json=True, quick=True))
    assert json.loads(capsys.readouterr().out)["vs_c"] == 0.3


def test_ratios_are_taken_within_a_round() -> None:
    # Given a machine that was three times slower in the second round, for both sides
    spread = ratio([900, 300, 880], [1000, 400, 1000])
    # I expect no trace of that
    assert spread == Spread(0.88, 0.75, 0.9)
