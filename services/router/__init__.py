"""The router: items that are sure enough go on, the others to a person."""
