// Logging in: the password stays in this page, the node learns nothing that opens records.
import { Alert, Button, Card, PasswordInput, Stack, Text, TextInput } from '@mantine/core';
import { IconKey } from '@tabler/icons-react';
import { useMutation } from '@tanstack/react-query';
import { Link, useNavigate, useSearch } from '@tanstack/react-router';
import { type FormEvent, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { where } from '../../session/passkey';
import type { Person } from '../../session/person';
import { enter } from '../../session/session';
import { useSession } from '../../session/use';
import { homeOf } from '../../shell';
import { Failure, Faults, Page } from '../../ui/page';
import { Elsewhere } from './Passkeys';

export function LogIn() {
  const { t } = useTranslation();
  const { login: known, farewell } = useSession();
  const { next, login: asked } = useSearch({ strict: false }) as { next?: string; login?: unknown };
  const go = useNavigate();
  const [login, setLogin] = useState(known ?? (typeof asked === 'string' ? asked : ''));
  const [password, setPassword] = useState('');
  const [faults, setFaults] = useState<{ id: string; text: string }[]>([]);
  const opening = useMutation({
    mutationFn: async (door: 'password' | 'passkey'): Promise<Person> => {
      const { logIn, logInWithPasskey } = await import('../../session/person');
      return door === 'passkey' ? logInWithPasskey() : logIn(login.trim(), password);
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
    if (found.length === 0) opening.mutate('password');
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
            <Button
              type="submit"
              loading={opening.isPending && opening.variables === 'password'}
              disabled={opening.isPending}
            >
              {t('login.go')}
            </Button>
            {where().at === 'here' ? (
              <Button
                variant="default"
                leftSection={<IconKey size={18} aria-hidden />}
                loading={opening.isPending && opening.variables === 'passkey'}
                disabled={opening.isPending}
                onClick={() => {
                  setFaults([]);
                  opening.mutate('passkey');
                }}
              >
                {t('passkey.go')}
              </Button>
            ) : (
              <Elsewhere />
            )}
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
