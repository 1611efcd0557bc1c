"""The package in a few names, for people who think in data frames: calibrate, load, Result.

Nothing is computed here: each method hands over to the package that does. That package is
imported when it is asked, without Ray's words: the names here load neither Ray nor Torch.
"""
