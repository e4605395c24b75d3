// What the operator's pages share: tables that scroll on a phone, pairs of a word and a value.
import { Text } from '@mantine/core';
import type { ReactNode } from 'react';
import { useSay } from './say';

/** A number as people compare it: its first eight digits. */
export const short = (id: string): string => id.slice(0, 8).toUpperCase();

/** A wide table in a box of its own, which the keyboard can scroll. */
export function Wide({ name, children }: { name: string; children: ReactNode }) {
  const t = useSay();
  return (
    <section
      className="scroll"
      aria-label={t('cloud.tableOf', { name })}
      // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be within reach of the keyboard
      tabIndex={0}
    >
      {children}
    </section>
  );
}

export function Pair({
  word,
  children,
  mono,
}: {
  word: string;
  children: ReactNode;
  mono?: boolean;
}) {
  return (
    <div className="wrap">
      <Text size="sm" c="dimmed">
        {word}
      </Text>
      <Text component="div" className={mono ? 'mono' : undefined} size={mono ? 'sm' : undefined}>
        {children}
      </Text>
    </div>
  );
}
