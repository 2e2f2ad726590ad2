"""Writes what a sweep found as Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from zoo.catalog import LOADERS, Entry, Job
from zoo.compare import Outcome

INTRO = """# Model zoo

Which configs that ship with MMDetection {version} read a Deep Lake dataset as they read files. Made by
`make zoo` (optional packages: {packages}).

One function (`on_lake` in `tests/zoo/rewrite.py`) rewrites each config: it swaps the types of datasets and
metrics, also within wrappers, and nothing else. Pipelines, samplers, wrappers and filters stay as they are.
The twin of a config reads the same test data from files (the images of `coco_cc`, with the classes that
the config asks for; for videos and persons drawn ones). **Passed** means that the first two batches of the training and of the validation
dataloader (batch size 2, no workers, same seeds) equal those of the twin, tensor for tensor. A **stock
failure** is a config whose twin, with MMDetection's own dataset and files, fails as well. Models are not
built.

What MMDetection asks for and cannot be had here is lent to both sides (`tests/zoo/lent.py`): `np.float` and `np.in1d` for the packages
`lvis` and `cityscapesscripts` and for `YTVISeval`, an `np.array` that takes matrices of several shapes for `eval_recalls`, a tokenizer that
splits at words in place of BERT's, and, where they are not installed, what is used of the packages `ddd-dataset` and `jsonlines`.

Configs that share a dataloader after the rewriting, as most that differ only in the model do, are checked
once and share the result: {configs} configs have {loaders} distinct dataloaders and {evaluators} distinct
evaluators that can be compared.
"""
DSDL = (
    ', whose files are descriptions in YAML that the package `dsdl`, last released in '
    '2023, reads; nothing here converts these'
)


def markdown(
    entries: Sequence[Entry],
    jobs: Mapping[str, Job],
    outcomes: Mapping[str, Outcome],
    version: str,
    packages: str,
) -> str:
    """The report as text.

    Args:
        entries: The configs.
        jobs: Digest -> comparison.
        outcomes: Digest -> what came of it.
        version: Version of MMDetection.
        packages: Which optional packages there were.
    """
    kinds = Counter(job.kind for job in jobs.values())
    whole = [entry for entry in entries if entry.is_whole]
    parts = [
        INTRO.format(
            version=version,
            packages=packages,
            configs=len(entries),
            loaders=kinds['loader'],
            evaluators=kinds['evaluator'],
        ),
        '## Summary\n',
        _summary(whole, outcomes),
        _evaluators(entries, outcomes),
        '## Failures\n',
        _failures(whole, outcomes),
        '## By folder\n',
        _folders(entries, outcomes),
        '## Partly comparable\n',
        _halves(entries, outcomes),
        '## Not applicable\n',
        _others(entries),
    ]
    return '\n'.join(parts)


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ['---'] * len(head), *rows]
    return ''.join(f'| {" | ".join(map(str, line))} |\n' for line in lines)


def _counts(entries: Sequence[Entry], outcomes: Mapping[str, Outcome]) -> list[int]:
    found = Counter(entry.outcome(outcomes).verdict for entry in entries)
    return [len(entries), *(found[verdict] for verdict in ('equal', 'stock', 'ours'))]


def _summary(entries: Sequence[Entry], outcomes: Mapping[str, Outcome]) -> str:
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.group, []).append(entry)
    rows = []
    for group, members in [*sorted(groups.items()), ('**all**', list(entries))]:
        counts = _counts(members, outcomes)
        rows.append([group, *counts, f'{100 * counts[1] / max(counts[0], 1):.1f} %'])
    return _table(('data', 'tried', 'passed', 'stock failures', 'ours', 'passed'), rows)


def _evaluators(entries: Sequence[Entry], outcomes: Mapping[str, Outcome]) -> str:
    lines: dict[str, list[str]] = {}
    for entry in entries:
        line = f'no counterpart of {entry.out_of_reach.get("evaluator")}'
        if 'evaluator' in entry.jobs:
            outcome = outcomes[entry.jobs['evaluator']]
            line = f'{outcome.verdict}: {outcome.reason}'.rstrip(': ')
        elif 'evaluator' not in entry.out_of_reach:
            continue
        lines.setdefault(line, []).append(f'`{entry.name}`')
    text = (
        'Evaluators were compared as well, on all images with the same synthetic predictions: '
        'the stock metric with its\nfile, and `DeepLakeMetric` with the lake ("equal" means all '
        'numbers). `YouTubeVISMetric`, which the configs\nlet write a file alone, computes '
        'its numbers here.\n\n'
    )
    rows = [
        (len(names), line.replace('|', '\\|'), '' if line == 'equal' else ', '.join(names))
        for line, names in sorted(lines.items(), key=lambda each: -len(each[1]))
    ]
    return text + _table(('configs', 'evaluator', 'which'), rows)


def _failures(entries: Sequence[Entry], outcomes: Mapping[str, Outcome]) -> str:
    reasons: dict[tuple[str, str], list[str]] = {}
    for entry in entries:
        outcome = entry.outcome(outcomes)
        if outcome.verdict != 'equal':
            key = (outcome.verdict, outcome.reason)
            reasons.setdefault(key, []).append(entry.name)
    if not reasons:
        return 'None.\n'
    text = ''
    for (verdict, reason), names in sorted(reasons.items()):
        whose = 'Stock failure' if verdict == 'stock' else 'Ours'
        listed = ''.join(f'- `{name}`\n' for name in names)
        text += f'{whose}: `{reason}`\n\n{listed}\n'
    return text


def _folders(entries: Sequence[Entry], outcomes: Mapping[str, Outcome]) -> str:
    folders: dict[str, list[Entry]] = {}
    for entry in entries:
        folders.setdefault(entry.name.partition('/')[0], []).append(entry)
    rows = []
    for folder, members in sorted(folders.items()):
        whole = [entry for entry in members if entry.is_whole]
        half = sum(entry.is_part for entry in members)
        rest = len(members) - len(whole) - half
        cells = [*_counts(whole, outcomes), half, rest]
        rows.append([folder, len(members), *(cell or '' for cell in cells)])
    head = ('folder', 'configs', 'tried', 'passed', 'stock', 'ours', 'partly', 'n/a')
    return _table(head, rows)


def _halves(entries: Sequence[Entry], outcomes: Mapping[str, Outcome]) -> str:
    rows = []
    for entry in entries:
        if entry.is_part:
            (part,) = (part for part in LOADERS if part in entry.jobs)
            (other,) = (part for part in LOADERS if part in entry.out_of_reach)
            outcome = entry.outcome(outcomes)
            result = f'{outcome.verdict} {outcome.reason}'.strip()
            kept = entry.out_of_reach[other]
            rows.append((f'`{entry.name}`', f'{part}: {result}', f'{other}: {kept}'))
    if not rows:
        return 'None.\n'
    text = 'One dataloader has a counterpart, and the other reads data that the plugin does not support.\n\n'
    return text + _table(('config', 'compared', 'not applicable'), rows)


def _others(entries: Sequence[Entry]) -> str:
    reasons: Counter[str] = Counter()
    for entry in entries:
        if not entry.is_whole and not entry.is_part:
            types = sorted(set(entry.out_of_reach.values()))
            reason = f'reads {", ".join(types)}' if types else 'has no data of its own'
            if 'DSDLDetDataset' in types:
                reason += DSDL
            unreadable = f'MMDetection cannot load it: {entry.unreadable}'
            reasons[unreadable if entry.unreadable else reason] += 1
    return _table(('configs', 'reason'), [(n, text) for text, n in reasons.most_common()])
