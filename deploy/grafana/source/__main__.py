"""Writes the dashboards that Grafana is provisioned with."""

from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from deploy.grafana.source import pipeline, quality, review, servers
from deploy.grafana.source.board import Board, made

FOLDER = Path(__file__).parent.parent / "dashboards"
BOARDS: dict[str, Board] = {
    "pipeline": pipeline.BOARD,
    "human-review": review.BOARD,
    "model-quality": quality.BOARD,
    "broker-and-database": servers.BOARD,
}


def written(board: Board) -> str:
    """The file's content."""
    return str(JSONEncoder(sort_keys=True, indent=1).encode(made(board))) + "\n"


def main() -> None:
    for name, board in BOARDS.items():
        (FOLDER / f"{name}.json").write_text(written(board))
        print(FOLDER / f"{name}.json")


if __name__ == "__main__":
    main()
