'use strict';
// Figures of the run. Each part of them is a button that leads to the images behind it.
(function (T) {
  if (!T.raw) return;
  const { $, element, raw } = T;
  const MOST_CLASSES = 20; // of the confusion matrix
  const body = (id) => $(id).querySelector('.body');

  function bar(name, count, most, chosen, action) {
    const filled = element('span', { class: 'filled' });
    filled.style.width = `${most ? (100 * count) / most : 0}%`;
    return element('li', {}, element(
      'button', { type: 'button', 'aria-pressed': String(chosen), onclick: action },
      element('span', { class: 'what' }, name),
      element('span', { class: 'track' }, filled), element('b', {}, String(count)),
    ));
  }

  // What is computed once for each run, as it does not depend on the filter.
  function once(compute) {
    const known = new Map();
    return () => {
      const run = T.run();
      if (!known.has(run)) known.set(run, compute(run));
      return known.get(run);
    };
  }

  const errorCounts = once((run) => {
    const counts = raw.errors.map(() => 0);
    for (const code of run.errors) counts[code] += 1;
    let missed = 0;
    for (const fate of run.fates) missed += fate === T.fate.missed;
    return { counts: counts.slice(1), missed };
  });

  function drawErrors() {
    const run = T.run();
    const { filter } = T;
    const { counts, missed } = errorCounts();
    const most = Math.max(...counts, missed);
    const bars = counts.map((count, index) => bar(
      raw.errors[index + 1], count, most, filter.error === index + 1,
      () => T.setFilter({ error: filter.error === index + 1 ? -1 : index + 1, what: '', pair: null }),
    ));
    const what = `a:${T.fate.missed}`;
    bars.push(bar('missed', missed, most, filter.what === what, () => T.setFilter(
      { error: -1, what: filter.what === what ? '' : what, pair: null })));
    T.replace(body('errors'),
      element('ul', { class: 'bars' }, ...bars),
      element('p', { class: 'note' }, `of the ${T.count} images on this page, from score ${run.scoreThr}`),
    );
  }

  const W = 260;
  const H = 170;
  const PAD = 30;
  const x = (recall) => PAD + recall * (W - PAD - 8);
  const y = (precision) => H - PAD - precision * (H - PAD - 8);

  function axes() {
    const parts = [];
    for (const share of [0, 0.25, 0.5, 0.75, 1]) {
      parts.push(T.svg('line', { x1: x(0), x2: x(1), y1: y(share), y2: y(share), class: 'grid' }));
      parts.push(T.svg('line', { x1: x(share), x2: x(share), y1: y(0), y2: y(1), class: 'grid' }));
    }
    const words = [
      ['recall', x(0.5), H - 4, 'middle'], ['0', x(0), H - 16, 'middle'],
      ['1', x(1), H - 16, 'middle'], ['1', x(0) - 5, y(1) + 4, 'end'],
      ['precision', x(0) + 4, y(1) + 12, 'start'],
    ];
    for (const [text, left, top, anchor] of words) {
      parts.push(T.svg('text', { x: left, y: top, 'text-anchor': anchor }, text));
    }
    return parts;
  }

  let recall = 50; // of 100: where the curve is read

  function drawCurve() {
    const label = T.filter.cls;
    const curve = raw.curves[label + 1];
    const name = label < 0 ? 'all classes' : T.className(label);
    const title = element('p', {}, element('b', {}, name),
      ` AP ${T.formatted(curve.ap)} at IoU ${T.runs[0].iouThr}, ${curve.positives} annotations`);
    const parts = [title];
    if (curve.precision) {
      const points = curve.precision.map((value, index) => `${x(index / 100)},${y(value)}`);
      const cursor = T.svg('circle', { r: 5, class: 'cursor' });
      const svg = T.svg('svg', { viewBox: `0 0 ${W} ${H}`, class: 'curve', role: 'img' },
        ...axes(), T.svg('polyline', { points: points.join(' ') }), cursor);
      svg.setAttribute('aria-label', `precision over recall of ${name}`);
      const slider = element('input', { type: 'range', min: 0, max: 100, value: recall, 'aria-label': 'recall' });
      const reading = element('output', {});
      const button = element('button', { type: 'button' });
      const read = () => {
        const precision = curve.precision[recall];
        cursor.setAttribute('cx', x(recall / 100));
        cursor.setAttribute('cy', y(precision));
        reading.textContent = `precision ${precision.toFixed(2)} at recall ${(recall / 100).toFixed(2)}`;
        const score = curve.score?.[recall] ?? 0;
        button.hidden = !score;
        button.textContent = `Its wrong predictions, from score ${score.toFixed(2)}`;
      };
      const set = (value) => {
        recall = Math.max(0, Math.min(100, Math.round(value)));
        slider.value = recall;
        read();
      };
      slider.addEventListener('input', () => set(Number(slider.value)));
      svg.addEventListener('click', (event) => {
        const bounds = svg.getBoundingClientRect();
        const at = ((event.clientX - bounds.left) / bounds.width) * W;
        set((100 * (at - x(0))) / (x(1) - x(0)));
      });
      button.addEventListener('click', () => {
        const low = Math.floor(curve.score[recall] * 10000) / 10000;
        T.setFilter({ what: `p:${T.verdict.wrong}`, error: -1, pair: null, low });
      });
      read();
      parts.push(svg, slider, reading, button);
    }
    parts.push(classTable());
    T.replace(body('curve'), ...parts);
  }

  function classTable() {
    const order = raw.classes.map((_, label) => label)
      .filter((label) => raw.curves[label + 1].ap !== null)
      .sort((one, other) => raw.curves[one + 1].ap - raw.curves[other + 1].ap);
    const bars = order.map((label) => bar(
      T.className(label), Number(raw.curves[label + 1].ap.toFixed(3)), 1, T.filter.cls === label,
      () => T.setFilter({ cls: T.filter.cls === label ? -1 : label, pair: null }),
    ));
    return element('ul', { class: 'bars scrolled', 'aria-label': 'AP of the classes, the lowest first' }, ...bars);
  }

  // Counts pairs of a true and a predicted class; -1 stands for nothing.
  const pairs = once((run) => {
    const { annotations } = T;
    const counts = new Map();
    const add = (truth, pred) => {
      const key = `${truth} ${pred}`;
      counts.set(key, (counts.get(key) ?? 0) + 1);
    };
    for (let image = 0; image < T.count; image++) {
      for (let at = run.offsets[image]; at < run.offsets[image + 1]; at++) {
        if (run.scores[at] < Math.fround(run.scoreThr)) continue;
        const error = raw.errors[run.errors[at]];
        const truth = annotations.labels[annotations.offsets[image] + run.about[at]];
        if (run.verdicts[at] === T.verdict.right || error === 'classification') {
          add(truth, run.labels[at]);
        } else if (error === 'background') add(-1, run.labels[at]);
      }
    }
    run.fates.forEach((fate, at) => {
      if (fate === T.fate.missed) add(annotations.labels[at], -1);
    });
    return counts;
  });

  function drawConfusion() {
    if (!$('confusion').open) return;
    const counts = pairs();
    const wrong = raw.classes.map(() => 0);
    for (const [key, count] of counts) {
      const [truth, pred] = key.split(' ').map(Number);
      if (truth === pred) continue;
      if (truth >= 0) wrong[truth] += count;
      if (pred >= 0) wrong[pred] += count;
    }
    const labels = raw.classes.map((_, label) => label);
    const shown = labels.length <= MOST_CLASSES ? labels : labels
      .sort((one, other) => wrong[other] - wrong[one]).slice(0, MOST_CLASSES)
      .sort((one, other) => one - other);
    const most = Math.max(1, ...counts.values());
    const head = element('tr', {}, element('th', { scope: 'col' }, 'annotated ↓ predicted →'),
      ...[...shown, -1].map((label) => element('th', { scope: 'col' },
        element('span', {}, label < 0 ? 'nothing' : T.className(label)))));
    const rows = [...shown, -1].map((truth) => element('tr', {},
      element('th', { scope: 'row' }, truth < 0 ? 'nothing' : T.className(truth)),
      ...[...shown, -1].map((pred) => cell(truth, pred, counts.get(`${truth} ${pred}`) ?? 0, most))));
    const left = labels.length - shown.length;
    T.replace(body('confusion'),
      element('div', { class: 'scrolled' }, element('table', { class: 'matrix' },
        element('thead', {}, head), element('tbody', {}, ...rows))),
      element('p', { class: 'note' }, 'Boxes that are badly located, duplicates or both are among the errors above.' +
        (left > 0 ? ` ${left} classes with fewer confusions are left out.` : '')),
    );
  }

  function cell(truth, pred, count, most) {
    if (!count) return element('td', {}, '');
    const { pair } = T.filter;
    const chosen = pair !== null && pair.truth === truth && pair.pred === pred;
    const strength = Math.ceil((9 * Math.log1p(count)) / Math.log1p(most));
    const name = (label) => (label < 0 ? 'nothing' : T.className(label));
    return element('td', {}, element('button', {
      type: 'button', class: `cell s${strength}${truth === pred ? ' same' : ''}`,
      'aria-pressed': String(chosen), title: `${name(truth)} predicted as ${name(pred)}`,
      onclick: () => T.setFilter({
        pair: chosen ? null : { truth, pred }, cls: -1, what: '', error: -1,
      }),
    }, String(count)));
  }

  let factsOf = null; // the run whose facts are shown
  function drawFacts() {
    if (factsOf === T.run()) return;
    factsOf = T.run();
    const rows = [];
    const add = (key, value) => {
      if (value !== null && typeof value === 'object' && !Array.isArray(value)) {
        Object.entries(value).forEach(([name, each]) => add(key ? `${key} · ${name}` : name, each));
      } else {
        const text = typeof value === 'number' ? T.formatted(value) : String(value);
        rows.push(element('tr', {}, element('th', { scope: 'row' }, key), element('td', {}, text)));
      }
    };
    const { metric = {}, ...others } = T.run().provenance;
    add('', metric);
    add('', others);
    const { leftOut } = T.run();
    const note = leftOut ? `${leftOut} predictions with lower scores are not on this page.` : '';
    T.replace(body('facts'), element('table', {}, ...rows), element('p', { class: 'note' }, note));
  }

  $('confusion').addEventListener('toggle', drawConfusion);
  T.onChange(() => {
    drawFacts();
    if (!T.judged) return;
    drawErrors();
    drawCurve();
    drawConfusion();
  });
})(window.Triage);
