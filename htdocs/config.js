// SPDX-License-Identifier: Apache-2.0
// /config: marks what differs from what is saved, checks it while it is typed, saves by
// /api/config, and shows differences before anything is changed.
import { actions, api, base, busy, icon, Failure, on, ready, swap, t, toast } from './app.js';
import { copy, download } from './code.js';

await ready;

const form = document.getElementById('settings');
const savebar = document.getElementById('savebar');

// ---- reading and writing the controls ----

const fields = (set, suffix = '') => [...set.querySelectorAll(`[name="${CSS.escape(set.dataset.set + suffix)}"]`)];
const typed = (text) => (text.trim() !== '' && Number.isFinite(Number(text)) ? Number(text) : text);

const read = {
  bool: (set) => set.querySelector('.switch').checked,
  enum: (set) => set.querySelector('select').value,
  number: (set) => typed(set.querySelector('input').value),
  text: (set) => set.querySelector('input').value,
  secret: (set) => set.querySelector('input').value,
  json: (set) => set.querySelector('textarea').value,
  list: (set) => fields(set).map((field) => field.value.trim()).filter(Boolean),
  secrets: (set) => read.list(set),
  map(set) {
    const values = fields(set, '.v');
    return Object.fromEntries(fields(set, '.k').map((key, i) => [key.value.trim(), values[i].inputMode ? typed(values[i].value) : values[i].value])
      .filter(([name]) => name));
  },
  safety: (set) => [...set.querySelectorAll('select')].filter((select) => select.value)
    .map((select) => ({ category: select.name.slice(set.dataset.set.length + 1), threshold: select.value })),
  keys: () => null,
};

const valueOf = (set) => read[set.dataset.control](set);

/** What the core wants to hear: documents as documents. */
function sent(set) {
  if (set.dataset.unset) return null;
  const value = valueOf(set);
  if (set.dataset.control !== 'json' || !value.trim()) return value;
  try {
    return JSON.parse(value);
  } catch {
    return value;
  }
}

function shown(value) {
  if (value === null || value === undefined || value === '') return t('empty');
  if (typeof value === 'boolean') return value ? t('on') : t('off');
  if (Array.isArray(value) && value.every((item) => typeof item === 'string')) return value.join('\n') || t('empty');
  return typeof value === 'object' ? JSON.stringify(value, null, 2) : String(value);
}

const short = (text) => (text.length > 60 ? `${text.slice(0, 60)}…` : text).replaceAll('\n', ', ');

// ---- what was saved ----

const saved = new WeakMap(); // .set -> {value, controls, the server's HTML}

function remember(set) {
  const box = set.querySelector('.ctlbox');
  saved.set(set, { value: valueOf(set), box: box.cloneNode(true), html: set.outerHTML });
}

function write(set) {
  const fresh = saved.get(set).box.cloneNode(true);
  set.querySelector('.ctlbox').replaceWith(fresh);
  delete set.dataset.unset;
  arm(set);
  look(set);
}

/** Controls that only work with scripts appear. */
function arm(root) {
  for (const element of root.querySelectorAll('[data-do][hidden]')) {
    if (element.dataset.do !== 'compare') element.hidden = false;
  }
}

const sets = () => [...document.querySelectorAll('.set[data-writable="true"]')];

function isDirty(set) {
  return Boolean(set.dataset.unset)
    || JSON.stringify(valueOf(set)) !== JSON.stringify(saved.get(set)?.value);
}

// ---- checking ----

function faultOf(set) {
  if (set.dataset.unset) return '';
  const value = valueOf(set);
  if (set.dataset.control === 'number') {
    const { min, max } = set.dataset;
    if (typeof value !== 'number') return min === undefined ? t('Must be a number.') : t('Must be a number from {min} to {max}.', { min, max });
    if (min !== undefined && (value < Number(min) || value > Number(max))) return t('Must be a number from {min} to {max}.', { min, max });
    if (set.querySelector('input').inputMode === 'numeric' && !Number.isInteger(value)) return t('Must be a whole number.');
  }
  if (set.dataset.control === 'json' && value.trim()) {
    try {
      JSON.parse(value);
    } catch (fault) {
      return t('This is not valid JSON: {why}', { why: fault.message });
    }
  }
  return '';
}

function showFault(set, text) {
  const line = set.querySelector('[data-err]');
  const field = set.querySelector('.ctlbox input:not([type="hidden"]), .ctlbox textarea, .ctlbox select');
  line.hidden = !text;
  line.querySelector('span').textContent = text;
  set.classList.toggle('invalid', Boolean(text));
  if (text) field?.setAttribute('aria-invalid', 'true');
  else field?.removeAttribute('aria-invalid');
}

/** Marks of one setting, after it was touched. */
function look(set) {
  const dirty = isDirty(set);
  const was = set.querySelector('[data-was]');
  set.classList.toggle('dirty', dirty);
  showFault(set, dirty ? faultOf(set) : '');
  if (was) {
    was.hidden = !dirty;
    const before = saved.get(set).value;
    const secret = set.dataset.control === 'secret' || set.dataset.control === 'secrets';
    const line = was.querySelector('span');
    if (set.dataset.unset) line.textContent = t('Will be what the configuration says.');
    else if (secret) line.textContent = t('Not saved yet.');
    else {
      const word = document.createElement('b');
      word.textContent = short(shown(before));
      line.replaceChildren(t('Not saved yet. Was'), ' ', word);
    }
  }
  count();
}

// ---- the bar at the bottom, the marks at the side ----

function count() {
  const dirty = sets().filter((set) => set.classList.contains('dirty'));
  const bad = dirty.find((set) => set.classList.contains('invalid'));
  savebar.querySelector('[data-state]').hidden = !dirty.length;
  savebar.querySelector('[data-plain]').hidden = Boolean(dirty.length);
  savebar.querySelector('[data-count]').textContent = t('{n} change not saved | {n} changes not saved', { n: dirty.length });
  savebar.querySelector('[data-warn]').hidden = !bad;
  const mend = savebar.querySelector('[data-mend]');
  mend.hidden = !bad;
  if (bad) {
    const link = document.createElement('a');
    link.href = `#s-${bad.dataset.set}`;
    link.textContent = bad.dataset.set;
    mend.replaceChildren(t('mend first:'), ' ', link);
  }
  savebar.querySelector('[data-do="compare"]').hidden = !dirty.length;
  savebar.querySelector('[data-do="discard"]').disabled = !dirty.length;
  savebar.querySelector('[data-do="save"]').disabled = !dirty.length || Boolean(bad);
  savebar.classList.toggle('idle', !dirty.length);
  for (const link of document.querySelectorAll('.cfg-nav a')) {
    const n = document.querySelectorAll(`#${link.dataset.group} .set.dirty`).length;
    link.querySelector('[data-mark]').hidden = !n;
    link.querySelector('[data-mark] [data-n]').textContent = String(n);
    link.querySelector('.faint').hidden = Boolean(n);
  }
}

function start() {
  for (const set of sets()) {
    if (!saved.has(set)) remember(set);
  }
  arm(form);
  for (const set of sets()) look(set);
  find();
}

// ---- lists and maps ----

/** The adding row always stands last and is empty: what is typed there becomes a row. */
function grow(input) {
  const last = input.closest('li.addrow');
  const filled = [...last.querySelectorAll('input')];
  if (!filled[0].value.trim()) return;
  const set = last.closest('.set');
  const row = document.createElement('li');
  const isMap = set.dataset.control === 'map';
  for (const field of filled) {
    const copyOf = field.cloneNode();
    copyOf.value = field.value;
    copyOf.removeAttribute('data-add');
    copyOf.removeAttribute('placeholder');
    row.append(copyOf);
    field.value = '';
  }
  const drop = dropButton(row.querySelector('input').value);
  if (isMap) row.append(drop);
  else {
    const res = document.createElement('span');
    res.className = 'res';
    if (last.closest('[data-proxies]')) {
      const verdict = document.createElement('span');
      verdict.dataset.verdict = '';
      res.append(verdict, checkButton());
    }
    res.append(drop);
    row.append(res);
  }
  last.before(row);
  look(set);
}

function smallButton(deed, label, picture) {
  const button = document.createElement('button');
  button.type = 'button';
  button.className = 'btn icon ghost sm';
  button.dataset.do = deed;
  button.title = label;
  button.setAttribute('aria-label', label);
  button.append(icon(picture));
  return button;
}

const dropButton = (what) => smallButton('drop', t('Remove {what}', { what }), 'x');
const checkButton = () => smallButton('check', t('Check this proxy'), 'refresh');

form?.addEventListener('input', (event) => {
  const set = event.target.closest('.set');
  if (!set) return;
  delete set.dataset.unset;
  look(set);
});
form?.addEventListener('change', (event) => {
  if ('add' in event.target.dataset && event.target.closest('.list:not(.map)')) grow(event.target);
});
form?.addEventListener('focusout', (event) => {
  const last = event.target.closest('.list.map li.addrow');
  if (last && !last.contains(event.relatedTarget)) grow(event.target);
});
form?.addEventListener('keydown', (event) => {
  if (event.key !== 'Enter' || event.target.tagName !== 'INPUT') return;
  event.preventDefault();
  if (event.target.closest('li.addrow')) {
    const last = event.target.closest('li.addrow');
    grow(event.target);
    last.querySelector('input').focus();
  }
});

// ---- actions ----

const setOf = (element) => element.closest('.set');

actions.drop = (button) => {
  const set = setOf(button);
  const next = button.closest('li').nextElementSibling;
  button.closest('li').remove();
  look(set);
  next?.querySelector('input, button')?.focus();
};
actions.undo = (button) => write(setOf(button));
actions.unset = (button) => {
  setOf(button).dataset.unset = '1';
  look(setOf(button));
};
actions.clear = (button) => actions.unset(button);

const LETTERS = 'abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789';

/** 40 letters without those that look alike: 230 bits. */
function made(prefix) {
  const bytes = crypto.getRandomValues(new Uint8Array(120));
  const letters = [...bytes].filter((byte) => byte < 4 * LETTERS.length).slice(0, 40);
  return prefix + letters.map((byte) => LETTERS[byte % LETTERS.length]).join('');
}

actions.generate = (button) => {
  const set = setOf(button);
  const secret = made(set.dataset.control === 'secrets' ? 'sk-' : '');
  const input = set.dataset.control === 'secrets' ? set.querySelector('li.addrow input') : set.querySelector('input');
  input.type = 'text';
  input.value = secret;
  copy(secret);
  if (set.dataset.control === 'secrets') {
    grow(input);
    input.value = '';
  }
  look(set);
  toast(t('Made, and copied: it is shown here until it is saved, and never again.'));
};

// ---- proxies ----

function verdict(row, tone, text) {
  const pill = document.createElement('span');
  pill.className = `pill ${tone}`;
  pill.append(icon(tone === 'ok' ? 'ok' : 'bad'), text);
  row.querySelector('[data-verdict]').replaceChildren(pill);
}

async function checkRow(row) {
  const answer = await api('POST', 'api/config/proxy/check', { proxy: row.querySelector('input').value, use_cache: false });
  if (answer.is_available) verdict(row, 'ok', answer.response_time == null ? t('works') : `${Math.round(answer.response_time * 1000)} ms`);
  else verdict(row, 'bad', short(answer.error_message ?? t('does not answer')));
}

actions.check = (button) => busy(button, () => checkRow(button.closest('li')));
actions['check-all'] = (button) => busy(button, async () => {
  for (const row of setOf(button).querySelectorAll('li:not(.addrow)')) await checkRow(row);
});

// ---- models, from Google's list ----

let models;
form?.addEventListener('focusin', (event) => {
  if (event.target.getAttribute('list') !== 'models' || models) return;
  models = api('GET', 'api/config/ui/models').then((answer) => {
    const list = document.getElementById('models');
    list.replaceChildren(...(answer.data ?? []).map((model) => new Option(model.id)));
  }, () => { models = undefined; }); // without a list names are typed
});

// ---- saving ----

const changes = () => Object.fromEntries(sets().filter((set) => set.classList.contains('dirty'))
  .map((set) => [set.dataset.set, sent(set)]));

/** Faults that the server told, beside their fields. */
function showFaults(faults) {
  for (const { name, message } of faults) {
    const set = document.querySelector(`.set[data-set="${CSS.escape(name)}"]`);
    if (set) showFault(set, message);
  }
  count();
  document.querySelector('.set.invalid')?.scrollIntoView({ block: 'center' });
}

async function put(values) {
  const answer = await fetch(`${base}/api/config`, {
    method: 'PUT',
    headers: { 'Content-Type': 'application/json', 'X-CSRF-Token': document.querySelector('meta[name="gb-csrf"]').content },
    body: JSON.stringify(values),
  });
  if (answer.ok) return;
  const said = await answer.json().catch(() => ({}));
  showFaults(said.errors ?? []);
  throw new Failure(answer.status, said.error?.message ?? answer.statusText);
}

/** Settings as the server now has them: what is the same stays, so that nobody loses a place. */
async function reload() {
  const holder = document.createElement('div');
  await Promise.all([swap(holder, 'settings', 'config'), swap(document.querySelector('.hist-col'), 'history', 'config')]);
  arm(document.querySelector('.hist-col'));
  for (const fresh of holder.querySelectorAll('.set')) {
    const set = document.querySelector(`.set[data-set="${CSS.escape(fresh.dataset.set)}"]`);
    if (set && (set.dataset.writable !== 'true' || saved.get(set).html !== fresh.outerHTML)) replace(set, fresh);
  }
  start();
}

/** Edits that are not saved yet stay, on top of what somebody else has saved. */
function replace(set, fresh) {
  const mine = set.classList.contains('dirty') && !set.dataset.unset ? valueOf(set) : undefined;
  set.replaceWith(fresh);
  if (mine === undefined || fresh.dataset.writable !== 'true') return;
  remember(fresh);
  put1[fresh.dataset.control](fresh, mine);
}

async function save(button) {
  const values = changes();
  const n = Object.keys(values).length;
  await busy(button, async () => {
    await put(values);
    for (const name of Object.keys(values)) write(document.querySelector(`.set[data-set="${name}"]`));
    await reload();
    toast(t('{n} setting saved. In force with the next request. | {n} settings saved. In force with the next request.', { n }));
  });
  count();
}

form?.addEventListener('submit', (event) => {
  event.preventDefault();
  save(savebar.querySelector('[data-do="save"]'));
});
actions.discard = (button, event) => {
  event.preventDefault();
  for (const set of sets().filter((one) => one.classList.contains('dirty'))) write(set);
};

window.addEventListener('beforeunload', (event) => {
  if (document.querySelector('.set.dirty')) event.preventDefault();
});

// ---- dialogs ----

function dialog(title, ...content) {
  const element = document.createElement('dialog');
  element.className = 'dialog';
  const header = document.createElement('header');
  const h2 = document.createElement('h2');
  h2.id = 'dialog-h';
  h2.textContent = title;
  const end = document.createElement('div');
  end.className = 'end';
  end.append(smallButton('close', t('Close'), 'x'));
  header.append(h2, end);
  const body = document.createElement('div');
  body.className = 'body stack';
  body.append(...content);
  element.append(header, body);
  element.setAttribute('aria-labelledby', 'dialog-h');
  element.addEventListener('close', () => element.remove());
  document.body.append(element);
  element.showModal();
  return element;
}

function bottom(element, ...buttons) {
  const footer = document.createElement('footer');
  const end = document.createElement('div');
  end.className = 'end';
  end.append(...buttons);
  footer.append(end);
  element.append(footer);
}

function button(text, picture, deed, cls = '') {
  const element = document.createElement('button');
  element.type = 'button';
  element.className = `btn ${cls}`;
  element.append(icon(picture), text);
  element.addEventListener('click', () => deed(element));
  return element;
}

const paragraph = (text) => Object.assign(document.createElement('p'), { textContent: text });

/** Two values, line by line. */
function difference(before, after) {
  const box = document.createElement('div');
  box.className = 'code diff';
  const pre = document.createElement('pre');
  const [old, fresh] = [before.split('\n'), after.split('\n')];
  const line = (cls, mark, text) => {
    const element = document.createElement('span');
    element.className = cls;
    element.textContent = `${mark} ${text}`;
    pre.append(element);
    if (!cls) pre.append('\n');
  };
  for (const text of old) if (!fresh.includes(text)) line('del', '-', text);
  for (const text of fresh) line(old.includes(text) ? '' : 'add', old.includes(text) ? ' ' : '+', text);
  box.append(pre);
  return box;
}

actions.compare = () => {
  const parts = sets().filter((set) => set.classList.contains('dirty')).flatMap((set) => {
    const h3 = document.createElement('h3');
    h3.textContent = `${set.querySelector('label').textContent} · ${set.dataset.set}`;
    const isSecret = set.dataset.control === 'secret';
    const after = set.dataset.unset ? t('what the configuration says') : isSecret ? '•••••' : shown(sent(set));
    return [h3, difference(isSecret ? t('as it was') : shown(saved.get(set).value), after)];
  });
  const box = dialog(t('What will change'), ...parts);
  bottom(box, button(t('Save'), 'check', async (element) => {
    box.close();
    await save(element);
  }, 'primary'));
};

// ---- import and export ----

/** Values from a file as unsaved changes. */
function fill(values) {
  let n = 0;
  for (const [name, value] of Object.entries(values)) {
    const set = document.querySelector(`.set[data-set="${CSS.escape(name)}"][data-writable="true"]`);
    if (set && set.dataset.control !== 'keys') {
      put1[set.dataset.control](set, value);
      look(set);
      n += 1;
    }
  }
  return n;
}

function refill(set, rows) {
  for (const row of set.querySelectorAll('li:not(.addrow)')) row.remove();
  const inputs = [...set.querySelectorAll('li.addrow input')];
  for (const row of rows) {
    inputs.forEach((input, i) => { input.value = row[i]; });
    grow(inputs[0]);
  }
}

const put1 = {
  bool: (set, value) => { set.querySelector('.switch').checked = value; },
  enum: (set, value) => { set.querySelector('select').value = value; },
  number: (set, value) => { set.querySelector('input').value = value; },
  text: (set, value) => { set.querySelector('input').value = value; },
  secret: (set, value) => { set.querySelector('input').value = value; },
  json: (set, value) => { set.querySelector('textarea').value = typeof value === 'string' ? value : JSON.stringify(value, null, 2); },
  list: (set, value) => refill(set, value.map((item) => [item])),
  secrets: (set, value) => refill(set, value.map((item) => [item])),
  map: (set, value) => refill(set, Object.entries(value)),
  safety(set, value) {
    for (const select of set.querySelectorAll('select')) {
      select.value = value.find((item) => select.name.endsWith(`.${item.category}`))?.threshold ?? '';
    }
  },
};

async function take(text, box) {
  const found = await api('POST', 'api/config/import', { text });
  const n = fill(found.values);
  box.close();
  const faults = [...found.errors.map((fault) => `${fault.name}: ${fault.message}`)];
  if (found.unknown.length) faults.push(t('No settings of ours: {names}', { names: found.unknown.slice(0, 12).join(', ') }));
  toast(t('{n} value differs: look at it and save. | {n} values differ: look at them and save.', { n }));
  if (faults.length) {
    const list = document.createElement('ul');
    list.className = 'plain';
    list.append(...faults.map((fault) => Object.assign(document.createElement('li'), { textContent: fault })));
    dialog(t('What was not taken'), list);
  }
  document.querySelector('.set.dirty')?.scrollIntoView({ block: 'center' });
}

actions.import = (link, event) => {
  event.preventDefault();
  const area = document.createElement('textarea');
  area.className = 'in mono';
  area.rows = 12;
  area.placeholder = 'MAX_RETRIES=3';
  area.setAttribute('aria-label', t('The lines of a .env file, or JSON as it was exported'));
  const file = document.createElement('input');
  file.type = 'file';
  file.className = 'in';
  file.accept = '.env,.json,.txt,text/plain,application/json';
  file.setAttribute('aria-label', t('A file'));
  file.addEventListener('change', async () => { area.value = await file.files[0].text(); });
  const box = dialog(t('Import settings'), paragraph(t('The lines of a .env file, or JSON as it was exported')), file, area,
    paragraph(t('Nothing is changed yet: what differs is filled into the page, for you to look at and save.')));
  bottom(box, button(t('Fill in'), 'up', (element) => busy(element, () => take(area.value, box)), 'primary'));
};

async function fetchExport(format, secrets) {
  const answer = await fetch(`${base}/api/config/export?format=${format}`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', 'X-CSRF-Token': document.querySelector('meta[name="gb-csrf"]').content },
    body: JSON.stringify({ secrets }),
  });
  if (!answer.ok) throw new Failure(answer.status, (await answer.json()).error.message);
  download(`gbalance.${format}`, await answer.text(), format === 'json' ? 'application/json' : 'text/plain');
  toast(t('Exported'));
}

actions.export = (link, event) => {
  event.preventDefault();
  const label = document.createElement('label');
  label.className = 'row';
  const check = Object.assign(document.createElement('input'), { type: 'checkbox', className: 'switch' });
  check.setAttribute('role', 'switch');
  label.append(check, t('With keys, tokens and passwords in clear, which is noted in the history'));
  const box = dialog(t('Export settings'), paragraph(t('What is in force here, to read, to keep, or for another server.')), label);
  bottom(box, button(t('As JSON'), 'down', (element) => busy(element, () => fetchExport('json', check.checked))),
    button(t('As a .env file'), 'down', (element) => busy(element, () => fetchExport('env', check.checked)), 'primary'));
};

// ---- reset and restore ----

actions.reset = (link, event) => {
  event.preventDefault();
  const box = dialog(t('Reset all settings?'), paragraph(t('All values saved here are forgotten; what the configuration and the defaults say is in force with the next request. The history keeps a way back.')));
  bottom(box, button(t('Cancel'), 'x', () => box.close()), button(t('Reset all'), 'undo', (element) => busy(element, async () => {
    await api('POST', 'api/config/reset', {});
    box.close();
    await reload();
    toast(t('All saved values are forgotten.'));
  }), 'danger'));
};

document.addEventListener('submit', (event) => {
  const back = event.target.querySelector?.('[data-do="restore"]');
  if (!back || !document.getElementById('cfg')) return;
  event.preventDefault();
  busy(back, async () => {
    await api('POST', 'api/config/restore', { change: Number(event.target.elements.change.value) });
    await reload();
    toast(t('The earlier values are in force again.'));
  });
});

// ---- finding ----

const search = document.getElementById('find');

function find() {
  const words = (search?.value ?? '').toLowerCase().split(/\s+/).filter(Boolean);
  let n = 0;
  for (const group of document.querySelectorAll('#settings section.card[id^="g-"]')) {
    let here = 0;
    for (const set of group.querySelectorAll('.set')) {
      const text = `${set.dataset.set} ${set.querySelector('label').textContent} ${set.querySelector('.help')?.textContent}`.toLowerCase();
      set.hidden = !words.every((word) => text.includes(word));
      here += set.hidden ? 0 : 1;
    }
    group.hidden = !here;
    n += here;
  }
  const nothing = document.getElementById('nothing');
  if (nothing) nothing.hidden = n > 0;
}

search?.addEventListener('input', find);
search?.closest('form').addEventListener('submit', (event) => event.preventDefault());
actions['show-all'] = () => {
  search.value = '';
  find();
};

// ---- where the reader is ----

const groups = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    for (const link of document.querySelectorAll('.cfg-nav a')) {
      if (link.dataset.group === entry.target.id) link.setAttribute('aria-current', 'true');
      else link.removeAttribute('aria-current');
    }
  }
}, { rootMargin: '-10% 0px -80% 0px' });

if (form) {
  start();
  for (const group of form.querySelectorAll('section.card[id^="g-"]')) groups.observe(group);
}

// ---- what others save ----

let generation = Number(document.getElementById('cfg')?.dataset.generation);

function notice(data) {
  if (!form || data.generation === generation || document.querySelector('#savebar [aria-busy]')) return;
  generation = data.generation;
  reload().catch(() => { /* the next event tells again */ });
}
on('settings', notice);
on('ready', notice);
