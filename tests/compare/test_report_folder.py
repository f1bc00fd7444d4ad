"""The folder of a report: what is replaced, what is refused, and what stays."""

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import joblib
import pytest

from skue.compare import _report
from skue.compare._contenders import ENCODER_NAMES
from skue.compare._report import MANIFEST, check_folder, encoder_file, write_report
from skue.compare._stopping import Stopping

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs signals of POSIX")


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


@pytest.fixture
def report(small, tmp_path):
    write(small, tmp_path / "report")
    return tmp_path / "report"


def test_every_encoder_that_may_be_compared_has_a_known_file(small):
    assert set(small.encoders) == set(ENCODER_NAMES)


def test_the_manifest_names_every_file_of_the_report(report):
    assert set(recorded(report)) == set(os.listdir(report)) - {MANIFEST}
    assert {encoder_file(name) for name in ENCODER_NAMES} < set(recorded(report))


def test_a_new_report_takes_the_place_of_the_earlier_one(small, report):
    earlier = contents(report)
    one_less = {name: small.encoders[name] for name in ENCODER_NAMES if name != "mix"}
    write(replace(small, encoders=one_less), report)
    assert "mix.joblib" in earlier
    assert set(contents(report)) == set(earlier) - {"mix.joblib"}
    assert contents(report)["scores.json"] == earlier["scores.json"]


def test_all_that_is_not_of_the_report_stays(small, report):
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


def test_a_folder_without_a_manifest_is_refused_even_if_a_file_has_the_name_of_ours(tmp_path):
    (tmp_path / "scores.json").write_text("{}")
    with pytest.raises(ValueError, match="is not empty and holds no earlier report"):
        check_folder(tmp_path)


def test_a_report_of_the_earlier_release_is_refused_and_named_as_such(tmp_path):
    for name in ("scores.json", "report.html"):
        (tmp_path / name).write_text("")
    with pytest.raises(ValueError, match=r"as skue 0\.1 wrote them"):
        check_folder(tmp_path)


@pytest.mark.parametrize("name", ["report.html", "two-tower.joblib"])
def test_a_file_that_somebody_has_changed_is_refused_and_kept(small, report, name):
    (report / name).write_text("notes of mine")
    before = contents(report)
    for attempt in (check_folder, lambda folder: write(small, folder)):
        with pytest.raises(ValueError, match=f"{name} has changed since skue wrote it"):
            attempt(report)
    assert contents(report) == before


def test_a_file_that_somebody_has_deleted_is_written_again(small, report):
    (report / "report.html").unlink()
    check_folder(report)
    write(small, report)
    assert "report.html" in os.listdir(report)


@pytest.mark.parametrize("name", ["mix.joblib", "Report.HTML"])
def test_a_file_of_somebody_else_in_the_way_is_refused(report, name):
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
def test_a_manifest_that_names_anything_but_files_of_reports_is_refused(small, report, name):
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
def test_a_manifest_that_is_none_is_refused(report, text):
    (report / MANIFEST).write_text(text)
    with pytest.raises(ValueError, match="is not as skue writes it"):
        check_folder(report)


def test_a_manifest_that_is_a_pipe_is_not_waited_for(report):
    (report / MANIFEST).unlink()
    os.mkfifo(report / MANIFEST)
    with pytest.raises(ValueError, match="is not as skue writes it"):
        check_folder(report)


def test_a_copied_manifest_gives_no_right_to_other_files(report, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(report / MANIFEST, other)
    (other / "scores.json").write_text("scores of something else")
    with pytest.raises(ValueError, match=r"scores\.json has changed"):
        check_folder(other)


def test_a_link_in_place_of_a_file_is_refused(report, tmp_path):
    elsewhere = tmp_path / "elsewhere.html"
    shutil.move(report / "report.html", elsewhere)
    (report / "report.html").symlink_to(elsewhere)
    with pytest.raises(ValueError, match=r"report\.html has changed"):
        check_folder(report)


def test_a_file_put_into_an_empty_folder_during_the_run_is_kept(small, tmp_path):
    folder = tmp_path / "report"
    folder.mkdir()
    check_folder(folder)
    (folder / "scores.json").write_text("mine")
    with pytest.raises(ValueError, match="is not empty"):
        write(small, folder)
    assert contents(folder) == {"scores.json": b"mine"}


@pytest.mark.parametrize("earlier", [False, True], ids=["first", "second"])
def test_a_disk_that_is_full_leaves_all_as_it_was(small, tmp_path, monkeypatch, earlier):
    if earlier:
        write(small, tmp_path / "report")
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
def test_after_a_kill_between_two_renames_every_file_is_known(
    small, report, monkeypatch, n_renamed
):
    (report / "mine.txt").write_text("mine")
    changed = replace(small, about=replace(small.about, log="another.csv"))
    rename, calls = os.replace, []

    def killed(*paths):
        if len(calls) == n_renamed:
            raise SystemError("killed")
        calls.append(paths)
        rename(*paths)

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(SystemError, match="killed"):
        write(changed, report)
    monkeypatch.undo()
    check_folder(report)
    write(changed, report)
    assert "another.csv" in (report / "scores.json").read_text()
    assert all(len(checksums) == 1 for checksums in recorded(report).values())
    assert (report / "mine.txt").read_text() == "mine"


def test_what_a_killed_run_left_is_told_and_left_alone(small, tmp_path):
    left_over = tmp_path / ".skue-report-0123456789ab"
    left_over.mkdir()
    (left_over / "mix.joblib").write_bytes(b"half")
    assert check_folder(tmp_path) == [left_over.name]
    write(small, tmp_path)
    assert (left_over / "mix.joblib").read_bytes() == b"half"


def test_a_log_whose_name_is_no_text_is_written(small, tmp_path):
    name = os.fsdecode(b"caf\xe9.csv")
    write(replace(small, about=replace(small.about, log=name)), tmp_path)
    assert json.loads((tmp_path / "scores.json").read_text())["about"]["log"] == name
    assert "caf\\udce9.csv" in (tmp_path / "report.html").read_text()


INTERRUPTED = """
import os, signal, sys
import joblib
from pathlib import Path
from skue.compare import _report
from skue.compare._stopping import Stopping

comparison, folder, number, module, name, n_calls = joblib.load(sys.argv[1]), *sys.argv[2:]
module = {"os": os, "joblib": joblib}[module]
original, calls = getattr(module, name), []

def interrupting(*arguments):
    calls.append(arguments)
    if len(calls) == int(n_calls):
        os.kill(os.getpid(), int(number))
    return original(*arguments)

setattr(module, name, interrupting)
signal.signal(signal.SIGINT, signal.default_int_handler)
with Stopping() as stopping:
    _report.write_report(comparison, Path(folder), stopping)
"""


def interrupt(comparison, folder, number, *call):
    """Write a report in a process that sends itself a signal at the n-th call of a function."""
    pickled = folder.parent / "comparison.pickle"
    joblib.dump(comparison, pickled)
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, pickled, folder, *map(str, [int(number), *call])],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    pickled.unlink()
    return done


@pytest.mark.parametrize("earlier", [False, True], ids=["first", "second"])
def test_ctrl_c_before_the_report_is_complete_leaves_all_as_it_was(small, tmp_path, earlier):
    if earlier:
        write(small, tmp_path / "report")
    before = contents(tmp_path)
    changed = replace(small, about=replace(small.about, log="another.csv"))
    done = interrupt(changed, tmp_path / "report", signal.SIGINT, "joblib", "dump", 3)
    assert done.returncode == 130, done.stderr
    assert done.stderr == "skue compare: interrupted; nothing was written\n"
    assert contents(tmp_path) == before
    assert os.listdir(tmp_path) == (["report"] if earlier else [])


def test_ctrl_c_between_two_renames_waits_until_the_report_is_complete(small, report):
    changed = replace(small, about=replace(small.about, log="another.csv"))
    done = interrupt(changed, report, signal.SIGINT, "os", "replace", 4)
    assert done.returncode == 130, done.stderr
    assert done.stderr == f"skue compare: interrupted; the report in {report} is complete\n"
    assert "another.csv" in (report / "scores.json").read_text()
    assert all([_report._checksum(report / n)] == sums for n, sums in recorded(report).items())
    assert not [name for name in os.listdir(report) if name.startswith(".")]


@pytest.mark.parametrize("earlier", [False, True], ids=["first", "second"])
@pytest.mark.parametrize(
    "call", [("joblib", "dump", 3), ("os", "replace", 4)], ids=["files", "end"]
)
def test_after_kill_9_the_next_run_writes_a_whole_report(small, tmp_path, earlier, call):
    folder = tmp_path / "report"
    if earlier:
        write(small, folder)
        (folder / "mine.txt").write_text("mine")
    changed = replace(small, about=replace(small.about, log="another.csv"))
    assert interrupt(changed, folder, signal.SIGKILL, *call).returncode == -signal.SIGKILL
    left_over = check_folder(folder)
    assert len(left_over) == 1
    write(changed, folder)
    assert "another.csv" in (folder / "scores.json").read_text()
    assert all([_report._checksum(folder / n)] == sums for n, sums in recorded(folder).items())
    others = set(os.listdir(folder)) - {MANIFEST, *recorded(folder)}
    assert others == {*left_over, *(["mine.txt"] if earlier else [])}
