"""Several models of one command: a grid each, in a folder each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from fastadv.cli import console
from fastadv.cli.errors import Stopped
from fastadv.cli.grid_options import GridOptions
from fastadv.errors import InputError

if TYPE_CHECKING:
    from fastadv.grid.result import GridResult
    from fastadv.report.gates import Gate


def run(
    grids: Sequence[GridOptions], run_one: Callable[[GridOptions], GridResult]
) -> Iterator[tuple[GridOptions, GridResult]]:
    """Run one grid after the other, and yield each when it is done."""
    if len(grids) > 1:
        _check(grids)
    for number, options in enumerate(grids):
        try:
            result = run_one(options)
        except Stopped as stopped:
            if not number:
                raise
            done = ", ".join(options.output for options in grids[:number])
            raise Stopped(f"{stopped}; done: {done}") from None
        except InputError as error:
            if len(grids) == 1:
                raise
            raise InputError(_named(options.model, error)) from None
        yield options, result


def _named(model: str, error: InputError) -> str:
    said = str(error)
    return said if model in said else f"{model}: {said}"


def _check(grids: Sequence[GridOptions]) -> None:
    """Raise InputError if a model does not fit the data, before the first is worked on.

    Factories are left for their turn: they may train.
    """
    from fastadv.cli.progress import waiting

    with waiting(console.messages(), "loading"):
        from fastadv.datasets import load_dataset
        from fastadv.grid.run import asked

        data = load_dataset(grids[0].dataset)
        for options in grids:
            if ":" in options.model:
                continue
            try:
                asked(
                    attacks=options.attacks, defenses=options.defenses, dataset=data,
                    model=options.model, samples=options.samples, repeats=options.repeats,
                    seed=options.seed,
                )  # fmt: skip
            except InputError as error:
                raise InputError(_named(options.model, error)) from None


def as_json(results: Sequence[GridResult]) -> str:
    """Return the document of a grid, or an array of those of several."""
    from fastadv.report.export import rows_json

    documents = [rows_json(result) for result in results]
    return documents[0] if len(documents) == 1 else "[\n" + ",\n".join(documents) + "\n]"


def failures(grids: Sequence[GridOptions], results: Sequence[GridResult], gate: Gate) -> list[str]:
    """Return a line for each cell that is worse than it may be; with its model if of several."""
    if len(grids) == 1:
        return gate.failures(results[0])
    return [
        f"{options.model}: {line}"
        for options, result in zip(grids, results, strict=True)
        for line in gate.failures(result)
    ]
