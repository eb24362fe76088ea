from dataclasses import dataclass
from pathlib import Path

import tyro

from fastweights.commands.parsing import MaybePath, parse


@dataclass(frozen=True)
class Plot:
    """Draw the metric, loss and gradient norm of runs against updates, as PNG and SVG.

    Runs that differ by their seed alone are one curve, their mean, with a band.
    """

    runs: tyro.conf.Positional[tuple[Path, ...]] = (Path("runs"),)
    """Run folders, or folders of run folders."""
    output: MaybePath = None
    """Where the figures go; none: `figures` in the first folder named."""
    tensorboard: tyro.conf.FlagCreatePairsOff[bool] = False
    """Write the metrics for TensorBoard, too: `tensorboard --logdir runs/figures/tensorboard` shows them."""


def main(arguments: list[str]) -> None:
    options = parse(Plot, arguments, "fastweights plot")

    from fastweights.errors import plain
    from fastweights.files import FileError, check_folder
    from fastweights.plotting import plot_runs
    from fastweights.tensorboard import summary_writer, write_events
    from fastweights.training.run_folder import find_runs

    roots = options.runs or (Path("runs"),)
    for root in roots:
        if not find_runs(root):
            raise FileError(f"{root}: got no run there, wanted a run folder or a folder of them (`fastweights train`)")
    folders = [folder for root in roots for folder in find_runs(root)]
    output = options.output or roots[0] / "figures"
    if options.output is None:
        check_folder(output)
    if options.tensorboard:
        summary_writer()  # before anything is written
    written = plot_runs(folders, output)
    if options.tensorboard:
        written += write_events(folders, output / "tensorboard")
    for path in written:
        print(plain(str(path)))
