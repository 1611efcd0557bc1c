"""Runs that wait: what a trial wants, what the cluster has, and what to do about it."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import ray
from ray.tune import Callback
from ray.util import placement_group_table

#: Seconds without a running trial after which the wait is spoken of, and between two lines.
SAY_AFTER_S, SAY_EVERY_S = 20.0, 180.0


class SaysWhatIsWaitedFor(Callback):
    """Prints a line when no trial runs since the cluster has no place for one."""

    def __init__(self) -> None:
        self._say_at: float | None = None

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Looks whether it is time for a line."""
        pending = [trial for trial in trials if trial.status == trial.PENDING]
        now = time.monotonic()
        if not pending or any(trial.status == trial.RUNNING for trial in trials):
            self._say_at = None
        elif self._say_at is None:
            self._say_at = now + SAY_AFTER_S
        elif now >= self._say_at:
            # A trial that has its place may still take long to start: its packages, its actors.
            waits = any(g["state"] == "PENDING" for g in placement_group_table().values())
            self._say_at = now + (SAY_EVERY_S if waits else SAY_AFTER_S)
            if waits:
                wanted = pending[0].placement_group_factory.required_resources
                has, free = ray.cluster_resources(), ray.available_resources()
                print(waiting_line(wanted, has, free, pending[0].config), flush=True)


def waiting_line(
    wanted: Mapping[str, float],
    has: Mapping[str, float],
    free: Mapping[str, float],
    config: Mapping[str, Any],
) -> str:
    """What a trial waits for, and what helps.

    Args:
        wanted: Resources of the trial, ``{name: number}``.
        has: All resources of the cluster.
        free: Those of them that are not in use.
        config: The trial's configuration.
    """
    short = [name for name, number in wanted.items() if free.get(name, 0.0) < number]
    on_no_node = not short
    short = short or ["CPU"]
    wants = " and ".join(_count(wanted.get(name, 0.0), name) for name in short)
    there = " and ".join(
        f"{has.get(name, 0.0):g} {f'{name}s ' if len(short) > 1 else ''}in all, "
        f"{free.get(name, 0.0):g} free"
        for name in short
    )
    if on_no_node:
        advice = "no node has room for one of its processes: add larger nodes, or wait for one"
    elif all(has.get(name, 0.0) >= wanted.get(name, 0.0) for name in short):
        advice = "it starts when others that use them are done"
    else:
        advice = "add nodes"
    fewer = _env_runners_that_fit(wanted, has, config)
    if fewer is not None:
        advice += f", or set config.num_env_runners to {fewer}"
    return f"waiting for resources: a trial wants {wants}; the cluster has {there}: {advice}"


def _count(number: float, name: str) -> str:
    return f"{number:g} {name}{'' if number == 1 else 's'}"


def _env_runners_that_fit(
    wanted: Mapping[str, float], has: Mapping[str, float], config: Mapping[str, Any]
) -> int | None:
    """The number of env runners for which the cluster's CPUs do; None if fewer do not help."""
    runners = int(config.get("num_env_runners") or 0)
    each = float(config.get("num_cpus_per_env_runner") or 1)
    rest = wanted.get("CPU", 0.0) - runners * each
    fit = math.floor((has.get("CPU", 0.0) - rest) / each)
    return fit if 0 <= fit < runners else None
