"""A whole one-node cluster (hack/up) for the suites that need a kubelet, in namespaces of its own."""

import json
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def enter():
    """Runs the calling program again inside new network and mount namespaces (see e2e/run); returns only in there."""
    if os.environ.get("SKIFF_E2E"):
        return
    os.environ["SKIFF_SCORE_ARGV"] = json.dumps(sys.argv)
    os.execv(os.path.join(ROOT, "e2e/run"), ["e2e/run", "../hack/scoring/inside.py"])


def up(binaries):
    os.environ["SKIFF_BIN"] = binaries
    result = subprocess.run(["hack/up", "--no-build"], cwd=ROOT, capture_output=True, text=True)
    if result.returncode:
        raise SystemExit(f"hack/up failed:\n{result.stdout[-2000:]}\n{result.stderr[-2000:]}")


def alias_images(names):
    """The recordings' image names, for the test image."""
    ctr = ["ctr", "--address", os.path.join(os.environ["SKIFF_DIR"], "n1/containerd.sock"), "--namespace", "k8s.io", "images", "tag", "--force"]
    for name in names:
        source = "localhost/skiff/pause:1" if "/pause:" in name else "localhost/skiff/test:1"
        subprocess.run([*ctr, source, name], capture_output=True)


def rename_image(old, new):
    """Statuses tell one of an image's names: the recorded one must be its only one."""
    ctr = ["ctr", "--address", os.path.join(os.environ["SKIFF_DIR"], "n1/containerd.sock"), "--namespace", "k8s.io", "images"]
    subprocess.run([*ctr, "tag", "--force", old, new], capture_output=True)
    subprocess.run([*ctr, "rm", old], capture_output=True)
