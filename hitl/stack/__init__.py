"""A whole stack on this machine: started, watched, described, stopped."""
