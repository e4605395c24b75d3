// Somebody with keys and a session: signs, opens sessions at other members' nodes, reads records.
import { all, type Node, node, ok, Problem, type Schema } from '../api/client';
import { saltedCommitment, sha256 } from '../crypto/digest';
import { CryptoError } from '../crypto/error';
import {
  codeText,
  createVault,
  type DoorSecret,
  freshCode,
  openVault,
  parseCode,
  setDoor,
} from '../crypto/keyring';
import type { SecretKeys } from '../crypto/keys';
import { freshSeeds, type PublicKeys, type Seeds, secretKeys } from '../crypto/keys';
import { LABEL } from '../crypto/label';
import { startLogin, startRegistration } from '../crypto/opaque';
import { type Bytes, base64url, concat, fromBase64url, hex, random, unhex } from '../lib/bytes';
import { encode, fields } from '../lib/cbor';
import type { Purpose, Role } from '../records/codes';
import { type Action, type Author, action, signCommand } from '../records/command';
import { classKeys, type Opened, openRecord, type Verified } from '../records/open';
import { signedWith, Trust } from '../verify/keys';
import { make, use } from './passkey';

export type Profile = Schema['Profile'];

/** How long a command stays valid after it was signed, in ms. */
const COMMAND_VALIDITY_MS = 10 * 60_000;
/** Most records that one command may name. */
const NAMED_LIMIT = 1024;
/** Sealed bytes fetched at the same time. */
const FETCHES = 6;

const home = (): Node => node(location.origin);

/** What the ledger knows of a profile: nothing, without the salt. */
export function profileBytes(profile: Profile): Bytes {
  const { name, specialty, hospital, licence, phone, email, address } = profile;
  const list = [name, specialty, hospital, licence, phone, email, address];
  return encode(fields(Object.fromEntries(list.map((text, i) => [i, text ?? undefined]))));
}

/** Registers at this node. Gives the recovery code to print: the only way back without a password. */
export async function register(wish: {
  login: string;
  password: string;
  role: Role;
  profile: Profile;
}): Promise<{ principal: string; recoveryCode: string }> {
  const here = home();
  const { login, role, profile } = wish;
  const status = await ok(here.api.GET('/api/v1/ledger'));
  const principal = hex(random(16));
  const seeds = freshSeeds();
  const keys = await secretKeys(seeds);
  const { message: upload, exportKey } = await registered(here, login, wish.password);

  const salt = random(32);
  const digest = await saltedCommitment(salt, profileBytes(profile));
  const author = { consortium: status.consortium, principal, keys };
  const register = action.register(role, status.organisation, keys.public, digest);
  const command = await signCommand(author, 1, Date.now() + COMMAND_VALIDITY_MS, register);

  const code = freshCode();
  const recoveryCode = await codeText(code);
  const recovery = await registered(here, login, recoveryCode, 'recovery-code');
  const keyring = await createVault(unhex(principal), seeds, [
    { kind: 'password', exportKey },
    { kind: 'recovery-code', code },
  ]);
  const created = await ok(
    here.api.POST('/api/v1/accounts', {
      body: {
        login,
        upload,
        recovery_upload: recovery.message,
        keyring: base64url(keyring),
        role,
        profile,
        profile_salt: base64url(salt),
        command: base64url(command),
      },
      headers: { 'idempotency-key': hex(random(16)) },
    }),
  );
  return { principal: created.principal, recoveryCode };
}

/** Runs an OPAQUE registration of what opens an account; the record for the node to keep. */
async function registered(at: Node, login: string, secret: string, door?: Schema['Door']) {
  const started = await startRegistration(secret);
  const answer = await ok(
    at.api.POST('/api/v1/accounts/registrations', {
      body: { login, ...(door && { door }), request: started.message },
    }),
  );
  return started.finish(answer.response);
}

/** Logs in at this node and opens the keyring here; the node never sees password or keys. */
export const logIn = (login: string, password: string): Promise<Person> => open(login, password);

/**
 * Comes back with the printed code: sets a new password and a new code, which is given for printing.
 * The old code opens nothing any more, and every other session has ended.
 */
export async function recover(
  login: string,
  code: string,
  password: string,
): Promise<{ person: Person; recoveryCode: string }> {
  const bytes = await parseCode(code);
  const person = await open(login, await codeText(bytes), bytes);
  return { person, recoveryCode: await person.renewDoors(password) };
}

/** Whether a text is a whole recovery code, of whichever account. */
export const isCode = (text: string): Promise<boolean> =>
  parseCode(text).then(
    () => true,
    () => false,
  );

/** The keys that the ledger knows: those in force, or those that were about to replace them. */
async function inForce(at: Node, principal: string, seeds: Seeds): Promise<Seeds> {
  if (!seeds.next) return seeds;
  const { keys } = await ok(
    at.api.GET('/api/v1/principals/{id}', { params: { path: { id: principal } } }),
  );
  const next = await secretKeys(seeds.next);
  return keys.ed25519 === hex(next.public.ed25519) ? seeds.next : seeds;
}

/** Logs in with whichever passkey of this device the person chooses. */
export async function logInWithPasskey(): Promise<Person> {
  const here = home();
  const challenge = await ok(here.api.POST('/api/v1/sessions/passkeys/challenges'));
  const { login: answer, credential, prfOutput } = await use(challenge);
  const session = await ok(here.api.POST('/api/v1/sessions/passkeys', { body: answer }));
  try {
    if (!prfOutput) throw new CryptoError('passkey-no-door');
    return await inside(session.login, session, { kind: 'passkey', credential, prfOutput });
  } catch (error) {
    // A session without keys is of no use to anybody.
    const opened = node(location.origin, session.token);
    void ok(opened.api.DELETE('/api/v1/sessions/current')).catch(() => {});
    const closed = error instanceof CryptoError && error.fault === 'vault-closed';
    throw closed ? new CryptoError('passkey-no-door') : error;
  }
}

/** Opens a session and the keyring, with the password or, with `code`, with the printed one. */
async function open(login: string, secret: string, code?: Bytes): Promise<Person> {
  const here = home();
  const started = await startLogin(secret);
  const door = code && { door: 'recovery-code' as const };
  const answer = await ok(
    here.api.POST('/api/v1/sessions/password', {
      body: { login, ...door, request: started.message },
    }),
  );
  const { message: finalization, exportKey } = await started.finish(answer.response);
  const session = await ok(
    here.api.POST('/api/v1/sessions/password/finish', {
      body: { handshake: answer.handshake, finalization },
    }),
  );
  const opening: DoorSecret = code
    ? { kind: 'recovery-code', code }
    : { kind: 'password', exportKey };
  return inside(login, session, opening);
}

/** Opens the keyring of a session through one of its doors. */
async function inside(
  login: string,
  session: { principal: string; keyring: string; token: string },
  opening: DoorSecret,
): Promise<Person> {
  const account = unhex(session.principal);
  const keyring = fromBase64url(session.keyring);
  const seeds = await openVault(account, keyring, opening);
  const open = node(location.origin, session.token);
  const keys = await secretKeys(await inForce(open, session.principal, seeds));
  const [status, me, genesis] = await Promise.all([
    ok(open.api.GET('/api/v1/ledger')),
    ok(open.api.GET('/api/v1/me')),
    open.raw('/ledger/genesis').then((answer) => answer.arrayBuffer()),
  ]);
  // Whoever serves this page is trusted with the genesis file too: it could as well serve another page.
  const trust = new Trust(await sha256(new Uint8Array(genesis)));
  return new Person(login, open, keys, me, status.consortium, trust, keyring, opening);
}

/** What to read, and why. */
export interface Reading {
  alias: string;
  access?: string;
  records: string[];
  purpose: Purpose;
}

export class Person {
  readonly principal: string;
  readonly role: Role;
  /** Where the account lives. */
  readonly organisation: string;
  private readonly seats = new Map<string, Promise<Node>>();
  private readonly publics = new Map<string, Promise<PublicKeys>>();
  private readonly signers = new Map<string, Promise<PublicKeys>>();
  /** What was opened in this session; gone when the page locks. */
  readonly opened = new Map<string, Opened>();
  private sequence: number;

  constructor(
    readonly login: string,
    readonly home: Node,
    readonly keys: SecretKeys,
    me: Schema['Me'],
    readonly consortium: string,
    private readonly trust: Trust,
    private keyring: Bytes,
    private opening: DoorSecret,
  ) {
    this.principal = me.principal;
    this.role = me.role;
    this.organisation = me.organisation;
    this.sequence = me.next_sequence;
    this.seats.set(home.base, Promise.resolve(home));
  }

  get author(): Author {
    return { consortium: this.consortium, principal: this.principal, keys: this.keys };
  }

  /** A sequence number that this session has not used. */
  nextSequence(): number {
    return this.sequence++;
  }

  /** A session at another member's node, opened with the key that the ledger knows. */
  at(base: string): Promise<Node> {
    const origin = new URL(base).origin;
    let seat = this.seats.get(origin);
    if (!seat) {
      seat = this.open(origin);
      this.seats.set(origin, seat);
      seat.catch(() => this.seats.delete(origin));
    }
    return seat;
  }

  private async open(origin: string): Promise<Node> {
    const there = node(origin);
    const { principal } = this;
    const [status, { challenge }] = await Promise.all([
      ok(there.api.GET('/api/v1/ledger')),
      ok(there.api.POST('/api/v1/sessions/challenges', { body: { principal } })),
    ]);
    if (status.consortium !== this.consortium) throw new Error('a node of another consortium');
    const message = concat(LABEL.session, fromBase64url(challenge), unhex(status.organisation));
    const signature = base64url(await this.keys.ed25519(message));
    const session = await ok(
      there.api.POST('/api/v1/sessions/keys', { body: { principal, challenge, signature } }),
    );
    return node(origin, session.token);
  }

  async sign(what: Action): Promise<string> {
    const expires = Date.now() + COMMAND_VALIDITY_MS;
    return base64url(await signCommand(this.author, this.nextSequence(), expires, what));
  }

  /** Signs an action and hands it to `send`; signs anew where another page of the person was faster. */
  async act<T>(what: Action, send: (command: string) => Promise<T>): Promise<T> {
    try {
      return await send(await this.sign(what));
    } catch (error) {
      if (!(error instanceof Problem) || error.code !== 'replayed') throw error;
      const me = await ok(this.home.api.GET('/api/v1/me'));
      this.sequence = Math.max(this.sequence, me.next_sequence);
      return send(await this.sign(what));
    }
  }

  /** Submits an action and waits until it is final. */
  async submit(what: Action, at: Node = this.home): Promise<Schema['CommandReceipt']> {
    const receipt = await this.act(what, (command) =>
      ok(at.api.POST('/api/v1/commands', { body: { command } })),
    );
    this.trust.saw(receipt.entry + 1);
    return receipt;
  }

  /** A principal's public keys, on the word of the members. */
  publicKeys(principal: string, at: Node = this.home): Promise<PublicKeys> {
    let keys = this.publics.get(principal);
    if (!keys) {
      keys = this.trust.keys(principal, async (path) => (await at.raw(path)).text());
      this.publics.set(principal, keys);
      keys.catch(() => this.publics.delete(principal));
    }
    return keys;
  }

  /**
   * Reads records at their custodian's node: the signed receipt becomes final on the ledger, then the
   * sealed bytes are fetched, checked and opened here. What was opened before is not read again.
   */
  async read(at: Node, reading: Reading, progress?: (done: number) => void): Promise<Opened[]> {
    const { alias, access, purpose } = reading;
    const wanted = [...new Set(reading.records)].sort();
    const missing = wanted.filter((record) => !this.opened.has(record));
    let done = wanted.length - missing.length;
    for (let i = 0; i < missing.length; i += NAMED_LIMIT) {
      const records = missing.slice(i, i + NAMED_LIMIT);
      const release = await this.act(
        action.readRecords(alias, access, records, purpose),
        (command) => ok(at.api.POST('/api/v1/records/releases', { body: { command } })),
      );
      const reader = { principal: this.principal, keys: this.keys, alias, access };
      const keys = await classKeys(reader, release);
      const verified: Verified = new Map();
      const queue = [...release.records];
      const work = async (): Promise<void> => {
        for (let next = queue.shift(); next; next = queue.shift()) {
          const signer = await this.signerOf(next, at);
          const path = `/records/${next.record}/sealed?receipt=${release.entry}`;
          const answer = await at.raw(path);
          const sealed = new Uint8Array(await answer.arrayBuffer());
          const record = await openRecord(reader, next, signer, keys, sealed, verified);
          this.opened.set(next.record, record);
          done += 1;
          progress?.(done);
        }
      };
      await Promise.all(Array.from({ length: FETCHES }, work));
    }
    return wanted.flatMap((record) => this.opened.get(record) ?? []);
  }

  /**
   * The keys with which a record was signed: those of now or, where its signer has replaced them, those
   * that the proof of the record shows.
   */
  private signerOf(released: Schema['ReleasedRecord'], at: Node): Promise<PublicKeys> {
    const known = `${released.signer} ${released.manifest}`;
    let keys = this.signers.get(known);
    if (!keys) {
      keys = this.publicKeys(released.signer, at).then(async (current) => {
        const manifest = fromBase64url(released.manifest);
        if (await signedWith(current, manifest)) return current;
        const proof = await (await at.raw(`/ledger/proofs/records/${released.record}`)).text();
        return this.trust.keysBehind(released, proof);
      });
      this.signers.set(known, keys);
      keys.catch(() => this.signers.delete(known));
    }
    return keys;
  }

  /** Every page of a list. */
  list = all;

  /** The keyring as it is stored: another page of the person may have given it a door. */
  private async stored(): Promise<Bytes> {
    return fromBase64url((await ok(this.home.api.GET('/api/v1/me/keyring'))).keyring);
  }

  async passkeys(): Promise<Schema['Passkey'][]> {
    return (await ok(this.home.api.GET('/api/v1/me/passkeys'))).items;
  }

  /** Adds a passkey of this device: what its PRF answers becomes a door of the keyring. */
  async addPasskey(name: string): Promise<void> {
    const { api } = this.home;
    const account = unhex(this.principal);
    const challenge = await ok(api.POST('/api/v1/me/passkeys/challenges'));
    const made = await make(challenge, account, this.login);
    const { credential, prfOutput } = made;
    const door: DoorSecret = { kind: 'passkey', credential, prfOutput };
    const keyring = await setDoor(account, await this.stored(), this.opening, door);
    const body = {
      name,
      client_data: base64url(made.clientData),
      authenticator_data: base64url(made.authenticatorData),
      keyring: base64url(keyring),
    };
    await ok(api.POST('/api/v1/me/passkeys', { body }));
    this.keyring = keyring;
  }

  async removePasskey(credential: string): Promise<void> {
    const path = { credential };
    await ok(this.home.api.DELETE('/api/v1/me/passkeys/{credential}', { params: { path } }));
    this.keyring = await this.stored();
  }

  /** Changes the password: the vault key is wrapped anew, nothing else changes. */
  async changePassword(password: string): Promise<void> {
    const { message: upload, exportKey } = await registered(this.home, this.login, password);
    const door: DoorSecret = { kind: 'password', exportKey };
    const keyring = await setDoor(unhex(this.principal), await this.stored(), this.opening, door);
    await ok(
      this.home.api.PUT('/api/v1/me/password', { body: { upload, keyring: base64url(keyring) } }),
    );
    this.keyring = keyring;
    this.opening = door;
  }

  /** Sets a new password and a new recovery code in one step; gives the code to print. */
  async renewDoors(password: string): Promise<string> {
    const account = unhex(this.principal);
    const { message: upload, exportKey } = await registered(this.home, this.login, password);
    const code = freshCode();
    const text = await codeText(code);
    const recovery = await registered(this.home, this.login, text, 'recovery-code');
    const door: DoorSecret = { kind: 'password', exportKey };
    const reopened = await setDoor(account, await this.stored(), this.opening, door);
    const keyring = await setDoor(account, reopened, door, { kind: 'recovery-code', code });
    await ok(
      this.home.api.PUT('/api/v1/me/password', {
        body: { upload, recovery_upload: recovery.message, keyring: base64url(keyring) },
      }),
    );
    this.keyring = keyring;
    this.opening = door;
    return text;
  }

  /** Whether a typed recovery code opens this account's keyring. */
  async opensWith(code: string): Promise<boolean> {
    try {
      const secret = { kind: 'recovery-code', code: await parseCode(code) } as const;
      await openVault(unhex(this.principal), this.keyring, secret);
      return true;
    } catch {
      return false;
    }
  }
}
