// After the build: compresses every file that gets smaller by it, and holds the app to its size. The
// first page may have 250 kB, each further portal 150 kB, as gzip counts.
import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';

const FIRST_LIMIT = 250_000;
const PORTAL_LIMIT = 150_000;
const SMALL = 1024;
const app = new URL('../dist/app/', import.meta.url).pathname;

const gzip = (bytes) => gzipSync(bytes, { level: 9 });

function compress(folder) {
  for (const name of readdirSync(folder)) {
    const path = join(folder, name);
    if (statSync(path).isDirectory()) {
      compress(path);
      continue;
    }
    // The start page gets its nonce in every answer.
    if (name === 'index.html' || statSync(path).size < SMALL) continue;
    const plain = readFileSync(path);
    const parameters = { [constants.BROTLI_PARAM_QUALITY]: 11 };
    const forms = [
      ['.gz', gzip(plain)],
      ['.br', brotliCompressSync(plain, { params: parameters })],
    ];
    for (const [ending, bytes] of forms)
      if (bytes.length < plain.length * 0.95) writeFileSync(path + ending, bytes);
  }
}

const manifest = JSON.parse(readFileSync(join(app, '.vite/manifest.json'), 'utf8'));

/** Every file that a chunk needs at once: itself, its imports, their styles. */
function files(key, found = new Set()) {
  const chunk = manifest[key];
  if (found.has(chunk.file)) return found;
  found.add(chunk.file);
  for (const style of chunk.css ?? []) found.add(style);
  for (const imported of chunk.imports ?? []) files(imported, found);
  return found;
}

const weigh = (names) =>
  [...names].reduce((sum, name) => sum + gzip(readFileSync(join(app, name))).length, 0);

const keys = Object.keys(manifest);
const key = (ending) => {
  const found = keys.filter((name) => name.endsWith(ending));
  if (found.length !== 1) throw new Error(`${ending}: ${found.length} chunks`);
  return found[0];
};
const first = new Set([...files('index.html'), ...files(key('portals/entry/index.ts'))]);
const report = [['first page', weigh(first), FIRST_LIMIT]];
for (const portal of keys.filter((name) => /portals\/(?!entry)\w+\/index\.ts$/.test(name))) {
  const own = [...files(portal)].filter((name) => !first.has(name));
  report.push([portal.split('/').at(-2), weigh(own), PORTAL_LIMIT]);
}
let over = false;
for (const [name, size, limit] of report) {
  console.log(`${name}: ${(size / 1000).toFixed(1)} kB gzip of at most ${limit / 1000}`);
  over ||= size > limit;
}
rmSync(join(app, '.vite'), { recursive: true });
compress(app);
if (over) process.exit(1);
