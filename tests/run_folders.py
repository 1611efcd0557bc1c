"""Folders of runs as they are left on disk, made without running anything."""

import json
import pickle

import numpy as np

from rllib_calsheq.core.stages import STATE_FORMAT
from rllib_calsheq.results.checkpoints import CALIBRATION_STATE
from rllib_calsheq.results.provenance import record_start

NAMES = ("s_1.rate_1", "s_1.rate_2", "s_2.cost")
OUTCOMES = {"share": (0.3, 0.05), "s_2.volume": (20.0, 5.0)}


def write(file, content):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content), encoding="utf-8")


def make_run(folder, *, seed=0, stages=30, off=0.0, evaluated=True, **config):
    """A run of one trial; its outcomes end ``off`` scales from their targets. Returns the trial."""
    trial = folder / "trial_00000"
    rng = np.random.default_rng(seed)
    targets = {name: {"value": value, "scale": s} for name, (value, s) in OUTCOMES.items()}
    params = {"env": "my_module.MyEnv", "seed": seed, "targets": {"targets": targets}, **config}
    write(trial / "params.json", params)
    lines = [json.dumps(row(m, stages, off, rng)) for m in range(1, stages + 1)]
    (trial / "result.json").write_text("\n".join(lines) + "\n", encoding="utf-8")
    write(trial / "checkpoint_000000" / "manifest.json", manifest(stages))
    write(trial / "checkpoint_000000" / "rllib_checkpoint.json", {})
    if evaluated:
        write(trial / "evaluation.json", evaluation(stages, off))
    return trial


def add_particles(trial, profiles, format=STATE_FORMAT):
    """Writes the particles (B, 3) of the checkpoint, as a calibration's state holds them."""
    state = {"format": format, "parameters": list(NAMES), "calibrator": {"profiles": profiles}}
    state["calibrator"] |= {"stage": 30, "answered": True}
    file = trial / "checkpoint_000000" / CALIBRATION_STATE
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(pickle.dumps(state))


def change_start(trial, parameter, start):
    """Changes Λ_0 of the checkpoint."""
    file = trial / "checkpoint_000000" / "manifest.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    content["run"]["parameters"][parameter]["start"] = start
    write(file, content)


def row(stage, stages, off, rng):
    """A result of a stage, as Tune writes it."""
    left = np.exp(-8.0 * stage / stages)
    outcomes = {
        name: {"mean": value + scale * (off + 3.0 * left + 0.01 * rng.normal()), "std": scale}
        for name, (value, scale) in OUTCOMES.items()
    }
    profile = {n: {"mean": 0.5 + 0.3 * (1 - left), "std": 0.2 * left} for n in NAMES}
    judged = {n: (outcomes[n]["mean"] - value) / s for n, (value, s) in OUTCOMES.items()}
    targets = {
        n: {"value": OUTCOMES[n][0], "miss": float(abs(miss)), "met": bool(abs(miss) <= 0.25)}
        for n, miss in judged.items()
    }
    calibration = {
        "stage": stage, "num_particles": 8, "reward_mean": 0.8 - 0.5 * left, "reward_std": 0.1,
        "reward_pooled": 0.95 - 0.5 * left, "worst_miss": abs(off) + 3.0 * left, "targets_met": 2,
        "num_targets": 2, "worst_target": "share", "targets": targets,
        "stages_all_met": 5, "dropped_episodes": 0, "stale_reports": 0, "outcomes": outcomes,
        "profile": profile, "returns": {s: {"mean": 1.0, "std": 0.1} for s in ("s_1", "s_2")},
    }  # fmt: skip
    return {
        "training_iteration": stage, "calibration": calibration, "time_total_s": 2.0 * stage,
        "date": "2026-01-01_00-00-00", "hostname": "secret-host", "node_ip": "192.0.2.77",
    }  # fmt: skip


def manifest(stages):
    """The manifest of a checkpoint."""
    run = {
        "environment": "my_module.MyEnv", "calibrator": "ppo", "num_particles": 8,
        "parameters": {name: {"low": 0.0, "high": 2.0, "start": 0.5} for name in NAMES},
        "outcomes": [*OUTCOMES, "s_1.reward", "s_2.reward"],
        "targets": {n: {"value": v, "scale": s, "weight": 0.5} for n, (v, s) in OUTCOMES.items()},
    }  # fmt: skip
    return {
        "format": 1,
        "made_by": {"rllib-calsheq": "0.1"},
        "stage": stages,
        "run": run,
        "files": {},
    }


def evaluation(stages, off):
    """What `evaluate` writes."""
    met = abs(off) <= 0.25
    outcomes = [
        {
            "name": name, "value": value + off * scale, "stderr": 0.01 * scale, "median": value,
            "target": value, "scale": scale, "tolerance": 0.25, "miss": abs(off), "met": met,
        }
        for name, (value, scale) in OUTCOMES.items()
    ]  # fmt: skip
    count = 2 * met
    verdict = {
        "targets_met": count, "num_targets": 2, "worst_target": "share", "worst_miss": abs(off),
        "rms_miss": abs(off), "summary": f"{count} of 2 targets met",
    }  # fmt: skip
    every = [
        {"name": n, "description": "what it is", "value": 1.5, "stderr": 0.1, "median": 1.4}
        for n in ("share", "s_1.volume", "s_2.volume", "s_1.reward", "s_2.reward")
    ]
    shares = {
        "rows": ["s_1", "s_2"], "columns": ["small", "large"],
        "values": [[0.5, 0.25], [0.1, None]], "stderr": [[0.01, 0.01], [0.02, None]],
    }  # fmt: skip
    return {
        "breakdowns": {"share by size": shares},
        "stage": stages, "episodes": 512, "profile": dict.fromkeys(NAMES, 0.8), "reward": 0.8,
        "verdict": verdict, "at_bounds": {"s_2.cost": 0.0}, "outcomes": outcomes,
        "every_outcome": every, "environment": {"agents": 5, "episode_length": 60},
    }  # fmt: skip


def add_inference(trial, **changes):
    """Writes an inference beside the checkpoint; returns its content."""
    parameters = [
        {
            "name": name, "median": 0.8, "intervals": [[0.7, 0.9], [0.6, 1.0]], "knowledge": known,
            "width": 0.3, "prior": [0.1, 1.9], "calibrated": 0.8, "true": None,
        }
        for name, known in zip(NAMES, ("pinned down", "free", "bounded from below"), strict=True)
    ]  # fmt: skip
    targets = [{"name": n, "scale": s, "out_of_reach": False} for n, (_, s) in OUTCOMES.items()]
    bands = [[0.28, 0.32], [0.25, 0.35]]
    predictions = [
        {"name": n, "target": OUTCOMES.get(n, [None])[0], "median": 0.3, "intervals": bands}
        for n in (*OUTCOMES, "s_1.reward")
    ]
    content = {
        "parameters": parameters, "targets": targets, "predictions": predictions, "stage": 30,
        "in_words": ["Pinned down: s_1.rate_1."], "file": "inference_seed=0_abc.json", **changes,
    }  # fmt: skip
    write(trial / "certificate" / "checkpoint_000000" / content["file"], content)
    return content


def gain(value, low, high):
    """A gain as certificates hold it."""
    shares = {"relative_epsilon": value / 50, "relative_epsilon_low": low / 50}
    return {
        "gain": value, "low": low, "high": high, "epsilon": value, "value": 50.0, **shares,
        "relative_epsilon_high": high / 50,
    }  # fmt: skip


def add_certificate(trial, gap=-0.03):
    """Writes a certificate beside the checkpoint; returns its content."""
    lag = {
        "gap": gap, "gap_stderr": 0.004, "reward_before": 0.8, "reward_after": 0.8 + gap,
        "outcomes": [{"name": "share", "before": 0.31, "after": 0.29, "target": 0.3}],
    }  # fmt: skip
    budget = {
        "deviators": 4, "training_episodes": 512, "untrained_deviations": 60,
        "settling_stages": 20,
    }  # fmt: skip
    content = {
        **gain(0.5, 0.25, 0.75), "per_supertype": {"s_1": gain(0.6, 0.1, 1.1)},
        "kinds": {"shared": {"name": "trained, from the shared policy", **gain(0.5, 0.2, 0.8)},
                  "constant": {"name": "constant actions", **gain(-90.0, -95.0, -85.0)}},
        "stage": 30, "agents": 5, "lag": lag, "budget": budget, "statement": "No deviation ...",
    }  # fmt: skip
    write(trial / "certificate" / "checkpoint_000000" / "certificate_abc.json", content)
    return content


def full_run(folder):
    """A run with everything that there can be."""
    trial = make_run(folder)
    add_inference(trial)
    add_certificate(trial)
    record_start(folder, "rllib train -f my.yaml --set 'config.seed=0'")
    return folder
