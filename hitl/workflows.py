"""Is a workflow valid, and what does it do with an item? `hitl workflow check` and `diagram`."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from hitl.mermaid import diagram as draw
from services.router.policy_feed import read_policy
from shared.errors import ConfigurationError
from shared.settings import Settings
from shared.workflows import read_workflow_file, workflow_paths

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Check and draw the workflows.")


@app.command()
def check(
    names: Annotated[
        list[str] | None, typer.Argument(help="Names or .toml files; else all workflows.")
    ] = None,
) -> None:
    """Say every problem of the files; exit 1 if there is one."""
    try:
        chosen = paths(names or [])
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(1) from None
    bad = 0
    for path in chosen:
        try:
            policy = read_policy(path)
        except ConfigurationError as error:
            print(error, file=sys.stderr)
            bad += 1
        else:
            rules = f"{len(policy.rules)} rule{'' if len(policy.rules) == 1 else 's'}"
            print(f"{path}: valid; policy {policy.version}, {rules}")
    if bad:
        raise typer.Exit(1)


@app.command()
def diagram(
    name: Annotated[str, typer.Argument(help="A workflow's name or .toml file.")] = "sentiment",
) -> None:
    """Draw the flow of a workflow's items as a Mermaid flowchart."""
    try:
        (path,) = paths([name])
        print(draw(read_workflow_file(path).workflow, read_policy(path)))
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(1) from None


def paths(names: list[str]) -> list[Path]:
    """The files that are meant: what ends in .toml is a file, the rest are names.

    Raises:
        ConfigurationError: the environment is bad or there is no such workflow.
    """
    settings = Settings.from_environment(os.environ)
    if not names:
        return list(workflow_paths(settings.workflows_dir, settings.workflows).values())
    return [
        Path(name)
        if name.endswith(".toml")
        else workflow_paths(settings.workflows_dir, [name])[name]
        for name in names
    ]
