"""Which steps lead to the schema of today? In order of their numbers."""
