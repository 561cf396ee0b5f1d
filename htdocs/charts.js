// SPDX-License-Identifier: Apache-2.0
// Charts from what the server put into the page: <canvas data-chart='{"labels", "series", "time"}'>, with the
// same numbers as a table beside it, which is what stays without scripts.

import { actions, t } from './app.js';

const drawn = new Map();
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const colour = (name) => css(name === 'bad' ? '--bad-solid' : `--${name}`);

/** 61234 -> "61.2 k" */
export function short(n) {
  for (const [limit, unit] of [[1e9, ' G'], [1e6, ' M'], [1e4, ' k']]) {
    if (n >= limit) return `${(n / (unit === ' k' ? 1e3 : limit)).toPrecision(3).replace(/\.?0+$/, '')}${unit}`;
  }
  return Number(n).toLocaleString('en-US');
}

const took = (ms) => (ms < 1000 ? `${ms} ms` : `${(ms / 1000).toFixed(1)} s`);

function dataset(series, time) {
  const common = { label: t(series.words), data: series.values };
  if (!time) return { ...common, backgroundColor: colour(series.colour), borderWidth: 0, categoryPercentage: 1, barPercentage: 0.72 };
  return { ...common, borderColor: colour(series.colour), backgroundColor: colour(series.colour), borderWidth: 2, pointRadius: 1.5,
    pointHoverRadius: 3, tension: 0, borderDash: series.words === 'p99' ? [4, 3] : [] };
}

function options(time) {
  const shown = time ? took : short;
  return {
    animation: false, responsive: true, maintainAspectRatio: false, interaction: { mode: 'index', intersect: false },
    scales: {
      y: { stacked: !time, beginAtZero: true, grid: { color: css('--grid'), drawBorder: false, drawTicks: false },
        ticks: { maxTicksLimit: 5, padding: 10, precision: 0, color: css('--faint'), callback: (n) => shown(n) } },
      x: { stacked: !time, grid: { display: false, borderColor: css('--line-strong') },
        ticks: { maxRotation: 0, autoSkipPadding: 24, color: css('--faint') } },
    },
    plugins: { legend: { display: false }, tooltip: {
      backgroundColor: css('--raised'), borderColor: css('--line-strong'), borderWidth: 1, cornerRadius: 6, padding: 10,
      titleColor: css('--ink'), bodyColor: css('--muted'), boxWidth: 9, boxHeight: 9, boxPadding: 4, multiKeyBackground: 'transparent',
      callbacks: { label: (item) => ` ${item.dataset.label}: ${item.raw === null ? '–' : shown(item.raw)}` },
    } },
  };
}

function drawOne(canvas) {
  const { labels, series, time } = JSON.parse(canvas.dataset.chart);
  Object.assign(window.Chart.defaults.font, { family: css('--font'), size: 11 });
  drawn.get(canvas)?.destroy();
  drawn.set(canvas, new window.Chart(canvas, {
    type: time ? 'line' : 'bar', data: { labels, datasets: series.map((one) => dataset(one, time)) }, options: options(time),
  }));
}

/** Draws what is new below an element; where Chart.js is missing, the tables stay. */
export function draw(root = document) {
  for (const canvas of drawn.keys()) {
    if (!canvas.isConnected) {
      drawn.get(canvas).destroy();
      drawn.delete(canvas);
    }
  }
  if (!window.Chart) return;
  for (const canvas of root.querySelectorAll('canvas[data-chart]')) {
    const holder = canvas.closest('.drawn');
    const table = holder.parentElement.querySelector('.numbers');
    const asTable = localStorage.getItem('gb_chart') === 'table' && holder.closest('#chart') !== null;
    holder.hidden = asTable;
    table.hidden = !asTable;
    for (const button of holder.closest('section').querySelectorAll('[data-do="astable"]')) {
      button.hidden = false;
      button.setAttribute('aria-pressed', String(asTable));
    }
    if (!asTable) drawOne(canvas);
  }
}

actions.astable = (button) => {
  localStorage.setItem('gb_chart', localStorage.getItem('gb_chart') === 'table' ? 'drawn' : 'table');
  draw(button.closest('section'));
};

const redraw = () => { for (const canvas of [...drawn.keys()]) drawOne(canvas); };
document.addEventListener('gb:theme', redraw);
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', redraw);
