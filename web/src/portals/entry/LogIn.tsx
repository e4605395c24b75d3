// Logging in: the password stays in this page, the node learns nothing that opens records.
import { Alert, Button, Card, PasswordInput, Stack, Text, TextInput } from '@mantine/core';
import { useMutation } from '@tanstack/react-query';
import { Link, useNavigate, useSearch } from '@tanstack/react-router';
import { type FormEvent, useState } from 'react';
import { useTranslation } from 'react-i18next';
import type { Person } from '../../session/person';
import { enter } from '../../session/session';
import { useSession } from '../../session/use';
import { homeOf } from '../../shell';
import { Failure, Faults, Page } from '../../ui/page';

export function LogIn() {
  const { t } = useTranslation();
  const { login: known, farewell } = useSession();
  const { next, login: asked } = useSearch({ strict: false }) as { next?: string; login?: unknown };
  const go = useNavigate();
  const [login, setLogin] = useState(known ?? (typeof asked === 'string' ? asked : ''));
  const [password, setPassword] = useState('');
  const [faults, setFaults] = useState<{ id: string; text: string }[]>([]);
  const opening = useMutation({
    mutationFn: async (): Promise<Person> => {
      const { logIn } = await import('../../session/person');
      return logIn(login.trim(), password);
    },
    onSuccess: (person) => {
      enter(person);
      const home = homeOf(person.role);
      void go({ to: next?.startsWith(`${home}/`) || next === home ? next : home });
    },
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    const found = [];
    if (!login.trim()) found.push({ id: 'login', text: t('login.needLogin') });
    if (!password) found.push({ id: 'password', text: t('login.needPassword') });
    setFaults(found);
    if (found.length === 0) opening.mutate();
  };
  const fault = (id: string) => faults.find((f) => f.id === id)?.text;
  return (
    <Page title={t('login.title')}>
      {farewell && (
        <Alert variant="outline" role="status" maw={440}>
          {t(`farewell.${farewell}`)}
        </Alert>
      )}
      <Card withBorder maw={440}>
        <form noValidate onSubmit={submit}>
          <Stack>
            <Faults faults={faults} />
            {opening.error && <Failure error={opening.error} />}
            <TextInput
              id="login"
              label={t('login.login')}
              autoComplete="username"
              required
              value={login}
              error={fault('login')}
              onChange={(event) => setLogin(event.currentTarget.value)}
            />
            <PasswordInput
              id="password"
              label={t('login.password')}
              autoComplete="current-password"
              required
              value={password}
              error={fault('password')}
              onChange={(event) => setPassword(event.currentTarget.value)}
              visibilityToggleButtonProps={{ 'aria-label': t('login.show'), tabIndex: 0 }}
            />
            <Button type="submit" loading={opening.isPending}>
              {t('login.go')}
            </Button>
            <Text size="sm" aria-live="polite">
              {opening.isPending ? t('login.working') : ''}
            </Text>
          </Stack>
        </form>
      </Card>
      <Text>
        {t('login.forgot')}{' '}
        <Link to="/recover" search={{ login: login.trim() || undefined } as never}>
          {t('recover.title')}
        </Link>
      </Text>
      <Text>
        {t('login.none')} <Link to="/register">{t('register.title')}</Link>
      </Text>
    </Page>
  );
}
