"""How did the schema come to be?

One file per step in `versions`; `shared.database.migrate` applies them.
"""
