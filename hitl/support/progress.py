"""Progress on stderr while a command works."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text


@contextmanager
def spinner(what: str) -> Iterator[Callable[[str], None]]:
    """A spinner that disappears at the end; the function shows the current step."""
    with Console(stderr=True).status(what) as status:
        yield lambda step: status.update(Text(f"{what}: {step}"))


@contextmanager
def progress_bar(
    what: str, total: int | None, *, counted: bool = False, every: int = 1
) -> Iterator[Callable[[int], None]]:
    """A bar that disappears at the end. The function moves it by its argument, `every` so many at a
    time; `total` None means unknown. It shows the share, or with `counted` the numbers."""
    share = MofNCompleteColumn() if counted else TaskProgressColumn()
    columns = (TextColumn("{task.description}"), BarColumn(), share, TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        waiting = 0

        def advance(done: int) -> None:
            nonlocal waiting
            waiting += done
            if waiting >= every:
                bar.advance(task, waiting)
                waiting = 0

        yield advance


@contextmanager
def training_bar(console: Console) -> Iterator[Callable[[float, str], None]]:
    """A bar that stays; the function takes the share that is done, and the current step."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console) as bar:
        task = bar.add_task("starting", total=1.0)
        yield lambda part, what: bar.update(task, completed=part, description=what)
