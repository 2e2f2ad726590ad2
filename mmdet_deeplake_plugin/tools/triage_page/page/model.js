'use strict';
// What the page knows: its data, the filter, the order, the marks. Nothing here draws.
window.Triage = {};
(function (T) {
  const KINDS = { f4: Float32Array, i4: Int32Array, u1: Uint8Array };
  const raw = window.TRIAGE;
  if (!raw) {
    document.getElementById('title').textContent =
      'data.js is missing: the page must stay in its folder';
    return;
  }

  function bytesOf(base64) {
    if (Uint8Array.fromBase64) return Uint8Array.fromBase64(base64); // since 2025
    const text = atob(base64);
    const bytes = new Uint8Array(text.length);
    for (let at = 0; at < text.length; at++) bytes[at] = text.charCodeAt(at);
    return bytes;
  }

  const decode = (packed) => new KINDS[packed.type](bytesOf(packed.data).buffer);

  function decodeAll(values) {
    const decoded = {};
    for (const [key, value] of Object.entries(values)) {
      decoded[key] = value && value.data !== undefined ? decode(value) : value;
    }
    return decoded;
  }

  T.raw = raw;
  T.count = raw.images.row.length;
  T.annotations = decodeAll(raw.annotations);
  T.runs = raw.runs.map(decodeAll);
  T.shownRun = 0;
  T.judged = T.runs[0].judged;
  T.compared = Boolean(raw.compare);
  T.show = { truth: true, predictions: true };
  T.verdict = Object.fromEntries(raw.verdicts.map((name, code) => [name, code]));
  T.fate = Object.fromEntries(raw.fates.map((name, code) => [name, code]));
  T.run = () => T.runs[T.shownRun];
  T.className = (label) => raw.classes[label] ?? `class ${label}`;
  T.nameOf = (image) => raw.images.file[image] || `row ${raw.images.row[image]}`;

  const names = raw.images.row.map((row, image) =>
    `${raw.images.file[image]} ${raw.images.id[image]}`.toLowerCase());

  // The numbers by which images can be sorted.
  T.numbers = { ...raw.numbers };
  if (T.compared) {
    for (const [key, values] of Object.entries(raw.compare.numbers)) {
      T.numbers[`Δ ${key}`] = values;
    }
  }

  T.startFilter = () => ({
    cls: -1, // label
    what: '', // 'p:VERDICT' of predictions or 'a:FATE' of annotations
    error: -1,
    change: -1,
    low: T.runs[0].scoreThr,
    high: 1,
    text: '',
    marked: false,
    pair: null, // {truth, pred}: a cell of the confusion matrix, -1 for nothing
  });
  T.filter = T.startFilter();
  T.sort = { by: '', down: false };
  T.shown = [];

  // Scores are stored in single precision, so 0.9 stands for the nearest such number.
  T.inRange = (score) =>
    score >= Math.fround(T.filter.low) && score <= Math.fround(T.filter.high);

  function restrictsScore() {
    const start = T.startFilter();
    return T.filter.low !== start.low || T.filter.high !== start.high;
  }

  T.isSearching = () => {
    const { cls, what, error, pair } = T.filter;
    return cls >= 0 || what !== '' || error >= 0 || pair !== null || restrictsScore();
  };

  // Whether a prediction is one that the filter asks for.
  T.predictionFits = (run, at, image) => {
    const { cls, what, error, pair } = T.filter;
    if (!T.inRange(run.scores[at])) return false;
    if (cls >= 0 && run.labels[at] !== cls) return false;
    if (what !== '' && what !== `p:${run.verdicts[at]}`) return false;
    if (error >= 0 && run.errors[at] !== error) return false;
    return pair === null || pairOf(run, at, image, pair);
  };

  function pairOf(run, at, image, pair) {
    if (pair.pred < 0 || run.labels[at] !== pair.pred) return false;
    if (pair.truth < 0) return raw.errors[run.errors[at]] === 'background';
    const about = run.about[at];
    if (about < 0) return false;
    const label = T.annotations.labels[T.annotations.offsets[image] + about];
    if (label !== pair.truth) return false;
    return pair.truth === pair.pred
      ? run.verdicts[at] === T.verdict.right
      : raw.errors[run.errors[at]] === 'classification';
  }

  // Whether an annotation is one that the filter asks for.
  T.annotationFits = (run, at) => {
    const { cls, what, error, pair } = T.filter;
    if (error >= 0 || restrictsScore()) return false;
    if (cls >= 0 && T.annotations.labels[at] !== cls) return false;
    if (what !== '' && what !== `a:${run.fates[at]}`) return false;
    if (pair === null) return true;
    return pair.pred < 0 && T.annotations.labels[at] === pair.truth &&
      run.fates[at] === T.fate.missed;
  };

  function hasObject(image) {
    const run = T.run();
    for (let at = run.offsets[image]; at < run.offsets[image + 1]; at++) {
      if (T.predictionFits(run, at, image)) return true;
    }
    const { offsets } = T.annotations;
    for (let at = offsets[image]; at < offsets[image + 1]; at++) {
      if (T.annotationFits(run, at)) return true;
    }
    return false;
  }

  function passes(image, text, searching) {
    if (T.filter.marked && !T.marks.has(image)) return false;
    if (text && !names[image].includes(text)) return false;
    if (T.filter.change >= 0 && raw.compare.change[image] !== T.filter.change) return false;
    return !searching || hasObject(image);
  }

  function compare(one, other) {
    const { by, down } = T.sort;
    if (by === '') return down ? other - one : one - other;
    if (by === 'file name') {
      const order = T.nameOf(one).localeCompare(T.nameOf(other), 'en', { numeric: true });
      return (down ? -order : order) || one - other;
    }
    const a = T.numbers[by][one];
    const b = T.numbers[by][other];
    if (a === null || b === null) return (a === null) - (b === null) || one - other;
    return (down ? b - a : a - b) || one - other;
  }

  const listeners = [];
  T.onChange = (listener) => listeners.push(listener);

  // Finds the images that fit, and tells everyone.
  T.apply = () => {
    const text = T.filter.text.trim().toLowerCase();
    const searching = T.isSearching();
    const shown = [];
    for (let image = 0; image < T.count; image++) {
      if (passes(image, text, searching)) shown.push(image);
    }
    T.shown = shown.sort(compare);
    T.redraw();
  };
  T.redraw = () => listeners.forEach((listener) => listener());

  T.setFilter = (values) => {
    Object.assign(T.filter, values);
    T.apply();
  };

  // Marks outlive the window, where the browser keeps such things for a page on a disk.
  const place = `triage ${raw.lake} ${T.runs[0].branch} ${T.runs[0].name}`;
  T.marks = new Set();
  const imageOfRow = new Map(raw.images.row.map((row, image) => [row, image]));
  try {
    for (const row of JSON.parse(localStorage.getItem(place) || '[]')) {
      if (imageOfRow.has(row)) T.marks.add(imageOfRow.get(row));
    }
  } catch { /* no storage, no memory */ }

  T.mark = (images, on) => {
    for (const image of images) {
      if (on ?? !T.marks.has(image)) T.marks.add(image);
      else T.marks.delete(image);
    }
    try {
      localStorage.setItem(place, JSON.stringify(markedRows()));
    } catch { /* as above */ }
    if (T.filter.marked) T.apply();
    else T.redraw();
  };

  const marked = () => [...T.marks].sort((one, other) => one - other);
  const markedRows = () => marked().map((image) => raw.images.row[image]);

  T.queryOfMarked = () => {
    if (!raw.key) { // IN takes columns only
      return 'SELECT * FROM (SELECT *, ROW_NUMBER() AS marked_row) ' +
        `WHERE marked_row IN (${markedRows().join(', ')})`;
    }
    const quoted = (id) => (raw.key.isText ? `'${id.replaceAll("'", "''")}'` : id);
    const ids = marked().map((image) => quoted(raw.images.id[image]));
    return `SELECT * WHERE "${raw.key.column}" IN (${ids.join(', ')})`;
  };

  const shellQuoted = (text) => `'${text.replaceAll("'", `'"'"'`)}'`;
  // A view of a view cannot be saved: then there is only the query.
  T.commandOfMarked = (view) =>
    raw.command &&
    `${raw.command} --query ${shellQuoted(T.queryOfMarked())} --tag ${shellQuoted(view)}`;

  T.formatted = (value) => {
    if (value === null || value === undefined) return '–';
    if (Number.isInteger(value)) return String(value);
    return Math.abs(value) >= 1000 ? value.toFixed(0) : value.toPrecision(3);
  };

  // An element with attributes and children; text is always text.
  T.element = (tag, attributes = {}, ...children) => {
    const made = document.createElement(tag);
    for (const [key, value] of Object.entries(attributes)) {
      if (key === 'onclick') made.addEventListener('click', value);
      else if (value === true) made.setAttribute(key, '');
      else if (value !== false && value !== null) made.setAttribute(key, value);
    }
    made.append(...children);
    return made;
  };
  // Puts new children into a container; the focus stays on the button at its place.
  T.replace = (container, ...children) => {
    const controls = () => [...container.querySelectorAll('button, input')];
    const focused = controls().indexOf(document.activeElement);
    container.replaceChildren(...children);
    if (focused >= 0) controls()[focused]?.focus();
  };
  T.$ = (id) => document.getElementById(id);
})(window.Triage);
