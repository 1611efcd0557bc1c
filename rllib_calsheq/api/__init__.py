"""The package in a few names, for people who think in data frames: calibrate, load, Result.

Nothing is computed here: each method hands over to the package that does.
"""
