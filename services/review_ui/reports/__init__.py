"""What was decided, how much, and how well: lists, figures, exports."""
