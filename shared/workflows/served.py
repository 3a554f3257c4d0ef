"""The workflows of one service: those that are there when it starts, and each that is added later.

What every service does with them is here: says which it cannot serve, and knows what they need on
the broker.
"""

from collections.abc import Callable

from shared.service.lifecycle import Lifecycle
from shared.service.settings import Settings
from shared.topology import Topology, topology
from shared.workflows.feed import Begin, Change, WorkflowFeed
from shared.workflows.files import WorkflowFile

BeginWith = Callable[[WorkflowFile, Topology], None]
"""Takes up a new workflow, with what it needs on the broker; raises as `feed.Begin`."""


def served_workflows(
    settings: Settings,
    lifecycle: Lifecycle,
    load: Begin = lambda _content: None,
    change: Change | None = None,
) -> tuple[WorkflowFeed, Topology]:
    """The feed, with every workflow that is there `load`ed, and what they need on the broker.
    `change` gets the file of one that is served whenever it has been edited.

    Raises:
        ConfigurationError: there is no file at all, or none for a workflow of the settings.
    """
    feed = WorkflowFeed(settings, load, change)
    lifecycle.add_refusals(feed.refused)
    lifecycle.add_check("workflows", feed.problem)
    return feed, topology(tuple(feed.workflows), settings.retry_delays_seconds)


def follow(feed: WorkflowFeed, begin: BeginWith, settings: Settings, lifecycle: Lifecycle) -> None:
    """From now on, until the process stops: `begin` with each new workflow."""

    def begin_with(content: WorkflowFile) -> None:
        begin(content, topology([content.workflow.name], settings.retry_delays_seconds))

    feed.follow(begin_with, lifecycle.stopping)
