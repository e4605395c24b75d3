// The golden vectors of crates/proto/testdata/crypto, read as Rust and Python read them, natively and
// without native algorithms.
import { readFileSync } from 'node:fs';
import * as opaque from '@serenity-kit/opaque';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  type Bytes,
  base64url,
  concat,
  equal,
  fromBase64url,
  fromUtf8,
  hex,
  unhex,
  utf8,
} from '../lib/bytes';
import { decode, encode, Malformed } from '../lib/cbor';
import { derive, hmac, saltedCommitment, sha256, sha256Sync } from './digest';
import { CryptoError } from './error';
import { signHybrid, verifyHybrid } from './hybrid';
import { codeText, createVault, openVault, parseCode, setDoor } from './keyring';
import { keyringBytes, publicKeysOf, publicKeysValue, secretKeys, seedsFromKeyring } from './keys';
import { LABEL } from './label';
import { withoutNative } from './native';
import { answer } from './opaque.worker';
import { verifyEd25519, verifyMlDsa65 } from './sign';
import { openStream, sealStream } from './stream';
import { unwrapper, unwrapUnder, wrapTo, wrapUnder, xWingPublic } from './wrap';

const FOLDER = '../crates/proto/testdata/crypto/';
// biome-ignore lint/suspicious/noExplicitAny: the vectors' own shape
const vectors = (file: string): any => JSON.parse(readFileSync(FOLDER + file, 'utf8'));
const file = (name: string): Bytes => new Uint8Array(readFileSync(FOLDER + name));

async function outcome(work: Promise<unknown>): Promise<string | null> {
  try {
    await work;
    return null;
  } catch (error) {
    if (error instanceof CryptoError) return error.fault;
    if (error instanceof Malformed) return 'malformed';
    throw error;
  }
}

const seedsOf = (v: { ed25519_seed: string; ml_dsa_65_seed: string; x_wing_seed: string }) => ({
  ed25519: unhex(v.ed25519_seed),
  mlDsa65: unhex(v.ml_dsa_65_seed),
  xWing: unhex(v.x_wing_seed),
});

// The second run shows that nothing depends on what the runtime has of its own.
describe.each(['native where there is one', 'fallback'])('golden vectors, %s', (path) => {
  beforeAll(() => {
    if (path === 'fallback') withoutNative();
  });

  it('digests and derivations', async () => {
    const { digests, derivations } = vectors('digest.json');
    for (const d of digests) {
      expect(hex(await sha256(unhex(d.message)))).toBe(d.sha256);
      expect(hex(sha256Sync(unhex(d.message)))).toBe(d.sha256);
      expect(hex(await hmac(unhex(d.hmac_key), unhex(d.message)))).toBe(d.hmac_sha256);
      const commitment = await saltedCommitment(unhex(d.salt), unhex(d.message));
      expect(hex(commitment)).toBe(d.salted_commitment);
    }
    for (const d of derivations) {
      const key = await derive(unhex(d.secret), unhex(d.salt), unhex(d.label), unhex(d.context));
      expect(hex(key)).toBe(d.key);
    }
  });

  it('labels', () => {
    const known = new Set(vectors('labels.json').labels.map((l: { bytes: string }) => l.bytes));
    for (const label of Object.values(LABEL)) expect(known).toContain(hex(label));
  });

  it('keys from seeds', async () => {
    for (const v of vectors('keys.json').keys) {
      const seeds = seedsOf(v);
      const keys = await secretKeys(seeds);
      expect(hex(keys.public.ed25519)).toBe(v.ed25519);
      expect(hex(keys.public.mlDsa65)).toBe(v.ml_dsa_65);
      expect(hex(keys.public.xWing)).toBe(v.x_wing);
      expect(hex(encode(publicKeysValue(keys.public)))).toBe(v.public_keys_cbor);
      expect(publicKeysOf(decode(unhex(v.public_keys_cbor)))).toEqual(keys.public);
      expect(hex(keyringBytes(seeds))).toBe(v.keyring_cbor);
      expect(seedsFromKeyring(unhex(v.keyring_cbor))).toEqual(seeds);
    }
  });

  it('signatures', async () => {
    const v = vectors('signatures.json');
    const keys = await secretKeys(seedsOf(v));
    for (const s of v.single) {
      const message = concat(unhex(s.label), unhex(s.message));
      const good =
        s.algorithm === 'Ed25519'
          ? await verifyEd25519(keys.public.ed25519, message, unhex(s.signature))
          : await verifyMlDsa65(keys.public.mlDsa65, message, unhex(s.signature));
      expect([s.name, good]).toEqual([s.name, s.valid]);
    }
    for (const e of v.envelopes) {
      const detached = e.detached_payload === null ? undefined : unhex(e.detached_payload);
      const verified = verifyHybrid(keys.public, unhex(e.label), unhex(e.envelope), detached);
      expect([e.name, await outcome(verified)]).toEqual([e.name, e.error]);
    }
    const made = await signHybrid(keys, LABEL.manifest, new Uint8Array(16).fill(7), utf8('mine'));
    expect(fromUtf8(await verifyHybrid(keys.public, LABEL.manifest, made))).toBe('mine');
  });

  it('wraps', async () => {
    const v = vectors('wraps.json');
    const seed = unhex(v.x_wing_seed);
    const unwrap = await unwrapper(seed);
    for (const w of v.hpke) {
      const opened = unwrap(unhex(w.label), unhex(w.context), unhex(w.wrap));
      expect([w.name, await outcome(opened)]).toEqual([w.name, w.error]);
      if (w.error === null) expect(hex(await opened)).toBe(w.payload);
    }
    for (const w of v.symmetric) {
      const opened = unwrapUnder(unhex(v.key), unhex(w.label), unhex(w.context), unhex(w.wrap));
      expect([w.name, await outcome(opened)]).toEqual([w.name, w.error]);
      if (w.error === null) expect(hex(await opened)).toBe(w.payload);
    }
    const context = utf8('context');
    const key = new Uint8Array(32).fill(5);
    const wrapped = await wrapTo(xWingPublic(seed), LABEL.classKeyWrap, context, key);
    expect(wrapped.length).toBe(1168);
    expect(await unwrap(LABEL.classKeyWrap, context, wrapped)).toEqual(key);
    const under = await wrapUnder(key, LABEL.recordKey, context, key);
    expect(under.length).toBe(60);
    expect(await unwrapUnder(key, LABEL.recordKey, context, under)).toEqual(key);
  });

  it('sealed streams, good and malformed', async () => {
    const v = vectors('sealed-stream.json');
    const [key, context] = [unhex(v.record_key), unhex(v.context)];
    const bases = new Map<string, Bytes>();
    for (const g of v.good) {
      const sealed = file(g.file);
      bases.set(g.name, sealed);
      expect(hex(await sha256(sealed))).toBe(g.sealed_sha256);
      const opened = await openStream(key, context, sealed);
      expect(opened.length).toBe(g.content_length);
      expect(opened.every((byte, i) => byte === i % 251)).toBe(true);
    }
    for (const m of v.malformed) {
      const base = bases.get(m.base)!;
      const pieces = m.pieces.map((p: { from: number; to: number; hex?: string }) =>
        p.hex === undefined ? base.slice(p.from, p.to) : unhex(p.hex),
      );
      const chosen = m.record_key === undefined ? key : unhex(m.record_key);
      const bound = m.context === undefined ? context : unhex(m.context);
      const found = await outcome(openStream(chosen, bound, concat(...pieces)));
      expect([m.name, found]).toEqual([m.name, m.error]);
    }
    const content = new Uint8Array(1_200_000).map((_, i) => i % 251);
    const sealed = await sealStream(key, context, content);
    expect(equal(await openStream(key, context, sealed), content)).toBe(true);
  });

  it('keyring and recovery code', async () => {
    const v = vectors('keyring.json');
    const password = { kind: 'password', exportKey: unhex(v.export_key) } as const;
    const code = await parseCode(v.recovery_code.toLowerCase().replaceAll('-', ' '));
    expect(await codeText(code)).toBe(v.recovery_code);
    for (const k of v.keyrings) {
      const opened = openVault(unhex(k.account), unhex(k.sealed_keyring), password);
      expect([k.name, await outcome(opened)]).toEqual([k.name, k.error]);
    }
    const good = v.keyrings[0];
    const [account, sealed] = [unhex(good.account), unhex(good.sealed_keyring)];
    const seeds = seedsOf(v);
    expect(await openVault(account, sealed, password)).toEqual(seeds);
    expect(await openVault(account, sealed, { kind: 'recovery-code', code })).toEqual(seeds);
    const credential = unhex(v.credential);
    const prfOutput = unhex(v.prf_output);
    const passkey = { kind: 'passkey', credential, prfOutput } as const;
    expect(await openVault(account, sealed, passkey)).toEqual(seeds);
    const mistyped = `${v.recovery_code.slice(0, -1)}${v.recovery_code.endsWith('X') ? 'Y' : 'X'}`;
    expect(await outcome(parseCode(mistyped))).toBe('text');

    const own = await createVault(account, seeds, [password, { kind: 'recovery-code', code }]);
    const changed = { kind: 'password', exportKey: new Uint8Array(64).fill(9) } as const;
    const renewed = await setDoor(account, own, password, changed);
    expect(await openVault(account, renewed, changed)).toEqual(seeds);
    expect(await outcome(openVault(account, renewed, password))).toBe('vault-closed');
    expect(await openVault(account, renewed, { kind: 'recovery-code', code })).toEqual(seeds);
  });
});

describe('OPAQUE', () => {
  it('logs into the account of the vectors with the same export key, and not otherwise', async () => {
    await opaque.ready;
    const v = vectors('opaque.json');
    const text = (field: string) => base64url(unhex(v[field]));
    const started = await answer({ step: 'login-start', password: v.password });
    const server = opaque.server.startLogin({
      serverSetup: text('server_setup'),
      userIdentifier: fromUtf8(unhex(v.account)),
      registrationRecord: text('password_record'),
      startLoginRequest: started.message!,
    });
    const [state, response] = [started.state!, server.loginResponse];
    const finish = (password: string) =>
      answer({ step: 'login-finish', password, state, response });
    const finished = await finish(v.password);
    expect(hex(fromBase64url(finished.exportKey!))).toBe(v.export_key);
    expect((await finish('wrong horse')).refused).toBe(true);
  });
});
