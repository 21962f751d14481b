// Review: one question at a time, answered by a key; a decision is kept at once and can be taken back.

import { absent, clock, failure, fixed, get, h, kept, many, plain, post, say } from './page.js';
import { bars, chip } from './sessions.js';

const ORDERS = { disagreement: 'most disagreement first', uncertainty: 'least sure first', time: 'in order of time' };
const PSEUDONYM = /^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$/;

/** Questions that stood here with answers of others: hiding these again does not make the next decision a blind one. */
const opened = new Set();

export async function openReview(main, about, rest, current) {
  let desk = null;
  const sit = async (rater) => {
    desk = new Desk(main, about, rater, current);
    try {
      await desk.begin();
    } catch (error) {
      desk.close();
      if (current()) main.replaceChildren(failure(error));
    }
  };
  const rater = about.rater ?? kept.get('rater');
  // Not waited for: the keys must end with the tab, also while the first question is on its way.
  if (rater) sit(rater);
  else {
    main.replaceChildren(whoLabels((name) => {
      kept.set('rater', name);
      main.replaceChildren(h('p', { class: 'wait' }, 'Loading …'));
      sit(name);
    }));
  }
  return () => desk?.close();
}

function whoLabels(done) {
  const name = h('input', { id: 'rater', autocomplete: 'off', spellcheck: 'false', maxlength: '40', required: true, 'aria-describedby': 'rater-note' });
  const trouble = h('p', { class: 'bad', role: 'alert' });
  return h('form', { class: 'panel narrow', onsubmit: (event) => {
    event.preventDefault();
    if (PSEUDONYM.test(name.value)) done(name.value);
    else trouble.textContent = 'Up to 40 letters, digits, dots and dashes; no spaces.';
  } },
  h('h1', {}, 'Who labels?'),
  h('label', { for: 'rater' }, 'A pseudonym'), name,
  h('p', { class: 'note', id: 'rater-note' }, 'It stands beside every decision you make, in the store and in what is exported. Your name is not needed.'),
  trouble, h('button', { class: 'primary' }, 'Begin'));
}

class Desk {
  constructor(main, about, rater, current) {
    Object.assign(this, { main, about, rater, current });
    this.order = kept.get('order') ?? 'disagreement';
    this.blind = about.blind || kept.get('blind') === 'yes';
    this.queue = [];
    this.place = 0;
    this.question = null;
    this.played = false;
    this.busy = false;
    this.onKey = (event) => this.key(event);
    document.addEventListener('keydown', this.onKey);
  }

  close() {
    document.removeEventListener('keydown', this.onKey);
    this.media?.pause();
    this.main = null;
  }

  async begin() {
    const found = await get('/studio/review/queue', { rater: this.rater, order: this.order, blind: this.blind });
    if (!this.current()) return;
    this.progress = found;
    this.queue = found.queue;
    this.place = 0;
    await this.showQuestion();
  }

  async showQuestion() {
    const key = this.queue[this.place];
    this.question = null;
    if (key === undefined) {
      if (this.queue.length && this.progress.decided < this.progress.total) return this.begin();
      this.draw(this.finished());
      return undefined;
    }
    const found = await get('/studio/review/question', { ...key, rater: this.rater, blind: this.blind });
    if (!this.current() || !this.main) return undefined;
    this.question = found;
    this.played = false;
    if (found.shown.length) opened.add(this.named(found));
    this.draw(this.asked(found));
    // The turns that came last matter most.
    const before = this.main.querySelector('.before');
    before.scrollTop = before.scrollHeight;
    say(`${found.task} of the ${found.role}, question ${this.place + 1} of ${this.queue.length}`);
    return undefined;
  }

  named(question) {
    return `${this.rater} ${question.utterance} ${question.task}`;
  }

  draw(content) {
    this.main.replaceChildren(h('div', { class: 'review' }, this.bar(), content));
  }

  bar() {
    const { decided, total, agreement, faults } = this.progress;
    const order = h('select', { 'aria-label': 'Order of the questions', onchange: (event) => {
      this.order = event.target.value;
      kept.set('order', this.order);
      this.again(() => this.begin());
    } }, Object.entries(ORDERS).map(([value, text]) => h('option', { value, selected: value === this.order }, text)));
    return h('div', { class: 'panel desk' },
      h('p', { class: 'rater' }, h('b', {}, this.rater), this.about.rater ? null : h('button', { type: 'button', class: 'link', onclick: () => { kept.set('rater', ''); location.reload(); } }, 'somebody else')),
      h('div', { class: 'done' }, h('progress', { max: String(Math.max(1, total)), value: String(decided), 'aria-label': 'Questions decided' }), h('span', {}, `${decided} of ${total}`)),
      h('ul', { class: 'kappas', 'aria-label': 'Agreement so far' }, agreement.map((found) => h('li', { title: found.kappa.reason ?? `the same on ${found.same} of ${found.both}; ${found.abstained} more could not be told` },
        h('span', { class: 'note' }, `κ with ${found.other}, ${found.task} `), h('b', { class: 'kappa' }, fixed(found.kappa.value)), h('span', { class: 'note' }, ` n = ${found.both}`)))),
      h('div', { class: 'wishes' }, order,
        h('label', { class: 'check' }, h('input', { type: 'checkbox', checked: this.blind, disabled: this.about.blind, onchange: () => this.veil() }), ' blind ', h('kbd', {}, 'v')),
        h('button', { type: 'button', class: 'quiet', onclick: () => this.showKeys() }, 'Keys ', h('kbd', {}, '?'))),
      faults.length > 0 && h('p', { class: 'bad' }, `Not asked about, until it is put right: ${faults.join('; ')}`));
  }

  finished() {
    if (this.progress.total === 0) return absent('Nothing to review', 'There is no session that may be labelled: run  ai-therapist extract  first, or look at the consent records.');
    return h('div', { class: 'panel empty' }, h('h1', {}, 'All done'),
      h('p', {}, `You have answered all ${many(this.progress.total, 'question')}. Thank you.`),
      h('p', { class: 'note' }, 'Undo takes the last decision back.'), h('button', { type: 'button', onclick: () => this.undo() }, 'Undo ', h('kbd', {}, 'u')));
  }

  asked(question) {
    const what = question.task === 'emotion' ? 'What does the speaker show?' : 'What does the therapist do?';
    return h('div', { class: 'question' },
      h('section', { class: 'seen', 'aria-label': 'The turn' },
        this.recording(question),
        h('ol', { class: 'before', 'aria-label': 'Turns before', tabindex: question.before.length ? '0' : null }, question.before.map((turn) => h('li', { class: turn.role }, h('i', { class: `role ${turn.role}` }, turn.role), ' ', turn.text))),
        h('blockquote', { class: `turn ${question.role}`, id: 'turn', tabindex: '-1' }, h('i', { class: `role ${question.role}` }, question.role),
          h('span', { class: 'note' }, ` ${plain(question.name)}, ${clock(question.start)}`), h('p', {}, question.text))),
      h('section', { class: 'panel answers', 'aria-labelledby': 'ask' },
        h('h1', { id: 'ask' }, what),
        this.others(question),
        h('div', { class: 'choices', role: 'group', 'aria-labelledby': 'ask' }, question.choices.map((choice) => h('button', {
          type: 'button', class: `choice ${question.proposed === choice.value ? 'proposed' : ''}`, 'data-key': choice.key, title: `${choice.definition} Such as: ${choice.example} Not: ${choice.not}`,
          'aria-keyshortcuts': choice.key, 'aria-pressed': question.own?.value === choice.value ? 'true' : null, onclick: () => this.decide(choice.value),
        }, h('kbd', {}, choice.key), h('span', {}, h('b', {}, choice.value), h('small', {}, choice.definition))))),
        h('div', { class: 'row' },
          h('button', { type: 'button', class: 'primary', disabled: question.proposed === null, 'aria-keyshortcuts': 'Enter', onclick: () => this.accept() }, 'Accept ', h('kbd', {}, '↵')),
          h('button', { type: 'button', 'aria-keyshortcuts': '0', onclick: () => this.decide(null) }, 'Cannot tell ', h('kbd', {}, '0')),
          h('button', { type: 'button', 'aria-keyshortcuts': 'n', onclick: () => this.move(1) }, 'Next ', h('kbd', {}, 'n')),
          h('button', { type: 'button', 'aria-keyshortcuts': 'p', onclick: () => this.move(-1), disabled: this.place === 0 }, 'Back ', h('kbd', {}, 'p')),
          h('button', { type: 'button', 'aria-keyshortcuts': 'u', onclick: () => this.undo(), disabled: this.progress.decided === 0 }, 'Undo ', h('kbd', {}, 'u'))),
        h('p', { class: 'note' }, question.guide),
        h('p', { class: 'bad', role: 'alert', id: 'trouble' })));
  }

  others(question) {
    if (question.shown.length === 0) {
      return h('p', { class: 'note' }, this.blind ? "Blind: others' labels come after yours." : 'No model has labelled this turn.');
    }
    return h('div', { class: 'others' }, question.shown.map((label) => h('div', {},
      h('p', {}, h('span', { class: 'note' }, `${label.person ? '' : 'the model '}${label.annotator} says `), chip(label), label.reason ? h('span', { class: 'note' }, ` ${label.reason}`) : null),
      label.chances.length ? bars(label.chances.slice(0, 3)) : null)));
  }

  recording(question) {
    const source = question.media.video ?? question.media.audio;
    if (!source) return h('p', { class: 'panel note' }, question.media_refused ? 'Words only: the consent does not permit to judge emotions from face and voice.' : 'This session has no recording to play.');
    if (this.media?.dataset.source !== source) {
      this.media?.pause();
      this.media = h(question.media.video ? 'video' : 'audio', { src: source, 'data-source': source, controls: true, preload: 'metadata', class: 'media', playsinline: true, 'aria-label': 'The recording' });
      this.media.addEventListener('timeupdate', () => this.watch());
    }
    this.media.pause();
    this.until = null;
    const start = question.start / 1000;
    if (this.media.readyState > 0) this.media.currentTime = start;
    else this.media.addEventListener('loadedmetadata', () => { this.media.currentTime = start; }, { once: true });
    return h('div', { class: 'stage' }, this.media,
      h('button', { type: 'button', class: 'quiet', 'aria-keyshortcuts': 'Space', onclick: () => this.play() }, 'Play the turn ', h('kbd', {}, 'space')));
  }

  /** Notes that the turn itself was played, and stops at its end. */
  watch() {
    if (!this.question || this.media.paused) return;
    const now = this.media.currentTime * 1000;
    if (now >= this.question.start && now < this.question.end) this.played = true;
    if (this.until !== null && now >= this.until) {
      this.media.pause();
      this.until = null;
    }
  }

  play() {
    if (!this.media || !this.question) return;
    if (!this.media.paused) {
      this.media.pause();
      return;
    }
    this.until = this.question.end;
    this.media.currentTime = this.question.start / 1000;
    this.media.play().catch(() => say('The browser did not start the recording'));
  }

  accept() {
    if (this.question?.proposed) this.decide(this.question.proposed);
  }

  decide(label) {
    const question = this.question;
    if (!question) return;
    this.again(async () => {
      const { session, utterance, task } = question;
      this.progress = { ...this.progress, ...await post('/studio/review/decide', { rater: this.rater, session, utterance, task, label, blind: this.blind && !opened.has(this.named(question)), played: this.played }) };
      say(`kept: ${label ?? 'cannot tell'}`);
      this.place += 1;
      await this.showQuestion();
    });
  }

  undo() {
    this.again(async () => {
      const found = await post('/studio/review/undo', { rater: this.rater });
      this.progress = { ...this.progress, ...found };
      if (found.question === null) {
        say('There is nothing to undo');
        return;
      }
      const at = this.queue.findIndex((key) => key.utterance === found.question.utterance && key.task === found.question.task);
      if (at >= 0) this.place = at;
      else this.queue.splice(this.place, 0, found.question);
      await this.showQuestion();
      say('Taken back');
    });
  }

  move(by) {
    this.again(async () => {
      this.place = Math.max(0, this.place + by);
      await this.showQuestion();
    });
  }

  veil() {
    if (this.about.blind) return;
    this.blind = !this.blind;
    kept.set('blind', this.blind ? 'yes' : 'no');
    this.again(() => this.begin());
  }

  /** One thing at a time: a key held down must not label the next turn as well. */
  async again(work) {
    if (this.busy) return;
    this.busy = true;
    this.main?.firstChild?.setAttribute('aria-busy', 'true');
    try {
      await work();
    } catch (error) {
      const trouble = document.getElementById('trouble');
      if (trouble) trouble.textContent = error.message;
      say(error.message);
    } finally {
      this.busy = false;
      this.main?.firstChild?.removeAttribute('aria-busy');
    }
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || document.querySelector('dialog[open]')) return;
    const tag = event.target.tagName;
    if (tag === 'INPUT' || tag === 'SELECT' || tag === 'TEXTAREA') return;
    // Enter and the space bar belong to the button that has the focus.
    if ((event.key === 'Enter' || event.key === ' ') && (tag === 'BUTTON' || tag === 'A' || tag === 'VIDEO' || tag === 'AUDIO')) return;
    const choice = this.question?.choices.find((each) => each.key === event.key);
    const work = choice ? () => this.decide(choice.value) : {
      Enter: () => this.accept(), 0: () => this.decide(null), n: () => this.move(1), p: () => this.move(-1),
      u: () => this.undo(), v: () => this.veil(), ' ': () => this.play(), '?': () => this.showKeys(),
    }[event.key];
    if (!work) return;
    event.preventDefault();
    work();
  }

  showKeys() {
    const rows = [['1 – 7', 'emotion, in the order of the list'], ['a – j', 'strategy, in the order of the list'], ['↵', 'accept the label that is shown'], ['0', 'cannot tell'], ['n, p', 'next, back, without an answer'], ['u', 'undo your last decision'], ['space', 'play the turn'], ['v', 'blind: hide the labels of models'], ['F1', 'helplines']];
    document.getElementById('keys-text').replaceChildren(h('dl', { class: 'facts' }, rows.map(([key, what]) => [h('dt', {}, h('kbd', {}, key)), h('dd', {}, what)])));
    document.getElementById('keys').showModal();
  }
}
