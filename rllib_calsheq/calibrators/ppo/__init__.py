"""CALSHEQ's own calibrator: a policy of increments, trained by PPO."""
