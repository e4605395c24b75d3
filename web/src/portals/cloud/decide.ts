// Deciding on a profile: which reasons fit which decision, and the command that is signed for it.
import type { Reason } from '../../records/codes';
import { type Action, action } from '../../records/command';

export type Verdict = 'approve' | 'refuse' | 'revoke';

/** Reasons that may be given; the first is the usual one where there is one. */
export const REASONS_OF: Record<Verdict, readonly Reason[]> = {
  approve: ['identity-verified'],
  refuse: ['identity-not-verified', 'not-entitled', 'duplicate', 'hold'],
  revoke: ['left-role', 'key-compromised', 'not-entitled', 'duplicate'],
};

export const commandOf = (verdict: Verdict, principal: string, reason: Reason): Action =>
  verdict === 'revoke'
    ? action.revokePrincipal(principal, reason)
    : action.decidePrincipal(principal, verdict, reason);
