"""The command line; a command is imported only when it is called, so that `hitl status` is quick.

A new command is a module in `hitl/commands` with a typer `app`, and a line in COMMANDS.
"""

import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from hitl.servers.processes import escape_unencodable_output
from shared.release import package_version

# Command → the module of `hitl.commands` whose `app` has it.
COMMANDS = {
    "up": "stack",
    "down": "stack",
    "status": "stack",
    "publish": "items",
    "tail": "items",
    "dlq": "dlq",
    "reviewer": "reviewer",
    "seed": "seed",
    "token": "token",
    "prepare": "prepare",
    "broker-users": "broker_users",
    "workflow": "workflow",
    "export": "export",
    "calibrate": "calibrate",
    "replay": "replay",
    "disagreements": "disagreements",
    "train-embedded": "train",
    "train-texts": "train",
    "retrain": "retrain",
    "model": "model",
    "audit": "audit",
    "backup": "backup",
    "restore": "backup",
    "rebuild": "rebuild",
    "migrate": "migrate",
    "settings": "settings",
    "asyncapi": "asyncapi",
}


class Commands(Mapping[str, Any]):
    """Every command by its name, imported when it is looked up."""

    def __getitem__(self, name: str) -> Any:
        found = get_command(import_module(f"hitl.commands.{COMMANDS[name]}").app)
        # An app with several commands either has it among them, or is the group of that name.
        inner = found.commands.get(name) if isinstance(found, TyperGroup) else None
        command = inner or found
        command.name = name
        return command

    def __iter__(self) -> Iterator[str]:
        """In the order of the table: the most important first."""
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


class LazyGroup(TyperGroup):
    """The commands of all modules, each imported when it is needed."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands: Any = Commands()  # a group only reads it

    def list_commands(self, ctx: Any) -> list[str]:
        """Their names, without an import."""
        return list(self.commands)


app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    context_settings={"help_option_names": ["--help", "-h"]},  # of every command below it, too
)


def show_version(wanted: bool) -> None:
    """Prints the version and exits."""
    if wanted:
        print(f"hitl {package_version()}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option("--version", callback=show_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """An event-driven human-in-the-loop pipeline: a model scores, people decide the rest."""


def start() -> None:
    """Runs the command line."""
    escape_unencodable_output()
    try:
        app(prog_name="hitl")
    except OSError as error:  # its text has the file or folder, and the reason
        sys.exit(str(error))


if __name__ == "__main__":
    start()
