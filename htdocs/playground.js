// SPDX-License-Identifier: Apache-2.0
// /playground: a chat over the API surfaces of this VirtualHost, as any client would talk to them.
// Messages, pictures and tokens live in this page's memory and nowhere else.
import { actions, api, base, busy, ready, t, toast } from './app.js';
import { coloured, copy, paint, shortened } from './code.js';

await ready;

const play = document.getElementById('play');
const options = document.getElementById('options');
const composer = document.getElementById('composer');
const chat = document.getElementById('chat');
const hello = document.getElementById('hello');
const text = composer.elements.text;
const rawRequest = document.getElementById('raw-request');
const rawAnswer = document.getElementById('raw-answer');

play.hidden = false;

let protocol = 'openai';
let messages = []; // {role, text, images: [{type, data}]}
let images = [];   // of the next message
let running = null; // AbortController
let last = null;    // {url, headers, body} of the last call

const at = (path) => new URL(`${base}/${path}`, location.href).href;
const endpoint = () => at(play.dataset[protocol]);

// ---- who calls ----

let pass = null; // {token, until}

/** The page's own token, asked for anew a minute before it ends. */
async function passToken() {
  if (options.elements.who.value === 'own') return options.elements.token.value.trim();
  if (!pass || pass.until < Date.now() + 60000) {
    const said = await api('POST', 'api/playground/token');
    pass = { token: said.token, until: Date.now() + said.lifetime * 1000 };
  }
  return pass.token;
}

async function headers() {
  const token = await passToken();
  const out = { 'Content-Type': 'application/json' };
  if (protocol === 'openai') out.Authorization = `Bearer ${token}`;
  else out['x-goog-api-key'] = token;
  if (options.elements.pin.value && options.elements.who.value !== 'own') out['x-gbalance-key'] = options.elements.pin.value;
  return out;
}

// ---- protocols: how a conversation is asked for, and what of the answer is text ----

const BUDGETS = { none: 0, low: 1024, medium: 8192, high: 24576 };
const temperature = () => options.elements.temperature.value.trim();
const isStream = () => options.elements.stream.checked;
const model = () => options.elements.model.value;

const protocols = {
  openai: {
    url: () => `${endpoint()}/chat/completions`,
    models: async (answer) => (answer.data ?? []).map((one) => one.id),
    body() {
      const system = options.elements.system.value.trim();
      const body = { model: model(), stream: isStream(), messages: system ? [{ role: 'system', content: system }] : [] };
      if (isStream()) body.stream_options = { include_usage: true };
      if (temperature()) body.temperature = Number(temperature());
      if (options.elements.thinking.value) body.reasoning_effort = options.elements.thinking.value;
      for (const message of messages) {
        body.messages.push({
          role: message.role,
          content: message.images.length ? [
            { type: 'text', text: message.text },
            ...message.images.map((image) => ({ type: 'image_url', image_url: { url: `data:${image.type};base64,${image.data}` } })),
          ] : message.text,
        });
      }
      return body;
    },
    read(event) {
      const choice = event.choices?.[0];
      const delta = choice?.delta ?? choice?.message ?? {};
      return {
        text: typeof delta.content === 'string' ? delta.content : '',
        thought: delta.reasoning_content ?? '',
        images: (delta.images ?? []).map((image) => image.image_url?.url).filter(Boolean),
        usage: event.usage && { in: event.usage.prompt_tokens, out: event.usage.completion_tokens },
        error: event.error?.message,
        end: choice?.finish_reason,
      };
    },
  },
  gemini: {
    url: () => `${endpoint()}/models/${encodeURIComponent(model())}:${isStream() ? 'streamGenerateContent?alt=sse' : 'generateContent'}`,
    models: async (answer) => (answer.models ?? []).map((one) => one.name.replace(/^models\//, '')),
    body() {
      const system = options.elements.system.value.trim();
      const config = {};
      if (temperature()) config.temperature = Number(temperature());
      if (options.elements.thinking.value) {
        config.thinkingConfig = { thinkingBudget: BUDGETS[options.elements.thinking.value], includeThoughts: options.elements.thinking.value !== 'none' };
      }
      return {
        ...(system && { systemInstruction: { parts: [{ text: system }] } }),
        contents: messages.map((message) => ({
          role: message.role === 'assistant' ? 'model' : 'user',
          parts: [{ text: message.text }, ...message.images.map((image) => ({ inlineData: { mimeType: image.type, data: image.data } }))],
        })),
        ...(Object.keys(config).length && { generationConfig: config }),
      };
    },
    read(event) {
      const parts = event.candidates?.[0]?.content?.parts ?? [];
      const usage = event.usageMetadata;
      return {
        text: parts.filter((part) => !part.thought).map((part) => part.text ?? '').join(''),
        thought: parts.filter((part) => part.thought).map((part) => part.text ?? '').join(''),
        images: parts.filter((part) => part.inlineData).map((part) => `data:${part.inlineData.mimeType};base64,${part.inlineData.data}`),
        usage: usage && { in: usage.promptTokenCount, out: (usage.candidatesTokenCount ?? 0) + (usage.thoughtsTokenCount ?? 0) },
        error: event.error?.message ?? (event.promptFeedback?.blockReason && t('Blocked: {reason}', { reason: event.promptFeedback.blockReason })),
        end: event.candidates?.[0]?.finishReason,
      };
    },
  },
};

// ---- messages as they are shown: text nodes alone ----

const make = (tag, cls, ...content) => {
  const element = document.createElement(tag);
  if (cls) element.className = cls;
  element.append(...content);
  return element;
};

function picture(src) {
  const image = make('img');
  image.src = src;
  image.alt = t('picture');
  return image;
}

/** Paragraphs, lists and code of an answer; pictures only where they came with it. */
function rendered(words) {
  const out = document.createDocumentFragment();
  words.split(/^```.*$/m).forEach((piece, i) => {
    if (i % 2) {
      out.append(make('pre', '', piece.replace(/^\n|\n$/g, '')));
      return;
    }
    for (const block of piece.split(/\n{2,}/)) {
      const lines = block.split('\n').filter((line) => line.trim());
      if (!lines.length) continue;
      if (lines.every((line) => /^\s*[-*] /.test(line))) out.append(make('ul', '', ...lines.map((line) => make('li', '', line.replace(/^\s*[-*] /, '')))));
      else {
        const inline = block.match(/!\[[^\]]*\]\((data:image\/[^)]+)\)/);
        const plain = block.replace(/!\[[^\]]*\]\(data:[^)]+\)/g, '');
        if (plain.trim()) out.append(make('p', '', plain));
        if (inline) out.append(picture(inline[1]));
      }
    }
  });
  return out;
}

function bubble(role) {
  const who = make('div', 'who', role === 'user' ? t('you') : model());
  const words = make('div', 'txt');
  const element = make('div', role === 'user' ? 'msg user' : 'msg', who, words);
  hello.hidden = true;
  chat.append(element);
  return { element, who, words };
}

function showMine(message) {
  const { words, element } = bubble('user');
  words.append(rendered(message.text));
  for (const image of message.images) words.append(picture(`data:${image.type};base64,${image.data}`));
  element.scrollIntoView({ block: 'nearest' });
}

// ---- what goes over the wire ----

const fact = (name, value) => { document.querySelector(`[data-f="${name}"]`).replaceChildren(value); };
const seconds = (ms) => `${(ms / 1000).toFixed(2)} s`;
const faint = (words) => make('span', 'c', words);

function showRequest(call) {
  const url = new URL(call.url);
  const out = document.createDocumentFragment();
  out.append(faint('POST'), ` ${url.pathname}${url.search}\n`);
  for (const [name, value] of Object.entries(call.headers)) {
    out.append(faint(`${name}:`), ' ');
    const isSecret = name === 'Authorization' || name === 'x-goog-api-key';
    if (name === 'Authorization') out.append('Bearer ');
    out.append(isSecret ? make('span', 'r', t('token …{end}', { end: value.slice(-4) })) : value, '\n');
  }
  out.append('\n', coloured(JSON.stringify(shortened(call.body), null, 2)));
  rawRequest.replaceChildren(out);
}

function showHead(answer) {
  const out = document.createDocumentFragment();
  out.append(faint(String(answer.status)), ` ${answer.headers.get('content-type') ?? ''}\n`);
  for (const name of ['x-request-id', 'retry-after', 'x-gbalance-ignored']) {
    if (answer.headers.get(name)) out.append(faint(`${name}:`), ` ${answer.headers.get(name)}\n`);
  }
  rawAnswer.replaceChildren(out);
}

let shownBytes = 0;

/** A piece of the answer, as it came; the page stops showing when there is very much. */
function showPiece(piece, ms) {
  if (shownBytes > 400000) return;
  shownBytes += piece.length;
  const bottom = rawAnswer.scrollTop + rawAnswer.clientHeight >= rawAnswer.scrollHeight - 40;
  let words = piece;
  try {
    const json = /^data: (\{[\s\S]*\})\s*$/.exec(piece)?.[1];
    if (json) words = `data: ${JSON.stringify(shortened(JSON.parse(json)))}\n`;
  } catch { /* shown as it is */ }
  if (ms !== undefined) rawAnswer.append('\n', faint(`+${seconds(ms)}`), '\n');
  rawAnswer.append(coloured(words));
  if (bottom) rawAnswer.scrollTop = rawAnswer.scrollHeight;
}

/** The log knows which keys were tried; it is written a moment after the end. */
async function showAttempts(id, tries = 20) {
  const link = make('a', '', id.length > 14 ? `${id.slice(0, 14)}…` : id);
  link.href = `${base}/logs?tab=requests&call=${encodeURIComponent(id)}`;
  link.title = id;
  fact('request', link);
  for (let i = 0; i < tries; i += 1) {
    await new Promise((done) => { setTimeout(done, 400); });
    const said = await api('GET', `logs?tab=requests&call=${encodeURIComponent(id)}&part=call&format=json`).catch(() => null);
    if (said?.call && !said.call.running) {
      fact('attempts', String(said.call.n));
      fact('key', said.call.key_id ? `${said.call.key_id} ${said.call.key_masked}` : '–');
      return;
    }
  }
}

// ---- a call ----

/** Events of a stream, each with its text as it came. */
async function* events(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const { value, done } = await reader.read();
    rest += value ?? '';
    for (let end = /\r?\n\r?\n/.exec(rest); end; end = /\r?\n\r?\n/.exec(rest)) {
      yield rest.slice(0, end.index);
      rest = rest.slice(end.index + end[0].length);
    }
    if (done) {
      if (rest.trim()) yield rest;
      return;
    }
  }
}

function parsed(piece) {
  const lines = piece.split(/\r?\n/).filter((line) => line.startsWith('data:')).map((line) => line.slice(5).trim()).join('\n');
  if (!lines || lines === '[DONE]') return null;
  try {
    return JSON.parse(lines);
  } catch {
    return null;
  }
}

class Answer {
  constructor() {
    Object.assign(this, bubble('assistant'), { text: '', thought: '', images: [], usage: null, error: '', started: performance.now(), first: 0 });
    this.note = make('span', '', t('waiting'));
    this.who.append(' ', this.note);
    this.caret = make('span', 'caret');
  }

  elapsed() {
    return performance.now() - this.started;
  }

  take(event) {
    const piece = protocols[protocol].read(event);
    this.text += piece.text;
    this.thought += piece.thought;
    this.images.push(...piece.images);
    this.usage = piece.usage || this.usage;
    this.error = piece.error || this.error;
    this.end = piece.end || this.end;
  }

  show(isOver) {
    const near = chat.scrollHeight - chat.scrollTop - chat.clientHeight < 80;
    this.words.replaceChildren(rendered(this.text), ...this.images.map(picture));
    if (this.thought) this.showThought();
    if (this.error) {
      this.element.classList.add('failed');
      this.words.append(make('p', '', this.error));
    } else if (isOver && !this.text && !this.images.length) this.words.append(make('p', 'muted', this.end ? t('No text came: {end}', { end: this.end }) : t('No text came.')));
    if (!isOver) (this.words.lastElementChild ?? this.words).append(this.caret);
    this.note.textContent = isOver
      ? `${seconds(this.elapsed())}${this.usage ? ` · ${t('{in} + {out} tokens', this.usage)}` : ''}`
      : `${t('answering')}, ${seconds(this.elapsed())}`;
    if (near) chat.scrollTop = chat.scrollHeight;
  }

  showThought() {
    if (!this.box) {
      this.box = make('details', 'thought', make('summary', '', t('Thought')), make('div'));
      this.words.before(this.box);
    }
    this.box.lastElementChild.textContent = this.thought;
  }
}

async function readStream(answer, out) {
  for await (const piece of events(answer)) {
    const event = parsed(piece);
    if (!out.first) {
      out.first = out.elapsed();
      fact('first', seconds(out.first));
    }
    showPiece(`${piece}\n`, out.elapsed());
    if (event) out.take(event);
    out.show(false);
  }
}

async function readWhole(answer, out) {
  const body = await answer.text();
  out.first = out.elapsed();
  fact('first', seconds(out.first));
  try {
    const json = JSON.parse(body);
    rawAnswer.append('\n', coloured(JSON.stringify(shortened(json), null, 2)));
    out.take(Array.isArray(json) ? json[0] : json);
  } catch {
    showPiece(`\n${body}`);
    out.error = answer.ok ? t('The answer is no JSON.') : `${answer.status} ${answer.statusText}`;
  }
  if (!answer.ok && !out.error) out.error = `${answer.status} ${answer.statusText}`;
}

function state(isRunning) {
  document.getElementById('state').hidden = !isRunning;
  document.querySelector('[data-do="stop"]').disabled = !isRunning;
  composer.querySelector('[type="submit"]').disabled = isRunning;
  chat.setAttribute('aria-busy', String(isRunning));
}

async function call() {
  running = new AbortController();
  const out = new Answer();
  state(true);
  for (const name of ['status', 'first', 'took', 'attempts', 'key', 'request']) fact(name, '–');
  shownBytes = 0;
  try {
    last = { url: protocols[protocol].url(), headers: await headers(), body: protocols[protocol].body() };
    showRequest(last);
    out.started = performance.now();
    const answer = await fetch(last.url, { method: 'POST', headers: last.headers, body: JSON.stringify(last.body), signal: running.signal });
    fact('status', String(answer.status));
    showHead(answer);
    if (/event-stream/.test(answer.headers.get('content-type') ?? '')) await readStream(answer, out);
    else await readWhole(answer, out);
    if (answer.headers.get('x-request-id')) showAttempts(answer.headers.get('x-request-id'));
  } catch (fault) {
    out.error = fault.name === 'AbortError' ? t('Stopped.') : fault.message;
    if (fault.name !== 'AbortError') rawAnswer.append(fault.message);
  }
  out.show(true);
  fact('took', seconds(out.elapsed()));
  state(false);
  running = null;
  // What failed is no part of the conversation: the next try sends the question again.
  if (out.error && !out.text) messages.pop();
  else messages.push({ role: 'assistant', text: out.text, images: [] });
}

composer.addEventListener('submit', (event) => {
  event.preventDefault();
  const words = text.value.trim();
  if (running || (!words && !images.length)) return;
  messages.push({ role: 'user', text: words, images });
  showMine(messages.at(-1));
  text.value = '';
  images = [];
  showThumbs();
  call();
});
text.addEventListener('keydown', (event) => {
  if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    composer.requestSubmit();
  }
});

actions.stop = () => running?.abort();
actions['new-chat'] = () => {
  running?.abort();
  messages = [];
  for (const message of chat.querySelectorAll('.msg')) message.remove();
  hello.hidden = false;
  text.focus();
};

chat.addEventListener('click', (event) => {
  const say = event.target.closest('[data-say]');
  if (!say) return;
  text.value = say.dataset.say;
  text.focus();
});

// ---- pictures ----

function showThumbs() {
  const box = document.getElementById('thumbs');
  box.hidden = !images.length;
  box.replaceChildren(...images.map((image, i) => {
    const drop = make('button', 'btn icon ghost sm', '×');
    drop.type = 'button';
    drop.setAttribute('aria-label', t('Remove the picture'));
    drop.addEventListener('click', () => {
      images.splice(i, 1);
      showThumbs();
    });
    return make('span', 'thumb', picture(`data:${image.type};base64,${image.data}`), drop);
  }));
}

function readImage(file) {
  return new Promise((done, failed) => {
    const reader = new FileReader();
    reader.addEventListener('load', () => done({ type: file.type, data: reader.result.slice(reader.result.indexOf(',') + 1) }));
    reader.addEventListener('error', () => failed(reader.error));
    reader.readAsDataURL(file);
  });
}

async function addImages(files) {
  for (const file of files) {
    if (!file.type.startsWith('image/')) toast(t('{name} is no picture.', { name: file.name }), 'bad');
    else if (file.size > 15 * 1048576) toast(t('{name} is larger than 15 MB.', { name: file.name }), 'bad');
    else images.push(await readImage(file));
  }
  showThumbs();
}

const file = document.getElementById('file');
actions['add-image'] = () => file.click();
file.addEventListener('change', async () => {
  await addImages(file.files);
  file.value = '';
});
const box = composer.querySelector('.box');
for (const name of ['dragenter', 'dragover']) {
  play.addEventListener(name, (event) => {
    if (![...event.dataTransfer.types].includes('Files')) return;
    event.preventDefault();
    box.classList.add('over');
  });
}
for (const name of ['dragleave', 'drop']) play.addEventListener(name, () => box.classList.remove('over'));
play.addEventListener('drop', (event) => {
  event.preventDefault();
  addImages(event.dataTransfer.files);
});
text.addEventListener('paste', (event) => {
  const pasted = [...event.clipboardData.files];
  if (pasted.length) addImages(pasted);
});

// ---- copying ----

function quoted(words) {
  return `'${words.replaceAll("'", "'\\''")}'`;
}

const current = async () => last ?? { url: protocols[protocol].url(), headers: await headers(), body: protocols[protocol].body() };
// Whoever runs it elsewhere is another client, with a token of its own.
const named = (headerName, value) => (headerName === 'Authorization' ? 'Bearer YOUR_TOKEN' : headerName === 'x-goog-api-key' ? 'YOUR_TOKEN' : value);

function outside(headersSent) {
  return Object.entries(headersSent).filter(([name]) => name !== 'x-gbalance-key').map(([name, value]) => [name, named(name, value)]);
}

actions['copy-curl'] = (button) => busy(button, async () => {
  const what = await current();
  await copy(`curl ${quoted(what.url)} \\\n${outside(what.headers).map(([name, value]) => `  -H ${quoted(`${name}: ${value}`)} \\\n`).join('')}  -d ${quoted(JSON.stringify(what.body))}\n`);
  toast(t('Copied'));
});

const python = {
  openai: (body) => `from openai import OpenAI\n\nclient = OpenAI(base_url=${JSON.stringify(endpoint())}, api_key="YOUR_TOKEN")\nanswer = client.chat.completions.create(**json.loads('''${JSON.stringify(body).replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'''))\n${body.stream ? 'for chunk in answer:\n    print(chunk.choices[0].delta.content or "" if chunk.choices else "", end="")\n' : 'print(answer.choices[0].message.content)\n'}`,
  gemini: (body) => `import urllib.request\n\nrequest = urllib.request.Request(${JSON.stringify(protocols.gemini.url())}, headers={"x-goog-api-key": "YOUR_TOKEN", "Content-Type": "application/json"},\n    data=json.dumps(json.loads('''${JSON.stringify(body).replaceAll('\\', '\\\\').replaceAll("'", "\\'")}''')).encode())\nprint(urllib.request.urlopen(request).read().decode())\n`,
};
actions['copy-python'] = (button) => busy(button, async () => {
  await copy(`import json\n${python[protocol]((await current()).body)}`);
  toast(t('Copied'));
});
actions['copy-request'] = (button) => busy(button, async () => {
  await copy(JSON.stringify((await current()).body, null, 2));
  toast(t('Copied'));
});
actions['copy-answer'] = (button) => busy(button, async () => {
  await copy(rawAnswer.textContent);
  toast(t('Copied'));
});

// ---- options ----

async function loadModels() {
  const chosen = model();
  const answer = await fetch(`${endpoint()}/models${protocol === 'gemini' ? '?pageSize=1000' : ''}`, { headers: await headers() });
  if (!answer.ok) return;
  const names = await protocols[protocol].models(await answer.json());
  if (!names.includes(chosen)) names.unshift(chosen);
  options.elements.model.replaceChildren(...names.map((name) => new Option(name, name, name === chosen, name === chosen)));
}

async function loadKeys() {
  const said = await api('GET', 'api/keys?count=100');
  const keys = said.keys ?? [];
  options.elements.pin.append(...keys.map((key) => new Option(`${key.id} ${key.masked ?? key.key ?? ''}`, key.id)));
}

// Only a phone hides them.
actions['more-options'] = (button) => {
  const isOpen = options.classList.toggle('more');
  button.setAttribute('aria-expanded', String(isOpen));
};

function showEndpoint() {
  document.getElementById('endpoint').textContent = endpoint();
}

options.addEventListener('submit', (event) => event.preventDefault());
options.addEventListener('click', (event) => {
  const button = event.target.closest('[data-protocol]');
  if (!button) return;
  protocol = button.dataset.protocol;
  last = null;
  for (const one of options.querySelectorAll('[data-protocol]')) one.setAttribute('aria-pressed', String(one === button));
  showEndpoint();
  busy(null, loadModels);
});
options.elements.who.addEventListener('change', () => {
  const own = options.elements.who.value === 'own';
  document.getElementById('own').hidden = !own;
  options.elements.pin.disabled = own;
  if (own) options.elements.token.focus();
});

// ---- is everything there? ----

function verdict(ok, words) {
  const line = make('p', ok ? 't-ok' : 't-bad', `${ok ? '✓' : '✗'} ${words}`);
  document.getElementById('setup').append(line);
}

actions['check-setup'] = (button) => busy(button, async () => {
  const note = document.getElementById('setup');
  note.replaceChildren();
  note.className = 'note info lc checks';
  note.hidden = false;
  const health = play.dataset.health && await fetch(at(play.dataset.health)).catch(() => null);
  if (health) {
    const said = await health.json().catch(() => ({}));
    verdict(health.ok, health.ok ? t('The server serves calls.') : t('The server says: {why}', { why: said.reason ?? said.status ?? health.status }));
  }
  const models = await fetch(`${endpoint()}/models`, { headers: await headers() });
  const names = models.ok ? await protocols[protocol].models(await models.json()) : [];
  verdict(models.ok, models.ok ? t('{n} model is offered. | {n} models are offered.', { n: names.length }) : t('The list of models cannot be had: {status}', { status: models.status }));
  const kept = { messages, stream: options.elements.stream.checked };
  messages = [{ role: 'user', text: 'Say OK.', images: [] }];
  options.elements.stream.checked = false;
  const request = { url: protocols[protocol].url(), body: protocols[protocol].body() };
  messages = kept.messages;
  options.elements.stream.checked = kept.stream;
  const started = performance.now();
  const answer = await fetch(request.url, { method: 'POST', headers: await headers(), body: JSON.stringify(request.body) });
  const said = await answer.json().catch(() => ({}));
  verdict(answer.ok, answer.ok ? t('{model} answered after {time}.', { model: model(), time: seconds(performance.now() - started) })
    : (said.error?.message ?? String(answer.status)));
});

showEndpoint();
paint(rawRequest, '');
busy(null, loadModels);
loadKeys().catch(() => { /* the pool decides */ });
