"""Every attack, defense, model and data set by name: one line each, nothing imported until used.

To add one here: write its file, add its line. It then appears in ``fastadv list``, in grids and in
the contract tests. What other packages bring (`fastadv.plugins`) comes behind ours.
"""

from __future__ import annotations

import functools
import inspect
import sys
import typing
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

from fastadv import plugins
from fastadv.entry import Entry
from fastadv.errors import InputError, refuse
from fastadv.specs import Spec, closest, format_spec, is_written, resolve

if TYPE_CHECKING:
    from fastadv.protocols import Defense, EvasionAttack, PoisoningAttack

_EVASION = "fastadv.attacks.evasion"
_POISONING = "fastadv.attacks.poisoning"
_DEFENSES = "fastadv.defenses"

ATTACKS: list[Entry] = [
    Entry("none", "none", "no attack: the clean accuracy of each defense", "fastadv.attacks.none:NoAttack"),
    Entry("noise", "evasion", "random noise of a budget, the control", f"{_EVASION}.noise:Noise"),
    Entry("fgsm", "evasion", "one step along the gradient's sign", f"{_EVASION}.fgsm:FGSM"),
    Entry("pgd", "evasion", "projected gradient steps in an Linf or L2 ball", f"{_EVASION}.pgd:PGD"),
    Entry("apgd", "evasion", "projected steps that halve themselves", f"{_EVASION}.apgd:APGD"),
    Entry("square", "evasion", "random windows, from logits alone", f"{_EVASION}.square:Square"),
    Entry("deepfool", "evasion", "steps to the nearest boundary", f"{_EVASION}.deepfool:DeepFool"),
    Entry("cw", "evasion", "the least L2 change of a confidence", f"{_EVASION}.cw:CW"),
    Entry("stadv", "evasion", "a flow field that bends the image", f"{_EVASION}.stadv:StAdv"),
    Entry("spatial", "evasion", "rotations and translations, without gradients", f"{_EVASION}.spatial:Spatial"),
    Entry("train_noise", "poisoning", "added copies with noise and wrong labels, the control", f"{_POISONING}.train_noise:TrainNoise"),
    Entry("label_flip", "poisoning", "added copies with wrong labels", f"{_POISONING}.label_flip:LabelFlip"),
    Entry("backdoor", "poisoning", "added images with a patch that calls a label", f"{_POISONING}.backdoor:Backdoor"),
    Entry("biggio", "poisoning", "points found by the gradient through training", f"{_POISONING}.biggio:Biggio"),
]  # fmt: skip

DEFENSES: list[Entry] = [
    Entry("none", "none", "no defense", "fastadv.defenses.none:NoDefense"),
    Entry("adv_training", "training", "training on attacked batches", f"{_DEFENSES}.training.adv_training:AdversarialTraining", {"attack": "pgd[eps=0.1,steps=1,step_size=0.1,keep=last]"}),
    Entry("knn_relabel", "sanitizer", "training labels by their neighbours' vote", f"{_DEFENSES}.sanitizers.knn_relabel:KNNRelabel"),
    Entry("outlier", "sanitizer", "without training images far from their class", f"{_DEFENSES}.sanitizers.outlier:Outlier"),
    Entry("sphere_slab", "sanitizer", "a ball and a slab around each class's mean", f"{_DEFENSES}.sanitizers.sphere_slab:SphereSlab"),
    Entry("loss_trim", "sanitizer", "training on the rows of least loss", f"{_DEFENSES}.sanitizers.loss_trim:LossTrim"),
    Entry("trigger_scan", "sanitizer", "without classes' second populations, against backdoors", f"{_DEFENSES}.sanitizers.trigger_scan:TriggerScan"),
    Entry("dpa", "certified", "a vote of models on parts of the data, certified", f"{_DEFENSES}.training.dpa:DPA"),
    Entry("bagging", "certified", "a vote of models on random bags, certified", f"{_DEFENSES}.training.bagging:Bagging"),
    Entry("median", "preprocessor", "a median filter before the model", f"{_DEFENSES}.preprocessors.median:Median"),
    Entry("mean", "preprocessor", "a mean filter before the model", f"{_DEFENSES}.preprocessors.mean:Mean"),
    Entry("interval", "certified", "training on interval bounds, certified in Linf", f"{_DEFENSES}.certified.interval:Interval"),
    Entry("smoothing", "certified", "the vote under Gaussian noise, certified in L2", f"{_DEFENSES}.certified.smoothing:Smoothing"),
    Entry("bit_depth", "preprocessor", "fewer grey levels before the model", f"{_DEFENSES}.preprocessors.bit_depth:BitDepth"),
]  # fmt: skip

MODELS: list[Entry] = [
    Entry("mlp", "model", "multi-layer perceptron, 784-128-10 unless told", "fastadv.models.mlp:MLPClassifier"),
    Entry("svm", "model", "support vector machine for two classes, linear or RBF", "fastadv.models.svm:SVC"),
    Entry("cnn", "model", "small convolutional network, trained by PyTorch", "fastadv.models.cnn:ConvNet"),
]  # fmt: skip

_DATA = "fastadv.datasets"

# A path is read by the first that says it can; IDX takes any folder.
DATASETS: list[Entry] = [
    Entry("mnist", "dataset", "28 x 28 grey digits; 55,000 to train, 5,000 held out, 10,000 to test", f"{_DATA}.shipped:read_mnist"),
    Entry("digits", "dataset", "8 x 8 grey digits of scikit-learn; 1,319 to train, 119 held out, 359 to test", f"{_DATA}.digits:read_digits"),
    Entry("fashion_mnist", "fetched", "28 x 28 grey clothes; as many as MNIST's", f"{_DATA}.fetched:read_fashion_mnist"),
    Entry("kmnist", "fetched", "28 x 28 grey hiragana; as many as MNIST's", f"{_DATA}.fetched:read_kmnist"),
    Entry("emnist", "fetched", "28 x 28 grey letters and digits, six sets: emnist[subset=letters]", f"{_DATA}.fetched:read_emnist"),
    Entry("qmnist", "fetched", "MNIST made again, with 60,000 images for tests", f"{_DATA}.fetched:read_qmnist"),
    Entry("usps", "fetched", "16 x 16 grey digits of envelopes, 7,291 and 2,007 for tests", f"{_DATA}.fetched:read_usps"),
    Entry("cifar10", "fetched", "32 x 32 pictures in colours; 50,000 and 10,000 for tests", f"{_DATA}.fetched:read_cifar10"),
    Entry("FILE.npz", "path", "x_train, y_train, x_test, y_test (and x_val, y_val); images (n, H, W), (n, H, W, C) or (n, C, H, W), of uint8 or of floats in [0, 1]", f"{_DATA}.npz:read_npz", reads=f"{_DATA}.npz:reads"),
    Entry("FILE.csv", "path", "a table: FILE.csv[label=NAME,fixed=age+sex,one_hot=job,drop=ID]; of images: FILE.csv[label=NAME,shape=28x28]", f"{_DATA}.csv_table:read_csv", reads=f"{_DATA}.csv_table:reads"),
    Entry("FILE.parquet", "path", "the same as a Parquet file (with pyarrow)", f"{_DATA}.parquet:read_parquet", reads=f"{_DATA}.parquet:reads"),
    Entry("FOLDER/CLASS/*", "path", "pictures (with Pillow), or FOLDER/train/CLASS/* and FOLDER/test/CLASS/*", f"{_DATA}.images:read_images", reads=f"{_DATA}.images:reads"),
    Entry("FOLDER/*.bin", "path", "CIFAR-10's binary version, unpacked or as cifar-10-binary.tar.gz", f"{_DATA}.cifar:read_cifar_folder", reads=f"{_DATA}.cifar:reads"),
    Entry("FOLDER/usps.bz2", "path", "USPS's two files, as torchvision keeps them", f"{_DATA}.usps:read_usps_folder", reads=f"{_DATA}.usps:reads"),
    Entry("FOLDER", "path", "four IDX files, named as MNIST's, EMNIST's or QMNIST's are (plain or .gz)", f"{_DATA}.idx:read_idx_folder", reads=f"{_DATA}.idx:reads"),
]  # fmt: skip

# What narrows any data set, in brackets, in the order of its canonical text.
NARROWING: dict[str, Any] = {
    "classes": str, "train": int, "val": int, "test": int, "split": int,
}  # fmt: skip

# Ours alone: `entries` has the plug-ins', too.
REGISTRY: dict[str, list[Entry]] = {
    "attack": ATTACKS, "defense": DEFENSES, "model": MODELS, "dataset": DATASETS,
}  # fmt: skip


def entries(what: str) -> list[Entry]:
    """Return every entry of ``what``, ours and then those of plug-ins, which are imported.

    What of a plug-in cannot be used is left out, with a warning that says why.
    """
    return REGISTRY[what] + plugins.usable(what, _ours(what))


def names(what: str) -> list[str]:
    """Return every name of ``what``; of plug-ins those that they announce: nothing is imported."""
    ours = [entry.name for entry in REGISTRY[what] if not entry.reads]
    return ours + list(plugins.entry_points_of(what, _ours(what)))


def knows(what: str, name: str) -> bool:
    """Return whether ``name`` is one of `names`; plug-ins are asked only if it is not ours."""
    ours = any(entry.name == name and not entry.reads for entry in REGISTRY[what])
    return ours or name in plugins.entry_points_of(what, _ours(what))


def find(what: str, name: str) -> Entry:
    """Return the entry of ``name`` among those of ``what``: attack, defense, model or dataset.

    Raises
    ------
    InputError
        With the nearest known name; or if a plug-in has it, and cannot be imported.
    """
    for entry in REGISTRY[what]:
        if entry.name == name and not entry.reads:
            return entry
    point = plugins.entry_points_of(what, _ours(what)).get(name)
    if point is not None:
        return plugins.entry_of(what, point)
    known = names(what)
    raise InputError(f"no {what} {name!r}{closest(name, known)} (known: {', '.join(known)})")


def _ours(what: str) -> frozenset[str]:
    return frozenset(entry.name for entry in REGISTRY[what])


def make(what: str, text: str, **defaults: Any) -> Any:
    """Build the attack, defense or model that ``text`` describes.

    Parameters
    ----------
    what : {"attack", "defense", "model"}
    text : str
        ``name[param=value,...]``.
    **defaults
        Parameters that hold unless ``text`` gives them, where the class has them.
    """
    spec = Spec.parse(text)
    entry = find(what, spec.name)
    cls = entry.load()
    kinds = parameter_kinds(cls, set(entry.nested))
    known = {key: value for key, value in defaults.items() if key in kinds}
    given: dict[str, Any] = {**known, **spec.parameters}
    nested = {key: make("attack", given.pop(key, default)) for key, default in entry.nested.items()}
    try:
        made = cls(**resolve(given, kinds, spec.name), **nested)
        if hasattr(made, "check_parameters"):  # an estimator's constructor checks nothing
            made.check_parameters()
        if hasattr(made, "without_effect"):
            refuse(made.without_effect())
        return made
    except InputError as error:
        message = str(error)
        raise InputError(
            message if message.startswith(spec.name) else f"{spec.name}: {message}"
        ) from None


def parameter_kinds(owner: Any, nested: Sequence[str] | set[str] = ()) -> dict[str, Any]:
    """Return the type of each parameter of a class, or a function, that a spec can give."""
    return {name: kind for name, kind in _written_kinds(owner).items() if name not in nested}


@functools.cache  # a grid of thousands of cells asks for those of a dozen classes
def _written_kinds(owner: Any) -> dict[str, Any]:
    if is_dataclass(owner):
        hints = typing.get_type_hints(owner)
        given = [f.name for f in fields(owner)]
    else:
        made_by = owner.__init__ if isinstance(owner, type) else owner  # type: ignore[misc]
        hints = typing.get_type_hints(made_by)
        hints |= {name: kind for name, kind in _WRITTEN.items() if name in hints}
        given = list(inspect.signature(owner).parameters)
    return {name: hints[name] for name in given if name in hints and is_written(hints[name])}


@functools.cache
def _unwritten(owner: Any) -> frozenset[str]:
    """Return the parameters of a model whose types a spec cannot give."""
    hints = typing.get_type_hints(owner.__init__)
    return frozenset(hints.keys() - _written_kinds(owner).keys())


# How a model's parameter is written, where its Python type allows more.
_WRITTEN: dict[str, Any] = {"hidden_layer_sizes": tuple[int, ...], "random_state": int}


def parameters(thing: Any) -> dict[str, Any]:
    """Return every parameter of an attack, defense or model; nested attacks as canonical text."""
    if is_dataclass(thing):
        values = {f.name: getattr(thing, f.name) for f in fields(thing)}
    else:
        values = dict(thing.get_params())
    return {key: canonical(v) if is_dataclass(v) else v for key, v in values.items()}


def canonical(thing: Any) -> str:
    """Return the spec of ``thing`` with every parameter written out that a spec can give."""
    values = parameters(thing)
    if not is_dataclass(thing):  # a model may have others, such as the shape that it is bound to
        owner: Any = type(thing)
        values = {name: v for name, v in values.items() if name not in _unwritten(owner)}
    return format_spec(_name_of(thing), values)


def _name_of(thing: Any) -> str:
    name = getattr(thing, "name", None)
    if isinstance(name, str):
        return name
    for entry in REGISTRY["model"]:
        if _is_loaded_from(entry.target, thing):
            return entry.name
    for name, point in plugins.entry_points_of("model", _ours("model")).items():
        if _is_loaded_from(f"{point.module}:{point.attr}", thing):
            return name
    return type(thing).__name__


def _is_loaded_from(target: str, thing: Any) -> bool:
    """Return whether ``module:Class`` has been imported, and is the class of ``thing``."""
    module, _, attribute = target.partition(":")
    return getattr(sys.modules.get(module), attribute, None) is type(thing)


def make_attack(text: str) -> EvasionAttack | PoisoningAttack:
    """Build an attack: ``make_attack("stadv[tau=0.05]")``.

    Parameters
    ----------
    text : str
        A name of ``fastadv list attacks`` and, in brackets, parameters other than their defaults.

    Returns
    -------
    EvasionAttack or PoisoningAttack
        A frozen dataclass whose fields are its parameters.

    Raises
    ------
    InputError
        If there is no such attack, a parameter is wrong, or it is ``none``.
    """
    if Spec.parse(text).name == "none":
        raise InputError("none is a grid's row of clean accuracies, not an attack")
    made: EvasionAttack | PoisoningAttack = make("attack", text)
    return made


def make_defense(text: str) -> Defense:
    """Build a defense: ``make_defense("adv_training[attack=pgd[eps=0.1]]")``.

    Parameters
    ----------
    text : str
        A name of ``fastadv list defenses`` and, in brackets, parameters other than their defaults.

    Returns
    -------
    Defense
        A frozen dataclass whose fields are its parameters.

    Raises
    ------
    InputError
        If there is no such defense, or a parameter is wrong.
    """
    made: Defense = make("defense", text)
    return made


def make_model(text: str) -> Any:
    """Build an untrained model: ``make_model("mlp[hidden_layer_sizes=256-128]")``.

    Parameters
    ----------
    text : str
        A name of ``fastadv list models`` and, in brackets, parameters other than their defaults.

    Returns
    -------
    estimator
        Of scikit-learn's kind, such as `fastadv.MLPClassifier`.

    Raises
    ------
    InputError
        If there is no such model, or a parameter is wrong.
    """
    return make("model", text)
