"""`hitl settings`: writes docs/operate/configuration.md, the list of all settings."""

import typer
from pydantic_core import PydanticUndefined

from shared.service.settings import AROUND, Settings, key

app = typer.Typer(add_completion=False)

_HEAD = """# Configuration

Everything is read from the environment, once, when a program starts. A key that is misspelt or has
a bad value stops the start, and the message lists every such key. A secret may also come from a
file: `KEY_FILE=/run/secrets/key` instead of `KEY=…`. Written by `bin/hitl settings`.

## The services

| key | default | what it is |
|---|---|---|
"""
_AROUND_HEAD = """
## Around the services

| key | what it is |
|---|---|
"""


@app.command()
def settings() -> None:
    """Print the reference of all settings, as Markdown."""
    typer.echo(render(), nl=False)


def render() -> str:
    """The whole of docs/operate/configuration.md."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = "" if field.default is PydanticUndefined else _shown(name, field.default)
        rows.append(f"| `{key(name)}` | {default} | {field.description} |\n")
    around = [f"| `{name}` | {what} |\n" for name, what in AROUND.items()]
    return _HEAD + "".join(rows) + _AROUND_HEAD + "".join(around)


def _shown(name: str, default: object) -> str:
    if name == "workflows_dir":
        return "`deploy/workflows`"
    if isinstance(default, tuple):
        return f"`{','.join(map(str, default))}`" if default else ""
    text = "" if default is None else str(default)
    return f"`{text}`" if text else ""
