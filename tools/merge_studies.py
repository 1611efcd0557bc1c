"""Makes one study's tables and figures of those of several, as of one that was run in pieces.

How to run: python tools/merge_studies.py FOLDER FOLDER ... -o FOLDER [--seeds N] [--every STAGES]

Each folder holds what `calsheq experiment -o FOLDER` writes. Of runs that several have, that of the
first counts. `--every` keeps only each so-manieth stage in stages.csv and parameters.csv, which are
large; the figures of final.csv were made from all of them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from rllib_calsheq.core.files import replacing, write_text
from rllib_calsheq.experiments import tables
from rllib_calsheq.experiments.figures import draw_all
from rllib_calsheq.experiments.final_figures import KEY
from rllib_calsheq.experiments.summary import summary


def merged(folders: list[Path], file: str, keys: list[str]) -> pd.DataFrame:
    """The rows of a table of all folders; of rows with the same keys the first."""
    frames = [pd.read_csv(folder / file) for folder in folders]
    return pd.concat(frames, ignore_index=True).drop_duplicates(keys)


def main() -> None:
    """Reads the folders that the command line names, and writes the one that it asks for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--seeds", type=int, help="seeds 0 to N-1 alone")
    parser.add_argument("--every", type=int, default=1, help="stages between two that are kept")
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    run, stage = list(KEY), [*KEY, "stage"]
    found = {
        tables.FINAL: merged(args.folders, tables.FINAL, run),
        tables.RECOVERY: merged(args.folders, tables.RECOVERY, stage),
        tables.STAGES: merged(args.folders, tables.STAGES, stage),
        tables.PARAMETERS: merged(args.folders, tables.PARAMETERS, stage),
        tables.GOALS: merged(args.folders, tables.GOALS, ["setting", "kind", "name"]),
    }
    for file in (tables.STAGES, tables.PARAMETERS):
        frame = found[file]
        found[file] = frame[(frame["stage"] % args.every == 0) | (frame["stage"] == 1)]
    for file, frame in found.items():
        if args.seeds is not None and "seed" in frame:
            frame = frame[frame["seed"] < args.seeds]
        if "calibrator" in frame:
            frame = frame.sort_values([k for k in stage if k in frame], kind="stable")
        with replacing(args.output / file) as path:
            frame.to_csv(path, index=False, float_format=tables.NUMBER_FORMAT)
    final = pd.read_csv(args.output / tables.FINAL)
    measured = sorted(found[tables.RECOVERY]["stage"].unique())
    write_text(
        args.output / tables.SUMMARY, summary(final, int(final["stages"].max()), int(measured[0]))
    )
    for path in draw_all(args.output):
        print(f"drew {path}")


if __name__ == "__main__":
    main()
