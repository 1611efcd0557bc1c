"""Calibration of shared equilibria (CALSHEQ) as an RLlib plugin."""

__version__ = "0.1.0"
