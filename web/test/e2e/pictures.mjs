// Pictures drawn by the tests: PNG files, and small films on which a network has something to learn.
import { deflateSync } from 'node:zlib';

const crc = (bytes) => {
  let value = ~0;
  for (const byte of bytes) {
    value ^= byte;
    for (let bit = 0; bit < 8; bit++) value = (value >>> 1) ^ (value & 1 ? 0xedb88320 : 0);
  }
  return ~value >>> 0;
};

/** A PNG of 8 bits; `pixel(x, y)` gives one gray level, or red, green and blue. */
export function png(width, height, pixel) {
  const chunk = (type, body) => {
    const whole = Buffer.concat([Buffer.from(type), body]);
    const out = Buffer.alloc(whole.length + 8);
    out.writeUInt32BE(body.length, 0);
    whole.copy(out, 4);
    out.writeUInt32BE(crc(whole), whole.length + 4);
    return out;
  };
  const rows = [];
  let coloured = false;
  for (let y = 0; y < height; y++) {
    const row = [0];
    for (let x = 0; x < width; x++) {
      const value = pixel(x, y);
      coloured = Array.isArray(value);
      row.push(...[value].flat());
    }
    rows.push(Buffer.from(row));
  }
  const head = Buffer.alloc(13);
  head.writeUInt32BE(width, 0);
  head.writeUInt32BE(height, 4);
  head.set([8, coloured ? 2 : 0, 0, 0, 0], 8);
  return Buffer.concat([
    Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]),
    chunk('IHDR', head),
    chunk('IDAT', deflateSync(Buffer.concat(rows))),
    chunk('IEND', Buffer.alloc(0)),
  ]);
}

/** Numbers in 0..1 that are the same in every run. */
function chance(seed) {
  let state = (seed * 2654435761 + 12345) >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** A picture of nobody: two dark lungs on gray; in a sick one a bright patch lies in one of them. */
export function film(seed, sick, size = 28) {
  const next = chance(seed);
  const [light, patchX, patchY] = [0.9 + 0.2 * next(), 0.3 + 0.4 * Math.round(next()), next()];
  const noise = Array.from({ length: size * size }, () => next() * 24 - 12);
  return png(size, size, (px, py) => {
    const [x, y] = [(px + 0.5) / size, (py + 0.5) / size];
    const lung = (cx) => ((x - cx) / 0.17) ** 2 + ((y - 0.52) / 0.36) ** 2 < 1;
    let value = lung(0.3) || lung(0.7) ? 60 : 150;
    const far = ((x - patchX) / 0.12) ** 2 + ((y - 0.35 - 0.3 * patchY) / 0.12) ** 2;
    if (sick && far < 1) value += 110 * (1 - far);
    return Math.max(0, Math.min(255, Math.round(value * light + noise[py * size + px])));
  });
}

/** A photograph's colours: no film at all. */
export const photograph = () => png(64, 64, (x, y) => [x * 4, 255 - y * 4, (x * y) % 256]);
