// SPDX-License-Identifier: Apache-2.0
// Adding keys by paste: what is found is told line by line before anything is changed.

import { actions, api, base, busy, icon, number, t, toast } from './app.js';
import { start } from './keys-jobs.js';
import { element, fragment, word } from './parts.js';

const verdicts = {
  added: ['ok', 'plus', word('New')], known: ['off', 'check', word('Known')], twice: ['off', 'copy', word('Doubled')], refused: ['cool', 'warn', word('Odd')],
};
const states = { active: word('Active'), cooling: word('Cooling'), 'half-open': word('On trial'), failed: word('Failed'), invalid: word('Invalid'), off: word('Off') };
const whys = {
  retiring: word('old format, Google retires it'), url: word('taken out of a URL'), opaque: word('no format of Google\'s, taken as it is'),
  cut: word('of the wrong length, was it cut off?'), foreign: word('not a Google key, left out'), bytes: word('has characters that no key has'),
};
const SHOWN = 500;

const masked = (key) => key.replace(/\.\.\.(?!\.)/, '…');

function why(row) {
  if (row.why === 'same') return t('same as line {line}', { line: row.same });
  if (row.why === 'known') return `${t('is in the pool')}: ${row.id}, ${t(states[row.state])}`;
  return row.why ? t(whys[row.why]) : '';
}

function pill(result, n) {
  const [kind, shape, words] = verdicts[result];
  return element('span', { class: `pill ${kind}` }, icon(shape), n === undefined ? t(words) : `${number(n)} ${t(words)}`);
}

function show(form, page) {
  const rows = page.results.slice(0, SHOWN).map((row) => element('tr', { role: 'row' },
    element('td', { role: 'cell', class: 'n faint' }, String(row.line)), element('td', { role: 'cell', class: 'key' }, masked(row.key)),
    element('td', { role: 'cell' }, pill(row.result)), element('td', { role: 'cell', class: 'muted xs' }, why(row))));
  if (!rows.length) {
    rows.push(element('tr', { role: 'row' }, element('td', { role: 'cell', colspan: '4', class: 'muted xs' },
      form.text.value.trim() ? t('No key was found in it.') : t('Each key that is found gets a line here before anything is changed.'))));
  }
  form.querySelector('#ak-rows').replaceChildren(...rows);
  form.querySelector('#ak-counts').replaceChildren(...Object.keys(verdicts).filter((name) => page[name]).map((name) => pill(name, page[name])));
  const button = form.querySelector('#ak-add');
  button.querySelector('span').textContent = page.added ? t('Add {n} key | Add {n} keys', { n: number(page.added) }) : t('Add keys');
  button.disabled = !page.added;
}

function fault(form, text) {
  const place = form.querySelector('#ak-r-fault');
  place.hidden = !text;
  place.textContent = text ?? '';
  form.pattern.toggleAttribute('aria-invalid', Boolean(text));
  if (text) form.pattern.setAttribute('aria-invalid', 'true');
}

const given = (form) => ({ text: form.text.value, ...(form.pattern.value ? { pattern: form.pattern.value } : {}) });
const nothing = { results: [], added: 0, known: 0, twice: 0, refused: 0 };

function previewer(form) {
  let timer, asked = 0;
  return (delay = 250) => {
    clearTimeout(timer);
    timer = setTimeout(async () => {
      const mine = ++asked;
      try {
        const page = form.text.value.trim() ? await api('POST', 'api/keys/preview', given(form)) : nothing;
        if (mine !== asked) return;
        fault(form, null);
        show(form, page);
      } catch (refused) {
        if (mine !== asked) return;
        if (refused.field === 'pattern') fault(form, refused.message);
        else toast(refused.message, 'bad');
        show(form, nothing);
      }
    }, delay);
  };
}

async function add(form) {
  const tags = form.tags.value.split(',').map((tag) => tag.trim()).filter(Boolean);
  const body = { ...given(form), ...(tags.length ? { tags } : {}), ...(form.project.value ? { project: form.project.value } : {}) };
  const answer = await api('POST', 'api/keys', body);
  const added = answer.results.filter((row) => row.result === 'added');
  toast(t('{n} key added | {n} keys added', { n: number(added.length) }));
  if (answer.warning) toast(answer.warning, 'bad');
  document.dispatchEvent(new CustomEvent('gb:added'));
  const dialog = form.closest('dialog');
  if (form.verify.checked && added.length) {
    const names = Object.fromEntries(added.map((row) => [row.id, masked(row.key)]));
    start('verify', added.map((row) => row.id), names);
  }
  if (dialog) dialog.close();
  else location.assign(`${base}/keys_status`);
}

function takeFiles(form, look) {
  const area = form.text;
  for (const name of ['dragenter', 'dragover']) {
    area.addEventListener(name, (event) => { event.preventDefault(); area.classList.add('dropping'); });
  }
  area.addEventListener('dragleave', () => area.classList.remove('dropping'));
  area.addEventListener('drop', async (event) => {
    event.preventDefault();
    area.classList.remove('dropping');
    const texts = await Promise.all([...event.dataTransfer.files].map((file) => file.text()));
    area.value = [area.value, ...texts, event.dataTransfer.getData('text')].filter(Boolean).join('\n');
    look(0);
  });
}

/** Makes the form under an element alive. */
export function enliven(root) {
  const form = root.querySelector('#add-form');
  if (!form) return;
  const look = previewer(form);
  for (const hidden of form.querySelectorAll('[data-scripts]')) hidden.hidden = false;
  for (const useless of form.querySelectorAll('[data-noscripts]')) useless.hidden = true;
  for (const field of [form.text, form.pattern]) field.addEventListener('input', () => look());
  takeFiles(form, look);
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    busy(form.querySelector('#ak-add'), () => add(form));
  });
  if (form.text.value.trim()) look(0);
  else show(form, nothing);
}

actions.add = async (button, event) => {
  const dialog = document.getElementById('add');
  if (!dialog || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  await busy(null, async () => {
    dialog.replaceChildren(await fragment('form', `${base}/keys/add`));
    enliven(dialog);
    dialog.showModal();
    dialog.querySelector('textarea').focus();
  });
};
