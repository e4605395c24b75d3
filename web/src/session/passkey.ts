// Passkeys (W3C Web Authentication): what the browser is asked, and the PRF output that opens the keyring's
// door. That output never leaves the page; the node gets what the authenticator signed, and no more.
import type { Schema } from '../api/client';
import { CryptoError } from '../crypto/error';
import { type Bytes, base64url, fromBase64url, random, utf8 } from '../lib/bytes';

type Challenge = Schema['PasskeyChallenge'];

/** How long somebody may take to touch their authenticator, in ms; the node gives as much. */
const PATIENCE_MS = 5 * 60_000;

/** Where passkeys can be used: here, at the same node under its name, or nowhere in this browser. */
export type Where = { at: 'here' } | { at: 'name'; href: string } | { at: 'nowhere' };

/** Passkeys belong to names: an address of numbers has none, but the loopback is also `localhost`. */
export function where(): Where {
  const { hostname, href } = location;
  if (!('PublicKeyCredential' in globalThis)) return { at: 'nowhere' };
  if (hostname === '127.0.0.1' || hostname === '[::1]')
    return { at: 'name', href: href.replace(hostname, 'localhost') };
  return /^[\d.]+$|^\[/.test(hostname) ? { at: 'nowhere' } : { at: 'here' };
}

/** The same question to every authenticator; each answers with a secret of its own (docs/formats.md). */
const PRF = { prf: { eval: { first: utf8('salus/v1/passkey-prf\0') } } };

const bytesOf = (buffer: BufferSource): Bytes =>
  buffer instanceof ArrayBuffer
    ? new Uint8Array(buffer)
    : new Uint8Array(buffer.buffer as ArrayBuffer, buffer.byteOffset, buffer.byteLength).slice();

function prfOf(credential: PublicKeyCredential): Bytes | undefined {
  const first = credential.getClientExtensionResults().prf?.results?.first;
  return first && bytesOf(first);
}

/** What a browser's refusal means; the rest is told as what it is. */
async function asked(work: Promise<Credential | null>): Promise<PublicKeyCredential> {
  try {
    const credential = await work;
    if (credential) return credential as PublicKeyCredential;
  } catch (error) {
    const name = error instanceof DOMException ? error.name : '';
    if (name === 'InvalidStateError') throw new CryptoError('passkey-there');
    if (name !== 'NotAllowedError' && name !== 'AbortError') throw error;
  }
  throw new CryptoError('passkey-cancelled');
}

export interface Made {
  credential: Bytes;
  clientData: Bytes;
  authenticatorData: Bytes;
  prfOutput: Bytes;
}

/** Has an authenticator make a passkey; refuses one whose PRF does not answer. */
export async function make(challenge: Challenge, account: Bytes, login: string): Promise<Made> {
  const made = await asked(
    navigator.credentials.create({
      publicKey: {
        rp: { id: challenge.relying_party, name: 'Salus' },
        user: { id: account, name: login, displayName: login },
        challenge: fromBase64url(challenge.challenge),
        pubKeyCredParams: challenge.algorithms.map((alg) => ({ type: 'public-key', alg })),
        authenticatorSelection: {
          residentKey: 'required',
          requireResidentKey: true,
          userVerification: 'required',
        },
        attestation: 'none',
        excludeCredentials: challenge.credentials.map((id) => ({
          type: 'public-key',
          id: fromBase64url(id),
        })),
        timeout: PATIENCE_MS,
        extensions: PRF,
      },
    }),
  );
  const response = made.response as AuthenticatorAttestationResponse;
  const credential = bytesOf(made.rawId);
  const enabled = made.getClientExtensionResults().prf?.enabled;
  // Some authenticators tell at creation only that they can.
  const prfOutput = prfOf(made) ?? (enabled ? await evaluate(challenge, credential) : undefined);
  if (!prfOutput) throw new CryptoError('passkey-no-prf');
  return {
    credential,
    clientData: bytesOf(response.clientDataJSON),
    authenticatorData: bytesOf(response.getAuthenticatorData()),
    prfOutput,
  };
}

/** Asks a passkey for its PRF output alone; what it signs meanwhile goes nowhere. */
async function evaluate(challenge: Challenge, id: Bytes): Promise<Bytes | undefined> {
  const found = await asked(
    navigator.credentials.get({
      publicKey: {
        challenge: random(32),
        rpId: challenge.relying_party,
        allowCredentials: [{ type: 'public-key', id }],
        userVerification: 'required',
        timeout: PATIENCE_MS,
        extensions: PRF,
      },
    }),
  );
  return prfOf(found);
}

/** Has whichever passkey the person chooses sign a challenge. */
export async function use(
  challenge: Challenge,
): Promise<{ login: Schema['PasskeyLogin']; credential: Bytes; prfOutput?: Bytes }> {
  const found = await asked(
    navigator.credentials.get({
      publicKey: {
        challenge: fromBase64url(challenge.challenge),
        rpId: challenge.relying_party,
        userVerification: 'required',
        timeout: PATIENCE_MS,
        extensions: PRF,
      },
    }),
  );
  const response = found.response as AuthenticatorAssertionResponse;
  const credential = bytesOf(found.rawId);
  const sent = (buffer: ArrayBuffer | null) => base64url(bytesOf(buffer ?? new ArrayBuffer(0)));
  return {
    login: {
      credential: base64url(credential),
      client_data: sent(response.clientDataJSON),
      authenticator_data: sent(response.authenticatorData),
      signature: sent(response.signature),
      user_handle: sent(response.userHandle),
    },
    credential,
    prfOutput: prfOf(found),
  };
}
