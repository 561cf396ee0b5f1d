// SPDX-License-Identifier: Apache-2.0
// /logs: a call in a drawer over the list, rows that come in live, selecting, copying, deleting.
import { actions, base, busy, csrf, Failure, on, part, ready, shortcut, t, toast } from './app.js';
import { copy, paint, pretty } from './code.js';

await ready;

const log = document.getElementById('log');
const drawer = document.getElementById('drawer');
const live = document.getElementById('live');
const { tab } = log.dataset;

// ---- texts ----

function paintAll(root) {
  for (const pre of root.querySelectorAll('pre[data-json]')) paint(pre, pretty(pre.textContent));
  for (const button of root.querySelectorAll('[data-do][hidden]')) button.hidden = false;
}

actions['copy-code'] = (button) => busy(button, async () => {
  await copy(button.closest('.code').querySelector('pre').textContent);
  toast(t('Copied'));
});

const lines = (root, selector) => [...root.querySelectorAll(selector)].map((element) => element.innerText.replace(/\s*\n\s*/g, ' ').trim());

actions['copy-call'] = (button) => busy(button, async () => {
  const call = button.closest('.call');
  const text = [
    call.querySelector('h2').textContent, ...lines(call, 'header p'), '', ...lines(call, '.step'), '',
    ...[...call.querySelectorAll('section')].filter((section) => section.querySelector('pre'))
      .map((section) => `${section.querySelector('h3').textContent}\n${section.querySelector('pre').textContent}\n`),
  ].join('\n');
  await copy(text);
  toast(t('Copied'));
});

// ---- the drawer ----

const rows = () => [...log.querySelectorAll('tr[data-call]')];
let shownCall = null;

async function open(row, push = true) {
  const url = new URL(row.querySelector('[data-open]').href);
  shownCall = row.dataset.id;
  drawer.innerHTML = await part('call', url);
  paintAll(drawer);
  const at = rows().indexOf(row);
  drawer.querySelector('[data-do="newer"]')?.toggleAttribute('disabled', at <= 0);
  drawer.querySelector('[data-do="older"]')?.toggleAttribute('disabled', at < 0 || at >= rows().length - 1);
  if (push) history.pushState({ call: shownCall }, '', url);
  if (!drawer.open) drawer.showModal();
}

function step(by) {
  const list = rows();
  const next = list[list.findIndex((row) => row.dataset.id === shownCall) + by];
  if (next) busy(null, () => open(next));
}

actions.newer = () => step(-1);
actions.older = () => step(1);

function listAddress() {
  const url = new URL(location.href);
  url.searchParams.delete('call');
  return url;
}

drawer.addEventListener('close', () => {
  if (new URL(location.href).searchParams.has('call')) history.pushState({}, '', listAddress());
  log.querySelector(`tr[data-id="${shownCall}"] [data-open]`)?.focus();
});
drawer.addEventListener('click', (event) => {
  if (event.target === drawer) drawer.close();
});
window.addEventListener('popstate', (event) => {
  const row = event.state?.call && log.querySelector(`tr[data-id="${event.state.call}"]`);
  if (row) open(row, false);
  else if (drawer.open) drawer.close();
});

log.addEventListener('click', (event) => {
  const link = event.target.closest('[data-open]');
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  busy(null, () => open(link.closest('tr')));
});

// A call that the address names stands above the list; with scripts it is the drawer.
const named = document.querySelector('main > .call');
if (named) {
  drawer.append(named);
  paintAll(drawer);
  shownCall = rows().find((row) => row.dataset.call === named.dataset.call)?.dataset.id ?? null;
  drawer.showModal();
}

// ---- filters ----

const filters = document.getElementById('filters');
filters?.addEventListener('change', (event) => {
  const time = filters.elements.time;
  if (['from', 'to'].includes(event.target.name)) time.value = 'from';
  else if (event.target.tagName === 'SELECT' && (time.value !== 'from' || event.target !== time)) filters.requestSubmit();
  else if (event.target === time) {
    filters.querySelector('details').open = true;
    filters.elements.from.focus();
  }
});
// Empty fields stay out of the address.
filters?.addEventListener('formdata', (event) => {
  for (const [name, value] of [...event.formData]) if (value === '') event.formData.delete(name);
});
document.querySelector('#sizes select')?.addEventListener('change', (event) => event.target.form.submit());

// ---- selecting ----

const form = document.getElementById('rows');
const bulk = document.getElementById('bulk');
const boxes = () => [...log.querySelectorAll('tbody input[name="id"]')];
const chosen = () => boxes().filter((box) => box.checked);
let lastBox = null;

function countChosen() {
  const n = chosen().length;
  for (const box of boxes()) box.closest('tr').setAttribute('aria-selected', String(box.checked));
  bulk.hidden = !n;
  log.querySelector('.t')?.classList.toggle('under-bulk', n > 0);
  bulk.querySelector('[data-count]').textContent = t('{n} selected', { n });
  const all = log.querySelector('[data-all]');
  if (all) {
    all.checked = n > 0 && n === boxes().length;
    all.indeterminate = n > 0 && n < boxes().length;
  }
}

form?.addEventListener('click', (event) => {
  const box = event.target.closest('tbody input[name="id"]');
  if (!box) return;
  if (event.shiftKey && lastBox) {
    const list = boxes();
    const [from, to] = [list.indexOf(lastBox), list.indexOf(box)].sort((a, b) => a - b);
    for (const one of list.slice(from, to + 1)) one.checked = box.checked;
  }
  lastBox = box;
});
form?.addEventListener('change', (event) => {
  if ('all' in event.target.dataset) for (const box of boxes()) box.checked = event.target.checked;
  if (event.target.type === 'checkbox') countChosen();
});
actions['clear-selection'] = () => {
  for (const box of boxes()) box.checked = false;
  countChosen();
};
actions.copy = (button) => busy(button, async () => {
  await copy(chosen().map((box) => [...box.closest('tr').cells].slice(1)
    .map((cell) => cell.innerText.replace(/\s+/g, ' ').trim()).join('\t')).join('\n'));
  toast(t('{n} row copied | {n} rows copied', { n: chosen().length }));
});

// ---- deleting ----

async function send(fields) {
  const body = new URLSearchParams(fields);
  const answer = await fetch(`${base}/logs?format=json`, {
    method: 'POST', body, headers: { 'X-CSRF-Token': csrf(), Accept: 'application/json' },
  });
  const said = await answer.json();
  if (!answer.ok) throw new Failure(answer.status, said.error?.message ?? answer.statusText);
  return said;
}

form?.addEventListener('submit', (event) => {
  event.preventDefault();
  const marked = chosen();
  if (!marked.length) return;
  const after = marked.at(-1).closest('tr').nextElementSibling;
  busy(event.submitter, async () => {
    const said = await send([['csrf', csrf()], ['tab', tab], ...marked.map((box) => ['id', box.value])]);
    for (const box of marked) box.closest('tr').remove();
    countChosen();
    after?.querySelector('a')?.focus();
    toast(t('{n} row deleted | {n} rows deleted', { n: said.gone }));
  });
});

actions['delete-all'] = (link, event) => {
  event.preventDefault();
  busy(link, async () => {
    const page = document.createElement('div');
    const html = await (await fetch(link.href)).text();
    page.append(...new DOMParser().parseFromString(html, 'text/html').querySelectorAll('#delete'));
    const box = document.createElement('dialog');
    box.className = 'dialog small';
    box.setAttribute('aria-label', page.querySelector('h2').textContent);
    const header = document.createElement('header');
    header.append(page.querySelector('h2'));
    box.append(header, page.querySelector('.body'));
    box.addEventListener('close', () => box.remove());
    document.body.append(box);
    box.showModal();
    box.querySelector('[name="sure"]').focus();
  });
};

async function deleteAll(fields) {
  const said = await send(fields);
  location.assign(`${base}/logs?tab=${tab}&done=${said.gone}${said.more ? '&rest=1' : ''}`);
}

document.addEventListener('submit', (event) => {
  if (event.target.elements?.all?.value !== '1') return;
  event.preventDefault();
  busy(event.submitter, () => deleteAll([...new FormData(event.target)]));
});

// ---- live ----

const list = () => document.getElementById('list');
const fresh = document.getElementById('fresh');
let waiting = []; // rows that came and are not shown yet
let last = Number(list()?.dataset.last ?? -1);
let asking = false;

// Rows do not move under a pointer that is about to press one.
const isBusyHere = () => log.querySelector('tbody:hover, tbody :focus-visible') !== null || chosen().length > 0;

function showFresh() {
  const body = log.querySelector('tbody');
  if (!body) {
    location.reload();
    return;
  }
  for (const row of waiting) {
    if (log.querySelector(`tr[data-id="${row.dataset.id}"]`)) continue;
    row.classList.add('fresh');
    body.prepend(row);
    setTimeout(() => row.classList.remove('fresh'), 1000);
  }
  waiting = [];
  fresh.hidden = true;
}
actions['show-fresh'] = showFresh;

async function look() {
  if (asking || live.getAttribute('aria-pressed') !== 'true' || last < 0) return;
  asking = true;
  try {
    const url = new URL(listAddress());
    url.searchParams.set('since', String(last));
    const holder = document.createElement('table');
    const page = new DOMParser().parseFromString(await part('list', url), 'text/html');
    last = Number(page.getElementById('list')?.dataset.last ?? last);
    holder.append(...page.querySelectorAll('tbody tr'));
    waiting.push(...[...holder.querySelectorAll('tr')].reverse());
    if (waiting.length && (isBusyHere() || waiting.length > 100)) {
      fresh.hidden = false;
      fresh.querySelector('span').textContent = t('{n} new | {n} new', { n: waiting.length });
    } else if (waiting.length) showFresh();
  } catch { /* the live mark says that the server is away */ }
  asking = false;
}

if (live && list()?.dataset.later !== 'true' && last >= 0) {
  live.hidden = false;
  live.setAttribute('aria-pressed', String(sessionStorage.getItem('gb_tail') !== 'off'));
  live.addEventListener('click', () => {
    const on = live.getAttribute('aria-pressed') !== 'true';
    live.setAttribute('aria-pressed', String(on));
    sessionStorage.setItem('gb_tail', on ? 'on' : 'off');
    look();
  });
  on('logs', look);
  on('ready', look); // what came between the page and its first event
}

// ---- keys ----

function move(by) {
  const all = rows();
  const at = all.findIndex((row) => row.contains(document.activeElement));
  all[Math.min(all.length - 1, Math.max(0, at + by))]?.querySelector('[data-open]').focus();
}
shortcut('j', () => t('Next row'), () => move(1));
shortcut('k', () => t('Row before'), () => move(-1));
shortcut('x', () => t('Select the row'), () => document.activeElement.closest('tr')?.querySelector('input[name="id"]')?.click());
