"""The command line `hitl`: start the stack, publish, look, review, check."""
