'use strict';
// Ties the controls to the filter, and starts the page.
(function (T) {
  if (!T.raw) return;
  const { $, element, raw } = T;

  function option(value, text) {
    return element('option', { value }, text);
  }

  function fillControls() {
    const labels = raw.classes.map((_, label) => label);
    $('class').append(option(-1, 'any'), ...labels.map((label) => option(label, T.className(label))));
    $('what').append(option('', 'any'));
    const groups = [['Predictions', 'p', raw.verdicts], ['Annotations', 'a', raw.fates]];
    for (const [name, mark, words] of groups) {
      const known = words.map((word, code) => [code, word]).filter(([, word]) => word !== 'not judged');
      $('what').append(element('optgroup', { label: name },
        ...known.map(([code, word]) => option(`${mark}:${code}`, word))));
    }
    $('error').append(option(-1, 'any'),
      ...raw.errors.map((name, code) => option(code, name)).slice(1));
    $('sort').append(option('', 'the order of the query'), option('file name', 'file name'),
      ...Object.keys(T.numbers).map((name) => option(name, name)));
    if (T.compared) {
      $('change').append(option(-1, 'any'), ...raw.compare.changes.map((name, code) => option(code, name)));
      $('run').append(...T.runs.map((run, index) => option(index, `${run.name} (${run.branch})`)));
    }
    $('legend').append(...T.legend());
  }

  const shownName = (label) => (label < 0 ? 'nothing' : T.className(label));

  // Shows the state in the controls, wherever it was changed.
  function drawControls() {
    const { filter, sort } = T;
    $('class').value = filter.cls;
    $('what').value = filter.what;
    $('error').value = filter.error;
    $('low').value = filter.low;
    $('high').value = filter.high;
    if ($('text').value !== filter.text) $('text').value = filter.text;
    $('only-marked').checked = filter.marked;
    if (T.compared) {
      $('change').value = filter.change;
      $('run').value = T.shownRun;
    }
    $('sort').value = sort.by;
    $('direction').textContent = sort.down ? 'descending' : 'ascending';
    $('direction').setAttribute('aria-pressed', String(sort.down));
    $('show-truth').checked = T.show.truth;
    $('show-predictions').checked = T.show.predictions;
    $('pair').hidden = filter.pair === null;
    if (filter.pair !== null) {
      $('pair').firstElementChild.textContent =
        `${shownName(filter.pair.truth)} predicted as ${shownName(filter.pair.pred)}`;
    }
    $('count').textContent = T.shown.length === T.count
      ? `${T.count} images` : `${T.shown.length} of ${T.count} images`;
    $('marked').textContent = T.marks.size ? `${T.marks.size} marked` : '';
    $('open-export').disabled = $('unmark-all').disabled = !T.marks.size;
  }

  function number(input, otherwise) {
    const { badInput, rangeUnderflow, rangeOverflow } = input.validity;
    const isWrong = badInput || rangeUnderflow || rangeOverflow;
    return input.value === '' || isWrong ? otherwise : Number(input.value);
  }

  function connect() {
    $('class').addEventListener('change', () => T.setFilter({ cls: Number($('class').value), pair: null }));
    $('what').addEventListener('change', () => T.setFilter({ what: $('what').value, pair: null }));
    $('error').addEventListener('change', () => T.setFilter({ error: Number($('error').value), pair: null }));
    $('change').addEventListener('change', () => T.setFilter({ change: Number($('change').value) }));
    $('low').addEventListener('change', () => T.setFilter({ low: number($('low'), 0) }));
    $('high').addEventListener('change', () => T.setFilter({ high: number($('high'), 1) }));
    $('text').addEventListener('input', () => T.setFilter({ text: $('text').value }));
    $('only-marked').addEventListener('change', () => T.setFilter({ marked: $('only-marked').checked }));
    $('pair').querySelector('button').addEventListener('click', () => T.setFilter({ pair: null }));
    $('filters').addEventListener('submit', (event) => event.preventDefault());
    $('filters').addEventListener('reset', (event) => {
      event.preventDefault();
      T.setFilter(T.startFilter());
    });
    $('sort').addEventListener('change', () => {
      T.sort.by = $('sort').value;
      T.apply();
    });
    $('direction').addEventListener('click', () => {
      T.sort.down = !T.sort.down;
      T.apply();
    });
    $('show-truth').addEventListener('change', () => toggle('truth'));
    $('show-predictions').addEventListener('change', () => toggle('predictions'));
    $('run').addEventListener('change', () => showRun(Number($('run').value)));
    $('mark-all').addEventListener('click', () => T.mark(T.shown, true));
    $('unmark-all').addEventListener('click', () => T.mark([...T.marks], false));
    $('open-help').addEventListener('click', () => $('help').showModal());
    $('open-export').addEventListener('click', openExport);
    $('view-name').addEventListener('input', drawExport);
    for (const button of document.querySelectorAll('[data-close]')) {
      button.addEventListener('click', () => button.closest('dialog').close());
    }
    for (const button of document.querySelectorAll('[data-copy]')) {
      button.addEventListener('click', () => copy($(button.dataset.copy)));
    }
    document.addEventListener('keydown', onKey);
  }

  function toggle(what) {
    T.show[what] = !T.show[what];
    T.redraw();
  }

  function showRun(index) {
    T.shownRun = index;
    T.apply();
  }

  function onKey(event) {
    const typing = event.target.closest('input:not([type=checkbox]):not([type=range]), textarea, select');
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    const inDialog = document.querySelector('dialog[open]:not(#viewer)');
    const keys = {
      t: () => toggle('truth'),
      p: () => toggle('predictions'),
      b: () => T.compared && showRun(1 - T.shownRun),
      '/': () => !$('viewer').open && $('text').focus(),
      '?': () => $('help').showModal(),
    };
    if (inDialog || !(event.key in keys)) return;
    keys[event.key]();
    event.preventDefault();
  }

  function openExport() {
    drawExport();
    $('copied').textContent = '';
    $('export').showModal();
  }

  function drawExport() {
    $('export-title').textContent = `The ${T.marks.size} marked images`;
    $('query').value = T.queryOfMarked();
    const valid = $('view-name').value !== '' && $('view-name').validity.valid;
    $('command').value = valid ? T.commandOfMarked($('view-name').value) : '';
  }

  async function copy(area) {
    area.select();
    let done = false;
    try {
      await navigator.clipboard.writeText(area.value);
      done = true;
    } catch { // a page on a disk may not, but the selection can be copied
      done = document.execCommand('copy');
    }
    $('copied').textContent = done ? 'Copied.' : 'Press Ctrl-C to copy the selected text.';
  }

  function start() {
    const [run] = T.runs;
    const title = `${run.name} on ${raw.lake}`;
    document.title = title;
    $('title').textContent = title;
    $('subtitle').textContent = raw.query || 'all images that were predicted';
    document.body.classList.toggle('is-judged', T.judged);
    document.body.classList.toggle('is-compared', T.compared);
    fillControls();
    connect();
    T.onChange(drawControls);
    T.apply();
    $('grid').focus();
    document.body.dataset.ready = 'yes';
  }

  start();
})(window.Triage);
