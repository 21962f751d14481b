// What every tab needs: elements without markup in strings, and requests to this studio.

const TOKEN = document.querySelector('meta[name="studio-token"]').content;

/** An element. Children that are strings become text, so nothing that was said can become markup. */
export function h(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) made.addEventListener(name.slice(2), value);
    else if (name === 'style') Object.entries(value).forEach(([key, style]) => made.style.setProperty(key, style));
    else made.setAttribute(name, value === true ? '' : value);
  }
  made.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

/** A refusal of the studio, in its own words. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** The answer to a request, checked. */
export async function ask(method, path, { query = {}, body, signal } = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== false && value !== '');
  const search = given.length ? `?${new URLSearchParams(given)}` : '';
  const headers = { accept: 'application/json' };
  if (method !== 'GET') headers['x-studio-token'] = TOKEN;
  if (body !== undefined) headers['content-type'] = 'application/json';
  let answer;
  try {
    // A forgetting that is asked for as the page closes must still arrive.
    answer = await fetch(path + search, { method, headers, signal, keepalive: method === 'DELETE', body: body === undefined ? undefined : JSON.stringify(body) });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new Refused(0, 'the studio does not answer: is the command still running in its terminal?');
  }
  if (answer.ok) return answer;
  let message = `the studio refused (${answer.status})`;
  try {
    message = (await answer.json()).error.message;
  } catch { /* Not every refusal is JSON; the status says enough. */ }
  throw new Refused(answer.status, message);
}

export const get = async (path, query) => (await ask('GET', path, { query })).json();
export const post = async (path, body) => (await ask('POST', path, { body })).json();

/** Tells a screen reader what has changed. */
export function say(text) {
  document.getElementById('said').textContent = text;
}

/** A failure, shown where the content would be. */
export function failure(error) {
  return h('div', { class: 'panel trouble', role: 'alert' }, h('h2', {}, 'This did not work'), h('p', {}, error.message));
}

/** An empty state: what is missing, and the command that makes it. */
export function absent(title, text) {
  const parts = text.split(/(ai-therapist \w+)/);
  const shown = parts.map((part) => (/^ai-therapist \w+$/.test(part) ? h('code', {}, part) : part));
  return h('div', { class: 'panel empty' }, h('h2', {}, title), h('p', {}, shown));
}

/** Text as paragraphs; lines that begin with a dash become a list. */
export function paragraphs(text) {
  const made = [];
  for (const line of text.split('\n').filter(Boolean)) {
    if (!line.startsWith('- ')) made.push(h('p', {}, line));
    else if (made.at(-1)?.tagName === 'UL') made.at(-1).append(h('li', {}, line.slice(2)));
    else made.push(h('ul', {}, h('li', {}, line.slice(2))));
  }
  return made;
}

export function clock(ms) {
  const tenths = Math.floor(ms / 100);
  return `${Math.floor(tenths / 600)}:${String(Math.floor(tenths / 10) % 60).padStart(2, '0')}`;
}

export const share = (value) => `${Math.round(100 * value)} %`;
export const fixed = (value, digits = 2) => (value === null || value === undefined ? '–' : value.toFixed(digits));
export const plain = (name) => name.replaceAll('_', ' ');
export const many = (count, noun) => `${count} ${noun}${count === 1 ? '' : 's'}`;

/** The order in which colours of emotions are given, as the codebook lists them. */
let emotions = [];
export function knowEmotions(names) {
  emotions = names;
}
export function emotionClass(name) {
  const place = emotions.indexOf(name);
  return place < 0 ? '' : `e${place}`;
}

/** Remembers a choice of this browser; private windows may refuse, and nothing depends on it. */
export const kept = {
  get(key) {
    try { return localStorage.getItem(`studio.${key}`); } catch { return null; }
  },
  set(key, value) {
    try { localStorage.setItem(`studio.${key}`, value); } catch { /* The choice lasts as long as the page. */ }
  },
};
