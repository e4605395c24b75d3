// Requests for records that the hospital keeps: each is authorised or refused, with a reason.
import { Button, Card, Group, NativeSelect, Stack, Text, Title } from '@mantine/core';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { ok } from '../../api/client';
import { useNames } from '../../features/care/names';
import type { AccessView } from '../../features/care/queries';
import { date, dateTime } from '../../lib/format';
import type { Decision, Reason } from '../../records/codes';
import { action } from '../../records/command';
import { usePerson } from '../../session/use';
import { Answer, Dialog, Empty, Failure, Page } from '../../ui/page';
import { usePatientName, useRequests } from './queries';

const REASONS: Record<Decision, Reason[]> = {
  approve: ['identity-verified', 'own-records'],
  refuse: ['not-entitled', 'too-broad', 'identity-not-verified', 'duplicate', 'hold'],
};
const SHOWN = 20;

export function Requests() {
  const { t } = useTranslation();
  const requests = useRequests();
  return (
    <Page title={t('nav.h.requests')}>
      <Text maw={720}>{t('h.requests.text')}</Text>
      <Answer query={requests}>{(list) => <Lists list={list} />}</Answer>
    </Page>
  );
}

function Lists({ list }: { list: AccessView[] }) {
  const { t } = useTranslation();
  const [count, setCount] = useState(SHOWN);
  const [entry, setEntry] = useState<number>();
  const waiting = list.filter(({ status }) => status.status === 'requested');
  const past = list.filter(({ status }) => status.status !== 'requested');
  return (
    <Stack>
      <Text role="status">
        {entry === undefined ? '' : t('h.requests.done', { number: entry })}
      </Text>
      <Title order={2} size="h4">
        {t('h.requests.waiting')}
      </Title>
      {waiting.length === 0 && <Empty>{t('h.requests.none')}</Empty>}
      {waiting.map((request) => (
        <Request key={request.access} request={request} decided={setEntry} />
      ))}
      {past.length > 0 && (
        <Title order={2} size="h4" mt="md">
          {t('h.requests.past')}
        </Title>
      )}
      {past.slice(0, count).map((request) => (
        <Request key={request.access} request={request} />
      ))}
      {past.length > count && (
        <Button variant="default" onClick={() => setCount(count + SHOWN)}>
          {t('more', { count: past.length - count })}
        </Button>
      )}
    </Stack>
  );
}

/** Who asks for whose records, in one sentence. */
function useSentence(): (request: AccessView) => string {
  const { t } = useTranslation();
  const who = useNames();
  const patient = usePatientName();
  return (request) => {
    const name = patient(request);
    if (request.holder_role === 'patient') return t('h.requests.self', { name });
    const asker = who(request.holder, request.holder_role);
    // What a patient sends to a doctor is granted by the patient; nobody here decides on it.
    return t(request.records ? 'h.requests.selected' : 'h.requests.asks', { who: asker, name });
  };
}

function Request({ request, decided }: { request: AccessView; decided?: (entry: number) => void }) {
  const { t } = useTranslation();
  const sentence = useSentence()(request);
  const who = useNames();
  const { status, records } = request;
  const tone = { requested: 'warn', approved: 'good', refused: 'bad', revoked: '' }[status.status];
  const parts = records
    ? t('records', { count: records.length })
    : request.classes.map((one) => t(`h.class.${one}`)).join(', ');
  return (
    <Card withBorder>
      <Title order={3} size="h5" className="wrap">
        {sentence}
      </Title>
      <Text className="wrap">
        {t(`purpose.${request.purpose}`)} · {t('h.requests.classes', { classes: parts })} ·{' '}
        {t('until', { at: date(request.until) })}
      </Text>
      <Text c="dimmed" size="sm">
        {t('access.askedAt', { at: dateTime(request.requested) })}
      </Text>
      {decided ? (
        <Group mt="sm">
          <Decide request={request} what={sentence} decision="approve" decided={decided} />
          <Decide request={request} what={sentence} decision="refuse" decided={decided} />
        </Group>
      ) : (
        <Text className={`${tone} wrap`} mt={4}>
          {t(`access.${status.status}`)}
          {'at' in status && ` · ${who(status.by)} · ${dateTime(status.at)}`}
          {'basis' in status && ` · ${t(`basis.${status.basis}`)}`}
          {'reason' in status && ` · ${t('reason', { reason: t(`reason.${status.reason}`) })}`}
        </Text>
      )}
    </Card>
  );
}

function Decide(props: {
  request: AccessView;
  what: string;
  decision: Decision;
  decided: (entry: number) => void;
}) {
  const { request, what, decision, decided } = props;
  const { t } = useTranslation();
  const person = usePerson();
  const queries = useQueryClient();
  const [open, setOpen] = useState(false);
  const [reason, setReason] = useState<Reason>(REASONS[decision][0]!);
  const id = request.access;
  const deciding = useMutation({
    mutationFn: () =>
      person.act(action.decideAccess(id, decision, reason), (command) =>
        ok(
          person.home.api.POST('/api/v1/accesses/{id}/decision', {
            params: { path: { id } },
            body: { command },
          }),
        ),
      ),
    onSuccess: ({ entry }) => {
      setOpen(false);
      decided(entry);
    },
    onSettled: () => queries.invalidateQueries({ queryKey: ['accesses'] }),
  });
  return (
    <>
      <Button
        variant={decision === 'approve' ? 'filled' : 'default'}
        aria-label={t(`h.requests.${decision}Of`, { what })}
        onClick={() => setOpen(true)}
      >
        {t(`h.requests.${decision}`)}
      </Button>
      <Dialog title={t(`h.requests.${decision}Title`)} opened={open} onClose={() => setOpen(false)}>
        <Stack>
          <Text fw={600} className="wrap">
            {what}
          </Text>
          <Text>{t(`h.requests.${decision}Text`)}</Text>
          <NativeSelect
            label={t('h.requests.reason')}
            value={reason}
            data={REASONS[decision].map((value) => ({ value, label: t(`reason.${value}`) }))}
            onChange={(event) => setReason(event.currentTarget.value as Reason)}
          />
          {deciding.error && <Failure error={deciding.error} />}
          <Group justify="flex-end">
            <Button variant="default" onClick={() => setOpen(false)}>
              {t('cancel')}
            </Button>
            <Button loading={deciding.isPending} onClick={() => deciding.mutate()}>
              {t(`h.requests.${decision}`)}
            </Button>
          </Group>
        </Stack>
      </Dialog>
    </>
  );
}
