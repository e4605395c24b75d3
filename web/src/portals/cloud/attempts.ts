// Refused attempts of several nodes as one list.
import type { Schema } from '../../api/client';

export type Attempt = Schema['Attempt'] & {
  /** The organisation at whose node it happened. */
  at_node: string;
};

/** The newest first; equal times in the order of the nodes. */
export const newestFirst = (lists: Attempt[][]): Attempt[] =>
  lists.flat().sort((a, b) => b.at - a.at || a.at_node.localeCompare(b.at_node));

/** Attempts that have the text in one of their words, as they are shown. */
export function matching(
  attempts: Attempt[],
  text: string,
  shown: (attempt: Attempt) => string[],
): Attempt[] {
  const wanted = text.trim().toLowerCase();
  if (!wanted) return attempts;
  return attempts.filter((attempt) =>
    [...shown(attempt), attempt.what, attempt.why, attempt.where, attempt.who ?? ''].some((word) =>
      word.toLowerCase().includes(wanted),
    ),
  );
}

/** How many times something was refused since a moment, in ms since 1970. */
export const countSince = (attempts: Attempt[], since: number): number =>
  attempts.reduce((sum, { at, count }) => sum + (at >= since ? count : 0), 0);
