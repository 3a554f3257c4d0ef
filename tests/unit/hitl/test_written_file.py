"""Does a command leave alone what is no regular file, and a file whole that it could not finish?"""

import os
import socket
import stat
import threading
from pathlib import Path

import pytest

from hitl.support.written_file import written_file
from shared.errors import HitlError
from shared.formats.json_lines import append


def write(path: Path, content: bytes = b"new") -> None:
    with written_file(path) as file:
        file.write(content)


def test_a_new_file_and_a_plain_one_get_the_content_and_keep_their_rights(tmp_path: Path) -> None:
    new, old = tmp_path / "folder" / "new", tmp_path / "old"
    old.write_bytes(b"a longer content")
    old.chmod(0o640)
    write(new)
    write(old)
    assert new.read_bytes() == old.read_bytes() == b"new"
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(new.stat().st_mode) == 0o666 & ~mask
    assert stat.S_IMODE(old.stat().st_mode) == 0o640


def test_a_link_stays_and_what_it_names_is_written(tmp_path: Path) -> None:
    # Given links to a file in another folder, and to one that is not there yet
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").write_bytes(b"old")
    for name in ("file", "missing"):
        link = tmp_path / name
        link.symlink_to(elsewhere / name)
        write(link)
        assert link.is_symlink()
        assert (elsewhere / name).read_bytes() == b"new"
    assert sorted(path.name for path in elsewhere.iterdir()) == ["file", "missing"]


def test_a_named_pipe_and_a_device_are_written_through(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    heard: list[bytes] = []
    reader = threading.Thread(target=lambda: heard.append(pipe.read_bytes()), daemon=True)
    reader.start()
    write(pipe)
    reader.join(10)
    assert heard == [b"new"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    null = tmp_path / "null"
    null.symlink_to("/dev/null")
    write(null)
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    assert null.is_symlink()


def test_a_folder_and_a_socket_are_refused(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        for path in (tmp_path, tmp_path / "socket"):
            with pytest.raises(HitlError, match="is not a plain file"):
                write(path)
    assert stat.S_ISSOCK((tmp_path / "socket").stat().st_mode)


def test_what_could_not_be_finished_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.write_bytes(b"old")
    with pytest.raises(RuntimeError), written_file(old) as file:
        file.write(b"half of")
        raise RuntimeError
    assert old.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [old]


def test_records_are_only_added_to_what_can_be_read_again(tmp_path: Path) -> None:
    # Letters are removed once they are written down: a pipe would be the end of them.
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, Path("/dev/null")):
        with pytest.raises(OSError, match="not a regular file"):
            append(path, {})
