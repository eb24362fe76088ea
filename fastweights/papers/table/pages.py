"""docs/papers.md and its figures, from results/ alone: `fastweights reproduce NAME --render` writes them."""

import inspect
from pathlib import Path
from types import ModuleType
from typing import Any

from fastweights.papers import PAPERS, paper
from fastweights.papers.table import differences, search, tables
from fastweights.papers.table.results import Record, read

PAGE, FIGURES = Path("docs/papers.md"), Path("docs/figures")
HEAD = """# Reproductions

<!-- Rendered from results/ by `fastweights reproduce NAME --render`; a test compares. -->

Each section repeats one table of a paper, or one comparison, from settings that are data in `fastweights/papers`.

    fastweights reproduce ba2016-retrieval                       # all of it; what is done already is not done again
    fastweights reproduce ba2016-retrieval --quick               # three minutes: the shape of it
    fastweights reproduce ba2016-retrieval --only FW-20          # one cell, a kind (paper, control, beyond) or a task
    fastweights reproduce ba2016-retrieval --model my_package:MyCell --only own     # your cell as a row of the table
    fastweights reproduce ba2016-retrieval --cluster ray         # over the cluster that RAY_ADDRESS names

A cell of your own is called as `MyCell(input_size, hidden_size, batch_first=True)`, and returns `output, state`. It has
the settings of the paper's LSTM or GRU. Name its input projection `weight_ih_l0`: it has a learning rate of its own.

How to read the tables:

| column | meaning |
| --- | --- |
| paper | what the paper reports |
| ours | errors in per cent of test sequences that nothing was chosen by, the mean over the seeds |
| 95% | a bootstrap interval over the seeds: up to three seeds, from the lowest to the highest; none of one seed |
| guess | the error at the guess floor: that of a model which knows what may be answered, but not what was asked |
| to 99% | updates until validation accuracy was 99%, the median over the seeds; `never` if a seed did not come there |
| updates | those of the whole run |
| time | that of one run on one thread, validation included |
"""


def page(results: Path) -> str:
    there = [name for name in PAPERS if (results / name).is_dir()]
    return "\n".join([HEAD, *(section(name, paper(name), results / name) for name in there)])


def section(name: str, module: ModuleType, folder: Path) -> str:
    found, stale = read(folder, module.RUNS)
    records = [each for cell in module.RUNS for each in found[cell.name]]
    parts = [f"## {module.TITLE}", inspect.cleandoc(module.__doc__ or "")]
    parts.append(f"`fastweights reproduce {name}` trains these cells and prints the table; with `--only CELL`, one.")
    if hasattr(module, "METRICS"):
        parts.append(f"The tables have {tables.legend(module)}.")
    parts += [tables.markdown(each) for each in tables.tables(module, module.RUNS, found)]
    parts.append(differences.text(module.RUNS))
    runs = [found[cell.name] for cell in module.RUNS if cell.kind == "paper"]
    if all(runs):
        hours = sum(sum(each["seconds"] for each in of_cell) / len(of_cell) for of_cell in runs) / 3600
        parts.append(f"One seed of each of the paper's {len(runs)} cells takes {hours:.1f} hours of one thread.")
    if stale:
        parts.append(f"Left out, because they are of other settings: {', '.join(path.name for path in stale)}.")
    if records:
        parts += [f"![{module.TITLE}](figures/{name}.svg)", origin(records)]
    else:
        parts.append("No run is recorded yet.")
    if tried := search.read(folder):
        parts.append(searched(name, module, tried))
    return "\n\n".join(parts) + "\n"


def origin(records: list[Record]) -> str:
    """On what, and by which code, the rows were made."""
    commits = sorted({each["commit"] for each in records})
    machines = sorted({each["machine"]["cpu"] for each in records})
    versions = sorted({f"torch {each['versions']['torch']}" for each in records})
    backends = sorted({each["backend"] for each in records})
    return (
        f"{len(records)} runs on one thread each, by the commits "
        f"`{' '.join(c[:10] + '+' * c.endswith('+') for c in commits)}`. {', '.join(versions)}; "
        f"backend {', '.join(backends)}; {', '.join(machines)}."
    )


def searched(name: str, module: ModuleType, tried: dict[str, Any]) -> str:
    used = {cell.name: cell for cell in module.RUNS}
    lines = [
        f"The search (`fastweights reproduce {name} --search`). {search.HOW}",
        "",
        "| cell | updates | chosen | validation loss | runner-up | its loss | the table's row has |",
        "| --- | ---: | --- | ---: | --- | ---: | --- |",
    ]
    for cell, entry in tried.items():
        if cell not in used or "chosen" not in entry:
            continue
        good = sorted((e for e in entry["tried"] if e["valid_loss"] is not None), key=lambda e: e["valid_loss"])
        names = list(entry["chosen"])
        told = [(" ".join(search.text(e[n]) for n in names), f"{e['valid_loss']:.4f}") for e in good[:2]]
        told += [("", "")] * (2 - len(told))
        own = " ".join(search.text(used[cell].setting(n)) for n in names)
        lines.append(f"| {cell} | {entry['updates']:,} | {told[0][0]} | {told[0][1]} | {told[1][0]} | {told[1][1]} | "
                     f"{'the same' if own == told[0][0] else own} |")  # fmt: skip
    return "\n".join(lines)


def render(name: str, results: Path) -> list[Path]:
    """Write the page, and the figure of one paper; returns the files."""
    from fastweights import plotting

    module = paper(name)
    found, _ = read(results / name, module.RUNS)
    records = [each for cell in module.RUNS for each in found[cell.name]]
    figures = {FIGURES / name: titled(module, records)} if records else {}
    return plotting.save(figures, {PAGE: page(results).encode()})


def titled(module: ModuleType, records: list[dict[str, Any]]) -> Any:
    drawn = module.figure(records)
    drawn.suptitle(module.TITLE)
    return drawn
