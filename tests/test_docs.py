"""The pages are short, complete and linked: what a reader follows leads somewhere."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest
from mmdet.registry import DATA_SAMPLERS, DATASETS, METRICS
from mmengine.config import Config

import mmdet_deeplake_plugin
from mmdet_deeplake_plugin.lake.columns.roles import ROLES

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [*ROOT.glob('*.md'), *ROOT.glob('docs/*.md'), ROOT / 'benchmarks' / 'README.md']
)
CONFIG = ROOT / 'docs' / 'config.md'
CLASSES = [name for name in mmdet_deeplake_plugin.__all__ if name != '__version__']
FENCE = re.compile(r'^```.*?^```$', re.M | re.S)


def _prose(page: Path) -> str:
    return FENCE.sub('', page.read_text())


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r'^#+ +(.+)$', _prose(page), re.M)
    words = [re.sub(r'[^\w\s-]', '', heading).strip().lower() for heading in headings]
    return {re.sub(r'[-\s]+', '-', each) for each in words}


def _keys(name: str) -> dict[str, str]:
    """Key -> default of the tables in a class's section of ``config.md``."""
    text = CONFIG.read_text()
    assert f'\n## {name}\n' in text
    section = re.split(r'^## ', text.partition(f'\n## {name}\n')[2], flags=re.M)[0]
    keys = {}
    for table in re.findall(r'^\| key \|.*\n(?:\|.*\n)+', section, re.M):
        for line in table.splitlines()[2:]:
            _, key, default, *_ = (cell.strip() for cell in line.split('|'))
            keys.update(dict.fromkeys(re.findall(r'`(\w+)`', key), default))
    return keys


def _parameters(name: str) -> dict[str, inspect.Parameter]:
    cls = getattr(mmdet_deeplake_plugin, name)
    if '__init__' not in vars(cls):
        return {}
    parameters = dict(inspect.signature(cls).parameters)
    return {
        key: value
        for key, value in parameters.items()
        if value.kind is not inspect.Parameter.VAR_KEYWORD
    }


def test_readme_fits_ten_kilobytes():
    """The rest has pages of its own."""
    assert len((ROOT / 'README.md').read_bytes()) <= 10_000


@pytest.mark.parametrize('page', PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page):
    """Relative links of a page exist, anchors included."""
    for target in re.findall(r'\]\(([^)\s]+)\)', _prose(page)):
        if re.match(r'\w+:', target):
            continue
        path, _, anchor = target.partition('#')
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        assert not anchor or anchor in _anchors(file), target


@pytest.mark.parametrize('page', PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_pages_are_in_plain_english(page):
    """None of the phrases that a native speaker would not write."""
    found = re.findall(r'.* (?:is|are) no .*|.*write one a.*|.*it tells.*', _prose(page))
    assert not found


@pytest.mark.parametrize('name', CLASSES)
def test_every_key_of_a_public_class_is_documented(name):
    """``docs/config.md`` has each parameter, no other one, and no wrong default."""
    documented, parameters = _keys(name), _parameters(name)
    assert documented.keys() == parameters.keys()
    for key, default in documented.items():
        literal = re.fullmatch(r'`([^`]+)`', default)
        if literal:
            assert ast.literal_eval(literal[1]) == parameters[key].default, key


def test_every_public_name_and_role_is_documented():
    """``docs/config.md`` has each name that the package exports, and each role."""
    text = CONFIG.read_text()
    for name in [*mmdet_deeplake_plugin.__all__, *ROLES]:
        assert re.search(rf'`(?:mmdet_deeplake_plugin\.)?{name}`', text), name


def test_shown_config_reads_a_lake(lake, tmp_path):
    """The config of the README builds its datasets, sampler and metric."""
    text = (ROOT / 'README.md').read_text()
    (shown,) = re.findall(r'^```python\n(_base_ = .*?)^```$', text, re.M | re.S)
    assert shown in (ROOT / 'docs' / 'index.md').read_text()
    file = tmp_path / 'config.py'
    file.write_text(re.sub(r'data/coco_(?:train|val)', lake('coco_cc'), shown))
    config = Config.fromfile(file)
    for loader in (config.train_dataloader, config.val_dataloader):
        dataset = DATASETS.build(loader.dataset)
        sampler = DATA_SAMPLERS.build({**loader.sampler, 'dataset': dataset})
        assert dataset[next(iter(sampler))]['inputs'].ndim == 3
    METRICS.build(config.val_evaluator)


def _messages() -> list[str]:
    """Texts in the package, without the values that are put into them."""
    texts = []
    for file in sorted((ROOT / 'mmdet_deeplake_plugin').rglob('*.py')):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = [getattr(part, 'value', None) for part in node.values]
                texts.append(''.join(part for part in parts if isinstance(part, str)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return texts


def test_messages_of_the_troubleshooting_page_are_in_the_package():
    """Each message is one that the package writes, up to names and numbers."""
    page = (ROOT / 'docs' / 'troubleshooting.md').read_text()
    rows = re.findall(r'^\| (`.*?`) \|', page, re.M)
    texts, unknown = _messages(), []
    for message in re.findall(r'`([^`]+)`', ' '.join(rows)):
        pieces = re.split(r"…|\d[\d.,]*|'[^']*'|\w+(?==)", message)
        pattern = re.compile('.*?'.join(map(re.escape, pieces)), re.S)
        longest = max(pieces, key=len)  # found at once, where a pattern takes long
        if not any(longest in text and pattern.search(text) for text in texts):
            unknown.append(message)
    assert rows
    assert not unknown


def test_architecture_page_names_every_module():
    """The tree is that of the package, and the tables name files that exist."""
    page = (ROOT / 'docs' / 'architecture.md').read_text()
    package = ROOT / 'mmdet_deeplake_plugin'
    for path in re.findall(r'`([\w/]+(?:/|\.py))`', FENCE.sub('', page)):
        base = (
            ROOT
            if path.startswith(('tests', 'benchmarks', 'configs', package.name))
            else package
        )
        assert (base / path).exists(), path
    (tree,) = re.findall(rf'^{package.name}/\n(.*?)^```', page, re.M | re.S)
    drawn, folders = set(), []
    for line in tree.splitlines():
        indent = re.match(r'[│├└─ ]*', line)[0]
        names = re.match(r'(?:\w+(?:\.py|/) *)*', line[len(indent) :])[0].split()
        del folders[max(len(indent) // 4 - 1, 0) :]
        drawn.update('/'.join([*folders, name.rstrip('/')]) for name in names)
        if names and names[0].endswith('/'):
            folders.append(names[0].rstrip('/'))
    rooms = {path.rpartition('/')[0] for path in drawn}
    modules = {str(file.relative_to(package)) for file in package.rglob('*.py')}
    modules -= {path for path in modules if path.endswith('/__init__.py')}
    assert {path for path in drawn if path.endswith('.py')} <= modules
    assert {path for path in modules if path.rpartition('/')[0] in rooms} <= drawn
