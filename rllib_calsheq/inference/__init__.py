"""From a calibrated run to a set: which profiles explain the targets, and how sure one can be."""
