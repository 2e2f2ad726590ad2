'use strict';
// The second run of a comparison: how far the average precision of the two is apart.
(function (T) {
  if (!T.raw || !T.compared) return;
  const { $, element, raw } = T;
  const { table, changes, change } = raw.compare;
  const body = $('comparison').querySelector('.body');
  const FEW_IMAGES = 10; // of which draws say little
  const SIGNS = { better: '▲', worse: '▼', changed: '◆', same: '=' };

  T.changeSign = (image) => SIGNS[changes[change[image]]] ?? '';

  const signed = (value) => (value === null ? '–' : `${value > 0 ? '+' : ''}${value.toFixed(3)}`);

  function bars() {
    const counts = changes.map((_, code) => change.filter((each) => each === code).length);
    const most = Math.max(...counts);
    return changes.map((name, code) => {
      const filled = element('span', { class: 'filled' });
      filled.style.width = `${(100 * counts[code]) / Math.max(most, 1)}%`;
      const chosen = T.filter.change === code;
      return element('li', {}, element('button', {
        type: 'button', 'aria-pressed': String(chosen),
        onclick: () => T.setFilter({ change: chosen ? -1 : code }),
      }, element('span', { class: 'what' }, `${SIGNS[name] ?? '·'} ${name}`),
      element('span', { class: 'track' }, filled), element('b', {}, String(counts[code]))));
    });
  }

  const isSure = ({ low, high, images }) =>
    low !== null && images >= FEW_IMAGES && (low > 0 || high < 0);

  function line(entry) {
    const label = entry.cls < 0 ? 'all classes' : T.className(entry.cls);
    const { low, high } = entry;
    const sure = isSure(entry);
    return element('tr', { class: sure ? 'sure' : '' },
      element('th', { scope: 'row' }, entry.cls < 0 && entry.size === 'all' ? label : entry.size),
      element('td', {}, T.formatted(entry.this)),
      element('td', {}, T.formatted(entry.other)),
      element('td', {}, `${signed(low === null ? null : entry.this - entry.other)}${sure ? ' *' : ''}`,
        element('small', {}, low === null ? '' : `${signed(low)} … ${signed(high)}`)),
      element('td', {}, String(entry.positives), element('small', {}, `in ${entry.images}`)));
  }

  function drawComparison() {
    const [one, other] = T.runs;
    const chosen = table.filter((entry) => entry.cls === T.filter.cls);
    const classes = T.filter.cls < 0 ? table.filter((entry) => entry.cls >= 0 && entry.size === 'all')
      .sort((a, b) => isSure(b) - isSure(a) ||
        Math.abs(b.this - b.other) - Math.abs(a.this - a.other)) : [];
    const head = ['', 'this', 'other', 'Δ AP', 'n'].map((text) => element('th', { scope: 'col' }, text));
    const named = classes.map((entry) => {
      const row = line(entry);
      row.firstChild.replaceChildren(element('button', {
        type: 'button', onclick: () => T.setFilter({ cls: entry.cls }),
      }, T.className(entry.cls)));
      return row;
    });
    T.replace(body,
      element('p', {}, `this: ${one.name} (${one.branch}); other: ${other.name} (${other.branch})`),
      element('ul', { class: 'bars' }, ...bars()),
      element('div', { class: 'scrolled' }, element('table', { class: 'delta' },
        element('thead', {}, element('tr', {}, ...head)),
        element('tbody', {}, ...chosen.map(line), ...named))),
      element('p', { class: 'note' }, `AP at IoU ${one.iouThr}. The interval holds 95 % of the differences over ` +
        `${raw.compare.draws} draws of the images; * where it does not hold 0 and ${FEW_IMAGES} images or more have such objects.`),
    );
  }

  T.onChange(drawComparison);
})(window.Triage);
