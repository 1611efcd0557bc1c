"""Out of sample: what a calibrated market says of rows it has not seen, against dull rivals."""
