// SPDX-License-Identifier: Apache-2.0
// Making elements, and fetching parts of pages as nodes.

/** Marks words that are translated later, where a table has them: the test of the catalogues finds them by it. */
export const word = (text) => text;

/** element('p', {class: 'muted'}, 'text', node): an attribute that is false is left out. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false) made.setAttribute(key, value === true ? '' : value);
  }
  made.append(...children);
  return made;
}

const ADDRESSES = ['href', 'action', 'src'];

/** A part of a page as nodes; its addresses are made right for this page. */
export async function fragment(name, url) {
  const address = new URL(url, location.href);
  address.searchParams.set('part', name);
  const answer = await fetch(address, { headers: { Accept: 'text/html' } });
  if (answer.status === 401) location.reload();
  if (!answer.ok) throw new Error(`${answer.status} ${answer.statusText}`);
  const holder = document.createElement('template');
  holder.innerHTML = await answer.text();
  address.searchParams.delete('part');
  const elsewhere = new URL('.', address).href !== new URL('.', location.href).href;
  for (const attribute of elsewhere ? ADDRESSES : []) {
    for (const node of holder.content.querySelectorAll(`[${attribute}]`)) {
      const value = node.getAttribute(attribute);
      if (!/^(#|[a-z]+:)/i.test(value)) node.setAttribute(attribute, new URL(value, address).href);
    }
  }
  for (const node of holder.content.querySelectorAll('[data-do][hidden]')) node.hidden = false;
  return holder.content;
}
