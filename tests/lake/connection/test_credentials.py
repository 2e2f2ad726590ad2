"""Secrets: references are followed late, literals leak nowhere, and S3 opens by them."""

from __future__ import annotations

import copy
import io
import json
import logging
import multiprocessing
import os
import pickle
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from helpers.lakes import IMAGE_TYPES, picture, row, write_lake
from helpers.object_store import Key, ObjectStore
from helpers.samples import assert_equal
from mmdet.utils import register_all_modules
from mmengine.dataset import pseudo_collate
from mmengine.logging import MMLogger
from torch.utils.data import DataLoader

import mmdet_deeplake_plugin.lake.connection.credentials as module
import mmdet_deeplake_plugin.lake.connection.opening as opening
from mmdet_deeplake_plugin import DeepLakeDataset
from mmdet_deeplake_plugin.lake.connection.credentials import CREDS_KEYS, Credentials

register_all_modules()

SECRET = 'hunter2-hunter2'
LITERAL = dict(token=SECRET, creds=dict(aws_secret_access_key=SECRET, aws_region='eu'))
LOAD = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs'),
]


@pytest.fixture(autouse=True)
def not_warned(monkeypatch):
    """Each test starts as a process that has not warned yet."""
    monkeypatch.setattr(module, '_warned', False)


@pytest.fixture()
def log() -> Iterator[io.StringIO]:
    """What MMEngine's logger writes."""
    logger = MMLogger.get_current_instance()
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logger.addHandler(handler)
    yield stream
    logger.removeHandler(handler)


def _raises(error: type[Exception], text: str) -> Any:
    return pytest.raises(error, match=re.escape(text))


# --------------------------------------------------------------------------- references


def test_a_variable_is_read_when_a_lake_is_opened_and_again_later(monkeypatch):
    """env: follows the environment at each opening, so a renewed token is used."""
    credentials = Credentials.from_config(dict(token='env:LAKE_TOKEN'))
    monkeypatch.setenv('LAKE_TOKEN', 'first')
    assert credentials.resolve() == {'token': 'first'}
    monkeypatch.setenv('LAKE_TOKEN', 'second')
    assert credentials.resolve() == {'token': 'second'}


def test_a_file_is_read_when_a_lake_is_opened_and_again_later(tmp_path, monkeypatch):
    """file: reads the file at each opening, without the line's end; ~ is the home."""
    file = tmp_path / 'token'
    file.write_text('first\n')
    credentials = Credentials.from_config(dict(token=f'file:{file}'))
    assert credentials.resolve() == {'token': 'first'}
    file.write_text('second\n')
    assert credentials.resolve() == {'token': 'second'}
    monkeypatch.setenv('HOME', str(tmp_path))
    assert (
        Credentials.from_config(dict(token='file:~/token')).resolve()['token'] == 'second'
    )


def test_creds_may_mix_references_and_plain_keys(monkeypatch):
    """Each value of creds is followed by itself."""
    monkeypatch.setenv('LAKE_KEY', 'abc')
    creds = dict(aws_secret_access_key='env:LAKE_KEY', aws_region='eu-1', profile_name='')
    credentials = Credentials.from_config(dict(creds=creds))
    assert credentials.resolve() == {
        'creds': {'aws_secret_access_key': 'abc', 'aws_region': 'eu-1'}
    }


@pytest.mark.parametrize('kind', ['env', 'file'])
def test_creds_may_be_one_reference_to_json(kind, tmp_path, monkeypatch):
    """env: and file: may hold all creds as a JSON object."""
    creds = {'aws_access_key_id': 'a', 'aws_secret_access_key': 'b'}
    if kind == 'env':
        monkeypatch.setenv('LAKE_CREDS', json.dumps(creds))
        reference = 'env:LAKE_CREDS'
    else:
        (tmp_path / 'creds.json').write_text(json.dumps(creds))
        reference = f'file:{tmp_path / "creds.json"}'
    credentials = Credentials.from_config(dict(creds=reference))
    assert credentials.resolve() == {'creds': creds}
    assert not credentials.has_literal_secret


@pytest.mark.parametrize(
    'config',
    [None, {}, dict(token=None, creds=None), dict(token='', creds='ENV'), dict(creds={})],
    ids=repr,
)
def test_nothing_leaves_it_to_the_environment(config):
    """Without keys Deep Lake and the provider look for credentials themselves."""
    assert Credentials.from_config(config).resolve() == {}


# ------------------------------------------------------------------------------ mistakes

MISTAKES = {
    'username': (
        dict(username='me'),
        ValueError,
        'deeplake_credentials.username is not supported: Deep Lake 4 does not log in '
        'with user name and password; create a token on its web site and write '
        "token='env:ACTIVELOOP_TOKEN'",
    ),
    'password': (
        dict(password=SECRET),
        ValueError,
        'deeplake_credentials.password is not supported: Deep Lake 4 does not log in',
    ),
    'unknown-key': (
        dict(cred='env:X'),
        ValueError,
        'deeplake_credentials.cred is unknown (did you mean creds?); the keys are: '
        'token, creds',
    ),
    'unknown-creds-key': (
        dict(creds=dict(aws_acces_key_id=SECRET)),
        ValueError,
        'deeplake_credentials.creds.aws_acces_key_id is unknown (did you mean '
        f'aws_access_key_id?); the keys are: {", ".join(CREDS_KEYS)}',
    ),
    'no-mapping': (
        SECRET,
        TypeError,
        'deeplake_credentials must be a dict, got a str; write for example '
        "dict(token='env:ACTIVELOOP_TOKEN', creds=None)",
    ),
    'token-no-string': (
        dict(token=[SECRET]),
        TypeError,
        'deeplake_credentials.token must be a string, got a list',
    ),
    'creds-value-no-string': (
        dict(creds=dict(aws_region=3)),
        TypeError,
        'deeplake_credentials.creds.aws_region must be a string, got a int',
    ),
    'creds-no-reference': (
        dict(creds=SECRET),
        ValueError,
        'deeplake_credentials.creds must be a dict or a reference, got another string; '
        "write a dict of keys, 'env:NAME' or 'file:PATH' (JSON), or None for the storage "
        "provider's own environment",
    ),
    'creds-no-mapping': (
        dict(creds=[SECRET]),
        TypeError,
        'deeplake_credentials.creds must be a dict or a reference, got a list; write a '
        "dict, 'env:NAME', 'file:PATH' or None",
    ),
}


@pytest.mark.parametrize(('config', 'error', 'text'), MISTAKES.values(), ids=MISTAKES)
def test_a_wrong_key_is_told_without_its_value(config, error, text):
    """Each mistake names the key and the remedy, and never shows what was written."""
    with _raises(error, text) as caught:
        Credentials.from_config(config)
    assert SECRET not in str(caught.value)


def test_a_missing_variable_is_told():
    """The error names key, reference and variable."""
    credentials = Credentials.from_config(
        dict(creds=dict(aws_secret_access_key='env:NONE'))
    )
    text = (
        "deeplake_credentials.creds.aws_secret_access_key='env:NONE': the environment "
        'variable NONE is not set; export it in the shell that starts the training'
    )
    with _raises(ValueError, text):
        credentials.resolve()


def test_a_missing_file_is_told(tmp_path):
    """The error names key, reference and cause."""
    credentials = Credentials.from_config(dict(token='file:/no/such/token'))
    text = (
        "deeplake_credentials.token='file:/no/such/token': cannot read the file: No such "
        'file'
    )
    with _raises(ValueError, text):
        credentials.resolve()


@pytest.mark.parametrize('content', [SECRET, f'["{SECRET}"]', f'{{"a": "{SECRET}"'])
def test_what_is_no_json_object_is_told_without_showing_it(content, monkeypatch):
    """Neither the message nor what it was raised from quotes the content."""
    monkeypatch.setenv('LAKE_CREDS', content)
    credentials = Credentials.from_config(dict(creds='env:LAKE_CREDS'))
    text = (
        "deeplake_credentials.creds='env:LAKE_CREDS': its content must be a JSON object "
        'of storage keys'
    )
    with _raises(ValueError, text) as caught:
        credentials.resolve()
    assert SECRET not in _chain(caught.value)


def test_an_unknown_key_in_the_json_is_told(monkeypatch):
    """Keys of a referenced object are checked too."""
    monkeypatch.setenv('LAKE_CREDS', json.dumps({'secret': SECRET}))
    with _raises(ValueError, 'deeplake_credentials.creds.secret is unknown') as caught:
        Credentials.from_config(dict(creds='env:LAKE_CREDS')).resolve()
    assert SECRET not in _chain(caught.value)


# ------------------------------------------------------------------------------ literals


def test_a_literal_secret_is_warned_of_once_naming_the_three_places(log):
    """Log, work directory and checkpoint are named, with what to write instead."""
    for _ in range(3):
        Credentials.from_config(LITERAL)
    text = log.getvalue()
    assert text.count('deeplake_credentials contains a literal secret') == 1
    for place in ('the log', 'work_dir/*.py', 'every checkpoint'):
        assert place in text
    assert "token='env:ACTIVELOOP_TOKEN', or 'file:PATH'" in text
    assert SECRET not in text


@pytest.mark.parametrize(
    'config',
    [
        dict(token='env:X', creds='file:y.json'),
        dict(
            creds=dict(
                aws_region='eu', endpoint_url='http://x', aws_access_key_id='env:A'
            )
        ),
        dict(creds=dict(profile_name='me', creds_key='managed')),
    ],
    ids=['references', 'plain-keys', 'profile'],
)
def test_references_and_plain_keys_are_not_warned_of(config, log):
    """A config without a secret gives no warning, and pickles whole."""
    credentials = Credentials.from_config(config)
    assert log.getvalue() == ''
    assert not credentials.has_literal_secret
    assert pickle.loads(pickle.dumps(credentials)) == credentials


def test_the_repr_shows_references_and_hides_secrets():
    """What is printed tells where secrets come from, never what they are."""
    text = repr(Credentials.from_config(LITERAL))
    assert SECRET not in text and "'aws_region': 'eu'" in text and '***' in text
    shown = repr(Credentials.from_config(dict(token='env:A', creds='file:b')))
    assert shown == "Credentials(token='env:A', creds='file:b')"


def test_a_pickle_holds_no_literal_secret():
    """Pickles and deep copies that may be stored leave the secret out."""
    credentials = Credentials.from_config(LITERAL)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert SECRET.encode() not in pickle.dumps(credentials, protocol)
    restored = pickle.loads(pickle.dumps(credentials))
    assert restored.resolve() == {'creds': {'aws_region': 'eu'}}


def test_a_worker_that_is_spawned_gets_the_secret():
    """The pipe to a worker is no disk: the worker can open the lake."""
    context = multiprocessing.get_context('spawn')
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(
        target=_send_resolved, args=(Credentials.from_config(LITERAL), sender)
    )
    process.start()
    assert receiver.poll(60), 'the spawned process said nothing'
    assert receiver.recv() == Credentials.from_config(LITERAL).resolve()
    process.join(60)


def _send_resolved(credentials: Credentials, sender: Any) -> None:
    sender.send(credentials.resolve())


def test_a_dataset_leaks_no_secret(tmp_path, monkeypatch):
    """Pickle, repr, meta info, image paths and errors of a dataset are free of it."""
    path = write_lake(tmp_path / 'lake')
    dataset = DeepLakeDataset(path, deeplake_credentials=LITERAL)
    info = dataset.get_data_info(0)
    for text in (
        pickle.dumps(dataset).decode('latin1'),
        pickle.dumps(dataset.lake).decode('latin1'),
        repr(dataset),
        repr(dataset.lake.source.spec),
        str(dataset.metainfo),
        str(info),
    ):
        assert SECRET not in text
    for keys in (
        dict(deeplake_view_id='x'),
        dict(deeplake_commit_id='x'),
        dict(deeplake_query='SELECT * WHERE image_id > 9'),
        dict(deeplake_path='/no/lake'),
        dict(metainfo=dict(classes=('x',))),
    ):
        with pytest.raises((ValueError, FileNotFoundError)) as caught:
            DeepLakeDataset(
                **{'deeplake_path': path, 'deeplake_credentials': LITERAL, **keys}
            )
        assert SECRET not in _chain(caught.value)


def _chain(error: BaseException | None) -> str:
    """Messages of an error and of all that it was raised from."""
    texts = []
    while error is not None:
        texts.append(f'{error!s} {error!r}')
        error = error.__cause__ or (
            None if error.__suppress_context__ else error.__context__
        )
    return '\n'.join(texts)


# ------------------------------------------------------------------------ object storage


@pytest.fixture(scope='module')
def bucket(tmp_path_factory) -> Iterator[ObjectStore]:
    """An S3 server on the loopback that checks signatures, with an empty bucket."""
    key = Key('AKIA0OF0THE0TESTS', SECRET)
    with ObjectStore.start(tmp_path_factory.mktemp('store'), key=key) as store:
        yield store


@pytest.fixture()
def references(bucket, monkeypatch) -> dict[str, Any]:
    """deeplake_credentials for the bucket, by references."""
    monkeypatch.setenv('LAKE_KEY', bucket.creds['aws_access_key_id'])
    monkeypatch.setenv('LAKE_SECRET', bucket.creds['aws_secret_access_key'])
    return dict(
        creds=dict(
            bucket.creds,
            aws_access_key_id='env:LAKE_KEY',
            aws_secret_access_key='env:LAKE_SECRET',
        )
    )


@pytest.fixture(scope='module')
def remote(bucket) -> str:
    """A lake in the bucket."""
    return write_lake(bucket.url('train'), [row(i) for i in range(6)], **bucket.creds)


def test_links_into_a_bucket_are_read_with_the_credentials_of_the_lake(
    bucket, references, tmp_path
):
    """Size, bytes and a missing file, through a lake whose images are links."""
    image = picture(9, 50, 30)
    (tmp_path / 'a b.jpg').write_bytes(image)
    photos = bucket.upload(tmp_path, 'photos')
    links = [f'{photos}/a b.jpg', f'{photos}/gone.jpg']
    rows = [{**row(i), 'images': link} for i, link in enumerate(links)]
    columns = {'images': IMAGE_TYPES['link'], 'width': None, 'height': None}
    path = write_lake(bucket.url('links'), rows, columns, **bucket.creds)
    dataset = DeepLakeDataset(
        path, deeplake_credentials=references, on_broken_image='skip'
    )
    info = dataset.get_data_info(0)
    assert (info['width'], info['height']) == (50, 30)
    assert dataset.lake.reader.read_row(0) == image
    text = r'row 1: its link .*gone\.jpg points to a file that does not exist'
    with pytest.raises(ValueError, match=text):
        dataset.lake.reader.read_row(1)


def test_a_lake_in_a_bucket_gives_the_samples_of_a_local_one(
    remote, references, tmp_path
):
    """Through creds by reference every sample is equal, here and in forked workers."""
    local = DeepLakeDataset(write_lake(tmp_path / 'lake'), pipeline=LOAD)
    dataset = DeepLakeDataset(remote, deeplake_credentials=references, pipeline=LOAD)
    assert len(dataset) == len(local) == 6
    for index in range(6):
        assert_equal(dataset[index], local[index])
    loader = DataLoader(
        dataset,
        batch_size=3,
        num_workers=2,
        multiprocessing_context='fork',
        collate_fn=pseudo_collate,
    )
    seen = [image for batch in loader for image in batch['inputs']]
    assert_equal(seen, [local[index]['inputs'] for index in range(6)])


def test_a_pickle_by_reference_opens_the_bucket_again(remote, references):
    """References travel, so a copy in another place reads on."""
    dataset = DeepLakeDataset(remote, deeplake_credentials=references, pipeline=LOAD)
    state = pickle.dumps(dataset)
    assert SECRET.encode() not in state
    assert_equal(pickle.loads(state)[2], dataset[2])
    assert_equal(copy.deepcopy(dataset)[2], dataset[2])


def test_the_newest_credentials_and_timeouts_serve_all_datasets_of_a_lake(
    bucket, remote, references
):
    """An image path names a lake, not a dataset; a pickle without a secret changes none."""
    literal = dict(creds=bucket.creds)
    first = DeepLakeDataset(remote, deeplake_credentials=literal, read_timeout=11)
    without_secret = pickle.dumps(first)
    source = first.lake.source
    newer = DeepLakeDataset(remote, deeplake_credentials=references, read_timeout=12)
    assert newer.lake is first.lake
    assert not source.spec.credentials.has_literal_secret
    assert source.spec.timeouts.read_timeout == 12
    assert pickle.loads(without_secret).lake is first.lake
    assert source.spec.timeouts.read_timeout == 12
    assert first.lake.images.read_row(0)


def test_a_query_with_from_reads_a_bucket(remote, references):
    """FROM "s3://…" is opened by the same credentials."""
    dataset = DeepLakeDataset(
        deeplake_query=f'SELECT * FROM "{remote}" WHERE image_id > 3',
        deeplake_credentials=references,
    )
    assert [dataset.get_data_info(i)['img_id'] for i in range(len(dataset))] == [4, 5]


def test_a_missing_lake_in_a_bucket_is_told(bucket, references):
    """The error names the path, and no secret."""
    with _raises(FileNotFoundError, "deeplake_path='s3://lakes/none': ") as caught:
        DeepLakeDataset('s3://lakes/none', deeplake_credentials=references)
    assert SECRET not in _chain(caught.value)


def test_a_missing_bucket_is_told_without_asking_for_a_v3_lake(references):
    """At once, where Deep Lake would list it for half a minute; its words are kept."""
    text = (
        "deeplake_path='s3://none/lake': [S3] Key not found: action=GetObject resource="
        '_deeplake_log/_meta/next_base status=404 code=NoSuchBucket message=The specified'
    )
    began = time.monotonic()
    with _raises(FileNotFoundError, text):
        DeepLakeDataset('s3://none/lake', deeplake_credentials=references)
    assert time.monotonic() - began < 15


REFUSALS = {
    'denied': ('AccessDenied', 'Access Denied'),
    'unknown-key': ('InvalidAccessKeyId', 'The AWS Access Key Id you provided does not'),
    'expired': ('ExpiredToken', 'The provided token has expired.'),
}


@pytest.mark.parametrize(('code', 'words'), REFUSALS.values(), ids=REFUSALS)
def test_refused_access_is_told(code, words, bucket, references, remote):
    """The error names path, references, what the storage said, and what to check."""
    bucket.accept_keys([], code)
    try:
        with pytest.raises(PermissionError) as caught:
            DeepLakeDataset(remote, deeplake_credentials=references)
    finally:
        bucket.accept_keys([bucket.key])
    message = str(caught.value)
    assert message.startswith(
        f"deeplake_path='{remote}': access denied with Credentials(token='', creds={{"
    )
    for part in (f'code={code}', words, "'aws_secret_access_key': 'env:LAKE_SECRET'"):
        assert part in message
    assert 'Check deeplake_credentials, or the environment' in message
    assert SECRET not in _chain(caught.value)


def test_a_false_signature_is_a_refusal(bucket, references, remote, monkeypatch):
    """A wrong secret is told at once, not tried again as a broken server would be."""
    monkeypatch.setenv('LAKE_SECRET', 'another')
    asked = []
    knock = opening._probe_access
    monkeypatch.setattr(opening, '_probe_access', lambda *args: (asked.append(1), knock(*args)))
    bucket.reset_log()
    with _raises(PermissionError, 'code=SignatureDoesNotMatch'):
        DeepLakeDataset(remote, deeplake_credentials=references)
    assert len(asked) == 1
    assert bucket.totals().requests == 7  # of one read: the S3 client of Deep Lake's own


def test_an_error_in_between_is_told_without_what_deep_lake_said(monkeypatch):
    """A message of Deep Lake that holds the token loses it, and is not chained."""

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise opening.deeplake.AuthenticationError(f'the token {SECRET} is unknown')

    monkeypatch.setattr(opening.deeplake, 'open_read_only', refuse)
    monkeypatch.setenv('LAKE_TOKEN', SECRET)
    with _raises(PermissionError, 'the token *** is unknown') as caught:
        DeepLakeDataset(
            'al://org/name', deeplake_credentials=dict(token='env:LAKE_TOKEN')
        )
    assert SECRET not in _chain(caught.value)


BROKEN_FILES = {
    'empty': (b'', 'the file is empty'),
    'no-text': (b'\xff\xfe' + SECRET.encode(), 'the file is not text'),
}


@pytest.mark.parametrize(('content', 'text'), BROKEN_FILES.values(), ids=BROKEN_FILES)
def test_a_file_without_a_secret_is_told(content, text, tmp_path):
    """Named with its key; nothing of what it holds is quoted."""
    file = tmp_path / 'token'
    file.write_bytes(content)
    credentials = Credentials.from_config(dict(token=f'file:{file}'))
    with _raises(
        ValueError, f"deeplake_credentials.token='file:{file}': {text}"
    ) as caught:
        credentials.resolve()
    assert SECRET not in _chain(caught.value)


def test_the_age_changes_with_the_file(tmp_path):
    """Written anew, replaced in the same moment, removed: each is another age."""
    file, other = tmp_path / 'token', tmp_path / 'other'
    credentials = Credentials.from_config(dict(token=f'file:{file}'))
    ages = [credentials.age()]
    for name in (file, other):
        name.write_text('first')
        os.utime(name, ns=(1, 1))
    ages.append(credentials.age())
    os.utime(file, ns=(2, 2))
    ages.append(credentials.age())
    os.utime(other, ns=(2, 2))
    other.replace(file)
    ages.append(credentials.age())
    assert len(set(ages)) == len(ages)
    assert credentials.age() == ages[-1]
