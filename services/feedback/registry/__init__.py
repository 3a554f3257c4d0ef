"""The versions of each model, their receipts and cards."""
