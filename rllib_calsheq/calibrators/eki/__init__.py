"""Ensemble Kalman inversion."""
