"""How do the peers get here? Into `.hitl/bench`, only when something is measured against them."""

import shutil
import subprocess
import sys
from pathlib import Path

from rich.console import Console

_HERE = Path(__file__).parent
_HOME = _HERE.parent.parent / ".hitl" / "bench"


def peers_python(say: Console) -> Path | None:
    """An environment with the pinned clients and nothing else; None where it cannot be made."""
    wanted = (_HERE / "requirements.txt").read_text()
    venv = _HOME / "venv"
    python, made = venv / "bin" / "python", venv / "made-from"
    if made.exists() and made.read_text() == wanted:
        return python
    say.print("installing the peers …")
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    try:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(venv)], check=True)
        subprocess.run([*pip, "-r", str(_HERE / "requirements.txt")], check=True)
    except subprocess.CalledProcessError as error:
        say.print(f"no Python peers: {error}")
        return None
    made.write_text(wanted)
    return python


def copy_program(say: Console) -> Path | None:
    """The C program, compiled; None where there is no compiler or no librabbitmq."""
    source, program = _HERE / "copy.c", _HOME / "copy"
    if program.exists() and program.stat().st_mtime > source.stat().st_mtime:
        return program
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        say.print("no C peer: there is no compiler (apt-get install gcc librabbitmq-dev)")
        return None
    _HOME.mkdir(parents=True, exist_ok=True)
    command = [compiler, "-O2", "-o", str(program), str(source), "-lrabbitmq"]
    built = subprocess.run(command, capture_output=True, text=True)
    if built.returncode:
        why = built.stderr.strip().splitlines()[0]
        say.print(f"no C peer: {why} (apt-get install librabbitmq-dev)")
        return None
    return program
