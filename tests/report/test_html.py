"""The page of a grid: all of its figures, nothing from outside, and pictures that are the arrays."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import struct
import zlib
from html.parser import HTMLParser
from urllib.parse import unquote

import msgspec
import numpy as np
import pytest
from made_rows import clean, evasion, figure, poisoning, result, undone

from fastadv import threat
from fastadv.grid.result import read_result
from fastadv.grid.row import Flag
from fastadv.metrics import wilson_interval
from fastadv.report.curves import plots, series_class, svg
from fastadv.report.gallery import galleries
from fastadv.report.html import grid_html
from fastadv.report.png import data_uri, png
from fastadv.runs import Runs

RNG = np.random.default_rng(0)
EMPTY = {"meta", "img", "wbr", "input"}


class Checked(HTMLParser):
    """Checks that every element is closed, in order; keeps text and attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.images: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.texts: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        given = dict(attrs)
        assert not {"srcset", "style"} & given.keys()  # the policy lets no element have a style
        assert not any(name.startswith("on") for name in given)
        self.images += [given["src"]] if "src" in given else []
        self.links += [given["href"]] if "href" in given else []
        self.ids += [given["id"]] if "id" in given else []
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def at(eps, accuracy, defense="none", **changes):
    """A cell of pgd at a budget."""
    parameters = {"attack": {"eps": eps, "norm": "linf", "steps": 40}}
    return evasion(
        f"pgd[eps={eps}]", defense, threat=threat.linf(eps), attacked_accuracy=accuracy,
        parameters=parameters, **changes,
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "cells").mkdir()
    return tmp_path


def keep(folder, rows, grid=None, environment=None, **arrays):
    document = {"grid": grid or {}, "environment": environment or {}}
    (folder / "grid.json").write_text(json.dumps(document))
    for number, row in enumerate(rows):
        row.id = f"cell{number}"
        (folder / "cells" / f"{row.id}.json").write_bytes(msgspec.json.encode(row))
        if row.kind != "none" and arrays:
            np.savez(folder / "cells" / f"{row.id}.npz", **arrays)
    return grid_html(read_result(folder))


def attacked_images(n=9, shape=(4, 5, 1)):
    d = int(np.prod(shape))
    before = RNG.random((n, d)).astype(np.float32)
    labels = np.arange(n) % 3
    return {
        "examples": before, "examples_adv": np.clip(before + 0.1, 0, 1), "y": labels,
        "clean": labels, "attacked": np.where(np.arange(n) == 1, 2, 0),
        "image_shape": np.array(shape), "robust": np.ones(n, bool), "sample_ids": np.arange(n),
    }  # fmt: skip


def pixels_of(file: bytes) -> np.ndarray:
    """Read back a PNG without filters."""
    assert file[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, place = {}, 8
    while place < len(file):
        (length,) = struct.unpack(">I", file[place : place + 4])
        name, content = file[place + 4 : place + 8], file[place + 8 : place + 8 + length]
        (checksum,) = struct.unpack(">I", file[place + 8 + length : place + 12 + length])
        assert checksum == zlib.crc32(name + content)
        chunks[name], place = content, place + 12 + length
    width, height, depth, colour = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    assert depth == 8
    lines = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, -1)
    assert (lines[:, 0] == 0).all()
    return lines[:, 1:].reshape((height, width) if colour == 0 else (height, width, 3))


@pytest.mark.parametrize("shape", [(3, 4), (3, 4, 1), (2, 5, 3)])
def test_a_png_holds_the_pixels(shape):
    image = RNG.random(shape)
    found = pixels_of(png(image))
    np.testing.assert_array_equal(found.reshape(shape), np.rint(255 * image))
    assert data_uri(image) == "data:image/png;base64," + base64.b64encode(png(image)).decode()
    strange = np.array([[np.nan, -1.0], [2.0, np.inf]])
    np.testing.assert_array_equal(pixels_of(png(strange)), [[0, 0], [255, 255]])


def test_the_page_has_every_figure_and_stands_alone(folder):
    rows = [
        clean(), clean("median"), evasion("pgd", flags=[Flag("zero_gradient", "no slope", "use cw")]),
        undone(evasion("pgd", "median"), "skipped", "no gradient"),
        poisoning(notes=[Flag("oblivious", "seen by none", "see")], accuracy_lost=figure(0.031)),
        undone(poisoning(defense="median"), "failed", "it broke"),
    ]  # fmt: skip
    grid = {"attacks": ["none", "pgd", "biggio"], "defenses": ["none", "median"]}
    page = keep(folder, rows, grid, {"numpy": "2.4"}, **attacked_images())
    found = Checked(page)
    said = " ".join(found.texts)
    for text in ("98.1", "42.1", "39.1 to 45.2", "flips 97.6", "- [1]", "failed [2]", "linf(0.1)",
                 "no slope; use cw", "no gradient", "it broke", "2.4", "seen by none; see"):  # fmt: skip
        assert text in said, text
    assert page.count("<li class=flag>") == 1  # the colour of harm is not a note's
    assert "fastadv grid --attacks none,pgd,biggio --defenses none,median" in said
    assert not {"link", "iframe", "object", "form"} & set(found.tags)
    assert found.images
    assert all(image.startswith("data:image/png;base64,") for image in found.images)
    assert {link[:1] for link in found.links} == {"#", "d"}
    assert "http" not in page.replace("http-equiv", "")
    assert "url(" not in page
    shades = [int(share) for share in re.findall(r'<td class="h(\d+)"', page)]
    assert shades == [0, 0, 34, 2, 0]  # the more is lost, the deeper


def test_the_policy_lets_the_page_alone_run_and_load(folder):
    page = keep(folder, [clean(), evasion()])
    (policy,) = re.findall('Content-Security-Policy" content="(.*?)"', page)
    for kind in ("script", "style"):
        (content,) = re.findall(f"<{kind}>(.*?)</{kind}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy


def test_every_link_leads_to_its_cell(folder):
    rows = [
        clean(), clean("median"), evasion("pgd", n=9), evasion("fgsm", n=9), poisoning(),
        evasion("stadv[translation=false]", "median", threat=threat.flow(30)),
    ]  # fmt: skip
    found = Checked(keep(folder, rows, **attacked_images()))
    names = [unquote(link[1:]) for link in found.links if link.startswith("#")]
    assert "#cell=stadv%5Btranslation=false%5D/median" in found.links
    assert "cell=worst/none" in names  # pgd and fgsm have a threat in common
    assert set(names) == {one for one in found.ids if one.startswith("cell=")}
    assert len(found.ids) == len(set(found.ids))


def test_cells_of_one_name_have_stories_of_their_own(folder):
    found = Checked(keep(folder, [evasion(), evasion(dataset="other")]))
    assert found.ids.count("cell=pgd/none") == found.ids.count("cell=pgd/none@2") == 1


def test_the_rows_can_be_taken_along(folder):
    rows = [clean(), evasion()]
    links = Checked(keep(folder, rows)).links
    (document,) = [link for link in links if link.startswith("data:application/json")]
    (table,) = [link for link in links if link.startswith("data:text/csv")]
    kept = json.loads(base64.b64decode(document.partition("base64,")[2]))
    assert [row["attack"] for row in kept["rows"]] == ["none", "pgd"]
    assert base64.b64decode(table.partition("base64,")[2]).decode().count("\n") == 3


def test_the_page_of_a_grid_of_the_default_size_is_small(folder):
    """Images of noise are the largest there are."""
    defenses = ("none", "adv_training", "knn_relabel", "median", "bit_depth")
    attacks = ("pgd", "stadv", "stadv[translation=false]")
    rows = [evasion(attack, defense) for attack in attacks for defense in defenses]
    assert len(keep(folder, rows, **attacked_images(16, (28, 28, 1)))) < 1.5e6


def test_many_large_images_are_fewer_a_cell(folder):
    rows = [evasion("pgd", str(defense)) for defense in range(60)]
    page = keep(folder, rows, **attacked_images(8, (64, 64, 3)))
    assert page.count("<article") == 60
    assert page.count("<figure>") == 8 + 60  # a gallery, and one a cell


@pytest.mark.parametrize(
    ("grid", "words"),
    [
        ({"seeds": [0, 1]}, "--repeats 2"), ({"seeds": [0]}, "--repeats 1"),  # of fastadv 0.1
        ({"seeds": [0, 1], "repeats": 2}, "--repeats 2"),
        ({"seeds": [3, 4], "repeats": 2}, "--repeats 2 --seed 3"),
    ],
)  # fmt: skip
def test_the_command_asks_for_as_many_runs(folder, grid, words):
    first = grid["seeds"][0]
    said = Checked(keep(folder, [clean(seed=first)], {"attacks": ["none"], **grid}, {})).texts
    command = [text for text in said if text.startswith("fastadv grid")][-1]
    assert command == f"fastadv grid --attacks none {words}".strip()


def test_text_from_files_is_only_text(folder):
    bad = '"><script>alert(1)</script>&'
    rows = [
        evasion(bad, bad, threat=threat.Threat(bad, 0.1), dataset=bad, model=bad, flags=[Flag(bad, bad, bad)],
                notes=[Flag(bad, bad, bad)], parameters={bad: {bad: bad}}, found={bad: bad}, seconds={bad: 1.0}),
        undone(evasion("pgd", bad, dataset=bad, model=bad), "failed", bad),
        at(0.1, 0.5, bad, dataset=bad, model=bad), at(0.2, 0.4, bad, dataset=bad, model=bad),
        poisoning(bad + '2', bad, dataset=bad, model=bad, threat=threat.Threat(bad, 0.1)),
    ]  # fmt: skip
    names = np.array([bad, bad, bad])
    page = keep(folder, rows, {}, {bad: bad}, **attacked_images(), class_names=names)
    found = Checked(page)
    assert found.tags.count("script") == 1
    assert "<script>alert" not in page
    assert bad in " ".join(found.texts)
    assert f"cell={bad}/{bad}" in found.ids
    assert "svg" in found.tags


def test_a_file_of_samples_that_is_broken_leaves_the_rest_of_the_page(folder):
    for arrays in (
        {"examples": np.zeros(3), "examples_adv": np.zeros((2, 4)), "y": np.zeros(2)},
        {"examples": np.array(["a"]), "examples_adv": np.array(["b"])},
        attacked_images() | {"image_shape": np.array([4, 5, 2])},
        attacked_images() | {"image_shape": np.array([9, 9, 1])},
        {"examples": np.zeros((2, 5)), "examples_adv": np.zeros((2, 5)), "y": np.zeros(2)},
    ):
        page = keep(folder, [clean(), evasion()], **arrays)
        assert "42.1" in page
        assert "<img" not in page
    (folder / "cells" / "cell1.npz").write_bytes(b"no")
    assert "42.1" in grid_html(read_result(folder))


def test_pictures_are_the_images_and_what_the_model_says(folder):
    arrays = attacked_images(n=9, shape=(4, 5, 1))
    rows = [evasion("pgd", "none"), evasion("pgd", "median"), evasion("fgsm", "median")]
    page = keep(folder, rows, **arrays)
    gallery, _, stories = page.partition('id="cells"')
    shown = galleries(read_result(folder))
    assert [(g.attack, g.defense) for g in shown] == [("pgd", "none"), ("fgsm", "median")]
    assert len(shown[0].pictures) == 8
    np.testing.assert_array_equal(shown[0].pictures[3].after.ravel(), arrays["examples_adv"][3])
    assert (gallery.count("<img"), stories.count("<img")) == (2 * 8 * 3, 3 * 8 * 3)
    assert Checked(page).images[0] == data_uri(arrays["examples"][0].reshape(4, 5).astype(float))
    captions = re.findall("<figcaption>(.*?)</figcaption>", page)
    assert captions[0] == "0"
    assert re.sub("<.*?>", "", captions[1]) == "1 → 2"


def test_poison_points_have_the_label_that_they_are_given(folder):
    points = RNG.random((16, 9)).astype(np.float32)  # of an older folder, without a shape
    page = keep(folder, [poisoning()], poison=points, poison_labels=np.arange(16))
    images = Checked(page).images  # in the gallery, and in the story of the cell
    assert images == 2 * [data_uri(point.reshape(3, 3).astype(float)) for point in points[:8]]
    captions = re.findall("<figcaption>(.*?)</figcaption>", page)
    assert captions == 2 * [str(label) for label in range(8)]


def test_classes_are_called_by_their_names(folder):
    points, names = RNG.random((16, 9)).astype(np.float32), np.array(["a<b", "3", "8"])
    arrays = {"poison": points, "poison_labels": np.arange(16) % 3, "class_names": names}
    page = keep(folder, [poisoning()], **arrays)
    captions = re.findall("<figcaption>(.*?)</figcaption>", page)
    assert captions[:4] == ["a&lt;b", "3", "8", "a&lt;b"]


def test_a_curve_is_one_attack_at_several_budgets():
    other = at(0.3, 0.1)
    other.parameters = {"attack": {"eps": 0.3, "norm": "linf", "steps": 7}}
    rows = [
        at(0.2, 0.5), at(0.1, 0.7), at(0.1, 0.9, seed=1), at(0.2, 0.6, "median"), other,
        evasion("noise"), undone(at(0.4, 0.0), "failed", "x"), clean(),
    ]  # fmt: skip
    (plot,) = plots(result(rows))
    assert (plot.title, plot.unit) == ("pgd", "linf")
    (curve,) = plot.curves  # one budget of median makes no curve
    assert curve.budgets == (0.1, 0.2)
    assert [point.value for point in curve.figures] == pytest.approx([0.8, 0.5])
    expected = Runs.of_accuracies([0.7, 0.9], 1000).interval()
    np.testing.assert_allclose(
        [(point.low, point.high) for point in curve.figures], [expected, wilson_interval(500, 1000)]
    )
    (line,) = re.findall('polyline points="(.*?)"', svg(plot))
    (x0, y0), (x1, y1) = (map(float, point.split(",")) for point in line.split())
    assert x0 < x1
    assert y0 < y1  # the vertical axis of SVG points down
    assert "none at 0.1: 80.0" in svg(plot)


def turned(degrees, pixels, accuracy, defense="none"):
    """A cell of spatial within its two limits."""
    return evasion(
        f"spatial[rotation={degrees},translation={pixels}]", defense,
        threat=threat.rotation_translation(degrees, pixels), attacked_accuracy=accuracy,
        parameters={"attack": {"rotation": degrees, "translation": pixels, "queries": 9}},
    )  # fmt: skip


def test_a_curve_over_how_far_pixels_may_shift():
    rows = [
        evasion(
            f"stadv[max_shift={pixels}]", threat=threat.shift(pixels), attacked_accuracy=accuracy,
            parameters={"attack": {"max_shift": pixels, "budget": 30.0}},
        )
        for pixels, accuracy in ((2.0, 0.3), (0.5, 0.8), (1.0, 0.6))
    ]  # fmt: skip
    (plot,) = plots(result(rows))
    (curve,) = plot.curves
    assert (plot.title, plot.unit, curve.budgets) == ("stadv", "shift", (0.5, 1.0, 2.0))
    assert [point.value for point in curve.figures] == [0.8, 0.6, 0.3]


def test_a_budget_of_two_limits_has_a_curve_over_the_one_that_varies():
    for rows, budgets, unit in (
        ([turned(30, 1, 0.7), turned(30, 3, 0.4), turned(30, 2, 0.5)], (1, 2, 3), "(30,x)"),
        ([turned(45, 3, 0.3), turned(15, 3, 0.6)], (15, 45), "(x,3)"),
    ):
        (plot,) = plots(result(rows))
        (curve,) = plot.curves
        assert (plot.title, curve.budgets) == ("spatial", budgets)
        assert f"budget, rotation_translation{unit}</text>" in svg(plot)
        values = [point.value for point in curve.figures]
        assert values == sorted(values, reverse=True)
    both = [turned(30, 3, 0.4), turned(15, 1, 0.7), turned(15, 3, 0.6)]
    assert plots(result(both)) == []
    assert plots(result([turned(30, 3, 0.4), turned(30, 3, 0.5, "median")])) == []
    others = [turned(30, 1, 0.7, "median"), turned(30, 3, 0.4), turned(15, 3, 0.6)]
    assert plots(result(others)) == []  # a point of one defense is none of another's curve


def test_a_defense_has_one_colour_in_all_plots():
    rows = [
        at(0.1, 0.7), at(0.2, 0.5), at(0.1, 0.9, "median"), at(0.2, 0.6, "median"),
        *(
            evasion("fgsm", "median", threat=threat.linf(eps), parameters={"attack": {"eps": eps}})
            for eps in (0.1, 0.2)
        ),
    ]  # fmt: skip
    pgd, fgsm = plots(result(rows))
    assert [series_class(curve) for curve in pgd.curves] == ["s0", "s1"]
    assert [series_class(curve) for curve in fgsm.curves] == ["s1"]


def test_poisoning_curves_go_over_the_points_where_they_are_given():
    def row(accuracy, **amount):
        given = {"fraction": 0.03, "points": None, **amount}
        changes = {"attack": {**given, "eps": None}}
        return poisoning(
            attacked_accuracy=accuracy, parameters=changes, threat=threat.poison(**given)
        )

    (plot,) = plots(result([row(0.9, points=4), row(0.8, points=8)]))
    assert plot.curves[0].budgets == (4, 8)
    (plot,) = plots(result([row(0.9, fraction=0.01), row(0.8, fraction=0.05), row(0.7, points=8)]))
    assert plot.curves[0].budgets == (0.01, 0.05)
