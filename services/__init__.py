"""The worker processes of the pipeline; none imports another."""
