// Which algorithms this browser has itself. Where it has one, private keys become non-extractable
// CryptoKeys; elsewhere the noble libraries compute in JavaScript. Asked once per page.

/** Algorithms that the typings of TypeScript do not know yet. */
export type ModernSubtle = {
  importKey(
    format: string,
    data: BufferSource,
    algorithm: { name: string } | string,
    extractable: boolean,
    usages: string[],
  ): Promise<CryptoKey>;
};

export const subtle = crypto.subtle as unknown as ModernSubtle;

async function probe(name: string, usage: string): Promise<boolean> {
  try {
    await subtle.importKey('raw-seed', new Uint8Array(32), { name }, false, [usage]);
    return true;
  } catch {
    return false;
  }
}

async function probeEd25519(): Promise<boolean> {
  try {
    await subtle.importKey('raw', new Uint8Array([1, ...new Uint8Array(31)]), 'Ed25519', false, [
      'verify',
    ]);
    return true;
  } catch {
    return false;
  }
}

let answers: Promise<Native> | undefined;

export interface Native {
  ed25519: boolean;
  mlDsa65: boolean;
  xWing: boolean;
}

/** What this runtime computes natively. */
export function native(): Promise<Native> {
  answers ??= (async () => ({
    ed25519: await probeEd25519(),
    mlDsa65: await probe('ML-DSA-65', 'sign'),
    xWing: await probe('MLKEM768-X25519', 'decapsulateBits'),
  }))();
  return answers;
}

/** Makes every later key use the fallback: for tests of that path. */
export function withoutNative(): void {
  answers = Promise.resolve({ ed25519: false, mlDsa65: false, xWing: false });
}
