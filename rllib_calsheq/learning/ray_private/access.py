"""What Ray keeps to itself, under names of ours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from ray.rllib.algorithms.ppo.torch.default_ppo_torch_rl_module import (
    DefaultPPOTorchRLModule,
)
from ray.rllib.core.models.torch.encoder import TorchActorCriticEncoder, TorchMLPEncoder
from ray.rllib.core.models.torch.heads import TorchFreeLogStdMLPHead, TorchMLPHead
from ray.rllib.execution.rollout_ops import synchronous_parallel_sample
from ray.tune import Checkpoint
from ray.tune.trainable.trainable import _TrainingResult

from rllib_calsheq.learning.ray_private.names import STORED_AS

Pass = Callable[[dict[str, Any]], dict[str, Any]]


def sampling_pass(module: Any, explore: bool = True) -> Pass:
    """The forward pass of a module, from columns to columns.

    Unlike ``forward_exploration()`` and ``forward_inference()`` it does not switch all of the
    module's parts to evaluation mode and back at every call: that is the caller's.
    """
    found: Pass = module._forward_exploration if explore else module._forward_inference
    return found


def training_pass(module: Any) -> Pass:
    """The forward pass of a module in training, from columns to columns."""
    found: Pass = module._forward_train
    return found


def free_log_std(module: Any) -> Any:
    """The parameter that is the logarithm of a policy's standard deviation in all states.

    None for a policy that has no such parameter.
    """
    return getattr(module.pi, "log_std", None)


def networks_of(module: Any, network: Literal["policy", "value"]) -> list[Any]:
    """The two parts of a PPO module's network, encoder and head, each the layers in their order.

    Empty for another module than RLlib's own, for a network that is not an encoder and a head of
    dense layers, and for a value network that shares its encoder with the policy.
    """
    encoder: Any = getattr(module, "encoder", None)
    if type(module) is not DefaultPPOTorchRLModule or type(encoder) is not TorchActorCriticEncoder:
        return []
    if network == "policy":
        part = encoder.encoder if encoder.config.shared else encoder.actor_encoder
        head = module.pi
    else:
        part = None if encoder.config.shared else encoder.critic_encoder
        head = module.vf
    if type(part) is not TorchMLPEncoder or type(head) not in (
        TorchMLPHead,
        TorchFreeLogStdMLPHead,
    ):
        return []
    return [part.net.mlp, head.net.mlp]


def layers_of(module: Any, network: Literal["policy", "value"]) -> list[Any]:
    """The layers of a PPO module's network, first to last; empty where `networks_of` is."""
    return [layer for part in networks_of(module, network) for layer in part]


def log_std_of(module: Any) -> tuple[Any, float]:
    """A Gaussian policy's `free_log_std`, and what logarithms of its standard deviations are
    clipped to, on both sides."""
    head = module.pi
    limit = float(head.log_std_clip_param) if head.clip_log_std else float("inf")
    return free_log_std(module), limit


def no_idle_workers() -> dict[str, Any]:
    """Arguments of ``ray.init()`` for a Ray that starts no process before something runs in it.

    Tune's trials run in processes of their own; those that Ray starts beforehand, one a CPU, would
    wait to the end, and cost a second of a core while all else starts.
    """
    off = ("prestart_worker_first_driver", "enable_worker_prestart")
    return {"_system_config": dict.fromkeys(off, False)}


def update_unreduced(learner: Any, **kwargs: Any) -> None:
    """``learner.update()`` that leaves its metrics where they can be peeked at."""
    learner.update(**kwargs, _no_metrics_reduce=True)


def sample_round(env_runner_group: Any) -> None:
    """One round of all env runners, as PPO's training step takes it."""
    synchronous_parallel_sample(
        worker_set=env_runner_group, _uses_new_env_runners=True, _return_metrics=True
    )


def watch_failures(group: Any, note: Callable[[int, Exception], None]) -> None:
    """Tells of what goes wrong in an actor of an env runner group, which RLlib only logs.

    Args:
        group: The env runner group.
        note: Called with the actor's worker index and Ray's error.
    """
    manager = group._worker_manager
    plain = manager.foreach_actor

    def noting(*args: Any, **kwargs: Any) -> Any:
        results = plain(*args, **kwargs)
        for result in results:
            if not result.ok:
                note(result.actor_id, result.get())
        return results

    manager.foreach_actor = noting


def stop_within(group: Any, seconds: float) -> None:
    """Stops the env runners of a group; those that do not answer in time are killed, too."""
    manager = group._worker_manager
    manager.foreach_actor(lambda runner: runner.stop(), healthy_only=False, timeout_seconds=seconds)
    manager.clear()


def stored(config: Any, name: str) -> Any:
    """The value of a configuration's field, as it was set."""
    return getattr(config, STORED_AS.get(name, name))


def store(config: Any, name: str, value: Any) -> None:
    """Sets a configuration's field."""
    setattr(config, STORED_AS.get(name, name), value)


def field_name(config: Any, key: str) -> str:
    """The name of the field that a key of an experiment file means."""
    return str(config._translate_special_keys(key, warn_deprecated=False))


def is_wanted(owner: Any, component: str, components: Any, not_components: Any) -> bool:
    """Whether a component is asked for by the arguments of ``get_state()``."""
    return bool(owner._check_component(component, components, not_components))


def build_anew(trainable: Any, config: dict[str, Any]) -> None:
    """Makes a trainable of Tune's one of another configuration, as if started afresh."""
    storage, trial_info = trainable._storage, trainable._trial_info
    trainable.cleanup()
    trainable.__init__(config=config, storage=storage)
    trainable._trial_info = trial_info


def replace_watchers(
    tuner: Any, callbacks: Sequence[Any], scheduler: Any, stop: dict[str, Any] | None = None
) -> None:
    """Gives a restored Tuner callbacks and a scheduler; its snapshot holds those of the run that
    stopped.

    Args:
        tuner: The Tuner.
        callbacks: The callbacks.
        scheduler: The scheduler.
        stop: When trials stop that are not made yet; None for what the snapshot says.
    """
    if stop is not None:
        tuner._local_tuner._run_config.stop = dict(stop)
    tuner._local_tuner._run_config.callbacks = list(callbacks)
    tuner._local_tuner._tune_config.scheduler = scheduler


def keep_checkpoints(trial: Any, is_kept: Callable[[Path], bool]) -> None:
    """Makes a trial of Tune's forget checkpoints, so that it goes on from its last other one.

    Args:
        trial: The trial; it has not started yet.
        is_kept: Whether a checkpoint in this folder is kept.
    """
    manager = trial.run_metadata.checkpoint_manager
    kept = [r for r in manager._checkpoint_results if is_kept(Path(r.checkpoint.path))]
    manager._checkpoint_results = kept
    latest = manager._latest_checkpoint_result
    if latest is not None and not is_kept(Path(latest.checkpoint.path)):
        # The last one that was made: a list may be in the order of a score.
        latest = max(kept, key=lambda r: r.checkpoint.path, default=None)
        manager._latest_checkpoint_result = latest


def add_checkpoint(trial: Any, folder: Path, result: dict[str, Any]) -> None:
    """Lets a trial of Tune's know of a later checkpoint, with the result of the same stage."""
    # Being told of it, the trial counts on by one; its next checkpoint has the next number.
    trial.storage.current_checkpoint_index = _number(folder) - 1
    trial.on_checkpoint(_TrainingResult(checkpoint=Checkpoint(str(folder)), metrics=result))


def number_after(trial: Any, folders: Sequence[Path]) -> None:
    """Makes a trial of Tune's number its next checkpoint after all of these."""
    last = max(map(_number, folders), default=-1)
    storage = trial.storage
    storage.current_checkpoint_index = max(storage.current_checkpoint_index, last)


def _number(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("_")[2])


def write_results_to(logger: Any, trial: Any, file: Path) -> None:
    """Makes Tune's JSON logger add a trial's results to another file than it opened."""
    logger._trial_files[trial].close()
    logger._trial_files[trial] = file.open("a", encoding="utf-8")
