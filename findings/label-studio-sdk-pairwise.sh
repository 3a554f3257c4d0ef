#!/usr/bin/env bash
# Label Studio's SDK refuses the region that it makes itself for a Pairwise.
#
# `PairwiseTag.label` gives a region whose `to_name` is the Pairwise itself;
# `LabelInterface.validate_region` looks for `to_name` among the objects, where no control is, and
# takes the region only with the name of one of the two compared. So we write that.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check label-studio-sdk==2.1.2
"$folder/bin/python" - <<'END'
from importlib.metadata import version

from label_studio_sdk.label_interface import LabelInterface

interface = LabelInterface(
    '<View><Text name="first" value="$first"/><Text name="second" value="$second"/>'
    '<Pairwise name="better" toName="first,second"/></View>'
)
own = interface.get_control("better").label("left")._dict()
wrong = interface.validate_region(own, return_errors=True)
other = interface.validate_region({**own, "to_name": "first"}, return_errors=True)
print(f"label-studio-sdk {version('label-studio-sdk')}: {own['to_name']!r}: {wrong}; 'first': {other}")
assert wrong and not other, "changed"
END
