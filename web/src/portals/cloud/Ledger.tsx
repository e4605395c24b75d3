// Whether the ledger works: validators, heights, the last checkpoint, who lags or is missing.
import { Alert, Badge, Button, Card, Group, Stack, Table, Text, Title } from '@mantine/core';
import { IconAlertTriangle, IconCircleCheck } from '@tabler/icons-react';
import { useMutation } from '@tanstack/react-query';
import type { Schema } from '../../api/client';
import { sha256 } from '../../crypto/digest';
import { genesisFile } from '../../features/care/proofs';
import { dateTime, number } from '../../lib/format';
import { usePerson } from '../../session/use';
import { Answer, Failure, Page } from '../../ui/page';
import { BundleError, verifyBundle } from '../../verify/bundle';
import { type Health, healthOf } from './health';
import { Pair, Wide } from './parts';
import { useLedgerLive } from './queries';
import { useSay } from './say';

const CLASS = {
  here: 'good',
  well: 'good',
  behind: 'warn',
  silent: 'bad',
  unknown: 'warn',
} as const;

export function Ledger() {
  const t = useSay();
  const ledger = useLedgerLive();
  return (
    <Page title={t('nav.ledger')}>
      <Answer query={ledger}>{(status) => <Status status={status} />}</Answer>
    </Page>
  );
}

function Status({ status }: { status: Schema['LedgerStatus'] }) {
  const t = useSay();
  const health = healthOf(status, Date.now());
  const { bad, quorum, tolerates, members, uncertified } = health;
  const names = members.filter(({ state }) => state === 'silent').map(({ name }) => name);
  const { certified, stalled } = status;
  return (
    <Stack>
      <Alert
        variant="outline"
        role="status"
        color={bad ? 'red' : 'salus'}
        icon={bad ? <IconAlertTriangle aria-hidden /> : <IconCircleCheck aria-hidden />}
        title={t(bad ? 'cloud.ledger.stalled' : 'cloud.ledger.good')}
      >
        {names.length > 0 && (
          <Text>
            {t('cloud.ledger.silent', {
              names: names.join(', '),
              at: dateTime(
                stalled?.since ||
                  Math.max(
                    ...members.map(({ state, heard }) => (state === 'silent' ? (heard ?? 0) : 0)),
                  ) ||
                  undefined,
              ),
            })}
          </Text>
        )}
        <Text>
          {t('cloud.ledger.tolerates', { quorum, all: members.length, count: tolerates })}
        </Text>
      </Alert>
      <Card withBorder>
        <Stack gap="sm">
          <Group gap="xl" align="flex-start">
            <Pair word={t('cloud.ledger.height')}>{number(status.height, 0)}</Pair>
            <Pair word={t('cloud.ledger.size')}>{number(status.size, 0)}</Pair>
            <Pair word={t('cloud.ledger.checkpoint')}>
              {certified
                ? t('cloud.ledger.checkpoint.text', {
                    count: number(certified.size, 0),
                    at: dateTime(certified.time),
                  })
                : t('cloud.ledger.uncertified')}
            </Pair>
            <Pair word={t('cloud.ledger.behind')}>{number(uncertified, 0)}</Pair>
          </Group>
          {certified && (
            <Pair word={t('cloud.ledger.root')} mono>
              {certified.root}
            </Pair>
          )}
          {certified && certified.size > 0 && <Check />}
        </Stack>
      </Card>
      <Members health={health} />
    </Stack>
  );
}

function Members({ health }: { health: Health }) {
  const t = useSay();
  return (
    <Stack gap="xs">
      <Title order={2} size="h4">
        {t('cloud.ledger.members')}
      </Title>
      <Wide name={t('cloud.ledger.members')}>
        <Table striped miw={560}>
          <Table.Thead>
            <Table.Tr>
              <Table.Th scope="col">{t('cloud.ledger.member')}</Table.Th>
              <Table.Th scope="col">{t('cloud.ledger.state')}</Table.Th>
              <Table.Th scope="col">{t('cloud.ledger.reported')}</Table.Th>
              <Table.Th scope="col">{t('cloud.ledger.lag')}</Table.Th>
              <Table.Th scope="col">{t('cloud.ledger.heard')}</Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {health.members.map(({ organisation, name, state, height, behind, heard }) => (
              <Table.Tr key={organisation}>
                <Table.Td className="wrap">{name}</Table.Td>
                <Table.Td>
                  <Badge variant="outline" color="gray" className={CLASS[state]}>
                    {t(`cloud.ledger.state.${state}`)}
                  </Badge>
                </Table.Td>
                <Table.Td>{height === undefined ? '–' : number(height, 0)}</Table.Td>
                <Table.Td>
                  {behind === undefined ? '–' : t('cloud.ledger.blocks', { count: behind })}
                </Table.Td>
                <Table.Td>{dateTime(heard)}</Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </Wide>
    </Stack>
  );
}

/** Checks the members' signatures on the last checkpoint here, from the founding document on. */
function Check() {
  const t = useSay();
  const person = usePerson();
  const checking = useMutation({
    mutationFn: async () => {
      // A checkpoint alone says nothing of the members in force; the proof of its last entry does.
      const { certified } = await (await person.home.raw('/ledger')).json();
      const last = (certified as Schema['CertifiedStatus']).size - 1;
      const bundle = await (await person.home.raw(`/ledger/proofs/entries/${last}`)).text();
      const { checkpoint, members } = await verifyBundle(
        bundle,
        await sha256(await genesisFile(person)),
      );
      return { size: checkpoint.size, names: members.members.map(({ name }) => name) };
    },
  });
  const failed = checking.error instanceof BundleError ? checking.error : undefined;
  return (
    <Stack gap="xs">
      <div>
        <Button variant="default" loading={checking.isPending} onClick={() => checking.mutate()}>
          {t('cloud.ledger.check')}
        </Button>
      </div>
      <Text role="status" className={failed ? 'bad wrap' : 'good wrap'}>
        {checking.data
          ? t('cloud.ledger.checked', {
              names: checking.data.names.join(', '),
              count: number(checking.data.size, 0),
            })
          : failed
            ? t('cloud.ledger.checkFailed', { check: failed.check })
            : ''}
      </Text>
      {checking.error && !failed && <Failure error={checking.error} />}
    </Stack>
  );
}
