"""Loads a transformers network without printing anything.

Apart from shared/models/minilm.py, because importing transformers takes seconds of processor time
that a worker with the embedded model does not need.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from transformers import BertForSequenceClassification, BertForTokenClassification
from transformers.utils import logging as transformers_logging

from shared.models.minilm import base_folder


def base_network(labels: int) -> BertForSequenceClassification:
    """The embedded encoder with its published weights under a head of random ones, float32."""
    with quiet_loading():
        return BertForSequenceClassification.from_pretrained(
            base_folder(), num_labels=labels, local_files_only=True, dtype=torch.float32
        )


def base_tagger(tags: int) -> BertForTokenClassification:
    """The same under a head that tags each token."""
    with quiet_loading():
        return BertForTokenClassification.from_pretrained(
            base_folder(), num_labels=tags, local_files_only=True, dtype=torch.float32
        )


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Keep transformers from printing, while it loads, what the caller checks or means to be so."""
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # no types there
    told = logging.getLogger("transformers")
    level = told.level
    told.setLevel(logging.ERROR)
    try:
        yield
    finally:
        told.setLevel(level)
