# SPDX-License-Identifier: Apache-2.0
"""Source files as checks see them: which there are, and C without comments and strings."""
import os
import re
import subprocess

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def files(top, suffixes=None, under=""):
    """Paths, relative to `top`, of the files of the project (known to git or not yet).

    Where there is no git, as in a tree from an archive or in the checks' own tests, all files
    outside of build folders count.
    """
    if os.path.exists(os.path.join(top, ".git")):
        listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others",
                                 "--exclude-standard"], cwd=top, check=True, capture_output=True)
        names = listed.stdout.decode().split("\0")
    else:
        names = [os.path.relpath(os.path.join(folder, name), top)
                 for folder, _, found in os.walk(top) for name in found]
        names = [name for name in names if not name.startswith(("build", "."))]
    return sorted(name for name in set(names) if name and name.startswith(under)
                  and (suffixes is None or name.endswith(suffixes))
                  and os.path.isfile(os.path.join(top, name)))


def read(top, name):
    """The text of a file."""
    with open(os.path.join(top, name), encoding="utf-8", errors="replace") as file:
        return file.read()


TOKEN = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def blank(match):
    """Spaces instead of a comment or literal, with its line breaks."""
    return re.sub(r"[^\n]", " ", match.group(0))


def code(text):
    """C text with comments, strings and character constants blanked, at the same places."""
    return TOKEN.sub(blank, text)


class Findings:
    """Collects what a check complains about and prints it as FILE:LINE: words."""

    def __init__(self):
        self.lines = []

    def add(self, name, line, words):
        """One complaint."""
        self.lines.append((name, line, words))

    def report(self, what):
        """Print all; returns the exit status."""
        for name, line, words in sorted(self.lines):
            print(f"{name}:{line}: {words}")
        print(f"{what}: {len(self.lines) or 'nothing'} to complain about")
        return 1 if self.lines else 0
