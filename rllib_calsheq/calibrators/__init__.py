"""Calibrators: a file or a folder each, found by name or by dotted path."""

from rllib_calsheq.calibrators.registry import (
    DEFAULT_CALIBRATOR,
    calibrator_config,
    entries,
    find_entry,
    make_calibrator,
    pulls_to_prior,
)

__all__ = [
    "DEFAULT_CALIBRATOR",
    "calibrator_config",
    "entries",
    "find_entry",
    "make_calibrator",
    "pulls_to_prior",
]
