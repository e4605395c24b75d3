// What the healthcare cloud's operator does: profiles, the sealed store, requests, refused attempts,
// the ledger's health.
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { go, heading, logIn, look, visitor } from './browser.mjs';
import { HOSTILE, keepCode, notInjected, register } from './entry.mjs';

async function olive(browser, world, options) {
  const visit = await visitor(browser, options);
  await logIn(visit.page, world.cloud, 'olive', world.password('olive'));
  await heading(visit.page, 'Overview');
  return visit;
}

const SNOMED = 'http://snomed.info/sct';

/** A patient with conditions, as a hospital's system would export it. */
function bundle(number, codes) {
  const patient = `urn:uuid:${number}`;
  const conditions = codes.map(([code, display], at) => ({
    fullUrl: `${patient}-${at}`,
    resource: {
      resourceType: 'Condition',
      id: `${number}-${at}`,
      subject: { reference: patient },
      code: { coding: [{ system: SNOMED, code, display }], text: display },
    },
  }));
  const name = [{ family: `Chartered ${number}`, given: ['Test'] }];
  const resource = { resourceType: 'Patient', id: number, name };
  const entry = [{ fullUrl: patient, resource }, ...conditions];
  return JSON.stringify({ resourceType: 'Bundle', type: 'collection', entry });
}

async function takeIn(world) {
  const folder = join(world.folder, 'arrivals');
  mkdirSync(folder);
  for (let n = 0; n < 10; n++) {
    const codes = [['chart-1', 'Fever of chart <b>test</b>']];
    if (n < 4) codes.push(['chart-2', 'Nausea of four']);
    writeFileSync(join(folder, `chart-${n}.json`), bundle(`chart-${n}`, codes));
  }
  await world.as('North Hospital', 'intake', folder);
}

let arrived;

/** Ten patients arrive at the North Hospital, once, four of them with something rare. */
const arrivals = (world) => {
  arrived ??= takeIn(world);
  return arrived;
};

/** Somebody registers and waits. */
async function newcomer(browser, world, login, name, role) {
  const { page } = await visitor(browser);
  await register(page, world.cloud, { login, name, role });
  if (role === 'Doctor') {
    await page.getByLabel('Specialty').fill('Cardiology');
    await page.getByLabel('Licence number').fill('L-4711');
  }
  await page.getByRole('button', { name: 'Register' }).click();
  await keepCode(page);
  await page.getByText('Waiting for authorisation').waitFor();
  return page;
}

export const journeys = {
  'an operator authorises one profile and refuses another with a reason': async ({
    browser,
    world,
  }) => {
    const doctor = await newcomer(browser, world, 'cloud-doctor', 'Dr. Ines Wart', 'Doctor');
    const fake = await newcomer(browser, world, 'cloud-fake', `Fake ${HOSTILE}`, 'Patient');
    const { page } = await olive(browser, world);
    await page.getByText(/^\d+ profiles wait$/).waitFor();
    await page.getByText('The ledger works').waitFor();
    await look(page, 'cloud-home');
    await page.getByRole('link', { name: /profiles wait/ }).click();
    await heading(page, 'Profiles');
    await page.getByText('L-4711').waitFor();
    await notInjected(page);
    await look(page, 'cloud-profiles');

    await page.getByRole('button', { name: 'Authorise Dr. Ines Wart' }).click();
    const dialog = page.getByRole('dialog', { name: 'Authorise Dr. Ines Wart' });
    await dialog.getByRole('radio', { name: 'identity checked' }).waitFor();
    await look(page, 'cloud-authorise');
    await dialog.getByRole('button', { name: 'Authorise Dr. Ines Wart' }).click();
    await page.getByText(/Dr\. Ines Wart: decided and final\. Entry \d+/).waitFor();
    await doctor.getByText('0 questions wait for you').waitFor();

    await page.getByRole('button', { name: /^Refuse Fake/ }).click();
    await page
      .getByRole('dialog')
      .getByRole('button', { name: /^Refuse Fake/ })
      .click();
    await page.getByRole('link', { name: 'Choose a reason' }).waitFor();
    await look(page, 'cloud-refuse-fault');
    await page.getByRole('radio', { name: 'identity could not be checked' }).check();
    await page
      .getByRole('dialog')
      .getByRole('button', { name: /^Refuse Fake/ })
      .click();
    await page.getByText(/^Fake .*: decided and final\. Entry \d+/).waitFor();
    await page.getByRole('article', { name: /^Fake/ }).waitFor({ state: 'detached' });
    await look(page, 'cloud-profiles-decided');
    await fake.getByText('Reason: identity could not be checked').waitFor();

    await page.getByLabel('Show', { exact: true }).selectOption({ label: 'Refused' });
    await page.getByRole('article', { name: /^Fake/ }).waitFor();
    await notInjected(page);
    await page.getByLabel('Show', { exact: true }).selectOption({ label: 'Authorised' });
    await page.getByLabel('Search by name, hospital').fill('wart');
    await page.getByText('1 profile', { exact: true }).waitFor();
    assert.match(page.url(), /query=wart/);
    await look(page, 'cloud-profiles-search');

    await page.getByRole('button', { name: 'Shut out Dr. Ines Wart' }).click();
    await page.getByRole('radio', { name: 'no longer in this role' }).check();
    await look(page, 'cloud-shut-out');
    await page.getByRole('dialog').getByRole('button', { name: 'Shut out Dr. Ines Wart' }).click();
    await page.getByText('Nothing fits.').waitFor();
  },

  'an operator finds sealed records and checks their proofs': async ({ browser, world }) => {
    const { page } = await olive(browser, world);
    await go(page, 'Sealed store');
    await page.getByRole('columnheader', { name: 'Records' }).waitFor();
    await look(page, 'cloud-store');
    const first = page.getByRole('row').nth(1);
    const number = (await first.getByRole('cell').nth(1).textContent()).trim();
    await page.getByLabel('Search by name or patient').fill(number);
    await page.getByText('1 patient', { exact: true }).waitFor();
    await page.getByLabel('Search by name or patient').fill('nobody of this name');
    await page.getByText('Nothing fits.').waitFor();
    await page.getByLabel('Search by name or patient').fill(number);
    await page.getByText('1 patient', { exact: true }).waitFor();
    await page.getByRole('row').nth(1).getByRole('link').click();
    await page.getByRole('columnheader', { name: 'Digest (SHA-256)' }).waitFor();
    const kind = page.getByLabel('Kind', { exact: true });
    await kind.selectOption({ index: 1 });
    await page.getByRole('button', { name: /^Check \d+ proofs?$/ }).click();
    await page
      .getByText(/proofs? holds?$/)
      .first()
      .waitFor({ timeout: 120_000 });
    await look(page, 'cloud-sealed');
    const [download] = await Promise.all([
      page.waitForEvent('download'),
      page
        .getByRole('button', { name: /^Keep the proof of record/ })
        .first()
        .click(),
    ]);
    assert.match(download.suggestedFilename(), /^proof-[0-9A-F]{8}/);
    await page.getByLabel('Search by kind').fill('nothing like it');
    await page.getByText('Nothing fits.').waitFor();
  },

  'an operator watches access requests': async ({ browser, world }) => {
    const { page } = await olive(browser, world);
    await go(page, 'Access requests');
    await page.getByRole('columnheader', { name: 'Who asks' }).waitFor();
    await page
      .getByRole('cell', { name: /^Approved/ })
      .first()
      .waitFor();
    await look(page, 'cloud-requests');
    await page.getByLabel('State').selectOption({ label: 'Waits for the hospital' });
    await page.getByText('Nobody asked for anything like this.').waitFor();
    await look(page, 'cloud-requests-none');
  },

  'an operator sees refused attempts as they happen': async ({ browser, world }) => {
    const { page } = await olive(browser, world);
    await go(page, 'Refused attempts');
    await page.getByRole('columnheader', { name: 'Why refused' }).waitFor();
    const before = await page.getByText(/^\d+ attempts?$/).textContent();
    // Somebody who is not logged in tries; nobody touches the operator's page.
    const stranger = await visitor(browser);
    const answer = await stranger.context.request.get(`${world.cloud}/api/v1/attempts`);
    assert.equal(answer.status(), 401);
    await page.waitForFunction(
      (text) =>
        ![...document.querySelectorAll('[role=status]')].some((one) => one.textContent === text),
      before,
    );
    await page.getByText('Not logged in').first().waitFor();
    await look(page, 'cloud-attempts');
    await page.getByLabel('Search', { exact: true }).fill('no such thing');
    await page.getByText('Nothing fits.').waitFor();
  },

  'an operator charts patients per symptom and doctor, and the hospital counts exactly': async ({
    browser,
    world,
  }) => {
    const { page } = await olive(browser, world);
    await go(page, 'Charts');
    await page.getByRole('heading', { name: 'Patients per doctor' }).waitFor();
    await page.getByText('No cell has enough patients').first().waitFor();
    await look(page, 'cloud-charts-few');
    // Nobody touches the operator's page while patients arrive.
    await arrivals(world);
    const symptoms = page.getByRole('region', { name: 'Patients per symptom', exact: true });
    const bar = symptoms.getByRole('listitem').filter({ hasText: 'Fever of chart <b>test</b>' });
    // Some of them may have left in an earlier statement, which others then stay out of.
    await bar.getByText(/^about (5|10) patients$/).waitFor({ timeout: 60_000 });
    await notInjected(page);
    assert.equal(await page.getByText('Nausea of four').count(), 0);
    await symptoms.getByLabel('Show Patients per symptom as table').check();
    await symptoms.getByRole('columnheader', { name: 'North Hospital' }).waitFor();
    await symptoms.getByRole('cell', { name: 'chart-1' }).waitFor();
    await page.getByText('Who could have seen what').first().waitFor();
    await look(page, 'cloud-charts');
    await page.getByLabel('Hospital', { exact: true }).selectOption({ label: 'North Hospital' });
    await page.getByText(/^North Hospital: counted /).waitFor();
    assert.match(page.url(), /hospital=[0-9a-f]{32}/);
    await page.getByLabel('Language').selectOption('de');
    await heading(page, 'Diagramme');
    await look(page, 'cloud-de-diagramme');

    const { page: ward } = await visitor(browser);
    await logIn(ward, world.north, 'stan', world.password('stan'));
    await go(ward, 'Charts');
    const own = ward.getByRole('region', { name: 'Patients per symptom', exact: true });
    await own
      .getByRole('listitem')
      .filter({ hasText: 'Fever of chart' })
      .getByText('10 patients')
      .waitFor({ timeout: 60_000 });
    await own
      .getByRole('listitem')
      .filter({ hasText: 'Nausea of four' })
      .getByText('4 patients')
      .waitFor();
    await own.getByLabel('Show Patients per symptom as table').check();
    const row = (text) => own.getByRole('row').filter({ hasText: text });
    await row('Nausea of four').getByRole('cell', { name: 'nothing' }).waitFor();
    await row('Fever of chart')
      .getByRole('cell', { name: /^about (5|10) patients$/ })
      .waitFor();
    await notInjected(ward);
    await look(ward, 'hospital-charts');
  },

  'an operator is told which hospital’s numbers are missing or false': async ({
    browser,
    world,
  }) => {
    await arrivals(world);
    const { page } = await olive(browser, world);
    const path = '**/api/v1/statistics';
    let broken = 0;
    await page.route(path, async (route) => {
      if (route.request().method() !== 'GET') return route.continue();
      if (!route.request().url().startsWith(world.north)) return route.abort();
      // One digit of what the North Hospital signed is another.
      const answer = await route.fetch();
      const told = await answer.json();
      const altered = Buffer.from(told.statements[0], 'base64url');
      altered[altered.length - 7] ^= 1;
      broken += 1;
      return route.fulfill({
        response: answer,
        json: { ...told, statements: [altered.toString('base64url')] },
      });
    });
    await go(page, 'Charts');
    await page
      .getByRole('alert')
      .getByText(/not shown: North Hospital\./)
      .waitFor();
    await page.getByText(/^Not reachable, and not in the charts: /).waitFor();
    assert.ok(broken > 0);
    await look(page, 'cloud-charts-failed');
  },

  'an operator sees whether the ledger works, and who the members are': async ({
    browser,
    world,
  }) => {
    const { page } = await olive(browser, world);
    await go(page, 'Ledger');
    await page.getByText('Everything that is signed becomes final').waitFor();
    await page.getByRole('cell', { name: 'This node' }).waitFor();
    await page.getByRole('button', { name: 'Check the checkpoint here' }).click();
    await page.getByText(/Checked in this page against the founding document/).waitFor();
    await look(page, 'cloud-ledger');
    await go(page, 'Members');
    await page.getByText('ML-DSA-65 key, SHA-256').first().waitFor();
    await page.getByText('No change of membership was ever proposed.').waitFor();
    await look(page, 'cloud-members');
    await page.getByLabel('Language').selectOption('de');
    await heading(page, 'Mitglieder');
    for (const [name, title] of [
      ['Übersicht', 'uebersicht'],
      ['Profile', 'profile'],
      ['Versiegelter Speicher', 'speicher'],
      ['Zugriffsanfragen', 'anfragen'],
      ['Abgewiesene Versuche', 'versuche'],
      ['Diagramme', 'diagramme-alle'],
      ['Register', 'register'],
    ]) {
      await page
        .getByRole('navigation', { name: 'Menü' })
        .getByRole('link', { name, exact: true })
        .click();
      await heading(page, name);
      await page.getByText('Wird geladen').waitFor({ state: 'detached' });
      await look(page, `cloud-de-${title}`);
    }
  },

  'the cloud’s pages are for its operators only': async ({ browser, world }) => {
    const { page } = await visitor(browser);
    await logIn(page, world.cloud, 'dana', world.password('dana'));
    await heading(page, 'Patients who shared');
    await page.evaluate(() => history.pushState({}, '', '/cloud/attempts'));
    await page.evaluate(() => dispatchEvent(new PopStateEvent('popstate')));
    await heading(page, 'Patients who shared');
  },
};
