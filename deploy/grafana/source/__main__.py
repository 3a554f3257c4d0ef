"""Writes the dashboards that Grafana is provisioned with."""

from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from deploy.grafana.source import pipeline, quality, records, review, servers
from deploy.grafana.source.board import Board, made

FOLDER = Path(__file__).parent.parent / "dashboards"
RECORDS = FOLDER / "postgres" / "records.json"  # apart: the others ask Prometheus
BOARDS: dict[str, Board] = {
    "pipeline": pipeline.BOARD,
    "human-review": review.BOARD,
    "model-quality": quality.BOARD,
    "broker-and-database": servers.BOARD,
}


def written(board: Board) -> str:
    """The file's content."""
    return _json(made(board))


def written_records() -> str:
    """The content of `RECORDS`."""
    return _json(records.made())


def _json(dashboard: object) -> str:
    return str(JSONEncoder(sort_keys=True, indent=1).encode(dashboard)) + "\n"


def main() -> None:
    for name, board in BOARDS.items():
        (FOLDER / f"{name}.json").write_text(written(board))
        print(FOLDER / f"{name}.json")
    RECORDS.parent.mkdir(exist_ok=True)
    RECORDS.write_text(written_records())
    print(RECORDS)


if __name__ == "__main__":
    main()
