"""Choose predictions, and the images to show."""

from __future__ import annotations

from ...evaluation import SCORES
from ...lake import LakeSource, StoredPredictions, prediction_names
from ...utils.messages import comma_joined, did_you_mean

# Of all other numbers, the highest are the worst.
LOW_IS_BAD = (*SCORES, 'tp')


def choose_predictions(
    source: LakeSource, name: str | None, option: str = '--name', besides: str = ''
) -> StoredPredictions:
    """Return the predictions of a name, or the only ones that a lake has.

    Args:
        source: The lake.
        name: The name, ``None`` if it was not given.
        option: Option of the command line that gives it, for messages.
        besides: Name of predictions that do not come into question.

    Raises:
        ValueError: If there are none, several without a name, or none of that name.
    """
    known = [each for each in prediction_names(source.handle) if each != besides]
    if not known:
        others = f' other than {besides!r}' if besides else ''
        raise ValueError(
            f'{source.name} does not have predictions{others}; let '
            'DeepLakePredictions in test_evaluator write them, and name their branch '
            'as LAKE@BRANCH'
        )
    if name is None and len(known) > 1:
        raise ValueError(
            f'{source.name} has the predictions {comma_joined(known)}; choose with '
            f'{option} {known[0]}'
        )
    return StoredPredictions(source, known[0] if name is None else name)


def worst_query(stored: StoredPredictions, worst: int, by: str) -> str:
    """Return the TQL that selects the worst images by a number.

    Args:
        stored: The predictions.
        worst: How many images.
        by: Name of the number: what follows ``<name>/``, or that of another column.

    Raises:
        ValueError: If ``worst`` is not positive, or there is not such a number.
    """
    if worst < 1:
        raise ValueError(f'--worst must be a positive integer, got {worst}')
    numbers = stored.numbers()
    short = by.removeprefix(f'{stored.name}/')
    if short not in numbers:
        raise ValueError(
            f'--by {by}: {stored.source.name} does not have a column with one number per '
            f'image of this name{did_you_mean(short, numbers)}; write one of '
            f'{comma_joined(numbers)}'
        )
    column = numbers[short]
    order = '' if short in LOW_IS_BAD else ' DESC'
    return (
        f'SELECT * WHERE "{column}" IS NOT NULL ORDER BY "{column}"{order} LIMIT {worst}'
    )
