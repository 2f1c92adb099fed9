"""Trackers by name: TensorBoard, Weights & Biases, trackio and MLflow, each through its own library.

They are copies: `metrics.jsonl` and `samples.jsonl` are complete without them. A tracker's library is imported when the
run starts, and only if it was asked for.
"""

from burnish.run.trackers.interface import Place, Tracker
from burnish.run.trackers.names import TRACKERS, check_installed, tracker_names
from burnish.run.trackers.sending import Trackers

__all__ = ["TRACKERS", "Place", "Tracker", "Trackers", "check_installed", "tracker_names"]
