// SPDX-License-Identifier: Apache-2.0
// What every page has: pieces of the page exchanged, forms sent without a reload, toasts, dialogs,
// countdowns, live events, theme, keys.  Pages add modules of their own and import from here.

const meta = (name) => document.querySelector(`meta[name="${name}"]`)?.content ?? '';

export const base = meta('gb-base');
export const mount = meta('gb-mount');
export const lang = document.documentElement.lang;
export const csrf = () => meta('gb-csrf');

// ---- words: the server's catalogues ----

let words = {};
export const ready = lang === 'en' ? Promise.resolve()
  : fetch(`${base}/gbalance/i18n/${lang}.json`).then((r) => r.json()).then((w) => { words = w; }, () => {});

/** Words of ours with {name} from values; "{n} key | {n} keys" chooses by the first placeholder. */
export function t(text, values = {}) {
  let out = words[text] || text;
  const bar = out.indexOf(' | ');
  if (bar >= 0) {
    const first = /\{(\w+)/.exec(out)?.[1];
    out = Number(values[first]) === 1 ? out.slice(0, bar) : out.slice(bar + 3);
  }
  return out.replace(/\{(\w+)(?:\|\w+)?\}/g, (_, name) => values[name] ?? '');
}

/** What the server says in a sentence of its own, in the reader's language where we have it. */
export const said = (text) => words[text] || text;

/** 10000 -> "10,000" */
export const number = (n) => Number(n).toLocaleString('en-US');

// ---- asking the server ----

export class Failure extends Error {
  constructor(status, message, field) {
    super(message);
    this.status = status;
    this.field = field;
  }
}

async function checked(answer) {
  if (answer.ok) return answer;
  if (answer.status === 401) {
    location.assign(`${base}/auth?next=${encodeURIComponent(location.pathname.slice(mount.length) + location.search)}`);
  }
  let fault = {};
  try { fault = (await answer.json()).error ?? {}; } catch { /* not JSON: the status says enough */ }
  throw new Failure(answer.status, fault.message ?? `${answer.status} ${answer.statusText}`, fault.field);
}

/** JSON from one of our endpoints: api('GET', 'api/keys'), api('POST', 'api/keys/verify', {all: true}). */
export async function api(method, path, body) {
  const headers = { Accept: 'application/json' };
  if (method !== 'GET') headers['X-CSRF-Token'] = csrf();
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  const answer = await checked(await fetch(`${base}/${path}`, {
    method, headers, body: body === undefined ? undefined : JSON.stringify(body),
  }));
  const text = await answer.text();
  return text ? JSON.parse(text) : null;
}

/** One part of a page as the server renders it.  url: relative to this page; its own address by default. */
export async function part(name, url = location.href) {
  const address = new URL(url, location.href);
  address.searchParams.set('part', name);
  return (await checked(await fetch(address))).text();
}

/** Puts a part in the place of an element's content; the focus stays where it can. */
export async function swap(element, name, url) {
  const html = await part(name, url);
  const focused = document.activeElement?.id;
  element.innerHTML = html;
  if (focused && !document.activeElement?.id) document.getElementById(focused)?.focus();
  element.dispatchEvent(new CustomEvent('gb:swapped', { bubbles: true }));
}

// ---- feedback ----

// Above an open dialog, too: what lies outside of that cannot be clicked.
function toasts() {
  let box = document.querySelector('.toasts');
  if (!box) {
    box = document.createElement('div');
    box.className = 'toasts';
  }
  const dialog = [...document.querySelectorAll('dialog[open]')].pop();
  (dialog ?? document.body).append(box);
  dialog?.addEventListener('close', () => document.body.append(box), { once: true });
  return box;
}

/** kind: "ok" or "bad" (stays until it is closed).  Answers the element, whose first <p> is the text. */
export function toast(text, kind = 'ok') {
  const element = document.createElement('div');
  element.className = `toast ${kind}`;
  element.setAttribute('role', kind === 'bad' ? 'alert' : 'status');
  const p = document.createElement('p');
  p.textContent = text;
  const close = document.createElement('button');
  close.type = 'button';
  close.className = 'btn ghost icon sm';
  close.setAttribute('aria-label', t('Close'));
  close.append(icon('x'));
  close.addEventListener('click', () => element.remove());
  element.append(icon(kind === 'bad' ? 'bad' : 'ok'), p, close);
  toasts().append(element);
  if (kind !== 'bad') fade(element);
  return element;
}

// Six seconds without pointer and focus.
function fade(element) {
  let timer;
  const start = () => { timer = setTimeout(() => element.remove(), 6000); };
  const stop = () => clearTimeout(timer);
  for (const name of ['pointerenter', 'focusin']) element.addEventListener(name, stop);
  for (const name of ['pointerleave', 'focusout']) element.addEventListener(name, start);
  start();
}

export function icon(name) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('class', 'i');
  svg.setAttribute('aria-hidden', 'true');
  const use = document.createElementNS('http://www.w3.org/2000/svg', 'use');
  use.setAttribute('href', `${base}/gbalance/icons.svg#i-${name}`);
  svg.append(use);
  return svg;
}

/** Runs an action while a button is busy; what goes wrong becomes a toast.  Answers undefined then. */
export async function busy(button, action) {
  button?.setAttribute('aria-busy', 'true');
  if (button) button.disabled = true;
  try {
    return await action();
  } catch (fault) {
    toast(said(fault.message), 'bad');
    return undefined;
  } finally {
    button?.removeAttribute('aria-busy');
    if (button) button.disabled = false;
  }
}

// ---- forms and actions ----

// <form data-swap="main">: sent without a reload, then that part is fetched anew.
async function submit(form, button) {
  const body = new URLSearchParams(new FormData(form, button));
  await busy(button, async () => {
    const answer = await checked(await fetch(`${form.action}?format=json`, {
      method: 'POST', body, headers: { 'X-CSRF-Token': csrf(), Accept: 'application/json' },
    }));
    const said = await answer.json();
    if (form.dataset.swap) await swap(document.getElementById(form.dataset.swap), form.dataset.swap);
    toast(said.message ?? t('Done'));
  });
}

document.addEventListener('submit', (event) => {
  const form = event.target;
  if (form.dataset.swap) {
    event.preventDefault();
    submit(form, event.submitter);
  }
});

/** Actions by name: <button data-do="theme">.  Pages add their own. */
export const actions = {
  reveal(button) {
    const input = button.parentElement.querySelector('input');
    const shown = input.type === 'text';
    input.type = shown ? 'password' : 'text';
    button.setAttribute('aria-pressed', String(!shown));
  },
  theme(button, event) {
    event.preventDefault();
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
    root.dataset.theme = dark ? 'light' : 'dark';
    document.cookie = `gb_theme=${root.dataset.theme}; Path=${mount}; Max-Age=31536000; SameSite=Strict`;
    document.dispatchEvent(new CustomEvent('gb:theme'));
  },
  close(button) {
    button.closest('dialog')?.close();
  },
};

document.addEventListener('click', (event) => {
  const button = event.target.closest?.('[data-do]');
  if (button && actions[button.dataset.do]) actions[button.dataset.do](button, event);
  for (const menu of document.querySelectorAll('details.menu[open]')) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});

for (const button of document.querySelectorAll('[data-do][hidden]')) button.hidden = false;

// ---- countdowns: one timer for all ----

const skew = Number(meta('gb-now')) * 1000 - Date.now();
/** The server's clock, in milliseconds. */
export const now = () => Date.now() + skew;

function left(seconds) {
  const h = Math.floor(seconds / 3600);
  const m = Math.floor(seconds / 60) % 60;
  const s = String(seconds % 60).padStart(2, '0');
  return h ? `${h}:${String(m).padStart(2, '0')}:${s}` : `${m}:${s}`;
}

setInterval(() => {
  for (const element of document.querySelectorAll('time[data-left]')) {
    const seconds = Math.max(0, Math.ceil((Date.parse(element.dateTime) - now()) / 1000));
    const text = seconds ? left(seconds) : t('now');
    if (element.textContent !== text) element.textContent = text;
  }
}, 1000);

// ---- live events ----

const listeners = {};
/** Events of the server: on('pool', (data) => ...); hello, ready, pool, keys, logs, settings. */
export function on(event, action) {
  const isNew = !listeners[event];
  (listeners[event] ??= []).push(action);
  if (source && isNew) listen(event);
  connect();
}

const mark = document.querySelector('.live');
let source = null;
let lost = 0;

function listen(event) {
  source.addEventListener(event, (message) => {
    const data = JSON.parse(message.data);
    for (const action of listeners[event]) action(data);
  });
}

const clock = () => new Date(now()).toLocaleTimeString('en-GB');

function fresh() {
  lost = 0;
  if (!mark) return;
  mark.hidden = false;
  mark.classList.remove('stale');
  mark.querySelector('span').textContent = t('Live');
  mark.removeAttribute('title');
}

// A child of httpd that ends closes its streams, and another one answers within a second: that is
// no news.  Only what lasts is shown.
function broken() {
  if (!lost) {
    lost = now();
    const since = clock();
    setTimeout(() => {
      if (!lost || !mark) return;
      mark.hidden = false;
      mark.classList.add('stale');
      mark.querySelector('span').textContent = t('No live updates');
      mark.title = t('No live updates since {time}.', { time: since });
    }, 3000);
  }
  if (source?.readyState === EventSource.CLOSED) {
    source = null;
    // Refused, not cut: perhaps the session has ended, which this call leads to the login for.
    api('GET', 'api/version/check').catch(() => {}).then(() => setTimeout(connect, 8000));
  }
}

// A browser opens few connections to one server: a page that nobody sees gives its own back.
function connect() {
  if (source || document.hidden || !csrf()) return;
  source = new EventSource(`${base}/events`);
  source.addEventListener('hello', fresh);
  source.addEventListener('error', broken);
  for (const event of Object.keys(listeners)) listen(event);
}

function disconnect() {
  source?.close();
  source = null;
}

document.addEventListener('visibilitychange', () => (document.hidden ? disconnect() : connect()));
window.addEventListener('pagehide', disconnect);
window.addEventListener('pageshow', () => mark && connect());

// ---- dialogs ----

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}

function dialogOf(title) {
  const dialog = element('dialog', 'dialog');
  const form = element('form');
  form.method = 'dialog';
  const head = element('h2', '', title);
  head.id = 'dialog-title';
  dialog.setAttribute('aria-labelledby', head.id);
  form.append(head);
  dialog.append(form);
  return { dialog, form };
}

/**
 * Asks before something is done that cannot be undone.  With a count of more than one the number has
 * to be typed.  Answers whether it may be done.
 */
export function ask({ title, text, action, count = 1, danger = true }) {
  const { dialog, form } = dialogOf(title);
  const row = element('div', 'foot');
  const no = element('button', 'btn', t('Cancel'));
  const yes = element('button', danger ? 'btn danger' : 'btn primary', action);
  no.value = '';
  yes.value = 'yes';
  form.append(element('p', '', text));
  if (count > 1) {
    const label = element('label', '', t('Type {n} to go on', { n: count }));
    const input = element('input', 'in');
    input.inputMode = 'numeric';
    input.autocomplete = 'off';
    input.addEventListener('input', () => { yes.disabled = input.value.trim() !== String(count); });
    yes.disabled = true;
    label.append(input);
    form.append(label);
  }
  row.append(no, yes);
  form.append(row);
  return show(dialog);
}

/** Shows a dialog and answers whether it was closed with "yes"; the focus goes back to where it was. */
export function show(dialog) {
  const opener = document.activeElement;
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => {
      dialog.remove();
      opener?.focus?.();
      resolve(dialog.returnValue === 'yes');
    }, { once: true });
  });
}

// ---- keys ----

const single = {};
/** One key without modifiers, outside of fields: shortcut('/', () => t('Search'), () => ...). */
export function shortcut(key, what, action) {
  single[key] = { what, action };
}

const inField = (target) => target.closest?.('input, textarea, select, [contenteditable]');

document.addEventListener('keydown', (event) => {
  if (event.key === 'Escape') {
    for (const menu of document.querySelectorAll('details.menu[open]')) {
      menu.open = false;
      menu.querySelector('summary').focus();
    }
  }
  if (event.ctrlKey || event.metaKey || event.altKey || inField(event.target)) return;
  if (localStorage.getItem('gb_keys') === 'off' || document.querySelector('dialog[open]')) return;
  if (single[event.key]) {
    event.preventDefault();
    single[event.key].action(event);
  }
});

function help() {
  const { dialog, form } = dialogOf(t('Keys of the keyboard'));
  const list = element('dl', 'keys-list');
  for (const [key, { what }] of Object.entries(single)) {
    const dt = element('dt');
    dt.append(element('kbd', '', key));
    list.append(dt, element('dd', '', what()));
  }
  const off = element('label', 'row', t('Single keys do something'));
  const box = element('input');
  box.type = 'checkbox';
  box.checked = localStorage.getItem('gb_keys') !== 'off';
  box.addEventListener('change', () => localStorage.setItem('gb_keys', box.checked ? 'on' : 'off'));
  off.prepend(box);
  form.append(list, off, element('button', 'btn', t('Close')));
  show(dialog);
}
actions.help = help;

shortcut('?', () => t('Show this list'), help);
shortcut('/', () => t('Search'), () => document.querySelector('input[type="search"]')?.focus());

if (mark) ready.then(connect);

// ---- installable ----

// Only where browsers allow it (TLS, localhost) and the server lets it (mod_headers).
if (window.isSecureContext && navigator.serviceWorker) {
  navigator.serviceWorker.register(`${base}/gbalance/sw.js`, { scope: new URL(`${base}/`, location.href).pathname })
    .catch(() => {});
}
