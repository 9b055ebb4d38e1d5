"""The README's main command as a newcomer runs it: twice in a row, and everything gone after hack/down."""

import unittest

import lib


class UpDownTest(unittest.TestCase):
    maxDiff = None

    def test_up_twice_then_down_leaves_nothing(self):
        before = lib.snapshot()
        first = lib.up()
        print(first)
        self.assertIn("The cluster is up.", first)
        self.assertEqual(first.count("answers to the host"), 3)
        self.assertIn("answers to pod", first)
        pids = {name: lib.pid_of(name) for name in ("controlplane", "containerd-n1", "kubelet-n1", "proxy-n1", "cni-n1")}
        pods = lib.kubectl("get", "pods", "-o", "jsonpath={.items[*].metadata.uid}")
        second = lib.up()
        self.assertIn("The cluster is up.", second)
        self.assertEqual(pids, {name: lib.pid_of(name) for name in pids}, "a second hack/up starts nothing again")
        self.assertEqual(pods, lib.kubectl("get", "pods", "-o", "jsonpath={.items[*].metadata.uid}"))
        lib.down()
        after = lib.snapshot()
        for kind in before:
            self.assertEqual(sorted(set(after[kind]) - set(before[kind])), [], f"left behind: {kind}")

    def test_bad_arguments(self):
        for args, message in ((["--nodes", "x"], 'hack/up: --nodes takes 1 to 9, not "x"'), (["--frob"], "hack/up: unknown argument: --frob")):
            result = lib.run("hack/up", *args, check=False)
            self.assertEqual(result.returncode, 2)
            self.assertIn(message, result.stderr)


if __name__ == "__main__":
    lib.main()
