// A real consortium for the tests: `salus demo` as its own processes, and the command line beside it for
// what people without a portal do.
import { execFile, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';

const run = promisify(execFile);

function binary() {
  const root = new URL('../../../', import.meta.url).pathname;
  const target = process.env.CARGO_TARGET_DIR ?? join(root, 'target');
  const found = [process.env.SALUS_BIN, join(target, 'debug/salus'), join(target, 'release/salus')];
  const path = found.find((candidate) => candidate && existsSync(candidate));
  if (!path) throw new Error('build the node first: cargo build --package salus');
  return path;
}

/** Starts the demonstration and waits until people and records are in it. */
export async function start({ samples, patients = 3 } = {}) {
  const salus = binary();
  const folder = mkdtempSync(join(tmpdir(), 'salus-e2e-'));
  const dir = join(folder, 'demo');
  const wish = ['demo', '--dir', dir, '--json', '--patients', String(patients)];
  if (samples) wish.push('--samples', samples);
  const demo = spawn(salus, wish, { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = new Promise((resolve) => demo.once('exit', resolve));
  const announced = new Promise((resolve, reject) => {
    ended.then((code) => reject(new Error(`the demonstration ended with ${code}`)));
    createInterface({ input: demo.stdout }).on('line', (line) => {
      const told = JSON.parse(line);
      if (told.ok === false) reject(new Error(line));
      if (told.nodes) resolve(told);
    });
  });
  const { nodes, people, start: startPage } = await announced;
  const address = Object.fromEntries(nodes);
  const consortium = join(dir, 'consortium');
  const authority = join(consortium, 'authority.pem');
  const config = (name) => join(consortium, name.toLowerCase().replaceAll(' ', '-'), 'node.toml');
  const cli = async (...words) => {
    const { stdout } = await run(salus, [...words, '--json'], { maxBuffer: 1 << 24 });
    return stdout
      .trim()
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line));
  };
  return {
    folder,
    startPage,
    people,
    cloud: address['Healthcare Cloud'],
    north: address['North Hospital'],
    password: (login) => people.find((person) => person.login === login).password,
    /** Notes a password that a journey has changed, for those that follow. */
    changed: (login, password) => {
      people.find((person) => person.login === login).password = password;
    },
    cli,
    /** The organisation of a member acts. */
    as: (member, ...words) => cli(...words, '--config', config(member)),
    /** Somebody with an account at the cloud acts. */
    person: (login, ...words) => {
      const file = join(folder, `${login}.password`);
      const { password } = people.find((person) => person.login === login);
      writeFileSync(file, `${password}\n`, { mode: 0o600 });
      const where = ['--node', address['Healthcare Cloud'], '--authority', authority];
      return cli(...words, ...where, '--login', login, '--password-file', file);
    },
    /** Sets a new password at the cloud with a recovery code. */
    recover: (login, code, password) => {
      const file = (name, text) => {
        const path = join(folder, `${login}.${name}`);
        writeFileSync(path, `${text}\n`, { mode: 0o600 });
        return path;
      };
      const where = ['--node', address['Healthcare Cloud'], '--authority', authority];
      const secrets = ['--code-file', file('code', code)];
      secrets.push('--new-password-file', file('new', password));
      return cli('person', 'recover', ...where, '--login', login, ...secrets);
    },
    stop: async () => {
      demo.kill('SIGINT');
      await ended;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
