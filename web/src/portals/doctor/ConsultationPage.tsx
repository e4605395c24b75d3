// One consultation: whose, what was asked, what was shared, and the answer.
import { Alert, Button, Stack, Text, Title } from '@mantine/core';
import { useNavigate, useParams, useSearch } from '@tanstack/react-router';
import { useMemo, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { Banner } from '../../features/care/Banner';
import { Message } from '../../features/care/Message';
import { useApiOf } from '../../features/care/names';
import {
  type Consultation,
  type Place,
  useConsultation,
  useConsultations,
  useOpened,
} from '../../features/care/queries';
import { SectionNav } from '../../features/care/SectionNav';
import { aboutOf, itemOf } from '../../features/record/fhir';
import { type Beside, SectionView } from '../../features/record/RecordView';
import { counts, ORDER, type Section, sectionOf } from '../../features/record/sections';
import { Prediction } from '../../features/training/Prediction';
import { dateTime } from '../../lib/format';
import type { Opened } from '../../records/open';
import { Answer, Empty, Page } from '../../ui/page';
import { Reply } from './Reply';

export function ConsultationPage() {
  const { t } = useTranslation();
  const { id } = useParams({ strict: false }) as { id: string };
  const consultations = useConsultations();
  const apiOf = useApiOf();
  const listed = consultations.data?.find((one) => one.consultation === id);
  const api = listed && apiOf(listed.custodian);
  const detail = useConsultation(id, api);
  return (
    <Page title={t('consult.title')}>
      {consultations.data && !listed ? (
        <Empty>{t('lost.text')}</Empty>
      ) : (
        <Answer query={detail}>{(one) => <Detail one={one} api={api!} />}</Answer>
      )}
    </Page>
  );
}

function Detail({ one, api }: { one: Consultation; api: string }) {
  const { t } = useTranslation();
  const over = one.until <= Date.now();
  const place: Place = useMemo(
    () => ({ api, alias: one.alias, access: one.access, purpose: 'treatment' }),
    [api, one.alias, one.access],
  );
  // After the end of the grant only what the doctor wrote can be read.
  const mine = one.answer?.records ?? [];
  const records = useMemo(
    () => (over ? [] : [...new Set([...one.records, ...one.question_records])].sort()),
    [one, over],
  );
  const opened = useOpened(place, records);
  const written: Place = useMemo(
    () => ({ api, alias: one.alias, purpose: 'treatment' }),
    [api, one.alias],
  );
  const answered = useOpened(mine.length > 0 ? written : undefined, mine);
  return (
    <Stack>
      {over && <Alert variant="outline">{t('consult.over')}</Alert>}
      <Answer query={opened} waiting={t('record.opening', { count: records.length })}>
        {(list) => <Shared one={one} place={place} list={list} over={over} />}
      </Answer>
      {one.answer && (
        <Answer query={answered}>
          {(list) => (
            <Stack>
              <Title order={2} size="h3">
                {t('consult.yours', { at: dateTime(one.answer!.at) })}
              </Title>
              {list
                .filter((record) => record.anchor.kind === 'answer')
                .map((record) => (
                  <Message key={record.anchor.record} title={t('answers.answer')} record={record} />
                ))}
              <SectionView
                section="medicines"
                opened={list.filter((record) => record.anchor.kind === 'prescription')}
              />
            </Stack>
          )}
        </Answer>
      )}
    </Stack>
  );
}

function Shared({
  one,
  place,
  list,
  over,
}: {
  one: Consultation;
  place: Place;
  list: Opened[];
  over: boolean;
}) {
  const { t } = useTranslation();
  const go = useNavigate();
  const { section: asked } = useSearch({ strict: false }) as { section?: string };
  const [replying, setReplying] = useState(false);
  const items = useMemo(() => list.map(itemOf), [list]);
  const beside: Beside = (record, draw) => (
    <Prediction opened={record} place={place} hospital={one.custodian} draw={draw} />
  );
  const about = useMemo(() => aboutOf(items), [items]);
  const questions = list.filter((record) => record.anchor.kind === 'question');
  const shared = list.filter((record) => record.anchor.kind !== 'question');
  const present = counts(shared.map((record) => record.anchor.kind));
  const section =
    ORDER.find((candidate) => candidate === asked && present.has(candidate)) ??
    ORDER.find((candidate) => candidate !== 'person' && present.has(candidate)) ??
    'person';
  return (
    <Stack>
      <Banner about={about} number={one.alias} />
      {questions.map((record) => (
        <Message
          key={record.anchor.record}
          title={t('answers.question')}
          record={record}
          by={record.signer === one.patient ? about.name : undefined}
        />
      ))}
      {!one.answer && !over && !replying && (
        <div>
          <Button onClick={() => setReplying(true)}>{t('consult.answer')}</Button>
        </div>
      )}
      {replying && !one.answer && (
        <Reply
          one={one}
          api={place.api}
          about={about}
          items={items}
          cancel={() => setReplying(false)}
        />
      )}
      {shared.length > 0 ? (
        <>
          <Title order={2} size="h3">
            {t('consult.shared')}
          </Title>
          <SectionNav
            counts={present}
            section={section}
            choose={(chosen: Section) =>
              void go({
                to: `/doctor/consultations/${one.consultation}`,
                search: { section: chosen } as never,
              })
            }
          />
          <SectionView
            section={section}
            opened={shared.filter((record) => sectionOf(record.anchor.kind) === section)}
            beside={beside}
          />
          <Text size="sm" c="dimmed">
            {t('record.receipt')}
          </Text>
        </>
      ) : (
        !over && <Empty>{t('consult.nothing')}</Empty>
      )}
    </Stack>
  );
}
