"""Where cages can be made, from what the kernel says about its mounts; which kill path is chosen."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mltbd.cages import Cage, KillPathError, Site, detect, sites, sites_here, works

UNIFIED = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
HYBRID = (
    "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
    "37 31 0:34 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer\n"
    "38 31 0:35 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
    "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
)


@pytest.mark.parametrize(
    ("mountinfo", "own", "expected"),
    [
        (
            UNIFIED,
            "0::/system.slice/mltb.service\n",
            [
                ("/sys/fs/cgroup/system.slice/mltb.service", "cgroup.kill"),
                ("/sys/fs/cgroup", "cgroup.kill"),
                ("/sys/fs/cgroup/system.slice/mltb.service", "freezer"),
                ("/sys/fs/cgroup", "freezer"),
            ],
        ),
        (
            HYBRID,
            "6:freezer:/pod\n1:cpu:/other\n0::/\n",
            [
                ("/sys/fs/cgroup/unified", "cgroup.kill"),
                ("/sys/fs/cgroup/unified", "freezer"),
                ("/sys/fs/cgroup/freezer/pod", "freezer"),
            ],
        ),
        ("9 1 0:9 /docker/a /sys/fs/cgroup\\040x rw - cgroup cgroup rw,freezer\n", "4:freezer:/docker/a/b\n",
         [("/sys/fs/cgroup x/b", "freezer")]),
        ("9 1 0:9 /docker/a /cg rw - cgroup cgroup rw,freezer\n", "4:freezer:/docker/other\n", []),
        ("9 1 0:9 / / rw - ext4 /dev/vda rw\n", "0::/\n", []),
    ],
    ids=["unified", "hybrid", "bind mount", "outside of the mount", "none"],
)  # fmt: skip
def test_sites_follow_the_mounts(mountinfo: str, own: str, expected: list[tuple[str, str]]) -> None:
    assert [(site.directory, site.path) for site in sites(mountinfo, own)] == expected


def test_an_unknown_kill_path_is_refused_by_name() -> None:
    with pytest.raises(KillPathError, match="unknown kill path `pray`"):
        detect("test.", "pray")


def test_the_walk_needs_no_cgroup() -> None:
    assert detect("test.", "walk") is None


def test_a_plain_directory_is_no_site(tmp_path: Path) -> None:
    assert not works(Site(str(tmp_path), "cgroup.kill"), "test.")
    assert not works(Site(str(tmp_path / "absent"), "freezer"), "test.")


def test_a_site_that_does_not_work_is_not_chosen(tmp_path: Path) -> None:
    idle = [Site(str(tmp_path), "freezer")]
    assert detect("test.", None, idle) is None
    with pytest.raises(KillPathError, match="kill path `freezer` does not work here"):
        detect("test.", "freezer", idle)


def test_what_is_detected_is_the_first_that_works() -> None:
    mark = f"test.{os.urandom(6).hex()}."
    usable = [site for site in sites_here() if works(site, mark)]
    assert detect(mark) == (usable[0] if usable else None)
    for site in usable:
        assert not Path(site.cage(f"{mark}probe").directory).exists()


def test_a_cage_that_is_gone_is_empty_and_can_be_killed() -> None:
    for path in ("cgroup.kill", "freezer"):
        cage = Cage("/sys/fs/cgroup/nonexistent", path)
        cage.kill()
        cage.remove()
        assert cage.empty()
        assert cage.pids() == set()
