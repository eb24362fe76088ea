"""Experiments of papers, one a file: what was reported, the runs that repeat it, what is different here, the figure.

A paper file holds a docstring (which table or figure; numbered deviations), and

    TITLE     of the section in docs/papers.md
    REPORTED  {"error": {cell: per cent}, ...}; or
    METRICS   {task: {head of a column: statistic}} where nothing was reported: a table of all tasks, and one of each
    RUNS      the cells, each with its network, its task and its settings, as data
    GRID      what `--search` tries, {setting: values}
    more      from cells and their records to further tables, where there are some
    QUICK     {cell: epochs} of `--quick`
    OWN_LIKE  the row whose settings a user's own model takes
    in_folder where --data-dir makes it another cell: from a cell and the folder to that; else the task's places change
    tables    from cells and records to the tables, where a paper has its own; LEGEND: what is said above them
    measure   from a trained model and its task to what a result has of it beside its metrics, "measured"
    own       from the name of a user's class and a cell of OWN_LIKE to a setup, where it is no recurrent network
    figure    from records (results/NAME/*.json) to a matplotlib figure
"""

from importlib import import_module
from types import ModuleType

from fastweights.errors import UserError, near
from fastweights.papers.cell import Cell

PAPERS = {
    "ba2016-retrieval": "fastweights.papers.ba2016_retrieval",
    "ba2016-mnist": "fastweights.papers.ba2016_mnist",
    "ba2016-faces": "fastweights.papers.ba2016_faces",
    "g2p": "fastweights.papers.g2p",
    "ba2016-catch": "fastweights.papers.ba2016_catch",
    "goku2016": "fastweights.papers.goku2016",
    "reverse": "fastweights.papers.reverse",
    "swap": "fastweights.papers.swap",
    "overwrite": "fastweights.papers.overwrite",
    "mqar": "fastweights.papers.mqar",
    "capacity": "fastweights.papers.capacity",
    "state-tracking": "fastweights.papers.state_tracking",
}

__all__ = ["PAPERS", "Cell", "paper"]


def paper(name: str) -> ModuleType:
    if name not in PAPERS:
        raise UserError(f"unknown paper {name!r}{near(name, PAPERS)} (papers: {', '.join(PAPERS)})")
    return import_module(PAPERS[name])
