"""Which directions of the profile the targets do not pin down."""
