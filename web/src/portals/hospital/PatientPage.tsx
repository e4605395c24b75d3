// One patient's records as the hospital keeps them: sealed, signed, anchored, provable.
import { Button, Card, Group, Stack, Table, Text, TextInput, Title } from '@mantine/core';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { Link, useParams } from '@tanstack/react-router';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { Banner } from '../../features/care/Banner';
import { useNames } from '../../features/care/names';
import { type Verified, verifyAll } from '../../features/care/proofs';
import { type SealedRecord, useSealed } from '../../features/care/queries';
import { dateTime, size } from '../../lib/format';
import { saveFile, zip } from '../../lib/save';
import { action } from '../../records/command';
import { reference } from '../../records/open';
import { usePerson } from '../../session/use';
import { Answer, Dialog, Empty, Failure, Faults, Page } from '../../ui/page';
import { type Patient, placeOf, usePatientName, usePatients } from './queries';

const SHOWN = 50;

export function PatientPage() {
  const { t } = useTranslation();
  const { alias } = useParams({ strict: false }) as { alias: string };
  const patients = usePatients();
  const name = usePatientName();
  const person = usePerson();
  const patient = patients.data?.find((one) => one.alias === alias);
  const sealed = useSealed(patient ? placeOf(person, alias) : undefined);
  return (
    <Page title={patient ? name(patient) : t('nav.h.patients')}>
      <Answer query={patients}>
        {() =>
          patient ? (
            <Stack>
              <Banner about={{ name: name(patient) }} number={alias} />
              <Answer query={sealed}>
                {(list) =>
                  list.length === 0 ? (
                    <Empty>{t('record.empty')}</Empty>
                  ) : (
                    <Records patient={patient} list={list} />
                  )
                }
              </Answer>
              <Account patient={patient} />
            </Stack>
          ) : (
            <Empty>
              <Text>{t('lost.text')}</Text>
              <Button component={Link} to="/hospital/patients" variant="default" mt="sm">
                {t('nav.h.patients')}
              </Button>
            </Empty>
          )
        }
      </Answer>
    </Page>
  );
}

/** What became of the proofs that were checked: of each record nothing, or the check that failed. */
type Results = Map<string, string | undefined>;

function Records({ patient, list }: { patient: Patient; list: SealedRecord[] }) {
  const { t } = useTranslation();
  const person = usePerson();
  const [count, setCount] = useState(SHOWN);
  const [results, setResults] = useState<Results>(new Map());
  const [files, setFiles] = useState<Verified['files']>([]);
  const [done, setDone] = useState(0);
  const checking = useMutation({
    mutationFn: async (records: SealedRecord[]) => {
      setDone(0);
      const found = await verifyAll(person, placeOf(person, patient.alias), records, setDone);
      const failed = new Map(found.failed.map(({ record, check }) => [record, check]));
      const next = new Map(results);
      for (const { record } of records) next.set(record, failed.get(record));
      setResults(next);
      setFiles(found.files);
    },
  });
  const good = [...results.values()].filter((check) => check === undefined).length;
  const newest = [...list].sort((a, b) => b.entry - a.entry);
  return (
    <Stack>
      <Group justify="space-between">
        <Text>{t('records', { count: list.length })}</Text>
        <Button loading={checking.isPending} onClick={() => checking.mutate(list)}>
          {t('h.sealed.all')}
        </Button>
      </Group>
      <Text role="status">
        {checking.isPending
          ? t('verify.done', { done, count: checking.variables.length })
          : results.size > 0
            ? t('h.sealed.result', { good, count: results.size })
            : ''}
      </Text>
      {checking.error && <Failure error={checking.error} />}
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keys */}
      <section className="scroll" tabIndex={0} aria-label={t('nav.h.patients')}>
        <Table striped>
          <Table.Thead>
            <Table.Tr>
              <Table.Th scope="col">{t('h.sealed.what')}</Table.Th>
              <Table.Th scope="col">{t('h.sealed.signer')}</Table.Th>
              <Table.Th scope="col">{t('h.sealed.entry')}</Table.Th>
              <Table.Th scope="col">{t('h.sealed.proof')}</Table.Th>
              <Table.Th scope="col">{t('h.sealed.digest')}</Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {newest.slice(0, count).map((record) => (
              <Row
                key={record.record}
                record={record}
                checked={results.has(record.record)}
                fault={results.get(record.record)}
                busy={checking.isPending}
                check={() => checking.mutate([record])}
              />
            ))}
          </Table.Tbody>
        </Table>
      </section>
      <Group>
        {newest.length > count && (
          <Button variant="default" onClick={() => setCount(count + SHOWN)}>
            {t('more', { count: newest.length - count })}
          </Button>
        )}
        {files.length > 0 && (
          <Button
            variant="default"
            onClick={() => saveFile('salus-proofs', 'application/zip', zip(files))}
          >
            {t('h.sealed.save')}
          </Button>
        )}
      </Group>
    </Stack>
  );
}

function Row(props: {
  record: SealedRecord;
  checked: boolean;
  fault?: string;
  busy: boolean;
  check: () => void;
}) {
  const { record, checked, fault, busy, check } = props;
  const { t } = useTranslation();
  const name = useNames();
  const what = `${t(`h.kind.${record.kind}`)} ${reference(record.record)}`;
  return (
    <Table.Tr>
      <Table.Td>
        <Text fw={600}>{t(`h.kind.${record.kind}`)}</Text>
        <Text size="sm" c="dimmed">
          {reference(record.record)} · {size(record.length)}
          {record.version > 1 && ` · ${t('h.sealed.version', { version: record.version })}`}
          {record.statement && ` · ${t('h.sealed.signed')}`}
        </Text>
      </Table.Td>
      <Table.Td>
        {name(record.signer)}
        <Text size="sm" c="dimmed">
          {dateTime(record.signed)}
        </Text>
      </Table.Td>
      <Table.Td>{t('entry', { number: record.entry })}</Table.Td>
      <Table.Td>
        {checked ? (
          <Text className={fault === undefined ? 'good' : 'bad wrap'}>
            {fault === undefined ? t('h.sealed.good') : t('h.sealed.bad', { check: fault })}
          </Text>
        ) : (
          <Button
            size="compact-sm"
            variant="default"
            disabled={busy}
            aria-label={t('h.sealed.checkOf', { name: what })}
            onClick={check}
          >
            {t('h.sealed.check')}
          </Button>
        )}
      </Table.Td>
      <Table.Td className="mono" miw={200}>
        <Text size="xs" className="mono">
          {record.ciphertext}
        </Text>
      </Table.Td>
    </Table.Tr>
  );
}

/** Which registered patient this is, as the hospital states it on the ledger. */
function Account({ patient }: { patient: Patient }) {
  const { t } = useTranslation();
  const person = usePerson();
  const queries = useQueryClient();
  const called = usePatientName();
  const [number, setNumber] = useState('');
  const [fault, setFault] = useState('');
  const [open, setOpen] = useState(false);
  const linking = useMutation({
    mutationFn: () => person.submit(action.linkPatient(patient.alias, number.trim())),
    onSuccess: () => setOpen(false),
    onSettled: () => queries.invalidateQueries({ queryKey: ['patients'] }),
  });
  return (
    <Card withBorder maw={640}>
      <Title order={2} size="h4" mb="sm">
        {t('h.link')}
      </Title>
      {patient.patient ? (
        <Text className="wrap">{t('h.link.yes', { number: patient.patient })}</Text>
      ) : (
        <form
          noValidate
          onSubmit={(event) => {
            event.preventDefault();
            const good = /^[0-9a-f]{32}$/.test(number.trim());
            setFault(good ? '' : t('h.link.bad'));
            setOpen(good);
          }}
        >
          <Stack>
            <Faults faults={fault ? [{ id: 'account-number', text: fault }] : []} />
            <Text>{t('h.link.no')}</Text>
            <TextInput
              id="account-number"
              label={t('h.link.number')}
              autoComplete="off"
              value={number}
              error={fault}
              onChange={(event) => setNumber(event.currentTarget.value)}
            />
            <Button type="submit" variant="default" className="long">
              {t('next')}
            </Button>
          </Stack>
        </form>
      )}
      <Dialog title={t('h.link.title')} opened={open} onClose={() => setOpen(false)}>
        <Stack>
          <Text className="wrap">
            {t('h.link.text', { number: number.trim(), name: called(patient) })}
          </Text>
          {linking.error && <Failure error={linking.error} />}
          <Group justify="flex-end">
            <Button variant="default" onClick={() => setOpen(false)}>
              {t('cancel')}
            </Button>
            <Button loading={linking.isPending} onClick={() => linking.mutate()}>
              {t('h.link.go', { name: called(patient) })}
            </Button>
          </Group>
        </Stack>
      </Dialog>
    </Card>
  );
}
