// Verifying every record of a patient: each proof is fetched and checked here against the genesis
// file's digest, and kept for a verifier that does not need this page.

import { sha256 } from '../../crypto/digest';
import { type Bytes, concat, hex, utf8 } from '../../lib/bytes';
import type { Person } from '../../session/person';
import { verifyBundle } from '../../verify/bundle';
import type { Place, SealedRecord } from './queries';

export interface Verified {
  good: number;
  /** Records whose proof failed, with the check that failed first. */
  failed: { record: string; check: string }[];
  /** Digest of the genesis file. */
  genesis: string;
  /** Size of the log, and members, under the newest checkpoint seen. */
  size: number;
  members: string[];
  time: number;
  files: { name: string; body: Bytes }[];
}

/** Proofs fetched at the same time. */
const FETCHES = 4;

/** The genesis file of the consortium, from the person's own node. */
export async function genesisFile(person: Person): Promise<Bytes> {
  const answer = await person.home.raw('/ledger/genesis');
  return new Uint8Array(await answer.arrayBuffer());
}

export async function verifyAll(
  person: Person,
  place: Place,
  records: SealedRecord[],
  progress: (done: number) => void,
): Promise<Verified> {
  const at = await person.at(place.api);
  const genesis = await genesisFile(person);
  const digest = await sha256(genesis);
  const files: Verified['files'] = [{ name: 'genesis.cbor', body: genesis }];
  const result: Verified = {
    good: 0,
    failed: [],
    genesis: hex(digest),
    size: 0,
    members: [],
    time: 0,
    files,
  };
  const queue = [...records];
  let done = 0;
  const work = async (): Promise<void> => {
    for (let next = queue.shift(); next; next = queue.shift()) {
      const { record } = next;
      try {
        const text = await (await at.raw(`/ledger/proofs/records/${record}`)).text();
        files.push({ name: `${record}.proof.json`, body: utf8(text) });
        const proven = await verifyBundle(text, digest);
        const { anchor, alias, signer } = proven.record!;
        const same =
          anchor.record === record &&
          alias === place.alias &&
          signer === next.signer &&
          hex(anchor.ciphertext) === next.ciphertext;
        if (!same) throw new Error('the list');
        result.good += 1;
        if (proven.checkpoint.size >= result.size) {
          result.size = proven.checkpoint.size;
          result.time = proven.checkpoint.time;
          result.members = proven.members.members.map((member) => member.name);
        }
      } catch (error) {
        const check = error instanceof Error ? error.message : String(error);
        result.failed.push({ record, check });
      }
      done += 1;
      progress(done);
    }
  };
  await Promise.all(Array.from({ length: FETCHES }, work));
  const note = `Proofs of ${result.good} sealed records.\nGenesis digest (SHA-256): ${result.genesis}\nCheck one: salus audit verify FILE --genesis genesis.cbor\n`;
  files.push({ name: 'README.txt', body: concat(utf8(note)) });
  return result;
}
