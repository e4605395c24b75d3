// One prescription, to print.
import { Button, Card, Group, Stack, Text, Title } from '@mantine/core';
import { useParams } from '@tanstack/react-router';
import { useTranslation } from 'react-i18next';
import { useMe } from '../../features/account/useMe';
import { useNames } from '../../features/care/names';
import { usePrescriptions } from '../../features/care/usePrescriptions';
import { PrescriptionCode } from '../../features/prescription/PrescriptionCode';
import { Source } from '../../features/record/RecordView';
import { dateTime } from '../../lib/format';
import { Answer, Empty, Page } from '../../ui/page';

export function PrescriptionPage() {
  const { t } = useTranslation();
  const { record } = useParams({ strict: false }) as { record: string };
  const prescriptions = usePrescriptions();
  const me = useMe();
  const name = useNames();
  return (
    <Page
      title={t('prescription.title')}
      aside={
        <Button className="no-print" onClick={() => print()}>
          {t('print')}
        </Button>
      }
    >
      <Answer query={prescriptions}>
        {(all) => {
          const found = all.find(({ view }) => view.record === record);
          if (!found) return <Empty>{t('lost.text')}</Empty>;
          const { item, patient, view, custodian } = found;
          const profile = me.data?.profile;
          const doctor = [profile?.name, profile?.specialty, profile?.hospital, profile?.licence];
          return (
            <Card withBorder maw={720}>
              <Stack gap="sm">
                <Pair word={t('person.patient')} text={patient} />
                <Group gap="xl">
                  <Pair word={t('prescription.doctor')} text={doctor.filter(Boolean).join(', ')} />
                  <Pair word={t('hospital')} text={name(custodian)} />
                  <Pair word={t('when')} text={dateTime(view.at)} />
                </Group>
                <Title order={2} size="h3" className="wrap">
                  {item.title}
                </Title>
                {item.facts.map(([fact, text]) => (
                  <Pair key={fact} word={t(`fact.${fact}`)} text={text} />
                ))}
                <Source opened={item.opened} by={profile?.name} />
                <div>
                  <Text size="sm" c="dimmed">
                    {t('prescription.number')}
                  </Text>
                  <Text className="mono">{view.record}</Text>
                </div>
                <PrescriptionCode opened={item.opened} custodian={custodian} />
              </Stack>
            </Card>
          );
        }}
      </Answer>
    </Page>
  );
}

function Pair({ word, text }: { word: string; text: string }) {
  if (!text) return null;
  return (
    <div className="wrap">
      <Text size="sm" c="dimmed">
        {word}
      </Text>
      <Text>{text}</Text>
    </div>
  );
}
