// The operator's first screen: what waits, what was refused, whether the ledger works.
import { Card, Group, SimpleGrid, Text, Title } from '@mantine/core';
import { IconAlertTriangle, IconCircleCheck } from '@tabler/icons-react';
import { Link } from '@tanstack/react-router';
import type { ReactNode } from 'react';
import { Standing } from '../../features/account/Standing';
import { useMe } from '../../features/account/useMe';
import { useLedger } from '../../shell';
import { Answer, Page } from '../../ui/page';
import { countSince } from './attempts';
import { healthOf } from './health';
import {
  othersOf,
  useAttempts,
  useLedgerLive,
  usePrincipals,
  useReplicas,
  useWatch,
  useWatchedAccesses,
} from './queries';
import { useSay } from './say';

const DAY_MS = 86_400_000;

export function Home() {
  const t = useSay();
  const me = useMe();
  return (
    <Page title={t('nav.home')}>
      <Answer query={me}>
        {(body) => (body.standing.status === 'authorised' ? <Counts /> : <Standing me={body} />)}
      </Answer>
    </Page>
  );
}

function Counts() {
  const t = useSay();
  useWatch(othersOf(useLedger().data));
  const principals = usePrincipals();
  const replicas = useReplicas('');
  const accesses = useWatchedAccesses();
  const ledger = useLedgerLive();
  return (
    <SimpleGrid cols={{ base: 1, sm: 2 }}>
      <Answer query={principals}>
        {(list) => {
          const count = list.filter(({ standing }) => standing.status === 'pending').length;
          return (
            <Tile
              to="/cloud/profiles"
              title={t('cloud.home.waiting', { count })}
              text={t('cloud.home.waiting.text')}
            />
          );
        }}
      </Answer>
      <Refused />
      <Answer query={accesses}>
        {(list) => (
          <Tile
            to="/cloud/requests"
            title={t('cloud.home.requests', {
              count: list.filter(({ state }) => state === 'requested').length,
            })}
            text={t('cloud.home.requests.text')}
          />
        )}
      </Answer>
      <Answer query={replicas}>
        {(list) => (
          <Tile
            to="/cloud/store"
            title={t('cloud.home.store', { count: list.length })}
            text={t('cloud.home.store.text', {
              count: list.reduce((sum, { records }) => sum + records, 0),
            })}
          />
        )}
      </Answer>
      <Answer query={ledger}>
        {(status) => {
          const { bad, answering, members } = healthOf(status, Date.now());
          return (
            <Tile
              to="/cloud/ledger"
              title={t(bad ? 'cloud.home.ledger.bad' : 'cloud.home.ledger')}
              text={t('cloud.home.ledger.text', { good: answering, all: members.length })}
              icon={
                bad ? (
                  <IconAlertTriangle aria-hidden className="bad" />
                ) : (
                  <IconCircleCheck aria-hidden className="good" />
                )
              }
            />
          );
        }}
      </Answer>
    </SimpleGrid>
  );
}

function Refused() {
  const t = useSay();
  const { attempts = [], failed } = useAttempts();
  const text =
    failed.length > 0
      ? t('cloud.unavailable', { names: failed.join(', ') })
      : t('cloud.home.attempts.text');
  const count = countSince(attempts, Date.now() - DAY_MS);
  return <Tile to="/cloud/attempts" title={t('cloud.home.attempts', { count })} text={text} />;
}

function Tile({
  to,
  title,
  text,
  icon,
}: {
  to: string;
  title: string;
  text: string;
  icon?: ReactNode;
}) {
  return (
    <Card withBorder component={Link} to={to} className="card-link">
      <Group gap="xs" wrap="nowrap" align="flex-start">
        {icon}
        <Title order={2} size="h4" className="wrap">
          {title}
        </Title>
      </Group>
      <Text c="dimmed">{text}</Text>
    </Card>
  );
}
