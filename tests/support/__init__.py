"""What tests share: servers to talk to, data to start from, clients to talk with."""
