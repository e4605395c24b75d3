// The members, their keys, and the changes that were proposed.
import { Badge, Card, Group, Stack, Text, Title } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import type { Schema } from '../../api/client';
import { sha256 } from '../../crypto/digest';
import { fromBase64url, hex } from '../../lib/bytes';
import { dateTime } from '../../lib/format';
import { Answer, Empty, Page } from '../../ui/page';
import { Pair, short } from './parts';
import { useMembers, useProposals, useWatch, useWho } from './queries';
import { useSay } from './say';

export function Members() {
  const t = useSay();
  useWatch();
  const members = useMembers();
  return (
    <Page title={t('nav.members')}>
      <Text maw={720}>{t('cloud.members.text')}</Text>
      <Answer query={members}>
        {(list) => (
          <Stack>
            {list.map((member) => (
              <Member key={member.organisation} member={member} />
            ))}
          </Stack>
        )}
      </Answer>
      <Proposals />
    </Page>
  );
}

function Member({ member }: { member: Schema['MemberDetail'] }) {
  const t = useSay();
  const { name, roles, organisation, api, engine_address, keys } = member;
  const digests = useQuery({
    queryKey: ['key digests', keys.ml_dsa_65, keys.x_wing],
    staleTime: Number.POSITIVE_INFINITY,
    queryFn: async () =>
      Promise.all(
        [keys.ml_dsa_65, keys.x_wing].map(async (key) => hex(await sha256(fromBase64url(key)))),
      ),
  });
  return (
    <Card withBorder component="article" aria-label={name}>
      <Group justify="space-between" align="flex-start">
        <Title order={2} size="h4" className="wrap">
          {name}
        </Title>
        <Group gap="xs">
          {roles.map((role) => (
            <Badge key={role} variant="outline" color="gray">
              {t(`cloud.members.role.${role}`)}
            </Badge>
          ))}
        </Group>
      </Group>
      <Stack gap="xs" mt="xs">
        <Group gap="xl" align="flex-start">
          <Pair word={t('cloud.profiles.number')} mono>
            {short(organisation)}
          </Pair>
          <Pair word={t('cloud.members.address')} mono>
            {api}
          </Pair>
          <Pair word={t('cloud.members.engine')} mono>
            {engine_address}
          </Pair>
        </Group>
        <Pair word={t('cloud.members.ed25519')} mono>
          {keys.ed25519}
        </Pair>
        <Pair word={t('cloud.members.mldsa')} mono>
          {digests.data?.[0] ?? '…'}
        </Pair>
        <Pair word={t('cloud.members.xwing')} mono>
          {digests.data?.[1] ?? '…'}
        </Pair>
      </Stack>
    </Card>
  );
}

type Change = 'join' | 'leave' | 'replace' | 'revoke';

/** What a proposal changes: its kind and the member whom it is about. */
function changed(change: unknown): { kind: Change; id: string; name?: string } | undefined {
  const [entry] = Object.entries((change ?? {}) as Record<string, unknown>);
  if (!entry) return undefined;
  const [kind, about] = entry;
  if (!['join', 'leave', 'replace', 'revoke'].includes(kind)) return undefined;
  if (typeof about === 'string') return { kind: kind as Change, id: about };
  const { organisation, name } = about as { organisation: string; name: string };
  return { kind: kind as Change, id: organisation, name };
}

function Proposals() {
  const t = useSay();
  const proposals = useProposals();
  const who = useWho();
  return (
    <Stack gap="xs">
      <Title order={2} size="h4">
        {t('cloud.proposals.title')}
      </Title>
      <Answer query={proposals}>
        {(list) =>
          list.length === 0 ? (
            <Empty>{t('cloud.proposals.none')}</Empty>
          ) : (
            <Stack>
              {list.map((one) => {
                const change = changed(one.change);
                const name = change ? (change.name ?? who(change.id) ?? short(change.id)) : '';
                return (
                  <Card withBorder key={one.proposal}>
                    <Group justify="space-between" align="flex-start">
                      <Text fw={700} className="wrap">
                        {change
                          ? t(`cloud.proposals.${change.kind}`, { name })
                          : short(one.proposal)}
                      </Text>
                      <Badge variant="outline" color="gray">
                        {one.carried_out
                          ? t('cloud.proposals.done', { at: dateTime(one.carried_out) })
                          : t(one.open ? 'cloud.proposals.open' : 'cloud.proposals.over')}
                      </Badge>
                    </Group>
                    <Text className="wrap">
                      {t('cloud.proposals.approvals', {
                        count: one.approvals.length,
                        needed: one.needed,
                        names: one.approvals.map((id) => who(id) ?? short(id)).join(', '),
                      })}
                    </Text>
                  </Card>
                );
              })}
            </Stack>
          )
        }
      </Answer>
    </Stack>
  );
}
