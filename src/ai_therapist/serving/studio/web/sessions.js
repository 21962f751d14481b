// Sessions: what was recorded, who speaks when, what was said, and how it was labelled.

import { absent, clock, emotionClass, get, h, kept, many, plain, say, share } from './page.js';
import { timeline } from './draw.js';

export async function openSessions(main, about, rest, current) {
  const found = await get('/studio/sessions');
  if (!current()) return null;
  if (!found.sessions.length) {
    main.replaceChildren(absent('No session yet', 'Make some with  ai-therapist extract FOLDER  and come back.'), setAside(found.set_aside));
    return null;
  }
  const wanted = rest.split('/')[0];
  const chosen = found.sessions.find((line) => line.id === wanted) ?? found.sessions[0];
  const rater = about.rater ?? kept.get('rater');
  const blind = about.blind || kept.get('blind') === 'yes';
  const [page, wave] = await Promise.all([
    get(`/studio/sessions/${chosen.id}`, { rater, blind }),
    get(`/studio/waveform/${chosen.id}`),
  ]);
  if (!current()) return null;
  const player = makePlayer(page, wave.peaks);
  main.replaceChildren(
    h('div', { class: 'split' },
      h('aside', { class: 'list', 'aria-label': 'Sessions' }, found.sessions.map((line) => listed(line, line.id === chosen.id)), setAside(found.set_aside)),
      h('section', { class: 'content', 'aria-label': page.name }, heading(page), player.node, transcript(page, player))),
  );
  player.follow();
  return player.stop;
}

function listed(line, current) {
  return h('a', { class: 'item', href: `#/sessions/${line.id}`, 'aria-current': current ? 'true' : null },
    h('b', {}, plain(line.name)),
    h('span', {}, `${clock(line.duration)} · ${many(line.turns, 'turn')}`),
    h('span', { class: 'badges' },
      line.labels > 0 && h('i', { class: 'badge' }, many(line.labels, 'label')),
      line.faults > 0 && h('i', { class: 'badge warn' }, `${line.faults} text only`),
      !line.picture && h('i', { class: 'badge' }, 'sound only')));
}

function setAside(items) {
  if (!items.length) return null;
  return h('details', { class: 'aside' }, h('summary', {}, many(items.length, 'recording'), ' set aside'),
    items.map((item) => h('p', {}, h('b', {}, item.name), ` ${item.status}: ${item.reason}`)));
}

function heading(page) {
  const uses = page.consent.uses.map(plain).join(', ');
  return h('div', { class: 'heading' },
    h('h1', {}, plain(page.name)),
    h('p', { class: 'note' }, `${plain(page.consent.basis)}, recorded ${page.consent.recorded}; permits ${uses}.`,
      page.consent.revoked && h('b', { class: 'bad' }, ' The consent was revoked.')),
    h('ul', { class: 'speakers' }, page.speakers.map((speaker) => h('li', {},
      h('i', { class: `role ${speaker.role}` }, speaker.role), ` voice ${speaker.label}`,
      h('span', { class: 'note' }, ` ${speaker.confidence === null ? '' : `${share(speaker.confidence)} sure, `}by ${plain(speaker.decided_by)}`)))),
    page.hidden && h('p', { class: 'note' }, "Other people's labels stay hidden here until you have decided in Review."));
}

function makePlayer(page, peaks) {
  const source = page.media.video ?? page.media.audio;
  const media = source === null ? null : h(page.media.video ? 'video' : 'audio',
    { src: source, controls: true, preload: 'metadata', class: 'media', 'aria-label': `Recording ${plain(page.name)}`, playsinline: true });
  const drawn = timeline(peaks, page.rows, page.duration, emotionClass);
  const slider = h('div', {
    class: 'strip', role: 'slider', tabindex: '0', 'aria-label': 'Place in the recording',
    'aria-valuemin': '0', 'aria-valuemax': String(Math.round(page.duration / 1000)), 'aria-valuenow': '0', 'aria-valuetext': '0:00',
  }, drawn.chart);
  const listeners = [];
  const seek = (ms) => {
    if (media) media.currentTime = ms / 1000;
    drawn.move(ms);
  };
  slider.addEventListener('click', (event) => {
    const box = slider.getBoundingClientRect();
    seek(((event.clientX - box.left) / box.width) * page.duration);
  });
  slider.addEventListener('keydown', (event) => {
    const step = { ArrowLeft: -2000, ArrowRight: 2000, PageDown: -10000, PageUp: 10000 }[event.key];
    const now = media ? media.currentTime * 1000 : 0;
    const to = event.key === 'Home' ? 0 : event.key === 'End' ? page.duration : step && now + step;
    if (to === undefined) return;
    event.preventDefault();
    seek(Math.min(page.duration, Math.max(0, to)));
  });
  let frame = 0;
  const tick = () => {
    const now = media.currentTime * 1000;
    drawn.move(now);
    slider.setAttribute('aria-valuenow', String(Math.round(now / 1000)));
    slider.setAttribute('aria-valuetext', clock(now));
    listeners.forEach((listener) => listener(now));
    frame = requestAnimationFrame(tick);
  };
  return {
    node: h('div', { class: 'panel stage' }, media ?? h('p', { class: 'note' }, 'This session has neither picture nor sound in the store.'),
      h('div', { class: 'lanes' }, slider,
        h('div', { class: 'ticks', 'aria-hidden': 'true' }, drawn.ticks.map(([text, part]) => h('span', { style: { left: `${100 * part}%` } }, text))),
        h('ul', { class: 'legend' }, drawn.roles.map((role) => h('li', {}, h('i', { class: `swatch ${role}` }), role))))),
    seek,
    play(ms) {
      seek(ms);
      media?.play().catch(() => say('The browser did not start the recording'));
    },
    listen: (listener) => listeners.push(listener),
    follow() { if (media) frame = requestAnimationFrame(tick); },
    stop() {
      cancelAnimationFrame(frame);
      if (media) { media.pause(); media.removeAttribute('src'); media.load(); }
    },
  };
}

function transcript(page, player) {
  const list = h('ol', { class: 'turns', 'aria-label': 'Transcript' });
  for (const row of page.rows) {
    const words = row.words.length
      ? row.words.flatMap(([start, end, text]) => [h('span', { 'data-from': start, 'data-to': end }, text), ' '])
      : [row.text];
    const line = h('li', { class: `said ${row.role}`, id: row.id },
      h('button', { type: 'button', class: 'time', 'aria-label': `Play from ${clock(row.start)}`, onclick: () => player.play(row.start) }, clock(row.start)),
      h('div', {},
        h('p', { class: 'who' }, h('i', { class: `role ${row.role}` }, row.role), row.labels.map(chip), row.faults.map((fault) => h('i', { class: 'badge warn', title: 'This turn is labelled from its words alone' }, plain(fault)))),
        h('p', { class: 'words' }, words),
        row.labels.length > 0 && details(row)));
    list.append(line);
    const spans = [...line.querySelectorAll('.words span')];
    player.listen((now) => {
      const here = now >= row.start && now < row.end;
      line.classList.toggle('now', here);
      if (here || line.dataset.was) spans.forEach((span) => span.classList.toggle('on', now >= span.dataset.from && now < span.dataset.to));
      line.dataset.was = here ? 'yes' : '';
    });
  }
  return list;
}

export function chip(label) {
  const chance = label.chances.find(([name]) => name === label.value)?.[1];
  const colour = label.task === 'emotion' ? emotionClass(label.value) : '';
  return h('i', { class: `label ${label.task} ${colour} ${label.value === null ? 'none' : ''}`, title: `${label.person ? 'a person: ' : ''}${label.annotator}${label.reason ? `: ${label.reason}` : ''}` },
    label.person && h('b', { 'aria-label': 'by a person' }, '✓ '),
    label.value ?? 'no answer', chance !== undefined && h('span', { class: 'chance' }, ` ${share(chance)}`));
}

function details(row) {
  return h('details', {}, h('summary', {}, 'labels in full'),
    row.labels.map((label) => h('div', { class: 'answer' },
      h('p', {}, h('b', {}, `${label.task}: ${label.value ?? 'no answer'}`), h('span', { class: 'note' }, ` ${label.person ? `${label.annotator}, a person` : label.annotator}; saw ${label.seen.join(', ') || 'nothing'}; ${label.reason ?? label.route}`)),
      label.chances.length > 0 && bars(label.chances))));
}

export function bars(chances) {
  return h('ul', { class: 'bars' }, chances.map(([name, chance]) => h('li', {},
    h('span', {}, name), h('i', { class: 'bar' }, h('i', { class: emotionClass(name), style: { width: `${100 * chance}%` } })), h('span', { class: 'n' }, share(chance)))));
}
