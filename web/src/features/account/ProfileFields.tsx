// The fields of a profile, as people fill them in; empty ones are absent from what is sent.
import { TextInput } from '@mantine/core';
import { useTranslation } from 'react-i18next';
import type { Schema } from '../../api/client';

type Profile = Schema['Profile'];

/** The form mirrors the screen: every field a text. */
export type ProfileForm = { name: string } & Partial<
  Record<Exclude<keyof Profile, 'name'>, string>
>;

const FIELDS = {
  patient: ['phone', 'email', 'address'],
  doctor: ['specialty', 'hospital', 'licence', 'phone', 'email'],
  other: ['hospital', 'phone', 'email'],
} as const;

const fieldsOf = (role: string) =>
  role === 'patient' || role === 'doctor' ? FIELDS[role] : FIELDS.other;

const COMPLETE: Partial<Record<keyof Profile, string>> = {
  name: 'name',
  phone: 'tel',
  email: 'email',
  address: 'street-address',
};

/** What is sent: trimmed, without empty fields. */
export function toProfile(form: ProfileForm, role: string): Profile {
  const profile: Profile = { name: form.name.trim() };
  for (const field of fieldsOf(role)) {
    const text = form[field]?.trim();
    if (text) profile[field] = text;
  }
  return profile;
}

export const toForm = (profile: Profile | null | undefined): ProfileForm => {
  const form: ProfileForm = { name: profile?.name ?? '' };
  for (const [field, text] of Object.entries(profile ?? {}))
    if (typeof text === 'string') form[field as 'name'] = text;
  return form;
};

export function ProfileFields({
  role,
  value,
  onChange,
  error,
}: {
  role: string;
  value: ProfileForm;
  onChange: (form: ProfileForm) => void;
  error?: string;
}) {
  const { t } = useTranslation();
  return (
    <>
      <TextInput
        id="name"
        label={t('profile.name')}
        autoComplete="name"
        required
        maxLength={130}
        value={value.name}
        error={error}
        onChange={(event) => onChange({ ...value, name: event.currentTarget.value })}
      />
      {fieldsOf(role).map((field) => (
        <TextInput
          key={field}
          id={field}
          label={t(`profile.${field}`)}
          autoComplete={COMPLETE[field]}
          maxLength={130}
          value={value[field] ?? ''}
          onChange={(event) => onChange({ ...value, [field]: event.currentTarget.value })}
        />
      ))}
    </>
  );
}
