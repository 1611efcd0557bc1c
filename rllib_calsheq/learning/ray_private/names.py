"""The list of Ray's private and undocumented names, each with what it is for.

Most renames would be an error at once. Some would be silent: a hook that Ray does not call any
more trains with Ray's defaults.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class RayName:
    """A name of Ray's that is private, or whose behaviour is not documented.

    Attributes:
        owner: Dotted path of the module, class or function that has it.
        name: The name.
        use: ``calls`` a function or method, ``reads`` (or writes) an attribute, ``passes`` a
            parameter of the owner, ``overrides`` a method, or ``answers`` to it, as an object
            of ours that Ray takes for one of its own.
        why: What for.
        used_in: Module of Ray's that must call or read the name, so that overriding it or
            standing behind it means something.
        seen_in: Version of Ray that has it.
    """

    owner: str
    name: str
    use: Literal["calls", "reads", "passes", "overrides", "answers"]
    why: str
    used_in: str = ""
    seen_in: str = "2.60"


_RLLIB = "ray.rllib"
_LEARNERS = f"{_RLLIB}.core.learner.learner"
_LEARNER = f"{_LEARNERS}.Learner"
_PPO_LEARNERS = f"{_RLLIB}.algorithms.ppo.ppo_learner"
_PPO_LEARNER = f"{_PPO_LEARNERS}.PPOLearner"
_MODULE = f"{_RLLIB}.algorithms.ppo.torch.default_ppo_torch_rl_module.DefaultPPOTorchRLModule"
_RUNNERS = f"{_RLLIB}.env.multi_agent_env_runner"
_RUNNER = f"{_RUNNERS}.MultiAgentEnvRunner"
_CONFIGS = f"{_RLLIB}.algorithms.algorithm_config"
_CONFIG = f"{_CONFIGS}.AlgorithmConfig"
_TRAINABLE = "ray.tune.trainable.trainable.Trainable"
_ROLLOUTS = f"{_RLLIB}.execution.rollout_ops"
_SAMPLE = f"{_ROLLOUTS}.synchronous_parallel_sample"
_TORCH_MODULES = f"{_RLLIB}.core.rl_module.torch.torch_rl_module"
_RL_MODULES = f"{_RLLIB}.core.rl_module.rl_module"

#: Attribute of `AlgorithmConfig` that holds a field, where it is not the field's name.
STORED_AS = {
    "model_config": "_model_config",
    "rl_module_spec": "_rl_module_spec",
    "learner_class": "_learner_class",
    "learner_connector": "_learner_connector",
    "env_to_module_connector": "_env_to_module_connector",
    "module_to_env_connector": "_module_to_env_connector",
    "train_batch_size_per_learner": "_train_batch_size_per_learner",
}

RAY_NAMES = (
    RayName("ray._private.parameter.RayParams", "_system_config", "passes",
            "no worker is started before it is needed"),
    # Modules: the hooks behind forward_exploration(), forward_inference(), forward_train().
    RayName(_MODULE, "_forward_exploration", "calls", "a pass to sample with", _TORCH_MODULES),
    RayName(_MODULE, "_forward_inference", "calls", "a pass to act greedily with", _TORCH_MODULES),
    RayName(_MODULE, "_forward_train", "calls", "a pass to learn from", _RL_MODULES),
    RayName(_MODULE, "pi", "reads", "the policy's head", f"{_RLLIB}.algorithms.ppo.torch"
            ".default_ppo_torch_rl_module"),
    RayName(f"{_RLLIB}.core.models.torch.heads.TorchFreeLogStdMLPHead", "log_std", "reads",
            "the logarithm of the standard deviation, one for all states"),
    RayName(_MODULE, "vf", "reads", "the value network's head", f"{_RLLIB}.algorithms.ppo.torch"
            ".default_ppo_torch_rl_module"),
    RayName(_MODULE, "encoder", "reads", "layers of both networks", f"{_RLLIB}.algorithms.ppo.torch"
            ".default_ppo_torch_rl_module"),
    *(RayName(f"{_RLLIB}.core.models.torch.encoder.TorchActorCriticEncoder", name, "reads",
              "layers of a network", f"{_RLLIB}.core.models.base")
      for name in ("encoder", "actor_encoder", "critic_encoder")),
    RayName(f"{_RLLIB}.core.models.torch.encoder.TorchMLPEncoder", "net", "reads",
            "layers of a network", f"{_RLLIB}.core.models.torch.encoder"),
    *(RayName(f"{_RLLIB}.core.models.torch.heads.{head}", name, "reads",
              "layers of a network, and what it clips", f"{_RLLIB}.core.models.torch.heads")
      for head in ("TorchMLPHead", "TorchFreeLogStdMLPHead")
      for name in ("net", "clip_log_std", "log_std_clip_param")),
    RayName(f"{_RLLIB}.core.models.torch.primitives.TorchMLP", "mlp", "reads",
            "layers of a network", f"{_RLLIB}.core.models.torch.primitives"),
    # Learners: what they hold.
    RayName(_LEARNER, "_params", "reads", "the parameters that are trained, by name"),
    RayName(_LEARNER, "_named_optimizers", "reads", "the optimizers"),
    RayName(_LEARNER, "_optimizer_lr_schedules", "reads", "Ray's own rate schedules, taken off",
            _LEARNERS),
    RayName(_LEARNER, "_set_optimizer_lr", "calls", "a rate of our own", _LEARNERS),
    RayName(_LEARNER, "_get_optimizer_lr", "calls", "the rate that holds", _LEARNERS),
    RayName(_LEARNER, "_weights_seq_no", "reads", "so that a restored state is taken", _LEARNERS),
    RayName(_LEARNER, "_make_batch_if_necessary", "calls", "the train batch of episodes"),
    RayName(f"{_LEARNER}.update", "_no_metrics_reduce", "passes", "metrics are read unreduced"),
    RayName(_PPO_LEARNER, "curr_kl_coeffs_per_module", "reads", "KL coefficients", _PPO_LEARNERS),
    RayName(_PPO_LEARNER, "entropy_coeff_schedulers_per_module", "reads", "entropy coefficients",
            _PPO_LEARNERS),
    # Learners: the loop over minibatches.
    RayName(_LEARNER, "_create_iterator_if_necessary", "overrides", "our minibatches", _LEARNERS),
    RayName(_LEARNER, "_update", "overrides", "our gradient step", _LEARNERS),
    RayName(_LEARNER, "_log_metrics", "overrides", "not in each minibatch", _LEARNERS),
    RayName(_LEARNER, "_log_steps_trained_metrics", "overrides", "once an update", _LEARNERS),
    RayName(_LEARNER, "_set_slicing_by_batch_id", "overrides", "no sample batches", _LEARNERS),
    RayName(_LEARNER, "policy_batches", "answers", "the tensors of a minibatch", _LEARNERS),
    RayName(_LEARNER, "configure_optimizers_for_module", "overrides", "fused Adam", _LEARNERS),
    RayName(_PPO_LEARNER, "_update_module_kl_coeff", "overrides", "all learners' divergence",
            _PPO_LEARNERS),
    # Env runners.
    RayName(_RUNNER, "_callbacks", "reads", "the user's callbacks", _RUNNERS),
    RayName(_RUNNER, "_device", "reads", "where the module lives", _RUNNERS),
    RayName(_RUNNER, "_weights_seq_no", "reads", "which weights sampled", _RUNNERS),
    RayName(_RUNNER, "_sample", "calls", "whole episodes without the callbacks", _RUNNERS),
    RayName(_RUNNER, "_make_on_episode_callback", "overrides", "only particles' episodes",
            _RUNNERS),
    RayName(_RUNNER, "_try_env_reset", "overrides", "each slot's own particle", _RUNNERS),
    RayName(_RUNNER, "make_env", "overrides", "the array form", _RUNNERS),
    RayName(_RUNNER, "make_module", "overrides", "fused perceptrons", _RUNNERS),
    RayName(_RUNNER, "sample", "overrides", "one round of particles", _ROLLOUTS),
    RayName(f"{_RLLIB}.callbacks.utils", "make_callback", "calls", "callbacks of both forms",
            _RUNNERS),
    RayName(f"{_RLLIB}.utils.metrics.metrics_logger.DEFAULT_STATS_CLS_LOOKUP", "item_series",
            "reads", "outcomes travel as metrics of this kind"),
    RayName(f"{_RLLIB}.env.env_runner_group.EnvRunnerGroup", "_worker_manager", "reads",
            "what goes wrong in an env runner", f"{_RLLIB}.env.env_runner_group"),
    RayName(f"{_RLLIB}.utils.actor_manager.FaultTolerantActorManager", "foreach_actor",
            "overrides", "what goes wrong in an env runner", f"{_RLLIB}.env.env_runner_group"),
    RayName(f"{_RLLIB}.utils.actor_manager.FaultTolerantActorManager", "clear", "calls",
            "env runners that hang are not waited for", f"{_RLLIB}.env.env_runner_group"),
    # Blocks of rollouts, which Ray takes for episodes.
    RayName(_ROLLOUTS, "env_steps", "answers", "an episode's size", _ROLLOUTS),
    RayName(_ROLLOUTS, "agent_steps", "answers", "an episode's size", _ROLLOUTS),
    RayName(f"{_RLLIB}.utils.minibatch_utils.ShardEpisodesIterator", "slice", "answers",
            "a learner's part", f"{_RLLIB}.utils.minibatch_utils"),
    RayName(_SAMPLE, "_uses_new_env_runners", "passes", "the benchmark of runners"),
    RayName(_SAMPLE, "_return_metrics", "passes", "the benchmark of runners"),
    # Configurations.
    *(RayName(_CONFIG, stored, "reads", f"holds {name}", _CONFIGS)
      for name, stored in STORED_AS.items()),
    RayName(_CONFIG, "_translate_special_keys", "calls", "keys of experiment files", _CONFIGS),
    RayName(_CONFIG, "total_train_batch_size", "overrides", "a stage is one round",
            f"{_RLLIB}.algorithms.ppo.ppo"),
    RayName(_CONFIG, "build_learner_connector", "overrides", "our one connector", _LEARNERS),
    # The algorithm.
    RayName(f"{_RLLIB}.algorithms.algorithm.Algorithm", "cleanup", "overrides",
            "env runners that hang are not waited for", "ray.tune.trainable.trainable"),
    RayName(f"{_RLLIB}.algorithms.algorithm.Algorithm", "step", "overrides",
            "a stage is timed by a clock that nobody sets", "ray.tune.trainable.trainable"),
    # Checkpoints and Tune.
    RayName(f"{_RLLIB}.utils.checkpoints.Checkpointable", "_check_component", "calls",
            "whether a part of the state is asked for"),
    RayName(_TRAINABLE, "_storage", "reads", "a process serves one trial after another",
            "ray.tune.trainable.trainable"),
    RayName(_TRAINABLE, "_trial_info", "reads", "a process serves one trial after another",
            "ray.tune.trainable.trainable"),
    RayName("ray.tune.tuner.Tuner", "_local_tuner", "reads", "callbacks of a resumed run",
            "ray.tune.tuner"),
    RayName("ray.tune.impl.tuner_internal.TunerInternal", "_run_config", "reads",
            "callbacks of a resumed run", "ray.tune.impl.tuner_internal"),
    RayName("ray.tune.impl.tuner_internal.TunerInternal", "_tune_config", "reads",
            "the scheduler of a resumed run", "ray.tune.impl.tuner_internal"),
    RayName("ray.tune.trainable.trainable", "_TrainingResult", "calls",
            "a checkpoint that a resumed trial is told of", "ray.tune.trainable.trainable"),
    RayName("ray.train._internal.storage.StorageContext", "current_checkpoint_index", "reads",
            "the number of a resumed trial's next checkpoint", "ray.train._internal.storage"),
    RayName("ray.tune.logger.json.JsonLoggerCallback", "_trial_files", "reads",
            "results are added to the run's own file", "ray.tune.logger.json"),
    RayName("ray.tune.experiment.trial.Trial", "on_checkpoint", "calls",
            "a checkpoint that a resumed trial is told of", "ray.tune.execution.tune_controller"),
    RayName("ray.train._internal.checkpoint_manager._CheckpointManager", "_checkpoint_results",
            "reads", "checkpoints of a resumed trial",
            "ray.train._internal.checkpoint_manager"),
    RayName("ray.train._internal.checkpoint_manager._CheckpointManager",
            "_latest_checkpoint_result", "reads", "where a resumed trial goes on",
            "ray.train._internal.checkpoint_manager"),
)  # fmt: skip
