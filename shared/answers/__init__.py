"""Typed answers: what a person or a model can say about an item, one module per kind."""
