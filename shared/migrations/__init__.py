"""The steps by which the schema came to be.

One file per step in `versions`; `shared.storage.database.migrate` applies them.
"""
