"""``fastadv attack``: one attack, looked at closely."""

from __future__ import annotations

import warnings
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated

import typer

from fastadv.cli import console
from fastadv.cli.grid_options import whole_number
from fastadv.cli.outputs import check_matplotlib, check_output, check_plot
from fastadv.cli.specs import MODEL_HELP, check_model, check_spec, names
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
    model: Annotated[str, typer.Option(metavar="NAME|MODEL", help=MODEL_HELP)] = "mlp",
    samples: Annotated[
        str | None,
        typer.Option(
            metavar="N",
            help="Test images, those of a grid. Default: 1000 for evasion, all for poisoning",
        ),
    ] = None,
    seed: Annotated[str, typer.Option(metavar="N", help="Of the model and the attack.")] = "0",
    show: Annotated[
        str,
        typer.Option(
            metavar="K",
            help="Draw K images, or poison points, in the terminal; of a table its rows.",
        ),
    ] = "0",
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.svg",
            help="Draw images (4, or as many as --show): before, the flow, after, the difference. "
            "FILE.png and FILE.pdf need the extra plot.",
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
    """Run one attack against a model, undefended: one that is trained here, or given."""
    check_spec("attack", name)
    check_model(model)
    Spec.of_data(dataset)
    if name == "none":
        raise InputError("none is a grid's row of clean accuracies, not an attack")
    n_samples = None if samples is None else whole_number(samples, 1, "--samples")
    first_seed, n_shown = whole_number(seed, 0, "--seed"), whole_number(show, 0, "--show")
    for option, path in (("--output", output), ("--plot", plot)):
        if path is not None:
            check_output(option, path, "adv.npz" if option == "--output" else "adv.svg")
    if plot is not None:
        check_plot(plot)
        if plot.suffix != ".svg":
            check_matplotlib(", or give a FILE.svg")
        if find("attack", Spec.parse(name).name).kind == "poisoning":
            raise InputError("--plot draws attacked images; see poison points with --show")
    from fastadv.cli.progress import waiting

    messages = console.messages()
    with waiting(messages, "loading"):
        from fastadv import experiment
        from fastadv.cli.attack_view import EvasionView, view
        from fastadv.cli.progress import first_run
        from fastadv.datasets import load_dataset
        from fastadv.report.attack_table import attack_table
        from fastadv.warmup import is_warm, warm_up

    asked = experiment.Asked(name, dataset, model, n_samples, first_seed)

    def wait(text: str) -> AbstractContextManager[None]:
        return waiting(messages, text)

    def compile_first() -> None:
        names = {Spec.parse(name).name, model.partition("[")[0].strip()}
        if not is_warm(names):
            with wait(first_run()):
                warm_up(names=names)

    with wait(f"reading {dataset}"):
        data = load_dataset(dataset)
    if data.task.columns is not None and plot is not None:
        raise InputError(
            "--plot draws images, and the data are columns of a table; --show prints rows"
        )
    for note in data.notes:
        console.say(f"{data.name}: {note}")
    warned: dict[str, None] = {}  # each warning once, when nothing moves on the screen any more
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: warned.setdefault(str(message))
        attacked = experiment.run(asked, data, wait, compile_first)
    for text in warned:
        console.say(f"note: {text}")
    out = console.output()
    out.print(attack_table(attacked))
    shown = view(attacked)
    if n_shown:
        out.print(shown.draw(n_shown, color=console.shows_colors(out), width=out.width))
    if plot is not None:
        assert isinstance(shown, EvasionView)  # others were refused above
        shown.plot(plot, n_shown or 4)
        console.say(f"picture in {plot}")
    if output is not None:
        shown.save(output)
        console.say(f"arrays in {output}")
