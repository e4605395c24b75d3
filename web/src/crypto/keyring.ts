// The secret keyring behind its doors: password, recovery code, passkey. The node stores the result
// and can open none of it.
import { type Bytes, concat, random, uint } from '../lib/bytes';
import { asUint, decode, encode, Fields, fields, Malformed, type Value } from '../lib/cbor';
import { derive, sha256 } from './digest';
import { CryptoError } from './error';
import { keyringBytes, type Seeds, seedsFromKeyring } from './keys';
import { LABEL } from './label';
import { unwrapUnder, wrapUnder } from './wrap';

const VERSION = 1;
const SEALED_LIMIT = 65_536;
const DOORS_LIMIT = 32;

/** What somebody has in hand to open a door. */
export type DoorSecret =
  | { kind: 'password'; exportKey: Bytes }
  | { kind: 'recovery-code'; code: Bytes }
  | { kind: 'passkey'; credential: Bytes; prfOutput: Bytes };

const KIND = { password: 0, 'recovery-code': 1, passkey: 2 } as const;

interface Door {
  kind: number;
  name: Bytes;
  salt: Bytes;
  wrap: Bytes;
}

const nameOf = (secret: DoorSecret): Bytes =>
  secret.kind === 'passkey' ? secret.credential : (new Uint8Array() as Bytes);

function doorKey(secret: DoorSecret, salt: Bytes, account: Bytes): Promise<Bytes> {
  switch (secret.kind) {
    case 'password':
      return derive(secret.exportKey, salt, LABEL.doorPassword, account);
    case 'recovery-code':
      return derive(secret.code, salt, LABEL.doorRecoveryCode, account);
    case 'passkey':
      return derive(secret.prfOutput, salt, LABEL.doorPasskey, account);
  }
}

const doorContext = (secret: DoorSecret, account: Bytes): Bytes => {
  const name = nameOf(secret);
  return concat(new Uint8Array([KIND[secret.kind]]), uint(name.length, 2), name, account);
};

async function door(vaultKey: Bytes, account: Bytes, secret: DoorSecret): Promise<Door> {
  const salt = random(32);
  const key = await doorKey(secret, salt, account);
  const wrap = await wrapUnder(key, LABEL.vaultKey, doorContext(secret, account), vaultKey);
  return { kind: KIND[secret.kind], name: nameOf(secret), salt, wrap };
}

const encodeVault = (doors: Door[], keyring: Bytes): Bytes =>
  encode(
    fields({
      1: VERSION,
      2: doors.map((d): Value => fields({ 1: d.kind, 2: d.name, 3: d.salt, 4: d.wrap })),
      3: keyring,
    }),
  );

function decodeVault(sealed: Bytes): { doors: Door[]; keyring: Bytes } {
  if (sealed.length > SEALED_LIMIT) throw new Malformed('too long');
  const map = Fields.of(decode(sealed), [1, 2, 3]);
  if (map.uint(1) !== VERSION) throw new CryptoError('unknown-version');
  const doors = map.list(2).map((value) => {
    const door = Fields.of(value, [1, 2, 3, 4]);
    return {
      kind: asUint(door.value(1), 2),
      name: door.bytes(2),
      salt: door.bytes(3, 32),
      wrap: door.bytes(4),
    };
  });
  if (doors.length < 1 || doors.length > DOORS_LIMIT) throw new Malformed('no doors');
  return { doors, keyring: map.bytes(3) };
}

/** Puts seeds behind doors. `account` is the principal's id: the keyring opens under no other. */
export async function createVault(
  account: Bytes,
  seeds: Seeds,
  secrets: DoorSecret[],
): Promise<Bytes> {
  const vaultKey = random(32);
  const keyring = await wrapUnder(vaultKey, LABEL.keyring, account, keyringBytes(seeds));
  const doors: Door[] = [];
  for (const secret of secrets) doors.push(await door(vaultKey, account, secret));
  return encodeVault(doors, keyring);
}

async function vaultKeyOf(account: Bytes, doors: Door[], secret: DoorSecret): Promise<Bytes> {
  const kind = KIND[secret.kind];
  const name = nameOf(secret);
  const found = doors.find((d) => d.kind === kind && String(d.name) === String(name));
  if (!found) throw new CryptoError('vault-closed');
  const key = await doorKey(secret, found.salt, account);
  const context = doorContext(secret, account);
  return unwrapUnder(key, LABEL.vaultKey, context, found.wrap).catch(() => {
    throw new CryptoError('vault-closed');
  });
}

/** Opens a stored keyring through one of its doors. */
export async function openVault(account: Bytes, sealed: Bytes, secret: DoorSecret): Promise<Seeds> {
  const { doors, keyring } = decodeVault(sealed);
  const vaultKey = await vaultKeyOf(account, doors, secret);
  return seedsFromKeyring(await unwrapUnder(vaultKey, LABEL.keyring, account, keyring));
}

/** Replaces or adds a door, for whoever can open one: a changed password, a new code. */
export async function setDoor(
  account: Bytes,
  sealed: Bytes,
  opening: DoorSecret,
  added: DoorSecret,
): Promise<Bytes> {
  const { doors, keyring } = decodeVault(sealed);
  const vaultKey = await vaultKeyOf(account, doors, opening);
  const made = await door(vaultKey, account, added);
  const at = doors.findIndex((d) => d.kind === made.kind && String(d.name) === String(made.name));
  if (at >= 0) doors[at] = made;
  else doors.push(made);
  return encodeVault(doors, keyring);
}

const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
const CODE_LENGTH = 17;

const codeCheck = async (code: Bytes): Promise<Bytes> =>
  (await sha256(LABEL.recoveryCheck, code)).slice(0, 3);

/** A fresh recovery code: 136 random bits. */
export const freshCode = (): Bytes => random(CODE_LENGTH);

/** The code as it is printed: eight groups of four characters. */
export async function codeText(code: Bytes): Promise<string> {
  const bytes = concat(code, await codeCheck(code));
  const bits = Array.from(bytes, (byte) => byte.toString(2).padStart(8, '0')).join('');
  const digits = bits.match(/.{5}/g)!.map((five) => ALPHABET[Number.parseInt(five, 2)]!);
  return digits.join('').match(/.{4}/g)!.join('-');
}

/** Reads a code as people type it. */
export async function parseCode(text: string): Promise<Bytes> {
  const plain = text.toUpperCase().replace(/[-\s]/g, '').replaceAll('O', '0').replace(/[IL]/g, '1');
  const values = Array.from(plain, (character) => ALPHABET.indexOf(character));
  if (values.length !== 32 || values.includes(-1)) throw new CryptoError('text');
  const bits = values.map((value) => value.toString(2).padStart(5, '0')).join('');
  const bytes = Uint8Array.from(bits.match(/.{8}/g)!, (eight) => Number.parseInt(eight, 2));
  const code = bytes.slice(0, CODE_LENGTH);
  if (String(await codeCheck(code)) !== String(bytes.slice(CODE_LENGTH)))
    throw new CryptoError('text');
  return code;
}
