"""Which folders are on a disk of this machine."""

from keras_multigrid.data.mounts import is_local_folder


def test_links_are_followed(tmp_path):
    (tmp_path / "here").symlink_to(tmp_path)
    assert is_local_folder(str(tmp_path))
    assert is_local_folder(str(tmp_path / "here" / "deeper"))


def test_other_file_systems_are_not(tmp_path):
    # proc is no disk, as a network is none.
    (tmp_path / "away").symlink_to("/proc/self")
    assert not is_local_folder("/proc")
    assert not is_local_folder(str(tmp_path / "away" / "fd"))
