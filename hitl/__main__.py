"""Which command was typed? Each is imported only when it is called: `hitl status` is quick."""

import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from hitl.processes import unencodable_escaped
from shared.release import package_version

# Command → the module whose `app` has it.
COMMANDS = {
    "up": "hitl.stack",
    "down": "hitl.stack",
    "status": "hitl.stack",
    "publish": "hitl.items",
    "tail": "hitl.items",
    "dlq": "hitl.dead_letters",
    "reviewer": "hitl.reviewers",
    "seed": "hitl.seed",
    "token": "hitl.tokens",
    "prepare": "hitl.prepare",
    "broker-users": "hitl.passwords",
    "workflow": "hitl.workflows",
    "export": "hitl.export",
    "calibrate": "hitl.calibrate",
    "replay": "hitl.replay",
    "disagreements": "hitl.disagreements",
    "train-embedded": "hitl.learn",
    "train-texts": "hitl.learn",
    "retrain": "hitl.retrain",
    "model": "hitl.models",
    "audit": "hitl.audit",
    "backup": "hitl.backup",
    "restore": "hitl.backup",
    "rebuild": "hitl.rebuild",
    "migrate": "hitl.migrate",
    "settings": "hitl.configuration",
    "asyncapi": "hitl.asyncapi",
}


class Commands(Mapping[str, Any]):
    """Every command by its name; what is looked up is imported."""

    def __getitem__(self, name: str) -> Any:
        found = get_command(import_module(COMMANDS[name]).app)
        # An app with several commands is one of ours to look into, or a group of that name.
        inner = found.commands.get(name) if isinstance(found, TyperGroup) else None
        command = inner or found
        command.name = name
        return command

    def __iter__(self) -> Iterator[str]:
        """In the order of the table: the first things first."""
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


class LazyGroup(TyperGroup):
    """The commands of all modules, each imported when it is wanted."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands: Any = Commands()  # read only, which is all that a group asks of it

    def list_commands(self, ctx: Any) -> list[str]:
        """Their names, which need no import."""
        return list(self.commands)


app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    context_settings={"help_option_names": ["--help", "-h"]},  # of every command below it, too
)


def show_version(wanted: bool) -> None:
    """Print it and end."""
    if wanted:
        print(f"hitl {package_version()}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=show_version, is_eager=True, help="Show the version and end."
        ),
    ] = False,
) -> None:
    """An event-driven human-in-the-loop pipeline: a model scores, people decide the rest."""


if __name__ == "__main__":
    unencodable_escaped()
    try:
        app(prog_name="hitl")
    except OSError as error:  # of a file or folder that was named: its text says which, and why
        sys.exit(str(error))
