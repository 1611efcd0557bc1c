"""Profitable deviations: what is tried, trained, selected and measured."""
