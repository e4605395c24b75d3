// Coming in: registering, logging in, locking, and what happens when something is wrong.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { go, heading, logIn, look, visitor } from './browser.mjs';

export const HOSTILE =
  '<img src=x onerror="window.injected=1"><script>window.injected=2</script>{{7*7}}';
const LONG =
  'Maximiliane-Theodora Freifrau von und zu Hohenzollern-Sigmaringen-Weißenfels der Ältere';
const PASSWORD = 'a long enough password';

/** Nothing that was entered became markup or code. */
export const notInjected = async (page) =>
  assert.equal(await page.evaluate(() => window.injected), undefined, 'an injected script ran');

export async function register(page, base, { login, name, role }) {
  await page.goto(`${base}/register`);
  await page.getByRole('radio', { name: role }).check();
  await page.getByLabel('User name').fill(login);
  await page.getByRole('textbox', { name: 'Password' }).fill(PASSWORD);
  await page.getByRole('button', { name: 'Continue' }).click();
  await page.getByLabel('Full name').fill(name);
}

/** Prints nothing, types the code back, and is in. */
export async function keepCode(page) {
  const code = (await page.getByTestId('recovery-code').textContent()).trim();
  await page.getByLabel('Type the last four characters').fill(code.slice(-4).toLowerCase());
  await page.getByRole('button', { name: 'I have kept the code' }).click();
  return code;
}

/** The whole recovery code of 17 zero bytes. */
function zeroCode() {
  const label = Buffer.concat([Buffer.from('salus/v1/recovery-check'), Buffer.alloc(1)]);
  const check = createHash('sha256').update(label).update(Buffer.alloc(17)).digest();
  const bits = [...check.subarray(0, 3)].map((byte) => byte.toString(2).padStart(8, '0')).join('');
  // 136 zero bits fill 27 characters and one bit; the check's 24 bits end the code.
  const digits = `0${bits}`.match(/.{5}/g).map((five) => Number.parseInt(five, 2));
  const ending = digits.map((digit) => '0123456789ABCDEFGHJKMNPQRSTVWXYZ'[digit]).join('');
  return `${'0'.repeat(27)}${ending}`;
}

/** The cloud's operator lets somebody in. */
export async function authorise(world, name) {
  const profiles = await world.person('olive', 'profiles', 'list');
  const found = profiles.flat().find((profile) => profile.profile?.name === name);
  await world.person('olive', 'profiles', 'decide', found.principal, 'approve');
}

export const journeys = {
  'start, languages and pages that do not exist': async ({ browser, world }) => {
    const { page } = await visitor(browser);
    await page.goto(world.cloud);
    await heading(page, 'Your medical records, sealed');
    await look(page, 'start');
    await page.getByLabel('Language').selectOption('de');
    await heading(page, 'Ihre Krankenakte, versiegelt');
    assert.equal(await page.evaluate(() => document.documentElement.lang), 'de');
    await look(page, 'start-german');
    await page.reload();
    await heading(page, 'Ihre Krankenakte, versiegelt');
    await page.goto(`${world.cloud}/no/such/page`);
    await heading(page, 'Diese Seite gibt es nicht');
    await look(page, 'lost');
  },

  'the policy stops injected markup, scripts and styles': async ({ browser, world }) => {
    const { page } = await visitor(browser);
    await page.goto(world.cloud);
    await heading(page, 'Your medical records, sealed');
    const found = await page.evaluate(async () => {
      const out = {};
      const attempt = (name, work) => {
        try {
          work();
          out[name] = 'passed';
        } catch {
          out[name] = 'stopped';
        }
      };
      attempt('markup', () =>
        document.body.insertAdjacentHTML('beforeend', '<img src=x onerror="window.injected=1">'),
      );
      attempt('remote', () => {
        document.createElement('script').src = 'https://evil.example/x.js';
      });
      attempt('text', () => {
        const script = document.createElement('script');
        script.textContent = 'window.injected=2';
        document.body.append(script);
      });
      const style = document.createElement('style');
      style.appendChild(document.createTextNode('body{outline:9px solid red}'));
      document.head.append(style);
      await new Promise((done) => requestAnimationFrame(done));
      out.style = getComputedStyle(document.body).outlineWidth;
      out.elsewhere = await fetch('https://evil.example/').then(
        () => 'passed',
        () => 'stopped',
      );
      out.injected = window.injected ?? null;
      return out;
    });
    assert.equal(found.markup, 'stopped');
    assert.equal(found.remote, 'stopped');
    assert.equal(found.injected, null);
    assert.notEqual(found.style, '9px');
    assert.equal(found.elsewhere, 'stopped');
    // What was stopped is told in the console; that is what this journey is about.
    const { consoleFaults } = await import('./browser.mjs');
    assert.ok(consoleFaults().splice(0).length > 0);
  },

  'a patient registers, keeps the code and waits; authorised, the pages are empty': async ({
    browser,
    world,
  }) => {
    const { page } = await visitor(browser);
    await page.goto(`${world.cloud}/register`);
    await heading(page, 'Register');
    await page.getByRole('button', { name: 'Continue' }).click();
    await page.getByText('There is a problem').waitFor();
    await page.getByRole('link', { name: 'Use at least 12 characters' }).waitFor();
    await look(page, 'register-faults');
    const name = `${LONG} ${HOSTILE}`.slice(0, 130);
    await register(page, world.cloud, { login: 'new-patient', name, role: 'Patient' });
    await page.getByLabel('Address').fill(HOSTILE);
    await look(page, 'register-profile');
    await page.getByRole('button', { name: 'Register' }).click();
    await page.getByTestId('recovery-code').waitFor();
    await look(page, 'register-code');
    await page.getByLabel('Type the last four characters').fill('????');
    await page.getByRole('button', { name: 'I have kept the code' }).click();
    await page.getByRole('link', { name: 'These are not the last four' }).waitFor();
    const code = await keepCode(page);
    await page.getByText('Waiting for authorisation').waitFor();
    await notInjected(page);
    await look(page, 'patient-waiting');

    await authorise(world, name);
    // The page learns of it by itself.
    await page.getByRole('heading', { level: 2, name: 'My record' }).waitFor();
    await look(page, 'patient-home-new');
    for (const [link, title] of [
      ['Ask for permission', 'no-hospital'],
      ['My record', 'record-no-hospital'],
      ['Ask a doctor', 'ask-no-hospital'],
      ['Answers and prescriptions', 'answers-none'],
      ['Who looked at my data', 'readers-none'],
    ]) {
      await go(page, link);
      await heading(page, link);
      await page
        .locator('main')
        .getByText(/No hospital|have not asked/)
        .first()
        .waitFor();
      await look(page, title);
    }

    await go(page, 'My account');
    await page.getByLabel('Your printed code').fill(code.toLowerCase());
    await page.getByRole('button', { name: 'Try the code' }).click();
    await page.getByText('This code opens your account.').waitFor();
    await page.getByLabel('Phone').fill('+49 30 1234');
    await page.getByRole('button', { name: 'Save the profile' }).click();
    await page.getByText('Saved.').waitFor();
    assert.equal(await page.getByLabel('Address').inputValue(), HOSTILE);
    await look(page, 'account');
    await page.getByLabel('Full name').fill('');
    await page.getByRole('button', { name: 'Save the profile' }).click();
    await page.getByRole('link', { name: 'Enter your full name' }).waitFor();
    await notInjected(page);

    // The printed code is a way back in from the command line too, once.
    const [changed] = await world.recover('new-patient', code, 'another long enough password');
    assert.notEqual(changed.recovery_code, code);
    await assert.rejects(world.recover('new-patient', code, PASSWORD));
  },

  'a forgotten password is replaced with the printed code, once': async ({ browser, world }) => {
    const { page } = await visitor(browser);
    const login = 'forgetful';
    const name = 'Ida Sievers';
    await register(page, world.cloud, { login, name, role: 'Patient' });
    await page.getByRole('button', { name: 'Register' }).click();
    const code = await keepCode(page);
    await page.getByText('Waiting for authorisation').waitFor();
    await authorise(world, name);
    await page.getByRole('button', { name: 'Log out' }).first().click();
    await heading(page, 'Log in');
    await page.getByLabel('User name').fill(login);
    await page.getByRole('link', { name: 'Come back with the code' }).click();
    await heading(page, 'Come back with the code');
    assert.equal(await page.getByLabel('User name').inputValue(), login);
    const fill = async (text) => {
      await page.getByLabel('Your printed code').fill(text);
      await page.getByRole('textbox', { name: 'New password' }).fill('a password for afterwards');
      await page.getByRole('button', { name: 'Set the new password' }).click();
    };
    await fill(code.slice(0, -1));
    await page.getByRole('link', { name: /not a whole code/ }).waitFor();
    await look(page, 'recover-fault');
    // A whole code, but of nobody.
    await fill(zeroCode());
    await page.getByRole('link', { name: /User name or code is wrong/ }).waitFor();
    await fill(code.toLowerCase().replaceAll('-', ' '));
    await page.getByText('Your new password is set').waitFor();
    await look(page, 'recover-code');
    const fresh = await keepCode(page);
    assert.notEqual(fresh, code);
    await heading(page, /Hello/);
    await go(page, 'My account');
    await page.getByLabel('Your printed code').fill(fresh);
    await page.getByRole('button', { name: 'Try the code' }).click();
    await page.getByText('This code opens your account.').waitFor();

    // The old code and the old password open nothing; the new password does.
    const other = await visitor(browser);
    await other.page.goto(`${world.cloud}/recover?login=${login}`);
    await other.page.getByLabel('Your printed code').fill(code);
    await other.page.getByRole('textbox', { name: 'New password' }).fill(PASSWORD);
    await other.page.getByRole('button', { name: 'Set the new password' }).click();
    await other.page.getByRole('link', { name: /User name or code is wrong/ }).waitFor();
    await logIn(other.page, world.cloud, login, PASSWORD);
    await other.page.getByText('User name or password is wrong.').waitFor();
    await logIn(other.page, world.cloud, login, 'a password for afterwards');
    await heading(other.page, /Hello/);
  },

  'wrong passwords, unknown names and taken names are told in words': async ({
    browser,
    world,
  }) => {
    const { page } = await visitor(browser);
    await page.goto(`${world.cloud}/login`);
    await page.getByRole('button', { name: 'Log in' }).click();
    await page.getByRole('link', { name: 'Enter a user name' }).waitFor();
    await logIn(page, world.cloud, 'maya', 'not her password');
    await page.getByText('User name or password is wrong.').waitFor();
    await look(page, 'login-wrong');
    await logIn(page, world.cloud, HOSTILE, 'whatever it is');
    await page.getByText('User name or password is wrong.').waitFor();
    await notInjected(page);
    await register(page, world.cloud, { login: 'maya', name: 'Somebody Else', role: 'Doctor' });
    await page.getByRole('button', { name: 'Register' }).click();
    await page.getByText('This user name is taken.').waitFor();
    assert.equal(await page.getByLabel('Full name').inputValue(), 'Somebody Else');
  },

  'pages of a portal lead to the login, and back afterwards': async ({ browser, world }) => {
    const { page } = await visitor(browser);
    await page.goto(`${world.cloud}/patient/readers`);
    await heading(page, 'Log in');
    await page.getByLabel('User name').fill('maya');
    await page.getByRole('textbox', { name: 'Password' }).fill(world.password('maya'));
    await page.getByRole('button', { name: 'Log in' }).click();
    await heading(page, 'Who looked at my data');
    // Another role's portal is not hers.
    await page.evaluate(() => history.pushState({}, '', '/doctor'));
    await page.evaluate(() => dispatchEvent(new PopStateEvent('popstate')));
    await heading(page, /Hello/);
    await page.getByRole('button', { name: 'Log out' }).first().click();
    await page.getByText('You are logged out.').waitFor();
    await look(page, 'login-out');
  },

  'a refused doctor sees that': async ({ browser, world }) => {
    const { page } = await visitor(browser);
    await logIn(page, world.cloud, 'mallory', world.password('mallory'));
    await page.getByText('Refused', { exact: true }).waitFor();
    await page.getByText('Reason: not entitled').waitFor();
    await look(page, 'doctor-refused');
  },

  'an idle page locks, an ended session says so, and nothing is stored': async ({
    browser,
    world,
  }) => {
    const first = await visitor(browser);
    await first.page.clock.install();
    await logIn(first.page, world.cloud, 'noah', world.password('noah'));
    await heading(first.page, /Hello/);
    const stored = await first.page.evaluate(async () => ({
      local: Object.keys(localStorage),
      session: Object.keys(sessionStorage),
      cookies: document.cookie,
      databases: (await indexedDB.databases()).length,
    }));
    assert.deepEqual(stored.session, []);
    assert.deepEqual(
      stored.local.filter((key) => !/^(salus-language|mantine-color)/.test(key)),
      [],
    );
    assert.equal(stored.databases, 0);
    assert.deepEqual(await first.context.cookies(), []);
    const kept = await first.page.evaluate(async () => {
      const paths = [];
      for (const name of await caches.keys())
        for (const request of await (await caches.open(name)).keys())
          paths.push(new URL(request.url).pathname);
      return paths;
    });
    assert.deepEqual(
      kept.filter((path) => path.startsWith('/api')),
      [],
    );
    await first.page.clock.fastForward('11:00');
    await first.page.getByText('it locked itself').waitFor();
    await look(first.page, 'login-idle');
    assert.equal(await first.page.getByLabel('User name').inputValue(), 'noah');

    // A changed password ends every other session.
    const one = await visitor(browser);
    const two = await visitor(browser);
    await logIn(one.page, world.cloud, 'noah', world.password('noah'));
    await heading(one.page, /Hello/);
    await logIn(two.page, world.cloud, 'noah', world.password('noah'));
    await heading(two.page, /Hello/);
    await go(two.page, 'My account');
    await two.page.getByLabel('New password').fill('another long password');
    await two.page.getByRole('button', { name: 'Change the password' }).click();
    await two.page.getByText('Your other sessions have ended').waitFor();
    world.changed('noah', 'another long password');
    await go(one.page, 'My account');
    await one.page.getByText('Your session has ended').waitFor();
    await look(one.page, 'login-expired');
    await logIn(one.page, world.cloud, 'noah', 'another long password');
    await heading(one.page, /Hello|My account/);
  },

  'on a slow network the page says what it waits for, and shows what comes': async ({
    browser,
    world,
  }) => {
    const { page } = await visitor(browser);
    await logIn(page, world.cloud, 'maya', world.password('maya'));
    await heading(page, /Hello/);
    let arrive;
    const arrived = new Promise((resolve) => {
      arrive = resolve;
    });
    await page.route('**/api/v1/patients/*/records**', async (route) => {
      await arrived;
      await route.continue();
    });
    await go(page, 'My record');
    await page.getByRole('status').filter({ hasText: 'Loading' }).waitFor();
    await look(page, 'slow');
    arrive();
    await page.getByRole('navigation', { name: 'Sections of the record' }).waitFor();
  },

  'without a network the shell stays and says so': async ({ browser, world }) => {
    // Pages from a folder have no service worker.
    if (process.env.SALUS_WEB_DIR) return;
    const { page, context } = await visitor(browser);
    await page.goto(world.cloud);
    await heading(page, 'Your medical records, sealed');
    await page.evaluate(() => navigator.serviceWorker.ready);
    await page.reload();
    await heading(page, 'Your medical records, sealed');
    await page.goto(`${world.cloud}/login`);
    await heading(page, 'Log in');
    await context.setOffline(true);
    await page.getByText('No network').waitFor();
    await look(page, 'offline');
    await page.reload();
    await heading(page, 'Log in');
    await page.getByLabel('User name').fill('maya');
    await page.getByRole('textbox', { name: 'Password' }).fill('x');
    await context.setOffline(false);
  },
};
