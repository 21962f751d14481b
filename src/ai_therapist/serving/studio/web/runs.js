// Runs: how the loss fell, what was measured, and two systems side by side.

import { absent, failure, fixed, get, h, many, plain } from './page.js';
import { curves, whisker } from './draw.js';

const FIELDS = { client_emotion: "Client's emotion", strategy: "Therapist's strategy", therapist_emotion: "Therapist's emotion" };
const FIGURES = { accuracy: 'Accuracy', macro_f1: 'Macro F1', kappa: 'κ', ece: 'Calibration error' };

export async function openRuns(main, about, rest, current) {
  const found = await get('/studio/runs');
  if (!current()) return null;
  main.replaceChildren(h('div', { class: 'page' }, h('div', { class: 'row spread' }, h('h1', {}, 'Runs'),
    found.report && h('a', { class: 'button primary', href: found.report, target: '_blank', rel: 'noopener' }, 'Open the report')),
  training(found.trainings), evaluation(found.evaluation)));
  return null;
}

function training(trainings) {
  if (!trainings.length) return absent('No training yet', 'Tune a model with  ai-therapist finetune  and its curve comes here.');
  const shown = new Set(trainings.filter((run, at) => run.current || at < 6).map((run) => run.key));
  const chart = h('div', { class: 'scroll' });
  const redraw = () => {
    const lines = trainings.map((run, at) => ({ name: run.key, points: run.curve, colour: at % 6 })).filter((line) => shown.has(line.name) && line.points.length);
    chart.replaceChildren(lines.length ? curves(lines) : h('p', { class: 'note' }, 'Choose a training to see its curve.'));
  };
  redraw();
  return h('section', { class: 'panel' }, h('h2', {}, 'Training'), chart, h('div', { class: 'scroll' }, h('table', {},
    h('caption', {}, 'Every training in the store'),
    h('thead', {}, h('tr', {}, ['training', 'preset', 'examples', 'steps', 'loss', 'on validation', 'trained parameters', 'seconds'].map((name, at) => h('th', { scope: 'col', class: at > 1 ? 'n' : null }, name)))),
    h('tbody', {}, trainings.map((run, at) => {
      const { account } = run;
      return h('tr', {}, h('th', { scope: 'row' }, h('label', { class: 'check' },
        h('input', { type: 'checkbox', checked: shown.has(run.key), onchange: (event) => { if (event.target.checked) shown.add(run.key); else shown.delete(run.key); redraw(); } }),
        h('i', { class: `swatch c${at % 6}` }), ` ${run.key.slice(0, 8)}`), run.current && h('i', { class: 'badge' }, 'current')),
      h('td', {}, String(run.config.preset ?? '–')),
      [account.examples, account.steps].map((count) => h('td', { class: 'n' }, String(count ?? '–'))),
      h('td', { class: 'n' }, `${fixed(account.loss_first)} → ${fixed(account.loss_last)}`),
      h('td', { class: 'n' }, `${fixed(account.validation_loss_first)} → ${fixed(account.validation_loss_last)}`),
      h('td', { class: 'n' }, account.trained_parameters?.toLocaleString('en') ?? '–'), h('td', { class: 'n' }, fixed(account.seconds, 1)));
    })))));
}

function evaluation(found) {
  if (found.missing) return absent('No evaluation yet', found.missing);
  const fields = [...new Set(found.rows.map((row) => row.field))];
  const place = h('div', {});
  const tabs = h('div', { class: 'row', role: 'group', 'aria-label': 'What was predicted' }, fields.map((field) => h('button', { type: 'button', class: 'quiet', 'data-field': field, onclick: () => pick(field) }, FIELDS[field] ?? plain(field))));
  const pick = (field) => {
    tabs.querySelectorAll('button').forEach((button) => button.setAttribute('aria-pressed', String(button.dataset.field === field)));
    place.replaceChildren(scores(found.rows.filter((row) => row.field === field)));
  };
  if (fields.length) pick(fields[0]);
  return [
    h('section', { class: 'panel' }, h('h2', {}, 'Evaluation'), found.watermark && h('p', { class: 'bad' }, found.watermark), tabs, place,
      found.not_run.length > 0 && h('details', {}, h('summary', {}, 'What was not measured'), h('ul', {}, found.not_run.map((line) => h('li', {}, line))))),
    found.systems.length > 1 ? comparison(found.systems) : null,
  ];
}

function scores(rows) {
  return h('div', { class: 'scroll' }, h('table', {},
    h('caption', {}, `On ${many(rows[0]?.n ?? 0, 'held-out example')}; the line is the 95 % interval`),
    h('thead', {}, h('tr', {}, h('th', { scope: 'col' }, 'system'), Object.values(FIGURES).map((name) => h('th', { scope: 'col' }, name)))),
    h('tbody', {}, rows.map((row) => h('tr', {}, h('th', { scope: 'row', title: row.meaning }, row.system, row.leaks && h('i', { class: 'badge warn' }, 'told the gold labels')),
      Object.keys(FIGURES).map((name) => h('td', {}, row[name].value === null ? h('span', { class: 'note', title: row[name].reason }, '–') : h('span', { class: 'figure' }, h('b', {}, fixed(row[name].value)), name === 'accuracy' || name === 'macro_f1' ? whisker(row[name]) : null))))))));
}

function comparison(systems) {
  const choose = (label, name, at) => h('label', {}, `${label} `, h('select', { 'aria-label': name }, systems.map((system, place) => h('option', { value: system, selected: place === at }, system))));
  const [one, other] = [choose('Compare', 'First system', 0), choose('with', 'Second system', 1)];
  const place = h('div', { 'aria-live': 'polite' });
  const run = async () => {
    place.replaceChildren(h('p', { class: 'wait' }, 'Comparing …'));
    try {
      const found = await get('/studio/runs/compare', { one: one.querySelector('select').value, other: other.querySelector('select').value });
      place.replaceChildren(differences(found));
    } catch (error) {
      place.replaceChildren(failure(error));
    }
  };
  return h('section', { class: 'panel' }, h('h2', {}, 'Compare'), h('form', { class: 'row', onsubmit: (event) => { event.preventDefault(); run(); } }, one, other, h('button', { class: 'primary' }, 'Compare')), place);
}

function differences(found) {
  return h('div', { class: 'scroll' }, h('table', {},
    h('caption', {}, `${found.one} minus ${found.other} on the same items; intervals over sessions, ${found.resamples.toLocaleString('en')} resamples`),
    h('thead', {}, h('tr', {}, ['predicted', 'figure', found.one, found.other, 'difference', '95 % interval', 'p'].map((name, at) => h('th', { scope: 'col', class: at > 1 ? 'n' : null }, name)))),
    h('tbody', {}, found.rows.map((row) => h('tr', {}, h('th', { scope: 'row' }, FIELDS[row.field] ?? plain(row.field)), h('td', {}, FIGURES[row.figure] ?? plain(row.figure)),
      row.reason ? h('td', { colspan: '5', class: 'note' }, row.reason) : [fixed(row.a), fixed(row.b), fixed(row.difference), row.low === null ? 'one session' : `${fixed(row.low)} to ${fixed(row.high)}`, row.p === null ? '–' : fixed(row.p)].map((text) => h('td', { class: 'n' }, text)))))));
}
