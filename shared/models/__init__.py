"""Model folders: which one is current, how it is read, and whether it can be trusted."""
