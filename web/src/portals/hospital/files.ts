// From chosen files to records: what each is told from its bytes, checked, and refused with a reason.
import { ECG_MEDIA_TYPE } from '../../features/record/ecg';
import { NotShown, readPicture } from '../../features/record/picture';
import { type Bytes, fromUtf8 } from '../../lib/bytes';
import type { RecordKind } from '../../records/codes';
import { Refused } from './refused';
import { encodeRecording, header, isHeader, readWfdb } from './wfdb';

/** Largest file, in bytes. */
export const FILE_LIMIT = 256 << 20;

/** What a record holds: bytes, or a file that is read when it is sealed. */
export type Body = Bytes | Blob;

export const sizeOf = (body: Body): number => (body instanceof Blob ? body.size : body.length);

export const bytesOf = async (body: Body): Promise<Bytes> =>
  body instanceof Blob ? new Uint8Array(await body.arrayBuffer()) : body;

/** One record of class medical before it is sealed. */
export interface Piece {
  kind: RecordKind;
  mediaType: string;
  title: string;
  body: Body;
  /** Whether whoever takes it in signs a statement about it. */
  signed: boolean;
}

/** A file that was looked at: a piece, or why not. */
export interface Looked {
  name: string;
  size: number;
  piece?: Piece;
  refused?: Refused;
}

export interface Chosen {
  name: string;
  file: Blob;
}

/** What tells a file's kind: the mark of DICOM stands behind 128 bytes. */
const MARK_BYTES = 132;
/** The end of a whole PDF is marked in its last kilobyte. */
const TAIL_BYTES = 1024;

export const markOf = (file: Blob): Promise<Bytes> => bytesOf(file.slice(0, MARK_BYTES));

const starts = (bytes: Bytes, mark: number[], at = 0): boolean =>
  mark.every((byte, i) => bytes[at + i] === byte);

type Kind = 'pdf' | 'png' | 'jpeg' | 'dicom' | 'text' | 'unknown';

/** What a file is, by its first bytes; text by being text under a text file's name. */
export function kindOf(name: string, bytes: Bytes): Kind {
  if (starts(bytes, [0x25, 0x50, 0x44, 0x46, 0x2d])) return 'pdf';
  if (starts(bytes, [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])) return 'png';
  if (starts(bytes, [0xff, 0xd8, 0xff])) return 'jpeg';
  if (starts(bytes, [0x44, 0x49, 0x43, 0x4d], 128)) return 'dicom';
  return /\.txt$/i.test(name) ? 'text' : 'unknown';
}

/** A name for people: no folders, no control characters, of bounded length. */
export const titleOf = (name: string): string =>
  (name.split(/[/\\]/).at(-1) ?? '').replace(/\p{C}/gu, '').trim().slice(0, 120) || 'file';

async function pdf(name: string, file: Blob): Promise<Piece> {
  const tail = String.fromCharCode(...(await bytesOf(file.slice(-TAIL_BYTES))));
  if (!tail.includes('%%EOF')) throw new Refused('damaged');
  return piece('document', 'application/pdf', name, file, true);
}

async function text(name: string, file: Blob): Promise<Piece> {
  const bytes = await bytesOf(file);
  try {
    fromUtf8(bytes);
  } catch {
    throw new Refused('damaged');
  }
  return piece('document', 'text/plain; charset=utf-8', name, bytes, true);
}

async function picture(name: string, mediaType: string, file: Blob): Promise<Piece> {
  try {
    await readPicture(mediaType, await bytesOf(file));
  } catch (error) {
    // What cannot be drawn here is still a file of its kind; only damage is refused.
    const dicom = mediaType === 'application/dicom' && error instanceof NotShown;
    if (!dicom) throw new Refused('damaged');
    throw new Refused('dicom');
  }
  return piece('image', mediaType, name, file, false);
}

const piece = (
  kind: RecordKind,
  mediaType: string,
  name: string,
  body: Body,
  signed: boolean,
): Piece => ({ kind, mediaType, title: titleOf(name), body, signed });

async function read({ name, file }: Chosen): Promise<Piece> {
  if (file.size === 0) throw new Refused('empty');
  if (file.size > FILE_LIMIT) throw new Refused('too-large');
  switch (kindOf(name, await markOf(file))) {
    case 'pdf':
      return pdf(name, file);
    case 'png':
      return picture(name, 'image/png', file);
    case 'jpeg':
      return picture(name, 'image/jpeg', file);
    case 'dicom':
      return picture(name, 'application/dicom', file);
    case 'text':
      return text(name, file);
    default:
      throw new Refused('unknown');
  }
}

/** Every chosen file, in order; the signal files of an ECG stand under its header. */
export async function look(files: Chosen[]): Promise<Looked[]> {
  const byName = new Map(files.map(({ name, file }) => [titleOf(name), file]));
  const headers = files.filter(({ name }) => isHeader(name));
  const signals = new Set<string>();
  const looked: Looked[] = [];
  const attempt = async (
    { name, file }: Chosen,
    work: () => Piece | Promise<Piece>,
  ): Promise<void> => {
    const about = { name: titleOf(name), size: file.size };
    try {
      looked.push({ ...about, piece: await work() });
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      looked.push({ ...about, refused: error });
    }
  };
  for (const file of headers)
    await attempt(file, async () => {
      if (file.file.size > FILE_LIMIT) throw new Refused('too-large');
      const head = await bytesOf(file.file);
      const held = new Map<string, Bytes>();
      for (const { file: signal } of header(head).specs) {
        signals.add(signal);
        const found = byName.get(signal);
        if (found && found.size > FILE_LIMIT) throw new Refused('too-large');
        if (found && !held.has(signal)) held.set(signal, await bytesOf(found));
      }
      const recording = readWfdb(head, held);
      const name = titleOf(recording.record);
      return piece('ecg', ECG_MEDIA_TYPE, name, encodeRecording(recording), false);
    });
  for (const file of files) {
    if (isHeader(file.name) || signals.has(titleOf(file.name))) continue;
    await attempt(file, () => {
      if (/\.(dat|atr)$/i.test(file.name)) throw new Refused('ecg-alone');
      return read(file);
    });
  }
  return looked;
}
