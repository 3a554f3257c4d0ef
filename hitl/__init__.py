"""What does a person type? The command line: start the stack, publish, look, review, check."""
