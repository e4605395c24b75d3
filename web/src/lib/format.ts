// Dates, times and sizes as people read them, in the language of the page.
import i18n from './i18n';

const locale = (): string => (i18n.language === 'de' ? 'de-DE' : 'en-GB');

/** `time` in ms since 1970, or an ISO text as FHIR has it. */
export function date(time: number | string | undefined): string {
  if (time === undefined || time === '') return '–';
  // A FHIR date may be a year or a month alone, which must not become its first day.
  if (typeof time === 'string' && /^\d{4}(-\d{2})?$/.test(time)) return time;
  const value = new Date(time);
  if (Number.isNaN(value.getTime())) return '–';
  return new Intl.DateTimeFormat(locale(), { dateStyle: 'medium' }).format(value);
}

export function dateTime(time: number | string | undefined): string {
  if (time === undefined || time === '') return '–';
  const value = new Date(time);
  if (Number.isNaN(value.getTime())) return '–';
  const style = { dateStyle: 'medium', timeStyle: 'short' } as const;
  return new Intl.DateTimeFormat(locale(), style).format(value);
}

/** The time of a day, or date and time where it is another day. */
export function time(at: number, now = Date.now()): string {
  if (new Date(at).toDateString() !== new Date(now).toDateString()) return dateTime(at);
  return new Intl.DateTimeFormat(locale(), { timeStyle: 'short' }).format(new Date(at));
}

export const number = (value: number, digits = 2): string =>
  new Intl.NumberFormat(locale(), { maximumFractionDigits: digits }).format(value);

/** Full years between a birth date and now. */
export function age(birth: string | undefined, now = new Date()): number | undefined {
  const born = birth ? new Date(birth) : undefined;
  if (!born || Number.isNaN(born.getTime())) return undefined;
  const before =
    now.getMonth() < born.getMonth() ||
    (now.getMonth() === born.getMonth() && now.getDate() < born.getDate());
  return now.getFullYear() - born.getFullYear() - (before ? 1 : 0);
}

export function size(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`;
  if (bytes < 1024 * 1024) return `${number(bytes / 1024, 0)} KiB`;
  return `${number(bytes / 1024 / 1024, 1)} MiB`;
}
