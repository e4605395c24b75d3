// The figures of the portals, in a real browser against a real consortium:
//   node test/bench/run.mjs [--json FILE] [--table FILE] [--only first,record,ecg,image,upload,reads] [--quick]
// The program is the one that the journeys use (SALUS_BIN, or the last build). Asserts no speed.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { go, heading, logIn, open, visitor } from '../e2e/browser.mjs';
import { start } from '../e2e/world.mjs';
import { reads } from './reads.mjs';
import { pdf, write } from './samples.mjs';

const argument = (name) => {
  const at = process.argv.indexOf(name);
  return at < 0 ? undefined : process.argv[at + 1];
};
const quick = process.argv.includes('--quick');
const only = argument('--only')?.split(',');
const ROUNDS = quick ? 1 : 5;
const READINGS = quick ? 100 : 2_000;
const UPLOAD_MIB = quick ? 16 : 200;

const rows = [];
function row(what, unit, rounds, must, note = '') {
  const sorted = [...rounds].sort((a, b) => a - b);
  const last = sorted.length - 1;
  const median = (sorted[Math.floor(last / 2)] + sorted[Math.ceil(last / 2)]) / 2;
  const met = must && ('at_most' in must ? median <= must.at_most : median >= must.at_least);
  rows.push({ what, unit, median, least: sorted[0], most: sorted[last], rounds, must, met, note });
  console.error(`  ${what}: ${number(median)} ${unit}`);
}

const number = (value) =>
  value >= 100 ? String(Math.round(value)) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
const atMost = (at_most) => ({ at_most });
const atLeast = (at_least) => ({ at_least });

/** 10 Mbit/s both ways, nothing in the cache. */
async function slow({ context, page }) {
  const cdp = await context.newCDPSession(page);
  await cdp.send('Network.enable');
  await cdp.send('Network.clearBrowserCache');
  const throughput = 10_000_000 / 8;
  await cdp.send('Network.emulateNetworkConditions', {
    offline: false,
    latency: 0,
    downloadThroughput: throughput,
    uploadThroughput: throughput,
  });
}

async function first({ browser, world }) {
  // Pages that come from a folder come past the network.
  if (process.env.SALUS_WEB_DIR) throw new Error('needs the pages that are in the program');
  const portals = [
    ['patient', world.cloud, 'maya', /Hello/],
    ['doctor', world.cloud, 'dana', 'Patients who shared'],
    ['hospital', world.north, 'stan', 'North Hospital'],
    ['healthcare cloud', world.cloud, 'olive', 'Overview'],
  ];
  const starts = [];
  for (const [portal, base, login, title] of portals) {
    const inside = [];
    for (let round = 0; round < Math.min(ROUNDS, 3); round++) {
      const visit = await visitor(browser);
      const { page } = visit;
      await slow(visit);
      const began = performance.now();
      await page.goto(`${base}/login`);
      await heading(page, 'Log in');
      starts.push((performance.now() - began) / 1000);
      await page.getByLabel('User name').fill(login);
      await page.getByRole('textbox', { name: 'Password' }).fill(world.password(login));
      const pressed = performance.now();
      await page.getByRole('button', { name: 'Log in', exact: true }).click();
      await heading(page, title);
      inside.push((performance.now() - pressed) / 1000);
      await visit.context.close();
    }
    const note = 'from pressing “Log in”: the key derivation of the password (64 MiB) included';
    row(`${portal} portal, its first view, cold, 10 Mbit/s`, 's', inside, atMost(2), note);
  }
  row('first page, cold, 10 Mbit/s', 's', starts, atMost(2));
}

const nav = (page) => page.getByRole('navigation', { name: 'Sections of the record' });
const section = (page, name) => nav(page).getByRole('button', { name });

async function maya({ browser, world }) {
  const visit = await visitor(browser);
  await logIn(visit.page, world.cloud, 'maya', world.password('maya'));
  await heading(visit.page, /Hello/);
  return visit;
}

/**
 * From pressing a section's button until what `drawn` finds has been painted, in ms, as the page sees it.
 * `drawn` is a selector of what the section shows when it is whole.
 */
const painted = (button, drawn) =>
  button.evaluate(
    (element, selector) =>
      new Promise((done) => {
        const began = performance.now();
        const look = () => {
          if (!document.querySelector(selector)) return requestAnimationFrame(look);
          requestAnimationFrame(() => setTimeout(() => done(performance.now() - began)));
        };
        element.click();
        requestAnimationFrame(look);
      }),
    drawn,
  );

async function record(world) {
  const [listed, opened] = [[], []];
  let count = 0;
  for (let round = 0; round < Math.min(ROUNDS, 3); round++) {
    const { page, context } = await maya(world);
    const began = performance.now();
    await go(page, 'My record');
    await nav(page).waitFor();
    listed.push(performance.now() - began);
    await page.getByText('Full name').waitFor();
    const results = section(page, 'Laboratory');
    count = Number(/\((\d+)\)/.exec(await results.textContent())[1]);
    const pressed = performance.now();
    await results.click();
    await page.locator('.sparkline').first().waitFor({ timeout: 300_000 });
    opened.push((performance.now() - pressed) / count);
    await context.close();
  }
  row(`patient of ${count} readings: list shown`, 'ms', listed, atMost(1_000));
  const note = `all ${count} at once: receipt on the ledger, fetched, checked, opened, drawn`;
  row('the same: each record opened', 'ms', opened, atMost(50), note);
}

/** Visits a section again: what it shows was downloaded and opened before. */
async function again(page, name, other, drawn) {
  await section(page, other).click();
  await page.locator(drawn).first().waitFor({ state: 'detached' });
  return painted(section(page, name), drawn);
}

async function ecg(world) {
  const { page, context } = await maya(world);
  await go(page, 'My record');
  await page.getByText('Full name').waitFor();
  const strip = 'canvas.canvas[role=img]';
  const whole = await painted(section(page, 'ECG'), strip);
  const rounds = [];
  for (let round = 0; round < ROUNDS; round++) rounds.push(await again(page, 'ECG', 'Who', strip));
  const note = `with receipt, download and opening: ${number(whole)} ms`;
  row('ECG, 30 min at 360 Hz, two leads: first paint', 'ms', rounds, atMost(300), note);
  const zooms = await page.evaluate(async (selector) => {
    const canvas = document.querySelector(selector);
    const times = [];
    const press = async (key) => {
      await new Promise(requestAnimationFrame);
      const began = performance.now();
      canvas.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true }));
      // React draws what a key changed before the next task.
      await new Promise((done) => queueMicrotask(() => queueMicrotask(done)));
      times.push(performance.now() - began);
    };
    const keys = [...'--------', ...'++++++++', ...'--------', ...'++++++++'];
    for (const key of keys) await press(key);
    return times;
  }, strip);
  row(
    'the same: zoom, from key to drawn',
    'ms',
    zooms,
    atMost(16),
    'from 1 s to all of it and back',
  );
  await context.close();
}

async function image(world) {
  const { page, context } = await maya(world);
  await go(page, 'My record');
  await page.getByText('Full name').waitFor();
  const canvas = 'canvas.image';
  const whole = await painted(section(page, 'Images'), canvas);
  const rounds = [];
  for (let round = 0; round < ROUNDS; round++)
    rounds.push(await again(page, 'Images', 'Who', canvas));
  const note = `with receipt, download of 10 MiB and opening: ${number(whole)} ms`;
  row('X-ray, 2048 × 2560, 12 bit: open to first paint', 'ms', rounds, atMost(500), note);
  const { work, frames } = await page.evaluate(async (selector) => {
    const element = document.querySelector(selector);
    const kept = CanvasRenderingContext2D.prototype.putImageData;
    let drawn = () => {};
    CanvasRenderingContext2D.prototype.putImageData = function put(...all) {
      kept.apply(this, all);
      drawn();
    };
    const [work, frames] = [[], []];
    let before = await new Promise(requestAnimationFrame);
    for (let i = 0; i < 60; i++) {
      const began = performance.now();
      const ready = new Promise((done) => {
        drawn = () => done(performance.now() - began);
      });
      const movementX = i % 20 < 10 ? 6 : -6;
      element.dispatchEvent(
        new PointerEvent('pointermove', { bubbles: true, buttons: 1, movementX, movementY: 1 }),
      );
      work.push(await ready);
      const now = await new Promise(requestAnimationFrame);
      frames.push(now - before);
      before = now;
    }
    CanvasRenderingContext2D.prototype.putImageData = kept;
    return { work, frames: frames.sort((a, b) => a - b) };
  }, canvas);
  const middle = `frames ${number(frames[30])} ms apart in the middle, without a graphics card`;
  row('the same: window and level, from pointer to drawn', 'ms', work, atMost(16), middle);
  await context.close();
}

async function upload({ browser, world }, folder) {
  const file = join(folder, 'large.pdf');
  writeFileSync(file, pdf(UPLOAD_MIB << 20));
  const [rates, stalls] = [[], []];
  for (let round = 0; round < Math.min(ROUNDS, 3); round++) {
    const { page, context } = await visitor(browser);
    await logIn(page, world.north, 'stan', world.password('stan'));
    await heading(page, 'North Hospital');
    await go(page, 'Take a patient in');
    const name = `Upload ${round}`;
    await page.getByRole('textbox', { name: 'Patient number' }).fill(`U-${round}`);
    await page.getByRole('textbox', { name: 'Full name' }).fill(name);
    await page.locator('input[type=file]').setInputFiles(file);
    await page.getByText('large.pdf').first().waitFor();
    await page.getByRole('button', { name: 'Check what is taken in' }).click();
    const seal = page.getByRole('button', { name: `Sign and seal for ${name}` });
    await seal.waitFor();
    // Interception of requests for pages from a folder would slow the parts down.
    await context.unrouteAll({ behavior: 'wait' });
    const { seconds, longest } = await seal.evaluate(
      (button, done) =>
        new Promise((resolve) => {
          const began = performance.now();
          let [before, longest] = [began, 0];
          const channel = new MessageChannel();
          const tick = () => {
            const now = performance.now();
            longest = Math.max(longest, now - before);
            before = now;
            if (document.querySelector('main')?.textContent.includes(done))
              return resolve({ seconds: (now - began) / 1000, longest });
            setTimeout(() => channel.port2.postMessage(0), 4);
          };
          channel.port1.onmessage = tick;
          button.click();
          tick();
        }),
      `of ${name} are sealed`,
    );
    rates.push(UPLOAD_MIB / seconds);
    stalls.push(longest);
    await context.close();
  }
  const note = 'from pressing “Sign and seal” until it is anchored on the ledger';
  row(`sealing and uploading ${UPLOAD_MIB} MiB`, 'MiB/s', rates, atLeast(60), note);
  row('the same: longest time the page did not answer', 'ms', stalls, atMost(200));
}

async function metadata({ browser, world }) {
  const { page, context } = await visitor(browser);
  const asked = page.waitForRequest((request) => /\/patients\?/.test(request.url()));
  await logIn(page, world.north, 'stan', world.password('stan'));
  await heading(page, 'North Hospital');
  await go(page, 'Sealed records');
  const [, token] = (await (await asked).headerValue('authorization')).split(' ');
  const answer = await page.request.get(`${world.north}/api/v1/patients`, {
    headers: { authorization: `Bearer ${token}` },
  });
  const { items } = await answer.json();
  await context.close();
  const path = `/api/v1/patients/${items[0].alias}/records?limit=5`;
  const [rates, slowest] = [[], []];
  for (let round = 0; round < Math.min(ROUNDS, 3); round++) {
    const span = { connections: 256, spanMs: quick ? 1_000 : 6_000 };
    const { rate, p99 } = await reads(world.north, path, token, span);
    rates.push(rate);
    slowest.push(p99);
  }
  const what = 'authenticated reads of metadata, 256 connections';
  const note = 'five sealed records a read; the load shares the cores with four nodes';
  row(what, 'reads/s', rates, atLeast(5_000), note);
  row('the same, p99', 'ms', slowest, atMost(100));
}

function report(missing, before) {
  const revision = (() => {
    try {
      return execFileSync('git', ['rev-parse', '--short', 'HEAD']).toString().trim();
    } catch {
      return 'unknown';
    }
  })();
  const load = (values) => values.map((value) => value.toFixed(2)).join(' ');
  const machine = {
    cpu: cpus()[0].model,
    cores: cpus().length,
    load_before: load(before),
    load_after: load(loadavg()),
  };
  const program = process.env.SALUS_BENCH_PROGRAM ?? 'the last build';
  const told = { revision, quick, program, machine, figures: rows, not_measured: missing };
  const bar = ({ must, met }) => {
    if (!must) return '';
    const text = 'at_most' in must ? `≤ ${must.at_most}` : `≥ ${must.at_least}`;
    return `${text}, ${met ? 'met' : 'missed'}`;
  };
  const lines = rows.map(
    (r) =>
      `| ${r.what} | ${number(r.median)} (${number(r.least)} to ${number(r.most)}) ${r.unit} | ${bar(r)} | ${r.note} |`,
  );
  const text = [
    `Revision ${revision}, program: ${program}. ${machine.cpu}, ${machine.cores} cores; load averages before: ${machine.load_before}; after, the suite's own load included: ${machine.load_after}.`,
    ...(quick ? ['A quick run with small sizes: no figure here is worth quoting.'] : []),
    '',
    '| What | Median (least to most) | Must | Remarks |',
    '|---|---|---|---|',
    ...lines,
    ...missing.map((one) => `\nNot measured: ${one}`),
  ].join('\n');
  return { told, text };
}

const FIGURES = { first, record, ecg, image, upload, reads: metadata };
const before = loadavg();
const folder = mkdtempSync(join(tmpdir(), 'salus-bench-'));
write(folder, READINGS);
const world = await start({ samples: folder });
const browser = await open();
const missing = [];
try {
  for (const [name, figure] of Object.entries(FIGURES)) {
    if (only && !only.includes(name)) continue;
    console.error(`${name}, load average ${loadavg()[0].toFixed(2)}`);
    try {
      await figure({ browser, world }, folder);
    } catch (error) {
      const reason = String(error.message ?? error).split('\n')[0];
      missing.push(`${name}: ${reason}`);
      console.error(`  not measured: ${reason}`);
    } finally {
      for (const context of browser.contexts()) await context.close();
    }
  }
} finally {
  await browser.close();
  await world.stop();
  rmSync(folder, { recursive: true, force: true });
}
const { told, text } = report(missing, before);
console.log(text);
const json = argument('--json');
if (json) writeFileSync(json, `${JSON.stringify(told, null, 2)}\n`);
const table = argument('--table');
if (table) {
  const [BEGIN, END] = ['<!-- portals: begin -->', '<!-- portals: end -->'];
  const page = readFileSync(table, 'utf8');
  const [head, rest] = page.split(BEGIN);
  writeFileSync(table, `${head}${BEGIN}\n${text}\n${END}${rest.split(END)[1]}`);
}
process.exit(missing.length === 0 ? 0 : 1);
