"""What is installed, and what is cited, is what is here."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from email import message_from_string
from pathlib import Path
from typing import Any

import pytest

import fastadv

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PYTHONS = ["3.11", "3.12", "3.13", "3.14"]
MNIST = "fastadv/datasets/mnist"


def run(*command: str | Path, cwd: Path, **env: str) -> str:
    """Run a program in a folder, with nothing of this one's environment but ``env``."""
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=env or None, capture_output=True, text=True,
        check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build(source: Path, into: Path, kind: str) -> Path:
    """Build an sdist or a wheel of a source tree; return its file."""
    run(sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", into, cwd=source)
    (made,) = into.glob("*.whl" if kind == "wheel" else "*.tar.gz")
    return made


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, tmp_path_factory.mktemp("sdist"), "sdist")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, tmp_path_factory.mktemp("wheel"), "wheel")


@pytest.fixture(scope="module")
def unpacked(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # from Python 3.11.4
        archive.extractall(folder)
    (made,) = folder.iterdir()
    return made


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    held = contents(wheel)
    info = f"fastadv-{fastadv.__version__}.dist-info"
    assert {name.partition("/")[0] for name in held} == {"fastadv", info}
    package = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "fastadv").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {name for name in held if name.startswith("fastadv/")} == package
    assert "fastadv/py.typed" in package
    assert {f"{info}/licenses/LICENSE", f"{info}/licenses/{MNIST}/LICENSE"} <= set(held)
    scripts = held[f"{info}/entry_points.txt"].decode()
    assert scripts.split() == ["[console_scripts]", "fastadv", "=", "fastadv.__main__:main"]


def test_the_wheel_says_what_it_is(wheel: Path) -> None:
    (text,) = [text for name, text in contents(wheel).items() if name.endswith("/METADATA")]
    said = message_from_string(text.decode())
    assert (said["Name"], said["Version"]) == ("fastadv", fastadv.__version__)
    assert said["License-Expression"] == "MIT AND CC-BY-SA-3.0"
    assert said.get_all("License-File") == ["LICENSE", f"{MNIST}/LICENSE"]
    assert said["Author"] == "The fastadv developers"
    assert said["Description-Content-Type"] == "text/markdown"
    assert said.get_all("Project-URL") is None  # there is no published home
    needed = [line for line in said.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert len(needed) == len(PROJECT["dependencies"])


def test_the_source_holds_all_that_the_repository_has(sdist: Path) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("this is no clone: there is nothing to compare with")
    tracked = set(run("git", "ls-files", cwd=ROOT).splitlines())
    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    assert tracked - held == set()


def test_a_wheel_of_the_source_is_the_same(wheel: Path, unpacked: Path, tmp_path: Path) -> None:
    assert contents(build(unpacked, tmp_path, "wheel")) == contents(wheel)


@pytest.mark.slow
@pytest.mark.compiled
def test_the_wheel_runs_a_grid_in_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    """Its dependencies are those of this environment, for the network is not asked."""
    home, work = tmp_path / "venv", tmp_path / "elsewhere"
    work.mkdir()
    run(sys.executable, "-m", "venv", "--without-pip", home, cwd=tmp_path)
    scripts = home / ("Scripts" if sys.platform == "win32" else "bin")
    python = scripts / "python"
    install = ["-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index"]
    run(sys.executable, *install, wheel, cwd=tmp_path)
    asked = "import sysconfig; print(sysconfig.get_path('purelib'))"
    library = Path(run(python, "-c", asked, cwd=tmp_path).strip())
    assert [path.name for path in library.glob("*.dist-info")] == [f"fastadv-{fastadv.__version__}.dist-info"]  # fmt: skip
    (library / "dependencies.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    env = {
        "HOME": str(tmp_path), "PATH": str(scripts), "NUMBA_CACHE_DIR": str(ROOT / ".cache/kernels")
    }  # fmt: skip
    where = run(python, "-c", "import fastadv; print(fastadv.__file__)", cwd=work, **env)
    assert Path(where.strip()).is_relative_to(library)
    out = run(
        scripts / "fastadv", "grid", "--attacks", "fgsm,label_flip", "--defenses", "none,median",
        "--dataset", "mnist[train=300,val=100,test=100]", "--samples", "20", "--repeats", "2",
        cwd=work, **env,
    )  # fmt: skip
    assert "fgsm" in out
    assert "label_flip" in out
    assert (work / "fastadv-results" / "table.md").is_file()
    assert "5,000 held out" in run(scripts / "fastadv", "list", cwd=work, **env)
    assert run(scripts / "fastadv", "data", "verify", cwd=work, **env)


def yaml(path: str) -> Any:
    reader = pytest.importorskip("yaml")
    return reader.safe_load((ROOT / path).read_text(encoding="utf-8"))


def test_the_citation_is_of_this_version() -> None:
    cited = yaml("CITATION.cff")
    assert cited["cff-version"] == "1.2.0"
    assert cited["type"] == "software"
    assert cited["version"] == fastadv.__version__
    assert cited["authors"] == PROJECT["authors"]
    assert cited["license"] in PROJECT["license"]
    # All that version 1.2.0 of the format requires, and nothing that it does not know.
    assert {"message", "title"} <= set(cited)
    known = {"cff-version", "message", "type", "title", "abstract", "authors", "version", "license", "keywords"}  # fmt: skip
    assert set(cited) <= known
    assert all(isinstance(cited[key], str) for key in known - {"authors", "keywords"})


def test_the_workflow_runs_what_the_package_claims() -> None:
    workflow = yaml(".github/workflows/test.yml")
    assert set(workflow) == {"name", True, "permissions", "jobs"}  # YAML 1.1 reads `on` as true
    jobs = workflow["jobs"]
    matrix = jobs["test"]["strategy"]["matrix"]
    assert matrix["python"] == PYTHONS
    claimed = [
        line.rpartition(" :: ")[2] for line in PROJECT["classifiers"] if "Python :: 3." in line
    ]
    assert claimed == PYTHONS
    assert PROJECT["requires-python"] == ">=3.11,<3.15"
    steps = [step.get("run", "") for step in jobs["test"]["steps"]]
    assert "make test PYTHON=python" in steps
    # Without make, the same commands: each is one that the Makefile has.
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    words = (
        "ruff check .",
        "ruff format --check .",
        "mypy",
        "-m uncompiled",
        "pytest tests/kernels",
    )
    (windows,) = [step for step in steps if "Scripts" in step]
    for command in words:
        assert command in makefile.replace("$(PYTEST)", "pytest")
        assert command in windows
    browser = [step.get("run", "") for step in jobs["browser"]["steps"]]
    assert "make test-browser" in browser
    assert any("chromium" in step for step in browser)
