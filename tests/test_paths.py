"""The array path against RLlib's own: the same numbers from the same data, the same learning."""

import numpy as np
import pytest
import torch
from gymnasium.spaces import MultiDiscrete
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.training_data import TrainingData
from ray.rllib.env.multi_agent_env import MultiAgentEnv
from ray.rllib.env.multi_agent_episode import MultiAgentEpisode
from ray.rllib.evaluation.postprocessing import Postprocessing

from rllib_calsheq.algorithm import SHARED_POLICY, CALSHEQConfig
from rllib_calsheq.algorithm.stated_config import map_to_shared_policy
from rllib_calsheq.core.actions import ActionTransform
from rllib_calsheq.core.streams import Stream
from rllib_calsheq.envs import ArrayMarket, MarketConfig, MarketEnv
from rllib_calsheq.learning.advantages import value_targets
from rllib_calsheq.learning.rollout import rollout
from rllib_calsheq.learning.seeding import torch_stream

from echo_env import ArrayEcho, EchoEnv

MARKET = {"num_merchants": 3, "episode_length": 8}


def config(sampling, env=MarketEnv, env_config=MARKET, **fields):
    made = (
        CALSHEQConfig()
        .environment(env, env_config=env_config)
        .calibration(calibrator={"name": "fixed"}, num_particles=4, sampling=sampling)
        .training(minibatch_size=32)
    )
    return made.update_from_dict(fields) if fields else made


def learner(sampling, **training):
    made = config(sampling).training(**training)
    made.validate()
    array_env = ArrayMarket(MarketConfig(**MARKET))
    spaces = {SHARED_POLICY: (array_env.observation_space, array_env.action_space)}
    spec = made.get_multi_rl_module_spec(spaces=spaces)
    found = made.build_learner(
        spaces={
            "__env__": spaces[SHARED_POLICY],
            "__env_single__": spaces[SHARED_POLICY],
            **spaces,
        }
    )
    assert spec.rl_module_specs.keys() == {SHARED_POLICY}
    return found


def as_episodes(block, env):
    """The same data as RLlib's own episode objects."""
    T, E, _ = block.rewards.shape
    agents = env.possible_agents
    episodes = []
    for e in range(E):

        def by_agent(array, t, e=e):
            return {a: array[t, e, i] for i, a in enumerate(agents)}

        episode = MultiAgentEpisode(
            observation_space=env.observation_spaces,
            action_space=env.action_spaces,
            agent_to_module_mapping_fn=map_to_shared_policy,
        )
        episode.add_env_reset(observations=by_agent(block.observations, 0), infos={})
        for t in range(T):
            done = t == T - 1
            following = block.observations[min(t + 1, T - 1)]
            episode.add_env_step(
                observations={a: following[e, i] for i, a in enumerate(agents)},
                actions=by_agent(block.actions, t),
                rewards={a: float(r) for a, r in by_agent(block.rewards, t).items()},
                infos={},
                terminateds={"__all__": done},
                truncateds={"__all__": False},
                extra_model_outputs={
                    a: {
                        Columns.ACTION_DIST_INPUTS: block.action_dist_inputs[t, e, i],
                        Columns.ACTION_LOGP: block.action_logp[t, e, i],
                    }
                    for i, a in enumerate(agents)
                },
            )
        episodes.append(episode.to_numpy())
    return episodes


def sorted_rows(batch, keys):
    """Rows of a train batch in an order of their own, padding steps left out."""
    columns = [np.asarray(batch[key], dtype=np.float64) for key in keys]
    rows = np.concatenate([c.reshape(len(c), -1) for c in columns], axis=1)
    if Columns.LOSS_MASK in batch:
        rows = rows[np.asarray(batch[Columns.LOSS_MASK]).astype(bool)]
    return rows[np.lexsort(rows.T[::-1])]


def test_value_targets_and_columns_equal_rllibs_own():
    arrays, reference = learner("arrays"), learner("episodes")
    reference.module.set_state(arrays.module.get_state())
    env, array_env = MarketEnv(MARKET), ArrayMarket(MarketConfig(**MARKET))
    profiles = np.tile(array_env.supertype_space.start, (4, 1))
    with torch_stream(Stream.ACTIONS, 1):
        block, *_ = rollout(
            arrays.module[SHARED_POLICY],
            array_env,
            profiles,
            [1, 2, 3, 4],
            transform=ActionTransform(array_env.action_space),
        )
    fast = arrays._make_batch_if_necessary(TrainingData(episodes=[block]))[SHARED_POLICY]
    slow = reference._make_batch_if_necessary(TrainingData(episodes=as_episodes(block, env)))[
        SHARED_POLICY
    ]
    keys = [
        Columns.OBS,
        Columns.ACTIONS,
        Columns.ACTION_LOGP,
        Postprocessing.VALUE_TARGETS,
    ]
    a, b = sorted_rows(fast, keys), sorted_rows(slow, keys)
    assert a.shape == b.shape == (8 * 4 * 3, 18 + 2 + 1 + 1)
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("gamma", "lambda_"), [(0.95, 0.9), (1.0, 1.0), (0.5, 0.0)])
def test_advantages_equal_those_of_rllibs_own_pipeline(gamma, lambda_):
    """RLlib standardises over the row that it adds to each episode's end, too, which its loss
    leaves out: so its advantages are standardised over the others here before they are compared.
    """
    arrays, reference = (learner(s, gamma=gamma, lambda_=lambda_) for s in ("arrays", "episodes"))
    reference.module.set_state(arrays.module.get_state())
    env, array_env = MarketEnv(MARKET), ArrayMarket(MarketConfig(**MARKET))
    profiles = np.tile(array_env.supertype_space.start, (4, 1))
    with torch_stream(Stream.ACTIONS, 1):
        block, *_ = rollout(
            arrays.module[SHARED_POLICY],
            array_env,
            profiles,
            [1, 2, 3, 4],
            transform=ActionTransform(array_env.action_space),
        )
    block.rewards[:] = np.random.default_rng(0).normal(size=block.rewards.shape)
    batches = [
        made._make_batch_if_necessary(TrainingData(episodes=episodes))[SHARED_POLICY]
        for made, episodes in ((arrays, [block]), (reference, as_episodes(block, env)))
    ]
    keys = [Columns.OBS, Columns.ACTIONS, Postprocessing.ADVANTAGES]
    fast, slow = (sorted_rows(batch, keys) for batch in batches)
    assert fast.shape == slow.shape == (8 * 4 * 3, 18 + 2 + 1)
    slow[:, -1] = (slow[:, -1] - slow[:, -1].mean()) / slow[:, -1].std()
    np.testing.assert_allclose(fast, slow, rtol=1e-4, atol=1e-4)


def test_value_targets_by_hand():
    # Two steps: target_1 = r_1 = 2 and δ_1 = 2 - 1; target_0 = r_0 + γ v_1 + γλ δ_1.
    rewards = np.array([[1.0], [2.0]], dtype=np.float32)
    values = np.array([[0.5], [1.0]], dtype=np.float32)
    targets = value_targets(rewards, values, gamma=0.5, lambda_=0.8)
    np.testing.assert_allclose(targets, [[1 + 0.5 + 0.4], [2.0]], rtol=1e-6)


def test_a_changed_gamma_reaches_the_connector():
    made = config("arrays").training(gamma=0.5)
    made.validate()
    (connector,) = made.build_learner_connector(None, None).connectors
    assert connector.gamma == 0.5


def test_rollout_is_a_function_of_seeds_and_stream():
    module = learner("arrays").module[SHARED_POLICY]
    env = ArrayMarket(MarketConfig(**MARKET))
    profiles = np.tile(env.supertype_space.start, (2, 1))

    def run(*keys):
        with torch_stream(Stream.ACTIONS, *keys):
            return rollout(
                module, env, profiles, [5, 6], transform=ActionTransform(env.action_space)
            )

    before = torch.random.get_rng_state()
    (first, *results_1), (second, *results_2) = run(7), run(7)
    assert torch.equal(torch.random.get_rng_state(), before)
    np.testing.assert_array_equal(first.actions, second.actions)
    for one, again in zip(results_1, results_2, strict=True):
        np.testing.assert_array_equal(one, again)
    assert not np.array_equal(first.actions, run(8)[0].actions)


def test_an_environment_that_raises_leaves_the_module_in_training_mode():
    module = learner("arrays").module[SHARED_POLICY].unwrapped()
    env = ArrayMarket(MarketConfig(**MARKET))

    def fail(actions):
        raise RuntimeError("the market is closed")

    env.step = fail
    module.train()
    with pytest.raises(RuntimeError, match="closed"):
        rollout(
            module,
            env,
            env.supertype_space.start[None],
            [1],
            transform=ActionTransform(env.action_space),
        )
    assert all(part.training for part in module.modules())


@pytest.mark.parametrize(
    ("low", "high", "sampled", "expected"),
    [
        (0.0, 10.0, [-1.0, 0.0, 2.0], [0.0, 5.0, 10.0]),
        (-1.0, 1.0, [-3.0, 0.2, 1.0], [-1.0, 0.2, 1.0]),
    ],
)
def test_actions_are_unsquashed_and_clipped_as_rllib_does(low, high, sampled, expected):
    from gymnasium.spaces import Box

    transform = ActionTransform(Box(low, high, (3,), np.float32))
    np.testing.assert_allclose(transform(np.array(sampled)), expected, atol=1e-7)


class TruncatingEnv(EchoEnv):
    def step(self, action_dict):
        observations, rewards, ends, stays, infos = super().step(action_dict)
        return observations, rewards, stays, ends, infos


class PlainTruncatingEnv(MultiAgentEnv):
    """Truncates as well, and has no array form that would have to agree with it."""

    def __init__(self, config=None):
        super().__init__()
        self._env = TruncatingEnv(config)
        for name in [
            "supertype_space",
            "outcomes",
            "agent_supertypes",
            "possible_agents",
            "agents",
            "observation_spaces",
            "action_spaces",
            "episode_length",
            "set_supertypes",
            "episode_outcomes",
            "step",
        ]:
            setattr(self, name, getattr(self._env, name))

    def reset(self, *, seed=None, options=None):
        return self._env.reset(seed=seed)


def train_once(env):
    made = config("episodes", env, {}, targets={"only.a": 0.5})
    algorithm = made.build_algo()
    try:
        return algorithm.train()["calibration"]
    finally:
        algorithm.stop()


def test_a_run_refuses_truncation_where_an_array_form_terminates():
    with pytest.raises(ValueError, match=r"TruncatingEnv truncates an episode.*terminate"):
        train_once(TruncatingEnv)


def test_an_environment_without_an_array_form_may_truncate():
    assert train_once(PlainTruncatingEnv)["num_particles"] == 4


class ArrayChoices(ArrayEcho):
    """Each agent picks two numbers; the first outcome is the mean of all of them."""

    def __init__(self, config=None):
        super().__init__(config)
        self.action_space = MultiDiscrete([3, 4])

    def reset(self, profiles, seeds):
        self.played = []
        return super().reset(profiles, seeds)

    def step(self, actions):
        assert all(self.action_space.contains(a) for row in actions for a in row)
        self.played.append(np.asarray(actions).mean(axis=(1, 2)))
        return super().step(actions)

    def episode_outcomes(self):
        outcomes = super().episode_outcomes()
        outcomes[:, 0] = np.mean(self.played, axis=0)
        return outcomes


class ChoicesEnv(EchoEnv):
    @classmethod
    def array_form(cls, config=None):
        return ArrayChoices(config)


@pytest.mark.parametrize("sampling", ["arrays", "episodes"])
def test_several_discrete_choices_are_played_on_both_paths(sampling):
    env_config = {"num_agents": 4, "episode_length": 20}
    made = config(sampling, ChoicesEnv, env_config, num_particles=8, minibatch_size=64)
    algorithm = made.build_algo()
    found = algorithm.train()["calibration"]["outcomes"]["only.a"]["mean"]
    algorithm.stop()
    # A new policy is nearly uniform: (1 + 1.5) / 2, with 1,280 numbers drawn.
    assert found == pytest.approx(1.25, abs=0.15)


@pytest.mark.learning
def test_both_paths_learn_alike():
    """Three seeds of a target-hitting game: both paths' curves rise alike towards 0."""
    env_config = {"episode_length": 20, "num_agents": 4}
    curves = {}
    for sampling in ("arrays", "episodes"):
        for seed in (0, 1, 2):
            made = config(sampling, EchoEnv, env_config, num_particles=8, seed=seed)
            algorithm = made.training(minibatch_size=128, num_epochs=10).build_algo()
            curves[sampling, seed] = [
                algorithm.train()["calibration"]["outcomes"]["only.reward"]["mean"] / 20
                for _ in range(25)
            ]
            algorithm.stop()
    fast = np.mean([curves["arrays", s] for s in (0, 1, 2)], axis=0)
    slow = np.mean([curves["episodes", s] for s in (0, 1, 2)], axis=0)
    # At first actions have standard deviation 1 round 0, clipped to ±1.
    assert fast[0] < -0.5
    assert fast[-5:].mean() > 0.5 * fast[0], f"the array path did not learn: {fast}"
    assert abs(fast - slow).max() < 0.15 * abs(slow[0]), (fast, slow)
