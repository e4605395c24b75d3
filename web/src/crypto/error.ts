// What can be wrong with sealed or signed bytes, under the names that the golden vectors use.

export type Fault =
  | 'malformed'
  | 'public-key'
  | 'signature'
  | 'envelope'
  | 'unwrap'
  | 'not-sealed'
  | 'unknown-version'
  | 'chunk-size'
  | 'wrong-key'
  | 'wrong-context'
  | 'truncated'
  | 'overlong'
  | 'chunk'
  | 'text'
  | 'login-refused'
  | 'vault-closed'
  // Of passkeys, in the page alone.
  | 'passkey-cancelled'
  | 'passkey-there'
  | 'passkey-no-prf'
  | 'passkey-no-door';

export class CryptoError extends Error {
  constructor(readonly fault: Fault) {
    super(fault);
  }
}
