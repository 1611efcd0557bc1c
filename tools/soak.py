"""A long run that is killed now and then: nothing is mistaken or lost, and memory does not grow.

    python tools/soak.py                          # 2,000 stages, some 10 minutes on 2 cores
    python tools/soak.py --stages 300 --kills 2

An environment whose outcomes are its own supertypes, two env runners, and a calibrator that stops
the run if a particle is given an outcome that is not its own. In the first half of the stages the
driver gets SIGKILL at random moments, by seed, and is resumed; in all of them env runners do.
Memory is that of the trial's process in the second half, which no driver is killed in: its growth
from the first fifth of that half to the last.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import statistics
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import yaml

ROOT = Path(__file__).resolve().parent.parent
#: Where the environment, the calibrator and what kills commands are found.
FOLDERS = [str(ROOT / "tests"), str(ROOT / "tools")]
sys.path[:0] = FOLDERS

from killable_commands import kill_once, rows, stages, start  # noqa: E402

from rllib_calsheq.calibrators.ppo.calibrator import PPOCalibrator  # noqa: E402

#: Seconds between two looks at the run, and between two kills of an env runner on average.
LOOK_EVERY_S, RUNNER_KILLED_EVERY_S = 1.0, 40.0


class CheckedCalibrator(PPOCalibrator):
    """Learns only from outcomes that are the particles' own."""

    def _learn(self, particles: Any, rewards: Any, outcomes: Any) -> Any:
        np.testing.assert_allclose(outcomes[:, :3], self.profiles[particles], atol=1e-12)
        return super()._learn(particles, rewards, outcomes)


def experiment(num_stages: int) -> dict[str, Any]:
    """The run, as an experiment file holds it."""
    return {
        "run": "CALSHEQ",
        "env": "echo_env.EchoEnv",
        "stop": {"training_iteration": num_stages},
        "checkpoint_config": {"checkpoint_frequency": 10, "num_to_keep": 3},
        "config": {
            "targets": {"only.a": 0.9, "only.b": 0.2},
            "calibrator": {"name": "soak.CheckedCalibrator"},
            "num_particles": 16,
            "num_env_runners": 2,
            "minibatch_size": 64,
            "sample_timeout_s": 10,
            "seed": 0,
        },
    }


def processes(ray_folder: str, name: bytes) -> list[int]:
    """Processes of this run's Ray whose title begins with a name."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            mine = f"RAY_TMPDIR={ray_folder}".encode() in (entry / "environ").read_bytes()
            if mine and (entry / "cmdline").read_bytes().startswith(name):
                found.append(int(entry.name))
    return found


def memory(pid: int) -> float:
    """Resident memory of a process in MiB."""
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


class Soak:
    """A run under way.

    Args:
        trial: Its trial's folder.
        ray_folder: Where its Ray lives.
        rng: What is killed when.
    """

    def __init__(self, trial: Path, ray_folder: str, rng: random.Random) -> None:
        self.trial, self.ray_folder, self.rng = trial, ray_folder, rng
        self.runners_killed = 0
        self.memory: list[tuple[int, float]] = []

    def stage(self) -> int:
        """The last stage of which there is a result."""
        return max(stages(self.trial), default=0)

    def look(self) -> None:
        """Now and then kills an env runner; notes the memory of the trial's process."""
        time.sleep(LOOK_EVERY_S)
        runners = processes(self.ray_folder, b"ray::ArrayEnvRunner")
        if runners and self.rng.random() < LOOK_EVERY_S / RUNNER_KILLED_EVERY_S:
            with suppress(ProcessLookupError):
                os.kill(self.rng.choice(runners), signal.SIGKILL)
                self.runners_killed += 1
        with suppress(OSError):
            for pid in processes(self.ray_folder, b"ray::CALSHEQ"):
                self.memory.append((self.stage(), memory(pid)))


def growth(noted: list[tuple[int, float]], first: int, last: int) -> dict[str, float]:
    """Medians of the memory in the first and last fifth of some stages, and its growth in %."""
    fifth = (last - first) / 5
    early = statistics.median(m for s, m in noted if first <= s <= first + fifth)
    late = statistics.median(m for s, m in noted if s >= last - fifth)
    return {"mib_early": early, "mib_late": late, "growth_percent": 100 * (late / early - 1)}


def main() -> int:
    """Returns 0 if nothing was mistaken or lost and memory grew by less than 5 %."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--stages", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=6, help="of the driver, in the first half")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    kill_at = sorted(rng.sample(range(5, args.stages // 2), args.kills))
    os.environ["PYTHONPATH"] = os.pathsep.join([*FOLDERS, os.environ.get("PYTHONPATH", "")])
    # Ray's sockets want a short path.
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory(prefix="sk") as ray:
        file = Path(folder) / "soak.yaml"
        file.write_text(yaml.safe_dump({"soak": experiment(args.stages)}), encoding="utf-8")
        train: list[Any] = ["train", "-f", file, "--storage-path", folder]
        soak = Soak(Path(folder) / "soak" / "trial_00000", ray, rng)

        def reached(stage: int) -> bool:
            soak.look()
            return soak.stage() >= stage

        for k, stage in enumerate(kill_at):
            command = start("rllib", train + (["--resume"] if k else []), ray)
            kill_once(command, lambda stage=stage: reached(stage), ray)
            print(f"driver killed at stage {soak.stage()} (asked for {stage})", flush=True)
        soak.memory.clear()
        command = start("rllib", [*train, "--resume"] if kill_at else train, ray)
        # Nobody else empties its pipes.
        threading.Thread(target=command.communicate, daemon=True).start()
        while command.poll() is None:
            soak.look()
        written = rows(soak.trial)
    half = args.stages // 2
    numbers = [row["calibration"] for row in written]
    found = {
        "stages": len({row["training_iteration"] for row in written}),
        "driver_kills": len(kill_at),
        "env_runner_kills": soak.runners_killed,
        "exit_code": command.returncode,
        "stages_with_masked_particles": sum(n["num_particles"] < 16 for n in numbers),
        "stale_reports_left_out": sum(n["stale_reports"] for n in numbers),
        **growth(soak.memory, half, args.stages),
    }
    print(json.dumps(found))
    return 0 if command.returncode == 0 and found["growth_percent"] < 5 else 1


if __name__ == "__main__":
    sys.exit(main())
