"""`hitl up`, `down` and `status`: start a supervisor, follow it, and stop it."""

import json
import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live

from hitl.servers.home import Home
from hitl.servers.processes import Record
from hitl.stack.fleet import SERVICES, STOP_SECONDS
from hitl.stack.live import Rate, flow, login_hint, picture, plain_line
from hitl.stack.status import all_ready, collect
from hitl.support.database import errors_as_one_line
from hitl.support.options import AsJson
from hitl.support.terminal import refuse
from shared.release import ROOT

READY_SECONDS = 180.0
LIVE_SECONDS = 1.0
PLAIN_SECONDS = 5.0
FOLLOW_SECONDS = 0.1
# One after the other, each service, RabbitMQ and Postgres may take its whole time to stop.
DOWN_SECONDS = STOP_SECONDS * (len(SERVICES) + 4)
# Packages that only the services need: without them `hitl up` cannot work.
OF_SERVICES = ("torch", "gradio")

app = typer.Typer(add_completion=False)


class LogFollower:
    """Prints what the supervisor has logged since the last time."""

    def __init__(self, home: Home) -> None:
        self._path = home.log("supervisor")
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.touch()
        self._at = self._path.stat().st_size

    def new_lines(self) -> str:
        """The complete lines since the last call, without the last line's end."""
        with self._path.open("rb") as log:
            log.seek(self._at)
            new = log.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._at += len(whole)
        return whole.decode(errors="replace").rstrip("\n")

    def show(self) -> None:
        """Print the new lines."""
        if lines := self.new_lines():
            print(lines, flush=True)


@app.command()
def up(
    detach: Annotated[bool, typer.Option("--detach", help="Return once all is ready.")] = False,
    no_demo: Annotated[bool, typer.Option("--no-demo", help="Publish no sample items.")] = False,
) -> None:
    """Start the whole pipeline."""
    if missing := [package for package in OF_SERVICES if find_spec(package) is None]:
        refuse(
            f"Cannot start: the services need {', '.join(missing)}, which are not installed here:"
            " pip install 'hitl-pipeline[up,model]'. Or run them in containers, or set AMQP_URL and"
            " DATABASE_URL to a pipeline that runs elsewhere."
        )
    home = Home.from_environment(os.environ)
    running = home.supervisor()
    if running is not None:
        refuse(
            f"A stack in {home.path} is running already (process {running.pid}): see it with "
            "`hitl status`, stop it with `hitl down`, or set HITL_HOME for another one."
        )
    try:
        follower = LogFollower(home)
        home.run.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        refuse(f"Cannot start: {error}. Set HITL_HOME to a folder of yours.")
    # A shell ignores Ctrl-C for what it starts in the background; SIGTERM stops in order, too.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    supervisor = start_supervisor(home, detach=detach, demo=not no_demo)
    try:
        ready = follow_start(home, supervisor, follower)
        if ready and detach:
            print(login_hint(home, collect(home)))
            return
        if ready:
            watch(home, supervisor, follower)
    except KeyboardInterrupt:
        pass
    if detach and supervisor.poll() is None:
        refuse(f"Not ready yet; still starting. The logs are in {home.path / 'logs'}.")
    raise typer.Exit(follow_stop(supervisor, follower))


@app.command()
def down() -> None:
    """Stop the pipeline; the data stays."""
    home = Home.from_environment(os.environ)
    supervisor = home.supervisor()
    if supervisor is None:
        # Children end with a supervisor that was killed; make sure of it.
        for path in home.path.glob("**/run/*.json"):
            orphan = Record.read(path)
            if orphan is not None:
                orphan.stop(signal.SIGTERM, STOP_SECONDS)
        print(f"No stack is running in {home.path}.")
        return
    follower = LogFollower(home)
    os.kill(supervisor.pid, signal.SIGTERM)
    deadline = time.monotonic() + DOWN_SECONDS
    while supervisor.alive() and time.monotonic() < deadline:
        follower.show()
        time.sleep(FOLLOW_SECONDS)
    follower.show()
    supervisor.stop(signal.SIGKILL, 5.0)


@app.command()
def status(as_json: AsJson = False) -> None:
    """Show which services are ready and where the items are; exit code 0 when all is ready.

    Where the services run elsewhere, as in containers: when the broker answers.
    """
    home = Home.from_environment(os.environ)
    with errors_as_one_line():
        found = collect(home)
    # In containers the platform knows whether services are ready; from here only servers are asked.
    elsewhere = home.read_state() is None and bool(found["queues"])
    if as_json:
        print(json.dumps(found, indent=2))
    elif elsewhere:
        Console().print(flow(found))
        print("The services were not started from here: ask their platform whether they are ready")
        print("(docker compose ps, kubectl get pods).")
    elif not found["services"]:
        print(f"No stack is running in {home.path}; start one with `hitl up`.")
    else:
        Console().print(picture(home, found))
    raise typer.Exit(0 if elsewhere or all_ready(found) else 1)


def start_supervisor(home: Home, *, detach: bool, demo: bool) -> subprocess.Popen[bytes]:
    """Starts it in a session of its own: Ctrl-C reaches only us, who stop everything in order."""
    command = [sys.executable, "-P", "-m", "hitl.stack.supervisor"]
    if not demo:
        command.append("--no-demo")
    if not detach:
        # If this process is killed, the supervisor still stops everything in order.
        command = ["setpriv", "--pdeathsig", "TERM", "--", *command]
    with home.log("supervisor").open("ab") as log:
        return subprocess.Popen(
            command,
            env={**os.environ, "HITL_HOME": str(home.path), "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def follow_start(home: Home, supervisor: subprocess.Popen[bytes], follower: LogFollower) -> bool:
    """Prints every step until all is ready; False when it stopped or takes too long."""
    deadline = time.monotonic() + READY_SECONDS
    while supervisor.poll() is None and time.monotonic() < deadline:
        follower.show()
        state = home.read_state()
        if state is not None and state.phase == "ready" and home.supervisor() is not None:
            follower.show()
            return True
        time.sleep(FOLLOW_SECONDS)
    follower.show()
    return False


def watch(home: Home, supervisor: subprocess.Popen[bytes], follower: LogFollower) -> None:
    """Shows the figures until the stack stops; raises KeyboardInterrupt on Ctrl-C."""
    rate = Rate()
    if not sys.stdout.isatty():
        print(login_hint(home, collect(home)), flush=True)
        while supervisor.poll() is None:
            follower.show()
            print(plain_line(collect(home), rate), flush=True)
            time.sleep(PLAIN_SECONDS)
        return
    with Live(picture(home, collect(home), rate), auto_refresh=False) as live:
        while supervisor.poll() is None:
            if lines := follower.new_lines():
                live.console.print(lines, markup=False, highlight=False)
            live.update(picture(home, collect(home), rate), refresh=True)
            time.sleep(LIVE_SECONDS)


def follow_stop(supervisor: subprocess.Popen[bytes], follower: LogFollower) -> int:
    """Asks the supervisor to stop and prints every step; a second Ctrl-C hurries it."""
    while supervisor.poll() is None:
        try:
            supervisor.terminate()
            while supervisor.poll() is None:
                follower.show()
                time.sleep(FOLLOW_SECONDS)
        except KeyboardInterrupt:
            print("Stopping without waiting …", flush=True)
    follower.show()
    return supervisor.returncode or 0
