# SPDX-License-Identifier: Apache-2.0
"""tools/wrap-comments wraps long lines of comments and leaves everything else alone."""
import subprocess

import pytest

from frame.paths import ROOT

LONG = "word " * 18 + "lastone"  # 97 columns


def wrapped(tmp_path, text):
    """The text after the tool; a second run changes nothing more."""
    path = tmp_path / "a.c"
    path.write_text(text)
    for _ in range(2):
        before = path.read_text()
        subprocess.run([ROOT / "tools" / "wrap-comments", path], check=True)
    assert path.read_text() == before
    return path.read_text()


@pytest.mark.parametrize("name, text, result", [
    ("short lines stay", "/*\n * a\n * b\n */\n", None),
    ("code stays", f'int a = f("{LONG}{LONG}");\n', None),
    ("the rest goes on in the next line", f"/*\n * {LONG} more\n * and so on.\n */\n",
     f"/*\n * {LONG}\n * more and so on.\n */\n"),
    ("a tag is not joined", f"/**\n * {LONG} more\n * Return: 0\n */\n",
     f"/**\n * {LONG}\n * more\n * Return: 0\n */\n"),
    ("a parameter is not joined", f"/**\n * {LONG} more\n * @a: b\n */\n",
     f"/**\n * {LONG}\n * more\n * @a: b\n */\n"),
    ("an empty line stays", f"/**\n * {LONG} more\n *\n * b\n */\n",
     f"/**\n * {LONG}\n * more\n *\n * b\n */\n"),
    ("what follows a parameter is indented", f"/**\n * @a:\t{LONG[10:]} furthermore\n * @b:\tc\n */\n",
     f"/**\n * @a:\t{LONG[10:]}\n *\t\tfurthermore\n * @b:\tc\n */\n"),
    ("one long line becomes two", f"\t/* {LONG[10:]} more */\n",
     f"\t/* {LONG[10:-8]}\n\t * lastone more */\n"),
])
def test_comments_are_wrapped(tmp_path, name, text, result):
    assert wrapped(tmp_path, text) == (result or text), name
