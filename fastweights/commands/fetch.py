"""The idx files of MNIST and Fashion-MNIST from where they are kept, held to their md5."""

from dataclasses import dataclass
from pathlib import Path

from fastweights.commands.parsing import parse
from fastweights.errors import UserError, in_one_line, plain
from fastweights.tasks import image_rows

MIRRORS = {
    "mnist": ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"),
    "fashion-mnist": ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
}
WAIT = 30.0  # seconds for an answer


@dataclass(frozen=True)
class Fetch:
    """Fetch the four idx files of a data set; those that are there already are left as they are."""

    data_dir: Path = Path("data/mnist")
    """The folder they go to."""


def main(name: str, arguments: list[str]) -> None:
    from fastweights import files

    folder = parse(Fetch, arguments, f"fastweights data {name}").data_dir
    files.make_folder(folder)
    for file, md5 in zip(image_rows.FILES, image_rows.MD5[name], strict=True):
        if any((folder / each).exists() for each in (f"{file}.gz", file)):
            image_rows.checked(folder, file, md5, name)
            print(f"{plain(str(folder))}: {file} was there before")
            continue
        files.write(folder / f"{file}.gz", download(name, f"{file}.gz", md5, folder))
        print(plain(str(folder / f"{file}.gz")))


def download(name: str, file: str, md5: str, folder: Path) -> bytes:
    """The packed content of a file, from the first mirror that has it."""
    from urllib.request import urlopen

    said = []
    for mirror in MIRRORS[name]:
        try:
            with urlopen(mirror + file, timeout=WAIT) as opened:
                packed = opened.read(image_rows.MOST)
            image_rows.unpacked(packed, True, md5)
        except (OSError, ValueError, EOFError) as error:
            said.append(f"{mirror}{file}: {in_one_line(error)}")
        else:
            return packed
    by_hand = f"{', '.join(f'{each}.gz' for each in image_rows.FILES)} from {MIRRORS[name][0]} into {folder}"
    raise UserError(f"got no {file} ({'; '.join(said)}), wanted a network; or fetch by hand, on any machine, {by_hand}")
