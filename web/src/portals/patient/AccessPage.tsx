// Asking a hospital for permission to one's own records, and what it answered and why.
import { Button, Card, Group, NativeSelect, Stack, Text, Title } from '@mantine/core';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { requestAccess, revokeAccess } from '../../features/care/care';
import {
  type AccessView,
  type OwnAlias,
  ownGrant,
  useAccesses,
  useOwnAliases,
} from '../../features/care/queries';
import { date, dateTime } from '../../lib/format';
import type { Purpose } from '../../records/codes';
import { usePerson } from '../../session/use';
import { Answer, Dialog, Empty, Failure, Page } from '../../ui/page';

const DAY_MS = 86_400_000;
const DAYS = [30, 90, 365] as const;
/** What a patient can ask for; all but the first is decided by a person at the hospital. */
const PURPOSES = ['patient-request', 'treatment', 'research'] as const satisfies Purpose[];

export function AccessPage() {
  const { t } = useTranslation();
  const aliases = useOwnAliases();
  const accesses = useAccesses();
  return (
    <Page title={t('nav.access')}>
      <Text maw={720}>{t('access.text')}</Text>
      <Answer query={aliases}>
        {(mine) =>
          mine.length === 0 ? (
            <Empty>{t('access.notLinked')}</Empty>
          ) : (
            <Answer query={accesses}>
              {(held) => (
                <Stack>
                  {mine.map((own) => (
                    <Hospital key={own.alias} own={own} held={held} />
                  ))}
                </Stack>
              )}
            </Answer>
          )
        }
      </Answer>
    </Page>
  );
}

function Hospital({ own, held }: { own: OwnAlias; held: AccessView[] }) {
  const { t } = useTranslation();
  const person = usePerson();
  const queries = useQueryClient();
  const [days, setDays] = useState<number>(365);
  const [purpose, setPurpose] = useState<Purpose>('patient-request');
  const grant = ownGrant(held, own.alias);
  const past = held.filter((access) => access.alias === own.alias && !access.records);
  const asking = useMutation({
    mutationFn: async () => {
      const at = await person.at(own.api);
      return requestAccess(person, at, own.alias, purpose, Date.now() + days * DAY_MS);
    },
    onSettled: () => queries.invalidateQueries({ queryKey: ['accesses'] }),
  });
  return (
    <Card withBorder>
      <Title order={2} size="h4" className="wrap">
        {own.custodian_name}
      </Title>
      {grant && (
        <Group justify="space-between" mt="xs">
          <Text className="good">{t('access.have', { until: date(grant.until) })}</Text>
          <Button component={Link} to="/patient/record">
            {t('nav.record')}
          </Button>
        </Group>
      )}
      <form
        onSubmit={(event) => {
          event.preventDefault();
          asking.mutate();
        }}
      >
        <Stack mt="sm" gap="sm">
          <Group align="flex-end">
            <NativeSelect
              label={t('access.purpose')}
              value={purpose}
              data={PURPOSES.map((value) => ({ value, label: t(`purpose.${value}`) }))}
              onChange={(event) => setPurpose(event.currentTarget.value as Purpose)}
            />
            <NativeSelect
              label={t('access.days')}
              value={String(days)}
              data={DAYS.map((value) => ({
                value: String(value),
                label: t('days', { count: value }),
              }))}
              onChange={(event) => setDays(Number(event.currentTarget.value))}
            />
            <Button type="submit" variant={grant ? 'default' : 'filled'} loading={asking.isPending}>
              {t('access.ask')}
            </Button>
          </Group>
          {asking.error && <Failure error={asking.error} />}
          <Text role="status">{asking.isSuccess ? t('access.asked') : ''}</Text>
        </Stack>
      </form>
      {past.length > 0 && (
        <>
          <Title order={3} size="h5" mt="sm">
            {t('access.history')}
          </Title>
          <ul className="plain">
            {past.map((access) => (
              <li key={access.access}>
                <Request access={access} api={own.api} />
              </li>
            ))}
          </ul>
        </>
      )}
    </Card>
  );
}

function Request({ access, api }: { access: AccessView; api: string }) {
  const { t } = useTranslation();
  const { status } = access;
  const tone = { requested: '', approved: 'good', refused: 'bad', revoked: '' }[status.status];
  return (
    <Group justify="space-between" py="xs" align="flex-start">
      <div className="wrap">
        <Text fw={600} className={tone}>
          {t(`access.${status.status}`)}
        </Text>
        <Text size="sm">
          {t(`purpose.${access.purpose}`)} ·{' '}
          {t('access.askedAt', { at: dateTime(access.requested) })}
          {'at' in status && ` · ${t('access.decidedAt', { at: dateTime(status.at) })}`}
        </Text>
        {'basis' in status && <Text size="sm">{t(`basis.${status.basis}`)}</Text>}
        {'reason' in status && (
          <Text size="sm">{t('reason', { reason: t(`reason.${status.reason}`) })}</Text>
        )}
        {access.open && <Text size="sm">{t('until', { at: date(access.until) })}</Text>}
      </div>
      {access.open && (
        <Withdraw access={access.access} api={api} what={t(`purpose.${access.purpose}`)} />
      )}
    </Group>
  );
}

/** Ends a grant, after saying what that means. */
export function Withdraw({ access, api, what }: { access: string; api: string; what: string }) {
  const { t } = useTranslation();
  const person = usePerson();
  const queries = useQueryClient();
  const [open, setOpen] = useState(false);
  const ending = useMutation({
    mutationFn: async () => revokeAccess(person, await person.at(api), access, 'consent-withdrawn'),
    onSuccess: () => setOpen(false),
    onSettled: () => queries.invalidateQueries({ queryKey: ['accesses'] }),
  });
  return (
    <>
      <Button variant="default" onClick={() => setOpen(true)}>
        {t('withdraw')}
      </Button>
      <Dialog title={t('withdraw.title')} opened={open} onClose={() => setOpen(false)}>
        <Stack>
          <Text>{t('withdraw.text', { what })}</Text>
          {ending.error && <Failure error={ending.error} />}
          <Group justify="flex-end">
            <Button variant="default" onClick={() => setOpen(false)}>
              {t('cancel')}
            </Button>
            <Button loading={ending.isPending} onClick={() => ending.mutate()}>
              {t('withdraw.go')}
            </Button>
          </Group>
        </Stack>
      </Dialog>
    </>
  );
}
