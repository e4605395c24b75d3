// Authenticated reads of metadata over many connections: HTTP/1.1 over TLS, one request at a time on each.
import { connect } from 'node:tls';

const WARM_MS = 2_000;

/** One connection, asking again as soon as it is answered, until `stop()`. */
function asking(base, request, answered) {
  const { hostname, port } = new URL(base);
  return new Promise((resolve, reject) => {
    const socket = connect({
      host: hostname,
      port: Number(port),
      ALPNProtocols: ['http/1.1'],
      rejectUnauthorized: false,
    });
    let buffer = Buffer.alloc(0);
    let sent = 0;
    const ask = () => {
      sent = performance.now();
      socket.write(request);
    };
    socket.once('secureConnect', () => resolve({ ask, end: () => socket.destroy() }));
    socket.once('error', reject);
    socket.on('data', (bytes) => {
      buffer = buffer.length === 0 ? bytes : Buffer.concat([buffer, bytes]);
      const head = buffer.indexOf('\r\n\r\n');
      if (head < 0) return;
      const text = buffer.toString('latin1', 0, head);
      const length = Number(/content-length: (\d+)/i.exec(text)?.[1] ?? Number.NaN);
      if (!(buffer.length >= head + 4 + length)) return;
      buffer = Buffer.alloc(0);
      if (answered(Number(text.slice(9, 12)), performance.now() - sent)) ask();
    });
  });
}

/** Requests a second and the 99th percentile of their times in ms. */
export async function reads(base, path, token, { connections, spanMs }) {
  const { host } = new URL(base);
  const request = `GET ${path} HTTP/1.1\r\nhost: ${host}\r\nauthorization: Bearer ${token}\r\n\r\n`;
  const times = [];
  const bad = new Map();
  let counting = false;
  let stopped = false;
  const answered = (status, ms) => {
    if (status !== 200) bad.set(status, (bad.get(status) ?? 0) + 1);
    else if (counting) times.push(ms);
    return !stopped;
  };
  const all = await Promise.all(
    Array.from({ length: connections }, () => asking(base, request, answered)),
  );
  for (const one of all) one.ask();
  const after = (ms) => new Promise((done) => setTimeout(done, ms));
  await after(WARM_MS);
  counting = true;
  const began = performance.now();
  await after(spanMs);
  const seconds = (performance.now() - began) / 1000;
  stopped = true;
  for (const one of all) one.end();
  if (bad.size > 0) throw new Error(`answers with ${[...bad.keys()].join()}`);
  times.sort((a, b) => a - b);
  return { rate: times.length / seconds, p99: times[Math.floor(times.length * 0.99)] };
}
