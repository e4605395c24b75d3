// The browser of the tests, and what is looked at on every page: axe in light, dark and on a phone,
// nothing wider than the screen, no fault in the console, a picture to look at.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import axe from 'axe-core';
import { chromium } from 'playwright-core';

const SHOTS = new URL('../../test-output/', import.meta.url).pathname;
const RULES = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];
const MODES = {
  light: { colorScheme: 'light', width: 1280, height: 900 },
  dark: { colorScheme: 'dark', width: 1280, height: 900 },
  phone: { colorScheme: 'light', width: 360, height: 740 },
};

/** Starts Chromium. Certificates are the demonstration's own. */
export async function open() {
  mkdirSync(SHOTS, { recursive: true });
  const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';
  const args = ['--no-sandbox', '--ignore-certificate-errors'];
  // Pages that come from a folder have no address of their own, so loopback would be out of their reach.
  if (process.env.SALUS_WEB_DIR) args.push('--disable-features=LocalNetworkAccessChecks');
  return chromium.launch({ executablePath, headless: true, args });
}

const faults = [];

/** Faults that any page wrote to its console. */
export const consoleFaults = () => faults;

/**
 * With SALUS_WEB_DIR the pages come from that folder under the node's own headers: to look at a change
 * without building the node again.
 */
async function fromFolder(context, folder) {
  await context.route(
    (url) => url.protocol === 'https:' && !url.pathname.startsWith('/api/'),
    async (route) => {
      const { pathname } = new URL(route.request().url());
      const path = join(folder, pathname);
      // A worker's script must carry the page's own isolation.
      const headers = { 'cross-origin-embedder-policy': 'require-corp' };
      const contentType = path.endsWith('.css') ? 'text/css' : 'text/javascript';
      if (pathname.startsWith('/assets/') && existsSync(path))
        return route.fulfill({ body: readFileSync(path), headers, contentType });
      if (route.request().resourceType() !== 'document') return route.continue();
      const answer = await route.fetch();
      const [, nonce] = /'nonce-([^']+)'/.exec(answer.headers()['content-security-policy']);
      const page = readFileSync(join(folder, 'index.html'), 'utf8');
      return route.fulfill({ response: answer, body: page.replaceAll('__CSP_NONCE__', nonce) });
    },
  );
}

/** A window of its own, with nothing remembered. */
export async function visitor(browser, { locale = 'en-GB' } = {}) {
  const context = await browser.newContext({
    ignoreHTTPSErrors: true,
    reducedMotion: 'reduce',
    colorScheme: 'light',
    locale,
    viewport: { width: 1280, height: 900 },
    acceptDownloads: true,
    serviceWorkers: process.env.SALUS_WEB_DIR ? 'block' : 'allow',
  });
  context.setDefaultTimeout(60_000);
  if (process.env.SALUS_WEB_DIR) await fromFolder(context, process.env.SALUS_WEB_DIR);
  const page = await context.newPage();
  page.on('console', (message) => {
    const text = message.text();
    // A refusal is an answer, and a cut network is what some tests are about.
    if (/Failed to load resource|net::ERR_/.test(text)) return;
    if (message.type() === 'error' || /Content Security Policy|Trusted Type/.test(text))
      faults.push(text);
  });
  page.on('pageerror', (error) => faults.push(error.message));
  return { context, page };
}

let shots = 0;

/** Looks at a page in every mode. */
export async function look(page, name) {
  const number = String(++shots).padStart(2, '0');
  for (const [mode, { colorScheme, width, height }] of Object.entries(MODES)) {
    await page.emulateMedia({ colorScheme });
    await page.setViewportSize({ width, height });
    await page.evaluate(
      () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))),
    );
    await page.evaluate(() => scrollTo(0, 0));
    await page.screenshot({ path: `${SHOTS}${number}-${name}-${mode}.png`, fullPage: true });
    await page.evaluate(axe.source);
    const { violations } = await page.evaluate(
      (rules) => axe.run(document, { runOnly: rules }),
      RULES,
    );
    const told = violations.map((v) => {
      const places = v.nodes.slice(0, 3).map((n) => `${n.target.join(' ')} ${n.failureSummary}`);
      return `${v.id}: ${v.help}\n    ${places.join('\n    ')}`;
    });
    assert.deepEqual(told, [], `axe on ${name}, ${mode}`);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(wide <= 0, `${name}, ${mode}: ${wide} px wider than the screen`);
  }
  await page.emulateMedia({ colorScheme: 'light' });
  await page.setViewportSize({ width: 1280, height: 900 });
}

/** Logs in as a person would. */
export async function logIn(page, base, login, password) {
  await page.goto(`${base}/login`);
  await page.getByLabel('User name').fill(login);
  await page.getByRole('textbox', { name: 'Password' }).fill(password);
  await page.getByRole('button', { name: 'Log in', exact: true }).click();
}

/** Goes somewhere by the menu. */
export const go = (page, name) =>
  page.getByRole('navigation', { name: 'Menu' }).getByRole('link', { name, exact: true }).click();

export const heading = (page, name) => page.getByRole('heading', { level: 1, name }).waitFor();
