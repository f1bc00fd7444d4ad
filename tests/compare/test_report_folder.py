"""The report folder: which files are replaced, which are refused, and which stay."""

import json
import os
import shutil
from dataclasses import replace

import joblib
import pytest

from skue.compare import _report
from skue.compare._report import MARKER, check_folder, write_report

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")


@pytest.fixture(scope="module", autouse=True)
def without_pictures():
    """Leave the pictures out: drawing them takes a second a report."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_report, "_svg", lambda figure, axes: "")
        yield


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def marked(folder):
    return json.loads((folder / MARKER).read_text())["files"]


@pytest.fixture(scope="module")
def written(small, tmp_path_factory):
    folder = tmp_path_factory.mktemp("written") / "report"
    write_report(small, folder)
    return folder


@pytest.fixture
def report(written, tmp_path):
    return shutil.copytree(written, tmp_path / "report")


@pytest.fixture
def changed(small):
    return replace(small, about={**small.about, "log": "another.csv"})


def test_the_marker_names_every_file_of_the_report(small, report):
    assert set(marked(report)) == set(os.listdir(report)) - {MARKER}
    files = {contender.file for contender in small.encoders}
    assert files | {"report.html", "scores.json"} == set(marked(report))
    assert "decay-average-30-days.joblib" in files


def test_a_new_report_replaces_the_earlier_one(small, report):
    earlier = contents(report)
    (report / "report.html").unlink()  # a deleted file is written again
    fewer = [contender for contender in small.contenders if contender.name != "mix"]
    write_report(replace(small, contenders=fewer), report)
    assert "mix.joblib" in earlier
    assert set(contents(report)) == set(earlier) - {"mix.joblib"}
    assert contents(report)["scores.json"] == earlier["scores.json"]


def test_files_that_skue_did_not_write_are_kept(small, report):
    (report / "data").mkdir()
    for name in ("thesis.tex", "data/raw.csv", "my-model.joblib"):
        (report / name).write_text("years of work")
    write_report(small, report)
    for name in ("thesis.tex", "data/raw.csv", "my-model.joblib"):
        assert (report / name).read_text() == "years of work"


def test_a_folder_with_files_but_no_marker_is_refused(tmp_path):
    (tmp_path / "scores.json").write_text("{}")
    with pytest.raises(ValueError, match="is not empty and has no earlier report"):
        check_folder(tmp_path)


def test_a_file_of_the_user_with_the_name_of_a_report_file_is_refused(small, report):
    names = [name for name in marked(report) if name != "mix.joblib"]
    (report / MARKER).write_text(json.dumps({"files": names}))
    (report / "mix.joblib").write_text("mine")
    before = contents(report)
    with pytest.raises(ValueError, match=r"mix\.joblib was not written by skue"):
        write_report(small, report)
    assert contents(report) == before


@pytest.mark.parametrize(
    "text",
    [
        "{",
        '{"files": 3}',
        '{"files": ["../thesis.tex"]}',
        '{"files": ["scores.json", "/etc/passwd"]}',
    ],
)
def test_a_marker_that_skue_has_not_written_is_refused(report, text):
    (report / MARKER).write_text(text)
    with pytest.raises(ValueError, match="is not as skue writes it"):
        check_folder(report)


@pytest.mark.parametrize("earlier", [False, True], ids=["first", "second"])
def test_a_full_disk_or_ctrl_c_changes_nothing(changed, written, tmp_path, monkeypatch, earlier):
    if earlier:
        shutil.copytree(written, tmp_path / "report")
    before = contents(tmp_path)
    dump = joblib.dump

    def failing(encoder, path):
        if "mix" in str(path):
            raise KeyboardInterrupt
        return dump(encoder, path)

    monkeypatch.setattr(joblib, "dump", failing)
    with pytest.raises(KeyboardInterrupt):
        write_report(changed, tmp_path / "report")
    assert contents(tmp_path) == before
    assert os.listdir(tmp_path) == (["report"] if earlier else [])


@pytest.mark.parametrize("n_moved", [1, 4])
def test_after_a_failure_between_two_moves_the_next_run_can_write(
    changed, report, monkeypatch, n_moved
):
    (report / "mine.txt").write_text("mine")
    move, calls = os.replace, []

    def failing(*paths):
        if len(calls) == n_moved:
            raise SystemError("stopped")
        calls.append(paths)
        move(*paths)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", failing)
        with pytest.raises(SystemError, match="stopped"):
            write_report(changed, report)
    write_report(changed, report)
    assert "another.csv" in (report / "scores.json").read_text()
    assert set(os.listdir(report)) == {*marked(report), MARKER, "mine.txt"}


def test_without_the_extra_plot_the_error_says_how_to_install_it(tmp_path, monkeypatch):
    def missing(module, extra):
        raise ImportError(f"{module} is required but not installed: {extra}")

    monkeypatch.setattr(_report, "import_optional", missing)
    with pytest.raises(ImportError, match="jinja2 is required but not installed: plot"):
        check_folder(tmp_path / "report")
