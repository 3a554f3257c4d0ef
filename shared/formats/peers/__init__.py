"""Files of other annotation tools: what their records say in our words, and ours in theirs."""
