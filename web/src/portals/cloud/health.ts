// What the ledger's status means: who is missing, who lags, how much of the log is not certified yet.
import type { Schema } from '../../api/client';

type Status = Schema['LedgerStatus'];

/** Not heard for this long, a member counts as missing, in ms. */
const SILENCE_MS = 15_000;
/** A report may be this many blocks old while a member keeps up. */
const SLACK = 3;

export type MemberState = 'here' | 'well' | 'behind' | 'silent' | 'unknown';

export interface MemberHealth {
  organisation: string;
  name: string;
  state: MemberState;
  /** Height that it last reported. */
  height?: number;
  /** Blocks behind the highest height that any member reported. */
  behind?: number;
  heard?: number;
}

export interface Health {
  members: MemberHealth[];
  /** Members that answer, this node among them. */
  answering: number;
  quorum: number;
  /** Members that may fail while the rest goes on. */
  tolerates: number;
  /** Entries that no checkpoint covers yet. */
  uncertified: number;
  /** Nothing can become final, or too few answer for it. */
  bad: boolean;
}

/** `now` is the time of this page in ms; the node's own clock stands in its own member row. */
export function healthOf(status: Status, now: number): Health {
  const own = status.members.find((member) => member.organisation === status.organisation);
  // The node's clock, which its reports are measured by; the page's may be wrong.
  const clock = own?.last_heard ?? now;
  const top = Math.max(status.height, ...status.members.map((member) => member.height ?? 0));
  const silent = new Set(status.stalled?.silent ?? []);
  const members = status.members.map((member): MemberHealth => {
    const { organisation, name } = member;
    const height = member.height ?? undefined;
    const heard = member.last_heard ?? undefined;
    const behind = height === undefined ? undefined : top - height;
    const state = (): MemberState => {
      if (organisation === status.organisation) return 'here';
      if (silent.has(organisation)) return 'silent';
      if (heard === undefined) return 'unknown';
      if (clock - heard > SILENCE_MS) return 'silent';
      return behind !== undefined && behind > SLACK ? 'behind' : 'well';
    };
    return { organisation, name, state: state(), height, behind, heard };
  });
  const answering = members.filter(({ state }) => state !== 'silent' && state !== 'unknown').length;
  const tolerates = Math.floor((members.length - 1) / 3);
  const quorum = members.length - tolerates;
  return {
    members,
    answering,
    quorum,
    tolerates,
    uncertified: status.size - (status.certified?.size ?? 0),
    bad: status.stalled != null || answering < quorum,
  };
}
