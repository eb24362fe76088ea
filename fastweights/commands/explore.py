from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from fastweights.commands.parsing import MaybeOwn, MaybePath, parse

NAME = "explore.html"
MADE_HERE = b'<meta name="generator" content="fastweights">'


@dataclass(frozen=True)
class Explore:
    """Write a page on which one watches the memory work, and changes it.

    One HTML file that needs nothing else: the network runs in the page.

    Runs of one task are shown side by side.
    """

    runs: Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="RUN ...")] = (Path("runs"),)
    """Run folders, or folders of run folders."""
    output: MaybePath = None
    """The file; none: explore.html in the first folder named."""
    open: tyro.conf.FlagCreatePairsOff[bool] = False
    """Open it in the browser, too."""
    model: MaybeOwn = None
    """The network, where it is your own; none: that of the run."""
    task: MaybeOwn = None
    """The task, likewise."""


def main(arguments: list[str]) -> None:
    options = parse(Explore, arguments, "fastweights explore")

    import torch

    from fastweights import files
    from fastweights.errors import plain
    from fastweights.explorer.contents import contents
    from fastweights.explorer.packing import why_not
    from fastweights.explorer.page import page
    from fastweights.training.run_folder import find_runs
    from fastweights.training.trained import find, open_run

    torch.set_num_threads(1)
    roots = options.runs or (Path("runs"),)
    output = options.output or roots[0] / NAME
    check_output(output)
    folders = [folder for root in roots for folder in find_runs(root) or [find(root, options.model)]]
    opened = [open_run(folder, options.model, options.task, None) for folder in dict.fromkeys(folders)]
    runs = []
    for run in opened:
        reason = why_not(run.model) if run.folder not in roots and len(opened) > 1 else None
        if reason is None:  # what was named itself is refused instead, further on
            runs.append(run)
        else:
            print(plain(f"{run.folder}: left out: {reason}"))
    made = page(contents(runs or opened))
    files.write(output, made)
    where = output.resolve().as_uri()
    print(plain(f"{output}: open it in a browser, or go to {where}"))
    if options.open:
        import webbrowser

        webbrowser.open(where)


def check_output(path: Path) -> None:
    """Only a page that this command has written is written again."""
    from fastweights import files
    from fastweights.files import FileError

    if path.suffix.lower() not in (".html", ".htm"):
        raise FileError(f"--output {path}: wanted a name that ends in .html")
    if path.is_file() and MADE_HERE not in files.read(path):
        raise FileError(f"{path}: already there, and no page of this command; delete it, or choose another --output")
