// The page's languages. Every text stands once in `words.ts`, in both.
import i18n from 'i18next';
import { initReactI18next } from 'react-i18next';
import { type Key, words } from './words';

export type { Key };

export const LANGUAGES = { en: 'English', de: 'Deutsch' } as const;
export type Language = keyof typeof LANGUAGES;

const resource = (at: 0 | 1) => ({
  translation: Object.fromEntries(Object.entries(words).map(([key, pair]) => [key, pair[at]])),
});

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
