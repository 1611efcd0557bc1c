"""Random streams: every use of random numbers has a name here, and no two share numbers.

A stream is named by what it is for and by keys, non-negative integers such as the run's seed and
the stage. So what is drawn does not depend on what was drawn before, nor on whether a run was
interrupted. NumPy only: what libraries' global generators need is in
`rllib_calsheq.learning.seeding`.
"""

from __future__ import annotations

import enum

import numpy as np

#: Keys are below this: two words of 32 bits each.
KEY_LIMIT = 2**64
#: Seeds of a run's episodes are below this, those of all others from this to 2**32.
_HALF = 2**31


@enum.unique
class Stream(enum.IntEnum):
    """What random numbers are for; the keys that follow the name are in brackets.

    A number that was given once stays: another would change what every run draws.
    """

    # --- a run
    #: Seeds of a run's episodes (seed, stage, particle, round).
    EPISODES = 1
    #: Actions in a run's episodes (seed, stage, worker, round).
    ACTIONS = 2
    #: Order of the shared policy's minibatches (seed, stage).
    MINIBATCHES = 3

    # --- calibrators (seed, stage), the stage being 0 before the first
    #: A calibrator from outside this package; it may add keys of its own.
    CALIBRATOR = 10
    #: Where the particles start.
    START = 11
    #: Initial weights of the calibrator's policy.
    CALIBRATOR_WEIGHTS = 12
    #: The particles' profiles or increments.
    PROPOSAL = 13
    #: Increments that are imagined, and the noise of their outcomes.
    IMAGINATION = 14
    #: Bayesian optimisation: the first trials (seed).
    DESIGN = 16
    #: Bayesian optimisation: fitting the model (seed, number of trials).
    MODEL = 17
    #: Bayesian optimisation: samples of the posterior.
    POSTERIOR = 18
    #: Bayesian optimisation: the search for the next trial.
    SEARCH = 19

    # --- evaluation
    #: Seeds of evaluation episodes (seed, batch, episode, round).
    EVALUATION_EPISODES = 30
    #: Actions in evaluation episodes (seed, batch, worker, round).
    EVALUATION_ACTIONS = 31

    # --- certificates
    #: Episodes that deviations are selected on (seed).
    VALIDATION = 40
    #: Episodes that the selected ones are measured on (seed).
    FRESH = 41
    #: Episodes of the sensitivity (seed).
    SENSITIVITY = 42
    #: Episodes that snapshots are compared on (seed).
    SNAPSHOTS = 43
    #: Noise of the actions in an episode (the episode's seed).
    ACTION_NOISE = 44
    #: Deviators (seed, training seed, start, target): their initial weights.
    DEVIATOR_WEIGHTS = 45
    #: ... their episodes (..., update).
    DEVIATOR_EPISODES = 46
    #: ... which agent of an episode deviates (..., update).
    DEVIATOR_ROLES = 47
    #: ... their actions (..., update).
    DEVIATOR_ACTIONS = 48
    #: ... the order of their minibatches (..., update).
    DEVIATOR_MINIBATCHES = 49
    #: Training on at fixed supertypes: its episodes (seed, stage).
    SETTLING_EPISODES = 50
    #: ... its actions (seed, stage).
    SETTLING_ACTIONS = 51
    #: ... the order of its minibatches (seed, stage).
    SETTLING_MINIBATCHES = 52
    #: Bootstrap of a certificate's bound (seed).
    CERTIFICATE_BOOTSTRAP = 53
    #: Bootstrap of the sensitivity's noise (seed).
    SENSITIVITY_BOOTSTRAP = 54
    #: Bootstrap of the comparison of snapshots (seed).
    SNAPSHOTS_BOOTSTRAP = 55

    # --- inference
    #: Episodes of a design (seed, design, part).
    INFERENCE_EPISODES = 70
    #: Profiles that are simulated next (seed, design).
    DESIGNS = 71
    #: Draws of the posterior (seed, design).
    WALKERS = 72
    #: Episodes before and after training on at a profile (seed, profile).
    RELEARNED_EPISODES = 73
    #: Which draws are kept, and the noise of what they predict (seed).
    KEPT_DRAWS = 74
    #: Hidden profiles that intervals are to hold, and what is drawn for each (seed, profile).
    HIDDEN_PROFILES = 75

    # --- backtests
    #: Which rows a fold predicts (seed), and what rows scatter by (seed, fold).
    BACKTEST_SPLIT = 80
    #: Draws of a prediction (seed, fold, part, predictor).
    BACKTEST_DRAWS = 81

    # --- data and environments
    #: Bootstrap of the targets' standard errors (seed).
    DATA_BOOTSTRAP = 60
    #: Seeds of the episodes that follow one with a seed and have none (that seed).
    LATER_EPISODES = 61
    #: Types of an adapted environment's agents (the episode's seed).
    TYPES = 62


def stream_sequence(stream: Stream, *keys: int) -> np.random.SeedSequence:
    """NumPy's seed sequence of a stream: another for every name, and for every list of keys.

    Args:
        stream: What it is for.
        *keys: Integers from 0, below 2**64.

    Raises:
        ValueError: If ``stream`` is none, or a key is out of range.
    """
    # A seed sequence takes [1, 2] and [1, 2, 0] for one, and a long integer for two short ones:
    # hence the number of keys, and two words for each.
    words = [int(Stream(stream)), len(keys)]
    for key in map(int, keys):
        if not 0 <= key < KEY_LIMIT:
            raise ValueError(
                f"a key of random stream {Stream(stream).name} is {key}; keys (a seed, a stage, an "
                "index) are integers from 0, below 2**64"
            )
        words += [key % 2**32, key >> 32]
    return np.random.SeedSequence(words)


def stream_rng(stream: Stream, *keys: int) -> np.random.Generator:
    """A generator at the start of a stream; arguments as for `stream_sequence`."""
    return np.random.default_rng(stream_sequence(stream, *keys))


def stream_seed(stream: Stream, *keys: int) -> int:
    """A seed in [0, 2**63), for libraries with generators of their own.

    Arguments as for `stream_sequence`.
    """
    return int(stream_sequence(stream, *keys).generate_state(1, np.uint64)[0] >> 1)


def episode_seed(stream: Stream, *keys: int) -> int:
    """An environment's seed, below 2**32, which every random generator accepts.

    Those of a run (`Stream.EPISODES`) lie in the lower half and all others in the upper one, so
    that an episode that something is judged by is none that a run has seen.
    """
    lower = stream_seed(stream, *keys) % _HALF
    return lower if stream == Stream.EPISODES else lower + _HALF


def fresh_seeds(rng: np.random.Generator, count: int) -> np.ndarray:
    """Environment seeds (count,), int64, of episodes that no run has seen; see `episode_seed`."""
    return rng.integers(_HALF, 2 * _HALF, size=count)
