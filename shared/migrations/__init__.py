"""How did the schema come to be?

One file per step in `versions`; `shared.storage.database.migrate` applies them.
"""
