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
  | 'vault-closed';

export class CryptoError extends Error {
  constructor(readonly fault: Fault) {
    super(fault);
  }
}
