"""tidy.py DATABASE [FILE...]: clang-tidy over C++ sources as errors. Prints findings on stderr and, one a line, the files without any.

Most of the time goes into the declarations of the headers, so that files with the same compiler options are looked at a dozen at a
time, as one that includes them; a dozen that does not compile as one (names of the same spelling in two anonymous namespaces) is halved.
SKIFF_JOBS: how many at a time (default: a processor each)."""
import concurrent.futures
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile

TOGETHER = 12
FINDING = re.compile(r"^(/\S+?):\d+:\d+: (?:error|warning): .*\[([\w.,-]+)\]$", re.M)
OURS = r"/(base|api|client|cri|cadvisor|kubelet|proxy|cni|controlplane)/[^.]*\.(h|cc)$"


def compiler_options(database):
    """The options of each source of ours, without its name and its output's."""
    options = {}
    for entry in json.load(open(database)):
        words = shlex.split(entry["command"])
        words = words[next(i for i, w in enumerate(words) if "clang++" in os.path.basename(w)) + 1:]
        kept, drop = [], False
        for word in words:
            if drop or word == "-c" or word == entry["file"]:
                drop = False
            elif word in ("-o", "-MT", "-MF"):
                drop = True
            elif word != "-MD":
                kept.append(word)
        options[os.path.relpath(entry["file"])] = tuple(kept)
    return options


def look(files, options):
    """The files of a group in which nothing was found; what was found goes to stderr."""
    with tempfile.TemporaryDirectory() as folder:
        source = os.path.join(folder, "together.cc")
        with open(source, "w") as out:
            out.writelines(f'#include "{os.path.abspath(f)}"\n' for f in files)
        done = subprocess.run(["clang-tidy-16", "--quiet", "--config-file=.clang-tidy", f"--header-filter={OURS}", source, "--", *options],
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    if done.returncode == 0:
        return files
    found = FINDING.findall(done.stdout)
    named = {os.path.relpath(path) for path, _ in found}
    if len(files) > 1 and (not named or any("clang-diagnostic" in check for _, check in found) or not named <= set(files)):
        half = len(files) // 2
        return look(files[:half], options) + look(files[half:], options)
    sys.stderr.write(done.stdout)
    return [f for f in files if f not in named] if named <= set(files) else []


def main():
    database, files = sys.argv[1], sys.argv[2:]
    options = compiler_options(database)
    groups = {}
    for file in sorted(files):
        groups.setdefault(options[file], []).append(file)
    parts = [(files[i:i + TOGETHER], key) for key, files in groups.items() for i in range(0, len(files), TOGETHER)]
    with concurrent.futures.ThreadPoolExecutor(int(os.environ.get("SKIFF_JOBS", os.cpu_count()))) as pool:
        for passed in pool.map(lambda part: look(*part), parts):
            for file in passed:
                print(file, flush=True)


if __name__ == "__main__":
    main()
