// Keyrings whose keys were replaced: what is kept, what still opens, under which names.
import { describe, expect, it } from 'vitest';
import { hex, utf8 } from '../lib/bytes';
import { freshSeeds, keyringBytes, type Seeds, secretKeys, seedsFromKeyring } from './keys';
import { LABEL } from './label';
import { wrapTo } from './wrap';

describe('replaced keys', () => {
  it('stay in the keyring, and open what was wrapped to them', async () => {
    const [old, older, now] = [freshSeeds(), freshSeeds(), freshSeeds()];
    const seeds: Seeds = { ...now, former: [old.xWing, older.xWing] };
    expect(seedsFromKeyring(keyringBytes(seeds))).toEqual(seeds);
    const keys = await secretKeys(seeds);
    for (const one of [now, old, older]) {
      const { xWing } = (await secretKeys(one)).public;
      const wrap = await wrapTo(xWing, LABEL.classKeyWrap, utf8('context'), utf8('key'));
      expect(await keys.unwrap(LABEL.classKeyWrap, utf8('context'), wrap)).toEqual(utf8('key'));
      await expect(keys.unwrap(LABEL.classKeyWrap, utf8('other'), wrap)).rejects.toThrow('unwrap');
    }
  });

  it('that are about to be replaced come with those that will replace them', async () => {
    const [now, next] = [freshSeeds(), freshSeeds()];
    const older = freshSeeds().xWing;
    const read = seedsFromKeyring(keyringBytes({ ...now, former: [older], next }));
    // What replaces them opens what was wrapped to them.
    expect(read.next).toEqual({ ...next, former: [now.xWing, older] });
    expect(read.ed25519).toEqual(now.ed25519);
  });

  it('give other names to what is taken in; the same keys give the same', async () => {
    const seeds = freshSeeds();
    const name = async (of: Seeds, ...parts: string[]) =>
      hex(await (await secretKeys(of)).token('id', parts.map(utf8)));
    const one = await name(seeds, 'record', 'a');
    expect(await name(seeds, 'record', 'a')).toBe(one);
    expect(await name(seeds, 'recorda', '')).not.toBe(one);
    expect(await name(freshSeeds(), 'record', 'a')).not.toBe(one);
  });
});
