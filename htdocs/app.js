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

function toasts() {
  let box = document.querySelector('.toasts');
  if (!box) {
    box = document.createElement('div');
    box.className = 'toasts';
    document.body.append(box);
  }
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
    toast(fault.message, 'bad');
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

// ---- keys ----

const single = {};
/** One key without modifiers, outside of fields: shortcut('/', t('Search'), () => ...). */
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

shortcut('/', () => t('Search'), () => document.querySelector('input[type="search"]')?.focus());
