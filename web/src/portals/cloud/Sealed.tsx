// The sealed records of one patient as the cloud keeps them: digest, signer, time, proof; no content.
import {
  Alert,
  Button,
  Group,
  NativeSelect,
  Progress,
  Stack,
  Table,
  Text,
  TextInput,
} from '@mantine/core';
import { IconAlertTriangle, IconCircleCheck } from '@tabler/icons-react';
import { useMutation } from '@tanstack/react-query';
import { Link, useParams } from '@tanstack/react-router';
import { useState } from 'react';
import { verifyAll } from '../../features/care/proofs';
import type { SealedRecord } from '../../features/care/queries';
import { utf8 } from '../../lib/bytes';
import { dateTime, size } from '../../lib/format';
import { saveFile } from '../../lib/save';
import { KINDS } from '../../records/codes';
import { usePerson } from '../../session/use';
import { Answer, Empty, Failure, Page } from '../../ui/page';
import { short, Wide } from './parts';
import { useReplicas, useSealedHere, useWatch, useWho } from './queries';
import { useSay } from './say';

/** Rows that are drawn at once. */
const STEP = 100;

export function Sealed() {
  const t = useSay();
  useWatch();
  const { alias } = useParams({ strict: false }) as { alias: string };
  const sealed = useSealedHere(alias);
  const replicas = useReplicas('');
  const who = useWho();
  const one = replicas.data?.find((patient) => patient.alias === alias);
  return (
    <Page title={one?.name ?? t('cloud.sealed.title')}>
      <Text className="wrap">
        <Link to={'/cloud/store' as never}>{t('nav.store')}</Link> · {short(alias)}
        {one && ` · ${who(one.custodian) ?? short(one.custodian)}`}
      </Text>
      <Answer query={sealed}>
        {(list) =>
          list.length === 0 ? (
            <Empty>{t('cloud.store.none')}</Empty>
          ) : (
            <Records key={alias} alias={alias} list={list} />
          )
        }
      </Answer>
    </Page>
  );
}

function Records({ alias, list }: { alias: string; list: SealedRecord[] }) {
  const t = useSay();
  const who = useWho();
  const [text, setText] = useState('');
  const [kind, setKind] = useState('');
  const [shown, setShown] = useState(STEP);
  const wanted = text.trim().toLowerCase();
  const signer = (record: SealedRecord): string => who(record.signer) ?? short(record.signer);
  const found = list.filter(
    (record) =>
      (!kind || record.kind === kind) &&
      [
        t(`cloud.kind.${record.kind}`),
        signer(record),
        record.record,
        record.ciphertext,
        String(record.entry),
      ].some((word) => word.toLowerCase().includes(wanted)),
  );
  const kinds = KINDS.filter((one) => list.some((record) => record.kind === one));
  return (
    <Stack>
      <Group align="flex-end">
        <TextInput
          label={t('cloud.sealed.filter')}
          value={text}
          maxLength={200}
          w={{ base: '100%', sm: 380 }}
          onChange={(event) => setText(event.currentTarget.value)}
        />
        <NativeSelect
          label={t('cloud.sealed.kind')}
          value={kind}
          onChange={(event) => setKind(event.currentTarget.value)}
          data={[
            { value: '', label: t('cloud.all') },
            ...kinds.map((value) => ({ value, label: t(`cloud.kind.${value}`) })),
          ]}
        />
      </Group>
      {found.length === 0 ? (
        <Empty>{t('cloud.store.noMatch')}</Empty>
      ) : (
        <>
          <Proofs alias={alias} list={found} />
          <Text role="status">{t('records', { count: found.length })}</Text>
          <Wide name={t('cloud.sealed.title')}>
            <Table striped miw={900}>
              <Table.Thead>
                <Table.Tr>
                  <Table.Th scope="col">{t('cloud.sealed.kind')}</Table.Th>
                  <Table.Th scope="col">{t('cloud.sealed.size')}</Table.Th>
                  <Table.Th scope="col">{t('cloud.sealed.signer')}</Table.Th>
                  <Table.Th scope="col">{t('cloud.sealed.signed')}</Table.Th>
                  <Table.Th scope="col">{t('cloud.sealed.digest')}</Table.Th>
                  <Table.Th scope="col">{t('cloud.sealed.proof')}</Table.Th>
                </Table.Tr>
              </Table.Thead>
              <Table.Tbody>
                {found.slice(0, shown).map((record) => (
                  <Row
                    key={`${record.record}.${record.version}`}
                    record={record}
                    signer={signer(record)}
                  />
                ))}
              </Table.Tbody>
            </Table>
          </Wide>
          {found.length > shown && (
            <div>
              <Button variant="default" onClick={() => setShown(shown + STEP)}>
                {t('more', { count: found.length - shown })}
              </Button>
            </div>
          )}
        </>
      )}
    </Stack>
  );
}

function Row({ record, signer }: { record: SealedRecord; signer: string }) {
  const t = useSay();
  const person = usePerson();
  const keeping = useMutation({
    mutationFn: async () => {
      const path = `/ledger/proofs/records/${record.record}`;
      const text = await (await person.home.raw(path)).text();
      saveFile(`proof-${short(record.record)}`, 'application/json', utf8(text));
    },
  });
  return (
    <Table.Tr>
      <Table.Td>
        {t(`cloud.kind.${record.kind}`)}
        <Text size="sm" c="dimmed">
          {t(`cloud.class.${record.class}`)}
          {record.version > 1 && `, ${t('cloud.sealed.version', { version: record.version })}`}
        </Text>
      </Table.Td>
      <Table.Td>{size(record.length)}</Table.Td>
      <Table.Td className="wrap">{signer}</Table.Td>
      <Table.Td>
        {dateTime(record.signed)}
        <Text size="sm" c="dimmed">
          {t('entry', { number: record.entry })}
        </Text>
      </Table.Td>
      <Table.Td className="mono" maw={260}>
        {record.ciphertext}
      </Table.Td>
      <Table.Td>
        <Button
          size="xs"
          variant="default"
          loading={keeping.isPending}
          aria-label={t('cloud.sealed.keepOf', { number: short(record.record) })}
          onClick={() => keeping.mutate()}
        >
          {t('cloud.sealed.keep')}
        </Button>
        {keeping.error && <Failure error={keeping.error} />}
      </Table.Td>
    </Table.Tr>
  );
}

/** Checks the proofs of what is listed, in this page. */
function Proofs({ alias, list }: { alias: string; list: SealedRecord[] }) {
  const t = useSay();
  const person = usePerson();
  const [done, setDone] = useState(0);
  // One proof speaks of the newest version of a record.
  const newest = [...new Map(list.map((record) => [record.record, record])).values()];
  const checking = useMutation({
    mutationFn: () => {
      setDone(0);
      const place = { api: person.home.base, alias, purpose: 'operations' as const };
      return verifyAll(person, place, newest, setDone);
    },
  });
  const { data } = checking;
  return (
    <Stack gap="xs">
      <div>
        <Button loading={checking.isPending} onClick={() => checking.mutate()}>
          {t('cloud.sealed.check', { count: newest.length })}
        </Button>
      </div>
      {checking.isPending && (
        <Progress.Root size="lg">
          <Progress.Section
            value={(done / newest.length) * 100}
            aria-label={t('cloud.sealed.progress')}
          />
        </Progress.Root>
      )}
      <Text role="status">
        {checking.isPending ? t('cloud.sealed.checking', { done, all: newest.length }) : ''}
      </Text>
      {checking.error && <Failure error={checking.error} />}
      {data && (
        <Alert
          variant="outline"
          role="status"
          color={data.failed.length === 0 ? 'salus' : 'red'}
          icon={
            data.failed.length === 0 ? (
              <IconCircleCheck aria-hidden />
            ) : (
              <IconAlertTriangle aria-hidden />
            )
          }
          title={
            data.failed.length === 0
              ? t('cloud.sealed.good', { count: data.good })
              : t('cloud.sealed.bad', { count: data.failed.length })
          }
        >
          <Text>{t('cloud.sealed.good.text')}</Text>
          {data.failed.slice(0, 20).map(({ record, check }) => (
            <Text key={record} className="bad wrap">
              {short(record)}: {check}
            </Text>
          ))}
        </Alert>
      )}
    </Stack>
  );
}
