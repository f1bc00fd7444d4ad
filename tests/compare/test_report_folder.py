"""The report folder: which files are replaced, which are refused, and which stay."""

import json
import os
import shutil
import signal
import sys
from dataclasses import replace

import joblib
import pytest
from processes import in_process, write_report_and_signal

from skue.compare import _page, _report
from skue.compare._contenders import ENCODER_NAMES
from skue.compare._report import MANIFEST, check_folder, encoder_file, write_report
from skue.compare._stopping import Stopping

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs signals of POSIX")


@pytest.fixture(scope="module", autouse=True)
def without_pictures():
    """Leave the pictures out: drawing them takes a second a report."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_page, "curve_svg", lambda comparison: "")
        yield


def write(comparison, folder):
    write_report(comparison, folder, Stopping())


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def recorded(folder):
    return json.loads((folder / MANIFEST).read_text())["files"]


def is_whole(folder):
    return all([_report._checksum(folder / n)] == sums for n, sums in recorded(folder).items())


@pytest.fixture(scope="module")
def written(small, without_pictures, tmp_path_factory):
    folder = tmp_path_factory.mktemp("written") / "report"
    write(small, folder)
    return folder


@pytest.fixture
def report(written, tmp_path):
    return shutil.copytree(written, tmp_path / "report")


@pytest.fixture
def changed(small):
    return replace(small, about=replace(small.about, log="another.csv"))


def test_encoder_names_lists_every_encoder_of_a_comparison(small):
    assert set(small.encoders) == set(ENCODER_NAMES)


def test_the_manifest_names_every_file_of_the_report(report):
    assert set(recorded(report)) == set(os.listdir(report)) - {MANIFEST}
    assert {encoder_file(name) for name in ENCODER_NAMES} < set(recorded(report))


def test_a_new_report_replaces_the_earlier_one(small, report):
    earlier = contents(report)
    one_less = {name: small.encoders[name] for name in ENCODER_NAMES if name != "mix"}
    write(replace(small, encoders=one_less), report)
    assert "mix.joblib" in earlier
    assert set(contents(report)) == set(earlier) - {"mix.joblib"}
    assert contents(report)["scores.json"] == earlier["scores.json"]


def test_files_that_skue_did_not_write_are_kept(small, report):
    (report / "thesis.tex").write_text("years of work")
    (report / "data").mkdir()
    (report / "data" / "raw.csv").write_text("x")
    (report / "my-model.joblib").write_bytes(b"mine")
    before = contents(report)
    assert check_folder(report) == []
    write(small, report)
    after = contents(report)
    for name in ("thesis.tex", "data/raw.csv", "my-model.joblib"):
        assert after[name] == before[name]


def test_a_folder_without_a_manifest_is_refused_even_if_it_holds_a_scores_json(tmp_path):
    (tmp_path / "scores.json").write_text("{}")
    with pytest.raises(ValueError, match="is not empty and has no earlier report"):
        check_folder(tmp_path)


def test_a_report_of_skue_0_1_is_refused_and_the_error_says_so(tmp_path):
    for name in ("scores.json", "report.html"):
        (tmp_path / name).write_text("")
    with pytest.raises(ValueError, match=r"has a report of skue 0\.1"):
        check_folder(tmp_path)


@pytest.mark.parametrize("name", ["report.html", "two-tower.joblib"])
def test_a_report_with_a_changed_file_is_refused_and_kept(small, report, name):
    (report / name).write_text("notes of mine")
    before = contents(report)
    for attempt in (check_folder, lambda folder: write(small, folder)):
        with pytest.raises(ValueError, match=f"{name} has changed since skue wrote it"):
            attempt(report)
    assert contents(report) == before


def test_a_deleted_file_is_written_again(small, report):
    (report / "report.html").unlink()
    check_folder(report)
    write(small, report)
    assert "report.html" in os.listdir(report)


@pytest.mark.parametrize("name", ["mix.joblib", "Report.HTML"])
def test_a_file_of_the_same_name_that_skue_did_not_write_is_refused(report, name):
    manifest = recorded(report)
    for own in [own for own in manifest if own.lower() == name.lower()]:
        del manifest[own]
        (report / own).unlink()
    (report / MANIFEST).write_text(json.dumps({"files": manifest}))
    (report / name).write_text("mine")
    with pytest.raises(ValueError, match=f"{name} was not written by skue"):
        check_folder(report)


@pytest.mark.parametrize(
    "name", ["../thesis.tex", "thesis.tex", "/etc/passwd", "data/a.joblib", "..joblib", "", "a\nb"]
)
def test_a_manifest_that_lists_other_files_than_reports_have_is_refused(small, report, name):
    thesis = report.parent / "thesis.tex"
    thesis.write_text("years of work")
    manifest = recorded(report)
    manifest[name] = [_report._checksum(thesis)]
    (report / MANIFEST).write_text(json.dumps({"files": manifest}))
    for attempt in (check_folder, lambda folder: write(small, folder)):
        with pytest.raises(ValueError, match="is not as skue writes it"):
            attempt(report)
    assert thesis.read_text() == "years of work"


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"files": 3}', '{"files": {"scores.json": 3}}', "[" * 100_000]
)
def test_an_invalid_manifest_is_refused(report, text):
    (report / MANIFEST).write_text(text)
    with pytest.raises(ValueError, match="is not as skue writes it"):
        check_folder(report)


def test_a_pipe_in_place_of_the_manifest_is_refused_without_waiting(report):
    (report / MANIFEST).unlink()
    os.mkfifo(report / MANIFEST)
    with pytest.raises(ValueError, match="is not as skue writes it"):
        check_folder(report)


def test_a_copied_manifest_does_not_allow_replacing_other_files(report, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(report / MANIFEST, other)
    (other / "scores.json").write_text("scores of something else")
    with pytest.raises(ValueError, match=r"scores\.json has changed"):
        check_folder(other)


def test_a_symbolic_link_in_place_of_a_report_file_is_refused(report, tmp_path):
    elsewhere = tmp_path / "elsewhere.html"
    shutil.move(report / "report.html", elsewhere)
    (report / "report.html").symlink_to(elsewhere)
    with pytest.raises(ValueError, match=r"report\.html has changed"):
        check_folder(report)


def test_a_file_created_during_the_run_is_kept(small, tmp_path):
    folder = tmp_path / "report"
    folder.mkdir()
    check_folder(folder)
    (folder / "scores.json").write_text("mine")
    with pytest.raises(ValueError, match="is not empty"):
        write(small, folder)
    assert contents(folder) == {"scores.json": b"mine"}


@pytest.mark.parametrize("earlier", [False, True], ids=["first", "second"])
def test_a_full_disk_changes_nothing(small, written, tmp_path, monkeypatch, earlier):
    if earlier:
        shutil.copytree(written, tmp_path / "report")
    before = contents(tmp_path)
    dump = joblib.dump

    def full(encoder, path):
        if "mix" in str(path):
            raise OSError(28, "No space left on device")
        return dump(encoder, path)

    monkeypatch.setattr(joblib, "dump", full)
    with pytest.raises(OSError, match="No space left"):
        write(small, tmp_path / "report")
    assert contents(tmp_path) == before
    assert os.listdir(tmp_path) == (["report"] if earlier else [])


@pytest.mark.parametrize("n_renamed", range(10))
def test_after_a_failure_between_two_renames_the_next_run_can_write(
    changed, report, monkeypatch, n_renamed
):
    (report / "mine.txt").write_text("mine")
    rename, calls = os.replace, []

    def failing(*paths):
        if len(calls) == n_renamed:
            raise SystemError("stopped")
        calls.append(paths)
        rename(*paths)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", failing)
        with pytest.raises(SystemError, match="stopped"):
            write(changed, report)
    check_folder(report)
    write(changed, report)
    assert "another.csv" in (report / "scores.json").read_text()
    assert all(len(checksums) == 1 for checksums in recorded(report).values())
    assert (report / "mine.txt").read_text() == "mine"


def test_the_leftovers_of_a_killed_run_are_reported_and_kept(small, tmp_path):
    left_over = tmp_path / ".skue-report-0123456789ab"
    left_over.mkdir()
    (left_over / "mix.joblib").write_bytes(b"half")
    assert check_folder(tmp_path) == [left_over.name]
    write(small, tmp_path)
    assert (left_over / "mix.joblib").read_bytes() == b"half"


def test_a_log_whose_name_is_not_valid_text_can_be_reported(small, tmp_path):
    name = os.fsdecode(b"caf\xe9.csv")
    write(replace(small, about=replace(small.about, log=name)), tmp_path)
    assert json.loads((tmp_path / "scores.json").read_text())["about"]["log"] == name
    assert "caf\\udce9.csv" in (tmp_path / "report.html").read_text()


def signal_during(comparison, folder, number, *call):
    """Write a report in a process that gets a signal at the n-th call of a function."""
    errors = folder.parent / "errors.txt"
    code = in_process(write_report_and_signal, comparison, folder, number, *call, stderr=errors)
    said = errors.read_text()
    errors.unlink()
    return code, said


@pytest.mark.parametrize("earlier", [False, True], ids=["first", "second"])
def test_ctrl_c_before_the_report_is_complete_changes_nothing(changed, written, tmp_path, earlier):
    folder = tmp_path / "report"
    if earlier:
        shutil.copytree(written, folder)
    before = contents(tmp_path)
    code, said = signal_during(changed, folder, signal.SIGINT, "joblib", "dump", 3)
    assert (code, said) == (130, "skue compare: interrupted; nothing was written\n")
    assert contents(tmp_path) == before
    assert os.listdir(tmp_path) == (["report"] if earlier else [])


def test_ctrl_c_between_two_renames_waits_until_the_report_is_complete(changed, report):
    code, said = signal_during(changed, report, signal.SIGINT, "os", "replace", 4)
    assert code == 130
    assert said == f"skue compare: interrupted; the report in {report} is complete\n"
    assert "another.csv" in (report / "scores.json").read_text()
    assert is_whole(report)
    assert not [name for name in os.listdir(report) if name.startswith(".")]


@pytest.mark.parametrize("earlier", [False, True], ids=["first", "second"])
@pytest.mark.parametrize(
    "call", [("joblib", "dump", 3), ("os", "replace", 4)], ids=["files", "end"]
)
def test_the_run_after_a_kill_9_writes_a_whole_report(changed, written, tmp_path, earlier, call):
    folder = tmp_path / "report"
    if earlier:
        shutil.copytree(written, folder)
        (folder / "mine.txt").write_text("mine")
    code, _ = signal_during(changed, folder, signal.SIGKILL, *call)
    assert code == -signal.SIGKILL
    left_over = check_folder(folder)
    assert len(left_over) == 1
    write(changed, folder)
    assert "another.csv" in (folder / "scores.json").read_text()
    assert is_whole(folder)
    others = set(os.listdir(folder)) - {MANIFEST, *recorded(folder)}
    assert others == {*left_over, *(["mine.txt"] if earlier else [])}
