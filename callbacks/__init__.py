"""RLlib callbacks that host a calibrator."""

if __name__ != "rllib_calsheq.callbacks":
    raise ImportError(
        "this folder is the package `rllib_calsheq.callbacks`, but it was imported as "
        f"`{__name__}`: install the project (`pip install -e .`) and import "
        "`rllib_calsheq.callbacks` instead, so that there is one copy of every class"
    )

from rllib_calsheq.callbacks.calibration import CalibrationCallback

__all__ = ["CalibrationCallback"]
