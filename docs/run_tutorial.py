"""Run the code of the tutorial and write its output into the page.

Usage: SKUE_DATA=folder python docs/run_tutorial.py docs/user_guide/tutorial.md

The page is committed with its output, so it is built without the log. Each block of code is
followed by a block of text with what it printed, its sentences wrapped. Blocks run in order, in an
empty folder with the two files of the log.
"""

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
import tempfile
import textwrap
import warnings
from pathlib import Path

FILES = ("online-retail.csv.gz", "online-retail-items.csv")
BLOCK = re.compile(r"```(python|sh)\n(.*?)```\n(?:\n```text\n.*?```\n)?", re.S)


def run(page, data):
    """Return the page with new output."""
    names = {}
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for name in FILES:
            os.symlink(Path(data).resolve() / name, name)
        return BLOCK.sub(lambda block: _with_output(block, names), page)


def _with_output(block, names):
    language, code = block.groups()
    print(code, file=sys.stderr)
    output = _of_shell(code) if language == "sh" else _of_python(code, names)
    shown = f"```{language}\n{code}```\n"
    text = "\n".join(map(_wrapped, output.rstrip().splitlines()))
    return shown + (f"\n```text\n{text}\n```\n" if text.strip() else "")


def _wrapped(line):
    """Return a line of at most 88 characters. Rows of tables, with wide gaps, stay as they are."""
    if re.search(r"\S {3,}\S", line):
        return line
    return textwrap.fill(line, 88, subsequent_indent="    ", break_long_words=False)


def _of_shell(code):
    command = shlex.split(code)
    command[0] = sys.executable if command[0] == "python" else command[0]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _of_python(code, names):
    with contextlib.redirect_stdout(io.StringIO()) as printed, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(compile(code, "<page>", "exec"), names)
    return printed.getvalue()


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(run(path.read_text("utf-8"), os.environ["SKUE_DATA"]), encoding="utf-8")
