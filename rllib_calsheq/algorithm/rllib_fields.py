"""What CALSHEQ does with each field of RLlib's `PPOConfig`: one table, `FIELDS`.

A field is *honoured* (by both sampling paths, or by RLlib's own path alone), *derived* (CALSHEQ
sets it), or *refused* (it has no effect here or cannot work). Nothing that a user sets is dropped
in silence: a derived or refused field that was changed is an error that says what to do instead.
`tools/document_fields.py` writes docs/configuration.md from the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from ray.rllib.callbacks.callbacks import RLlibCallback
from ray.rllib.core.rl_module.multi_rl_module import MultiRLModuleSpec
from ray.rllib.core.rl_module.rl_module import RLModuleSpec

from rllib_calsheq.algorithm.allowed_values import (
    BOOLEANS,
    FUNCTION_LISTS,
    FUNCTIONS,
    MAPPINGS,
    NONE,
    Allowed,
    integers,
    lists_of,
    mappings_to,
    numbers,
    one_of,
)
from rllib_calsheq.algorithm.problem import SHARED_POLICY
from rllib_calsheq.learning.ray_private.names import STORED_AS

Treatment = Literal["honoured", "derived", "refused"]


@dataclass(frozen=True)
class Field:
    """What happens to a field of RLlib's configuration.

    Attributes:
        treatment: Whether it is honoured, derived or refused.
        reason: For a refused field why, for a derived one what to set instead, for one that
            the array path does not honour why not.
        allowed: Values of an honoured field; of others, values that change nothing.
        arrays: Whether the array path honours it, too.
        stored_as: Attribute of the configuration that holds it, where it is not the name.
    """

    treatment: Treatment
    reason: str = ""
    allowed: Allowed | None = None
    arrays: bool = True
    stored_as: str = ""

    def objection(self, name: str, value: Any) -> str:
        """Why a value that differs from the default is not accepted, in a sentence."""
        if self.treatment == "derived":
            return (
                f"{name} has no effect on CALSHEQ, which sets it itself, but {value!r} was given: "
                f"{self.reason}"
            )
        return f"{name} is {value!r}, but {self.reason}"


def _every(names: str, field: Field) -> dict[str, Field]:
    return dict.fromkeys(names.split(), field)


def _honoured(allowed: Allowed, names: str) -> dict[str, Field]:
    return _every(names, Field("honoured", allowed=allowed))


def _derived(instead: str, names: str) -> dict[str, Field]:
    return _every(names, Field("derived", instead))


def _refused(reason: str, names: str) -> dict[str, Field]:
    return _every(names, Field("refused", reason))


def _on_episodes(why_not_on_arrays: str, allowed: Allowed, names: str) -> dict[str, Field]:
    return _every(names, Field("honoured", why_not_on_arrays, allowed, arrays=False))


def _is_shared_policy_alone(value: Any) -> bool:
    if not isinstance(value, (set, frozenset, list, tuple, Mapping)):
        return False
    specs = value.values() if isinstance(value, Mapping) else ()
    # RLlib's PolicySpec cannot be compared with None.
    return list(value) == [SHARED_POLICY] and not any(spec is None for spec in specs)


def _trains_the_shared_policy(value: Any) -> bool:
    return value is None or value in ([SHARED_POLICY], (SHARED_POLICY,), {SHARED_POLICY})


def _is_module_spec(value: Any) -> bool:
    if isinstance(value, MultiRLModuleSpec):
        return isinstance(value.rl_module_specs, RLModuleSpec) or (
            set(value.rl_module_specs or ()) == {SHARED_POLICY}
        )
    return isinstance(value, RLModuleSpec)


_CALLBACK = Allowed(
    "subclasses of RLlibCallback",
    lambda value: isinstance(value, type) and issubclass(value, RLlibCallback),
)
_SCHEDULE = Allowed(
    "schedules [[0, value], [env step, value], ...]",
    lambda value: (
        lists_of(lists_of(numbers(0.0))).holds(value)
        and all(len(point) == 2 for point in value)
        and value[0][0] == 0
    ),
)
_NO_EPISODES = "the array path makes no episode objects"
_NO_CONNECTORS = "the array path does not run connectors of your own"

_HONOURED = {
    **_honoured(Allowed("environment classes, or dotted paths of one", lambda env: True), "env"),
    **_honoured(
        Allowed("classes of algorithms", lambda value: isinstance(value, type)), "algo_class"
    ),
    **_honoured(
        BOOLEANS,
        "normalize_actions clip_actions disable_env_checking explore use_kl_loss "
        "validate_env_runners_after_construction create_env_on_local_worker "
        "torch_skip_nan_gradients restart_failed_env_runners ignore_env_runner_failures",
    ),
    **_honoured(MAPPINGS, "env_config"),
    **_honoured(
        mappings_to(numbers(0.0)),
        "custom_resources_for_main_process custom_resources_per_env_runner "
        "custom_resources_per_learner",
    ),
    **_honoured(integers(0), "num_env_runners num_learners local_gpu_idx"),
    **_honoured(integers(0), "max_num_env_runner_restarts"),
    **_honoured(integers(0), "num_consecutive_env_runner_failures_tolerance"),
    **_honoured(integers(0) | NONE, "seed"),
    **_honoured(integers(1), "num_epochs"),
    **_honoured(integers(1) | NONE, "minibatch_size"),
    **_honoured(numbers(0.0, 1.0), "gamma lambda_ num_gpus_per_learner"),
    **_honoured(numbers(0.0), "kl_coeff vf_loss_coeff delay_between_env_runner_restarts_s"),
    **_honoured(numbers(0.0), "num_cpus_per_env_runner num_gpus_per_env_runner"),
    **_honoured(numbers(0.0), "num_cpus_for_main_process"),
    **_honoured(numbers(0.0) | one_of("auto"), "num_cpus_per_learner"),
    **_honoured(numbers(0.0) | _SCHEDULE, "entropy_coeff"),
    **_honoured(numbers(0.0, above=True, infinite=True), "clip_param vf_clip_param"),
    **_honoured(numbers(0.0, above=True), "kl_target"),
    **_honoured(numbers(0.0, above=True) | NONE, "grad_clip sample_timeout_s"),
    **_honoured(
        numbers(0.0, above=True), "env_runner_health_probe_timeout_s env_runner_restore_timeout_s"
    ),
    **_honoured(one_of("value", "norm", "global_norm"), "grad_clip_by"),
    **_honoured(one_of("PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD"), "placement_strategy"),
    **_honoured(one_of("DEBUG", "INFO", "WARN", "ERROR"), "log_level"),
    **_honoured(_CALLBACK | lists_of(_CALLBACK), "callbacks_class"),
    **_honoured(
        FUNCTION_LISTS,
        "callbacks_on_algorithm_init callbacks_on_train_result callbacks_on_sample_end "
        "callbacks_on_environment_created callbacks_on_env_runners_recreated "
        "callbacks_on_checkpoint_loaded",
    ),
    # The values of single fields are checked by `networks.check_model_config`.
    **_honoured(MAPPINGS, "model_config"),
    "rl_module_spec": Field(
        "honoured",
        allowed=Allowed("RLModuleSpecs of the one shared policy", _is_module_spec) | NONE,
        stored_as=STORED_AS["rl_module_spec"],
    ),
}

_HONOURED_ON_EPISODES = {
    **_on_episodes(
        _NO_EPISODES,
        FUNCTION_LISTS,
        "callbacks_on_episode_created callbacks_on_episode_start callbacks_on_episode_step "
        "callbacks_on_episode_end",
    ),
    **_on_episodes(_NO_EPISODES, BOOLEANS, "episodes_to_numpy"),
    **_on_episodes(_NO_EPISODES, integers(1), "episode_lookback_horizon"),
    **_on_episodes(_NO_EPISODES, integers(1), "metrics_num_episodes_for_smoothing"),
    **{
        name: Field("honoured", _NO_CONNECTORS, FUNCTIONS | NONE, False, STORED_AS[name])
        for name in ("env_to_module_connector", "module_to_env_connector", "learner_connector")
    },
    **_on_episodes(
        _NO_CONNECTORS,
        BOOLEANS,
        "add_default_connectors_to_env_to_module_pipeline "
        "add_default_connectors_to_module_to_env_pipeline broadcast_env_runner_states",
    ),
    **_on_episodes(
        _NO_CONNECTORS,
        one_of("training_only", True, False),
        "merge_env_runner_states",
    ),
    **_on_episodes("the array path always shuffles", BOOLEANS, "shuffle_batch_per_epoch"),
    **_on_episodes("the array path does not log single gradients", BOOLEANS, "log_gradients"),
    **_on_episodes("the array path's learners average their own gradients", MAPPINGS,
                   "torch_ddp_kwargs"),
    **_on_episodes("the array path's update is not compiled", BOOLEANS, "torch_compile_learner"),
    **_on_episodes(
        "the array path's update is not compiled",
        Allowed("what torch.compile takes", lambda value: True),
        "torch_compile_learner_what_to_compile torch_compile_learner_dynamo_backend "
        "torch_compile_learner_dynamo_mode",
    ),
}  # fmt: skip

_DERIVED = {
    **_derived("the rate follows a schedule by stage; set lr_shared.initial (shared policy) and "
               "lr_cal.initial (calibrator)", "lr"),
    **_derived("a stage is num_particles whole episodes; set num_particles and, for the size of "
               "a gradient step, minibatch_size",
               "train_batch_size train_batch_size_per_learner"),
    **_derived("a runner's particles share its slots; set num_particles and num_env_runners",
               "num_envs_per_env_runner"),
    **_derived("particles play whole episodes; leave it out", "batch_mode rollout_fragment_length"),
    **_derived("it follows from `sampling` (arrays, episodes, auto); set that",
               "env_runner_cls add_default_connectors_to_learner_pipeline"),
    **_derived("learning rates by stage and exact resumption need its own learner; leave it out "
               "and use callbacks, rl_module_spec or the fields of PPO's loss", "learner_class"),
    **_derived("all agents use the one shared policy, or that of their supertype by `policy_of`; "
               "leave it out", "policy_mapping_fn"),
    **_derived("only RLlib sets it; leave it out", "simple_optimizer in_evaluation"),
}  # fmt: skip
# Both are kept under private names, and RLlib writes the last one in its own `validate()`.
for _name in ("learner_class", "train_batch_size_per_learner"):
    _DERIVED[_name] = replace(_DERIVED[_name], stored_as=STORED_AS[_name])
_DERIVED["simple_optimizer"] = replace(_DERIVED["simple_optimizer"], allowed=BOOLEANS)

_OLD_STACK = "RLlib's new API stack, on which CALSHEQ runs, ignores it: leave it out"
_TENSORFLOW = "CALSHEQ runs on PyTorch: leave it out"
_OFFLINE = "CALSHEQ samples its own episodes and neither reads nor writes data sets: leave it out"
_EVALUATION = (
    "the env runners of RLlib's evaluation get no supertypes: leave it out and use `calsheq "
    "evaluate`, which works while the run goes on, too"
)
_ONE_POLICY = (
    "CALSHEQ trains exactly one policy, which all agents share, or one for each class of "
    "supertypes by `policy_of`: leave it out"
)
_ONE_STAGE = "a training iteration is exactly one stage: leave it out"
_LOCKSTEP = "all env runners and learners work in lockstep, once a stage: leave it out"

_REFUSED = {
    **_refused("networks are set by `model_config` on RLlib's new API stack, on which CALSHEQ "
               "runs: write these fields under model_config", "model"),
    **_refused("GPUs are given to learners: set num_gpus_per_learner", "num_gpus"),
    **_refused("Adam is the only optimizer; its rate is lr_shared: leave it out",
               "optimizer lr_schedule"),
    **_refused("a schedule goes into entropy_coeff itself", "entropy_coeff_schedule"),
    **_refused("advantages are always estimated with the critic, by GAE: leave it out",
               "use_gae use_critic"),
    **_refused(_ONE_POLICY, "policies policies_to_train policy_map_capacity count_steps_by "
               "policy_states_are_swappable observation_fn algorithm_config_overrides_per_module"),
    **_refused("only RLlib's new API stack with PyTorch runs CALSHEQ: leave it out",
               "enable_rl_module_and_learner enable_env_runner_and_connector_v2 framework_str"),
    **_refused("spaces are read off the environment: leave it out",
               "observation_space action_space"),
    **_refused("it is up to the environment here: do it there",
               "observation_filter clip_rewards preprocessor_pref render_env action_mask_key"),
    **_refused("supertypes are set on environments in the runner's own process: leave it out",
               "gym_env_vectorize_mode remote_worker_envs remote_env_batch_wait_ms "
               "restart_failed_sub_environments"),
    **_refused("the local env runner holds the spaces: leave it out", "create_local_env_runner"),
    **_refused("weights are sent to the env runners, with the supertypes: leave it out",
               "use_env_runner_state_server env_runner_state_server_max_concurrency"),
    **_refused(_LOCKSTEP, "max_requests_in_flight_per_env_runner num_aggregator_actors_per_learner "
               "max_requests_in_flight_per_aggregator_actor max_requests_in_flight_per_learner"),
    **_refused(_ONE_STAGE, "min_time_s_per_iteration min_train_timesteps_per_iteration "
               "min_sample_timesteps_per_iteration"),
    **_refused("only a learner class of your own would read it: leave it out",
               "learner_config_dict"),
    **_refused("stages' reports need RLlib's own statistics: leave it out", "stats_cls_lookup"),
    **_refused("only training's forward passes can be compiled: set torch_compile_learner",
               "torch_compile_worker torch_compile_worker_dynamo_backend "
               "torch_compile_worker_dynamo_mode"),
    **_refused(_TENSORFLOW, "eager_tracing eager_max_retraces tf_session_args "
               "local_tf_session_args enable_tf1_exec_eagerly"),
    **_refused(_EVALUATION, """
        evaluation_interval evaluation_duration evaluation_duration_unit
        evaluation_sample_timeout_s evaluation_auto_duration_min_env_steps_per_sample
        evaluation_auto_duration_max_env_steps_per_sample evaluation_parallel_to_training
        evaluation_unhealthy_workers_timeout_s evaluation_error_after_n_consecutive_skips
        evaluation_force_reset_envs_before_iteration evaluation_config
        evaluation_num_env_runners custom_evaluation_function off_policy_estimation_methods
        ope_split_batch_by_episode callbacks_on_evaluate_start callbacks_on_evaluate_end
        evaluation_num_episodes always_attach_evaluation_results enable_async_evaluation
        custom_async_evaluation_function input_evaluation"""),
    **_refused(_OFFLINE, """
        input_ offline_data_class input_read_method input_read_method_kwargs input_read_schema
        input_read_episodes input_read_sample_batches input_read_batch_size input_filesystem
        input_filesystem_kwargs input_compress_columns input_spaces_jsonable materialize_data
        materialize_mapped_data map_batches_kwargs iter_batches_kwargs ignore_final_observation
        prelearner_class prelearner_buffer_class prelearner_buffer_kwargs
        prelearner_module_synch_period prelearner_use_recorded_module_states
        dataset_num_iters_per_learner input_config actions_in_input_normalized postprocess_inputs
        shuffle_buffer_size output output_config output_compress_columns output_max_file_size
        output_max_rows_per_file output_write_remaining_data output_write_method
        output_write_method_kwargs output_filesystem output_filesystem_kwargs
        output_write_episodes offline_sampling offline_evaluation_interval
        num_offline_eval_runners offline_evaluation_type offline_eval_runner_class
        offline_loss_for_module_fn offline_evaluation_duration
        offline_evaluation_parallel_to_training offline_evaluation_timeout_s
        num_cpus_per_offline_eval_runner num_gpus_per_offline_eval_runner
        custom_resources_per_offline_eval_runner restart_failed_offline_eval_runners
        ignore_offline_eval_runner_failures max_num_offline_eval_runner_restarts
        offline_eval_runner_restore_timeout_s max_requests_in_flight_per_offline_eval_runner
        validate_offline_eval_runners_after_construction
        offline_eval_runner_health_probe_timeout_s offline_eval_rl_module_inference_only
        broadcast_offline_eval_runner_states offline_eval_batch_size_per_runner
        dataset_num_iters_per_eval_runner callbacks_on_offline_eval_runners_recreated
        callbacks_on_evaluate_offline_start callbacks_on_evaluate_offline_end"""),
    **_refused(_OLD_STACK, """
        exploration_config extra_python_environs_for_driver extra_python_environs_for_worker
        compress_observations sample_collector update_worker_filter_stats
        use_worker_filter_stats sampler_perf_stats_ema_coef
        sync_filters_on_rollout_workers_timeout_s keep_per_episode_custom_metrics
        metrics_episode_collection_timeout_s export_native_model_files
        checkpoint_trainable_policies_only log_sys_usage fake_sampler env_task_fn
        enable_connectors monitor metrics_smoothing_episodes timesteps_per_iteration
        min_iter_time_s collect_metrics_timeout min_time_s_per_reporting
        min_train_timesteps_per_reporting min_sample_timesteps_per_reporting policy_map_cache
        worker_cls synchronize_filters auto_wrap_old_gym_envs buffer_size prioritized_replay
        learning_starts replay_batch_size replay_sequence_length replay_mode
        prioritized_replay_alpha prioritized_replay_beta prioritized_replay_eps
        vf_share_layers"""),
    **_refused("it is called minibatch_size now: set that", "sgd_minibatch_size"),
}  # fmt: skip

_REFUSED["policies"] = replace(
    _REFUSED["policies"], allowed=Allowed("the shared policy", _is_shared_policy_alone)
)
_REFUSED["policies_to_train"] = replace(
    _REFUSED["policies_to_train"], allowed=Allowed("the shared policy", _trains_the_shared_policy)
)

#: Every public field of `PPOConfig`, and the settings that it keeps under private names.
FIELDS: dict[str, Field] = {**_HONOURED, **_HONOURED_ON_EPISODES, **_DERIVED, **_REFUSED}
