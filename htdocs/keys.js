// SPDX-License-Identifier: Apache-2.0
// The pages about keys: parts of the list exchanged without a reload, selection across pages, actions on
// many keys, the drawer, live updates.  Without scripts the same links and forms lead to pages.

import { actions, api, base, busy, icon, number, on, ready, shortcut, t, toast } from './app.js';
import { draw } from './charts.js';
import { enliven } from './keys-add.js';
import { resume, start } from './keys-jobs.js';
import { element, fragment, word } from './parts.js';

const $ = (id) => document.getElementById(id);
const onList = $('list') !== null;

// ---- parts of pages ----

/** The address of the list as it is shown, without what only scripts know. */
function listed() {
  const url = new URL(location.href);
  url.searchParams.delete('open');
  url.hash = '';
  return url;
}

const newest = {};

/** Puts a part in its place; what is focused or being typed stays. */
async function exchange(name, url, quiet = false) {
  const place = $(name);
  const mine = newest[name] = (newest[name] ?? 0) + 1;
  const slow = setTimeout(() => { if (!quiet) place.setAttribute('aria-busy', 'true'); }, 300);
  try {
    const nodes = await fragment(name, url);
    if (mine !== newest[name] || (quiet && place.contains(document.activeElement))) return;
    const focused = document.activeElement;
    const typed = focused?.matches('input[type="search"], input:not([type])') && place.contains(focused)
      ? { value: focused.value, at: focused.selectionStart } : null;
    place.replaceChildren(nodes);
    const again = focused?.id && $(focused.id);
    if (again && again !== focused && place.contains(again)) {
      again.focus({ preventScroll: true });
      if (typed) {
        again.value = typed.value;
        again.setSelectionRange(typed.at, typed.at);
      }
    }
    renewed(name);
  } catch (fault) {
    if (!quiet) toast(fault.message, 'bad');
  } finally {
    clearTimeout(slow);
    place.removeAttribute('aria-busy');
  }
}

function renewed(name) {
  if (name === 'list') {
    showMore();
    showChosen();
  }
  draw($(name));
}

async function go(name, href) {
  const url = new URL(href, location.href);
  url.hash = '';
  history.pushState(null, '', url);
  await exchange(name, url);
  if ($(name).getBoundingClientRect().top < 0 || new URL(href, location.href).hash === '#list') {
    if ($(name).getBoundingClientRect().top < 0 || $(name).getBoundingClientRect().top > innerHeight - 120) $(name).scrollIntoView();
  }
}

document.addEventListener('click', (event) => {
  const link = event.target.closest?.('a[data-part]');
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  go(link.dataset.part, link.href);
});

// ---- filters ----

function filtered(form) {
  const url = new URL(form.action);
  const fields = new FormData(form);
  url.search = '';
  url.hash = '';
  for (const [name, value] of fields) if (value) url.searchParams.set(name, value);
  for (const name of ['by', 'range', 'measure']) {
    const value = new URL(location.href).searchParams.get(name);
    if (value) url.searchParams.set(name, value);
  }
  return url;
}

let typing;
document.addEventListener('input', (event) => {
  const form = event.target.form;
  if (form?.id !== 'filters') return;
  clearTimeout(typing);
  typing = setTimeout(() => {
    history.replaceState(null, '', filtered($('filters')));
    exchange('list', listed());
  }, event.target.tagName === 'SELECT' ? 0 : 300);
});

document.addEventListener('submit', (event) => {
  if (event.target.getAttribute('id') !== 'filters') return;
  event.preventDefault();
  clearTimeout(typing);
  go('list', filtered(event.target));
});

const hasMore = () => ['reason', 'project', 'used', 'added', 'form'].some((name) => new URL(location.href).searchParams.get(name));
let moreOpen;

function showMore() {
  const panel = $('more');
  if (!panel) return;
  moreOpen ??= hasMore();
  panel.hidden = !moreOpen;
  $('filters').querySelector('.filters').classList.toggle('open', moreOpen);
  const button = $('filters').querySelector('[data-do="more"]');
  button.hidden = false;
  button.setAttribute('aria-expanded', String(moreOpen));
}

actions.more = () => {
  moreOpen = !moreOpen;
  showMore();
};

// ---- selection ----

const chosen = new Map();           // id -> masked
let chosenAll = null;               // {query, n}: all that match
let lastBox = null;

const boxes = () => [...document.querySelectorAll('#rows input[name="id"]')];
const rowOf = (node) => node.closest('tr[data-id]');
const chosenCount = () => (chosenAll ? chosenAll.n : chosen.size);

function showChosen() {
  const bulk = $('bulk');
  const all = $('choose-page');
  const rows = boxes();
  for (const box of rows) {
    box.checked = chosenAll !== null || chosen.has(box.value);
    rowOf(box).setAttribute('aria-selected', String(box.checked));
  }
  if (all) {
    all.hidden = false;
    all.checked = rows.length > 0 && rows.every((box) => box.checked);
    all.indeterminate = !all.checked && rows.some((box) => box.checked);
  }
  if (!bulk) return;
  bulk.hidden = chosenCount() === 0;
  document.querySelector('table.keys')?.classList.toggle('under-bulk', !bulk.hidden);
  $('chosen').textContent = t('{n} selected', { n: number(chosenCount()) });
  const more = bulk.querySelector('[data-do="choose-all"]');
  more.hidden = chosenAll !== null || Number($('do').dataset.matched) <= chosen.size;
}

function choose(box, on) {
  if (chosenAll && !on) {           // all but this one: from now on they are counted one by one
    chosenAll = null;
    for (const other of boxes()) chosen.set(other.value, rowOf(other).dataset.masked);
  }
  if (on) chosen.set(box.value, rowOf(box).dataset.masked);
  else chosen.delete(box.value);
}

document.addEventListener('click', (event) => {
  const box = event.target;
  if (box.id === 'choose-page') {
    for (const one of boxes()) choose(one, box.checked);
    showChosen();
  } else if (box.matches?.('#rows input[name="id"]')) {
    const all = boxes();
    const from = event.shiftKey && lastBox ? all.findIndex((one) => one.value === lastBox) : -1;
    const to = all.indexOf(box);
    for (const one of from < 0 ? [box] : all.slice(Math.min(from, to), Math.max(from, to) + 1)) choose(one, box.checked);
    lastBox = box.value;
    showChosen();
  }
});

actions['choose-all'] = () => {
  chosenAll = { query: $('do').dataset.query, n: Number($('do').dataset.matched) };
  showChosen();
};

actions['choose-none'] = () => {
  chosen.clear();
  chosenAll = null;
  showChosen();
  $('choose-page')?.focus();
};

async function chosenIds() {
  if (!chosenAll) return [...chosen.keys()];
  return (await api('GET', `api/keys/ids?${chosenAll.query}`)).ids;
}

const names = () => Object.fromEntries([...document.querySelectorAll('#rows tr[data-id]')].map((row) => [row.dataset.id, row.dataset.masked]).concat([...chosen]));

// ---- asking back ----

/** A small dialog; answers the form's fields, or null. */
function ask(title, say, body, buttons) {
  const dialog = $('ask');
  const form = element('form', { method: 'dialog', class: 'addform' }, element('header', {}, element('div', {}, element('h2', { id: 'ask-h' }, title), element('p', {}, say))),
    element('div', { class: 'body stack' }, ...body), element('footer', {}, element('div', { class: 'end' }, ...buttons)));
  const opener = document.activeElement;
  form.noValidate = true;
  dialog.replaceChildren(form);
  dialog.showModal();
  return new Promise((resolve) => {
    let given = null;
    form.addEventListener('submit', (event) => {
      if (event.submitter?.value === 'yes') given = new FormData(form);
    });
    dialog.addEventListener('close', () => {
      dialog.replaceChildren();
      if (opener?.isConnected) opener.focus();
      resolve(given);
    }, { once: true });
  });
}

const keep = (words) => element('button', { type: 'submit', class: 'btn', value: 'no', formnovalidate: true }, words);
const yes = (kind, shape, words, disabled = false) => element('button', { type: 'submit', class: `btn ${kind}`, value: 'yes', disabled }, icon(shape), words);

async function askDelete(n, name) {
  const words = n === 1 && name ? t('Delete {name}', { name }) : t('Delete {n} key | Delete {n} keys', { n: number(n) });
  const sure = yes('danger', 'trash', words, n > 1);
  const body = [];
  if (n > 1) {
    const input = element('input', { class: 'in gap w-sm', id: 'typed', inputmode: 'numeric', autocomplete: 'off' });
    input.addEventListener('input', () => { sure.disabled = input.value.replace(/\D/g, '') !== String(n); });
    body.push(element('div', {}, element('label', { class: 'sm b', for: 'typed' }, t('Type {n} to go on', { n })), input));
  }
  const title = n === 1 && name ? t('Delete {name}?', { name }) : t('Delete {n} key? | Delete {n} keys?', { n: number(n) });
  return ask(title, t('They leave the pool at once. Their log rows stay.'), body, [keep(n === 1 ? t('Keep it') : t('Keep them')), sure]);
}

function radio(name, value, words, checked) {
  return element('label', { class: 'row sm' }, element('input', { type: 'radio', name, value, checked }), words);
}

async function askTags(n) {
  const input = element('input', { class: 'in gap', id: 'tags', name: 'tags', autocomplete: 'off' });
  const given = await ask(t('Tag {n} key | Tag {n} keys', { n: number(n) }), t('Tags choose keys for a model (MODEL_KEY_TAGS) and filter this list.'),
    [element('div', {}, element('label', { class: 'sm b', for: 'tags' }, t('Tags, separated by commas')), input),
      element('div', { class: 'row' }, radio('how', 'add_tags', t('Add'), true), radio('how', 'remove_tags', t('Take away')), radio('how', 'tags', t('Replace')))],
    [keep(t('Cancel')), yes('primary', 'tag', t('Tag {n} key | Tag {n} keys', { n: number(n) }))]);
  if (!given) return null;
  const tags = given.get('tags').split(',').map((tag) => tag.trim()).filter(Boolean);
  return tags.length || given.get('how') === 'tags' ? { [given.get('how')]: tags } : null;
}

// ---- actions ----

/** The row that takes the focus when these have gone. */
function besideRows(gone) {
  const rows = [...document.querySelectorAll('#rows tr[data-id]')].map((row) => row.dataset.id);
  const last = Math.max(...gone.map((id) => rows.indexOf(id)));
  return rows.slice(last + 1).concat(rows.slice(0, Math.max(0, last)).reverse()).find((id) => !gone.includes(id));
}

/** Keys that are being deleted: what the server tells of them meanwhile asks for no details. */
const leaving = new Set();

async function act(verb, ids, button) {
  let body = {};
  if (verb === 'delete' && !await askDelete(ids.length, names()[ids[0]])) return;
  if (verb === 'edit') {
    body = await askTags(ids.length);
    if (!body) return;
  }
  const next = verb === 'delete' ? besideRows(ids) : null;
  if (verb === 'delete') for (const id of ids) leaving.add(id);
  await start(verb, ids, names(), body);
  if (verb === 'delete') {
    leaving.clear();
    for (const id of ids) chosen.delete(id);
    chosenAll = null;
    if (!onList) { location.assign(`${base}/keys_status`); return; }
    await refresh(true);
  }
  if (next) document.querySelector(`#rows tr[data-id="${CSS.escape(next)}"] a.key`)?.focus();
  else button?.focus?.();
}

document.addEventListener('submit', async (event) => {
  const form = event.target;
  const verb = event.submitter?.value;
  // its boxes are called "id", and stand in the way of form.id
  if (form.getAttribute('id') !== 'do' && !form.dataset.act) return;
  event.preventDefault();
  const ids = await busy(event.submitter, async () => {
    if (form.dataset.act === 'one') return [form.elements.id.value];
    if (form.dataset.act === 'all') return (await api('GET', 'api/keys/ids')).ids;
    return chosenIds();
  });
  if (ids?.length) act(verb, ids, event.submitter);
  else if (ids) toast(t('No key was chosen.'), 'bad');
});

document.addEventListener('gb:job', (event) => {
  if (event.detail.verb === 'delete' && $('drawer')?.open) $('drawer').close();
  if (event.detail.verb !== 'delete') refresh();
  refreshDrawer();
});
document.addEventListener('gb:added', () => refresh(true));

// ---- copying and revealing ----

async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {                         // no secure context: a plain page in a LAN
    const area = element('textarea', { class: 'vh' });
    area.value = text;
    (document.querySelector('dialog[open]') ?? document.body).append(area);
    area.select();
    document.execCommand('copy');
    area.remove();
  }
}

const revealed = async (ids) => (await api('POST', 'api/keys/reveal', { ids })).keys.map((one) => one.key);

actions.copy = async (button) => {
  const ids = await busy(button, chosenIds);
  if (!ids?.length) return;
  const given = await ask(t('Copy {n} key | Copy {n} keys', { n: number(ids.length) }), t('Whole keys are secrets. Who takes them is written to httpd\'s error log.'),
    [element('div', { class: 'stack' }, radio('what', 'masked', t('Masked, with their ids'), true), radio('what', 'whole', t('Whole keys, one a line')))],
    [keep(t('Cancel')), yes('primary', 'copy', t('Copy'))]);
  if (!given) return;
  await busy(button, async () => {
    const shown = names();
    const text = given.get('what') === 'whole' ? await revealed(ids) : ids.map((id) => `${id} ${shown[id] ?? ''}`.trim());
    await copyText(text.join('\n'));
    toast(t('{n} key copied | {n} keys copied', { n: number(ids.length) }));
  });
};

const SHOWN_SECONDS = 60;

async function reveal(id, name) {
  const given = await ask(t('Reveal {name}?', { name }), t('Whole keys are secrets. Who takes them is written to httpd\'s error log.'), [],
    [keep(t('Cancel')), yes('primary', 'eye', t('Reveal'))]);
  if (!given) return;
  const [key] = await busy(null, () => revealed([id])) ?? [];
  if (!key) return;
  const until = new Date(Date.now() + SHOWN_SECONDS * 1000).toISOString();
  const copy = element('button', { type: 'button', class: 'btn primary' }, icon('copy'), t('Copy'));
  copy.addEventListener('click', async () => { await copyText(key); toast(t('{n} key copied | {n} keys copied', { n: 1 })); });
  const timer = setTimeout(() => $('ask').close(), SHOWN_SECONDS * 1000);
  await ask(t('Key {name}', { name }), t('This look is in httpd\'s error log.'),
    [element('div', { class: 'code' }, element('pre', { tabindex: '0' }, key)),
      element('p', { class: 'faint xs' }, `${t('Hidden again in')} `, element('time', { datetime: until, 'data-left': String(SHOWN_SECONDS) }, '1:00'))],
    [keep(t('Hide')), copy]);
  clearTimeout(timer);
}

actions['reveal-key'] = (button) => reveal(button.dataset.id, button.dataset.masked);

actions.edit = async (button) => {
  const facts = button.closest('.body').querySelector('.facts').dataset;
  const field = (name, words, max) => element('div', {}, element('label', { class: 'sm b', for: `e-${name}` }, words),
    element('input', { class: 'in gap', id: `e-${name}`, name, maxlength: max, value: facts[name], autocomplete: 'off' }));
  const given = await ask(t('Edit'), t('Keys of one project share their limits.'),
    [field('project', t('Project'), '39'), field('tags', t('Tags, separated by commas'), '127'), field('note', t('Note'), '95'), field('weight', t('Weight'), '2')],
    [keep(t('Cancel')), yes('primary', 'check', t('Save'))]);
  if (!given) return;
  const tags = given.get('tags').split(',').map((tag) => tag.trim()).filter(Boolean);
  const saved = await busy(button, () => api('PATCH', `api/keys/${button.dataset.id}`, { project: given.get('project'), tags, note: given.get('note'), weight: Number(given.get('weight')) }));
  if (saved) toast(t('Saved'));
  refresh();
  refreshDrawer();
};

// ---- the menu of a row ----

const items = [
  ['check-all', 'info', word('Details')], ['verify', 'ok', word('Verify')], ['reset', 'undo', word('Reset failures')], ['enable', 'check', word('Turn on')],
  ['disable', 'off', word('Turn off')], ['edit', 'tag', word('Tag')], ['reveal', 'eye', word('Reveal and copy')], ['delete', 'trash', word('Delete')],
];

function closeMenu() {
  document.querySelector('.popmenu')?.remove();
}

actions.menu = (button, event) => {
  const had = document.querySelector('.popmenu')?.owner === button;
  closeMenu();
  if (had) return;
  event.stopPropagation();
  const { id, masked } = rowOf(button).dataset;
  const list = element('div', { class: 'menu-list popmenu', role: 'menu' });
  list.owner = button;
  for (const [verb, shape, words] of items) {
    const item = element('button', { type: 'button', role: 'menuitem', class: verb === 'delete' ? 'danger' : '' }, icon(shape), element('span', {}, t(words)));
    item.addEventListener('click', () => {
      closeMenu();
      button.focus();
      if (verb === 'check-all') openDrawer(id);
      else if (verb === 'reveal') reveal(id, masked);
      else act(verb, [id], button);
    });
    list.append(item);
  }
  list.addEventListener('keydown', (key) => {
    const all = [...list.children];
    const at = all.indexOf(document.activeElement);
    if (key.key === 'ArrowDown') all[(at + 1) % all.length].focus();
    else if (key.key === 'ArrowUp') all[(at + all.length - 1) % all.length].focus();
    else if (key.key === 'Escape') { closeMenu(); button.focus(); }
    else return;
    key.preventDefault();
  });
  document.body.append(list);
  const { bottom, right, top } = button.getBoundingClientRect();
  list.style.left = `${Math.max(8, right - list.offsetWidth)}px`;
  list.style.top = `${bottom + list.offsetHeight > innerHeight ? Math.max(8, top - list.offsetHeight) : bottom + 2}px`;
  list.firstChild.focus();
};

document.addEventListener('click', (event) => {
  if (!event.target.closest('.popmenu') && !event.target.closest('[data-do="menu"]')) closeMenu();
});
addEventListener('scroll', closeMenu, { passive: true });

// ---- the drawer ----

let openId = null;
let opener = null;

async function fillDrawer() {
  const nodes = await fragment('detail', `${base}/keys/${openId}${listed().search}`);
  const heading = nodes.querySelector('h1');
  const lower = element('h2', { id: 'kd-h', class: 'mono' });
  lower.append(...heading.childNodes);
  heading.replaceWith(lower);
  for (const third of nodes.querySelectorAll('h2.h3')) {
    const h3 = element('h3', { class: third.className });
    h3.append(...third.childNodes);
    third.replaceWith(h3);
  }
  nodes.querySelector('header').classList.remove('keyhead');
  $('drawer').replaceChildren(nodes, ...$('drawer').querySelectorAll('.toasts'));
  draw($('drawer'));
}

async function openDrawer(id, push = true) {
  if (!onList) return;
  if (!$('drawer').open) opener = document.activeElement;
  openId = id;
  await busy(null, async () => {
    await fillDrawer();
    if (!$('drawer').open) $('drawer').showModal();
    $('drawer').querySelector('[data-do="close"]').focus();
    if (push) {
      const url = listed();
      url.searchParams.set('open', id);
      history[location.search === url.search ? 'replaceState' : 'pushState'](null, '', url);
    }
  });
}

async function refreshDrawer() {
  if (onList ? leaving.has(openId) : leaving.size) return;
  if (!onList) {
    if ($('detail')) {
      const nodes = await fragment('detail', location.href).catch(() => null);
      if (nodes) { $('detail').replaceChildren(nodes); draw($('detail')); }
    }
    return;
  }
  if (!$('drawer').open || $('drawer').contains(document.querySelector('details[open]'))) return;
  const at = $('drawer').querySelector('.body')?.scrollTop;
  const focused = document.activeElement?.dataset.do ?? document.activeElement?.value;
  await fillDrawer().catch(() => $('drawer').close());
  const body = $('drawer').querySelector('.body');
  if (body) body.scrollTop = at;
  if (focused && $('drawer').open) [...$('drawer').querySelectorAll('button')].find((one) => (one.dataset.do ?? one.value) === focused)?.focus();
}

$('drawer')?.addEventListener('close', () => {
  openId = null;
  $('drawer').replaceChildren();
  if (new URL(location.href).searchParams.has('open')) history.replaceState(null, '', listed());
  if (opener?.isConnected) opener.focus();
});
$('drawer')?.addEventListener('click', (event) => { if (event.target === $('drawer')) $('drawer').close(); });

actions.open = (link, event) => {
  if (!onList || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  openDrawer(link.dataset.id ?? rowOf(link)?.dataset.id ?? new URL(link.href).pathname.split('/').pop());
};

addEventListener('popstate', () => {
  const id = new URL(location.href).searchParams.get('open');
  if (id) openDrawer(id, false);
  else if ($('drawer')?.open) $('drawer').close();
  if (onList) for (const name of ['list', 'chart', 'heat']) exchange(name, listed());
});

// ---- live ----

const ids = (root) => [...root.querySelectorAll('tr[data-id]')].map((row) => row.dataset.id);

/** New cells into a row that stays where it is. */
function renewRow(row, fresh) {
  let changed = false;
  [...fresh.cells].forEach((cell, i) => {
    const old = row.cells[i];
    if (i === 0 || !old || old.contains(document.activeElement) || (old.innerHTML === cell.innerHTML && old.className === cell.className)) return;
    const ticking = cell.querySelector('time[data-left]') && old.textContent.replace(/[\d:]/g, '') === cell.textContent.replace(/[\d:]/g, '');
    old.className = cell.className;
    old.replaceChildren(...cell.childNodes);
    changed = changed || !ticking;
  });
  if (changed) {
    row.dataset.fresh = '';
    setTimeout(() => { delete row.dataset.fresh; }, 1000);
  }
}

function renewCounts(nodes) {
  for (const id of ['matched', 'do']) {
    const from = nodes.querySelector(`#${id}`);
    if (!from || !$(id)) continue;
    if (id === 'do') Object.assign($(id).dataset, from.dataset);
    else if ($(id).textContent !== from.textContent) $(id).textContent = from.textContent;
  }
}

function offer(nodes, n) {
  const button = element('button', { type: 'button', class: 'btn sm' }, icon('refresh'), t('{n} change, show | {n} changes, show', { n: number(n) }));
  button.addEventListener('click', () => exchange('list', listed()));
  $('moved').replaceChildren(button);
}

/** Rows are never moved under the pointer: a new order waits until somebody asks for it. */
async function refreshList(force) {
  const url = listed().href;
  const nodes = await fragment('list', url);
  if (url !== listed().href) return;        // another view was asked for meanwhile
  const body = $('rows');
  const fresh = nodes.querySelector('#rows');
  if (!body || !fresh || force) {
    $('list').replaceChildren(nodes);
    renewed('list');
    return;
  }
  const before = ids(body);
  const after = ids(fresh);
  const busyHere = body.matches(':hover') || body.contains(document.activeElement) || chosenCount() > 0 || document.querySelector('.popmenu');
  const moved = after.filter((id, i) => before[i] !== id).length + Math.max(0, before.length - after.length);
  if (moved && !busyHere) {
    body.replaceChildren(...fresh.childNodes);
    $('moved').replaceChildren();
  } else {
    for (const row of body.querySelectorAll('tr[data-id]')) {
      const now = fresh.querySelector(`tr[data-id="${CSS.escape(row.dataset.id)}"]`);
      if (now) renewRow(row, now);
    }
    if (moved) offer(nodes, moved);
  }
  renewCounts(nodes);
  showChosen();
}

const due = new Map();              // part -> when it may be fetched again
const PAUSE = { list: 1000, tiles: 2000, attention: 2000, heat: 5000, chart: 30000 };
const waiting = new Map();

/** At most so often; what comes in between is fetched once, later. */
function soon(name, action) {
  if (document.hidden || waiting.has(name)) return;
  const delay = Math.max(0, (due.get(name) ?? 0) - Date.now());
  waiting.set(name, setTimeout(async () => {
    waiting.delete(name);
    due.set(name, Date.now() + PAUSE[name]);
    await action().catch(() => {});
  }, delay));
}

/** Looks anew; forced, the list at once and in its new order. */
export async function refresh(force = false) {
  if (!onList) return;
  for (const name of ['tiles', 'attention']) soon(name, () => exchange(name, listed(), true));
  soon('heat', () => exchange('heat', listed(), true));
  if (!force) {
    soon('list', () => refreshList(false));
    return;
  }
  due.set('list', Date.now() + PAUSE.list);
  await refreshList(true).catch((fault) => toast(fault.message, 'bad'));
}

// With "ready" the server begins to compare: what changed since the page was made, is not told.
on('ready', () => {
  if (onList) soon('list', () => refreshList(false));
  refreshDrawer();
});
for (const name of ['keys', 'pool', 'settings']) {
  on(name, (data) => {
    refresh();
    if (!onList || (openId && (name !== 'keys' || !data.ids.length || data.ids.includes(openId)))) refreshDrawer();
  });
}
on('logs', () => {
  if (!onList) return;
  for (const name of ['tiles', 'chart']) soon(name, () => exchange(name, listed(), true));
});
document.addEventListener('visibilitychange', () => { if (!document.hidden) refresh(); });

// ---- keys ----

function moveRow(step) {
  const rows = [...document.querySelectorAll('#rows tr[data-id]')];
  const at = rows.findIndex((row) => row.contains(document.activeElement));
  rows[Math.min(rows.length - 1, Math.max(0, at < 0 ? 0 : at + step))]?.querySelector('a.key').focus();
}

if (onList) {
  shortcut('j', () => t('Next row'), () => moveRow(1));
  shortcut('k', () => t('Previous row'), () => moveRow(-1));
  shortcut('x', () => t('Select the row'), () => rowOf(document.activeElement)?.querySelector('input[name="id"]').click());
}

// ---- begin ----

await ready;
draw();
enliven(document);
if (onList) {
  showMore();
  showChosen();
  const id = new URL(location.href).searchParams.get('open');
  if (id) openDrawer(id, false);
}
resume();
