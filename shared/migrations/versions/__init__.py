"""The steps that lead to the schema of today, in order of their numbers."""
