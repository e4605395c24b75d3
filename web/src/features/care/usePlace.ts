// The hospital whose records a patient's page is about, and the grant under which they are read.
import { useState } from 'react';
import { type OwnAlias, ownGrant, type Place, useAccesses, useOwnAliases } from './queries';

export interface Chosen {
  aliases: OwnAlias[];
  own?: OwnAlias;
  choose: (alias: string) => void;
  /** Absent without an open grant. */
  place?: Place;
  /** Set while it is not known yet, or where a node refused to say. */
  pending: boolean;
  error: unknown;
}

export function usePlace(): Chosen {
  const aliases = useOwnAliases();
  const accesses = useAccesses();
  const [alias, choose] = useState<string>();
  const mine = aliases.data ?? [];
  const held = accesses.data ?? [];
  // At first the hospital that already gave permission.
  const own =
    mine.find((one) => one.alias === alias) ??
    mine.find((one) => ownGrant(held, one.alias)) ??
    mine[0];
  const grant = own && ownGrant(held, own.alias);
  const place: Place | undefined =
    own && grant
      ? { api: own.api, alias: own.alias, access: grant.access, purpose: 'patient-request' }
      : undefined;
  return {
    aliases: mine,
    own,
    choose,
    place,
    pending: aliases.isPending || accesses.isPending,
    error: aliases.error ?? accesses.error,
  };
}
