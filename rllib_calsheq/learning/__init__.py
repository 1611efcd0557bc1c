"""RLlib's PPO, lean: learners, rollouts, advantages; and every private name of Ray's."""
