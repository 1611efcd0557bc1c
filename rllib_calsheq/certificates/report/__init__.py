"""A certificate as numbers, words and pictures."""
