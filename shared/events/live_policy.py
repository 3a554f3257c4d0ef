"""The live policy: what the certifier tells the routers, all of it in one message of `hitl.policy`.

Every message holds all workflows, because the offset `last` gives a reader the newest message only.
"""

from datetime import datetime
from typing import Literal, Self

from pydantic import AwareDatetime, Field, model_validator

from shared.events.models import Fact, Probability, WorkflowName
from shared.messages import Outgoing
from shared.topology import POLICY_STREAM, QUEUES

LiveState = Literal[
    "uncertified",  # nothing is certified yet: everything goes to people
    "certified",  # the machine decides at `threshold` and above
    "alarm",  # it was certified, and something went wrong: everything goes to people
    "reporting",  # the workflow's mode is fixed: what could be certified, and nothing is steered
]
MESSAGE_TYPE = "policy.live"


class LiveRoute(Fact):
    """What holds for one workflow, for one model, until `valid_until`."""

    state: LiveState
    threshold: Probability | None = Field(description="operate at this one; None: all to people")
    certified_threshold: Probability | None = Field(description="the loosest certified one")
    panel_rate: Probability
    certificate_version: str | None = Field(description="the id of a row of `certificate`")
    model_version: str | None = Field(description="the only one it speaks of")
    population: str = Field(description="what was certified: a digest of labels, rules and terms")
    alpha: Probability
    delta: Probability
    epoch: str
    watermark: datetime | None = Field(description="labels count up to here, by time of routing")
    reason: str = Field(description="why this state, in words for people")
    valid_until: AwareDatetime = Field(description="after that everything goes to people")

    @model_validator(mode="after")
    def _is_safe(self) -> Self:
        if self.state != "certified":
            if self.state != "reporting" and self.threshold is not None:
                raise ValueError("a threshold without a certificate")
            return self
        if self.threshold is None or self.certified_threshold is None:
            raise ValueError("certified, and no threshold")
        if self.threshold < self.certified_threshold:
            raise ValueError("a threshold looser than the certified one")
        if self.certificate_version is None or self.model_version is None:
            raise ValueError("certified, but by no certificate or for no model")
        if self.panel_rate == 0:
            raise ValueError("certified, and no audit that would notice when it is wrong")
        return self


class LivePolicy(Fact):
    """The newest has the highest version: microseconds by the database's clock."""

    version: int = Field(ge=0)
    issued_at: AwareDatetime
    workflows: dict[WorkflowName, LiveRoute]


def encode_policy(policy: LivePolicy) -> Outgoing:
    """The message for the stream, sent to it by its name."""
    return Outgoing(
        exchange=QUEUES,
        routing_key=POLICY_STREAM,
        body=policy.model_dump_json().encode(),
        message_id=f"policy-{policy.version}",
        type=MESSAGE_TYPE,
        timestamp=int(policy.issued_at.timestamp()),
    )
