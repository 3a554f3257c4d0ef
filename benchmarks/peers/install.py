"""How do the peers get here? Into `.hitl/bench`, only when something is measured against them."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

_HERE = Path(__file__).parent
_ROOT = _HERE.parent.parent
_HOME = _ROOT / ".hitl" / "bench"
_TORCH_INDEX = "https://download.pytorch.org/whl/cpu"


def peers_python(say: Console) -> Path | None:
    """An environment with the pinned clients and nothing else; None where it cannot be made."""
    return _environment(say, "venv", [["-r", str(_HERE / "requirements.txt")]])


def infinity_python(say: Console) -> Path | None:
    """An environment with infinity and our torch (1.4 GB); None where it cannot be made."""
    torch = ["--no-deps", "-r", str(_ROOT / "requirements-torch.txt")]
    if not os.environ.get("PIP_FIND_LINKS"):
        torch += ["--index-url", os.environ.get("HITL_TORCH_INDEX", _TORCH_INDEX)]
    return _environment(
        say, "venv-infinity", [torch, ["-r", str(_HERE / "requirements-infinity.txt")]]
    )


def _environment(say: Console, name: str, steps: Sequence[Sequence[str]]) -> Path | None:
    """`steps` are the arguments of pip, one call after the other; `-r` is their last option."""
    wanted = "".join(Path(step[step.index("-r") + 1]).read_text() for step in steps)
    venv = _HOME / name
    python, made = venv / "bin" / "python", venv / "made-from"
    if made.exists() and made.read_text() == wanted:
        return python
    say.print("installing the peers …")
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    try:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(venv)], check=True)
        for step in steps:
            subprocess.run([*pip, *step], check=True)
    except subprocess.CalledProcessError as error:
        say.print(f"no {name}: {error}")
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
