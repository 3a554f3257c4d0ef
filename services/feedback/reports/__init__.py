"""What the log says when it is asked: exports, replays, calibration, disagreements."""
