// Who is at this page. Keys and opened records live in memory alone and go when the page locks, when
// the session ends and when the page is closed.
import { ok, onSessionEnd } from '../api/client';
import type { Person } from './person';

/** Why the page locked. */
export type Farewell = 'out' | 'idle' | 'expired';

export interface State {
  person?: Person;
  /** The name to log in with again after the page locked by itself. */
  login?: string;
  farewell?: Farewell;
}

/** Without a touch for so long, the page locks, in ms. */
export const IDLE_MS = 10 * 60_000;

let state: State = {};
const listeners = new Set<() => void>();

export const current = (): State => state;

export const subscribe = (listener: () => void): (() => void) => {
  listeners.add(listener);
  return () => listeners.delete(listener);
};

function set(next: State): void {
  state = next;
  for (const listener of listeners) listener();
}

export const enter = (person: Person): void => set({ person });

/** Forgets the person; `out` also ends the session at the node. */
export function leave(farewell: Farewell): void {
  const { person } = state;
  if (!person) return;
  person.opened.clear();
  set(farewell === 'out' ? { farewell } : { farewell, login: person.login });
  if (farewell !== 'expired')
    void ok(person.home.api.DELETE('/api/v1/sessions/current')).catch(() => {});
}

onSessionEnd(() => leave('expired'));

/** Locks the page after a time without a touch. Returns how to stop watching. */
export function watchIdle(): () => void {
  let touched = Date.now();
  const touch = (): void => {
    touched = Date.now();
  };
  const look = (): void => {
    if (Date.now() - touched >= IDLE_MS) leave('idle');
  };
  const kinds = ['pointerdown', 'keydown', 'wheel', 'touchstart'] as const;
  for (const kind of kinds) addEventListener(kind, touch, { passive: true });
  document.addEventListener('visibilitychange', look);
  const timer = setInterval(look, 5_000);
  return () => {
    clearInterval(timer);
    document.removeEventListener('visibilitychange', look);
    for (const kind of kinds) removeEventListener(kind, touch);
  };
}
