"""Defaults that several commands and modules share; those of one thing stand with that thing."""

#: Folder of all runs.
STORAGE = "~/ray_results"
#: Fresh episodes that a profile is evaluated on.
EVALUATION_EPISODES = 512
#: Two-sided level of intervals, and of what is said to be certain.
CONFIDENCE = 0.95
