// Asking a doctor: whom, what to send, the question and for how long; then a page to check it all.
import {
  Accordion,
  Alert,
  Button,
  Card,
  Checkbox,
  Group,
  NativeSelect,
  Radio,
  Stack,
  Stepper,
  Text,
  Textarea,
  TextInput,
  Title,
} from '@mantine/core';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { useMemo, useState } from 'react';
import { useTranslation } from 'react-i18next';
import type { Schema } from '../../api/client';
import { ask } from '../../features/care/care';
import { useDoctors } from '../../features/care/names';
import {
  type OwnAlias,
  type Place,
  readAt,
  type SealedRecord,
  useOpened,
  useSealed,
} from '../../features/care/queries';
import { WithPlace } from '../../features/care/WithPlace';
import { itemOf, newestFirst } from '../../features/record/fhir';
import { counts, ORDER, type Section, sectionOf } from '../../features/record/sections';
import { date } from '../../lib/format';
import { usePerson } from '../../session/use';
import { Answer, Empty, Failure, Faults, Page } from '../../ui/page';

const DAY_MS = 86_400_000;
const DAYS = [7, 30, 90] as const;
/** Most records of one question. */
const RECORDS_LIMIT = 1000;
type Doctor = Schema['Doctor'];

export function Ask() {
  const { t } = useTranslation();
  return (
    <Page title={t('nav.ask')}>
      <WithPlace>{(place, own) => <Asking key={place.alias} place={place} own={own} />}</WithPlace>
    </Page>
  );
}

function Asking({ place, own }: { place: Place; own: OwnAlias }) {
  const { t } = useTranslation();
  const person = usePerson();
  const queries = useQueryClient();
  const sealed = useSealed(place);
  const [step, setStep] = useState(0);
  const [doctor, setDoctor] = useState<Doctor>();
  const [chosen, setChosen] = useState<Set<string>>(new Set());
  const [question, setQuestion] = useState('');
  const [days, setDays] = useState(30);
  const [faults, setFaults] = useState<{ id: string; text: string }[]>([]);

  // Who the patient is always goes along: a doctor must know whose records these are.
  const always = useMemo(
    () =>
      (sealed.data ?? [])
        .filter((record) => sectionOf(record.kind) === 'person')
        .map((record) => record.record),
    [sealed.data],
  );
  const sending = useMutation({
    mutationFn: async () => {
      const records = await readAt(person, place, [...new Set([...always, ...chosen])]);
      const until = Date.now() + days * DAY_MS;
      const at = await person.at(place.api);
      return ask(person, at, {
        alias: place.alias,
        custodian: own.custodian,
        doctor: doctor!.principal,
        text: question.trim(),
        records,
        until,
      });
    },
    onSuccess: () => {
      setStep(4);
      void queries.invalidateQueries({ queryKey: ['consultations'] });
    },
  });
  const next = (list: { id: string; text: string; wrong: boolean }[]): void => {
    const found = list.filter(({ wrong }) => wrong);
    setFaults(found);
    if (found.length === 0) setStep(step + 1);
  };
  const byKind = useMemo(() => {
    const kinds = (sealed.data ?? []).filter((r) => chosen.has(r.record)).map((r) => r.kind);
    return [...counts(kinds)].map(([section, count]) => `${t(`section.${section}`)} (${count})`);
  }, [sealed.data, chosen, t]);
  const back = (
    <Button variant="default" onClick={() => setStep(step - 1)}>
      {t('back')}
    </Button>
  );

  return (
    <Answer query={sealed}>
      {(list) => (
        <Stack>
          <Stepper active={step} size="sm" allowNextStepsSelect={false}>
            <Stepper.Step label={t('ask.step1')} />
            <Stepper.Step label={t('ask.step2')} />
            <Stepper.Step label={t('ask.step3')} />
            <Stepper.Step label={t('ask.step4')} />
          </Stepper>
          <Faults faults={faults} />
          {step === 0 && (
            <>
              <Doctors chosen={doctor} choose={setDoctor} />
              <Group>
                <Button
                  onClick={() =>
                    next([{ id: 'doctor-search', text: t('ask.needDoctor'), wrong: !doctor }])
                  }
                >
                  {t('next')}
                </Button>
              </Group>
            </>
          )}
          {step === 1 && (
            <>
              <Alert variant="outline">{t('ask.always')}</Alert>
              <Choice place={place} list={list} chosen={chosen} setChosen={setChosen} />
              <Text role="status">{t('ask.chosen', { count: chosen.size })}</Text>
              <Group>
                {back}
                <Button
                  onClick={() =>
                    next([
                      {
                        id: 'choice',
                        text: t('ask.tooMany', { count: RECORDS_LIMIT }),
                        wrong: chosen.size > RECORDS_LIMIT,
                      },
                    ])
                  }
                >
                  {t('next')}
                </Button>
              </Group>
            </>
          )}
          {step === 2 && (
            <Card withBorder maw={720}>
              <Stack>
                <Textarea
                  id="question"
                  label={t('ask.question')}
                  description={t('ask.questionWhy')}
                  autosize
                  minRows={4}
                  maxLength={10_000}
                  required
                  value={question}
                  error={faults[0]?.text}
                  onChange={(event) => setQuestion(event.currentTarget.value)}
                />
                <NativeSelect
                  label={t('ask.days')}
                  value={String(days)}
                  data={DAYS.map((value) => ({
                    value: String(value),
                    label: t('days', { count: value }),
                  }))}
                  onChange={(event) => setDays(Number(event.currentTarget.value))}
                />
                <Group>
                  {back}
                  <Button
                    onClick={() =>
                      next([
                        { id: 'question', text: t('ask.needQuestion'), wrong: !question.trim() },
                      ])
                    }
                  >
                    {t('ask.check')}
                  </Button>
                </Group>
              </Stack>
            </Card>
          )}
          {step === 3 && doctor && (
            <Card withBorder maw={720}>
              <Stack gap="sm">
                <Title order={2} size="h4">
                  {t('ask.checkTitle')}
                </Title>
                <Pair
                  word={t('ask.step1')}
                  text={[doctor.name, doctor.specialty, doctor.hospital].filter(Boolean).join(', ')}
                />
                <Pair word={t('ask.step2')} text={[t('ask.identity'), ...byKind].join('; ')} />
                <Pair word={t('ask.question')} text={question} />
                <Pair
                  word={t('ask.days')}
                  text={t('until', { at: date(Date.now() + days * DAY_MS) })}
                />
                {sending.error && <Failure error={sending.error} />}
                <Group>
                  {back}
                  <Button loading={sending.isPending} onClick={() => sending.mutate()}>
                    {t('ask.send', { name: doctor.name ?? '' })}
                  </Button>
                </Group>
              </Stack>
            </Card>
          )}
          {step === 4 && sending.data && (
            <Alert variant="outline" role="status" title={t('ask.sent')}>
              <Text>{t('ask.sentText', { name: doctor?.name ?? '' })}</Text>
              <Text>
                {t('source.reference', {
                  reference: sending.data.consultation.slice(0, 8).toUpperCase(),
                })}
              </Text>
              <Button component={Link} to="/patient/consultations" variant="default" mt="sm">
                {t('nav.answers')}
              </Button>
            </Alert>
          )}
        </Stack>
      )}
    </Answer>
  );
}

function Pair({ word, text }: { word: string; text: string }) {
  return (
    <div className="wrap">
      <Text size="sm" c="dimmed">
        {word}
      </Text>
      <Text style={{ whiteSpace: 'pre-wrap' }}>{text}</Text>
    </div>
  );
}

function Doctors({ chosen, choose }: { chosen?: Doctor; choose: (doctor: Doctor) => void }) {
  const { t } = useTranslation();
  const doctors = useDoctors();
  const [text, setText] = useState('');
  const wanted = text.trim().toLowerCase();
  const matches = (doctor: Doctor) =>
    [doctor.name, doctor.specialty, doctor.hospital].some((field) =>
      field?.toLowerCase().includes(wanted),
    );
  return (
    <Answer query={doctors}>
      {(all) => {
        const found = wanted ? all.filter(matches) : all;
        return (
          <Stack>
            <TextInput
              id="doctor-search"
              label={t('ask.search')}
              description={t('ask.searchWhy')}
              value={text}
              onChange={(event) => setText(event.currentTarget.value)}
              maw={480}
            />
            {found.length === 0 && <Empty>{t('ask.noDoctor')}</Empty>}
            <Radio.Group
              label={t('ask.step1')}
              value={chosen?.principal ?? ''}
              onChange={(id) => choose(all.find((doctor) => doctor.principal === id)!)}
            >
              <Stack gap="xs" mt="xs">
                {found.slice(0, 50).map((doctor) => (
                  <Radio
                    key={doctor.principal}
                    value={doctor.principal}
                    label={doctor.name ?? doctor.principal.slice(0, 8)}
                    description={[doctor.specialty, doctor.hospital].filter(Boolean).join(', ')}
                    className="wrap"
                  />
                ))}
              </Stack>
            </Radio.Group>
          </Stack>
        );
      }}
    </Answer>
  );
}

const NOT_OFFERED: Section[] = ['person', 'messages'];

function Choice({
  place,
  list,
  chosen,
  setChosen,
}: {
  place: Place;
  list: SealedRecord[];
  chosen: Set<string>;
  setChosen: (chosen: Set<string>) => void;
}) {
  const { t } = useTranslation();
  const present = counts(list.map((record) => record.kind));
  const offered = ORDER.filter((section) => present.has(section) && !NOT_OFFERED.includes(section));
  const [open, setOpen] = useState<string[]>([]);
  return (
    <Accordion
      variant="separated"
      multiple
      value={open}
      onChange={setOpen}
      id="choice"
      tabIndex={-1}
    >
      {offered.map((section) => {
        const records = list
          .filter((record) => sectionOf(record.kind) === section)
          .map((record) => record.record)
          .sort();
        const some = records.filter((record) => chosen.has(record)).length;
        const all = some === records.length;
        const name = t(`section.${section}`);
        return (
          <Accordion.Item key={section} value={section}>
            <Accordion.Control>
              {name} ({some}/{records.length})
            </Accordion.Control>
            <Accordion.Panel>
              <Checkbox
                label={t('ask.all', { name })}
                checked={all}
                indeterminate={some > 0 && !all}
                onChange={() => {
                  const next = new Set(chosen);
                  for (const record of records) all ? next.delete(record) : next.add(record);
                  setChosen(next);
                }}
              />
              {open.includes(section) && (
                <Single place={place} records={records} chosen={chosen} setChosen={setChosen} />
              )}
            </Accordion.Panel>
          </Accordion.Item>
        );
      })}
    </Accordion>
  );
}

/** The entries of a section, each to choose: their titles are sealed, so this opens them. */
function Single({
  place,
  records,
  chosen,
  setChosen,
}: {
  place: Place;
  records: string[];
  chosen: Set<string>;
  setChosen: (chosen: Set<string>) => void;
}) {
  const opened = useOpened(place, records);
  const [count, setCount] = useState(25);
  const { t } = useTranslation();
  return (
    <Answer query={opened}>
      {(found) => {
        const items = newestFirst(found.map(itemOf));
        return (
          <Stack gap="xs" mt="sm" ml="md">
            {items.slice(0, count).map((item) => (
              <Checkbox
                key={item.record}
                className="wrap"
                label={item.title || t('record.untitled')}
                description={item.when ? date(item.when) : undefined}
                checked={chosen.has(item.record)}
                onChange={() => {
                  const next = new Set(chosen);
                  if (!next.delete(item.record)) next.add(item.record);
                  setChosen(next);
                }}
              />
            ))}
            {items.length > count && (
              <Group>
                <Button variant="default" onClick={() => setCount(count + 50)}>
                  {t('more', { count: items.length - count })}
                </Button>
              </Group>
            )}
          </Stack>
        );
      }}
    </Answer>
  );
}
