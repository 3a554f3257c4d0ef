"""Text classifiers in folders: read alike for serving and for training, and proven before use."""
