"""Inference: items in, scored items out; the model and the worker around it."""
