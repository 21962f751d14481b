// Dataset: what there is to learn from, how it is split, how often each label occurs, how far annotators agree.

import { absent, emotionClass, fixed, get, h, many, plain, share } from './page.js';

const FIELDS = { client_emotion: "Client's emotion", strategy: "Therapist's strategy", therapist_emotion: "Therapist's emotion" };
const SPLITS = ['train', 'validation', 'test'];

export async function openDataset(main, about, rest, current) {
  const found = await get('/studio/dataset');
  if (!current()) return null;
  main.replaceChildren(h('div', { class: 'page' }, h('h1', {}, 'Dataset'),
    found.missing ? absent('No dataset yet', found.missing) : built(found),
    agreement(found)));
  return null;
}

function built(found) {
  const { summary } = found;
  const tiles = [['sessions', summary.sessions], ['examples', summary.examples], ['with a clip', summary.with_clip], ['therapist turns read', summary.therapist_turns]];
  return [
    h('dl', { class: 'tiles' }, tiles.map(([name, count]) => h('div', {}, h('dd', { class: 'value' }, String(count)), h('dt', {}, name)))),
    h('section', { class: 'panel' }, h('h2', {}, 'Splits'), h('p', { class: 'note' }, 'Whole groups (a client, a pair, a channel) lie in one split, and stay there when the dataset grows.'), splits(summary)),
    h('section', { class: 'panel' }, h('h2', {}, 'Labels'),
      found.labels === null ? h('p', { class: 'note' }, 'Hidden: this studio is blind, and the counts of a small split tell what its turns were labelled.') : [
        h('p', { class: 'note' }, 'How often each label is the one to predict.'),
        h('ul', { class: 'legend' }, SPLITS.map((split) => h('li', {}, h('i', { class: `swatch ${split}` }), split))),
        h('div', { class: 'three' }, found.labels.map(distribution)),
      ]),
    h('section', { class: 'panel' }, h('h2', {}, 'What was left out'), account(found)),
  ];
}

function splits(summary) {
  return h('div', {},
    h('div', { class: 'stack', role: 'img', 'aria-label': SPLITS.map((split) => `${summary.splits[split]} ${split}`).join(', ') },
      SPLITS.map((split) => summary.splits[split] > 0 && h('i', { class: split, style: { 'flex-grow': summary.splits[split] } }))),
    h('ul', { class: 'legend' }, SPLITS.map((split) => h('li', {}, h('i', { class: `swatch ${split}` }), h('b', {}, split), ` ${many(summary.splits[split], 'example')}, ${many(summary.groups[split], 'group')}`))));
}

function distribution(field) {
  const total = (row) => SPLITS.reduce((sum, split) => sum + row.splits[split], 0);
  const most = Math.max(1, ...field.classes.map(total));
  return h('div', {}, h('h3', {}, FIELDS[field.field]), h('ul', { class: 'counts' }, field.classes.filter((row) => row.name !== null || total(row) > 0).map((row) => h('li', {},
    h('span', { class: row.name ? `dot ${emotionClass(row.name)}` : 'dot none' }, row.name ?? 'no label'),
    h('i', { class: 'bar parts', title: SPLITS.map((split) => `${row.splits[split]} ${split}`).join(', ') }, SPLITS.map((split) => h('i', { class: split, style: { width: `${(100 * row.splits[split]) / most}%` } }))),
    h('span', { class: 'n' }, String(total(row)))))));
}

function account(found) {
  const { summary } = found;
  const dropped = Object.entries(summary.dropped);
  const notes = Object.entries(summary.notes);
  return h('div', { class: 'two' },
    h('div', {}, h('h3', {}, `${summary.therapist_turns} therapist turns = ${summary.examples} examples + ${dropped.reduce((sum, [, count]) => sum + count, 0)}`),
      dropped.length ? h('dl', { class: 'facts' }, dropped.map(([reason, count]) => [h('dt', {}, String(count)), h('dd', {}, plain(reason))])) : h('p', {}, 'Nothing was dropped.')),
    h('div', {}, h('h3', {}, 'Notes'),
      notes.length ? h('dl', { class: 'facts' }, notes.map(([reason, count]) => [h('dt', {}, String(count)), h('dd', {}, plain(reason))])) : h('p', {}, 'None.'),
      found.skipped.map((line) => h('p', { class: 'note' }, `${line.name} was skipped: ${line.reason}`))));
}

function agreement(found) {
  return h('section', { class: 'panel' }, h('h2', {}, 'Annotators and their agreement'),
    found.answers.length === 0 ? h('p', {}, 'Nobody has labelled anything yet.') : h('div', { class: 'scroll' }, h('table', {},
      h('caption', {}, 'How much each has answered'),
      h('thead', {}, h('tr', {}, ['annotator', 'task', 'labels', 'no answer'].map((name, at) => h('th', { scope: 'col', class: at > 1 ? 'n' : null }, name)))),
      h('tbody', {}, found.answers.map((row) => h('tr', {}, h('th', { scope: 'row' }, who(row.annotator, row.person)), h('td', {}, row.task), h('td', { class: 'n' }, String(row.labels)), h('td', { class: 'n' }, String(row.none))))))),
    found.agreement.length === 0 ? h('p', { class: 'note' }, 'Agreement needs two annotators on the same turns: let a second person review, or annotate with another model.') : h('div', { class: 'scroll' }, h('table', {},
      h('caption', {}, "Cohen's κ on what both labelled; 1 is full agreement, 0 as much as chance gives"),
      h('thead', {}, h('tr', {}, ['task', 'between', 'kind', 'the same', 'κ', 'n'].map((name, at) => h('th', { scope: 'col', class: at > 2 ? 'n' : null }, name)))),
      h('tbody', {}, found.agreement.map((row) => h('tr', {}, h('td', {}, row.task), h('th', { scope: 'row' }, `${row.one} and ${row.other}`),
        h('td', {}, ['two models', 'person and model', 'two people'][row.people]), h('td', { class: 'n' }, share(row.same / row.both)), h('td', { class: 'n', title: row.kappa.reason }, fixed(row.kappa.value)), h('td', { class: 'n' }, String(row.both))))))));
}

function who(name, person) {
  return [name, ' ', h('i', { class: `badge ${person ? 'person' : ''}` }, person ? 'person' : 'model')];
}
