// The form of an intake: who it is about, what was found, files.
import {
  Alert,
  Button,
  Card,
  Checkbox,
  FileButton,
  Group,
  NativeSelect,
  Radio,
  SimpleGrid,
  Stack,
  Text,
  Textarea,
  TextInput,
  Title,
} from '@mantine/core';
import { type FormEvent, type ReactNode, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { size } from '../../lib/format';
import { Faults, Waiting } from '../../ui/page';
import { type Looked, look } from './files';
import { type Form, faultsOf, type Symptom, symptomFault } from './form';
import type { Draft } from './IntakePage';
import { matching } from './Patients';
import { type Patient, shortOf, usePatientName } from './queries';

/** Whose records these will be. */
export type Whose = { fresh: true; readable: boolean } | { fresh: false; alias: string };

/** Patients offered at once; a longer name finds the others. */
const OFFERED = 50;

interface Fault {
  id: string;
  text: string;
}

export function IntakeForm(props: {
  patients: Patient[];
  draft: Draft;
  change: (draft: Draft) => void;
  check: () => void;
}) {
  const { patients, draft, change, check } = props;
  const { t } = useTranslation();
  const [faults, setFaults] = useState<Fault[]>([]);
  const [symptom, setSymptom] = useState<Symptom>({ code: '', words: '' });
  const [looking, setLooking] = useState(false);
  const { whose, form, files } = draft;
  const set = (part: Partial<Form>) => change({ ...draft, form: { ...form, ...part } });
  const error = (id: string) => faults.find((fault) => fault.id === id)?.text;
  const submit = (event: FormEvent) => {
    event.preventDefault();
    const pieces = files.filter(({ piece }) => piece).length;
    const found: Fault[] = faultsOf(form, whose.fresh, pieces, Date.now()).map((fault) => ({
      id: fault === 'nothing' ? 'pulse' : fault,
      text: t(`h.fault.${fault}`),
    }));
    if (symptom.code.trim() || symptom.words.trim())
      found.push({ id: 'words', text: t('h.fault.symptom') });
    if (!whose.fresh && !whose.alias) found.unshift({ id: 'known', text: t('h.fault.patient') });
    setFaults(found);
    if (found.length === 0) check();
  };
  const add = () => {
    const fault = symptomFault(symptom);
    setFaults(fault ? [{ id: fault, text: t(`h.fault.${fault}`) }] : []);
    if (fault) return;
    set({ symptoms: [...form.symptoms, symptom] });
    setSymptom({ code: '', words: '' });
  };
  const text = (id: keyof Form, label: string, more: object = {}) => (
    <TextInput
      id={id}
      label={label}
      autoComplete="off"
      value={form[id] as string}
      error={error(id)}
      onChange={(event) => set({ [id]: event.currentTarget.value })}
      {...more}
    />
  );
  return (
    <form noValidate onSubmit={submit}>
      <Stack maw={820}>
        <Faults faults={faults} />
        <Part title={t('h.person')}>
          <Who
            patients={patients}
            whose={whose}
            name={form.name}
            error={error('known')}
            choose={(next) => change({ ...draft, whose: next })}
          />
          {whose.fresh && (
            <>
              <SimpleGrid cols={{ base: 1, sm: 2 }}>
                {text('number', t('h.number'), { description: t('h.numberWhy') })}
                {text('name', t('profile.name'), { mt: 'auto' })}
                {text('birthDate', t('h.birth'), { type: 'date' })}
                {text('address', t('profile.address'))}
                {text('phone', t('profile.phone'), { type: 'tel' })}
                {text('email', t('profile.email'), { type: 'email' })}
              </SimpleGrid>
              <Checkbox
                label={t('h.readable')}
                description={t('h.readableWhy')}
                checked={whose.readable}
                onChange={(event) =>
                  change({
                    ...draft,
                    whose: { fresh: true, readable: event.currentTarget.checked },
                  })
                }
              />
            </>
          )}
        </Part>
        <Part title={t('h.found')}>
          {text('pulse', t('h.pulse'), { inputMode: 'numeric', maw: 240 })}
          <Title order={3} size="h5">
            {t('h.symptoms')}
          </Title>
          <ul className="plain">
            {form.symptoms.map((one, at) => (
              <li key={at}>
                <Group justify="space-between" py={4} wrap="nowrap" align="flex-start">
                  <Text className="wrap">
                    {one.words}
                    {one.code && ` (${one.code})`}
                  </Text>
                  <Button
                    size="compact-sm"
                    flex="none"
                    variant="default"
                    aria-label={t('h.symptom.removeOf', { name: one.words })}
                    onClick={() => set({ symptoms: form.symptoms.filter((_, i) => i !== at) })}
                  >
                    {t('remove')}
                  </Button>
                </Group>
              </li>
            ))}
          </ul>
          <SimpleGrid cols={{ base: 1, sm: 2 }}>
            <TextInput
              id="words"
              label={t('h.symptom.words')}
              value={symptom.words}
              error={error('words')}
              onChange={(event) => setSymptom({ ...symptom, words: event.currentTarget.value })}
            />
            <TextInput
              id="code"
              label={t('h.symptom.code')}
              value={symptom.code}
              error={error('code')}
              onChange={(event) => setSymptom({ ...symptom, code: event.currentTarget.value })}
            />
          </SimpleGrid>
          <Group>
            <Button variant="default" onClick={add}>
              {t('h.symptom.add')}
            </Button>
          </Group>
        </Part>
        <Part title={t('h.document')}>
          <Text>{t('h.documentWhy')}</Text>
          {text('noteTitle', t('h.document.title'))}
          <Textarea
            id="note"
            label={t('h.document.text')}
            autosize
            minRows={3}
            value={form.note}
            error={error('note')}
            onChange={(event) => set({ note: event.currentTarget.value })}
          />
        </Part>
        <Files
          files={files}
          looking={looking}
          add={async (chosen) => {
            setLooking(true);
            try {
              const found = await look(chosen.map((file) => ({ name: file.name, file })));
              change({ ...draft, files: [...files, ...found] });
            } finally {
              setLooking(false);
            }
          }}
          remove={(gone) => change({ ...draft, files: files.filter((one) => one !== gone) })}
        />
        <Group>
          <Button type="submit" disabled={looking}>
            {t('h.toCheck')}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}

function Part({ title, children }: { title: string; children: ReactNode }) {
  return (
    <Card withBorder>
      <Title order={2} size="h4" mb="sm">
        {title}
      </Title>
      <Stack>{children}</Stack>
    </Card>
  );
}

function Who(props: {
  patients: Patient[];
  whose: Whose;
  name: string;
  error?: string;
  choose: (whose: Whose) => void;
}) {
  const { patients, whose, name, error, choose } = props;
  const { t } = useTranslation();
  const called = usePatientName();
  const [query, setQuery] = useState('');
  const wanted = name.trim().toLowerCase();
  const same = patients.filter((one) => wanted && one.name?.trim().toLowerCase() === wanted);
  const offered = matching(patients, query).slice(0, OFFERED);
  const label = (one: Patient) => (one.name ? `${one.name} (${shortOf(one.alias)})` : called(one));
  return (
    <>
      <Radio.Group
        label={t('h.who')}
        value={whose.fresh ? 'new' : 'known'}
        onChange={(value) =>
          choose(value === 'new' ? { fresh: true, readable: true } : { fresh: false, alias: '' })
        }
      >
        <Group mt={4}>
          <Radio value="new" label={t('h.who.new')} />
          <Radio value="known" label={t('h.who.known')} disabled={patients.length === 0} />
        </Group>
      </Radio.Group>
      {!whose.fresh && (
        <SimpleGrid cols={{ base: 1, sm: 2 }}>
          <TextInput
            label={t('h.search')}
            mt="auto"
            value={query}
            onChange={(event) => setQuery(event.currentTarget.value)}
          />
          <NativeSelect
            id="known"
            label={t('h.choose')}
            description={t('h.chooseWhy')}
            value={whose.alias}
            error={error}
            data={[
              { value: '', label: t('h.chooseNone') },
              ...offered.map((one) => ({ value: one.alias, label: label(one) })),
            ]}
            onChange={(event) => choose({ fresh: false, alias: event.currentTarget.value })}
          />
        </SimpleGrid>
      )}
      {whose.fresh && same.length > 0 && (
        <Alert role="alert" variant="outline" color="orange" title={t('h.same')}>
          {same.map((one) => t('person.alias', { number: shortOf(one.alias) })).join(', ')}.{' '}
          {t('h.sameText')}
        </Alert>
      )}
    </>
  );
}

function Files(props: {
  files: Looked[];
  looking: boolean;
  add: (files: File[]) => void;
  remove: (file: Looked) => void;
}) {
  const { files, looking, add, remove } = props;
  const { t } = useTranslation();
  return (
    <Card
      withBorder
      onDragOver={(event) => event.preventDefault()}
      onDrop={(event) => {
        event.preventDefault();
        add([...event.dataTransfer.files]);
      }}
    >
      <Title order={2} size="h4" mb="sm">
        {t('h.files')}
      </Title>
      <Stack>
        <Text>{t('h.filesWhy')}</Text>
        <Group>
          <FileButton multiple onChange={add} inputProps={{ 'aria-label': t('h.files.choose') }}>
            {(button) => (
              <Button variant="default" {...button}>
                {t('h.files.choose')}
              </Button>
            )}
          </FileButton>
          <Text visibleFrom="sm">{t('h.files.drop')}</Text>
        </Group>
        {looking && <Waiting text={t('h.files.looking')} />}
        <ul className="plain" aria-live="polite">
          {files.map((file, at) => (
            <li key={at}>
              <Group justify="space-between" py={4} align="flex-start" wrap="nowrap">
                <div className="wrap">
                  <Text fw={600} className="wrap">
                    {file.name}
                  </Text>
                  {file.refused ? (
                    <Text size="sm" className="bad wrap">
                      {t('h.files.bad')}: {t(`h.why.${file.refused.why}`, file.refused.what)}
                    </Text>
                  ) : (
                    <Text size="sm" className="good">
                      {t('h.files.good')}: {file.piece && t(`h.kind.${file.piece.kind}`)},{' '}
                      {size(file.size)}
                    </Text>
                  )}
                </div>
                <Button
                  size="compact-sm"
                  flex="none"
                  variant="default"
                  aria-label={t('h.symptom.removeOf', { name: file.name })}
                  onClick={() => remove(file)}
                >
                  {t('remove')}
                </Button>
              </Group>
            </li>
          ))}
        </ul>
      </Stack>
    </Card>
  );
}
