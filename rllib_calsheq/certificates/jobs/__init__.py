"""A certificate's jobs: what they share, what computes them, where they are stored."""
