"""What the package shows, and which room may import which."""

import ast
import importlib
import inspect
import re
from pathlib import Path

import pytest

import skue
import skue.datasets

ROOT = Path(skue.__file__).parent
ROOMS = {
    "kernels": set(),
    "reading": {"kernels"},
    "histories": {"kernels", "reading"},
    "items": {"kernels", "reading", "histories"},
    "encoders": {"kernels", "reading", "histories", "items"},
    "metrics": {"kernels", "reading", "histories", "items", "encoders"},
    "serving": {"kernels", "reading", "histories", "items", "encoders", "metrics"},
    "datasets": {"histories", "items"},
}
SHARED = {"_html", "_optional", "_warn"}
PUBLIC = [getattr(skue, name) for name in skue.__all__] + [skue.datasets.make_user_histories]


def test_all_is_sorted_and_is_all_that_is_public():
    public = {
        name
        for name, value in vars(skue).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }
    assert set(skue.__all__) == public
    # Constants, then classes, then functions, as ruff sorts them.
    kinds = [0 if n.isupper() else 1 if n[0].isupper() else 2 for n in skue.__all__]
    assert list(zip(kinds, skue.__all__, strict=True)) == sorted(
        zip(kinds, skue.__all__, strict=True)
    )


def imported_rooms(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names = [node.module]
        yield from (name.split(".")[1] for name in names if name.startswith("skue."))


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_the_rooms_before_it(room):
    paths = list((ROOT / room).glob("*.py"))
    assert paths
    for path in paths:
        allowed = ROOMS[room] | {room} | SHARED
        assert set(imported_rooms(path)) <= allowed, path


@pytest.mark.parametrize("thing", PUBLIC, ids=lambda thing: thing.__name__)
def test_everything_public_documents_its_parameters_and_has_an_example(thing):
    text = inspect.getdoc(thing)
    assert ">>> " in text
    section = re.search(r"Parameters\n-+\n(.*?)(\n\n[A-Z][a-z]+( [A-Z][a-z]+)?\n-+|\Z)", text, re.S)
    documented = {
        name.strip()
        for line in re.findall(r"^(\S.*?) :", section.group(1) if section else "", re.M)
        for name in line.split(",")
    }
    signature = inspect.signature(thing)
    assert documented == {name for name in signature.parameters if name != "self"}


@pytest.mark.parametrize(
    "name",
    [
        "CooccurrenceItemEmbedder",
        "DecayAverageUserEncoder",
        "MixedUserEncoder",
        "TwoTowerUserEncoder",
    ],
)
def test_every_fitted_attribute_is_documented(name):
    estimator = getattr(skue, name)()
    estimator.fit([[i % 7, (i + 1) % 7, (i * 3) % 7, i % 5] for i in range(60)])
    fitted = {a for a in vars(estimator) if a.endswith("_") and not a.startswith("_")}
    text = inspect.getdoc(type(estimator))
    missing = {attribute for attribute in fitted if f"\n{attribute} : " not in text}
    assert not missing


def test_importing_skue_imports_no_optional_dependency():
    import subprocess
    import sys

    code = (
        "import sys, sklearn.base; before = set(sys.modules); import skue;"
        "print(sorted({'pandas', 'matplotlib', 'numba', 'pyarrow', 'redis', 'faiss'}"
        " & (set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_missing_optional_dependency_says_which_extra_brings_it():
    optional = importlib.import_module("skue._optional")
    message = r'no_such_module.*clone of skue: python -m pip install -e "\.\[io\]"'
    with pytest.raises(ImportError, match=message):
        optional.import_optional("no_such_module", "io")


def test_nothing_says_to_install_skue_from_an_index():
    checked = 0
    for folder in (
        ROOT,
        ROOT.parent / "docs",
        ROOT.parent / "benchmarks",
        ROOT.parent / "examples",
    ):
        for path in [*folder.rglob("*.py"), *folder.rglob("*.md")]:
            if not {"_build", "auto_examples"} & set(path.parts):
                text = path.read_text(encoding="utf-8")
                assert not re.search(r"pip install (-\w+ )*[\"']?skue\b", text), path
                checked += 1
    assert checked > 100


def test_no_machine_path_is_in_the_package():
    for path in ROOT.rglob("*.py"):
        assert "/work/" not in path.read_text(encoding="utf-8"), path
