"""The command line on small files."""

import html
import io
import json
import os
import re
import signal
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout

import joblib
import numpy as np
import pytest

from skue import (
    TwoStageRecommender,
    TwoTowerUserEncoder,
    load_interactions,
)
from skue.compare import _report
from skue.compare._command import main, parser, read_log

pandas = pytest.importorskip("pandas")

HEADER = "user,item,time\n"


def run(*arguments):
    """Run the command in this process."""
    arguments = list(map(str, arguments))
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        try:
            code = main(arguments)
        except SystemExit as stop:
            code = stop.code
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


def read(path, *options):
    """Read a log as the command does."""
    return read_log(parser().parse_args(["compare", str(path), *options]))[0]


def rows(n_users=40, seed=0):
    rng = np.random.default_rng(seed)
    lines = []
    for user in range(n_users):
        for day in range(1, 6):
            for item in rng.choice(12, size=2, replace=False):
                lines.append(f"u{user},i{item},2026-01-{day:02d}")
    return lines


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    path = tmp_path_factory.mktemp("log") / "log.csv"
    path.write_text(HEADER + "\n".join(rows()) + "\n")
    return path


@pytest.fixture(scope="module")
def compared(log):
    folder = log.parent / "report"
    return run("compare", log, "-k", 3, 5, "--out", folder), folder


@pytest.fixture
def without_pictures(monkeypatch):
    """Leave the pictures out of the report: drawing them takes a second."""
    monkeypatch.setattr(_report, "_svg", lambda figure, axes: "")


def test_the_table_has_every_contender(compared):
    done, _ = compared
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split()[:2] == ["recall@3", "recall@5"]
    names = [line.split("  ")[0] for line in lines[1:14]]
    assert names == [
        "popularity",
        "last item",
        "own frequency",
        "own count + popularity",
        "transitions",
        "similar users",
        "plain average",
        "decay average",
        "decay average, 30 days",
        "decay average, searched",
        "mix",
        "two-tower",
        "two-stage",
    ]
    assert "Ship" in done.stdout or "do not differ significantly" in done.stdout


def test_the_report_holds_a_page_scores_and_encoders_that_load(compared, log):
    _, folder = compared
    assert "</html>" in (folder / "report.html").read_text()
    assert json.loads((folder / "scores.json").read_text())["k"] == [3, 5]
    encoders = sorted(path.name for path in folder.glob("*.joblib"))
    assert "two-tower.joblib" in encoders
    histories = load_interactions(log)
    for name in encoders:
        vectors = joblib.load(folder / name).transform(histories)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_the_page_loads_nothing_from_elsewhere(compared):
    _, folder = compared
    page = (folder / "report.html").read_text()
    for fetching in ("<script", "<link", "<img", "<iframe", "@import", "src="):
        assert fetching not in page
    assert not re.search(r"url\([^#]", page)
    # What looks like an address only names the formats of the pictures.
    named = set(re.findall(r'(\w+(?::\w+)?)="https?://', page))
    assert named <= {"xmlns", "xmlns:xlink"}


def test_the_page_shows_table_curves_search_and_parts(compared):
    done, folder = compared
    page = (folder / "report.html").read_text()
    assert page.count("<svg") == 3  # the curves; a search by instants, one by days
    for part in ("had before (", "new to them ("):
        assert part in page
    assert "cold users (" not in page  # there are none
    scores = json.loads((folder / "scores.json").read_text())
    said = [scores["what_to_ship"], scores["in_plain_words"]]
    assert done.stdout.rstrip().splitlines()[-1] == " ".join(said)
    for sentence in said:
        assert sentence in html.unescape(page)
    assert "two-tower.joblib" in page
    assert "loses half of its weight" in page or "have the same weight" in page


def test_bars_and_intervals_are_as_long_as_the_figures(compared):
    _, folder = compared
    scores = json.loads((folder / "scores.json").read_text())
    page = (folder / "report.html").read_text()
    bars = [float(width) for width in re.findall(r'<i style="width:([\d.]+)%"', page)]
    recalls = [row["recall"]["3"] for row in scores["rows"]]
    assert len(bars) == len(recalls)
    largest = max(bars)
    np.testing.assert_allclose(
        np.array(bars) / largest, np.array(recalls) / max(recalls), atol=2e-3
    )
    # The ranker itself has no interval, all others have one, of which nothing is left of 0.
    drawn = re.findall(r'<u style="left:([\d.]+)%;width:([\d.]+)%"', page)
    assert len(drawn) == len(recalls) - 1
    ends = np.array([[float(left), float(left) + float(width)] for left, width in drawn])
    reference = max(row["recall"]["3"] for row in scores["rows"] if not row["is_encoder"])
    gaps = [row["against"].get(scores["best_ranker"]) for row in scores["rows"]]
    expected = [
        [max(0.0, reference + gap[1]), max(0.0, reference + gap[2])]
        for gap in gaps
        if gap is not None
    ]
    np.testing.assert_allclose(ends / largest, np.array(expected) / max(recalls), atol=4e-3)


def scores(path, *options):
    done = run("compare", path, "-k", 3, "--json", *options)
    assert done.returncode == 0, done.stderr
    content = json.loads(done.stdout)
    assert content.pop("about")["log"] == str(path)
    assert content["notes"].pop(0).startswith(f"Log: {path} (")
    assert content["notes"].pop(0).startswith(f"Read: {path}: ")
    del content["in_plain_words"]  # it has times
    for row in content["rows"]:
        del row["fit_seconds"], row["microseconds_per_user"], row["recommend_microseconds"]
    return content


def test_the_order_of_simultaneous_rows_does_not_change_the_scores(log, tmp_path):
    lines = rows()
    order = np.random.default_rng(1).permutation(len(lines))
    shuffled = tmp_path / "log.csv"
    shuffled.write_text(HEADER + "\n".join(lines[i] for i in order) + "\n")
    assert scores(log) == scores(shuffled)


def test_a_split_in_time_prints_its_cutoff(log):
    assert "first instant after 2026-01-04" in " ".join(scores(log, "--split", "time")["notes"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "There is no file"),
        ("", "is empty; a header line"),
        ("user,thing\n1,2\n", "which column is the item? It has the columns ['user', 'thing']"),
        (HEADER + "u,i,2026-01-01\nu,j,soon\n", "line 3: column 'time' holds 'soon'"),
        (HEADER + "u,i,2026-01-01\n", "No user of 1 is long enough"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(tmp_path, content, message):
    path = tmp_path / "log.csv"
    if content is not None:
        path.write_text(content)
    done = run("compare", path)
    assert done.returncode == 2
    (error,) = done.stderr.splitlines()
    assert error.startswith("skue compare: error: ")
    assert message in error


def test_a_warning_is_one_line_and_a_k_above_the_number_of_items_is_noted(tmp_path):
    path = tmp_path / "log.csv"
    lines = (f"u{n},i{n % 2},2026-01-0{d}\n" for n in range(9) for d in (1, 2))
    path.write_text(HEADER + "".join(lines))
    done = run("compare", path, "-k", 20)
    assert done.returncode == 0, done.stderr
    assert "skue compare: note: No two items appear together" in done.stderr
    assert all(line.startswith("skue compare: ") for line in done.stderr.splitlines())
    assert "k is 20, but there are only 2 items, so recall is the same" in done.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--out", "{log.parent}"], "has no earlier report"),
        (["--out", "none/report"], "(No such file or directory). Create it, or name another"),
        (["--out", "{log}"], "is not a folder. Name a folder."),
        pytest.param(
            ["--out", "/proc/report"],
            "--out /proc/report: /proc is not writable",
            marks=pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc"),
        ),
        (["--items", "none.npz"], "--items none.npz: the file does not exist"),
        (["--items", "{log}"], "error: --items {log}"),
        (["--item-features", "none.csv"], "--item-features none.csv: the file does not exist"),
        (["--time", "time", "--no-time"], "--time time and --no-time cannot be combined"),
        (["--user", "nobody"], "has no column 'nobody'"),
        (["--encoding", "latin-seven"], "latin-seven"),
    ],
    ids=lambda options: " ".join(options) if isinstance(options, list) else "",
)
def test_wrong_options_are_one_error_line_before_any_work(log, options, message):
    done = run("compare", log, *[option.format(log=log) for option in options])
    assert done.returncode == 2
    (error,) = done.stderr.splitlines()
    assert error.startswith("skue compare: error: ")
    assert message.replace("{log}", str(log)) in error


def test_the_table_is_printed_when_the_report_cannot_be_written(
    log, tmp_path, monkeypatch, capsys, without_pictures
):
    def full(encoder, path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(joblib, "dump", full)
    assert main(["compare", str(log), "-k", "3", "--out", str(tmp_path / "report")]) == 2
    printed = capsys.readouterr()
    assert printed.out.splitlines()[0].split()[0] == "recall@3"
    assert "No space left on device" in printed.err.splitlines()[-1]
    assert os.listdir(tmp_path) == []


def started(*arguments):
    """Start the command in a process of its own."""
    command = [sys.executable, *map(str, arguments)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals of POSIX")
def test_ctrl_c_during_the_imports_gives_no_traceback(log):
    process = started("-X", "importtime", "-m", "skue", "compare", log)
    while "sklearn" not in process.stderr.readline():
        pass
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == -signal.SIGINT
    assert "Traceback" not in errors


ENDLESS = """
import sys, time
from skue import TwoTowerUserEncoder
from skue.compare._command import main
TwoTowerUserEncoder.fit = lambda *_: time.sleep(60)
sys.exit(main())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals of POSIX")
def test_sigterm_prints_and_writes_the_rows_that_are_done(log, tmp_path):
    process = started("-c", ENDLESS, "compare", log, "--out", tmp_path / "report")
    table = [process.stdout.readline() for _ in range(12)]  # before the two-tower is done
    while "two-tower" not in process.stderr.readline():
        pass
    process.send_signal(signal.SIGTERM)
    printed, errors = process.communicate()
    assert process.returncode == 143
    assert table[-1].startswith("mix  ")
    assert "Stopped before 'two-tower' and 'two-stage', which are missing." in printed
    assert errors.splitlines()[-1] == "skue compare: interrupted"
    assert "mix.joblib" in os.listdir(tmp_path / "report")


@pytest.mark.parametrize(
    ("stop", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (MemoryError(), 2, "error: not enough memory. MemoryError"),
    ],
    ids=["Ctrl-C", "memory"],
)
def test_a_stop_keeps_the_rows_that_are_done_and_names_the_missing_ones(
    log, tmp_path, monkeypatch, without_pictures, stop, code, said
):
    def fit(*_):
        raise stop

    monkeypatch.setattr(TwoStageRecommender, "fit", fit)
    monkeypatch.setattr(TwoTowerUserEncoder, "fit", fit)
    done = run("compare", log, "-k", 3, "--out", tmp_path / "report")
    assert (done.returncode, done.stderr.splitlines()[-1].strip()) == (
        code,
        f"skue compare: {said}",
    )
    lines = done.stdout.splitlines()
    names = [line.split("  ")[0] for line in lines[1 : lines.index("")]]
    assert names[-3:] == ["decay average, 30 days", "decay average, searched", "mix"]
    assert lines[-1].startswith("Stopped before 'two-tower' and 'two-stage', which are missing.")
    assert "Of the others: " in lines[-1]
    scores = json.loads((tmp_path / "report" / "scores.json").read_text())
    assert [row["name"] for row in scores["rows"]] == names
    assert scores["missing"] == ["two-tower", "two-stage"]
    assert "two-tower.joblib" not in os.listdir(tmp_path / "report")


@pytest.mark.parametrize(
    "arguments",
    [
        ["compare", "-k", "0"],
        [],
    ],
)
def test_wrong_usage_is_exit_code_2(arguments):
    done = run(*arguments)
    assert done.returncode == 2
    assert "usage:" in done.stderr


def german(path, header="Kunde Nr;Artikel;gekauft am", encoding="utf-8"):
    lines = [
        f"{100 + user};Löffel {(user * k) % 7};{k:02d}.03.2026"
        for user in range(1, 7)
        for k in range(1, 6)
    ]
    path.write_text("\n".join([header, *lines]) + "\n", encoding=encoding)
    return path


def test_all_columns_without_a_usual_name_are_asked_for_at_once(tmp_path, capsys):
    path = german(tmp_path / "log.csv", header="wer;was;wann")
    assert main(["compare", str(path)]) == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert "which column is the user and which the item and which the time?" in error
    assert "Set --user COLUMN, --item COLUMN, --time 'wann' (or --no-time" in error
    histories = read(path, "--user", "wer", "--item", "was", "--no-time")
    assert histories.timestamps is None
    assert len(histories) == 6


def test_every_reading_option_reaches_the_reader(tmp_path):
    path = tmp_path / "log.data"
    text = "\n".join(
        f'{user}\t5" nail {(user * k) % 7}\t0{k}/03/2026\t{k},5'
        for user in range(1, 7)
        for k in range(1, 6)
    )
    path.write_text(f"user\titém\tdate\tstars\n{text}\n", encoding="cp1252")
    options = ["--item", "itém", "--weight", "stars", "--decimal", ",", "--dayfirst", "no"]
    options += ["--encoding", "cp1252", "--delimiter", "tab", "--no-quotes"]
    first = read(path, *options)[0:1]
    assert first.item_ids[first.codes].tolist() == [f'5" nail {k}' for k in range(1, 6)]
    assert first.weights.tolist() == [1.5, 2.5, 3.5, 4.5, 5.5]
    assert (first.timestamps == [np.datetime64(f"2026-{k:02d}-03") for k in range(1, 6)]).all()


def test_the_notes_tell_which_columns_were_read_and_which_were_not(tmp_path, capsys):
    path = tmp_path / "log.csv"
    lines = [f"{line},{n}" for n, line in enumerate(rows(12))]
    path.write_text("user,item,time,rating\n" + "\n".join(lines) + "\n")
    assert main(["compare", str(path), "--json"]) == 0
    printed = capsys.readouterr()
    (note,) = [n for n in json.loads(printed.out)["notes"] if n.startswith("Read: ")]
    assert "user = 'user', item = 'item', time = 'time'; not read: 'rating'" in note
    assert "the first row is user u0, item i" in note
    read, way_out = note.removeprefix("Read: ").split(". ")
    assert read in printed.err
    assert way_out == "Column 'rating' is not used: --weight rating."


def nothing_twice(path, n_users=60, n_again=0):
    rng = np.random.default_rng(0)
    lists = [rng.permutation(40)[:8] for _ in range(n_users)]
    for items in lists[:n_again]:
        items[-1] = items[0]
    lines = (f"u{u} " + " ".join(map(str, items)) for u, items in enumerate(lists))
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


@pytest.mark.parametrize(
    ("n_again", "options", "excluded"),
    [
        (4, [], True),  # 4 of 480 events
        (5, [], False),
        (5, ["--seen", "exclude"], True),
    ],
)
def test_seen_items_are_excluded_where_fewer_than_1_percent_of_events_repeat_an_item(
    tmp_path, capsys, n_again, options, excluded
):
    path = nothing_twice(tmp_path / "log.txt", n_again=n_again)
    assert main(["compare", str(path), "--json", *options]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["exclude_seen"] is excluded
    assert content["repeated_events"] == pytest.approx(n_again / 480)
    names = [row["name"] for row in content["rows"] if not row["is_encoder"]]
    of_the_history = ["last item", "own frequency", "own count + popularity"]
    assert names == ["popularity", *([] if excluded else of_the_history), "transitions"]
    said = " ".join(content["notes"])
    assert f"{n_again / 480:.1%} of all events repeat" in said
    assert ("left out of the ranking" in said) is excluded
    assert ("(change this with --seen keep)" in said) is (excluded and not options)


def test_a_split_in_time_tells_why_users_are_left_out_and_that_few_remain(tmp_path, capsys):
    # 9 users have events on both sides, 60 others stop before and 25 start after.
    at = [1_700_000_000 + 86_400 * day for day in range(10)]
    lines = [f"{user},{(user + day) % 9},{at[day]}" for user in range(9) for day in (0, 3, 9)]
    lines += [f"{user},{(user + day) % 9},{at[day]}" for user in range(9, 69) for day in (0, 3)]
    lines += [f"{user},{user % 9},{at[9]}" for user in range(69, 94)]
    path = tmp_path / "log.csv"
    path.write_text(HEADER + "\n".join(lines) + "\n")
    assert main(["compare", str(path), "--split", "time", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    said = " ".join(content["notes"])
    after, upto = (f"have nothing {side} 2023-11-17 22:13:20" for side in ("after", "up to"))
    assert content["n_left_out"] == {after: 60, upto: 25}
    assert f"Scored: 9 users. Left out: 60 {after} and 25 {upto}." in said
    assert "Only 9.6% of all users are scored, and the others may differ from them." in said
    assert "each user's first instant after 2023-11-17 22:13:20." in said


def test_the_report_names_its_log_date_and_command(compared, log):
    done, folder = compared
    page = (folder / "report.html").read_text()
    about = json.loads((folder / "scores.json").read_text())["about"]
    assert about["log"] == str(log)
    assert (about["n_users"], about["n_events"]) == (40, 400)
    assert about["period"] == ["2026-01-01", "2026-01-05"]
    assert about["command"] == f"python -m skue compare {log} -k 3 5 --out {folder}"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d[+-]\d\d:\d\d", about["date"])
    assert set(about["versions"]) == {"skue", "scikit-learn", "numpy", "Python"}
    for said in (str(log), "2026-01-01 to 2026-01-05", about["command"], about["date"]):
        assert said in html.unescape(page)
    assert f"Log: {log} (40 users, 400 events, 2026-01-01 to 2026-01-05)" in done.stdout


def test_help_gives_the_default_of_every_option():
    text = run("compare", "--help").stdout
    options = text[text.index("reading the log") :]
    described = re.split(r"\n  (?=-)", options)[1:]
    assert len(described) >= 18
    for option in described:
        assert "(default:" in " ".join(option.split()), option


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    path = tmp_path_factory.mktemp("tiny") / "log.txt"
    path.write_text("".join(f"u{u} {u % 3} {u % 2} {u % 4} {u % 2}\n" for u in range(8)))
    return path


def test_output_to_a_closed_pipe_is_one_line_and_exit_code_2(tiny):
    reader, writer = os.pipe()
    os.close(reader)
    # In a process: closing its output at exit must not fail once more.
    command = [sys.executable, "-m", "skue", "compare", str(tiny), "--quiet"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert done.returncode == 2
    assert done.stderr == "skue compare: error: the output could not be written: Broken pipe.\n"


def test_characters_that_the_terminal_cannot_show_are_escaped(tiny, monkeypatch):
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", terminal)
    assert main(["compare", str(tiny), "--quiet"]) == 0
    assert b"\\xb5s/user" in terminal.buffer.getvalue().splitlines()[0]
