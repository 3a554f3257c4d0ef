"""The one name that an installed wheel has among the packages; docs/decisions/0029."""
