"""The process of one run: `python -P .../jobs/start.py JOB PARENT`, a JSON text and the number of the process to tell.

It imports the very package that this file lies in, whatever else the path has. Signals are taken before torch comes.
"""

import os
import sys
from importlib.util import module_from_spec, spec_from_file_location


def import_package_of(file: str) -> None:
    """The package `fastweights` that a file of `fastweights/jobs` belongs to."""
    folder = os.path.dirname(os.path.dirname(os.path.abspath(file)))
    spec = spec_from_file_location("fastweights", os.path.join(folder, "__init__.py"))
    assert spec is not None and spec.loader is not None
    package = sys.modules["fastweights"] = module_from_spec(spec)
    spec.loader.exec_module(package)


if __name__ == "__main__":
    import_package_of(__file__)
    from fastweights.process import search_path, signals, streams

    search_path.leave_out_current_folder()
    heard = signals.watched(int(sys.argv[2]))
    streams.begin()
    from fastweights.jobs.worker import main
    from fastweights.process.codes import STOPPED

    heard.code = main(sys.argv[1], heard)
    if heard.code == STOPPED:
        streams.leave(STOPPED)
    sys.exit(heard.code)
