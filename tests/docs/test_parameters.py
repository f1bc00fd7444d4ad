"""Every parameter and attribute in a public docstring has a description."""

import inspect
import re

import pytest

import skue
import skue.datasets
import skue.serving

MODULES = (skue, skue.datasets, skue.serving)


def public_things():
    """Return the public classes, functions and methods by their names."""
    things = {name: getattr(module, name) for module in MODULES for name in module.__all__}
    for thing in list(things.values()):
        if inspect.isclass(thing):
            for name, method in inspect.getmembers(thing, inspect.isroutine):
                is_own = (getattr(method, "__module__", None) or "").startswith("skue")
                if is_own and not name.startswith("_"):
                    things[method.__qualname__] = method
    return things


def public_docstrings():
    """Return the docstrings of public classes, functions and methods by their names."""
    return {name: inspect.getdoc(thing) or "" for name, thing in public_things().items()}


def described(text, section):
    """Return the description of each entry of a numpydoc section, empty if there is none."""
    found = re.search(rf"^{section}\n-+\n(.*?)(?=\n\n[A-Z][\w ]*\n-+\n|\Z)", text, re.S | re.M)
    descriptions: dict[str, str] = {}
    name = ""
    # A type may go on after a backslash.
    for line in re.sub(r"\\\n\s*", "", found.group(1) if found else "").splitlines():
        if line and not line[0].isspace():
            name = line.split(" : ")[0]
            descriptions[name] = ""
        elif name:
            descriptions[name] += line.strip()
    return descriptions


@pytest.mark.parametrize("section", ["Parameters", "Attributes"])
def test_every_entry_of_a_public_docstring_has_a_description(section):
    entries = {
        (thing, name): description
        for thing, text in public_docstrings().items()
        for name, description in described(text, section).items()
    }
    assert len(entries) > 80
    assert not [entry for entry, description in entries.items() if not description]


def test_every_parameter_of_a_public_signature_is_in_its_docstring():
    missing = []
    for name, thing in public_things().items():
        if not callable(thing):
            continue
        parameters = set(inspect.signature(thing).parameters)
        parameters -= {"self", "cls", "args", "kwargs"}
        entries = described(inspect.getdoc(thing) or "", "Parameters")
        named = {part.strip(" *") for entry in entries for part in entry.split(",")}
        missing += [(name, parameter) for parameter in sorted(parameters - named)]
    assert not missing
