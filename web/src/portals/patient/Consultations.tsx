// What I asked doctors, and what they answered and prescribed.
import { Badge, Card, Group, Stack, Text, Title } from '@mantine/core';
import { Link, useParams } from '@tanstack/react-router';
import { useMemo } from 'react';
import { useTranslation } from 'react-i18next';
import { Message } from '../../features/care/Message';
import { useApiOf, useNames } from '../../features/care/names';
import {
  type Consultation,
  ownGrant,
  type Place,
  useAccesses,
  useConsultation,
  useConsultations,
  useOpened,
  useOpenGrants,
} from '../../features/care/queries';
import { SectionView } from '../../features/record/RecordView';
import { date, dateTime } from '../../lib/format';
import { Answer, Empty, Page } from '../../ui/page';
import { Withdraw } from './AccessPage';

export function Consultations() {
  const { t } = useTranslation();
  const consultations = useConsultations();
  const name = useNames();
  return (
    <Page title={t('nav.answers')}>
      <Answer query={consultations}>
        {(list) =>
          list.length === 0 ? (
            <Empty>
              <Text>{t('answers.none')}</Text>
              <Link to="/patient/ask">{t('nav.ask')}</Link>
            </Empty>
          ) : (
            <Stack>
              {list.map((one) => (
                <Card
                  withBorder
                  key={one.consultation}
                  component={Link}
                  to={`/patient/consultations/${one.consultation}`}
                  className="card-link"
                >
                  <Group justify="space-between" align="flex-start">
                    <Title order={2} size="h4" className="wrap">
                      {name(one.doctor, 'doctor')}
                    </Title>
                    <Badge variant="outline" color="gray" className={one.answer ? 'good' : ''}>
                      {t(one.answer ? 'answers.answered' : 'answers.waiting')}
                    </Badge>
                  </Group>
                  <Text>{t('answers.asked', { at: dateTime(one.opened) })}</Text>
                  {one.answer && (
                    <Text>
                      {t('answers.got', { at: dateTime(one.answer.at) })}
                      {one.answer.prescriptions > 0 &&
                        ` · ${t('answers.prescriptions', { count: one.answer.prescriptions })}`}
                    </Text>
                  )}
                </Card>
              ))}
            </Stack>
          )
        }
      </Answer>
    </Page>
  );
}

export function ConsultationPage() {
  const { t } = useTranslation();
  const { id } = useParams({ strict: false }) as { id: string };
  const consultations = useConsultations();
  const apiOf = useApiOf();
  const listed = consultations.data?.find((one) => one.consultation === id);
  const api = listed && apiOf(listed.custodian);
  const detail = useConsultation(id, api);
  return (
    <Page title={t('answers.title')}>
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
  const name = useNames();
  const accesses = useAccesses();
  const granted = useOpenGrants([one]);
  const own = ownGrant(accesses.data ?? [], one.alias);
  const place: Place = useMemo(
    () => ({ api, alias: one.alias, access: own?.access, purpose: 'patient-request' }),
    [api, one.alias, own?.access],
  );
  const records = useMemo(
    () => [...one.question_records, ...(one.answer?.records ?? [])].sort(),
    [one],
  );
  const opened = useOpened(accesses.isPending ? undefined : place, records);
  const doctor = name(one.doctor, 'doctor');
  return (
    <Stack>
      <Group justify="space-between" align="flex-start">
        <div className="wrap">
          <Title order={2} size="h4">
            {doctor}
          </Title>
          <Text>{t('answers.asked', { at: dateTime(one.opened) })}</Text>
          <Text>{t('answers.sent', { count: one.records.length, at: date(one.until) })}</Text>
        </div>
        {granted.has(one.access) && <Withdraw access={one.access} api={api} what={doctor} />}
      </Group>
      <Answer query={opened}>
        {(list) => {
          const of = (kind: string) => list.filter((record) => record.anchor.kind === kind);
          const prescriptions = of('prescription');
          return (
            <Stack>
              {of('question').map((record) => (
                <Message key={record.anchor.record} title={t('answers.question')} record={record} />
              ))}
              {of('answer').map((record) => (
                <Message key={record.anchor.record} title={t('answers.answer')} record={record} />
              ))}
              {!one.answer && <Empty>{t('answers.notYet')}</Empty>}
              {prescriptions.length > 0 && (
                <>
                  <Title order={2} size="h4">
                    {t('answers.medicines')}
                  </Title>
                  <SectionView section="medicines" opened={prescriptions} />
                </>
              )}
            </Stack>
          );
        }}
      </Answer>
    </Stack>
  );
}
