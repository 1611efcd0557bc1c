"""RLlib callbacks that host a calibrator; each name is loaded when it is first asked for."""

from typing import TYPE_CHECKING

from rllib_calsheq.core.lazy import lazy_names

if __name__ != "rllib_calsheq.callbacks":
    raise ImportError(
        "this folder is the package `rllib_calsheq.callbacks`, but it was imported as "
        f"`{__name__}`: install the project (`pip install -e .`) and import "
        "`rllib_calsheq.callbacks` instead, so that there is one copy of every class"
    )

if TYPE_CHECKING:
    from rllib_calsheq.callbacks.calibration import CalibrationCallback

__all__ = ["CalibrationCallback"]

__getattr__, __dir__ = lazy_names(__name__, {"CalibrationCallback": "calibration"})
