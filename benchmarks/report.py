"""How does a measurement become a table here, a file in docs/benchmarks, a page and a chart?"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table as RichTable

from benchmarks.harness import ROOT, machine

DOCS = ROOT / "docs"
_ORDER = ("router", "inference", "logger", "pipeline", "answers", "soak", "review")
_HEAD = """# Benchmarks

Written by `bin/bench NAME`, which starts its own servers, lets the peers take turns in each round
and gives medians (lowest to highest round). Trust ratios more than absolute numbers: both sides of
a ratio ran within the same minute. `bin/bench --quick` takes about two minutes and
fails when a ratio falls below a loose floor.
"""


@dataclass(frozen=True)
class Table:
    """Columns and rows, as text."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Bars:
    """A bar chart: what is counted, and the number of each."""

    title: str
    values: Mapping[str, float]


@dataclass(frozen=True)
class Report:
    """One measurement. `result` is what programs read; `floors` are what a quick run must reach."""

    name: str
    title: str
    text: str
    tables: Sequence[Table]
    result: Mapping[str, float]
    bars: Bars | None = None
    floors: Mapping[str, float] = field(default_factory=dict)
    command: str = ""  # after `bin/bench`, where that is not the name


def options(name: str, about: str | None, *more: tuple[str, dict[str, Any]]) -> argparse.Namespace:
    """The command line that all measurements share, and `more` of this one."""
    parser = argparse.ArgumentParser(prog=f"bin/bench {name}", description=about)
    parser.add_argument("--json", action="store_true", help="only the JSON object")
    parser.add_argument(
        "--quick", action="store_true", help="small and few; writes nothing, checks the floors"
    )
    for flag, settings in more:
        parser.add_argument(flag, **settings)
    return parser.parse_args()


def publish(report: Report, given: argparse.Namespace) -> None:
    """Print it, the JSON object last; a whole run is also written down, a quick one judged.

    Raises:
        SystemExit: a quick run in which a ratio lies below its floor.
    """
    if not given.json:
        for table in report.tables:
            Console(width=120).print(_rich(report.title, table))
    if not given.quick:
        write(report)
    print(json.dumps(report.result))
    low = {
        name: report.result[name]
        for name, floor in report.floors.items()
        if report.result.get(name, floor) < floor
    }
    if given.quick and low:
        raise SystemExit(f"below the floor: {low}; the floors: {dict(report.floors)}")


def write(report: Report, docs: Path = DOCS) -> None:
    """The result as `benchmarks/<name>.json` with its chart, and the page of all results anew."""
    folder = docs / "benchmarks"
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        **asdict(report),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
    }
    (folder / f"{report.name}.json").write_text(json.dumps(content, indent=1) + "\n")
    if report.bars is not None:
        (docs / "images").mkdir(exist_ok=True)
        (docs / "images" / f"benchmark-{report.name}.svg").write_text(chart(report.bars))
    known = {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}
    names = sorted(known, key=lambda name: (_ORDER.index(name) if name in _ORDER else 99, name))
    (folder / "index.md").write_text("\n".join([_HEAD, *(_section(known[n]) for n in names)]))


def _section(content: Mapping[str, Any]) -> str:
    lines = [f"## {content['title']}", "", content["text"], ""]
    for table in content["tables"]:
        lines += [
            _row(table["columns"]),
            _row(["---"] * len(table["columns"])),
            *map(_row, table["rows"]),
            "",
        ]
    if content["bars"] is not None:
        lines += [f"![{content['bars']['title']}](../images/benchmark-{content['name']}.svg)", ""]
    command = content.get("command") or content["name"]
    lines += [f"{content['date']} · {content['machine']} · `bin/bench {command}`", ""]
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _rich(title: str, table: Table) -> RichTable:
    shown = RichTable(*table.columns, title=title)
    for row in table.rows:
        shown.add_row(*(cell.replace("**", "") for cell in row))
    return shown


def chart(bars: Bars) -> str:
    """The bars as SVG, readable on light and dark pages."""
    most = max(bars.values.values())
    height = 34 + 28 * len(bars.values)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 {height}" role="img" '
        f'font-family="sans-serif" font-size="13" fill="#7a7a7a">',
        f"<title>{escape(bars.title)}</title>",
        f'<text x="8" y="18" font-weight="bold">{escape(bars.title)}</text>',
    ]
    for place, (name, value) in enumerate(bars.values.items()):
        y, width = 30 + 28 * place, max(2, round(360 * value / most))
        color = "#2f7ed8" if place == 0 else "#9aa5b1"
        parts += [
            f'<text x="268" y="{y + 15}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="276" y="{y}" width="{width}" height="20" rx="2" fill="{color}"/>',
            f'<text x="{284 + width}" y="{y + 15}">{value:,.0f}</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])
