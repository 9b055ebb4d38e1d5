"""Recorded pod lifecycles of upstream, replayed: the quick ones of every group. hack/score lifecycles replays all."""

import os
import sys
import unittest

from lib import BIN, ROOT, down, main

sys.path.insert(0, os.path.join(ROOT, "hack"))
from scoring import lifecycles, suites  # noqa: E402

RECORDINGS = os.path.join(ROOT, "../shared/goldens/kubelet/13-pod-lifecycles")
LONGEST = 9   # seconds
A_GROUP = 5   # recordings of one group (the first word of a name); the rest of a group differs little


def selection(recordings):
    chosen, groups = {}, {}
    for name, recording in sorted(recordings.items(), key=lambda item: lifecycles.window(item[1])):
        group = groups.setdefault(name.split("-")[0], [])
        if lifecycles.window(recording) < LONGEST and len(group) < A_GROUP:
            group.append(name)
            chosen[name] = recording
    return chosen


class LifecycleTest(unittest.TestCase):
    maxDiff = None

    @classmethod
    def tearDownClass(cls):
        down()

    @unittest.skipUnless(os.path.isdir(RECORDINGS), f"no recordings at {RECORDINGS}")
    def test_recorded_pods_live_here_as_they_did_there(self):
        chosen = selection(suites.load(RECORDINGS))
        result = suites.Result()
        lifecycles.run(result, chosen, BIN, "")
        print(f"{len(result.agreeing)} of {result.total} agree; {result.note}")
        for line in result.details:
            print("   ", line)
        text = "\n".join(f"{name}\n    " + "\n    ".join(lines) for name, lines in result.differing.items())
        self.assertFalse(result.differing, text)


if __name__ == "__main__":
    main()
