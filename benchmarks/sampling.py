"""The array env runner against RLlib's own `MultiAgentEnvRunner` on the full market.

    python benchmarks/sampling.py           # n = 10, T = 60, E = 16, 64, 256
    python benchmarks/sampling.py --json    # ratio_vs_rllib by E

Both runners sample one complete episode of each of E environments with the same networks.
The ratio is RLlib's time over ours, round by round.
"""

from timing import interleave, parser, quiet, ratios, show, spread  # isort: skip
import numpy as np
from stage import build_rllib

EPISODES = (16, 64, 256)
STEPS = 60


def array_runner(n, particles):
    """A runner of the array path with a supertype table, and the function that samples once."""
    from rllib_calsheq.algorithm import CALSHEQConfig
    from rllib_calsheq.core.particles import SupertypeTable

    config = (
        CALSHEQConfig()
        .environment("rllib_calsheq.envs.MarketEnv", env_config={"num_merchants": n})
        .calibration(calibrator={"name": "fixed"}, num_particles=particles)
    )
    config.validate()
    runner = config.env_runner_cls(config=config, worker_index=0)
    start = config.problem().space.start
    table = SupertypeTable(1, np.tile(start, (particles, 1)), np.zeros(particles, dtype=int), 0)

    def sample():
        runner.set_supertypes(table)
        runner.sample()
        runner.get_metrics()

    return sample


def main():
    options = parser(__doc__)
    options.set_defaults(rounds=3)
    options.add_argument("--merchants", type=int, default=10)
    options.add_argument("--episodes", type=int, nargs="+", default=list(EPISODES))
    args = options.parse_args()
    quiet()
    found = {"ratio_vs_rllib": {}, "agent_steps_per_second": {}}
    for episodes in args.episodes:
        algorithm = build_rllib(args.merchants, episodes, num_envs=episodes)
        runner = algorithm.env_runner

        def theirs(runner=runner, episodes=episodes):
            runner.sample(num_episodes=episodes)
            runner.get_metrics()

        contenders = {"rllib": theirs, "arrays": array_runner(args.merchants, episodes)}
        interleave({"arrays": contenders["arrays"]}, 1)
        seconds = interleave(contenders, args.rounds)
        algorithm.stop()
        steps = episodes * STEPS * args.merchants
        found["ratio_vs_rllib"][str(episodes)] = ratios(seconds["rllib"], seconds["arrays"])
        found["agent_steps_per_second"][str(episodes)] = {
            name: spread([steps / s for s in values]) for name, values in seconds.items()
        }
        if not args.json:
            show({f"ratio_vs_rllib, E = {episodes}": found["ratio_vs_rllib"][str(episodes)]}, False)
    if args.json:
        show(found, True)


if __name__ == "__main__":
    main()
