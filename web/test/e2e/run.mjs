// Every journey, one after the other, in one consortium. Arguments choose journeys by their names'
// beginnings; SALUS_SAMPLES names a folder of sample data for the demonstration.
import assert from 'node:assert/strict';
import { consoleFaults, open } from './browser.mjs';
import * as cloud from './cloud.mjs';
import * as demo from './demo.mjs';
import * as doctor from './doctor.mjs';
import * as entry from './entry.mjs';
import * as federated from './federated.mjs';
import * as hospital from './hospital.mjs';
import * as passkey from './passkey.mjs';
import * as patient from './patient.mjs';
import * as pharmacy from './pharmacy.mjs';
import { start } from './world.mjs';

const journeys = {
  ...demo.journeys,
  ...entry.journeys,
  ...passkey.journeys,
  ...patient.journeys,
  ...doctor.journeys,
  ...hospital.journeys,
  ...cloud.journeys,
  ...federated.journeys,
  ...pharmacy.journeys,
};
const wanted = process.argv.slice(2);
const chosen = Object.entries(journeys).filter(
  ([name]) => wanted.length === 0 || wanted.some((word) => name.startsWith(word)),
);

console.log('starting a consortium ...');
const world = await start({ samples: process.env.SALUS_SAMPLES });
const browser = await open();
// Whatever happens, no process of the consortium stays behind.
process.once('uncaughtException', async (error) => {
  console.error(error);
  await world.stop();
  process.exit(1);
});
let failed = 0;
try {
  for (const [name, journey] of chosen) {
    const began = Date.now();
    try {
      await journey({ browser, world });
      assert.deepEqual(consoleFaults().splice(0), [], 'faults in the console');
      console.log(`ok      ${name} (${((Date.now() - began) / 1000).toFixed(1)} s)`);
    } catch (error) {
      failed += 1;
      const pages = browser.contexts().flatMap((context) => context.pages());
      for (const [at, page] of pages.entries()) {
        const path = `../../test-output/failed-${name.replaceAll(/\W+/g, '-')}-${at}.png`;
        await page.screenshot({ path: new URL(path, import.meta.url).pathname }).catch(() => {});
      }
      console.log(`FAILED  ${name}\n${error.stack ?? error}`);
      for (const fault of consoleFaults().splice(0)) console.log(`        console: ${fault}`);
    } finally {
      for (const context of browser.contexts()) await context.close();
    }
  }
} finally {
  await browser.close();
  await world.stop();
}
console.log(failed === 0 ? `${chosen.length} journeys` : `${failed} of ${chosen.length} failed`);
process.exit(failed === 0 ? 0 : 1);
