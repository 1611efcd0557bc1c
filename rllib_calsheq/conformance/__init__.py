"""Checks that an environment of your own keeps to the protocol."""
