// Every use of a key has its label: `salus/v1/`, a name, one zero byte (docs/formats.md).
import { type Bytes, concat, utf8 } from '../lib/bytes';

const ZERO = new Uint8Array(1);

const label = (name: string): Bytes => concat(utf8(`salus/v1/${name}`), ZERO);

export const LABEL = {
  command: label('command'),
  session: label('session'),
  keyPossession: label('key-possession'),
  checkpoint: label('checkpoint'),
  manifest: label('manifest'),
  document: label('document'),
  statistics: label('statistics'),
  classKeyWrap: label('class-key-wrap'),
  recordKeyWrap: label('record-key-wrap'),
  recordKey: label('record-key'),
  vaultKey: label('vault-key'),
  keyring: label('keyring'),
  streamKey: label('stream-key'),
  streamCommitment: label('stream-commitment'),
  streamBinding: label('stream-binding'),
  doorPassword: label('door-password'),
  doorRecoveryCode: label('door-recovery-code'),
  doorPasskey: label('door-passkey'),
  intakeToken: label('intake-token'),
  recoveryCheck: label('recovery-check'),
  commitment: label('commitment'),
} as const;
