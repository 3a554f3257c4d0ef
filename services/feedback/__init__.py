"""Feedback: what people decided goes back into the model and the threshold."""
