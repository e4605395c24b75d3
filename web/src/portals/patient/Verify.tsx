// Checking everything in one action: that what the hospital keeps is what was signed, and that nobody
// changed it since.
import { Alert, Button, Card, Collapse, Group, List, Progress, Stack, Text } from '@mantine/core';
import { IconAlertTriangle, IconCircleCheck } from '@tabler/icons-react';
import { useMutation } from '@tanstack/react-query';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { type Verified, verifyAll } from '../../features/care/proofs';
import { type Place, type SealedRecord, useSealed } from '../../features/care/queries';
import { WithPlace } from '../../features/care/WithPlace';
import { dateTime } from '../../lib/format';
import { saveFile, zip } from '../../lib/save';
import { usePerson } from '../../session/use';
import { Answer, Empty, Failure, Page } from '../../ui/page';

export function Verify() {
  const { t } = useTranslation();
  return (
    <Page title={t('nav.verify')}>
      <Text maw={720}>{t('verify.text')}</Text>
      <WithPlace>{(place) => <Sealed key={place.alias} place={place} />}</WithPlace>
    </Page>
  );
}

function Sealed({ place }: { place: Place }) {
  const { t } = useTranslation();
  const sealed = useSealed(place);
  return (
    <Answer query={sealed}>
      {(list) =>
        list.length === 0 ? (
          <Empty>{t('record.empty')}</Empty>
        ) : (
          <Checking place={place} list={list} />
        )
      }
    </Answer>
  );
}

function Checking({ place, list }: { place: Place; list: SealedRecord[] }) {
  const { t } = useTranslation();
  const person = usePerson();
  const [done, setDone] = useState(0);
  const checking = useMutation({
    mutationFn: () => {
      setDone(0);
      return verifyAll(person, place, list, setDone);
    },
  });
  return (
    <Stack>
      <Group>
        <Button loading={checking.isPending} onClick={() => checking.mutate()}>
          {t('verify.go', { count: list.length })}
        </Button>
      </Group>
      {checking.isPending && (
        <Progress.Root size="lg">
          <Progress.Section value={(done / list.length) * 100} aria-label={t('verify.progress')} />
        </Progress.Root>
      )}
      <Text role="status">
        {checking.isPending ? t('verify.done', { done, count: list.length }) : ''}
      </Text>
      {checking.error && <Failure error={checking.error} />}
      {checking.data && <Outcome found={checking.data} />}
    </Stack>
  );
}

function Outcome({ found }: { found: Verified }) {
  const { t } = useTranslation();
  const [open, setOpen] = useState(false);
  const good = found.failed.length === 0;
  return (
    <Stack>
      <Alert
        variant="outline"
        role="status"
        color={good ? 'salus' : 'red'}
        icon={good ? <IconCircleCheck aria-hidden /> : <IconAlertTriangle aria-hidden />}
        title={t(good ? 'verify.good' : 'verify.bad', { count: found.failed.length })}
      >
        <Text>{t('verify.goodText', { count: found.good })}</Text>
        {found.failed.slice(0, 20).map(({ record, check }) => (
          <Text key={record} className="bad wrap">
            {t('source.reference', { reference: record.slice(0, 8).toUpperCase() })}: {check}
          </Text>
        ))}
      </Alert>
      <Group>
        <Button onClick={() => saveFile('salus-proofs', 'application/zip', zip(found.files))}>
          {t('verify.save')}
        </Button>
        <Button variant="default" aria-expanded={open} onClick={() => setOpen(!open)}>
          {t('verify.how')}
        </Button>
      </Group>
      <Collapse expanded={open}>
        <Card withBorder>
          <List spacing="xs">
            <List.Item>{t('verify.how1')}</List.Item>
            <List.Item>{t('verify.how2')}</List.Item>
            <List.Item>
              {t('verify.how3', {
                count: found.size,
                at: dateTime(found.time),
                names: found.members.join(', '),
              })}
            </List.Item>
            <List.Item>{t('verify.how4')}</List.Item>
          </List>
          <Text mt="sm" size="sm">
            {t('verify.genesis')}
          </Text>
          <Text className="mono" size="sm">
            {found.genesis}
          </Text>
        </Card>
      </Collapse>
    </Stack>
  );
}
