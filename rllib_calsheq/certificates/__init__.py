"""Certificates of shared equilibria: how far a calibrated shared policy is from Definition 1.

A certificate freezes a checkpoint's shared policy π and its supertypes, and looks for one agent's
profitable deviations while all others stay on π. What it finds is a lower bound of ε.

- `search`: V_Λk and V̂ (equations 2 and 4) by simulation, deviations that need no training,
  deviators that RLlib's PPO trains against π, and which of them is reported with what interval.
- `jobs`: a certificate in jobs, each stored when it is done, computed in one process or several
  with one `FrozenGame`.
- `lag`: the fit before and after the shared policy is trained on at fixed supertypes.
- `report`: the numbers by name, the statement in words, and the pictures.
- `config`, `certify`: what is asked for, and the certificate as a whole.
- `sensitivity`: which directions of Λ the targets do not pin down.
- `snapshots`: payoffs between the shared policies of a run's checkpoints (Assumption 1).
"""
