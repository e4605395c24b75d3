// Taking many files in, one after the other: what each holds, whose it is, what of it is on the ledger
// already, and what became of it.
//
// Nothing is kept in the browser. Patients and records of an import have numbers that are keyed
// digests of where they come from, under the keys of whoever takes them in, so an import that was
// interrupted finds on the ledger what it did before.
import { ok, Problem } from '../../api/client';
import { sha256 } from '../../crypto/digest';
import { digestOf } from '../../crypto/sealing';
import { dicomPatient } from '../../features/record/picture';
import { type Bytes, hex, uint, unhex, utf8 } from '../../lib/bytes';
import type { Person } from '../../session/person';
import { type OfPatient, readBundle, type Sourced } from './bundle';
import { type Body, bytesOf, type Chosen, FILE_LIMIT, kindOf, look, markOf } from './files';
import type { Classed } from './form';
import type { Patient } from './queries';
import { Refused } from './refused';
import { type Again, Intake } from './seal';
import { header, isHeader } from './wfdb';

/** A file with the path that it has in the chosen folder. */
export interface Found {
  path: string;
  file: File;
}

/** One file to take in, with the files beside it that it may need. */
export interface Source extends Found {
  beside: Found[];
}

/** What became of a file. */
export type Fate =
  | { is: 'waiting' }
  | { is: 'working'; part: number }
  | { is: 'done'; records: number; known: number; leftOut: number; patients: number }
  | { is: 'refused'; why: Refused }
  | { is: 'failed'; error: unknown };

/** What holds for a whole import. */
export interface Wish {
  /** Whose files are that do not say it themselves. */
  patient?: Patient;
  /** Whether to take in what needs a second look: another name in a file, a name that is known here. */
  doubtful: boolean;
  /** Whether names of new patients stay readable. */
  readable: boolean;
}

/** Most files of one import. */
export const SOURCES_LIMIT = 20_000;

const folderOf = (path: string): string => path.slice(0, path.lastIndexOf('/') + 1);
const nameOf = (path: string): string => path.slice(path.lastIndexOf('/') + 1);

/** Files that explain others, and nothing that is taken in. */
const explains = (name: string): boolean =>
  name.startsWith('.') || /^(manifest\.csv|readme(\.md)?|license)$/i.test(name);

/** Signal files that stand under a WFDB header. */
const companion = (name: string): boolean => /\.(dat|atr|mat|xws|d\d)$/i.test(name);

/** What is to be taken in of the found files, in the order of their paths. */
export function sourcesOf(found: Found[]): Source[] {
  const folders = new Map<string, Found[]>();
  for (const one of found) {
    const folder = folderOf(one.path);
    folders.set(folder, [...(folders.get(folder) ?? []), one]);
  }
  return found
    .filter(({ path }) => {
      const beside = folders.get(folderOf(path)) ?? [];
      const name = nameOf(path);
      return !explains(name) && !(companion(name) && beside.some((one) => isHeader(one.path)));
    })
    .map((one) => ({
      ...one,
      beside: isHeader(one.path) ? (folders.get(folderOf(one.path)) ?? []) : [],
    }))
    .sort((a, b) => (a.path < b.path ? -1 : 1));
}

async function wholeOf(file: File): Promise<Bytes> {
  if (file.size > FILE_LIMIT) throw new Refused('too-large');
  return bytesOf(file);
}

const words = (name: string): Set<string> =>
  new Set(
    name
      .toLowerCase()
      .normalize('NFKD')
      .replace(/[^\p{L}\s]/gu, '')
      .split(/\s+/)
      .filter((word) => word.length > 1),
  );

/** Whether two writings of a name have nothing in common. */
export function otherName(one?: string | null, other?: string | null): boolean {
  const [a, b] = [words(one ?? ''), words(other ?? '')];
  return a.size > 0 && b.size > 0 && ![...a].some((word) => b.has(word));
}

const sameName = (one?: string | null, other?: string | null): boolean =>
  Boolean(one?.trim()) && one?.trim().toLowerCase() === other?.trim().toLowerCase();

const digest = (body: Body): Promise<Bytes> =>
  body instanceof Blob ? digestOf(body) : sha256(body);

/** A file's records, where it says itself whose they are, or else those for the chosen patient. */
async function read(
  source: Source,
): Promise<{ patients: OfPatient[]; leftOut: number } | { pieces: Sourced[]; named?: string }> {
  const [name, mark] = [nameOf(source.path), await markOf(source.file)];
  const first = mark.find((byte) => !' \t\r\n\xef\xbb\xbf'.includes(String.fromCharCode(byte)));
  if (mark[0] === 0x1f || first === 0x7b) return readBundle(await wholeOf(source.file));
  const chosen: Chosen[] = [{ name, file: source.file }];
  if (isHeader(name))
    for (const signal of new Set(
      header(await wholeOf(source.file)).specs.map(({ file }) => file),
    )) {
      const file = source.beside.find((one) => nameOf(one.path) === signal)?.file;
      if (file) chosen.push({ name: signal, file });
    }
  const [looked] = await look(chosen);
  if (!looked?.piece) throw looked?.refused ?? new Refused('unknown');
  const piece: Sourced = {
    ...looked.piece,
    class: 'medical',
    source: await digest(looked.piece.body),
  };
  const dicom = kindOf(name, mark) === 'dicom';
  const named = dicom ? dicomPatient(await wholeOf(source.file)) : undefined;
  return { pieces: [piece], named };
}

/** One import. Its files are taken in one at a time. */
export class Import {
  constructor(
    private readonly person: Person,
    private readonly patients: Patient[],
    private readonly wish: Wish,
  ) {}

  async take(source: Source, progress: (part: number) => void): Promise<Fate> {
    try {
      if (source.file.size === 0) throw new Refused('empty');
      if (source.file.size > FILE_LIMIT) throw new Refused('too-large');
      const held = await read(source);
      const whole = await digest(source.file);
      if ('patients' in held) return await this.bundle(held, whole, progress);
      return await this.chosen(held, whole, progress);
    } catch (error) {
      return error instanceof Refused ? { is: 'refused', why: error } : { is: 'failed', error };
    }
  }

  /** Files that belong to the patient whom somebody chose. */
  private async chosen(
    { pieces, named }: { pieces: Sourced[]; named?: string },
    digest: Bytes,
    progress: (part: number) => void,
  ): Promise<Fate> {
    const { patient, doubtful } = this.wish;
    if (!patient) throw new Refused('whose');
    if (!doubtful && named && otherName(named, patient.name))
      throw new Refused('named', { name: named });
    const stored = await this.store(patient.alias, undefined, pieces, digest, progress);
    return { is: 'done', ...stored, leftOut: 0, patients: 1 };
  }

  /** A bundle's patients, each under the alias that the same number always gets. */
  private async bundle(
    { patients, leftOut }: { patients: OfPatient[]; leftOut: number },
    digest: Bytes,
    progress: (part: number) => void,
  ): Promise<Fate> {
    const placed = await Promise.all(
      patients.map(async (one) => ({ one, alias: await this.aliasOf(one.number) })),
    );
    // Nothing of a file is taken in where one of its patients is in doubt.
    for (const { one, alias } of placed) {
      const known = (other: Patient) => other.alias !== alias && sameName(other.name, one.name);
      if (!this.wish.doubtful && this.patients.some(known))
        throw new Refused('same-name', { name: one.name ?? '' });
    }
    let [records, known] = [0, 0];
    for (const [at, { one, alias }] of placed.entries()) {
      const stored = await this.store(alias, one.name ?? one.number, one.pieces, digest, (part) =>
        progress((at + part) / placed.length),
      );
      records += stored.records;
      known += stored.known;
    }
    return { is: 'done', records, known, leftOut, patients: patients.length };
  }

  private async id(kind: string, ...parts: Bytes[]): Promise<Bytes> {
    const token = await this.person.keys.token('id', [utf8(kind), ...parts]);
    return token.slice(0, 16);
  }

  private async aliasOf(number: string): Promise<string> {
    const token = await this.person.keys.token('patient', [utf8(number)]);
    return hex(token.slice(0, 16));
  }

  /** `name` is given for patients of this import, who may have to be opened first. */
  private async store(
    alias: string,
    name: string | undefined,
    pieces: Sourced[],
    digest: Bytes,
    progress: (part: number) => void,
  ): Promise<{ records: number; known: number }> {
    const { person } = this;
    const id = unhex(alias);
    const known = await this.recorded(alias);
    const record = async (piece: Classed): Promise<string> =>
      hex(await this.id('record', id, (piece as Sourced).source, new Uint8Array()));
    const numbers = new Set(await Promise.all(pieces.map(record)));
    const fresh = [...numbers].filter((number) => !known.has(number)).length;
    if (fresh === 0) return { records: 0, known: pieces.length };
    const again: Again = {
      record,
      batch: (place) => this.id('batch', id, digest, uint(place, 4)),
      known,
    };
    const subject =
      name !== undefined && known.size === 0
        ? { fresh: true as const, name, readable: this.wish.readable, alias }
        : { fresh: false as const, alias };
    const taken = await new Intake(person, subject, pieces, again).run(progress);
    return { records: taken.records.length, known: pieces.length - taken.records.length };
  }

  /** The numbers of the records that an alias has. */
  private async recorded(alias: string): Promise<Set<string>> {
    const { person } = this;
    try {
      const listed = await person.list((after) =>
        ok(
          person.home.api.GET('/api/v1/patients/{alias}/records', {
            params: { path: { alias }, query: { after, limit: 500 } },
          }),
        ),
      );
      return new Set(listed.map(({ record }) => record));
    } catch (error) {
      if (error instanceof Problem && error.status === 404) return new Set();
      throw error;
    }
  }
}

/** Every file below what was dropped. */
export async function dropped(items: DataTransferItemList): Promise<Found[]> {
  // The list is empty once this task has ended.
  const files = [...items].filter((item) => item.kind === 'file');
  const entries = files.flatMap((item) => item.webkitGetAsEntry() ?? []);
  // Where the browser tells no folders, the files themselves are there.
  if (entries.length === 0) return chosenFiles(files.flatMap((item) => item.getAsFile() ?? []));
  const found: Found[] = [];
  const walk = async (entry: FileSystemEntry): Promise<void> => {
    if (found.length > SOURCES_LIMIT) return;
    if (entry.isFile) {
      const file = await new Promise<File>((resolve, reject) =>
        (entry as FileSystemFileEntry).file(resolve, reject),
      );
      found.push({ path: entry.fullPath.slice(1), file });
      return;
    }
    const reader = (entry as FileSystemDirectoryEntry).createReader();
    for (;;) {
      const some = await new Promise<FileSystemEntry[]>((resolve, reject) =>
        reader.readEntries(resolve, reject),
      );
      if (some.length === 0) return;
      for (const one of some) await walk(one);
    }
  };
  for (const entry of entries) await walk(entry);
  return found;
}

/** Files of a file field, with the folder that was chosen. */
export const chosenFiles = (files: File[]): Found[] =>
  files.map((file) => ({ path: file.webkitRelativePath || file.name, file }));

/** How the files of an import stand, in numbers. */
export function tally(fates: Fate[]): {
  done: number;
  bad: number;
  records: number;
  known: number;
} {
  const sum = { done: 0, bad: 0, records: 0, known: 0 };
  for (const fate of fates) {
    if (fate.is === 'done') {
      sum.done += 1;
      sum.records += fate.records;
      sum.known += fate.known;
    }
    if (fate.is === 'refused' || fate.is === 'failed') sum.bad += 1;
  }
  return sum;
}
