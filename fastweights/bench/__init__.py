"""What fast weights cost beside `nn.LSTM` and `nn.GRU`: `bench()` measures, and returns one record a number."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fastweights.bench.settings import DecodeSettings, Record, ScanSettings, Settings

if TYPE_CHECKING:
    from fastweights.bench.curves import curve
    from fastweights.bench.decoding import bench_decoding
    from fastweights.bench.machine import describe_machine
    from fastweights.bench.measure import bench
    from fastweights.bench.scan import bench_scan

__all__ = [
    "DecodeSettings",
    "Record",
    "ScanSettings",
    "Settings",
    "bench",
    "bench_decoding",
    "bench_scan",
    "curve",
    "describe_machine",
]

_HOME = {
    "bench": "measure",
    "bench_decoding": "decoding",
    "bench_scan": "scan",
    "curve": "curves",
    "describe_machine": "machine",
}


def __getattr__(name: str) -> Any:  # the settings are options of the command line, whose --help waits for no torch
    if name not in _HOME:
        raise AttributeError(f"module 'fastweights.bench' has no attribute {name!r}")
    return getattr(import_module(f"fastweights.bench.{_HOME[name]}"), name)
