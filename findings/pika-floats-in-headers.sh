#!/usr/bin/env bash
# pika reads an AMQP float in a header as its whole part, and can write none.
#
# The table of headers of an AMQP 0-9-1 message may hold floats (`f`, `d`). Other clients write them
# (aio-pika and py-amqp for any Python float). pika 1.4.4 decodes 0.97 to 0 and says nothing, so
# that a consumer that copies headers on, to a dead-letter queue for example, changes them; encoding
# a float raises.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check pika==1.4.4
"$folder/bin/python" - <<'END'
import struct

import pika
from pika import data, exceptions

for kind, packed in (("f", struct.pack(">f", 0.97)), ("d", struct.pack(">d", 0.97))):
    entry = b"\x05score" + kind.encode() + packed
    table, _ = data.decode_table(struct.pack(">I", len(entry)) + entry, 0)
    print(f"pika {pika.__version__}: a header of type {kind!r} with 0.97 is read as {int(table['score'])}")
    assert table["score"] == 0, table
try:
    data.encode_table([], {"score": 0.97})
except exceptions.UnsupportedAMQPFieldException:
    print("and writing 0.97 raises UnsupportedAMQPFieldException")
else:
    raise SystemExit("changed: a float can be written")
END
