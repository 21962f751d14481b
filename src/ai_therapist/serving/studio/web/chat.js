// Chat: a conversation with the model inside the safety shell, streamed. It lives in memory only, here and there.

import { ask, emotionClass, failure, h, kept, paragraphs, plain, say, share } from './page.js';
import { asDataUrl, makeCapture } from './capture.js';
import { bars } from './sessions.js';

const NAMES = { client_emotion: 'you seem to feel', strategy: 'it means to use', therapist_emotion: 'it takes the tone of' };

export async function openChat(main, about) {
  const log = h('div', { class: 'log', role: 'log', 'aria-live': 'polite', 'aria-label': 'Conversation', tabindex: '0' });
  const trouble = h('p', { class: 'bad', role: 'alert' });
  const capture = makeCapture((text) => { trouble.textContent = text; });
  const words = h('textarea', { id: 'words', rows: '3', maxlength: '8000', placeholder: 'Write here. Enter sends, Shift and Enter begins a new line.', 'aria-label': 'Your message' });
  const send = h('button', { class: 'primary' }, 'Send');
  const stop = h('button', { type: 'button', class: 'quiet', hidden: true, onclick: () => leaving?.abort() }, 'Stop');
  const labels = h('input', { type: 'checkbox', checked: kept.get('labels') === 'yes', onchange: () => { kept.set('labels', labels.checked ? 'yes' : 'no'); log.classList.toggle('with-labels', labels.checked); } });
  let conversation = 'new';
  let leaving = null;
  log.classList.toggle('with-labels', labels.checked);

  let card = null;
  /** The newest is in view, but a card is read from its beginning. */
  const settle = () => {
    log.scrollTop = card ? card.offsetTop - log.offsetTop - 6 : log.scrollHeight;
  };
  const put = (...nodes) => {
    card = nodes.find((node) => node.classList.contains('crisis')) ?? card;
    log.append(...nodes);
    settle();
  };
  const opening = () => put(notice(about.opening), ...(about.sends_away ? [notice('The model runs on another computer: what you write, and your clips, are sent there.')] : []));

  async function talk() {
    const text = words.value.trim();
    const clip = capture.held();
    trouble.textContent = '';
    if (leaving) return;
    if (text === '/help') {
      words.value = '';
      document.getElementById('helplines').click();
      return;
    }
    if (!text) {
      trouble.textContent = 'Write a few words, with a clip too: the safety check reads words only.';
      words.focus();
      return;
    }
    leaving = new AbortController();
    card = null;
    send.disabled = true;
    stop.hidden = false;
    const mine = h('div', { class: 'mine' }, h('p', {}, text), clip && h('p', { class: 'note' }, `with ${clip.name}`));
    put(mine);
    words.value = '';
    const turn = h('div', { class: 'theirs', 'aria-busy': 'true' }, h('p', { class: 'reply' }));
    const thinking = h('p', { class: 'note thinking' }, 'thinking …');
    put(thinking);
    let answered = false;
    try {
      const content = clip ? [{ type: 'text', text }, part(clip, await asDataUrl(clip.blob))] : text;
      const answer = await ask('POST', '/v1/chat/completions', { signal: leaving.signal, body: { stream: true, messages: [{ role: 'user', content }], ai_therapist: { conversation, notices: 'field' } } });
      capture.drop();
      for await (const chunk of chunks(answer)) {
        thinking.remove();
        if (chunk.error) throw new Error(chunk.error.message);
        answered = true;
        const extra = chunk.ai_therapist ?? {};
        conversation = extra.conversation ?? conversation;
        show(extra.event, turn, put, about);
        settle();
      }
    } catch (error) {
      // A conversation that the server has forgotten cannot go on; the next message begins a new one.
      if (error.status === 404) conversation = 'new';
      if (error.name === 'AbortError') put(h('p', { class: 'note' }, 'Stopped.'));
      else {
        if (!answered) {
          // What was not taken goes back before what was written meanwhile.
          mine.remove();
          words.value = words.value ? `${text}\n${words.value}` : text;
        }
        put(refused(error));
      }
    } finally {
      thinking.remove();
      turn.removeAttribute('aria-busy');
      leaving = null;
      send.disabled = false;
      stop.hidden = true;
      words.focus();
    }
  }

  async function anew() {
    leaving?.abort();
    if (conversation !== 'new') await ask('DELETE', `/v1/conversations/${conversation}`).catch(() => {});
    conversation = 'new';
    log.replaceChildren();
    capture.drop();
    opening();
    say('The conversation was forgotten');
  }

  words.addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      talk();
    }
  });
  main.replaceChildren(h('div', { class: 'chat' },
    h('h1', { class: 'unseen' }, 'Chat'),
    about.chat ? h('div', { class: 'panel empty' }, h('h2', {}, 'Nobody to talk to yet'), h('p', {}, about.chat), h('p', { class: 'note' }, 'The helplines work all the same: press F1.')) : null,
    log,
    h('form', { class: 'panel composer', onsubmit: (event) => { event.preventDefault(); talk(); } },
      capture.shown, words, trouble,
      h('div', { class: 'row spread' }, h('div', { class: 'row' }, capture.buttons),
        h('div', { class: 'row' }, h('label', { class: 'check' }, labels, ' labels'), h('button', { type: 'button', class: 'quiet', title: 'Forget this conversation and begin another', onclick: anew }, 'Start anew'), stop, send)))));
  opening();
  words.focus();
  return () => {
    leaving?.abort();
    capture.stop();
    capture.drop();
    // What was said must not stay in the server's memory when nobody can see it any more.
    if (conversation !== 'new') ask('DELETE', `/v1/conversations/${conversation}`).catch(() => {});
  };
}

function part(clip, url) {
  return clip.blob.type.startsWith('video') ? { type: 'video_url', video_url: { url } } : { type: 'audio_url', audio_url: { url } };
}

/** The chunks of a stream of server-sent events. */
async function* chunks(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = '';
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    held += value;
    const events = held.split('\n\n');
    held = events.pop();
    for (const event of events) {
      const data = event.replace(/^data: /, '');
      if (data === '[DONE]') return;
      yield JSON.parse(data);
    }
  }
}

function notice(text) {
  return h('aside', { class: 'notice' }, text);
}

/** A message that got no answer may have been a call for help. */
function refused(error) {
  const told = failure(error);
  told.append(h('p', {}, 'The helplines work all the same: press F1.'));
  return told;
}

function helpCard(event) {
  if (event.form === 'pointer') return h('aside', { class: 'pointer', role: 'alert' }, event.text);
  return h('aside', { class: 'crisis', role: 'alert', 'aria-label': 'People you can reach now' }, h('h2', {}, 'People you can reach now'), paragraphs(event.text));
}

/** Puts one event of a turn where it belongs. */
function show(event, turn, put, about) {
  switch (event?.kind) {
    case 'disclosure':
      // The opening stands at the top already.
      if (event.text !== about.opening) put(notice(event.text));
      break;
    case 'card': put(helpCard(event)); break;
    case 'clip_refused': put(h('p', { class: 'note' }, `The clip was not shown to the model: ${event.reason}.`)); break;
    case 'labels':
      put(turn);
      turn.prepend(predicted(event));
      break;
    case 'reply':
      if (!turn.isConnected) put(turn);
      turn.querySelector('.reply').append(`${event.text} `);
      break;
    case 'repaired': put(h('p', { class: 'note' }, `A sentence of the reply was left out: ${plain(event.reason)}.`)); break;
    case 'withheld': put(h('p', { class: 'note' }, `A part of the reply was withheld: ${plain(event.reason)}.`)); break;
    case 'done':
      if (event.outcome === 'timed_out' || event.outcome === 'model_failed') put(h('p', { class: 'note' }, 'The model gave no answer.'));
      break;
    default:
  }
}

function predicted(event) {
  const found = Object.entries(NAMES).map(([name, words]) => [words, event[name]]);
  const weighed = found.filter(([, outcome]) => outcome.probabilities);
  return h('div', { class: 'predicted' },
    h('p', { class: 'who' }, found.map(([words, outcome]) => [h('span', { class: 'note' }, words), guess(outcome)])),
    weighed.length > 0 && h('details', {}, h('summary', {}, 'probabilities'), weighed.map(([words, outcome]) => h('div', { class: 'answer' },
      h('p', { class: 'note' }, words), bars(Object.entries(outcome.probabilities).sort(([, one], [, other]) => other - one).slice(0, 4))))));
}

function guess(outcome) {
  if (!outcome.value) return h('i', { class: 'label none', title: outcome.reason }, 'no answer');
  const chance = outcome.probabilities?.[outcome.value];
  return h('i', { class: `label ${emotionClass(outcome.value)}` }, outcome.value, chance !== undefined && h('span', { class: 'chance' }, share(chance)));
}
