// SPDX-License-Identifier: Apache-2.0
// What is done to many keys: piece by piece, with progress, a way to stop, and a result for each key.  A job
// lies in the session's storage, so that it goes on when the page is left for another one.

import { actions, api, base, csrf, Failure, icon, number, t, toast } from './app.js';
import { element, word } from './parts.js';

const STORED = 'gb_job';
const verbs = {
  verify: { piece: 40, busy: word('Verifying {n} key | Verifying {n} keys'), done: word('{n} key verified | {n} keys verified') },
  reset: { piece: 200, busy: word('Resetting {n} key | Resetting {n} keys'), done: word('{n} key reset | {n} keys reset') },
  enable: { piece: 200, busy: word('Turning {n} key on | Turning {n} keys on'), done: word('{n} key turned on | {n} keys turned on') },
  disable: { piece: 200, busy: word('Turning {n} key off | Turning {n} keys off'), done: word('{n} key turned off | {n} keys turned off') },
  edit: { piece: 200, busy: word('Changing {n} key | Changing {n} keys'), done: word('{n} key changed | {n} keys changed') },
  delete: { piece: 100, busy: word('Deleting {n} key | Deleting {n} keys'), done: word('{n} key deleted | {n} keys deleted') },
};

function bar(parts, whole) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  for (const [name, value] of Object.entries({ class: 'bar', viewBox: '0 0 1000 10', preserveAspectRatio: 'none', role: 'img' })) svg.setAttribute(name, value);
  let x = 0;
  for (const [name, n] of parts) {
    const rect = document.createElementNS('http://www.w3.org/2000/svg', 'rect');
    const width = whole ? Math.round(n * 1000 / whole) : 0;
    for (const [key, value] of Object.entries({ class: `f-${name}`, x, width, height: 10 })) rect.setAttribute(key, value);
    svg.append(rect);
    x += width;
  }
  svg.setAttribute('aria-label', t('{done} of {total}', { done: number(parts.reduce((sum, [, n]) => sum + n, 0)), total: number(whole) }));
  return svg;
}

// ---- results ----

function counted(job) {
  const bad = job.results.filter((one) => !one.ok).length;
  return { good: job.results.length - bad, bad };
}

function resultRow(one) {
  const pill = element('span', { class: `pill ${one.ok ? 'ok' : 'bad'}` }, icon(one.ok ? 'ok' : 'bad'), t(one.ok ? 'Done' : 'Went wrong'));
  return element('tr', { role: 'row' },
    element('td', { role: 'cell', class: 'main' }, element('span', { class: 'key' }, one.masked ?? one.id), element('span', { class: 'l2' }, one.id)),
    element('td', { role: 'cell', class: 'state' }, pill),
    element('td', { role: 'cell', class: 'full', 'data-l': t('Result') }, element('span', { class: 'val' }, one.text || '–')));
}

const SHOWN = 300;

export function showResults(job) {
  const { good, bad } = counted(job);
  const dialog = document.getElementById('results');
  const close = element('button', { type: 'button', class: 'btn icon ghost sm', 'data-do': 'close', 'aria-label': t('Close'), title: t('Close') }, icon('x'));
  const sorted = [...job.results].sort((a, b) => Number(a.ok) - Number(b.ok));
  const head = element('tr', { role: 'row' }, ...[t('Key'), t('State'), t('Result')].map((text) => element('th', { scope: 'col' }, text)));
  dialog.replaceChildren(
    element('header', {}, element('div', {}, element('h2', { id: 'results-h' }, t(verbs[job.verb].done, { n: number(job.results.length) })),
      element('p', {}, `${t('{good} went well, {bad} did not.', { good: number(good), bad: number(bad) })} ${t('Failures first.')}`)), element('div', { class: 'end' }, close)),
    element('div', { class: 'body scroll', tabindex: '0' }, element('table', { class: 't cards nochk', role: 'table' },
      element('thead', {}, head), element('tbody', {}, ...sorted.slice(0, SHOWN).map(resultRow))),
    sorted.length > SHOWN ? element('p', { class: 'muted xs gap' }, t('and {n} more', { n: number(sorted.length - SHOWN) })) : ''));
  dialog.showModal();
}

// ---- progress ----

class Progress {
  constructor(job, cancel) {
    this.job = job;
    this.toast = toast('', 'bad');              // stays until it is closed
    this.toast.setAttribute('role', 'status');
    this.toast.className = 'toast';
    this.stop = element('button', { type: 'button', class: 'btn sm' }, t('Cancel'));
    this.stop.addEventListener('click', cancel);
    this.update();
  }

  update() {
    const { job } = this;
    const { good, bad } = counted(job);
    const title = element('b', {}, t(verbs[job.verb].busy, { n: number(job.total) }));
    const text = element('p', {}, t('{done} done: {good} well, {bad} not', { done: number(job.results.length), good: number(good), bad: number(bad) }));
    this.toast.replaceChildren(icon('refresh'), title, this.stop, text,
      bar([['ok', good], ['bad', bad], ['line', job.total - good - bad]], job.total));
  }

  end(text) {
    this.toast.remove();
    const { job } = this;
    const { bad } = counted(job);
    const end = toast(text, bad ? 'bad' : 'ok');
    if (job.total > 1 || bad) {
      const show = element('button', { type: 'button', class: 'btn sm' }, t('Show results'));
      show.addEventListener('click', () => { showResults(job); end.remove(); });
      end.append(element('div', { class: 'row' }, show));
    }
  }
}

// ---- running ----

const save = (job) => { try { sessionStorage.setItem(STORED, JSON.stringify(job)); } catch { /* too large: it ends with the page */ } };

/** Lines of JSON as they come. */
async function* lines(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split('\n');
    rest = parts.pop();
    for (const line of parts) yield JSON.parse(line);
  }
}

async function verify(job, ids, signal, progress) {
  const answer = await fetch(`${base}/api/keys/verify`, { method: 'POST', signal, body: JSON.stringify({ ids, at_a_time: 10 }),
    headers: { 'Content-Type': 'application/json', 'X-CSRF-Token': csrf() } });
  if (!answer.ok) throw new Failure(answer.status, (await answer.json()).error?.message ?? answer.statusText);
  const told = new Set();
  for await (const line of lines(answer)) {
    if (!line.id) continue;
    told.add(line.id);
    job.results.push({ id: line.id, masked: job.names[line.id], ok: line.works, text: line.text });
    progress.update();
  }
  for (const id of ids) {
    if (!told.has(id)) job.results.push({ id, masked: job.names[id], ok: false, text: t('The pool has no such key.') });
  }
}

async function change(job, ids) {
  let failed = [];
  try {
    failed = (await api('POST', `api/keys/${job.verb}`, { ids, ...job.body })).failed ?? [];
  } catch (fault) {
    if (fault.status === 401 || fault.status === 400) throw fault;
    for (const id of ids) job.results.push({ id, masked: job.names[id], ok: false, text: fault.message });
    return;
  }
  for (const id of ids) {
    const ok = !failed.includes(id);
    job.results.push({ id, masked: job.names[id], ok, text: ok ? '' : t('It could not be changed. See httpd\'s error log.') });
  }
}

// What is broken off because the page is left goes on with the next one.
let leaving = false;
for (const name of ['beforeunload', 'pagehide']) addEventListener(name, () => { leaving = true; });
addEventListener('pageshow', () => { leaving = false; });

async function run(job) {
  const abort = new AbortController();
  let stopped = false;
  const progress = new Progress(job, () => { stopped = true; abort.abort(); });
  const verb = verbs[job.verb];
  while (job.left.length && !stopped) {
    const ids = job.left.slice(0, verb.piece);
    try {
      await (job.verb === 'verify' ? verify(job, ids, abort.signal, progress) : change(job, ids));
    } catch (fault) {
      if (leaving) return job;
      if (!stopped) toast(fault.message, 'bad');
      break;
    }
    job.left.splice(0, ids.length);
    save(job);
    progress.update();
  }
  sessionStorage.removeItem(STORED);
  progress.end(outcome(job, stopped));
  document.dispatchEvent(new CustomEvent('gb:job', { detail: job }));
  return job;
}

function outcome(job, stopped) {
  const { good, bad } = counted(job);
  if (stopped) return t('Stopped after {n} of {total}', { n: number(job.results.length), total: number(job.total) });
  if (job.total === 1 && bad) return `${job.results[0]?.masked ?? ''}: ${job.results[0]?.text || t('Went wrong')}`;
  const said = t(verbs[job.verb].done, { n: number(good + bad) });
  return bad ? `${said}. ${t('{good} went well, {bad} did not.', { good: number(good), bad: number(bad) })}` : said;
}

/** names: what the keys are called, by id.  Answers the job when it has ended. */
export function start(verb, ids, names = {}, body = {}) {
  const job = { verb, body, names, left: [...ids], total: ids.length, results: [] };
  save(job);
  return run(job);
}

/** Goes on with what another page has begun. */
export function resume() {
  const job = JSON.parse(sessionStorage.getItem(STORED) ?? 'null');
  if (job && verbs[job.verb] && job.left?.length) run(job);
}

actions.close = (button, event) => {
  const dialog = button.closest('dialog');
  if (dialog) {
    event.preventDefault();
    dialog.close();
  }
};
