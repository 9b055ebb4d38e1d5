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


# Part of a recorded name, and the image of ours that stands in.
STAND_INS = [("/pause:", "pause65535"), ("/agnhost:", "agnhost"), ("/busybox:", "busybox"), ("/nonroot:", "nonroot"),
             ("/nonewprivs:", "nonewprivs"), ("", "test")]


def images(*arguments):
    address = os.path.join(os.environ["SKIFF_DIR"], "n1/containerd.sock")
    subprocess.run(["ctr", "--address", address, "--namespace", "k8s.io", "images", *arguments], capture_output=True)


def alias_images(names):
    """The recordings' image names, for the images of ours that stand in."""
    address = os.path.join(os.environ["SKIFF_DIR"], "n1/containerd.sock")
    subprocess.run(["hack/images", "--import", address, "--all"], cwd=ROOT, check=True)
    # A status tells one of an image's names; the recorded node had agnhost under two, and told this one.
    names = {*names, *(["registry.k8s.io/e2e-test-images/agnhost:2.55"] if any("/agnhost:" in n for n in names) else [])}
    for name in sorted(names):
        images("tag", "--force", "localhost/skiff/" + next(image for part, image in STAND_INS if part in name) + ":1", name)
    for _, image in STAND_INS[:-1]:
        images("rm", f"localhost/skiff/{image}:1")


def rename_image(old, new):
    """Statuses tell one of an image's names: the recorded one must be its only one."""
    images("tag", "--force", old, new)
    images("rm", old)
