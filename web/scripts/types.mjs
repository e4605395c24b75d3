// Holds the committed types to the committed API description: they are generated anew and compared.
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';

const committed = new URL('../src/api/schema.d.ts', import.meta.url);
const fresh = new URL('../node_modules/.cache/schema.d.ts', import.meta.url);
mkdirSync(new URL('.', fresh), { recursive: true });
const tool = new URL('../node_modules/.bin/openapi-typescript', import.meta.url).pathname;
execFileSync(tool, ['../openapi/salus.json', '-o', fresh.pathname], { stdio: 'pipe' });
if (readFileSync(committed, 'utf8') !== readFileSync(fresh, 'utf8')) {
  console.error('src/api/schema.d.ts is not what openapi/salus.json says: npm run types');
  process.exit(1);
}
