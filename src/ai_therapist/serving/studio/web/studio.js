// Opens the tabs, and what stands above all of them: helplines, keys, colours.

import { failure, get, h, kept, knowEmotions, paragraphs, say } from './page.js';
import { openChat } from './chat.js';
import { openDataset } from './dataset.js';
import { openReview } from './review.js';
import { openRuns } from './runs.js';
import { openSessions } from './sessions.js';

const TABS = { sessions: openSessions, review: openReview, dataset: openDataset, runs: openRuns, chat: openChat };
const main = document.getElementById('main');
const about = await begin();
let leave = null;
let opened = 0;

async function begin() {
  try {
    const found = await get('/studio/about');
    knowEmotions(found.emotions);
    return found;
  } catch (error) {
    main.replaceChildren(failure(error));
    throw error;
  }
}

/** Shows the tab that the address names; an answer that comes after the next click is dropped. */
async function show() {
  const [, name = about.start, rest = ''] = location.hash.match(/^#\/(\w+)\/?(.*)$/) ?? [];
  const tab = name in TABS ? name : about.start;
  for (const link of document.querySelectorAll('#tabs a')) {
    const current = link.hash === `#/${tab}`;
    if (current) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  leave?.();
  leave = null;
  opened += 1;
  const mine = opened;
  document.title = `${tab[0].toUpperCase()}${tab.slice(1)} · ai-therapist studio`;
  main.dataset.tab = tab;
  main.replaceChildren(h('p', { class: 'wait' }, 'Loading …'));
  try {
    const done = await TABS[tab](main, about, rest, () => mine === opened);
    if (mine === opened) leave = done ?? null;
    else done?.();
  } catch (error) {
    if (mine === opened) main.replaceChildren(failure(error));
  }
  if (mine === opened) main.removeAttribute('aria-busy');
}

async function showHelplines() {
  const dialog = document.getElementById('card');
  const text = document.getElementById('card-text');
  if (dialog.open) return;
  text.replaceChildren(h('p', {}, 'Loading …'));
  dialog.showModal();
  try {
    const card = await get('/studio/helplines');
    text.replaceChildren(...paragraphs(card.text));
  } catch (error) {
    text.replaceChildren(h('p', {}, error.message), h('p', {}, 'In danger? Call your emergency number. findahelpline.com lists helplines of the world.'));
  }
}

const THEMES = ['system', 'light', 'dark'];
function paint(theme) {
  const button = document.getElementById('theme');
  if (theme === 'system') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  button.setAttribute('aria-label', `Colours: ${theme === 'system' ? 'as the system' : theme}`);
  button.title = button.getAttribute('aria-label');
}

document.getElementById('helplines').addEventListener('click', showHelplines);
document.getElementById('theme').addEventListener('click', () => {
  const next = THEMES[(THEMES.indexOf(kept.get('theme') ?? 'system') + 1) % THEMES.length];
  kept.set('theme', next);
  paint(next);
  say(`Colours: ${next}`);
});
document.addEventListener('keydown', (event) => {
  if (event.key === 'F1') {
    event.preventDefault();
    showHelplines();
  }
});
document.querySelector('.skip').addEventListener('click', (event) => {
  // The address after # names the tab, so the link must not change it.
  event.preventDefault();
  main.focus();
});
window.addEventListener('hashchange', show);
window.addEventListener('pagehide', () => leave?.());
window.addEventListener('pageshow', (event) => { if (event.persisted) show(); });
paint(kept.get('theme') ?? 'system');
await show();
