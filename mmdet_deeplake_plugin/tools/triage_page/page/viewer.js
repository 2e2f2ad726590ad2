'use strict';
// One image, large: zoom, its objects in words, and the keys for them.
(function (T) {
  if (!T.raw) return;
  const { $, element } = T;
  const dialog = $('viewer');
  const frame = $('frame');
  const stage = $('stage');
  const MOST = 40; // times the size that fits
  let zoom = 1;
  let fit = 1;
  let centre = [0.5, 0.5]; // of the frame, in shares of the image
  let image = -1;
  let lit = null; // key of the object that is pointed at

  T.view = () => {
    if (!T.shown.length) return;
    if (!dialog.open) dialog.showModal();
    show(T.active());
    frame.focus();
  };

  const keyOf = (object) => `${object.kind} ${object.at}`;

  function show(next) {
    if (next !== image) {
      image = next;
      zoom = 1;
      centre = [0.5, 0.5];
      lit = null;
    }
    const { images } = T.raw;
    const suffix = images.suffix[image];
    $('viewer-title').textContent = T.nameOf(image);
    const picture = suffix
      ? element('img', { src: `images/${images.row[image]}.${suffix}`, alt: T.nameOf(image) })
      : element('p', { class: 'broken' }, 'The image is broken.');
    stage.replaceChildren(picture, T.overlay(image, 1));
    place();
    label();
    list();
    const marked = T.marks.has(image);
    $('viewer-mark').setAttribute('aria-pressed', String(marked));
    $('viewer-mark').textContent = marked ? 'Marked ✓' : 'Mark';
  }

  // Gives the image its size and place; the frame is a window on it.
  function place() {
    const [width, height] = T.sizeOf(image);
    const room = [frame.clientWidth, frame.clientHeight];
    fit = Math.min(room[0] / width, room[1] / height);
    const scale = fit * zoom;
    const size = [width * scale, height * scale];
    const corner = size.map((length, axis) => {
      if (length <= room[axis]) return (room[axis] - length) / 2;
      const wanted = room[axis] / 2 - centre[axis] * length;
      return Math.min(0, Math.max(room[axis] - length, wanted));
    });
    centre = centre.map((share, axis) => (room[axis] / 2 - corner[axis]) / size[axis]);
    Object.assign(stage.style, {
      left: `${corner[0]}px`, top: `${corner[1]}px`,
      width: `${size[0]}px`, height: `${size[1]}px`,
    });
    stage.querySelector('svg').style.setProperty('--unit', String(1 / scale));
    $('zoom').textContent = `${Math.round(scale * 100)} %`;
  }

  // Words at the boxes, each with the sign of its kind.
  function label() {
    const svg = stage.querySelector('svg');
    T.objectsOf(image).forEach((object, index) => {
      const group = svg.children[index];
      group.dataset.key = keyOf(object);
      // Of annotations in the lower corner; of predictions above, or in the upper one.
      const [left, top, , bottom] = object.box;
      const isTruth = object.kind === 'truth';
      const inside = isTruth || top > T.sizeOf(image)[1] / 25 ? '-0.5em' : '1.2em';
      const text = T.svg('text', {
        x: left, y: isTruth ? bottom : top, dx: '0.7em', dy: inside,
      });
      text.textContent = T.describe(object);
      group.append(text);
      group.append(T.svg('title', {}, T.describe(object)));
    });
  }

  function row(object) {
    const name = object.kind === 'truth' ? `#${object.number}` : object.score.toFixed(3);
    const what = object.error && object.error !== 'none' ? object.error : object.state;
    const about = object.kind === 'prediction' && object.about >= 0
      ? ` #${object.about}, IoU ${object.iou.toFixed(2)}` : '';
    const button = element(
      'button',
      { type: 'button', class: `object ${object.kind}${object.hit ? ' hit' : ''}` },
      element('b', {}, T.className(object.label)), ` ${name} `,
      element('span', { class: 'state' }, `${what}${about}`),
    );
    button.dataset.key = keyOf(object);
    return element('li', {}, button);
  }

  function list() {
    const objects = T.objectsOf(image);
    const truth = objects.filter((object) => object.kind === 'truth');
    const found = objects.filter((object) => object.kind === 'prediction')
      .sort((one, other) => other.score - one.score);
    const numbers = Object.entries(T.numbers).map(([key, values]) =>
      element('tr', {}, element('th', { scope: 'row' }, key),
        element('td', {}, T.formatted(values[image]))));
    T.replace($('objects'),
      element('p', {}, `row ${T.raw.images.row[image]}, id ${T.raw.images.id[image]}, ` +
        `${T.sizeOf(image).join(' × ')}`),
      element('h3', {}, `Predictions (${found.length})`), element('ul', {}, ...found.map(row)),
      element('h3', {}, `Annotations (${truth.length})`), element('ul', {}, ...truth.map(row)),
      element('h3', {}, 'Numbers'), element('table', {}, ...numbers),
    );
    light(lit);
  }

  // Points out an object in the image and in the list.
  function light(key) {
    lit = key;
    for (const each of dialog.querySelectorAll('[data-key]')) {
      each.classList.toggle('lit', each.dataset.key === key);
    }
  }
  $('objects').addEventListener('focusin', (event) => {
    light(event.target.closest('[data-key]')?.dataset.key ?? null);
  });
  for (const where of [stage, $('objects')]) {
    where.addEventListener('pointerover', (event) => {
      const key = event.target.closest('[data-key]')?.dataset.key;
      if (key) light(key);
    });
  }

  function zoomTo(next, at) {
    const before = zoom;
    zoom = Math.min(MOST, Math.max(1, next));
    if (at) {
      // The point under the pointer stays where it is.
      const bounds = stage.getBoundingClientRect();
      const sides = [[at.clientX, bounds.left, bounds.width, frame.clientWidth, 'left'],
        [at.clientY, bounds.top, bounds.height, frame.clientHeight, 'top']];
      const origin = frame.getBoundingClientRect();
      centre = sides.map(([point, start, length, room, side]) => {
        const share = (point - start) / length;
        return share + (room / 2 - (point - origin[side])) / (length * zoom / before);
      });
    }
    place();
  }
  function move(x, y) {
    const { width, height } = stage.getBoundingClientRect();
    centre = [centre[0] + x / width, centre[1] + y / height];
    place();
  }

  frame.addEventListener('wheel', (event) => {
    event.preventDefault();
    zoomTo(zoom * (event.deltaY < 0 ? 1.25 : 0.8), event);
  }, { passive: false });
  frame.addEventListener('pointerdown', (event) => {
    frame.setPointerCapture(event.pointerId);
    frame.classList.add('dragged');
  });
  frame.addEventListener('pointermove', (event) => {
    if (frame.classList.contains('dragged')) move(-event.movementX, -event.movementY);
  });
  frame.addEventListener('pointerup', () => frame.classList.remove('dragged'));
  frame.addEventListener('dblclick', (event) => zoomTo(zoom > 1 ? 1 : 3, event));

  const STEP = 60; // pixels
  const go = (steps) => {
    T.step(steps);
    show(T.active());
  };
  const keys = {
    ArrowLeft: (event) => (event.shiftKey ? move(-STEP, 0) : go(-1)),
    ArrowRight: (event) => (event.shiftKey ? move(STEP, 0) : go(1)),
    ArrowUp: (event) => event.shiftKey && move(0, -STEP),
    ArrowDown: (event) => event.shiftKey && move(0, STEP),
    '+': () => zoomTo(zoom * 1.5),
    '=': () => zoomTo(zoom * 1.5),
    '-': () => zoomTo(zoom / 1.5),
    0: () => zoomTo(1),
    m: () => T.mark([image]),
    ' ': () => T.mark([image]),
  };
  dialog.addEventListener('keydown', (event) => {
    const action = keys[event.key];
    const pressed = event.key === ' ' && event.target.closest('button');
    if (!action || pressed || event.ctrlKey || event.metaKey || event.altKey) return;
    action(event);
    event.preventDefault();
  });

  const clicks = {
    previous: () => go(-1),
    next: () => go(1),
    'zoom-in': () => zoomTo(zoom * 1.5),
    'zoom-out': () => zoomTo(zoom / 1.5),
    'zoom-fit': () => zoomTo(1),
    'viewer-mark': () => T.mark([image]),
    'viewer-close': () => dialog.close(),
  };
  for (const [id, action] of Object.entries(clicks)) $(id).addEventListener('click', action);
  dialog.addEventListener('close', () => $('grid').focus());
  new ResizeObserver(() => dialog.open && place()).observe(frame);
  T.onChange(() => {
    if (!dialog.open) return;
    if (T.shown.includes(image)) show(image);
    else if (T.shown.length) show(T.active());
    else dialog.close();
  });
})(window.Triage);
