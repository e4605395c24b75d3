// Registering: who, then a profile, then the recovery code, which must be typed back before going on.
import {
  Button,
  Card,
  Group,
  PasswordInput,
  Radio,
  Stack,
  Stepper,
  Text,
  TextInput,
} from '@mantine/core';
import { useMutation } from '@tanstack/react-query';
import { useNavigate } from '@tanstack/react-router';
import { type FormEvent, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { KeepCode } from '../../features/account/KeepCode';
import { ProfileFields, type ProfileForm, toProfile } from '../../features/account/ProfileFields';
import type { Key } from '../../lib/i18n';
import { enter } from '../../session/session';
import { homeOf } from '../../shell';
import { Failure, Faults, Page } from '../../ui/page';

/** Fewest characters of a password. */
export const PASSWORD_LENGTH = 12;
type AskedRole = 'patient' | 'doctor';

export function Register() {
  const { t } = useTranslation();
  const go = useNavigate();
  const [step, setStep] = useState(0);
  const [role, setRole] = useState<AskedRole>('patient');
  const [login, setLogin] = useState('');
  const [password, setPassword] = useState('');
  const [profile, setProfile] = useState<ProfileForm>({ name: '' });
  const [faults, setFaults] = useState<{ id: string; text: string }[]>([]);
  const fault = (id: string) => faults.find((f) => f.id === id)?.text;

  const registering = useMutation({
    mutationFn: async () => {
      const { register } = await import('../../session/person');
      return register({ login: login.trim(), password, role, profile: toProfile(profile, role) });
    },
    onSuccess: () => setStep(2),
  });
  const entering = useMutation({
    mutationFn: async () => {
      const { logIn } = await import('../../session/person');
      return logIn(login.trim(), password);
    },
    onSuccess: (person) => {
      enter(person);
      void go({ to: homeOf(person.role) });
    },
  });

  const check = (list: [id: string, wrong: boolean, key: Key][]): boolean => {
    const found = list.filter(([, wrong]) => wrong).map(([id, , key]) => ({ id, text: t(key) }));
    setFaults(found);
    return found.length === 0;
  };
  const account = (event: FormEvent) => {
    event.preventDefault();
    const good = check([
      ['login', !login.trim(), 'login.needLogin'],
      ['password', password.length < PASSWORD_LENGTH, 'register.short'],
    ]);
    if (good) setStep(1);
  };
  const about = (event: FormEvent) => {
    event.preventDefault();
    if (check([['name', !profile.name.trim(), 'profile.needName']])) registering.mutate();
  };
  return (
    <Page title={t('register.title')}>
      <Stepper active={step} size="sm" maw={640} allowNextStepsSelect={false} className="no-print">
        <Stepper.Step label={t('register.step1')} />
        <Stepper.Step label={t('register.step2')} />
        <Stepper.Step label={t('register.step3')} />
      </Stepper>
      <Card withBorder maw={640}>
        {step === 0 && (
          <form noValidate onSubmit={account}>
            <Stack>
              <Faults faults={faults} />
              <Radio.Group
                label={t('register.role')}
                description={t('register.roleWhy')}
                value={role}
                onChange={(value) => setRole(value as AskedRole)}
              >
                <Group mt="xs">
                  <Radio value="patient" label={t('role.patient')} />
                  <Radio value="doctor" label={t('role.doctor')} />
                </Group>
              </Radio.Group>
              <TextInput
                id="login"
                label={t('login.login')}
                description={t('register.loginWhy')}
                autoComplete="username"
                required
                value={login}
                error={fault('login')}
                onChange={(event) => setLogin(event.currentTarget.value)}
              />
              <PasswordInput
                id="password"
                label={t('login.password')}
                description={t('register.passwordWhy')}
                autoComplete="new-password"
                required
                value={password}
                error={fault('password')}
                onChange={(event) => setPassword(event.currentTarget.value)}
                visibilityToggleButtonProps={{ 'aria-label': t('login.show'), tabIndex: 0 }}
              />
              <Button type="submit">{t('next')}</Button>
            </Stack>
          </form>
        )}
        {step === 1 && (
          <form noValidate onSubmit={about}>
            <Stack>
              <Faults faults={faults} />
              {registering.error && <Failure error={registering.error} />}
              <Text>{t('register.profileWhy')}</Text>
              <ProfileFields
                role={role}
                value={profile}
                onChange={setProfile}
                error={fault('name')}
              />
              <Group>
                <Button variant="default" onClick={() => setStep(0)}>
                  {t('back')}
                </Button>
                <Button type="submit" loading={registering.isPending}>
                  {t('register.go')}
                </Button>
              </Group>
              <Text size="sm" aria-live="polite">
                {registering.isPending ? t('register.working') : ''}
              </Text>
            </Stack>
          </form>
        )}
        {step === 2 && (
          <KeepCode
            code={registering.data?.recoveryCode ?? ''}
            error={entering.error}
            pending={entering.isPending}
            kept={() => entering.mutate()}
          />
        )}
      </Card>
    </Page>
  );
}
