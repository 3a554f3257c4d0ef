"""The certificate: the statistics, the evidence they are made of, and who publishes it."""
