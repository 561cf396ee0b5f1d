// SPDX-License-Identifier: Apache-2.0
// What makes the pages installable.  It keeps what pages consist of (scripts, styles, icons) for the
// moment in which the server cannot be reached, and says then that it cannot.  Pages, figures and
// everything below api never go into its cache.  The rest of the site, which may begin at the same
// mount, is none of its business.

const CACHE = 'gbalance-parts';
const home = new URL('./', self.location).pathname; // "/llm/gbalance/"
const mount = new URL('../', self.location).pathname;
const pages = ['auth', 'config', 'keys', 'keys_status', 'logs', 'playground', 'sessions', 'usage'];

self.addEventListener('install', (event) => {
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(['offline.html', 'gbalance.css', 'logo.svg'])));
  self.skipWaiting();
});

self.addEventListener('activate', (event) => event.waitUntil(self.clients.claim()));

async function part(request) {
  const cache = await caches.open(CACHE);
  try {
    const answer = await fetch(request);
    if (answer.ok) await cache.put(request, answer.clone());
    return answer;
  } catch (fault) {
    const kept = await cache.match(request);
    if (kept) return kept;
    throw fault;
  }
}

const isPage = (path) => path.startsWith(mount) && pages.includes(path.slice(mount.length).split('/')[0]);
const page = (request) => fetch(request).catch(() => caches.match(`${home}offline.html`));

self.addEventListener('fetch', (event) => {
  const url = new URL(event.request.url);
  if (event.request.method !== 'GET' || url.origin !== self.location.origin) return;
  if (event.request.mode === 'navigate') {
    if (isPage(url.pathname)) event.respondWith(page(event.request));
  }
  else if (url.pathname.startsWith(home)) event.respondWith(part(event.request));
});
