"""What happened, in Postgres."""
