// Requests for access, read from the ledger's entries: who asked for what, and what became of it.
import type { Schema } from '../../api/client';
import type { KeyClass, Purpose, Reason } from '../../records/codes';

export type State = 'requested' | 'approved' | 'refused' | 'revoked';

export interface Request {
  access: string;
  alias: string;
  /** Who may read. */
  holder: string;
  classes: KeyClass[];
  /** How many records, where they were chosen one by one. */
  records?: number;
  purpose: Purpose;
  until: number;
  requested: number;
  state: State;
  reason?: Reason;
  /** When it was decided or ended. */
  at?: number;
}

/** An entry's action, as far as it is about access. */
type Action =
  | {
      type: 'request-access';
      access: string;
      alias: string;
      classes: KeyClass[];
      purpose: Purpose;
      until: number;
    }
  | { type: 'decide-access'; access: string; decision: 'approve' | 'refuse'; reason: Reason }
  | { type: 'revoke-access'; access: string; reason: Reason }
  | {
      type: 'open-consultation';
      access: string;
      alias: string;
      doctor: string;
      records: string[];
      until: number;
    };

/** The newest first. Entries that were refused changed nothing and are left out. */
export function requestsOf(entries: Schema['EntryView'][]): Request[] {
  const found = new Map<string, Request>();
  for (const { action: given, outcome, principal, time } of entries) {
    if (outcome !== 'accepted') continue;
    const action = given as unknown as Action;
    const { access } = action;
    const known = found.get(access);
    switch (action.type) {
      case 'request-access': {
        const { alias, classes, purpose, until } = action;
        const asked = { access, alias, classes, purpose, until, requested: time };
        found.set(access, { ...asked, holder: principal, state: 'requested' });
        break;
      }
      case 'open-consultation': {
        // The patient sends it, which is the doctor's permission at once.
        const { alias, doctor, records, until } = action;
        const sent = { access, alias, holder: doctor, records: records.length, until };
        const state = { requested: time, state: 'approved', at: time } as const;
        found.set(access, { ...sent, classes: [], purpose: 'treatment', ...state });
        break;
      }
      case 'decide-access':
        if (known) {
          const state = action.decision === 'approve' ? 'approved' : 'refused';
          found.set(access, { ...known, state, reason: action.reason, at: time });
        }
        break;
      case 'revoke-access':
        if (known)
          found.set(access, { ...known, state: 'revoked', reason: action.reason, at: time });
        break;
    }
  }
  return [...found.values()].sort((a, b) => b.requested - a.requested);
}
