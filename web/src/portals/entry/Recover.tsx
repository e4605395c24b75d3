// Coming back with the printed code when the password is forgotten: a new password and a new code.
import { Button, Card, PasswordInput, Stack, Text, TextInput } from '@mantine/core';
import { useMutation } from '@tanstack/react-query';
import { Link, useNavigate, useSearch } from '@tanstack/react-router';
import { type FormEvent, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { Problem } from '../../api/client';
import { CryptoError } from '../../crypto/error';
import { KeepCode } from '../../features/account/KeepCode';
import type { Key } from '../../lib/i18n';
import { enter } from '../../session/session';
import { homeOf } from '../../shell';
import { Failure, Faults, Page } from '../../ui/page';
import { PASSWORD_LENGTH } from './Register';

/** A wrong code, an unknown name and an account without a code look the same. */
const isWrong = (error: unknown): boolean =>
  (error instanceof Problem && error.code === 'login-refused') ||
  (error instanceof CryptoError && ['login-refused', 'vault-closed'].includes(error.fault));

export function Recover() {
  const { t } = useTranslation();
  const go = useNavigate();
  const { login: asked } = useSearch({ strict: false }) as { login?: unknown };
  const [login, setLogin] = useState(typeof asked === 'string' ? asked : '');
  const [code, setCode] = useState('');
  const [password, setPassword] = useState('');
  const [faults, setFaults] = useState<{ id: string; text: string }[]>([]);
  const fault = (id: string) => faults.find((f) => f.id === id)?.text;
  const recovering = useMutation({
    mutationFn: async () => {
      const { recover } = await import('../../session/person');
      return recover(login.trim(), code, password);
    },
  });
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    const { isCode } = await import('../../session/person');
    const list: [string, boolean, Key][] = [
      ['login', !login.trim(), 'login.needLogin'],
      ['code', !(await isCode(code)), 'recover.notCode'],
      ['password', password.length < PASSWORD_LENGTH, 'register.short'],
    ];
    const found = list.filter(([, wrong]) => wrong).map(([id, , key]) => ({ id, text: t(key) }));
    setFaults(found);
    if (found.length === 0) recovering.mutate();
  };
  const { data, error } = recovering;
  if (data)
    return (
      <Page title={t('recover.title')}>
        <Text role="status">{t('recover.done')}</Text>
        <Card withBorder maw={640}>
          <KeepCode
            code={data.recoveryCode}
            pending={false}
            kept={() => {
              enter(data.person);
              void go({ to: homeOf(data.person.role) });
            }}
          />
        </Card>
      </Page>
    );
  return (
    <Page title={t('recover.title')}>
      <Text maw={640}>{t('recover.text')}</Text>
      <Card withBorder maw={440}>
        <form noValidate onSubmit={(event) => void submit(event)}>
          <Stack>
            <Faults faults={isWrong(error) ? [{ id: 'code', text: t('recover.wrong') }] : faults} />
            {Boolean(error) && !isWrong(error) && <Failure error={error} />}
            <TextInput
              id="login"
              label={t('login.login')}
              autoComplete="username"
              required
              value={login}
              error={fault('login')}
              onChange={(event) => setLogin(event.currentTarget.value)}
            />
            <TextInput
              id="code"
              label={t('recovery.code')}
              description={t('recover.codeWhy')}
              autoComplete="off"
              required
              value={code}
              error={fault('code')}
              onChange={(event) => setCode(event.currentTarget.value)}
            />
            <PasswordInput
              id="password"
              label={t('password.new')}
              description={t('register.passwordWhy')}
              autoComplete="new-password"
              required
              value={password}
              error={fault('password')}
              onChange={(event) => setPassword(event.currentTarget.value)}
              visibilityToggleButtonProps={{ 'aria-label': t('login.show'), tabIndex: 0 }}
            />
            <Button type="submit" loading={recovering.isPending}>
              {t('recover.go')}
            </Button>
            <Text size="sm" aria-live="polite">
              {recovering.isPending ? t('login.working') : ''}
            </Text>
          </Stack>
        </form>
      </Card>
      <Text>
        {t('recover.lost')} <Link to="/login">{t('login.title')}</Link>
      </Text>
    </Page>
  );
}
