// One's own account: standing, profile, password, and what proves it all.
import { Button, Card, PasswordInput, Stack, Text, TextInput, Title } from '@mantine/core';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { type FormEvent, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { ok, type Schema } from '../../api/client';
import {
  ProfileFields,
  type ProfileForm,
  toForm,
  toProfile,
} from '../../features/account/ProfileFields';
import { Standing } from '../../features/account/Standing';
import { usePerson } from '../../session/use';
import { Answer, Failure, Faults, Page } from '../../ui/page';
import { Passkeys } from './Passkeys';

export function Account() {
  const { t } = useTranslation();
  const person = usePerson();
  const me = useQuery({
    queryKey: ['me', 'tagged'],
    queryFn: async () => {
      const call = person.home.api.GET('/api/v1/me');
      const body = await ok(call);
      return { me: body, tag: (await call).response.headers.get('etag') ?? '' };
    },
  });
  return (
    <Page title={t('nav.account')}>
      <Answer query={me}>
        {({ me: body, tag }) => (
          <>
            <Standing me={body} />
            <Profile me={body} tag={tag} />
            <Password />
            <Passkeys />
            <Recovery />
          </>
        )}
      </Answer>
    </Page>
  );
}

function Profile({ me, tag }: { me: Schema['Me']; tag: string }) {
  const { t } = useTranslation();
  const person = usePerson();
  const queries = useQueryClient();
  const [form, setForm] = useState<ProfileForm>(toForm(me.profile));
  const [faults, setFaults] = useState<{ id: string; text: string }[]>([]);
  const saving = useMutation({
    mutationFn: () =>
      ok(
        person.home.api.PUT('/api/v1/me/profile', {
          params: { header: { 'If-Match': tag } },
          body: toProfile(form, me.role),
        }),
      ),
    onSuccess: () => queries.invalidateQueries({ queryKey: ['me'] }),
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    const found = form.name.trim() ? [] : [{ id: 'name', text: t('profile.needName') }];
    setFaults(found);
    if (found.length === 0) saving.mutate();
  };
  return (
    <Card withBorder maw={640}>
      <Title order={2} size="h4" mb="sm">
        {t('profile.title')}
      </Title>
      <form noValidate onSubmit={submit}>
        <Stack>
          <Faults faults={faults} />
          {saving.error && <Failure error={saving.error} />}
          <ProfileFields role={me.role} value={form} onChange={setForm} error={faults[0]?.text} />
          <Button type="submit" loading={saving.isPending}>
            {t('profile.save')}
          </Button>
          <Text role="status">{saving.isSuccess ? t('profile.saved') : ''}</Text>
        </Stack>
      </form>
    </Card>
  );
}

function Password() {
  const { t } = useTranslation();
  const person = usePerson();
  const [password, setPassword] = useState('');
  const [fault, setFault] = useState('');
  const changing = useMutation({
    mutationFn: () => person.changePassword(password),
    onSuccess: () => setPassword(''),
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    setFault(password.length < 12 ? t('register.short') : '');
    if (password.length >= 12) changing.mutate();
  };
  return (
    <Card withBorder maw={640}>
      <Title order={2} size="h4" mb="sm">
        {t('password.title')}
      </Title>
      <form noValidate onSubmit={submit}>
        <Stack>
          <Faults faults={fault ? [{ id: 'new-password', text: fault }] : []} />
          {changing.error && <Failure error={changing.error} />}
          <PasswordInput
            id="new-password"
            label={t('password.new')}
            description={t('register.passwordWhy')}
            autoComplete="new-password"
            value={password}
            error={fault}
            onChange={(event) => setPassword(event.currentTarget.value)}
            visibilityToggleButtonProps={{ 'aria-label': t('login.show'), tabIndex: 0 }}
          />
          <Button type="submit" loading={changing.isPending}>
            {t('password.go')}
          </Button>
          <Text role="status">{changing.isSuccess ? t('password.done') : ''}</Text>
        </Stack>
      </form>
    </Card>
  );
}

/** Whether the printed code would open the account, tried here and nowhere else. */
function Recovery() {
  const { t } = useTranslation();
  const person = usePerson();
  const [code, setCode] = useState('');
  const trying = useMutation({ mutationFn: () => person.opensWith(code) });
  return (
    <Card withBorder maw={640}>
      <Title order={2} size="h4" mb="sm">
        {t('recovery.title')}
      </Title>
      <form
        noValidate
        onSubmit={(event) => {
          event.preventDefault();
          trying.mutate();
        }}
      >
        <Stack>
          <TextInput
            id="recovery"
            label={t('recovery.code')}
            description={t('recovery.why')}
            autoComplete="off"
            value={code}
            onChange={(event) => setCode(event.currentTarget.value)}
          />
          <Button type="submit" variant="default" loading={trying.isPending}>
            {t('recovery.try')}
          </Button>
          <Text role="status" className={trying.data ? 'good' : 'bad'}>
            {trying.data === undefined ? '' : t(trying.data ? 'recovery.good' : 'recovery.bad')}
          </Text>
        </Stack>
      </form>
    </Card>
  );
}
