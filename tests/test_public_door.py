"""What the package shows, and which room may import which."""

import ast
import inspect
import re
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import skue
import skue.datasets
from skue._estimator import import_optional

ROOT = Path(skue.__file__).parent
FOLDERS = [ROOT] + [ROOT.parent / name for name in ("docs", "benchmarks", "examples")]
TO_ITEMS = {"kernels", "reading", "histories", "items"}
TO_METRICS = TO_ITEMS | {"encoders", "metrics"}
# Each room, and the rooms it may import besides itself and SHARED.
ROOMS = {
    "_files": {"kernels", "reading"},
    "kernels": set(),
    "reading": {"kernels"},
    "histories": {"kernels", "reading"},
    "items": TO_ITEMS - {"items"},
    "encoders": TO_ITEMS,
    "encoders.two_tower": TO_ITEMS | {"encoders"},
    "metrics": TO_ITEMS | {"encoders"},
    "ranking": TO_METRICS | {"encoders.two_tower"},
    "serving": TO_METRICS | {"ranking"},
    "datasets": {"histories", "items"},
    "compare": TO_METRICS | {"encoders.two_tower", "datasets", "ranking"},
}
SHARED = {"_ctrl_c", "_estimator", "_files", "_version"}
MODULES = {
    ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in ROOT.rglob("*.py")
}
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


def imported_modules(path):
    """Modules of skue that a file imports, also in functions; ``import skue`` is one, too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in MODULES else node.module for name in inner]
        yield from (name for name in names if name.split(".")[0] == "skue")


def room_of(module):
    """Longest name in ROOMS or SHARED that holds the module; None is the package itself."""
    name = module.removeprefix("skue").removeprefix(".")
    while name and name not in ROOMS and name not in SHARED:
        name = name.rpartition(".")[0]
    return name or None


@pytest.mark.parametrize("room", sorted({*ROOMS, *SHARED}))
def test_a_room_imports_only_the_rooms_before_it(room):
    paths = {module: path for module, path in MODULES.items() if room_of(module) == room}
    assert paths
    for module, path in paths.items():
        allowed = ROOMS.get(room, set()) | SHARED | {room}
        if path.name == "__init__.py":  # shows what the rooms inside it hold
            allowed |= {inner for inner in ROOMS if inner.startswith(f"{room}.")}
        assert {room_of(name) for name in imported_modules(path)} <= allowed, module


def test_every_module_belongs_to_a_room():
    assert {module for module in MODULES if not room_of(module)} == {"skue", "skue.__main__"}


def test_no_modules_import_one_another_in_a_circle():
    graph = {module: set(imported_modules(path)) for module, path in MODULES.items()}
    assert sum(map(len, graph.values())) > 100
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


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


@pytest.mark.filterwarnings("ignore:X has no timestamps and no weights")
@pytest.mark.parametrize(
    "estimator",
    [
        skue.CooccurrenceItemEmbedder(),
        skue.DecayAverageUserEncoder(),
        skue.HistoryStatistics(),
        skue.MixedUserEncoder(),
        skue.OwnFrequencyRanker(),
        skue.PopularityRanker(),
        skue.ProfileUserEncoder(),
        skue.SimilarUsersRanker(),
        skue.TransitionItemRanker(),
        skue.TwoStageRecommender(skue.DecayAverageUserEncoder()),
        skue.TwoTowerUserEncoder(max_iter=1),
    ],
    ids=repr,
)
def test_every_fitted_attribute_is_documented(estimator):
    estimator.fit([[i % 7, (i + 1) % 7, (i * 3) % 7, i % 5] for i in range(60)])
    fitted = {a for a in vars(estimator) if a.endswith("_") and not a.startswith("_")}
    text = inspect.getdoc(type(estimator))
    missing = {attribute for attribute in fitted if f"\n{attribute} : " not in text}
    assert not missing


def test_importing_skue_imports_no_optional_dependency():
    code = (
        "import sys, sklearn.base; before = set(sys.modules); import skue;"
        "print(sorted({'pandas', 'matplotlib', 'numba', 'pyarrow', 'redis', 'faiss'}"
        " & (set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_missing_optional_dependency_names_the_extra_to_install():
    message = r'no_such_module.*clone of skue: python -m pip install -e "\.\[io\]"'
    with pytest.raises(ImportError, match=message):
        import_optional("no_such_module", "io")


def written_files():
    """Every module, page and example, without what a build writes."""
    for folder in FOLDERS:
        for path in [*folder.rglob("*.py"), *folder.rglob("*.md")]:
            if not {"_build", "auto_examples", "generated"} & set(path.parts):
                yield path, path.read_text(encoding="utf-8")


def test_no_file_tells_users_to_install_skue_from_a_package_index():
    texts = dict(written_files())
    assert len(texts) > 100
    for path, text in texts.items():
        assert not re.search(r"pip install (-\w+ )*[\"']?skue\b", text), path


def test_no_file_names_a_folder_of_one_machine():
    folder = re.compile(r"(?<![\w.:/])/(home|Users|root|mnt|work|workspace)/\w|\b[A-Z]:\\Users\b")
    for path, text in written_files():
        assert str(ROOT.parent) not in text, path
        assert not folder.search(text), path
