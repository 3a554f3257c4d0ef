"""What survives the loss of a server, and how it comes back."""
