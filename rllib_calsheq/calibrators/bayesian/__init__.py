"""Bayesian optimisation, from BoTorch."""
