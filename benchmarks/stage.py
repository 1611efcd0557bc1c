"""A whole stage against RLlib's default path and against the bare loop.

    python benchmarks/stage.py            # n = 5, T = 60, B = 64
    python benchmarks/stage.py --json     # ratio_vs_rllib, ratio_vs_bare, calibration_share

``ratio_vs_rllib`` is the time of an iteration of RLlib's own PPO on the same market (its
`MultiAgentEnvRunner` and learner pipeline, no calibrator at all) over that of a CALSHEQ stage;
``ratio_vs_bare`` is the time of a CALSHEQ stage over that of the bare loop in `bare.py`;
``calibration_share`` is the part of a CALSHEQ stage spent in callback, broadcast and calibrator.
With ``--cpu`` seconds are a processor's, which other programs on the machine change little. With
``--all-cores`` threads share a CALSHEQ stage's update where that is faster, as they do by default.
"""

from timing import interleave, parser, quiet, ratios, show, spread, time_calls  # isort: skip
import os
import time

from bare import BareLoop

from rllib_calsheq.core.cores import NUM_THREADS


def build_calsheq(env_config, particles, calibrator, num_env_runners=0):
    """A CALSHEQ run on the market, ten targets as in setting 3."""
    from rllib_calsheq.algorithm import CALSHEQConfig

    targets = {f"supertype_1.quantity_p{p}": 0.6 * p for p in range(10, 100, 10)}
    targets["supertype_1.share"] = 0.12
    return (
        CALSHEQConfig()
        .environment("rllib_calsheq.envs.MarketEnv", env_config=env_config)
        .env_runners(num_env_runners=num_env_runners)
        .calibration(targets=targets, num_particles=particles, calibrator=calibrator)
        .build_algo()
    )


def build_rllib(n, particles, num_envs=16):
    """RLlib's own PPO, with the networks and PPO settings of the CALSHEQ defaults."""
    from ray.rllib.algorithms.ppo import PPOConfig
    from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig

    from rllib_calsheq.algorithm import SHARED_POLICY, CALSHEQConfig
    from rllib_calsheq.algorithm.stated_config import map_to_shared_policy
    from rllib_calsheq.envs import MarketEnv

    ours = CALSHEQConfig()
    config = PPOConfig().environment(MarketEnv, env_config={"num_merchants": n})
    config.multi_agent(policies={SHARED_POLICY}, policy_mapping_fn=map_to_shared_policy)
    config.env_runners(
        num_env_runners=0, num_envs_per_env_runner=num_envs, batch_mode="complete_episodes"
    )
    config.rl_module(
        model_config=DefaultModelConfig(
            fcnet_hiddens=[64, 64], fcnet_activation="tanh", free_log_std=True
        )
    )
    config.training(
        train_batch_size_per_learner=max(particles * 60, ours.minibatch_size),
        minibatch_size=ours.minibatch_size,
        num_epochs=ours.num_epochs, gamma=ours.gamma, lambda_=ours.lambda_, lr=1e-3,
        vf_clip_param=ours.vf_clip_param,
    )  # fmt: skip
    return config.build_algo()


def time_calibration(algorithm, clock=time.perf_counter):
    """Collects the seconds that a stage spends on calibration, in a list that it returns."""
    callback = next(c for c in algorithm.callbacks if type(c).__name__ == "CalibrationCallback")
    return time_calls(callback, "on_train_result", clock)


def main():
    options = parser(__doc__)
    options.add_argument("--merchants", type=int, default=5)
    options.add_argument("--particles", type=int, default=64)
    options.add_argument("--calibrator", default="ppo")
    options.add_argument("--no-rllib", action="store_true", help="leave RLlib's default path out")
    options.add_argument("--cpu", action="store_true", help="a processor's seconds")
    options.add_argument("--all-cores", action="store_true", help="not one thread each")
    args = options.parse_args()
    if args.all_cores:
        del os.environ[NUM_THREADS]
    clock = time.process_time if args.cpu else time.perf_counter
    quiet()
    calsheq = build_calsheq(
        {"num_merchants": args.merchants}, args.particles, {"name": args.calibrator}
    )
    bare = BareLoop(
        calsheq.calibration.targets, num_merchants=args.merchants, particles=args.particles
    )
    contenders = {"calsheq": calsheq.train, "bare": bare.run_stage}
    if not args.no_rllib:
        contenders["rllib"] = build_rllib(args.merchants, args.particles).train
    # Numbers of threads are tried in the first stages.
    interleave(contenders, 5 if args.all_cores else 1)
    on_calibration = time_calibration(calsheq, clock)
    seconds = interleave(contenders, args.rounds, clock)
    found = {
        "ratio_vs_bare": ratios(seconds["calsheq"], seconds["bare"]),
        "calibration_share": ratios(on_calibration, seconds["calsheq"]),
        **{f"seconds_{name}": spread(values) for name, values in seconds.items()},
    }
    if "rllib" in seconds:
        found = {"ratio_vs_rllib": ratios(seconds["rllib"], seconds["calsheq"]), **found}
    show(found, args.json)


if __name__ == "__main__":
    main()
