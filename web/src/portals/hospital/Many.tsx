// Taking many files in: chosen or dropped, then one after the other, each with what became of it.
import {
  Alert,
  Button,
  Card,
  Checkbox,
  FileButton,
  Group,
  NativeSelect,
  Progress,
  Stack,
  Text,
  TextInput,
  Title,
} from '@mantine/core';
import { useQueryClient } from '@tanstack/react-query';
import { useEffect, useRef, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { size } from '../../lib/format';
import { usePerson } from '../../session/use';
import { Answer, Page, useFailureText, Waiting } from '../../ui/page';
import {
  chosenFiles,
  dropped,
  type Fate,
  type Found,
  Import,
  SOURCES_LIMIT,
  type Source,
  sourcesOf,
  tally,
} from './many';
import { matching } from './Patients';
import { type Patient, shortOf, usePatientName, usePatients } from './queries';
import { NoClassKey } from './seal';

/** Most files that are listed, and most patients that are offered at once. */
const LISTED = 200;
const OFFERED = 50;
const COMMAND = 'salus intake --config node.toml /path/to/folder';

export function Many() {
  const { t } = useTranslation();
  const patients = usePatients();
  return (
    <Page title={t('nav.h.many')}>
      <Text maw={820}>{t('m.text')}</Text>
      <Text maw={820}>{t('m.again')}</Text>
      <Answer query={patients}>{(list) => <Importing patients={list} />}</Answer>
      <Program />
    </Page>
  );
}

interface Row {
  source: Source;
  fate: Fate;
}

function Importing({ patients }: { patients: Patient[] }) {
  const { t } = useTranslation();
  const person = usePerson();
  const queries = useQueryClient();
  const [rows, setRows] = useState<Row[]>([]);
  const [note, setNote] = useState('');
  const [alias, setAlias] = useState('');
  const [doubtful, setDoubtful] = useState(false);
  const [readable, setReadable] = useState(
    patients.length === 0 || patients.some(({ name }) => name),
  );
  const [looking, setLooking] = useState(false);
  const [running, setRunning] = useState(false);
  const stop = useRef(false);
  const halt = (): void => {
    stop.current = true;
  };
  // Whoever goes to another page, or whose page locks, sees no progress: the import ends with this file.
  useEffect(
    () => () => {
      stop.current = true;
    },
    [],
  );
  useEffect(() => {
    if (!running) return;
    const ask = (event: BeforeUnloadEvent): void => event.preventDefault();
    addEventListener('beforeunload', ask);
    return () => removeEventListener('beforeunload', ask);
  }, [running]);

  const add = (found: Found[]): void => {
    const known = new Set(rows.map(({ source }) => source.path));
    const fresh = sourcesOf(found).filter(({ path }) => !known.has(path));
    const over = rows.length + fresh.length > SOURCES_LIMIT;
    setNote(over ? t('m.tooMany', { count: SOURCES_LIMIT }) : fresh.length ? '' : t('m.none'));
    if (!over)
      setRows([...rows, ...fresh.map((source): Row => ({ source, fate: { is: 'waiting' } }))]);
  };
  const set = (path: string, fate: Fate): void =>
    setRows((all) => all.map((row) => (row.source.path === path ? { ...row, fate } : row)));
  const run = async (wanted: Row[]): Promise<void> => {
    stop.current = false;
    setRunning(true);
    const patient = patients.find((one) => one.alias === alias);
    const work = new Import(person, patients, { patient, doubtful, readable });
    for (const { source } of wanted) {
      if (stop.current) break;
      const progress = (part: number): void => set(source.path, { is: 'working', part });
      progress(0);
      set(source.path, await work.take(source, progress));
    }
    setRunning(false);
    await queries.invalidateQueries({ queryKey: ['patients'] });
  };

  const sum = tally(rows.map(({ fate }) => fate));
  const waiting = rows.filter(({ fate }) => fate.is === 'waiting');
  const bad = rows.filter(({ fate }) => fate.is === 'refused' || fate.is === 'failed');
  const begun = waiting.length < rows.length;
  return (
    <>
      <Choosing
        running={running}
        looking={looking}
        drop={(items) => {
          setLooking(true);
          void dropped(items)
            .then(add)
            .finally(() => setLooking(false));
        }}
        choose={(files) => add(chosenFiles(files))}
      >
        <Whose patients={patients} alias={alias} choose={setAlias} disabled={running} />
        <Checkbox
          label={t('m.readable')}
          checked={readable}
          disabled={running}
          onChange={(event) => setReadable(event.currentTarget.checked)}
        />
        <Checkbox
          label={t('m.doubtful')}
          description={t('m.doubtfulWhy')}
          checked={doubtful}
          disabled={running}
          onChange={(event) => setDoubtful(event.currentTarget.checked)}
        />
        {note && (
          <Alert variant="outline" color="orange" role="alert">
            {note}
          </Alert>
        )}
        {rows.length > 0 && !begun && (
          <Text role="status">{t('m.found', { count: rows.length })}</Text>
        )}
        {begun && (
          <>
            <Progress
              value={((sum.done + sum.bad) / rows.length) * 100}
              aria-label={t('m.progress', { done: sum.done + sum.bad, all: rows.length })}
            />
            <Text role="status">{t('m.summary', { ...sum, all: rows.length })}</Text>
          </>
        )}
        {running && <Text size="sm">{t('m.stay')}</Text>}
        <Group>
          {running ? (
            <Button variant="default" onClick={halt}>
              {t('m.stop')}
            </Button>
          ) : (
            <>
              {waiting.length > 0 && (
                <Button onClick={() => void run(waiting)}>{t(begun ? 'm.go' : 'm.start')}</Button>
              )}
              {bad.length > 0 && (
                <Button variant="default" onClick={() => void run(bad)}>
                  {t('m.retry')}
                </Button>
              )}
              {rows.length > 0 && (
                <Button variant="default" onClick={() => setRows([])}>
                  {t('m.clear')}
                </Button>
              )}
            </>
          )}
        </Group>
      </Choosing>
      <Rows rows={rows} />
    </>
  );
}

function Choosing(props: {
  running: boolean;
  looking: boolean;
  drop: (items: DataTransferItemList) => void;
  choose: (files: File[]) => void;
  children: React.ReactNode;
}) {
  const { running, looking, drop, choose, children } = props;
  const { t } = useTranslation();
  return (
    <Card
      withBorder
      maw={820}
      onDragOver={(event) => event.preventDefault()}
      onDrop={(event) => {
        event.preventDefault();
        if (!running) drop(event.dataTransfer.items);
      }}
    >
      <Title order={2} size="h4" mb="sm">
        {t('m.files')}
      </Title>
      <Stack>
        <Group>
          <FileButton
            multiple
            disabled={running}
            onChange={choose}
            inputProps={{ 'aria-label': t('m.chooseFolder'), ...{ webkitdirectory: '' } }}
          >
            {(button) => (
              <Button variant="default" {...button} disabled={running}>
                {t('m.chooseFolder')}
              </Button>
            )}
          </FileButton>
          <FileButton
            multiple
            disabled={running}
            onChange={choose}
            inputProps={{ 'aria-label': t('m.chooseFiles') }}
          >
            {(button) => (
              <Button variant="default" {...button} disabled={running}>
                {t('m.chooseFiles')}
              </Button>
            )}
          </FileButton>
          <Text visibleFrom="sm">{t('m.drop')}</Text>
        </Group>
        {looking && <Waiting text={t('h.files.looking')} />}
        {children}
      </Stack>
    </Card>
  );
}

function Whose(props: {
  patients: Patient[];
  alias: string;
  disabled: boolean;
  choose: (alias: string) => void;
}) {
  const { patients, alias, disabled, choose } = props;
  const { t } = useTranslation();
  const called = usePatientName();
  const [query, setQuery] = useState('');
  const chosen = patients.filter((one) => one.alias === alias);
  const found = matching(patients, query).filter((one) => one.alias !== alias);
  const label = (one: Patient) => (one.name ? `${one.name} (${shortOf(one.alias)})` : called(one));
  return (
    <Group grow align="flex-end" preventGrowOverflow={false}>
      <TextInput
        label={t('h.search')}
        disabled={disabled}
        value={query}
        onChange={(event) => setQuery(event.currentTarget.value)}
      />
      <NativeSelect
        label={t('m.whose')}
        disabled={disabled}
        value={alias}
        data={[
          { value: '', label: t('m.nobody') },
          ...[...chosen, ...found.slice(0, OFFERED)].map((one) => ({
            value: one.alias,
            label: label(one),
          })),
        ]}
        onChange={(event) => choose(event.currentTarget.value)}
      />
    </Group>
  );
}

const ORDER: Fate['is'][] = ['working', 'failed', 'refused', 'done', 'waiting'];

function Rows({ rows }: { rows: Row[] }) {
  const { t } = useTranslation();
  if (rows.length === 0) return null;
  const order = ({ fate }: Row): number => ORDER.indexOf(fate.is);
  const listed = [...rows].sort((a, b) => order(a) - order(b)).slice(0, LISTED);
  return (
    <Card withBorder maw={820}>
      <ul className="plain">
        {listed.map(({ source, fate }) => (
          <li key={source.path}>
            <Group justify="space-between" py={4} align="flex-start" wrap="nowrap">
              <div className="wrap">
                <Text fw={600} className="wrap">
                  {source.path}
                </Text>
                <Told fate={fate} />
              </div>
              <Text size="sm" c="dimmed" flex="none">
                {size(source.file.size)}
              </Text>
            </Group>
          </li>
        ))}
      </ul>
      {rows.length > LISTED && <Text>{t('m.more', { count: rows.length - LISTED })}</Text>}
    </Card>
  );
}

function Told({ fate }: { fate: Fate }) {
  const { t } = useTranslation();
  const failure = useFailureText();
  switch (fate.is) {
    case 'waiting':
      return <Text size="sm">{t('m.waiting')}</Text>;
    case 'working':
      return <Text size="sm">{t('m.working', { part: Math.round(fate.part * 100) })}</Text>;
    case 'refused':
      return (
        <Text size="sm" className="bad wrap">
          {t('m.refused')}: {t(`h.why.${fate.why.why}`, fate.why.what)}
        </Text>
      );
    case 'failed':
      return (
        <Text size="sm" className="bad wrap">
          {t('m.failed')}:{' '}
          {fate.error instanceof NoClassKey ? t('m.noKey') : failure(fate.error).text}
        </Text>
      );
    default: {
      const { records, known, leftOut } = fate;
      const parts = [records > 0 ? t('m.done', { count: records }) : t('m.known')];
      if (records > 0 && known > 0) parts.push(t('m.knownToo', { known }));
      if (leftOut > 0) parts.push(t('m.leftOut', { count: leftOut }));
      return (
        <Text size="sm" className="good wrap">
          {parts.join('; ')}
        </Text>
      );
    }
  }
}

function Program() {
  const { t } = useTranslation();
  const [copied, setCopied] = useState(false);
  return (
    <Card withBorder maw={820}>
      <Title order={2} size="h4" mb="sm">
        {t('m.program')}
      </Title>
      <Text>{t('m.programWhy')}</Text>
      <Group gap="sm" align="center">
        <Text className="mono" style={{ flex: '1 1 16rem' }}>
          {COMMAND}
        </Text>
        <Button
          size="compact-sm"
          variant="default"
          aria-label={`${t('h.many.copy')}: ${COMMAND}`}
          onClick={() => void navigator.clipboard.writeText(COMMAND).then(() => setCopied(true))}
        >
          {t(copied ? 'h.many.copied' : 'h.many.copy')}
        </Button>
      </Group>
    </Card>
  );
}
