"""The project's own files, for the checks beside this file."""
import os
import subprocess

SKIPPED = {".git", "__pycache__", "build", ".cache"}


def walk(root):
    """All files below root that git would not ignore by name, without a repository."""
    for folder, names, files in os.walk(root):
        names[:] = [n for n in names if n not in SKIPPED and not n.startswith("build")]
        for name in files:
            yield os.path.relpath(os.path.join(folder, name), root)


def listed(root, *endings):
    """Paths relative to root, sorted; every file when no ending is given."""
    try:
        done = subprocess.run(["git", "-C", root, "ls-files", "-z"], check=True,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        names = [n for n in done.stdout.decode().split("\0") if n]
    except (OSError, subprocess.CalledProcessError):
        names = list(walk(root))
    return sorted(n for n in names if os.path.isfile(os.path.join(root, n))
                  and (not endings or n.endswith(endings)))


def read(root, name):
    """The file's text, or None where it is not text."""
    with open(os.path.join(root, name), "rb") as f:
        data = f.read()
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return None
