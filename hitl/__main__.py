"""Which command was typed? Each is imported only when it is called: `hitl status` is quick."""

from importlib import import_module

import typer
from typer._click.core import Command, Context
from typer.core import TyperGroup
from typer.main import get_command

from hitl.processes import unencodable_escaped

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


class LazyGroup(TyperGroup):
    """The commands of all modules, each imported when it is wanted."""

    def list_commands(self, ctx: Context) -> list[str]:
        """In the order of the table: the first things first."""
        return list(COMMANDS)

    def get_command(self, ctx: Context, cmd_name: str) -> Command | None:
        """The command itself, from its module's `app`."""
        module = COMMANDS.get(cmd_name)
        if module is None:
            return None
        found = get_command(import_module(module).app)
        # An app with several commands is one of ours to look into, or a group of that name.
        inner = found.get_command(ctx, cmd_name) if isinstance(found, TyperGroup) else None
        command = inner or found
        command.name = cmd_name
        return command


app = typer.Typer(cls=LazyGroup, no_args_is_help=True, add_completion=False)


@app.callback()
def main() -> None:
    """An event-driven human-in-the-loop pipeline: a model scores, people decide the rest."""


if __name__ == "__main__":
    unencodable_escaped()
    app(prog_name="hitl")
