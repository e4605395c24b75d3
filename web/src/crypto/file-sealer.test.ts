// A file that is sealed while it is read gives the stream that sealing it in memory gives.
import { expect, it } from 'vitest';
import { type Bytes, concat, hex, random, utf8 } from '../lib/bytes';
import { contentHead, decodeContent, encodeContent } from '../records/record';
import { sha256 } from './digest';
import { FileSealer, fileDigest } from './file-sealer';
import { openStream } from './stream';

const PART = 8 << 20;
const about = { mediaType: 'application/pdf', title: 'Report', salt: random(16) };

const body = (length: number): Bytes => {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = i % 251;
  return bytes;
};

async function sealed(bytes: Bytes, size: number) {
  const [recordKey, context] = [random(32), utf8('context')];
  const head = contentHead(about, bytes.length);
  const { salt } = about;
  const sealer = await FileSealer.create({
    recordKey,
    context,
    head,
    file: new Blob([bytes]),
    salt,
  });
  const parts: Bytes[] = [];
  for (let part = await sealer.next(size); part.length > 0; part = await sealer.next(size))
    parts.push(part);
  const opened = await openStream(recordKey, context, concat(...parts));
  return { parts, stream: concat(...parts), opened, length: sealer.length, ...sealer.digests() };
}

it.each([0, 1, (1 << 20) - 60, 1 << 20, PART, PART + 1, 2 * PART + 12_345])(
  'seals a file of %i bytes as its content',
  async (length) => {
    const bytes = body(length);
    expect(hex(contentHead(about, length))).toBe(
      hex(encodeContent({ ...about, body: bytes }).subarray(0, contentHead(about, length).length)),
    );
    const made = await sealed(bytes, PART);
    expect(made.stream.length).toBe(made.length);
    expect(made.parts.slice(0, -1).every((part) => part.length === PART)).toBe(true);
    const content = decodeContent(made.opened);
    expect(content.title).toBe(about.title);
    expect(hex(await sha256(content.body))).toBe(hex(await sha256(bytes)));
    expect(hex(made.sealed)).toBe(hex(await sha256(made.stream)));
    expect(hex(made.content!)).toBe(hex(await sha256(about.salt, bytes)));
  },
);

it('digests a file without holding it', async () => {
  const bytes = body(PART + 77);
  expect(hex(await fileDigest(new Blob([bytes])))).toBe(hex(await sha256(bytes)));
});
