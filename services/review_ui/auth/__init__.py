"""Who is calling: accounts, sessions, tokens, and the guard in front of every request."""
