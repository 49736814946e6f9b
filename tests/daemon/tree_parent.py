"""A parent for one tree: starts a command in it, kills it when told to, and says how that went."""

from __future__ import annotations

import json
import math
import os
import sys

from mltbd.cages import Site
from mltbd.processes import adopt_orphans, boottime_s, process
from mltbd.spawn import Command, Standing, spawn
from mltbd.tree import Forest, Tree


def reap(trees: dict[int, Tree]) -> None:
    try:
        while pid := os.waitpid(-1, os.WNOHANG)[0]:
            if pid in trees:
                trees[pid].root = None
    except ChildProcessError:
        return


def main(spec: dict[str, object]) -> None:
    """`spec` has mark, directory (None: the walk), path, argv; one line on stdin begins the killing."""
    adopt_orphans()
    said = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # A survivor must not keep the test waiting for our output's end.
    site = Site(str(spec["directory"]), str(spec["path"])) if spec["directory"] else None
    forest = Forest(str(spec["mark"]), site)
    bystander = forest.plant()  # Another workload: it must not be hit.
    tree = forest.plant()
    standing = Standing(os.nice(0), None)
    wanted = spec["argv"]
    assert isinstance(wanted, list)
    for one, argv in ((bystander, ["sleep", "600"]), (tree, wanted)):
        one.root = spawn(Command(argv, {**os.environ, "MLTB_RUN_ID": one.mark}), 2, standing, one.adopt)
    trees = {one.root: one for one in (bystander, tree) if one.root}
    spared = process(bystander.root or 0)
    print("started", file=said)
    sys.stdin.readline()
    begin = boottime_s()
    while not tree.empty() and boottime_s() < begin + 10:
        tree.kill()
        reap(trees)
    took_s = boottime_s() - begin if tree.empty() else math.inf
    tree.close()
    spared_lives = spared is not None and spared.lives()
    while not bystander.empty() and boottime_s() < begin + 20:
        bystander.kill()
        reap(trees)
    bystander.close()
    print(json.dumps({"took_s": took_s, "spared": spared_lives}), file=said)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
