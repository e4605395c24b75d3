// Passkeys, with Chromium's own virtual authenticator: added, used on this device, removed; and what is
// told where they cannot open records.
import assert from 'node:assert/strict';
import { go, heading, logIn, look, visitor } from './browser.mjs';
import { authorise, keepCode, register } from './entry.mjs';

const PASSWORD = 'a long enough password';

/** The node under the name that passkeys need. */
const named = (base) => base.replace('127.0.0.1', 'localhost');

/** An authenticator that confirms whatever it is asked. */
async function authenticator({ context, page }, hasPrf) {
  const cdp = await context.newCDPSession(page);
  await cdp.send('WebAuthn.enable');
  const options = {
    protocol: 'ctap2',
    ctap2Version: 'ctap2_1',
    transport: 'internal',
    hasResidentKey: true,
    hasUserVerification: true,
    isUserVerified: true,
    automaticPresenceSimulation: true,
    hasPrf,
  };
  const { authenticatorId } = await cdp.send('WebAuthn.addVirtualAuthenticator', { options });
  return {
    count: async () => {
      const found = await cdp.send('WebAuthn.getCredentials', { authenticatorId });
      return found.credentials.length;
    },
  };
}

const add = async (page, name) => {
  await page.getByLabel('Name of the passkey').fill(name);
  await page.getByRole('button', { name: 'Add a passkey' }).click();
};

const logOut = async (page) => {
  await page.getByRole('button', { name: 'Log out' }).first().click();
  await heading(page, 'Log in');
};

export const journeys = {
  'a passkey is added, opens the records without a password, and is removed': async ({
    browser,
    world,
  }) => {
    const base = named(world.cloud);
    const visit = await visitor(browser);
    const { page } = visit;
    const device = await authenticator(visit, true);
    const name = 'Petra Vogel';
    await register(page, base, { login: 'petra', name, role: 'Patient' });
    await page.getByRole('button', { name: 'Register' }).click();
    await keepCode(page);
    await page.getByText('Waiting for authorisation').waitFor();
    await authorise(world, name);
    await page.getByRole('heading', { level: 2, name: 'My record' }).waitFor();

    await go(page, 'My account');
    await page.getByText('You have no passkey yet.').waitFor();
    await page.getByRole('button', { name: 'Add a passkey' }).click();
    await page.getByRole('link', { name: 'Enter a name for the passkey' }).waitFor();
    await add(page, 'my <b>telephone</b>');
    await page.getByText('From now on you can log in with it.').waitFor();
    await page.getByText('my <b>telephone</b>', { exact: true }).waitFor();
    assert.equal(await device.count(), 1);
    await look(page, 'passkey-added');
    // The same device is not asked twice.
    await add(page, 'again');
    await page.getByText('This device holds a passkey of your account already.').waitFor();

    await logOut(page);
    await look(page, 'passkey-login');
    const [sent] = await Promise.all([
      page.waitForRequest((request) => request.url().endsWith('/api/v1/sessions/passkeys')),
      page.getByRole('button', { name: 'Log in with a passkey' }).click(),
    ]);
    await heading(page, /Hello/);
    // What the PRF answered opens the keyring, so it stays in the page.
    const fields = Object.keys(sent.postDataJSON()).sort();
    const known = ['authenticator_data', 'client_data', 'credential', 'signature', 'user_handle'];
    assert.deepEqual(fields, known);
    // The keys are open: a signed command goes through, and the password changes from in here.
    await go(page, 'My account');
    await page.getByText(/Used last/).waitFor();
    await page.getByLabel('New password').fill('another long enough password');
    await page.getByRole('button', { name: 'Change the password' }).click();
    await page.getByText('Your other sessions have ended').waitFor();

    // Another page of hers removes the passkey; the device still offers it, the node refuses.
    const other = await visitor(browser);
    await logIn(other.page, base, 'petra', 'another long enough password');
    await heading(other.page, /Hello/);
    await go(other.page, 'My account');
    await logOut(page);
    await page.getByRole('button', { name: 'Log in with a passkey' }).click();
    await heading(page, /Hello/);
    await other.page.getByRole('button', { name: /Remove the passkey/ }).click();
    await other.page.getByText('You have no passkey yet.').waitFor();
    await logOut(page);
    await page.getByRole('button', { name: 'Log in with a passkey' }).click();
    await page.getByText('This passkey opens no account here.').waitFor();
    await look(page, 'passkey-removed');
    await logIn(page, base, 'petra', PASSWORD);
    await page.getByText('User name or password is wrong.').waitFor();
    await logIn(page, base, 'petra', 'another long enough password');
    await heading(page, /Hello/);
  },

  'where a device cannot open records with passkeys, the page says so': async ({
    browser,
    world,
  }) => {
    const visit = await visitor(browser, { locale: 'de-DE' });
    const { page } = visit;
    await authenticator(visit, false);
    await page.goto(`${world.cloud}/login`);
    await heading(page, 'Anmelden');
    await look(page, 'passkey-by-name');
    await page.getByRole('link', { name: 'Diese Seite unter ihrem Namen öffnen' }).click();
    await page.getByRole('button', { name: 'Mit Passkey anmelden' }).waitFor();
    assert.equal(new URL(page.url()).hostname, 'localhost');
    await page.getByLabel('Benutzername').fill('dana');
    await page.getByRole('textbox', { name: 'Passwort' }).fill(world.password('dana'));
    await page.getByRole('button', { name: 'Anmelden', exact: true }).click();
    await page
      .getByRole('navigation', { name: 'Menü' })
      .getByRole('link', { name: 'Mein Konto' })
      .click();
    await page.getByLabel('Name des Passkeys').fill('Stick');
    await page.getByRole('button', { name: 'Passkey hinzufügen' }).click();
    await page.getByText('Ihrem Konto wurde nichts hinzugefügt').waitFor();
    await page.getByText('Sie haben noch keinen Passkey.').waitFor();
    await look(page, 'passkey-no-prf');
  },
};
