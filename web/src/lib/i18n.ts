// The page's languages. Every text stands once, in both: those of the first page in `words.ts`,
// those of a portal beside it.
import i18n from 'i18next';
import { initReactI18next } from 'react-i18next';
import { type Key, words } from './words';

export type { Key };

export const LANGUAGES = { en: 'English', de: 'Deutsch' } as const;
export type Language = keyof typeof LANGUAGES;

type Texts = Record<string, readonly [en: string, de: string]>;

const inLanguage = (texts: Texts, at: 0 | 1) =>
  Object.fromEntries(Object.entries(texts).map(([key, pair]) => [key, pair[at]]));

const resource = (at: 0 | 1) => ({ translation: inLanguage(words, at) });

const STORED = 'salus-language';

function wanted(): Language {
  const stored = globalThis.localStorage?.getItem(STORED);
  if (stored === 'en' || stored === 'de') return stored;
  return globalThis.navigator?.language?.startsWith('de') ? 'de' : 'en';
}

void i18n.use(initReactI18next).init({
  resources: { en: resource(0), de: resource(1) },
  lng: wanted(),
  fallbackLng: 'en',
  keySeparator: false,
  nsSeparator: false,
  // React escapes what it shows.
  interpolation: { escapeValue: false },
});

/** Adds the texts of pages that are loaded later. */
export function learn(texts: Texts): void {
  i18n.addResourceBundle('en', 'translation', inLanguage(texts, 0), true, true);
  i18n.addResourceBundle('de', 'translation', inLanguage(texts, 1), true, true);
}

const mark = (language: string): void => {
  if (globalThis.document) document.documentElement.lang = language;
};
mark(i18n.language);
i18n.on('languageChanged', mark);

/** Changes the language and remembers it: the only thing that this app stores, besides the colours. */
export function speak(language: Language): void {
  localStorage.setItem(STORED, language);
  void i18n.changeLanguage(language);
}

export default i18n;
