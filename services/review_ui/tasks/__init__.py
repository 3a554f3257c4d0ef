"""Review tasks: taken in, claimed, decided, undone, reviewed again."""
