#!/usr/bin/env bash
# The cloudevents package has two AMQP bindings that write different names for one attribute.
#
# The CloudEvents AMQP binding says `cloudEvents:` or `cloudEvents_` before an attribute's name. The
# package's binding for RabbitMQ (AMQP 0-9-1) writes `ce-`, as HTTP does, and so does not say the id
# under a name that a reader of the AMQP binding looks for: the same event, sent twice, has no id
# that repeats.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check cloudevents==2.2.0
"$folder/bin/python" - <<'END'
from importlib.metadata import version

from cloudevents.core.bindings import amqp, rabbitmq
from cloudevents.core.v1.event import CloudEvent

event = CloudEvent({"id": "review-17", "source": "/films", "type": "review", "specversion": "1.0"}, b"{}")
found = {}
for binding in (amqp, rabbitmq):
    message = binding.to_binary_event(event)
    headers = getattr(message, "application_properties", None) or message.headers
    found[binding] = sorted(name for name in headers if name.endswith("id"))
    print(f"cloudevents {version('cloudevents')}, {binding.__name__}: {found[binding]}")
assert found == {amqp: ["cloudEvents_id"], rabbitmq: ["ce-id"]}, "changed"
END
