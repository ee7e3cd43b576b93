"""``fastadv attack``: one attack, looked at closely."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Annotated

import typer

from fastadv.cli import console
from fastadv.cli.grid_options import whole_number
from fastadv.cli.outputs import check_output, check_plot
from fastadv.cli.specs import check_spec, names
from fastadv.errors import InputError
from fastadv.registry import find
from fastadv.specs import Spec


def _complete_attack(incomplete: str) -> list[str]:
    return [name for name in names("attack") if name.startswith(incomplete)]


def attack(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="The attack, with parameters in brackets: stadv[tau=0.05]",
            autocompletion=_complete_attack,
        ),
    ],
    dataset: Annotated[
        str, typer.Option(metavar="NAME|PATH", help="See fastadv list datasets.")
    ] = "mnist",
    model: Annotated[str, typer.Option(metavar="NAME", help="See fastadv list models.")] = "mlp",
    samples: Annotated[
        str | None,
        typer.Option(
            metavar="N",
            help="Test images, those of a grid. Default: 1000 for evasion, all for poisoning",
        ),
    ] = None,
    seed: Annotated[str, typer.Option(metavar="N", help="Of the model and the attack.")] = "0",
    show: Annotated[
        str, typer.Option(metavar="K", help="Draw K images, or poison points, in the terminal.")
    ] = "0",
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.png",
            help="Draw images (4, or as many as --show) and their flows; needs the extra plot.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.npz",
            help="Keep images, labels, predictions, distances and details as NumPy arrays.",
        ),
    ] = None,
) -> None:
    """Train a model and run one attack against it, undefended."""
    check_spec("attack", name)
    check_spec("model", model)
    Spec.of_data(dataset)
    if name == "none":
        raise InputError("none is a grid's row of clean accuracies, not an attack")
    n_samples = None if samples is None else whole_number(samples, 1, "--samples")
    first_seed, n_shown = whole_number(seed, 0, "--seed"), whole_number(show, 0, "--show")
    for option, path in (("--output", output), ("--plot", plot)):
        if path is not None:
            check_output(option, path, "adv.npz")
    if plot is not None:
        check_plot(plot)
        if find("attack", Spec.parse(name).name).kind == "poisoning":
            raise InputError("--plot draws attacked images; see poison points with --show")
    from fastadv.cli.progress import waiting

    messages = console.messages()
    with waiting(messages, "loading"):
        from fastadv.cli import attack_run

    job = attack_run.Job(name, dataset, model, n_samples, first_seed)
    told: dict[str, None] = {}  # each warning once, when nothing moves on the screen any more
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: told.setdefault(str(message))
        outcome = attack_run.run(job, lambda text: waiting(messages, text))
    for text in told:
        console.say(f"note: {text}")
    out = console.output()
    out.print(outcome.table)
    if n_shown:
        out.print(outcome.draw(n_shown, color=console.shows_colors(out), width=out.width))
    if plot is not None:
        assert isinstance(outcome, attack_run.EvasionOutcome)  # others were refused above
        outcome.plot(plot, n_shown or 4)
        console.say(f"picture in {plot}")
    if output is not None:
        outcome.save(output)
        console.say(f"arrays in {output}")
