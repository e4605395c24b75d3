// Training together: an operator starts a job, a hospital's staff decide and watch, a doctor has the
// model look at an image. Small films, two rounds.
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { go, heading, logIn, look, visitor } from './browser.mjs';
import { HOSTILE, notInjected } from './entry.mjs';
import { film, photograph } from './pictures.mjs';

const HOSPITALS = ['North Hospital', 'South Hospital', 'East Hospital'];
const PURPOSE = `Shadows on chest films ${HOSTILE}`;
/** Training takes its time on a busy machine. */
const PATIENCE = { timeout: 180_000 };

async function enter(browser, base, world, login, title, options) {
  const visit = await visitor(browser, options);
  await logIn(visit.page, base, login, world.password(login));
  await heading(visit.page, title);
  return visit;
}

const stan = (browser, world) => enter(browser, world.north, world, 'stan', 'North Hospital');
const olive = (browser, world) => enter(browser, world.cloud, world, 'olive', 'Overview');

/** Films with their findings, as a hospital has them. */
function films(world, hospital) {
  const at = HOSPITALS.indexOf(hospital);
  const folder = join(world.folder, `films-${at}`);
  mkdirSync(folder);
  const rows = ['file,label,patient,split'];
  const add = (label, split, count) => {
    for (let i = 0; i < count; i++) {
      const name = `${label}-${split}-${i}.png`;
      const seed = 10_000 * at + 1_000 * (label === 'shadow') + 100 * (split === 'test') + i;
      writeFileSync(join(folder, name), film(seed, label === 'shadow'));
      rows.push(`${name},${label},${hospital}-${label}-${split}-${i},${split}`);
    }
  };
  for (const label of ['clear', 'shadow']) {
    add(label, 'train', 12);
    // So many of each are needed before percentages are fitted.
    add(label, 'test', at === 0 ? 20 : 6);
  }
  writeFileSync(join(folder, 'manifest.csv'), `${rows.join('\n')}\n`);
  return folder;
}

/** A patient with a film like those, another picture, and a question to Dr. Ruiz about both. */
async function shared(world) {
  const north = (...words) => world.as('North Hospital', ...words);
  const files = [join(world.folder, 'tessa.png'), join(world.folder, 'photo.png')];
  writeFileSync(files[0], film(4711, true));
  writeFileSync(files[1], photograph());
  await north('intake', '--form', '--patient', 'T-1', '--name', 'Tessa Film', ...files);
  const [patient] = (await north('patients', 'list')).flat().filter((p) => p.name === 'Tessa Film');
  const noah = await world.person('noah', 'person', 'show');
  await north('patients', 'link', patient.alias, noah.flat()[0].principal);
  const at = ['--at', world.north];
  const [access] = (await world.person('noah', 'access', 'request', patient.alias, ...at)).flat();
  const records = (await world.person('noah', 'records', 'list', patient.alias, ...at))
    .flat()
    .filter(({ kind }) => kind === 'image')
    .map(({ record }) => record);
  assert.equal(records.length, 2);
  const doctors = (await world.person('noah', 'consult', 'doctors')).flat();
  const dana = doctors.find(({ name }) => name === 'Dr. Dana Ruiz').principal;
  const what = ['--alias', patient.alias, '--access', access.access, '--doctor', dana];
  await world.person(
    'noah',
    'consult',
    'ask',
    ...what,
    '--question',
    'A shadow?',
    ...at,
    ...records,
  );
}

export const journeys = {
  'hospitals train together: proposed, decided and watched in the page': async ({
    browser,
    world,
  }) => {
    const hospital = (await stan(browser, world)).page;
    const cloud = (await olive(browser, world)).page;

    await go(cloud, 'Training together');
    await cloud.getByText('No job was proposed yet.').waitFor();
    await cloud.getByText('No job has finished yet.').waitFor();
    await look(cloud, 'training-cloud-empty');
    await go(hospital, 'Training together');
    await hospital.getByText('No images are offered yet.').waitFor();
    await hospital.getByText('No job was proposed to this hospital yet.').waitFor();
    await look(hospital, 'training-hospital-empty');

    // Images that nobody labelled so are refused, with the reason.
    await hospital.getByRole('button', { name: 'Offer images' }).click();
    const offer = hospital.getByRole('dialog', { name: 'Offer images for training' });
    await offer.getByLabel('Findings to tell apart').fill('clear');
    await offer.getByRole('button', { name: 'Offer images' }).click();
    await offer.getByRole('link', { name: 'Name at least two findings' }).waitFor();
    await offer.getByLabel('Findings to tell apart').fill('clear, shadow');
    await offer.getByRole('button', { name: 'Offer images' }).click();
    await offer.getByText(/there is no labelled image of these classes/).waitFor(PATIENCE);
    await look(hospital, 'training-offer-refused');
    for (const name of HOSPITALS) await world.as(name, 'intake', films(world, name));
    await offer.getByLabel('Size for the network').selectOption('28');
    await offer.getByRole('button', { name: 'Offer images' }).click();
    await hospital.getByText('Offered: 24 images for training.').waitFor(PATIENCE);
    await hospital.getByRole('article', { name: 'clear, shadow, 28 by 28 pixels' }).waitFor();
    await look(hospital, 'training-offered');
    const offered = ['federated', 'offer', '--classes', 'clear,shadow', '--size', '28'];
    for (const name of HOSPITALS.slice(1)) await world.as(name, ...offered);

    await cloud.getByRole('link', { name: 'Start a job' }).click();
    await heading(cloud, 'Start a job');
    await cloud.getByRole('checkbox', { name: /^East Hospital: 24 images/ }).waitFor(PATIENCE);
    await cloud.getByRole('button', { name: 'Check the plan' }).click();
    await cloud.getByRole('link', { name: 'Say what it is for' }).waitFor();
    await look(cloud, 'training-start-fault');
    await cloud.getByLabel('What is this for?').fill(PURPOSE);
    await cloud.getByLabel('Rounds', { exact: true }).fill('2');
    await cloud.getByLabel('Passes over the images').fill('2');
    await cloud.getByLabel('Hospitals needed in a round').fill('2');
    await cloud.getByRole('button', { name: 'Check the plan' }).click();
    await cloud.getByText('Check, then propose').waitFor();
    await look(cloud, 'training-start-check');
    await cloud.getByRole('button', { name: 'Propose to 3 hospitals' }).click();
    await cloud.getByText('Waiting until enough hospitals take part').waitFor(PATIENCE);
    await notInjected(cloud);
    await look(cloud, 'training-proposed');
    const job = new URL(cloud.url()).pathname.split('/').at(-1);

    // The hospital's page learns of it by itself.
    await hospital.getByText('Waits for your decision').waitFor(PATIENCE);
    await look(hospital, 'training-hospital-jobs');
    await hospital.getByRole('link', { name: /^Show: Shadows on chest films/ }).click();
    await hospital.getByText('What leaves this hospital').waitFor();
    await hospital.getByText(/Every image, every finding, every name/).waitFor();
    await notInjected(hospital);
    await look(hospital, 'training-plan');
    await world.as('South Hospital', 'federated', 'refuse', job);
    await hospital.getByRole('row', { name: /South Hospital takes no part/ }).waitFor(PATIENCE);
    await hospital.getByRole('button', { name: 'Take part' }).click();
    await hospital.getByText('You sign the plan as it stands below.').waitFor();
    await look(hospital, 'training-approve');
    await hospital.getByRole('dialog').getByRole('button', { name: 'Take part' }).click();
    await hospital.getByText(/Signed and final: entry \d+/).waitFor(PATIENCE);
    await hospital.getByText('This hospital takes part').waitFor();
    await world.as('East Hospital', 'federated', 'approve', job);

    // Nobody touches either page; both end with the same model.
    await cloud.getByText('Finished after 2 rounds').waitFor(PATIENCE);
    await hospital.getByText('Finished after 2 rounds').waitFor(PATIENCE);
    await hospital
      .getByRole('row', { name: /Trained|AUC \(95 % range\)/ })
      .first()
      .waitFor(PATIENCE);
    await hospital.getByText(/^2 updates, /).waitFor(PATIENCE);
    const [told] = await world.as('North Hospital', 'federated', 'status', job);
    await hospital.getByText(told.model).first().waitFor();
    await cloud.getByText(told.model).first().waitFor();
    for (const page of [cloud, hospital])
      await page.getByLabel('Show AUC on each hospital’s own test images as table').check();
    await cloud.getByRole('columnheader', { name: 'All hospitals together' }).waitFor();
    await look(cloud, 'training-done-cloud');
    await look(hospital, 'training-done-hospital');
    // What the page lists as having left is what the ledger's round has.
    const left = hospital.getByRole('region', { name: 'What has left this site' });
    assert.equal(await left.getByRole('row').count(), 3);
    const digests = (await left.textContent()).match(/[0-9a-f]{64}/g);
    assert.equal(new Set(digests).size, 2);

    await go(cloud, 'Training together');
    const [download] = await Promise.all([
      cloud.waitForEvent('download'),
      cloud.getByRole('button', { name: /^Download the model of/ }).click(),
    ]);
    assert.match(download.suggestedFilename(), /^model-[0-9a-f]{8}\.safetensors$/);
    await look(cloud, 'training-cloud');
    await go(hospital, 'Training together');
    await hospital.getByText('This hospital takes part').waitFor();
    await look(hospital, 'training-hospital');
  },

  'a doctor has the model look at an image, and is warned of another': async ({
    browser,
    world,
  }) => {
    await shared(world);
    const { page } = await enter(browser, world.cloud, world, 'dana', 'Patients who shared');
    await page
      .locator('main')
      .getByRole('link', { name: /Tessa|Patient/ })
      .first()
      .click();
    await page.getByText('A shadow?').waitFor();
    const pictures = page.getByRole('group', { name: 'Prediction by a model' });
    await pictures.nth(1).waitFor();
    await look(page, 'prediction-before');
    for (const at of [0, 1])
      await pictures.nth(at).getByRole('button', { name: 'Predict' }).click();
    const receipt = page.getByText(/Receipt: entry \d+ of the ledger/);
    await receipt.nth(1).waitFor(PATIENCE);
    assert.equal(await page.getByText('Not a diagnosis.').count(), 2);
    // The photograph gets a warning and no number, until somebody asks for it.
    const photo = pictures.filter({
      hasText: 'This does not look like the kind of picture the model was trained on.',
    });
    await photo.first().waitFor();
    const warned = photo.last();
    assert.equal(await warned.getByRole('columnheader', { name: 'Probability' }).count(), 0);
    await warned.getByRole('button', { name: 'Show the numbers all the same' }).click();
    await warned.getByRole('columnheader', { name: 'Probability' }).waitFor();
    const heat = page.getByTestId('heat').first();
    await heat.waitFor();
    const strength = page.getByRole('slider', { name: 'Strength' }).first();
    await strength.focus();
    await page.locator('[data-testid=heat][style*="opacity: 0.5;"]').first().waitFor();
    await page.keyboard.press('ArrowRight');
    await page.locator('[data-testid=heat][style*="opacity: 0.55;"]').first().waitFor();
    const drawn = await heat.evaluate((canvas) =>
      canvas
        .getContext('2d')
        .getImageData(0, 0, canvas.width, canvas.height)
        .data.some((value, i) => i % 4 === 3 && value > 100),
    );
    assert.ok(drawn, 'the heat map shows something');
    await look(page, 'prediction');
    await pictures.first().getByRole('button', { name: 'Where the model comes from' }).click();
    await page
      .getByRole('dialog')
      .getByText(/Used for \d+ predictions/)
      .waitFor();
    await page.getByRole('dialog').getByRole('rowheader', { name: 'East Hospital' }).waitFor();
    await look(page, 'prediction-lineage');
  },

  'the pages about training speak German': async ({ browser, world }) => {
    const { page } = await olive(browser, world);
    await page.getByLabel('Language').selectOption('de');
    const menu = page.getByRole('navigation', { name: 'Menü' });
    await menu.getByRole('link', { name: 'Gemeinsam trainieren', exact: true }).click();
    await heading(page, 'Gemeinsam trainieren');
    await page.getByRole('link', { name: /^Zeigen: Shadows/ }).click();
    await page.getByText('Fertig nach 2 Runden').waitFor();
    await page.getByText('Was jedes Krankenhaus verlässt').waitFor();
    await look(page, 'training-german');
  },
};
