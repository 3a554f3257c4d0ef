"""The others, doing the same job: honest, idiomatic programs of the libraries they are named by."""
