"""Training: from labelled texts to a version that passed its gates."""
