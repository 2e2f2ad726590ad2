'use strict';
// Draws annotations and predictions over an image. Colour, line and sign all say the same.
(function (T) {
  if (!T.raw) return;
  const SIGN = 5; // pixels, as in overlay.css
  const MANY = 30; // objects, whose words would cover the image
  const NS = 'http://www.w3.org/2000/svg';

  T.svg = (tag, attributes, ...children) => {
    const made = document.createElementNS(NS, tag);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  };

  const slug = (text) => text.replaceAll(' ', '-');

  // The objects of an image that are drawn: annotations first, predictions above them.
  T.objectsOf = (image) => {
    const { raw, annotations } = T;
    const run = T.run();
    const searching = T.isSearching();
    const objects = [];
    if (T.show.truth) {
      for (let at = annotations.offsets[image]; at < annotations.offsets[image + 1]; at++) {
        objects.push({
          kind: 'truth', at, box: annotations.boxes.subarray(4 * at, 4 * at + 4),
          label: annotations.labels[at], state: raw.fates[run.fates[at]],
          number: at - annotations.offsets[image], crowd: annotations.crowd[at] === 1,
          hit: searching && T.annotationFits(run, at),
        });
      }
    }
    if (T.show.predictions) {
      for (let at = run.offsets[image]; at < run.offsets[image + 1]; at++) {
        if (!T.inRange(run.scores[at])) continue;
        objects.push({
          kind: 'prediction', at, box: run.boxes.subarray(4 * at, 4 * at + 4),
          label: run.labels[at], state: raw.verdicts[run.verdicts[at]],
          score: run.scores[at], error: raw.errors[run.errors[at]], iou: run.ious[at],
          about: run.about[at], hit: searching && T.predictionFits(run, at, image),
        });
      }
    }
    return objects;
  };

  // Signs are drawn around the origin; a style makes them as large on every screen.
  function signOf(object) {
    if (object.kind === 'prediction') return object.state === 'wrong' ? 'M-1,-1l2,2m0,-2l-2,2' : '';
    return ['missed', 'mistaken'].includes(object.state) ? 'M-1,1h2l-1,-2z' : '';
  }

  // The drawing of one object. Signs stand at the left: of predictions above, of
  // annotations below, so that those of two equal boxes can be told apart.
  T.drawObject = (object) => {
    const [left, top, right, bottom] = object.box;
    const place = {
      x: left, y: top, width: Math.max(right - left, 0), height: Math.max(bottom - top, 0),
    };
    const group = T.svg('g', {
      class: `box ${object.kind} ${slug(object.state)}${object.hit ? ' hit' : ''}`,
    });
    group.append(T.svg('rect', { ...place, class: 'halo' }));
    group.append(T.svg('rect', { ...place, class: 'line' }));
    const sign = signOf(object);
    if (sign) {
      const corner = `translate(${left} ${object.kind === 'truth' ? bottom : top})`;
      group.append(T.svg('g', { transform: corner },
        T.svg('path', { d: sign, class: 'halo' }), T.svg('path', { d: sign, class: 'sign' })));
    }
    return group;
  };

  T.sizeOf = (image) => [
    T.raw.images.width[image] || 1, T.raw.images.height[image] || 1,
  ];

  // The drawing of all objects; a unit of it is so many pixels of the image as one pixel
  // of the screen is.
  T.overlay = (image, unit) => {
    const [width, height] = T.sizeOf(image);
    const svg = T.svg('svg', {
      viewBox: `0 0 ${width} ${height}`, 'aria-hidden': 'true',
    });
    if (T.isSearching()) svg.classList.add('searching');
    svg.style.setProperty('--unit', String(unit));
    const objects = T.objectsOf(image);
    svg.classList.toggle('crowded', objects.length > MANY);
    for (const object of objects) svg.append(T.drawObject(object));
    return svg;
  };

  // How each kind of box looks, as the style sheet has it.
  const looks = new Map();
  function lookOf(object) {
    const key = `${object.kind} ${object.state}`;
    if (!looks.has(key)) {
      const group = T.drawObject({ ...object, box: [0, 0, 1, 1] });
      const probe = T.svg('svg', { class: 'probe' }, group);
      document.body.append(probe);
      const read = (name) => {
        const style = getComputedStyle(group.querySelector(name));
        const dash = style.strokeDasharray;
        return {
          stroke: style.stroke, fill: style.fill, alpha: Number(style.strokeOpacity),
          width: parseFloat(style.strokeWidth),
          dash: dash === 'none' ? [] : dash.split(',').map(parseFloat),
        };
      };
      const sign = signOf(object) ? { path: new Path2D(signOf(object)), ...read('.sign') } : null;
      looks.set(key, { halo: read('.halo'), line: read('.line'), sign });
      probe.remove();
    }
    return looks.get(key);
  }

  // The same drawing as pixels, for thumbnails: thousands of boxes cost too much as elements.
  T.paint = (canvas, image, width, height) => {
    const ratio = window.devicePixelRatio || 1;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    const pen = canvas.getContext('2d');
    const [across, down] = T.sizeOf(image);
    const scale = Math.min(width / across, height / down);
    const corner = [(width - across * scale) / 2, (height - down * scale) / 2];
    const searching = T.isSearching();
    for (const object of T.objectsOf(image)) {
      const { halo, line, sign } = lookOf(object);
      const [left, top, right, bottom] = object.box;
      const [x, y] = [corner[0] + left * scale, corner[1] + top * scale];
      const [w, h] = [(right - left) * scale, (bottom - top) * scale];
      const alpha = searching && !object.hit ? 0.4 : 1;
      pen.setTransform(ratio, 0, 0, ratio, 0, 0);
      for (const look of [halo, line]) {
        pen.globalAlpha = alpha * look.alpha;
        pen.strokeStyle = look.stroke;
        pen.lineWidth = look.width;
        pen.setLineDash(look.dash);
        pen.strokeRect(x, y, w, h);
      }
      if (!sign) continue;
      pen.setLineDash([]);
      pen.translate(x, object.kind === 'truth' ? y + h : y);
      pen.scale(SIGN, SIGN);
      for (const look of [halo, sign]) {
        pen.globalAlpha = alpha * look.alpha;
        pen.strokeStyle = look.stroke;
        pen.lineWidth = look.width / SIGN;
        pen.stroke(sign.path);
      }
      if (sign.fill !== 'none') {
        pen.fillStyle = sign.fill;
        pen.fill(sign.path);
      }
    }
  };

  // Says what an object is, in words.
  T.describe = (object) => {
    const parts = [T.className(object.label)];
    if (object.kind === 'prediction') parts.push(object.score.toFixed(2));
    if (object.error && object.error !== 'none') parts.push(object.error);
    else if (!['not judged', 'right', 'found'].includes(object.state)) {
      parts.push(object.state);
    }
    if (object.crowd) parts.push('crowd');
    return parts.join(' ');
  };

  T.legend = () => {
    const box = [3, 4, 37, 20];
    const samples = [
      ['truth', 'found', 'annotation that was found'],
      ['truth', 'missed', 'annotation that was missed'],
      ['truth', 'mistaken', 'annotation with a badly located or wrongly classified prediction'],
      ['truth', 'ignored', 'annotation that does not count'],
      ['prediction', 'right', 'right prediction'],
      ['prediction', 'wrong', 'wrong prediction'],
      ['prediction', 'ignored', 'prediction that does not count'],
    ];
    const shown = T.judged ? samples : [
      ['truth', 'not judged', 'annotation'], ['prediction', 'not judged', 'prediction'],
    ];
    return shown.map(([kind, state, words]) => {
      const svg = T.svg('svg', { viewBox: '0 0 40 24', class: 'sample', 'aria-hidden': 'true' });
      svg.style.setProperty('--unit', '0.67');
      svg.append(T.drawObject({ kind, state, box }));
      return T.element('tr', {}, T.element('td', {}, svg), T.element('td', {}, words));
    });
  };
})(window.Triage);
