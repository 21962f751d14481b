// Charts as SVG elements: no library, colours from the style sheet, a title on every mark.

import { clock } from './page.js';

const NS = 'http://www.w3.org/2000/svg';

export function svg(tag, attributes = {}, ...children) {
  const made = document.createElementNS(NS, tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

export const title = (text) => svg('title', {}, text);

/** Waveform above, who speaks when below: one lane for each role. Times in milliseconds. */
export function timeline(peaks, rows, duration, emotionClass) {
  const width = 1000;
  const wave = 56;
  const roles = ['therapist', 'client', 'other', 'unknown'].filter((role) => rows.some((row) => row.role === role));
  const lane = 22;
  const height = wave + 8 + roles.length * (lane + 4);
  const x = (ms) => (ms / duration) * width;
  const marks = [];
  if (peaks.length) {
    const step = width / peaks.length;
    const top = peaks.map((peak, at) => `${(at * step).toFixed(1)},${(wave / 2 - (peak / 100) * (wave / 2 - 2)).toFixed(1)}`);
    const under = peaks.map((peak, at) => `${(at * step).toFixed(1)},${(wave / 2 + (peak / 100) * (wave / 2 - 2)).toFixed(1)}`).reverse();
    marks.push(svg('polygon', { class: 'wave', points: [...top, ...under].join(' ') }));
  }
  const every = [5, 10, 30, 60, 300, 600, 1800].find((second) => duration / 1000 / second <= 8) ?? 3600;
  const ticks = [];
  for (let second = 0; second <= duration / 1000; second += every) {
    const at = x(second * 1000);
    marks.push(svg('line', { class: 'grid', x1: at, x2: at, y1: 0, y2: height }));
    if (at < width - 20) ticks.push([clock(second * 1000), at / width]);
  }
  for (const row of rows) {
    const y = wave + 8 + roles.indexOf(row.role) * (lane + 4);
    const wide = Math.max(2, x(row.end) - x(row.start) - 1);
    const emotion = row.labels.find((label) => label.task === 'emotion' && label.value)?.value;
    marks.push(
      svg('g', { class: 'turn', 'data-turn': row.id },
        title(`${clock(row.start)} ${row.role}${emotion ? `, ${emotion}` : ''}`),
        svg('rect', { class: `lane ${row.role}`, x: x(row.start), y, width: wide, height: lane, rx: 4 }),
        emotion && svg('rect', { class: `feel ${emotionClass(emotion)}`, x: x(row.start), y: y + lane - 5, width: wide, height: 5, rx: 2 })),
    );
  }
  const head = svg('line', { class: 'head', x1: 0, x2: 0, y1: 0, y2: height });
  const chart = svg('svg', { viewBox: `0 0 ${width} ${height}`, class: 'timeline', preserveAspectRatio: 'none' }, marks, head);
  return { chart, roles, ticks, move: (ms) => { head.setAttribute('x1', x(ms)); head.setAttribute('x2', x(ms)); } };
}

/** Losses over steps, one line for each training. */
export function curves(lines) {
  const [width, height, left, bottom] = [720, 280, 46, 246];
  const points = lines.flatMap((line) => line.points);
  const last = Math.max(1, ...points.map(([step]) => step));
  const top = Math.max(...points.map(([, loss]) => loss)) * 1.05 || 1;
  const x = (step) => left + (step / last) * (width - 10 - left);
  const y = (loss) => bottom - (loss / top) * (bottom - 14);
  const marks = [];
  for (const part of [0, 0.25, 0.5, 0.75, 1]) {
    const at = bottom - part * (bottom - 14);
    marks.push(svg('line', { class: 'grid', x1: left, x2: width - 10, y1: at, y2: at }));
    marks.push(svg('text', { class: 'axis', x: left - 8, y: at + 4, 'text-anchor': 'end' }, (part * top).toFixed(1)));
    marks.push(svg('text', { class: 'axis', x: x(part * last), y: bottom + 20, 'text-anchor': part === 1 ? 'end' : 'middle' }, String(Math.round(part * last))));
  }
  lines.forEach((line) => {
    const path = line.points.map(([step, loss]) => `${x(step).toFixed(1)},${y(loss).toFixed(1)}`).join(' ');
    const [step, loss] = line.points.at(-1);
    marks.push(svg('g', { class: `line c${line.colour}` }, title(`${line.name}: ${loss.toFixed(3)} after ${step} steps`),
      svg('polyline', { points: path }), svg('circle', { cx: x(step), cy: y(loss), r: 4 })));
  });
  marks.push(svg('text', { class: 'axis', x: width - 10, y: bottom - 8, 'text-anchor': 'end' }, 'steps'));
  marks.push(svg('text', { class: 'axis', x: left, y: 10 }, 'loss per target token, in nats'));
  return svg('svg', { viewBox: `0 0 ${width} ${height}`, class: 'curves', role: 'img', 'aria-label': 'Loss over training steps' }, marks);
}

/** A value between 0 and 1 with its interval. */
export function whisker(score) {
  const [width, height] = [220, 22];
  const x = (value) => 8 + Math.min(1, Math.max(0, value)) * (width - 16);
  const marks = [0, 0.5, 1].map((tick) => svg('line', { class: 'grid', x1: x(tick), x2: x(tick), y1: 2, y2: height - 2 }));
  if (score.low !== null && score.high !== null) {
    marks.push(svg('line', { class: 'span', x1: x(score.low), x2: x(score.high), y1: height / 2, y2: height / 2 }));
  }
  marks.push(svg('circle', { class: 'dot', cx: x(score.value), cy: height / 2, r: 5 }));
  return svg('svg', { viewBox: `0 0 ${width} ${height}`, class: 'whisker', 'aria-hidden': 'true' }, marks);
}
