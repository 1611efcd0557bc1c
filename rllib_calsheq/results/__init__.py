"""What a run left behind: its checkpoints, their evaluation, its pictures."""
