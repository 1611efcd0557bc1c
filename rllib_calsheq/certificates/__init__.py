"""Certificates of shared equilibria: how far a calibrated shared policy is from Definition 1.

A certificate freezes a checkpoint's shared policy π and its supertypes, and looks for one agent's
profitable deviations while all others stay on π. What it finds is a lower bound of ε.

- `values`: V_Λk and V̂ (equations 2 and 4) by simulation, paired by common random numbers.
- `deviations`: deviations that need no training: constants, shifts, and the environment's own.
- `selection`: which deviation is reported, and bootstrap intervals. Pure NumPy like the two above.
- `policies`, `deviators`: the frozen policy, and deviators trained against it by RLlib's PPO.
- `lag`: the fit before and after the shared policy is trained on at fixed supertypes.
- `settings`, `certify`, `parts`, `pool`, `pictures`: the certificate as a whole.
- `sensitivity`: which directions of Λ the targets do not pin down.
- `snapshots`: payoffs between the shared policies of a run's checkpoints (Assumption 1).
"""
