"""Puts the configs into the package; everything else stands in ``setup.cfg``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

PACKAGE = Path('mmdet_deeplake_plugin')
CONFIGS = Path('configs')
# Where they go: where OpenMMLab's own packages have theirs. MMEngine finds pure Python
# configs by the name of the package.
PLACES = {'pure_python': PACKAGE / 'configs'}
ELSE = PACKAGE / '.mim' / 'configs'
NOT_SHIPPED = ('demo',)


class BuildWithConfigs(build_py):
    """Builds the package with a copy of the configs."""

    def run(self) -> None:
        """Copy the configs, unless the package stays where it is."""
        super().run()
        if not self.editable_mode:
            for source, target in _configs():
                self.mkpath(str(self.build_lib / target.parent))
                self.copy_file(str(source), str(self.build_lib / target))

    def get_source_files(self) -> list[str]:
        """Return what a source distribution needs."""
        return [*super().get_source_files(), *(str(source) for source, _ in _configs())]


def _configs() -> Iterator[tuple[Path, Path]]:
    """Yield the files of the configs, and where each goes."""
    for source in sorted(CONFIGS.rglob('*.py')):
        folder, *rest = source.relative_to(CONFIGS).parts
        if folder in PLACES:
            yield source, PLACES[folder].joinpath(*rest)
        elif folder not in NOT_SHIPPED:
            yield source, ELSE.joinpath(folder, *rest)


setup(cmdclass={'build_py': BuildWithConfigs})
