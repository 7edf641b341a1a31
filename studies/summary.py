"""Draw the figures that a study's page quotes from its results: ``python -m studies.summary QUESTION``.

The lines that ``studies/QUESTION/summary.csv`` already has get their values from the JSON files of
``kept.results(QUESTION)``; without any line, every number there gets one. A line names the file, the path to some
numbers, and their names with their values. A list with one entry a sample, a fold or a
step gives its mean and its median.
A table in a Markdown file of the same name, where a script writes one, stands for the JSON file.
"""

import argparse
import csv
import json
import math
import re
import statistics
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from studies.kept import results

#: What says how a figure was made but is none.
LEFT_OUT = {
    "versions", "rule", "settings", "history", "schema_version", "alive", "last_epoch", "threads", "seconds", "run",
    "reasons", "figures", "level", "answers", "threat", "box", "seed", "gallery", "per_class", "confusion", "curve",
    "precision", "ema",
}  # fmt: skip

#: Lists with more entries than these hold a figure a sample, or a row a fold.
SHORT, FEW = 3, 4
QUESTIONS = sorted(path.name for path in Path(__file__).parent.iterdir() if (path / "README.md").is_file())


def numbers(found: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, float]]:
    """Every number and the path to it.

    >>> list(numbers({"plain": {"clean": 0.5, "sizes": [1.0, 2.0, 6.0, 7.0]}}))
    [('plain | clean', 0.5), ('plain | sizes, mean', 4.0), ('plain | sizes, median', 4.0)]
    """
    if isinstance(found, dict):
        for key, value in found.items():
            if key not in LEFT_OUT:
                yield from numbers(value, (*path, key))
    elif isinstance(found, list) and len(found) > SHORT and all(isinstance(one, int | float) for one in found):
        if all(map(math.isfinite, found)):
            yield f"{' | '.join(path)}, mean", statistics.fmean(found)
        yield f"{' | '.join(path)}, median", float(statistics.median(found))
    elif isinstance(found, list) and len(found) > FEW and len({_name(one, 0) for one in found}) < len(found):
        yield from _means(found, path)
    elif isinstance(found, list):
        for place, value in enumerate(found):
            yield from numbers(value, (*path, _name(value, place)))
    elif isinstance(found, int | float) and math.isfinite(found):
        yield " | ".join(path), float(found)


def _means(found: list[Any], path: tuple[str, ...]) -> Iterator[tuple[str, float]]:
    """The mean over entries of one form of each of their numbers; of a matrix there is none."""
    known: dict[str, list[float]] = {}
    for entry in found:
        for name, value in numbers(entry) if isinstance(entry, dict) else ():
            known.setdefault(name, []).append(value)
    yield from (
        (" | ".join((*path, f"{name}, mean of {len(values)}")), statistics.fmean(values))
        for name, values in known.items()
    )


def _name(entry: Any, place: int) -> str:
    """What an entry of a list calls itself, with its radius and order if it has one, or its place."""
    if not isinstance(entry, dict):
        return str(place)
    words = [str(v) for key, v in entry.items() if isinstance(v, str) or key in ("eps", "order")]
    return ", ".join(words) or str(place)


def cells(text: str) -> Iterator[tuple[str, str]]:
    """Every cell of the tables in a Markdown text, by its row and column."""
    title, columns = "", []
    for line in text.splitlines():
        if line.startswith("**"):
            title = line.strip("*: ").replace("**", "")
        parts = [part.strip() for part in line.strip("| ").split(" | ")] if line.startswith("|") else []
        if not parts or re.fullmatch(r"[|\-: ]+", line):
            columns = columns if line.startswith("|") else []
        elif not columns:
            columns = parts
        else:
            name = " | ".join(filter(None, (title, parts[0])))
            yield from ((f"{name} | {column}", cell) for column, cell in zip(columns[1:], parts[1:], strict=False))


def rows(question: str) -> Iterator[tuple[str, str, str]]:
    """The lines of a question's summary."""
    folder = results(question)
    stems = sorted({path.stem for path in folder.glob("*.*") if path.suffix in (".json", ".md")})
    for stem in stems:
        table = folder / f"{stem}.md"
        if table.is_file():
            yield from ((stem, name, cell) for name, cell in cells(table.read_text()))
        else:
            content = json.loads((folder / f"{stem}.json").read_text())
            yield from ((stem, name, f"{value:.6g}") for name, value in numbers(content))


def gathered(found: Iterable[tuple[str, str, str]]) -> Iterator[tuple[str, str, str]]:
    """Numbers that stand beside each other in one line.

    >>> list(gathered([("a", "rows | pgd | clean", "0.9"), ("a", "rows | pgd | robust", "0.5")]))
    [('a', 'rows | pgd', 'clean=0.9; robust=0.5')]
    """
    lines: dict[tuple[str, str], list[str]] = {}
    for file, figure, value in found:
        path, _, name = figure.rpartition(" | ")
        lines.setdefault((file, path), []).append(f"{name}={value.replace('; ', ', ')}")
    joined: dict[tuple[str, str], list[str]] = {}
    for (file, path), values in lines.items():
        if len(values) == 1 or path.endswith(" | interval"):  # with what stands beside it one level up
            path, _, name = path.rpartition(" | ")
            values = [f"{name} | {value}" if name else value for value in values]
        joined.setdefault((file, path), []).extend(values)
    yield from ((file, path, "; ".join(values)) for (file, path), values in joined.items())


def read(question: str) -> Iterator[tuple[str, str, str]]:
    """The file, path and value of every number of a question's summary."""
    with (Path(__file__).parent / question / "summary.csv").open(newline="") as table:
        for line in csv.DictReader(table):
            for part in line["values"].split("; "):
                name, _, value = part.rpartition("=")
                yield line["file"], " | ".join(filter(None, (line["path"], name))), value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("question", choices=QUESTIONS)
    write(parser.parse_args().question)


def write(question: str) -> None:
    """Renew the values of the lines that the page quotes, or write all at first."""
    path = Path(__file__).parent / question / "summary.csv"
    with path.open(newline="") as table:
        known = [(line["file"], line["path"], line["values"]) for line in csv.DictReader(table)]
    fresh = {(file, figure): value.replace("; ", ", ") for file, figure, value in rows(question)}

    def renewed(file: str, path: str, part: str) -> str:
        name, _, value = part.rpartition("=")
        return f"{name}={fresh.get((file, ' | '.join(filter(None, (path, name)))), value)}"

    found = [(f, p, "; ".join(renewed(f, p, part) for part in values.split("; "))) for f, p, values in known]
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("file", "path", "values"))
        writer.writerows(found or gathered(rows(question)))


if __name__ == "__main__":
    main()
