// SPDX-License-Identifier: Apache-2.0
// /usage: draws the chart that the table below it holds as numbers, and saves prices in place.
import { base, busy, csrf, Failure, number, ready, t, toast } from './app.js';
import { fragment } from './parts.js';

await ready;

const canvas = document.getElementById('chart');
const data = canvas ? JSON.parse(canvas.dataset.chart) : null;
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
let measure = 'tokens';
let drawn = null;

// ---- numbers ----

const UNITS = [[1e9, ' G'], [1e6, ' M'], [1e3, ' k']];

function short(n) {
  if (measure === 'cost') return `$${n >= 100 ? number(Math.round(n)) : n.toFixed(n > 0 && n < 0.1 ? 4 : 2)}`;
  if (n < 10000) return number(n);
  const [size, unit] = UNITS.find(([step]) => n >= step);
  return `${(n / size).toPrecision(3)}${unit}`;
}

const exact = (n) => (measure === 'cost' ? `$${n.toFixed(4)}` : number(n));
const sum = (list) => list.reduce((all, n) => all + n, 0);

// ---- the chart ----

function label(text) {
  return data.days ? text.slice(5) : text.slice(11);
}

function options() {
  return {
    animation: false,
    responsive: true,
    maintainAspectRatio: false,
    interaction: { mode: 'index', intersect: false },
    scales: {
      y: {
        stacked: true, beginAtZero: true,
        ticks: { maxTicksLimit: 5, padding: 10, callback: short },
        grid: { color: colour('--grid'), drawBorder: false, drawTicks: false },
      },
      x: {
        stacked: true, grid: { display: false, borderColor: colour('--line-strong') },
        ticks: { maxRotation: 0, autoSkipPadding: 24 },
      },
    },
    plugins: {
      legend: { display: false },
      tooltip: {
        backgroundColor: colour('--raised'), borderColor: colour('--line-strong'), borderWidth: 1, cornerRadius: 6,
        padding: 10, titleColor: colour('--ink'), bodyColor: colour('--muted'), boxWidth: 9, boxHeight: 9, boxPadding: 4,
        multiKeyBackground: 'transparent',
        callbacks: { label: (item) => `${item.dataset.label}: ${exact(item.raw)}` },
      },
    },
  };
}

function say() {
  const totals = data.labels.map((_, i) => sum(data.series.map((series) => series[measure][i])));
  const most = totals.indexOf(Math.max(...totals));
  const words = { calls: t('Calls'), tokens: t('Tokens'), cost: t('Cost') }[measure];
  canvas.setAttribute('aria-label', t('{what} from {from} to {to}: {sum} together, most on {day} with {n}.', {
    what: words, from: data.labels[0], to: data.labels.at(-1), sum: short(sum(totals)), day: data.labels[most], n: short(totals[most]),
  }));
}

function draw() {
  if (!canvas || !window.Chart) return;
  document.getElementById('chart-box').hidden = false;
  Object.assign(Chart.defaults, { color: colour('--faint') });
  Object.assign(Chart.defaults.font, { family: colour('--font'), size: 11 });
  drawn?.destroy();
  drawn = new Chart(canvas, {
    type: 'bar',
    data: {
      labels: data.labels.map(label),
      datasets: data.series.map((series, i) => ({
        label: series.name || t('all others'), data: series[measure],
        backgroundColor: colour(`--c${series.name ? i + 1 : 6}`), borderWidth: 0, categoryPercentage: 1, barPercentage: 0.72,
      })),
    },
    options: options(),
  });
  say();
  document.querySelectorAll('[data-sum]').forEach((element, i) => {
    element.textContent = short(sum(data.series[i][measure]));
    element.title = exact(sum(data.series[i][measure]));
  });
}

const choice = document.getElementById('measure');
if (choice && data) {
  choice.hidden = false;
  choice.addEventListener('click', (event) => {
    const button = event.target.closest('[data-measure]');
    if (!button) return;
    measure = button.dataset.measure;
    for (const one of choice.children) one.setAttribute('aria-pressed', String(one === button));
    draw();
  });
}
draw();
document.addEventListener('gb:theme', draw);
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', draw);

// ---- keys ----

/** The sums of keys take longest: the page is there before them. */
async function addKeys() {
  const place = document.getElementById('by-key');
  if (!place?.querySelector('[data-later]')) return;
  const url = new URL(location.href);
  url.searchParams.set('keys', '1');
  place.setAttribute('aria-busy', 'true');
  try {
    place.replaceChildren(await fragment('by_key', url));
  } catch (fault) {
    toast(fault.message, 'bad'); // the link to them stays
  } finally {
    place.setAttribute('aria-busy', 'false');
  }
}

addKeys();

// ---- prices ----

const prices = document.getElementById('price-form');
const save = document.querySelector('[data-save]');
const initial = new URLSearchParams(new FormData(prices)).toString();

function isPrice(text) {
  return text.trim() === '' || (Number.isFinite(Number(text)) && Number(text) >= 0 && Number(text) <= 100000);
}

function look() {
  let good = true;
  for (const input of prices.querySelectorAll('.num-in')) {
    const fine = isPrice(input.value);
    if (fine) input.removeAttribute('aria-invalid');
    else input.setAttribute('aria-invalid', 'true');
    good &&= fine;
  }
  save.disabled = !good || new URLSearchParams(new FormData(prices)).toString() === initial;
  save.classList.toggle('primary', !save.disabled);
}

prices.addEventListener('input', look);
look();

prices.addEventListener('submit', (event) => {
  event.preventDefault();
  const button = event.submitter ?? save;
  const body = new URLSearchParams(new FormData(prices));
  if (button.name) body.set(button.name, button.value);
  busy(button, async () => {
    const answer = await fetch(`${base}/usage?format=json`, {
      method: 'POST', body, headers: { 'X-CSRF-Token': csrf(), Accept: 'application/json' },
    });
    if (!answer.ok) throw new Failure(answer.status, (await answer.json()).error?.message ?? answer.statusText);
    const url = new URL(location.href);
    url.searchParams.set('done', 'prices');
    url.hash = '';
    location.assign(url);
  });
});

// The message belongs to what was just done, not to the address.
if (new URL(location.href).searchParams.has('done')) {
  const url = new URL(location.href);
  url.searchParams.delete('done');
  history.replaceState({}, '', url);
  document.querySelector('.note.ok')?.remove();
  toast(t('The prices are saved.'));
}
