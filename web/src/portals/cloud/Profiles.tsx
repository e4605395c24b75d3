// Profiles of patients and doctors: who waits, who was let in, refused or shut out, and deciding on it.
import {
  Alert,
  Badge,
  Button,
  Card,
  Group,
  NativeSelect,
  Radio,
  Stack,
  Text,
  TextInput,
  Title,
} from '@mantine/core';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useNavigate, useSearch } from '@tanstack/react-router';
import { useState } from 'react';
import type { Schema } from '../../api/client';
import { dateTime } from '../../lib/format';
import { type Reason, ROLES } from '../../records/codes';
import { usePerson } from '../../session/use';
import { useLedger } from '../../shell';
import { Answer, Dialog, Empty, Failure, Faults, Page } from '../../ui/page';
import { commandOf, REASONS_OF, type Verdict } from './decide';
import { Pair, short } from './parts';
import { type Principal, usePrincipals, useWatch, useWho } from './queries';
import { useSay } from './say';

const STANDINGS = ['pending', 'authorised', 'refused', 'revoked'] as const;
const CLASS = { pending: 'warn', authorised: 'good', refused: 'bad', revoked: 'bad' } as const;
const FIELDS = ['specialty', 'hospital', 'licence', 'phone', 'email', 'address'] as const;

interface Wish {
  standing?: string;
  role?: string;
  query?: string;
}

export function Profiles() {
  const t = useSay();
  useWatch();
  const principals = usePrincipals();
  const { standing = 'pending', role = '', query = '' } = useSearch({ strict: false }) as Wish;
  const go = useNavigate();
  const [done, setDone] = useState<{ name: string; receipt: Schema['CommandReceipt'] }>();
  const change = (wish: Wish): void =>
    void go({
      to: '/cloud/profiles',
      search: { standing, role, query, ...wish } as never,
      replace: true,
    });
  return (
    <Page title={t('nav.profiles')}>
      <Text maw={720}>{t('cloud.profiles.text')}</Text>
      <Group align="flex-end">
        <NativeSelect
          label={t('cloud.profiles.show')}
          value={standing}
          onChange={(event) => change({ standing: event.currentTarget.value })}
          data={[
            ...STANDINGS.map((value) => ({ value, label: t(`standing.${value}`) })),
            { value: 'all', label: t('cloud.all') },
          ]}
        />
        <NativeSelect
          label={t('cloud.profiles.role')}
          value={role}
          onChange={(event) => change({ role: event.currentTarget.value })}
          data={[
            { value: '', label: t('cloud.all') },
            ...ROLES.map((value) => ({ value, label: t(`role.${value}`) })),
          ]}
        />
        <TextInput
          label={t('cloud.profiles.search')}
          value={query}
          maxLength={200}
          w={{ base: '100%', sm: 320 }}
          onChange={(event) => change({ query: event.currentTarget.value })}
        />
      </Group>
      <div role="status">
        {done && (
          <Alert variant="outline">
            <Text className="wrap">
              {t('cloud.decide.done', {
                name: done.name,
                number: done.receipt.entry,
                at: dateTime(done.receipt.time),
              })}
            </Text>
          </Alert>
        )}
      </div>
      <Answer query={principals}>
        {(list) => {
          const found = list.filter(
            (one) =>
              (standing === 'all' || one.standing.status === standing) &&
              (!role || one.role === role) &&
              fits(one, query),
          );
          if (found.length === 0)
            return (
              <Empty>
                {t(
                  standing === 'pending' && !query ? 'cloud.profiles.none' : 'cloud.store.noMatch',
                )}
              </Empty>
            );
          return (
            <Stack>
              <Text>{t('cloud.profiles.found', { count: found.length })}</Text>
              {found.map((one) => (
                <Profile
                  key={one.principal}
                  one={one}
                  decided={(name, receipt) => setDone({ name, receipt })}
                />
              ))}
            </Stack>
          );
        }}
      </Answer>
    </Page>
  );
}

const fits = ({ principal, profile }: Principal, query: string): boolean =>
  [principal, profile?.name, profile?.hospital, profile?.specialty, profile?.licence].some((text) =>
    text?.toLowerCase().includes(query.trim().toLowerCase()),
  );

function Profile({
  one,
  decided,
}: {
  one: Principal;
  decided: (name: string, receipt: Schema['CommandReceipt']) => void;
}) {
  const t = useSay();
  const person = usePerson();
  const who = useWho();
  const ledger = useLedger();
  const [asked, setAsked] = useState<Verdict>();
  const { principal, profile, standing, role } = one;
  const house = who(one.organisation) ?? short(one.organisation);
  const name = profile?.name ?? who(principal) ?? `${t(`role.${role}`)} ${short(principal)}`;
  // Operators decide on everybody but organisations, which members vote on, and themselves.
  const decidable = principal !== person.principal && role !== 'organisation';
  const elsewhere =
    !profile && role !== 'organisation' && one.organisation !== ledger.data?.organisation;
  const facts = FIELDS.flatMap((field) => {
    const text = profile?.[field];
    return text ? [[field, text] as const] : [];
  });
  return (
    <Card withBorder component="article" aria-label={name}>
      <Group justify="space-between" align="flex-start">
        <div className="wrap">
          <Title order={2} size="h4" className="wrap">
            {name}
          </Title>
          <Text c="dimmed">
            {t(`role.${role}`)} · {house} ·{' '}
            {one.registered > 0
              ? t('cloud.profiles.registered', { at: dateTime(one.registered) })
              : t('cloud.profiles.founder')}
          </Text>
        </div>
        <Badge variant="outline" color="gray" className={CLASS[standing.status]} miw="fit-content">
          {t(`standing.${standing.status}`)}
        </Badge>
      </Group>
      <Stack gap="xs" mt="xs">
        {elsewhere && <Text>{t('cloud.profiles.elsewhere', { name: house })}</Text>}
        <Group gap="xl" align="flex-start">
          {facts.map(([field, text]) => (
            <Pair key={field} word={t(`profile.${field}`)}>
              {text}
            </Pair>
          ))}
          <Pair word={t('cloud.profiles.number')} mono>
            {short(principal)}
          </Pair>
          {'reason' in standing && (
            <Pair word={t('cloud.decide.reason')}>{t(`reason.${standing.reason}`)}</Pair>
          )}
          {'at' in standing && standing.by && (
            <Pair word={t('when')}>
              {t('cloud.profiles.decidedBy', {
                at: dateTime(standing.at),
                name: who(standing.by) ?? short(standing.by),
              })}
            </Pair>
          )}
        </Group>
        {decidable && standing.status === 'pending' && (
          <Group>
            <Button
              aria-label={t('cloud.decide.approve.of', { name })}
              onClick={() => setAsked('approve')}
            >
              {t('cloud.decide.approve')}
            </Button>
            <Button
              variant="default"
              aria-label={t('cloud.decide.refuse.of', { name })}
              onClick={() => setAsked('refuse')}
            >
              {t('cloud.decide.refuse')}
            </Button>
          </Group>
        )}
        {decidable && standing.status === 'authorised' && (
          <Group>
            <Button
              variant="default"
              aria-label={t('cloud.decide.revoke.of', { name })}
              onClick={() => setAsked('revoke')}
            >
              {t('cloud.decide.revoke')}
            </Button>
          </Group>
        )}
      </Stack>
      {asked && (
        <Deciding
          verdict={asked}
          one={one}
          name={name}
          close={() => setAsked(undefined)}
          decided={(receipt) => decided(name, receipt)}
        />
      )}
    </Card>
  );
}

/** Check, give the reason, sign: one decision on one person. */
function Deciding({
  verdict,
  one,
  name,
  close,
  decided,
}: {
  verdict: Verdict;
  one: Principal;
  name: string;
  close: () => void;
  decided: (receipt: Schema['CommandReceipt']) => void;
}) {
  const t = useSay();
  const person = usePerson();
  const queries = useQueryClient();
  const reasons = REASONS_OF[verdict];
  const [reason, setReason] = useState<Reason | ''>(reasons.length === 1 ? reasons[0]! : '');
  const [fault, setFault] = useState('');
  const title = t(`cloud.decide.${verdict}.of`, { name });
  const signing = useMutation({
    mutationFn: (why: Reason) => person.submit(commandOf(verdict, one.principal, why)),
    onSuccess: async (receipt) => {
      await queries.invalidateQueries({ queryKey: ['principals'] });
      decided(receipt);
      close();
    },
  });
  return (
    <Dialog title={title} opened onClose={close}>
      <form
        noValidate
        onSubmit={(event) => {
          event.preventDefault();
          setFault(reason ? '' : t('cloud.decide.choose'));
          if (reason) signing.mutate(reason);
        }}
      >
        <Stack>
          <Text className="wrap">{t(`cloud.decide.${verdict}.text`, { name })}</Text>
          <Faults faults={fault ? [{ id: `reason-${reasons[0]}`, text: fault }] : []} />
          {signing.error && <Failure error={signing.error} />}
          <Radio.Group
            label={t('cloud.decide.reason')}
            value={reason}
            error={fault}
            onChange={(value) => setReason(value as Reason)}
          >
            <Stack gap="xs" mt="xs">
              {reasons.map((value) => (
                <Radio
                  key={value}
                  id={`reason-${value}`}
                  value={value}
                  label={t(`reason.${value}`)}
                />
              ))}
            </Stack>
          </Radio.Group>
          <Group>
            <Button type="submit" loading={signing.isPending} className="long">
              {title}
            </Button>
            <Button variant="default" onClick={close}>
              {t('cancel')}
            </Button>
          </Group>
        </Stack>
      </form>
    </Dialog>
  );
}
