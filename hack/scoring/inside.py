"""Runs hack/score again, inside the namespaces that e2e/run made."""

import json
import os
import runpy
import sys

root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.argv = json.loads(os.environ["SKIFF_SCORE_ARGV"])
runpy.run_path(os.path.join(root, "hack/score"), run_name="__main__")
