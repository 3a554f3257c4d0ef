"""Random numbers that are no secrets: jitter, ids of spans, samples.

A generator of our own: whoever seeds the module's gets the numbers of that seed, whatever threads
of ours do meanwhile.
"""

import random

CHANCE = random.Random()  # noqa: S311 - no secret
