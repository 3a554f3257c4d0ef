"""Which command was typed? Each is imported only when it is called: `hitl status` is quick."""

import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from hitl.servers.processes import unencodable_escaped
from shared.release import package_version

# Command → the module whose `app` has it.
COMMANDS = {
    "up": "hitl.commands.stack",
    "down": "hitl.commands.stack",
    "status": "hitl.commands.stack",
    "publish": "hitl.items",
    "tail": "hitl.items",
    "dlq": "hitl.commands.dlq",
    "reviewer": "hitl.commands.reviewer",
    "seed": "hitl.commands.seed",
    "token": "hitl.commands.token",
    "prepare": "hitl.prepare",
    "broker-users": "hitl.commands.broker_users",
    "workflow": "hitl.commands.workflow",
    "export": "hitl.export",
    "calibrate": "hitl.commands.calibrate",
    "replay": "hitl.replay",
    "disagreements": "hitl.commands.disagreements",
    "train-embedded": "hitl.learn",
    "train-texts": "hitl.learn",
    "retrain": "hitl.commands.retrain",
    "model": "hitl.commands.model",
    "audit": "hitl.commands.audit",
    "backup": "hitl.commands.backup",
    "restore": "hitl.commands.backup",
    "rebuild": "hitl.commands.rebuild",
    "migrate": "hitl.commands.migrate",
    "settings": "hitl.commands.settings",
    "asyncapi": "hitl.commands.asyncapi",
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
