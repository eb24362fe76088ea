"""Ops: how a sequence is run. One op a folder, one backend a file, each equal to its `reference.py`."""

from fastweights.errors import UnsupportedBackend
from fastweights.ops.fast_weights_rnn import fast_weights_rnn
from fastweights.ops.fast_weights_scan import fast_weights_scan
from fastweights.ops.past import PastState
from fastweights.ops.state import FastWeightsState
from fastweights.rules import ScanState

__all__ = ["FastWeightsState", "PastState", "ScanState", "UnsupportedBackend", "fast_weights_rnn", "fast_weights_scan"]
