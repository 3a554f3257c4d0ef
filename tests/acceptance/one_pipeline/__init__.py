"""Tests that share one running pipeline: it ends with the last of them."""
