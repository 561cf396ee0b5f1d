// SPDX-License-Identifier: Apache-2.0
// Texts of requests and answers: JSON in colours, built of text nodes alone, so that nothing in it
// ever becomes markup.

const PIECES = /("(?:[^"\\]|\\.)*")(\s*:)?|(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|\btrue\b|\bfalse\b|\bnull\b)/g;
// What the journal, and we below, put in the place of long things.
const TAKEN_OUT = /^"\[.*(?:characters of media|taken out)\]"$|^"token …/;

function span(cls, text) {
  const element = document.createElement('span');
  element.className = cls;
  element.textContent = text;
  return element;
}

/** A text with JSON in it as coloured nodes. */
export function coloured(text) {
  const out = document.createDocumentFragment();
  let from = 0;
  for (const match of text.matchAll(PIECES)) {
    out.append(text.slice(from, match.index));
    const [all, string, colon, other] = match;
    if (other !== undefined) out.append(span('d', other));
    else if (colon !== undefined) out.append(span('p', string), colon);
    else out.append(span(TAKEN_OUT.test(string) ? 'r' : 's', string));
    from = match.index + all.length;
  }
  out.append(text.slice(from));
  return out;
}

/** Indented when it is JSON, else as it is. */
export function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

/** Gives an element JSON in colours. */
export function paint(element, text) {
  element.replaceChildren(coloured(text));
}

/** 184320 -> "180 KB" */
export function size(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  return bytes < 1048576 ? `${Math.round(bytes / 1024)} KB` : `${(bytes / 1048576).toFixed(1)} MB`;
}

/** The same value with long strings of media shortened, for eyes. */
export function shortened(value) {
  if (typeof value === 'string') {
    const type = /^data:([^;,]+)/.exec(value)?.[1];
    if (type) return `[${type}, ${size(value.length * 0.75)}, taken out]`;
    return value.length > 2000 && !/\s/.test(value) ? `[${size(value.length * 0.75)}, taken out]` : value;
  }
  if (Array.isArray(value)) return value.map(shortened);
  if (value && typeof value === 'object') {
    return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, shortened(member)]));
  }
  return value;
}

/** Into the clipboard; on plain HTTP browsers offer the older way alone. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return;
  } catch { /* not a secure context */ }
  const area = document.createElement('textarea');
  area.value = text;
  area.className = 'vh';
  (document.querySelector('dialog[open]') ?? document.body).append(area);
  area.select();
  document.execCommand('copy');
  area.remove();
}

/** A file for the user, made here. */
export function download(name, text, type) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
