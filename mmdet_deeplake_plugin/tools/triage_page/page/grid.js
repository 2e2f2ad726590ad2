'use strict';
// The grid of thumbnails. Only what is in sight has elements, however many images there are.
(function (T) {
  if (!T.raw) return;
  const { $, element } = T;
  const GAP = 8;
  const CAPTION = 42; // pixels
  const MARGIN = 1; // rows above and below what is in sight
  const grid = $('grid');
  const sheet = $('sheet');
  const tiles = new Map(); // image -> element
  let active = 0; // position among the shown images
  let columns = 1;
  let width = 220;

  T.active = () => T.shown[active];

  const rowHeight = () => Math.round(width * 0.75) + CAPTION + GAP;

  function layout() {
    const room = grid.clientWidth - GAP;
    columns = Math.max(1, Math.floor(room / (Number($('size').value) + GAP)));
    width = Math.floor(room / columns) - GAP;
    sheet.style.height = `${Math.ceil(T.shown.length / columns) * rowHeight() + GAP}px`;
    grid.style.setProperty('--width', `${width}px`);
  }

  function caption(image) {
    const { by } = T.sort;
    const value = by in T.numbers ? `${by} ${T.formatted(T.numbers[by][image])}` : '';
    const counts = ['fp', 'fn']
      .filter((key) => key in T.numbers && key !== by)
      .map((key) => `${T.formatted(T.numbers[key][image])} ${key}`);
    return [value, ...counts].filter(Boolean).join(' · ');
  }

  T.thumbnail = (image) => {
    if (!T.raw.images.suffix[image]) {
      return element('span', { class: 'broken' }, 'The image is broken.');
    }
    return element('img', {
      src: `thumbs/${T.raw.images.row[image]}.jpg`, alt: '', loading: 'lazy',
      decoding: 'async', draggable: 'false',
    });
  };

  function make(image) {
    const tile = element(
      'div',
      { id: `image-${image}`, role: 'option' },
      element('div', { class: 'picture' }, T.thumbnail(image), element('canvas')),
      element('div', { class: 'name', title: T.nameOf(image) }, T.nameOf(image)),
      element('div', { class: 'numbers' }),
      element('button', { type: 'button', class: 'tick', tabindex: '-1', 'aria-hidden': 'true' }),
    );
    tile.dataset.image = image;
    return tile;
  }

  function update(tile, position) {
    const image = T.shown[position];
    const marked = T.marks.has(image);
    tile.className = marked ? 'tile marked' : 'tile';
    tile.setAttribute('aria-selected', String(marked));
    tile.setAttribute('aria-posinset', position + 1);
    tile.setAttribute('aria-setsize', T.shown.length);
    tile.setAttribute('aria-label', `${T.nameOf(image)}${marked ? ', marked' : ''}`);
    tile.style.left = `${GAP + (position % columns) * (width + GAP)}px`;
    tile.style.top = `${GAP + Math.floor(position / columns) * rowHeight()}px`;
    tile.querySelector('.numbers').textContent = caption(image);
    const tick = tile.querySelector('.tick');
    tick.title = marked ? 'Unmark' : 'Mark';
    tick.textContent = marked ? '✓' : '';
    T.paint(tile.querySelector('canvas'), image, width, 0.75 * width);
  }

  // Adds the tiles that came into sight, drops those that left it, and updates all if told.
  function fill(afresh) {
    const height = rowHeight();
    const first = Math.max(0, Math.floor(grid.scrollTop / height) - MARGIN) * columns;
    const rows = Math.ceil(grid.clientHeight / height) + 2 * MARGIN + 1;
    const last = Math.min(T.shown.length, first + rows * columns);
    const wanted = new Set(T.shown.slice(first, last));
    for (const [image, tile] of tiles) {
      if (!wanted.has(image)) {
        tile.remove();
        tiles.delete(image);
      }
    }
    for (let position = first; position < last; position++) {
      const image = T.shown[position];
      const isNew = !tiles.has(image);
      if (isNew) {
        tiles.set(image, make(image));
        sheet.append(tiles.get(image));
      }
      if (isNew || afresh) update(tiles.get(image), position);
      tiles.get(image).classList.toggle('active', position === active);
    }
    grid.setAttribute('aria-activedescendant', `image-${T.active()}`);
  }

  T.drawGrid = () => {
    active = Math.min(active, Math.max(T.shown.length - 1, 0));
    layout();
    fill(true);
    $('nothing').hidden = T.shown.length > 0;
  };

  T.goTo = (position) => {
    active = Math.max(0, Math.min(position, T.shown.length - 1));
    const top = Math.floor(active / columns) * rowHeight();
    const below = top + rowHeight() + GAP - grid.clientHeight;
    if (grid.scrollTop > top) grid.scrollTop = top;
    else if (grid.scrollTop < below) grid.scrollTop = below;
    fill(false);
  };
  T.step = (steps) => T.goTo(active + steps);

  let waiting = false;
  grid.addEventListener('scroll', () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      fill(false);
    });
  });
  new ResizeObserver(() => T.drawGrid()).observe(grid);
  $('size').addEventListener('input', () => {
    T.drawGrid();
    T.goTo(active);
  });

  grid.addEventListener('click', (event) => {
    const tile = event.target.closest('.tile');
    if (!tile) return;
    const image = Number(tile.dataset.image);
    active = T.shown.indexOf(image);
    if (event.target.closest('.tick') || event.ctrlKey || event.metaKey || event.shiftKey) {
      T.mark([image]);
    } else {
      fill(false);
      T.view();
    }
  });

  grid.addEventListener('keydown', (event) => {
    const page = Math.max(1, Math.floor(grid.clientHeight / rowHeight())) * columns;
    const steps = {
      ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns,
      PageUp: -page, PageDown: page, Home: -T.shown.length, End: T.shown.length,
    };
    if (event.ctrlKey || event.metaKey || event.altKey || !T.shown.length) return;
    if (event.key in steps) T.step(steps[event.key]);
    else if (event.key === 'Enter') T.view();
    else if (event.key === ' ' || event.key === 'm') T.mark([T.active()]);
    else return;
    event.preventDefault();
  });

  T.onChange(T.drawGrid);
})(window.Triage);
