"""A folder is written as a whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmdet_deeplake_plugin.utils.atomic_folder import atomic_folder


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A folder with one file."""
    folder = tmp_path / 'dest'
    folder.mkdir()
    (folder / 'old').touch()
    return folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_folder_appears_at_the_end(tmp_path: Path) -> None:
    """The destination and its parents exist only when the block has succeeded."""
    dest = tmp_path / 'parent' / 'dest'
    with atomic_folder(dest, replace=False) as folder:
        (folder / 'new').touch()
        assert not dest.exists()
    assert names(dest) == ['new']
    assert names(dest.parent) == ['dest']


def test_replaced_as_a_whole(old: Path) -> None:
    """Nothing of the old folder remains, inside or beside the new one."""
    with atomic_folder(old, replace=True) as folder:
        (folder / 'new').touch()
        assert names(old) == ['old']
    assert names(old) == ['new']
    assert names(old.parent) == ['dest']


def test_link_is_followed(old: Path, tmp_path: Path) -> None:
    """A link at the destination stays a link, to the new folder."""
    link = tmp_path / 'link'
    link.symlink_to(old, target_is_directory=True)
    with atomic_folder(link, replace=True) as folder:
        (folder / 'new').touch()
    assert link.is_symlink()
    assert names(old) == ['new']


def test_folder_that_came_meanwhile_is_kept(tmp_path: Path) -> None:
    """Without ``replace`` a folder that another process filled is not touched."""
    dest = tmp_path / 'dest'
    with pytest.raises(OSError, match='not empty'):
        with atomic_folder(dest, replace=False) as folder:
            (folder / 'new').touch()
            dest.mkdir()
            (dest / 'theirs').touch()
    assert names(dest) == ['theirs']
    assert names(tmp_path) == ['dest']


@pytest.mark.parametrize('failure', [ValueError, KeyboardInterrupt])
def test_failure_in_the_block(old: Path, failure: type[BaseException]) -> None:
    """The old folder is as it was, and the new one is gone."""
    with pytest.raises(failure):
        with atomic_folder(old, replace=True) as folder:
            (folder / 'new').touch()
            raise failure
    assert names(old) == ['old']
    assert names(old.parent) == ['dest']


def test_failure_between_the_renames(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the new folder cannot take its place, the old one is put back."""
    rename = Path.rename

    def fail_for_new(path: Path, target: Path) -> Path:
        if '.partial-' in path.name:
            raise OSError('no')
        return rename(path, target)

    monkeypatch.setattr(Path, 'rename', fail_for_new)
    with pytest.raises(OSError, match='no'):
        with atomic_folder(old, replace=True):
            pass
    assert names(old) == ['old']
    assert names(old.parent) == ['dest']
